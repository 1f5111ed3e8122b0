"""Speaking to PostgreSQL: connections, what has to be true of the server, migrations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, cast
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from bulksend.errors import BulksendError, JournalError
from bulksend.journal.database import Rows

__all__ = ["IDS_IN_BLOCK", "Identity", "OtherTables", "PgDatabase", "PgServer", "identity_of", "is_outage"]

MIN_VERSION = 140000
CONNECT_TIMEOUT_S = 10
KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15000,
}
"""A server that is gone without a word is missed within about 15 s (libpq, Connection Parameters)."""
STALLED_AFTER = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
"""Whoever is frozen, or gone without a word, while he decides something holds up the workers for no longer."""
IDS_IN_BLOCK = 10_000
"""Attempt ids to a number of the sequence attempt_block."""
MIGRATIONS = "migrations"
MIGRATION_LOCK = 0x62756C6B
"""Key of the advisory lock that is held while the schema is changed: 'bulk'."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database this is: another system identifier or timeline is another history (PostgreSQL, initdb; PITR)."""

    system_identifier: str
    timeline: str


@dataclass(frozen=True, slots=True)
class OtherTables:
    """Tables that a library brings along: they are there if the table `marker` is."""

    name: str
    marker: str
    statements: str


class PgDatabase:
    """A connection that takes the statements of both stores. See Database."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> Rows:
        """One statement."""
        return cast("Rows", self.connection.execute(translated(statement), parameters or None))

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """One statement for each set of parameters, sent together."""
        cursor = self.connection.cursor()
        cursor.executemany(translated(statement), parameters)
        return cast("Rows", cursor)


@cache
def translated(statement: str) -> Any:
    """With PostgreSQL's marks."""
    return statement.replace("?", "%s")


def is_outage(error: BaseException) -> bool:
    """Whether it is the server's trouble, which may pass: not reached, shut down, no room, read-only after a failover.

    SQLSTATE classes 08, 53, 57, 58, 40, 25006 and 25P03 (PostgreSQL, Error Codes). A lost connection has no code.
    """
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction | psycopg.errors.IdleInTransactionSessionTimeout):
        return True
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


