"""Group commit: one thread owns the connection; each commit takes all that is waiting.

An fsync costs the same for one intent as for fifty, so whatever is queued while one commit is under way shares the
next.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

__all__ = ["GroupWriter", "Operation"]

T = TypeVar("T")


class Operation(Generic[T]):
    """Something to be done in the next transaction: `work`, of a `kind` that may be done together, None for none."""

    __slots__ = ("error", "future", "kind", "result", "work")

    def __init__(self, work: Any, kind: object, future: asyncio.Future[T]) -> None:
        self.work = work
        self.kind = kind
        self.future = future
        self.result: T | None = None
        self.error: BaseException | None = None

    def deliver(self) -> None:
        """Tell whoever asked."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]


class GroupWriter(ABC):
    """Does operations in a thread of its own, many to a transaction, in the order they were given.

    A result is only delivered after the commit that made it durable.
    """

    def __init__(self, max_group: int = 256) -> None:
        self._max_group = max_group
        self._queue: SimpleQueue[Operation[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self.on_commit: Callable[[float, int], None] | None = None
        """Called in the writer's thread after each commit: its duration in seconds, its operations. Never raises."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, work: Any, kind: object = None) -> asyncio.Future[Any]:
        """Do it in the next transaction; its result comes once that is durable."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.put(Operation(work, kind, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    @abstractmethod
    def _commit(self, group: list[Operation[Any]]) -> None:
        """Do a group in one transaction and give each its result or error. Never raises."""

    @abstractmethod
    def _end(self) -> None:
        """Let go of the connection. Never raises."""

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            group: list[Operation[Any]] = []
            item = self._queue.get()
            while item is not None:
                group.append(item)
                if len(group) >= self._max_group or self._queue.empty():
                    break
                item = self._queue.get()
            open_for_more = item is not None
            if group:
                began = time.perf_counter()
                self._commit(group)
                duration_s = time.perf_counter() - began
                _deliver(group)
                if self.on_commit is not None:
                    self.on_commit(duration_s, len(group))
        self._end()


def _deliver(group: list[Operation[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Operation[Any]]] = {}
    for operation in group:
        by_loop.setdefault(operation.future.get_loop(), []).append(operation)
    for loop, operations in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is waiting any more
            loop.call_soon_threadsafe(_deliver_all, operations)


def _deliver_all(operations: list[Operation[Any]]) -> None:
    for operation in operations:
        operation.deliver()
