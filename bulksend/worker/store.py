"""Where a campaign's state lives, and which campaign a person means."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bulksend.config import CampaignFile, Settings, load_campaign
from bulksend.errors import BulksendError, CampaignBusyError, ConfigError, EventStoreError, SnapshotError, UsageError
from bulksend.journal import (
    SQLITE,
    EventRecords,
    Journal,
    SqliteEvents,
    SqliteJournal,
    open_postgres,
    open_postgres_events,
)
from bulksend.model import Campaign, CampaignState, Tally
from bulksend.recipients import FolderShelf, Shelf, SnapshotReader, open_shelf
from bulksend.report import Became, campaign_facts
from bulksend.worker.access import s3_endpoint

__all__ = ["Standing", "Store", "Target", "find_target", "is_file", "refuse_cancelled"]

FOLDER = ".bulksend"
JOURNAL = "journal.db"
EVENTS = "events.db"
SNAPSHOTS = "snapshots"
_OR_NAME_STORE = "; or name the store: --store sqlite:FOLDER (BULKSEND_STORE, or store in the configuration file)."
NAME_CAMPAIGN = f"Name the campaign's file, or run this where the campaign was planned{_OR_NAME_STORE}"
NAME_STORE = f"Run this where campaigns were planned{_OR_NAME_STORE}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A campaign as it stands now. `orphaned`: it is queued or says that it is being sent, and nobody is there to.

    `by_worker`: it was a worker, and another one goes on with it. `became` is what events tell of its mails; None where
    they cannot be read, for the reason `untold`. `held_up` is why nothing of it goes out, as those tell who send it.
    """

    campaign: Campaign
    tally: Tally
    orphaned: bool
    became: Became | None
    by_worker: bool = False
    held_up: tuple[str, ...] = ()
    untold: EventStoreError | None = field(default=None, compare=False)

    def facts(self) -> dict[str, object]:
        """The stable JSON form of `status`."""
        return campaign_facts(
            self.campaign,
            self.tally,
            self.became,
            orphaned=self.orphaned,
            held_up=self.held_up,
            untold="" if self.untold is None else self.untold.message,
        )


