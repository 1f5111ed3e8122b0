"""Whether a request carries a well-formed signature of about this time. The signature itself is not verified."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from bulksend.simulator.answers import SesError

__all__ = ["check_signature"]

_MAX_SKEW_S = 900
_AUTHORIZATION = re.compile(
    r"(?:AWS4-HMAC-SHA256 Credential=[^/,\s]+/(?P<day>\d{8})/[a-z0-9-]+/ses/aws4_request"
    r"|AWS4-ECDSA-P256-SHA256 Credential=[^/,\s]+/(?P<day_a>\d{8})/ses/aws4_request)"
    r",\s*SignedHeaders=(?P<signed>[a-z0-9-]+(?:;[a-z0-9-]+)*),\s*Signature=[0-9a-f]{64,160}"
).fullmatch


@lru_cache(maxsize=64)
def _epoch(stamp: str) -> float | None:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def check_signature(headers: Mapping[str, str], clock: float) -> None:
    """Check the form of Authorization and the age of X-Amz-Date; `clock` is epoch seconds.

    Raises:
        SesError: 403 or 400, as the API reference's Common Errors have them.
    """
    authorization = headers.get("Authorization")
    if not authorization:
        raise SesError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION(authorization)
    if match is None:
        raise SesError(403, "IncompleteSignature", "Authorization header is not a complete Signature Version 4.")
    stamp = headers.get("X-Amz-Date", "")
    signed = match["signed"].split(";")
    signed_at = _epoch(stamp)
    if signed_at is None or stamp[:8] != (match["day"] or match["day_a"]) or not {"host", "x-amz-date"} <= set(signed):
        raise SesError(403, "IncompleteSignature", "Host and X-Amz-Date must be signed, on the day of the credential.")
    if missing := [name for name in signed if name not in headers]:
        raise SesError(403, "IncompleteSignature", f"The signed header {missing[0]} is missing.")
    if abs(clock - signed_at) > _MAX_SKEW_S:
        raise SesError(400, "RequestExpired", "The date stamp on the request is more than 15 minutes away.")
