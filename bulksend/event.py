"""What SES reports of mails after it has accepted them, in our words, whatever way the report came. Pure.

Sources: Developer Guide, Contents of event data that Amazon SES publishes; Examples of event data; Amazon SNS
notification contents for Amazon SES.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

__all__ = ["FATES", "BounceKind", "EventType", "MailEvent", "Suppression", "SuppressionReason"]


@unique
class EventType(StrEnum):
    """What SES reports of a mail (Developer Guide, Contents of event data that Amazon SES publishes)."""

    SEND = "send"
    REJECT = "reject"
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    DELIVERY = "delivery"
    OPEN = "open"
    CLICK = "click"
    RENDERING_FAILURE = "rendering_failure"
    DELIVERY_DELAY = "delivery_delay"
    SUBSCRIPTION = "subscription"


FATES = {
    EventType.DELIVERY: "delivered",
    EventType.BOUNCE: "bounced",
    EventType.COMPLAINT: "complained",
    EventType.DELIVERY_DELAY: "delayed",
    EventType.REJECT: "rejected",
    EventType.RENDERING_FAILURE: "rendering_failed",
    EventType.OPEN: "opened",
    EventType.CLICK: "clicked",
    EventType.SUBSCRIPTION: "unsubscribed",
}
"""What is said of a mail, by the event that tells it. That it was sent is said by SES's answer already."""


@unique
class BounceKind(StrEnum):
    """The bounceType of a bounce event."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One thing that became of one mail. Times are epoch seconds; addresses are trimmed and lower-cased.

    `key` is of 16 bytes and the same for every copy of the report. `campaign_id` and `row` are of our own tags: empty
    and None where the mail has none. `recipients` are whom it concerns, where it says so. `subtype` and `detail` are
    SES's and the receiving server's own words: of a bounce its bounceSubType and the diagnostic code, of a complaint
    its complaintSubType and feedback type, of a delay its type, of a Reject and a Rendering Failure the reason, of a
    click the link. An identity's notification is not `published` by a configuration set, and has no tags. A
    subscription is `from_all` if who got the mail has unsubscribed from everything.
    """

    key: bytes
    type: EventType
    message_id: str
    at: float
    sent_at: float
    campaign_id: str = ""
    row: int | None = None
    recipients: tuple[str, ...] = ()
    bounce: BounceKind | None = None
    subtype: str = ""
    detail: str = ""
    published: bool = True
    from_all: bool = False


@unique
class SuppressionReason(StrEnum):
    """Why an address is not written to. The first two are SES's own (API reference, SuppressedDestination)."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that is not to be written to, as the snapshot spells it: trimmed, domain in Punycode, lower-cased.

    `source` says where it comes from, for people: an event's message id, the account's list, a file, a campaign.
    """

    address: str
    reason: SuppressionReason
    source: str
    at: float
