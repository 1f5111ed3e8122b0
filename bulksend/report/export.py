"""Results as CSV or JSON lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from typing import IO, Literal

import orjson

from bulksend.model import ResultRow

__all__ = ["Format", "write_list", "write_results"]

Format = Literal["csv", "jsonl"]

_OTHER_DELIMITERS = re.compile(r"[,;\t|]")
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r")


def write_results(rows: Iterable[ResultRow], form: Format, out: IO[str], *, header: bool = True) -> int:
    """Write one line a row, times as ISO 8601 in UTC; returns how many rows there were. CSV begins with the `header`.

    In CSV, a cell that a spreadsheet would run as a formula is defused by an apostrophe in front.
    """
    names = [f.name for f in fields(ResultRow)]
    count = 0
    if form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        if header:
            writer.writerow(names)
        for row in rows:
            count += 1
            writer.writerow([_cell(name, value) for name, value in zip(names, astuple(row), strict=True)])
        return count
    for row in rows:
        count += 1
        values = asdict(row)
        times = {name: _time(values[name]) for name in names if _is_time(name)}
        out.write(orjson.dumps(values | times).decode() + "\n")
    return count


def write_list(columns: Sequence[str], rows: Iterable[Sequence[str | None]], out: IO[str], delimiter: str = ",") -> int:
    """Write a list that can be planned again, every value as it is: formulas are not defused. Returns its rows."""
    plain = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    quoted = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    # In quotes, no character of a name is taken for the delimiter.
    (quoted if any(map(_OTHER_DELIMITERS.search, columns)) else plain).writerow(columns)
    count = 0
    for row in rows:
        count += 1
        # The writer sees no line end in a CR, readers do.
        (quoted if any("\r" in cell for cell in row if cell) else plain).writerow(row)
    return count


def _cell(name: str, value: object) -> object:
    if _is_time(name):
        return _time(value if isinstance(value, float) else None) or ""
    if isinstance(value, str) and value.startswith(RUN_BY_SPREADSHEETS):
        return "'" + value
    return value


def _is_time(name: str) -> bool:
    return name == "at" or name.endswith("_at")


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
