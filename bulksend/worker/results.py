"""results and resolve: the journal and the snapshot, joined row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from bulksend.errors import EventStoreError, SnapshotError, UsageError
from bulksend.event import FATES, BounceKind
from bulksend.journal import Fate
from bulksend.model import Campaign, CampaignState, EntryReport, EntryState, ResultRow, SettlementVerdict, SkipReason
from bulksend.outcome import RESEND_AFTER_S
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader, skipped_rows
from bulksend.worker.settlement import settle
from bulksend.worker.store import Store

__all__ = ["STATES", "Doubt", "Resolved", "doubts", "resolve", "results", "unheard"]

AS_LATE_S = 60.0
"""A mail that was sent so much earlier is as late: events come in no order."""

STATES = ("accepted", "dead", "in_doubt", "in_flight", "pending", "skipped")


@dataclass(frozen=True, slots=True)
class Doubt:
    """An in-doubt entry: its row of the list, and what the journal knows of it.

    Where it was forgotten, its data is gone: it cannot be sent again.
    """

    row: int
    report: EntryReport
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """How many in-doubt entries were decided, and how many cannot be sent again: not yet, or never.

    `forgotten` counts those removed at a person's request; `left` is what is in doubt now, all of the campaign's.
    """

    decided: int
    too_early: int
    forgotten: int
    left: int


def results(
    store: Store,
    campaign: Campaign,
    states: Collection[str] = (),
    fates: Collection[str] = (),
    *,
    on_untold: Callable[[EventStoreError], None] | None = None,
) -> Iterator[ResultRow]:
    """What became of each row, in the order of the list, skipped rows last. One chunk in memory.

    All states, or some; with `fates`, only rows that any of these has befallen, whatever else has. Where events cannot
    be read, rows come without what they tell if `on_untold` takes the reason, once; but not with `fates`.

    Raises:
        JournalError: journal or events cannot be read.
        SnapshotError: the snapshot is missing or damaged.
        UsageError: there is no such state or fate, or the campaign was pruned.
    """
    for what, asked, there in (("state", states, STATES), ("fate", fates, FATES.values())):
        unknown = set(asked).difference(there)
        if unknown:
            raise UsageError(
                f"no such {what}: {', '.join(sorted(unknown))}",
                hint=f"{what.capitalize()}s are {', '.join(there)}.",
            )
    wanted = set(states or STATES)
    cancelled = campaign.state is CampaignState.CANCELLED
    with store.read_snapshot(campaign) as reader:
        for report, row, address, fate in _with_fates(store, campaign, reader, None if fates else on_untold):
            state, status = report.state.name.lower(), report.status
            if cancelled and report.state is EntryState.PENDING:
                state, status = "skipped", SkipReason.CANCELLED.value
            if state not in wanted:
                continue
            found = ResultRow(
                campaign.name,
                row,
                address,
                state,
                status,
                report.reason,
                report.message_id,
                report.attempts,
                report.at,
            )
            if fate is not None:
                found = _with_fate(found, fate)
            if not fates or any(getattr(found, f"{word}_at") is not None for word in fates):
                yield found
        if "skipped" in wanted and not fates:
            for skipped in skipped_rows(store.snapshot_of(campaign)):
                yield ResultRow(
                    campaign.name,
                    skipped.row,
                    skipped.address,
                    "skipped",
                    skipped.reason.value,
                    skipped.detail,
                )


def _with_fate(row: ResultRow, fate: Fate) -> ResultRow:
    return replace(
        row,
        fate=_weightiest(fate),
        bounce="" if fate.bounce is None else fate.bounce.value,
        bounce_subtype=fate.bounce_subtype,
        diagnostic=fate.diagnostic,
        delivered_at=fate.delivered_at,
        bounced_at=fate.bounced_at,
        complained_at=fate.complained_at,
        delayed_at=fate.delayed_at,
        rejected_at=fate.rejected_at,
        rendering_failed_at=fate.rendering_failed_at,
        opened_at=fate.opened_at,
        clicked_at=fate.clicked_at,
        unsubscribed_at=fate.unsubscribed_at,
    )


def _weightiest(fate: Fate) -> str:
    """The word for what tells most of a mail: a bounce that may pass tells less than that it was delivered."""
    bounced = fate.bounced_at is not None
    for_good = bounced and fate.bounce is BounceKind.PERMANENT
    words = (
        ("complained", fate.complained_at is not None),
        ("bounced", for_good),
        ("rendering_failed", fate.rendering_failed_at is not None),
        ("rejected", fate.rejected_at is not None),
        ("unsubscribed", fate.unsubscribed_at is not None),
        ("clicked", fate.clicked_at is not None),
        ("opened", fate.opened_at is not None),
        ("delivered", fate.delivered_at is not None),
        ("bounced", bounced),
        ("delayed", fate.delayed_at is not None),
    )
    return next((word for word, is_so in words if is_so), "")


def doubts(
    store: Store,
    campaign: Campaign,
    rows: Collection[int] = (),
    *,
    status: str = "",
    older_than_s: float = 0.0,
) -> Iterator[Doubt]:
    """The in-doubt entries: all, or of some rows, of a status, or since longer ago than that by the store's clock.

    Raises:
        JournalError: journal or events cannot be read.
        SnapshotError: the snapshot is missing or damaged.
        UsageError: the campaign was pruned.
    """
    before = store.journal.now() - older_than_s
    with store.read_snapshot(campaign) as reader:
        for report, row, address in _joined(store, campaign, reader):
            if (
                report.state is EntryState.IN_DOUBT
                and (not rows or row in rows)
                and (not status or report.status.lower() == status.lower())
                and (not older_than_s or (report.at is not None and report.at <= before))
            ):
                yield Doubt(row, report, address == FORGOTTEN_ADDRESS)


def unheard(store: Store, campaign: Campaign, found: Sequence[Doubt], *, expected: bool) -> bool:
    """Whether the events that are in tell of no mail that was sent as late as one of these: proof may be on its way.

    Where no event of the campaign ever came, it is so if events are `expected`. Raises JournalError.
    """
    newest = max((doubt.report.at for doubt in found if doubt.report.at is not None), default=None)
    rates = store.events.rates(campaign.id, 0.0)
    if newest is None or (rates.last_at is None and not expected):
        return False
    return rates.last_sent_at is None or rates.last_sent_at < newest - AS_LATE_S


def resolve(store: Store, campaign: Campaign, found: Sequence[Doubt], verdict: SettlementVerdict, why: str) -> Resolved:
    """A person's verdict on in-doubt entries. What events prove of them comes first.

    One that may be sent again must be 31 minutes old, by the store's clock, and not be forgotten.
    """
    settle(store, campaign)
    now = store.journal.now()
    there, ripe = found, found
    if verdict is SettlementVerdict.RESEND:
        there = [d for d in found if not d.forgotten]
        ripe = [d for d in there if d.report.at is not None and now - d.report.at >= RESEND_AFTER_S]
    decided = store.journal.decide_entries(campaign, [(d.report, verdict) for d in ripe], why)
    left = store.journal.tally(campaign).in_doubt
    return Resolved(decided, len(there) - len(ripe), len(found) - len(there), left)


def _with_fates(
    store: Store, campaign: Campaign, reader: SnapshotReader, on_untold: Callable[[EventStoreError], None] | None
) -> Iterator[tuple[EntryReport, int, str, Fate | None]]:
    number, fates, told = -1, dict[int, Fate](), True
    for report, row, address in _joined(store, campaign, reader):
        if report.chunk != number:
            number = report.chunk
            try:
                fates = store.events.fates(campaign.id, reader.rows(number)) if told else {}
            except EventStoreError as error:
                if on_untold is None:
                    raise
                on_untold(error)
                fates, told = {}, False
        yield report, row, address, fates.get(row)


def _joined(store: Store, campaign: Campaign, reader: SnapshotReader) -> Iterator[tuple[EntryReport, int, str]]:
    number, rows, addresses = -1, [], []
    for report in store.journal.reports(campaign):
        if report.chunk != number:
            number = report.chunk
            rows, addresses = list(reader.rows(number)), reader.addresses(number)
            if len(rows) != len(addresses):
                raise SnapshotError(f"chunk {number} of {campaign.snapshot}")
        yield report, rows[report.index], addresses[report.index]
