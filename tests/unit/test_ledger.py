from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bulksend.ledger import AttemptRecord, LastOutcome, Ledger, replay
from bulksend.model import EntryOutcome, EntryState, Settlement, SettlementVerdict, Verdict

DEAD = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "no")
DOUBT = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "reset")
LATER = EntryOutcome(Verdict.TRANSIENT, "TRANSIENT_FAILURE", "busy", due_at=50.0)


def attempt(
    number: int,
    indices: list[int],
    *exceptions: tuple[int, EntryOutcome],
    answered: bool = True,
    alive: bool = False,
    settled: tuple[Settlement, ...] = (),
) -> AttemptRecord:
    return AttemptRecord(number, 1.0, indices, 2.0 if answered else None, alive, exceptions, settled)


def states(ledger: Ledger) -> list[EntryState]:
    return [EntryState(s) for s in ledger.states]


def test_an_answered_attempt() -> None:
    ledger = replay(5, [attempt(1, [0, 1, 2, 3], (1, DEAD), (2, LATER), (3, DOUBT))])
    s = EntryState
    assert states(ledger) == [s.ACCEPTED, s.DEAD, s.PENDING, s.IN_DOUBT, s.PENDING]
    assert ledger.histories[2].due_at == 50.0
    assert ledger.contradictions == 0


def test_an_unanswered_attempt_is_in_flight_while_its_holder_lives() -> None:
    assert replay(2, [attempt(1, [0, 1], answered=False, alive=True)]).count(EntryState.IN_FLIGHT) == 2
    assert replay(2, [attempt(1, [0, 1], answered=False)]).count(EntryState.IN_DOUBT) == 2


def test_a_second_attempt_on_an_accepted_entry_is_a_contradiction() -> None:
    ledger = replay(3, [attempt(1, [0, 1]), attempt(2, [1, 2])])
    assert ledger.contradictions == 1


def test_a_retry_after_a_refusal_is_none() -> None:
    ledger = replay(2, [attempt(1, [0, 1], (1, LATER)), attempt(2, [1])])
    assert ledger.contradictions == 0
    assert ledger.count(EntryState.ACCEPTED) == 2


def settlement(verdict: SettlementVerdict, index: int = 0) -> Settlement:
    return Settlement(1, index, verdict, "a person", 3.0)


def test_settling_doubt() -> None:
    for verdict, state in (
        (SettlementVerdict.ACCEPTED, EntryState.ACCEPTED),
        (SettlementVerdict.RESEND, EntryState.PENDING),
        (SettlementVerdict.DROP, EntryState.DEAD),
        (SettlementVerdict.RETURNED, EntryState.IN_DOUBT),
    ):
        ledger = replay(1, [attempt(1, [0], answered=False, settled=(settlement(verdict),))])
        assert states(ledger) == [state]


def test_settling_what_is_decided_changes_nothing() -> None:
    accepted = replay(1, [attempt(1, [0])])
    for verdict in set(SettlementVerdict) - {SettlementVerdict.REFUSED}:
        assert not accepted.settle(settlement(verdict))
        assert states(accepted) == [EntryState.ACCEPTED]


def test_evidence_beats_a_refusal() -> None:
    ledger = replay(1, [attempt(1, [0], (0, DEAD), settled=(settlement(SettlementVerdict.ACCEPTED),))])
    assert states(ledger) == [EntryState.ACCEPTED]


def test_an_outcome_for_what_evidence_has_accepted_changes_nothing() -> None:
    ledger = Ledger.blank(1)
    assert ledger.intend([0])
    assert ledger.settle(settlement(SettlementVerdict.ACCEPTED))
    ledger.record(0, LastOutcome(1, 1.0, DOUBT), 2.0)
    assert states(ledger) == [EntryState.ACCEPTED]


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=4, unique=True), max_size=8))
def test_an_intent_takes_all_or_none(wanted: list[list[int]]) -> None:
    ledger = Ledger.blank(8)
    taken: set[int] = set()
    for indices in wanted:
        free = taken.isdisjoint(indices)
        assert ledger.intend(sorted(indices)) is free
        if free:
            taken.update(indices)
        assert ledger.count(EntryState.IN_FLIGHT) == len(taken)
