"""Events of what was accepted, whether its answer arrived or not, on their way to an SQS queue: another's, or our own.

Of an accepted call its body is kept, which costs the answer next to nothing. A task of its own unfolds it into events
when they are due, a few at a time, and sends them ten a call, several calls at once.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import orjson

from bulksend.event import EventType
from bulksend.simulator.account import Account
from bulksend.simulator.event_fates import Fates
from bulksend.simulator.event_mails import mails
from bulksend.simulator.event_shapes import NAMES, event, garbage, message
from bulksend.simulator.faults import Rule
from bulksend.simulator.queue import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, Queue, QueueError, Taken, region_of
from bulksend.simulator.settings import SimulatorSettings
from bulksend.simulator.tally import message_ids

__all__ = ["Emitter"]

_MAX_WAITING_BYTES = 256 * 1024 * 1024
"""Of the calls whose events are not out yet. What is over it is not told of, and counted."""
_MAX_UNFOLDED = 50_000
_UNFOLDED_AT_ONCE = 50
_CALLS_AT_ONCE = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_DISORDER_S = 1.0
_FLUSH_S = 50.0
_POLL_S = 0.005


class Sink(Protocol):
    """Where events go."""

    @property
    def gives_up_after_s(self) -> float:
        """What is not taken within so long is given up."""
        ...

    async def send(self, url: str, messages: Sequence[str]) -> Taken:
        """Put up to ten messages into the queue of this URL. Raises QueueError."""
        ...


class OwnQueue(Sink, Protocol):
    """The simulator's own."""

    def clear(self) -> None:
        """Forget all messages."""
        ...


class _Call(NamedTuple):
    """An accepted call, with the settings and the rules that held then. `at` is epoch seconds, `due` monotonic."""

    due: float
    number: int
    body: bytes
    places: list[int]
    at: float
    settings: SimulatorSettings
    rules: list[Rule]


class _Message(NamedTuple):
    """A message for the queue; garbage has no type. `due` is monotonic."""

    due: float
    order: int
    campaign: str
    type: EventType | None
    is_copy: bool
    text: str


@dataclass(slots=True)
class _Counts:
    """What is told of one campaign."""

    mails: int = 0
    unpublished: int = 0
    emitted: Counter[EventType] = field(default_factory=Counter)
    copies: Counter[EventType] = field(default_factory=Counter)
    lost: Counter[EventType] = field(default_factory=Counter)
    garbage: int = 0
    failed: int = 0

    def take(self, sent: _Message) -> None:
        """Count a message that is in the queue."""
        if sent.type is None:
            self.garbage += 1
        elif sent.is_copy:
            self.copies[sent.type] += 1
        else:
            self.emitted[sent.type] += 1