class PgServer:
    """The database at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.place = _place(url)
        """The URL without what is secret."""

    def connect(self) -> psycopg.Connection[Any]:
        """A connection in autocommit mode. Raises psycopg.Error, and JournalError for a server that will not do."""
        options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "bulksend", **KEEPALIVE}
        connection = psycopg.connect(self.url, autocommit=True, **options)
        try:
            self._refuse_unsafe(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def reading(self) -> Iterator[PgDatabase]:
        """One consistent view for the length of the block. Raises JournalError."""
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "read") as db:
            yield db

    @contextmanager
    def deciding(self) -> Iterator[PgDatabase]:
        """A transaction, durable at the end of the block. Raises JournalError."""
        with self._transaction("BEGIN ISOLATION LEVEL READ COMMITTED", "written") as db:
            db.connection.execute("SET LOCAL synchronous_commit = on")
            db.connection.execute(STALLED_AFTER)
            yield db

    @contextmanager
    def _transaction(self, begin: sql.SQL | str, what: str) -> Iterator[PgDatabase]:
        try:
            with self.connect() as connection:
                connection.execute(cast("Any", begin))
                yield PgDatabase(connection)
                connection.execute("COMMIT")
        except psycopg.Error as error:
            raise self.explained(error, what) from error

    def explained(self, error: psycopg.Error, what: str) -> JournalError:
        """In words."""
        if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
            return JournalError(
                f"{self.place} has no tables of bulksend, or those of an earlier version",
                hint="Make them: bulksend migrate.",
            )
        text = " ".join(str(error).split())
        hint = None
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            hint = "Let the role that bulksend connects as own the tables: run bulksend migrate as that role."
        elif isinstance(error, psycopg.errors.DiskFull):
            hint = "Nothing more is sent until there is room on the database's disk; then it goes on."
        elif is_outage(error):
            hint = "See that the database runs, is reached from here, and lets this user in."
        explained = JournalError(f"{self.place} cannot be {what}: {text}", hint=hint)
        explained.is_outage = is_outage(error)
        return explained

    def version(self) -> int:
        """How many migrations the database has. Raises JournalError."""
        try:
            with self.connect() as connection:
                return _version(connection)
        except psycopg.Error as error:
            raise self.explained(error, "read") from error

    def migrate(self, others: Sequence[OtherTables] = ()) -> list[str]:
        """Bring the tables up to date, with those of others; returns what was made. Raises JournalError."""
        made = []
        try:
            with self.connect() as connection:
                connection.execute("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
                version = _version(connection)
                _refuse_newer(self.place, version)
                for number, name in enumerate(migrations()[version:], start=version + 1):
                    text = resources.files("bulksend.journal").joinpath(MIGRATIONS, name).read_text("utf-8")
                    with connection.transaction():
                        connection.execute(cast("Any", text))
                        connection.execute(
                            "CREATE TABLE IF NOT EXISTS bulksend_migration "
                            "(number integer PRIMARY KEY, name text NOT NULL, at double precision NOT NULL)"
                        )
                        connection.execute(
                            "INSERT INTO bulksend_migration VALUES (%s, %s, store_now())", (number, name)
                        )
                    made.append(name)
                for other in others:
                    if _is_missing(connection, other.marker):
                        with connection.transaction():
                            connection.execute(cast("Any", other.statements))
                        made.append(other.name)
        except psycopg.Error as error:
            raise self.explained(error, "written") from error
        return made

    def refuse_outdated(self) -> None:
        """Raises JournalError unless the tables are those that this version knows."""
        version = self.version()
        _refuse_newer(self.place, version)
        if version < len(migrations()):
            made = "no tables of bulksend" if version == 0 else f"tables of an earlier bulksend (format {version})"
            raise JournalError(f"{self.place} has {made}", hint="Make them: bulksend migrate.")

    def _refuse_unsafe(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.server_version < MIN_VERSION:
            raise JournalError(
                f"{self.place} is PostgreSQL {connection.info.server_version // 10000}", hint="It wants 14 or later."
            )
        row = connection.execute("SHOW fsync").fetchone()
        if row is None or row[0] != "on":
            raise JournalError(
                f"{self.place} runs with fsync = off: what it calls durable may be lost, and people written to twice",
                hint="Set fsync = on in postgresql.conf, and restart the database.",
            )


def identity_of(connection: psycopg.Connection[Any]) -> Identity:
    """Which database it is now. Raises psycopg.Error where the server does not tell."""
    row = connection.execute(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), "
        "left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"
    ).fetchone()
    assert row is not None
    return Identity(*row)


@cache
def migrations() -> tuple[str, ...]:
    """File names, in order."""
    folder = resources.files("bulksend.journal").joinpath(MIGRATIONS)
    return tuple(sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql")))


def _version(connection: psycopg.Connection[Any]) -> int:
    if _is_missing(connection, "bulksend_migration"):
        return 0
    row = connection.execute("SELECT coalesce(max(number), 0) FROM bulksend_migration").fetchone()
    assert row is not None
    return int(row[0])


def _is_missing(connection: psycopg.Connection[Any], table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return found is None or found[0] is None


def _refuse_newer(place: str, version: int) -> None:
    if version > len(migrations()):
        raise JournalError(
            f"{place} was made by a newer bulksend (format {version}, this one knows {len(migrations())})",
            hint="Use the version that made it, or a newer one.",
        )


def _place(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = f"{parts.hostname or 'local'}{f':{parts.port}' if parts.port else ''}"
        known = conninfo_to_dict(url)
        if "@" in parts.path or "@" in str(known.get("host", "")):
            raise ValueError("a part of the password would be taken for something else")  # noqa: TRY301
    except (ValueError, psycopg.Error):
        # The library's words quote what it does not understand, which may be the password.
        raise BulksendError(
            "the store's URL is not valid",
            hint="See the setting store. What is special in a password (@ / % : and spaces) is percent-encoded; better "
            "it is left to PGPASSWORD or ~/.pgpass.",
        ) from None
    return f"postgresql://{host}{parts.path}"
