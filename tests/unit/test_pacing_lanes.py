"""Campaigns that share a pacer: what each gets, whatever it asks for, and whenever it comes and goes."""

from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.pacing import Lane, Lanes, QuotaPacer
from tests.doors import BATCH, Door, Sender, for_a_time, jump, now, shares, through_a_quota

# Shares


@pytest.mark.parametrize("away_s", [0.0, 0.003])
@pytest.mark.parametrize("rate_per_s", [500.0, 5000.0])
def test_three_campaigns_share_a_minute_by_their_weights(rate_per_s: float, away_s: float) -> None:
    async def main(pacer: QuotaPacer) -> None:
        lanes = Lanes(pacer)
        senders = [Sender(lanes.open(weight), lambda: pacer.batch_recipients, away_s) for weight in (1.0, 2.0, 4.0)]
        await for_a_time(60.0, *senders)
        assert sum(sender.sent for sender in senders) >= 0.99 * rate_per_s * 59
        assert shares(senders) == pytest.approx([1.0, 1.0, 1.0], rel=0.015)

    through_a_quota(rate_per_s, main)


def test_at_fourteen_a_second_nobody_is_a_batch_from_his_share() -> None:
    async def main(pacer: QuotaPacer) -> None:
        assert pacer.batch_recipients == 14
        lanes = Lanes(pacer)
        senders = [Sender(lanes.open(weight), lambda: pacer.batch_recipients) for weight in (1.0, 2.0, 4.0)]
        await for_a_time(60.0, *senders)
        sent = sum(sender.sent for sender in senders)
        assert sent >= 14 * 58
        for sender in senders:
            assert abs(sender.sent - sent * sender.lane.weight / 7) < 14
        await for_a_time(600.0, *senders)
        assert shares(senders) == pytest.approx([1.0, 1.0, 1.0], rel=0.012)

    through_a_quota(14.0, main)


@pytest.mark.parametrize("rate_per_s", [14.0, 500.0])
def test_batches_of_any_size_change_nothing(rate_per_s: float) -> None:
    async def main(pacer: QuotaPacer) -> None:
        dice, lanes, most = random.Random(7), Lanes(pacer), pacer.batch_recipients
        small = Sender(lanes.open(4.0), lambda: 1)
        large = Sender(lanes.open(1.0), lambda: most)
        mixed = Sender(lanes.open(2.0), lambda: dice.randint(1, most))
        await for_a_time(60.0, small, large, mixed)
        sent = small.sent + large.sent + mixed.sent
        assert sent >= 0.99 * rate_per_s * 59
        for sender in (small, large, mixed):
            assert abs(sender.sent - sent * sender.lane.weight / 7) <= max(most, 0.01 * sent * sender.lane.weight / 7)

    through_a_quota(rate_per_s, main)


backlogs = st.lists(
    st.tuples(st.floats(0.01, 100.0), st.lists(st.integers(1, BATCH), min_size=1, max_size=5)), min_size=1, max_size=6
)


@settings(max_examples=50, deadline=None)
@given(backlogs, st.sampled_from([(14.0, 0.0), (500.0, 0.0), (5000.0, 0.1), (1e6, 0.0), (1e6, 0.001)]))
def test_while_all_want_more_nobody_is_two_batches_from_the_others(
    backlogs: list[tuple[float, list[int]]], pace: tuple[float, float]
) -> None:
    async def main() -> None:
        door = Door(*pace)
        lanes, senders = Lanes(door), list[Sender]()

        def check() -> None:
            for one in senders:
                for other in senders:
                    apart = one.sent / one.lane.weight - other.sent / other.lane.weight
                    assert abs(apart) <= BATCH / one.lane.weight + BATCH / other.lane.weight + 1e-6

        async def send(sender: Sender, sizes: list[int], turns: int) -> None:
            for turn in range(turns):
                recipients = sizes[turn % len(sizes)]
                await sender.lane.acquire(recipients)
                sender.sent += recipients
                check()
            # The others are not behind any more: that was all.
            for task in tasks:
                task.cancel()

        senders += [Sender(lanes.open(weight)) for weight, _ in backlogs]
        tasks = [
            asyncio.create_task(send(sender, sizes, 100)) for sender, (_, sizes) in zip(senders, backlogs, strict=True)
        ]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [error for error in outcomes if isinstance(error, AssertionError)] == []
        assert sum(sender.sent for sender in senders) <= door.granted - door.returned
        assert door.granted - door.returned - sum(sender.sent for sender in senders) <= BATCH * len(senders)

    jump(main)


def test_all_that_the_pacer_granted_was_granted_to_somebody() -> None:
    async def main() -> None:
        door, dice = Door(), random.Random(3)
        lanes = Lanes(door)
        senders = [Sender(lanes.open(weight), lambda: dice.randint(1, BATCH)) for weight in (0.5, 1.0, 30.0)]
        await asyncio.gather(*(sender.send(60.0) for sender in senders))
        assert sum(sender.sent for sender in senders) == door.granted
        assert door.returned == 0

    jump(main)


def test_a_small_weight_goes_on_beside_a_large_one() -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        light, heavy = Sender(lanes.open(0.5)), Sender(lanes.open(500.0))
        await for_a_time(1200.0, light, heavy)
        assert shares([light, heavy]) == pytest.approx([1.0, 1.0], rel=0.1)

    jump(main)


