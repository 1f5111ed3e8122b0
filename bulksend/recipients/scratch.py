"""Temporary files of a plan: a private folder that no interrupted plan leaves behind for long, and columns in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

__all__ = ["Cells", "create_private", "scratch_folder", "sync_folder"]

_SUFFIX = ".planning"


@contextlib.contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """A private folder inside `folder`, removed at the end; `folder` is made (0700) if it is not there.

    A process holds a lock on its scratch folder while it lives. Folders without such a lock are what a killed process
    left, and are removed first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f".{name}{_SUFFIX}"
    with _locked(folder):  # nobody sweeps between making the folder and locking it
        for leftover in folder.glob(f".*{_SUFFIX}"):
            with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(leftover, wait=False):
                shutil.rmtree(leftover)
        path.mkdir(mode=0o700)
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        shutil.rmtree(path)
        os.close(lock)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def create_private(path: Path) -> int:
    """Make a new file that only its owner can read; returns its descriptor."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def sync_folder(folder: Path) -> None:
    """Make renames in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Cells:
    """Pieces of columns in a temporary file, numbered from 0 as they are written; first written, then read."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        os.close(create_private(path))
        self._path = path
        self._schema = schema
        self._sink: pa.OSFile | None = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._reader: pa.ipc.RecordBatchFileReader | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def write(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Add one piece."""
        self._writer.write_batch(pa.record_batch(list(columns), schema=self._schema))
        self._count += 1

    def read(self, number: int) -> pa.RecordBatch:
        """One piece. The first reading ends the writing."""
        if self._reader is None:
            self._writer.close()
            assert self._sink is not None
            self._sink.close()
            # Not mapped into memory: pages of the file would count as the process's own.
            self._reader = pa.ipc.open_file(pa.OSFile(str(self._path), "rb"))
        return self._reader.get_batch(number)

    def remove(self) -> None:
        """Give the disk space back early."""
        self._reader = None
        self._path.unlink()
