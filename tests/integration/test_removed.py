"""Lists are removed without a trace: by prune, by forget, and what killed processes have left of them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.errors import CampaignBusyError, UsageError
from bulksend.model import CampaignState
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store, planning
from tests.harness import Desk

REFUSED = "fault.message_rejected+bea@example.com"
ORPHAN = "z" * 26


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000, "enforce": False}


@pytest.fixture
def desk(tmp_path: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(tmp_path, simulator.url)


def traces(store: Store, *words: str) -> list[str]:
    """Which files of the store, the write-ahead log included, have any of these words in them."""
    return [
        str(path.relative_to(store.folder))
        for path in sorted(store.folder.rglob("*"))
        if path.is_file() and any(word.encode() in path.read_bytes().lower() for word in words)
    ]


def leave_behind(store: Store) -> list[Path]:
    """What processes leave that are killed while they plan, or while they remove somebody."""
    campaign = store.journal.campaign("launch")
    snapshot = store.snapshot_of(campaign)
    scratch = store.shelf.workshop / f".{ORPHAN}.planning"
    scratch.mkdir()
    left = [
        scratch / "rows.arrow",
        store.shelf.workshop / f"{ORPHAN}.parquet",
        store.shelf.workshop / f"{ORPHAN}.skipped.parquet",
        store.shelf.workshop / f"{campaign.id}.7.parquet",
        store.shelf.workshop / f"{campaign.id}.8.skipped.parquet",
    ]
    for path in left:
        path.write_bytes(snapshot.read_bytes())
    for name in (f"{ORPHAN}.parquet", f"{campaign.id}.7.parquet", f"{campaign.id}.8.parquet"):
        store.journal.announce_snapshot(name)
    return [*left, scratch]


def test_whoever_plans_prunes_or_forgets_removes_what_was_left(desk: Desk) -> None:
    desk.plan(["a@example.com"])
    desk.send()
    store = desk.store()
    strangers = [store.shelf.workshop / "mine.parquet", store.shelf.workshop / f"{'y' * 26}.parquet"]
    for path in strangers:
        path.write_text("the journal knows nothing of it")
    for again in ("plan", "forget", "prune"):
        left = leave_behind(store)
        if again == "plan":
            other = Desk(desk.folder, desk.url, "other")
            other.plan(["b@example.com"])
        elif again == "forget":
            worker.forget(store, "nobody@example.com")
        else:
            worker.prune(store, store.journal.campaign("launch"))
        assert [path.name for path in left if path.exists()] == [], again
        assert store.snapshot_of(store.journal.campaign("other")).exists()
    assert not store.shelf.exists(store.journal.campaign("launch").snapshot)
    assert all(path.exists() for path in strangers)


def test_a_prune_that_was_killed_is_finished_by_the_next(desk: Desk) -> None:
    desk.plan(["a@example.com"])
    desk.send()
    store = desk.store()
    campaign = store.journal.campaign("launch")
    store.journal.prune(campaign)
    assert store.snapshot_of(campaign).exists()
    worker.forget(store, "nobody@example.com")
    assert list(store.shelf.workshop.iterdir()) == []


def test_nothing_is_taken_from_a_plan_that_lives(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.plan(["a@example.com"])
    desk.send()
    store = desk.store()
    tried: list[str] = []
    whole = planning._refuse_empty

    def meanwhile(*arguments: Any) -> None:
        """Its snapshot lies there, and the journal does not know it yet."""
        for one in (
            lambda: worker.forget(desk.store(), "a@example.com"),
            lambda: worker.prune(desk.store(), store.journal.campaign("launch")),
        ):
            with pytest.raises(CampaignBusyError, match="a plan is being made"):
                one()
        if not tried:
            tried.append("another plan")
            Desk(desk.folder, desk.url, "third").plan(["c@example.com"])
        whole(*arguments)

    monkeypatch.setattr(planning, "_refuse_empty", meanwhile)
    campaign = Desk(desk.folder, desk.url, "other").plan(["b@example.com"])
    assert tried
    assert store.snapshot_of(campaign).exists()
    assert worker.forget(desk.store(), "a@example.com").rows == 1


def test_nobody_prunes_while_somebody_sends(desk: Desk) -> None:
    desk.plan(["a@example.com"])
    desk.send()
    store = desk.store()
    with store.journal.sending(), pytest.raises(CampaignBusyError):
        worker.prune(desk.store(), store.journal.campaign("launch"))
    assert store.snapshot_of(store.journal.campaign("launch")).exists()
    lock = os.open(store.folder / "plans.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)  # as one that removes lists has it
    with pytest.raises(CampaignBusyError, match="a list removed"):
        worker.prune(store, store.journal.campaign("launch"))
    os.close(lock)
    assert worker.prune(store, store.journal.campaign("launch")) == 2


def test_what_is_retried_meanwhile_is_not_pruned(desk: Desk) -> None:
    desk.plan([REFUSED, "a@example.com"])
    desk.send()
    store = desk.store()
    seen = store.journal.campaign("launch")
    worker.retry(store, seen, why="mended")
    assert seen.state is CampaignState.FINISHED
    with pytest.raises(UsageError, match="planned"):
        worker.prune(store, seen)


def test_prune_leaves_no_trace_of_anybody(desk: Desk) -> None:
    desk.plan([REFUSED, "ada@example.com", "no address of dora"])
    desk.send()
    store = desk.store()
    campaign = store.journal.campaign("launch")
    assert worker.retry(store, campaign, why="Emil's mother Frieda asked for it").again == 1
    desk.send()
    journal = store.folder / "journal.db"
    with closing(sqlite3.connect(journal)) as db:
        db.execute(
            "UPDATE outcome SET exceptions = replace(exceptions, 'Message rejected', 'gustav@example.com is bad')"
        )
        db.execute(
            """UPDATE campaign SET halt = '{"reason": "hans@example.com", "remedy": "r", "scope": "campaign"}'"""
        )
        db.commit()
    words = ("bea@", "ada@example.com", "dora", "frieda", "gustav@", "hans@")
    assert all(traces(store, word) for word in words[3:]), "else nothing is proved"
    with closing(sqlite3.connect(journal)) as reader:  # somebody looks now and then: the log is not emptied by itself
        reader.execute("SELECT * FROM campaign").fetchall()
        worker.prune(store, store.journal.campaign("launch"))
        assert traces(store, *words) == []
    assert list(store.shelf.workshop.iterdir()) == []
    tally = store.journal.tally(campaign)
    assert (tally.accepted, tally.dead, tally.adds_up) == (1, 1, True)


def test_prune_of_one_leaves_the_texts_of_another(desk: Desk) -> None:
    desk.plan([REFUSED])
    desk.send()
    other = Desk(desk.folder, desk.url, "other")
    other.plan(["fault.message_rejected+zoe@example.com"])
    other.send()
    store = desk.store()
    worker.prune(store, store.journal.campaign("launch"))
    (row,) = other.results("dead")
    assert row.reason
