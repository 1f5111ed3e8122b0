from __future__ import annotations

import base64
import json
from typing import Any

import botocore.session
import pytest
from botocore import exceptions
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from bulksend.model import Refused, Verdict
from bulksend.outcome import classify_refusal
from bulksend.ses import Envelope, EnvelopeAttachment
from bulksend.ses.answers import answer_of_error


def body(envelope: Envelope, *entries: bytes) -> dict[str, Any]:
    prefix, suffix = envelope.frame()
    parsed: dict[str, Any] = json.loads(prefix + b",".join(entries) + suffix)
    return parsed


def complaints(request: dict[str, Any]) -> str:
    """What botocore's own model of the service says of a request: unknown members, wrong types, lengths."""
    shape = botocore.session.get_session().get_service_model("sesv2").operation_model("SendBulkEmail").input_shape
    report = ParamValidator().validate(request, shape)
    return str(report.generate_report())


FULL = Envelope(
    from_address="Example News <news@example.com>",
    reply_to=("help@example.com", "desk@example.com"),
    configuration_set="marketing",
    from_identity_arn="arn:aws:ses:eu-west-1:123456789012:identity/example.com",
    feedback_address="bounces@example.com",
    feedback_identity_arn="arn:aws:ses:eu-west-1:123456789012:identity/example.com",
    tenant="news",
    inline={"subject": "Hello", "html": "<p>Hi</p>", "text": "Hi"},
    default_data={"plan": "free"},
    headers={"X-Campaign": "launch"},
    attachments=(
        EnvelopeAttachment("terms.pdf", b"%PDF\0\xff", "application/pdf"),
        EnvelopeAttachment("logo.png", b"png", "image/png", "logo", "inline", "The logo", "quoted_printable"),
    ),
    endpoint_id="abc12345.xyz",
)


def test_a_full_request_is_what_the_service_model_says() -> None:
    entry = {
        "Destination": {"ToAddresses": ["a@example.com"]},
        "ReplacementTags": [{"Name": "bulksend-row", "Value": "1"}],
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": '{"plan":"pro"}'}},
    }
    request = body(FULL, json.dumps(entry).encode())
    assert complaints(request) == ""
    assert request == {
        "FromEmailAddress": "Example News <news@example.com>",
        "ReplyToAddresses": ["help@example.com", "desk@example.com"],
        "ConfigurationSetName": "marketing",
        "FromEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
        "FeedbackForwardingEmailAddress": "bounces@example.com",
        "FeedbackForwardingEmailAddressIdentityArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
        "TenantName": "news",
        "EndpointId": "abc12345.xyz",
        "DefaultContent": {
            "Template": {
                "TemplateContent": {"Subject": "Hello", "Html": "<p>Hi</p>", "Text": "Hi"},
                "Headers": [{"Name": "X-Campaign", "Value": "launch"}],
                "Attachments": [
                    {
                        "FileName": "terms.pdf",
                        "RawContent": base64.b64encode(b"%PDF\0\xff").decode(),
                        "ContentType": "application/pdf",
                    },
                    {
                        "FileName": "logo.png",
                        "RawContent": base64.b64encode(b"png").decode(),
                        "ContentType": "image/png",
                        "ContentId": "logo",
                        "ContentDisposition": "INLINE",
                        "ContentDescription": "The logo",
                        "ContentTransferEncoding": "QUOTED_PRINTABLE",
                    },
                ],
                "TemplateData": '{"plan":"free"}',
            }
        },
        "BulkEmailEntries": [entry],
    }


def test_the_validator_can_complain() -> None:
    assert "Unknown parameter" in complaints({"DefaultContent": {}, "BulkEmailEntries": [], "Colour": "red"})


def test_what_is_not_given_is_left_out() -> None:
    assert body(Envelope("a@example.com", template="launch")) == {
        "FromEmailAddress": "a@example.com",
        "DefaultContent": {"Template": {"TemplateName": "launch", "TemplateData": "{}"}},
        "BulkEmailEntries": [],
    }


def test_a_template_by_its_arn() -> None:
    request = body(Envelope("a@example.com", template_arn="arn:aws:ses:eu-west-1:123456789012:template/launch"))
    assert request["DefaultContent"]["Template"]["TemplateArn"].endswith("template/launch")
    assert complaints(request) == ""


@pytest.mark.parametrize(
    "error", [exceptions.MissingDependencyException(msg="awscrt"), exceptions.EndpointProviderError(msg="FIPS")]
)
def test_what_the_sdk_cannot_do_at_all_is_not_tried_again(error: Exception) -> None:
    answer = answer_of_error(error, 0, sent=False)
    assert isinstance(answer, Refused)
    assert classify_refusal(answer) is Verdict.CAMPAIGN_AT_FAULT


TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT, TEXT, st.dictionaries(TEXT, TEXT | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), max_size=4))
def test_any_text_survives(subject: str, html: str, data: dict[str, Any]) -> None:
    request = body(Envelope("a@example.com", inline={"subject": subject, "html": html}, default_data=data))
    template = request["DefaultContent"]["Template"]
    assert template["TemplateContent"] == {"Subject": subject, "Html": html}
    assert json.loads(template["TemplateData"]) == data
