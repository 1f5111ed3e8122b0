from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bulksend.pacing import Ramp, burst_recipients, seconds_worth
from bulksend.safety import RampStep
from tests.clocks import EPOCH, JumpingLoop

RISING = (RampStep(5.0, 100.0), RampStep(50.0, 600.0), RampStep(500.0, 600.0))
CURVE = (RampStep(50.0, 600.0), RampStep(500.0, 600.0), RampStep(5.0, 100.0))


class Behind:
    """The pacer that a ramp stands in front of: as fast as a test likes."""

    def __init__(self, rate_per_s: float = 1e9, batch_recipients: int = 50) -> None:
        self.rate_per_s = rate_per_s
        self.batch_recipients = batch_recipients
        self.given_back: list[tuple[int, int]] = []
        self.throttles: list[float] = []
        self.days = 0

    async def acquire(self, recipients: int) -> int:
        await asyncio.sleep(recipients / self.rate_per_s)
        return 7

    def give_back(self, recipients: int, ticket: int) -> None:
        self.given_back.append((recipients, ticket))

    def throttled(self, sent_at_s: float) -> None:
        self.throttles.append(sent_at_s)

    def day_spent(self) -> None:
        self.days += 1


def now_s() -> float:
    return asyncio.get_running_loop().time()


def run(main: Callable[[JumpingLoop], Awaitable[None]]) -> None:
    loop = JumpingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_of(main(loop)))


async def _of(main: Awaitable[None]) -> None:
    await main


async def spend(ramp: Ramp, until_s: float, sent: list[tuple[float, int]], batch: int | None = None) -> None:
    while now_s() < until_s:
        recipients = batch or ramp.batch_recipients
        await ramp.acquire(recipients)
        sent.append((now_s(), recipients))


def between(sent: list[tuple[float, int]], first_s: float, last_s: float) -> int:
    return sum(recipients for at_s, recipients in sent if first_s <= at_s < last_s)


def keeps_below(sent: list[tuple[float, int]], rate_per_s: float) -> bool:
    """In no stretch of time more than its part of the pace and a burst."""
    saved = 0.0
    before_s = sent[0][0]
    for at_s, recipients in sent:
        saved = max(0.0, saved - (at_s - before_s) * rate_per_s) + recipients
        before_s = at_s
        if saved > burst_recipients(rate_per_s) + 1e-3:
            return False
    return True


@pytest.mark.parametrize("workers", [1, 4])
def test_it_follows_its_curve(workers: int) -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(rate_per_s=50_000.0), RISING, workers=workers, now=loop.now)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 1301.0, sent)
        for first_s, last_s, rate_per_s in ((0, 100, 5.0), (100, 700, 50.0), (700, 1300, 500.0)):
            part = rate_per_s / workers
            wanted = part * (last_s - first_s)
            got = between(sent, first_s, last_s)
            assert abs(got - wanted) <= max(0.02 * wanted, seconds_worth(part))
            assert keeps_below([one for one in sent if first_s <= one[0] < last_s], part)
        assert between(sent, 1300, 1301) > 10_000  # then as fast as the quota

    run(main)


def test_its_pace_and_batches_are_those_of_the_step() -> None:
    async def main(loop: JumpingLoop) -> None:
        behind = Behind(rate_per_s=300.0)
        ramp = Ramp(behind, CURVE, began_at=EPOCH, now=loop.now)
        seen = []
        for at_s in (0, 601, 1201, 1301):
            await asyncio.sleep(at_s - now_s())
            seen.append((ramp.rate_per_s, ramp.batch_recipients))
        assert seen == [(50.0, 50), (300.0, 50), (5.0, 5), (300.0, 50)]
        behind.batch_recipients = 3
        assert ramp.batch_recipients == 3
        ramp.workers = 10
        assert ramp.rate_per_s == 300.0  # the ramp is over

    run(main)


def test_a_restart_goes_on_along_the_curve() -> None:
    """It neither begins anew nor makes up for the time in which nothing was sent."""

    async def main(loop: JumpingLoop) -> None:
        sent: list[tuple[float, int]] = []
        await asyncio.sleep(590.0)
        await spend(Ramp(Behind(), CURVE, began_at=EPOCH, now=loop.now), 610.0, sent)
        assert between(sent, 590, 600) == pytest.approx(500, abs=51)
        assert between(sent, 600, 610) == pytest.approx(5000, abs=51)

    run(main)


def test_it_begins_with_the_first_that_asks() -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(), (RampStep(10.0, 60.0),), now=loop.now)
        await asyncio.sleep(1000.0)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 1059.0, sent)
        assert between(sent, 1000, 1060) == pytest.approx(600, abs=12)

    run(main)


def test_time_unused_is_lost_but_for_a_burst() -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(), (RampStep(100.0, 3600.0),), began_at=EPOCH, now=loop.now)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 10.0, sent, batch=10)
        await asyncio.sleep(100.0)
        await spend(ramp, 120.0, sent, batch=10)
        assert between(sent, 110, 120) <= 1000 + burst_recipients(100.0)
        assert keeps_below(sent, 100.0)

    run(main)


def test_a_slower_pacer_behind_it_is_not_made_up_for() -> None:
    async def main(loop: JumpingLoop) -> None:
        behind = Behind(rate_per_s=20.0)
        ramp = Ramp(behind, (RampStep(100.0, 3600.0),), began_at=EPOCH, now=loop.now)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 100.0, sent, batch=10)
        assert between(sent, 0, 100) == pytest.approx(2000, abs=20)
        behind.rate_per_s = 1e9
        await spend(ramp, 110.0, sent, batch=10)
        assert between(sent, 100, 110) <= 1000 + burst_recipients(100.0)

    run(main)


def test_a_step_of_less_than_a_mail_a_second_sends_the_first_at_once() -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(), (RampStep(1 / 60, 3600.0),), now=loop.now)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 3500.0, sent)
        assert sent[0][0] < 0.01
        assert len(sent) == 60
        assert ramp.batch_recipients == 1

    run(main)


def test_more_workers_share_it_from_then_on() -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(), (RampStep(100.0, 3600.0),), now=loop.now)
        sent: list[tuple[float, int]] = []
        await spend(ramp, 100.0, sent, batch=10)
        ramp.workers = 4
        await spend(ramp, 200.0, sent, batch=10)
        assert between(sent, 0, 100) == pytest.approx(10_000, rel=0.02)
        assert between(sent, 100, 200) == pytest.approx(2500, rel=0.02)

    run(main)


def test_whoever_waits_may_be_cancelled() -> None:
    async def main(loop: JumpingLoop) -> None:
        ramp = Ramp(Behind(), (RampStep(1.0, 3600.0),), now=loop.now)
        await ramp.acquire(50)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10.0):
                await ramp.acquire(1)
        await ramp.acquire(1)
        assert now_s() == pytest.approx(50.0, abs=0.1)

    run(main)


def test_all_else_is_the_pacers() -> None:
    async def main(loop: JumpingLoop) -> None:
        behind = Behind()
        ramp = Ramp(behind, CURVE, now=loop.now)
        assert await ramp.acquire(5) == 7
        ramp.give_back(3, 7)
        ramp.throttled(1.5)
        ramp.day_spent()
        assert (behind.given_back, behind.throttles, behind.days) == ([(3, 7)], [1.5], 1)

    run(main)
