"""What stands by while a campaign is sent: its canary, its ramp and its breaker, by what events tell of its mails."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from math import ceil
from typing import assert_never

import structlog

from bulksend.engine import Observer, Pacer
from bulksend.errors import BulksendError, JournalError
from bulksend.facts import BatchAnswered, BreakerBlind, Fact
from bulksend.journal import EventRecords, Journal, Rates
from bulksend.model import Campaign, Halt
from bulksend.pacing import Ramp
from bulksend.safety import (
    Breaker,
    Canary,
    CanarySent,
    CanaryVerdict,
    Excess,
    Heard,
    RampStep,
    duration_in_words,
    judge,
    judge_canary,
)
from bulksend.worker.looking_on import one_worker
from bulksend.worker.store import Store

__all__ = ["CanaryGate", "Guard", "guarding", "ramped"]

JUDGE_EVERY_S = 2.0
"""How often events are asked for; more rarely where that takes long."""
JUDGE_SHARE = 0.05
"""Of the time, that this may take."""
BLIND_AFTER_S = 600.0
"""Mails go out for so long, and nothing is heard of any: the breaker cannot judge."""
STRETCHES = 10
"""Into so many that time is divided: when mails went out is noted to that."""
LEAST_STRETCHES = 3
"""One mail that is tried again and again at its receiver makes nobody blind."""
COUNT_WORKERS_EVERY_S = 5.0
REMEDIES = {
    "bounces": "Find out where the addresses that bounce come from, and keep more of that kind out of the list.",
    "complaints": (
        "Find out why its readers take it for spam: whether they asked for it, and whether they can unsubscribe."
    ),
    "refusals": (
        "bulksend results and bulksend trace tell SES's reason for each. Where they did not render, the template asks "
        "for values that the list does not give: mend the template or the list."
    ),
}
SEE_TO_EVENTS = (
    "See that the configuration set publishes Delivery, Bounce and Complaint events (bulksend events status), and that "
    "they are taken in (bulksend events consume, or a worker)"
)


class CanaryGate:
    """Satisfies the engine's Gate: lets the first `canary` entries of a list go, and the others when it is opened.

    `chunks` are (number, entries) of the list's chunks, in its order.
    """

    def __init__(self, chunks: Sequence[tuple[int, int]], canary: int) -> None:
        self._limits: dict[int, int] = {}
        for number, entries in chunks:
            self._limits[number] = min(entries, canary)
            canary -= self._limits[number]
        self._call: Callable[[], None] = lambda: None
        self.waits_for = ""
        self.is_open = False

    def on_change(self, call: Callable[[], None]) -> None:
        """See Gate."""
        self._call = call

    def limit(self, chunk: int) -> int | None:
        """See Gate."""
        return None if self.is_open else self._limits.get(chunk, 0)

    def open(self) -> None:
        """All may go."""
        self.is_open, self.waits_for = True, ""
        self._call()


class Guard:
    """Judges one campaign while it is sent. Satisfies the engine's Observer, to know whether anything goes out."""

    def __init__(self, campaign: Campaign, journal: Journal, events: EventRecords, observer: Observer) -> None:
        self._campaign = campaign
        self._journal = journal
        self._events = events
        self._observer = observer
        self.gate: CanaryGate | None = None
        """What holds back all but the canary, if there is one that was not judged before."""
        self._sent_at: float | None = None
        self._unheard: deque[float] = deque()
        """When the first mails went out of each stretch in which any did, since what was heard of last."""
        self._blind = ""
        self._armed_at = 0.0
        self._counts_from = 0.0
        """Since then the breaker counts: when it was armed, or the first second that has nothing of before."""

    @classmethod
    def of(cls, campaign: Campaign, store: Store, observer: Observer) -> Guard:
        """Ready to watch. Raises JournalError."""
        guard = cls(campaign, store.journal, store.events, observer)
        canary = campaign.safety.canary
        if canary is not None and campaign.canary_passed_at is None:
            guard.gate = CanaryGate(store.journal.chunk_sizes(campaign), canary.entries(campaign.entries))
        return guard

    def observe(self, fact: Fact) -> None:
        """Note when mails go out."""
        if isinstance(fact, BatchAnswered):
            now = self._journal.now()
            if not self._unheard or now - self._unheard[-1] >= BLIND_AFTER_S / STRETCHES:
                self._unheard.append(now)
            self._sent_at = now

    async def watch(self, halt: Callable[[Halt], None]) -> None:
        """Judge again and again, until it halts or is cancelled."""
        loop = asyncio.get_running_loop()
        took_s, trouble = 0.0, ""
        while True:
            await asyncio.sleep(max(JUDGE_EVERY_S, took_s / JUDGE_SHARE))
            began_s = loop.time()
            try:
                found = await self._judge()
                trouble = ""
            except BulksendError as error:
                # What cannot be read now is read the next time; where it is the journal, nothing goes out meanwhile.
                if error.message != trouble:
                    structlog.get_logger().warning("safety cannot be judged; trying again", error=error.message)
                found, trouble = None, error.message
            except Exception as error:  # noqa: BLE001  nobody would miss a breaker that is gone
                structlog.get_logger().error("safety cannot be judged", error=type(error).__name__)
                unexpected = BulksendError(f"{type(error).__name__} while the campaign's safety was judged")
                found = Halt(unexpected.message, unexpected.hint)
            if found is not None:
                halt(found)
                return
            took_s = loop.time() - began_s

    async def _judge(self) -> Halt | None:
        gate = None if self.gate is None or self.gate.is_open else self.gate
        canary, breaker = self._campaign.safety.canary, self._campaign.safety.breaker
        if gate is None and (breaker is None or self._sent_at is None):
            return None
        guarded = await asyncio.to_thread(self._journal.guarded, self._campaign)
        if guarded is None:
            return None
        armed_at, canary_passed_at = guarded
        if gate is not None and canary is not None:
            if canary_passed_at is None:
                return await self._judge_canary(gate, canary, armed_at)
            gate.open()  # somebody else has judged it
        if breaker is None or self._sent_at is None:
            return None
        return await self._judge_breaker(breaker, armed_at)

    # The canary -------------------------------------------------------------------------------------------------------

    async def _judge_canary(self, gate: CanaryGate, canary: Canary, armed_at: float) -> Halt | None:
        campaign = self._campaign
        count = canary.entries(campaign.entries)
        sent = await asyncio.to_thread(self._journal.canary_sent, campaign, count)
        now = self._journal.now()
        deadline = None if sent.last_at is None else max(sent.last_at, armed_at) + canary.wait_s
        unread = ""
        try:
            heard = await self._heard(0.0)
        except JournalError as error:
            heard, unread = Heard(0, 0, 0), error.message
        verdict = judge_canary(campaign.safety.limits, sent, heard, deadline=deadline, now=now)
        match verdict:
            case CanaryVerdict.WAIT:
                if sent.untried == 0 and deadline is not None:
                    gate.waits_for = (
                        f"the first {_mails(count)} are out; the others wait for what becomes of these, "
                        f"until {_instant(deadline)} at the latest"
                    )
            case CanaryVerdict.PASS:
                await asyncio.to_thread(self._journal.pass_canary, campaign)
                structlog.get_logger().info(
                    "the canary has passed", campaign=campaign.name, delivered=heard.delivered, bounced=heard.bounced
                )
                gate.open()
            case CanaryVerdict.CANNOT_JUDGE:
                return _cannot_judge(campaign.name, canary, sent, heard, unread)
            case Excess():
                halt = _too_much(campaign.name, verdict, "the canary did badly")
                await asyncio.to_thread(self._journal.pass_canary, campaign, halt)
                return halt
            case _:
                assert_never(verdict)
        return None

    # The breaker ------------------------------------------------------------------------------------------------------

    async def _judge_breaker(self, breaker: Breaker, armed_at: float) -> Halt | None:
        if armed_at != self._armed_at:
            first = await asyncio.to_thread(self._journal.first_sent_at, self._campaign)
            was_begun_before = first is not None and first < armed_at
            self._counts_from = float(ceil(armed_at)) if was_begun_before else 0.0
            self._armed_at = armed_at
        window_from = self._journal.now() - breaker.window_s
        lately = self._counts_from if window_from <= armed_at else max(window_from, self._counts_from)
        try:
            rates, heard = await self._rates(lately)
            excess = judge(breaker, heard)
            when = f"since {_instant(self._counts_from)}" if self._counts_from else "so far"
            if excess is not None and lately > self._counts_from:
                when = f"in the last {duration_in_words(breaker.window_s)}"
            elif lately > self._counts_from:
                # At a slow pace no window has enough of them, and late events are of mails that were sent before it.
                excess = judge(breaker, await self._heard(self._counts_from))
        except JournalError as error:
            self._tell_sight(f"events cannot be read: {error.message}")
            return None
        self._look(rates)
        if excess is None:
            return None
        return _too_much(self._campaign.name, excess, f"the breaker tripped, of mails sent {when}")

    def _look(self, rates: Rates) -> None:
        """Say it once when mails go out and nothing is heard of them, and once when something is again."""
        stretch_s = BLIND_AFTER_S / STRETCHES
        while self._unheard and rates.last_sent_at is not None and self._unheard[0] <= rates.last_sent_at + stretch_s:
            self._unheard.popleft()
        if self._sent_at is None or not self._unheard or self._sent_at - self._unheard[0] <= BLIND_AFTER_S:
            self._tell_sight("")
            return
        if len(self._unheard) < LEAST_STRETCHES:
            return
        if rates.last_at is None:
            known = "no event of this campaign has come in"
        elif rates.last_sent_at is None:
            known = "events of this campaign come in, and none says whether a mail arrived"
        else:
            known = f"of no mail sent after {_instant(rates.last_sent_at)} has any event said whether it arrived"
        self._tell_sight(f"{known}, so it is not known whether its mails bounce. {SEE_TO_EVENTS}.")

    def _tell_sight(self, reason: str) -> None:
        if bool(reason) != bool(self._blind):
            self._observer.observe(BreakerBlind(reason))
        self._blind = reason

    async def _heard(self, since: float) -> Heard:
        return (await self._rates(since))[1]

    async def _rates(self, since: float) -> tuple[Rates, Heard]:
        """What is known of the mails that were sent since then. Raises JournalError."""
        rates = await asyncio.to_thread(self._events.rates, self._campaign.id, since)
        sent = 0
        if (rates.bounced or rates.complained or rates.refused) and not rates.delivered:
            sent = await asyncio.to_thread(self._journal.mails_sent, self._campaign.id, since)
        return rates, Heard(
            rates.delivered, rates.bounced, rates.complained, unsent=rates.unsent, sent=sent, refused=rates.refused
        )


