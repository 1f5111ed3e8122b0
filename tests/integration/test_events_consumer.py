"""Events from a real SQS and SNS into the real store: each counted once, whatever happens; the unreadable put aside."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from bulksend.aws import AwsAccess
from bulksend.errors import BulksendError, JournalError
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.events import Consumer, Events, QueueError, Trouble, open_queue
from bulksend.events import consumer as consumer_module
from bulksend.facts import EventsRecorded
from bulksend.journal import Recorded, SqliteEvents
from tests.events_queues import REGION, Desk
from tests.forked import Forked
from tests.independent import Ministack
from tests.ses_reports import (
    CAMPAIGN,
    HAPPENED_AT_S,
    NOTHING_TO_COUNT,
    SHAPES,
    SPELLINGS,
    bridged,
    notification,
    raw,
    report,
)

GARBAGE = (
    *("hello", '{"Type": "Notification"}', "[]", raw(report("bounce", word="Teleported")), '{"a":' * 5000),
    *(raw({"eventType": "Bounce"}), "=cmd|' /C calc'!A0", "\U0001f4a5" * 100),
)


@pytest.fixture
def desk(ministack: Ministack) -> Desk:
    return Desk(ministack.endpoint_url)


@dataclass
class Told:
    """A listener that remembers."""

    facts: list[EventsRecorded] = field(default_factory=list)
    campaigns: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    on_recorded: Callable[[], None] = lambda: None

    def recorded(self, fact: EventsRecorded, campaigns: frozenset[str]) -> None:
        self.facts.append(fact)
        self.campaigns |= campaigns
        self.on_recorded()

    def left(self, reason: str) -> None:
        self.said.append(f"left: {reason}")

    def unburied(self, error: BulksendError) -> None:
        self.said.append(f"unburied: {error.message}")

    def held_up(self, error: BulksendError) -> None:
        self.said.append(f"held up: {error.message}")

    def going_on(self) -> None:
        self.said.append("going on")

    @property
    def types(self) -> Counter[EventType]:
        total: Counter[EventType] = Counter()
        for fact in self.facts:
            total.update(fact.types)
        return total

    @property
    def unreadable(self) -> int:
        return sum(fact.unreadable for fact in self.facts)


@asynccontextmanager
async def in_a_thread() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as thread:
        yield thread


def consume(desk: Desk, url: str, store: Events, told: Told, **how: bool) -> None:
    async def go() -> None:
        async with open_queue(desk.access, url) as (queue, _), in_a_thread() as thread:
            await Consumer(queue, store, told, thread=thread, now=time.time).run(**(how or {"until_empty": True}))

    asyncio.run(go())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, and a queue on this machine: it is empty as soon as it says so."""
    monkeypatch.setattr(consumer_module, "EMPTY_AFTER_S", 0)
    monkeypatch.setattr(consumer_module, "LINGER_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> SqliteEvents:
    return SqliteEvents(tmp_path / "events.db")


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110  it is another process that is waited for
        await asyncio.sleep(0.01)


def mixed(reports: Iterable[dict[str, object]], dice: random.Random) -> list[str]:
    """Each in some shape, and some of them once or twice more in another; in no order."""
    bodies = []
    for one in reports:
        copies = dice.choice((1, 1, 1, 2, 3))
        bodies += [dice.choice(list(SHAPES.values()))(one) for _ in range(copies)]
    dice.shuffle(bodies)
    return bodies


# Counting -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_every_shape_is_counted_once_by_way_of_sns_and_of_eventbridge(desk: Desk, store: SqliteEvents) -> None:
    queue, told = desk.queue(), Told()
    reports = [
        report(type_, row=row, message_id=f"m-{row}", address=f"r{row}@example.com")
        for row in range(5)
        for type_ in SPELLINGS
    ]
    published = (
        [raw(one) for one in reports] + [raw(notification("bounce", message_id="m-3"))] + [*NOTHING_TO_COUNT.values()]
    )
    for is_raw in (True, False):
        desk.publish(desk.topic(queue, raw=is_raw), published)
    desk.fill(queue.url, [bridged(one) for one in reports] + list(GARBAGE))
    consume(desk, queue.url, store, told)
    assert told.types == {type_: 5 + (type_ is EventType.BOUNCE) for type_ in EventType}
    assert told.campaigns == {CAMPAIGN}
    tally = store.tally(CAMPAIGN)
    assert tally.types == dict.fromkeys(EventType, 5)
    assert tally.bounces == {BounceKind.PERMANENT: 5}
    assert (tally.mails, tally.copies) == (5, 0)
    assert told.unreadable == len(GARBAGE)
    assert sorted(desk.bodies(queue.dead_url)) == sorted(GARBAGE)
    assert desk.left(queue.url) == (0, 0)
    assert all("@" not in line for line in told.said)
    assert len(told.said) == len(set(told.said))  # each reason once


@pytest.mark.usefixtures("quick")
def test_the_lag_is_that_of_the_oldest(desk: Desk, store: SqliteEvents) -> None:
    queue, told = desk.queue(), Told()
    desk.fill(queue.url, [raw(report("delivery")), raw(report("delivery", at="2026-11-20T10:00:00.500Z"))])
    before = time.time()
    consume(desk, queue.url, store, told)
    (fact,) = told.facts
    assert fact.lag_s is not None
    assert before - HAPPENED_AT_S + 4 <= fact.lag_s <= time.time() - HAPPENED_AT_S + 4
    desk.fill(queue.url, [raw(report("delivery"))])
    consume(desk, queue.url, store, told)
    desk.fill(queue.url, ["hello"])
    consume(desk, queue.url, store, told)
    assert [fact.lag_s for fact in told.facts[1:]] == [None, None], "nothing of it is new"


@pytest.mark.usefixtures("quick")
def test_without_a_dead_letter_queue_the_unreadable_stays_out_of_the_way(desk: Desk, store: SqliteEvents) -> None:
    url, told = desk.plain_queue(), Told()
    desk.fill(url, ["hello", raw(report("bounce"))])
    consume(desk, url, store, told)
    assert told.unreadable >= 1
    assert told.said == ["left: it is no JSON"]
    assert desk.left(url) == (0, 1)
    assert store.tally(CAMPAIGN).mails == 1


@pytest.mark.usefixtures("quick")
def test_a_dead_letter_queue_that_takes_nothing_is_told_once_and_holds_nothing_up(
    desk: Desk, store: SqliteEvents
) -> None:
    asked: list[int] = []

    async def refuse(url: str, bodies: Sequence[str]) -> Sequence[bool]:
        assert url == made.dead_url
        asked.append(len(bodies))
        raise QueueError("denied", trouble=Trouble.DENIED)

    async def go() -> None:
        async with open_queue(desk.access, made.url) as (queue, _), in_a_thread() as thread:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(queue, "send", refuse)
                await Consumer(queue, store, told, thread=thread, now=time.time).run(until_empty=True)

    made, told = desk.queue(), Told()
    desk.fill(made.url, [raw(report("bounce")), *["hello"] * 15])
    asyncio.run(go())
    assert store.tally(CAMPAIGN).mails == 1
    assert (sum(asked), len(asked) > 1) == (15, True)
    assert told.said == ["left: it is no JSON", "unburied: The events' queue cannot be used: denied"]


# Ending ---------------------------------------------------------------------------------------------------------------


class Slow:
    """A store whose transaction is under way for as long as the test likes."""

    def __init__(self, store: SqliteEvents) -> None:
        self.store = store
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def record(self, events: Sequence[MailEvent], now: float) -> Recorded:
        asyncio.run_coroutine_threadsafe(self._wait(), self.loop).result()
        return self.store.record(events, now)

    async def _wait(self) -> None:
        self.begun.set()
        await self.go_on.wait()


def test_an_end_in_good_order_deletes_what_is_durable_and_gives_the_rest_back_at_once(
    desk: Desk, store: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "MAX_GROUP", 10)
    # All room is taken: ministack would give what is let go of to a receive whose connection is gone.
    monkeypatch.setattr(consumer_module, "MAX_RECEIVERS", 1)
    monkeypatch.setattr(consumer_module, "MAX_HELD", 60)
    monkeypatch.setattr(consumer_module, "EMPTY_AFTER_S", 0)
    queue, told = desk.queue(visible_after_s=500), Told()
    desk.fill(queue.url, [raw(report("delivery", row=n, message_id=f"m-{n}")) for n in range(60)])

    async def go() -> None:
        slow = Slow(store)
        async with open_queue(desk.access, queue.url) as (opened, _), in_a_thread() as thread:
            consumer = Consumer(opened, slow, told, thread=thread, now=time.time)
            running = asyncio.create_task(consumer.run())
            await slow.begun.wait()
            await until(lambda: desk.left(queue.url) == (0, 60))
            consumer.stop()
            await asyncio.sleep(0)
            slow.go_on.set()
            await running

    asyncio.run(go())
    recorded = store.tally(CAMPAIGN).mails
    assert recorded == sum(told.types.values()) == 10
    assert desk.left(queue.url) == (50, 0)
    consume(desk, queue.url, store, told)
    assert store.tally(CAMPAIGN).mails == sum(told.types.values()) == 60


# Trouble --------------------------------------------------------------------------------------------------------------


class Away:
    """A store that does not answer at first. It remembers how the queue stood whenever it was asked."""

    def __init__(self, store: SqliteEvents, times: int, look: Callable[[], tuple[int, int]]) -> None:
        self.store = store
        self.times = times
        self.look = look
        self.asked: list[int] = []
        self.seen: list[tuple[int, int]] = []

    def record(self, events: Sequence[MailEvent], now: float) -> Recorded:
        self.asked.append(len(events))
        self.seen.append(self.look())
        if len(self.asked) <= self.times:
            raise JournalError("events.db is locked")
        return self.store.record(events, now)


def test_while_the_store_is_away_nothing_is_deleted_and_nothing_more_received(
    desk: Desk, store: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "EMPTY_AFTER_S", 0)
    monkeypatch.setattr(consumer_module, "MAX_BACKOFF_S", 0.04)
    monkeypatch.setattr(consumer_module, "LINGER_S", 0.0)
    monkeypatch.setattr(consumer_module, "MAX_RECEIVERS", 1)
    queue, told = desk.queue(), Told()
    away = Away(store, 6, lambda: desk.left(queue.url))
    desk.fill(queue.url, [raw(report("delivery", row=n, message_id=f"m-{n}")) for n in range(500)])
    consume(desk, queue.url, away, told)
    first, *others = away.seen[1:7]  # the first failure may come while something is being received
    assert others == [first] * 5 or others == [others[0]] * 5 == [(first[0] - 10, first[1] + 10)] * 5
    assert sum(first) == 500
    assert len(set(away.asked[:7])) == 1  # the same batch until it is durable
    assert told.said == ["held up: The journal cannot be used: events.db is locked", "going on"]
    assert store.tally(CAMPAIGN).mails == 500
    assert desk.left(queue.url) == (0, 0)


def test_a_queue_that_is_not_there_is_said_in_words_and_waited_for(
    desk: Desk, store: SqliteEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "MAX_BACKOFF_S", 0.05)
    there = desk.plain_queue("later")
    desk.sqs.delete_queue(QueueUrl=there)
    with pytest.raises(QueueError) as refused:
        consume(desk, there, store, Told(), patient=False)
    assert refused.value.trouble is Trouble.GONE
    told = Told()

    async def go() -> None:
        async with open_queue(desk.access, there) as (opened, _), in_a_thread() as thread:
            consumer = Consumer(opened, store, told, thread=thread, now=time.time)
            told.on_recorded = consumer.stop
            running = asyncio.create_task(consumer.run())
            await until(lambda: bool(told.said))
            desk.plain_queue("later")
            desk.sqs.send_message(QueueUrl=there, MessageBody=raw(report("bounce")))
            await running

    asyncio.run(go())
    assert told.said == [f"held up: The events' queue cannot be used: there is no queue {there}", "going on"]
    assert store.tally(CAMPAIGN).mails == 1


@pytest.mark.usefixtures("quick")
def test_a_network_that_is_away_is_told_once_and_waited_for(store: SqliteEvents) -> None:
    told, waits = Told(), []

    async def go() -> None:
        url = "http://127.0.0.1:1/123456789012/events"
        async with open_queue(AwsAccess(region=REGION), url) as (queue, _), in_a_thread() as thread:

            def no_time(low: float, high: float) -> float:
                assert low < high
                waits.append(len(told.said))
                if len(waits) == 6:
                    consumer.stop()
                return 0.0

            consumer = Consumer(queue, store, told, thread=thread, now=time.time, uniform=no_time)
            await consumer.run()

    asyncio.run(go())
    assert waits == [0, 1, 1, 1, 1, 1]  # a single failure is none
    assert len(told.said) == 1
    assert "no connection to 127.0.0.1" in told.said[0]


# Really ---------------------------------------------------------------------------------------------------------------


class Process:
    """bulksend events consume, until the context ends."""

    def __init__(self, folder: Path, endpoint_url: str, urls: Sequence[str], *options: str) -> None:
        environ = dict(os.environ) | {
            "BULKSEND_EVENTS_QUEUES": " ".join(urls),
            "BULKSEND_EVENTS_ENDPOINT_URL": endpoint_url,
            "BULKSEND_STORE": f"sqlite:{folder}",
            "AWS_REGION": REGION,
        }
        self.process = Forked("events", "consume", *options, environment=environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Really: SIGKILL."""
        self.process.kill()
        self.process.communicate()

    def ended(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=120)
        return self.process.returncode, out, error


@pytest.mark.timeout(300)
def test_ten_thousand_messages_and_a_consumer_that_is_killed_again_and_again(desk: Desk, tmp_path: Path) -> None:
    dice = random.Random(7)
    rows = range(1, 6301)
    reports = [
        report("bounce" if row % 20 == 0 else "delivery", row=row, message_id=f"m-{row}", address=f"r{row}@example.com")
        for row in rows
    ]
    bodies = mixed(reports, dice)
    garbage = [f"{one} {n}" for n in range(5) for one in GARBAGE]
    bodies += garbage + list(NOTHING_TO_COUNT.values())
    dice.shuffle(bodies)
    assert 9_900 <= len(bodies) <= 10_500
    queues = [desk.queue(visible_after_s=5, max_receives=100) for _ in range(8)]
    for place, queue in enumerate(queues):
        desk.fill(queue.url, bodies[place :: len(queues)])
    urls = [queue.url for queue in queues]
    events = SqliteEvents(tmp_path / "events.db")
    for share in (0.2, 0.6):
        with Process(tmp_path, desk.endpoint_url, urls) as running:
            while events.tally(CAMPAIGN).mails < share * len(rows) and running.process.poll() is None:
                time.sleep(0.02)
            assert running.process.poll() is None, running.ended()
        assert 0 < events.tally(CAMPAIGN).mails < len(rows)
    while any(sum(desk.left(url)) for url in urls):
        with Process(tmp_path, desk.endpoint_url, urls, "--once") as running:
            code, _, said = running.ended()
        assert code == 0, said
    tally = events.tally(CAMPAIGN)
    bounces = len(rows) // 20
    assert tally.types == {EventType.DELIVERY: len(rows) - bounces, EventType.BOUNCE: bounces}
    assert (tally.mails, tally.copies) == (len(rows), 0)
    dead = [body for queue in queues for body in desk.bodies(queue.dead_url)]
    assert set(dead) == set(garbage)


def test_a_process_that_is_asked_to_end_says_what_it_took(desk: Desk, tmp_path: Path) -> None:
    queue, events = desk.queue(), SqliteEvents(tmp_path / "events.db")
    desk.fill(queue.url, [raw(report("delivery", row=n, message_id=f"m-{n}")) for n in range(30)] + ["hello"])
    with Process(tmp_path, desk.endpoint_url, [queue.url], "--output", "json") as running:
        while events.tally(CAMPAIGN).mails < 30 or desk.left(queue.dead_url) != (1, 0):
            assert running.process.poll() is None
            time.sleep(0.02)
        running.process.send_signal(signal.SIGTERM)
        code, out, error = running.ended()
    assert code == 0
    assert json.loads(out) == {"events": 30, "unreadable": 1}
    assert f"taking events from {queue.url}" in error
    assert "hello" not in error
    assert desk.left(queue.url) == (0, 0)
    assert (tmp_path / "events.db").stat().st_mode & 0o777 == 0o600


def test_a_process_without_a_queue_that_is_there_ends_in_words(desk: Desk, tmp_path: Path) -> None:
    url = f"{desk.endpoint_url}/000000000000/nowhere"
    for urls, words in (([url], f"there is no queue {url}"), ([], "no queue is named")):
        with Process(tmp_path, desk.endpoint_url, urls) as running:
            code, _, error = running.ended()
        assert code == 2
        assert words in error
        assert "Traceback" not in error
