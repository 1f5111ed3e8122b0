"""Speaking to AWS: the SDK behind one function, and our own HTTP/1.1 and SigV4 where that is called for."""

from __future__ import annotations

from bulksend.aws.client import AwsAccess, explained, open_client, refusal_code
from bulksend.aws.connection import Connection, Lost, Reply
from bulksend.aws.credentials import CredentialSource
from bulksend.aws.pool import NoConnectionError, Peer, Pool
from bulksend.aws.route import Detour, Route, route_of
from bulksend.aws.signing import Credentials, SignedHead, Signer
from bulksend.aws.skew import ServerClock

__all__ = [
    "AwsAccess",
    "Connection",
    "CredentialSource",
    "Credentials",
    "Detour",
    "Lost",
    "NoConnectionError",
    "Peer",
    "Pool",
    "Reply",
    "Route",
    "ServerClock",
    "SignedHead",
    "Signer",
    "explained",
    "open_client",
    "refusal_code",
    "route_of",
]
