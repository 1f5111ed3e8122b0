"""The words of the trade as values: campaign, chunk, batch, outcome, tally. Pure; everything else imports this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum, StrEnum, unique

from bulksend.safety import Safety
from bulksend.schedule import Schedule

__all__ = [
    "MAX_BATCH_RECIPIENTS",
    "AccountStatus",
    "AllAccepted",
    "Answer",
    "Answered",
    "Batch",
    "BatchKind",
    "Binding",
    "Campaign",
    "CampaignState",
    "Chunk",
    "ChunkInfo",
    "Doubtful",
    "EntryOutcome",
    "EntryReport",
    "EntryResult",
    "EntryState",
    "Halt",
    "HaltScope",
    "Intent",
    "NotSent",
    "Policy",
    "Refused",
    "ResultRow",
    "Settlement",
    "SettlementVerdict",
    "SkipReason",
    "Tally",
    "Verdict",
    "Withheld",
]

MAX_BATCH_RECIPIENTS = 50
"""Addresses in one SendBulkEmail call, To + Cc + Bcc (SES-FACTS, The call)."""


@unique
class EntryState(IntEnum):
    """Where an entry is. The value is the byte that the ledger keeps for it.

    PENDING     nothing is under way; left by an intent (IN_FLIGHT) or by cancelling the campaign.
    IN_FLIGHT   an intent is durable and its answer awaited; left by the answer, or by the death of the process
                (IN_DOUBT).
    ACCEPTED    SES said SUCCESS, or a settlement proved it. Only a Reject or Rendering Failure event leads out, to
                DEAD.
    DEAD        SES refused it for good. Led out of by a retry that a person asks for, or by a halt that blames the
                campaign.
    IN_DOUBT    may have been accepted. Led out of by a settlement only: accepted, resend (PENDING) or drop (DEAD).
    """

    PENDING = 0
    IN_FLIGHT = 1
    ACCEPTED = 2
    DEAD = 3
    IN_DOUBT = 4

    @property
    def final(self) -> bool:
        """Whether a chunk may be closed with an entry in this state."""
        return self in (EntryState.ACCEPTED, EntryState.DEAD, EntryState.IN_DOUBT)


@unique
class Verdict(StrEnum):
    """What an answer means for one entry, or for a whole request.

    Those marked * cost the entry none of its attempts.
    """

    ACCEPTED = "accepted"
    TRANSIENT = "transient"
    """Retry with full jitter; dead only after max_attempts and an hour."""
    FAILED = "failed"
    """Retry at most twice, minutes apart, then dead."""
    THROTTLED = "throttled"
    """* Retry; the pacer slows."""
    DAY_SPENT = "day_spent"
    """* Wait until GetAccount has been read again, and shows room in the 24-hour window."""
    UNREACHABLE = "unreachable"
    """* No byte left, or SES itself wrote a 503: retry."""
    CLOCK_SKEWED = "clock_skewed"
    """* Take the server's clock, then a new attempt."""
    CREDENTIALS_REFUSED = "credentials_refused"
    """* One refresh per credential generation, then every campaign of the account halts."""
    SPLIT = "split"
    """* The whole request was refused for its content: bisect until the entry at fault is alone."""
    CAMPAIGN_AT_FAULT = "campaign_at_fault"
    """* Halt this campaign; the entry stays pending."""
    ACCOUNT_AT_FAULT = "account_at_fault"
    """* Halt every campaign of the account; the entry stays pending."""
    DEAD = "dead"
    IN_DOUBT = "in_doubt"

    @property
    def state(self) -> EntryState:
        """The state that an entry with this verdict is in."""
        if self is Verdict.ACCEPTED:
            return EntryState.ACCEPTED
        if self is Verdict.DEAD:
            return EntryState.DEAD
        if self is Verdict.IN_DOUBT:
            return EntryState.IN_DOUBT
        return EntryState.PENDING


