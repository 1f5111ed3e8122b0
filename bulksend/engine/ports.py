"""What the engine needs of others, declared where it is needed; the adapters satisfy these by their shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bulksend.facts import Fact
from bulksend.ledger import Ledger
from bulksend.model import AllAccepted, Answer, Batch, CampaignState, Chunk, EntryOutcome, Halt, Intent, Settlement

__all__ = ["Journal", "Observer", "Pacer", "Source", "Transport"]


class Source(Protocol):
    """The snapshot."""

    async def chunk(self, number: int) -> Chunk:
        """A chunk's entries. Raises SnapshotError when it is missing or damaged."""
        ...


class Journal(Protocol):
    """The durable record; every coroutine returns when what it did is durable, or raises JournalError."""

    async def open_chunks(self, campaign_id: str) -> list[int]:
        """Numbers of the chunks that still have something to send."""
        ...

    async def open_chunk(self, campaign_id: str, number: int) -> Ledger:
        """Where each entry of a chunk stands."""
        ...

    async def close_chunk(self, campaign_id: str, number: int) -> bool:
        """Done, if the journal agrees."""
        ...

    async def intend(self, batch: Batch) -> Intent | None:
        """The intent to send; None when nothing may go."""
        ...

    async def settle(self, intent: Intent, outcomes: Sequence[EntryOutcome] | AllAccepted) -> None:
        """What was answered, one outcome (or message id) per entry of the intent's batch."""
        ...

    async def decide(self, campaign_id: str, chunk: int, settlements: Sequence[Settlement]) -> list[Settlement]:
        """What the campaign's own policy decides; returns those that took effect."""
        ...

    async def campaign_state(self, campaign_id: str) -> CampaignState:
        """As it is now, by whatever process."""
        ...

    async def set_state(self, campaign_id: str, state: CampaignState, halt: Halt | None = None) -> bool:
        """The beginning or the end of a run; False when it is not so: cancelled, or not finished yet."""
        ...


class Transport(Protocol):
    """How a request leaves. It never raises for what SES or the network does: that is an Answer."""

    async def send(self, entries_json: bytes | memoryview) -> Answer:
        """One SendBulkEmail call with these entries (JSON, separated by commas), attempted once.

        Cancelled, it returns what is known: NotSent, or Doubtful once a byte may have left.
        """
        ...

    async def renew_credentials(self, refused_generation: int) -> int:
        """Read the credentials anew, unless that has been done since this generation; returns the current one."""
        ...

    def set_clock(self, server_time: float) -> None:
        """Sign with the server's clock from now on; epoch seconds."""
        ...


class Pacer(Protocol):
    """The gate that spends the quota, counted in recipients."""

    rate_per_s: float
    """The present pace."""

    @property
    def batch_recipients(self) -> int:
        """How many recipients a batch may have at the present pace, 1 to 50."""
        ...

    async def acquire(self, recipients: int) -> int:
        """Wait until so many may be sent; returns a ticket. Raises HaltedError when the account may not send."""
        ...

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many of those acquired with this ticket were not accepted, hence do not count against the day."""
        ...

    def throttled(self, sent_at_s: float) -> None:
        """SES throttled a request that was sent at this time of the event loop's clock."""
        ...

    def day_spent(self) -> None:
        """SES says that the 24-hour quota is used up."""
        ...


class Observer(Protocol):
    """Somebody who watches."""

    def observe(self, fact: Fact, /) -> None:
        """Take note; never raises, never waits."""
        ...
