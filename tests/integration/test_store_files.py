"""A store's file is not pulled away from under the process that has it open, whoever else opens it."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bulksend.event import EventType, MailEvent
from bulksend.journal import SqliteEvents, SqliteJournal
from bulksend.journal.filesystem import make_private

LOOK = (
    "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); print(db.execute(sys.argv[2]).fetchone()[0]); db.close()"
)


def seen_by_another(path: Path, question: str) -> int:
    """What another process sees, that is the last to close the file as far as it knows."""
    done = subprocess.run([sys.executable, "-c", LOOK, str(path), question], check=True, capture_output=True, text=True)
    return int(done.stdout)


def write_events(path: Path) -> Callable[[int], None]:
    store = SqliteEvents(path)

    def write(number: int) -> None:
        mail = MailEvent(number.to_bytes(16), EventType.DELIVERY, f"m{number}", 1.0, 1.0, "campaign", number)
        store.record([mail], 1.0)

    return write


def write_journal(path: Path) -> Callable[[int], None]:
    store = SqliteJournal(path)
    connection = store._connect()

    def write(number: int) -> None:
        connection.execute("INSERT INTO leftover (name) VALUES (?)", (f"{number}.parquet",))

    return write


@pytest.mark.parametrize(
    ("open_store", "opened", "question"),
    [
        (SqliteEvents, write_events, "SELECT count(*) FROM mail"),
        (SqliteJournal, write_journal, "SELECT count(*) FROM leftover"),
    ],
    ids=["events", "journal"],
)
def test_what_one_process_opens_twice_loses_nothing_by_a_third_look(
    tmp_path: Path, open_store: Callable[[Path], object], opened: Callable[[Path], Callable[[int], None]], question: str
) -> None:
    path = tmp_path / "store.db"
    write = opened(path)
    write(1)
    again = open_store(path)
    if isinstance(again, SqliteEvents):
        assert again.tally("campaign").mails == 1
    assert seen_by_another(path, question) == 1
    write(2)
    write(3)
    assert seen_by_another(path, question) == 3


def test_a_file_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    started = threading.Barrier(8)
    inodes: list[int] = []

    def make() -> None:
        started.wait()
        make_private(path)
        inodes.append(path.stat().st_ino)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(inodes)) == 1
    assert len(inodes) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
