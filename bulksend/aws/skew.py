"""Signing by the server's clock, once SES has said that ours is wrong.

The SDK itself always signs with the machine's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["ServerClock", "epoch_of", "server_time"]


class ServerClock:
    """How far SES's clock is from this machine's, once SES has said that ours is wrong.

    Shared by an account's clients.
    """

    def __init__(self) -> None:
        self._skew_s = 0.0

    def set(self, server_time: float) -> None:
        """It is `server_time` there now; epoch seconds."""
        self._skew_s = server_time - time.time()

    def now(self) -> float:
        """The server's time, as far as it is known; epoch seconds."""
        return time.time() + self._skew_s

    async def correct(self, client: Any, request: Any) -> None:
        """Sign a prepared request anew where that is needed.

        Not one for a multi-region endpoint: its signature is another, and the SDK has no way to date it.
        """
        if self._skew_s and b"ECDSA" not in _bytes(request.headers.get("Authorization", b"")):
            await _sign_with_skew(client, request, self._skew_s)


def epoch_of(date: str) -> float | None:
    """A Date header in epoch seconds; None where it is none."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):  # so many digits as fit into no number
        return None


def server_time(response: dict[str, Any]) -> float | None:
    """The Date header of an answer that the SDK has parsed, in epoch seconds."""
    return epoch_of(response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


async def _sign_with_skew(client: Any, request: Any, skew_s: float) -> None:
    """Sign a prepared request of this client anew, as of `skew_s` seconds from this machine's time."""
    from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415

    signer = client._request_signer  # noqa: SLF001  the SDK has no public way to its credentials' current value
    credentials = await signer._credentials.get_frozen_credentials()  # noqa: SLF001
    auth = SigV4Auth(credentials, signer.signing_name, signer.region_name)
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}
    again = AWSRequest(method=request.method, url=request.url, headers=headers, data=request.body)
    again.context["timestamp"] = (datetime.now(UTC) + timedelta(seconds=skew_s)).strftime(SIGV4_TIMESTAMP)
    auth._modify_request_before_signing(again)  # noqa: SLF001  add_auth would put the machine's time back
    text = auth.string_to_sign(again, auth.canonical_request(again))
    auth._inject_signature_to_request(again, auth.signature(text, again))  # noqa: SLF001
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
        if name in again.headers:
            del request.headers[name]
            request.headers[name] = again.headers[name]
