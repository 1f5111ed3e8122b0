"""Campaigns that share a pacer: what a wait that ends early leaves behind, and what the pacer sees of them."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.engine.ports import Pacer
from bulksend.errors import HaltedError
from bulksend.model import Halt
from bulksend.pacing import Lane, Lanes, PaceSettings, QuotaPacer
from tests.doors import BATCH, Door, Sender, for_a_time, jump, shares, through_a_quota

# Waits that end early


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_cancelled_wait_leaves_no_trace(place: int) -> None:
    """The first leads, the others wait; whichever goes, the rest are served in their order and the sums agree."""

    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        lane, order = lanes.open(1.0), list[int]()
        opened = [lanes.open(1.0) for _ in range(3)]

        async def wait(number: int) -> None:
            await opened[number].acquire(10)
            order.append(number)

        tasks = [asyncio.create_task(wait(number)) for number in range(3)]
        await asyncio.sleep(0.5)
        was = opened[place].virtual
        tasks[place].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert opened[place].virtual == was
        assert order == [number for number in range(3) if number != place]
        assert door.granted - door.returned == 20
        await lane.acquire(10)
        assert door.granted - door.returned == 30, "nothing was left in hand, and nobody leads who is gone"

    jump(main)


def test_a_turn_that_comes_with_the_cancellation_goes_back() -> None:
    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        one, other = lanes.open(1.0), lanes.open(1.0)
        first = asyncio.create_task(one.acquire(10))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(other.acquire(10))
        await asyncio.sleep(0.1)
        other.virtual = -100.0  # it is far behind: the leader serves it before itself
        door.and_then = second.cancel
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        assert other.virtual == -100.0
        assert (door.granted, door.returned) == (20, 10)
        await other.acquire(10)

    jump(main)


def test_a_lead_that_comes_with_the_cancellation_goes_on() -> None:
    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        tasks = []
        for _ in range(3):
            tasks.append(asyncio.create_task(lanes.open(1.0).acquire(10)))
            await asyncio.sleep(0.1)
        door.and_then = tasks[1].cancel
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(outcome, int) for outcome in outcomes] == [True, False, True]

    jump(main)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_order_of_cancellations_leaves_the_lanes_whole(dice: random.Random) -> None:
    async def main() -> None:
        door = Door(100.0)
        lanes, granted = Lanes(door), 0
        opened = [lanes.open(dice.choice([0.5, 1.0, 7.0])) for _ in range(4)]

        async def wait(lane: Lane, recipients: int) -> None:
            nonlocal granted
            await lane.acquire(recipients)
            granted += recipients

        tasks: list[asyncio.Task[None]] = []
        for _ in range(60):
            match dice.randrange(4):
                case 0 if tasks:
                    dice.choice(tasks).cancel()
                case 1:
                    await asyncio.sleep(dice.choice([0.0, 0.0, 0.05, 0.2]))
                case _:
                    tasks.append(asyncio.create_task(wait(dice.choice(opened), dice.randint(1, 20))))
        await asyncio.gather(*tasks, return_exceptions=True)
        assert door.granted - door.returned == granted
        assert not lanes._turns.led
        assert lanes._turns.waiting == []

    jump(main)


def test_a_halt_reaches_whoever_asks_and_the_others_ask_for_themselves() -> None:
    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        tasks = [asyncio.create_task(lanes.open(1.0).acquire(10)) for _ in range(3)]
        await asyncio.sleep(0.5)
        door.halt = Halt("disabled", "enable it")
        served, *halted = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(served, int)
        assert [type(outcome) for outcome in halted] == [HaltedError, HaltedError]
        assert halted[0] is not halted[1]
        door.halt = None
        await lanes.open(1.0).acquire(10)

    jump(main)


def test_what_a_halt_leaves_in_hand_goes_back_to_the_day() -> None:
    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        one, other = lanes.open(1.0), lanes.open(1.0)
        await one.acquire(1)
        tasks = [asyncio.create_task(one.acquire(10))]
        await asyncio.sleep(0.5)
        tasks.append(asyncio.create_task(other.acquire(30)))
        door.halt = Halt("disabled", "enable it")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [HaltedError, HaltedError]
        assert (door.granted, door.returned) == (11, 10)

    jump(main)


def test_a_halt_that_is_over_is_not_everybody_s() -> None:
    async def main() -> None:
        door = Door(10.0)
        lanes = Lanes(door)
        door.halt = Halt("disabled", "enable it")
        one, other = lanes.open(1.0), lanes.open(1.0)

        async def ask() -> int:
            try:
                return await one.acquire(10)
            finally:
                door.halt = None

        outcomes = await asyncio.gather(ask(), other.acquire(10), return_exceptions=True)
        assert isinstance(outcomes[0], HaltedError)
        assert isinstance(outcomes[1], int)

    jump(main)


# The pacer behind


def test_the_pacer_hears_what_the_lanes_hear() -> None:
    async def main() -> None:
        door = Door()
        lane: Pacer = Lanes(door).open()
        ticket = await lane.acquire(20)
        lane.give_back(5, ticket)
        lane.throttled(3.0)
        lane.day_spent()
        assert door.returned == 5
        assert door.heard == ["throttled 3.0", "day spent"]
        assert (lane.rate_per_s, lane.batch_recipients) == (500.0, BATCH)

    jump(main)


def test_a_limit_of_calls_holds_for_batches_of_any_size() -> None:
    """Those with small batches are back, and further behind, when what the large one needs has been let through."""

    async def main(pacer: QuotaPacer) -> None:
        lanes = Lanes(pacer)
        small = [Sender(lanes.open(4.0), lambda: 1, away_s=0.6) for _ in range(5)]
        large = Sender(lanes.open(1.0))
        await for_a_time(60.0, *small, large)
        calls = sum(len(sender.grants) for sender in (*small, large))
        assert 10 * 60 * 0.9 <= calls <= 10 * 60 + 2

    through_a_quota(5000.0, main, PaceSettings(max_calls_per_s=10.0))


def test_the_day_is_shared_like_the_second_and_used_to_the_last() -> None:
    async def main(pacer: QuotaPacer) -> None:
        lanes = Lanes(pacer)
        senders = [Sender(lanes.open(weight), lambda: pacer.batch_recipients) for weight in (1.0, 3.0)]
        await for_a_time(3600.0, *senders)
        assert sum(sender.sent for sender in senders) == pytest.approx(4000, abs=BATCH)
        assert shares(senders) == pytest.approx([1.0, 1.0], rel=0.07)

    through_a_quota(500.0, main, day=4000.0)
