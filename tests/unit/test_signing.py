"""Our signatures are the SDK's own, whatever is signed."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.aws.signing import Credentials, Signer

ADDED = {"authorization", "date", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
NAMES = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=20).filter(
    lambda name: name.lower() not in ADDED
)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=8, unique_by=lambda pair: pair[0].lower())
KEYS = st.text(string.ascii_letters + string.digits + "+/=", min_size=1, max_size=60)
REGIONS = st.from_regex(r"[a-z]{2}-[a-z]{4,9}-[1-9]", fullmatch=True)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
PATHS = st.lists(st.text(string.ascii_letters + string.digits + "-_~ %é", min_size=1, max_size=12), max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)


def by_the_sdk(  # noqa: PLR0917  a request has so many parts
    credentials: Credentials, region: str, method: str, path: str, headers: list[tuple[str, str]], body: bytes, at: Any
) -> str:
    """What the SDK would write into the Authorization header."""
    request = AWSRequest(method=method, url=f"https://example.com{path}", headers=dict(headers), data=body)
    sdk = SdkCredentials(credentials.access_key, credentials.secret_key, credentials.token)
    with patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(sdk, "ses", region).add_auth(request)
    return str(request.headers["Authorization"])


@settings(deadline=None)
@given(
    credentials=st.builds(Credentials, KEYS, KEYS, st.none() | KEYS),
    region=REGIONS,
    method=st.sampled_from(["POST", "GET", "PUT"]),
    path=PATHS,
    headers=HEADERS,
    bodies=st.lists(st.binary(max_size=200), min_size=1, max_size=3),
    times=st.lists(TIMES, min_size=1, max_size=3),
)
def test_equal_to_the_sdks_own(  # noqa: PLR0917  a request has so many parts
    credentials: Credentials,
    region: str,
    method: str,
    path: str,
    headers: list[tuple[str, str]],
    bodies: list[bytes],
    times: list[datetime],
) -> None:
    signer = Signer(region, "ses")
    for at in times:
        head = signer.head(credentials, method, path, [("Host", "example.com"), *headers], at.timestamp())
        for body in bodies:
            ours = head.authorization(sha256(body).hexdigest())
            assert ours == by_the_sdk(credentials, region, method, path, headers, body, at)


def test_the_key_of_the_day_is_made_anew_for_other_credentials() -> None:
    signer = Signer("eu-west-1", "ses")
    at = datetime(2026, 11, 21, 9, tzinfo=UTC)
    for secret in ("first", "second", "first"):
        credentials = Credentials("AKIAIOSFODNN7EXAMPLE", secret)
        ours = signer.head(credentials, "POST", "/", [("Host", "example.com")], at.timestamp())
        theirs = by_the_sdk(credentials, "eu-west-1", "POST", "/", [], b"{}", at)
        assert ours.authorization(sha256(b"{}").hexdigest()) == theirs


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials("AKIAIOSFODNN7EXAMPLE", "the-secret", "the-token"))
    assert "the-secret" not in shown
    assert "the-token" not in shown
