"""One worker's side of the shared quota, on a clock that jumps, over a bucket in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from bulksend.errors import AccountError, HaltedError, JournalError
from bulksend.facts import Fact, PaceChanged, QuotaRead, Waiting, WaitKind
from bulksend.fleet.bucket import AHEAD_S, HORIZON_S, SAVED_S, Bucket, Lease, Order, Standing
from bulksend.fleet.shared_pacer import SharedPacer
from bulksend.fleet.slices import LATE_S, FarClock, Slice, Slices
from bulksend.model import AccountStatus, HaltScope
from bulksend.pacing import PaceSettings, Throttle, granted_per_s, refusal, seconds_worth
from tests.clocks import EPOCH, JumpingLoop

ROUND_TRIP_S = 0.005


def now() -> float:
    return asyncio.get_running_loop().time()


Sent = list[tuple[float, int]]


@dataclass
class Row:
    """The bucket's row, and what GetAccount would say."""

    rate: float
    day: float | None = None
    sent: float = 0.0
    enabled: bool = True
    status: str = "HEALTHY"
    down: bool = False
    broken: Exception | None = None
    reads: int = 0
    leases: int = 0
    given: float = 0.0
    since_read: float = 0.0
    before_read: float = 0.0
    own_24_hours: float = 0.0
    reading: bool = False
    book: list[Sent] = field(default_factory=list)
    """What was sent by all, as SES and the journal know it."""
    standing: Standing = field(
        default_factory=lambda: Standing(
            0.0, None, 0.0, 0.0, 0, 0.0, 0.0, told_spent=False, given_until=0.0, throttle=Throttle()
        )
    )

    async def read(self) -> AccountStatus:
        self.reads += 1
        await asyncio.sleep(0.01)
        if self.down:
            raise AccountError("no answer")
        return AccountStatus(self.rate, self.day, self.sent + self.booked, self.enabled, True, self.status)  # noqa: FBT003

    @property
    def booked(self) -> int:
        return sum(n for sent in self.book for _, n in sent)

    async def own_sum(self) -> float:
        return self.booked


