"""Where requests go and with whose signature, asked of the SDK itself: endpoint rules, overrides, proxies, CA bundles.

A call is made of it that gets as far as the network and no further.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from bulksend.aws.client import AwsAccess, explained, open_client
from bulksend.aws.pool import Peer
from bulksend.errors import AccountError

__all__ = ["Detour", "Route", "route_of"]

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Route:
    """What the SDK would connect to, and how it would sign; `host` is the Host header."""

    peer: Peer
    host: str
    path: str
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Detour:
    """Why only the SDK can carry the requests, in words for a person."""

    reason: str


class _SeenError(Exception):
    """The SDK's request, finished and signed, at the moment of sending."""

    def __init__(self, request: Any, verify: object, proxy_url: str | None, client_certificate: object) -> None:
        super().__init__("the request is not sent, only looked at")
        self.request = request
        self.verify = verify
        self.proxy_url = proxy_url
        self.client_certificate = client_certificate


async def route_of(access: AwsAccess, service: str, call: Callable[[Any], Awaitable[object]]) -> Route | Detour:
    """Ask the SDK. `call` makes a call of a client of this service.

    Raises:
        AccountError: there are no credentials, or no region; the authorities' certificates cannot be read.
    """
    try:
        async with open_client(access, service, retrying=False, http_session=_looking_session()) as client:
            await call(client)
    except _SeenError as seen:
        return _route(seen)
    except Exception as error:
        raise explained(error) from error
    raise AssertionError("the SDK sends without its HTTP session")


def _looking_session() -> type:
    from aiobotocore.httpsession import AIOHTTPSession  # noqa: PLC0415

    class LookingSession(AIOHTTPSession):  # type: ignore[misc]
        async def send(self, request: Any) -> Any:
            certificate = self._cert_file
            raise _SeenError(request, self._verify, self._proxy_config.proxy_url_for(request.url), certificate)

    return LookingSession


def _route(seen: _SeenError) -> Route | Detour:
    if seen.proxy_url is not None:
        return Detour("requests go through a proxy")
    if seen.client_certificate is not None:
        return Detour("a client certificate is set")
    url = urlsplit(seen.request.url)
    authorization = seen.request.headers.get("Authorization", "")
    signature = _CREDENTIAL.match(authorization.decode() if isinstance(authorization, bytes) else authorization)
    if signature is None:
        return Detour("the SDK signs in another way than SigV4")
    if url.query or "/." in url.path or "//" in url.path or url.hostname is None:
        return Detour("the endpoint's URL is an unusual one")
    region, service = signature.groups()
    port = url.port or DEFAULT_PORTS[url.scheme]
    name = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    host = name if port == DEFAULT_PORTS[url.scheme] else f"{name}:{port}"
    tls = _tls(seen.verify) if url.scheme == "https" else None
    return Route(Peer(url.hostname, port, tls), host, url.path, region, service)


def _tls(verify: object) -> ssl.SSLContext:
    """Certificates are verified against AWS_CA_BUNDLE or the configuration's ca_bundle, else the SDK's own bundle.

    `verify` is what the SDK makes of these: a path, or True.
    """
    from botocore.httpsession import get_cert_path  # noqa: PLC0415

    bundle = get_cert_path(verify)
    try:
        context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise AccountError(
            f"the certificates in {bundle} cannot be read: {error.strerror or error}",
            hint="Correct AWS_CA_BUNDLE, or ca_bundle in ~/.aws/config.",
        ) from error
    context.set_alpn_protocols(["http/1.1"])
    return context
