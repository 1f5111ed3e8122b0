"""One campaign's pipeline: batch → pacer → durable intent → transport → classify → settle.

One conductor decides what goes next and is the only one to wait at the pacer; each request in the air is a task of
its own. The conductor does nothing durable, so it may be cancelled anywhere; a flight is never cancelled between its
answer and its outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import assert_never

from bulksend.engine.backlog import Backlog, OpenChunk
from bulksend.engine.circuit import Circuit
from bulksend.engine.flight import FlightSize
from bulksend.engine.handout import WholeCampaign
from bulksend.engine.heed import Heed
from bulksend.engine.landing import Flight, Landing
from bulksend.engine.ports import Gate, Handout, Journal, Observer, Pacer, Screen, Source, Transport
from bulksend.errors import BulksendError, HaltedError, JournalError
from bulksend.facts import (
    Audience,
    BatchSent,
    CampaignHalted,
    EntriesReturned,
    EntriesSuppressed,
    Fact,
    Waiting,
    WaitKind,
)
from bulksend.model import (
    Answer,
    Batch,
    CampaignState,
    Doubtful,
    EntryOutcome,
    EntryState,
    Halt,
    Intent,
    NotSent,
    Policy,
    Settlement,
    SettlementVerdict,
    Verdict,
    Withheld,
)
from bulksend.outcome import (
    RESEND_AFTER_S,
    Backoff,
)
from bulksend.schedule import Schedule

__all__ = ["Engine"]

ENOUGH_BATCHES = 2
MAX_REOPENED = 1000
"""Times that others' decisions may open a finished chunk again in one run; more would be a loop."""
WATCH_EVERY_S = 0.5
GIVE_BACK_AFTER_S = 10.0
"""After so long with an open circuit no chunk is kept from one probe to the next."""
SUPPRESSED = "SUPPRESSED"
"""The status of entries that were not sent because of whom they go to."""
LOOK_AGAIN_S = 1.0
"""How often a schedule is looked at while it rests: it may be changed."""