@dataclass(frozen=True, slots=True)
class EntryResult:
    """One BulkEmailEntryResult as SES wrote it."""

    status: str
    error: str = ""
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A readable 200. `results` is what SES sent, whatever its length."""

    results: Sequence[EntryResult]


@dataclass(frozen=True, slots=True)
class AllAccepted:
    """A readable 200 in which every result says SUCCESS: their message ids, in order."""

    message_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """An HTTP error with an answer body.

    `by_ses` is true when the answer carries SES's request id: only then is it known that nothing was accepted.
    `server_time` is the Date header as epoch seconds.
    """

    http_status: int
    code: str
    text: str
    by_ses: bool
    server_time: float | None = None
    generation: int = 0
    """Which generation of credentials signed the request."""


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the request left this machine."""

    reason: str


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Bytes left and no readable answer came: SES may have accepted any of the batch."""

    reason: str


Answer = Answered | AllAccepted | Refused | NotSent | Doubtful


@dataclass(frozen=True, slots=True)
class EntryOutcome:
    """What one answer made of one entry; a line of the journal.

    `status` is SES's own word (or ours for what never got an answer), `reason` its error text, `due_at` (epoch
    seconds) when a pending entry may be sent again.
    """

    verdict: Verdict
    status: str = ""
    reason: str = ""
    message_id: str = ""
    due_at: float | None = None


@unique
class SettlementVerdict(StrEnum):
    """What an event or a person decides about an entry after its answer, or for want of one.

    ACCEPTED   in doubt → accepted; evidence of an event beats any outcome.
    RESEND     in doubt → pending.
    DROP       in doubt → dead.
    RETURNED   dead → pending: the campaign was at fault, or a person asks for a retry.
    REFUSED    accepted, in doubt or pending → dead: an event says that SES did not send what it had accepted.
    """

    ACCEPTED = "accepted"
    RESEND = "resend"
    DROP = "drop"
    RETURNED = "returned"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Settlement:
    """A decision about one entry of one attempt. `index` is its place in the chunk, `at` epoch seconds.

    `message_id` is of the mail that an event told of; people and policies know of none. The evidence of REFUSED begins
    with its status: "RENDERING_FAILURE: text".
    """

    attempt_id: int
    index: int
    verdict: SettlementVerdict
    evidence: str
    at: float
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row group of the snapshot, ready to send; `one_each` where every entry has a single recipient.

    `entries` holds the finished JSON of every entry, each followed by a comma; entry i is
    `entries[offsets[i]:offsets[i + 1]]`. `rows` are row numbers of the input, from 1.
    """

    number: int
    rows: Sequence[int]
    recipients: Sequence[int]
    offsets: Sequence[int]
    entries: memoryview
    one_each: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size_bytes(self) -> int:
        """Bytes of all its entries."""
        return self.offsets[len(self.rows)] - self.offsets[0]


@unique
class BatchKind(StrEnum):
    """Why a batch goes out."""

    FIRST = "first"
    RETRY = "retry"
    SPLIT = "split"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Batch:
    """At most 50 recipients of one chunk: one request. `indices` are places in the chunk, in sending order.

    `origin` is the number of the batch that a split one came from, its own otherwise.
    """

    campaign_id: str
    chunk: Chunk
    indices: Sequence[int]
    recipients: int
    kind: BatchKind
    origin: int

    @property
    def places(self) -> dict[int, int]:
        """By the rows of its entries, their places in the chunk."""
        return {self.chunk.rows[i]: i for i in self.indices}

    def without(self, settled: set[int]) -> Batch | None:
        """What is left of it when these places are not to be sent; None if that is nothing."""
        if not settled or settled.isdisjoint(self.indices):
            return self
        indices = [i for i in self.indices if i not in settled]
        if not indices:
            return None
        return replace(self, indices=indices, recipients=sum(self.chunk.recipients[i] for i in indices))

    def payload(self) -> bytes | memoryview:
        """The batch's entries as JSON, separated by commas: one slice of the chunk when they are neighbours."""
        offsets, entries, indices = self.chunk.offsets, self.chunk.entries, self.indices
        first, last = indices[0], indices[-1]
        if last - first + 1 == len(indices):
            return entries[offsets[first] : offsets[last + 1] - 1]
        return b"".join([entries[offsets[i] : offsets[i + 1]] for i in indices])[:-1]


@dataclass(frozen=True, slots=True)
class Intent:
    """A durable intent: `batch` is what may be sent under it, which may be less than was asked for.

    `at` is epoch seconds by the store's clock. Nothing may be signed or sent under it any more once `clock.boot_s()`
    is past `send_before_s`.
    """

    attempt_id: int
    batch: Batch
    at: float
    send_before_s: float


@unique
class Withheld(Enum):
    """Why there is no intent.

    SETTLED  every entry of the batch has been settled since: accepted, or refused by an event.
    STOPPED  somebody has paused, halted or cancelled the campaign.
    LOST     the chunk is not this process's any more: its lease ran out.
    """

    SETTLED = "settled"
    STOPPED = "stopped"
    LOST = "lost"


@unique
class HaltScope(StrEnum):
    """Whom a halt stops."""

    CAMPAIGN = "campaign"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Halt:
    """Why sending stopped, and what a person has to do before it can go on."""

    reason: str
    remedy: str
    scope: HaltScope = HaltScope.CAMPAIGN


