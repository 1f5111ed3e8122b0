"""The gate that spends the quota: recipients per second, and recipients per rolling 24 hours.

Sources: Developer Guide, Managing your SES sending limits (quotas count recipients, per Region; the rate may be
exceeded for short bursts only; the 24 hours roll); API reference, GetAccount and SendQuota (-1 is unlimited).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from aiolimiter import AsyncLimiter

from bulksend.errors import AccountError, HaltedError
from bulksend.facts import Fact, PaceChanged, QuotaRead, Waiting
from bulksend.model import MAX_BATCH_RECIPIENTS, AccountStatus, Halt, HaltScope

__all__ = ["PaceSettings", "QuotaPacer"]

REFRESH_S = 30.0
STALE_AFTER_S = 600.0
BURST_S = 0.25
"""Tokens unused for longer are lost: what may go out at once after a stall."""
SPARE_S = 0.1
"""Where a batch is most of a burst: how late the loop may wake without losing tokens."""
CUT = 0.5
FLOOR = 0.02
STEP = 0.1
"""Part of the whole pace that a step up to the ceiling takes."""
STEP_EVERY_S = 1.0
BELOW_CEILING = 0.88
"""Where the quick climb ends: this part of the pace that was throttled.

Beside a sender that takes a third, 0.95 had twice as many requests throttled in a simulation, and 0.85 left 4 %
unused.
"""
FIRST_STEP = 0.0005
DOUBLING_STEPS = 10
"""Above the ceiling steps begin at FIRST_STEP and double every so many of them."""
WINDOW_SLOTS = 1440


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """How much of the account's quota is ours. `window_s` is SES's 24 hours; a simulator's day may be shorter."""

    share: float = 1.0
    daily_reserve: int = 0
    max_recipients_per_s: float | None = None
    max_calls_per_s: float | None = None
    window_s: float = 86400.0


class SentWindow:
    """Recipients sent in the rolling window, in slots of a 1440th of it. Times are epoch seconds."""

    def __init__(self, window_s: float, sent: Iterable[tuple[float, int]] = ()) -> None:
        self._window_s = window_s
        self._slot_s = window_s / WINDOW_SLOTS
        self._slots: deque[tuple[int, int]] = deque()
        self.total = 0
        for at, recipients in sent:
            self.add(recipients, at)

    def add(self, recipients: int, at: float) -> None:
        """So many more. Time does not run backwards here."""
        slot = int(at / self._slot_s)
        if self._slots and slot <= self._slots[-1][0]:
            last, count = self._slots[-1]
            self._slots[-1] = (last, count + recipients)
        else:
            self._slots.append((slot, recipients))
        self.total += recipients

    def expire(self, now: float) -> None:
        """Let go of what is older than the window."""
        oldest = int((now - self._window_s) / self._slot_s)
        while self._slots and self._slots[0][0] < oldest:
            self.total -= self._slots.popleft()[1]

    def take_back(self, recipients: int) -> None:
        """So many of the latest were not accepted after all."""
        for place in range(len(self._slots) - 1, -1, -1):
            slot, count = self._slots[place]
            taken = min(count, recipients)
            self._slots[place] = (slot, count - taken)
            self.total -= taken
            recipients -= taken
            if not recipients:
                return

    def frees_at(self, recipients: int) -> float | None:
        """When so many will have left the window, if nothing is added; None if it never holds so many."""
        freed = 0
        for slot, count in self._slots:
            freed += count
            if freed >= recipients:
                return (slot + 1) * self._slot_s + self._window_s
        return None


