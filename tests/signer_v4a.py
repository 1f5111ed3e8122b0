"""AWS's own signer, for SigV4A. It works without botocore's use of it, which the tests switch off."""

from __future__ import annotations

import io
from datetime import datetime

from awscrt import auth, http

ID, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
"""The credentials of the tests' environment."""


def signed(
    at: datetime,
    body: bytes,
    *,
    method: str = "POST",
    target: str = "/v2/email/outbound-bulk-emails",
    host: str = "127.0.0.1:8025",
    region_set: str = "*",
    access_key_id: str = ID,
    secret: str = SECRET,
    more: dict[str, str] | None = None,
) -> dict[str, str]:
    """The headers of a signed request, by their names in lower case."""
    headers = http.HttpHeaders([("Host", host), *(more or {}).items()])
    request = http.HttpRequest(method, target, headers, io.BytesIO(body))
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4_ASYMMETRIC,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=auth.AwsCredentialsProvider.new_static(access_key_id, secret),
        region=region_set,
        service="ses",
        date=at,
    )
    auth.aws_sign_request(request, config).result(20)
    return {name.lower(): value for name, value in request.headers}
