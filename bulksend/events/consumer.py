"""Takes events from one queue into the store of events. A message is deleted once what it says is durable, no sooner.

However often a message comes, and however this ends, nothing is lost and nothing is counted twice: the store knows each
report by its key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from bulksend.errors import BulksendError, JournalError
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.events.parse import Reading, Unreadable, parse
from bulksend.events.queue import LONG_POLL_S, MAX_MESSAGES, Message, Queue
from bulksend.events.troubles import QueueError
from bulksend.facts import EventsRecorded

__all__ = ["Consumer", "Events", "Listener", "Recorded"]

MAX_RECEIVERS = 10
"""Receives at a time, when messages wait; one otherwise."""
MAX_HELD = 2000
"""Messages that were received and are not done with."""
MAX_HELD_CHARACTERS = 16 * 1024 * 1024
"""Of those that cannot be read: the others are not kept as text."""
MAX_GROUP = 500
"""Events of one transaction."""
LINGER_S = 0.1
"""So long others may join a transaction: each of them takes the disk from intents."""
MAX_DELETES = 10
EMPTY_AFTER_S = 2
"""A queue from which nothing came for so long is empty; to ask for less might miss some of SQS's servers."""
LEFT_FOR_S = 3600
"""What cannot be read and has nowhere to go is out of the way for so long."""
LOOK_AGAIN_S = 60.0
"""For a dead-letter queue."""
MAX_BACKOFF_S = 60.0
LAST_S = 10.0
"""So long the end waits for a transaction, and for SQS."""

_Item = TypeVar("_Item")


class Recorded(Protocol):
    """What was new in a batch of events."""

    @property
    def types(self) -> Mapping[EventType, int]:
        """How many of each type."""
        ...

    @property
    def bounces(self) -> Mapping[BounceKind, int]:
        """Of the bounces, how many of each kind."""
        ...

    @property
    def copies(self) -> int:
        """Rows of which a second mail that SES did not refuse was seen for the first time."""
        ...

    @property
    def campaigns(self) -> frozenset[str]:
        """Ids of the campaigns that they tell of."""
        ...


class Events(Protocol):
    """Where events are kept."""

    def record(self, events: Sequence[MailEvent], now: float) -> Recorded:
        """Durably, when it returns. Raises JournalError."""
        ...


class Listener(Protocol):
    """Who is told, in the event loop."""

    def recorded(self, fact: EventsRecorded, campaigns: frozenset[str]) -> None:
        """A batch is durable. Where nothing in it could be read, its lag is 0."""
        ...

    def left(self, reason: str) -> None:
        """A message could not be read; each reason is told once."""
        ...

    def unburied(self, error: BulksendError) -> None:
        """What cannot be read cannot be moved to the dead-letter queue: told once, until it is another."""
        ...

    def held_up(self, error: BulksendError) -> None:
        """Events cannot be had, kept or deleted now. It is tried again."""
        ...

    def going_on(self) -> None:
        """Nothing of that is so any more."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A message and what it says; `body` is empty unless it is unreadable."""

    receipt: str
    reading: Reading
    body: str


