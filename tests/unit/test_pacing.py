from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bulksend.errors import AccountError, HaltedError
from bulksend.facts import Fact, PaceChanged, QuotaRead, Waiting, WaitKind
from bulksend.model import AccountStatus, HaltScope
from bulksend.pacing import PaceSettings, QuotaPacer, SentWindow
from tests.clocks import EPOCH, JumpingLoop


class Quota:
    """GetAccount as a test wants it; counts what is sent as SES does."""

    def __init__(self, rate: float, day: float | None = None, sent: float = 0.0) -> None:
        self.rate, self.day, self.sent = rate, day, sent
        self.enabled, self.status, self.down = True, "HEALTHY", False
        self.reads = 0

    async def read(self) -> AccountStatus:
        self.reads += 1
        if self.down:
            raise AccountError("no answer")
        return AccountStatus(self.rate, self.day, self.sent, self.enabled, True, self.status)  # noqa: FBT003


def run(
    quota: Quota,
    main: Callable[[QuotaPacer], Awaitable[None]],
    settings: PaceSettings | None = None,
    facts: list[Fact] | None = None,
    sent: list[tuple[float, int]] | None = None,
) -> JumpingLoop:
    loop = JumpingLoop()

    async def inside() -> None:
        observe = (lambda _: None) if facts is None else facts.append
        async with QuotaPacer(quota.read, settings=settings, now=loop.now, observe=observe, sent=sent or ()) as pacer:
            await main(pacer)

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(inside())
    return loop


def now() -> float:
    return asyncio.get_running_loop().time()


async def spend(pacer: QuotaPacer, until_s: float, sent: list[tuple[float, int]]) -> None:
    while now() < until_s:
        batch = pacer.batch_recipients
        await pacer.acquire(batch)
        sent.append((now(), batch))


