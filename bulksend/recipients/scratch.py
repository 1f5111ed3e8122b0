"""Temporary files of a plan: a private folder that no interrupted plan leaves behind for long, and columns in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any, BinaryIO

__all__ = ["Cells", "abandoned_scratch", "alone", "create_private", "is_at", "scratch_folder", "sync_folder"]

_SUFFIX = ".planning"
_LOCK = ".planning.lock"
"""Files are locked, not folders: a folder cannot be opened for writing, and NFS locks nothing else (man 2 flock)."""


@contextlib.contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """A private folder inside `folder`, removed at the end; `folder` is made (0700) if it is not there.

    A process holds a lock in its scratch folder while it lives. Folders without such a lock are what a killed process
    left, and are removed first.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f".{name}{_SUFFIX}"
    with alone(folder / _LOCK):  # nobody sweeps between making the folder and locking it
        for leftover in _abandoned(folder):
            shutil.rmtree(leftover)
        path.mkdir(mode=0o700)
        lock = create_private(path / _LOCK)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        for file in path.iterdir():  # first, since there may be no room for anything else
            if file.name != _LOCK:
                file.unlink()
        with alone(folder / _LOCK):  # nor between letting go of it and removing it
            os.close(lock)  # what is open, NFS keeps under another name
            shutil.rmtree(path)


def abandoned_scratch(folder: Path) -> list[Path]:
    """Scratch folders inside `folder` that killed processes have left."""
    if not any(folder.glob(f".*{_SUFFIX}")):
        return []
    with alone(folder / _LOCK):
        return list(_abandoned(folder))


def _abandoned(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob(f".*{_SUFFIX}")):
        try:
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except NotADirectoryError:
            continue
        except FileNotFoundError:  # killed before it could lock it
            yield path
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
        yield path


@contextlib.contextmanager
def alone(path: Path) -> Iterator[BinaryIO]:
    """A file that nobody else has meanwhile; waits for whoever does. If it has its name still at the end, it goes.

    A killed process leaves the file without a lock, and the next one takes it up.
    """
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                continue
            if is_at(file, path):  # else whoever had it is done with it
                try:
                    yield file
                finally:
                    if is_at(file, path):
                        path.unlink()
                return


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):  # the latter on NFS, for a file that others have removed
            raise
        return False


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
