"""The account's two quotas, in recipients: the rate with its debt, and the rolling day. Pure: time is an argument."""

from __future__ import annotations

__all__ = ["Bucket", "DayWindow"]

_SLICES = 1440
"""Parts of the day that the window forgets one at a time: minutes of a real day."""


class Bucket:
    """MaxSendRate: holds one second's worth, refilled at the rate, and may be overdrawn by one call.

    A call is accepted whole as long as anything is left; then nothing more until the debt is repaid. Fifty recipients
    at 14/s take 3.57 s. Times are seconds of any steady clock.
    """

    def __init__(self, rate_per_s: float, at_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._left = rate_per_s
        self._at_s = at_s

    def left(self, at_s: float) -> float:
        """Recipients that are left; below zero is debt."""
        if at_s > self._at_s:
            self._left = min(self._rate_per_s, self._left + (at_s - self._at_s) * self._rate_per_s)
            self._at_s = at_s
        return self._left

    def take(self, recipients: int, at_s: float) -> bool:
        """Spend the recipients of a call, or refuse them all."""
        if self.left(at_s) <= 0:
            return False
        self._left -= recipients
        return True

    def spend(self, recipients: int, at_s: float) -> None:
        """Another sender's recipients: spent without asking."""
        self._left = self.left(at_s) - recipients

    def set_rate(self, rate_per_s: float, at_s: float) -> None:
        """A new rate from now on; what is left stays, but never more than one second's worth."""
        self._left = min(self.left(at_s), rate_per_s)
        self._rate_per_s = rate_per_s


class DayWindow:
    """Max24HourSend's rolling window: the recipients of the last `day_s` seconds, in 1440 slices.

    A recipient is counted for at least a day and at most a day and a slice.
    """

    def __init__(self, day_s: float, at_s: float) -> None:
        self._slice_s = day_s / _SLICES
        self._slices = [0] * (_SLICES + 1)
        self._now = int(at_s / self._slice_s)
        self._total = 0

    def add(self, recipients: int, at_s: float) -> None:
        """Count recipients as sent now."""
        self.total(at_s)
        self._slices[self._now % len(self._slices)] += recipients
        self._total += recipients

    def total(self, at_s: float) -> int:
        """SentLast24Hours."""
        now = int(at_s / self._slice_s)
        size = len(self._slices)
        if now - self._now >= size:
            self._slices = [0] * size
            self._total = 0
        else:
            for passed in range(self._now + 1, now + 1):
                self._total -= self._slices[passed % size]
                self._slices[passed % size] = 0
        self._now = max(now, self._now)
        return self._total
