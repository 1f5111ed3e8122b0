"""From an answer to what is recorded, booked and done about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import assert_never

from bulksend.engine.backlog import OpenChunk
from bulksend.engine.circuit import Circuit
from bulksend.engine.heed import Heed
from bulksend.engine.ports import Journal, Pacer
from bulksend.engine.remedies import doubtful_probes_halt, streak_halt, without_addresses
from bulksend.engine.streak import RefusalStreak
from bulksend.errors import JournalError
from bulksend.facts import Audience, BatchAnswered, CircuitChanged, EntriesReturned, Fact, UnknownStatus
from bulksend.ledger import LastOutcome
from bulksend.model import (
    AllAccepted,
    Answer,
    Answered,
    BatchKind,
    Doubtful,
    EntryOutcome,
    EntryState,
    Halt,
    Intent,
    NotSent,
    Refused,
    Settlement,
    SettlementVerdict,
    Verdict,
)
from bulksend.outcome import Backoff, EntryHistory, classify_request, knows_status, resolve_retry

__all__ = ["Flight", "Landing"]

SETTLE_TRIES = 6
SETTLE_AGAIN_S = 1.0


class Flight:
    """One batch of an open chunk, between its pacer's ticket and what became of it."""

    __slots__ = ("awaits_answer", "opened", "pacer_wait_s", "task", "ticket")

    def __init__(self, opened: OpenChunk, ticket: int, pacer_wait_s: float) -> None:
        self.opened = opened
        self.ticket = ticket
        self.pacer_wait_s = pacer_wait_s
        self.awaits_answer = False
        self.task: asyncio.Task[None] | None = None


