"""submit and resume: a campaign is left to a worker."""

from __future__ import annotations

from dataclasses import replace

from bulksend.errors import UsageError
from bulksend.journal import SqliteJournal
from bulksend.model import Campaign, CampaignState
from bulksend.worker.store import Store, refuse_cancelled

__all__ = ["has_worker", "queue"]


def queue(store: Store, campaign: Campaign) -> CampaignState:
    """Leave a campaign to a worker, also one that was paused or halted; returns the state that it is in now.

    Raises:
        UsageError: it is finished, or cancelled, or pruned.
    """
    store.refuse_pruned(campaign)
    now = store.journal.ask_for(campaign, CampaignState.QUEUED)
    refuse_cancelled(replace(campaign, state=now))
    if now is CampaignState.FINISHED:
        raise UsageError(
            f"{campaign.name!r} is finished",
            hint=f"What became of each row: bulksend results {campaign.name}. Dead letters: bulksend retry.",
        )
    return now


def has_worker(store: Store) -> bool | None:
    """Whether somebody would send what is queued in the store now; None when a process holds it for something else."""
    sender = store.journal.sender()
    if sender is None:
        return False
    if isinstance(store.journal, SqliteJournal) and sender.campaign is not None:
        return None
    return True
