"""Settling while a process is at work: what events prove is written into the journal soon after they are recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import structlog

from bulksend.errors import BulksendError
from bulksend.facts import Audience, CampaignHalted
from bulksend.model import Campaign
from bulksend.worker.settlement import NOT_OVER, Settler
from bulksend.worker.store import Store

__all__ = ["OnRecorded", "settling"]

SOON_S = 1.0
AGAIN_S = 60.0
"""Now and then, since an event may have come before the answer that it belongs to …"""
LATELY_S = 3600.0
"""… and that may be given up when the campaign is over; or the store was away."""
LAST_S = 5.0
SHARE = 0.1
"""Of the time, that settling may take."""
OnRecorded = Callable[[frozenset[str]], None]
"""Told in the event loop of which campaigns there is news: their ids."""


@asynccontextmanager
async def settling(store: Store, audience: Audience | None = None) -> AsyncIterator[OnRecorded]:
    """Settle what events prove, while inside. What is yielded is to be told, in the event loop, whom there is news of.

    `audience` is told of campaigns that are halted by it. Nothing that goes wrong here ends what goes on beside it. At
    the end, what there is news of is settled yet, as far as there is time.
    """
    chore = _Chore(store, Audience() if audience is None else audience)
    task = asyncio.create_task(chore.go_on(), name="settling")
    try:
        yield chore.note
    finally:
        chore.end()
        await asyncio.wait({task}, timeout=LAST_S)
        chore.settler.stop.set()
        await asyncio.wait({task}, timeout=LAST_S)
        task.cancel()


class _Chore:
    """Settles campaigns of which events have come."""

    def __init__(self, store: Store, audience: Audience) -> None:
        self._store = store
        self._audience = audience
        self.settler = Settler(store)
        self._wanted: set[str] = set()
        self._lately: dict[str, float] = {}
        """Of which there was news lately; by id, when it was, on the event loop's clock."""
        self._all = True
        """Whether every campaign of the store is to be looked at: it was not yet."""
        self._news = asyncio.Event()
        self._ending = asyncio.Event()
        self._trouble = ""
        self._log = structlog.get_logger()

    def note(self, campaign_ids: Collection[str]) -> None:
        """There is news of these."""
        self._wanted.update(campaign_ids)
        self._news.set()

    def end(self) -> None:
        """Once more, if there is news, and no more then."""
        self._ending.set()
        self._news.set()

    async def go_on(self) -> None:
        """All of the store at first; then what there is news of, and now and then what may have more to it."""
        loop = asyncio.get_running_loop()
        await self._settle(set(), again=True)
        again_at_s = loop.time() + AGAIN_S
        while not self._ending.is_set() or self._wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(again_at_s):
                    await self._news.wait()
            await self._pause(SOON_S)  # others may come meanwhile
            wanted, self._wanted = self._wanted, set()
            if not self._ending.is_set():
                self._news.clear()
            began_s = loop.time()
            again = began_s >= again_at_s and not self._ending.is_set()
            if wanted or again:
                await self._settle(wanted, again=again)
            if again:
                again_at_s = loop.time() + AGAIN_S
            await self._pause((loop.time() - began_s) * (1 / SHARE - 1))

    async def _pause(self, at_most_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._ending.wait()

    async def _settle(self, wanted: Collection[str], *, again: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        self._lately.update(dict.fromkeys(wanted, now_s))
        try:
            campaigns = await asyncio.to_thread(self._known, wanted, frozenset(self._lately), again=again)
        except BulksendError as error:
            self._say(error)
            return
        except Exception as error:  # noqa: BLE001  as of a single campaign
            self._log.error("events cannot settle anything", error=type(error).__name__)
            return
        failed = [campaign.id for campaign in campaigns if not await self._settle_one(campaign)]
        self._lately.update(dict.fromkeys(failed, now_s))
        if again:
            self._all = False
            self._lately = {one: at_s for one, at_s in self._lately.items() if now_s - at_s <= LATELY_S}

    def _known(self, wanted: Collection[str], lately: Collection[str], *, again: bool) -> list[Campaign]:
        if not again:
            found = (self._store.journal.of_id(one) for one in wanted)
            return [one for one in found if one is not None]
        every = self._store.journal.campaigns()
        return [one for one in every if self._all or one.state in NOT_OVER or one.id in lately]

    async def _settle_one(self, campaign: Campaign) -> bool:
        """Whether it could be looked at. What goes on beside does not end by it."""
        try:
            settled = await asyncio.to_thread(self.settler.settle, campaign)
        except BulksendError as error:
            self._say(error)
            return False
        except Exception as error:  # noqa: BLE001
            self._log.error("events cannot settle anything", error=type(error).__name__)
            return False
        if settled.accepted or settled.refused:
            self._log.info(
                "events have settled entries",
                campaign=campaign.name,
                accepted=settled.accepted,
                refused=settled.refused,
            )
        if settled.mispaired:
            self._log.error(
                "the results of an answer are not in the order of its entries",
                campaign=campaign.name,
                mails=settled.mispaired,
                halted=settled.halt is not None,
            )
        if settled.halt is not None:
            self._audience.observe(CampaignHalted(settled.halt))
        return True

    def _say(self, error: BulksendError) -> None:
        """Once, as long as it is the same."""
        if error.message != self._trouble:
            self._trouble = error.message
            self._log.warning("events cannot settle anything", error=error.message)
