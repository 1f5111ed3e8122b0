"""Any sequence of faults, crashes and resumes.

Everyone is accounted for, and nobody is in two requests unless refused in the first. Real journal, real engine, a
model of SES that counts.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksend.engine import Engine, Gate
from bulksend.facts import EntryStanding
from bulksend.journal import Census, Journal, SqliteJournal
from bulksend.model import Binding, Campaign, CampaignState, ChunkInfo, Policy, Tally
from tests.clocks import JumpingLoop
from tests.ses_in_memory import ListInMemory, OpenGate, SesInMemory, Weather

DEAD: list[asyncio.Task[Any]] = []
"""What was going on when a process died. It is kept.

To let go of it would run its `finally` clauses, as no death does.
"""
CHUNKS = 3
EACH = 17
ENTRIES = CHUNKS * EACH


def planned(journal: Journal) -> Campaign:
    campaign = Campaign(
        id="c" * 26,
        name="any",
        state=CampaignState.PLANNED,
        created_at=0.0,
        binding=Binding("123456789012", "eu-west-1"),
        prefix=b"",
        suffix=b"",
        frozen={},
        list_digest="",
        snapshot="",
        snapshot_bytes=0,
        snapshot_sha256="",
        rows=ENTRIES,
        entries=ENTRIES,
        recipients=ENTRIES,
    )
    journal.announce_snapshot(campaign.snapshot)
    journal.add(campaign, [ChunkInfo(n, EACH, EACH) for n in range(CHUNKS)])
    return campaign


def one_run(
    journal: SqliteJournal,
    campaign: Campaign,
    ses: SesInMemory,
    *,
    die_after_s: float | None,
    seed: int,
    gate: Gate | None = None,
) -> None:
    """Send until the end, or until the process dies: then nothing that it would still have written is written."""
    loop = JumpingLoop()
    at_work = 0
    engine = Engine(
        campaign.id,
        source=ListInMemory(CHUNKS, EACH),
        journal=journal,
        transport=ses,
        pacer=OpenGate(),
        policy=Policy(),
        gate=gate,
        max_in_flight=4,
        now=loop.now,
        uniform=random.Random(seed).uniform,
    )
    journal.now = loop.now

    def counting(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*work: Any) -> Any:
            nonlocal at_work
            at_work += 1
            try:
                return await write(*work)
            finally:
                at_work -= 1

        return counted

    loop.stand_still_while(lambda: at_work > 0)

    async def main() -> None:
        running = asyncio.ensure_future(engine.run())
        if die_after_s is None:
            await running
            return
        await asyncio.wait([running], timeout=die_after_s)
        running.add_done_callback(lambda task: task.cancelled() or task.exception())

    with pytest.MonkeyPatch.context() as patch, journal.sending():
        patch.setattr(journal, "_write", counting(journal._write))
        patch.setattr(journal, "_insert", counting(journal._insert))
        try:
            loop.run_until_complete(main())
        finally:
            for task in asyncio.all_tasks(loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                DEAD.append(task)
            loop.close()


def check_census(census: Census, tally: Tally, *, over: bool) -> None:
    """Whatever it has kept from earlier counts, it says what replaying every attempt says."""
    counted = Counter(census.count(1).entries.get("any", {}))
    whole = Counter(
        {
            EntryStanding.PENDING: tally.pending,
            EntryStanding.IN_FLIGHT: tally.in_flight,
            EntryStanding.ACCEPTED: tally.accepted,
            EntryStanding.DEAD: tally.dead,
            EntryStanding.IN_DOUBT: tally.in_doubt,
        }
    )
    counted[EntryStanding.PENDING] += counted.pop(EntryStanding.RETRYING, 0)
    assert +counted == +(Counter({EntryStanding.IN_DOUBT: tally.in_doubt}) if over else whole)


def check(tally: Tally, ses: SesInMemory) -> None:
    assert tally.contradictions == 0
    assert tally.adds_up
    assert all(times == 1 for times in ses.accepted.values()), "a second copy"
    assert tally.accepted <= len(ses.accepted) <= tally.accepted + tally.in_doubt, "a loss"


WEATHERS = st.lists(st.sampled_from(Weather), max_size=60)
DEATHS = st.lists(st.floats(0.0, 0.2), max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(weathers=WEATHERS, deaths=DEATHS, seed=st.integers(0, 2**16))
def test_conservation(weathers: list[Weather], deaths: list[float], seed: int) -> None:
    storm = iter(weathers)
    ses = SesInMemory(lambda: next(storm, Weather.FINE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        campaign = planned(SqliteJournal(path))
        looking_on = SqliteJournal(path).census()
        for die_after_s in deaths:
            journal = SqliteJournal(path)
            one_run(journal, campaign, ses, die_after_s=die_after_s, seed=seed)
            check(SqliteJournal(path).tally(campaign), ses)
            over = journal.campaign("any").state is CampaignState.FINISHED
            check_census(looking_on, SqliteJournal(path).tally(campaign), over=over)
        for _ in range(ENTRIES):
            journal = SqliteJournal(path)
            one_run(journal, campaign, ses, die_after_s=None, seed=seed)
            tally = SqliteJournal(path).tally(campaign)
            check(tally, ses)
            over = journal.campaign("any").state is CampaignState.FINISHED
            check_census(looking_on, tally, over=over)
            if over:
                break
        check_census(SqliteJournal(path).census(), tally, over=True)
        assert (tally.pending, tally.in_flight) == (0, 0), "a campaign in good weather ends"
        crashed = len(deaths) * 4 * 5
        assert tally.in_doubt <= ses.ambiguous + crashed


def test_a_journal_that_forgets_its_intents_sends_copies() -> None:
    """What the property rests on: take the intents away, and the same crash sends copies that `check` sees."""
    ses = SesInMemory(lambda: Weather.FINE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        campaign = planned(SqliteJournal(path))
        one_run(SqliteJournal(path), campaign, ses, die_after_s=0.03, seed=0)
        assert sum(ses.accepted.values())
        with SqliteJournal(path).deciding() as db:
            db.execute("DELETE FROM outcome")
            db.execute("DELETE FROM attempt")
        one_run(SqliteJournal(path), campaign, ses, die_after_s=None, seed=0)
        with pytest.raises(AssertionError, match="a second copy"):
            check(SqliteJournal(path).tally(campaign), ses)
