"""Calls of the control plane that SES takes once a second, and more seldom where it says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bulksend.aws.client import refusal_code

__all__ = ["Seldom"]

MOST_TRIES = 8
LONGEST_WAIT_S = 60.0
_THROTTLED = ("TooManyRequestsException", "Throttling", "ThrottlingException")


class Seldom:
    """Spaces the calls of one client: `every_s` apart, and twice as long after each that came too often."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    async def ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """What the call answers. Raises what it raises: TooManyRequestsException after the eighth in a row."""
        wait_s = self._every_s
        for left in reversed(range(MOST_TRIES)):
            await asyncio.sleep(max(0.0, self._next_s - time.monotonic()))
            self._next_s = time.monotonic() + self._every_s
            try:
                return await call()
            except Exception as error:
                if refusal_code(error) not in _THROTTLED or left == 0:
                    raise
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
                self._next_s = time.monotonic() + wait_s
        raise AssertionError
