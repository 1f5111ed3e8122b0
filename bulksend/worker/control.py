"""pause, cancel, retry: what a person decides of a whole campaign, whichever process sends it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulksend.errors import UsageError
from bulksend.model import Campaign, CampaignState, EntryState, SettlementVerdict
from bulksend.outcome import RESEND_AFTER_S
from bulksend.worker.store import Store

__all__ = ["Retried", "cancel", "pause", "prune", "retry"]

DROPPED = "DROPPED"


@dataclass(frozen=True, slots=True)
class Retried:
    """How many dead letters are pending again.

    `forgotten` counts those that were asked for and stay dead: they were removed at a person's request.
    """

    again: int
    forgotten: int


def pause(store: Store, campaign: Campaign) -> CampaignState:
    """Let the sending process drain and end; nothing is sent until somebody sends again. Returns the state it is in.

    Raises:
        UsageError: it is finished or cancelled.
    """
    return _ask(store, campaign, CampaignState.PAUSED)


def cancel(store: Store, campaign: Campaign) -> CampaignState:
    """For good: what is pending is skipped. Answers that are awaited are still recorded. Returns the state it is in.

    Raises:
        UsageError: it is finished.
    """
    return _ask(store, campaign, CampaignState.CANCELLED)


def retry(store: Store, campaign: Campaign, *, status: str = "", reason: str = "", why: str) -> Retried:
    """Make dead letters pending again: all, or those with this status, or whose reason contains this text.

    What was removed at a person's request stays dead, whatever it died of. What was dropped out of doubt may have been
    accepted, so it must be asked for by its status, DROPPED, and be 31 minutes old like any doubt that is sent again.

    Raises:
        UsageError: the campaign was cancelled, or pruned.
    """
    if campaign.state is CampaignState.CANCELLED:
        raise UsageError(f"{campaign.name!r} was cancelled", hint="Plan it under another name to send it after all.")
    store.refuse_pruned(campaign)
    now = store.journal.now()
    wanted = [
        report
        for report in store.journal.reports(campaign)
        if report.state is EntryState.DEAD
        and (report.status != DROPPED or (status and report.at is not None and now - report.at >= RESEND_AFTER_S))
        and (not status or _letters(report.status) == _letters(status))
        and reason.lower() in report.reason.lower()
    ]
    gone = store.journal.forgotten(campaign)
    there = [(report, SettlementVerdict.RETURNED) for report in wanted if (report.chunk, report.index) not in gone]
    return Retried(store.journal.decide_entries(campaign, there, why), len(wanted) - len(there))


def prune(store: Store, campaign: Campaign) -> int:
    """Remove a campaign's snapshot, which is its whole list, and SES's texts; the numbers stay. Returns files removed.

    Raises:
        UsageError: it is neither finished nor cancelled.
    """
    if campaign.state not in (CampaignState.FINISHED, CampaignState.CANCELLED):
        raise UsageError(
            f"{campaign.name!r} is {campaign.state.value}",
            hint="Let it finish, or cancel it: bulksend cancel. Without its list it could never be sent.",
        )
    store.journal.prune(campaign)
    snapshot = store.snapshot_of(campaign)
    there = [path for path in (snapshot, snapshot.with_suffix(".skipped.parquet")) if path.exists()]
    for path in there:
        path.unlink()
    return len(there)


def _ask(store: Store, campaign: Campaign, state: CampaignState) -> CampaignState:
    now = store.journal.ask_for(campaign, state)
    if now is not state:
        raise UsageError(f"{campaign.name!r} is {now.value}", hint="There is nothing left to stop.")
    return now


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
