"""A file of addresses and nothing else that matters: a list as campaigns have them, or an address on each line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa

from bulksend.errors import ListError
from bulksend.recipients import addresses
from bulksend.recipients.columns import filled
from bulksend.recipients.opening import open_list
from bulksend.recipients.source import PLAIN

__all__ = ["addresses_in"]

PLAIN_SUFFIX = ".txt"
LINES_AT_ONCE = 5_000
MAX_LINE_CHARS = 1_000


def addresses_in(path: Path, column: str) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
    """The addresses of a file as duplicates are compared, some thousands at a time; and the rows that had none.

    A name that ends in .txt is of a file with an address on each line; any other is read as a campaign's list is, and
    `column` says where its addresses are. Empty cells and lines are passed over. Rows are numbered from 1, as
    in results; those of a .txt file are its lines. Holds little in memory.

    Raises:
        ListError: it cannot be read, or has no such column.
    """
    if path.suffix.lower() == PLAIN_SUFFIX:
        yield from _of_lines(path)
        return
    with open_list(path, PLAIN) as rows:
        if column not in rows.header:
            there = ", ".join(map(repr, rows.header[:20]))
            raise ListError(
                f"{path}: there is no column {column!r}. Its columns are: {there}",
                hint="Name the column of addresses with --column, or give a .txt file an address on each line.",
            )
        for block in rows.blocks((column,)):
            if block.faults:
                yield [], [fault.row for fault in block.faults]
            found = filled(block.columns[column])
            for start in range(0, len(found), LINES_AT_ONCE):
                good, bad = _judged(found.slice(start, LINES_AT_ONCE))
                yield good, [block.rows[start + place].as_py() for place in bad]


def _of_lines(path: Path) -> Iterator[tuple[Sequence[str], Sequence[int]]]:
    number = 1
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            while lines := list(islice(iter(lambda: file.readline(MAX_LINE_CHARS), ""), LINES_AT_ONCE)):
                numbers = []
                for line in lines:  # what is longer than may be read at once comes in parts
                    numbers.append(number)
                    number += line.endswith("\n")
                good, bad = _judged(pa.array([line.strip() for line in lines], pa.string()))
                yield good, [numbers[place] for place in bad]
    except OSError as error:
        raise ListError(f"{path} cannot be read: {error.strerror or error}") from error


def _judged(texts: pa.Array) -> tuple[list[str], list[int]]:  # type: ignore[type-arg]
    """The good ones, and the places of those that are none and not empty."""
    canonical, refused = addresses.check(texts)
    keys = addresses.comparison_keys(canonical).to_pylist()
    bad = [place for place in refused if texts[place].as_py().strip()]
    return [key for key in keys if key is not None], bad
