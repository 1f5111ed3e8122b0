"""report: the journal, the snapshot and the account, made into the facts of a page for people."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache

from bulksend.config import Settings
from bulksend.engine.remedies import without_addresses
from bulksend.errors import BulksendError, EventStoreError, SnapshotError
from bulksend.journal.history import ChunkHistory, PastAttempt
from bulksend.ledger import LastOutcome
from bulksend.model import Campaign, EntryState, Halt, ResultRow
from bulksend.report import CampaignReport, Durations, Kinds, Rate, Requests
from bulksend.ses import Account
from bulksend.worker.running import bound_access, refuse_other_account
from bulksend.worker.ses_metrics import ask_for_metrics
from bulksend.worker.store import Store

__all__ = ["ROWS_SHOWN", "Reported", "masked", "report_on"]

ROWS_SHOWN = 50
"""Of the dead, and of those in doubt."""
QUOTA_WITHIN_S = 5.0
"""How long a report waits for what the account says of its send rate."""
MAX_REASON = 300
"""Characters of a reason that tell it from others."""
MAX_SEND_RATE_PER_S = 1e9
"""Recipients per second that no account is granted: a higher rate is no rate."""
MIN_MASKED_LOCAL_PART = 3
NEVER_SENT, NO_ANSWER = "NOT_SENT", "NO_ANSWER"
GIVEN_UP = ("DROPPED", "FORGOTTEN", "SUPPRESSED")
"""Dead by somebody's decision, not by SES's."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A report, and what whoever asked for it should know: why its rows are missing, with the files' names.

    `untold` is why it does not say what became of the mails.
    """

    report: CampaignReport
    warning: str = ""
    untold: EventStoreError | None = None


def report_on(
    store: Store, name: str, settings: Settings, *, with_addresses: bool = False, by_ses: bool = False
) -> Reported:
    """All that a report on a campaign says, of one instant; memory is the same whatever the campaign.

    `by_ses` asks SES for its own metrics as well.

    The list is read only for the rows that are shown. Where it is gone or damaged, the numbers stand without them.

    Raises:
        CampaignUnknownError: there is no such campaign.
        JournalError: the journal cannot be read. Where only events cannot be, the report does without.
    """
    standing = store.standing(name)
    campaign = standing.campaign
    made_at = store.journal.now()
    gathered = _Gathered()
    with store.journal.history(campaign) as (tally, chunks):
        for chunk in chunks:
            gathered.take_up(chunk)
    rows: list[ResultRow] = []
    bounced = Kinds()
    became, untold = standing.became, standing.untold
    list_gone, warning = "", ""
    pruned_at = store.journal.pruned_at(campaign)
    if pruned_at is not None:
        list_gone = f"the list was removed with bulksend prune at {datetime.fromtimestamp(pruned_at, UTC):%F %T} UTC"
    else:
        try:
            rows = _rows(store, campaign, gathered.chosen(), with_addresses=with_addresses)
            bounced = _bounced(store, campaign) if became is not None and became.bounces else bounced
        except EventStoreError as error:
            became, untold = None, error
        except SnapshotError as error:
            list_gone, warning = "the snapshot of the list is missing or damaged", f"{error.message}. {error.hint}"
    report = CampaignReport(
        campaign=campaign if campaign.halt is None else replace(campaign, halt=_without_addresses(campaign.halt)),
        tally=tally,
        orphaned=standing.orphaned,
        by_worker=standing.by_worker,
        held_up=standing.held_up,
        made_at=made_at,
        requests=Requests(gathered.answers.count, gathered.unanswered, gathered.not_sent),
        first_attempt_at=gathered.first_at,
        last_answer_at=gathered.last_at,
        accepted=gathered.accepted,
        send_rate_per_s=_send_rate_per_s(campaign, settings) if gathered.answers.count else None,
        answers=gathered.answers,
        refused=gathered.kinds[EntryState.DEAD],
        given_up=gathered.given_up,
        in_doubt=gathered.kinds[EntryState.IN_DOUBT],
        retried=gathered.retried,
        attempts=gathered.attempts,
        became=became,
        bounced=bounced,
        by_ses=ask_for_metrics(campaign, settings, gathered.first_at, made_at) if by_ses else None,
        dead_rows=[row for row in rows if row.state == EntryState.DEAD.name.lower()],
        in_doubt_rows=[row for row in rows if row.state == EntryState.IN_DOUBT.name.lower()],
        list_gone=list_gone,
        pruned=pruned_at is not None,
        with_addresses=with_addresses and not list_gone,
    )
    return Reported(report, warning, untold)


def masked(address: str) -> str:
    """An address by which nobody can be written to; one that was removed, as it is."""
    local, at, domain = address.rpartition("@")
    if not at:
        return address if address.isalpha() else "***"
    return f"{local[0] if len(local) >= MIN_MASKED_LOCAL_PART else ''}***@{domain}"


@dataclass(frozen=True, slots=True)
class _Chosen:
    """An entry whose row is shown."""

    chunk: int
    index: int
    state: EntryState
    last: LastOutcome | None
    attempts: int


@dataclass(slots=True)
class _Gathered:
    """What the chunks' histories come to."""

    accepted: Rate = field(default_factory=Rate)
    answers: Durations = field(default_factory=Durations)
    retried: Kinds = field(default_factory=Kinds)
    kinds: dict[EntryState, Kinds] = field(
        default_factory=lambda: {EntryState.DEAD: Kinds(), EntryState.IN_DOUBT: Kinds()}
    )
    rows: dict[EntryState, list[_Chosen]] = field(
        default_factory=lambda: {EntryState.DEAD: [], EntryState.IN_DOUBT: []}
    )
    attempts: Counter[int] = field(default_factory=Counter)
    given_up: int = 0
    unanswered: int = 0
    not_sent: int = 0
    first_at: float | None = None
    last_at: float | None = None

    def take_up(self, chunk: ChunkHistory) -> None:
        """The next chunk of the list."""
        requests = [0] * len(chunk.ledger.states)
        for attempt in chunk.attempts:
            for i in attempt.record.indices:
                requests[i] += 1
            self._take_up_attempt(attempt)
        self.attempts.update(requests)
        del self.attempts[0]
        if not any(chunk.ledger.count(state) for state in self.kinds):
            return
        for i, state in enumerate(chunk.ledger.states):
            if state in self.kinds:  # an IntEnum is its number
                self._take_up_entry(_Chosen(chunk.number, i, EntryState(state), chunk.ledger.last.get(i), requests[i]))

    def chosen(self) -> list[_Chosen]:
        """In the order of the list, the first of each state."""
        return [one for rows in self.rows.values() for one in rows]

    def _take_up_attempt(self, attempt: PastAttempt) -> None:
        record = attempt.record
        self.first_at = record.at if self.first_at is None else min(self.first_at, record.at)
        last_at = record.at if record.answered_at is None else record.answered_at
        self.last_at = last_at if self.last_at is None else max(self.last_at, last_at)
        for _, outcome in record.exceptions:
            if outcome.verdict.state is EntryState.PENDING:
                self.retried.add(*_in_words(outcome.status, outcome.reason))
        statuses = {outcome.status for _, outcome in record.exceptions}
        whole = len(statuses) == 1 and len(record.exceptions) == len(record.indices)
        if record.answered_at is None or (whole and NO_ANSWER in statuses):
            self.unanswered += 1
        elif whole and NEVER_SENT in statuses:
            self.not_sent += 1
        else:
            self.answers.add(record.answered_at - record.at)
            self.accepted.add(record.answered_at, attempt.accepted_recipients)

    def _take_up_entry(self, entry: _Chosen) -> None:
        status, reason = _last_words(entry)
        self.kinds[entry.state].add(status, reason)
        self.given_up += entry.state is EntryState.DEAD and status in GIVEN_UP
        if len(self.rows[entry.state]) < ROWS_SHOWN:
            self.rows[entry.state].append(entry)


