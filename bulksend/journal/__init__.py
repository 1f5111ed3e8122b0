"""The durable record: what was planned, intended, answered and decided; and what became of it, as events tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, Union

from bulksend.errors import ConfigError
from bulksend.journal.census import Census
from bulksend.journal.events import EventRecords, EventTally, Evidence, Fate, Rates, Recorded
from bulksend.journal.reading import Submitted
from bulksend.journal.records import Records
from bulksend.journal.sqlite import SqliteJournal
from bulksend.journal.sqlite_events import SqliteEvents
from bulksend.journal.standstill import Standstill

if TYPE_CHECKING:
    from bulksend.journal.postgres import PostgresJournal
    from bulksend.journal.postgres_events import PostgresEvents

__all__ = [
    "SQLITE",
    "Census",
    "EventRecords",
    "EventTally",
    "Evidence",
    "Fate",
    "Journal",
    "PostgresEvents",
    "PostgresJournal",
    "Rates",
    "Recorded",
    "Records",
    "SqliteEvents",
    "SqliteJournal",
    "Standstill",
    "Submitted",
    "migrate_postgres",
    "open_postgres",
    "open_postgres_events",
]

SQLITE = "sqlite:"
"""How the name of a store in SQLite begins."""

Journal: TypeAlias = Union[SqliteJournal, "PostgresJournal"]


def open_postgres(url: str, *, lease_s: float = 30.0) -> PostgresJournal:
    """The journal in the database at a URL.

    Raises:
        ConfigError: the libraries for PostgreSQL are not installed.
        JournalError: it cannot be used, or has no tables yet.
    """
    with _missing_in_words():
        from bulksend.journal.postgres import PostgresJournal  # noqa: PLC0415
    return PostgresJournal(url, lease_s=lease_s)


def open_postgres_events(url: str) -> PostgresEvents:
    """The store of events in the database at a URL; nothing is asked of it yet.

    Raises:
        ConfigError: the libraries for PostgreSQL are not installed.
    """
    with _missing_in_words():
        from bulksend.journal.postgres_events import PostgresEvents  # noqa: PLC0415
    return PostgresEvents(url)


def migrate_postgres(url: str, others: Callable[[], tuple[str, str, str]]) -> list[str]:
    """Make the tables, or bring them up to date; returns what was made.

    `others` gives those of a library: a name, the table by which they are known, and the statements that make them.

    Raises:
        ConfigError: the libraries for PostgreSQL are not installed.
        JournalError: the database cannot be used.
    """
    with _missing_in_words():
        from bulksend.journal.postgres_server import OtherTables, PgServer  # noqa: PLC0415

        made = OtherTables(*others())
    return PgServer(url).migrate([made])


@contextmanager
def _missing_in_words() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the store is in PostgreSQL, and {error.name} is not installed",
            hint="Install what it needs: pip install 'bulksend[fleet]'.",
        ) from error
