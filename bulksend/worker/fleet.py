"""What a worker on PostgreSQL does beside sending: leases, jobs, heartbeats, and care for what the dead have left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from bulksend.errors import BulksendError
from bulksend.fleet import CampaignChunks, ChunkJobs, Dealer

if TYPE_CHECKING:
    from bulksend.journal import PostgresJournal

__all__ = ["Fleet", "fleet_of"]

REAP_EVERY_S = 1.0
RENEWALS = 3
"""Times that a lease is renewed before it would run out."""


class Fleet:
    """This worker among the others, whom it does not know."""

    def __init__(self, dealer: Dealer) -> None:
        self._dealer = dealer

    @property
    def faults(self) -> list[str]:
        """What does not work, in words."""
        return [f"{what}: {why}" for what, why in self._dealer.faults.items()]

    async def workers(self) -> int:
        """How many there are, this one included; 0 while that cannot be found out."""
        return await self._dealer.workers()

    def chunks_of(self, campaign_id: str) -> CampaignChunks:
        """What this worker is handed of a campaign; for one run of it."""
        return self._dealer.chunks_of(campaign_id)


@asynccontextmanager
async def fleet_of(journal: PostgresJournal, due: Callable[[], Sequence[str]]) -> AsyncIterator[Fleet]:
    """Be a worker while inside. `due` gives the ids of the campaigns whose chunks may be handed out now."""
    every_s = journal.lease_s / RENEWALS
    with journal.sending():
        async with ChunkJobs(journal.url, stale_after_s=journal.lease_s) as jobs:
            dealer = Dealer(jobs, journal)
            faults = _Faults(dealer)
            chores = [
                asyncio.create_task(_again_and_again(faults.tell, REAP_EVERY_S), name="faults"),
                asyncio.create_task(_again_and_again(journal.renew, every_s), name="leases"),
                asyncio.create_task(_again_and_again(dealer.beat, every_s), name="heartbeat"),
                asyncio.create_task(_again_and_again(dealer.deal, every_s), name="chunks"),
                asyncio.create_task(
                    _again_and_again(lambda: _reap(journal, dealer, due), REAP_EVERY_S / 2), name="reaper"
                ),
            ]
            try:
                yield Fleet(dealer)
                await dealer.finished()
            finally:
                for chore in chores:
                    chore.cancel()
                await asyncio.gather(*chores, return_exceptions=True)


async def _reap(journal: PostgresJournal, dealer: Dealer, due: Callable[[], Sequence[str]]) -> None:
    """Whoever's turn it is sees that every open chunk that nobody has on lease has a job."""
    if await journal.may_reap(REAP_EVERY_S):
        await dealer.reap(due())


class _Faults:
    """Says once what does not work, and once that it works again."""

    def __init__(self, dealer: Dealer) -> None:
        self._dealer = dealer
        self._told: dict[str, str] = {}

    async def tell(self) -> None:
        log = structlog.get_logger()
        for what, why in self._dealer.faults.items():
            if what not in self._told:
                log.error(what, error=why)
        for what in self._told.keys() - self._dealer.faults.keys():
            log.warning("it works again", before=what)
        self._told = dict(self._dealer.faults)


async def _again_and_again(work: Callable[[], Awaitable[object]], every_s: float) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001  a chore that has ended would be missed by nobody
            said = error.message if isinstance(error, BulksendError) else f"{type(error).__name__}: {error}"
            structlog.get_logger().error("a worker's chore failed; trying again", error=said)
        await asyncio.sleep(every_s)
