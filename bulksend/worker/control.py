"""pause, cancel, retry: what a person decides of a whole campaign, whichever process sends it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from bulksend.errors import UsageError
from bulksend.model import Campaign, CampaignState, EntryReport, EntryState, SettlementVerdict
from bulksend.outcome import RESEND_AFTER_S
from bulksend.worker.settlement import settle
from bulksend.worker.store import Store, refuse_cancelled

__all__ = ["Retried", "cancel", "pause", "prune", "retry"]

DROPPED = "DROPPED"


@dataclass(frozen=True, slots=True)
class Retried:
    """How many dead letters are pending again.

    `forgotten` counts those that were asked for and stay dead: they were removed at a person's request. `too_early`
    counts what was dropped out of doubt less than 31 minutes after its request; `dropped`, what was dropped and not
    asked for.
    """

    again: int
    forgotten: int
    too_early: int = 0
    dropped: int = 0


def pause(store: Store, campaign: Campaign) -> CampaignState:
    """Let the sending process drain and end; nothing is sent until somebody sends again. Returns the state it is in.

    Raises:
        UsageError: it is not being sent.
    """
    if campaign.state is CampaignState.PLANNED:
        raise UsageError(
            f"{campaign.name!r} is not being sent",
            hint=f"It only begins with bulksend send {campaign.name}, or beside a worker with bulksend submit "
            f"{campaign.name}.",
        )
    if campaign.state is CampaignState.HALTED:
        raise UsageError(
            f"{campaign.name!r} is halted already", hint=f"Why, and what to do: bulksend status {campaign.name}."
        )
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
    What events prove comes first.

    Raises:
        UsageError: the campaign was cancelled, or pruned; or no dead letter has this status and reason.
    """
    refuse_cancelled(campaign)
    store.refuse_pruned(campaign)
    settle(store, campaign)
    now = store.journal.now()
    dead = [report for report in store.journal.reports(campaign) if report.state is EntryState.DEAD]
    wanted = [
        report
        for report in dead
        if (report.status != DROPPED or status)
        and (not status or _letters(report.status) == _letters(status))
        and _has(report, reason)
    ]
    if (status or reason) and not wanted:
        counts = Counter(report.status for report in dead)
        there_are = ", ".join(f"{count:,} {of}" for of, count in counts.most_common()) or "none"
        raise UsageError(
            f"no dead letter of {campaign.name!r} has that status and reason", hint=f"Dead letters are: {there_are}."
        )
    gone = store.journal.forgotten(campaign)
    there = [report for report in wanted if (report.chunk, report.index) not in gone]
    ripe = [
        (report, SettlementVerdict.RETURNED)
        for report in there
        if report.status != DROPPED or (report.at is not None and now - report.at >= RESEND_AFTER_S)
    ]
    again = store.journal.decide_entries(campaign, ripe, why)
    dropped = 0 if status else sum(report.status == DROPPED and _has(report, reason) for report in dead)
    return Retried(again, len(wanted) - len(there), len(there) - len(ripe), dropped)


def _has(report: EntryReport, reason: str) -> bool:
    return reason.lower() in report.reason.lower()


def prune(store: Store, campaign: Campaign) -> int:
    """Remove a campaign's snapshot, which is its whole list, and all texts about its recipients; the numbers stay.

    Returns how many files were removed.

    Raises:
        CampaignBusyError: somebody sends from the store, or plans in it.
        JournalError: the journal cannot be written.
        UsageError: it is neither finished nor cancelled.
    """
    with store.tidied(), store.journal.alone():
        campaign = store.journal.campaign(campaign.name)
        if campaign.state not in (CampaignState.FINISHED, CampaignState.CANCELLED):
            raise UsageError(
                f"{campaign.name!r} is {campaign.state.value}",
                hint=f"Let it finish, or cancel it: bulksend cancel {campaign.name}. "
                "Without its list it could never be sent.",
            )
        store.events.prune(campaign.id)  # first: what the journal calls pruned is so everywhere
        store.journal.prune(campaign)
        removed = store.sweep()
        store.journal.clear_free_space()
        store.events.clear_free_space()
    return removed


def _ask(store: Store, campaign: Campaign, state: CampaignState) -> CampaignState:
    now = store.journal.ask_for(campaign, state)
    if now is not state:
        raise UsageError(f"{campaign.name!r} is {now.value}", hint="There is nothing left to stop.")
    return now


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
