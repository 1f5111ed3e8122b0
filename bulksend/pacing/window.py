"""What was sent in SES's rolling 24 hours. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

__all__ = ["WINDOW_SLOTS", "SentWindow"]

WINDOW_SLOTS = 1440


class SentWindow:
    """Recipients sent in the rolling window, in slots of a 1440th of it. Times are epoch seconds."""

    def __init__(self, window_s: float, sent: Iterable[tuple[float, int]] = ()) -> None:
        self._window_s = window_s
        self._slot_s = window_s / WINDOW_SLOTS
        self._slots: deque[tuple[int, int]] = deque()
        self.total = 0
        for at, recipients in sent:
            self.add(recipients, at)

    def add(self, recipients: int, at: float) -> None:
        """So many more. Time does not run backwards here."""
        slot = int(at / self._slot_s)
        if self._slots and slot <= self._slots[-1][0]:
            last, count = self._slots[-1]
            self._slots[-1] = (last, count + recipients)
        else:
            self._slots.append((slot, recipients))
        self.total += recipients

    def expire(self, now: float) -> None:
        """Let go of what is older than the window."""
        oldest = int((now - self._window_s) / self._slot_s)
        while self._slots and self._slots[0][0] < oldest:
            self.total -= self._slots.popleft()[1]

    def take_back(self, recipients: int) -> None:
        """So many of the latest were not accepted after all."""
        for place in range(len(self._slots) - 1, -1, -1):
            slot, count = self._slots[place]
            taken = min(count, recipients)
            self._slots[place] = (slot, count - taken)
            self.total -= taken
            recipients -= taken
            if not recipients:
                return

    def frees_at(self, recipients: int) -> float | None:
        """When so many will have left the window, if nothing is added; None if it never holds so many."""
        freed = 0
        for slot, count in self._slots:
            freed += count
            if freed >= recipients:
                return (slot + 1) * self._slot_s + self._window_s
        return None
