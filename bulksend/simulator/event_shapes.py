"""Events as SES writes them, and the three shapes in which they come to a queue. Pure.

Sources: Developer Guide, Contents of event data that Amazon SES publishes to Amazon SNS; Examples of event data that
Amazon SES publishes to Amazon SNS; Monitoring SES events using Amazon EventBridge; Amazon SNS, HTTP/HTTPS notification
JSON format (which a queue that is subscribed without raw delivery gets too).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from bulksend.errors import ConfigError
from bulksend.event import EventType
from bulksend.simulator.event_mails import ACCOUNT_ID, PROCESSING_S, Mail, iso

__all__ = ["BOUNCE", "DEFAULT_TYPES", "NAMES", "Fate", "event", "garbage", "message", "read_fate", "read_type"]

NAMES = {
    EventType.SEND: "Send",
    EventType.REJECT: "Reject",
    EventType.BOUNCE: "Bounce",
    EventType.COMPLAINT: "Complaint",
    EventType.DELIVERY: "Delivery",
    EventType.OPEN: "Open",
    EventType.CLICK: "Click",
    EventType.RENDERING_FAILURE: "Rendering Failure",
    EventType.DELIVERY_DELAY: "DeliveryDelay",
    EventType.SUBSCRIPTION: "Subscription",
}
"""The eventType of each."""

DEFAULT_TYPES = frozenset(NAMES) - {EventType.SEND, EventType.OPEN, EventType.CLICK}

_DETAIL_TYPES = {
    EventType.SEND: "Email Sent",
    EventType.REJECT: "Email Rejected",
    EventType.BOUNCE: "Email Bounced",
    EventType.COMPLAINT: "Email Complaint Received",
    EventType.DELIVERY: "Email Delivered",
    EventType.OPEN: "Email Opened",
    EventType.CLICK: "Email Clicked",
    EventType.RENDERING_FAILURE: "Email Rendering Failed",
    EventType.DELIVERY_DELAY: "Email Delivery Delayed",
    EventType.SUBSCRIPTION: "Email Subscribed",
}
"""EventBridge's detail-type of each."""

_NO_HEADERS = frozenset({EventType.RENDERING_FAILURE, EventType.DELIVERY_DELAY})
"""The types in whose examples the mail has no headers."""

_BOUNCES = {
    ("Permanent", "Suppressed"): (
        "5.1.1",
        "Amazon SES has suppressed sending to this address because it has a recent history of bouncing.",
    ),
    ("Permanent", "OnAccountSuppressionList"): (
        "5.1.1",
        "Amazon SES did not send the message to this address because it is on the suppression list for your account.",
    ),
    ("Transient", "MailboxFull"): ("4.2.2", "smtp; 452 4.2.2 mailbox full"),
    ("Transient", "General"): ("4.0.0", "smtp; 450 4.0.0 automatic reply"),
}
"""Status and diagnostic code by type and subtype."""
_BY_TYPE = {
    "Permanent": ("5.1.1", "smtp; 550 5.1.1 user unknown"),
    "Transient": ("4.4.7", "smtp; 451 4.4.7 delivery failed"),
    "Undetermined": ("5.0.0", "smtp; 554 5.0.0 delivery failed"),
}
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"
_EXPIRY_S = 14 * 3600.0
"""For how long SES tries to deliver (Developer Guide, Contents of event data: expirationTime)."""


class Fate(NamedTuple):
    """One thing that becomes of a mail; `bounce` is the bounceType of a bounce, `subtype` its bounceSubType."""

    type: EventType
    bounce: str = ""
    subtype: str = ""


BOUNCE = Fate(EventType.BOUNCE, "Permanent", "General")


def read_type(name: object) -> EventType:
    """The type of this name: SES's own, or with other case, spaces and underscores.

    Raises:
        ConfigError: for a name that SES does not have.
    """
    plain = str(name).replace(" ", "").replace("_", "").lower()
    for kind, known in NAMES.items():
        if plain == known.replace(" ", "").lower():
            return kind
    raise ConfigError(f"there is no event {name!r}", hint=f"One of: {', '.join(NAMES.values())}.")


def read_fate(text: object) -> Fate:
    """What a rule names: a type; a bounce may have its kind: `Bounce/Transient`, `Bounce/Transient/MailboxFull`.

    Raises:
        ConfigError: for anything else.
    """
    name, *more = str(text).split("/")
    kind = read_type(name)
    if kind is not EventType.BOUNCE:
        if more:
            raise ConfigError(f"the event {name} has no kinds, so {text!r} is none")
        return Fate(kind)
    bounce, subtype = [*more, *("Permanent", "General")[len(more) :]][:2]
    if len(more) > 2 or bounce not in _BY_TYPE or not subtype:  # noqa: PLR2004 - type and subtype
        raise ConfigError(f"there is no bounce {text!r}", hint=f"Bounce/TYPE/SUBTYPE; TYPE is {', '.join(_BY_TYPE)}.")
    return Fate(kind, bounce, subtype)


