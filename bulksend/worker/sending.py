"""send: wires the parts for one campaign, runs it, drains on a signal."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import structlog

from bulksend.config import Settings
from bulksend.engine import Engine, Observer
from bulksend.errors import CampaignChangedError, ExitCode, UsageError
from bulksend.facts import Audience, Committed
from bulksend.model import Campaign, CampaignState, Chunk, Tally
from bulksend.pacing import PaceSettings, QuotaPacer
from bulksend.recipients import SnapshotReader
from bulksend.ses import (
    Account,
    AwsAccess,
    CompatibleTransport,
    Detour,
    Route,
    ServerClock,
    SignedTransport,
    find_binding,
    find_route,
)
from bulksend.worker.access import aws_access
from bulksend.worker.store import Store

__all__ = ["Sent", "send"]

MAX_FLYING_BYTES = 64 * 1024 * 1024
"""Requests in the air hold a copy of the frozen frame each: with large attachments there can only be a few."""

GC_THRESHOLD = 20_000
"""Objects made more than freed before a collection: an answer alone is a hundred, soon freed and in no cycles."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a run ended. `campaign` is as the journal has it then."""

    campaign: Campaign
    tally: Tally
    interrupted: bool
    duration_s: float

    @property
    def exit_code(self) -> ExitCode:
        """What the process says: 130 before 5 before 4 before 3."""
        if self.interrupted and self.campaign.state is CampaignState.PAUSED:
            return ExitCode.INTERRUPTED
        if not self.tally.adds_up:
            return ExitCode.UNEXPECTED
        if self.campaign.state is not CampaignState.FINISHED:
            return ExitCode.HALTED
        if self.tally.in_doubt:
            return ExitCode.SOME_IN_DOUBT
        return ExitCode.SOME_DEAD if self.tally.dead else ExitCode.DONE


def send(
    campaign: Campaign,
    settings: Settings,
    store: Store,
    *,
    observers: Sequence[Observer] = (),
    on_drain: Callable[[], None] = lambda: None,
    redirect: Callable[[Chunk], Chunk] | None = None,
) -> Sent:
    """Send what is left of a planned campaign; the first SIGINT or SIGTERM drains, the second ends at once.

    `redirect` is given each chunk before it is sent; it may exchange its entries.

    Raises:
        AccountError: GetAccount does not answer.
        CampaignBusyError: another process sends from this store.
        CampaignChangedError: the settings name another account or region than the campaign is bound to.
        JournalError: the journal failed.
        SnapshotError: the snapshot is missing or damaged.
        UsageError: the campaign was cancelled, or pruned.
    """
    store.refuse_pruned(campaign)
    if campaign.state is CampaignState.CANCELLED:
        raise UsageError(f"{campaign.name!r} was cancelled", hint="Plan it under another name to send it after all.")
    access = _bound_access(campaign, settings)
    began_s = time.monotonic()
    interrupted = False

    def note_signal() -> None:
        nonlocal interrupted
        interrupted = True
        on_drain()

    audience = Audience(observers)
    with _holding(store, audience), asyncio.Runner(loop_factory=_event_loop()) as runner:
        runner.run(_send(campaign, settings, access, store, audience, note_signal, redirect))
    campaign = store.journal.campaign(campaign.name)
    return Sent(campaign, store.journal.tally(campaign), interrupted, time.monotonic() - began_s)


async def _send(  # noqa: PLR0917  the parts to wire
    campaign: Campaign,
    settings: Settings,
    access: AwsAccess,
    store: Store,
    audience: Audience,
    on_signal: Callable[[], None],
    redirect: Callable[[Chunk], Chunk] | None,
) -> None:
    if not campaign.binding.endpoint_url:
        await _refuse_other_account(campaign, access)
    clock = ServerClock()
    in_flight = max(1, min(settings.engine.max_in_flight, MAX_FLYING_BYTES // (len(campaign.prefix) + 1)))
    sent = store.journal.sent_by_minute(campaign.binding.account, campaign.binding.region, time.time() - 86400.0)
    pace = PaceSettings(
        share=settings.pacing.share,
        daily_reserve=settings.pacing.daily_reserve,
        max_recipients_per_s=settings.pacing.max_recipients_per_s,
        max_calls_per_s=settings.pacing.max_calls_per_s,
    )
    with SnapshotReader(
        store.snapshot_of(campaign), size_bytes=campaign.snapshot_bytes, sha256=campaign.snapshot_sha256
    ) as reader:
        async with (
            Account(access, clock) as account,
            QuotaPacer(account.read, settings=pace, sent=sent, observe=audience.observe) as pacer,
            await _transport(campaign, settings, access, in_flight, clock) as transport,
        ):
            gc.collect()
            gc.freeze()  # the SDK's models are many and live for ever: later collections need not walk them
            gc.set_threshold(GC_THRESHOLD)
            with _ChunkThread(reader, redirect) as source:
                engine = Engine(
                    campaign.id,
                    source=source,
                    journal=store.journal,
                    transport=transport,
                    pacer=pacer,
                    observers=(audience,),
                    policy=campaign.policy,
                    max_in_flight=in_flight,
                )
                with _draining(engine, on_signal):
                    await engine.run()


async def _transport(
    campaign: Campaign, settings: Settings, access: AwsAccess, in_flight: int, clock: ServerClock
) -> SignedTransport | CompatibleTransport:
    """The signed one wherever it can serve."""
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


class _ChunkThread:
    """Reads chunks in a thread of its own. Satisfies the engine's Source."""

    def __init__(self, reader: SnapshotReader, redirect: Callable[[Chunk], Chunk] | None = None) -> None:
        self._reader = reader
        self._redirect = redirect
        self._thread = ThreadPoolExecutor(1, "snapshot")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    async def chunk(self, number: int) -> Chunk:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, number)

    def _read(self, number: int) -> Chunk:
        chunk = self._reader.chunk(number)
        return chunk if self._redirect is None else self._redirect(chunk)


@contextmanager
def _holding(store: Store, audience: Audience) -> Iterator[None]:
    def tell(duration_s: float, operations: int) -> None:
        audience.observe(Committed(duration_s, operations))

    store.journal.on_commit = tell
    with store.journal.sending():
        yield


@contextmanager
def _draining(engine: Engine, on_signal: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            engine.drain()
        elif number is not signal.SIGHUP:  # a terminal that closes says so twice: the shell does, and the system
            engine.abandon()
        with suppress(OSError):  # the terminal may be gone
            on_signal()

    # What was inherited as ignored stays so: nohup means that the run outlives its terminal.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signals = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    try:
        for number in signals:
            loop.add_signal_handler(number, stop, number)
    except (RuntimeError, ValueError):  # not the main thread: whoever owns the process drains it
        signals = []
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def _bound_access(campaign: Campaign, settings: Settings) -> AwsAccess:
    """The campaign's own region and endpoint, whatever the settings leave open; where they say otherwise, a refusal."""
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


async def _refuse_other_account(campaign: Campaign, access: AwsAccess) -> None:
    account = (await find_binding(access)).account
    if account != campaign.binding.account:
        raise CampaignChangedError(
            f"{campaign.name!r} differs in the account (was {campaign.binding.account}, is {account})",
            hint="Use the credentials of the account that it was planned for, or plan it anew under another name.",
        )


def _event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if os.name == "nt":
        return None
    import uvloop  # noqa: PLC0415

    return uvloop.new_event_loop