@unique
class CampaignState(StrEnum):
    """Where a campaign is.

    PLANNED    the snapshot is durable; left by send or submit.
    QUEUED     submitted: a worker will take it up; left by a worker (SENDING) or a person (PAUSED, CANCELLED).
    SENDING    a process holds it, or held it when it died; left by the end of the run. A worker takes it up as well.
    PAUSED     an interrupt or a person stopped it; send or submit goes on.
    HALTED     it stopped itself, with a reason; send or submit tries again.
    CANCELLED  by a person, for good.
    FINISHED   every entry is accepted, dead or in doubt. A settlement that wants a resend leads back to PLANNED.
    """

    PLANNED = "planned"
    QUEUED = "queued"
    SENDING = "sending"
    PAUSED = "paused"
    HALTED = "halted"
    CANCELLED = "cancelled"
    FINISHED = "finished"


@unique
class SkipReason(StrEnum):
    """Why a row of the list never became an entry."""

    INVALID = "invalid"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ChunkInfo:
    """What the journal must know of a chunk before its first intent."""

    number: int
    entries: int
    recipients: int


@dataclass(frozen=True, slots=True)
class Binding:
    """What a campaign is bound to when it is planned. `account` is the account id, or the endpoint override's URL."""

    account: str
    region: str
    endpoint_url: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a campaign says of doubt and of retries; it may change between runs."""

    resend_in_doubt: bool = False
    max_attempts: int = 5


@dataclass(frozen=True, slots=True)
class Campaign:
    """A planned campaign, as the journal keeps it. Times are epoch seconds.

    `prefix` and `suffix` are the frozen request around the entries. `list_digest` is the SHA-256 of the list, in hex;
    `frozen` maps each frozen key of the campaign file to its value, so that a difference can be named.
    """

    id: str
    name: str
    state: CampaignState
    created_at: float
    binding: Binding
    prefix: bytes
    suffix: bytes
    frozen: dict[str, str]
    list_digest: str
    snapshot: str
    snapshot_bytes: int
    snapshot_sha256: str
    rows: int
    entries: int
    recipients: int
    skipped: dict[SkipReason, int] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    schedule: Schedule = field(default_factory=Schedule)
    halt: Halt | None = None
    safety: Safety = field(default_factory=Safety)
    armed_at: float | None = None
    """The breaker judges what was sent since then; None before it was ever begun."""
    canary_passed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """A campaign in numbers: rows = accepted + dead + in doubt + in flight + pending + skipped.

    `contradictions` counts entries whose attempts cannot all have been rightful, by the ledger's replay: it is 0.
    `doubt_since` is when the earliest request was made that left anything in doubt which still is, in epoch seconds.
    """

    rows: int
    accepted: int
    dead: int
    in_doubt: int
    in_flight: int
    pending: int
    skipped: dict[SkipReason, int]
    contradictions: int = 0
    doubt_since: float | None = field(default=None, compare=False)

    @property
    def adds_up(self) -> bool:
        """Promise 1, checked."""
        parts = self.accepted + self.dead + self.in_doubt + self.in_flight + self.pending + sum(self.skipped.values())
        return self.contradictions == 0 and parts == self.rows


@dataclass(frozen=True, slots=True)
class EntryReport:
    """All that the journal knows of one entry.

    `at` is the time of its latest attempt or answer; of what is in doubt, when the request was made that left it so.
    `attempts` are the requests it was in.
    """

    chunk: int
    index: int
    state: EntryState
    status: str
    reason: str
    message_id: str
    attempts: int
    at: float | None
    attempt_id: int | None


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of the list and what became of it, as people export it. `at` is epoch seconds.

    `state` is accepted, dead, in_doubt, in_flight, pending or skipped; a skipped row's `status` is the reason's word.
    From `fate` on it is what events tell of the mail: the weightiest that befell it, the kind of a bounce with SES's
    subtype and the receiving server's words, and when each thing happened first. Empty where nothing was heard.
    """

    campaign: str
    row: int
    address: str
    state: str
    status: str = ""
    reason: str = ""
    message_id: str = ""
    attempts: int = 0
    at: float | None = None
    fate: str = ""
    bounce: str = ""
    bounce_subtype: str = ""
    diagnostic: str = ""
    delivered_at: float | None = None
    bounced_at: float | None = None
    complained_at: float | None = None
    delayed_at: float | None = None
    rejected_at: float | None = None
    rendering_failed_at: float | None = None
    opened_at: float | None = None
    clicked_at: float | None = None
    unsubscribed_at: float | None = None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """GetAccount, as far as sending needs it. `max_24_hour_send` of None is unlimited (SES writes -1)."""

    max_send_rate_per_s: float
    max_24_hour_send: float | None
    sent_last_24_hours: float
    sending_enabled: bool
    production_access: bool
    enforcement_status: str
