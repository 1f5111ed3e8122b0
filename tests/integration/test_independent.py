"""The independent server itself: that it is one, and that a test gets it empty."""

from __future__ import annotations

import json
import urllib.request

from tests.independent import Ministack


def send(server: Ministack, subject: str) -> int:
    message = {
        "FromEmailAddress": "news@example.com",
        "Destination": {"ToAddresses": ["a@example.com"]},
        "Content": {"Simple": {"Subject": {"Data": subject}, "Body": {"Text": {"Data": "x"}}}},
    }
    credential = "AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/ses/aws4_request"
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{server.endpoint_url}/v2/email/outbound-emails",
        data=json.dumps(message).encode(),
        headers={
            "Content-Type": "application/json",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  loopback
        status: int = answer.status
    return status


def verify(server: Ministack) -> None:
    credential = "AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/ses/aws4_request"
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{server.endpoint_url}/v2/email/identities",
        data=b'{"EmailIdentity": "news@example.com"}',
        headers={
            "Content-Type": "application/json",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",
        },
    )
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  loopback


def test_it_lists_what_was_sent(ministack: Ministack) -> None:
    assert ministack.messages() == []
    verify(ministack)
    assert send(ministack, "one") == 200
    assert [message["Subject"] for message in ministack.messages()] == ["one"]


def test_each_test_gets_it_empty(ministack: Ministack) -> None:
    assert ministack.messages() == []
