"""Calls of the control plane that SES takes once a second, and more seldom where it says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from bulksend.aws.client import AwsAccess, explained, open_client, refusal_code

__all__ = ["Seldom", "SeldomClient"]

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


class SeldomClient:
    """A client whose calls are `every_s` apart: those of one part of SES. An asynchronous context manager.

    Raises:
        AccountError: at entry, there are no credentials, or no such profile.
        ConfigError: at entry, no region is set anywhere.
    """

    def __init__(self, access: AwsAccess, every_s: float) -> None:
        self._access = access
        self._clients = AsyncExitStack()
        self._client: Any = None
        self._seldom = Seldom(every_s)

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._clients.enter_async_context(open_client(self._access, retrying=False))
        except Exception as error:
            raise explained(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()