class BucketInMemory(Bucket):
    """Does what the SQL does, in as few words."""

    def __init__(self, row: Row) -> None:
        self.row = row

    async def _arrive(self) -> Standing:
        await asyncio.sleep(ROUND_TRIP_S)
        if self.row.broken is not None:
            raise self.row.broken
        return self._put()

    def _put(self, **changes: object) -> Standing:
        row = self.row
        used = max(row.own_24_hours, 0.0 if row.standing.account is None else row.standing.account.sent_last_24_hours)
        changes |= {"now": EPOCH + now(), "used_24_hours": used + row.since_read + row.before_read}
        row.standing = replace(row.standing, own_24_hours=row.own_24_hours, **changes)  # type: ignore[arg-type]
        return row.standing

    async def look(self) -> Standing:
        return await self._arrive()

    async def lease(self, order: Order, settings: PaceSettings, stale_after_s: float) -> Lease:
        seen, row = await self._arrive(), self.row
        row.leases += 1
        if seen.readings == order.ticket:
            row.since_read = max(0.0, row.since_read - order.back)
            row.before_read = max(0.0, row.before_read - order.back_before)
        elif seen.readings == order.ticket + 1:
            row.before_read = max(0.0, row.before_read - order.back)
        seen = self._put()
        if seen.account is None:
            return Lease(0.0, 0.0, 1.0, seen)
        per_s = granted_per_s(seen.account, settings) * seen.throttle.factor
        if settings.max_calls_per_s is not None:
            per_s = min(per_s, settings.max_calls_per_s * seconds_worth(per_s))
        begins = max(seen.given_until, seen.now - SAVED_S)
        left = float("inf") if row.day is None else row.day - settings.daily_reserve - seen.used_24_hours
        may = refusal(seen.account, settings) is None and not seen.told_spent and seen.age_s <= stale_after_s
        if order.need <= 0 or not may or left < max(order.need, order.worth) or begins > seen.now + AHEAD_S:
            return Lease(0.0, 0.0, per_s, seen)
        fair = (per_s * (HORIZON_S - max(0.0, begins - seen.now)) - order.held) / 2
        given = order.need + order.batch * (max(0.0, min(order.want, fair) - order.need) // order.batch)
        given = given if row.day is None else min(given, max(order.need, left // 1))
        row.since_read += given
        row.given += given
        return Lease(given, begins, per_s, self._put(given_until=begins + given / per_s))

    async def change_throttle(self, seen: Throttle, new: Throttle, *, cut: bool) -> Standing | None:
        standing = await self._arrive()
        if seen != standing.throttle:
            return None
        at = max(standing.now, standing.given_until) if cut else standing.now
        return self._put(throttle=replace(new, stepped_at_s=at, cut_at_s=at if cut else new.cut_at_s))

    async def tell_spent(self) -> Standing:
        await self._arrive()
        return self._put(told_spent=True)

    async def begin_reading(self, max_age_s: float) -> Standing | None:
        seen, row = await self._arrive(), self.row
        if row.reading or (seen.account is not None and seen.age_s <= max_age_s):
            return None
        row.reading, row.before_read, row.since_read = True, row.since_read, 0.0
        return self._put(asked_at=seen.now, readings=seen.readings + 1)

    async def end_reading(self, asked_at: float, account: AccountStatus, own_24_hours: float) -> Standing | None:
        await self._arrive()
        self.row.reading, self.row.before_read, self.row.own_24_hours = False, 0.0, own_24_hours
        return self._put(read_at=asked_at, account=account, told_spent=False)

    async def fail_reading(self, asked_at: float) -> Standing | None:  # noqa: ARG002
        await self._arrive()
        self.row.reading, self.row.since_read = False, self.row.since_read + self.row.before_read
        return self._put()

    async def close(self) -> None:
        pass


def run(
    row: Row,
    main: Callable[..., Awaitable[None]],
    workers: int = 1,
    *,
    settings: PaceSettings | None = None,
    facts: list[Fact] | None = None,
    boot: Callable[[float], float] = lambda loop_s: loop_s,
) -> None:
    async def inside() -> None:
        async with AsyncExitStack() as stack:
            pacers = [
                await stack.enter_async_context(
                    SharedPacer(
                        row.read,
                        BucketInMemory(row),
                        own_24_hours=row.own_sum,
                        settings=settings,
                        observe=(lambda _: None) if facts is None else facts.append,
                        boot=lambda: boot(now()),
                    )
                )
                for _ in range(workers)
            ]
            await main(*pacers)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(inside())


async def spend(pacer: SharedPacer, until_s: float, sent: Sent, pause_s: float = 0.0) -> None:
    """Send as fast as it goes; or, with a pause between, no faster than one wants to."""
    try:
        async with asyncio.timeout_at(until_s):
            while True:
                batch = pacer.batch_recipients
                await pacer.acquire(batch)
                sent.append((now(), batch))
                await asyncio.sleep(pause_s)
    except TimeoutError:
        pass


def total(sent: Sent, from_s: float, to_s: float) -> int:
    return sum(n for at, n in sent if from_s <= at < to_s)


def assert_smooth(sent: Sent, rate: float) -> None:
    """In no second, nor in ten, much more than SES grants."""
    sent = sorted(sent)
    for start, _ in sent[:: max(1, len(sent) // 40)]:
        for length in (1.0, 10.0):
            assert total(sent, start, start + length) <= rate * (length + LATE_S) + seconds_worth(rate)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("rate", [1.0, 14.0, 500.0, 5000.0, 100_000.0])
def test_the_whole_rate_is_used_and_never_exceeded(rate: float, workers: int) -> None:
    sent: list[Sent] = [[] for _ in range(workers)]
    end_s = 40.0 if rate < 10_000 else 5.0

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.gather(*(spend(pacer, end_s, mine) for pacer, mine in zip(pacers, sent, strict=True)))

    run(Row(rate), main, workers)
    together = [one for mine in sent for one in mine]
    whole_s = end_s - 1.0
    assert total(together, 1.0, end_s) >= 0.99 * rate * whole_s - seconds_worth(rate)
    assert_smooth(together, rate)
    for mine in sent:
        assert total(mine, 0.0, end_s) >= 0.5 * rate * end_s / workers, "each has a fair part"


def test_who_needs_little_gets_it_and_the_others_have_the_rest() -> None:
    sent: list[Sent] = [[], [], []]

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.gather(
            spend(pacers[0], 40.0, sent[0]),
            spend(pacers[1], 40.0, sent[1]),
            spend(pacers[2], 40.0, sent[2], pause_s=0.4),
        )

    run(Row(2000.0), main, 3)
    assert total(sent[2], 10.0, 40.0) >= 0.5 * 30 * 50 / 0.4, "it wants 125/s, and waits its turn for some of it"
    assert sum(total(mine, 10.0, 40.0) for mine in sent) >= 0.98 * 2000 * 30


@pytest.mark.parametrize(("pause_s", "waste"), [(0.1, 1.1), (0.6, 1.01)])
def test_who_needs_less_than_there_is_wastes_little(pause_s: float, waste: float) -> None:
    row, sent = Row(2000.0), Sent()

    async def main(pacer: SharedPacer) -> None:
        await spend(pacer, 60.0, sent, pause_s)

    run(row, main)
    assert total(sent, 0.0, 60.0) >= 0.9 * 50 / pause_s * 60
    assert row.given <= waste * total(sent, 0.0, 60.0)


def test_who_needs_less_than_before_soon_asks_for_less() -> None:
    row, sent = Row(2000.0), Sent()

    async def main(pacer: SharedPacer) -> None:
        await spend(pacer, 10.0, sent)
        await spend(pacer, 20.0, sent, pause_s=0.3)
        before = row.given
        await spend(pacer, 80.0, sent, pause_s=0.3)
        assert row.given - before <= 1.01 * total(sent, 20.0, 80.0)

    run(row, main)


def test_leases_are_few() -> None:
    row, sent = Row(100_000.0), Sent()

    async def main(pacer: SharedPacer) -> None:
        await spend(pacer, 5.0, sent)

    run(row, main)
    assert row.leases <= 5 * 16


def test_a_worker_that_joins_has_its_part_soon_and_leaves_it_to_others() -> None:
    first, second = Sent(), Sent()

    async def main(*pacers: SharedPacer) -> None:
        async def later() -> None:
            await asyncio.sleep(10.0)
            await spend(pacers[1], 20.0, second)

        await asyncio.gather(spend(pacers[0], 30.0, first), later())

    run(Row(2000.0), main, 2)
    assert total(second, 11.0, 20.0) >= 0.4 * 2000 * 9
    assert total(first, 11.0, 20.0) >= 0.4 * 2000 * 9
    assert total(first, 21.0, 30.0) >= 0.98 * 2000 * 9


def test_a_slice_that_is_too_old_when_the_worker_wakes_is_void() -> None:
    row, slept_s, sent = Row(1000.0), 0.0, Sent()

    async def main(pacer: SharedPacer) -> None:
        nonlocal slept_s
        await spend(pacer, 5.0, sent)
        held = pacer._slices.held
        assert held > 0
        slept_s = 100.0
        leases = row.leases
        await pacer.acquire(pacer.batch_recipients)
        assert row.leases > leases, "it asked anew"
        assert pacer._slices.held < held
        await asyncio.sleep(3.0)
        assert row.since_read <= total(sent, 0.0, 5.0) + 50 + pacer._slices.held, (
            "what is void is given back to the day"
        )

    run(row, main, boot=lambda loop_s: loop_s + slept_s)


def test_an_answer_that_slept_on_the_way_is_void() -> None:
    row, slept_s = Row(14.0), 0.0

    class Sleepy(BucketInMemory):
        async def lease(self, order: Order, settings: PaceSettings, stale_after_s: float) -> Lease:
            nonlocal slept_s
            found = await super().lease(order, settings, stale_after_s)
            slept_s += 60.0 if row.leases == 1 else 0.0
            return found

    async def inside() -> None:
        pacer = SharedPacer(row.read, Sleepy(row), own_24_hours=row.own_sum, boot=lambda: now() + slept_s)
        async with pacer:
            await pacer.acquire(14)
            assert row.leases >= 2

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(inside())


def test_without_the_database_nothing_is_sent_and_it_goes_on_by_itself() -> None:
    row, sent, facts = Row(1000.0), Sent(), list[Fact]()

    async def main(pacer: SharedPacer) -> None:
        async def outage() -> None:
            await asyncio.sleep(5.0)
            row.broken = OSError("no route")
            await asyncio.sleep(60.0)
            pacer.throttled(now() - 60.0)
            pacer.give_back(1, 1)
            row.broken = None

        await asyncio.gather(spend(pacer, 80.0, sent), outage())
        assert row.standing.throttle.factor < 1.0, "what was said meanwhile is said afterwards"

    run(row, main, facts=facts)
    assert total(sent, 5.0 + AHEAD_S + LATE_S, 65.0) == 0
    assert total(sent, 68.0, 80.0) > 0
    assert [fact.reason for fact in facts if isinstance(fact, Waiting)] == [
        "the database does not answer; nothing is sent until it does",
        "",
    ]


def test_a_throttle_slows_everybody_once() -> None:
    facts: list[Fact] = []

    async def main(*pacers: SharedPacer) -> None:
        for pacer in pacers:
            await pacer.acquire(50)
        sent_s = now()
        await asyncio.sleep(0.2)
        for pacer in pacers:
            pacer.throttled(sent_s)
        await asyncio.sleep(0.1)
        for pacer in pacers:
            await pacer.acquire(10)
        assert [pacer.rate_per_s for pacer in pacers] == [500.0] * 3
        for _ in range(400):
            await asyncio.gather(*(pacer.acquire(50) for pacer in pacers))
        assert pacers[0].rate_per_s == 1000.0

    run(Row(1000.0), main, 3, facts=facts)
    whys = [fact.why for fact in facts if isinstance(fact, PaceChanged)]
    assert whys.count("throttled by SES") == 3
    assert "climbing back" in whys


def test_the_fleet_reads_the_quota_once_a_period() -> None:
    row, facts = Row(1000.0), list[Fact]()

    async def main(*_: SharedPacer) -> None:
        await asyncio.sleep(300.0)

    run(row, main, 4, facts=facts)
    assert 10 <= row.reads <= 11
    assert len([fact for fact in facts if isinstance(fact, QuotaRead)]) >= 36, "all of them know"


def test_a_stale_quota_stops_and_a_fresh_one_goes_on() -> None:
    row, facts = Row(100.0), list[Fact]()

    async def main(pacer: SharedPacer) -> None:
        row.down = True
        await asyncio.sleep(700.0)
        waiting = asyncio.create_task(pacer.acquire(1))
        await asyncio.sleep(100.0)
        assert not waiting.done()
        row.down = False
        await waiting

    run(row, main, facts=facts)
    waits = [fact.reason for fact in facts if isinstance(fact, Waiting)]
    assert "GetAccount has not answered" in waits[0]
    assert waits[-1] == ""


def test_the_day_is_kept_together_and_used_to_the_last() -> None:
    row, facts = Row(500.0, day=1040.0), list[Fact]()
    sent = row.book = [[], [], []]

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.gather(*(spend(pacer, 100.0, mine) for pacer, mine in zip(pacers, sent, strict=True)))

    settings = PaceSettings(daily_reserve=100)
    run(row, main, 3, settings=settings, facts=facts)
    together = sum(total(mine, 0.0, 100.0) for mine in sent)
    assert 940 - 3 * 50 <= together <= 940
    assert any(isinstance(fact, Waiting) and "24-hour quota is spent" in fact.reason for fact in facts)


def test_it_goes_on_when_a_minutes_worth_is_free() -> None:
    row, sent = Row(500.0, day=144_000.0, sent=144_000.0), Sent()
    row.book = [sent]

    async def main(pacer: SharedPacer) -> None:
        waiting = asyncio.create_task(spend(pacer, 400.0, sent))
        await asyncio.sleep(100.0)
        row.sent = 144_000.0 - 60.0
        await asyncio.sleep(100.0)
        assert sent == []
        row.sent = 144_000.0 - 100.0
        await waiting

    run(row, main)
    assert total(sent, 0.0, 400.0) == 100


def test_what_was_not_accepted_does_not_count_against_the_day() -> None:
    async def main(pacer: SharedPacer) -> None:
        for _ in range(10):
            batch = pacer.batch_recipients
            pacer.give_back(batch, await pacer.acquire(batch))
            await asyncio.sleep(2.0)
        assert now() < 60.0

    run(Row(100.0, day=100.0), main)


def test_what_was_acquired_before_a_reading_is_not_given_back_to_it() -> None:
    row = Row(1000.0, day=1000.0)

    async def main(pacer: SharedPacer) -> None:
        early = await pacer.acquire(50)
        row.sent = 900.0
        await asyncio.sleep(40.0)
        await pacer.acquire(50)
        used = row.standing.used_24_hours
        pacer.give_back(50, early)
        await asyncio.sleep(3.0)
        assert row.standing.used_24_hours == used

    run(row, main)


def test_a_day_that_ses_calls_spent_is_believed_by_all_until_the_quota_is_read_again() -> None:
    row = Row(100.0, day=1000.0)

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.gather(*(spend(pacer, 3.0, []) for pacer in pacers))
        await asyncio.sleep(0.1)
        assert pacers[0]._slices.held
        row.sent = 1000.0
        pacers[0].day_spent()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await pacers[0].acquire(pacers[0].batch_recipients)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600.0):
                await pacers[1].acquire(50)
        row.sent = 100.0
        await pacers[1].acquire(50)

    run(row, main, 2)


@pytest.mark.parametrize("change", ["enabled", "status", "day"])
def test_an_account_that_may_not_send_halts(change: str) -> None:
    row = Row(100.0)
    setattr(row, change, {"enabled": False, "status": "SHUTDOWN", "day": 0.0}[change])

    async def main(pacer: SharedPacer) -> None:
        with pytest.raises(HaltedError) as caught:
            await pacer.acquire(1)
        assert caught.value.halt.scope is HaltScope.ACCOUNT

    run(row, main)


def test_nothing_halts_by_an_old_answer_when_the_account_may_send_again() -> None:
    row = Row(10.0, enabled=False)

    async def main(pacer: SharedPacer) -> None:
        await asyncio.sleep(10.0)
        row.enabled = True
        await pacer.acquire(1)
        assert now() < 13.0, "it did not wait for the next reading"

    run(row, main)


def test_nothing_halts_by_what_was_said_just_before_it_was_asked() -> None:
    """Sending was enabled again, and the campaign resumed, within a second of GetAccount's answer."""
    row = Row(10.0, enabled=False)

    async def main(*pacers: SharedPacer) -> None:
        await asyncio.sleep(10.0)
        with pytest.raises(HaltedError):
            await pacers[0].acquire(1)
        await asyncio.sleep(0.1)
        row.enabled = True
        await asyncio.gather(*(pacer.acquire(1) for pacer in pacers))
        assert now() < 13.0

    run(row, main, 2)


def test_what_was_asked_for_before_does_not_halt_either_though_it_is_answered_afterwards() -> None:
    row = Row(10.0, enabled=False)

    async def main(pacer: SharedPacer) -> None:
        await asyncio.sleep(10.0)
        asked = asyncio.Event()

        async def slowly() -> AccountStatus:
            said = await row.read()
            asked.set()
            await asyncio.sleep(0.2)
            return said

        pacer._read_account = slowly
        await asked.wait()  # 30 s after the one before
        row.enabled = True
        await pacer.acquire(1)

    run(row, main)


def test_a_halt_is_by_one_more_reading_and_no_more() -> None:
    row = Row(10.0, enabled=False)

    async def main(pacer: SharedPacer) -> None:
        await asyncio.sleep(10.0)
        before = row.reads
        halted = await asyncio.gather(*(pacer.acquire(1) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in halted] == [HaltedError] * 3
        assert row.reads == before + 1, "it was asked for after all of them had come"
        row.down = True
        await asyncio.sleep(20.0)
        began_s = now()
        with pytest.raises(HaltedError):
            await pacer.acquire(1)
        assert now() - began_s <= 6.0, "no answer is awaited for ever"

    run(row, main)


def test_who_gives_up_waiting_waits_no_more() -> None:
    facts: list[Fact] = []

    async def main(pacer: SharedPacer) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60.0):
                await pacer.acquire(1)

    run(Row(10.0, day=5.0, sent=5.0), main, facts=facts)
    kinds = [fact.kind for fact in facts if isinstance(fact, Waiting)]
    assert kinds[0] is WaitKind.DAY_SPENT
    assert kinds[-1] is None


def test_calls_a_second_are_the_fleets() -> None:
    calls: list[float] = []

    async def main(*pacers: SharedPacer) -> None:
        async def each(pacer: SharedPacer, recipients: int) -> None:
            while now() < 20.0:
                await pacer.acquire(recipients)
                calls.append(now())

        await asyncio.gather(each(pacers[0], 50), each(pacers[1], 1))

    run(Row(5000.0), main, 2, settings=PaceSettings(max_calls_per_s=10.0))
    assert len(calls) == pytest.approx(200, abs=12)


def test_a_call_whose_recipients_were_let_through_needs_none() -> None:
    row = Row(14.0)

    async def main(pacer: SharedPacer) -> None:
        leases = row.leases
        await pacer.acquire(0)
        assert row.leases == leases

    run(row, main)


def test_a_cancelled_wait_leaves_all_in_order() -> None:
    row, sent = Row(14.0), Sent()

    async def main(pacer: SharedPacer) -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.gather(*(pacer.acquire(14) for _ in range(3)))
        await spend(pacer, 30.0, sent)

    run(row, main)
    assert total(sent, 5.0, 30.0) >= 0.95 * 14 * 25


def test_who_cannot_read_the_quota_does_not_begin_unless_another_has() -> None:
    row = Row(14.0, down=True)

    async def main(pacer: SharedPacer) -> None:
        await pacer.acquire(1)

    with pytest.raises(AccountError):
        run(row, main)
    row = Row(14.0)
    run(row, main)
    row.down = True
    row.standing = replace(row.standing, now=EPOCH, read_at=EPOCH - 100.0, given_until=0.0)
    run(row, main)


def test_what_cannot_be_mended_is_said() -> None:
    row = Row(14.0, broken=JournalError("no such table"))

    async def main(pacer: SharedPacer) -> None:
        raise AssertionError(pacer)

    with pytest.raises(JournalError, match="no such table"):
        run(row, main)
    row = Row(14.0)

    async def later(pacer: SharedPacer) -> None:
        await pacer.acquire(14)
        row.broken = JournalError("no such table")
        with pytest.raises(JournalError):
            await spend(pacer, 60.0, [])

    run(row, later)


def test_slices_are_spent_in_order_and_lost_by_the_batch() -> None:
    slices = Slices()
    slices.add(Slice(10.0, 100.0, 100.0, 1))
    slices.add(Slice(12.0, 50.0, 100.0, 2))
    assert (slices.held, slices.due_at(50.0), slices.due_at(120.0), slices.due_at(151.0)) == (150.0, 10.0, 12.0, None)
    assert slices.take(50.0) == 1
    assert slices.due_at(50.0) == 10.5
    assert slices.take(60.0) == 1
    assert slices.due_at(40.0) == 12.1
    assert slices.drop_late(12.1 + LATE_S, 10.0) == []
    assert slices.drop_late(12.1 + LATE_S + 0.05, 10.0) == [(10.0, 2)]
    assert slices.drop_late(100.0, 10.0) == [(30.0, 2)]
    assert slices.held == 0.0


def test_the_other_clock_is_known_as_well_as_it_was_ever_measured() -> None:
    clock = FarClock()
    clock.measure(10.0, 1000.002, 10.004)
    assert clock.here(1000.0) == pytest.approx(10.0)
    clock.measure(20.0, 1010.9, 21.0)
    assert clock.here(1000.0) == pytest.approx(10.0), "that was less exact"
    clock.measure(30.0, 1100.002, 30.004)
    assert clock.there(30.0) == pytest.approx(1100.0), "it was set"


def test_tickets_grow() -> None:
    tickets: list[int] = []

    async def main(pacer: SharedPacer) -> None:
        while now() < 100.0:
            tickets.append(await pacer.acquire(14))

    run(Row(14.0), main)
    assert all(one <= other for one, other in pairwise(tickets))
    assert tickets[-1] > tickets[0]
