"""What the attempts and settlements of the journal make of a chunk's entries. Pure.

The sending process keeps a ledger per open chunk and moves it along; everybody else makes one by replaying the
journal. Both go through the same guarded transitions, so a second copy would show as a contradiction in either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bulksend.model import EntryOutcome, EntryState, Settlement, SettlementVerdict, Verdict
from bulksend.outcome import EntryHistory

__all__ = ["AttemptRecord", "LastOutcome", "Ledger", "replay"]

_PENDING = EntryState.PENDING.to_bytes()
_ACCEPTED = EntryState.ACCEPTED.to_bytes()
_IN_FLIGHT = EntryState.IN_FLIGHT.to_bytes()


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt as the journal keeps it. Times are epoch seconds.

    `answered_at` is None while no outcome is recorded; then `holder_alive` tells in flight from in doubt.
    `exceptions` pairs places in `indices` with the outcomes that are not plain acceptances; all others were accepted.
    """

    id: int
    at: float
    indices: Sequence[int]
    answered_at: float | None
    holder_alive: bool
    exceptions: Sequence[tuple[int, EntryOutcome]] = ()
    settlements: Sequence[Settlement] = ()


@dataclass(frozen=True, slots=True)
class LastOutcome:
    """The latest attempt on an entry, when its intent was made (epoch seconds), and what came of it."""

    attempt_id: int
    sent_at: float
    outcome: EntryOutcome


@dataclass(slots=True)
class Ledger:
    """The state of each entry of one chunk, with the history of those that did not go straight through."""

    states: bytearray
    histories: dict[int, EntryHistory] = field(default_factory=dict)
    last: dict[int, LastOutcome] = field(default_factory=dict)
    """Per entry that was not plainly accepted: its latest attempt and what came of it."""
    doubts: dict[int, int] = field(default_factory=dict)
    """Per entry: in how many requests it has been in doubt."""
    contradictions: int = 0

    @classmethod
    def blank(cls, entries: int) -> Ledger:
        """All pending."""
        return cls(bytearray(entries))

    def intend(self, indices: Sequence[int]) -> bool:
        """Pending → in flight, all or none. False when any of them is not pending: it must not be sent."""
        first, last = indices[0], indices[-1]
        if last - first + 1 == len(indices):
            if self.states[first : last + 1] != _PENDING * len(indices):
                return False
            self.states[first : last + 1] = _IN_FLIGHT * len(indices)
            return True
        if any(self.states[i] != EntryState.PENDING for i in indices) or len(set(indices)) != len(indices):
            return False
        for i in indices:
            self.states[i] = EntryState.IN_FLIGHT
        return True

    def unintend(self, indices: Sequence[int]) -> None:
        """In flight → pending: the intent never became durable."""
        for i in indices:
            if self.states[i] == EntryState.IN_FLIGHT:
                self.states[i] = EntryState.PENDING

    def accept_all(self, indices: Sequence[int]) -> None:
        """In flight → accepted, for a whole batch."""
        first, last = indices[0], indices[-1]
        if last - first + 1 == len(indices):
            self.states[first : last + 1] = _ACCEPTED * len(indices)
        else:
            for i in indices:
                self.states[i] = EntryState.ACCEPTED

    def record(self, index: int, last: LastOutcome, at: float) -> None:
        """In flight → what the answer at `at` says. An entry that evidence has accepted already stays accepted."""
        if self.states[index] != EntryState.IN_FLIGHT:
            return
        outcome = last.outcome
        self.states[index] = outcome.verdict.state
        if outcome.verdict is Verdict.ACCEPTED:
            return
        self.last[index] = last
        if outcome.verdict is Verdict.IN_DOUBT:
            self.doubts[index] = self.doubts.get(index, 0) + 1
        if outcome.verdict.state is EntryState.PENDING:
            history = self.histories.get(index)
            if history is None:
                history = self.histories[index] = EntryHistory()
            history.note(outcome.verdict, at, outcome.due_at)

    def settle(self, settlement: Settlement) -> bool:
        """Apply a decision where its transition is allowed; otherwise nothing happens, and False says so."""
        i, state = settlement.index, self.states[settlement.index]
        match settlement.verdict:
            case SettlementVerdict.ACCEPTED:
                allowed, after = state != EntryState.ACCEPTED, EntryState.ACCEPTED
            case SettlementVerdict.RESEND:
                allowed, after = state == EntryState.IN_DOUBT, EntryState.PENDING
            case SettlementVerdict.DROP:
                allowed, after = state == EntryState.IN_DOUBT, EntryState.DEAD
            case SettlementVerdict.RETURNED:
                allowed, after = state == EntryState.DEAD, EntryState.PENDING
            case SettlementVerdict.REFUSED:
                allowed, after = state in (EntryState.ACCEPTED, EntryState.IN_DOUBT), EntryState.DEAD
        if not allowed:
            return False
        self.states[i] = after
        if after is EntryState.PENDING:
            self.histories[i] = EntryHistory(due_at=settlement.at)
        else:
            decided = (
                EntryOutcome(Verdict.DEAD, "DROPPED", settlement.evidence)
                if after is EntryState.DEAD
                else EntryOutcome(Verdict.ACCEPTED, "SETTLED", settlement.evidence)
            )
            self.last[i] = LastOutcome(settlement.attempt_id, settlement.at, decided)
        return True

    def count(self, state: EntryState) -> int:
        """How many entries are in a state."""
        return self.states.count(state)

    @property
    def final(self) -> bool:
        """Whether nothing of this chunk is left to send."""
        return self.count(EntryState.PENDING) == 0 and self.count(EntryState.IN_FLIGHT) == 0


def replay(entries: int, attempts: Iterable[AttemptRecord]) -> Ledger:
    """The ledger of a chunk of `entries` entries, from its attempts in the order of their intents."""
    ledger = Ledger.blank(entries)
    for attempt in attempts:
        if not ledger.intend(attempt.indices):
            ledger.contradictions += sum(ledger.states[i] != EntryState.PENDING for i in attempt.indices)
            for i in attempt.indices:
                ledger.states[i] = EntryState.IN_FLIGHT
        _apply(ledger, attempt)
        for settlement in attempt.settlements:
            ledger.settle(settlement)
    return ledger


def _apply(ledger: Ledger, attempt: AttemptRecord) -> None:
    if attempt.answered_at is None:
        if not attempt.holder_alive:
            died = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "the sending process ended before the answer came")
            for i in attempt.indices:
                ledger.record(i, LastOutcome(attempt.id, attempt.at, died), attempt.at)
        return
    for place, outcome in attempt.exceptions:
        ledger.record(attempt.indices[place], LastOutcome(attempt.id, attempt.at, outcome), attempt.answered_at)
    if len(attempt.exceptions) == 0:
        ledger.accept_all(attempt.indices)
    else:
        excepted = {place for place, _ in attempt.exceptions}
        for place, i in enumerate(attempt.indices):
            if place not in excepted:
                ledger.states[i] = EntryState.ACCEPTED
