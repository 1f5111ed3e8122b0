"""Every chunk of a campaign, for the only process that sends it."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable

from bulksend.engine.ports import Journal

__all__ = ["WholeCampaign"]


class WholeCampaign:
    """Satisfies Handout: whatever the journal says is open. `now` is the store's clock, in epoch seconds."""

    def __init__(self, journal: Journal, campaign_id: str, now: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._campaign_id = campaign_id
        self._now = now
        self._numbers: list[int] = []
        self._waiting: list[tuple[float, int]] = []

    def on_arrival(self, call: Callable[[], None]) -> None:
        """Nothing arrives but what is asked for."""

    def ask(self) -> None:
        """All that there is was handed out at once."""

    def take(self, now: float) -> list[int]:
        """Those found open, and those that are due again."""
        taken, self._numbers = self._numbers, []
        while self._waiting and self._waiting[0][0] <= now:
            taken.append(heapq.heappop(self._waiting)[1])
        return taken

    def next_at(self) -> float | None:
        """When the first that waits is due."""
        return self._waiting[0][0] if self._waiting else None

    async def more(self) -> bool:
        """Ask the journal; where some only wait, until the first of them is due."""
        if self._waiting:
            await asyncio.sleep(max(0.0, self._waiting[0][0] - self._now()))
            return True
        self._numbers = await self._journal.open_chunks(self._campaign_id)
        return bool(self._numbers)

    def let_go(self, number: int, until: float | None) -> None:
        """One that waits comes again."""
        if until is not None:
            heapq.heappush(self._waiting, (until, number))