@dataclass(frozen=True, slots=True)
class Store:
    """The journal, where the snapshots are, and the events. `folder` is what there is of it on this machine.

    Nothing is opened of the events before they are asked for, and nothing made before some are written.

    What is on the shelf is the store's alone. Only what the journal calls left over is ever removed from it: what the
    journal does not know may be some campaign's that is in a later copy of this journal.
    """

    folder: Path
    journal: Journal
    shelf: Shelf
    events: EventRecords

    @classmethod
    def open(cls, settings: Settings, beside: Path) -> Store:
        """The store that the settings name, else `.bulksend/` in the folder `beside`; made if need be.

        Raises:
            ConfigError: the settings do not go together.
            JournalError: it cannot be used.
        """
        named = settings.store
        if named is not None and not named.startswith(SQLITE):
            if settings.snapshots is None:
                raise ConfigError(
                    "the store is in PostgreSQL, and snapshots is not set",
                    hint="Say where the lists of planned campaigns are kept, so that every worker sees them: "
                    'snapshots = "/a/shared/folder", or "s3://bucket/prefix".',
                )
            journal = open_postgres(named, lease_s=settings.fleet.lease_s)
            folder = cache_folder() / journal.store_id()
            shelf = _shelf(settings, settings.snapshots, journal, folder)
            return cls(folder, journal, shelf, open_postgres_events(named))
        return cls.at(_folder_of(settings, beside), settings)

    @classmethod
    def find(cls, settings: Settings, beside: Path, *, campaign: str | None = None, hint: str = "") -> Store:
        """The same store, for whatever only looks or decides: it is never made. `campaign` is the name looked for.

        Raises:
            ConfigError: the settings do not go together.
            JournalError: it cannot be used.
            UsageError: there is none; `hint` says what to do where the settings do not name it, in place of the usual.
        """
        named = settings.store
        if named is None or named.startswith(SQLITE):
            folder = _folder_of(settings, beside)
            if _is_missing(folder):
                raise UsageError(
                    f"there is no store in {folder}" + ("" if campaign is None else f", so no campaign {campaign!r}"),
                    hint=hint or (NAME_STORE if campaign is None else NAME_CAMPAIGN)
                    if named is None
                    else "Correct the store's name; bulksend config shows what is in force, from --store, "
                    "BULKSEND_STORE or the configuration file. What plans makes a store: bulksend plan, send, submit.",
                )
        return cls.open(settings, beside)

    @classmethod
    def at(cls, folder: Path, settings: Settings | None = None, *, now: Callable[[], float] = time.time) -> Store:
        """The store in SQLite of a folder."""
        journal = SqliteJournal(folder / JOURNAL, now=now)
        events = SqliteEvents(folder / EVENTS, journal)
        if settings is None or settings.snapshots is None:
            return cls(folder, journal, FolderShelf(folder / SNAPSHOTS), events)
        return cls(folder, journal, _shelf(settings, settings.snapshots, journal, folder), events)

    def snapshot_of(self, campaign: Campaign) -> Path:
        """The campaign's snapshot, as a file on this machine. Raises SnapshotError."""
        return self.shelf.fetch(campaign.snapshot, size_bytes=campaign.snapshot_bytes)

    def read_snapshot(self, campaign: Campaign) -> SnapshotReader:
        """The campaign's snapshot, to be read; a context manager.

        Raises:
            SnapshotError: it is missing or damaged.
            UsageError: it was pruned.
        """
        self.refuse_pruned(campaign)
        path = self.snapshot_of(campaign)
        try:
            return SnapshotReader(path, size_bytes=campaign.snapshot_bytes, sha256=campaign.snapshot_sha256)
        except SnapshotError as error:
            if isinstance(self.shelf, FolderShelf):
                raise
            raise SnapshotError(
                error.detail,
                hint=f"{path} is this machine's copy of it: remove that file, and it is fetched anew. If that is no "
                "better, restore it from a backup where snapshots are kept. Nothing more is sent without it.",
            ) from error

    def standings(self) -> list[Standing]:
        """Where each campaign of the store stands, oldest first. Every attempt of all of them is replayed."""
        return [self.standing(campaign.name) for campaign in self.journal.campaigns()]

    def standing(self, name: str) -> Standing:
        """Where a campaign stands; also where its events cannot be read. Raises CampaignUnknownError."""
        while True:
            campaign = self.journal.campaign(name)
            became: Became | None = None
            untold: EventStoreError | None = None
            try:
                became = self.became(campaign)
            except EventStoreError as error:
                untold = error
            sender = self.journal.sender()
            tally = self.journal.tally(campaign)
            nobody = sender is None or sender.campaign not in (None, name)
            if campaign.state is CampaignState.QUEUED:
                orphaned = sender is None
            elif campaign.state is not CampaignState.SENDING or not nobody:
                orphaned = False
            elif self.journal.campaign(name).state is CampaignState.SENDING:
                orphaned = True
            else:
                continue  # a sender says how it ended before it lets go of the store; one that was killed says nothing
            is_tried = not orphaned and campaign.state in (CampaignState.QUEUED, CampaignState.SENDING)
            held_up = tuple(self.journal.standstills(campaign)) if is_tried else ()
            by_worker = orphaned and self.journal.was_a_worker()
            return Standing(campaign, tally, orphaned, became, by_worker, held_up, untold)

    def became(self, campaign: Campaign) -> Became:
        """What events tell of a campaign's mails. Raises JournalError."""
        tally = self.events.tally(campaign.id)
        last_at = self.events.rates(campaign.id, time.time()).last_at
        return Became(tally.mails, tally.copies, tally.types, tally.bounces, last_at)

    @contextmanager
    def planning(self, snapshot: str) -> Iterator[None]:
        """While a snapshot of this name is made for a new campaign; if none has it in the end, it is removed again.

        What killed processes left is removed first.

        Raises:
            JournalError: the store cannot be used.
            SnapshotError: the shelf cannot be used.
        """
        with self.journal.plans(alone=True) as alone:
            if alone:  # else somebody plans, or removes a person: then it is for the next one to do
                self.sweep()
        with self.journal.plans(alone=False):
            self.journal.announce_snapshot(snapshot)
            try:
                yield
            except BaseException:
                self.discard(snapshot)
                raise

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """While lists are removed: nobody plans, and what is left over is gone.

        Raises:
            CampaignBusyError: a plan is being made.
            JournalError: the store cannot be used.
            SnapshotError: the shelf cannot be used.
        """
        with self.journal.plans(alone=True) as alone:
            if not alone:
                raise CampaignBusyError(
                    f"a plan is being made in {self.journal.place}, or a list removed from it",
                    hint="Run the same command again when that is done.",
                )
            self.sweep()
            yield

    def sweep(self) -> int:
        """Remove what is left over: lists of plans and removals that were killed, and pruned ones. Returns files.

        Only inside `tidied()` or at the beginning of `planning()`: a plan's files have no campaign yet.
        """
        for folder in self.shelf.scratch():
            shutil.rmtree(folder)
        removed = self._remove(self.journal.doom_leftovers())
        self.shelf.tidy(self.journal.snapshots_in_use)
        return removed

    def discard(self, snapshot: str) -> None:
        """Remove a snapshot that this process has made, unless a campaign has it; if that fails, `sweep` does it."""
        with suppress(BulksendError):
            if self.journal.doom_snapshot(snapshot):
                self._remove({snapshot})

    def tidy_cache(self) -> None:
        """Remove from this machine what it has fetched for campaigns that are pruned, or that others have rewritten.

        For a process that only sends, now and then; whoever plans here does it by itself. While somebody plans, or
        removes lists, nothing is done.

        Raises:
            JournalError: the store cannot be used.
            SnapshotError: the cache cannot be used.
        """
        with self.journal.plans(alone=True) as alone:
            if alone:
                self.shelf.tidy(self.journal.snapshots_in_use)

    def _remove(self, doomed: set[str]) -> int:
        """Snapshots, each with its skipped rows. Returns files."""
        removed = 0
        for snapshot in doomed:
            # The skipped rows last: where there is a snapshot, there are its skipped rows.
            for name in (snapshot, str(Path(snapshot).with_suffix(".skipped.parquet"))):
                removed += self.shelf.exists(name)
                self.shelf.remove(name)
        self.journal.strike_out(doomed)
        return removed

    def refuse_pruned(self, campaign: Campaign) -> None:
        """For whatever needs the list of a campaign. Raises UsageError if it was pruned: when, and what is left."""
        at = self.journal.pruned_at(campaign)
        if at is None:
            return
        tally = self.journal.tally(campaign)
        known = (
            f"{tally.accepted:,} accepted, {tally.dead:,} dead, {tally.in_doubt:,} in doubt, "
            f"{sum(tally.skipped.values()):,} skipped"
        )
        raise UsageError(
            f"the list of {campaign.name!r} was removed by bulksend prune at {datetime.fromtimestamp(at, UTC):%F %T} "
            "UTC: nothing of it can be listed or sent any more",
            hint=f"Its numbers are still known ({tally.rows:,} rows: {known}): bulksend status {campaign.name}.",
        )


