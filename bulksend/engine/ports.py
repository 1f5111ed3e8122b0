"""What the engine needs of others, declared where it is needed; the adapters satisfy these by their shape."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from bulksend.facts import Fact
from bulksend.ledger import Ledger
from bulksend.model import (
    AllAccepted,
    Answer,
    Batch,
    CampaignState,
    Chunk,
    EntryOutcome,
    Halt,
    Intent,
    Settlement,
    Withheld,
)

__all__ = ["Gate", "Handout", "Journal", "Observer", "Pacer", "Screen", "Source", "Transport"]


class Source(Protocol):
    """The snapshot."""

    async def chunk(self, number: int) -> Chunk:
        """A chunk's entries. Raises SnapshotError when it is missing or damaged."""
        ...


class Handout(Protocol):
    """Which chunks of the campaign this process is to send."""

    def on_arrival(self, call: Callable[[], None]) -> None:
        """Whom to call, in the event loop, when there is more to take."""
        ...

    def ask(self) -> None:
        """Another chunk could be sent from, now; it may come later, or not at all."""
        ...

    def take(self, now: float) -> list[int]:
        """Numbers of chunks that have come, or are due again at `now` (epoch seconds), since the last call."""
        ...

    def next_at(self) -> float | None:
        """When the next will be due, in epoch seconds, as far as that is known here."""
        ...

    async def more(self) -> bool:
        """Wait until there is something to take; False when the campaign has nothing left to hand out."""
        ...

    def let_go(self, number: int, until: float | None) -> None:
        """A chunk that was taken is done, or lost (None), or only waits until a time (epoch seconds)."""
        ...


class Gate(Protocol):
    """What lets the first entries of a list go, and holds the others until something is known of those."""

    def on_change(self, call: Callable[[], None]) -> None:
        """Whom to call, in the event loop, when it lets more go than before."""
        ...

    def limit(self, chunk: int) -> int | None:
        """How many entries of a chunk, from its first, may be sent; None for all."""
        ...

    @property
    def waits_for(self) -> str:
        """What it waits for, in words, once all that may go has gone out; empty before that, and once it is open."""
        ...


class Journal(Protocol):
    """The durable record; every coroutine returns when what it did is durable, or raises JournalError."""

    async def open_chunks(self, campaign_id: str) -> list[int]:
        """Numbers of the chunks that still have something to send."""
        ...

    async def open_chunk(self, campaign_id: str, number: int) -> Ledger | None:
        """Where each entry of a chunk stands; None when it is not this process's to send."""
        ...

    async def leave_chunk(self, campaign_id: str, number: int, until: float | None) -> None:
        """Give back a chunk that is not done; nothing of it is due before `until` (epoch seconds), if given."""
        ...

    async def close_chunk(self, campaign_id: str, number: int) -> bool:
        """Done, if the journal agrees."""
        ...

    async def intend(self, batch: Batch) -> Intent | Withheld:
        """The intent to send, or why there is none."""
        ...

    async def settle(self, intent: Intent, outcomes: Sequence[EntryOutcome] | AllAccepted) -> None:
        """What was answered, one outcome (or message id) per entry of the intent's batch."""
        ...

    async def decide(
        self, campaign_id: str, chunk: int, settlements: Sequence[Settlement], rows: Mapping[int, int] | None = None
    ) -> list[Settlement]:
        """What the campaign's own policy decides; returns those that took effect.

        `rows`, each with its place, are of what is to be sent again out of doubt: what events prove comes first.
        """
        ...

    async def refuse(self, campaign_id: str, number: int, refusals: Mapping[int, EntryOutcome]) -> list[int]:
        """Entries of an opened chunk, by their places, that shall not be sent; returns those that are dead now."""
        ...

    async def campaign_state(self, campaign_id: str) -> CampaignState:
        """As it is now, by whatever process."""
        ...

    async def set_state(
        self,
        campaign_id: str,
        state: CampaignState,
        halt: Halt | None = None,
        *,
        only_from: Collection[CampaignState] = (),
    ) -> bool:
        """The beginning or the end of a run; False when it is not so.

        It is cancelled, or not finished yet, or was in no state of `only_from`.
        """
        ...


class Screen(Protocol):
    """Whom not to write to."""

    @property
    def has_news(self) -> bool:
        """Whether anybody was suppressed since `news` was last asked for. Costs nothing."""
        ...

    async def opened(self, number: int) -> Mapping[int, str]:
        """Which entries of a chunk go to somebody who is suppressed, by place, each with the reason in words.

        Raises JournalError when that cannot be found out.
        """
        ...

    async def news(self, numbers: Sequence[int]) -> Mapping[int, Mapping[int, str]]:
        """The same of chunks that were opened before, by number: what is new since. Raises as `opened` does."""
        ...


class Transport(Protocol):
    """How a request leaves. It never raises for what SES or the network does: that is an Answer."""

    @property
    def kind(self) -> str:
        """Its name, for whoever looks on."""
        ...

    @property
    def by_endpoint(self) -> bool:
        """Whether a multi-region endpoint takes the requests to either of two Regions."""
        ...

    async def send(self, entries_json: bytes | memoryview, send_before_s: float) -> Answer:
        """One SendBulkEmail call with these entries (JSON, separated by commas), attempted once.

        It is not signed, and none of it leaves, once `clock.boot_s()` is past `send_before_s`: NotSent. Cancelled, it
        returns what is known: NotSent, or Doubtful once a byte may have left.
        """
        ...

    async def renew_credentials(self, refused_generation: int) -> int:
        """Read the credentials anew, unless that has been done since this generation; returns the current one."""
        ...

    def set_clock(self, server_time: float) -> None:
        """Sign with the server's clock from now on, unless by an endpoint; epoch seconds."""
        ...


class Pacer(Protocol):
    """The gate that spends the quota, counted in recipients."""

    @property
    def rate_per_s(self) -> float:
        """The present pace, in recipients per second."""
        ...

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
