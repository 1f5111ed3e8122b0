"""Millions of answers in a few figures: a rate over time, durations, and reasons with how often each was given.

Each takes a bounded amount of memory, however much is added. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["MAX_POINTS", "Durations", "Kind", "Kinds", "Pace", "Rate", "Span"]

MAX_POINTS = 300
"""How many points a rate over time has at most."""

_WIDTHS_S = (1, 2, 10, 30, 60, 120, 600, 1200, 3600, 7200, 21_600, 43_200, 86_400, 604_800)
"""Each is so many times the one before it, so that what was counted by one can be counted by the next."""

_GROWTH = 1.02
"""Durations are told apart that differ by a fiftieth."""
_SHORTEST_S = 1e-4
_BINS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_SILENCE_S = 60.0
_SILENCE_OF_MEAN = 20
"""A silence is longer than a minute, and than so many times the mean of all gaps: at a slow pace, gaps are no waits."""

_MOST_KINDS = 1000
_MOST_REASONS = 200
"""Of one status, so that no status leaves no room for the others."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, its ends in epoch seconds, and the mean rate within it."""

    begins: int
    ends: int
    per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """The mean of what was counted per second, without the `silent_s` in which nothing was."""

    per_s: float
    silent_s: float


@dataclass(slots=True)
class _Step:
    """An amount, and the first and the last instant of it."""

    amount: int = 0
    first: float = math.inf
    last: float = -math.inf

    def add(self, amount: int, first: float, last: float) -> None:
        self.amount += amount
        if amount:
            self.first, self.last = min(self.first, first), max(self.last, last)


@dataclass(slots=True)
class Rate:
    """Amounts at instants of any order, as a rate over spans of equal width: the narrowest that make 300 at most.

    Spans begin at whole multiples of their width, in UTC; the first and the last are counted whole.
    """

    width_s: int = _WIDTHS_S[0]
    total: int = 0
    _times: int = 0
    _steps: dict[int, _Step] = field(default_factory=dict)
    _first: int = 0
    _last: int = 0

    def add(self, at: float, amount: int) -> None:
        """Count an amount at an instant, in epoch seconds."""
        place = math.floor(at / self.width_s)
        if not self._steps:
            self._first = self._last = place
        self._first, self._last = min(self._first, place), max(self._last, place)
        self._steps.setdefault(place, _Step()).add(amount, at, at)
        self._times += amount > 0
        self.total += amount
        while self._last - self._first >= MAX_POINTS:
            self._widen()

    def spans(self) -> list[Span]:
        """From the first instant to the last, without gaps; empty if nothing was added."""
        if not self._steps:
            return []
        none = _Step()
        return [
            Span(place * self.width_s, (place + 1) * self.width_s, self._steps.get(place, none).amount / self.width_s)
            for place in range(self._first, self._last + 1)
        ]

    def pace(self, since: float) -> Pace:
        """The mean from an instant to the last amount, without long silences; of less than a second, as if of one.

        Whoever asks how fast it went does not mean the pauses, nor one straggler that came an hour later. Silences
        that are shorter than a step may be counted all the same.
        """
        steps = [step for _, step in sorted(self._steps.items()) if step.amount]
        if not steps:
            return Pace(0.0, 0.0)
        took_s = max(steps[-1].last - since, 0.0)
        long_s = max(_SILENCE_S, _SILENCE_OF_MEAN * took_s / self._times)
        silent_s, at = 0.0, since
        for step in steps:
            silent_s += step.first - at if step.first - at > long_s else 0.0
            at = max(at, step.last)
        return Pace(self.total / max(took_s - silent_s, 1.0), silent_s)

    def _widen(self) -> None:
        wider_s = next((width_s for width_s in _WIDTHS_S if width_s > self.width_s), 2 * self.width_s)
        factor = wider_s // self.width_s
        steps: dict[int, _Step] = {}
        for place, step in self._steps.items():
            steps.setdefault(place // factor, _Step()).add(step.amount, step.first, step.last)
        self.width_s, self._steps = wider_s, steps
        self._first, self._last = self._first // factor, self._last // factor


@dataclass(slots=True)
class Durations:
    """How long things took, in seconds; a percentile is at most 2 % too high, the longest is exact."""

    count: int = 0
    longest_s: float = 0.0
    _buckets: Counter[int] = field(default_factory=Counter)
    _bins: list[int] = field(default_factory=lambda: [0] * (len(_BINS_S) + 1))

    def add(self, duration_s: float) -> None:
        """Count one. A clock that was set back makes none shorter than nothing."""
        duration_s = max(duration_s, 0.0)
        self.count += 1
        self.longest_s = max(self.longest_s, duration_s)
        # The bucket whose upper end is _SHORTEST_S * _GROWTH ** bucket.
        bucket = math.ceil(math.log(duration_s / _SHORTEST_S, _GROWTH)) if duration_s > _SHORTEST_S else 0
        self._buckets[bucket] += 1
        self._bins[next((place for place, ends_s in enumerate(_BINS_S) if duration_s < ends_s), len(_BINS_S))] += 1

    def percentile_s(self, percent: float) -> float:
        """What so many per cent took no longer than. Nothing was counted: 0."""
        rank = math.ceil(self.count * percent / 100)
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                return min(_SHORTEST_S * _GROWTH**bucket, self.longest_s)
        return self.longest_s

    def bins(self) -> Iterator[tuple[float, float, int]]:
        """(from, to, how many), in seconds, from the first that has any to the last; the very last goes on for ever."""
        used = [place for place, count in enumerate(self._bins) if count]
        ends_s = (0.0, *_BINS_S, math.inf)
        for place in range(used[0], used[-1] + 1) if used else ():
            yield ends_s[place], ends_s[place + 1], self._bins[place]


@dataclass(frozen=True, slots=True)
class Kind:
    """A status and its reason, and how many entries it befell. A reason of None: all of its others."""

    status: str
    reason: str | None
    entries: int


@dataclass(slots=True)
class Kinds:
    """Statuses with their reasons, counted.

    The first thousand statuses are counted exactly. Past a thousand reasons, or 200 of one status, new ones are counted
    with their status alone.
    """

    total: int = 0
    _statuses: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, Counter[str]] = field(default_factory=dict)
    _reasons_kept: int = 0

    def add(self, status: str, reason: str) -> None:
        """Count one entry."""
        self.total += 1
        if status not in self._statuses and len(self._statuses) >= _MOST_KINDS:
            return
        self._statuses[status] += 1
        reasons = self._reasons.setdefault(status, Counter())
        if reason not in reasons:
            if self._reasons_kept >= _MOST_KINDS or len(reasons) >= _MOST_REASONS:
                return
            self._reasons_kept += 1
        reasons[reason] += 1

    def most(self, number: int) -> tuple[list[Kind], int]:
        """At most so many, the most frequent first, and how many entries had another status.

        The kinds of a status have all of its entries: where its reasons are too many, one kind has the rest.
        """
        left = dict(self._statuses.most_common(number))
        reasons = [(count, status, reason) for status in left for reason, count in self._reasons[status].items()]
        reasons.sort(key=lambda one: -one[0])
        kinds, room = list[Kind](), number - len(left)  # each status has a place for its rest, or its last reason
        for count, status, reason in reasons:
            is_last = count == left[status]
            if is_last or room:
                kinds.append(Kind(status, reason, count))
                left[status] -= count
                room -= not is_last
        kinds += [Kind(status, None, count) for status, count in left.items() if count]
        kinds.sort(key=lambda kind: -kind.entries)
        return kinds, self.total - sum(kind.entries for kind in kinds)
