"""What it costs to take events from a queue, beside the SDK; and what a campaign loses that is sent meanwhile.

    python -m loadtest.events            all of it, about fifteen minutes
    python -m loadtest.events cost       one part

Everything stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import uvloop

from bulksend.aws import AwsAccess, open_client
from bulksend.engine import Engine
from bulksend.errors import BulksendError
from bulksend.events import Consumer, Queue, open_queue
from bulksend.facts import BatchSent, EventsRecorded
from bulksend.journal import SqliteEvents
from bulksend.simulator import SimulatorProcess
from loadtest import report
from loadtest.children import REGION, ScenarioError, environment, running, stop
from loadtest.report import Report
from tests.harness import Desk

NOTES = """
- Cost: a server that has nothing else to do than to hand out the same report with other numbers, in SNS's envelope, ten
  to a receive. calls: receive and delete, no more; consume: parsed, recorded in the store (SQLite, durable), deleted.
  CPU is of the process that consumes, all of it.
- Beside: a campaign, and a consumer on the same disk: `bulksend events consume`, or one in the campaign's own event
  loop. Commit is from asking for an intent until it is durable; each figure is the median of the runs, quota the least.
- chrt --idle 0: the consumer takes the CPU that nobody else wants, so that a sender which wakes up waits for no core.
- As busy: a process that takes as much CPU as the consumer did, in ten bursts a second, and touches neither disk nor
  store. What a campaign loses beside it, it loses to the machine: two cores, which simulator, queue's server and
  consumer share with it.
- Goals: at least 3,000 events a second consumed, at least 99 % of the quota used, and, with events in their own
  process (chrt --idle 0), intents' 99th percentile within twice what it is without events.
