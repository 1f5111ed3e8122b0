"""Every error a person can meet: what happened, what to do next, and the exit code that says so.

The docstring of each class is the first line of its message. A class is raised with the particulars (which file, row,
field) as its argument and may be given a hint that fits better than the class's own.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from bulksend.model import Halt

__all__ = [
    "AccountError",
    "BulksendError",
    "CampaignBusyError",
    "CampaignChangedError",
    "CampaignUnknownError",
    "ConfigError",
    "DeclinedError",
    "ExitCode",
    "HaltedError",
    "JournalError",
    "ListError",
    "NameTakenError",
    "ServerError",
    "SnapshotError",
    "UsageError",
]


class ExitCode(IntEnum):
    """What the process says when it ends."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    SOME_DEAD = 3
    SOME_IN_DOUBT = 4
    HALTED = 5
    BUSY = 6
    INTERRUPTED = 130


class BulksendError(Exception):
    """Something went wrong"""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED
    default_hint: ClassVar[str] = "Run the command again with --log-level debug and report what it prints."

    def __init__(self, detail: str = "", *, hint: str | None = None) -> None:
        self.detail = detail
        self.hint = self.default_hint if hint is None else hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """One sentence for a person: what happened, and to which input."""
        headline = (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")
        return f"{headline}: {self.detail}" if self.detail else headline


class UsageError(BulksendError):
    """The command cannot be carried out as given"""

    exit_code = ExitCode.USAGE
    default_hint = "See bulksend --help."


class ConfigError(BulksendError):
    """The configuration is not valid"""

    exit_code = ExitCode.USAGE
    default_hint = "Correct the keys named above; config.toml at the top of the project annotates every setting."


class ListError(BulksendError):
    """The recipient list cannot be used"""

    exit_code = ExitCode.USAGE
    default_hint = (
        "Nothing was sent. Correct the list, or the [recipients] section of the campaign file, and plan again."
    )


class CampaignChangedError(BulksendError):
    """The campaign is not the one that was planned under this name"""

    exit_code = ExitCode.USAGE
    default_hint = "Undo the change, or give the changed campaign a name of its own."


class NameTakenError(CampaignChangedError):
    """A campaign of this name was planned at the same time"""


class CampaignUnknownError(BulksendError):
    """No such campaign in this store"""

    exit_code = ExitCode.USAGE
    default_hint = "Name the campaign's file, or pass --store with the store that holds it."


class CampaignBusyError(BulksendError):
    """Another process is at work in this store"""

    exit_code = ExitCode.BUSY
    default_hint = (
        "Wait until it ends (bulksend status NAME --watch shows how far it is), or end it: bulksend pause NAME. "
        "A worker takes campaigns that are left to it: bulksend submit."
    )


class DeclinedError(BulksendError):
    """The answer was no"""

    exit_code = ExitCode.USAGE
    default_hint = ""


class AccountError(BulksendError):
    """The SES account cannot be read"""

    exit_code = ExitCode.USAGE
    default_hint = "Nothing was sent. Check the credentials, the region and that ses:GetAccount is allowed."


class SnapshotError(BulksendError):
    """The snapshot of the list is missing or damaged"""

    exit_code = ExitCode.HALTED
    default_hint = "Restore the file from a backup. Nothing more is sent without it; bulksend status still works."


class JournalError(BulksendError):
    """The journal cannot be used"""

    exit_code = ExitCode.HALTED
    default_hint = "Nothing is sent without a journal. Check the disk and the file's permissions."
    is_outage = False
    """Whether it is the server's trouble, which may pass."""


class EventStoreError(JournalError):
    """The store of events cannot be used"""

    default_hint = (
        "It has who must not be written to, so nothing is sent without it. Check the disk and the file's permissions. "
        "If the file is damaged, restore it from a backup, with its -wal file if there is one. If there is no backup, "
        "move it away: the same command then says how to go on without it."
    )


class ServerError(BulksendError):
    """The server cannot be started"""

    exit_code = ExitCode.USAGE
    default_hint = "Choose another port, or address 127.0.0.1; for a worker: http.listen, or BULKSEND_HTTP_LISTEN."


class HaltedError(BulksendError):
    """Sending halted"""

    exit_code = ExitCode.HALTED

    def __init__(self, halt: Halt) -> None:
        super().__init__(halt.reason, hint=halt.remedy)
        self.halt = halt