@dataclass(frozen=True, slots=True)
class Target:
    """The campaign that a verb is about: by its file, or by its name in the store at hand."""

    name: str
    store: Store
    file: CampaignFile | None

    def campaign(self) -> Campaign:
        """As the journal has it. Raises CampaignUnknownError."""
        return self.store.journal.campaign(self.name)

    def standing(self) -> Standing:
        """Where it stands. Raises CampaignUnknownError."""
        return self.store.standing(self.name)


def find_target(
    file_or_name: str, settings: Settings, overrides: dict[str, object] | None = None, *, to_plan: bool = False
) -> Target:
    """Whatever is a file, or looks like one, is a campaign file; all else is a name in the store at hand.

    `to_plan`: a store is made for the campaign of a file, where there is none.

    Raises:
        ConfigError: the file has faults.
        JournalError: the store cannot be used.
        UsageError: there is no store.
    """
    path = Path(file_or_name)
    if is_file(path):
        file = load_campaign(path, overrides)
        folder = path.absolute().parent
        store = Store.open(settings, folder) if to_plan else Store.find(settings, folder, campaign=file.name)
        return Target(file.name, store, file)
    return Target(file_or_name, Store.find(settings, Path.cwd(), campaign=file_or_name), None)


def is_file(path: Path) -> bool:
    """Whether it means a campaign file; else it is the name of a campaign."""
    return path.is_file() or path.suffix == ".toml" or len(path.parts) > 1


def refuse_cancelled(campaign: Campaign) -> None:
    """For whatever would send a campaign. Raises UsageError if it was cancelled, which is for good."""
    if campaign.state is CampaignState.CANCELLED:
        raise UsageError(f"{campaign.name!r} was cancelled", hint="Plan it under another name to send it after all.")


def cache_folder() -> Path:
    """Where a machine keeps what it needs of a store that is elsewhere."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base, "bulksend")


def _folder_of(settings: Settings, beside: Path) -> Path:
    """Of a store in SQLite."""
    return beside / FOLDER if settings.store is None else Path(settings.store.removeprefix(SQLITE)).absolute()


def _is_missing(folder: Path) -> bool:
    """Whether nothing of a store is there. Where lists are, or nobody may look, the journal says what is wrong."""
    try:
        return not (folder / JOURNAL).exists() and not any((folder / SNAPSHOTS).glob("*.parquet"))
    except OSError:
        return False


def _shelf(settings: Settings, where: str, journal: Journal, folder: Path) -> Shelf:
    """Of that store alone, below the place that stores share."""
    own = f"{where.rstrip('/')}/{journal.store_id()}"
    return open_shelf(own, cache=folder / SNAPSHOTS, s3_endpoint_url=s3_endpoint(settings))
