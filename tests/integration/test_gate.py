"""A gate in front of any sequence of faults and deaths: never more than it lets go, and everybody in the end."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksend.engine.backlog import Backlog
from bulksend.journal import SqliteJournal
from bulksend.ledger import Ledger
from bulksend.worker.safety import CanaryGate
from tests.integration.test_conservation import CHUNKS, DEATHS, EACH, ENTRIES, WEATHERS, check, one_run, planned
from tests.ses_in_memory import ListInMemory, SesInMemory, Weather

SIZES = [(number, EACH) for number in range(CHUNKS)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(canary=st.integers(0, ENTRIES), weathers=WEATHERS, deaths=DEATHS, seed=st.integers(0, 2**16))
def test_a_gate_is_kept_through_faults_and_deaths(
    canary: int, weathers: list[Weather], deaths: list[float], seed: int
) -> None:
    storm = iter(weathers)
    ses = SesInMemory(lambda: next(storm, Weather.FINE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        campaign = planned(SqliteJournal(path))
        for number, die_after_s in enumerate([*deaths, 5.0]):
            gate = CanaryGate(SIZES, canary)
            one_run(SqliteJournal(path), campaign, ses, die_after_s=die_after_s, seed=seed + number, gate=gate)
            assert set(ses.accepted) <= set(range(1, canary + 1))
        one_run(SqliteJournal(path), campaign, ses, die_after_s=None, seed=seed)
        check(SqliteJournal(path).tally(campaign), ses)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(0, 300))
def test_its_limits_add_up_to_the_first_entries_of_the_list(sizes: list[int], canary: int) -> None:
    gate = CanaryGate(list(enumerate(sizes)), canary)
    limits = [gate.limit(number) or 0 for number in range(len(sizes))]
    assert sum(limits) == min(canary, sum(sizes))
    partial = [limit < size for limit, size in zip(limits, sizes, strict=True)]
    assert partial == sorted(partial), "the first chunks come first"
    gate.open()
    assert {gate.limit(number) for number in range(len(sizes))} == {None}


def test_what_is_barred_is_neither_opened_nor_taken_nor_finished() -> None:
    gate = CanaryGate(SIZES, EACH + 3)
    backlog = Backlog("c", limit=gate.limit)
    backlog.offer([2, 1])
    assert [backlog.next_unopened] == [1]
    opened = backlog.add(ListInMemory(CHUNKS, EACH).read(1), Ledger.blank(EACH), 0.0)
    assert [backlog.next_unopened] == [None]
    assert opened.untried == 3
    taken = backlog.take(50, 0.0)
    assert taken is not None
    assert list(taken.indices) == [0, 1, 2]
    opened.in_flight -= 1
    assert backlog.take(50, 0.0) is None
    assert (backlog.next_at(), backlog.finished(), backlog.bars_any) == (None, [], True)
    gate.open()
    backlog.unbar()
    assert [backlog.next_unopened] == [2]
    more = backlog.take(50, 0.0)
    assert more is not None
    assert list(more.indices) == list(range(3, EACH))
    assert not backlog.bars_any
