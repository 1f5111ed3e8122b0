"""What a worker holds of the quota, by its own clock; and what that clock has to do with the database's. Pure.

A slice is a stretch of the account's time: so many recipients, of which the next may go at a certain moment and those
after it at the pace of the whole account. As the slices of all workers follow each other, what they send together
is smooth.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["EARLY_S", "LATE_S", "FarClock", "Slice", "Slices"]

LATE_S = 0.5
"""How long after its time a batch may still go; then its part of the quota is lost.

So whatever stalls, no more than half a second's worth is sent at once, which leaves SES's second (Developer Guide,
Managing your SES sending limits: short bursts are tolerated) another half for requests that overtake each other.
"""
EARLY_S = 0.001
"""How much too early a batch may go: timers are no finer."""
_CRUMB = 1e-6
DRIFT = 2e-4
"""How much one clock may gain on the other."""


@dataclass(slots=True)
class Slice:
    """So many recipients (`left`), the next of them at `at_s`, the others at `per_s` after it.

    `ticket` says during which reading of the quota it was given out.
    """

    at_s: float
    left: float
    per_s: float
    ticket: int


class Slices:
    """What was leased and not spent yet, in the order of its times. Times are seconds on one steady clock."""

    def __init__(self) -> None:
        self._slices: deque[Slice] = deque()

    @property
    def held(self) -> float:
        """Recipients."""
        return sum(one.left for one in self._slices)

    def add(self, one: Slice) -> None:
        """Another slice, later than those before."""
        self._slices.append(one)

    def due_at(self, recipients: float) -> float | None:
        """When so many may go; None if fewer are held."""
        for one in self._slices:
            recipients -= one.left
            if recipients <= _CRUMB:
                return one.at_s
        return None

    def take(self, recipients: float) -> int:
        """Spend so many, which are held; returns the oldest ticket of them."""
        ticket = self._slices[0].ticket
        while recipients > _CRUMB:
            one = self._slices[0]
            part = min(recipients, one.left)
            self._spend(one, part)
            recipients -= part
        return ticket

    def drop_late(self, now_s: float, batch: float) -> list[tuple[float, int]]:
        """Let go of whole batches whose time is over; returns (recipients, ticket) of what is lost."""
        lost = []
        while self._slices and now_s - self._slices[0].at_s > LATE_S:
            one = self._slices[0]
            overdue = (now_s - LATE_S - one.at_s) * one.per_s
            part = min(one.left, batch * (overdue // batch + 1))
            lost.append((part, one.ticket))
            self._spend(one, part)
        return lost

    def drop_all(self) -> list[tuple[float, int]]:
        """Let go of everything; returns what, like `drop_late`."""
        lost = [(one.left, one.ticket) for one in self._slices]
        self._slices.clear()
        return lost

    def _spend(self, one: Slice, part: float) -> None:
        one.left -= part
        one.at_s += part / one.per_s
        if one.left <= _CRUMB:
            self._slices.remove(one)


class FarClock:
    """The database's clock, as far as it can be known here from questions and answers. Both count seconds."""

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._within_s = 0.0
        self._measured_s = 0.0

    @property
    def known(self) -> bool:
        """Whether it was ever measured."""
        return self._offset_s is not None

    def measure(self, asked_s: float, there: float, answered_s: float) -> None:
        """It showed `there` at some time between two of ours.

        A closer one from before is kept, as long as clocks drift little and that over there is not set anew.
        """
        least, most = there - answered_s, there - asked_s
        within_s = (most - least) / 2
        offset_s = self._offset_s
        closer = within_s <= self._within_s + DRIFT * (answered_s - self._measured_s)
        if offset_s is None or closer or not least <= offset_s <= most:
            self._offset_s, self._within_s, self._measured_s = least + within_s, within_s, answered_s

    def here(self, there: float) -> float:
        """A time of the database's clock on ours."""
        assert self._offset_s is not None, "it was measured"
        return there - self._offset_s

    def there(self, here_s: float) -> float:
        """A time of our clock on the database's."""
        assert self._offset_s is not None, "it was measured"
        return here_s + self._offset_s
