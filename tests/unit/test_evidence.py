"""What events prove of an entry, whatever was tried of it and in whatever order they come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from bulksend.ledger import AttemptRecord, Ledger, Mail, Past, pasts_of, proved, replay
from bulksend.model import EntryOutcome, EntryState, Settlement, SettlementVerdict, Verdict

DEAD = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "no")
DOUBT = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "reset")
LATER = EntryOutcome(Verdict.TRANSIENT, "TRANSIENT_FAILURE", "busy", due_at=50.0)
FAILED, REJECTED = "RENDERING_FAILURE", "REJECT"
A, R = SettlementVerdict.ACCEPTED, SettlementVerdict.REFUSED


def past(state: EntryState, *, known: tuple[str, ...] = (), latest: tuple[str, ...] = ()) -> Past:
    return Past(state, 7, frozenset(known) | frozenset(latest), frozenset(latest))


def sent(name: str = "m1", at: float = 5.0) -> Mail:
    return Mail(name, at)


def failed(name: str = "m1", at: float = 5.0) -> Mail:
    return Mail(name, at, FAILED, "Attribute 'name' is not present")


def test_a_mail_that_nobody_knows_of_settles_doubt_what_was_given_up_and_what_is_to_be_sent_again() -> None:
    for state in (EntryState.IN_DOUBT, EntryState.PENDING, EntryState.DEAD):
        assert proved(past(state), [sent()]) == (A, sent())


def test_a_mail_that_is_known_proves_nothing_of_a_later_attempt() -> None:
    for state in EntryState:
        assert proved(past(state, known=("m1",)), [sent()]) is None
        assert proved(past(state, known=("m1",), latest=("m2",)), [failed()]) is None


def test_nothing_is_proved_while_an_answer_is_awaited() -> None:
    assert proved(past(EntryState.IN_FLIGHT), [sent()]) is None
    assert proved(past(EntryState.IN_FLIGHT), [failed()]) is None


def test_what_was_accepted_and_not_sent_is_dead() -> None:
    assert proved(past(EntryState.ACCEPTED, latest=("m1",)), [failed()]) == (R, failed())
    assert proved(past(EntryState.ACCEPTED, latest=("m1",)), [sent()]) is None
    assert proved(past(EntryState.ACCEPTED), [failed()]) == (R, failed()), "a person had said that it was accepted"
    assert proved(past(EntryState.IN_DOUBT), [failed()]) == (R, failed())
    assert proved(past(EntryState.DEAD), [failed()]) is None


def test_what_was_not_sent_is_accepted_all_the_same_where_another_mail_was() -> None:
    assert proved(past(EntryState.ACCEPTED, latest=("m1",)), [failed(), sent("m0")]) is None
    assert proved(past(EntryState.IN_DOUBT), [failed(), sent("m0")]) == (A, sent("m0"))
    assert proved(past(EntryState.DEAD, latest=("m1",)), [failed(), sent("m0")]) == (A, sent("m0"))


def test_of_two_reports_on_a_mail_the_refusal_counts() -> None:
    assert proved(past(EntryState.IN_DOUBT), [failed(), sent()]) == (R, failed())


def test_the_earliest_mail_is_the_evidence() -> None:
    assert proved(past(EntryState.IN_DOUBT), [sent("b", 9.0), sent("a", 9.0), sent("c", 10.0)]) == (A, sent("a", 9.0))


def test_the_evidence_is_kept_and_becomes_the_status() -> None:
    died = attempt(1, None)
    for mail, state, status, reason in (
        (sent(), EntryState.ACCEPTED, "SETTLED", "SES reported mail m1 at 1970-01-01 00:00:05 UTC"),
        (failed(), EntryState.DEAD, FAILED, "Attribute 'name' is not present"),
        (Mail("m1", 5.0, REJECTED, "Bad content: virus"), EntryState.DEAD, REJECTED, "Bad content: virus"),
    ):
        found = proved(past(EntryState.IN_DOUBT), [mail])
        assert found is not None
        settlement = Settlement(1, 0, found[0], mail.evidence, 9.0, mail.message_id)
        ledger = replay(1, [replace(died, settlements=(settlement,))])
        assert ledger.states[0] == state
        last = ledger.last[0].outcome
        assert (last.status, last.reason, last.message_id) == (status, reason, "m1")


def test_the_past_of_an_entry() -> None:
    attempts = [
        replace(attempt(1, None, [0, 1, 2]), settlements=(Settlement(1, 1, SettlementVerdict.RESEND, "", 3.0),)),
        replace(attempt(2, LATER, [1]), settlements=(Settlement(2, 1, A, "an event", 4.0, "m9"),)),
        AttemptRecord(3, 5.0, [3, 4], 6.0, holder_alive=False),
    ]
    ids = {3: ["m3", "m4"]}
    ledger = replay(6, attempts)
    found = pasts_of(ledger, attempts, ids, {0, 1, 4, 5})
    assert found == {
        0: Past(EntryState.IN_DOUBT, 1, frozenset(), frozenset()),
        1: Past(EntryState.ACCEPTED, 2, frozenset({"m9"}), frozenset({"m9"})),
        4: Past(EntryState.ACCEPTED, 3, frozenset({"m4"}), frozenset({"m4"})),
    }


# Whatever happens -----------------------------------------------------------------------------------------------------

Told: TypeAlias = tuple[int, bool]
"""That the mail of an attempt was seen: the attempt's number, and whether its refusal was."""


