"""Where snapshots are kept: in a folder, this machine's own or a shared one, or in S3 with a cache on each machine.

A snapshot never changes under its name. Where there is a snapshot, there are its skipped rows: those are put first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bulksend.errors import ConfigError
from bulksend.recipients.folder_shelf import FolderShelf
from bulksend.recipients.s3 import S3_SCHEME, S3Folder, ShelfUnreachableError
from bulksend.recipients.s3_shelf import S3Shelf

__all__ = ["FolderShelf", "S3Shelf", "Shelf", "ShelfUnreachableError", "open_shelf"]

_SCHEME = "://"


class Shelf(Protocol):
    """Where snapshots are kept. Names are file names, of snapshots or of the skipped rows beside them.

    Every method raises SnapshotError if the shelf cannot be used, and ShelfUnreachableError, which is one too, where
    the same call may well succeed later.
    """

    @property
    def workshop(self) -> Path:
        """The local folder where new snapshots are made; made (0700) if it is not there."""
        ...

    def put(self, path: Path) -> None:
        """A finished snapshot in the workshop, and its skipped rows, are durably on the shelf when this returns."""
        ...

    def fetch(self, name: str, *, size_bytes: int) -> Path:
        """A local file that is the snapshot `name`; its skipped rows are beside it, if it has any file of them.

        The size is compared, the digest is left to whoever reads it. The path is good until the name is removed.

        Raises:
            SnapshotError: it is not there or not of that size, or there is no room for it here.
        """
        ...

    def exists(self, name: str) -> bool:
        """Whether it is on the shelf."""
        ...

    def names(self) -> set[str]:
        """Of all that is on the shelf, skipped rows too. What has no name of ours is not counted."""
        ...

    def remove(self, name: str) -> None:
        """Take one file off the shelf and out of the cache, if it is there; skipped rows have a name of their own."""
        ...

    def scratch(self) -> list[Path]:
        """Folders in the workshop that plans left when they were killed; those of living plans are not among them."""
        ...

    def tidy(self, in_use: Callable[[], set[str]]) -> None:
        """Remove from this machine's cache what is not in use, and what killed downloads left; the shelf stays.

        `in_use` gives the names of all snapshots that campaigns have; their skipped rows stay with them. It is called
        after the cache was looked at, so that what is fetched meanwhile is not missed in it. Only while nobody plans on
        this machine: a snapshot that no campaign has yet counts as not in use.
        """
        ...


def open_shelf(where: str, *, cache: Path, s3_endpoint_url: str | None) -> Shelf:
    """The shelf at s3://bucket or s3://bucket/prefix, else in the folder of that path. Nothing is asked or made yet.

    Args:
        where: the shelf's place.
        cache: a folder on this machine for what is in S3; processes may share it. It holds whole lists.
        s3_endpoint_url: what is spoken to in place of Amazon S3.

    Raises:
        ConfigError: it is neither a folder nor in S3.
    """
    if where.startswith(S3_SCHEME):
        return S3Shelf(S3Folder(where, s3_endpoint_url), FolderShelf(cache))
    if _SCHEME in where or not where:
        raise ConfigError(
            f"snapshots cannot be kept at {where!r}", hint="Name a folder, or s3://bucket/prefix for a place in S3."
        )
    return FolderShelf(Path(where))
