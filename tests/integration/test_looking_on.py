"""Whatever becomes of a census, what it looks on at goes on and ends; and there is one at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bulksend.facts import Audience, Fact, LoopLagged, StoreCounted
from bulksend.journal import Census
from bulksend.worker import Store, looking_on
from bulksend.worker.log import configure_log
from bulksend.worker.looking_on import looking_on as look_on


class Slow:
    """Census's `count`, made to wait until it is let go, or to fail."""

    def __init__(self, count: Callable[[Census, int], StoreCounted]) -> None:
        self._count = count
        self.go = threading.Event()
        self.begun = threading.Event()
        self.error: Exception | None = None
        self.counts = self.at_once = self.most_at_once = 0

    def __call__(self, census: Census, workers: int) -> StoreCounted:
        self.counts += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            assert self.go.wait(20)
            if self.error is not None:
                raise self.error
            return self._count(census, workers)
        finally:
            self.at_once -= 1


class Told:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def observe(self, fact: Fact) -> None:
        self.facts.append(fact)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    made = Slow(Census.count)
    monkeypatch.setattr(Census, "count", lambda census, workers: made(census, workers))  # noqa: PLW0108  a method of it
    return made


def look(folder: Path, told: Told, inside: Callable[[], None]) -> None:
    """Be looked on at, for as long as `inside` takes in a thread of its own."""

    async def main() -> None:
        async with look_on(Store.at(folder), Audience([told])):
            await asyncio.to_thread(inside)

    asyncio.run(main())


def test_the_last_census_waits_for_the_one_that_is_under_way(tmp_path: Path, slow: Slow) -> None:
    told = Told()

    def leave_while_it_counts() -> None:
        assert slow.begun.wait(20)
        threading.Timer(0.1, slow.go.set).start()

    look(tmp_path, told, leave_while_it_counts)
    assert (slow.counts, slow.most_at_once) == (2, 1)
    assert [fact.workers for fact in told.facts if isinstance(fact, StoreCounted)] == [1]


def test_a_census_that_does_not_end_is_not_waited_for(
    tmp_path: Path, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_on, "LAST_WITHIN_S", 0.05)
    look(tmp_path, Told(), lambda: None)
    assert slow.at_once == 1, "it still counts, and nobody waits"
    slow.go.set()


def test_a_census_that_fails_ends_nothing(tmp_path: Path, slow: Slow, capsys: pytest.CaptureFixture[str]) -> None:
    configure_log("error", "json")
    slow.error = RuntimeError("a@example.com")
    slow.go.set()
    told, lagged = Told(), threading.Event()

    def until_the_loop_was_looked_at() -> None:
        while not lagged.wait(0.01):
            if any(isinstance(fact, LoopLagged) for fact in told.facts):
                lagged.set()

    look(tmp_path, told, until_the_loop_was_looked_at)
    assert slow.counts >= 2
    said = capsys.readouterr()
    assert "the store cannot be counted" in said.err
    assert "example.com" not in said.err