"""
RECEIVERS = 10
RATE_PER_S = 500.0
EVENTS_PER_S = 3200.0
WANTED_PER_S = 3000.0
TIMEOUT_S = 300.0
STARTED_WITHIN_S = 3.0
BURSTS_PER_S = 10
YIELDING = "the same, by chrt --idle 0"
BUSY_CORE = "as busy a process"
BUSY = """
import sys, time
end_s, busy_s, idle_s = time.monotonic() + float(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
while time.monotonic() < end_s:
    until_s = time.perf_counter() + busy_s
    while time.perf_counter() < until_s:
        pass
    time.sleep(idle_s)
"""
KINDS = ("calls, ours", "calls, aioboto3", "consume, ours")


@contextmanager
def queue_server(events: int, per_s: float = 0.0) -> Iterator[str]:
    """The URL of a queue on this machine."""
    command = [sys.executable, "-m", "loadtest.queue_server", str(events), str(per_s)]
    with running(command, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip().decode()
        if not port:
            raise ScenarioError("the queue's server does not start")
        yield f"http://127.0.0.1:{port}/123456789012/events"


def access_to(url: str) -> AwsAccess:
    return AwsAccess(region=REGION, endpoint_url=url.rsplit("/", 2)[0])


class Counter:
    """A listener that counts."""

    def __init__(self) -> None:
        self.events = 0
        self.trouble = ""

    def recorded(self, fact: EventsRecorded, campaigns: frozenset[str]) -> None:
        del campaigns
        self.events += sum(fact.types.values())

    def left(self, reason: str) -> None:
        self.trouble = reason

    def unburied(self, error: BulksendError) -> None:
        self.trouble = error.message

    def held_up(self, error: BulksendError) -> None:
        self.trouble = error.message

    def going_on(self) -> None:
        pass


@asynccontextmanager
async def consumer_of(url: str, path: Path, counter: Counter) -> AsyncIterator[Consumer]:
    with ThreadPoolExecutor(1, "events") as thread:
        async with open_queue(access_to(url), url) as (queue, _):
            yield Consumer(queue, SqliteEvents(path), counter, thread=thread, now=time.time)


# Cost -----------------------------------------------------------------------------------------------------------------


async def calls_of_ours(url: str) -> int:
    async def receive(queue: Queue) -> int:
        count = 0
        while messages := await queue.receive(0):
            await queue.delete([message.receipt for message in messages])
            count += len(messages)
        return count

    async with open_queue(access_to(url), url) as (queue, _):
        return sum(await asyncio.gather(*(receive(queue) for _ in range(RECEIVERS))))


async def calls_of_the_sdk(url: str) -> int:
    async def receive(client: Any) -> int:
        count = 0
        while messages := (await client.receive_message(QueueUrl=url, MaxNumberOfMessages=10)).get("Messages"):
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            await client.delete_message_batch(QueueUrl=url, Entries=entries)
            count += len(messages)
        return count

    async with open_client(access_to(url), "sqs", retrying=False, max_connections=RECEIVERS) as client:
        return sum(await asyncio.gather(*(receive(client) for _ in range(RECEIVERS))))


async def consume(url: str) -> int:
    counter = Counter()
    with tempfile.TemporaryDirectory(prefix="bulksend-events-") as folder:
        async with consumer_of(url, Path(folder, "events.db"), counter) as consumer:
            await consumer.run(until_empty=True)
    if counter.trouble:
        raise ScenarioError(counter.trouble)
    return counter.events


PASSES: dict[str, Callable[[str], Any]] = dict(zip(KINDS, (calls_of_ours, calls_of_the_sdk, consume), strict=True))


def measured(kind: str, url: str) -> None:
    """In a process of its own: prints what a pass took. What is imported, and how a call is begun, is not of it."""

    async def main() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            async with consumer_of(url, Path(folder, "events.db"), Counter()):
                pass
        before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        count = await PASSES[kind](url)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"events": count, "cpu_s": cpu_s, "wall_s": time.monotonic() - began_s}

    print(json.dumps(uvloop.run(main())))


def cost(made: Report, options: argparse.Namespace) -> None:
    table = made.table(
        "Cost of taking events",
        kind="what",
        events="events",
        per_s="events/s",
        cpu="CPU s per million",
        of_sdk="of aioboto3's calls",
    )
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    per_s: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.runs):
        for kind in KINDS:
            with queue_server(options.events) as url:
                command = [sys.executable, "-m", "loadtest.events", "--measure", kind, "--queue", url]
                done = subprocess.run(
                    command, env=environment(), capture_output=True, text=True, check=False, timeout=TIMEOUT_S
                )
            if done.returncode:
                raise ScenarioError(f"{kind}: {done.stderr.strip().splitlines()[-1:]}")
            found = json.loads(done.stdout)
            if found["events"] != options.events:
                raise ScenarioError(f"{kind}: {found['events']} events of {options.events}")
            cpu[kind].append(found["cpu_s"] / found["events"] * 1e6)
            per_s[kind].append(found["events"] / found["wall_s"])
            report.people.print(f"{kind}: {cpu[kind][-1]:.0f} CPU s per million, {per_s[kind][-1]:,.0f} events/s")
    sdk = report.median(cpu["calls, aioboto3"]) or 1.0
    for kind in KINDS:
        middle = report.median(cpu[kind]) or 0.0
        speed = report.median(per_s[kind]) or 0.0
        table.add(kind=kind, events=options.events, per_s=speed, cpu=middle, of_sdk=middle / sdk)
        made.good = made.good and (kind != "consume, ours" or speed >= WANTED_PER_S)
    made.good = made.good and (report.median(cpu["calls, ours"]) or 0.0) < sdk


# Beside a campaign ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """`used` is of the quota; `p50_ms` and `p99_ms` of intents' commits."""

    used: float
    throttled: int
    p50_ms: float
    p99_ms: float
    events_per_s: float = 0.0


def alone(seconds: float) -> Sent:
    """A campaign, and nothing else."""

    def schedule(engine: Engine) -> None:
        asyncio.get_running_loop().call_later(seconds, engine.drain)

    return campaign(seconds, schedule)


def in_the_same_process(seconds: float) -> Sent:
    """A campaign, and a consumer beside it in its event loop."""
    counter = Counter()
    tasks: list[asyncio.Task[None]] = []

    async def take(url: str, folder: str, engine: Engine) -> None:
        async with consumer_of(url, Path(folder, "events.db"), counter) as consumer:
            loop = asyncio.get_running_loop()
            loop.call_later(seconds, engine.drain)
            loop.call_later(seconds, consumer.stop)
            await consumer.run()

    with (
        tempfile.TemporaryDirectory(prefix="bulksend-events-") as folder,
        queue_server(int(EVENTS_PER_S * (seconds + 30)), EVENTS_PER_S) as url,
    ):
        sent = campaign(
            seconds, lambda engine: tasks.append(asyncio.get_running_loop().create_task(take(url, folder, engine)))
        )
    if counter.trouble:
        raise ScenarioError(counter.trouble)
    return replace(sent, events_per_s=counter.events / seconds)


def in_its_own_process(seconds: float, *, yielding: bool = False) -> tuple[Sent, float]:
    """A campaign, and `bulksend events consume`: with the CPU that this takes, as a share of a core.

    `yielding`: it takes only what nobody else wants of it (chrt --idle 0).
    """
    with (
        tempfile.TemporaryDirectory(prefix="bulksend-events-") as folder,
        queue_server(int(EVENTS_PER_S * (seconds + 60)), EVENTS_PER_S) as url,
    ):
        settings = f"""
            store = "sqlite:{folder}"
            [aws]
            region = "{REGION}"
            [events]
            queues = ["{url}"]
            endpoint_url = "{url.rsplit("/", 2)[0]}"
            """
        Path(folder, "config.toml").write_text(settings, "utf-8")
        command = [sys.executable, "-m", "bulksend", "events", "consume", "--config", f"{folder}/config.toml"]
        with running(
            [*(("chrt", "--idle", "0") if yielding else ()), *command, "--output", "json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        ) as consumer:
            time.sleep(STARTED_WITHIN_S)
            began_s, before_s = time.monotonic(), cpu_s_of(consumer.pid)
            sent = alone(seconds)
            took_s, cpu_s = time.monotonic() - began_s, cpu_s_of(consumer.pid) - before_s
            stop(consumer)
            assert consumer.stdout is not None
            events = json.loads(consumer.stdout.read() or "{}").get("events", 0)
    return replace(sent, events_per_s=events / (took_s + STARTED_WITHIN_S)), cpu_s / took_s


def beside_a_busy_core(seconds: float, share: float) -> Sent:
    """A campaign, and a process that takes as much CPU as a consumer does, in as many bursts, and does nothing."""
    command = [
        sys.executable,
        "-c",
        BUSY,
        str(seconds + 30),
        str(share / BURSTS_PER_S),
        str((1 - share) / BURSTS_PER_S),
    ]
    with running(command, env=environment()):
        return alone(seconds)


def cpu_s_of(pid: int) -> float:
    """User and system (proc(5), /proc/pid/stat)."""
    ticks = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def campaign(seconds: float, schedule: Callable[[Engine], None]) -> Sent:
    """Sent for so long, or until what is scheduled ends it."""
    with (
        tempfile.TemporaryDirectory(prefix="bulksend-events-") as folder,
        SimulatorProcess(max_send_rate_per_s=RATE_PER_S, latency_ms=50) as simulator,
    ):
        desk = Desk(Path(folder), simulator.url)
        desk.plan([f"r{n}@example.com" for n in range(int(RATE_PER_S * (seconds + 5)) + 100)])
        ended = desk.send(speed=1.0, meanwhile=schedule, max_in_flight=64, answer_timeout_s=30.0)
        tally = simulator.tally(ended.campaign.id)
    commits_s = sorted(fact.commit_s for fact in ended.facts if isinstance(fact, BatchSent))
    at = [commits_s[int(share * (len(commits_s) - 1))] * 1000 for share in (0.5, 0.99)]
    used = tally["accepted"] / (RATE_PER_S * seconds)
    return Sent(min(used, 9.99), tally["refused_429"], at[0], at[1])


def beside(made: Report, options: argparse.Namespace) -> None:
    table = made.table(
        f"A campaign at {RATE_PER_S:.0f}/s for {options.seconds:.0f} s",
        beside="beside",
        used="quota used",
        throttled="throttled",
        p50_ms="commit p50, ms",
        p99_ms="commit p99, ms",
        of_alone="of alone",
        events_per_s="events/s",
    )
    found: dict[str, list[Sent]] = defaultdict(list)
    for _ in range(options.runs):
        found["nothing"].append(alone(options.seconds))
        apart, share = in_its_own_process(options.seconds)
        found["events, in their own process"].append(apart)
        found[YIELDING].append(in_its_own_process(options.seconds, yielding=True)[0])
        found[BUSY_CORE].append(beside_a_busy_core(options.seconds, share))
        found["events, in the same process"].append(in_the_same_process(options.seconds))
        for name, (*_, last) in found.items():
            report.people.print(f"{name}: p99 {last.p99_ms:.1f} ms, {last.used:.1%}, {last.events_per_s:,.0f} events/s")
    p99_ms = {name: report.median([sent.p99_ms for sent in every]) or 0.0 for name, every in found.items()}
    for name, every in found.items():
        table.add(
            beside=name,
            used=f"{min(sent.used for sent in every):.1%}",
            throttled=sum(sent.throttled for sent in every),
            p50_ms=report.median([sent.p50_ms for sent in every]),
            p99_ms=p99_ms[name],
            of_alone=p99_ms[name] / (p99_ms["nothing"] or 1.0),
            events_per_s=report.median([sent.events_per_s for sent in every]),
        )
        made.good = made.good and all(sent.used >= 0.99 and sent.throttled == 0 for sent in every)
        if name not in {"nothing", BUSY_CORE}:
            made.good = made.good and all(sent.events_per_s >= WANTED_PER_S for sent in every)
    made.good = made.good and p99_ms[YIELDING] <= 2 * p99_ms["nothing"]


PARTS: dict[str, Callable[[Report, argparse.Namespace], None]] = {"cost": cost, "beside": beside}


def events(options: argparse.Namespace) -> Report:
    settings = report.settings_of(options)
    made = Report("events", {name: settings[name] for name in ("events", "runs", "seconds", "parts")}, NOTES)
    os.environ |= environment()
    for name in options.parts or PARTS:
        PARTS[name](made, options)
    return made


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all, if none is named")
    arguments.add_argument("--events", type=int, default=200_000, help="to consume in each pass")
    arguments.add_argument("--runs", type=int, default=3, help="of each pass")
    arguments.add_argument("--seconds", type=float, default=60.0, help="of each campaign")
    arguments.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    arguments.add_argument("--queue", help=argparse.SUPPRESS)
    known = arguments.parse_args()
    if known.measure is not None:
        measured(known.measure, known.queue)
        return 0
    return report.run(arguments, events)


if __name__ == "__main__":
    sys.exit(main())
