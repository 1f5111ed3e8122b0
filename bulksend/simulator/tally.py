"""What was accepted, entry by entry: the judge's truth, in memory for millions."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from bulksend.simulator.validate import Entry

__all__ = ["CampaignLog", "Mark", "Tally", "message_ids"]

_PLACES = 64
"""A message's number is its request's number times this, plus its place in the request."""
_DENSE_ROWS = 1 << 27
"""Rows up to here are marked in an array of bytes, those beyond in a set."""
_LINES = 1000


_MESSAGE_ID = re.compile(
    r"0100[0-9a-f]{12}-(?P<request>[0-9a-f]{8,15})-0000-4000-8000-(?P<place>[0-9a-f]{12})-000000"
).fullmatch
_SUFFIXES = [f"-0000-4000-8000-{place:012x}-000000" for place in range(_PLACES)]


def message_ids(run: int, request: int) -> Callable[[int], str]:
    """What makes the message ids of one request, by place: in SES's shape, 60 characters, unique to the run."""
    prefix = f"0100{run:012x}-{request:08x}"
    return lambda place: prefix + _SUFFIXES[place]


class Mark(NamedTuple):
    """Some neighbours in one campaign's log: those of one call."""

    log: CampaignLog
    start: int
    stop: int


@dataclass(slots=True)
class CampaignLog:
    """One campaign's accepted entries, in order, and its calls."""

    rows: array[int] = field(default_factory=lambda: array("q"))
    numbers: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    answered: bytearray = field(default_factory=bytearray)
    to: bytearray = field(default_factory=bytearray)
    to_ends: array[int] = field(default_factory=lambda: array("q"))
    seen: bytearray = field(default_factory=bytearray)
    far: set[int] = field(default_factory=set)
    distinct: int = 0
    copies: dict[int, int] = field(default_factory=dict)
    per_s: dict[int, int] = field(default_factory=dict)
    requests: int = 0
    refused_429: int = 0
    ambiguous_attempts: int = 0

    def add(self, base: int, places: list[int], entries: list[Entry], at: float) -> None:
        """Take up entries of one call."""
        rows = [entry.row for entry in entries]
        to = [entry.to.encode("utf-8", "surrogatepass") for entry in entries]
        self.rows.extend(rows)
        self.numbers.extend([base + place for place in places])
        self.times.extend([at] * len(rows))
        self.answered += bytes(len(rows))
        self.to_ends.extend(list(accumulate(map(len, to), initial=len(self.to)))[1:])
        self.to += b"".join(to)
        self.per_s[int(at)] = self.per_s.get(int(at), 0) + sum([entry.recipients for entry in entries])
        for row in rows:
            self.see(row)

    def address(self, place: int) -> str:
        """The first To address of the entry at a place in the log."""
        return self.to[self.to_ends[place - 1] if place else 0 : self.to_ends[place]].decode("utf-8", "replace")

    def see(self, row: int) -> None:
        """Count a row as accepted once more; -1 is none."""
        if row < 0:
            return
        if row < _DENSE_ROWS:
            if row >= len(self.seen):
                self.seen.extend(bytes(max(row + 1 - len(self.seen), 65_536)))
            again = self.seen[row]
            self.seen[row] = 1
        else:
            again = row in self.far
            self.far.add(row)
        if again:
            self.copies[row] = self.copies.get(row, 1) + 1
        else:
            self.distinct += 1


