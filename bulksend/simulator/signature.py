"""Whether a request is signed: SigV4 by its form and its age, SigV4A by its signature too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from bulksend.simulator.answers import SesError
from bulksend.simulator.signature_v4a import canonical_request, is_signature, public_key, string_to_sign

__all__ = ["Signature", "check_signature", "invalid_signature", "verify"]

_MAX_SKEW_S = 900
_AUTHORIZATION = re.compile(
    r"(?:AWS4-HMAC-SHA256 Credential=[^/,\s]+/(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/(?P<service>[a-z]+)/aws4_request"
    r"|AWS4-ECDSA-P256-SHA256 Credential=(?P<key_a>[^/,\s]+)/(?P<day_a>\d{8})/ses/aws4_request)"
    r",\s*SignedHeaders=(?P<signed>[a-z0-9-]+(?:;[a-z0-9-]+)*),\s*Signature=(?P<signature>[0-9a-f]{64,160})"
).fullmatch
_ALL_REGIONS = "*"
_SES = "ses"
"""The service that SES's requests are signed for."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What an Authorization says. SigV4 is for one `region`; SigV4A names none there, and names the access key here."""

    region: str
    access_key_id: str
    signed: tuple[str, ...]
    stamp: str
    value: str

    @property
    def is_v4a(self) -> bool:
        """Whether it is a SigV4A."""
        return not self.region


@lru_cache(maxsize=64)
def _epoch(stamp: str) -> float | None:
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def invalid_signature(text: str) -> SesError:
    """InvalidSignatureException: a signature that is not this request's."""
    return SesError(403, "InvalidSignatureException", text)


def check_signature(headers: Mapping[str, str], clock: float, *, service: str = _SES) -> Signature:
    """Check the form of Authorization and the age of X-Amz-Date; `clock` is epoch seconds. SigV4A is for SES alone.

    Raises:
        SesError: 403 or 400, as the API reference's Common Errors have them.
    """
    authorization = headers.get("Authorization")
    if not authorization:
        raise SesError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    match = _AUTHORIZATION(authorization)
    if match is None or (match["service"] or _SES) != service:
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
    return Signature(match["region"] or "", match["key_a"] or "", tuple(signed), stamp, match["signature"])


def verify(
    signature: Signature,
    credentials: tuple[str, str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    target: str,
) -> None:
    """Verify a SigV4A with the public key of the credentials, an access key id and its secret.

    `target` is path and query as they are on the wire.

    Raises:
        SesError: 403, for a signature by another key or of another request, and one that is not for all Regions.
    """
    access_key_id, secret = credentials
    if not (access_key_id and secret):
        raise invalid_signature(
            "The simulator verifies SigV4A with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of its own environment, "
            "which were not there when it was started."
        )
    if signature.access_key_id != access_key_id:
        raise SesError(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if "x-amz-region-set" not in signature.signed or headers["X-Amz-Region-Set"].strip() != _ALL_REGIONS:
        raise invalid_signature(f"X-Amz-Region-Set must be signed, and {_ALL_REGIONS}.")
    canonical = canonical_request(method, target, headers, signature.signed, body)
    message = string_to_sign(signature.stamp, f"{signature.stamp[:8]}/ses/aws4_request", canonical)
    if not is_signature(signature.value, message, public_key(access_key_id, secret)):
        raise invalid_signature(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )
