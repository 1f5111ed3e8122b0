"""What a process tells of itself and of its store while it is at work: how late its loop wakes, and a census."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from bulksend.errors import BulksendError
from bulksend.facts import Audience, LoopLagged, StoreCounted
from bulksend.journal import Census
from bulksend.worker.store import Store

__all__ = ["looking_on", "one_worker"]

LOOP_EVERY_S = 0.25
CENSUS_FIRST_AFTER_S = 0.5
CENSUS_EVERY_S = 15.0
CENSUS_SHARE = 0.02
"""Of the time, that the censuses of all workers may take together."""
CENSUS_AT_LEAST_EVERY_S = 600.0


async def one_worker() -> int:
    """How many workers a store has that only one process can send from."""
    return 1


@asynccontextmanager
async def looking_on(
    store: Store, audience: Audience, workers: Callable[[], Awaitable[int]] = one_worker
) -> AsyncIterator[None]:
    """Tell the audience, while inside, and once more at the end. `workers` counts those of the store."""
    census = store.journal.census()
    chores = [
        asyncio.create_task(_watch_the_loop(audience), name="loop lag"),
        asyncio.create_task(_count_on(census, audience, workers), name="census"),
    ]
    try:
        yield
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        with suppress(BulksendError):
            await _count(census, audience, workers)


async def _watch_the_loop(audience: Audience) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + LOOP_EVERY_S
        await asyncio.sleep(LOOP_EVERY_S)
        audience.observe(LoopLagged(max(0.0, loop.time() - due_s)))


async def _count_on(census: Census, audience: Audience, workers: Callable[[], Awaitable[int]]) -> None:
    """Often at first, when much is new. A store that cannot be read is counted later: others say that it cannot."""
    every_s = CENSUS_FIRST_AFTER_S
    while True:
        took_s = 0.0
        with suppress(BulksendError):
            counted = await _count(census, audience, workers)
            took_s = counted.duration_s * max(1, counted.workers)
        await asyncio.sleep(min(CENSUS_AT_LEAST_EVERY_S, max(every_s, took_s / CENSUS_SHARE)))
        every_s = min(CENSUS_EVERY_S, 2 * every_s)


async def _count(census: Census, audience: Audience, workers: Callable[[], Awaitable[int]]) -> StoreCounted:
    counted = await asyncio.to_thread(census.count, await workers())
    audience.observe(counted)
    return counted