class Engine:
    """Sends what is left of one campaign.

    `run` returns the state that the campaign is in at the end: FINISHED, HALTED or what `drain` leaves it in (or what
    somebody else made of it). `now` is the store's clock in epoch seconds. `handout` says which chunks are this
    process's: all, if not given. `screen` says whom not to
    write to. `gate` may hold all but the first entries of the list back. `begin_from` are the states
    in which it may be begun: any but CANCELLED, if not given. `endpoint_remedy` is what a person does where SES refuses
    the multi-region endpoint that it is sent by.
    """

    def __init__(
        self,
        campaign_id: str,
        *,
        source: Source,
        journal: Journal,
        transport: Transport,
        pacer: Pacer,
        observers: Sequence[Observer] = (),
        policy: Policy | None = None,
        schedule: Schedule | None = None,
        handout: Handout | None = None,
        gate: Gate | None = None,
        screen: Screen | None = None,
        begin_from: Collection[CampaignState] = (),
        max_in_flight: int = 64,
        endpoint_remedy: str = "",
        now: Callable[[], float] = time.time,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        policy = policy or Policy()
        self._campaign_id = campaign_id
        self._source = source
        self._journal = journal
        self._transport = transport
        self._pacer = pacer
        self._audience = Audience(observers)
        self._now = now
        self._resend_after_s = RESEND_AFTER_S if policy.resend_in_doubt else None
        self.schedule = schedule or Schedule()
        """When it may send; it may be exchanged while it runs."""
        self._handout = handout or WholeCampaign(journal, campaign_id, now)
        self._begin_from = begin_from
        self._gate = gate
        self._screen = screen
        self._backlog = self._blank_backlog()
        self._circuit = Circuit(uniform)
        self._flight_size = FlightSize(max_in_flight)
        self._flights: set[Flight] = set()
        self._landed = asyncio.Event()
        self._conductor: asyncio.Task[None] | None = None
        self._end: CampaignState | None = None
        self._end_is_told = True
        """Whether the end is this process's to tell the journal."""
        self._rests = False
        """Whether somebody was told that the schedule holds it back."""
        self._held_for = ""
        """What the gate waits for, as it was told."""
        self._failure: BaseException | None = None
        self._landing = Landing(
            campaign_id,
            journal,
            pacer,
            self._audience,
            self._circuit,
            Heed(transport, pacer, endpoint_remedy),
            transport.kind,
            Backoff(policy.max_attempts, uniform),
            self._resend_after_s,
            now,
            self._stop,
            self._fail,
        )
        self._reopened: Counter[int] = Counter()
        self.halt: Halt | None = None

    async def run(self) -> CampaignState:
        """Send until nothing is left, something halts, or `drain` is called.

        Raises:
            JournalError: the journal failed; unanswered requests will be in doubt.
            SnapshotError: the snapshot is missing or damaged.
        """
        sending = CampaignState.SENDING
        if not await self._journal.set_state(self._campaign_id, sending, only_from=self._begin_from):
            return await self._journal.campaign_state(self._campaign_id)
        self._handout.on_arrival(self._landed.set)
        if self._gate is not None:
            self._gate.on_change(self._unbar)
        watcher = asyncio.create_task(self._watch(), name="watcher")
        try:
            while True:
                await self._conduct_to_the_end()
                end = self._end or CampaignState.FINISHED
                # What somebody has paused, halted or resumed meanwhile stays so, whatever ends this run.
                only_from = () if end is CampaignState.FINISHED else (CampaignState.SENDING,)
                if not self._end_is_told or await self._journal.set_state(
                    self._campaign_id, end, self.halt, only_from=only_from
                ):
                    return end
                if end is not CampaignState.FINISHED:
                    return await self._journal.campaign_state(self._campaign_id)
        finally:
            watcher.cancel()

    async def _conduct_to_the_end(self) -> None:
        """Until nothing is left or something stops it, and every answer is recorded."""
        self._conductor = asyncio.create_task(self._conduct(), name="conductor")
        if self._end is not None:
            self._conductor.cancel()
        try:
            await self._conductor
        except asyncio.CancelledError:
            if self._end is None and self._failure is None:
                raise
        except HaltedError as error:
            self._stop(error.halt)
        except Exception as error:  # noqa: BLE001  raised again below, once the answers in flight are recorded
            self._failure = self._failure or error
        await self._await_flights()
        if self._failure is not None:
            await self._leave_halted(self._failure)
            with suppress(BulksendError):  # else their leases are renewed for as long as this process lives
                await self._leave_all()
            raise self._failure
        await self._leave_all()

    async def _await_flights(self) -> None:
        while self._flights:
            self._landed.clear()
            await self._landed.wait()

    async def _leave_all(self) -> None:
        """Give back every chunk; nothing of them is in the air."""
        numbers, self._backlog = self._backlog.numbers, self._blank_backlog()
        for number in numbers:
            await self._journal.leave_chunk(self._campaign_id, number, None)
            self._handout.let_go(number, None)

    async def _leave_halted(self, failure: BaseException) -> None:
        """A campaign that nobody sends is not left as being sent, if that can still be written."""
        halt = Halt(str(failure), failure.hint if isinstance(failure, BulksendError) else "See the message above.")
        with suppress(BulksendError):
            if await self._journal.set_state(
                self._campaign_id, CampaignState.HALTED, halt, only_from=(CampaignState.SENDING,)
            ):
                self._tell(CampaignHalted(halt))

    def drain(self, leaving: CampaignState = CampaignState.PAUSED) -> None:
        """Make no new intents; wait for the answers in flight; then `run` returns this state.

        SENDING leaves the campaign to the others that send it.
        """
        self._finish(leaving, told=leaving is not CampaignState.SENDING)

    def stop(self, halt: Halt) -> None:
        """Halt it, for a reason that came up elsewhere."""
        self._stop(halt)

    def abandon(self) -> None:
        """Do not wait for the answers either: what is in flight becomes in doubt at once."""
        self.drain()
        for flight in self._flights:
            if flight.awaits_answer and flight.task is not None:
                flight.task.cancel()

    async def _watch(self) -> None:
        """Somebody else may pause or cancel the campaign while nothing is being intended."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            self._tell_schedule()  # where nothing is handed out by schedule, the conductor waits for that elsewhere
            self._tell_gate()
            with suppress(JournalError):
                state = await self._journal.campaign_state(self._campaign_id)
                if state is not CampaignState.SENDING:
                    self._finish(state, told=False)

    # The conductor ----------------------------------------------------------------------------------------------------

    async def _conduct(self) -> None:
        while await self._handout.more():
            self._backlog.offer(self._handout.take(self._now()))
            while not self._backlog.empty:
                await self._step()

    async def _step(self) -> None:
        self._landed.clear()
        await self._resend_due_doubts()
        await self._screen_out()
        await self._close_finished()
        self._backlog.offer(self._handout.take(self._now()))
        if self.schedule.opens_at(self._now()) is not None:
            await self._rest()
            return
        await self._open_wanted()
        if self._backlog.empty:
            return
        probing = self._circuit.is_open
        clock_s = asyncio.get_running_loop().time()
        if probing and (self._flights or clock_s < self._circuit.probe_at):
            if not self._flights and clock_s - self._circuit.opened_s > GIVE_BACK_AFTER_S:
                await self._leave_all()  # somebody else may reach SES
            await self._wait(None if self._flights else self._circuit.probe_at - clock_s)
            return
        if len(self._flights) >= self._flight_size.limit(self._pacer.rate_per_s, self._pacer.batch_recipients):
            await self._wait(None)
            return
        now = self._now()
        batch = self._backlog.take(self._pacer.batch_recipients, now, probe=probing)
        if batch is None:
            for number, until in self._backlog.park(now):
                await self._journal.leave_chunk(self._campaign_id, number, until)
                self._handout.let_go(number, until)
            times = [at for at in (self._backlog.next_at(), self._handout.next_at()) if at is not None]
            if self._backlog.bars_any:
                times.append(now + LOOK_AGAIN_S)
            if times or not self._backlog.empty:
                await self._wait(max(0.0, min(times) - now) if times else None)
            return
        await self._launch(self._backlog[batch.chunk.number], batch, probing=probing)

    async def _launch(self, opened: OpenChunk, batch: Batch, *, probing: bool) -> None:
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            ticket = await self._pacer.acquire(batch.recipients)
        except BaseException:
            opened.put_back(batch)
            raise
        may_go = probing or not self._circuit.is_open
        may_go = may_go and not (self._screen is not None and self._screen.has_news)
        if opened.lost or not may_go or self.schedule.opens_at(self._now()) is not None:
            self._pacer.give_back(batch.recipients, ticket)
            opened.put_back(batch)
            self._let_go_if_lost(opened)
            return
        flight = Flight(opened, ticket, loop.time() - asked_s)
        self._flights.add(flight)
        flight.task = loop.create_task(self._fly(flight, batch))

    async def _rest(self) -> None:
        """Outside its times: nothing goes out, and no chunk is held."""
        await self._await_flights()
        await self._leave_all()
        while self._tell_schedule():  # noqa: ASYNC110  a time that may be changed
            await asyncio.sleep(LOOK_AGAIN_S)

    def _tell_schedule(self) -> bool:
        """Whether the schedule holds it back now; said where it is news."""
        opens_at = self.schedule.opens_at(self._now())
        if (opens_at is not None) != self._rests:
            self._rests = opens_at is not None
            if opens_at is None:
                self._tell(Waiting("", None))
            else:
                opens = datetime.fromtimestamp(opens_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                self._tell(Waiting(f"by its schedule it may send again from {opens}", WaitKind.SCHEDULE))
        return self._rests

    def _blank_backlog(self) -> Backlog:
        limit = (lambda _: None) if self._gate is None else self._gate.limit
        return Backlog(self._campaign_id, resend_after_s=self._resend_after_s, limit=limit)

    def _unbar(self) -> None:
        """The gate is open."""
        self._backlog.unbar()
        self._tell_gate()
        self._landed.set()

    def _tell_gate(self) -> None:
        """What the gate waits for now, unless the schedule holds everything back; said where it is news."""
        waits_for = "" if self._gate is None or self._rests else self._gate.waits_for
        if waits_for != self._held_for:
            self._held_for = waits_for
            self._tell(Waiting(waits_for, WaitKind.CANARY if waits_for else None))

    async def _wait(self, at_most_s: float | None) -> None:
        """Until an answer has landed, or so long."""
        if at_most_s is None and not self._flights:
            return
        try:
            async with asyncio.timeout(at_most_s):
                await self._landed.wait()
        except TimeoutError:
            pass

    async def _open_wanted(self) -> None:
        while True:
            limit = self._flight_size.limit(self._pacer.rate_per_s, self._pacer.batch_recipients)
            if not self._backlog.wants_more(ENOUGH_BATCHES * limit * self._pacer.batch_recipients):
                return
            number = self._backlog.next_unopened
            if number is None:
                self._handout.ask()
                return
            ledger = await self._journal.open_chunk(self._campaign_id, number)
            if ledger is None:
                self._backlog.forgo(number)
                self._handout.let_go(number, None)
            else:
                chunk = await self._source.chunk(number)
                suppressed = {} if self._screen is None else await self._screen.opened(number)
                opened = self._backlog.add(chunk, ledger, self._now())
                opened.suppressed.update(suppressed)
                await self._refuse_suppressed(opened)

    async def _screen_out(self) -> None:
        """What was suppressed since its chunk was opened is not sent; what was in the air then is not sent again."""
        if self._screen is None:
            return
        if self._screen.has_news:
            news = await self._screen.news([opened.number for opened in self._backlog.opened])
            for opened in self._backlog.opened:
                opened.suppressed.update(news.get(opened.number, {}))
        for opened in self._backlog.opened:
            await self._refuse_suppressed(opened)

    async def _refuse_suppressed(self, opened: OpenChunk) -> None:
        suppressed = opened.take_suppressed() if opened.suppressed else {}
        if not suppressed:
            return
        refusals = {place: EntryOutcome(Verdict.DEAD, SUPPRESSED, why) for place, why in suppressed.items()}
        # What the journal does not refuse is not pending there: whoever closes the chunk will see.
        refused = await self._journal.refuse(self._campaign_id, opened.number, refusals)
        for place in refused:
            opened.ledger.states[place] = EntryState.DEAD
        self._tell(EntriesSuppressed(len(refused)))

    async def _close_finished(self) -> None:
        for opened in self._backlog.finished():
            number = opened.number
            closed = await self._journal.close_chunk(self._campaign_id, number)
            self._backlog.drop(opened)
            if closed:
                self._handout.let_go(number, None)
                continue
            self._reopened[number] += 1
            if self._reopened[number] > MAX_REOPENED:
                raise JournalError(f"chunk {number} does not come to an end: its attempts do not agree")
            self._backlog.offer([number])

    async def _resend_due_doubts(self) -> None:
        if self._resend_after_s is None:
            return
        now = self._now()
        for opened, due in self._backlog.due_doubts(now):
            wanted = [Settlement(a, i, SettlementVerdict.RESEND, "the campaign's policy", now) for i, a in due]
            rows = {opened.chunk.rows[i]: i for i, _ in due}
            taken = await self._journal.decide(self._campaign_id, opened.number, wanted, rows)
            for settlement in taken:
                if opened.ledger.settle(settlement):
                    self._backlog.alone(opened, settlement.index)
            self._tell(EntriesReturned(Verdict.IN_DOUBT, len(taken)))

    # A flight ---------------------------------------------------------------------------------------------------------

    async def _fly(self, flight: Flight, batch: Batch) -> None:
        try:
            await self._send(flight, batch)
        except Exception as error:  # noqa: BLE001  `run` raises it, once the other answers are recorded
            self._fail(error)
        finally:
            self._flights.discard(flight)
            self._let_go_if_lost(flight.opened)
            self._landed.set()

    async def _send(self, flight: Flight, batch: Batch) -> None:
        """From the intent to what is made of the answer."""
        loop = asyncio.get_running_loop()
        opened = flight.opened
        asked_s, began_s = loop.time(), time.perf_counter()
        if not opened.ledger.intend(batch.indices):
            raise AssertionError("a batch was taken of which an entry is not pending")
        try:
            intent = await self._journal.intend(batch)
        except BulksendError:
            opened.ledger.unintend(batch.indices)
            self._pacer.give_back(batch.recipients, flight.ticket)
            raise
        if isinstance(intent, Withheld):
            await self._withheld(flight, batch, intent)
            return
        if len(intent.batch.indices) < len(batch.indices):
            for i in set(batch.indices).difference(intent.batch.indices):
                opened.ledger.states[i] = EntryState.ACCEPTED
            self._pacer.give_back(batch.recipients - intent.batch.recipients, flight.ticket)
            batch = intent.batch
        sent_s = loop.time()
        commit_s = time.perf_counter() - began_s  # the loop's own clock may have steps of a millisecond
        self._tell(BatchSent(batch.kind, len(batch.indices), batch.recipients, flight.pacer_wait_s, commit_s))
        if self._end is not None:
            answer: Answer = NotSent("sending was stopped before the request left")
        else:
            answer = await self._answer(flight, intent)
        answered_s = loop.time()
        self._flight_size.note(answered_s - asked_s)
        await self._landing.land(flight, intent, answer, sent_s, answered_s)

    async def _answer(self, flight: Flight, intent: Intent) -> Answer:
        """The only part of a flight that may be interrupted."""
        assert flight.task is not None
        flight.awaits_answer = True
        try:
            return await self._transport.send(intent.batch.payload(), intent.send_before_s)
        except asyncio.CancelledError:
            return Doubtful("interrupted while the answer was awaited")
        finally:
            flight.awaits_answer = False
            while flight.task.cancelling():
                flight.task.uncancel()

    async def _withheld(self, flight: Flight, batch: Batch, why: Withheld) -> None:
        """Nothing goes out of this batch."""
        opened = flight.opened
        self._pacer.give_back(batch.recipients, flight.ticket)
        opened.ledger.unintend(batch.indices)
        opened.in_flight -= 1
        match why:
            case Withheld.STOPPED:
                self._finish(await self._journal.campaign_state(self._campaign_id), told=False)
            case Withheld.SETTLED:
                for i in batch.indices:
                    opened.ledger.states[i] = EntryState.ACCEPTED
            case Withheld.LOST:
                opened.lost = True
                self._backlog.drop(opened)
            case _:
                assert_never(why)

    def _let_go_if_lost(self, opened: OpenChunk) -> None:
        if opened.lost and opened.in_flight == 0:
            self._handout.let_go(opened.number, None)

    # Ends -------------------------------------------------------------------------------------------------------------

    def _stop(self, halt: Halt) -> None:
        if self.halt is None:
            self.halt = halt
            if self._end is None:  # else it comes to another end already
                self._tell(CampaignHalted(halt))
        self._finish(CampaignState.HALTED)

    def _fail(self, error: BaseException) -> None:
        """Nothing more is intended; `run` raises it at the end."""
        self._failure = self._failure or error
        self._finish(CampaignState.HALTED)

    def _finish(self, state: CampaignState, *, told: bool = True) -> None:
        """Come to an end in this state. Where somebody else has brought it about, the journal knows already."""
        if self._end is None:
            self._end = state
            self._end_is_told = told
        if self._conductor is not None and not self._conductor.done():
            self._conductor.cancel()

    def _tell(self, fact: Fact) -> None:
        self._audience.observe(fact)
