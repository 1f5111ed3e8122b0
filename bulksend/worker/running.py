"""The parts that send: an account with its pacer, and one campaign with its snapshot and transport."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import structlog

from bulksend.aws import AwsAccess, Detour, Route, ServerClock
from bulksend.config import Settings
from bulksend.engine import Engine, Handout, Pacer
from bulksend.errors import CampaignChangedError
from bulksend.facts import Audience, CampaignHalted, ChunkRead
from bulksend.journal import Journal, SqliteJournal
from bulksend.model import Binding, Campaign, CampaignState, Chunk, Halt
from bulksend.pacing import Lanes, PaceSettings, QuotaPacer
from bulksend.recipients import SnapshotReader
from bulksend.ses import Account, CompatibleTransport, SignedTransport, find_binding, find_route
from bulksend.worker.access import aws_access
from bulksend.worker.examined import Sending
from bulksend.worker.looking_on import one_worker
from bulksend.worker.multiregion import Quotas, through_endpoint
from bulksend.worker.safety import Guard, guarding, ramped
from bulksend.worker.sending_verdicts import by_another_way
from bulksend.worker.settlement import heed_events
from bulksend.worker.store import Store
from bulksend.worker.suppression import screening

if TYPE_CHECKING:
    from bulksend.fleet import SharedPacer
    from bulksend.metrics import AccountObserver, CampaignObserver, Metrics

__all__ = ["AccountAtWork", "ChunkThread", "bound_access", "event_loop", "pace_of", "running", "settle_down", "working"]

MAX_FLYING_BYTES = 64 * 1024 * 1024
"""Requests in the air hold a copy of the frozen frame each: with large attachments there can only be a few."""
GC_THRESHOLD = 20_000
"""Objects made more than freed before a collection: an answer alone is a hundred, soon freed and in no cycles."""
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class AccountAtWork:
    """An account and region that this process sends from: one pacer for all its campaigns."""

    access: AwsAccess
    clock: ServerClock
    lanes: Lanes
    pacer: QuotaPacer | SharedPacer
    quotas: Quotas

    def take_up(self, settings: Settings) -> None:
        """What the settings leave us of the quota from now on."""
        self.pacer.take_up(pace_of(settings))

    async def read_quotas(self) -> None:
        """GetAccount again: at once for a pacer of this process; a shared one hears of it in its time, 30 s at most.

        Raises:
            AccountError: it does not answer.
        """
        if isinstance(self.pacer, QuotaPacer):
            await self.pacer.refresh()
        else:
            await self.quotas.read()


def pace_of(settings: Settings) -> PaceSettings:
    """What the settings leave us of an account's quota."""
    return PaceSettings(
        share=settings.pacing.share,
        daily_reserve=settings.pacing.daily_reserve,
        max_recipients_per_s=settings.pacing.max_recipients_per_s,
        max_calls_per_s=settings.pacing.max_calls_per_s,
    )


@asynccontextmanager
async def working(  # noqa: PLR0917  the parts to wire
    binding: Binding, access: AwsAccess, settings: Settings, store: Store, audience: Audience, metrics: Metrics | None
) -> AsyncIterator[AccountAtWork]:
    """Ready to send from an account.

    Raises:
        AccountError: GetAccount does not answer.
        CampaignChangedError: the credentials are another account's.
    """
    if not binding.endpoint_url:
        await refuse_other_account(binding, access)
    clock = ServerClock()
    watcher = None if metrics is None else metrics.account(binding.account, binding.region)
    with _watched(audience, watcher) as everybody:
        async with Account(access, clock) as account:
            share = _sharing(binding, store.journal)
            async with (
                Quotas(account, binding.region, access, clock, share) as quotas,
                await _pacer(quotas, binding, settings, store.journal, everybody) as pacer,
            ):
                yield AccountAtWork(access, clock, Lanes(pacer), pacer, quotas)


