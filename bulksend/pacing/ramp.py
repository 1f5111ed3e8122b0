"""A campaign's own pace in front of the account's: slowly at first, then faster, then as fast as the quota."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from bulksend.pacing.lanes import Gate
from bulksend.pacing.quota import burst_recipients, seconds_worth
from bulksend.safety import RampStep

__all__ = ["Ramp", "steps_left"]

LOOK_AGAIN_S = 1.0
"""How often whoever waits looks whether there are other workers by now, or another pace behind."""


def steps_left(steps: Sequence[RampStep], elapsed_s: float) -> tuple[RampStep, ...]:
    """What is left of a ramp so long after the campaign's first request; the first of them may have begun."""
    left, begins_s = [], 0.0
    for step in steps:
        ends_s = begins_s + step.for_s
        if ends_s > elapsed_s:
            left.append(RampStep(step.rate_per_s, ends_s - max(begins_s, elapsed_s)))
        begins_s = ends_s
    return tuple(left)


class Ramp:
    """Satisfies the engine's Pacer, in front of another.

    `began_at` is when the campaign's first request was made, by `now`, the store's clock (epoch seconds both); None if
    there was none: then it begins with the first that asks. Time in which nothing is sent counts like any other, and
    what it would have allowed is lost, but for a burst.
    """

    def __init__(
        self,
        pacer: Gate,
        steps: Sequence[RampStep],
        *,
        began_at: float | None = None,
        workers: int = 1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pacer = pacer
        self._steps = tuple(steps)
        self._began_at = began_at
        self._now = now
        self.workers = workers
        """How many processes share the pace of each step: this one takes its part."""
        self._turn = asyncio.Lock()
        self._allowed = 0.0
        """Recipients that may go at once; below 0 what has gone ahead of the curve, which is waited for."""
        self._reckoned_s: float | None = None
        """Up to when that was reckoned, in seconds since the first request."""

    @property
    def rate_per_s(self) -> float:
        """The present pace: its part of the present step's, and no more than the pacer's."""
        own = self._own_per_s(self._elapsed_s())
        return self._pacer.rate_per_s if own is None else min(own, self._pacer.rate_per_s)

    @property
    def batch_recipients(self) -> int:
        """A second's worth of the present pace, 1 to 50, and no more than the pacer says."""
        own = self._own_per_s(self._elapsed_s())
        behind = self._pacer.batch_recipients
        return behind if own is None else min(seconds_worth(own), behind)

    async def acquire(self, recipients: int) -> int:
        """Wait until the curve allows so many, then for the pacer; returns its ticket. Raises HaltedError."""
        async with self._turn:
            if self._began_at is None:
                self._began_at = self._now()
            while (wait_s := self._reckon()) > 0:  # noqa: ASYNC110  time is what is waited for
                await asyncio.sleep(wait_s)
            self._allowed -= recipients
        return await self._pacer.acquire(recipients)

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many were not accepted. Their part of the curve is spent all the same."""
        self._pacer.give_back(recipients, ticket)

    def throttled(self, sent_at_s: float) -> None:
        """The pacer slows."""
        self._pacer.throttled(sent_at_s)

    def day_spent(self) -> None:
        """The pacer waits."""
        self._pacer.day_spent()

    # ------------------------------------------------------------------------------------------------------------------

    def _elapsed_s(self) -> float:
        return 0.0 if self._began_at is None else max(0.0, self._now() - self._began_at)

    def _own_per_s(self, elapsed_s: float) -> float | None:
        """This process's part of the step's pace; None when the last step is over."""
        step = self._step_at(elapsed_s)
        return None if step is None else step[0].rate_per_s / max(1, self.workers)

    def _step_at(self, elapsed_s: float) -> tuple[RampStep, float] | None:
        """The step of that moment, and when it ends."""
        ends_s = 0.0
        for step in self._steps:
            ends_s += step.for_s
            if elapsed_s < ends_s:
                return step, ends_s
        return None

    def _reckon(self) -> float:
        """Add what the curve has allowed since the last time; how long to wait until something may go, 0 if it may."""
        now_s = self._elapsed_s()
        at_s = now_s if self._reckoned_s is None else min(self._reckoned_s, now_s)
        self._reckoned_s = now_s
        while (found := self._step_at(at_s)) is not None:
            step, ends_s = found
            per_s = step.rate_per_s / max(1, self.workers)
            until_s = min(ends_s, now_s)
            saved = burst_recipients(per_s) - seconds_worth(per_s)
            self._allowed = min(self._allowed + per_s * (until_s - at_s), saved)
            if until_s == now_s < ends_s:
                return 0.0 if self._allowed >= 0 else min(-self._allowed / per_s, ends_s - now_s, LOOK_AGAIN_S)
            at_s = until_s
        return 0.0
