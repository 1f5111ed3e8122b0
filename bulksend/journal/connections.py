"""Connections that are used again: making one for each call would cost more than the call."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Generic, Protocol, TypeVar

__all__ = ["Connections"]

KEPT = 4
"""As many threads as there may be at once without a connection being made anew."""


class Closable(Protocol):
    """A connection."""

    def close(self) -> None:
        """End it; a second time is a no-op."""
        ...


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """Each is one thread's at a time. They are closed with whoever holds this."""

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._idle: list[C] = []
        self._end = weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def lent(self, begin: Callable[[C], object]) -> Iterator[C]:
        """A connection on which `begin` has been called. It is used again only if the block ends well.

        One that has been idle may be dead by now, of which `begin` tells: then another is taken.
        """
        connection = self._begun(begin)
        try:
            yield connection
        except BaseException:
            _close(connection)
            raise
        if len(self._idle) < KEPT:
            self._idle.append(connection)
        else:
            _close(connection)

    def _begun(self, begin: Callable[[C], object]) -> C:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            try:
                begin(connection)
            except Exception:  # noqa: BLE001  whatever it is, a new connection has it too, or not
                _close(connection)
            else:
                return connection
        connection = self._connect()
        try:
            begin(connection)
        except BaseException:
            _close(connection)
            raise
        return connection


def _close_all(idle: list[C]) -> None:
    while idle:
        _close(idle.pop())


def _close(connection: Closable) -> None:
    with suppress(Exception):
        connection.close()
