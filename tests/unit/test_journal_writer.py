"""Many operations in one transaction: in their order, each with its own result, or none of them."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulksend.errors import JournalError
from bulksend.journal.sqlite_writer import MAX_ROWS, Insertion, SqliteWriter

NOTES = Insertion("INSERT INTO note (id, text)", columns=2)


def journal(tmp_path: Path) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False)

    connect().execute("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT")
    return connect


def count(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT count(*) FROM note").fetchone()[0])


def in_one_transaction(writer: SqliteWriter, ask: Callable[[], list[asyncio.Future[Any]]]) -> list[Any]:
    """The results of all that `ask` asks for, while the writer is held up by something before it."""

    async def main() -> list[Any]:
        go = threading.Event()
        writer.run(lambda _: go.wait(30.0))
        asked = ask()
        go.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(main())


def test_rows_go_in_together_and_before_whatever_comes_after_them(tmp_path: Path) -> None:
    connect = journal(tmp_path)
    writer = SqliteWriter(connect)
    rows = 2 * MAX_ROWS + 3

    def ask() -> list[asyncio.Future[Any]]:
        some = [writer.insert(NOTES, lambda _, n=n: ((n, "a"), n)) for n in range(rows)]  # type: ignore[misc]
        some.append(writer.run(count))
        some.append(writer.insert(NOTES, lambda _: ((rows, "b"), "last")))
        some.append(writer.insert(NOTES, lambda _: (None, "none")))
        return some

    results = in_one_transaction(writer, ask)
    writer.close()
    assert results == [*range(rows), rows, "last", "none"]
    assert count(connect()) == rows + 1


def test_a_row_that_cannot_be_made_fails_alone(tmp_path: Path) -> None:
    connect = journal(tmp_path)
    writer = SqliteWriter(connect)

    def refuse(_: sqlite3.Connection) -> Any:
        raise ValueError("no")

    def ask() -> list[asyncio.Future[Any]]:
        return [
            writer.insert(NOTES, lambda _: ((1, "a"), 1)),
            writer.insert(NOTES, refuse),
            writer.insert(NOTES, lambda _: ((2, "b"), 2)),
        ]

    first, second, third = in_one_transaction(writer, ask)
    writer.close()
    assert (first, third) == (1, 2)
    assert isinstance(second, ValueError)
    assert count(connect()) == 2


def test_when_the_database_refuses_a_row_nothing_of_the_group_is_written(tmp_path: Path) -> None:
    connect = journal(tmp_path)
    writer = SqliteWriter(connect)

    def ask() -> list[asyncio.Future[Any]]:
        return [writer.insert(NOTES, lambda _, n=n: ((n, "a"), n)) for n in (1, 2, 1)]  # type: ignore[misc]

    results = in_one_transaction(writer, ask)
    assert [type(result) for result in results] == [JournalError] * 3
    assert in_one_transaction(writer, lambda: [writer.run(count)]) == [0]
    writer.close()


def test_a_row_that_cannot_be_bound_fails_the_group_and_the_next_goes_on(tmp_path: Path) -> None:
    writer = SqliteWriter(journal(tmp_path))

    def ask() -> list[asyncio.Future[Any]]:
        return [writer.insert(NOTES, lambda _, n=n: ((n, "a"), n)) for n in (1, 2**70)]  # type: ignore[misc]

    results = in_one_transaction(writer, ask)
    assert [type(result) for result in results] == [JournalError] * 2
    assert in_one_transaction(writer, lambda: [writer.run(count)]) == [0]
    writer.close()


@pytest.mark.parametrize("rows", [1, MAX_ROWS - 1, MAX_ROWS, MAX_ROWS + 1])
def test_every_row_arrives(tmp_path: Path, rows: int) -> None:
    connect = journal(tmp_path)
    writer = SqliteWriter(connect)

    def ask() -> list[asyncio.Future[Any]]:
        return [writer.insert(NOTES, lambda _, n=n: ((n, f"{n}"), n)) for n in range(rows)]  # type: ignore[misc]

    in_one_transaction(writer, ask)
    writer.close()
    assert connect().execute("SELECT id, text FROM note ORDER BY id").fetchall() == [(n, f"{n}") for n in range(rows)]
