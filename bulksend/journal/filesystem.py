"""Where a journal may not lie, and how its file is made.

SQLite's WAL needs shared memory, and its locks a file system that keeps them: a network's does neither for certain
(SQLite documentation, Write-Ahead Logging and How To Corrupt An SQLite Database File).
"""

from __future__ import annotations

import os
import re
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from bulksend.errors import JournalError

__all__ = ["clear_free_space", "make_private", "refuse_network"]

NETWORK = frozenset(
    {
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs"),
        *("fuse.blobfuse", "fuse.blobfuse2", "fuse.ceph", "fuse.ceph-fuse", "fuse.davfs", "fuse.davfs2"),
        *("fuse.gcsfuse", "fuse.glusterfs", "fuse.goofys", "fuse.juicefs", "fuse.moosefs", "fuse.mount-s3"),
        *("fuse.mountpoint-s3", "fuse.rclone", "fuse.s3fs", "fuse.seaweedfs", "fuse.smbnetfs", "fuse.sshfs"),
    }
)
_ESCAPED = re.compile(r"\\(040|011|012|134)")
MOUNTS = Path("/proc/self/mountinfo")


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raises JournalError when the folder lies on a network file system.

    Where mounts cannot be read, nothing is refused.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return
    real = os.path.realpath(folder)
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        # The kernel escapes these four alone (proc(5)); all else is the bytes of the name.
        point = _ESCAPED.sub(lambda found: chr(int(found[1], 8)), fields[4]) if len(fields) > 4 else ""  # noqa: PLR2004
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            kind, _, more = right.partition(" ")
            # A file system in user space is told by its subtype, or else by its source.
            best, kind = point, f"fuse.{more.split(' ')[0].partition(':')[0]}" if kind == "fuse" else kind
    if kind in NETWORK:
        raise JournalError(
            f"{folder} is on a network file system ({kind}), where SQLite's journal is not safe",
            hint="Keep the store on a local disk (--store sqlite:FOLDER); several machines would share PostgreSQL.",
        )


def make_private(path: Path) -> None:
    """Make an empty file for its owner alone, unless it is there.

    Its name comes last, and one that is there is not opened: closing it would take this process's locks on it away, and
    another could remove the log from under it (SQLite, How To Corrupt An SQLite Database File, 2.2).

    Raises:
        OSError: it cannot be made.
    """
    if path.exists():
        return
    made, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # of mode 0600
    try:
        os.close(made)
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def clear_free_space(path: Path, connect: Callable[[], sqlite3.Connection], refusal: type[JournalError]) -> None:
    """Leave no trace of what was removed from a store's file, in it or beside it.

    Raises:
        JournalError: as `refusal`: somebody reads it all the time, or there is no room on the disk.
    """
    try:
        with closing(connect()) as db:
            db.execute("VACUUM")
            (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise refusal(f"{path} cannot be written: {error}") from error
    if busy:
        raise refusal(
            f"{path} is being read, so that its free space cannot be cleared",
            hint="End what reads it, then run the same command again.",
        )
