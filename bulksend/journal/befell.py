"""What befell a mail, as bits of a number, and how mails and rows count by them. Pure.

A bit is set once and stays, and the earliest time counts: so it is the same in whatever order events come, and however
often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bulksend.event import BounceKind, EventType, MailEvent, SuppressionReason

__all__ = [
    "COPIES",
    "MAILS",
    "REFUSED",
    "REFUSED_BITS",
    "UNSUBSCRIBED",
    "Mail",
    "Tallies",
    "bits_of",
    "suppression_reason",
]

TYPE_BITS = {kind: 1 << place for place, kind in enumerate(EventType)}
BOUNCE_BITS = {kind: 1 << place for place, kind in enumerate(BounceKind, start=len(EventType))}
# As SES counts them (Developer Guide, Sender reputation; Notification contents, bounceSubType and complaintSubType).
HARD = 1 << 16
"""It bounced for good, and not for the account's own suppression list."""
COMPLAINED = 1 << 17
"""Somebody complained of this mail."""
UNSENT = 1 << 18
"""SES took it and did not send it."""

REFUSED = frozenset({EventType.REJECT, EventType.RENDERING_FAILURE})
"""SES had accepted the mail and did not send it."""
REFUSED_BITS = TYPE_BITS[EventType.REJECT] | TYPE_BITS[EventType.RENDERING_FAILURE]
UNSUBSCRIBED = TYPE_BITS[EventType.SUBSCRIPTION]
WORDS = {bit: str(kind) for kind, bit in (*TYPE_BITS.items(), *BOUNCE_BITS.items())}
MAILS = "mails"
COPIES = "copies"
ON_ACCOUNT_LIST = "onaccountsuppressionlist"
NO_SPAM = "not-spam"
"""A feedback type that takes a complaint back (Internet Assigned Numbers Authority, Messaging Abuse Reporting)."""


@dataclass(slots=True)
class Mail:
    """What is known of a message id of a row. `known` is what was known before; None where nothing was."""

    id: int
    campaign_id: str
    row: int
    message_id: str
    sent_at: float
    befell: int = 0
    known: tuple[float, int] | None = None

    def hear(self, event: MailEvent) -> None:
        """Take up an event; a second time changes nothing."""
        self.befell |= bits_of(event)
        self.sent_at = min(self.sent_at, event.sent_at)

    @property
    def is_changed(self) -> bool:
        """Whether more is known than before."""
        return self.known != (self.sent_at, self.befell)


class Tallies:
    """By how much the numbers of campaigns grow. Keys: (campaign id, second) and (campaign id, what)."""

    def __init__(self) -> None:
        self.sent: dict[tuple[str, int], list[int]] = {}
        """delivered, bounced, unsent, complained."""
        self.became: Counter[tuple[str, str]] = Counter()
        self.copies = 0

    def take_up(self, mails: Iterable[Mail], *, counted: int = 0) -> None:
        """All mails of a row, of which some may be new or changed. `counted` are bits it counts in by other ways."""
        before = after = counted
        heard_before = heard = sent_before = sent = 0
        campaign_id = ""
        for mail in mails:
            campaign_id = mail.campaign_id
            heard += 1
            after |= mail.befell
            sent += not mail.befell & REFUSED_BITS
            if mail.known is not None:
                heard_before += 1
                sent_before += not mail.known[1] & REFUSED_BITS
                before |= mail.known[1]
                if mail.is_changed:
                    self._count(campaign_id, *mail.known, -1)
            if mail.is_changed:
                self._count(campaign_id, mail.sent_at, mail.befell, +1)
        if heard and not heard_before:
            self.became[campaign_id, MAILS] += 1
        # What SES refused after all nobody got, and it may be heard of it later than of the next mail.
        if sent > 1 >= sent_before:
            self.became[campaign_id, COPIES] += 1
            self.copies += 1
        elif sent_before > 1 >= sent:
            self.became[campaign_id, COPIES] -= 1
        grown = after & ~before
        for bit, word in WORDS.items():
            if grown & bit:
                self.became[campaign_id, word] += 1

    def _count(self, campaign_id: str, sent_at: float, befell: int, by: int) -> None:
        counts = self.sent.setdefault((campaign_id, int(sent_at // 1)), [0, 0, 0, 0])
        if befell & HARD:
            counts[1] += by
        elif befell & TYPE_BITS[EventType.DELIVERY]:
            counts[0] += by
        elif befell & UNSENT:
            counts[2] += by
        if befell & COMPLAINED:
            counts[3] += by


def bits_of(event: MailEvent) -> int:
    """What it says of its mail."""
    bits = TYPE_BITS[event.type]
    if event.bounce is not None:
        bits |= BOUNCE_BITS[event.bounce]
    if event.type in REFUSED:
        return bits | UNSENT
    if event.type is EventType.BOUNCE and event.bounce is BounceKind.PERMANENT:
        return bits | (UNSENT if _is_on_account_list(event) else HARD)
    if event.type is EventType.COMPLAINT and not _is_taken_back(event):
        return bits | (UNSENT if _is_on_account_list(event) else COMPLAINED)
    return bits


def suppression_reason(event: MailEvent) -> SuppressionReason | None:
    """Why those whom it names are not written to from now on; None where they may be."""
    if event.type is EventType.BOUNCE and event.bounce is BounceKind.PERMANENT:
        return SuppressionReason.BOUNCE
    if event.type is EventType.COMPLAINT and not _is_taken_back(event):
        return SuppressionReason.COMPLAINT
    if event.from_all:
        return SuppressionReason.UNSUBSCRIBE
    return None


def _is_on_account_list(event: MailEvent) -> bool:
    return event.subtype.lower() == ON_ACCOUNT_LIST


def _is_taken_back(event: MailEvent) -> bool:
    return NO_SPAM in event.detail.lower()
