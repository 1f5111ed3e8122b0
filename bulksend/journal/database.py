"""What the two stores' connections have in common, so that one text of SQL serves both.

Statements take `?` for parameters and no other `?` or `%`. JSON columns take and give text in SQLite; PostgreSQL takes
text and gives values. The same goes for lists: JSON in SQLite, arrays in PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Database", "Living", "Rows"]


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """Rows that it changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """A connection."""

    def execute(self, statement: str, parameters: Sequence[Any] = ..., /) -> Rows:
        """One statement."""
        ...

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        """One statement for each set of parameters."""
        ...


@dataclass(frozen=True, slots=True)
class Living:
    """Which unanswered attempts are in flight and not in doubt: a condition on `attempt AS a` and its parameters."""

    condition: str
    parameters: tuple[object, ...] = ()