def attempt(number: int, outcome: EntryOutcome | None, indices: list[int] | None = None) -> AttemptRecord:
    """Unanswered without an outcome."""
    places = indices or [0]
    exceptions = () if outcome is None or outcome.verdict is Verdict.ACCEPTED else ((0, outcome),)
    return AttemptRecord(
        number, 1.0, places, None if outcome is None else 2.0, holder_alive=False, exceptions=exceptions
    )


@dataclass
class History:
    """One entry of a journal, as everything happens to it; what SES made of each attempt is known to the test alone."""

    attempts: list[AttemptRecord] = field(default_factory=list)
    ids: dict[int, list[str]] = field(default_factory=dict)
    mails: dict[int, Mail] = field(default_factory=dict)
    """By attempt, of those that SES had accepted."""
    told: dict[str, Mail] = field(default_factory=dict)

    def ledger(self) -> Ledger:
        return replay(1, self.attempts)

    @property
    def state(self) -> EntryState:
        return EntryState(self.ledger().states[0])

    def send(self, truth: str) -> None:
        """If it may be sent. `truth`: what SES makes of it, and whether that is said."""
        if self.state is not EntryState.PENDING:
            return
        number = len(self.attempts) + 1
        mail = Mail(
            f"m{number}", float(number), FAILED if "fails" in truth else "", "no name" if "fails" in truth else ""
        )
        outcome: EntryOutcome | None
        match truth.split(maxsplit=1)[0]:
            case "accepted":
                outcome, self.ids[number] = EntryOutcome(Verdict.ACCEPTED, "SUCCESS"), [mail.message_id]
                self.mails[number] = mail
            case "unheard":
                outcome, self.mails[number] = DOUBT if number % 2 else None, mail
            case "lost":
                outcome = DOUBT if number % 2 else None
            case "later":
                outcome = LATER
            case _:
                outcome = DEAD
        self.attempts.append(attempt(number, outcome))

    def decide(self, verdict: SettlementVerdict) -> None:
        """A person's, of what is in doubt or dead."""
        of = EntryState.DEAD if verdict is SettlementVerdict.RETURNED else EntryState.IN_DOUBT
        if self.attempts and self.state is of:
            self.note(Settlement(len(self.attempts), 0, verdict, "a person", 3.0))

    def note(self, settlement: Settlement) -> None:
        if self.ledger().settle(settlement):
            last = self.attempts[-1]
            self.attempts[-1] = replace(last, settlements=(*last.settlements, settlement))

    def tell(self, number: int, *, refusal: bool) -> None:
        """Events of an attempt's mail come: first of all, or that it was not sent; then they are looked at."""
        mail = self.mails.get(number)
        if mail is not None:
            known = self.told.get(mail.message_id)
            if known is None or not known.refused:
                self.told[mail.message_id] = mail if refusal else replace(mail, refused="", reason="")
        self.settle()

    def settle(self) -> None:
        for attempt_past in pasts_of(self.ledger(), self.attempts, self.ids, {0}).values():
            found = proved(attempt_past, self.told.values())
            if found is not None:
                verdict, mail = found
                self.note(Settlement(attempt_past.attempt_id, 0, verdict, mail.evidence, 4.0, mail.message_id))

    def copy(self) -> History:
        return History(list(self.attempts), dict(self.ids), dict(self.mails), dict(self.told))


TRUTHS = ["accepted", "accepted fails", "unheard", "unheard fails", "lost", "later", "dead"]
DECISIONS = [SettlementVerdict.ACCEPTED, SettlementVerdict.RESEND, SettlementVerdict.DROP, SettlementVerdict.RETURNED]
happenings = st.lists(
    st.one_of(
        st.sampled_from(TRUTHS),
        st.sampled_from(DECISIONS),
        st.tuples(st.integers(1, 3), st.booleans()),
    ),
    max_size=14,
)


def lived(what: list[str | SettlementVerdict | Told]) -> History:
    history = History()
    for one in what:
        match one:
            case SettlementVerdict():
                history.decide(one)
            case str():
                history.send(one)
            case (number, refusal):
                history.tell(number, refusal=refusal)
        assert history.ledger().contradictions == 0
    return history


@given(happenings)
def test_no_history_contradicts_itself(what: list[str | SettlementVerdict | Told]) -> None:
    history = lived(what)
    before = history.attempts.copy()
    history.settle()
    history.settle()
    assert history.attempts == before, "what is settled is settled"


@given(happenings)
def test_no_mail_that_was_sent_is_missed(what: list[str | SettlementVerdict | Told]) -> None:
    """Once all events are in, whoever got a mail is accepted; and whoever is accepted by an event, got one."""
    history = lived(what)
    for number in history.mails:
        history.tell(number, refusal=True)
    got = [number for number, mail in history.mails.items() if not mail.refused]
    by_a_person = any(s.verdict is A and not s.message_id for one in history.attempts for s in one.settlements)
    if got:
        assert history.state is EntryState.ACCEPTED
    elif not by_a_person:
        assert history.state is not EntryState.ACCEPTED


@given(happenings, st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8))
@example(["unheard fails", SettlementVerdict.RESEND], [(1, False)])
@example(["unheard", SettlementVerdict.RESEND, "accepted fails"], [(2, True), (1, False)])
def test_the_order_of_events_does_not_matter(what: list[str | SettlementVerdict | Told], order: list[Told]) -> None:
    history = lived(what)
    other = history.copy()
    for number, refusal in order:
        other.tell(number, refusal=refusal)
    for one in (history, other):
        for number, mail in one.mails.items():
            one.told[mail.message_id] = mail
            if one is other:
                one.tell(number, refusal=True)
        one.settle()
    assert history.state is other.state
    assert other.ledger().contradictions == history.ledger().contradictions == 0