def event(mail: Mail, fate: Fate, recipients: list[str], nth: int) -> dict[str, Any]:
    """The event that tells of this fate of these recipients; `nth` of its mail's, below 16, in its feedbackId."""
    kind, written = fate.type, dict(mail.written)
    if kind in _NO_HEADERS:
        del written["headers"], written["commonHeaders"]
    at = mail.processed
    feedback = f"010{nth:x}{mail.message_id[4:]}"
    told: dict[str, Any]
    match kind:
        case EventType.SEND:
            told = {"send": {}}
        case EventType.REJECT:
            told = {"reject": {"reason": "Bad content"}}
        case EventType.BOUNCE:
            told = {"bounce": _bounce(fate, recipients, at, feedback)}
        case EventType.COMPLAINT:
            told = {
                "complaint": {
                    "complainedRecipients": [{"emailAddress": address} for address in recipients],
                    "timestamp": at,
                    "feedbackId": feedback,
                    "complaintSubType": None,
                    "userAgent": _BROWSER,
                    "complaintFeedbackType": "abuse",
                    "arrivalDate": at,
                }
            }
        case EventType.DELIVERY:
            written["tags"] = {**written["tags"], "ses:outgoing-ip": ["192.0.2.0"]}
            told = {
                "delivery": {
                    "timestamp": at,
                    "processingTimeMillis": round(PROCESSING_S * 1000),
                    "recipients": recipients,
                    "smtpResponse": "250 2.6.0 Message received",
                    "remoteMtaIp": "192.0.2.25",
                    "reportingMTA": "mta.example.com",
                }
            }
        case EventType.OPEN:
            told = {"open": {"ipAddress": "192.0.2.1", "timestamp": at, "userAgent": _BROWSER}}
        case EventType.CLICK:
            link = {"link": "https://example.com/", "linkTags": None}
            told = {"click": {"ipAddress": "192.0.2.1", **link, "timestamp": at, "userAgent": _BROWSER}}
        case EventType.RENDERING_FAILURE:
            text = "Attribute 'name' is not present in the rendering data."
            told = {"failure": {"errorMessage": text, "templateName": mail.template}}
        case EventType.DELIVERY_DELAY:
            diagnosis = {"status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host"}
            told = {
                "deliveryDelay": {
                    "timestamp": at,
                    "delayType": "TransientCommunicationFailure",
                    "expirationTime": iso(mail.at + _EXPIRY_S),
                    "delayedRecipients": [{"emailAddress": address, **diagnosis} for address in recipients],
                }
            }
        case EventType.SUBSCRIPTION:
            told = {"subscription": _subscription(at)}
    return {"eventType": NAMES[kind], "mail": written, **told}


def _bounce(fate: Fate, recipients: list[str], at: str, feedback: str) -> dict[str, Any]:
    status, diagnosis = _BOUNCES.get((fate.bounce, fate.subtype)) or _BY_TYPE[fate.bounce]
    by_ses = not diagnosis.startswith("smtp")
    more = {"action": "failed", "status": status, "diagnosticCode": diagnosis}
    return {
        "bounceType": fate.bounce,
        "bounceSubType": fate.subtype,
        "bouncedRecipients": [{"emailAddress": address, **more} for address in recipients],
        "timestamp": at,
        "feedbackId": feedback,
        "reportingMTA": "dns; amazonses.com" if by_ses else "dsn; mta.example.com",
    }


def _subscription(at: str) -> dict[str, Any]:
    topics = [{"topicName": "news", "subscriptionStatus": "OptOut"}]
    return {
        "contactList": "contacts",
        "timestamp": at,
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": topics},
        "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": topics},
    }


def message(shape: str, told: dict[str, Any], mail: Mail, kind: EventType, number: int) -> str:
    """The body of the queue's message: `shape` is sns, raw or eventbridge; `number` makes the envelope's id."""
    text = orjson.dumps(told)
    envelope_id = f"{number:08x}-0000-4000-8000-{mail.message_id[4:16]}"
    if shape == "sns":
        topic = f"arn:aws:sns:{mail.region}:{ACCOUNT_ID}:ses-events"
        host = f"https://sns.{mail.region}.amazonaws.com"
        envelope: dict[str, Any] = {
            "Type": "Notification",
            "MessageId": envelope_id,
            "TopicArn": topic,
            "Subject": "Amazon SES Email Event Notification",
            "Message": text.decode() + "\n",
            "Timestamp": mail.processed,
            "SignatureVersion": "1",
            "Signature": "RVhBTVBMRQ==",
            "SigningCertURL": f"{host}/SimpleNotificationService-0123456789abcdef.pem",
            "UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={topic}:{envelope_id}",
        }
    elif shape == "eventbridge":
        sets = [f"arn:aws:ses:{mail.region}:{ACCOUNT_ID}:configuration-set/{name}" for name in mail.configuration_sets]
        envelope = {
            "version": "0",
            "id": envelope_id,
            "detail-type": _DETAIL_TYPES[kind],
            "source": "aws.ses",
            "account": ACCOUNT_ID,
            "time": mail.processed[:-5] + "Z",
            "region": mail.region,
            "resources": sets,
            "detail": orjson.Fragment(text),
        }
    else:
        return text.decode()
    return orjson.dumps(envelope).decode()


def garbage(text: str, nth: int) -> str:
    """A message that nobody can read, made of a good one; they take turns."""
    match nth % 4:
        case 0:
            return "No JSON, and no event."
        case 1:
            return text[: len(text) // 2]
        case 2:
            return '["an", "event", "is", "an", "object"]'
        case _:
            return '{"eventType":"Bounce","bounce":{"bounceType":"Permanent"}}'
