"""What the attempts and settlements of the journal make of a chunk's entries. Pure.

The sending process keeps a ledger per open chunk and moves it along; everybody else makes one by replaying the
journal. Both go through the same guarded transitions, so a second copy would show as a contradiction in either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never

from bulksend.model import EntryOutcome, EntryState, Settlement, SettlementVerdict, Verdict
from bulksend.outcome import EntryHistory

__all__ = ["AttemptRecord", "LastOutcome", "Ledger", "Mail", "Past", "pasts_of", "proved", "replay"]

_PENDING = EntryState.PENDING.to_bytes()
_ACCEPTED = EntryState.ACCEPTED.to_bytes()
_IN_FLIGHT = EntryState.IN_FLIGHT.to_bytes()
_MAY_BE_SENT = (EntryState.ACCEPTED, EntryState.IN_DOUBT, EntryState.PENDING)
"""What an event may yet refuse. What is pending may have been accepted before: in doubt, and then sent again."""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """An attempt as the journal keeps it. Times are epoch seconds.

    `answered_at` is None while no outcome is recorded; then `holder_alive` tells in flight from in doubt.
    `exceptions` pairs places in `indices` with the outcomes that are not plain acceptances; all others were accepted.
    It is not `sent` where it stands in the journal without a request: for entries of who was suppressed, or removed.
    """

    id: int
    at: float
    indices: Sequence[int]
    answered_at: float | None
    holder_alive: bool
    exceptions: Sequence[tuple[int, EntryOutcome]] = ()
    settlements: Sequence[Settlement] = ()
    sent: bool = True


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
                allowed, after = state in _MAY_BE_SENT, EntryState.DEAD
        if not allowed:
            return False
        self.states[i] = after
        if after is EntryState.PENDING:
            self.histories[i] = EntryHistory(due_at=settlement.at)
        else:
            self.last[i] = LastOutcome(settlement.attempt_id, settlement.at, _decided(settlement))
        return True

    def count(self, state: EntryState) -> int:
        """How many entries are in a state."""
        return self.states.count(state)

    def doubted_at(self) -> list[float]:
        """When the requests were made that left entries in doubt, in epoch seconds, the earliest first."""
        if not self.count(EntryState.IN_DOUBT):
            return []
        return sorted(self.last[i].sent_at for i in self.doubts if self.states[i] == EntryState.IN_DOUBT)

    @property
    def final(self) -> bool:
        """Whether nothing of this chunk is left to send."""
        return self.count(EntryState.PENDING) == 0 and self.count(EntryState.IN_FLIGHT) == 0


def _decided(settlement: Settlement) -> EntryOutcome:
    """What a decision that leaves nothing to be sent comes to."""
    evidence = settlement.evidence
    match settlement.verdict:
        case SettlementVerdict.ACCEPTED:
            return EntryOutcome(Verdict.ACCEPTED, "SETTLED", evidence, settlement.message_id)
        case SettlementVerdict.REFUSED:
            status, _, reason = evidence.partition(": ")
            return EntryOutcome(Verdict.DEAD, status, reason, settlement.message_id)
        case SettlementVerdict.DROP | SettlementVerdict.RESEND | SettlementVerdict.RETURNED:
            return EntryOutcome(Verdict.DEAD, "DROPPED", evidence)
        case _:
            assert_never(settlement.verdict)


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


# What events prove ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that SES has made of an entry, as events tell: so it had accepted it. `at` is epoch seconds.

    `refused` is REJECT or RENDERING_FAILURE where SES did not send it after all, with its `reason`.
    """

    message_id: str
    at: float
    refused: str = ""
    reason: str = ""

    @property
    def evidence(self) -> str:
        """What is kept of it as a settlement's evidence."""
        if self.refused:
            return f"{self.refused}: {self.reason}"
        return f"SES reported mail {self.message_id} at {datetime.fromtimestamp(self.at, UTC):%F %T} UTC"


@dataclass(frozen=True, slots=True)
class Past:
    """What an entry's attempts and settlements say of it.

    `known` are the message ids of all of them, `latest` those of the latest attempt alone, which has `attempt_id`.
    """

    state: EntryState
    attempt_id: int
    known: frozenset[str]
    latest: frozenset[str]


def pasts_of(
    ledger: Ledger,
    attempts: Iterable[AttemptRecord],
    message_ids: Mapping[int, Sequence[str]],
    places: Collection[int],
) -> dict[int, Past]:
    """The pasts of some entries of a chunk, by their places; of what was never attempted there is none.

    `ledger` is what `attempts` come to; `message_ids` are of their answers, by attempt and place in the batch.
    """
    known: dict[int, set[str]] = {}
    latest: dict[int, tuple[int, set[str]]] = {}
    for attempt in attempts:
        ids = message_ids.get(attempt.id, ())
        for place, i in enumerate(attempt.indices):
            if i in places:
                latest[i] = (attempt.id, {ids[place]} if place < len(ids) and ids[place] else set())
                known.setdefault(i, set()).update(latest[i][1])
        for settlement in attempt.settlements:
            if settlement.message_id and settlement.index in latest:
                latest[settlement.index][1].add(settlement.message_id)
                known[settlement.index].add(settlement.message_id)
    return {
        i: Past(EntryState(ledger.states[i]), attempt_id, frozenset(known[i]), frozenset(ids))
        for i, (attempt_id, ids) in latest.items()
    }


def proved(past: Past, mails: Iterable[Mail]) -> tuple[SettlementVerdict, Mail] | None:
    """What the mails of an entry prove that its past does not say: ACCEPTED or REFUSED, and by which of them.

    A mail that no answer and no settlement knows of comes from an attempt that was in doubt, whichever that was: if SES
    sent it, the entry is accepted. A mail that is known proves nothing of later attempts. Where SES has sent none of
    those that count, the entry is dead. While an answer is awaited nothing is proved: the mail may be the one that the
    answer will name. The order in which events come does not matter.
    """
    if past.state is EntryState.IN_FLIGHT:
        return None
    by_id = {mail.message_id: mail for mail in sorted(mails, key=lambda mail: bool(mail.refused))}
    unknown = [mail for mail in by_id.values() if mail.message_id not in past.known]
    sent = [mail for mail in unknown if not mail.refused]
    if sent:
        return None if past.state is EntryState.ACCEPTED else (SettlementVerdict.ACCEPTED, _first(sent))
    not_sent = list(unknown)
    match past.state:
        case EntryState.ACCEPTED:
            for message_id in past.latest:
                mail = by_id.get(message_id)
                if mail is None or not mail.refused:
                    return None
                not_sent.append(mail)
        case EntryState.DEAD:
            return None
        case EntryState.PENDING | EntryState.IN_DOUBT:
            pass
        case _:
            assert_never(past.state)
    return (SettlementVerdict.REFUSED, _first(not_sent)) if not_sent else None


def _first(mails: Iterable[Mail]) -> Mail:
    return min(mails, key=lambda mail: (mail.at, mail.message_id))
