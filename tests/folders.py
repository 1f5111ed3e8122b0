"""Where the tests have their files: in memory, where there is room. None of them has to outlive the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["quick_folder"]

MEMORY = Path("/dev/shm")  # noqa: S108  pytest's folders, and PostgreSQL's, are made below it for one user alone
ENOUGH_BYTES = 3 * 1024**3


def quick_folder() -> Path:
    """One for temporary folders. To synchronise costs nothing there; whoever is killed loses as little as on a disk."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return Path(tempfile.gettempdir())
    roomy = found.f_bavail * found.f_frsize >= ENOUGH_BYTES and not found.f_flag & os.ST_NOEXEC
    return MEMORY if roomy and os.access(MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
