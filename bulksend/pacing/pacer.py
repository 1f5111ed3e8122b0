"""The gate that spends the quota: recipients per second, and recipients per rolling 24 hours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Self

from aiolimiter import AsyncLimiter

from bulksend.errors import AccountError, HaltedError
from bulksend.facts import Fact, PaceChanged, QuotaRead, Waiting, WaitKind
from bulksend.model import AccountStatus
from bulksend.pacing.quota import (
    APART_S,
    REFRESH_S,
    Hindrance,
    PaceSettings,
    burst_recipients,
    day_hindrance,
    granted_per_s,
    headroom,
    minutes_worth,
    quota_unknown,
    refusal,
    seconds_worth,
    told_spent,
)
from bulksend.pacing.throttle import Throttle
from bulksend.pacing.window import SentWindow

__all__ = ["QuotaPacer"]


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
        """When GetAccount was asked for what is known."""
        self._own_since_read = 0
        self._own_before_read = 0
        """What was sent before GetAccount was asked, while its answer is awaited: that will count it."""
        self._readings = 0
        self._tried_at_s = float("-inf")
        self._foreign = 0.0
        self._throttle = Throttle()
        self.rate_per_s = 1.0
        """Recipients per second that we allow ourselves now."""
        self._seconds_worth = 1
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
        self._refresher = asyncio.create_task(self._keep_fresh(), name="quota")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._refresher is not None:
            self._refresher.cancel()
            with suppress(asyncio.CancelledError):
                await self._refresher

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
        asked_s = asyncio.get_running_loop().time()
        async with self._turn:
            try:
                await self._await_permission(recipients, asked_s)
            except BaseException:
                self._tell("", None)  # whoever waited is gone
                raise
            if self._settings.max_calls_per_s is not None:
                if self._calls is None:
                    self._calls = await _drained(1.0, self._settings.max_calls_per_s)
                await self._calls.acquire(1)
            left = float(recipients)
            while left > 0:
                if self._throttle.factor < 1.0 and self._throttle.step_up(asyncio.get_running_loop().time()):
                    self._follow("climbing back")
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
        if self._throttle.cut(sent_at_s, asyncio.get_running_loop().time()):
            self._follow("throttled by SES")

    def day_spent(self) -> None:
        """Believe SES: send nothing until GetAccount has been read again and shows room."""
        self._told_spent = True

    def take_up(self, settings: PaceSettings) -> None:
        """Other settings from now on; the window's length stays."""
        if settings.max_calls_per_s != self._settings.max_calls_per_s:
            self._calls = None
        self._settings = replace(settings, window_s=self._settings.window_s)
        if self._account is not None:
            self._follow("the settings")

    async def refresh(self) -> None:
        """Read GetAccount now, at most once a second. Raises AccountError."""
        async with self._reading:
            tried_at_s = asyncio.get_running_loop().time()
            if tried_at_s < self._tried_at_s + APART_S:
                return
            self._tried_at_s = tried_at_s
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
            self._set_rate(account)
            self._read_at_s = tried_at_s
            self._told_spent = False
            self._window.expire(self._now())
            self._foreign = max(0.0, account.sent_last_24_hours - self._window.total)
            self._observe(QuotaRead(account, self._foreign, self._headroom(), granted_per_s(account, self._settings)))
            if before != self.rate_per_s:
                self._tell_pace(account, "the quota SES grants")

    # ------------------------------------------------------------------------------------------------------------------

    def _set_rate(self, account: AccountStatus) -> None:
        self.rate_per_s = granted_per_s(account, self._settings) * self._throttle.factor
        self._seconds_worth = seconds_worth(self.rate_per_s)

    def _follow(self, why: str) -> None:
        """The throttle's factor has changed."""
        assert self._account is not None, "the pacer is not entered"
        self._set_rate(self._account)
        self._tell_pace(self._account, why)

    def _tell_pace(self, account: AccountStatus, why: str) -> None:
        self._observe(PaceChanged(self.rate_per_s, why, granted_per_s(account, self._settings)))

    def _headroom(self) -> float:
        assert self._account is not None
        if self._account.max_24_hour_send is None:
            return float("inf")
        self._window.expire(self._now())
        uncounted = self._own_since_read + self._own_before_read
        return headroom(self._account, self._settings, in_window=self._window.total, since_read=uncounted)

    async def _await_permission(self, recipients: int, asked_s: float) -> None:
        since_s: float | None = None
        while True:
            assert self._account is not None, "the pacer is not entered"
            halt = refusal(self._account, self._settings)
            if halt is not None:
                if since_s is None:  # whoever has waited long does not believe what was said long ago
                    since_s = max(asked_s, asyncio.get_running_loop().time() - APART_S)
                if self._read_at_s < since_s and await self._read_anew(since_s):
                    continue
                raise HaltedError(halt)
            hindrance = self._hindrance(self._account, recipients)
            if hindrance is None:
                self._tell("", None)
                return
            self._tell(hindrance.reason, hindrance.kind)
            await asyncio.sleep(hindrance.wait_s)
            with suppress(AccountError):
                await self.refresh()

    async def _read_anew(self, since_s: float) -> bool:
        """Before anything halts: whether GetAccount says something now. What it said before that may be over."""
        loop = asyncio.get_running_loop()
        with suppress(AccountError):
            while self._read_at_s < since_s:
                await asyncio.sleep(self._tried_at_s + APART_S - loop.time())
                await self.refresh()
        return self._read_at_s >= since_s

    def _tell(self, reason: str, kind: WaitKind | None) -> None:
        """What is waited for, or that nothing is, if that is news."""
        if reason != self._waiting:
            self._waiting = reason
            self._observe(Waiting(reason, kind))

    def _hindrance(self, account: AccountStatus, recipients: int) -> Hindrance | None:
        unknown = quota_unknown(asyncio.get_running_loop().time() - self._read_at_s)
        if unknown is not None:
            return unknown
        if self._told_spent:
            return told_spent(self._settings)
        room = self._headroom()
        if room >= recipients and not self._waiting:
            return None
        worth = minutes_worth(account, self._settings, self.rate_per_s)
        if room >= recipients and room >= worth:
            return None
        return day_hindrance(self._settings, worth - room, self._window.frees_at, self._now())

    async def _replace_limiter(self) -> None:
        """A limiter for the present pace, drained.

        A fresh one is full, and replacing it often would let more through.
        """
        rate = self.rate_per_s
        self._limiter = await _drained(burst_recipients(rate), rate)
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
