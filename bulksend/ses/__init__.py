"""Requests and answers: the envelope, the transport, the account."""

from __future__ import annotations

from bulksend.ses.account import Account, find_binding
from bulksend.ses.client import AwsAccess
from bulksend.ses.compatible import CompatibleTransport
from bulksend.ses.envelope import Envelope
from bulksend.ses.skew import ServerClock

__all__ = ["Account", "AwsAccess", "CompatibleTransport", "Envelope", "ServerClock", "find_binding"]
