"""Whom a campaign does not write to: asked at the plan, when a chunk is opened, and while it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

import structlog

from bulksend.errors import JournalError
from bulksend.event import SuppressionReason
from bulksend.journal import EventRecords
from bulksend.journal.patience import patiently
from bulksend.recipients import LookUp, in_a_copy

__all__ = ["WHY", "SuppressionScreen", "look_up", "screening"]

WHY = {
    SuppressionReason.BOUNCE: "a mail to this address has bounced for good",
    SuppressionReason.COMPLAINT: "somebody there has complained of a mail",
    SuppressionReason.UNSUBSCRIBE: "whoever has this address has unsubscribed",
    SuppressionReason.MANUAL: "somebody has put this address on the suppression list",
}
NEWS_EVERY_S = 2.0
"""How often it is asked who was suppressed since."""
MAX_FRESH = 10_000
"""Addresses that are remembered until they are asked for; if there are more, all that is open is asked for."""
AT_ONCE = 2_000
"""Addresses to one question."""

Keys = Callable[[int], Awaitable[Sequence[tuple[int, str]]]]
"""(place, address) of everybody whom the entries of a chunk go to."""


def look_up(events: EventRecords) -> LookUp | None:
    """For the plan: whom not to write to, with the reason in words; None where that is nobody.

    Raises:
        JournalError: the list of suppressions cannot be read.
    """
    last, _ = events.suppressed_after(-1)
    if last <= 0:
        return None

    def which(addresses: Sequence[str]) -> Mapping[str, str]:
        return {address: WHY[reason] for address, reason in events.suppressed(addresses).items()}

    return which


@asynccontextmanager
async def screening(events: EventRecords, keys: Keys) -> AsyncIterator[SuppressionScreen]:
    """A screen that hears of news while inside. Raises JournalError: the list of suppressions cannot be read."""
    last, _ = await asyncio.to_thread(events.suppressed_after, -1)
    screen = SuppressionScreen(events, keys, last)
    listening = asyncio.create_task(screen.listen(), name="suppressions")
    try:
        yield screen
    finally:
        listening.cancel()


class SuppressionScreen:
    """Satisfies the engine's Screen. `last` is the number of the last suppression there was.

    Nothing of a chunk's addresses is kept: they are read again when there is news, which is seldom.
    """

    def __init__(self, events: EventRecords, keys: Keys, last: int) -> None:
        self._events = events
        self._keys = keys
        self._last = last
        self._fresh: set[str] | None = set()
        """Who was suppressed since somebody asked; None: so many that everybody is to be asked for."""

    async def listen(self) -> None:
        """Ask for news now and then, until cancelled; what is not heard while the store is away is heard after."""
        failing = False
        while True:
            try:
                last, fresh = await asyncio.to_thread(self._events.suppressed_after, self._last)
            except Exception as error:  # noqa: BLE001  whoever is suppressed from now on must not be missed
                # The text of what is no JournalError may name recipients.
                said = error.message if isinstance(error, JournalError) else type(error).__name__
                if not failing:
                    structlog.get_logger().warning("suppressions cannot be read; trying again", error=said)
                failing = True
                await asyncio.sleep(NEWS_EVERY_S)
                continue
            failing = False
            self._last = last
            self._remember(fresh)
            if fresh:
                continue  # there may be more than one answer holds
            await asyncio.sleep(NEWS_EVERY_S)

    def _remember(self, fresh: Sequence[str]) -> None:
        if self._fresh is not None:
            self._fresh.update(fresh)
            if len(self._fresh) > MAX_FRESH:
                self._fresh = None

    @property
    def has_news(self) -> bool:
        """See Screen."""
        return self._fresh is None or bool(self._fresh)

    async def opened(self, number: int) -> Mapping[int, str]:
        """See Screen. While nobody is suppressed at all, nothing is read."""
        if self._last <= 0:
            return {}
        return await self._reasons(await self._keys(number))

    async def news(self, numbers: Sequence[int]) -> Mapping[int, Mapping[int, str]]:
        """See Screen."""
        fresh, self._fresh = self._fresh, set()
        found = {}
        for number in numbers:
            if reasons := await self._reasons(await self._keys(number), fresh):
                found[number] = reasons
        return found

    async def _reasons(self, keys: Sequence[tuple[int, str]], among: Collection[str] | None = None) -> dict[int, str]:
        """By place; of an entry's addresses the first that is suppressed counts, the To address before copies."""
        suppressed: dict[str, SuppressionReason] = {}
        asked = sorted({key for _, key in keys if among is None or key in among})
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            suppressed |= await patiently(partial(self._events.suppressed, some), _tell)
        reasons: dict[int, str] = {}
        if not suppressed:
            return reasons
        seen: set[int] = set()
        for place, key in keys:
            is_copy = place in seen
            seen.add(place)
            if key in suppressed and place not in reasons:
                why = WHY[suppressed[key]]
                reasons[place] = in_a_copy(why) if is_copy else why
        return reasons


def _tell(error: JournalError) -> None:
    structlog.get_logger().warning("suppressions cannot be read; trying again", error=error.message)
