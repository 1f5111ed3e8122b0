"""What the face needs of the worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from enum import Enum, unique
from typing import Literal, Protocol

__all__ = ["Format", "Office", "Unsubscribed", "Unsubscribing"]

Format = Literal["csv", "jsonl"]


class Office(Protocol):
    """The worker, as those see it who ask at its face. Facts are JSON-able: what orjson takes, keys as text.

    A call that changes something is never cut short because its client left; all may be cancelled when the face closes.
    """

    def metrics(self) -> tuple[str, bytes]:
        """The content type and the text of the Prometheus exposition."""
        ...

    def heartbeat_age_s(self) -> float:
        """Seconds since the event loop last turned."""
        ...

    async def hindrances(self) -> Sequence[str]:
        """Why it is not ready, for people: store, account, sending disabled. None is ready.

        It is cancelled when it takes too long, and asked as often as anybody likes: what costs a call of SES is to be
        remembered.
        """
        ...

    async def campaigns(self) -> Sequence[Mapping[str, object]]:
        """Each campaign of the store."""
        ...

    async def campaign(self, name: str) -> Mapping[str, object]:
        """One campaign.

        Raises:
            CampaignUnknownError: there is none of this name.
        """
        ...

    async def submit(self, tables: Mapping[str, object], *, again: bool) -> tuple[Mapping[str, object], bool]:
        """Plan and queue the campaign of these tables, a campaign file's. Returns it, and whether it is new.

        `again` lets a list and content through that an earlier campaign had.

        Raises:
            ConfigError, ListError: it is not valid.
            CampaignChangedError: there is another one of this name.
            UsageError: an earlier campaign had the same list and content.
        """
        ...

    async def queue(self, name: str) -> Mapping[str, object]:
        """Queue a campaign that is planned already. Raises CampaignUnknownError, or UsageError if it cannot be sent."""
        ...

    async def pause(self, name: str) -> Mapping[str, object]:
        """Send no more of it until it is resumed. Raises CampaignUnknownError or UsageError."""
        ...

    async def resume(self, name: str) -> Mapping[str, object]:
        """Go on with a paused or halted one. Raises CampaignUnknownError or UsageError."""
        ...

    async def cancel(self, name: str) -> Mapping[str, object]:
        """End it for good. Raises CampaignUnknownError or UsageError."""
        ...

    def results(
        self, name: str, states: Sequence[str], fates: Sequence[str], form: Format
    ) -> AsyncGenerator[bytes, None]:
        """What became of each row, in pieces of any size; all states where none is named.

        With `fates`, only rows that any of these has befallen.

        It is closed early when the client leaves. What it raises before its first piece becomes an error answer;
        afterwards the connection is cut, so that nobody takes a part for the whole.

        Raises:
            CampaignUnknownError: there is none of this name.
            JournalError: journal or events cannot be read.
            SnapshotError: the snapshot is missing or damaged.
            UsageError: the campaign was pruned.
        """
        ...


@unique
class Unsubscribed(Enum):
    """What an unsubscription came to.

    NOBODY_KNOWN  the token is good, and whom the mail went to is not known here any more.
    NOT_OURS      nobody here has made the token.
    """

    DONE = "done"
    NOBODY_KNOWN = "nobody known"
    NOT_OURS = "not ours"


class Unsubscribing(Protocol):
    """What the public face needs. Neither call tells by its time whether there is such a mail."""

    async def knows(self, token: str) -> bool:
        """Whether the token is one of ours; without the store."""
        ...

    async def unsubscribe(self, token: str) -> Unsubscribed:
        """Write no more to whoever that mail went to; as often as anybody likes. Raises BulksendError."""
        ...
