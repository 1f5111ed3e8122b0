"""Who is told facts, and counts them: one observer for each campaign at work, each account, and the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

from bulksend.facts import (
    AddressesSuppressed,
    BatchAnswered,
    BatchSent,
    BreakerBlind,
    CampaignHalted,
    CampaignHindered,
    ChunkRead,
    CircuitChanged,
    Committed,
    EntriesReturned,
    EntriesSuppressed,
    EventsHeldUp,
    EventsRecorded,
    Fact,
    LoopLagged,
    PaceChanged,
    QuotaRead,
    StoreCounted,
    UnknownStatus,
    Waiting,
)
from bulksend.metrics import declared
from bulksend.metrics.numbers import AccountNumbers, CampaignNumbers
from bulksend.model import Verdict

if TYPE_CHECKING:
    from bulksend.metrics.declared import Series
    from bulksend.metrics.registry import Metrics

__all__ = ["AccountObserver", "CampaignObserver", "StoreObserver"]


class CampaignObserver:
    """Counts what one run of a campaign tells. Satisfies the engine's Observer."""

    def __init__(self, metrics: Metrics, account: AccountNumbers, numbers: CampaignNumbers) -> None:
        self._metrics = metrics
        self._account = account
        self._numbers = numbers
        self._in_flight = 0

    def observe(self, fact: Fact) -> None:
        """Count it."""
        match fact:
            case BatchSent():
                self._in_flight += 1
                self._numbers.in_flight += 1
                self._account.pacer_wait_s += fact.pacer_wait_s
                self._metrics.intents_s.note(fact.commit_s)
            case BatchAnswered():
                self._answered(fact)
            case EntriesReturned():
                self._metrics.count(declared.RETURNED, fact.entries, fact.verdict.value)
            case EntriesSuppressed():
                label = (Verdict.DEAD, "SUPPRESSED")
                self._numbers.entries[label] = self._numbers.entries.get(label, 0) + fact.entries
            case Waiting():
                self._metrics.waits.note(self, fact.kind)
            case CampaignHindered():
                pass  # one that is not begun
            case CircuitChanged():
                self._metrics.circuits.add(self) if fact.is_open else self._metrics.circuits.discard(self)
            case BreakerBlind():
                self._metrics.blind.add(self) if fact.reason else self._metrics.blind.discard(self)
            case UnknownStatus():
                self._metrics.count(declared.UNKNOWN_STATUSES)
            case CampaignHalted():
                self._metrics.count(declared.HALTS, 1, fact.halt.scope.value)
            case ChunkRead():
                self._metrics.snapshot_reads_s.note(fact.duration_s)
                self._metrics.count(declared.SNAPSHOT_ENTRIES, fact.entries)
            case Committed() | LoopLagged() | PaceChanged() | QuotaRead() | StoreCounted():
                pass  # not a campaign's
            case EventsRecorded() | EventsHeldUp():
                pass
            case AddressesSuppressed():
                pass  # not a campaign's
            case _:
                assert_never(fact)

    def _answered(self, fact: BatchAnswered) -> None:
        numbers = self._numbers
        self._in_flight -= 1
        numbers.in_flight -= 1
        self._account.duration_s(fact.transport).note(fact.answer_s)
        request = (fact.transport, self._metrics.codes.word(fact.code), fact.verdict)
        seen = numbers.requests.get(request)
        if seen is None:
            numbers.requests[request] = [1, fact.recipients]
        else:
            seen[0] += 1
            seen[1] += fact.recipients
        throttled = False
        for (verdict, status), entries in fact.outcomes.items():
            label = (verdict, self._metrics.statuses.word(status))
            numbers.entries[label] = numbers.entries.get(label, 0) + entries
            throttled = throttled or verdict is Verdict.THROTTLED
        self._account.throttled += throttled

    def close(self) -> None:
        """The run is over: nothing of it is in flight or waits."""
        self._numbers.in_flight -= self._in_flight
        self._in_flight = 0
        self._metrics.waits.note(self, None)
        self._metrics.circuits.discard(self)
        self._metrics.blind.discard(self)


