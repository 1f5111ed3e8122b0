"""send: wires the parts for one campaign, runs it, drains on a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from bulksend.aws import AwsAccess
from bulksend.config import Settings
from bulksend.engine import Observer
from bulksend.errors import BulksendError, ExitCode
from bulksend.facts import Audience, Committed
from bulksend.journal import SqliteJournal
from bulksend.metrics import Metrics
from bulksend.model import Campaign, CampaignState, Chunk, Tally
from bulksend.worker.consuming import consuming
from bulksend.worker.looking_on import counted, looking_on
from bulksend.worker.running import bound_access, event_loop, running, working
from bulksend.worker.service import Service
from bulksend.worker.settlement import settle
from bulksend.worker.settling import settling
from bulksend.worker.standstills import Standstills
from bulksend.worker.store import Store, refuse_cancelled

__all__ = ["Sent", "send"]

LAST_S = 10.0
"""After the second signal the process is gone within so long, whatever it is at."""
LEFT_OVER = (CampaignState.PAUSED, CampaignState.SENDING, CampaignState.QUEUED)
"""What an interrupted run leaves a campaign in: others may go on with the last two."""


class OnSignal(Protocol):
    """What is told of each signal; `at_once` says that nothing is waited for any more."""

    def __call__(self, *, at_once: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Sent:
    """How a run ended. `campaign` is as the journal has it then, and what events prove by then is settled."""

    campaign: Campaign
    tally: Tally
    interrupted: bool
    duration_s: float

    @property
    def exit_code(self) -> ExitCode:
        """What the process says: 130 before 5 before 4 before 3."""
        if self.interrupted and self.campaign.state in LEFT_OVER:
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
    metrics: Metrics | None = None,
    on_drain: Callable[[], None] = lambda: None,
    redirect: Callable[[Chunk], Chunk] | None = None,
) -> Sent:
    """Send what is left of a planned campaign; the first SIGINT or SIGTERM drains, the second ends at once.

    `metrics` counts it, if given. `redirect` is given each chunk before it is sent; it may exchange its entries.

    Raises:
        AccountError: GetAccount does not answer.
        CampaignBusyError: another process sends from this store.
        CampaignChangedError: the settings name another account or region than the campaign is bound to.
        JournalError: the journal failed.
        SnapshotError: the snapshot is missing or damaged.
        UsageError: the campaign was cancelled, or pruned.
    """
    store.refuse_pruned(campaign)
    refuse_cancelled(campaign)
    access = bound_access(campaign, settings)
    began_s = time.monotonic()
    interrupted = False
    # A thread that waits for a database which does not answer cannot be ended otherwise.
    last = threading.Timer(LAST_S, os._exit, (int(ExitCode.INTERRUPTED),))
    last.daemon = True

    def note_signal(*, at_once: bool) -> None:
        nonlocal interrupted
        interrupted = True
        if at_once and last.ident is None:
            last.start()
        on_drain()

    try:
        with asyncio.Runner(loop_factory=event_loop()) as runner:
            if isinstance(store.journal, SqliteJournal):
                with _holding(store.journal, campaign, _of_store(observers, metrics)):
                    runner.run(_send(campaign, settings, access, store, observers, metrics, note_signal, redirect))
            elif store.journal.ask_for(campaign, CampaignState.QUEUED) is not CampaignState.FINISHED:
                runner.run(_send_among_others(campaign, settings, store, observers, metrics, note_signal))
        with suppress(BulksendError):  # the numbers stand without it
            settle(store, store.journal.campaign(campaign.name))
        if metrics is not None and metrics.census is not None and not interrupted:
            with suppress(Exception):  # what was settled is not in the last one
                metrics.store.observe(counted(store, metrics.census.workers))
        campaign = store.journal.campaign(campaign.name)
        return Sent(campaign, store.journal.tally(campaign), interrupted, time.monotonic() - began_s)
    finally:
        last.cancel()


async def _send(  # noqa: PLR0917  the parts to wire
    campaign: Campaign,
    settings: Settings,
    access: AwsAccess,
    store: Store,
    observers: Sequence[Observer],
    metrics: Metrics | None,
    on_signal: OnSignal,
    redirect: Callable[[Chunk], Chunk] | None,
) -> None:
    standstills = Standstills(store.journal)
    of_account = Audience([*observers, standstills.of_account(campaign.binding)])
    of_campaign = Audience([*observers, standstills.of_campaign(campaign.id)])
    async with (
        standstills.telling(),
        _heeding_events(settings, store, observers, metrics),
        working(campaign.binding, access, settings, store, of_account, metrics) as at_work,
        running(campaign, at_work, at_work.pacer, settings, store, of_campaign, metrics, redirect=redirect) as engine,
    ):
        with _draining(engine.drain, engine.abandon, on_signal):
            async with nullcontext() if metrics is None else looking_on(store, _of_store(observers, metrics)):
                await engine.run()


async def _send_among_others(  # noqa: PLR0917  the parts to wire
    campaign: Campaign,
    settings: Settings,
    store: Store,
    observers: Sequence[Observer],
    metrics: Metrics | None,
    on_signal: OnSignal,
) -> None:
    """Be a worker for this campaign alone, until it ends; others may send it as well."""
    service = Service(store, settings, observers=observers, metrics=metrics, only=campaign.id)
    loop = asyncio.get_running_loop()

    def pause() -> None:
        """Whoever interrupts it wants it to stop, whoever else sends it."""
        service.stop()
        loop.run_in_executor(None, pause_for_all)

    def pause_for_all() -> None:
        try:
            store.journal.ask_for(campaign, CampaignState.PAUSED)
        except BulksendError as error:
            structlog.get_logger().error("others may go on with it: it could not be paused", error=error.message)

    with _draining(pause, service.abandon, on_signal):
        async with _heeding_events(settings, store, observers, metrics):
            await service.run()


@asynccontextmanager
async def _heeding_events(
    settings: Settings, store: Store, observers: Sequence[Observer], metrics: Metrics | None
) -> AsyncIterator[None]:
    """Take events from the queues, if any are named: a canary waits for them, and a breaker judges by them."""
    if not settings.events.queues:
        yield
        return
    async with (
        settling(store, _of_store(observers, metrics)) as on_recorded,
        consuming(store, settings, observers=observers, metrics=metrics, on_recorded=on_recorded),
    ):
        yield


def _of_store(observers: Sequence[Observer], metrics: Metrics | None) -> Audience:
    """Who is told of the store and the process."""
    return Audience(observers if metrics is None else [*observers, metrics.store])


@contextmanager
def _holding(journal: SqliteJournal, campaign: Campaign, audience: Audience) -> Iterator[None]:
    def tell(duration_s: float, operations: int) -> None:
        audience.observe(Committed(duration_s, operations))

    journal.on_commit = tell
    with journal.sending(campaign.id):
        yield


@contextmanager
def _draining(drain: Callable[[], None], abandon: Callable[[], None], on_signal: OnSignal) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(number: signal.Signals) -> None:
        nonlocal asked
        asked += 1
        # A terminal that closes says so twice: the shell does, and the system.
        at_once = asked > 1 and number is not signal.SIGHUP
        if asked == 1:
            drain()
        elif at_once:
            abandon()
        with suppress(OSError):  # the terminal may be gone
            on_signal(at_once=at_once)

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
