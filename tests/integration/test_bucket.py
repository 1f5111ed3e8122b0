"""The quota that a fleet shares, on a real PostgreSQL: what all workers together send, whatever happens to some."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bulksend.clock import boot_s
from bulksend.errors import JournalError
from bulksend.facts import Fact, Waiting
from bulksend.fleet.bucket import AHEAD_S, AWAY, SAVED_S, Bucket, Order, Standing, connecting
from bulksend.fleet.shared_pacer import SharedPacer
from bulksend.fleet.slices import LATE_S
from bulksend.model import AccountStatus
from bulksend.pacing import PaceSettings, Throttle
from bulksend.simulator.quota import Bucket as RateOfSes
from tests.postgres import Postgres, database, rows
from tests.worker_of_a_fleet import ACCOUNT, REGION

STALE_S = 600.0
Sent = list[tuple[float, int]]


@dataclass
class Ses:
    """The account: what GetAccount says, and what becomes of requests at its rate."""

    rate: float
    day: float | None = None
    reads: int = 0

    def __post_init__(self) -> None:
        self.sent: Sent = []
        self.throttled = 0
        self._bucket = RateOfSes(self.rate, boot_s())

    async def read(self) -> AccountStatus:
        self.reads += 1
        await asyncio.sleep(0.01)
        return AccountStatus(self.rate, self.day, await self.total(), True, True, "HEALTHY")  # noqa: FBT003

    async def total(self) -> float:
        return sum(n for _, n in self.sent)

    def take(self, recipients: int, at_s: float) -> None:
        self.sent.append((at_s, recipients))
        self.throttled += not self._bucket.take(recipients, at_s)

    def between(self, from_s: float, to_s: float) -> int:
        return sum(n for at, n in self.sent if from_s <= at < to_s)


def pacer_of(ses: Ses, url: str, settings: PaceSettings | None = None, facts: list[Fact] | None = None) -> SharedPacer:
    return SharedPacer(
        ses.read,
        Bucket(connecting(url), ACCOUNT, REGION),
        own_24_hours=ses.total,
        settings=settings,
        observe=(lambda _: None) if facts is None else facts.append,
    )


async def spend(pacer: SharedPacer, ses: Ses, until_s: float) -> None:
    """Send as fast as it goes, until that time by `boot_s`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(until_s - boot_s()):
            while True:
                batch = pacer.batch_recipients
                await pacer.acquire(batch)
                ses.take(batch, boot_s())


def run_workers(workers: int, ses: Ses, url: str, main: Callable[..., Awaitable[None]], **named: Any) -> None:
    async def inside() -> None:
        async with AsyncExitStack() as stack:
            pacers = [await stack.enter_async_context(pacer_of(ses, url, **named)) for _ in range(workers)]
            await main(*pacers)

    asyncio.run(inside())


def test_together_they_use_the_rate_and_no_more(database_url: str) -> None:
    ses = Ses(2000.0)
    began_s = 0.0

    async def main(*pacers: SharedPacer) -> None:
        nonlocal began_s
        began_s = boot_s()
        await asyncio.gather(*(spend(pacer, ses, began_s + 3.0) for pacer in pacers))

    run_workers(4, ses, database_url, main)
    assert ses.throttled == 0
    assert ses.between(began_s + 0.5, began_s + 3.0) >= 0.98 * 2000 * 2.5 - 50
    assert ses.between(began_s, began_s + 3.0) <= 2000 * (3.0 + LATE_S) + 50
    assert ses.reads == 1


def test_workers_that_are_killed_or_stopped_cost_little_and_spend_nothing_old(
    database_url: str, tmp_path: Path
) -> None:
    rate = 2000.0
    books = [tmp_path / f"{n}.jsonl" for n in range(4)]
    for book in books:
        book.touch()
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.worker_of_a_fleet", database_url, str(rate), str(book)],
            cwd=Path(__file__).parents[2],
        )
        for book in books
    ]
    try:
        deadline_s = time.monotonic() + 30.0
        while not all(book.stat().st_size for book in books):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        began_s = boot_s()
        time.sleep(0.7)
        workers[0].kill()
        os.kill(workers[1].pid, signal.SIGSTOP)
        stopped_s = boot_s()
        time.sleep(1.5)
        woke_s = boot_s()
        os.kill(workers[1].pid, signal.SIGCONT)
        time.sleep(1.0)
        ended_s = boot_s()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    sent: list[Sent] = [[tuple(json.loads(line)) for line in book.read_text().splitlines()] for book in books]
    together = sorted(one for mine in sent for one in mine)
    used = sum(n for at, n in together if began_s <= at < ended_s)
    assert used >= 0.98 * rate * (ended_s - began_s) - 2 * rate * 0.25, "less the slices of two workers"
    assert used <= rate * (ended_s - began_s + LATE_S) + 50
    assert [at for at, _ in sent[1] if stopped_s + 0.1 <= at < woke_s] == []
    assert any(at >= woke_s for at, _ in sent[1]), "it goes on"
    account = RateOfSes(rate, together[0][0])
    assert all([account.take(n, at) for at, n in together]), "SES throttles nothing"  # noqa: C419  each has to be taken


