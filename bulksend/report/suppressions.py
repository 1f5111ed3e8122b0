"""The list of suppressions, as CSV or JSON lines, or as people read it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import IO, Literal

import orjson

from bulksend.event import Suppression
from bulksend.report.export import RUN_BY_SPREADSHEETS

__all__ = ["SuppressionFormat", "write_suppressions"]

SuppressionFormat = Literal["text", "json", "csv"]


def write_suppressions(suppressions: Iterable[Suppression], form: SuppressionFormat, out: IO[str]) -> int:
    """Write one line each, as they come, times as ISO 8601 in UTC; returns how many. JSON is an object on each line.

    In CSV, whose column of addresses is named email, a cell that a spreadsheet would run as a formula is defused by an
    apostrophe in front.
    """
    count = 0
    writer = csv.writer(out, lineterminator="\n")
    if form == "csv":
        writer.writerow(("email", "reason", "source", "at"))
    for one in suppressions:
        count += 1
        at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="seconds")
        match form:
            case "csv":
                cells = (one.address, one.reason.value, one.source, at)
                writer.writerow(["'" + cell if cell.startswith(RUN_BY_SPREADSHEETS) else cell for cell in cells])
            case "json":
                facts = {"address": one.address, "reason": one.reason.value, "source": one.source, "at": at}
                out.write(orjson.dumps(facts).decode() + "\n")
            case "text":
                out.write(f"{at}  {one.reason.value:<11}  {one.address}  ({one.source})\n")
    return count