class Landing:
    """What is made of answers. `halt` is called when they ask for it, `fail` while the journal cannot take them."""

    def __init__(  # noqa: PLR0917  the parts that it takes
        self,
        campaign_id: str,
        journal: Journal,
        pacer: Pacer,
        audience: Audience,
        circuit: Circuit,
        heed: Heed,
        transport: str,
        backoff: Backoff,
        resend_after_s: float | None,
        now: Callable[[], float],
        halt: Callable[[Halt], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._campaign_id = campaign_id
        self._journal = journal
        self._pacer = pacer
        self._audience = audience
        self.circuit = circuit
        self._heed = heed
        self._transport = transport
        self._backoff = backoff
        self._resend_after_s = resend_after_s
        self._now = now
        self._halt = halt
        self._fail = fail
        self._streak = RefusalStreak()

    async def land(self, flight: Flight, intent: Intent, answer: Answer, sent_s: float, answered_s: float) -> None:
        """Record an answer, and do what it asks for. Times are the event loop's."""
        batch = intent.batch
        if isinstance(answer, AllAccepted) and len(answer.message_ids) == len(batch.indices):
            await self._land_accepted(flight, intent, answer, answered_s - sent_s, answered_s)
            return
        verdict, outcomes = classify_request(answer, len(batch.indices))
        if verdict is Verdict.SPLIT and len(batch.indices) == 1:
            outcomes = [EntryOutcome(Verdict.DEAD, outcomes[0].status, outcomes[0].reason)]
        if isinstance(answer, Answered):
            for result in answer.results:
                if not knows_status(result.status):
                    self._tell(UnknownStatus(result.status))
        verdicts = [o.verdict for o in outcomes]
        outcomes = self._judge(flight.opened, intent, outcomes)
        await self._settle(intent, outcomes)
        self._pacer.give_back(self._book(flight.opened, intent, verdict, outcomes), flight.ticket)
        counts = Counter((o.verdict, o.status) for o in outcomes)
        code = _code(answer)
        self._tell(BatchAnswered(verdict, batch.recipients, answered_s - sent_s, counts, code, self._transport))
        if self.circuit.note(verdicts, answered_s, probe=batch.kind is BatchKind.PROBE):
            why = without_addresses(f"{outcomes[0].status} {outcomes[0].reason}".strip())
            self._tell(CircuitChanged(self.circuit.is_open, self.circuit.probe_at - answered_s, why))
        if self.circuit.hopeless:
            self._halt(doubtful_probes_halt())
        halt = await self._heed.answer(answer, verdicts, outcomes, sent_s)
        if halt is not None:
            self._halt(halt)
        if self._streak.tripped and self._streak.entries:
            await self._halt_for_streak()

    async def _land_accepted(
        self, flight: Flight, intent: Intent, answer: AllAccepted, answer_s: float, answered_s: float
    ) -> None:
        """What nearly every answer comes to: nothing is made of each entry. The same as the long way round."""
        batch = intent.batch
        self._streak.accepted()
        await self._settle(intent, answer)
        opened = flight.opened
        opened.in_flight -= 1
        opened.ledger.accept_all(batch.indices)
        counts = {(Verdict.ACCEPTED, "SUCCESS"): len(batch.indices)}
        self._tell(BatchAnswered(Verdict.ACCEPTED, batch.recipients, answer_s, counts, "200", self._transport))
        if self.circuit.note((Verdict.ACCEPTED,), answered_s, probe=batch.kind is BatchKind.PROBE):
            self._tell(CircuitChanged(self.circuit.is_open, self.circuit.probe_at - answered_s, ""))
        self._heed.accepted()

    async def _settle(self, intent: Intent, outcomes: list[EntryOutcome] | AllAccepted) -> None:
        """Record the answer; while the journal cannot, send nothing more, and try again: the answer comes only once."""
        for _ in range(SETTLE_TRIES - 1):
            try:
                return await self._journal.settle(intent, outcomes)
            except JournalError as error:
                self._fail(error)
                await asyncio.sleep(SETTLE_AGAIN_S)
        return await self._journal.settle(intent, outcomes)

    def _judge(self, opened: OpenChunk, intent: Intent, outcomes: list[EntryOutcome]) -> list[EntryOutcome]:
        """What the entries' own histories and the refusals before them make of the outcomes."""
        batch = intent.batch
        now = self._now()
        histories = opened.ledger.histories
        judged = []
        for index, outcome in zip(batch.indices, outcomes, strict=True):
            if outcome.verdict is Verdict.ACCEPTED:
                if self._streak.entries:
                    self._streak.note(intent.attempt_id, batch, index, outcome)
                judged.append(outcome)
                continue
            if self._streak.blames_campaign(outcome):
                innocent = EntryOutcome(Verdict.CAMPAIGN_AT_FAULT, outcome.status, outcome.reason, due_at=now)
                judged.append(innocent)
                continue
            self._streak.note(intent.attempt_id, batch, index, outcome)
            judged.append(resolve_retry(outcome, histories.get(index) or EntryHistory(), now, self._backoff))
        return judged

    def _book(self, opened: OpenChunk, intent: Intent, verdict: Verdict, outcomes: list[EntryOutcome]) -> int:
        """Move ledger and backlog along with what is now in the journal; returns how many recipients were refused."""
        batch, now = intent.batch, self._now()
        opened.in_flight -= 1
        ledger = opened.ledger
        if all(o.verdict is Verdict.ACCEPTED for o in outcomes):
            ledger.accept_all(batch.indices)
            return 0
        returned = 0
        for index, outcome in zip(batch.indices, outcomes, strict=True):
            ledger.record(index, LastOutcome(intent.attempt_id, intent.at, outcome), now)
            match outcome.verdict.state:
                case EntryState.PENDING:
                    returned += batch.chunk.recipients[index]
                    if verdict is not Verdict.SPLIT:
                        opened.retry(index, now if outcome.due_at is None else outcome.due_at, now)
                case EntryState.DEAD:
                    returned += batch.chunk.recipients[index]
                case EntryState.IN_DOUBT:
                    if self._resend_after_s is not None:
                        opened.doubt(index, intent.attempt_id, intent.at + self._resend_after_s)
                case EntryState.ACCEPTED | EntryState.IN_FLIGHT:
                    pass
        if verdict is Verdict.SPLIT and len(batch.indices) > 1:
            middle = len(batch.indices) // 2
            opened.splits.append((batch.indices[:middle], batch.origin))
            opened.splits.append((batch.indices[middle:], batch.origin))
        return returned

    async def _halt_for_streak(self) -> None:
        entries, now = self._streak.release(), self._now()
        streak = self._streak
        self._halt(streak_halt(streak.status, streak.reason, len(entries), self._heed.endpoint_remedy))
        returned = 0
        for chunk in {e.chunk for e in entries}:
            wanted = [
                Settlement(e.attempt_id, e.index, SettlementVerdict.RETURNED, "the campaign was at fault", now)
                for e in entries
                if e.chunk == chunk
            ]
            returned += len(await self._journal.decide(self._campaign_id, chunk, wanted))
        self._tell(EntriesReturned(Verdict.DEAD, returned))

    def _tell(self, fact: Fact) -> None:
        self._audience.observe(fact)


def _code(answer: Answer) -> str:
    """How an answer came: SES's error code, or the HTTP status where there is none."""
    match answer:
        case AllAccepted() | Answered():
            return "200"
        case Refused(code=code, http_status=status):
            return code or str(status)
        case NotSent():
            return "not_sent"
        case Doubtful():
            return "no_answer"
        case _:
            assert_never(answer)
