"""What observers are told while a campaign runs: metrics, progress and the log all live on these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bulksend.model import AccountStatus, BatchKind, Halt, Verdict

__all__ = [
    "Audience",
    "BatchAnswered",
    "BatchSent",
    "CampaignHalted",
    "CircuitChanged",
    "Committed",
    "EntriesReturned",
    "Fact",
    "PaceChanged",
    "QuotaRead",
    "UnknownStatus",
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
    """An answer is recorded. `outcomes` counts entries by verdict and status; `answer_s` is from sending to answer."""

    verdict: Verdict
    recipients: int
    answer_s: float
    outcomes: Mapping[tuple[Verdict, str], int]

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
class Committed:
    """The journal wrote a group of operations."""

    duration_s: float
    operations: int


@dataclass(frozen=True, slots=True)
class QuotaRead:
    """GetAccount answered. `foreign` is what others sent in the last 24 hours, in recipients."""

    account: AccountStatus
    foreign: float


@dataclass(frozen=True, slots=True)
class PaceChanged:
    """From now on so many recipients per second."""

    rate_per_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why nothing is being sent, in words for a person; empty when it goes on."""

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


Fact: TypeAlias = (
    BatchSent
    | BatchAnswered
    | EntriesReturned
    | Committed
    | QuotaRead
    | PaceChanged
    | Waiting
    | CircuitChanged
    | UnknownStatus
    | CampaignHalted
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
