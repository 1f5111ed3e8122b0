"""The group commit of the journal in SQLite."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from bulksend.errors import BulksendError, JournalError
from bulksend.journal.writer import GroupWriter, Operation

__all__ = ["Insertion", "SqliteWriter"]

T = TypeVar("T")

MAX_ROWS = 32
"""Rows to one INSERT: each statement gives the interpreter's lock away and has to win it back."""


@dataclass(frozen=True, slots=True)
class Insertion:
    """An INSERT without its rows."""

    statement: str
    columns: int
    tail: str = ""


@cache
def _statement(into: Insertion, rows: int) -> str:
    row = "(" + ", ".join("?" * into.columns) + ")"
    return f"{into.statement} VALUES {', '.join([row] * rows)} {into.tail}"


class SqliteWriter(GroupWriter):
    """Does operations on one connection.

    One that raises BulksendError or ValueError fails alone; when SQLite itself fails, the whole group fails with
    JournalError and nothing of it is durable.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], max_group: int = 256) -> None:
        super().__init__(max_group)
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self.transaction = 0
        """A number that is another in each transaction; for operations, in the writer's thread."""
        self.start()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Do `work` in the next transaction; its result comes once that is durable.

        Raises:
            JournalError: the transaction could not be committed.
        """
        return self.put(work)

    def insert(
        self, into: Insertion, row: Callable[[sqlite3.Connection], tuple[tuple[object, ...] | None, T]]
    ) -> asyncio.Future[T]:
        """Insert a row in the next transaction, together with the others that go into the same table.

        `row` is called in the writer's thread and gives the row, or None for none, and the result. It changes
        nothing itself. Raises as `run` does.
        """
        return self.put(row, into)

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _commit(self, group: list[Operation[Any]]) -> None:
        connection = self._connection
        try:
            if connection is None:
                connection = self._connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            self.transaction += 1
            _work_all(connection, group)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever it is, everybody has to hear of it, and the next go on
            failure = error if isinstance(error, BulksendError) else JournalError(f"a transaction failed: {error}")
            for operation in group:
                operation.error = failure
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")


def _work_all(connection: sqlite3.Connection, group: list[Operation[Any]]) -> None:
    rows: dict[Insertion, list[tuple[object, ...]]] = {}
    for operation in group:
        into = operation.kind
        if not isinstance(into, Insertion):
            _insert(connection, rows)
            _work(connection, operation)
            continue
        try:
            row, operation.result = operation.work(connection)
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # noqa: BLE001  it belongs to whoever asked, not to this thread
            operation.error = error
        else:
            if row is not None:
                rows.setdefault(into, []).append(row)
    _insert(connection, rows)


def _insert(connection: sqlite3.Connection, rows: dict[Insertion, list[tuple[object, ...]]]) -> None:
    for into, waiting in rows.items():
        for start in range(0, len(waiting), MAX_ROWS):
            some = waiting[start : start + MAX_ROWS]
            connection.execute(_statement(into, len(some)), [value for row in some for value in row])
    rows.clear()


def _work(connection: sqlite3.Connection, operation: Operation[Any]) -> None:
    connection.execute("SAVEPOINT one")
    try:
        operation.result = operation.work(connection)
    except (sqlite3.Error, OSError):
        raise
    except Exception as error:  # noqa: BLE001  it belongs to whoever asked, not to this thread
        operation.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")
