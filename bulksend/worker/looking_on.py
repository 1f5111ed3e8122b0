"""What a process tells of itself and of its store while it is at work: how late its loop wakes, and a census."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import structlog

from bulksend.errors import BulksendError
from bulksend.facts import Audience, LoopLagged, StoreCounted
from bulksend.journal import Census
from bulksend.worker.reputation import reputations
from bulksend.worker.store import Store

__all__ = ["counted", "looking_on", "one_worker"]

LOOP_EVERY_S = 0.25
CENSUS_FIRST_AFTER_S = 0.5
CENSUS_EVERY_S = 15.0
CENSUS_SHARE = 0.01
"""Of the time, that the censuses of all workers may take together."""
CENSUS_AT_LEAST_EVERY_S = 600.0
LAST_WITHIN_S = 2.0
"""The last census is given up then: nobody is to wait for it."""


async def one_worker() -> int:
    """How many workers a store has that only one process can send from."""
    return 1


@asynccontextmanager
async def looking_on(
    store: Store, audience: Audience, workers: Callable[[], Awaitable[int]] = one_worker
) -> AsyncIterator[Callable[[], None]]:
    """Tell the audience, while inside, and once more at the end. `workers` counts those of the store.

    What is yielded has the store counted soon: something of it has changed at once. Nothing that goes wrong here ends
    what is looked on at.
    """
    counting = _Counting(store, audience, workers)
    chores = [
        asyncio.create_task(_watch_the_loop(audience), name="loop lag"),
        asyncio.create_task(counting.go_on(), name="census"),
    ]
    try:
        yield counting.soon
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WITHIN_S):
                await counting.once()


async def _watch_the_loop(audience: Audience) -> None:
    while True:
        due_s = time.perf_counter() + LOOP_EVERY_S
        await asyncio.sleep(LOOP_EVERY_S)
        audience.observe(LoopLagged(max(0.0, time.perf_counter() - due_s)))


class _Counting:
    """Has a store counted, one census after the other."""

    def __init__(self, store: Store, audience: Audience, workers: Callable[[], Awaitable[int]]) -> None:
        self._store = store
        self._census = store.journal.census()
        self._audience = audience
        self._workers = workers
        self._soon = asyncio.Event()
        self._running: asyncio.Future[StoreCounted] | None = None

    def soon(self) -> None:
        """Do not wait for its time."""
        self._soon.set()

    async def go_on(self) -> None:
        """Often at first, when much is new."""
        every_s = CENSUS_FIRST_AFTER_S
        while True:
            self._soon.clear()
            counted = await self.once()
            took_s = 0.0 if counted is None else counted.duration_s * max(1, counted.workers)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(CENSUS_AT_LEAST_EVERY_S, max(every_s, took_s / CENSUS_SHARE))):
                    await self._soon.wait()
                await asyncio.sleep(CENSUS_FIRST_AFTER_S)
            every_s = min(CENSUS_EVERY_S, 2 * every_s)

    async def once(self) -> StoreCounted | None:
        """Count, after the count that is under way, if one is; None where it cannot be done: others say why."""
        try:
            if self._running is not None:
                await asyncio.wait({self._running})
            self._running = _in_a_thread(self._count, await self._workers())
            found = await asyncio.shield(self._running)
        except BulksendError:
            return None
        except Exception as error:  # noqa: BLE001  what watches a run must not end it
            structlog.get_logger().error("the store cannot be counted", error=type(error).__name__)
            return None
        self._audience.observe(found)
        return found

    def _count(self, workers: int) -> StoreCounted:
        return counted(self._store, workers, self._census)


def counted(store: Store, workers: int, census: Census | None = None) -> StoreCounted:
    """A store in numbers. Who counts again and again has a census, which remembers. Raises JournalError."""
    began_s = time.perf_counter()
    found = (census or store.journal.census()).count(workers)
    with suppress(BulksendError):  # without its events the store can be counted all the same
        found = replace(found, reputation=reputations(store, found.at))
    return replace(found, duration_s=time.perf_counter() - began_s)


def _in_a_thread(count: Callable[[int], StoreCounted], workers: int) -> asyncio.Future[StoreCounted]:
    """In one that does not keep the process from ending, as those of an executor would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[StoreCounted] = loop.create_future()

    def deliver(counted: StoreCounted | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        elif counted is not None:
            future.set_result(counted)

    def work() -> None:
        counted, failure = None, None
        try:
            counted = count(workers)
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits
            failure = error
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(deliver, counted, failure)

    # A future whose error nobody waits for any more says so when it is thrown away; its count was given up.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    threading.Thread(target=work, name="census", daemon=True).start()
    return future
