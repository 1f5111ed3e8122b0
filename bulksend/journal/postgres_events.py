"""The store of events on PostgreSQL: tables beside the journal's, for any number of consumers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar, cast

import psycopg

from bulksend.journal.connections import Connections
from bulksend.journal.database import Database
from bulksend.journal.event_tables import EventTables
from bulksend.journal.postgres_server import STALLED_AFTER, PgDatabase, PgServer
from bulksend.journal.recording import Into

__all__ = ["PostgresEvents"]

SUPPRESS_LOCK = 0x73757070
"""Key of the advisory lock of whoever suppresses ('supp'), for the length of a transaction."""
READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
DECIDE = f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on; {STALLED_AFTER}"

Connection = psycopg.Connection[Any]


class PostgresEvents(EventTables):
    """Connections are kept for the next call. After an outage, the next call connects anew.

    Raises:
        JournalError: the database cannot be used, or lacks the tables.
    """

    listed_numbers: ClassVar[str] = "SELECT value::bigint FROM json_array_elements_text(?::json)"
    listed_texts: ClassVar[str] = "SELECT value FROM json_array_elements_text(?::json)"

    def __init__(self, url: str) -> None:
        self._server = PgServer(url)
        self._connections = Connections(self._server.connect)

    def clear_free_space(self) -> None:
        """See EventRecords. The database's own logs and backups keep what was removed."""
        try:
            with self._server.connect() as connection:
                connection.execute("VACUUM event")
        except psycopg.Error as error:
            raise self._server.explained(error, "written") from error

    # The database -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Database]:
        with self._transaction(_begins(READ), "read") as db:
            yield db

    @contextmanager
    def _deciding(self) -> Iterator[Database]:
        with self._transaction(_begins(DECIDE), "written") as db:
            yield db

    @contextmanager
    def _transaction(self, begin: Callable[[Connection], object], what: str) -> Iterator[PgDatabase]:
        try:
            with self._connections.lent(begin) as connection:
                yield PgDatabase(connection)
                connection.execute("COMMIT")
        except psycopg.Error as error:
            raise self._server.explained(error, what) from error

    # Many rows --------------------------------------------------------------------------------------------------------

    def _insert(self, db: Database, into: Into, rows: Sequence[tuple[object, ...]]) -> int:
        return db.execute(_insertion(into), _by_column(rows)).rowcount if rows else 0

    def _mail_ids(self, db: Database, count: int) -> Sequence[int]:
        return [number for (number,) in db.execute("SELECT nextval('mail_id') FROM generate_series(1, ?)", (count,))]

    def _mails_of(
        self, db: Database, campaign_id: str, rows: Collection[int]
    ) -> Iterable[tuple[int, int, str, float, int]]:
        return db.execute(
            "SELECT id, row, message_id, sent_at, befell FROM mail WHERE campaign_id = ? AND row = ANY(?::bigint[])",
            (campaign_id, list(rows)),
        ).fetchall()

    def _update_mails(self, db: Database, mails: Sequence[tuple[int, float, int]]) -> None:
        db.execute(
            "UPDATE mail SET sent_at = v.sent_at, befell = v.befell "
            "FROM unnest(?::bigint[], ?::double precision[], ?::integer[]) AS v (id, sent_at, befell) "
            "WHERE mail.id = v.id",
            _by_column(mails),
        )

    def _known_events(self, db: Database, events: Sequence[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
        return {
            (mail, bytes(key))
            for mail, key in db.execute(
                "SELECT e.mail, e.key FROM unnest(?::bigint[], ?::bytea[]) AS v (mail, key) "
                "JOIN event e ON e.mail = v.mail AND e.key = v.key",
                _by_column(events),
            )
        }

    def _suppress_alone(self, db: Database) -> None:
        db.execute("SELECT pg_advisory_xact_lock(?)", (SUPPRESS_LOCK,))


@cache
def _begins(statements: str) -> Callable[[Connection], object]:
    return lambda connection: connection.execute(cast("Any", statements))


def _by_column(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


@cache
def _insertion(into: Into) -> str:
    columns = ", ".join(name for name, _ in into.columns)
    lists = ", ".join(f"?::{kind}[]" for _, kind in into.columns)
    return f"INSERT INTO {into.table} ({columns}) SELECT * FROM unnest({lists}) {into.tail}"  # noqa: S608  our own words
