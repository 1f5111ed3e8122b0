"""Events are taken from the queues that the settings name: beside whatever a process sends, or in one of their own.

That SQS or the store of events is away holds nobody up but the events: the log and a metric say so, and it is tried
again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from bulksend.config import Settings
from bulksend.engine import Observer
from bulksend.errors import BulksendError, ExitCode, UsageError
from bulksend.events import Consumer, QueueError, open_queue, place_of
from bulksend.facts import Audience, EventsHeldUp, EventsRecorded
from bulksend.worker import systemd
from bulksend.worker.access import aws_access
from bulksend.worker.running import event_loop
from bulksend.worker.settling import settling
from bulksend.worker.store import Store

if TYPE_CHECKING:
    from bulksend.metrics import Metrics

__all__ = ["Consumed", "OnRecorded", "consume", "consuming"]

TRY_AGAIN_S = 10.0
LAST_S = 30.0
"""So long after the first signal the process is gone, whatever it waits for; three times as soon after the second."""
ENDED_WITHIN_S = 25.0
MAX_LOOKED_FOR = 10_000
"""Campaigns of which it is remembered that they were looked for in the journal."""

OnRecorded = Callable[[frozenset[str]], None]
"""Told in the event loop, after each batch, of which campaigns there is news: their ids."""


@dataclass(slots=True)
class Consumed:
    """What a process took from its queues: new events, and messages that could not be read."""

    events: int = 0
    unreadable: int = 0

    def observe(self, fact: EventsRecorded) -> None:
        """Count it."""
        self.events += sum(fact.types.values())
        self.unreadable += fact.unreadable


class _Strangers:
    """Tells, once of each, of campaigns that this store does not know: their events are missing in another store."""

    def __init__(self, store: Store, thread: Executor) -> None:
        self._store = store
        self._thread = thread
        self._looked_for: set[str] = set()

    def look(self, campaign_ids: Collection[str]) -> None:
        """In the thread, since the journal is asked."""
        new = [one for one in campaign_ids if one not in self._looked_for]
        if new and len(self._looked_for) < MAX_LOOKED_FOR:
            self._looked_for.update(new)
            self._thread.submit(self._look, new)

    def _look(self, campaign_ids: Collection[str]) -> None:
        for campaign_id in campaign_ids:
            try:
                known = self._store.journal.of_id(campaign_id) is not None
            except BulksendError:
                self._looked_for.discard(campaign_id)  # with its next event
                continue
            if not known:
                structlog.get_logger().warning(
                    "events were recorded of a campaign that this store does not have",
                    campaign_id=campaign_id,
                    remedy="If another store has it, give each store a queue of its own: what is taken from a queue "
                    "is missing in the other store. See docs/EVENTS.md, One queue, one store.",
                )


@dataclass(slots=True)
class _Watch:
    """Who is told by the consumer of one queue."""

    audience: Audience
    consumed: Consumed
    on_recorded: OnRecorded
    strangers: _Strangers
    log: structlog.typing.FilteringBoundLogger
    trouble: str = ""
    """What was told last, and is not over."""

    def recorded(self, fact: EventsRecorded, campaigns: frozenset[str]) -> None:
        """See Listener."""
        self.consumed.observe(fact)
        self.audience.observe(fact)
        if campaigns:
            self.strangers.look(campaigns)
            self.on_recorded(campaigns)

    def left(self, reason: str) -> None:
        """See Listener."""
        self.log.warning("a message cannot be read, and is none of SES's events", because=reason)

    def unburied(self, error: BulksendError) -> None:
        """See Listener."""
        self.log.warning("messages that cannot be read stay in the queue", error=error.message, remedy=error.hint)

    def held_up(self, error: BulksendError) -> None:
        """See Listener."""
        if error.message != self.trouble:
            self.trouble = error.message
            self.log.warning("events are held up; trying again", error=error.message, remedy=error.hint)
            self.audience.observe(EventsHeldUp(error.message))

    def going_on(self) -> None:
        """See Listener."""
        if self.trouble:
            self.trouble = ""
            self.log.warning("events are going on")
            self.audience.observe(EventsHeldUp(""))


@asynccontextmanager
async def consuming(
    store: Store,
    settings: Settings,
    *,
    observers: Sequence[Observer] = (),
    metrics: Metrics | None = None,
    on_recorded: OnRecorded = lambda _: None,
) -> AsyncIterator[None]:
    """Take events from all queues of the settings, while inside. Nothing that goes wrong with them comes out.

    Of none, if they are taken apart from sending. At the end, what is durable is deleted; the rest can be received
    again at once.
    """
    if settings.events.apart:
        yield
        return
    with _in_a_thread() as thread:
        intakes = _intakes(store, settings, observers, metrics, on_recorded, thread)
        tasks = [asyncio.create_task(intake.keep_on(), name="events") for intake in intakes]
        try:
            yield
        finally:
            for intake in intakes:
                intake.stop()
            if tasks:
                _, left = await asyncio.wait(tasks, timeout=ENDED_WITHIN_S)
                for task in left:
                    task.cancel()


@contextmanager
def _in_a_thread() -> Iterator[Executor]:
    """For all queues of a process: a store has one writer at a time, and others would wait for its locks."""
    thread = ThreadPoolExecutor(1, "events")
    try:
        yield thread
    finally:
        thread.shutdown(wait=False)  # a store that does not answer holds nobody up


def consume(
    store: Store,
    settings: Settings,
    *,
    once: bool,
    announce: Callable[[str], None],
    metrics: Metrics | None = None,
    face: AbstractAsyncContextManager[None] | None = None,
) -> Consumed:
    """Do nothing else, until SIGTERM or SIGINT, or with `once` until the queues are empty.

    The `face` is open meanwhile; what it raises comes out.

    Raises:
        QueueError: a queue cannot be used, and that will not pass by itself: at the start, or with `once`.
        UsageError: the settings name no queue.
    """
    if not settings.events.queues:
        raise UsageError(
            "no queue is named",
            hint="Name them: events.queues in the configuration file, or BULKSEND_EVENTS_QUEUES. "
            "bulksend events setup makes what SES needs to fill one.",
        )
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        return runner.run(_consume(store, settings, metrics, announce, face or nullcontext(), once=once))


async def _consume(
    store: Store,
    settings: Settings,
    metrics: Metrics | None,
    announce: Callable[[str], None],
    face: AbstractAsyncContextManager[None],
    *,
    once: bool,
) -> Consumed:
    with _in_a_thread() as thread:
        async with face, settling(store) as on_recorded:
            intakes = _intakes(store, settings, (), metrics, on_recorded, thread)
            return await _consume_all(intakes, announce, once=once)


async def _consume_all(intakes: list[_Intake], announce: Callable[[str], None], *, once: bool) -> Consumed:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        systemd.notify("STOPPING=1")
        # A thread that waits for a database which does not answer cannot be ended otherwise.
        last = threading.Timer(LAST_S if asked == 1 else LAST_S / 3, os._exit, (int(ExitCode.DONE),))
        last.daemon = True
        last.start()
        for intake in intakes:
            intake.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(RuntimeError, ValueError):  # not the main thread
            loop.add_signal_handler(number, stop)
    for intake in intakes:
        announce(f"taking events from {intake.url}")
    systemd.notify("READY=1")
    watching = asyncio.create_task(systemd.watch(), name="watchdog")
    try:
        async with asyncio.TaskGroup() as group:
            for intake in intakes:
                group.create_task(intake.run(once=once))
    except* BulksendError as errors:
        raise _first(errors) from None
    finally:
        watching.cancel()
    consumed = [intake.consumed for intake in intakes]
    return Consumed(sum(one.events for one in consumed), sum(one.unreadable for one in consumed))


def _first(errors: ExceptionGroup[BulksendError]) -> BulksendError:
    """Of those that ended it: one is enough to begin with."""
    found = errors.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found


def _intakes(  # noqa: PLR0917  the parts to wire
    store: Store,
    settings: Settings,
    observers: Sequence[Observer],
    metrics: Metrics | None,
    on_recorded: OnRecorded,
    thread: Executor,
) -> list[_Intake]:
    audience, strangers = Audience(observers), _Strangers(store, thread)
    return [
        _Intake(url, store, settings, audience, metrics, on_recorded, strangers, thread)
        for url in dict.fromkeys(settings.events.queues or ())
    ]


class _Intake:
    """One queue, and whoever consumes it; opened anew after trouble that ends him."""

    def __init__(  # noqa: PLR0917  the parts to wire
        self,
        url: str,
        store: Store,
        settings: Settings,
        audience: Audience,
        metrics: Metrics | None,
        on_recorded: OnRecorded,
        strangers: _Strangers,
        thread: Executor,
    ) -> None:
        self.url = url
        self.consumed = Consumed()
        self._store = store
        # SES's own endpoint is not SQS's.
        self._access = replace(aws_access(settings), endpoint_url=settings.events.endpoint_url)
        self._ses_url = settings.aws.endpoint_url
        self._audience = audience
        self._metrics = metrics
        self._on_recorded = on_recorded
        self._strangers = strangers
        self._thread = thread
        self._log = structlog.get_logger().bind(queue=place_of(url).name)
        self._consumer: Consumer | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let go of the queue in good order."""
        self._stopping.set()
        if self._consumer is not None:
            self._consumer.stop()

    async def keep_on(self) -> None:
        """Whatever goes wrong, until it is stopped."""
        with self._watched() as watch:
            while not self._stopping.is_set():
                try:
                    await self._take(watch, patient=True)
                except BulksendError as error:
                    watch.held_up(error)
                except Exception as error:  # noqa: BLE001  sending goes on
                    # Its text may name recipients.
                    watch.held_up(BulksendError(f"{type(error).__name__} while events were taken"))
                with suppress(TimeoutError):
                    async with asyncio.timeout(TRY_AGAIN_S):
                        await self._stopping.wait()

    async def run(self, *, once: bool) -> None:
        """Until it is stopped, or `once` the queue is empty. Raises QueueError, unless that is likely to pass."""
        with self._watched() as watch:
            while not self._stopping.is_set():
                try:
                    await self._take(watch, patient=False, until_empty=once)
                except QueueError as error:
                    if not error.passes:
                        raise
                    watch.held_up(error)
                else:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(TRY_AGAIN_S):
                        await self._stopping.wait()

    async def _take(self, watch: _Watch, *, patient: bool, until_empty: bool = False) -> None:
        async with open_queue(self._access, self.url) as (queue, detour):
            if detour is not None:
                self._log.warning("events come through the AWS SDK, which takes more CPU", because=detour)
            watch.going_on()
            self._consumer = Consumer(queue, self._store.events, watch, thread=self._thread, now=time.time)
            try:
                if not self._stopping.is_set():
                    await self._consumer.run(until_empty=until_empty, patient=patient)
            finally:
                self._consumer = None

    @contextmanager
    def _watched(self) -> Iterator[_Watch]:
        place = place_of(self.url)
        # The events of a simulated SES are those of the account that its URL stands for, whoever has the queue.
        account = self._ses_url or place.account
        observers: list[Observer] = [self._audience]
        with ExitStack() as stack:
            if self._metrics is not None:
                region = place.region or self._access.region or ""
                observers.append(stack.enter_context(self._metrics.account(account, region)))
            watch = _Watch(Audience(observers), self.consumed, self._on_recorded, self._strangers, self._log)
            watch.audience.observe(EventsHeldUp(""))
            yield watch
