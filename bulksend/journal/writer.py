"""Group commit: one thread owns the connection; each commit takes all that is waiting.

An fsync costs the same for one intent as for fifty, so whatever is queued while one commit is under way shares the
next.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from bulksend.errors import BulksendError, JournalError

__all__ = ["GroupWriter", "Insertion"]

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


class _Operation(Generic[T]):
    __slots__ = ("error", "future", "into", "result", "work")

    def __init__(
        self, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[T], into: Insertion | None
    ) -> None:
        self.work = work
        self.future = future
        self.into = into
        self.result: T | None = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


class GroupWriter:
    """Runs operations on the connection in its own thread, many to a transaction, in the order they were given.

    A result is only delivered after the commit that made it durable. An operation that raises BulksendError or
    ValueError fails alone; when SQLite itself fails, the whole group fails with JournalError and nothing of it is
    durable.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], max_group: int = 256) -> None:
        self._connect = connect
        self._max_group = max_group
        self._queue: SimpleQueue[_Operation[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self.on_commit: Callable[[float, int], None] | None = None
        """Called in the writer's thread after each commit: its duration in seconds, its operations. Never raises."""
        self.transaction = 0
        """A number that is another in each transaction; for operations, in the writer's thread."""
        self._thread.start()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Do `work` in the next transaction; its result comes once that is durable.

        Raises:
            JournalError: the transaction could not be committed.
        """
        return self._put(work, None)

    def insert(
        self, into: Insertion, row: Callable[[sqlite3.Connection], tuple[tuple[object, ...] | None, T]]
    ) -> asyncio.Future[T]:
        """Insert a row in the next transaction, together with the others that go into the same table.

        `row` is called in the writer's thread and gives the row, or None for none, and the result. It changes
        nothing itself. Raises as `run` does.
        """
        return self._put(row, into)

    def _put(self, work: Callable[[sqlite3.Connection], Any], into: Insertion | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put(_Operation(work, future, into))
        return future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        open_for_more = True
        while open_for_more:
            group: list[_Operation[Any]] = []
            item = self._queue.get()
            while item is not None:
                group.append(item)
                if len(group) >= self._max_group or self._queue.empty():
                    break
                item = self._queue.get()
            open_for_more = item is not None
            if group:
                began = time.perf_counter()
                connection = self._commit(connection, group)
                duration_s = time.perf_counter() - began
                _deliver(group)
                if self.on_commit is not None:
                    self.on_commit(duration_s, len(group))
        if connection is not None:
            connection.close()

    def _commit(self, connection: sqlite3.Connection | None, group: list[_Operation[Any]]) -> sqlite3.Connection | None:
        try:
            if connection is None:
                connection = self._connect()
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
        return connection


def _work_all(connection: sqlite3.Connection, group: list[_Operation[Any]]) -> None:
    rows: dict[Insertion, list[tuple[object, ...]]] = {}
    for operation in group:
        if operation.into is None:
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
                rows.setdefault(operation.into, []).append(row)
    _insert(connection, rows)


def _insert(connection: sqlite3.Connection, rows: dict[Insertion, list[tuple[object, ...]]]) -> None:
    for into, waiting in rows.items():
        for start in range(0, len(waiting), MAX_ROWS):
            some = waiting[start : start + MAX_ROWS]
            connection.execute(_statement(into, len(some)), [value for row in some for value in row])
    rows.clear()


def _work(connection: sqlite3.Connection, operation: _Operation[Any]) -> None:
    connection.execute("SAVEPOINT one")
    try:
        operation.result = operation.work(connection)
    except (sqlite3.Error, OSError):
        raise
    except Exception as error:  # noqa: BLE001  it belongs to whoever asked, not to this thread
        operation.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


def _deliver(group: list[_Operation[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Operation[Any]]] = {}
    for operation in group:
        by_loop.setdefault(operation.future.get_loop(), []).append(operation)
    for loop, operations in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is waiting any more
            loop.call_soon_threadsafe(_deliver_all, operations)


def _deliver_all(operations: list[_Operation[Any]]) -> None:
    for operation in operations:
        operation.deliver()
