"""Where a campaign's state lives, and which campaign a person means."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulksend.config import CampaignFile, Settings, load_campaign
from bulksend.errors import CampaignBusyError, JournalError, UsageError
from bulksend.journal import SqliteJournal
from bulksend.model import Campaign, CampaignState, Tally
from bulksend.recipients import SnapshotReader

__all__ = ["Standing", "Store", "Target", "find_target", "is_file"]

FOLDER = ".bulksend"
SNAPSHOT = re.compile(r"[0-9a-z]{26}(\.\d+)?(\.skipped)?\.parquet")
"""File names of snapshots, of their rewritten ones, and of the skipped rows beside them."""
SCRATCH = ".*.planning"


@dataclass(frozen=True, slots=True)
class Standing:
    """A campaign as it stands now. `orphaned`: it says that it is being sent, and the process that did so has died."""

    campaign: Campaign
    tally: Tally
    orphaned: bool


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with the journal and the snapshots."""

    folder: Path
    journal: SqliteJournal

    @classmethod
    def open(cls, settings: Settings, beside: Path) -> Store:
        """The store that the settings name, else `.bulksend/` in the folder `beside`; made if need be.

        Raises:
            JournalError: it cannot be used.
        """
        named = settings.store
        folder = beside / FOLDER if named is None else Path(named.removeprefix("sqlite:"))
        return cls(folder, SqliteJournal(folder / "journal.db"))

    @property
    def snapshots(self) -> Path:
        """Where the snapshots are."""
        return self.folder / "snapshots"

    def snapshot_of(self, campaign: Campaign) -> Path:
        """The campaign's snapshot."""
        return self.snapshots / campaign.snapshot

    def read_snapshot(self, campaign: Campaign) -> SnapshotReader:
        """The campaign's snapshot, to be read; a context manager.

        Raises:
            SnapshotError: it is missing or damaged.
            UsageError: it was pruned.
        """
        self.refuse_pruned(campaign)
        return SnapshotReader(
            self.snapshot_of(campaign), size_bytes=campaign.snapshot_bytes, sha256=campaign.snapshot_sha256
        )

    def standing(self, name: str) -> Standing:
        """Where a campaign stands. Raises CampaignUnknownError."""
        while True:
            campaign = self.journal.campaign(name)
            sender = self.journal.sender()
            tally = self.journal.tally(campaign)
            nobody = sender is None or sender.campaign not in (None, name)
            if campaign.state is not CampaignState.SENDING or not nobody:
                return Standing(campaign, tally, orphaned=False)
            # A sender says how it ended before it lets go of the store; one that was killed says nothing.
            if self.journal.campaign(name).state is CampaignState.SENDING:
                return Standing(campaign, tally, orphaned=True)

    @contextmanager
    def planning(self) -> Iterator[None]:
        """While a snapshot is made that the journal does not know yet; what killed processes left is removed first.

        Raises:
            JournalError: the store cannot be used.
        """
        with self._plans() as lock:
            if _locks(lock):  # else somebody plans, or removes a person: then it is for the next one to do
                self.sweep()
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def tidied(self) -> Iterator[None]:
        """While lists are removed: nobody plans, and nothing of a list is there but what the journal names.

        Raises:
            CampaignBusyError: a plan is being made.
            JournalError: the store cannot be used.
        """
        with self._plans() as lock:
            if not _locks(lock):
                raise CampaignBusyError(
                    f"a plan is being made in {self.folder}, or a list removed from it",
                    hint="Run the same command again when that is done.",
                )
            self.sweep()
            yield

    def sweep(self) -> int:
        """Remove what no campaign has: lists of plans and removals that were killed, and pruned ones. Returns files.

        Only inside `tidied()` or at the beginning of `planning()`: a plan's files have no campaign yet.
        """
        if not self.snapshots.is_dir():
            return 0
        for folder in self.snapshots.glob(SCRATCH):
            shutil.rmtree(folder)
        used = self.journal.snapshots_in_use()
        used |= {str(Path(name).with_suffix(".skipped.parquet")) for name in used}
        left = [path for path in self.snapshots.iterdir() if SNAPSHOT.fullmatch(path.name) and path.name not in used]
        for path in left:
            path.unlink()
        return len(left)

    @contextmanager
    def _plans(self) -> Iterator[int]:
        """The lock that whoever plans shares, and whoever removes lists has alone; it dies with its process."""
        try:
            lock = os.open(self.folder / "plans.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{self.folder / 'plans.lock'} cannot be opened: {error.strerror}") from error
        try:
            yield lock
        finally:
            os.close(lock)

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


def find_target(file_or_name: str, settings: Settings, overrides: dict[str, object] | None = None) -> Target:
    """Whatever is a file, or looks like one, is a campaign file; all else is a name in the store at hand.

    Raises:
        ConfigError: the file has faults.
        JournalError: the store cannot be used.
    """
    path = Path(file_or_name)
    if is_file(path):
        file = load_campaign(path, overrides)
        return Target(file.name, Store.open(settings, path.absolute().parent), file)
    return Target(file_or_name, Store.open(settings, Path.cwd()), None)


def is_file(path: Path) -> bool:
    """Whether it means a campaign file; else it is the name of a campaign."""
    return path.is_file() or path.suffix == ".toml" or len(path.parts) > 1


def _locks(descriptor: int) -> bool:
    """Have a lock alone, if nobody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
