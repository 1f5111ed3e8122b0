"""A shelf belongs to one store, and only what its journal calls left over is ever removed from it."""

from __future__ import annotations

import io
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs
from rich.console import Console

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.demo import run_demo
from bulksend.errors import CampaignBusyError, JournalError, ListError, SnapshotError
from bulksend.journal import SqliteJournal
from bulksend.model import Campaign, CampaignState
from bulksend.recipients import FolderShelf, open_shelf
from bulksend.recipients.s3_shelf import S3Shelf
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from bulksend.worker.store import cache_folder
from tests.forked import Forked
from tests.harness import CAMPAIGN, settings_for, write_list
from tests.independent import Ministack

PEOPLE = ("a@example.com", "bea@example.com")


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000, "enforce": False}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@dataclass
class Office:
    """One store, with its lists in a place that others may have as well."""

    folder: Path
    settings: Settings

    def store(self) -> Store:
        return Store.open(self.settings, self.folder)

    def plan(self, name: str = "launch", addresses: tuple[str, ...] = PEOPLE) -> Campaign:
        self.folder.mkdir(exist_ok=True)
        write_list(self.folder / "list.csv", addresses)
        path = self.folder / "campaign.toml"
        path.write_text(CAMPAIGN.format(name=name, dedupe="false"), "utf-8")
        return worker.plan(load_campaign(path), self.settings, self.store(), again=True).campaign

    def campaign(self, name: str = "launch") -> Campaign:
        return self.store().journal.campaign(name)

    def prune(self, name: str = "launch") -> int:
        store = self.store()
        store.journal.ask_for(store.journal.campaign(name), CampaignState.CANCELLED)
        return worker.prune(store, store.journal.campaign(name))

    def has(self, campaign: Campaign) -> bool:
        """Whether its list is there, whole."""
        with self.store().read_snapshot(campaign) as reader:
            return len(reader.addresses(0)) == campaign.entries

    def left_over(self) -> list[str]:
        with self.store().journal.reading() as db:
            return [name for (name,) in db.execute("SELECT name FROM leftover ORDER BY name").fetchall()]


Opens = Callable[[str], Office]


@pytest.fixture
def in_a_folder(tmp_path: Path, simulator: SimulatorProcess) -> Opens:
    shared = str(tmp_path / "shared")
    return lambda name: Office(tmp_path / name, settings_for(simulator.url, snapshots=shared))


@pytest.fixture
def in_s3(tmp_path: Path, simulator: SimulatorProcess, ministack: Ministack) -> Opens:
    host = ministack.endpoint_url.removeprefix("http://")
    fs.S3FileSystem(endpoint_override=host, scheme="http", allow_bucket_creation=True).create_dir("shelf-of-stores")
    place = {"snapshots": "s3://shelf-of-stores/lists", "aws.s3_endpoint_url": ministack.endpoint_url}
    return lambda name: Office(tmp_path / name, settings_for(simulator.url, **place))


@pytest.fixture(params=["in_a_folder", "in_s3"])
def opens(request: pytest.FixtureRequest) -> Opens:
    found: Opens = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def office(in_a_folder: Opens) -> Office:
    return in_a_folder("office")


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, office: Office) -> Office:
    if request.param == "postgres":
        url: str = request.getfixturevalue("database_url")
        office.settings = office.settings.model_copy(update={"store": url})
    return office


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


# Whose it is ----------------------------------------------------------------------------------------------------------


def test_rehearsals_have_a_shelf_of_their_own(office: Office, tmp_path: Path) -> None:
    campaign = office.plan()
    before = sorted((tmp_path / "shared").rglob("*"))
    file = load_campaign(office.folder / "campaign.toml")
    assert worker.dry_run(file, office.settings).sent.tally.accepted == 2
    assert worker.send_samples(file, office.settings, "me@example.com", 1).sent.tally.accepted == 1
    assert run_demo(Console(file=io.StringIO()), 60, office.settings) in (0, 3, 4)
    assert sorted((tmp_path / "shared").rglob("*")) == before
    assert office.has(campaign)


def test_stores_with_one_place_leave_each_other_s_lists_alone(opens: Opens) -> None:
    one, two = opens("one"), opens("two")
    first, second = one.plan(), two.plan()
    assert one.prune() == 2
    assert worker.forget(two.store(), "nobody@example.com").rows == 0
    one.plan("next")
    assert two.has(second)
    assert not one.store().shelf.exists(first.snapshot)
    assert not one.store().shelf.exists(second.snapshot)


