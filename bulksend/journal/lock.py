"""One sending process per store: a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from bulksend.errors import CampaignBusyError, JournalError

__all__ = ["MANY", "NONE", "StoreLock", "last_campaign", "living_holder", "living_process", "plans_lock"]

MANY, NONE = "", "-"
"""In place of the id of the only campaign: it sends whatever is submitted; or it sends nothing."""

PATIENCE_S = 1.0
"""Somebody who only looks holds a shared lock for an instant; a sender holds its own for long."""


class StoreLock:
    """Held by the process that sends.

    The file's text is the holder's id, so that others can tell its attempts from dead ones, its process's, and that of
    the campaign that it sends, if it is only one, else MANY or NONE. It outlives the holder.

    Raises:
        CampaignBusyError: at entry, when another process holds it.
        JournalError: at entry, when the file cannot be used.
    """

    def __init__(self, path: Path, holder: str, campaign_id: str = MANY) -> None:
        self._path = path
        self._holder = holder
        self._campaign_id = campaign_id
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"{self._path} cannot be opened: {error.strerror}") from error
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() < deadline_s:
                    time.sleep(0.02)
                    continue
                os.close(descriptor)
                raise CampaignBusyError(f"it holds the store in {self._path.parent}") from None
            break
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{self._holder} {os.getpid()} {self._campaign_id}".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


@contextmanager
def plans_lock(path: Path, *, alone: bool) -> Iterator[bool]:
    """The lock that whoever plans shares, and whoever removes lists has alone; whether it could be had.

    It dies with its process. Without `alone` it is waited for. Raises JournalError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def living_holder(path: Path) -> str | None:
    """The id of the holder of the store's lock now, or None. Raises JournalError."""
    text = _text_of_living(path)
    return None if text is None else text.partition(" ")[0]


def living_process(path: Path) -> tuple[int | None, str]:
    """The process id of the holder of the store's lock now, and its only campaign's id.

    None and "" without a holder, or where it is not known.
    """
    _, number, campaign_id, *_ = [*(_text_of_living(path) or "").split(" "), "", "", ""]
    return int(number) if number.isdecimal() else None, campaign_id


def last_campaign(path: Path) -> str:
    """The only campaign's id of whoever held the store's lock last, dead or alive; MANY or NONE.

    Raises:
        JournalError: the file cannot be read.
    """
    try:
        return path.read_text("ascii", "replace").split(" ")[2]
    except (FileNotFoundError, IndexError):
        return NONE
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error


def _text_of_living(path: Path) -> str | None:
    # A shared lock is tried for an instant: it can only be had when nobody holds the exclusive one.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 128, 0).decode("ascii", "replace")
    else:
        return None
    finally:
        os.close(descriptor)