@contextmanager
def _watched(
    audience: Audience, more: AbstractContextManager[AccountObserver | CampaignObserver] | None
) -> Iterator[Audience]:
    """With one more who watches, if there is one."""
    if more is None:
        yield audience
        return
    with more as observer:
        yield Audience([audience, observer])


def _sharing(binding: Binding, journal: Journal) -> Callable[[Collection[str]], Awaitable[Collection[str]]] | None:
    """What tells a fleet of the Regions that this process's mails leave from, and of its others'."""
    if isinstance(journal, SqliteJournal):
        return None
    from bulksend.fleet import Elsewhere, connecting  # noqa: PLC0415  its libraries may not be installed

    return Elsewhere(connecting(journal.url), binding.account, binding.region).share


async def _pacer(
    quotas: Quotas, binding: Binding, settings: Settings, journal: Journal, audience: Audience
) -> QuotaPacer | SharedPacer:
    """This process's own, or on PostgreSQL one of those that share a bucket."""

    def sent() -> list[tuple[float, int]]:
        return journal.sent_by_minute(binding.account, binding.region, journal.now() - DAY_S)

    pace = pace_of(settings)
    if isinstance(journal, SqliteJournal):
        return QuotaPacer(
            quotas.read,
            settings=pace,
            sent=await asyncio.to_thread(sent),
            observe=audience.observe,
            now=journal.now,
        )
    from bulksend.fleet import Bucket, SharedPacer, connecting  # noqa: PLC0415  its libraries may not be installed

    async def own_24_hours() -> float:
        return float(sum(recipients for _, recipients in await asyncio.to_thread(sent)))

    bucket = Bucket(connecting(journal.url), binding.account, binding.region)
    return SharedPacer(quotas.read, bucket, own_24_hours=own_24_hours, settings=pace, observe=audience.observe)


