"""The long-lived worker: takes up what is submitted, several campaigns at once, and lets go of it in good order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from bulksend.aws import AwsAccess
from bulksend.config import Settings
from bulksend.engine import Engine, Observer
from bulksend.errors import AccountError, BulksendError, CampaignBusyError, HaltedError, JournalError
from bulksend.facts import Audience, CampaignHalted, CampaignHindered, Committed, Fact, Waiting, WaitKind
from bulksend.journal import SqliteJournal, Submitted
from bulksend.model import Binding, CampaignState, Halt, HaltScope
from bulksend.pacing import Lane
from bulksend.recipients import ShelfUnreachableError
from bulksend.ses.endpoints import EndpointError
from bulksend.worker.log import RunLog
from bulksend.worker.looking_on import looking_on, one_worker
from bulksend.worker.running import AccountAtWork, bound_access, running, working
from bulksend.worker.standstills import Standstills
from bulksend.worker.store import Store

if TYPE_CHECKING:
    from bulksend.metrics import Metrics
    from bulksend.worker.fleet import Fleet

__all__ = ["Service"]

LOOK_EVERY_S = 1.0
TRY_AGAIN_S = 10.0
"""After trouble that may pass: an account or a shelf that cannot be reached."""
ABANDONED_WITHIN_S = 3.0
TIDY_EVERY_S = 3600.0
TAKEN_UP = (CampaignState.QUEUED, CampaignState.SENDING)
PASSING = (AccountError, ShelfUnreachableError, JournalError)


@dataclass(slots=True)
class _Run:
    """One campaign in this process."""

    submitted: Submitted
    task: asyncio.Task[None] | None = None
    engine: Engine | None = None
    lane: Lane | None = None
    binding: Binding | None = None
    has_begun: bool = False


class _OnHalt:
    """Satisfies the engine's Observer: has something called soon after the campaign halts, and knows nothing else."""

    def __init__(self, call: Callable[[Halt], None]) -> None:
        self._call = call

    def observe(self, fact: Fact) -> None:
        """See above."""
        if isinstance(fact, CampaignHalted):
            asyncio.get_running_loop().call_soon(self._call, fact.halt)


