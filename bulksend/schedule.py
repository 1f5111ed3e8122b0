"""When a campaign may send, and what its share is. Pure; knows nothing else of ours.

A window is a pair of times on the clocks of a zone: sending is allowed while those clocks show a time from the first up
to the second. That settles the days on which they are changed. Where they jump over the start, the window opens at the
jump; jumped over whole, it does not open that day. Where the hour of an edge comes twice, each passing of it counts:
"22:00-02:30" closes at the first 02:30, opens again when the clocks go back to 02:00, and closes at the second 02:30.
At no instant does somebody in that zone look at the clock, see a time outside of the window, and find mail going out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from math import floor, inf, isfinite
from typing import Self
from zoneinfo import ZoneInfo, available_timezones

__all__ = ["LATEST_S", "MAX_PRIORITY", "Schedule", "Window"]

MAX_PRIORITY = 1000.0
_DAY_S = 86_400
LATEST_S = 253_370_764_800.0
"""The year 9999, in which Python's calendar ends; epoch seconds."""
_EXAMPLE = "'09:00-18:00 Europe/Paris'"
_LIKENESS = 0.75
"""How alike a name and a zone have to be: PST and MST are less."""
_OF_THE_MACHINE = frozenset({"Factory", "localtime"})
"""Names among the zones that mean another thing on each machine, or nothing."""


@dataclass(frozen=True, slots=True)
class Window:
    """Daily hours in a zone, made by `parse`; in seconds of the day that the zone's clocks show.

    `start_s` is 0 to 86,340 and inside, `end_s` is 0 to 86,400 and outside. An end before the start is on the next day.
    """

    start_s: int
    end_s: int
    zone: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """A window as people write it: "09:00-18:00 Europe/Paris". "00:00-24:00 UTC" is the whole day.

        Raises:
            ValueError: what is wrong with it, worded to follow the name of the thing ("must be ...").
        """
        hours, _, zone = text.strip().partition(" ")
        start, dash, end = hours.partition("-")
        if not dash:
            raise ValueError(f"must be hours and a zone, such as {_EXAMPLE}, not {text[:60]!r}")
        start_s, end_s = _seconds(start), _seconds(end)
        if start_s == _DAY_S:
            raise ValueError(f"starts at 24:00, which is 00:00: write '00:00-{end}'")
        if start_s == end_s:
            raise ValueError(f"starts and ends at {start}: write '00:00-24:00' for the whole day")
        return cls(start_s, end_s, _zone(zone.strip()))

    def __str__(self) -> str:
        return f"{_clock(self.start_s)}-{_clock(self.end_s)} {self.zone}"

    def is_open(self, at: float) -> bool:
        """Whether the zone's clocks show a time in the window at that instant (epoch seconds)."""
        time_s = (floor(at) + self._offset_s(floor(at))) % _DAY_S
        if self.start_s < self.end_s:
            return self.start_s <= time_s < self.end_s
        return time_s >= self.start_s or time_s < self.end_s

    def next_change(self, at: float) -> float:
        """The first whole second after `at` (epoch seconds) at which it opens or closes; infinity if it never does."""
        if (self.start_s, self.end_s) == (0, _DAY_S):
            return inf
        is_open, second = self.is_open(at), floor(at)
        while self.is_open(second) is is_open:
            second = self._next_edge(second)
        return float(second)

    def _next_edge(self, at: int) -> int:
        """When the clocks show the start or the end next, or are changed, if that is sooner."""
        offset_s = self._offset_s(at)
        time_s = (at + offset_s) % _DAY_S
        edge = at + min((edge_s - time_s) % _DAY_S or _DAY_S for edge_s in (self.start_s, self.end_s))
        if self._offset_s(edge) == offset_s:
            return edge  # since 1970 no zone's clocks were changed twice within three days
        before, after = at, edge
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset_s(middle) == offset_s:
                before = middle
            else:
                after = middle
        return after

    def _offset_s(self, at: int) -> int:
        """By how much the zone's clocks are ahead of UTC."""
        offset = datetime.fromtimestamp(at, ZoneInfo(self.zone)).utcoffset()
        assert offset is not None
        return floor(offset.total_seconds())