async def _given(bucket: Bucket, account: AccountStatus, own: float = 0.0) -> Standing:
    asked = await bucket.begin_reading(0.0)
    assert asked is not None
    known = await bucket.end_reading(asked.asked_at, account, own)
    assert known is not None
    return known


def account_of(rate: float, day: float | None = None, sent: float = 0.0) -> AccountStatus:
    return AccountStatus(rate, day, sent, True, True, "HEALTHY")  # noqa: FBT003


def with_bucket(url: str, main: Callable[[Bucket], Awaitable[None]]) -> None:
    async def inside() -> None:
        bucket = Bucket(connecting(url), ACCOUNT, REGION)
        try:
            await main(bucket)
        finally:
            await bucket.close()

    asyncio.run(inside())


BATCH = Order(need=50, want=50, batch=50)


def test_slices_follow_each_other_and_end_at_the_horizon(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 0, "the quota is not known"
        await _given(bucket, account_of(100.0))
        lease = await bucket.lease(BATCH, PaceSettings(), STALE_S)
        assert lease.begins == pytest.approx(lease.standing.now - SAVED_S)
        given = lease.given
        until = lease.begins + lease.given / lease.per_s
        while True:
            lease = await bucket.lease(BATCH, PaceSettings(), STALE_S)
            if not lease.given:
                break
            assert lease.begins == pytest.approx(until)
            assert lease.begins <= lease.standing.now + AHEAD_S
            until = lease.begins + lease.given / lease.per_s
            given += lease.given
        assert lease.standing.given_until > lease.standing.now + AHEAD_S
        assert lease.standing.used_24_hours == given

    with_bucket(database_url, main)


def test_settings_and_a_fair_part(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        await _given(bucket, account_of(10_000.0))
        lease = await bucket.lease(replace(BATCH, want=1e6), PaceSettings(), STALE_S)
        assert (lease.given, lease.per_s) == (2500.0, 10_000.0), "a quarter of a second for one alone"
        lease = await bucket.lease(replace(BATCH, want=1e6, held=2500.0), PaceSettings(), STALE_S)
        assert lease.given <= 1300, "it has some already"
        lease = await bucket.lease(BATCH, PaceSettings(share=0.5), STALE_S)
        assert lease.per_s == 5000.0
        lease = await bucket.lease(BATCH, PaceSettings(max_recipients_per_s=300.0), STALE_S)
        assert lease.per_s == 300.0
        lease = await bucket.lease(BATCH, PaceSettings(max_calls_per_s=10.0), STALE_S)
        assert lease.per_s == 500.0

    with_bucket(database_url, main)


def test_the_day_is_a_budget_and_what_comes_back_counts(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        settings = PaceSettings(daily_reserve=100)
        known = await _given(bucket, account_of(1e6, day=1000.0, sent=300.0), own=400.0)
        assert known.used_24_hours == 400.0, "the greater of the two"
        lease = await bucket.lease(Order(need=450, want=450, batch=50), settings, STALE_S)
        assert (lease.given, lease.standing.used_24_hours) == (450.0, 850.0)
        assert (await bucket.lease(Order(need=51, want=51, batch=50), settings, STALE_S)).given == 0
        assert (await bucket.lease(Order(need=1, want=1, batch=50, worth=60.0), settings, STALE_S)).given == 0
        assert (await bucket.lease(Order(need=20, want=500, batch=50), settings, STALE_S)).given == 50, "what is left"
        back = replace(BATCH, ticket=lease.standing.readings, back=200.0)
        lease = await bucket.lease(back, settings, STALE_S)
        assert (lease.given, lease.standing.used_24_hours) == (50.0, 750.0)
        ticket = lease.standing.readings
        asked = await bucket.begin_reading(0.0)
        assert asked is not None
        lease = await bucket.lease(replace(back, need=0, ticket=ticket), settings, STALE_S)
        assert lease.standing.used_24_hours == 550.0, "it is not answered yet"
        read = await bucket.end_reading(asked.asked_at, account_of(1e6, day=1000.0, sent=500.0), 450.0)
        assert read is not None
        assert read.used_24_hours == 500.0
        assert (await bucket.lease(BATCH, settings, STALE_S)).given == 50
        lease = await bucket.lease(replace(back, need=0, ticket=ticket), settings, STALE_S)
        assert lease.standing.used_24_hours == 550.0, "that was before SES counted"

    with_bucket(database_url, main)


def test_nothing_is_given_out_by_an_account_that_may_not_send_or_is_not_known(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        await _given(bucket, replace(account_of(100.0), sending_enabled=False))
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 0
        await _given(bucket, replace(account_of(100.0), enforcement_status="SHUTDOWN"))
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 0
        await _given(bucket, replace(account_of(100.0), enforcement_status="PROBATION"))
        assert (await bucket.lease(BATCH, PaceSettings(), 0.0)).given == 0, "too old"
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 50
        told = await bucket.tell_spent()
        assert told is not None
        assert told.told_spent
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 0
        await _given(bucket, account_of(100.0))
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 50

    with_bucket(database_url, main)


def test_one_reads_at_a_time_and_a_late_answer_counts_for_nothing(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        first = await bucket.begin_reading(30.0)
        assert first is not None
        assert await bucket.begin_reading(30.0) is None
        rows_changed(database_url, "UPDATE bucket SET reading_until = store_now() - 1")
        second = await bucket.begin_reading(30.0)
        assert second is not None
        assert await bucket.end_reading(first.asked_at, account_of(1.0), 0.0) is None
        failed = await bucket.fail_reading(second.asked_at)
        assert failed is not None
        assert await bucket.begin_reading(30.0) is None, "not at once"
        rows_changed(database_url, "UPDATE bucket SET reading_until = store_now() - 1")
        third = await bucket.begin_reading(30.0)
        assert third is not None
        assert await bucket.end_reading(third.asked_at, account_of(1.0), 0.0) is not None
        assert await bucket.begin_reading(30.0) is None, "it is fresh"

    with_bucket(database_url, main)


def rows_changed(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_clock_that_is_set_back_stops_nobody(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        await _given(bucket, account_of(100.0))
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 50
        rows_changed(
            database_url,
            "UPDATE bucket SET given_until = given_until + 7200, begins = begins + 7200, read_at = read_at + 7200, "
            "cut_at = store_now() + 7200, reading_until = store_now() + 7200",
        )
        assert await bucket.begin_reading(30.0) is not None
        await _given_anyway(bucket)
        assert (await bucket.lease(BATCH, PaceSettings(), STALE_S)).given == 50

    async def _given_anyway(bucket: Bucket) -> None:
        standing = await bucket.look()
        assert await bucket.end_reading(standing.asked_at, account_of(100.0), 0.0) is not None

    with_bucket(database_url, main)


def test_two_workers_throttled_in_one_flight_cut_once(database_url: str) -> None:
    ses = Ses(1000.0)

    async def main(*pacers: SharedPacer) -> None:
        for pacer in pacers:
            await pacer.acquire(50)
        sent_s = asyncio.get_running_loop().time()
        await asyncio.sleep(0.1)
        for pacer in pacers:
            pacer.throttled(sent_s)
        for pacer in pacers:
            pacer.throttled(sent_s - 0.05)
        async with asyncio.timeout(10.0):
            while any(pacer.rate_per_s == 1000.0 for pacer in pacers):
                for pacer in pacers:
                    await pacer.acquire(50)
        assert {pacer.rate_per_s for pacer in pacers} == {500.0}
        async with asyncio.timeout(10.0):
            while pacers[0].rate_per_s == 500.0:
                await pacers[1].acquire(50)
                await pacers[0].acquire(50)

    run_workers(2, ses, database_url, main)
    ((factor, ceiling),) = rows(database_url, "SELECT factor, ceiling FROM bucket")
    assert factor > 0.5, "it climbs back"
    assert ceiling == 0.88


def test_the_throttle_changes_only_as_it_was_seen(database_url: str) -> None:
    async def main(bucket: Bucket) -> None:
        seen = (await _given(bucket, account_of(100.0))).throttle
        lease = await bucket.lease(BATCH, PaceSettings(), STALE_S)
        cut = Throttle(0.5, 0.88, 0, 0.0, 0.0)
        changed = await bucket.change_throttle(seen, cut, cut=True)
        assert changed is not None
        assert changed.throttle.cut_at_s >= lease.standing.given_until, (
            "those who were given a slice know nothing of it"
        )
        assert await bucket.change_throttle(seen, cut, cut=True) is None
        stepped = await bucket.change_throttle(changed.throttle, replace(cut, factor=0.6), cut=False)
        assert stepped is not None
        assert stepped.throttle.cut_at_s == changed.throttle.cut_at_s
        assert (await bucket.lease(replace(BATCH, need=0), PaceSettings(), STALE_S)).per_s == 60.0

    with_bucket(database_url, main)


def test_a_fleet_keeps_the_day_together(database_url: str) -> None:
    ses, facts = Ses(5000.0, day=2000.0), list[Fact]()

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.gather(*(spend(pacer, ses, boot_s() + 1.5) for pacer in pacers))

    run_workers(3, ses, database_url, main, facts=facts)
    assert 2000 - 3 * 50 <= sum(n for _, n in ses.sent) <= 2000
    assert any(isinstance(fact, Waiting) and "is spent" in fact.reason for fact in facts)


def test_who_leaves_gives_back_what_it_had_not_sent(database_url: str) -> None:
    ses = Ses(1000.0)

    async def main(pacer: SharedPacer) -> None:
        await spend(pacer, ses, boot_s() + 0.6)
        pacer.give_back(50, await pacer.acquire(50))

    run_workers(1, ses, database_url, main)
    assert rows(database_url, "SELECT since_read FROM bucket") == [(sum(n for _, n in ses.sent),)]


def test_the_database_is_away_for_a_while() -> None:
    ses, facts = Ses(1000.0), list[Fact]()
    gone_s = back_s = 0.0
    with Postgres() as server, database(server.url, "fleet") as url:

        async def main(*pacers: SharedPacer) -> None:
            nonlocal gone_s, back_s
            sending = [asyncio.create_task(spend(pacer, ses, boot_s() + 9.0)) for pacer in pacers]
            await asyncio.sleep(0.8)
            await asyncio.to_thread(server.stop)
            gone_s = boot_s()
            await asyncio.sleep(3.0)
            for pacer in pacers:
                pacer.throttled(0.0)
                pacer.give_back(1, 1)
            await asyncio.to_thread(server.start)
            back_s = boot_s()
            async with asyncio.timeout(10.0):
                while not ses.between(back_s, boot_s()) > 500:  # noqa: ASYNC110  it waits for what a process does
                    await asyncio.sleep(0.05)
            for task in sending:
                task.cancel()

        run_workers(2, ses, url, main, facts=facts)
    assert ses.between(0.0, gone_s) > 0
    assert ses.between(gone_s + AHEAD_S + LATE_S, back_s) == 0
    assert [fact.reason for fact in facts if isinstance(fact, Waiting) and fact.reason] == [
        "the database does not answer; nothing is sent until it does"
    ] * 2


def test_a_database_that_hangs_is_not_waited_for(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.fleet.bucket.ANSWER_S", 0.3)

    async def main(bucket: Bucket) -> None:
        await bucket.look()
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute("SELECT 1 FROM bucket FOR UPDATE")
            with pytest.raises(AWAY):
                await bucket.lease(BATCH, PaceSettings(), STALE_S)
            await other.rollback()
        await bucket.lease(BATCH, PaceSettings(), STALE_S)

    with_bucket(database_url, main)


def test_a_database_without_the_table_is_refused_in_words(database_url: str) -> None:
    rows_changed(database_url, "DROP TABLE bucket")

    async def main(pacer: SharedPacer) -> None:
        raise AssertionError(pacer)

    with pytest.raises(JournalError, match="quota's row") as caught:
        run_workers(1, Ses(14.0), database_url, main)
    assert "bulksend migrate" in caught.value.hint