class Service:
    """Sends whatever is submitted to a store, until it is told to stop.

    With `only`, it sends that campaign alone, ends with it, and logs nothing that `observers` are told. What watches is
    told of all campaigns alike, but for `metrics`, which tells them apart.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        observers: Sequence[Observer] = (),
        metrics: Metrics | None = None,
        only: str | None = None,
    ) -> None:
        self._store = store
        self._journal = store.journal
        self._settings = settings
        self._only = only
        self._observers = tuple(observers)
        self._metrics = metrics
        self._audience = Audience([*observers, *self._log_of("")])
        self._of_store = self._audience if metrics is None else Audience([self._audience, metrics.store])
        """Who is told of the store and the process."""
        self._runs: dict[str, _Run] = {}
        self._not_before_s: dict[str, float] = {}
        self._accounts: dict[Binding, AccountAtWork] = {}
        self._opening: dict[Binding, asyncio.Lock] = {}
        self._stack = AsyncExitStack()
        self._fleet: Fleet | None = None
        self._standstills = Standstills(store.journal)
        self._count_soon: Callable[[], None] = lambda: None
        self._stop = asyncio.Event()
        self._rouse = asyncio.Event()
        """Somebody is to look at once."""
        self._log = structlog.get_logger()
        self.beat_at_s = time.monotonic()
        """When the event loop was last seen to turn."""
        self.failure: BulksendError | None = None
        self.abandoned = False
        """Whether it ended before every answer was there."""
        self.ready = asyncio.Event()
        self._hindered: dict[str, tuple[str, str]] = {}
        """By id: the name of a campaign that was submitted, and why it cannot be sent by this process now."""

    # Its life ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop` is called, or the only campaign has ended.

        Raises:
            BulksendError: in the only campaign's run; or another process has taken the store over.
        """
        async with self._at_work():
            self.ready.set()
            tidying = asyncio.create_task(self._tidy(), name="tidying")
            try:
                while not self._stop.is_set():
                    self._rouse.clear()
                    await self._unless_stopped(self._look())
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_EVERY_S):
                            await self._rouse.wait()
            finally:
                tidying.cancel()
                await self._drain()
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """Take nothing up any more; wait for the answers in flight; let go of everything; then `run` returns."""
        self._stop.set()
        self._rouse.set()

    def abandon(self) -> None:
        """Do not wait for the answers: what is in flight is in doubt."""
        self.stop()
        for run in self._runs.values():
            if run.engine is not None:
                self.abandoned = True
                run.engine.drain(self._left_as)
                run.engine.abandon()

    async def beat(self) -> None:
        """Note that the event loop turns, until cancelled."""
        while True:
            self.beat_at_s = time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def take_up(self, settings: Settings) -> None:
        """New settings: those of the pace at once, the others with each campaign that is begun from now on."""
        self._settings = settings
        for at_work in self._accounts.values():
            at_work.take_up(settings)

    async def _tidy(self) -> None:
        """Let go of lists that are gone from the store, also where this machine has nothing but copies of them."""
        while True:
            with contextlib.suppress(BulksendError):
                await asyncio.to_thread(self._store.tidy_cache)
            await asyncio.sleep(TIDY_EVERY_S)

    @property
    def faults(self) -> list[str]:
        """What is wrong with this worker's part in the fleet, as long as it is."""
        return [] if self._fleet is None else self._fleet.faults

    @property
    def hindrances(self) -> dict[str, str]:
        """Why campaigns that were submitted cannot be sent by this process now, by their names."""
        return dict(self._hindered.values())

    @property
    def campaigns(self) -> list[str]:
        """Names of what is being sent in this process."""
        return [run.submitted.name for run in self._runs.values()]

    @asynccontextmanager
    async def _at_work(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def committed(duration_s: float, operations: int) -> None:
            self._of_store.observe(Committed(duration_s, operations))

        def trouble(reason: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                kind = WaitKind.STORE if reason else None
                loop.call_soon_threadsafe(self._of_store.observe, Waiting(reason, kind))

        self._journal.on_commit = committed
        async with self._stack:
            if isinstance(self._journal, SqliteJournal):
                self._stack.enter_context(self._journal.sending())
            else:
                from bulksend.worker.fleet import fleet_of  # noqa: PLC0415  its libraries may not be installed

                self._journal.on_trouble = trouble
                self._fleet = await self._stack.enter_async_context(fleet_of(self._journal, self._due))
            await self._stack.enter_async_context(self._standstills.telling())
            if self._metrics is not None:
                workers = one_worker if self._fleet is None else self._fleet.workers
                counting = looking_on(self._store, self._of_store, workers)
                self._count_soon = await self._stack.enter_async_context(counting)
            yield

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for it until told to stop, and no longer: the database may be away."""
        working, stopping = asyncio.create_task(work), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    async def _drain(self) -> None:
        for run in self._runs.values():
            if run.engine is not None:
                run.engine.drain(self._left_as)
            elif run.task is not None:
                run.task.cancel()
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if not tasks:
            return
        _, left = await asyncio.wait(tasks, timeout=self._settings.worker.grace_s)
        if left:
            self._log.warning("answers are still awaited after the grace time", campaigns=self.campaigns)
            self.abandon()
            _, left = await asyncio.wait(left, timeout=ABANDONED_WITHIN_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def _left_as(self) -> CampaignState:
        """What a campaign is after this worker: on PostgreSQL others may be sending it."""
        return CampaignState.QUEUED if self._fleet is None else CampaignState.SENDING

    # Campaigns --------------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Begin what was submitted, and take up what was changed."""
        submitted = [one for one in await self._journal.submitted() if self._only in (None, one.id)]
        for one in submitted:
            run = self._runs.get(one.id)
            if run is None:
                if self._not_before_s.get(one.id, 0.0) <= time.monotonic():
                    self._begin(one)
                continue
            is_other = (run.submitted.policy, run.submitted.safety) != (one.policy, one.safety)
            if is_other and run.engine is not None:
                run.engine.drain(self._left_as)  # it is taken up anew, with the new ones
            if run.submitted.schedule != one.schedule:
                run.submitted = replace(run.submitted, schedule=one.schedule)
                self._reschedule(run)
        self._standstills.keep_only({one.id for one in submitted})
        for campaign_id in self._hindered.keys() - {one.id for one in submitted}:
            self._is_hindered_no_more(campaign_id)
        if self._only is not None and not submitted and not self._runs:
            self.stop()

    def _begin(self, submitted: Submitted) -> None:
        run = self._runs[submitted.id] = _Run(submitted)
        run.task = asyncio.create_task(self._guarded(run), name=f"campaign {submitted.id}")

    def _try_later(self, submitted: Submitted, error: BulksendError) -> None:
        self._hindered[submitted.id] = (submitted.name, error.message)
        self._standstills.of_campaign(submitted.id).because(f"it cannot be sent now: {error.message}")
        self._of_store.observe(CampaignHindered(submitted.id, error.message, _what_hinders(error)))
        self._not_before_s[submitted.id] = time.monotonic() + TRY_AGAIN_S

    def _is_hindered_no_more(self, campaign_id: str) -> None:
        if self._hindered.pop(campaign_id, None) is not None:
            self._of_store.observe(CampaignHindered(campaign_id, "", None))

    def _reschedule(self, run: _Run) -> None:
        if run.engine is not None:
            run.engine.schedule = run.submitted.schedule
        if run.lane is not None:
            run.lane.weight = run.submitted.schedule.priority

    def _due(self) -> list[str]:
        """Ids of the campaigns whose chunks may be handed out now."""
        now = self._journal.now()
        return [
            run.submitted.id
            for run in self._runs.values()
            if run.engine is not None and run.submitted.schedule.opens_at(now) is None
        ]

    async def _guarded(self, run: _Run) -> None:
        """One campaign's run; what goes wrong in it is its own."""
        submitted = run.submitted
        log = self._log.bind(campaign=submitted.name)
        try:
            await self._run(run)
        except CampaignBusyError as error:
            self._fail(error)
        except HaltedError as error:  # it is halted, and that was told
            if self._only is not None:
                self._fail(error)
        except PASSING as error:
            if self._only is not None:
                self._fail(error)
            log.warning("cannot be sent now; trying again", error=error.message, in_s=TRY_AGAIN_S)
            self._try_later(submitted, error)
        except BulksendError as error:
            log.error("cannot be sent", error=error.message)  # noqa: TRY400  it is no surprise
            if self._only is not None:
                self._fail(error)
            if self._fleet is not None and not run.has_begun and not isinstance(error, EndpointError):
                self._try_later(submitted, error)  # it may be this machine's fault alone: others go on
            else:
                await self._halt(submitted, Halt(error.message, error.hint))
        except Exception as error:  # noqa: BLE001  the others go on
            log.error("cannot be sent", error=type(error).__name__)  # noqa: TRY400  its text may name recipients
            unexpected = BulksendError(f"{type(error).__name__} in {submitted.name!r}")
            if self._only is not None:
                self._fail(unexpected)
            await self._halt(submitted, Halt(unexpected.message, unexpected.hint))
        finally:
            del self._runs[submitted.id]
            self._count_soon()
            if self._only is not None:
                self._rouse.set()  # nobody else is waited for

    async def _run(self, run: _Run) -> None:
        submitted = run.submitted
        log = self._log.bind(campaign=submitted.name)
        campaign = await asyncio.to_thread(self._journal.campaign, submitted.name)
        run.binding = campaign.binding
        at_work = await self._account(campaign.binding, bound_access(campaign, self._settings))
        on_halt = _OnHalt(partial(self._halt_others, run))
        told = self._standstills.of_campaign(campaign.id)
        audience = Audience([*self._observers, *self._log_of(campaign.name), on_halt, told])
        handout = None if self._fleet is None else self._fleet.chunks_of(campaign.id)
        run.lane = at_work.lanes.open(submitted.schedule.priority)
        try:
            async with running(
                campaign,
                at_work,
                run.lane,
                self._settings,
                self._store,
                audience,
                self._metrics,
                handout=handout,
                begin_from=TAKEN_UP,
                workers=one_worker if self._fleet is None else self._fleet.workers,
            ) as engine:
                run.engine = engine
                self._reschedule(run)
                if self._stop.is_set():
                    return
                log.info("taken up")
                run.has_begun = True
                told.because("")
                self._is_hindered_no_more(submitted.id)
                state = await engine.run()
        finally:
            run.engine = None
            told.over()
            run.lane.close()
            if handout is not None:
                handout.close()
        log.info("let go", state=state.value)

    def _log_of(self, campaign: str) -> list[Observer]:
        """None, with `only`: whoever sends that one campaign logs it, if he wants to."""
        return [RunLog(campaign)] if self._only is None else []

    async def _account(self, binding: Binding, access: AwsAccess) -> AccountAtWork:
        """Opened once, for all campaigns of the account."""
        async with self._opening.setdefault(binding, asyncio.Lock()):
            if binding not in self._accounts:
                # A log of its own: it tells of a quota only what is new.
                audience = Audience([*self._observers, *self._log_of(""), self._standstills.of_account(binding)])
                opened = working(binding, access, self._settings, self._store, audience, self._metrics)
                self._accounts[binding] = await self._stack.enter_async_context(opened)
            return self._accounts[binding]

    def _halt_others(self, first: _Run, halt: Halt) -> None:
        """The others of an account, at once: when the first has its last answers, people may have had them resumed."""
        if halt.scope is not HaltScope.ACCOUNT:
            return
        for run in self._runs.values():
            if run.binding == first.binding and run.engine is not None and run.engine.halt is None:
                run.engine.stop(halt)

    async def _halt(self, submitted: Submitted, halt: Halt) -> None:
        with contextlib.suppress(BulksendError):
            halted = await self._journal.set_state(submitted.id, CampaignState.HALTED, halt, only_from=TAKEN_UP)
            if halted and self._metrics is not None:
                self._metrics.store.observe(CampaignHalted(halt))

    def _fail(self, error: BulksendError) -> None:
        self.failure = self.failure or error
        self.stop()


def _what_hinders(error: BulksendError) -> WaitKind:
    match error:
        case AccountError():
            return WaitKind.QUOTA_UNKNOWN
        case JournalError() | ShelfUnreachableError():
            return WaitKind.STORE
        case _:
            return WaitKind.THIS_WORKER