@asynccontextmanager
async def running(  # noqa: PLR0917  the parts to wire
    campaign: Campaign,
    at_work: AccountAtWork,
    pacer: Pacer,
    settings: Settings,
    store: Store,
    audience: Audience,
    metrics: Metrics | None,
    *,
    handout: Handout | None = None,
    begin_from: Collection[CampaignState] = (),
    redirect: Callable[[Chunk], Chunk] | None = None,
    workers: Callable[[], Awaitable[int]] = one_worker,
) -> AsyncIterator[Engine]:
    """An engine for a campaign, ready to run. `workers` counts those that may send it.

    Raises:
        AccountError, EndpointError: it names a multi-region endpoint that cannot be asked, or used.
        HaltedError: by what events tell, it must not be sent. It is halted, and the audience was told.
        SnapshotError: the snapshot is missing or damaged.
    """
    in_flight = max(1, min(settings.engine.max_in_flight, MAX_FLYING_BYTES // (len(campaign.prefix) + 1)))
    binding = campaign.binding
    watcher = None if metrics is None else metrics.campaign(binding.account, binding.region, campaign.name)
    with ExitStack() as stack:
        everybody = stack.enter_context(_watched(audience, watcher))
        await asyncio.to_thread(heed_events, store, campaign, _telling(everybody))
        reader = stack.enter_context(await asyncio.to_thread(store.read_snapshot, campaign))
        async with (
            through_endpoint(campaign, at_work.access, at_work.quotas, at_work.read_quotas),
            await transport_for(campaign, settings, at_work, in_flight) as transport,
        ):
            settle_down()
            with ChunkThread(reader, everybody, redirect) as source:
                guard = await asyncio.to_thread(Guard.of, campaign, store, everybody)
                async with (
                    screening(store.events, source.keys) as screen,
                    ramped(campaign, store.journal, pacer, workers) as own_pacer,
                ):
                    engine = Engine(
                        campaign.id,
                        source=source,
                        journal=store.journal,
                        transport=transport,
                        pacer=own_pacer,
                        observers=(everybody, guard),
                        policy=campaign.policy,
                        schedule=campaign.schedule,
                        handout=handout,
                        gate=guard.gate,
                        screen=screen,
                        begin_from=begin_from,
                        max_in_flight=in_flight,
                        endpoint_remedy=by_another_way(Sending.of_campaign(campaign)),
                        now=store.journal.now,
                    )
                    async with guarding(guard, engine.stop):
                        yield engine


def _telling(audience: Audience) -> Callable[[Halt], None]:
    """Tells, in this thread, of a halt that comes up in another."""
    loop = asyncio.get_running_loop()

    def tell(halt: Halt) -> None:
        loop.call_soon_threadsafe(audience.observe, CampaignHalted(halt))

    return tell


def settle_down() -> None:
    """The SDK's models are many and live for ever: later collections need not walk them. Once: others come and go."""
    if gc.get_freeze_count():
        return
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


async def transport_for(
    campaign: Campaign, settings: Settings, at_work: AccountAtWork, in_flight: int
) -> AbstractAsyncContextManager[SignedTransport | CompatibleTransport]:
    """The signed one wherever it can serve."""
    access, clock = at_work.access, at_work.clock
    if settings.transport.kind == "compatible":
        way: Route | Detour = Detour("transport.kind is compatible")
    else:
        way = await find_route(access, campaign.prefix)
    match way:
        case Route():
            return SignedTransport(access, way, campaign.prefix, campaign.suffix, clock=clock)
        case Detour(reason=reason):
            structlog.get_logger().warning("requests go through the AWS SDK, which takes more CPU", because=reason)
            return CompatibleTransport(access, campaign.prefix, campaign.suffix, max_connections=in_flight, clock=clock)


class ChunkThread:
    """Reads chunks in a thread of its own. Satisfies the engine's Source."""

    def __init__(
        self, reader: SnapshotReader, audience: Audience, redirect: Callable[[Chunk], Chunk] | None = None
    ) -> None:
        self._reader = reader
        self._audience = audience
        self._redirect = redirect
        self._thread = ThreadPoolExecutor(1, "snapshot")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    async def keys(self, number: int) -> list[tuple[int, str]]:
        """(place, address) of everybody whom a chunk's entries go to, as suppressions are spelled."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._reader.keys, number)

    async def chunk(self, number: int) -> Chunk:
        """See Source."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        chunk = await loop.run_in_executor(self._thread, self._read, number)
        self._audience.observe(ChunkRead(len(chunk), loop.time() - asked_s))
        return chunk

    def _read(self, number: int) -> Chunk:
        chunk = self._reader.chunk(number)
        return chunk if self._redirect is None else self._redirect(chunk)


def bound_access(campaign: Campaign, settings: Settings) -> AwsAccess:
    """The campaign's own region and endpoint, whatever the settings leave open.

    Raises:
        CampaignChangedError: the settings say otherwise.
    """
    access = aws_access(settings)
    bound = campaign.binding
    said = [
        f"{key} (was {was or 'not set'}, is {now})"
        for key, was, now in (
            ("aws.region", bound.region, settings.aws.region),
            ("aws.endpoint_url", bound.endpoint_url, access.endpoint_url),
        )
        if now is not None and now != was
    ]
    if said:
        raise CampaignChangedError(f"{campaign.name!r} differs in {'; '.join(said)}")
    return AwsAccess(
        region=bound.region,
        profile=access.profile,
        endpoint_url=bound.endpoint_url or None,
        connect_timeout_s=access.connect_timeout_s,
        answer_timeout_s=access.answer_timeout_s,
    )


async def refuse_other_account(binding: Binding, access: AwsAccess) -> None:
    """Raises CampaignChangedError unless the credentials are of the account that it is bound to."""
    account = (await find_binding(access)).account
    if account != binding.account:
        raise CampaignChangedError(
            f"the account of the credentials differs (was {binding.account}, is {account})",
            hint="Use the credentials of the account that it was planned for, or plan it anew under another name.",
        )


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where there is one."""
    if os.name == "nt":
        return None
    import uvloop  # noqa: PLC0415

    return uvloop.new_event_loop