class Tally:
    """Every accepted entry by campaign ("" without a tag). `run` goes into the message ids; times are epoch seconds."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._logs: dict[str, CampaignLog] = {}

    def reset(self) -> None:
        """Forget everything."""
        self._logs = {}

    def _log(self, campaign: str) -> CampaignLog:
        log = self._logs.get(campaign)
        if log is None:
            log = self._logs[campaign] = CampaignLog()
        return log

    def accept(self, request: int, places: Sequence[int], entries: Sequence[Entry], at: float) -> list[Mark]:
        """Record the accepted entries of a call, each with its place in it: not answered until `settle`."""
        marks: list[Mark] = []
        for campaign in {entry.campaign for entry in entries}:
            own = [i for i, entry in enumerate(entries) if entry.campaign == campaign]
            log = self._log(campaign)
            start = len(log.rows)
            log.add(request * _PLACES, [places[i] for i in own], [entries[i] for i in own], at)
            marks.append(Mark(log, start, len(log.rows)))
        return marks

    def doubt(self, marks: list[Mark]) -> None:
        """The answer that told of these entries was not a clean one, or did not arrive."""
        for log, start, stop in marks:
            log.answered[start:stop] = bytes(stop - start)

    def settle(self, marks: list[Mark]) -> None:
        """The answer that tells of these entries is going out whole."""
        for log, start, stop in marks:
            log.answered[start:stop] = b"\x01" * (stop - start)

    def note_request(self, campaign: str, *, throttled: bool) -> CampaignLog:
        """Count a call under the campaign of its first entry; returns that campaign's log."""
        log = self._log(campaign)
        log.requests += 1
        log.refused_429 += throttled
        return log

    def summary(self, campaign: str | None) -> dict[str, Any]:
        """The numbers of one campaign, or of all together (whose copies are counted within each)."""
        if campaign is not None:
            logs = [self._logs[campaign]] if campaign in self._logs else []
        else:
            logs = list(self._logs.values())
        per_s: dict[int, int] = {}
        for log in logs:
            for second, recipients in log.per_s.items():
                per_s[second] = per_s.get(second, 0) + recipients
        times = [t for log in logs if log.times for t in (log.times[0], log.times[-1])]
        return {
            "campaigns": sorted(self._logs) if campaign is None else [campaign],
            "accepted": sum(len(log.rows) for log in logs),
            "rows": sum(log.distinct for log in logs),
            "copies": sorted([row, times] for log in logs for row, times in log.copies.items()),
            "ambiguous": sum(log.answered.count(0) for log in logs),
            "ambiguous_attempts": sum(log.ambiguous_attempts for log in logs),
            "requests": sum(log.requests for log in logs),
            "refused_429": sum(log.refused_429 for log in logs),
            "first_at": min(times, default=None),
            "last_at": max(times, default=None),
            "per_second": sorted(per_s.items()),
        }

    def logs(self) -> list[tuple[str, CampaignLog]]:
        """Every campaign's log."""
        return list(self._logs.items())

    def find(self, message_id: str) -> tuple[str, CampaignLog, int] | None:
        """The campaign and the place in its log of an accepted entry."""
        match = _MESSAGE_ID(message_id)
        if match is None:
            return None
        request, place = int(match["request"], 16), int(match["place"], 16)
        if place >= _PLACES or message_ids(self._run, request)(place) != message_id:
            return None
        number = request * _PLACES + place
        for campaign, log in self._logs.items():
            try:
                return campaign, log, log.numbers.index(number)
            except (OverflowError, ValueError):
                continue
        return None

    def lines(self, campaign: str | None) -> Iterator[bytes]:
        """NDJSON of the accepted entries, a thousand lines at a time."""
        for name, log in list(self._logs.items()):
            if campaign is not None and name != campaign:
                continue
            for start in range(0, len(log.rows), _LINES):
                yield b"".join(self._line(name, log, i) for i in range(start, min(start + _LINES, len(log.rows))))

    def _line(self, campaign: str, log: CampaignLog, i: int) -> bytes:
        request, place = divmod(log.numbers[i], _PLACES)
        line = {
            "campaign": campaign,
            "row": log.rows[i] if log.rows[i] >= 0 else None,
            "message_id": message_ids(self._run, request)(place),
            "to": log.address(i),
            "at": log.times[i],
            "answered": bool(log.answered[i]),
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
