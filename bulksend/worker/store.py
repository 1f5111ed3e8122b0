"""Where a campaign's state lives, and which campaign a person means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulksend.config import CampaignFile, Settings, load_campaign
from bulksend.errors import UsageError
from bulksend.journal import SqliteJournal
from bulksend.model import Campaign
from bulksend.recipients import SnapshotReader

__all__ = ["Store", "Target", "find_target"]

FOLDER = ".bulksend"


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


def find_target(file_or_name: str, settings: Settings, overrides: dict[str, object] | None = None) -> Target:
    """Whatever is a file, or looks like one, is a campaign file; all else is a name in the store at hand.

    Raises:
        ConfigError: the file has faults.
        JournalError: the store cannot be used.
    """
    path = Path(file_or_name)
    if path.is_file() or path.suffix == ".toml" or len(path.parts) > 1:
        file = load_campaign(path, overrides)
        return Target(file.name, Store.open(settings, path.absolute().parent), file)
    return Target(file_or_name, Store.open(settings, Path.cwd()), None)
