"""What a one-click unsubscription comes to: whoever the mail of a token went to is not written to again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bulksend.admin import Unsubscribed
from bulksend.errors import CampaignUnknownError
from bulksend.event import Suppression, SuppressionReason
from bulksend.facts import AddressesSuppressed, Fact
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader
from bulksend.worker.one_click import Mail, UnsubscribeKeys
from bulksend.worker.store import Store

__all__ = ["UnsubscribeOffice"]


class UnsubscribeOffice:
    """Satisfies the public face's Unsubscribing. `keys` are looked for anew each time: they may come, and be added to.

    Raises:
        CampaignUnknownError: nobody here has planned what the token is of; whoever asks should ask again.
        JournalError: where the store cannot be read or written.
        SnapshotError: the campaign's list cannot be had now.
    """

    def __init__(
        self, store: Store, keys: Callable[[], UnsubscribeKeys | None], observe: Callable[[Fact], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._observe = observe

    async def knows(self, token: str) -> bool:
        """Whether one of our keys has signed it. The store is not asked."""
        return await asyncio.to_thread(self._read, token) is not None

    async def unsubscribe(self, token: str) -> Unsubscribed:
        """Suppress whoever the mail went to; a second time changes nothing."""
        mail = await asyncio.to_thread(self._read, token)
        if mail is None:
            return Unsubscribed.NOT_OURS
        done, new = await asyncio.to_thread(self._suppress, mail)
        if new:
            self._observe(AddressesSuppressed(SuppressionReason.UNSUBSCRIBE, new))
        return done

    def _read(self, token: str) -> Mail | None:
        keys = self._keys()
        return None if keys is None else keys.read(token)

    def _suppress(self, mail: Mail) -> tuple[Unsubscribed, int]:
        """What was done, and how many addresses are newly suppressed by it."""
        journal = self._store.journal
        campaign = journal.of_id(mail.campaign_id)
        if campaign is None:
            # Not for good: it may be another store's, or the journal is an older one that was restored.
            raise CampaignUnknownError(
                f"a mail of {mail.campaign_id!r}, which nobody here has planned, asks to be unsubscribed",
                hint="See that the worker and bulksend plan have the same store, and that it is the newest one.",
            )
        if journal.pruned_at(campaign) is not None:
            return Unsubscribed.NOBODY_KNOWN, 0
        path = self._store.snapshot_of(campaign)
        with SnapshotReader(path, size_bytes=campaign.snapshot_bytes, sha256=None) as snapshot:
            address = snapshot.address_of_row(mail.row)
        if address is None or address == FORGOTTEN_ADDRESS:
            return Unsubscribed.NOBODY_KNOWN, 0
        one = Suppression(address, SuppressionReason.UNSUBSCRIBE, f"campaign {campaign.name}", journal.now())
        return Unsubscribed.DONE, self._store.events.unsubscribe(campaign.id, mail.row, one)
