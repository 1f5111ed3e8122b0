"""results and resolve: the journal and the snapshot, joined row by row."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bulksend.errors import SnapshotError, UsageError
from bulksend.model import Campaign, CampaignState, EntryReport, EntryState, ResultRow, SettlementVerdict, SkipReason
from bulksend.outcome import RESEND_AFTER_S
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader, skipped_rows
from bulksend.worker.store import Store

__all__ = ["STATES", "Doubt", "Resolved", "doubts", "resolve", "results"]

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


def results(store: Store, campaign: Campaign, states: Collection[str] = ()) -> Iterator[ResultRow]:
    """What became of each row, in the order of the list, skipped rows last; all states, or some. One chunk in memory.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
        UsageError: there is no such state, or the campaign was pruned.
    """
    unknown = set(states).difference(STATES)
    if unknown:
        raise UsageError(f"no such state: {', '.join(sorted(unknown))}", hint=f"States are {', '.join(STATES)}.")
    wanted = set(states or STATES)
    cancelled = campaign.state is CampaignState.CANCELLED
    with store.read_snapshot(campaign) as reader:
        for report, row, address in _joined(store, campaign, reader):
            state, status = report.state.name.lower(), report.status
            if cancelled and report.state is EntryState.PENDING:
                state, status = "skipped", SkipReason.CANCELLED.value
            if state in wanted:
                yield ResultRow(
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
        if "skipped" in wanted:
            for skipped in skipped_rows(store.snapshot_of(campaign)):
                yield ResultRow(
                    campaign.name,
                    skipped.row,
                    skipped.address,
                    "skipped",
                    skipped.reason.value,
                    skipped.detail,
                )


def doubts(store: Store, campaign: Campaign, rows: Collection[int] = ()) -> Iterator[Doubt]:
    """The in-doubt entries, all or of some rows. Raises SnapshotError, and UsageError if it was pruned."""
    with store.read_snapshot(campaign) as reader:
        for report, row, address in _joined(store, campaign, reader):
            if report.state is EntryState.IN_DOUBT and (not rows or row in rows):
                yield Doubt(row, report, address == FORGOTTEN_ADDRESS)


def resolve(store: Store, campaign: Campaign, found: Sequence[Doubt], verdict: SettlementVerdict, why: str) -> Resolved:
    """A person's verdict on in-doubt entries.

    One that may be sent again must be 31 minutes old, by the store's clock, and not be forgotten.
    """
    now = store.journal.now()
    there, ripe = found, found
    if verdict is SettlementVerdict.RESEND:
        there = [d for d in found if not d.forgotten]
        ripe = [d for d in there if d.report.at is not None and now - d.report.at >= RESEND_AFTER_S]
    decided = store.journal.decide_entries(campaign, [(d.report, verdict) for d in ripe], why)
    left = store.journal.tally(campaign).in_doubt
    return Resolved(decided, len(there) - len(ripe), len(found) - len(there), left)


def _joined(store: Store, campaign: Campaign, reader: SnapshotReader) -> Iterator[tuple[EntryReport, int, str]]:
    number, rows, addresses = -1, [], []
    for report in store.journal.reports(campaign):
        if report.chunk != number:
            number = report.chunk
            rows, addresses = list(reader.rows(number)), reader.addresses(number)
            if len(rows) != len(addresses):
                raise SnapshotError(f"chunk {number} of {campaign.snapshot}")
        yield report, rows[report.index], addresses[report.index]
