from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bulksend.errors import CampaignBusyError, CampaignUnknownError, JournalError
from bulksend.journal import SqliteJournal
from bulksend.journal.lock import living_holder
from bulksend.model import (
    Batch,
    BatchKind,
    CampaignState,
    EntryOutcome,
    EntryState,
    Halt,
    HaltScope,
    Policy,
    SettlementVerdict,
    Verdict,
)
from tests.integration.test_conservation import EACH, ENTRIES, planned
from tests.ses_in_memory import ListInMemory

OK = EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id="m")
DEAD = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "no")
DOUBT = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "reset")
LATER = EntryOutcome(Verdict.TRANSIENT, "TRANSIENT_FAILURE", "busy", due_at=1234.5)


@pytest.fixture
def journal(tmp_path: Path) -> SqliteJournal:
    return SqliteJournal(tmp_path / "store" / "journal.db")


def batch(campaign_id: str, indices: list[int]) -> Batch:
    return Batch(campaign_id, ListInMemory(3, EACH).read(0), indices, len(indices), BatchKind.FIRST, 1)


def test_files_are_private(journal: SqliteJournal) -> None:
    assert stat.S_IMODE(journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700


def test_a_campaign_comes_back_as_it_was(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    assert journal.campaign("any") == campaign
    assert journal.campaigns() == [campaign]
    with pytest.raises(CampaignUnknownError, match="'other'"):
        journal.campaign("other")


def test_intend_settle_replay(journal: SqliteJournal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        first = await journal.intend(batch(campaign.id, [0, 1, 2, 3]))
        second = await journal.intend(batch(campaign.id, [5, 7]))
        assert first is not None
        assert second is not None
        await journal.settle(first, [OK, DEAD, LATER, DOUBT])
        await journal.settle(first, [OK, OK, OK, OK])
        ledger = await journal.open_chunk(campaign.id, 0)
        assert list(ledger.states[:8]) == [2, 3, 0, 4, 0, 1, 0, 1]
        assert ledger.histories[2].due_at == 1234.5
        assert not await journal.close_chunk(campaign.id, 0)

    with journal.sending():
        asyncio.run(main())
        assert journal.tally(campaign).in_flight == 2
    tally = journal.tally(campaign)
    assert (tally.accepted, tally.dead, tally.in_doubt, tally.in_flight) == (1, 1, 3, 0)
    assert tally.adds_up


def test_reports_tell_everything(journal: SqliteJournal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        for outcomes in ([LATER, OK], [DEAD]):
            intent = await journal.intend(batch(campaign.id, [0, 1] if len(outcomes) == 2 else [0]))
            assert intent is not None
            await journal.settle(intent, outcomes)

    with journal.sending():
        asyncio.run(main())
    first, second, third, *_ = journal.reports(campaign)
    assert (first.state, first.status, first.reason, first.attempts) == (EntryState.DEAD, "MESSAGE_REJECTED", "no", 2)
    assert (second.state, second.message_id, second.attempts) == (EntryState.ACCEPTED, "m", 1)
    assert (third.state, third.attempts, third.at) == (EntryState.PENDING, 0, None)
    assert len(list(journal.reports(campaign))) == ENTRIES


def test_evidence_that_came_meanwhile_narrows_an_intent(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    person = SqliteJournal(journal.path)

    async def main() -> None:
        sent = await journal.intend(batch(campaign.id, [0, 1, 2]))
        assert sent is not None
        await journal.settle(sent, [LATER, LATER, OK])
        reports = list(person.reports(campaign))
        assert person.decide_entries(campaign, [(reports[0], SettlementVerdict.ACCEPTED)], "an event") == 1
        narrowed = await journal.intend(batch(campaign.id, [0, 1]))
        assert narrowed is not None
        assert list(narrowed.batch.indices) == [1]
        assert narrowed.batch.recipients == 1
        assert await journal.intend(batch(campaign.id, [0])) is None

    with journal.sending():
        asyncio.run(main())
    assert journal.tally(campaign).contradictions == 0


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_somebody_stops_the_campaign(journal: SqliteJournal, state: str) -> None:
    campaign = planned(journal)

    async def main() -> None:
        assert await journal.intend(batch(campaign.id, [0])) is not None
        with SqliteJournal(journal.path)._deciding() as db:
            db.execute("UPDATE campaign SET state = ?", (state,))
        assert await journal.intend(batch(campaign.id, [1])) is None
        assert await journal.campaign_state(campaign.id) is CampaignState(state)

    with journal.sending():
        asyncio.run(main())


def test_settling_is_once_and_resend_opens_the_chunk_again(journal: SqliteJournal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        intent = await journal.intend(batch(campaign.id, list(range(EACH))))
        assert intent is not None
        await journal.settle(intent, [DOUBT] * EACH)
        assert await journal.close_chunk(campaign.id, 0)
        assert await journal.open_chunks(campaign.id) == [1, 2]

    with journal.sending():
        asyncio.run(main())
    reports = [r for r in journal.reports(campaign) if r.state is EntryState.IN_DOUBT]
    decisions = [(r, SettlementVerdict.RESEND) for r in reports[:3]] + [(reports[3], SettlementVerdict.DROP)]
    assert journal.decide_entries(campaign, decisions, "looked") == 4
    assert journal.decide_entries(campaign, decisions, "looked again") == 0
    tally = journal.tally(campaign)
    assert (tally.in_doubt, tally.dead, tally.pending) == (EACH - 4, 1, ENTRIES - EACH + 3)
    with journal.sending():
        assert asyncio.run(journal.open_chunks(campaign.id)) == [0, 1, 2]


def test_the_end_of_a_run_is_kept(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    halt = Halt("a reason", "a remedy", HaltScope.ACCOUNT)
    with journal.sending():
        asyncio.run(journal.set_state(campaign.id, CampaignState.HALTED, halt))
    assert journal.campaign("any").halt == halt


def test_a_new_policy_opens_doubts_again(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    with journal.sending():
        asyncio.run(journal.set_state(campaign.id, CampaignState.FINISHED))
    journal.set_policy(campaign, Policy(resend_in_doubt=True))
    assert journal.campaign("any").state is CampaignState.PLANNED
    assert journal.campaign("any").policy.resend_in_doubt


HOLD = """
import sys
from pathlib import Path
from bulksend.journal import SqliteJournal
with SqliteJournal(Path(sys.argv[1])).sending():
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_one_process_sends_and_its_death_frees_the_store(journal: SqliteJournal) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(journal.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    lock = journal.path.with_name("journal.db.lock")
    assert living_holder(lock)
    with pytest.raises(CampaignBusyError) as caught, journal.sending():
        pass
    assert f"process {holder.pid} holds the store" in caught.value.message
    assert "bulksend pause" in caught.value.hint
    holder.kill()
    holder.communicate()
    assert living_holder(lock) is None
    with journal.sending():
        pass


def test_a_journal_from_a_newer_version_is_refused(journal: SqliteJournal) -> None:
    with journal._deciding() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer bulksend"):
        SqliteJournal(journal.path)


def test_a_journal_from_the_version_before_is_taken_up(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    with journal._deciding() as db:
        db.execute("DROP TABLE forgotten")
        db.execute("DROP TABLE pruned")
        db.execute("PRAGMA user_version = 1")
    again = SqliteJournal(journal.path)
    assert again.campaign("any") == campaign
    assert again.forgotten(campaign) == set()
    again.prune(campaign)
    at = again.pruned_at(campaign)
    assert at is not None
    SqliteJournal(journal.path, now=lambda: at + 1).prune(campaign)
    assert SqliteJournal(journal.path).pruned_at(campaign) == at, "a second time changes nothing"


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(JournalError, match="not a database"):
        SqliteJournal(path)
    os.remove(path)  # noqa: PTH107
    (tmp_path / "file").touch()
    with pytest.raises(JournalError):
        SqliteJournal(tmp_path / "file" / "journal.db")


def test_a_failed_commit_fails_its_callers_and_only_them(journal: SqliteJournal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        with pytest.raises(JournalError, match="no such table"):
            await journal._write(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
        assert await journal.intend(batch(campaign.id, [0])) is not None

    with journal.sending():
        asyncio.run(main())


def test_the_view_unfolds_batches_to_recipients(journal: SqliteJournal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        for indices, outcomes in (([0, 1, 2], [OK, DEAD, LATER]), ([4, 7], None)):
            intent = await journal.intend(batch(campaign.id, indices))
            assert intent is not None
            if outcomes is not None:
                await journal.settle(intent, outcomes)

    with journal.sending():
        asyncio.run(main())
    with journal._reading() as db:
        rows = db.execute(
            "SELECT place, verdict, status, reason, message_id FROM entry_attempt ORDER BY place"
        ).fetchall()
    assert rows == [
        (0, "accepted", "SUCCESS", None, "m"),
        (1, "dead", "MESSAGE_REJECTED", "no", None),
        (2, "transient", "TRANSIENT_FAILURE", "busy", None),
        (4, "unanswered", None, None, None),
        (7, "unanswered", None, None, None),
    ]


def test_what_counts_against_the_day(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    journal.now = lambda: 120.0

    async def main() -> None:
        intent = await journal.intend(batch(campaign.id, [0, 1, 2, 3]))
        assert intent is not None
        await journal.settle(intent, [OK, DEAD, LATER, DOUBT])
        await journal.intend(batch(campaign.id, [5, 6]))

    with journal.sending():
        asyncio.run(main())
    assert journal.sent_by_minute("123456789012", "eu-west-1", 0.0) == [(120.0, 4)]
    assert journal.sent_by_minute("123456789012", "eu-west-1", 121.0) == []
    assert journal.sent_by_minute("another", "eu-west-1", 0.0) == []