@asynccontextmanager
async def guarding(guard: Guard, halt: Callable[[Halt], None]) -> AsyncIterator[None]:
    """While inside, the campaign is judged; `halt` is called at most once."""
    watching = asyncio.create_task(guard.watch(halt), name="safety")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@asynccontextmanager
async def ramped(
    campaign: Campaign, journal: Journal, pacer: Pacer, workers: Callable[[], Awaitable[int]] = one_worker
) -> AsyncIterator[Pacer]:
    """The pacer, behind the campaign's ramp if it has one. `workers` counts those that share it; 0 is not known."""
    steps: tuple[RampStep, ...] = campaign.safety.ramp
    if not steps:
        yield pacer
        return
    began_at = await asyncio.to_thread(journal.first_sent_at, campaign)
    ramp = Ramp(pacer, steps, began_at=began_at, workers=max(1, await workers()), now=journal.now)
    counting = asyncio.create_task(_count(ramp, workers), name="workers of a ramp")
    try:
        yield ramp
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


async def _count(ramp: Ramp, workers: Callable[[], Awaitable[int]]) -> None:
    while True:
        await asyncio.sleep(COUNT_WORKERS_EVERY_S)
        ramp.workers = await workers() or ramp.workers


# Words ----------------------------------------------------------------------------------------------------------------


def _too_much(name: str, excess: Excess, what: str) -> Halt:
    return Halt(
        f"{what}: {excess}",
        f"{REMEDIES[excess.what]} bulksend resume {name} goes on, and judges what is sent from then on.",
    )


def _cannot_judge(name: str, canary: Canary, sent: CanarySent, heard: Heard, unread: str) -> Halt:
    wait = duration_in_words(canary.wait_s)
    why = f"events cannot be read ({unread})" if unread else f"too little was heard in {wait}"
    known = heard.known - heard.refused
    told = f"what became of {known:,} of these" if known else "nothing of what became of them"
    refused = f"; SES took {heard.refused:,} and did not send them" if heard.refused else ""
    return Halt(
        f"the canary cannot be judged: {why}. SES accepted {sent.accepted:,} of its {_mails(sent.entries)}, and events "
        f"tell {told}{refused}",
        f"{SEE_TO_EVENTS}. Then bulksend resume {name} waits {wait} more. To go on without: take canary out of "
        f"[safety] in the campaign file, and send that.",
    )


def _mails(count: int) -> str:
    return f"{count:,} mail" if count == 1 else f"{count:,} mails"


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