@pytest.mark.parametrize("weight", [5e-324, 1e-30, 1e-9, 1e300])
def test_a_weight_out_of_all_measure_takes_nothing_from_the_others(weight: float) -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        odd = Sender(lanes.open(weight))
        await for_a_time(60.0, odd)
        assert odd.sent >= 500 * 59, "alone it has everything"
        senders = [Sender(lanes.open(weight)) for weight in (1000.0, 2000.0)]
        await for_a_time(60.0, *senders)
        assert shares(senders) == pytest.approx([1.0, 1.0], rel=0.01)
        both = [Sender(senders[0].lane), Sender(senders[1].lane)]
        await for_a_time(60.0, odd, *both)
        assert math.isfinite(odd.lane.virtual)
        if weight < 1:
            assert shares(both) == pytest.approx([1.0, 1.0], rel=0.01)

    jump(main)


def test_shares_hold_after_any_amount_of_mail() -> None:
    async def main() -> None:
        door = Door(1e6)
        lanes = Lanes(door)
        lone = Sender(lanes.open(1e-6))
        await for_a_time(1.0, lone)
        senders = [Sender(lanes.open(weight)) for weight in (1000.0, 500.0)]
        await for_a_time(1.0, *senders)
        assert shares(senders) == pytest.approx([1.0, 1.0], rel=0.01)

    jump(main)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_is_a_number_above_0(weight: float) -> None:
    lanes = Lanes(Door())
    with pytest.raises(ValueError, match="must be a number greater than 0"):
        lanes.open(weight)
    lane = lanes.open(2.0)
    with pytest.raises(ValueError, match="must be a number greater than 0"):
        lane.weight = weight
    assert lane.weight == 2.0


def test_a_weight_may_change_while_sending() -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        one, other = Sender(lanes.open(1.0)), Sender(lanes.open(1.0))
        running = asyncio.create_task(for_a_time(120.0, one, other))
        await asyncio.sleep(60.0)
        one.lane.weight = 4.0
        await running
        assert one.between(0.0, 60.0) == pytest.approx(15_000, abs=100)
        assert one.between(60.0, 120.0) == pytest.approx(24_000, abs=150)
        assert other.between(60.0, 120.0) == pytest.approx(6_000, abs=150)

    jump(main)


# Coming and going


def test_what_one_does_not_use_the_others_get_at_once() -> None:
    async def main(pacer: QuotaPacer) -> None:
        lanes = Lanes(pacer)
        steady, guest = Sender(lanes.open(1.0)), Sender(lanes.open(3.0))
        running = asyncio.create_task(steady.send(60.0))
        for second in range(0, 60, 10):
            await asyncio.sleep(second + 5.0 - now())
            await guest.send(second + 10.0)
        await running
        total = steady.sent + guest.sent
        assert total >= 0.99 * 500.0 * 59.5
        for second in range(10, 60, 10):
            alone, beside = steady.between(second, second + 5), steady.between(second + 5, second + 10)
            assert alone == pytest.approx(2500, abs=100)
            assert beside == pytest.approx(625, abs=150)

    through_a_quota(500.0, main)


def test_a_latecomer_begins_where_the_others_are() -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        early = Sender(lanes.open(1.0))
        running = asyncio.create_task(early.send(60.0))
        await asyncio.sleep(30.0)
        late = Sender(lanes.open(1.0))
        await late.send(60.0)
        await running
        assert early.between(30.0, 60.0) == pytest.approx(7500, abs=100)
        assert late.sent == pytest.approx(7500, abs=100)
        assert late.between(30.0, 31.0) <= 300

    jump(main)


def test_idleness_saves_up_a_moment_and_no_more() -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        idler, steady = Sender(lanes.open(1.0)), Sender(lanes.open(1.0))
        await idler.send(1.0)
        running = asyncio.create_task(steady.send(3700.0))
        await asyncio.sleep(3600.0)
        back_s = now()
        await idler.send(3700.0)
        await running
        assert idler.between(back_s, back_s + 1.0) <= 500 * (0.25 + 0.75 / 2) + BATCH
        assert steady.between(back_s, back_s + 10.0) >= 500 * 9.75 / 2 - 2 * BATCH

    jump(main)


def test_who_is_late_now_and_then_loses_nothing() -> None:
    """In the 20 ms that this one is away now and then, the other has the turns of both."""

    async def main() -> None:
        lanes = Lanes(Door(100_000.0))
        late, other = Sender(lanes.open(1.0)), Sender(lanes.open(1.0))

        async def send() -> None:
            for _ in range(100):
                for _ in range(40):
                    await late.lane.acquire(BATCH)
                    late.sent += BATCH
                await asyncio.sleep(0.02)

        running = asyncio.create_task(other.send())
        await send()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert shares([late, other]) == pytest.approx([1.0, 1.0], rel=0.02)

    jump(main)


def test_a_lone_lane_asks_for_what_it_was_asked_for() -> None:
    async def main() -> None:
        door = Door()
        lane = Lanes(door).open(0.1)
        for recipients in (50, 1, 14):
            await lane.acquire(recipients)
        assert door.asked == [50, 1, 14]

    jump(main)


def test_within_a_lane_and_among_equals_the_first_come_is_the_first_served() -> None:
    order: list[str] = []

    async def main() -> None:
        lanes = Lanes(Door())
        one, other = lanes.open(1.0), lanes.open(1.0)

        async def wait(name: str, lane: Lane) -> None:
            await lane.acquire(10)
            order.append(name)

        await asyncio.gather(
            wait("a1", one), wait("b1", other), wait("b2", other), wait("a2", one), wait("b3", other), wait("a3", one)
        )

    jump(main)
    assert order == ["a1", "b1", "b2", "a2", "b3", "a3"]


def test_a_lane_that_was_closed_leaves_its_share_to_the_others() -> None:
    async def main() -> None:
        lanes = Lanes(Door())
        one, other = Sender(lanes.open(1.0)), Sender(lanes.open(1.0))
        await for_a_time(10.0, one, other)
        one.lane.close()
        before = other.sent
        await for_a_time(10.0, other)
        assert other.sent - before >= 500 * 10 - 2 * BATCH

    jump(main)