class Emitter:
    """The events of one account's mails. Its task begins with the first accepted call that is to be told of.

    They go to the queue that the settings name, unless there is a queue of our `own`.
    """

    def __init__(self, account: Account, own: OwnQueue | None = None) -> None:
        self._account = account
        self._own = own
        self._fails = False
        """Whether somebody was told that the queue takes nothing."""
        self._awake = asyncio.Event()
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._task: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._hurries = 0
        self._url = ""
        self._generation = 0
        self.reset()

    def reset(self) -> None:
        """Forget what waits, what is in a queue of our own, and all counts; fates and dice begin again."""
        self._generation += 1
        if self._own is not None:
            self._own.clear()
        self._calls: list[_Call] = []
        self._waiting_bytes = 0
        self._messages: list[_Message] = []
        self._counts: dict[str, _Counts] = {}
        self._overflowed = 0
        self._last_error = ""
        self._order = 0
        self._fates = Fates(self._account.settings.seed)
        self._dice = random.Random(self._account.settings.seed)  # noqa: S311 - wants to be repeatable
        self._awake.set()

    def accepted(self, number: int, body: bytes, places: list[int]) -> None:
        """Take up what a call had accepted, by place in it; `number` is the request's."""
        account = self._account
        if self._waiting_bytes + len(body) > _MAX_WAITING_BYTES:
            self._overflowed += len(places)
            return
        settings, rules = account.settings, account.faults.event_rules
        due = account.steady() + settings.event_delay_ms / 1000
        heapq.heappush(self._calls, _Call(due, number, body, places, account.clock(), settings, rules))
        self._url = settings.events_queue_url
        self._waiting_bytes += len(body)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        self._awake.set()

    def summary(self, campaign: str | None) -> dict[str, Any]:
        """What was told of one campaign's mails, or of all; what waits is of all."""
        names = [name for name in self._counts if campaign in (None, name)]
        counts = [self._counts[name] for name in names]

        def by_type(pick: Callable[[_Counts], Counter[EventType]]) -> dict[str, int]:
            total = sum((pick(one) for one in counts), Counter())
            return {NAMES[kind]: total[kind] for kind in NAMES if total[kind]}

        return {
            "campaigns": sorted(names),
            "mails": sum(one.mails for one in counts),
            "unpublished": sum(one.unpublished for one in counts),
            "emitted": by_type(lambda one: one.emitted),
            "copies": by_type(lambda one: one.copies),
            "lost": by_type(lambda one: one.lost),
            "garbage": sum(one.garbage for one in counts),
            "failed": sum(one.failed for one in counts),
            "overflowed": self._overflowed,
            "queued": self._queued(),
            "last_error": self._last_error,
        }

    def _queued(self) -> int:
        return sum(len(call.places) for call in self._calls) + len(self._messages) + self._in_flight

    async def flush(self) -> None:
        """Let go of all that waits, be it due or not, until it is out; no longer than 50 s."""
        self._hurries += 1
        self._awake.set()
        until = self._account.steady() + _FLUSH_S
        try:
            while (self._calls or self._messages or self._in_flight) and self._account.steady() < until:
                if self._task is not None and self._task.done():
                    self._task.result()
                await asyncio.sleep(_POLL_S)
        finally:
            self._hurries -= 1

    async def close(self) -> None:
        """Stop, and forget what is not out."""
        tasks = [task for task in (self._task, *self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        if self._own is not None:
            await self._run_into(self._own)
        else:
            async with Queue(_CALLS_AT_ONCE) as queue:
                await self._run_into(queue)

    async def _run_into(self, sink: Sink) -> None:
        while True:
            now = float("inf") if self._hurries else self._account.steady()
            self._unfold_some(now)
            if batch := self._next_batch(now):
                self._in_flight += len(batch)
                await self._slots.acquire()
                task = asyncio.create_task(self._send(sink, batch))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            elif not (self._calls and self._calls[0].due <= now and len(self._messages) < _MAX_UNFOLDED):
                await self._rest()
            # Answers go first.
            await asyncio.sleep(0)

    async def _rest(self) -> None:
        """Wait until something is due, or comes."""
        self._awake.clear()
        due = [self._messages[0].due] if self._messages else []
        if self._calls and len(self._messages) < _MAX_UNFOLDED:
            due.append(self._calls[0].due)
        wait_s = max(min(due) - self._account.steady(), 0) if due else None
        try:
            await asyncio.wait_for(self._awake.wait(), wait_s)
        except TimeoutError:
            return

    def _unfold_some(self, now: float) -> None:
        """Make events of a few calls, where fewer than a batch are ready."""
        unfolded = 0
        while self._calls and self._calls[0].due <= now and unfolded < _UNFOLDED_AT_ONCE:
            ready = len(self._messages) >= MAX_BATCH_MESSAGES and self._messages[0].due <= now
            if ready or len(self._messages) >= _MAX_UNFOLDED:
                break
            call = heapq.heappop(self._calls)
            self._waiting_bytes -= len(call.body)
            unfolded += len(call.places)
            self._unfold(call)

    def _unfold(self, call: _Call) -> None:
        settings, types = call.settings, call.settings.types
        asked = orjson.loads(call.body)
        ids = message_ids(self._account.run, call.number)
        is_published = settings.events_always or bool(asked.get("ConfigurationSetName"))
        region = region_of(settings.events_queue_url, os.environ)
        for mail in mails(asked, [ids(place) for place in call.places], call.places, call.at, region):
            counts = self._counts.get(mail.campaign)
            if counts is None:
                counts = self._counts[mail.campaign] = _Counts()
            if not is_published:
                counts.unpublished += 1
                continue
            counts.mails += 1
            fates = self._fates.of(mail.campaign, mail.addresses, settings, call.rules, self._account.is_suppressed)
            self._account.insights.befell(mail, fates)
            for nth, (fate, recipients) in enumerate(fates):
                if fate.type not in types:
                    continue
                told = event(mail, fate, recipients, nth)
                if self._happens(settings.event_loss_share):
                    counts.lost[fate.type] += 1
                    continue
                for is_copy in (False, True) if self._happens(settings.event_duplicate_share) else (False,):
                    text = message(settings.events_shape, told, mail, fate.type, self._order)
                    self._push(call, mail.campaign, fate.type, text, is_copy=is_copy)
                if self._happens(settings.event_garbage_share):
                    self._push(call, mail.campaign, None, garbage(text, self._order), is_copy=False)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._dice.random() < share

    def _push(self, call: _Call, campaign: str, kind: EventType | None, text: str, *, is_copy: bool) -> None:
        settings, due = call.settings, call.due
        if settings.event_jitter_ms:
            due += self._dice.uniform(0, settings.event_jitter_ms) / 1000
        if self._happens(settings.event_disorder_share):
            due += _DISORDER_S
        heapq.heappush(self._messages, _Message(due, self._order, campaign, kind, is_copy, text))
        self._order += 1

    def _next_batch(self, now: float) -> list[_Message]:
        batch: list[_Message] = []
        size_bytes = 0
        messages = self._messages
        while messages and messages[0].due <= now and len(batch) < MAX_BATCH_MESSAGES:
            size_bytes += len(messages[0].text.encode())
            if batch and size_bytes > MAX_BATCH_BYTES:
                break
            batch.append(heapq.heappop(messages))
        return batch

    async def _send(self, sink: Sink, batch: list[_Message]) -> None:
        """Send until all is taken, refused for good, or given up."""
        generation, until, pause_s = self._generation, self._account.steady() + sink.gives_up_after_s, _FIRST_PAUSE_S
        waiting = batch
        try:
            while waiting and generation == self._generation:
                again, never = list(range(len(waiting))), list[int]()
                try:
                    again, never, why = await sink.send(self._url, [sent.text for sent in waiting])
                    self._last_error = why or self._last_error
                    self._say(why or "it does not say why" if len(again) + len(never) == len(waiting) else "")
                except QueueError as error:
                    self._last_error = str(error)
                    self._say(self._last_error)
                if generation != self._generation:
                    break
                if again and self._account.steady() >= until:
                    again, never = [], never + again
                for place, sent in enumerate(waiting):
                    if place in never:
                        self._counts[sent.campaign].failed += 1
                    elif place not in again:
                        self._counts[sent.campaign].take(sent)
                waiting = [waiting[place] for place in again]
                if waiting:
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            self._in_flight -= len(batch)
            self._slots.release()

    def _say(self, fault: str) -> None:
        """Tell whoever looks on, on standard error, when the queue begins to take nothing, and when it takes again."""
        if bool(fault) == self._fails:
            return
        self._fails = bool(fault)
        text = "".join(c if c.isprintable() else " " for c in fault)
        said = f"the queue takes no events: {text}" if fault else "the queue takes events again"
        sys.stderr.write(f"simulator: {said}\n")
        sys.stderr.flush()
