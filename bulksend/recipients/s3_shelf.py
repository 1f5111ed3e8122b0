"""Snapshots in S3, and the cache of them that each machine has."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bulksend.recipients.folder_shelf import SNAPSHOT_NAME, FolderShelf, local_errors_in_words
from bulksend.recipients.s3 import S3Folder
from bulksend.recipients.scratch import alone, is_at, sync_folder
from bulksend.recipients.skipped import path_of_skipped

__all__ = ["S3Shelf"]

_PART = re.compile(rf"\.{SNAPSHOT_NAME.pattern}\.part")
"""What a file is called in the cache until all of it is there."""


@dataclass(frozen=True, slots=True)
class S3Shelf:
    """A place in S3. A snapshot is made in the cache, uploaded, and downloaded once to each other machine's cache.

    Nothing in the cache has a snapshot's name but a whole file; beside a fetched snapshot are its skipped rows.
    """

    place: S3Folder
    cache: FolderShelf

    @property
    def workshop(self) -> Path:
        """The cache: what was put from it need not be fetched."""
        return self.cache.workshop

    def put(self, path: Path) -> None:
        """See Shelf. The skipped rows first; where this fails, the snapshot is not on the shelf, or not all of it."""
        for file in (path_of_skipped(path), path):
            with local_errors_in_words(file):
                self.place.put(file)

    def fetch(self, name: str, *, size_bytes: int) -> Path:
        """See Shelf. What is in the cache in its full size is not asked for again."""
        path = self.cache.path(name)
        if self.cache.size_bytes(name) != size_bytes:
            skipped = path_of_skipped(path).name
            if not self.cache.exists(skipped) and (skipped_bytes := self.place.size_bytes(skipped)) is not None:
                self._download(skipped, skipped_bytes)
            self._download(name, size_bytes)
        return path

    def exists(self, name: str) -> bool:
        """See Shelf."""
        return self.place.size_bytes(self.cache.path(name).name) is not None

    def names(self) -> set[str]:
        """See Shelf."""
        return {name for name in self.place.names() if SNAPSHOT_NAME.fullmatch(name)}

    def remove(self, name: str) -> None:
        """See Shelf. Of the caches only this machine's is reached: `tidy` does the same on the others.

        A bucket with versioning keeps what was removed as an earlier version, until a lifecycle rule of the bucket's
        removes that too (Amazon S3 User Guide, Deleting object versions from a versioning-enabled bucket).
        """
        self.cache.remove(name)
        self.place.remove(name)

    def scratch(self) -> list[Path]:
        """See Shelf."""
        return self.cache.scratch()

    def tidy(self, in_use: Callable[[], set[str]]) -> None:
        """See Shelf."""
        there = self.cache.names()
        kept = in_use()
        for name in there - kept - {path_of_skipped(Path(name)).name for name in kept}:
            self.cache.remove(name)
        for part in self.cache.matching(_PART):
            with local_errors_in_words(part):
                _remove_abandoned(part)

    def _download(self, name: str, size_bytes: int) -> None:
        """Into the cache, unless another process has just done so."""
        path = self.cache.workshop / name
        part = path.with_name(f".{name}.part")
        with local_errors_in_words(path), alone(part) as file:
            if self.cache.size_bytes(name) == size_bytes:
                return
            file.truncate(0)
            for block in self.place.blocks(name, size_bytes):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            part.replace(path)
            sync_folder(path.parent)


def _remove_abandoned(part: Path) -> None:
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if is_at(file, part):
            part.unlink()
