"""Reports of SES as its documents show them, and the three ways in which they come to a queue."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

SENT_AT = "2026-11-20T10:00:00.123Z"
SENT_AT_S = 1795168800.123
HAPPENED_AT = "2026-11-20T10:00:04.500Z"
HAPPENED_AT_S = 1795168804.5
CAMPAIGN = "abcdefghijklmnopqrstuvwxyz"
ADDRESS = "ann@example.com"

SPELLINGS = {
    "send": ("Send", "SEND", "send"),
    "reject": ("Reject", "REJECT", "reject"),
    "bounce": ("Bounce", "BOUNCE", "bounce"),
    "complaint": ("Complaint", "COMPLAINT", "complaint"),
    "delivery": ("Delivery", "DELIVERY", "delivery"),
    "open": ("Open", "OPEN", "open"),
    "click": ("Click", "CLICK", "click"),
    "rendering_failure": ("Rendering Failure", "RENDERING_FAILURE", "renderingFailure"),
    "delivery_delay": ("DeliveryDelay", "DELIVERY_DELAY", "deliveryDelay"),
    "subscription": ("Subscription", "SUBSCRIPTION", "subscription"),
}
"""Every type, as one document or another writes it."""


def objects(address: str = ADDRESS, at: str = HAPPENED_AT) -> dict[str, dict[str, Any]]:
    """By type: the object that tells of it, by its name."""
    person = {"emailAddress": address}
    return {
        "send": {"send": {}},
        "reject": {"reject": {"reason": "Bad content"}},
        "bounce": {
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    person | {"action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
                ],
                "timestamp": at,
                "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
                "reportingMTA": "dsn; mta.example.com",
            }
        },
        "complaint": {
            "complaint": {
                "complainedRecipients": [person],
                "timestamp": at,
                "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000001",
                "complaintSubType": None,
                "userAgent": "Amazon SES Mailbox Simulator",
                "complaintFeedbackType": "abuse",
                "arrivalDate": at,
            }
        },
        "delivery": {
            "delivery": {
                "timestamp": at,
                "processingTimeMillis": 2004,
                "recipients": [address],
                "smtpResponse": "250 2.6.0 Message received",
                "reportingMTA": "mta.example.com",
            }
        },
        "open": {"open": {"ipAddress": "192.0.2.1", "timestamp": at, "userAgent": "Mozilla/5.0"}},
        "click": {
            "click": {
                "ipAddress": "192.0.2.1",
                "link": "https://example.com/offer",
                "linkTags": {"samplekey0": ["samplevalue0"]},
                "timestamp": at,
                "userAgent": "Mozilla/5.0",
            }
        },
        "rendering_failure": {
            "failure": {"errorMessage": "Attribute 'name' is not present.", "templateName": "launch"}
        },
        "delivery_delay": {
            "deliveryDelay": {
                "timestamp": at,
                "delayType": "TransientCommunicationFailure",
                "expirationTime": at,
                "delayedRecipients": [
                    person | {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}
                ],
            }
        },
        "subscription": {
            "subscription": {
                "contactList": "news",
                "timestamp": at,
                "source": "UnsubscribeHeader",
                "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
                "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
            }
        },
    }


def report(
    type_: str,
    *,
    word: str | None = None,
    message_id: str = "0100-1",
    row: int | None = 17,
    campaign: str | None = CAMPAIGN,
    address: str = ADDRESS,
    at: str = HAPPENED_AT,
    tags: Mapping[str, Sequence[str]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A report as a configuration set publishes it. `about` is laid over the object that tells of it."""
    own: dict[str, Sequence[str]] = {"ses:configuration-set": ["marketing"], "ses:source-ip": ["192.0.2.7"]}
    if campaign is not None:
        own["bulksend-campaign"] = [campaign]
    if row is not None:
        own["bulksend-row"] = [str(row)]
    ((name, found),) = objects(address, at)[type_].items()
    return {
        "eventType": word or SPELLINGS[type_][0],
        "mail": {
            "timestamp": SENT_AT,
            "source": "Example News <news@example.com>",
            "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
            "sendingAccountId": "123456789012",
            "messageId": message_id,
            "destination": [address],
            "headersTruncated": False,
            "headers": [{"name": "Subject", "value": "Launch"}],
            "commonHeaders": {"from": ["Example News <news@example.com>"], "to": [address], "messageId": message_id},
            "tags": own if tags is None else tags,
        },
        name: found | dict(about or {}),
    }


def notification(type_: str, **more: Any) -> dict[str, Any]:
    """The same as an identity's notification: it has no tags."""
    found = report(type_, **more)
    found["notificationType"] = found.pop("eventType")
    del found["mail"]["tags"]
    return found


def raw(found: Mapping[str, Any]) -> str:
    """As SNS delivers it raw."""
    return json.dumps(found)


def enveloped(found: Mapping[str, Any] | str) -> str:
    """In SNS's envelope."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:eu-west-1:123456789012:events",
            "Subject": "Amazon SES Email Event Notification",
            "Message": found if isinstance(found, str) else json.dumps(found),
            "Timestamp": HAPPENED_AT,
            "SignatureVersion": "1",
            "Signature": "EXAMPLE",
        }
    )


def bridged(found: Mapping[str, Any]) -> str:
    """As EventBridge hands it on."""
    return json.dumps(
        {
            "version": "0",
            "id": "12a18625-3cb0-f0c6-4b1a-8c81d0example",
            "detail-type": "Email Event",
            "source": "aws.ses",
            "account": "123456789012",
            "time": HAPPENED_AT[:19] + "Z",
            "region": "eu-west-1",
            "resources": ["arn:aws:ses:eu-west-1:123456789012:configuration-set/marketing"],
            "detail": found,
        }
    )


SHAPES = {"raw": raw, "enveloped": enveloped, "bridged": bridged}

NOTHING_TO_COUNT = {
    "greeting": "Successfully validated SNS topic for Amazon SES event publishing.",
    "greeting in an envelope": enveloped("Successfully validated SNS topic for Amazon SES event publishing."),
    "confirmation": json.dumps({"Type": "SubscriptionConfirmation", "Message": "You have chosen to subscribe"}),
    "farewell": json.dumps({"Type": "UnsubscribeConfirmation", "Message": "You have chosen to deactivate"}),
    "identity's greeting": raw({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have"}),
    "received mail": raw({"notificationType": "Received", "mail": {}, "receipt": {}}),
    "advice": bridged({"data": "{}", "version": "1.0.0"}),
}
