"""The store of events in SQLite: a file of its own beside the journal, WAL, synchronous=FULL."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar, Protocol

import orjson

from bulksend.errors import EventStoreError
from bulksend.journal.connections import Connections
from bulksend.journal.database import Database
from bulksend.journal.event_tables import EventTables
from bulksend.journal.filesystem import clear_free_space, make_private, refuse_network
from bulksend.journal.recording import Into
from bulksend.journal.schemas import statements, when_free

__all__ = ["SqliteEvents"]

SCHEMAS = ("events_schema.sql",)
"""One after the other: a file of an earlier version lacks the last ones only."""
SCHEMA_VERSION = len(SCHEMAS)
BUSY_TIMEOUT_S = 10.0
ROWS_AT_ONCE = 100
"""Rows to a statement: each gives the interpreter's lock away and has to win it back."""
CACHE_BYTES = 16_000_000


class Memory(Protocol):
    """What remembers, elsewhere, that there is a file: the journal."""

    def has_events(self) -> bool:
        """Whether there ever was one."""
        ...

    def remember_events(self, *, there: bool) -> None:
        """There is one; or it is lost, and given up."""
        ...


class SqliteEvents(EventTables):
    """Made by the first that writes: while there never was a file, nothing was heard, and nobody is suppressed.

    If `memory` knows of one and it is gone, it is lost, and with it whom not to write to: that is never taken for an
    empty list.

    Raises:
        EventStoreError: the file cannot be opened, is damaged, is lost or was made by a newer version.
    """

    listed_numbers: ClassVar[str] = "SELECT value FROM json_each(?)"
    listed_texts: ClassVar[str] = "SELECT value FROM json_each(?)"

    def __init__(self, path: Path, memory: Memory | None = None) -> None:
        self.path = path
        self._memory = memory
        self._made = threading.Event()
        self._preparing = threading.Lock()
        self._connections = Connections(self._connect)

    def clear_free_space(self) -> None:
        """See EventRecords."""
        if not self._is_there():
            return
        clear_free_space(self.path, self._connect, EventStoreError)

    def begin_anew(self) -> bool:
        """Go on with an empty store where the file is lost; whether it is."""
        if self._memory is None or not self._memory.has_events() or not self._is_empty():
            return False
        self._memory.remember_events(there=False)
        return True

    # The file ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        try:
            if not self._is_there():
                with closing(_empty()) as db:
                    yield db
                return
            with self._connections.lent(_as_it_is) as db:
                db.execute("BEGIN")
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise EventStoreError(f"{self.path} cannot be read: {error}") from error

    @contextmanager
    def _deciding(self) -> Iterator[Database]:
        try:
            self._make()
            with self._connections.lent(_as_it_is) as db:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise EventStoreError(f"{self.path} cannot be written: {error}") from error

    def _is_there(self) -> bool:
        """Whether anything was ever written; an older file is brought up to date."""
        if self._made.is_set():
            self._refuse_removed()
            return True
        expected = self._is_expected()
        if self._is_empty():
            if expected:
                raise self._lost()
            return False
        self._make()
        return True

    def _is_empty(self) -> bool:
        """Whether there is no file, or whoever made it was killed, or is about to go on."""
        try:
            if not self.path.exists() or self.path.stat().st_size == 0:
                return True
            with closing(self._connect()) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise EventStoreError(f"{self.path} cannot be opened: {error}") from error
        return bool(version == 0)

    def _is_expected(self) -> bool:
        """Asked before the file is looked for: another process makes it first, and has it remembered then."""
        return self._memory is not None and self._memory.has_events()

    def _refuse_removed(self) -> None:
        """What is written to a file that has no name any more is lost with it."""
        try:
            there = self.path.exists()
        except OSError as error:
            raise EventStoreError(f"{self.path} cannot be opened: {error}") from error
        if not there:
            raise self._lost()

    def _lost(self) -> EventStoreError:
        """Whoever plans now would write to everybody who has unsubscribed."""
        return EventStoreError(
            f"{self.path} is {'empty' if self.path.exists() else 'missing'}, and the journal knows that there was one: "
            "it is lost, and with it whom not to write to, and what became of the mails",
            hint="Restore it from a backup, with its -wal file if there is one. Only if there is none: bulksend "
            "suppression anew begins an empty one; then import or sync what you know from elsewhere before you send.",
        )

    def _make(self) -> None:
        if self._made.is_set():
            self._refuse_removed()
            return
        expected = self._is_expected()
        if expected and self._is_empty():
            raise self._lost()
        with self._preparing:
            if self._made.is_set():
                return
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                refuse_network(self.path.parent)
                make_private(self.path)
                with closing(when_free(self._connect)) as db:
                    db.execute("BEGIN IMMEDIATE")  # another process may be making it
                    (version,) = db.execute("PRAGMA user_version").fetchone()
                    if version > SCHEMA_VERSION:
                        raise EventStoreError(
                            f"{self.path} was made by a newer bulksend (format {version}, this one reads "
                            f"{SCHEMA_VERSION})",
                            hint="Use the version that made it, or a newer one.",
                        )
                    for statement in statements(SCHEMAS, version):
                        db.execute(statement)
                    db.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                raise EventStoreError(f"{self.path} cannot be opened: {error}") from error
            if self._memory is not None and not expected:
                self._memory.remember_events(there=True)
            self._made.set()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1000}")
        return db

    # Many rows --------------------------------------------------------------------------------------------------------

    def _insert(self, db: Database, into: Into, rows: Sequence[tuple[object, ...]]) -> int:
        inserted = 0
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            cursor = db.execute(_insertion(into, len(some)), [value for row in some for value in row])
            inserted += cursor.rowcount
        return inserted

    def _mail_ids(self, db: Database, count: int) -> Sequence[int]:
        (last,) = db.execute("SELECT coalesce(max(id), 0) FROM mail").fetchone()
        return range(last + 1, last + 1 + count)

    def _mails_of(
        self, db: Database, campaign_id: str, rows: Collection[int]
    ) -> Iterable[tuple[int, int, str, float, int]]:
        # As one row: each that is fetched gives the interpreter's lock away. JSON would cut the digits of a time.
        (found,) = db.execute(
            "SELECT json_group_array(json_array(id, row, message_id, printf('%!.17g', sent_at), befell)) FROM mail "
            "WHERE campaign_id = ? AND row IN (SELECT value FROM json_each(?))",
            (campaign_id, orjson.dumps(list(rows)).decode()),
        ).fetchone()
        return [
            (mail, row, message_id, float(sent_at), befell)
            for mail, row, message_id, sent_at, befell in orjson.loads(found)
        ]

    def _update_mails(self, db: Database, mails: Sequence[tuple[int, float, int]]) -> None:
        for start in range(0, len(mails), ROWS_AT_ONCE):
            some = mails[start : start + ROWS_AT_ONCE]
            db.execute(
                "UPDATE mail SET sent_at = v.column2, befell = v.column3 "  # noqa: S608  marks alone
                f"FROM (VALUES {_marks(3, len(some))}) AS v WHERE mail.id = v.column1",
                [value for mail in some for value in mail],
            )

    def _known_events(self, db: Database, events: Sequence[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
        known: set[tuple[int, bytes]] = set()
        for start in range(0, len(events), ROWS_AT_ONCE):
            some = events[start : start + ROWS_AT_ONCE]
            (found,) = db.execute(
                f"SELECT json_group_array(json_array(e.mail, hex(e.key))) FROM (VALUES {_marks(2, len(some))}) AS v "  # noqa: S608  marks alone
                "CROSS JOIN event e ON e.mail = v.column1 AND e.key = v.column2",  # in this order
                [value for event in some for value in event],
            ).fetchone()
            known.update((mail, bytes.fromhex(key)) for mail, key in orjson.loads(found))
        return known

    def _suppress_alone(self, db: Database) -> None:
        """Nobody else writes during a transaction."""


def _as_it_is(_: sqlite3.Connection) -> None:
    """A file has nothing that could have gone away."""


def _empty() -> sqlite3.Connection:
    """What a store is that nobody has made yet."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements(SCHEMAS, 0):
        db.execute(statement)
    return db


@cache
def _insertion(into: Into, rows: int) -> str:
    columns = ", ".join(name for name, _ in into.columns)
    return f"INSERT INTO {into.table} ({columns}) VALUES {_marks(len(into.columns), rows)} {into.tail}"  # noqa: S608  our own words


@cache
def _marks(columns: int, rows: int) -> str:
    row = "(" + ", ".join("?" * columns) + ")"
    return ", ".join([row] * rows)
