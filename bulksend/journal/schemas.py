"""Making a file's tables: their text is a version after the other, and an earlier one lacks the last ones only."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from importlib import resources

__all__ = ["statements", "when_free"]

WITHIN_S = 10.0
AGAIN_S = 0.02


def statements(schemas: Sequence[str], version: int) -> tuple[str, ...]:
    """What a file of that version lacks, one by one: all in one transaction, which a script could not be."""
    found = []
    for name in schemas[version:]:
        statement = ""
        for line in resources.files("bulksend.journal").joinpath(name).read_text("utf-8").splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                found.append(statement)
                statement = ""
    return tuple(found)


def when_free(connect: Callable[[], sqlite3.Connection]) -> sqlite3.Connection:
    """A connection to a file that others may be making: while one begins its log (WAL), SQLite refuses the others."""
    deadline_s = time.monotonic() + WITHIN_S
    while True:
        try:
            return connect()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline_s:
                raise
        time.sleep(AGAIN_S)