@pytest.mark.parametrize(("rate", "batch"), [(1.0, 1), (14.0, 14), (500.0, 50), (5000.0, 50)])
def test_the_whole_rate_is_used_and_never_exceeded(rate: float, batch: int) -> None:
    sent: list[tuple[float, int]] = []

    async def main(pacer: QuotaPacer) -> None:
        assert pacer.batch_recipients == batch
        await spend(pacer, 60.0, sent)

    run(Quota(rate), main)
    total = sum(n for at, n in sent if at <= 60.0)
    assert total >= 0.99 * rate * 59
    for start, _ in sent[:: max(1, len(sent) // 50)]:
        burst = max(batch, rate / 4)
        assert sum(n for at, n in sent if start <= at < start + 1.0) <= rate + burst + batch
    assert total <= rate * 60 + batch


def test_a_changed_quota_is_followed_within_one_refresh() -> None:
    quota, sent = Quota(400.0), list[tuple[float, int]]()

    async def main(pacer: QuotaPacer) -> None:
        await spend(pacer, 60.0, sent)
        quota.rate = 200.0
        await spend(pacer, 120.0, sent)

    run(quota, main)
    late = sum(n for at, n in sent if 91.0 <= at < 120.0)
    assert late == pytest.approx(200.0 * 29, rel=0.02)


def test_replacing_the_limiter_lets_no_more_through() -> None:
    quota, sent = Quota(100.0), list[tuple[float, int]]()

    async def main(pacer: QuotaPacer) -> None:
        for n in range(300):
            quota.rate = 100.0 + n % 2
            await asyncio.sleep(1.0 - now() % 1.0)
            await pacer.refresh()
            await pacer.acquire(50)
            sent.append((now(), 50))

    loop = run(quota, main)
    assert sum(n for _, n in sent) <= 101.0 * loop.time()


def test_a_throttle_halves_the_pace_once_per_flight_and_it_climbs_back() -> None:
    facts: list[Fact] = []

    async def main(pacer: QuotaPacer) -> None:
        await pacer.acquire(50)
        sent_at = now()
        await asyncio.sleep(1.0)
        pacer.throttled(sent_at)
        assert pacer.rate_per_s == 50.0
        pacer.throttled(sent_at)
        assert pacer.rate_per_s == 50.0, "it was sent before the cut"
        await asyncio.sleep(0.1)
        pacer.throttled(now())
        assert pacer.rate_per_s == 25.0
        for _ in range(400):
            await pacer.acquire(pacer.batch_recipients)
        assert pacer.rate_per_s == 100.0

    run(Quota(100.0), main, facts=facts)
    assert any(isinstance(f, PaceChanged) and f.why == "throttled by SES" for f in facts)


def test_the_pace_never_falls_below_a_fiftieth() -> None:
    async def main(pacer: QuotaPacer) -> None:
        for _ in range(20):
            await asyncio.sleep(0.001)
            pacer.throttled(now())
        assert pacer.rate_per_s == 2.0

    run(Quota(100.0), main)


def test_share_and_maximum() -> None:
    async def main(pacer: QuotaPacer) -> None:
        assert pacer.rate_per_s == 25.0

    run(Quota(100.0), main, PaceSettings(share=0.25))
    run(Quota(100.0), main, PaceSettings(max_recipients_per_s=25.0))


def test_calls_a_second() -> None:
    calls: list[float] = []

    async def main(pacer: QuotaPacer) -> None:
        while now() < 10.0:
            await pacer.acquire(50)
            calls.append(now())

    run(Quota(5000.0), main, PaceSettings(max_calls_per_s=4.0))
    assert len(calls) == pytest.approx(40, abs=2)


def test_the_day_is_waited_for_and_the_reserve_kept() -> None:
    quota, facts, sent = Quota(100.0, day=1000.0), list[Fact](), list[tuple[float, int]]()

    async def main(pacer: QuotaPacer) -> None:
        await spend(pacer, 86_400.0, sent)

    run(quota, main, PaceSettings(daily_reserve=100), facts)
    assert sum(n for at, n in sent if at < 86_400.0) == 900
    assert any(isinstance(f, Waiting) and "frees from 2027-01-16" in f.reason for f in facts)
    assert sent[-1][0] >= 86_400.0


def test_what_was_not_accepted_does_not_count_against_the_day() -> None:
    async def main(pacer: QuotaPacer) -> None:
        pacer.give_back(50, await pacer.acquire(50))
        await pacer.acquire(50)
        assert now() < 2.0

    run(Quota(100.0, day=50.0), main)


def test_what_others_send_counts_and_is_shown() -> None:
    quota, facts = Quota(100.0, day=1000.0, sent=980.0), list[Fact]()

    async def main(pacer: QuotaPacer) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await pacer.acquire(50)
        quota.sent = 500.0
        await pacer.acquire(50)

    run(quota, main, facts=facts)
    assert any(isinstance(f, QuotaRead) and f.foreign == 980.0 for f in facts)
    assert any(isinstance(f, Waiting) and "by others too" in f.reason for f in facts)


def test_what_the_journal_knows_counts() -> None:
    async def main(pacer: QuotaPacer) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await pacer.acquire(50)

    run(Quota(100.0, day=1000.0), main, sent=[(EPOCH, 960)])


def test_unlimited() -> None:
    async def main(pacer: QuotaPacer) -> None:
        for _ in range(100):
            await pacer.acquire(50)

    run(Quota(1e6, day=None, sent=1e9), main)


def test_a_stale_quota_stops_and_a_fresh_one_goes_on() -> None:
    quota, facts = Quota(100.0), list[Fact]()

    async def main(pacer: QuotaPacer) -> None:
        quota.down = True
        await asyncio.sleep(700.0)
        waiting = asyncio.create_task(pacer.acquire(1))
        await asyncio.sleep(100.0)
        assert not waiting.done()
        quota.down = False
        await waiting

    run(quota, main, facts=facts)
    waits = [f.reason for f in facts if isinstance(f, Waiting)]
    assert "GetAccount has not answered" in waits[0]
    assert waits[-1] == ""


@pytest.mark.parametrize("change", ["enabled", "status"])
def test_an_account_that_may_not_send_halts(change: str) -> None:
    quota = Quota(100.0)
    setattr(quota, change, {"enabled": False, "status": "SHUTDOWN"}[change])

    async def main(pacer: QuotaPacer) -> None:
        with pytest.raises(HaltedError) as caught:
            await pacer.acquire(1)
        assert caught.value.halt.scope is HaltScope.ACCOUNT

    run(quota, main)


def test_probation_still_sends() -> None:
    quota = Quota(100.0)
    quota.status = "PROBATION"

    async def main(pacer: QuotaPacer) -> None:
        await pacer.acquire(1)

    run(quota, main)


def test_getaccount_is_not_asked_more_than_once_a_second() -> None:
    quota = Quota(100.0)

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.gather(*(pacer.refresh() for _ in range(50)))

    run(quota, main)
    assert quota.reads == 1


def test_the_first_come_is_the_first_served() -> None:
    order: list[int] = []

    async def main(pacer: QuotaPacer) -> None:
        async def one(n: int, amount: int) -> None:
            await pacer.acquire(amount)
            order.append(n)

        await asyncio.gather(*(one(n, 50 if n % 2 else 1) for n in range(20)))

    run(Quota(100.0), main)
    assert order == list(range(20))


def test_the_window_rolls() -> None:
    window = SentWindow(86_400.0, [(0.0, 10), (60.0, 5)])
    window.expire(86_400.0)
    assert window.total == 15
    assert window.frees_at(1) == 60.0 + 86_400.0
    window.expire(86_400.0 + 61.0)
    assert window.total == 5
    assert window.frees_at(6) is None


class Bucket:
    """SES's, as far as is known: a second's worth, overdrawn by one call, then refusing until the debt is repaid."""

    def __init__(self, rate: float) -> None:
        self.rate, self.left, self.at_s = rate, rate, 0.0

    def refill(self) -> None:
        self.left = min(self.rate, self.left + (now() - self.at_s) * self.rate)
        self.at_s = now()

    def take(self, recipients: int) -> bool:
        self.refill()
        if self.left <= 0:
            return False
        self.left -= recipients
        return True

    def lose(self, recipients: float) -> None:
        self.refill()
        self.left -= recipients


@pytest.mark.parametrize("rate", [500.0, 5000.0])
def test_beside_a_sender_that_takes_a_third(rate: float) -> None:
    accepted, refused, requests, settled_s, end_s = 0, 0, 0, 20.0, 140.0

    async def main(pacer: QuotaPacer) -> None:
        nonlocal accepted, refused, requests
        bucket = Bucket(rate)

        async def other() -> None:
            while True:
                await asyncio.sleep(0.1)
                bucket.lose(rate / 30)

        async def request(recipients: int, sent_at: float) -> None:
            nonlocal accepted, refused, requests
            await asyncio.sleep(0.05)
            taken = bucket.take(recipients)
            await asyncio.sleep(0.05)
            if not taken:
                pacer.throttled(sent_at)
            if sent_at > settled_s:
                requests += 1
                refused += not taken
                accepted += recipients if taken else 0

        others = asyncio.create_task(other())
        async with asyncio.TaskGroup() as group:
            while now() < end_s:
                batch = pacer.batch_recipients
                await pacer.acquire(batch)
                group.create_task(request(batch, now()))
        others.cancel()

    run(Quota(rate), main)
    assert refused <= 0.01 * requests
    assert accepted >= 0.95 * rate * 2 / 3 * (end_s - settled_s)


def test_a_reserve_of_the_whole_day_halts_in_words() -> None:
    async def main(pacer: QuotaPacer) -> None:
        with pytest.raises(HaltedError, match=r"pacing\.daily_reserve"):
            await pacer.acquire(1)

    run(Quota(100.0, day=1000.0), main, PaceSettings(daily_reserve=1000))


def test_what_was_acquired_before_a_reading_is_not_given_back_to_it() -> None:
    quota = Quota(1000.0, day=1000.0)

    async def main(pacer: QuotaPacer) -> None:
        early = await pacer.acquire(50)
        await asyncio.sleep(40.0)
        quota.sent = 900.0
        await pacer.refresh()
        await pacer.acquire(50)
        pacer.give_back(50, early)
        await pacer.acquire(50)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await pacer.acquire(1)

    run(quota, main)


def test_taking_back_leaves_the_window_whole() -> None:
    window = SentWindow(86_400.0)
    window.add(600, 0.0)
    window.add(10, 600.0)
    window.take_back(600)
    assert window.total == 10
    window.expire(86_400.0 + 120.0)
    assert window.total == 0


def test_a_day_that_ses_calls_spent_is_believed_until_the_quota_is_read_again() -> None:
    quota = Quota(100.0, day=1000.0)

    async def main(pacer: QuotaPacer) -> None:
        await pacer.acquire(50)
        quota.sent = 1000.0
        pacer.day_spent()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600.0):
                await pacer.acquire(1)
        quota.sent = 100.0
        await pacer.acquire(1)

    run(quota, main)


def test_a_day_smaller_than_a_batch_is_used_to_the_last() -> None:
    sent: list[tuple[float, int]] = []
    facts: list[Fact] = []

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.wait_for(spend(pacer, 3600.0, sent), 7200.0)

    with pytest.raises(TimeoutError):
        run(Quota(500.0, day=40.0), main, facts=facts)
    assert sum(n for _, n in sent) == 40
    assert sent[-1][0] < 1.0
    assert any(isinstance(fact, Waiting) and "is spent" in fact.reason for fact in facts)


def test_a_day_of_nothing_halts_in_words() -> None:
    async def main(pacer: QuotaPacer) -> None:
        with pytest.raises(HaltedError, match="it may send nothing"):
            await pacer.acquire(1)

    run(Quota(14.0, day=0.0), main)


def test_what_is_given_back_while_the_quota_is_read_is_given_back_once() -> None:
    """SES counts 100 sent before, of which 50 were refused; its answer to the question that was under way says so."""
    quota = Quota(500.0, day=1000.0)

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.sleep(2.0)
        ticket = await pacer.acquire(50)
        await pacer.acquire(50)
        asked = asyncio.Event()

        async def slowly() -> AccountStatus:
            asked.set()
            await asyncio.sleep(1.0)
            return AccountStatus(500.0, 1000.0, 50.0, True, True, "HEALTHY")  # noqa: FBT003

        pacer._read_account = slowly
        reading = asyncio.create_task(pacer.refresh())
        await asked.wait()
        pacer.give_back(50, ticket)
        await reading
        await pacer.acquire(10)
        assert pacer._headroom() == 1000.0 - 50.0 - 10.0

    run(quota, main)


@pytest.mark.parametrize("why", ["day", "quota"])
def test_who_gives_up_waiting_waits_no_more(why: str) -> None:
    quota, facts = Quota(10.0, day=5.0 if why == "day" else None, sent=5.0 if why == "day" else 0.0), list[Fact]()

    async def main(pacer: QuotaPacer) -> None:
        if why == "quota":
            quota.down = True
            await asyncio.sleep(700.0)
        asked = asyncio.create_task(pacer.acquire(1))
        await asyncio.sleep(60.0)
        waits = [fact.kind for fact in facts if isinstance(fact, Waiting)]
        assert set(waits) == {WaitKind.DAY_SPENT if why == "day" else WaitKind.QUOTA_UNKNOWN}
        asked.cancel()
        await asyncio.wait({asked})

    run(quota, main, facts=facts)
    assert [fact.kind for fact in facts if isinstance(fact, Waiting)][-1] is None


def test_nothing_halts_by_an_old_answer_when_the_account_may_send_again() -> None:
    quota = Quota(10.0)
    quota.enabled = False

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.sleep(10.0)
        quota.enabled = True
        await pacer.acquire(1)
        assert now() < 12.0, "it did not wait for the next reading"
        quota.enabled, quota.down = False, True
        await asyncio.sleep(10.0)
        await pacer.acquire(1)

    run(quota, main)


def test_nothing_halts_by_what_was_said_just_before_it_was_asked() -> None:
    """Sending was enabled again, and the campaign resumed, within a second of GetAccount's answer."""
    quota = Quota(10.0)
    quota.enabled = False

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.sleep(10.0)
        with pytest.raises(HaltedError):
            await pacer.acquire(1)
        await asyncio.sleep(0.1)
        quota.enabled = True
        await pacer.acquire(1)
        assert now() < 12.0

    run(quota, main)


def test_what_was_asked_for_before_does_not_halt_either_though_it_is_answered_afterwards() -> None:
    quota = Quota(10.0)
    quota.enabled = False

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.sleep(10.0)
        asked = asyncio.Event()

        async def slowly() -> AccountStatus:
            said = await quota.read()
            asked.set()
            await asyncio.sleep(0.2)
            return said

        pacer._read_account = slowly
        reading = asyncio.create_task(pacer.refresh())
        await asked.wait()
        quota.enabled = True
        await pacer.acquire(1)
        await reading

    run(quota, main)


def test_who_has_waited_long_does_not_halt_by_what_was_said_meanwhile() -> None:
    quota = Quota(10.0)

    async def main(pacer: QuotaPacer) -> None:
        both = asyncio.gather(pacer.acquire(200), pacer.acquire(1))
        await asyncio.sleep(5.0)
        quota.enabled = False
        await pacer.refresh()
        quota.enabled = True
        await both

    run(quota, main)


def test_a_halt_is_by_one_more_reading_and_no_more() -> None:
    quota = Quota(10.0)
    quota.enabled = False

    async def main(pacer: QuotaPacer) -> None:
        await asyncio.sleep(10.0)
        before = quota.reads
        halted = await asyncio.gather(*(pacer.acquire(1) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in halted] == [HaltedError] * 3
        assert quota.reads == before + 1, "it was asked for after all of them had come"
        quota.down = True
        await asyncio.sleep(20.0)
        began_s = now()
        with pytest.raises(HaltedError):
            await pacer.acquire(1)
        assert now() - began_s <= 1.0, "no answer is awaited for ever"

    run(quota, main)
