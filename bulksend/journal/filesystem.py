"""Where a journal may not lie.

SQLite's WAL needs shared memory, and its locks a file system that keeps them: a network's does neither for certain
(SQLite documentation, Write-Ahead Logging and How To Corrupt An SQLite Database File).
"""

from __future__ import annotations

import os
from pathlib import Path

from bulksend.errors import JournalError

__all__ = ["refuse_network"]

NETWORK = frozenset(
    {
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "ncpfs",
            "afs",
            "9p",
            "ceph",
            "lustre",
            "beegfs",
            "gpfs",
            "ocfs2",
            "gfs2",
        ),
        *(
            "glusterfs",
            "fuse.glusterfs",
            "fuse.sshfs",
            "fuse.s3fs",
            "fuse.rclone",
            "fuse.gcsfuse",
            "fuse.ceph",
            "davfs",
        ),
    }
)
MOUNTS = Path("/proc/self/mountinfo")


def refuse_network(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raises JournalError when the folder lies on a network file system.

    Where mounts cannot be read, nothing is refused.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    real = os.path.realpath(folder)
    best, kind = "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].encode().decode("unicode_escape", "replace") if len(left.split(" ")) > 4 else ""  # noqa: PLR2004
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, right.split(" ")[0]
    if kind in NETWORK:
        raise JournalError(
            f"{folder} is on a network file system ({kind}), where SQLite's journal is not safe",
            hint="Keep the store on a local disk (--store sqlite:FOLDER); several machines would share PostgreSQL.",
        )
