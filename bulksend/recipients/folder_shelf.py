"""Snapshots in a folder: one that keeps them, or a machine's cache of those that are kept elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bulksend.errors import SnapshotError
from bulksend.recipients.scratch import abandoned_scratch

__all__ = ["SNAPSHOT_NAME", "FolderShelf", "local_errors_in_words"]

SNAPSHOT_NAME = re.compile(r"[0-9a-z]{26}(\.\d+)?(\.skipped)?\.parquet")
"""File names of snapshots, of rewritten ones, and of the skipped rows beside them. No other file is ever touched."""


@dataclass(frozen=True, slots=True)
class FolderShelf:
    """A folder of this machine, or one that all machines of a fleet have mounted. Snapshots are made where they stay.

    A cache of snapshots that are kept elsewhere is one, too.
    """

    folder: Path

    @property
    def workshop(self) -> Path:
        """The folder itself."""
        with local_errors_in_words(self.folder):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder

    def put(self, path: Path) -> None:
        """Nothing is left to do: it was made here, and is durable already."""

    def fetch(self, name: str, *, size_bytes: int) -> Path:
        """See Shelf."""
        path = self.path(name)
        with local_errors_in_words(path):
            found_bytes = path.stat().st_size
        if found_bytes != size_bytes:
            raise SnapshotError(f"{path} has {found_bytes:,} bytes; it had {size_bytes:,} when it was planned")
        return path

    def exists(self, name: str) -> bool:
        """See Shelf."""
        return self.size_bytes(name) is not None

    def names(self) -> set[str]:
        """See Shelf."""
        return {path.name for path in self.matching(SNAPSHOT_NAME)}

    def remove(self, name: str) -> None:
        """See Shelf."""
        path = self.path(name)
        with local_errors_in_words(path):
            path.unlink(missing_ok=True)

    def scratch(self) -> list[Path]:
        """See Shelf."""
        with local_errors_in_words(self.folder):
            return abandoned_scratch(self.folder)

    def tidy(self, in_use: Callable[[], set[str]]) -> None:
        """There is no cache."""

    def path(self, name: str) -> Path:
        """Where it is, or would be. Raises SnapshotError if it could be no snapshot of ours."""
        if not SNAPSHOT_NAME.fullmatch(name):
            raise SnapshotError(f"{name!r} is not the name of a snapshot", hint="The journal may be damaged.")
        return self.folder / name

    def size_bytes(self, name: str) -> int | None:
        """Its size; None if it is not there."""
        path = self.path(name)
        with local_errors_in_words(path):
            try:
                return path.stat().st_size
            except FileNotFoundError:
                return None

    def matching(self, pattern: re.Pattern[str]) -> list[Path]:
        """The files with such names; none if the folder is not there."""
        with local_errors_in_words(self.folder):
            try:
                return [path for path in self.folder.iterdir() if pattern.fullmatch(path.name)]
            except FileNotFoundError:
                return []


@contextmanager
def local_errors_in_words(path: Path) -> Iterator[None]:
    """Errors of this machine's files as ours. Raises SnapshotError."""
    try:
        yield
    except FileNotFoundError as error:
        raise SnapshotError(
            f"there is no {path}",
            hint="If it is in a shared folder, check that it is mounted here; else restore it from a backup.",
        ) from error
    except OSError as error:
        raise SnapshotError(
            f"{path}: {error.strerror or error}",
            hint="Check the disk's free space, and that the folder is there and may be written to; then try again.",
        ) from error
