"""How many requests may be in the air.

Enough to spend the pace, few enough to bound what an accident leaves in doubt. Pure.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["FlightSize"]

SAMPLES = 64
REVIEW_EVERY = 16
SPARE = 2


class FlightSize:
    """In flight ≤ ceil(pace × p95(commit + answer) ÷ batch) + 2, and never over the cap."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._times_s: deque[float] = deque(maxlen=SAMPLES)
        self._since_review = 0
        self._p95_s = 1.0

    def note(self, commit_and_answer_s: float) -> None:
        """One more request was answered."""
        self._times_s.append(commit_and_answer_s)
        self._since_review += 1
        if self._since_review >= REVIEW_EVERY or len(self._times_s) < REVIEW_EVERY:
            self._since_review = 0
            ordered = sorted(self._times_s)
            self._p95_s = ordered[int(0.95 * (len(ordered) - 1))]

    def limit(self, rate_per_s: float, batch_recipients: int) -> int:
        """Requests that may be in flight at this pace."""
        return min(self._cap, math.ceil(rate_per_s * self._p95_s / batch_recipients) + SPARE)
