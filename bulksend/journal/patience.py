"""Waiting for a store that is away: nothing is sent before it has been asked, and it may come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from bulksend.errors import JournalError

__all__ = ["patiently"]

T = TypeVar("T")

AGAIN_S = 1.0
MOST_TRIES = 60
"""Of what is no outage, and may pass all the same."""


async def patiently(ask: Callable[[], T], tell: Callable[[JournalError], None] = lambda _: None) -> T:
    """What it answers, asked in a thread; again and again until it does, or until this is cancelled.

    An outage is waited for as long as it takes, as the writer of the journal waits. `tell` hears of the first failure.

    Raises:
        JournalError: something else is wrong, for a minute already.
    """
    failures, told = 0, False
    while True:
        try:
            return await asyncio.to_thread(ask)
        except JournalError as error:
            failures += not error.is_outage
            if failures >= MOST_TRIES:
                raise
            if not told:
                tell(error)
            told = True
        await asyncio.sleep(AGAIN_S)
