"""The store of events: what SES has reported of mails, and whom not to write to. Apart from the journal: another file.

Its writes must not slow intents. What is asked for is the same for both stores.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason

__all__ = ["EventRecords", "EventTally", "Evidence", "Fate", "Rates", "Recorded"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was new in a batch of events; each report is counted once, however often it comes.

    `campaigns` are the ids of those whose mails they tell of. `copies` are rows of which a second mail was seen for the
    first time, those aside that SES refused after all (REJECT, RENDERING_FAILURE): nobody got them. `suppressed` are
    addresses that are not written to from now on.
    """

    types: Mapping[EventType, int]
    bounces: Mapping[BounceKind, int]
    campaigns: frozenset[str]
    copies: int
    suppressed: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """That a mail of a row was accepted: its message id, and `at` when (mail.timestamp, epoch seconds).

    `refused` is REJECT or RENDERING_FAILURE where SES did not send it after all, with its `reason`.
    """

    row: int
    message_id: str
    at: float
    refused: EventType | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one row's mail, as far as events tell. Times are epoch seconds, of the first such event.

    Of several mails it is the one that was sent last; one that SES refused counts only where there is no other. Whoever
    unsubscribes by our own link does so of the row, whichever its mail.
    """

    row: int
    delivered_at: float | None = None
    bounce: BounceKind | None = None
    bounce_subtype: str = ""
    diagnostic: str = ""
    bounced_at: float | None = None
    complained_at: float | None = None
    delayed_at: float | None = None
    rejected_at: float | None = None
    rendering_failed_at: float | None = None
    opened_at: float | None = None
    clicked_at: float | None = None
    unsubscribed_at: float | None = None


@dataclass(frozen=True, slots=True)
class EventTally:
    """Rows of a campaign by what became of them. A row counts in each that befell it, once.

    `mails` are rows of which an event was heard; `copies` rows with more than one mail that SES did not refuse. Who
    unsubscribed counts as SUBSCRIPTION, by SES's link or by our own.
    """

    mails: int
    copies: int
    types: Mapping[EventType, int]
    bounces: Mapping[BounceKind, int]


@dataclass(frozen=True, slots=True)
class Rates:
    """Mails of a campaign that were sent in a stretch of time, by what is known to have become of them.

    Each mail, which is a message id, counts once, and as SES counts it (Developer Guide, Sender reputation): as
    `bounced` if it bounced for good, whatever was reported besides; else as `delivered` if any of its recipients has
    it; else as `unsent` if SES took it and did not send it: to an address on the account's own suppression list, or
    after a Reject or a Rendering Failure, which are the `refused` of them. `complained` are of all of them; a report
    that a mail is no spam, or is to somebody who complained earlier, is no complaint.

    Of the whole campaign, in epoch seconds, None where there is none: `last_at` is when its latest event was recorded,
    `last_sent_at` the second in which its latest mail was sent that is delivered, bounced or unsent.
    """

    delivered: int
    bounced: int
    complained: int
    last_at: float | None
    unsent: int = 0
    refused: int = 0
    last_sent_at: int | None = None

    @property
    def sample(self) -> int:
        """Mails of which it is known whether they arrived; a bounce that may pass is no answer yet."""
        return self.delivered + self.bounced


class EventRecords(ABC):
    """Plain calls, good for any process and any thread.

    Raises:
        JournalError: any of them, when the store cannot be read or written.
    """

    @abstractmethod
    def record(self, events: Sequence[MailEvent], now: float) -> Recorded:
        """Keep a batch of events, durably when it returns. What is known already changes nothing.

        In the same transaction: permanent bounces and complaints of mails with our tags suppress whom they concern;
        also those that say that SES's own lists have the address already, since mail to it is wasted quota at best.
        What has no tags of ours, or was not published by a configuration set, is counted, no more: of that the same
        report may come tagged besides, and counts as another.
        """

    @abstractmethod
    def evidence(self, campaign_id: str, rows: Collection[int]) -> list[Evidence]:
        """Each message id that events name for these rows (at most some thousands), in no order."""

    @abstractmethod
    def pairs(self, campaign_id: str, at_most: int) -> list[Evidence]:
        """The first so many mails of a campaign, by row, of which anything was heard."""

    @abstractmethod
    def refused(self, campaign_id: str, after: int, at_most: int) -> list[tuple[int, int]]:
        """(number, row) of mails of a campaign that SES had accepted and did not send: Rejects and Rendering Failures.

        The first so many whose numbers are above `after`, by number. 0 is below them all.
        """

    @abstractmethod
    def tally(self, campaign_id: str) -> EventTally:
        """Rows by what became of them. Cheap: the numbers are kept by the transactions that record events."""

    @abstractmethod
    def fates(self, campaign_id: str, rows: Collection[int]) -> dict[int, Fate]:
        """By row, of these (at most some thousands); those of which nothing was heard are not in it."""

    @abstractmethod
    def rates(self, campaign_id: str, sent_since: float) -> Rates:
        """Of the mails that were sent since then, to the second. Cheap enough to be asked every few seconds."""

    @abstractmethod
    def heard_since(self, recorded_since: float) -> list[str]:
        """Ids of the campaigns of whose mails anything was recorded since then (epoch seconds)."""

    @abstractmethod
    def of_row(self, campaign_id: str, row: int) -> list[MailEvent]:
        """All events of a row, in the order in which they happened."""

    @abstractmethod
    def of_message(self, message_id: str) -> list[MailEvent]:
        """All events of a mail, in the order in which they happened."""

    @abstractmethod
    def of_address(self, address: str) -> list[MailEvent]:
        """All events that name an address (as Suppression spells it), in the order in which they happened.

        Looks through all that is kept: seconds where there are ten million.
        """

    # Whom not to write to ---------------------------------------------------------------------------------------------

    @abstractmethod
    def suppress(self, suppressions: Iterable[Suppression]) -> int:
        """Returns how many addresses are new.

        Of those known, what is known stays, unless the reason is weightier: an unsubscription before a complaint,
        before what somebody put there, before a bounce.
        """

    @abstractmethod
    def unsuppress(self, addresses: Iterable[str]) -> int:
        """They may be written to again. Returns how many were suppressed."""

    @abstractmethod
    def suppressed(self, addresses: Collection[str]) -> dict[str, SuppressionReason]:
        """Which of these (at most some thousands) are."""

    @abstractmethod
    def suppressions(self) -> Iterator[Suppression]:
        """All, by address. Holds little in memory."""

    @abstractmethod
    def suppressed_after(self, number: int) -> tuple[int, list[str]]:
        """What was suppressed since an earlier answer: the number to ask with next, and the addresses.

        At most 10,000 at a time: whoever was told any asks again, until there are none. With -1: none of them, and the
        number of the last suppression there is. Numbers grow, and nothing appears below one that was told.
        """

    @abstractmethod
    def unsubscribe(self, campaign_id: str, row: int, suppression: Suppression) -> int:
        """Whoever the mail of this row went to has unsubscribed by our own link. Returns how many addresses are new.

        The row counts as unsubscribed once, whatever events tell of it besides. It is no event: nothing is judged by
        it.
        """

    @abstractmethod
    def unsubscribed(self, campaign_id: str, rows: Collection[int]) -> dict[int, float]:
        """Which of these rows (at most some thousands) unsubscribed by our own link, and when first (epoch seconds)."""

    # What is removed --------------------------------------------------------------------------------------------------

    @abstractmethod
    def forget(self, address: str) -> int:
        """Blank an address (as Suppression spells it) in every event, with the event's text and every text that has it.

        A suppression of it stays; events that come later name it again. Returns how many events had it.
        """

    @abstractmethod
    def prune(self, campaign_id: str) -> None:
        """Blank every address and every text of a campaign's events, and of those to come.

        Numbers and message ids stay, whom it suppressed, and which rows unsubscribed.
        """

    @abstractmethod
    def clear_free_space(self) -> None:
        """Leave no trace of what was removed, as far as the store can.

        Raises:
            JournalError: somebody reads it all the time, or there is no room on the disk.
        """
