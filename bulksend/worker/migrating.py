"""migrate: the tables of a store in PostgreSQL."""

from __future__ import annotations

from bulksend.config import Settings
from bulksend.errors import UsageError
from bulksend.journal import SQLITE, migrate_postgres

__all__ = ["migrate", "migrate_database"]


def migrate(settings: Settings) -> list[str]:
    """Make the tables of the store that the settings name, or bring them up to date; returns what was made.

    Raises:
        ConfigError: the libraries for PostgreSQL are not installed.
        JournalError: the database cannot be used.
        UsageError: the store is not in PostgreSQL.
    """
    if settings.store is None or settings.store.startswith(SQLITE):
        raise UsageError(
            "a store in SQLite makes its tables itself",
            hint="For PostgreSQL, pass --store postgresql://USER@HOST/DATABASE, or set store in config.toml.",
        )
    return migrate_database(settings.store)


def migrate_database(url: str) -> list[str]:
    """The tables of bulksend and those of procrastinate. Raises as `migrate` does."""
    return migrate_postgres(url, _tables_of_jobs)


def _tables_of_jobs() -> tuple[str, str, str]:
    from bulksend.fleet import chunk_schema  # noqa: PLC0415  its library may not be installed

    return "procrastinate", "procrastinate_jobs", chunk_schema()
