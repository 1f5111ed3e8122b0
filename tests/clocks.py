"""Event loops whose time is the test's: the same code, the same sockets, but a minute passes in a moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable

EPOCH = 1_800_000_000.0
NO_DEADLINE_S = float("inf")
MOMENT_S = 1e-6
"""What every turn of a jumping loop takes.

A clock that stood still could not tell a timer's rounding error from its time.
"""


class _ScaledSelector(selectors.DefaultSelector):
    speed = 1.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(None if timeout is None else timeout / self.speed)


class ScaledLoop(asyncio.SelectorEventLoop):
    """Runs `speed` times as fast as the world."""

    def __init__(self, speed: float) -> None:
        selector = _ScaledSelector()
        selector.speed = speed
        self._speed = speed
        self._began = super().time()
        super().__init__(selector)

    def time(self) -> float:
        return (super().time() - self._began) * self._speed

    def now(self) -> float:
        """The wall clock that goes with it, in epoch seconds."""
        return EPOCH + self.time()


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait for timers: it says how long nobody had anything to do."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self.busy: Callable[[], bool] = lambda: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and self.busy()):
            return super().select(timeout)
        ready = super().select(0)
        self.skipped_s += MOMENT_S if ready else max(timeout, MOMENT_S)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer whenever nothing else is going on.

    While `busy` (set by the test) says that a thread is at work for somebody, time stands still.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped_s

    def now(self) -> float:
        """The wall clock that goes with it, in epoch seconds."""
        return EPOCH + self.time()

    def stand_still_while(self, busy: Callable[[], bool]) -> None:
        self._jumping.busy = busy