@dataclass(frozen=True, slots=True)
class Schedule:
    """A campaign's weight among those that send at once, and when it may send. The default is: at any time.

    `priority` is the weight, above 0 and at most 1000; `not_before` is epoch seconds.

    Raises:
        ValueError: one of them is out of bounds.
    """

    priority: float = 1.0
    not_before: float | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        if not 0 < self.priority <= MAX_PRIORITY:
            raise ValueError(f"priority must be greater than 0 and at most {MAX_PRIORITY:g}, not {self.priority!r}")
        if self.not_before is not None and not (isfinite(self.not_before) and self.not_before < LATEST_S):
            raise ValueError(f"not_before must be an instant before the year 9999, not {self.not_before!r}")

    def opens_at(self, now: float) -> float | None:
        """None if sending is allowed at `now`, else the next instant at which it is; epoch seconds both."""
        first = now if self.not_before is None else max(now, self.not_before)
        if self.window is not None and not self.window.is_open(first):
            return self.window.next_change(first)
        return None if first == now else first

    def closes_at(self, now: float) -> float | None:
        """When sending is no more allowed, if it is at `now` and will ever end; epoch seconds both."""
        if self.window is None or self.opens_at(now) is not None:
            return None
        change = self.window.next_change(now)
        return change if isfinite(change) else None

    def as_json(self) -> dict[str, object]:
        """What differs from the default, for `from_json`."""
        facts: dict[str, object] = {}
        if self.priority != 1.0:
            facts["priority"] = self.priority
        if self.not_before is not None:
            facts["not_before"] = self.not_before
        if self.window is not None:
            facts["window"] = str(self.window)
        return facts

    @classmethod
    def from_json(cls, facts: Mapping[str, object]) -> Self:
        """What `as_json` gave; {} is the default. Keys that it does not know are passed over.

        Raises:
            ValueError: a value is not what `as_json` writes, or this machine does not know the window's zone.
        """
        window = facts.get("window")
        not_before = facts.get("not_before")
        return cls(
            priority=_number("priority", facts.get("priority", 1.0)),
            not_before=None if not_before is None else _number("not_before", not_before),
            window=None if window is None else Window.parse(str(window)),
        )


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, not {value!r}")  # noqa: TRY004  one kind of error for one fault
    return float(value)


def _seconds(text: str) -> int:
    """Seconds of the day, from "HH:MM"; 24:00 is its end."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", text)
    if found is None:
        raise ValueError(f"has {text[:60]!r} where hours and minutes belong, 00:00 to 24:00, as in {_EXAMPLE}")
    return _DAY_S if found[1] is None else int(found[1]) * 3600 + int(found[2]) * 60


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}"


def _zone(name: str) -> str:
    if not name:
        raise ValueError(f"lacks the zone after its hours, as in {_EXAMPLE}")
    known = _zones()
    if not known:
        raise ValueError("cannot be read: this machine knows no time zones; install the Python package tzdata")
    if name not in known:
        meant = _nearest(name, known)
        hint = f"did you mean {meant}?" if meant else f"zones are named as in {_EXAMPLE}"
        raise ValueError(f"has an unknown time zone, {name[:60]!r}: {hint}")
    return name


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - _OF_THE_MACHINE)


def _nearest(name: str, known: frozenset[str]) -> str | None:
    """The zone that was most likely meant: by its whole name, or by its city alone."""
    by_spelling: dict[str, str] = {}
    for zone in sorted(known, key=lambda zone: (zone.count("/"), zone), reverse=True):
        by_spelling[zone.rpartition("/")[2].casefold()] = zone
    for zone in known:
        by_spelling[zone.casefold()] = zone
    found = difflib.get_close_matches(name[:60].casefold().replace(" ", "_"), by_spelling, n=1, cutoff=_LIKENESS)
    return by_spelling[found[0]] if found else None
