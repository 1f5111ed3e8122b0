"""What observers are told while a campaign runs: metrics, progress and the log all live on these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Protocol, TypeAlias

from bulksend.event import BounceKind, EventType, SuppressionReason
from bulksend.model import AccountStatus, BatchKind, CampaignState, Halt, Verdict

__all__ = [
    "AddressesSuppressed",
    "Audience",
    "BatchAnswered",
    "BatchSent",
    "BreakerBlind",
    "CampaignHalted",
    "CampaignHindered",
    "ChunkRead",
    "ChunkStanding",
    "CircuitChanged",
    "Committed",
    "EntriesReturned",
    "EntriesSuppressed",
    "EntryStanding",
    "EventsHeldUp",
    "EventsRecorded",
    "Fact",
    "LoopLagged",
    "PaceChanged",
    "QuotaRead",
    "Reputation",
    "Span",
    "StoreCounted",
    "UnknownStatus",
    "WaitKind",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class BatchSent:
    """An intent is durable and its request on the way. `pacer_wait_s` and `commit_s` are what it waited for."""

    kind: BatchKind
    entries: int
    recipients: int
    pacer_wait_s: float
    commit_s: float


@dataclass(frozen=True, slots=True)
class BatchAnswered:
    """An answer is recorded. `outcomes` counts entries by verdict and status; `answer_s` is from sending to answer.

    `code` is how it came: the HTTP status or SES's error code, `not_sent` or `no_answer`; `transport` what it came by.
    """

    verdict: Verdict
    recipients: int
    answer_s: float
    outcomes: Mapping[tuple[Verdict, str], int]
    code: str
    transport: str

    @property
    def throttled(self) -> bool:
        """Whether SES held any of it back for the rate."""
        return any(verdict is Verdict.THROTTLED for verdict, _ in self.outcomes)


@dataclass(frozen=True, slots=True)
class EntriesReturned:
    """Dead letters that a halt made pending again, or in-doubt entries that the campaign's policy sends again."""

    verdict: Verdict
    entries: int


@dataclass(frozen=True, slots=True)
class EntriesSuppressed:
    """Entries that were not sent: since the plan, their address was suppressed. They are dead letters."""

    entries: int


@dataclass(frozen=True, slots=True)
class AddressesSuppressed:
    """So many addresses are not written to from now on."""

    reason: SuppressionReason
    addresses: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The journal wrote a group of operations."""

    duration_s: float
    operations: int


@dataclass(frozen=True, slots=True)
class QuotaRead:
    """GetAccount answered. Amounts are recipients: `foreign` is what others sent in the last 24 hours.

    `headroom` is what the 24 hours still take from us, below 0 where they are overdrawn; `allowed_per_s` the pace that
    quota and settings allow while nothing is throttled.
    """

    account: AccountStatus
    foreign: float
    headroom: float
    allowed_per_s: float


@dataclass(frozen=True, slots=True)
class PaceChanged:
    """From now on so many recipients per second, of the `allowed_per_s` of quota and settings."""

    rate_per_s: float
    why: str
    allowed_per_s: float


@unique
class WaitKind(StrEnum):
    """What nothing is being sent for."""

    DAY_SPENT = "day_spent"
    """The 24-hour quota has no room."""
    QUOTA_UNKNOWN = "quota_unknown"
    """GetAccount does not answer."""
    SCHEDULE = "schedule"
    """The campaign's own hours."""
    CANARY = "canary"
    """News of the first mails of a campaign, by which the others may go."""
    STORE = "store"
    """The store does not answer, or cannot be written: the database, a disk, or where lists are kept."""
    THIS_WORKER = "this_worker"
    """Something is wrong with this process alone: its settings, its credentials, its copy of a list."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing is being sent, in words for a person; empty, and of no kind, when it goes on."""

    reason: str
    kind: WaitKind | None


@dataclass(frozen=True, slots=True)
class CampaignHindered:
    """Why a campaign that is to be sent cannot be begun by this process now; empty, and of no kind, when it can."""

    campaign_id: str
    reason: str
    kind: WaitKind | None


