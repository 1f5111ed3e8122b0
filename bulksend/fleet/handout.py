"""Which chunks of its campaigns a worker is to send: whatever it is handed, when it could do with more."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from bulksend.fleet.jobs import TROUBLE, ChunkJobs, TakenJob, is_outage

__all__ = ["CampaignChunks", "Dealer", "OpenChunks"]

POLL_EVERY_S = 0.5
"""How often somebody who could do with a chunk looks for one."""
ENOUGH_JOBS = 256
"""Jobs of a campaign that wait: more would only be rows."""


class OpenChunks(Protocol):
    """What is asked of the journal."""

    async def idle_chunks(self, campaign_id: str, besides: Sequence[int], at_most: int) -> list[int]:
        """Numbers of open chunks that nobody has on lease and that are due, but for some."""
        ...

    async def has_open_chunks(self, campaign_id: str) -> bool:
        """Whether anything of the campaign is left."""
        ...


class CampaignChunks:
    """The chunks of one campaign in this process. Satisfies the engine's Handout. Made by `Dealer.chunks_of`."""

    def __init__(self, dealer: Dealer, campaign_id: str) -> None:
        self._dealer = dealer
        self.campaign_id = campaign_id
        self._arrived: list[TakenJob] = []
        self._held: dict[int, TakenJob] = {}
        self._call: Callable[[], None] = lambda: None
        self._news = asyncio.Event()

    def on_arrival(self, call: Callable[[], None]) -> None:
        """Whom to call when there is something to take."""
        self._call = call

    def ask(self) -> None:
        """One more, when there is one."""
        if not self._arrived:
            self._dealer.ask(self.campaign_id)

    def take(self, now: float) -> list[int]:  # noqa: ARG002  what is not due is not handed out
        """What has come."""
        arrived, self._arrived = self._arrived, []
        for job in arrived:
            self._held[job.number] = job
        return [job.number for job in arrived]

    def next_at(self) -> float | None:
        """It is not known here."""
        return None

    async def more(self) -> bool:
        """Wait for a chunk; False when the journal says that none is left."""
        while not self._arrived:
            self._dealer.ask(self.campaign_id)
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * POLL_EVERY_S):
                    await self._news.wait()
            if not self._arrived and not await self._dealer.journal.has_open_chunks(self.campaign_id):
                return False
        return True

    def let_go(self, number: int, until: float | None) -> None:  # noqa: ARG002  the journal knows when it is due
        """Its job is over."""
        job = self._held.pop(number, None)
        if job is not None:
            self._dealer.over(job)

    def put(self, job: TakenJob) -> bool:
        """A chunk has come; False if this process has not let go of it yet, from an earlier time."""
        if job.number in self._held or any(job.number == other.number for other in self._arrived):
            return False
        self._arrived.append(job)
        self._news.set()
        self._call()
        return True

    def close(self) -> None:
        """What has come and was not taken is for others, and whatever a failure has left."""
        for job in (*self._arrived, *self._held.values()):
            self._dealer.over(job)
        self._arrived.clear()
        self._held.clear()
        self._dealer.forget(self.campaign_id)


class Dealer:
    """Takes jobs for the campaigns of this process that ask, and sees that every open chunk has one."""

    def __init__(self, jobs: ChunkJobs, journal: OpenChunks) -> None:
        self.journal = journal
        self._jobs = jobs
        self._campaigns: dict[str, CampaignChunks] = {}
        self._asking: set[str] = set()
        self._asked = asyncio.Event()
        self._finishing: set[asyncio.Task[None]] = set()
        self.faults: dict[str, str] = {}
        """What does not work, and will not by itself: an outage is none."""

    def chunks_of(self, campaign_id: str) -> CampaignChunks:
        """For one run of a campaign."""
        made = self._campaigns[campaign_id] = CampaignChunks(self, campaign_id)
        return made

    def ask(self, campaign_id: str) -> None:
        """The campaign could do with another chunk."""
        if campaign_id not in self._asking:
            self._asking.add(campaign_id)
            self._asked.set()

    def over(self, job: TakenJob) -> None:
        """This process has let go of a chunk."""
        task = asyncio.get_running_loop().create_task(self._jobs.finish(job))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def forget(self, campaign_id: str) -> None:
        """A run is over."""
        self._campaigns.pop(campaign_id, None)
        self._asking.discard(campaign_id)

    async def deal(self) -> None:
        """Take jobs for whoever asks, until cancelled; a database that is away is waited for."""
        while True:
            if not self._asking:
                self._asked.clear()
                await self._asked.wait()
            try:
                job = await self._jobs.take(sorted(self._asking))
            except TROUBLE as error:
                self._note("chunks cannot be taken", error)
                job = None
            else:
                self.faults.pop("chunks cannot be taken", None)
            if job is None:
                await asyncio.sleep(POLL_EVERY_S)
                continue
            self._asking.discard(job.campaign_id)
            chunks = self._campaigns.get(job.campaign_id)
            if chunks is None or not chunks.put(job):
                self.over(job)

    async def beat(self) -> None:
        """Say that this worker lives; while the database is away, nobody hears it."""
        what = "it cannot be said that this worker lives"
        try:
            await self._jobs.beat()
        except TROUBLE as error:
            self._note(what, error)
        else:
            self.faults.pop(what, None)

    async def workers(self) -> int:
        """How many workers have said lately that they live; 0 while that cannot be found out."""
        try:
            return await self._jobs.workers()
        except TROUBLE:
            return 0

    def _note(self, what: str, error: BaseException) -> None:
        if not is_outage(error):
            self.faults[what] = " ".join(str(error.__cause__ or error).split())

    async def reap(self, campaigns: Sequence[str]) -> int:
        """Give every open chunk of these campaigns that has no living job a job; returns how many were given."""
        what = "chunks cannot be handed out"
        try:
            given = await self._reap(campaigns)
        except TROUBLE as error:
            self._note(what, error)
            return 0
        self.faults.pop(what, None)
        return given

    async def _reap(self, campaigns: Sequence[str]) -> int:
        await self._jobs.bury()
        given = 0
        for campaign_id in campaigns:
            living = await self._jobs.living(campaign_id)
            room = ENOUGH_JOBS - len(living)
            if room > 0:
                numbers = await self.journal.idle_chunks(campaign_id, sorted(living), room)
                await self._jobs.hand_out(campaign_id, numbers)
                given += len(numbers)
        return given

    async def finished(self) -> None:
        """Every job that is over is said to be."""
        await asyncio.gather(*self._finishing)
