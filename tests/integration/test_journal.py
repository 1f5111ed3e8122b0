from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulksend.errors import CampaignBusyError, JournalError
from bulksend.journal import SqliteJournal
from bulksend.journal.lock import living_holder
from bulksend.model import (
    Batch,
    BatchKind,
    EntryOutcome,
    Verdict,
)
from tests.integration.test_conservation import EACH, planned
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


HOLD = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
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
    with journal.deciding() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer bulksend"):
        SqliteJournal(journal.path)


def test_a_journal_from_the_version_before_is_taken_up(journal: SqliteJournal) -> None:
    campaign = planned(journal)
    with journal.deciding() as db:
        db.execute("DROP TABLE forgotten")
        db.execute("DROP TABLE pruned")
        db.execute("DROP TABLE leftover")
        db.execute("DROP TABLE store")
        db.execute("DROP TABLE standstill")
        db.execute("PRAGMA user_version = 1")
    again = SqliteJournal(journal.path)
    assert again.campaign("any") == campaign
    assert again.forgotten(campaign) == set()
    again.prune(campaign)
    at = again.pruned_at(campaign)
    assert at is not None
    SqliteJournal(journal.path, now=lambda: at + 1).prune(campaign)
    assert SqliteJournal(journal.path).pruned_at(campaign) == at, "a second time changes nothing"


def test_several_processes_that_open_a_new_one_at_once_all_have_it(tmp_path: Path) -> None:
    """As threads, since a connection knows nothing of the others' anyway."""
    for number in range(20):
        path, gate = tmp_path / str(number) / "journal.db", threading.Barrier(4)

        def opened(path: Path = path, gate: threading.Barrier = gate) -> SqliteJournal:
            gate.wait()
            return SqliteJournal(path)

        with ThreadPoolExecutor(4) as pool:
            found = [pool.submit(opened) for _ in range(4)]
            assert [one.result().campaigns() for one in found] == [[]] * 4


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
