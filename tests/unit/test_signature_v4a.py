"""SigV4A as the simulator verifies it, against the signatures of AWS's own signer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.simulator.answers import SesError
from bulksend.simulator.signature import check_signature, verify
from bulksend.simulator.signature_v4a import is_signature, public_key
from tests import signer_v4a
from tests.signer_v4a import ID, SECRET

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TARGET = "/v2/email/outbound-bulk-emails"
FORGED = "403 InvalidSignatureException"
BODY = b'{"EndpointId":"abc12345.xyz"}'


def signed(body: bytes = BODY, **how: Any) -> dict[str, str]:
    return signer_v4a.signed(AT, body, **how)


class Headers(dict[str, str]):
    """Of a request: their names are in any case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        return super().get(name.lower(), default)


def refusal(
    made: dict[str, str], *, body: bytes = BODY, target: str = TARGET, method: str = "POST", secret: str = SECRET
) -> str:
    """The code of what is wrong with a request; empty when it is well signed."""
    headers = Headers(made)
    try:
        signature = check_signature(headers, AT.timestamp())
        verify(signature, (ID, secret), headers, body, method=method, target=target)
    except SesError as error:
        return f"{error.http_status} {error.code}"
    return ""


def test_the_key_of_the_published_example() -> None:
    """The one of AWS's own test of its derivation."""
    assert public_key("AKISORANDOMAASORANDOM", "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom") == (
        0x15D242CEEBF8D8169FD6A8B5A746C41140414C3B07579038DA06AF89190FFFCB,
        0x0515242CEDD82E94799482E4C0514B505AFCCF2C0C98D6A553BF539F424C5EC0,
    )


def test_a_request_of_the_real_signer() -> None:
    assert refusal(signed()) == ""


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/v2/email/templates?PageSize=10&NextToken=a%2Bb%3D&Empty=", b""),
        ("GET", "/v2/email/suppression/addresses/a%2Bb%40example.com", b""),
        ("DELETE", "/v2/email/suppression/addresses/a%2Fb~%C3%BC%40example.com?b=2&a=1&a=%20", b""),
        ("PUT", "/v2/email/x", bytes(range(256)) * 40),
    ],
)
def test_any_request_of_the_real_signer(method: str, target: str, body: bytes) -> None:
    headers = signed(method=method, target=target, body=body, more={"X-Amz-Meta": "a   b  ", "Content-Type": "a/b"})
    assert refusal(headers, method=method, target=target, body=body) == ""
    assert refusal(headers, method=method, target=target, body=body + b" ") == FORGED


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"secret": SECRET + "x"}, FORGED),
        ({"access_key_id": "AKIDEXAMPLE"}, "403 UnrecognizedClientException"),
        ({"body": BODY + b" "}, FORGED),
        ({"target": "/v2/email/outbound-emails"}, FORGED),
        ({"method": "PUT"}, FORGED),
        ({"region_set": "eu-west-1"}, FORGED),
        ({"region_set": "eu-west-1,us-east-1"}, FORGED),
    ],
)
def test_what_another_has_signed(made: dict[str, Any], said: str) -> None:
    assert refusal(signed(**made)) == said


def test_what_was_changed_on_the_way() -> None:
    headers = signed(region_set="eu-west-1")
    assert refusal({**headers, "x-amz-region-set": "*"}) == FORGED
    headers = signed(more={"X-Amz-Meta": "a"})
    assert refusal({**headers, "x-amz-meta": "b"}) == FORGED
    assert refusal({**headers, "x-amz-date": "20261121T120001Z"}) == FORGED
    unsigned = headers["authorization"].replace("x-amz-region-set", "x-amz-meta")
    assert refusal({**headers, "authorization": unsigned}) == FORGED


def test_a_simulator_without_credentials_accepts_nothing() -> None:
    headers = Headers(signed())
    signature = check_signature(headers, AT.timestamp())
    with pytest.raises(SesError, match="AWS_SECRET_ACCESS_KEY"):
        verify(signature, ("", ""), headers, BODY, method="POST", target=TARGET)


SECRETS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+", min_size=1, max_size=40)


@settings(max_examples=60)
@given(SECRETS, st.binary(max_size=200), st.binary(min_size=1, max_size=2))
def test_any_key_and_body(secret: str, body: bytes, more: bytes) -> None:
    headers = signed(secret=secret, body=body)
    assert refusal(headers, body=body, secret=secret) == ""
    assert refusal(headers, body=body + more, secret=secret) == FORGED
    assert refusal(headers, body=body, secret=secret + "+") == FORGED


def der(r: int, s: int) -> str:
    parts = [bytes([2, len(n)]) + n for n in (i.to_bytes(i.bit_length() // 8 + 1, "big") for i in (r, s))]
    return (bytes([0x30, sum(map(len, parts))]) + b"".join(parts)).hex()


N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_signatures_that_are_none() -> None:
    key, message = public_key(ID, SECRET), b"m"
    assert not is_signature(der(0, 1), message, key)
    assert not is_signature(der(1, 0), message, key)
    assert not is_signature(der(N, 1), message, key)
    assert not is_signature(der(1, N), message, key)
    assert not is_signature(der(1, 1), message, key)
    for bad in (
        "",
        "30",
        "zz",
        "3000",
        "300202",
        "3006020101020101ff",
        "3006020101030101",
        "30070202000102010a",
        "3006020181020101",
    ):
        assert not is_signature(bad, message, key)


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_garbage_is_no_signature(garbage: bytes) -> None:
    assert not is_signature(garbage.hex(), b"m", public_key(ID, SECRET))
