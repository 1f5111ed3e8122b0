"""The worker as a process: signals, systemd, its HTTP faces."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from bulksend.admin import Face, PublicFace
from bulksend.config import Settings
from bulksend.engine import Observer
from bulksend.errors import BulksendError, ExitCode
from bulksend.facts import Audience
from bulksend.metrics import Metrics
from bulksend.worker import systemd
from bulksend.worker.consuming import consuming
from bulksend.worker.listening import address_of, token_of
from bulksend.worker.office import ServiceOffice
from bulksend.worker.one_click import keys_to_check
from bulksend.worker.running import event_loop
from bulksend.worker.service import Service
from bulksend.worker.settling import settling
from bulksend.worker.store import Store
from bulksend.worker.unsubscribing import UnsubscribeOffice

__all__ = ["serve"]

LAST_S = 10.0
"""After the grace time, or a second signal, the process is gone within so long, whatever it is at."""
NOT_RELOADED = ("store", "snapshots", "aws", "transport", "fleet", "http", "worker", "metrics", "events")
"""What only a new start takes up; of the rest, `engine` holds for campaigns that are begun afterwards."""


def serve(
    store: Store,
    settings: Settings,
    *,
    reload: Callable[[], Settings],
    announce: Callable[[str], None],
    observers: Sequence[Observer] = (),
) -> ExitCode:
    """Be a worker until SIGTERM or SIGINT; a second one does not wait for answers. SIGHUP reads the settings anew.

    Raises:
        CampaignBusyError: another process holds the store.
        ConfigError: the settings do not go together.
        ServerError: an address cannot be listened on.
    """
    with asyncio.Runner(loop_factory=event_loop()) as runner:
        return runner.run(_Process(store, settings, reload, announce, observers).run())


class _Process:
    def __init__(
        self,
        store: Store,
        settings: Settings,
        reload: Callable[[], Settings],
        announce: Callable[[str], None],
        observers: Sequence[Observer],
    ) -> None:
        self._settings = settings
        self._read_anew = reload
        self._announce = announce
        self._metrics = Metrics(campaigns=settings.metrics.campaigns)
        self._service = Service(store, settings, observers=observers, metrics=self._metrics)
        self._settling = settling(store, Audience([*observers, self._metrics.store]))
        self._consuming = partial(consuming, store, settings, observers=observers, metrics=self._metrics)
        self._store = store
        self._office = ServiceOffice(self._service, store, self._metrics, lambda: self._settings)
        self._log = structlog.get_logger()
        self._signals = 0

    async def run(self) -> ExitCode:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_heard(self._on_signal))
            await self._listen(stack)
            on_recorded = await stack.enter_async_context(self._settling)
            await stack.enter_async_context(self._consuming(on_recorded=on_recorded))
            watching = asyncio.create_task(systemd.watch(), name="watchdog")
            beating = asyncio.create_task(self._service.beat(), name="heartbeat")
            readying = asyncio.create_task(self._say_ready(), name="ready")
            try:
                await self._service.run()
            finally:
                for task in (watching, beating, readying):
                    task.cancel()
        return ExitCode.SOME_IN_DOUBT if self._service.abandoned else ExitCode.DONE

    async def _listen(self, stack: AsyncExitStack) -> None:
        http = self._settings.http
        if http.listen != "off":
            host, port = address_of(http.listen)
            token = token_of(self._settings)
            face = await stack.enter_async_context(
                Face(self._office, host, port, token=token, report_fault=self._report_fault)
            )
            self._announce(face.announcement)
        if http.public_listen != "off":
            host, port = address_of(http.public_listen)
            unsubscribing = UnsubscribeOffice(
                self._store, lambda: keys_to_check(self._settings, self._store), self._metrics.store.observe
            )
            if self._settings.unsubscribe.key_file is not None:
                await asyncio.to_thread(keys_to_check, self._settings, self._store)  # its faults are told at once
            public = await stack.enter_async_context(
                PublicFace(unsubscribing, host, port, report_fault=self._report_fault)
            )
            self._announce(public.announcement)

    async def _say_ready(self) -> None:
        await self._service.ready.wait()
        self._announce("ready: campaigns are taken up as they are submitted")
        systemd.notify("READY=1")

    def _report_fault(self, kind: str, route: str) -> None:
        self._log.error("a request could not be answered", error=kind, route=route)

    def _on_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP:
            self._reload()
            return
        self._signals += 1
        systemd.notify("STOPPING=1")
        # A thread that waits for a database which does not answer cannot be ended otherwise.
        within_s = LAST_S + (self._settings.worker.grace_s if self._signals == 1 else 0.0)
        last = threading.Timer(within_s, os._exit, (int(ExitCode.SOME_IN_DOUBT),))
        last.daemon = True
        last.start()
        if self._signals == 1:
            self._log.warning("stopping: answers to what is under way are waited for (once more to stop at once)")
            self._service.stop()
        else:
            self._service.abandon()

    def _reload(self) -> None:
        systemd.notify(systemd.reloading())
        try:
            settings = self._read_anew()
        except BulksendError as error:
            self._log.error("the settings stay as they are", error=error.message)
        else:
            ignored = [key for key in NOT_RELOADED if getattr(settings, key) != getattr(self._settings, key)]
            if ignored:
                self._log.warning("these settings want a new start", keys=ignored)
            kept = {key: getattr(self._settings, key) for key in NOT_RELOADED}
            self._settings = settings.model_copy(update=kept)
            self._service.take_up(self._settings)
            self._log.warning("the settings were read anew")
        systemd.notify("READY=1")


@asynccontextmanager
async def _heard(call: Callable[[signal.Signals], None]) -> AsyncIterator[None]:
    """Signals are heard while inside; where this is not the main thread, whoever owns the process stops it."""
    loop = asyncio.get_running_loop()
    wanted = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    with suppress(RuntimeError, ValueError):
        for number in wanted:
            loop.add_signal_handler(number, call, number)
    try:
        yield
    finally:
        with suppress(RuntimeError, ValueError):
            for number in wanted:
                loop.remove_signal_handler(number)
