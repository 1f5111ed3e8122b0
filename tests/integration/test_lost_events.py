"""The file of events is lost or damaged: nobody takes that for an empty list of suppressions."""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.cli import run
from bulksend.errors import EventStoreError, ExitCode
from bulksend.event import EventType, MailEvent, Suppression, SuppressionReason
from bulksend.journal import SqliteEvents, SqliteJournal
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store, suppressing
from bulksend.worker.suppression import look_up
from tests.harness import Desk

ANN = "ann@example.com"
DELIVERED = MailEvent(bytes(16), EventType.DELIVERY, "m1", 1.0, 1.0, "c1", 1)


@pytest.fixture
def desk(in_folder: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(in_folder, simulator.url)


def suppress(store: Store) -> Path:
    """Returns the file that it is in."""
    assert suppressing.add(store, [ANN], SuppressionReason.UNSUBSCRIBE) == 1
    return store.folder / "events.db"


def lose(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


def empty(path: Path) -> None:
    lose(path)
    path.touch(0o600)


def half_make(path: Path) -> None:
    lose(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")


@pytest.mark.parametrize("gone", [lose, empty, half_make])
def test_a_lost_list_is_not_an_empty_one(desk: Desk, gone: Callable[[Path], None]) -> None:
    path = suppress(desk.store())
    assert look_up(desk.store().events) is not None
    gone(path)
    was_there = path.exists()
    for use in (
        lambda: desk.plan([ANN, "bea@example.com"]),
        lambda: list(desk.store().events.suppressions()),
        lambda: suppressing.add(desk.store(), ["bea@example.com"], SuppressionReason.MANUAL),
        lambda: desk.store().events.record([DELIVERED], 1.0),
        desk.store().events.clear_free_space,
    ):
        with pytest.raises(EventStoreError, match=r"events\.db is (missing|empty), and the journal knows") as refused:
            use()
        assert refused.value.exit_code is ExitCode.HALTED
        assert "bulksend suppression anew" in refused.value.hint
    assert path.exists() is was_there, "nothing is made in its place"
    assert desk.store().journal.campaigns() == []


def test_a_process_that_has_it_open_sees_that_it_is_gone(desk: Desk) -> None:
    store = desk.store()
    path = suppress(store)
    kept = path.with_name("kept")
    path.rename(kept)
    with pytest.raises(EventStoreError, match="is missing"):
        store.events.suppressed([ANN])
    with pytest.raises(EventStoreError, match="is missing"):
        suppressing.add(store, ["bea@example.com"], SuppressionReason.MANUAL)
    kept.rename(path)
    assert store.events.suppressed([ANN])


def test_a_file_that_the_journal_does_not_know_is_remembered_by_whoever_looks(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    SqliteEvents(path).suppress([Suppression(ANN, SuppressionReason.MANUAL, "", 1.0)])
    journal = SqliteJournal(tmp_path / "journal.db")
    assert not journal.has_events()
    assert SqliteEvents(path, journal).suppressed([ANN])
    assert journal.has_events()


def test_without_a_backup_a_person_begins_anew(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    path = suppress(desk.store())
    assert run(["suppression", "anew", "--yes"]) == 2
    assert "is not lost" in capsys.readouterr().err
    assert desk.store().events.suppressed([ANN])
    lose(path)
    assert run(["suppression", "list"]) == 5
    assert run(["suppression", "anew"]) == 2, "nobody can be asked here"
    assert run(["suppression", "list"]) == 5
    assert run(["suppression", "anew", "--yes"]) == 0
    assert run(["suppression", "list"]) == 0
    suppress(desk.store())
    lose(path)
    assert run(["suppression", "list"]) == 5, "the next is remembered too"


def test_what_is_damaged_is_named_with_its_remedy(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plan([ANN])
    damage(suppress(desk.store()))
    for verb in (["status", desk.name], ["suppression", "list"], ["suppression", "anew", "--yes"]):
        capsys.readouterr()
        assert run(verb) == 5, verb
        said = " ".join(capsys.readouterr().err.split())
        assert "The store of events cannot be used" in said
        assert "journal" not in said
        assert "restore it from a backup" in said


def damage(path: Path) -> None:
    lose(path)
    path.write_bytes(b"no database, but long enough to be looked at" * 100)


@pytest.mark.parametrize("harm", [lose, damage])
def test_what_the_journal_knows_is_shown_without_the_events(
    desk: Desk, capsys: pytest.CaptureFixture[str], harm: Callable[[Path], None]
) -> None:
    campaign = desk.plan([ANN, "bea@example.com"])
    desk.send()
    store = desk.store()
    store.events.record([replace(DELIVERED, campaign_id=campaign.id)], 1.0)
    harm(store.folder / "events.db")

    def said(*arguments: str) -> tuple[str, str]:
        """It is told what cannot be read, and what to do; nothing is made in its place."""
        capsys.readouterr()
        assert run(list(arguments)) == 5, arguments
        out, err = capsys.readouterr()
        words = " ".join(err.split())
        assert words.count("error: The store of events cannot be used") == 1, words
        assert "estore it from a backup" in words
        return out, err

    shown, _ = said("status", desk.name)
    assert re.search(r"^accepted +2 *$", shown, re.MULTILINE)
    assert "The numbers add up" in shown
    assert "What became of the mails cannot be told: the store of events cannot be read." in shown
    assert "No events yet" not in shown
    facts = json.loads(said("status", desk.name, "--output", "json")[0])
    assert (facts["accepted"], facts["adds_up"], facts["events"]) == (2, True, None)
    assert facts["events_unread"].startswith("The store of events cannot be used: ")
    assert desk.name in said("status")[0]
    assert [one["events"] for one in json.loads(said("status", "--output", "json")[0])] == [None]
    assert json.loads(said("status", desk.name, "--watch", "--output", "json")[0])["accepted"] == 2

    rows = list(csv.DictReader(io.StringIO(said("results", desk.name)[0])))
    assert [(row["address"], row["state"], row["fate"]) for row in rows] == [
        (ANN, "accepted", ""),
        ("bea@example.com", "accepted", ""),
    ]
    assert said("results", desk.name, "--out", "r.csv")[1].startswith("2 rows in r.csv")
    assert "accepted" not in said("results", desk.name, "--fate", "delivered")[0], "that cannot be told"

    said("report", desk.name)
    page = Path(f"{desk.name}-report.html").read_text("utf-8")
    assert "the store of events cannot be read" in page
    assert "2 of 2" in page or "All 2 mails were accepted" in page
    assert json.loads(said("report", desk.name, "--output", "json")[0])["events"] is None
    # What a person decides is decided all the same.
    assert run(["cancel", desk.name, "--yes"]) == 2, "it is finished"


def test_nobody_is_suppressed_in_a_store_that_is_not_there(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_folder / "list.txt").write_text(f"{ANN}\n")
    for arguments in (["add", ANN], ["import", "list.txt"], ["sync"]):
        assert run(["suppression", *arguments]) == 2
        said = capsys.readouterr().err
        assert "there is no store in" in said
        assert "campaign's file" not in said, "which these verbs do not take"
    assert not (in_folder / ".bulksend").exists()


def test_whoever_is_forgotten_and_stays_on_the_list_is_told_so(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.plan([ANN, "bea@example.com"])
    suppress(desk.store())
    assert run(["forget", "Ann@Example.com", "--yes"]) == 0
    assert "stays on the list of suppressions" in " ".join(capsys.readouterr().err.split())
    assert desk.store().events.suppressed([ANN])
    assert run(["forget", "bea@example.com", "--yes"]) == 0
    assert "stays on the list of suppressions" not in " ".join(capsys.readouterr().err.split())


def test_rows_without_an_address_are_named(in_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.at(in_folder / ".bulksend")
    (in_folder / "list.csv").write_text('name,email\nAnn,a@example.com\nBob\nBea,b@example.com\n"x",\nCid,nobody\n')
    assert suppressing.import_file(store, in_folder / "list.csv", "email", SuppressionReason.MANUAL) == (
        suppressing.Imported(2, 0, 2, (2, 5))
    )
    lines = ["x" * 5_000, "", "c@example.com", *["nobody"] * 12]
    (in_folder / "list.txt").write_text("\n".join(lines))
    done = suppressing.import_file(store, in_folder / "list.txt", "email", SuppressionReason.MANUAL)
    assert (done.added, done.refused_rows) == (1, (1, 1, 1, 1, 1, 4, 5, 6, 7, 8))
    (in_folder / "few.txt").write_text("nobody\n\nd@example.com\nnobody\n")
    assert run(["suppression", "import", "few.txt"]) == 0
    assert "1 added, 0 known already, 2 are no addresses (rows 1, 4)" in capsys.readouterr().err
    (in_folder / "many.txt").write_text("e@example.com\n" + "nobody\n" * 11)
    assert run(["suppression", "import", "many.txt"]) == 0
    assert "(rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …)" in " ".join(capsys.readouterr().err.split())
    (in_folder / "few.txt").write_text("d@example.com\nnobody\n")
    assert run(["suppression", "import", "few.txt"]) == 0
    assert "0 added, 1 known already, 1 is no address (row 2)" in capsys.readouterr().err
