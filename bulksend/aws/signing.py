"""AWS Signature Version 4, made once a second rather than once a request: only the body differs between two of them.

Source: IAM User Guide, Create a signed AWS API request. Pure.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import quote

__all__ = ["Credentials", "SignedHead", "Signer"]

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_HEADERS = frozenset({"expect", "transfer-encoding", "user-agent", "x-amzn-trace-id"})
"""What proxies may change on the way; the SDK leaves these out of its signatures too."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set of keys, as it is at a moment. `token` is what temporary ones bring along. Secrets are not shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedHead:
    """All of a signature that does not depend on the body.

    `headers` are those to send with it, as pairs of name and value, but for Authorization itself.
    """

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    _canonical: bytes = field(repr=False)
    _to_sign: bytes = field(repr=False)
    _key: bytes = field(repr=False)
    _authorization: str = field(repr=False)

    def authorization(self, payload_sha256: str) -> str:
        """The Authorization header for a body with this SHA-256, in hex."""
        canonical = sha256(self._canonical + payload_sha256.encode()).hexdigest()
        return self._authorization + hmac.digest(self._key, self._to_sign + canonical.encode(), "sha256").hex()


class Signer:
    """Signs for one service in one Region; remembers the signing key of the day."""

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._key_of: tuple[str, str] | None = None
        self._key = b""

    def head(
        self, credentials: Credentials, method: str, path: str, headers: Sequence[tuple[str, str]], at: float
    ) -> SignedHead:
        """Sign all but the body, as of `at` (epoch seconds).

        `headers` name each header once, Host included; the date and the token are added. `path` has no query, no dot
        segments, and is as it goes on the wire.
        """
        timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))
        scope = f"{timestamp[:8]}/{self._region}/{self._service}/aws4_request"
        sent = [*headers, ("X-Amz-Date", timestamp)]
        if credentials.token:
            sent.append(("X-Amz-Security-Token", credentials.token))
        signed = {name.lower(): " ".join(value.split()) for name, value in sent}
        names = sorted(signed.keys() - UNSIGNED_HEADERS)
        listed = ";".join(names)
        lines = [method, quote(path, safe="/~"), "", *(f"{name}:{signed[name]}" for name in names), "", listed, ""]
        return SignedHead(
            headers=tuple(sent),
            _canonical="\n".join(lines).encode(),
            _to_sign=f"{ALGORITHM}\n{timestamp}\n{scope}\n".encode(),
            _key=self._signing_key(credentials.secret_key, timestamp[:8]),
            _authorization=f"{ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={listed}, Signature=",
        )

    def _signing_key(self, secret_key: str, day: str) -> bytes:
        if self._key_of != (secret_key, day):
            key = b"AWS4" + secret_key.encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_of = key, (secret_key, day)
        return self._key
