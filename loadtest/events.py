"""What it costs to take events from a queue, beside the SDK; and what a campaign loses that is sent meanwhile.

    python -m loadtest.events            all of it, about four minutes
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
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
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
from loadtest.children import REGION, ScenarioError, environment, running
from loadtest.report import Report
from tests.harness import Desk

NOTES = """
- Cost: a server that has nothing else to do than to hand out the same report with other numbers, in SNS's envelope, ten
  to a receive. calls: receive and delete, no more; consume: parsed, recorded in the store (SQLite, durable), deleted.
  CPU is of the process that consumes, all of it.
- Beside: a campaign for a minute, and a consumer in the same process and on the same disk. Commit is
  from asking for an intent until it is durable.
- Goals: at least 3,000 events a second consumed, at least 99 % of the quota used, and intents' 99th percentile within
  twice what it is without events.
"""
RECEIVERS = 10
RATE_PER_S = 500.0
EVENTS_PER_S = 3200.0
WANTED_PER_S = 3000.0
TIMEOUT_S = 300.0
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
    """`used` is of the quota; `p99_ms` of intents' commits; `events_per_s` were consumed meanwhile."""

    used: float
    throttled: int
    p50_ms: float
    p99_ms: float
    events_per_s: float


def campaign(seconds: float, queue_url: str | None) -> Sent:
    counter = Counter()
    tasks: list[asyncio.Task[None]] = []
    with (
        tempfile.TemporaryDirectory(prefix="bulksend-events-") as folder,
        SimulatorProcess(max_send_rate_per_s=RATE_PER_S, latency_ms=50) as simulator,
    ):
        desk = Desk(Path(folder), simulator.url)
        desk.plan([f"r{n}@example.com" for n in range(int(RATE_PER_S * (seconds + 5)) + 100)])

        async def take(url: str, engine: Engine) -> None:
            async with consumer_of(url, Path(folder, ".bulksend", "events.db"), counter) as consumer:
                asyncio.get_running_loop().call_later(seconds, end, consumer, engine)
                await consumer.run()

        def end(consumer: Consumer | None, engine: Engine) -> None:
            if consumer is not None:
                consumer.stop()
            engine.drain()

        def schedule(engine: Engine) -> None:
            loop = asyncio.get_running_loop()
            if queue_url is None:
                loop.call_later(seconds + 1, end, None, engine)
            else:
                tasks.append(loop.create_task(take(queue_url, engine)))

        ended = desk.send(speed=1.0, meanwhile=schedule, max_in_flight=64, answer_timeout_s=30.0)
        tally = simulator.tally(ended.campaign.id)
    if counter.trouble:
        raise ScenarioError(counter.trouble)
    commits_s = sorted(fact.commit_s for fact in ended.facts if isinstance(fact, BatchSent))
    at = [commits_s[int(share * (len(commits_s) - 1))] * 1000 for share in (0.5, 0.99)]
    used = tally["accepted"] / (RATE_PER_S * (ended.elapsed_s - 1))
    return Sent(min(used, 9.99), tally["refused_429"], at[0], at[1], counter.events / ended.elapsed_s)


def beside(made: Report, options: argparse.Namespace) -> None:
    table = made.table(
        f"A campaign at {RATE_PER_S:.0f}/s for {options.seconds:.0f} s",
        events="beside",
        used="quota used",
        throttled="throttled",
        p50_ms="commit p50, ms",
        p99_ms="commit p99, ms",
        events_per_s="events/s",
    )
    without = campaign(options.seconds, None)
    with queue_server(int(EVENTS_PER_S * (options.seconds + 30)), EVENTS_PER_S) as url:
        with_events = campaign(options.seconds, url)
    for name, sent in (("nothing", without), ("events", with_events)):
        table.add(
            events=name,
            used=f"{sent.used:.1%}",
            throttled=sent.throttled,
            p50_ms=sent.p50_ms,
            p99_ms=sent.p99_ms,
            events_per_s=sent.events_per_s,
        )
    made.good = (
        made.good
        and with_events.used >= 0.99
        and with_events.throttled == 0
        and with_events.events_per_s >= WANTED_PER_S
        and with_events.p99_ms <= 2 * without.p99_ms
    )


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
    arguments.add_argument("--seconds", type=float, default=60.0, help="of the campaign")
    arguments.add_argument("--measure", choices=KINDS, help=argparse.SUPPRESS)
    arguments.add_argument("--queue", help=argparse.SUPPRESS)
    known = arguments.parse_args()
    if known.measure is not None:
        measured(known.measure, known.queue)
        return 0
    return report.run(arguments, events)


if __name__ == "__main__":
    sys.exit(main())
