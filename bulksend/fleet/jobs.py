"""Chunks as jobs of procrastinate: one job a chunk, handed to whichever worker asks for one.

A job says no more than "look at this chunk": what has been sent of it, and whether it is done, is in the journal alone.
So a job that is lost, handed out twice or finished by the wrong worker does no harm. Jobs are never retried by
procrastinate: a chunk that is open and has no living job gets another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Self

import psycopg
from procrastinate import App, PsycopgConnector, exceptions
from procrastinate.jobs import Job, Status
from procrastinate.schema import SchemaManager
from psycopg_pool import AsyncConnectionPool

__all__ = ["TROUBLE", "ChunkJobs", "TakenJob", "chunk_schema", "is_outage"]

TASK = "bulksend.chunk"
QUEUE = "bulksend.{}"
POOL_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 3
CLOSE_WITHIN_S = 2.0
TROUBLE = (exceptions.ConnectorException, psycopg.Error, OSError, asyncio.TimeoutError)


def is_outage(error: BaseException) -> bool:
    """Whether it is of the kind that passes: the database is away. All else wants somebody to look."""
    causes = (error, error.__cause__)
    return any(isinstance(one, psycopg.OperationalError | psycopg.InterfaceError | OSError) for one in causes)


class TakenJob:
    """A chunk that was handed to this process."""

    __slots__ = ("campaign_id", "id", "number")

    def __init__(self, job: Job) -> None:
        assert job.id is not None
        self.id = job.id
        self.campaign_id = str(job.task_kwargs["campaign_id"])
        self.number = int(str(job.task_kwargs["number"]))


def chunk_schema() -> str:
    """The tables of procrastinate, as SQL for an empty database."""
    return SchemaManager.get_schema()


class ChunkJobs:
    """This process's side of the jobs. An asynchronous context manager.

    Every method raises an error of TROUBLE while the database cannot be had. A worker whose heartbeat is older than
    `stale_after_s` counts as dead, and its jobs as no more there.
    """

    def __init__(self, url: str, *, stale_after_s: float) -> None:
        self._stale_after_s = stale_after_s
        # Each operation is one statement; in a transaction, a worker frozen before its end would hold up the others.
        how = {"connect_timeout": 5, "autocommit": True}
        self._pool = AsyncConnectionPool(
            url, min_size=1, max_size=MAX_CONNECTIONS, timeout=POOL_TIMEOUT_S, kwargs=how, open=False
        )
        self._app = App(connector=PsycopgConnector())
        self._manager = self._app.job_manager
        self._worker_id: int | None = None
        self._taken: set[int] = set()
        self._unfinished: set[int] = set()

    async def __aenter__(self) -> Self:
        await self._pool.open()  # a database that is away is not waited for here
        await self._app.open_async(self._pool)
        return self

    async def __aexit__(self, *_: object) -> None:
        with suppress(*TROUBLE):
            await self.beat()
            if self._worker_id is not None:
                await self._manager.unregister_worker(self._worker_id)
        with suppress(*TROUBLE):
            await self._app.close_async()
            await self._pool.close(CLOSE_WITHIN_S)

    async def beat(self) -> None:
        """Say that this worker lives, and finish what could not be finished before.

        Jobs that the database calls this worker's, and of which it knows nothing, are finished as well: they came
        back with a database that was restored, or the word that it has them was lost on the way.
        """
        if self._worker_id is None:
            self._worker_id = await self._manager.register_worker()
        await self._manager.update_heartbeat(self._worker_id)
        strange = await jobs_of_worker(self._app, self._worker_id) - self._taken
        for job_id in self._unfinished | strange:
            await self._finish(job_id)

    async def take(self, campaigns: Sequence[str]) -> TakenJob | None:
        """The next chunk of one of these campaigns, the first of its list; None if there is none now."""
        if self._worker_id is None:
            self._worker_id = await self._manager.register_worker()
        try:
            job = await self._manager.fetch_job([QUEUE.format(one) for one in campaigns], self._worker_id)
        except exceptions.ConnectorException:
            self._worker_id = None  # others may have taken this worker for dead, and its number away
            raise
        if job is None:
            return None
        taken = TakenJob(job)
        self._taken.add(taken.id)
        return taken

    async def finish(self, job: TakenJob) -> None:
        """This process has let go of the chunk, whatever became of it. Never raises: it is tried again."""
        self._taken.discard(job.id)
        self._unfinished.add(job.id)
        with suppress(*TROUBLE):
            await self._finish(job.id)

    async def hand_out(self, campaign_id: str, numbers: Sequence[int]) -> None:
        """One job for each of these chunks that has none waiting yet."""
        jobs = [_job(campaign_id, number) for number in numbers]
        if not jobs:
            return
        try:
            await self._manager.batch_defer_jobs_async(jobs)
        except exceptions.AlreadyEnqueued:  # another worker was at it at the same time
            for job in jobs:
                with suppress(exceptions.AlreadyEnqueued):
                    await self._manager.defer_job_async(job)

    async def living(self, campaign_id: str) -> set[int]:
        """Numbers of the chunks with a job that waits, or that a living worker has taken."""
        rows = await jobs_of(self._app, QUEUE.format(campaign_id), self._stale_after_s)
        return {int(row["number"]) for row in rows}

    async def workers(self) -> int:
        """How many workers of the database live."""
        row = await self._app.connector.execute_query_one_async(
            "SELECT count(*) AS many FROM procrastinate_workers "
            "WHERE last_heartbeat > now() - make_interval(secs => %(stale_after_s)s)",
            stale_after_s=self._stale_after_s,
        )
        return int(row["many"])

    async def bury(self) -> None:
        """Remove the jobs of workers that have died."""
        await self._manager.prune_stalled_workers(self._stale_after_s)
        for job in await self._manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=self._stale_after_s):
            assert job.id is not None
            await self._manager.finish_job_by_id_async(job.id, Status.FAILED, delete_job=True)

    async def _finish(self, job_id: int) -> None:
        try:
            await self._manager.finish_job_by_id_async(job_id, Status.SUCCEEDED, delete_job=True)
        except exceptions.ConnectorException as error:
            # A job that others have buried is no more there, which is as good.
            if not isinstance(error.__cause__, psycopg.errors.RaiseException):
                raise
        self._unfinished.discard(job_id)


async def jobs_of(app: App, queue: str, stale_after_s: float) -> list[dict[str, Any]]:
    """The living jobs of a queue."""
    return await app.connector.execute_query_all_async(
        "SELECT (j.args ->> 'number')::integer AS number FROM procrastinate_jobs j "
        "LEFT JOIN procrastinate_workers w ON w.id = j.worker_id "
        "WHERE j.queue_name = %(queue)s AND (j.status = 'todo' OR (j.status = 'doing' "
        "AND w.last_heartbeat > now() - make_interval(secs => %(stale_after_s)s)))",
        queue=queue,
        stale_after_s=stale_after_s,
    )


async def jobs_of_worker(app: App, worker_id: int) -> set[int]:
    """Ids of the jobs that a worker is said to have taken."""
    rows = await app.connector.execute_query_all_async(
        "SELECT id FROM procrastinate_jobs WHERE worker_id = %(worker_id)s AND status = 'doing'", worker_id=worker_id
    )
    return {int(row["id"]) for row in rows}


def _job(campaign_id: str, number: int) -> Job:
    return Job(
        queue=QUEUE.format(campaign_id),
        task_name=TASK,
        priority=-number,  # in the order of the list: what a dead worker has left, or is due again, is not sent last
        lock=None,
        queueing_lock=f"{campaign_id}.{number}",
        task_kwargs={"campaign_id": campaign_id, "number": number},
    )