class AccountObserver:
    """Counts what an account's pacer tells, or what a queue of its events does. Satisfies the engine's Observer."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str], numbers: AccountNumbers) -> None:
        self._metrics = metrics
        self.labels = labels
        self._numbers = numbers
        self.gauges: dict[Series, float] = {}
        """What it shows as long as it looks on."""
        self._held_up_since_s: float | None = None
        self._lag_s: float | None = None

    def observe(self, fact: Fact) -> None:
        """Count it."""
        match fact:
            case QuotaRead():
                self._quota_read(fact)
            case PaceChanged():
                self.gauges |= {declared.PACE: fact.rate_per_s, declared.PACE_ALLOWED: fact.allowed_per_s}
            case Waiting():
                self._metrics.waits.note(self, fact.kind)
            case EventsRecorded():
                for type_, many in fact.types.items():
                    self._numbers.events[type_] += many
                for kind, many in fact.bounces.items():
                    self._numbers.bounces[kind] += many
                self._numbers.events_unreadable += fact.unreadable
                self._numbers.copies += fact.copies
                self._lag_s = self._lag_s if fact.lag_s is None else fact.lag_s
            case EventsHeldUp():
                self.gauges[declared.EVENTS_HELD_UP] = float(bool(fact.reason))
                if not fact.reason:
                    self._held_up_since_s = None
                elif self._held_up_since_s is None:
                    self._held_up_since_s = time.monotonic()
            case (
                BatchSent() | BatchAnswered() | EntriesReturned() | CircuitChanged() | UnknownStatus() | BreakerBlind()
            ):
                pass  # a campaign's
            case CampaignHalted() | CampaignHindered() | ChunkRead() | Committed() | LoopLagged() | StoreCounted():
                pass
            case EntriesSuppressed() | AddressesSuppressed():
                pass
            case _:
                assert_never(fact)

    def _quota_read(self, fact: QuotaRead) -> None:
        account, limit = fact.account, fact.account.max_24_hour_send
        self.gauges |= {
            declared.MAX_SEND_RATE: account.max_send_rate_per_s,
            declared.MAX_24_HOUR_SEND: float("inf") if limit is None else limit,
            declared.SENT_LAST_24_HOURS: account.sent_last_24_hours,
            declared.FOREIGN_24_HOURS: fact.foreign,
            declared.HEADROOM: max(0.0, fact.headroom),
            declared.DEBT: max(0.0, -fact.headroom),
            declared.QUOTA_READ_AT: time.time(),
            declared.SENDING_ENABLED: float(account.sending_enabled),
            declared.PACE_ALLOWED: fact.allowed_per_s,
        }

    def event_lag_s(self) -> float | None:
        """How far its queue's events are behind, which grows while they are held up; None before the first."""
        lag_s, since_s = self._lag_s, self._held_up_since_s  # another thread may be looking
        return lag_s if lag_s is None or since_s is None else lag_s + time.monotonic() - since_s

    def close(self) -> None:
        """The account is not sent from any more, or the queue not read: nothing waits."""
        self._metrics.waits.note(self, None)


class StoreObserver:
    """Counts what the store and the process tell. Satisfies the engine's Observer."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def observe(self, fact: Fact) -> None:
        """Count it. Commits are told in the journal's own thread."""
        match fact:
            case Committed():
                self._metrics.commits_s.note(fact.duration_s)
                self._metrics.groups.note(fact.operations)
            case LoopLagged():
                self._metrics.loop_lags_s.note(fact.lag_s)
            case StoreCounted():
                self._metrics.census = fact
            case Waiting():
                self._metrics.waits.note(self, fact.kind)
            case CampaignHindered():
                self._metrics.waits.note(fact.campaign_id, fact.kind)
            case (
                BatchSent() | BatchAnswered() | EntriesReturned() | CircuitChanged() | UnknownStatus() | BreakerBlind()
            ):
                pass  # a campaign's
            case CampaignHalted():  # one that could not be begun
                self._metrics.count(declared.HALTS, 1, fact.halt.scope.value)
            case AddressesSuppressed():
                self._metrics.count(declared.SUPPRESSIONS, fact.addresses, fact.reason.value)
            case ChunkRead() | PaceChanged() | QuotaRead() | EntriesSuppressed():
                pass
            case EventsRecorded() | EventsHeldUp():
                pass
            case _:
                assert_never(fact)
