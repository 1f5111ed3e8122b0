"""The gate that spends this worker's part of the quota that a fleet shares."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Self

from bulksend.clock import boot_s
from bulksend.errors import AccountError, BulksendError, HaltedError
from bulksend.facts import Fact, PaceChanged, QuotaRead, Waiting, WaitKind
from bulksend.fleet.bucket import AHEAD_S, AWAY, READING_S, Bucket, Order, Standing
from bulksend.fleet.slices import EARLY_S, FarClock, Slice, Slices
from bulksend.model import AccountStatus
from bulksend.pacing import (
    APART_S,
    REFRESH_S,
    STALE_AFTER_S,
    Hindrance,
    PaceSettings,
    granted_per_s,
    minutes_worth,
    quota_unknown,
    refusal,
    seconds_worth,
    told_spent,
)

__all__ = ["SharedPacer"]

SLICE_S = 0.25
"""How long a slice is to last whoever asked for it."""
RETURN_WITHIN_S = 1.0
"""After how long what was not accepted is given back, if nothing else is asked before."""
LOOK_S = 1.0
"""How often a worker that waits for the day, or for a reading, looks."""
LOOK_SOON_S = 0.1
"""The same before anything is known."""
ANEW_WITHIN_S = 5.0
"""How long another answer of GetAccount is waited for before a halt."""
CHANCE_S = AHEAD_S / 2
"""Within how long it is left to chance who asks next, where more is wanted than can be given."""
BACKOFF_S = 0.1
BACKOFF_MOST_S = 1.0
CLOSE_WITHIN_S = 2.0
AWAY_REASON = "the database does not answer; nothing is sent until it does"


class SharedPacer:
    """Satisfies the engine's Pacer, for one of many workers. An asynchronous context manager.

    `read_account` asks GetAccount (and raises AccountError); `own_24_hours` what the journal knows that the whole
    fleet has sent for this account and region in the last `settings.window_s`, in recipients. `boot` is a steady clock
    that runs in suspend. `settings` are this worker's own; `max_calls_per_s` holds for the whole fleet: a batch that
    is small for it costs the quota of a larger one.

    One task has the line to the bucket; acquire spends what that task has leased, and asks for the next slice before
    the present one is spent. When the line is broken nothing is leased, hence nothing sent, until it is mended.
    """

    def __init__(
        self,
        read_account: Callable[[], Awaitable[AccountStatus]],
        bucket: Bucket,
        *,
        own_24_hours: Callable[[], Awaitable[float]],
        settings: PaceSettings | None = None,
        observe: Callable[[Fact], None] = lambda _: None,
        boot: Callable[[], float] = boot_s,
    ) -> None:
        self._read_account = read_account
        self._own_24_hours = own_24_hours
        self._bucket = bucket
        self._settings = settings or PaceSettings()
        self._observe = observe
        self._boot = boot
        self.rate_per_s = 1.0
        """Recipients per second that the whole fleet allows itself now, as far as this worker knows."""
        self._batch = 1
        self._standing: Standing | None = None
        self._noted_at_s, self._disputed = float("-inf"), False
        """Whether somebody would halt by what GetAccount said, unless it says so again."""
        self._clock = FarClock()
        self._slices = Slices()
        self._turn = asyncio.Lock()
        # What is asked of the task that has the line.
        self._awaited = 0.0
        """What acquire waits for, in recipients."""
        self._wanted = False
        """Whether another slice is wanted; asked for no sooner than at `_ask_at_s`."""
        self._ask_at_s = float("-inf")
        self._refused = 0
        """How often running nothing was given."""
        self._throttled_at_s: float | None = None
        self._day_spent = False
        self._returned: dict[int, float] = {}
        self._return_at_s = 0.0
        self._look_at_s = float("-inf")
        self._errand = asyncio.Event()
        self._news = asyncio.Event()
        # How much to ask for.
        self._want = 1.0
        self._leased_at_s = float("-inf")
        self._lost = False
        self._pinched = False
        """Whether the latest acquire had to wait for its time."""
        self._waited = False
        """Whether it had to wait at all."""
        self._hungry = False
        """Whether it came soon after the one before."""
        self._left_at_s = float("-inf")
        self._top = 0.0
        # What stands in the way.
        self._hindrance: Hindrance | None = None
        self._spent = False
        """Whether the day has no room."""
        self._waiting = ""
        self._away = False
        self._account_error: AccountError | None = None
        self._reading: asyncio.Task[None] | None = None
        self._read: tuple[float, AccountStatus, float] | None = None
        self._unread: float | None = None
        self._servant: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Know the quota, by another worker's reading or one's own; wait for a database that is away.

        Raises:
            AccountError: GetAccount does not answer, and nobody has an answer that still holds.
            JournalError: the database has no tables for this.
        """
        self._servant = asyncio.create_task(self._serve(), name="quota")
        try:
            while not self._ready():
                self._tell(AWAY_REASON, WaitKind.STORE) if self._away else self._tell()
                self._news.clear()
                await self._news.wait()
            self._tell()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._reading, self._servant):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        self._give_up(self._slices.drop_all())
        if self._standing is not None and not self._away:
            with suppress(*AWAY, BulksendError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._notes(self._standing)
                    await self._lease(need=0.0)
        await self._bucket.close()

    @property
    def batch_recipients(self) -> int:
        """A second's worth, 1 to 50, and no more than the day still takes."""
        left = self._left_today()
        return self._batch if left == float("inf") else max(1, min(self._batch, int(left + self._slices.held)))

    async def acquire(self, recipients: int) -> int:
        """Wait until so many recipients may be sent; returns a ticket for `give_back`.

        Raises:
            HaltedError: the account may not send.
            JournalError: the database has no tables for this.
        """
        asked_s = self._boot()
        async with self._turn:
            self._pinched = self._waited = False
            self._hungry = self._boot() - self._left_at_s < SLICE_S / 2
            try:
                return await self._acquire(recipients, asked_s)
            except BaseException:
                self._tell()  # whoever waited is gone
                raise
            finally:
                self._awaited = 0.0
                self._left_at_s = self._boot()

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many of those acquired were not accepted: they do not count against the day.

        The second is spent all the same.
        """
        self._return(recipients, ticket)

    def throttled(self, sent_at_s: float) -> None:
        """Have the pace of all halved, unless the request was sent before the last cut and so knows nothing of it."""
        if self._clock.known:
            sent_s = self._boot() - (asyncio.get_running_loop().time() - sent_at_s)
            if self._throttled_at_s is None or sent_s > self._throttled_at_s:
                self._throttled_at_s = sent_s
            self._errand.set()

    def take_up(self, settings: PaceSettings) -> None:
        """Other settings from the next slice on; the window's length stays."""
        self._settings = replace(settings, window_s=self._settings.window_s)

    def day_spent(self) -> None:
        """Believe SES: nobody is to send anything until GetAccount has been read again and shows room."""
        self._day_spent = True
        self._give_up(self._slices.drop_all())
        self._errand.set()

    # Acquiring --------------------------------------------------------------------------------------------------------

    async def _acquire(self, recipients: int, asked_s: float) -> int:
        while True:
            self._raise_failure()
            standing = self._standing
            assert standing is not None, "the pacer is not entered"
            assert standing.account is not None
            halt = refusal(standing.account, self._settings)
            if halt is not None:
                if not self._is_read_since(asked_s) and await self._read_anew(asked_s):
                    continue
                raise HaltedError(halt)
            now_s = self._boot()
            self._give_up(self._slices.drop_late(now_s, self._batch))
            cost = self._cost(recipients)
            if cost == 0:
                return standing.readings
            due_s = self._slices.due_at(cost)
            if due_s is None:
                self._waited = True
                await self._await_slice(cost)
            elif due_s > now_s + EARLY_S:
                self._waited = self._pinched = True
                self._ask_ahead(cost)
                await asyncio.sleep(due_s - now_s)
            else:
                break
        self._tell()
        ticket = self._slices.take(cost)
        if cost > recipients:
            self._return(cost - recipients, ticket)
        self._ask_ahead(0.0)
        return ticket

    async def _read_anew(self, since_s: float) -> bool:
        """Before anything halts: whether GetAccount says something now. What it said before that may be over."""
        self._disputed, self._look_at_s = True, float("-inf")
        self._errand.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANEW_WITHIN_S):
                while not self._is_read_since(since_s):
                    self._news.clear()
                    await self._news.wait()
                    self._raise_failure()
        self._disputed = False
        return self._is_read_since(since_s)

    def _is_read_since(self, since_s: float) -> bool:
        """Whether GetAccount was asked for what is known then or later, but for what news takes from the bucket."""
        return self._standing is not None and self._standing.age_s <= self._noted_at_s - since_s

    async def _await_slice(self, cost: float) -> None:
        """Have a slice asked for, and wait until something is new."""
        if self._away:
            self._tell(AWAY_REASON, WaitKind.STORE)
        elif self._hindrance is not None:
            self._tell(self._hindrance.reason, self._hindrance.kind)
        if not self._wanted or self._awaited != cost:
            self._awaited, self._wanted = cost, True
            self._errand.set()
        self._news.clear()
        await self._news.wait()

    def _ask_ahead(self, cost: float) -> None:
        """Ask for the next slice before it is needed, if this worker spends as fast as it gets."""
        if self._hungry and self._waited and not self._wanted and self._slices.held - cost < self._top / 2:
            self._wanted = True
            self._errand.set()

    def _cost(self, recipients: int) -> float:
        """What a call takes of the quota: its recipients, or its part of the calls in a second."""
        if self._settings.max_calls_per_s is None:
            return float(recipients)
        return max(float(recipients), min(self.rate_per_s / self._settings.max_calls_per_s, float(self._batch)))

    def _left_today(self) -> float:
        standing = self._standing
        if standing is None or standing.account is None or standing.account.max_24_hour_send is None:
            return float("inf")
        return standing.account.max_24_hour_send - self._settings.daily_reserve - standing.used_24_hours

    def _give_up(self, lost: list[tuple[float, int]]) -> None:
        """What nobody has sent and nobody will."""
        for recipients, ticket in lost:
            self._lost = True
            self._return(recipients, ticket)

    def _return(self, recipients: float, ticket: int) -> None:
        if recipients <= 0:
            return
        if not self._returned:
            self._return_at_s = self._boot() + RETURN_WITHIN_S
            self._errand.set()
        self._returned[ticket] = self._returned.get(ticket, 0.0) + recipients

    def _tell(self, reason: str = "", kind: WaitKind | None = None) -> None:
        """Why nothing goes out, or that something does, if that is news."""
        if reason != self._waiting:
            self._waiting = reason
            self._observe(Waiting(reason, kind))

    def _ready(self) -> bool:
        """Whether the quota is known."""
        self._raise_failure()
        known = self._standing is not None and self._standing.account is not None
        age_s = self._standing.age_s if self._standing is not None and known else float("inf")
        if self._account_error is not None and age_s > STALE_AFTER_S:
            raise self._account_error
        return age_s <= 2 * REFRESH_S or (self._account_error is not None and known)

    def _raise_failure(self) -> None:
        """What cannot be mended here has ended the task that serves."""
        if self._servant is not None and self._servant.done():
            self._servant.result()

    # The line to the bucket -------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        """Do what is asked, and keep the quota fresh, until cancelled. Raises JournalError."""
        failures = 0
        while True:
            try:
                await self._do_errands()
            except AWAY:
                self._away = failures > 0  # a connection may break without the database being away
                if failures:
                    self._news.set()
                    pause_s = min(BACKOFF_MOST_S, BACKOFF_S * 2**failures)
                    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  no secret
                failures = min(failures + 1, 10)
                continue
            finally:
                self._news.set()
            failures, self._away = 0, False
            await self._await_errand()

    async def _await_errand(self) -> None:
        times = [self._look_at_s]
        if self._wanted:
            times.append(self._ask_at_s)
        if self._returned:
            times.append(self._return_at_s)
        if self._slices.held:
            times.append(self._boot() + LOOK_S)  # nobody may come for them
        wait_s = min(times) - self._boot()
        if wait_s <= 0:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._errand.wait()

    async def _do_errands(self) -> None:
        self._errand.clear()
        standing = self._standing
        if standing is None:
            self._take_note(await self._bucket.look())
            standing = self._standing
            assert standing is not None
        await self._notes(standing)
        now_s = self._boot()
        self._give_up(self._slices.drop_late(now_s, self._batch))
        if self._wanted and now_s >= self._ask_at_s and standing.account is not None:
            await self._lease(need=self._need())
        elif self._returned and now_s >= self._return_at_s:
            await self._lease(need=0.0)
        await self._climb()
        await self._keep_fresh()

    async def _notes(self, standing: Standing) -> None:
        """What has to be said: throttles, a spent day, what GetAccount said."""
        if self._throttled_at_s is not None:
            sent_s = self._throttled_at_s
            await self._cut(standing, self._clock.there(sent_s))
            if self._throttled_at_s == sent_s:
                self._throttled_at_s = None
        if self._day_spent:
            self._take_note(await self._bucket.tell_spent())
            self._day_spent = False
        if self._unread is not None:
            self._take_note(await self._bucket.fail_reading(self._unread))
            self._unread = None
        if self._read is not None:
            self._take_note(await self._bucket.end_reading(*self._read))
            self._read = None

    def _need(self) -> float:
        """The least that is of use: what acquire lacks, or a batch."""
        held = self._slices.held
        if self._awaited > held:
            return self._awaited - held
        return self._batch - held % self._batch

    async def _lease(self, need: float) -> None:
        asked_s = self._boot()
        readings = max(self._returned, default=0)
        returned, self._returned = self._returned, {}
        order = Order(
            need=need,
            want=self._appetite(asked_s) if need > 0 else 0.0,
            batch=self._batch,
            held=self._slices.held,
            worth=self._worth(),
            ticket=readings,
            back=returned.get(readings, 0.0),
            back_before=returned.get(readings - 1, 0.0),
        )
        try:
            lease = await self._bucket.lease(order, self._settings, STALE_AFTER_S)
        except BaseException:
            for ticket, recipients in returned.items():
                self._return(recipients, ticket)
            raise
        answered_s = self._boot()
        standing = lease.standing
        self._clock.measure(asked_s, standing.now, answered_s)
        self._take_note(standing)
        if need <= 0:
            return
        if lease.given > 0:
            self._slices.add(Slice(self._clock.here(lease.begins), lease.given, lease.per_s, standing.readings))
            self._top = self._slices.held
            self._leased_at_s = answered_s
            self._wanted = self._spent = False
            self._hindrance = None
            self._refused = 0
        else:
            self._refused += 1
            self._hindrance = self._what_hinders(standing, need)
            self._wanted = self._awaited > self._slices.held
        self._ask_at_s = self._next_ask_s(answered_s, self._clock.here(standing.given_until) - AHEAD_S)

    def _next_ask_s(self, now_s: float, free_at_s: float) -> float:
        """When to ask again. Where all wait for `free_at_s`, those who got nothing come before who has just got some.

        Among themselves it is left to chance; half of what may be given out ahead is left by then.
        """
        if self._hindrance is not None:
            return now_s + min(self._hindrance.wait_s, LOOK_S)
        if self._refused:
            crowd = min(max(1.0, self._refused / 8), 8.0)  # where many want it, each may look less often
            return max(free_at_s, now_s) + random.uniform(0.0, crowd * CHANCE_S / 2)  # noqa: S311
        if free_at_s > now_s:
            return free_at_s + random.uniform(CHANCE_S / 2, CHANCE_S)  # noqa: S311
        return now_s

    def _appetite(self, now_s: float) -> float:
        """How much to ask for: twice as much as last time if that went quickly, half if some of it was lost."""
        if self._lost:
            self._want /= 2
        elif self._hungry and (self._pinched or now_s - self._leased_at_s < SLICE_S / 2):
            self._want *= 2
        self._lost = False
        self._want = max(float(self._batch), min(self._want, self.rate_per_s * SLICE_S))
        return self._want

    def _worth(self) -> float:
        """What the day must have room for; more once it was spent, so that sending does not go on in drops."""
        standing = self._standing
        if not self._spent or standing is None or standing.account is None:
            return 0.0
        return minutes_worth(standing.account, self._settings, self.rate_per_s)

    def _what_hinders(self, standing: Standing, need: float) -> Hindrance | None:
        unknown = quota_unknown(standing.age_s)
        if unknown is not None:
            return unknown
        if standing.told_spent:
            return told_spent(self._settings)
        if self._left_today() < max(need, self._worth()):
            self._spent = True
            reason = "the 24-hour quota is spent; asking again until it frees"
            return Hindrance(reason, self._settings.look_again_s, WaitKind.DAY_SPENT)
        return None

    async def _cut(self, standing: Standing | None, sent_at: float) -> None:
        while standing is not None:
            new = replace(standing.throttle)
            # Times that were written before the database's clock was set back count as now.
            new.cut_at_s = min(new.cut_at_s, max(standing.now, standing.given_until))
            if not new.cut(sent_at, standing.now):
                return
            changed = await self._bucket.change_throttle(standing.throttle, new, cut=True)
            if changed is not None:
                self._take_note(changed, "throttled by SES")
                return
            standing = await self._bucket.look()
            self._take_note(standing)

    async def _climb(self) -> None:
        standing = self._standing
        if standing is None or standing.throttle.factor >= 1.0:
            return
        new = replace(standing.throttle)
        new.stepped_at_s = min(new.stepped_at_s, max(standing.now, standing.given_until))
        if new.step_up(standing.now):
            self._take_note(await self._bucket.change_throttle(standing.throttle, new, cut=False), "climbing back")

    # The quota --------------------------------------------------------------------------------------------------------

    async def _keep_fresh(self) -> None:
        """Have GetAccount read if it is time, by whoever is first."""
        if self._reading is not None and not self._reading.done():
            self._look_at_s = self._boot() + LOOK_S
            return
        if self._boot() < self._look_at_s:
            return
        max_age_s = REFRESH_S if self._hindrance is None else max(LOOK_S, min(REFRESH_S, self._settings.look_again_s))
        if self._disputed:
            max_age_s = min(max_age_s, APART_S)
        standing = await self._bucket.begin_reading(max_age_s)
        if standing is not None:
            self._reading = asyncio.create_task(self._read_quota(standing.asked_at), name="GetAccount")
        else:
            standing = await self._bucket.look()
        self._take_note(standing)
        known = standing.account is not None and standing.age_s < max_age_s
        wait_s = max_age_s - standing.age_s if known else LOOK_S if standing.account is not None else LOOK_SOON_S
        self._look_at_s = self._boot() + max(0.0, wait_s) + random.uniform(0.0, 0.1)  # noqa: S311

    async def _read_quota(self, asked_at: float) -> None:
        try:
            async with asyncio.timeout(READING_S * 0.8):
                account = await self._read_account()
                self._read = (asked_at, account, await self._own_24_hours())
            self._account_error = None
        except asyncio.CancelledError:
            self._unread = asked_at
            raise
        except (BulksendError, TimeoutError, OSError) as error:
            self._account_error = error if isinstance(error, AccountError) else AccountError(str(error))
            self._unread = asked_at
        self._errand.set()
        self._news.set()

    def _take_note(self, standing: Standing | None, why: str = "") -> None:
        """The bucket's latest."""
        if standing is None:
            return
        before, self._standing, self._noted_at_s = self._standing, standing, self._boot()
        if standing.account is None:
            return
        rate = granted_per_s(standing.account, self._settings) * standing.throttle.factor
        self._batch = seconds_worth(rate)
        if before is None or before.account is None or before.read_at != standing.read_at:
            foreign = max(0.0, standing.account.sent_last_24_hours - standing.own_24_hours)
            allowed_per_s = granted_per_s(standing.account, self._settings)
            self._observe(QuotaRead(standing.account, foreign, self._left_today(), allowed_per_s))
        if rate != self.rate_per_s or before is None or before.account is None:
            factor = 1.0 if before is None else before.throttle.factor
            if not why and standing.throttle.factor != factor:
                why = "throttled by SES" if standing.throttle.factor < factor else "climbing back"
            self.rate_per_s = rate
            allowed_per_s = granted_per_s(standing.account, self._settings)
            self._observe(PaceChanged(rate, why or "the quota SES grants", allowed_per_s))
