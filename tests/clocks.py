"""Event loops whose time is the test's: the same code, the same sockets, but a minute passes in a moment."""

from __future__ import annotations

import asyncio
import selectors

EPOCH = 1_800_000_000.0
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
    """Waits a moment of real time for sockets and threads; then says how long nobody had anything to do."""

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self._patience_s = patience_s
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        ready = super().select(min(timeout, self._patience_s))
        self.skipped_s += MOMENT_S if ready else max(timeout, MOMENT_S)
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """Jumps to the next timer whenever nothing else is going on; time stands still while something is."""

    def __init__(self, patience_s: float = 0.0) -> None:
        self._jumping = _JumpingSelector(patience_s)
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.skipped_s

    def now(self) -> float:
        """The wall clock that goes with it, in epoch seconds."""
        return EPOCH + self.time()