class QuotaPacer:
    """Satisfies the engine's Pacer.

    One caller at a time passes a lock, first come first served; behind it a small-burst leaky bucket lets recipients
    through at the pace. `read_account` asks GetAccount (and raises AccountError); `sent` is what the journal knows of
    the window; `now` is the store's clock. Durations run on the event loop's clock.
    """

    def __init__(
        self,
        read_account: Callable[[], Awaitable[AccountStatus]],
        *,
        settings: PaceSettings | None = None,
        sent: Iterable[tuple[float, int]] = (),
        observe: Callable[[Fact], None] = lambda _: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._read_account = read_account
        self._settings = settings or PaceSettings()
        self._observe = observe
        self._now = now
        self._window = SentWindow(self._settings.window_s, sent)
        self._account: AccountStatus | None = None
        self._read_at_s = 0.0
        self._own_since_read = 0
        self._own_before_read = 0
        """What was sent before GetAccount was asked, while its answer is awaited: that will count it."""
        self._readings = 0
        self._tried_at_s = float("-inf")
        self._foreign = 0.0
        self._factor = 1.0
        self.rate_per_s = 1.0
        """Recipients per second that we allow ourselves now."""
        self._seconds_worth = 1
        self._ceiling = 1.0
        self._steps_above = 0
        self._cut_at_s = float("-inf")
        self._stepped_at_s = 0.0
        self._told_spent = False
        self._waiting = ""
        self._turn = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._limiter = AsyncLimiter(1, 1)
        self._limiter_rate = 0.0
        self._calls: AsyncLimiter | None = None
        self._refresher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Read the quota for the first time and keep it fresh from now on. Raises AccountError."""
        await self.refresh()
        if self._settings.max_calls_per_s is not None:
            self._calls = await _drained(1.0, self._settings.max_calls_per_s)
        self._refresher = asyncio.create_task(self._keep_fresh(), name="quota")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            with suppress(asyncio.CancelledError):
                await self._refresher

    def _set_factor(self, factor: float) -> None:
        """Take that part of what is granted from now on; the account says what that is."""
        granted = self._granted_per_s()
        self._factor = factor
        self.rate_per_s = max(granted * factor, granted * FLOOR)
        self._seconds_worth = max(1, min(MAX_BATCH_RECIPIENTS, int(self.rate_per_s)))

    @property
    def batch_recipients(self) -> int:
        """A second's worth, 1 to 50, and no more than the day still takes."""
        if self._account is None or self._account.max_24_hour_send is None:
            return self._seconds_worth
        return max(1, min(self._seconds_worth, int(self._headroom())))

    async def acquire(self, recipients: int) -> int:
        """Wait until so many recipients may be sent, then count them as sent; returns a ticket for `give_back`.

        Raises:
            HaltedError: the account may not send.
        """
        async with self._turn:
            await self._await_permission(recipients)
            if self._calls is not None:
                await self._calls.acquire(1)
            left = float(recipients)
            while left > 0:
                self._step_up()
                if self._limiter_rate != self.rate_per_s:
                    await self._replace_limiter()
                piece = min(left, self._limiter.max_rate)
                await self._limiter.acquire(piece)
                left -= piece
            self._window.add(recipients, self._now())
            self._own_since_read += recipients
            return self._readings

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many of those acquired were not accepted: they do not count against the day.

        The second is spent all the same.
        """
        self._window.take_back(recipients)
        if ticket == self._readings:
            self._own_since_read -= recipients
        elif ticket == self._readings - 1 and self._own_before_read:
            self._own_before_read = max(0, self._own_before_read - recipients)

    def throttled(self, sent_at_s: float) -> None:
        """Halve the pace, unless the request was sent before the last cut and so knows nothing of it."""
        if sent_at_s <= self._cut_at_s:
            return
        now_s = asyncio.get_running_loop().time()
        recovering = self._factor < self._ceiling
        self._ceiling *= BELOW_CEILING if recovering else self._factor / self._ceiling * BELOW_CEILING
        self._steps_above = 0
        self._set_factor(max(FLOOR, self._factor * CUT))
        self._cut_at_s = self._stepped_at_s = now_s
        self._observe(PaceChanged(self.rate_per_s, "throttled by SES"))

    def day_spent(self) -> None:
        """Believe SES: send nothing until GetAccount has been read again and shows room."""
        self._told_spent = True

    async def refresh(self) -> None:
        """Read GetAccount now, at most once a second. Raises AccountError."""
        async with self._reading:
            loop = asyncio.get_running_loop()
            if loop.time() - self._tried_at_s < 1.0:
                return
            self._tried_at_s = loop.time()
            before = self.rate_per_s if self._account is not None else None
            self._own_before_read, self._own_since_read = self._own_since_read, 0
            self._readings += 1
            try:
                account = await self._read_account()
            except BaseException:
                self._own_since_read += self._own_before_read
                raise
            finally:
                self._own_before_read = 0
            self._account = account
            self._set_factor(self._factor)
            self._read_at_s = loop.time()
            self._told_spent = False
            self._window.expire(self._now())
            self._foreign = max(0.0, account.sent_last_24_hours - self._window.total)
            self._observe(QuotaRead(account, self._foreign))
            if before != self.rate_per_s:
                self._observe(PaceChanged(self.rate_per_s, "the quota SES grants"))

    # ------------------------------------------------------------------------------------------------------------------

    def _granted_per_s(self) -> float:
        if self._account is None:
            return 1.0
        rate = self._account.max_send_rate_per_s * self._settings.share
        if self._settings.max_recipients_per_s is not None:
            rate = min(rate, self._settings.max_recipients_per_s)
        return max(rate, 0.01)

    def _headroom(self) -> float:
        """Recipients that the 24-hour window still takes from us; in doubt counts as sent."""
        assert self._account is not None
        limit = self._account.max_24_hour_send
        if limit is None:
            return float("inf")
        self._window.expire(self._now())
        uncounted = self._own_since_read + self._own_before_read
        used = max(float(self._window.total), self._account.sent_last_24_hours + uncounted)
        return limit - self._settings.daily_reserve - used

    async def _await_permission(self, recipients: int) -> None:
        while True:
            account = self._account
            assert account is not None, "the pacer is not entered"
            if not account.sending_enabled or account.enforcement_status == "SHUTDOWN":
                raise HaltedError(_not_allowed(account))
            if account.max_24_hour_send is not None and self._settings.daily_reserve >= account.max_24_hour_send:
                raise HaltedError(_all_reserved(self._settings.daily_reserve, account.max_24_hour_send))
            reason, wait_s = self._hindrance(recipients)
            if reason != self._waiting:
                self._waiting = reason
                self._observe(Waiting(reason))
            if not reason:
                return
            await asyncio.sleep(wait_s)
            with suppress(AccountError):
                await self.refresh()

    def _hindrance(self, recipients: int) -> tuple[str, float]:
        """Why nothing may go now, and how many seconds until it is worth looking again; "" when it may."""
        age_s = asyncio.get_running_loop().time() - self._read_at_s
        if age_s > STALE_AFTER_S:
            return f"GetAccount has not answered for {age_s / 60:.0f} minutes, so the quota is unknown", 1.0
        if self._told_spent:
            return "SES says that the 24-hour quota is spent; asking again", min(
                REFRESH_S, self._settings.window_s / 100
            )
        headroom = self._headroom()
        if headroom >= recipients and (not self._waiting or headroom >= self._minutes_worth()):
            return "", 0.0
        frees_at = self._window.frees_at(int(self._minutes_worth() - headroom))
        if frees_at is None:
            return "the 24-hour quota is spent, by others too; asking again until it frees", min(
                REFRESH_S, self._settings.window_s / 100
            )
        until = datetime.fromtimestamp(frees_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"the 24-hour quota is spent; it frees from {until}", max(
            0.01, min(REFRESH_S, frees_at - self._now(), self._settings.window_s / 100)
        )

    def _minutes_worth(self) -> float:
        """What makes it worth going on: a 1440th of the day's quota, one recipient at least."""
        assert self._account is not None
        limit = self._account.max_24_hour_send or 0.0
        return max(1.0, min(limit / WINDOW_SLOTS, self.rate_per_s * self._window_slot_s()))

    def _window_slot_s(self) -> float:
        return self._settings.window_s / WINDOW_SLOTS

    def _step_up(self) -> None:
        """Climb back by steps.

        Quickly to where SES last throttled, then feeling the way, ever faster while all is quiet.
        """
        if self._factor >= 1.0:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._stepped_at_s >= STEP_EVERY_S:
            self._stepped_at_s = now_s
            if self._factor < self._ceiling:
                self._set_factor(min(self._ceiling, self._factor + STEP))
            else:
                self._steps_above += 1
                step = min(STEP, FIRST_STEP * 2 ** (self._steps_above / DOUBLING_STEPS))
                self._set_factor(min(1.0, self._factor + step))
            self._observe(PaceChanged(self.rate_per_s, "climbing back"))

    async def _replace_limiter(self) -> None:
        """A limiter for the present pace, drained.

        A fresh one is full, and replacing it often would let more through.
        """
        rate = self.rate_per_s
        burst = max(self._seconds_worth + rate * SPARE_S, rate * BURST_S)
        self._limiter = await _drained(burst, rate)
        self._limiter_rate = rate

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            with suppress(AccountError):
                await self.refresh()


async def _drained(burst: float, rate_per_s: float) -> AsyncLimiter:
    limiter = AsyncLimiter(burst, burst / rate_per_s)
    await limiter.acquire(burst)
    return limiter


def _all_reserved(reserve: int, limit: float) -> Halt:
    if not reserve:
        return Halt(
            "the account's 24-hour quota is 0: it may send nothing",
            "Ask AWS for a sending quota in this Region; then send again.",
            HaltScope.ACCOUNT,
        )
    return Halt(
        f"pacing.daily_reserve keeps {reserve:,} recipients a day for others, and the account may send {limit:,.0f}",
        "Lower pacing.daily_reserve; then send again.",
        HaltScope.ACCOUNT,
    )


def _not_allowed(account: AccountStatus) -> Halt:
    if account.enforcement_status == "SHUTDOWN":
        reason = "SES has shut down sending for this account (enforcement status SHUTDOWN)"
    else:
        reason = "sending is disabled for this account in this region"
    return Halt(
        reason,
        "Look at the account's status in the SES console and answer AWS Support; then send again.",
        HaltScope.ACCOUNT,
    )