def test_stores_elsewhere_have_caches_of_their_own(
    office: Office, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    office.settings = office.settings.model_copy(update={"store": database_url})
    store = office.store()
    assert store.folder == cache_folder() / store.journal.store_id()
    assert isinstance(store.shelf, FolderShelf)
    assert store.shelf.folder == tmp_path / "shared" / store.journal.store_id()
    assert store.journal.store_id() == office.store().journal.store_id()
    assert len(store.journal.store_id()) == 32
    other: Office = request.getfixturevalue("in_a_folder")("other")
    assert other.store().journal.store_id() != store.journal.store_id()


# What may be removed --------------------------------------------------------------------------------------------------


def test_an_older_journal_does_not_remove_what_came_after_it(opens: Opens) -> None:
    now, old = opens("now"), opens("old")
    first = now.plan("first")
    shutil.copytree(now.folder, old.folder)
    campaign = now.plan("second")
    old.plan("third")
    worker.forget(old.store(), "nobody@example.com")
    old.store().journal.ask_for(first, CampaignState.CANCELLED)
    assert now.has(campaign)
    assert now.left_over() == old.left_over() == []


def test_what_a_killed_plan_has_made_is_removed(either: Office, tmp_path: Path) -> None:
    either.folder.mkdir()
    store = either.store()
    program = (
        "import os, signal, sys; from bulksend.journal import Records; from pathlib import Path\n"
        "from bulksend import worker; from bulksend.config import Settings, load_campaign\n"
        "Records.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "settings = Settings.model_validate_json(sys.argv[1])\n"
        "worker.plan(load_campaign(Path('campaign.toml')), settings, worker.Store.open(settings, Path('.')))\n"
    )
    write_list(either.folder / "list.csv", PEOPLE)
    (either.folder / "campaign.toml").write_text(CAMPAIGN.format(name="killed", dedupe="false"), "utf-8")
    # The URL has no password that its JSON would leave out.
    killed = Forked(either.settings.model_dump_json(), folder=either.folder, program=program)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (name,) = either.left_over()
    assert files_below(tmp_path / "shared") == {name, name.replace(".parquet", ".skipped.parquet")}
    campaign = either.plan()
    assert files_below(tmp_path / "shared") == {
        campaign.snapshot,
        campaign.snapshot.replace(".parquet", ".skipped.parquet"),
    }
    assert either.left_over() == []
    assert store.journal.snapshots_in_use() == {campaign.snapshot}


def test_a_plan_that_is_refused_leaves_nothing(opens: Opens) -> None:
    office = opens("office")
    with pytest.raises(ListError):
        office.plan(addresses=("no address",))
    assert office.left_over() == []
    assert office.store().shelf.names() == set()


@pytest.mark.parametrize("gone", ["doomed", "swept"])
@pytest.mark.parametrize("moment", ["made", "on the shelf"])
def test_a_plan_whose_list_was_swept_is_not_planned(
    either: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, gone: str
) -> None:
    """The lock dies with its connection: then others sweep, though the plan lives."""
    real = FolderShelf.put

    def swept(shelf: FolderShelf, path: Path) -> None:
        if moment == "on the shelf":
            real(shelf, path)
        if gone == "doomed":
            either.store().journal.doom_leftovers()  # and is about to remove the files
        else:
            either.store().sweep()
        if moment == "made":
            path.touch()
            real(shelf, path)

    with monkeypatch.context() as patch:
        patch.setattr(FolderShelf, "put", swept)
        with pytest.raises(CampaignBusyError, match="nothing is planned") as caught:
            either.plan()
    assert "Run the same command again" in caught.value.hint
    assert either.store().journal.find("launch") is None
    assert files_below(tmp_path / "shared") == set()
    assert either.left_over() == []
    assert either.has(either.plan())


def test_what_a_campaign_has_stays_though_nobody_was_told_so(either: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks when all is done."""
    kind = type(either.store().journal)
    real = kind.add

    def broken(*arguments: Any) -> None:
        real(*arguments)
        raise JournalError("the connection is lost")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "add", broken)
        with pytest.raises(JournalError, match="connection"):
            either.plan()
    either.store().sweep()
    assert either.has(either.campaign())


def test_a_rewriting_whose_list_was_swept_changes_nothing(
    either: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = either.plan()
    real = FolderShelf.put

    def swept(shelf: FolderShelf, path: Path) -> None:
        either.store().sweep()
        path.touch()
        real(shelf, path)

    with monkeypatch.context() as patch:
        patch.setattr(FolderShelf, "put", swept)
        with pytest.raises(CampaignBusyError, match="is as it was"):
            worker.forget(either.store(), "bea@example.com")
    assert either.campaign() == campaign
    assert either.has(campaign)
    assert len(files_below(tmp_path / "shared")) == 2
    assert worker.forget(either.store(), "bea@example.com").rows == 1
    assert len(files_below(tmp_path / "shared")) == 2


def test_nobody_comes_back_by_a_rewriting_that_began_before(either: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    either.plan()
    kind = type(either.store().journal)
    real = kind.forget_entries
    done: list[str] = []

    def late(*arguments: Any, **more: Any) -> int:
        if not done:
            done.append("meanwhile")
            store = either.store()
            name = f"{'y' * 26}.parquet"
            campaign = either.campaign()
            store.journal.announce_snapshot(name)
            real(store.journal, campaign, {0: [0]}, snapshot=name, size_bytes=1, sha256="")
        return real(*arguments, **more)

    monkeypatch.setattr(kind, "forget_entries", late)
    with pytest.raises(CampaignBusyError, match="is as it was"):
        worker.forget(either.store(), "bea@example.com")
    assert either.campaign().snapshot == f"{'y' * 26}.parquet"


def test_forgetting_nobody_leaves_nothing(either: Office, tmp_path: Path) -> None:
    campaign = either.plan()
    before = files_below(tmp_path / "shared")
    assert worker.forget(either.store(), "nobody@example.com").rows == 0
    assert (files_below(tmp_path / "shared"), either.left_over()) == (before, [])
    assert worker.forget(either.store(), "bea@example.com").rows == 1
    assert (len(files_below(tmp_path / "shared")), either.left_over()) == (2, [])
    assert either.campaign().snapshot != campaign.snapshot
    assert either.prune() == 2
    assert (files_below(tmp_path / "shared"), either.left_over()) == (set(), [])


def test_no_name_is_used_again(office: Office) -> None:
    names = [office.plan().snapshot]
    for address in PEOPLE:
        assert worker.forget(office.store(), address).rows == 1
        names.append(office.campaign().snapshot)
        assert office.has(office.campaign())
    assert len(set(names)) == 3


def test_a_sweep_that_was_killed_is_finished_by_the_next(either: Office, tmp_path: Path) -> None:
    either.plan()
    store = either.store()
    store.journal.ask_for(either.campaign(), CampaignState.CANCELLED)
    store.journal.prune(either.campaign())
    (name,) = store.journal.doom_leftovers()
    store.shelf.remove(name)
    either.plan("next")
    assert len(files_below(tmp_path / "shared")) == 2
    assert either.left_over() == []


# What is fetched ------------------------------------------------------------------------------------------------------


def elsewhere(office: Office, cache: Path) -> Store:
    """The same store on another machine."""
    store = office.store()
    assert isinstance(store.shelf, S3Shelf)
    where = f"{office.settings.snapshots}/{store.journal.store_id()}"
    shelf = open_shelf(where, cache=cache, s3_endpoint_url=office.settings.aws.s3_endpoint_url)
    return Store(cache, store.journal, shelf, store.events)


def test_a_machine_that_only_sends_tidies_its_cache(in_s3: Opens, tmp_path: Path) -> None:
    office, cache = in_s3("office"), tmp_path / "there"
    store = elsewhere_after(office, cache)
    kept = office.campaign("next").snapshot
    with office.store().journal.plans(alone=False):
        store.tidy_cache()
        assert len(files_below(cache)) == 4, "somebody plans, perhaps here"
    store.tidy_cache()
    assert files_below(cache) == {kept, kept.replace(".parquet", ".skipped.parquet")}


def elsewhere_after(office: Office, cache: Path) -> Store:
    """Another machine, after it has fetched two lists of which one was pruned since."""
    campaigns = [office.plan(), office.plan("next")]
    store = elsewhere(office, cache)
    for campaign in campaigns:
        store.snapshot_of(campaign)
    office.prune()
    return store


def test_a_spoilt_copy_is_named_and_may_go(in_s3: Opens, tmp_path: Path) -> None:
    office = in_s3("office")
    campaign = office.plan()
    store = elsewhere(office, tmp_path / "there")
    path = store.snapshot_of(campaign)
    path.write_bytes(bytes(campaign.snapshot_bytes))
    with pytest.raises(SnapshotError, match="SHA-256 differs") as caught:
        store.read_snapshot(campaign)
    assert f"{path} is this machine's copy" in caught.value.hint
    path.unlink()
    with store.read_snapshot(campaign) as reader:
        assert reader.addresses(0) == list(PEOPLE)


def test_the_only_copy_is_not_said_to_be_one_that_may_go(office: Office) -> None:
    campaign = office.plan()
    office.store().snapshot_of(campaign).write_bytes(bytes(campaign.snapshot_bytes))
    with pytest.raises(SnapshotError, match="SHA-256 differs") as caught:
        office.store().read_snapshot(campaign)
    assert "remove" not in caught.value.hint


def test_sqlite_beside_its_lists_keeps_them_where_they_were(tmp_path: Path, simulator: SimulatorProcess) -> None:
    office = Office(tmp_path, settings_for(simulator.url))
    campaign = office.plan()
    assert (tmp_path / ".bulksend" / "snapshots" / campaign.snapshot).is_file()
    assert isinstance(office.store().journal, SqliteJournal)
