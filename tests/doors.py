"""A pacer that a test can read, and campaigns that send through it or through a real one, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bulksend.errors import HaltedError
from bulksend.model import AccountStatus, Halt
from bulksend.pacing import Lane, PaceSettings, QuotaPacer
from tests.clocks import JumpingLoop

BATCH = 50


def now() -> float:
    return asyncio.get_running_loop().time()


def jump(main: Callable[[], Awaitable[None]]) -> None:
    async def inside() -> None:
        await main()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(inside())


class Door:
    """A pacer that lets recipients through at a rate, and writes down what it did.

    With `tick_s` it lets several through at once whenever so many seconds have passed, without waiting between.
    """

    def __init__(self, rate_per_s: float = 500.0, tick_s: float = 0.0) -> None:
        self.rate_per_s = rate_per_s
        self.tick_s = tick_s
        self._left = 0.0
        self.batch_recipients = BATCH
        self.granted = self.returned = 0
        self.asked: list[int] = []
        self.halt: Halt | None = None
        self.heard: list[str] = []
        self.and_then: Callable[[], object] | None = None
        """Called once, in the event loop's next turn, before anybody can wake who is served in this one."""
        self._busy = asyncio.Lock()

    async def acquire(self, recipients: int) -> int:
        self.asked.append(recipients)
        assert not self._busy.locked(), "one at a time"
        async with self._busy:
            if self.halt is not None:
                raise HaltedError(self.halt)
            if not self.tick_s:
                await asyncio.sleep(recipients / self.rate_per_s)
            while self.tick_s and self._left < recipients:
                await asyncio.sleep(self.tick_s)
                self._left += self.tick_s * self.rate_per_s
            self._left -= recipients
        self.granted += recipients
        if self.and_then is not None:
            asyncio.get_running_loop().call_soon(self.and_then)
            self.and_then = None
        return len(self.asked)

    def give_back(self, recipients: int, ticket: int) -> None:
        assert 0 < ticket <= len(self.asked)
        self.returned += recipients

    def throttled(self, sent_at_s: float) -> None:
        self.heard.append(f"throttled {sent_at_s}")

    def day_spent(self) -> None:
        self.heard.append("day spent")


class Sender:
    """A campaign that always wants more, `batch()` at a time, back `away_s` after it was served."""

    def __init__(self, lane: Lane, batch: Callable[[], int] = lambda: BATCH, away_s: float = 0.0) -> None:
        self.lane, self.batch, self.away_s = lane, batch, away_s
        self.sent = 0
        self.grants: list[tuple[float, int]] = []

    async def send(self, until_s: float = float("inf")) -> None:
        while now() < until_s:
            recipients = self.batch()
            await self.lane.acquire(recipients)
            self.sent += recipients
            self.grants.append((now(), recipients))
            if self.away_s:
                await asyncio.sleep(self.away_s)

    def between(self, first_s: float, last_s: float) -> int:
        return sum(recipients for at, recipients in self.grants if first_s <= at < last_s)


async def for_a_time(seconds: float, *senders: Sender) -> None:
    """All of them, until the time is up."""
    tasks = [asyncio.create_task(sender.send()) for sender in senders]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def shares(senders: list[Sender]) -> list[float]:
    """What each got, over what it should have of all that was sent."""
    sent, weights = sum(sender.sent for sender in senders), sum(sender.lane.weight for sender in senders)
    return [sender.sent / (sent * sender.lane.weight / weights) for sender in senders]


def through_a_quota(
    rate_per_s: float,
    main: Callable[[QuotaPacer], Awaitable[None]],
    settings: PaceSettings | None = None,
    day: float | None = None,
) -> None:
    async def read() -> AccountStatus:
        return AccountStatus(rate_per_s, day, 0.0, True, True, "HEALTHY")  # noqa: FBT003

    async def inside() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        async with QuotaPacer(read, settings=settings, now=loop.now) as pacer:
            await main(pacer)

    jump(inside)
