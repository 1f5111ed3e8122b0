"""forget: a person is removed from every campaign of a store. A crash leaves snapshot and journal agreeing."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from bulksend.errors import CampaignBusyError, SnapshotError, UsageError
from bulksend.model import Campaign
from bulksend.recipients import FORGOTTEN_ADDRESS, Removed, forgettable, remove_address
from bulksend.worker.store import Store

__all__ = ["Forgotten", "forget"]


@dataclass(frozen=True, slots=True)
class Forgotten:
    """From how many rows of how many campaigns an address was removed, copies and skipped rows among them.

    `never_sent` of the rows were pending and are dead now. `mentions` counts rows of other people that still have the
    address in their data, which would not be the same mail without it. `pruned` counts campaigns without a list: whom
    they were sent to is gone already. `events` counts what SES had reported of the address. That it is not to be
    written to, if it is not, is still known.
    """

    campaigns: int
    rows: int
    never_sent: int
    mentions: int
    pruned: int
    events: int


def forget(store: Store, address: str) -> Forgotten:
    """Remove an address, compared as duplicates are, with all that is kept of it; numbers and states stay.

    Raises:
        CampaignBusyError: somebody sends from the store, or plans in it; or its lock was lost, and somebody removed
            what this made. The same command goes on where it stopped.
        JournalError: the journal cannot be written.
        SnapshotError: a snapshot is missing or damaged, or cannot be written anew.
        UsageError: it is no address that could be in a list.
    """
    key = forgettable(address)
    if key in ("", FORGOTTEN_ADDRESS):
        raise UsageError(f"{address!r} is not an address", hint="Name the address that is to be removed.")
    campaigns = rows = never_sent = mentions = pruned = 0
    with store.tidied(), store.journal.alone():
        for campaign in store.journal.campaigns():
            if not store.shelf.exists(campaign.snapshot):
                _refuse_lost(store, campaign)
                pruned += 1
                continue
            name = _new_name(campaign)
            store.journal.announce_snapshot(name)
            removed = remove_address(
                store.snapshot_of(campaign),
                key,
                address,
                size_bytes=campaign.snapshot_bytes,
                sha256=campaign.snapshot_sha256,
                name=name,
            )
            mentions += removed.mentions
            if not removed.rows:
                store.journal.strike_out({name})
                continue
            store.shelf.put(store.shelf.workshop / name)
            campaigns += 1
            rows += removed.rows
            never_sent += _take_up(store, campaign, removed)
        store.journal.forget_address(key)
        events = store.events.forget(key)
        store.journal.clear_free_space()
        store.events.clear_free_space()
    return Forgotten(campaigns, rows, never_sent, mentions, pruned, events)


def _refuse_lost(store: Store, campaign: Campaign) -> None:
    """A list that is not there was pruned, or else somebody may put it back, with the person in it."""
    if store.journal.pruned_at(campaign) is None:
        raise SnapshotError(
            f"there is no {campaign.snapshot}, the list of {campaign.name!r}",
            hint=f"Restore it from a backup; if it is gone for good, bulksend cancel {campaign.name} unless it is "
            f"finished, and bulksend prune {campaign.name}. Then run bulksend forget again.",
        )


def _take_up(store: Store, campaign: Campaign, removed: Removed) -> int:
    try:
        dropped = store.journal.forget_entries(
            campaign,
            removed.places,
            snapshot=removed.snapshot,
            size_bytes=removed.size_bytes,
            sha256=removed.sha256,
        )
    except CampaignBusyError:
        store.discard(removed.snapshot)  # whoever has swept its name away is done with it
        raise
    store.sweep()
    return dropped


def _new_name(campaign: Campaign) -> str:
    """One that no file of the campaign has or had, on any machine."""
    return f"{campaign.id}.{secrets.randbelow(10**12)}.parquet"