class Consumer:
    """Consumes one queue. `run` is called once.

    The store is asked in `thread`; several consumers may share one, and wait for each other then.
    """

    def __init__(
        self,
        queue: Queue,
        events: Events,
        listener: Listener,
        *,
        thread: Executor,
        now: Callable[[], float],
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._queue = queue
        self._events = events
        self._listener = listener
        self._now = now
        self._uniform = uniform
        self._stopping = asyncio.Event()
        self._room = asyncio.Event()
        self._some, self._many = asyncio.Event(), asyncio.Event()
        """Whether anything waits to be recorded, or nothing more will; whether a whole group does."""
        self._waiting: list[_Held] = []
        self._held = self._held_characters = 0
        self._is_behind = False
        self._receivers: set[asyncio.Task[None]] = set()
        self._finishing: set[asyncio.Task[None]] = set()
        self._deletes = asyncio.Semaphore(MAX_DELETES)
        self._thread = thread
        self._troubles: dict[str, str] = {}
        """What is in trouble, by what is done: the words that were told."""
        self._told: set[str] = set()
        self._unburied = ""
        self._until_empty = self._patient = False
        self._has_received = False
        self._graves: tuple[float, str | None] = (float("-inf"), None)
        """When the dead-letter queue was looked for, and what was found."""

    # Its life ---------------------------------------------------------------------------------------------------------

    async def run(self, *, until_empty: bool = False, patient: bool = True) -> None:
        """Until `stop` is called; `until_empty`: or nothing is left.

        Trouble is waited out. Where it is not `patient`, trouble that does not pass by itself ends it, as long as it
        has received nothing; so it does with `until_empty`, whenever it comes.

        Raises:
            QueueError: such trouble.
        """
        self._until_empty, self._patient = until_empty, patient and not until_empty
        self._look_for_room()
        recorder = asyncio.create_task(self._record_on(), name="events' recorder")
        stopping = asyncio.create_task(self._stopping.wait())
        self._begin_receiver()
        try:
            await self._wait_for_the_end(stopping, recorder)
        finally:
            stopping.cancel()
            await self._end(recorder)

    def stop(self) -> None:
        """Receive nothing more. What is durable is deleted; the rest can be received again at once, by anybody."""
        self._stopping.set()

    async def _wait_for_the_end(self, stopping: asyncio.Task[bool], recorder: asyncio.Task[None]) -> None:
        while self._receivers and not stopping.done() and not recorder.done():
            done, _ = await asyncio.wait({stopping, recorder, *self._receivers}, return_when=asyncio.FIRST_COMPLETED)
            for receiver in done - {stopping, recorder}:
                receiver.result()

    async def _end(self, recorder: asyncio.Task[None]) -> None:
        receivers = [*self._receivers]
        if receivers:
            self._stopping.set()
        for receiver in receivers:
            receiver.cancel()
        await asyncio.gather(*receivers, return_exceptions=True)
        self._some.set()
        self._many.set()
        if self._stopping.is_set():
            await asyncio.wait({recorder}, timeout=LAST_S)
            recorder.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await recorder
        finally:
            if self._finishing:
                await asyncio.wait(self._finishing, timeout=LAST_S)
            await self._let_go()

    async def _let_go(self) -> None:
        """Of what was received and is not durable."""
        receipts = [held.receipt for held in self._waiting]
        with suppress(QueueError, TimeoutError):
            async with asyncio.timeout(LAST_S):
                await asyncio.gather(*(self._queue.show_again(some) for some in _tens(receipts)))

    async def _stopped_within(self, delay_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        return self._stopping.is_set()

    # Receiving --------------------------------------------------------------------------------------------------------

    def _begin_receiver(self) -> None:
        receiver = asyncio.create_task(self._receive_on(), name="events' receiver")
        self._receivers.add(receiver)
        receiver.add_done_callback(self._receivers.discard)

    async def _receive_on(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            await self._room.wait()
            try:
                messages = await self._queue.receive(EMPTY_AFTER_S if self._until_empty else LONG_POLL_S)
            except QueueError as error:
                if self._may_leave():
                    return  # the others are in the same trouble
                failures += 1
                if not error.passes and not self._patient and (self._until_empty or not self._has_received):
                    raise
                if failures > 1 or not error.passes:
                    self._trouble("receive", error)
                await self._stopped_within(self._backoff_s(failures))
                continue
            failures = 0
            self._has_received = True
            self._no_trouble("receive")
            self._take(messages)
            if not messages and (self._until_empty or self._may_leave()):
                return
            if len(messages) == MAX_MESSAGES and len(self._receivers) < MAX_RECEIVERS:
                self._begin_receiver()

    def _may_leave(self) -> bool:
        """Whether a receiver can be done without; it must go then. One stays."""
        if len(self._receivers) == 1:
            return False
        me = asyncio.current_task()
        assert me is not None
        self._receivers.discard(me)
        return True

    def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            reading = parse(message.body)
            held = _Held(message.receipt, reading, message.body if isinstance(reading, Unreadable) else "")
            self._waiting.append(held)
            self._held_characters += len(held.body)
        self._held += len(messages)
        self._look_for_room()
        if self._waiting:
            self._some.set()
        if len(self._waiting) >= MAX_GROUP:
            self._many.set()

    def _look_for_room(self) -> None:
        """Nothing is received while the store is behind."""
        if self._held < MAX_HELD and self._held_characters < MAX_HELD_CHARACTERS and not self._is_behind:
            self._room.set()
        else:
            self._room.clear()

    # Recording --------------------------------------------------------------------------------------------------------

    async def _record_on(self) -> None:
        """One group after the other, each of what waits by then."""
        while True:
            await self._some.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await self._many.wait()
            group = self._waiting[:MAX_GROUP]
            if not group or self._stopping.is_set():
                return
            if not await self._record(group):
                return
            del self._waiting[: len(group)]
            if self._receivers:
                self._some.clear() if not self._waiting else self._some.set()
                self._many.clear() if len(self._waiting) < MAX_GROUP else self._many.set()
            finishing = asyncio.create_task(self._finish(group), name="events' deletion")
            self._finishing.add(finishing)
            finishing.add_done_callback(self._finishing.discard)

    async def _record(self, group: Sequence[_Held]) -> bool:
        """Whether it is durable; it is not only when it was told to stop meanwhile."""
        events = [held.reading for held in group if isinstance(held.reading, MailEvent)]
        unreadable = sum(isinstance(held.reading, Unreadable) for held in group)
        now, failures = self._now(), 0
        while events:
            now = self._now()
            try:
                recorded = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._events.record, events, now
                )
                break
            except JournalError as error:
                failures += 1
                self._is_behind = True
                self._look_for_room()
                self._trouble("record", error)
                if await self._stopped_within(self._backoff_s(failures)):
                    return False
        if failures:
            self._is_behind = False
            self._look_for_room()
            self._no_trouble("record")
        if events:
            is_new = any(recorded.types.values())  # else it is an old one that came again
            lag_s = max(0.0, now - min(event.at for event in events)) if is_new else None
            fact = EventsRecorded(recorded.types, recorded.bounces, lag_s, unreadable, recorded.copies)
            self._listener.recorded(fact, recorded.campaigns)
        elif unreadable:
            self._listener.recorded(EventsRecorded({}, {}, None, unreadable), frozenset())
        return True

    # What is done with messages ---------------------------------------------------------------------------------------

    async def _finish(self, group: Sequence[_Held]) -> None:
        """Delete what is durable, and what could be read and says nothing; bury the rest."""
        try:
            done = [held.receipt for held in group if not isinstance(held.reading, Unreadable)]
            dead = [held for held in group if isinstance(held.reading, Unreadable)]
            await asyncio.gather(
                *(self._delete(some) for some in _tens(done)), *(self._bury(some) for some in _tens(dead))
            )
        finally:
            self._held -= len(group)
            self._held_characters -= sum(len(held.body) for held in group)
            self._look_for_room()

    async def _delete(self, receipts: Sequence[str]) -> None:
        """Those that are not deleted come again, and are known then."""
        async with self._deletes:
            try:
                await self._queue.delete(receipts)
            except QueueError as error:
                if not error.passes:
                    self._trouble("delete", error)
            else:
                self._no_trouble("delete")

    async def _bury(self, dead: Sequence[_Held]) -> None:
        """To the dead-letter queue; without one they stay in the queue, out of the way."""
        for held in dead:
            if isinstance(held.reading, Unreadable) and held.reading.reason not in self._told:
                self._told.add(held.reading.reason)
                self._listener.left(held.reading.reason)
        async with self._deletes:
            try:
                url = await self._grave()
                if url is None:
                    await self._queue.show_again([held.receipt for held in dead], LEFT_FOR_S)
                    return
                sent = await self._queue.send(url, [held.body for held in dead])
                buried = [held.receipt for held, is_there in zip(dead, sent, strict=True) if is_there]
                if buried:
                    await self._queue.delete(buried)
            except QueueError as error:
                if not error.passes and self._unburied != error.message:
                    self._unburied = error.message
                    self._listener.unburied(error)
            else:
                self._unburied = ""

    async def _grave(self) -> str | None:
        """The dead-letter queue; looked for now and then, as somebody may give the queue one."""
        looked_at_s, url = self._graves
        now_s = asyncio.get_running_loop().time()
        if url is None and now_s - looked_at_s >= LOOK_AGAIN_S:
            url = await self._queue.dead_letters()
            self._graves = (now_s, url)
        return url

    # Trouble ----------------------------------------------------------------------------------------------------------

    def _backoff_s(self, failures: int) -> float:
        return self._uniform(0.5, 1.0) * min(MAX_BACKOFF_S, 2.0 ** min(failures, 10) / 2)

    def _trouble(self, what: str, error: BulksendError) -> None:
        """Told once, until it is another."""
        if self._troubles.get(what) != error.message:
            self._troubles[what] = error.message
            self._listener.held_up(error)

    def _no_trouble(self, what: str) -> None:
        if self._troubles.pop(what, None) is not None and not self._troubles:
            self._listener.going_on()


def _tens(items: Sequence[_Item]) -> list[Sequence[_Item]]:
    return [items[begin : begin + MAX_MESSAGES] for begin in range(0, len(items), MAX_MESSAGES)]