def _last_words(entry: _Chosen) -> tuple[str, str]:
    return ("", "") if entry.last is None else _in_words(entry.last.outcome.status, entry.last.outcome.reason)


def _in_words(status: str, reason: str) -> tuple[str, str]:
    """As they are counted and shown: SES's texts, and people's, may name recipients."""
    return _plain(status), _plain(reason)


@lru_cache(1024)
def _plain(text: str) -> str:
    """The beginning, without addresses. They go first: one that is cut in two would not be known for one."""
    return without_addresses(text)[:MAX_REASON]


def _without_addresses(halt: Halt) -> Halt:
    return replace(halt, reason=without_addresses(halt.reason), remedy=without_addresses(halt.remedy))


def _rows(store: Store, campaign: Campaign, chosen: Iterable[_Chosen], *, with_addresses: bool) -> list[ResultRow]:
    """The rows of some entries. Raises SnapshotError."""
    by_chunk: dict[int, list[_Chosen]] = {}
    for entry in chosen:
        by_chunk.setdefault(entry.chunk, []).append(entry)
    if not by_chunk:
        return []
    shown: Callable[[str], str] = str if with_addresses else masked
    rows = []
    with store.read_snapshot(campaign) as reader:
        for number, entries in sorted(by_chunk.items()):
            numbers, addresses = reader.rows(number), reader.addresses(number)
            for entry in entries:
                status, reason = _last_words(entry)
                rows.append(
                    ResultRow(
                        campaign=campaign.name,
                        row=numbers[entry.index],
                        address=shown(addresses[entry.index]),
                        state=entry.state.name.lower(),
                        status=status,
                        reason=reason,
                        attempts=entry.attempts,
                        at=None if entry.last is None else entry.last.sent_at,
                    )
                )
    return rows


def _bounced(store: Store, campaign: Campaign) -> Kinds:
    """Why mails bounced. Holds the events of one chunk in memory. Raises SnapshotError."""
    kinds = Kinds()
    with store.read_snapshot(campaign) as reader:
        for number in range(len(reader)):
            for fate in store.events.fates(campaign.id, reader.rows(number)).values():
                if fate.bounce is not None:
                    kinds.add(*_in_words(f"{fate.bounce.value} {fate.bounce_subtype}".rstrip(), fate.diagnostic))
    return kinds


def _send_rate_per_s(campaign: Campaign, settings: Settings) -> float | None:
    """What the account grants now, in recipients per second, if it can be asked, and is the campaign's own.

    None also for what is no rate: infinity, no number, less than nothing.
    """

    async def ask() -> float:
        async with asyncio.timeout(QUOTA_WITHIN_S):
            access = bound_access(campaign, settings)
            await refuse_other_account(campaign.binding, access)
            async with Account(access) as account:
                return (await account.read()).max_send_rate_per_s

    try:
        rate_per_s = asyncio.run(ask())
    except (BulksendError, TimeoutError):
        return None
    return rate_per_s if 0 <= rate_per_s <= MAX_SEND_RATE_PER_S else None
