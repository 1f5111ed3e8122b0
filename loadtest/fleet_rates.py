"""How much a database and the workers on it get done in a second; each of them a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bulksend.fleet import ChunkJobs
from bulksend.journal import open_postgres
from bulksend.journal.postgres import PostgresJournal
from bulksend.model import AllAccepted, Batch, BatchKind, CampaignState, Chunk, ChunkInfo, Intent
from loadtest import report
from loadtest.children import ROOT, ScenarioError, environment, running
from loadtest.report import Report
from loadtest.servers import Nginx
from tests.fleet import Fleet
from tests.postgres import Postgres, database
from tests.worker_process import until

NOTES = """
- Everything shares the cores: database, workers, nginx. What else runs shows; ratios mean more than the figures.
- Rows: journal rows (an intent and its outcome are two) that writers in processes of their own have made durable, each
  with 64 batches of 50 under way; recipients: the same times 25. Chunks: jobs given out, and taken and finished again.
- Recipients a second: real workers sending one campaign, from its first intent to its last outcome, to an nginx with a
  ready answer over http. CPU: seconds of all workers, of PostgreSQL and of nginx for a million recipients.
"""
ENTRIES = 5000
EACH = 50
AT_ONCE = 64
START_S = 4.0
"""Until then every process has been started."""
MESSAGE_IDS = [f"0102019a5e1f3c{n:02x}-3f6b1d2e-8c4a-4d57-9b0e-6a1c2f3d4e5f-000000" for n in range(EACH)]
CAMPAIGN_ID = "measured{}"
WRITERS = (1, 4, 8)
TAKERS = (1, 4)
WORKERS = (1, 2, 4)
JOBS = 3000
SEND_WITHIN_S = 600.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Job:
    """What a child does: `journal` writes rows, `chunks` takes jobs. `begin_s` is of the clock that they share."""

    kind: str
    url: str
    number: int
    begin_s: float
    seconds: float


def rates(options: argparse.Namespace) -> Report:
    made = Report("fleet-rates", report.settings_of(options), NOTES)
    seconds = min(options.seconds, 10.0)
    with Postgres() as server, tempfile.TemporaryDirectory(prefix="bulksend-fleet-", dir=options.folder) as name:
        folder = Path(name)
        os.chdir(folder)
        table = made.table("Journal", writers="writers", rows_per_s="rows/s", recipients_per_s="recipients/s")
        for writers in WRITERS:
            done = journal_rows(folder, server, writers, seconds)
            report.people.print(f"{writers} writers: {done:,.0f} rows/s")
            table.add(writers=writers, rows_per_s=done, recipients_per_s=done / 2 * EACH)
        table = made.table(
            "Chunks", takers="workers", given_per_s="jobs given out/s", taken_per_s="taken and finished/s"
        )
        for takers in TAKERS:
            given, taken = chunk_jobs(server, takers)
            report.people.print(f"{takers} workers: {taken:,.0f} chunks/s")
            table.add(takers=takers, given_per_s=given, taken_per_s=taken)
        table = made.table(
            "Recipients",
            workers="workers",
            recipients_per_s="recipients/s",
            worker_cpu_s="workers' CPU s/million",
            database_cpu_s="PostgreSQL's",
            nginx_cpu_s="nginx's",
            cores="cores in use",
        )
        for workers in WORKERS:
            sent = recipients(folder / f"sent-{workers}", server, workers, options.recipients)
            report.people.print(f"{workers} workers: {sent.recipients_per_s:,.0f} recipients/s")
            table.add(**asdict(sent))
    return made


# The journal ----------------------------------------------------------------------------------------------------------


def journal_rows(folder: Path, server: Postgres, writers: int, seconds: float) -> float:
    """Rows a second, by so many writers in as many processes, each with a campaign of its own."""
    with database(server.url, "rows") as url:
        with Fleet(folder, url, "http://127.0.0.1:9") as fleet:
            model = fleet.plan("model", 1)
            journal = fleet.store.journal
            chunks = [ChunkInfo(number, ENTRIES, ENTRIES) for number in range(2000)]
            for number in range(writers):
                name = CAMPAIGN_ID.format(number)
                journal.announce_snapshot(name)
                journal.add(replace(model, id=name, name=name, snapshot=name, entries=ENTRIES * len(chunks)), chunks)
        begin_s = time.monotonic() + START_S
        return sum(children([Job("journal", url, number, begin_s, seconds) for number in range(writers)]))


async def write_rows(job: Job) -> float:
    """Rows a second of this writer."""
    campaign_id = CAMPAIGN_ID.format(job.number)
    journal = open_postgres(job.url)
    rows = number = 0
    with journal.sending():
        await journal.set_state(campaign_id, CampaignState.SENDING)
        await asyncio.sleep(job.begin_s - time.monotonic())
        began_s = time.monotonic()
        while time.monotonic() < began_s + job.seconds:
            rows += await write_chunk(journal, campaign_id, number)
            number += 1
        return rows / (time.monotonic() - began_s)


async def write_chunk(journal: PostgresJournal, campaign_id: str, number: int) -> int:
    """Intents and outcomes of a whole chunk; returns the rows."""
    ones, offsets = [1] * ENTRIES, range(ENTRIES + 1)
    chunk = Chunk(number, range(ENTRIES), ones, offsets, memoryview(bytes(ENTRIES)), one_each=True)
    places = iter(range(0, ENTRIES, EACH))

    async def sender() -> None:
        for first in places:
            batch = Batch(campaign_id, chunk, range(first, first + EACH), EACH, BatchKind.FIRST, first)
            intent = await journal.intend(batch)
            assert isinstance(intent, Intent), intent
            await journal.settle(intent, AllAccepted(MESSAGE_IDS))

    assert await journal.open_chunk(campaign_id, number) is not None
    await asyncio.gather(*(sender() for _ in range(AT_ONCE)))
    assert await journal.close_chunk(campaign_id, number)
    return 2 * ENTRIES // EACH


# Chunks ---------------------------------------------------------------------------------------------------------------


def chunk_jobs(server: Postgres, takers: int) -> tuple[float, float]:
    """Jobs a second: given out by one, and taken and finished by so many processes."""
    with database(server.url, "jobs") as url:
        began_s = time.monotonic()
        asyncio.run(give_out(url))
        given = JOBS / (time.monotonic() - began_s)
        begin_s = time.monotonic() + START_S
        return given, sum(children([Job("chunks", url, number, begin_s, 0.0) for number in range(takers)]))


async def give_out(url: str) -> None:
    async with ChunkJobs(url, stale_after_s=60.0) as jobs:
        for start in range(0, JOBS, 250):
            await jobs.hand_out(CAMPAIGN_ID, range(start, start + 250))


async def take_jobs(job: Job) -> float:
    """Jobs a second that this process has taken and finished; until there are none."""
    async with ChunkJobs(job.url, stale_after_s=60.0) as jobs:
        await jobs.beat()
        await asyncio.sleep(job.begin_s - time.monotonic())
        began_s, done = time.monotonic(), 0
        while (taken := await jobs.take([CAMPAIGN_ID])) is not None:
            await jobs.finish(taken)
            done += 1
        return done / (time.monotonic() - began_s)


# Recipients -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """One campaign. CPU is in seconds for a million recipients."""

    workers: int
    recipients_per_s: float
    worker_cpu_s: float
    database_cpu_s: float
    nginx_cpu_s: float
    cores: float


def recipients(folder: Path, server: Postgres, workers: int, count: int) -> Sent:
    """Real workers that send one campaign to nginx."""
    folder.mkdir()
    with (
        database(server.url, "sent") as url,
        Nginx(folder / "nginx") as nginx,
        Fleet(
            folder,
            url,
            nginx.http_url,
            lease_s=30.0,
            max_in_flight=AT_ONCE,
            chunk_entries=ENTRIES,
            fresh=True,
        ) as fleet,
    ):
        campaign = fleet.plan("sent", count // EACH * EACH)
        started = fleet.workers(workers)
        of_whom = ([one.process.pid for one in started], own_children("postgres"), own_children("nginx"))
        began_s = time.monotonic()
        before = [sum(map(cpu_s, pids)) for pids in of_whom]
        fleet.resume(campaign)
        until(lambda: fleet.state(campaign) == "finished", "it is sent", SEND_WITHIN_S)
        used = [sum(map(cpu_s, pids)) - was for pids, was in zip(of_whom, before, strict=True)]
        wall_s = time.monotonic() - began_s
        ((first, last),) = fleet.rows("SELECT (SELECT min(at) FROM attempt), (SELECT max(at) FROM outcome)")
        tally = fleet.tally(campaign)
        if (tally.accepted, nginx.served().bulk) != (campaign.entries, campaign.entries // EACH):
            raise ScenarioError(f"nginx has served {nginx.served().bulk} requests, and {tally.accepted} are accepted")
        workers_s, database_s, nginx_s = (one / campaign.entries * 1e6 for one in used)
        return Sent(
            workers=workers,
            recipients_per_s=campaign.entries / (last - first),
            worker_cpu_s=workers_s,
            database_cpu_s=database_s,
            nginx_cpu_s=nginx_s,
            cores=sum(used) / wall_s,
        )


def own_children(name: str) -> list[int]:
    """Ids of the processes of that name that this one has started."""
    of_threads = [(task / "children").read_text("utf-8").split() for task in Path("/proc/self/task").iterdir()]
    pids = [int(pid) for of_thread in of_threads for pid in of_thread]
    return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text("utf-8").strip() == name]


def cpu_s(pid: int) -> float:
    """User and system time of a process, its children, and those that have ended (proc(5), /proc/pid/stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        living = Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS_PER_S + sum(cpu_s(int(child)) for child in living)


# Children -------------------------------------------------------------------------------------------------------------


def children(jobs: Sequence[Job]) -> list[float]:
    """Each in a process of its own, all at once; what they found."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                running(
                    [sys.executable, "-m", "loadtest.fleet_rates", json.dumps(asdict(job))],
                    cwd=ROOT,
                    env=environment(),
                    stdout=subprocess.PIPE,
                )
            )
            for job in jobs
        ]
        said = [one.communicate(timeout=START_S + jobs[0].seconds + SEND_WITHIN_S)[0] for one in started]
        if any(one.returncode for one in started):
            raise ScenarioError("a process that was to be measured failed; what it said is above")
    return [float(one) for one in said]


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    print({"journal": lambda: asyncio.run(write_rows(job)), "chunks": lambda: asyncio.run(take_jobs(job))}[job.kind]())


if __name__ == "__main__":
    main()