@dataclass(frozen=True, slots=True)
class BreakerBlind:
    """Why a campaign's breaker cannot judge, in words for a person; empty when it can again. The campaign goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class CircuitChanged:
    """Open: requests fail for reasons that are not the recipients'; only probes go out.

    `why` is the last such reason.
    """

    is_open: bool
    next_probe_s: float
    why: str


@dataclass(frozen=True, slots=True)
class UnknownStatus:
    """SES used a status that no document names; the entry is in doubt."""

    status: str


@dataclass(frozen=True, slots=True)
class CampaignHalted:
    """Sending stopped by itself."""

    halt: Halt


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """A chunk of the snapshot is in memory, so many seconds after it was asked for."""

    entries: int
    duration_s: float


@dataclass(frozen=True, slots=True)
class LoopLagged:
    """The event loop woke somebody so many seconds later than asked."""

    lag_s: float


@unique
class EntryStanding(StrEnum):
    """Where entries are, for whoever looks on: the states of an entry, and whether a pending one was tried before."""

    PENDING = "pending"
    RETRYING = "retrying"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    DEAD = "dead"
    IN_DOUBT = "in_doubt"


@unique
class ChunkStanding(StrEnum):
    """Where the chunks of a campaign are that is being sent.

    WAITING  nobody has it on lease. In SQLite, where there are no leases: all that are not done.
    LEASED   a worker may send from it.
    STALLED  the lease of whoever had it ran out, and nobody has taken it over.
    DONE     all its entries are final.
    """

    WAITING = "waiting"
    LEASED = "leased"
    STALLED = "stalled"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Reputation:
    """What SES judges an account by in a Region, of mails of a store that were sent in some time until now.

    `mails` are those of which it is known what became of them, or all that were sent where no event says that any
    arrived; `bounced` bounced for good; `complained` were complained of. Each mail counts once.
    """

    mails: int
    bounced: int
    complained: int


@unique
class Span(StrEnum):
    """A stretch of time until now."""

    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True)
class StoreCounted:
    """A store in numbers. `at` is epoch seconds.

    `entries` has every campaign that is not over, by its name, and of the others what is in doubt. `sendable` are
    pending entries of campaigns that are to be sent, and may be by their schedules. `doubt_since` is when the earliest
    request was made that left anything in doubt which still is, by the names of campaigns that have any. `reputation`
    is by account and Region that campaigns are bound to, as far as events tell.
    """

    at: float
    duration_s: float
    campaigns: Mapping[CampaignState, int]
    entries: Mapping[str, Mapping[EntryStanding, int]]
    sendable: int
    chunks: Mapping[ChunkStanding, int]
    workers: int
    doubt_since: Mapping[str, float] = field(default_factory=dict)
    reputation: Mapping[tuple[str, str], Mapping[Span, Reputation]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventsRecorded:
    """A batch of events is durable, each counted once; the oldest was `lag_s` old, None where none was new.

    `unreadable` messages were in it as well. `bounces` are those of `types`, by kind. `copies` are rows of which a
    second mail that SES did not refuse was seen for the first time.
    """

    types: Mapping[EventType, int]
    bounces: Mapping[BounceKind, int]
    lag_s: float | None
    unreadable: int
    copies: int = 0


@dataclass(frozen=True, slots=True)
class EventsHeldUp:
    """Why events cannot be had from a queue, or not be kept, in words for a person; empty when it goes on."""

    reason: str


Fact: TypeAlias = (
    BatchSent
    | BatchAnswered
    | EntriesReturned
    | EntriesSuppressed
    | AddressesSuppressed
    | Committed
    | QuotaRead
    | PaceChanged
    | Waiting
    | CampaignHindered
    | BreakerBlind
    | CircuitChanged
    | UnknownStatus
    | CampaignHalted
    | ChunkRead
    | LoopLagged
    | StoreCounted
    | EventsRecorded
    | EventsHeldUp
)


class Audience:
    """Several observers as one. An observer that raises is let go: what watches a run must not end it."""

    def __init__(self, observers: Iterable[_Observer] = ()) -> None:
        self._observers: list[_Observer] = []
        for observer in observers:
            self._observers += observer._observers if isinstance(observer, Audience) else [observer]  # noqa: SLF001

    def observe(self, fact: Fact) -> None:
        """Tell everybody who still listens."""
        for observer in tuple(self._observers):
            try:
                observer.observe(fact)
            except Exception:  # noqa: BLE001  whatever it is, it is the observer's own
                self._observers.remove(observer)


class _Observer(Protocol):
    def observe(self, fact: Fact, /) -> None: ...
