"""What GetAccount grants, how much of it is ours, and what stands in the way of sending. Pure.

Sources: Developer Guide, Managing your SES sending limits (quotas count recipients, per Region; the rate may be
exceeded for short bursts only; the 24 hours roll); API reference, GetAccount and SendQuota (-1 is unlimited).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bulksend.facts import WaitKind
from bulksend.model import MAX_BATCH_RECIPIENTS, AccountStatus, Halt, HaltScope
from bulksend.pacing.window import WINDOW_SLOTS

__all__ = [
    "APART_S",
    "REFRESH_S",
    "STALE_AFTER_S",
    "Hindrance",
    "PaceSettings",
    "burst_recipients",
    "day_hindrance",
    "granted_per_s",
    "headroom",
    "minutes_worth",
    "quota_unknown",
    "refusal",
    "seconds_worth",
    "told_spent",
]

REFRESH_S = 30.0
"""How often GetAccount is asked."""
APART_S = 1.0
"""It is asked no more often than that, also before a halt."""
STALE_AFTER_S = 600.0
"""How old its answer may be and still be sent by."""
BURST_S = 0.25
"""Tokens unused for longer are lost: what may go out at once after a stall."""
SPARE_S = 0.1
"""Where a batch is most of a burst: how late the loop may wake without losing tokens."""
_LEAST_PER_S = 0.01


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """How much of the account's quota is ours. `window_s` is SES's 24 hours; a simulator's day may be shorter."""

    share: float = 1.0
    daily_reserve: int = 0
    max_recipients_per_s: float | None = None
    max_calls_per_s: float | None = None
    window_s: float = 86400.0

    @property
    def look_again_s(self) -> float:
        """After how long a spent day is worth another look, at the latest."""
        return min(REFRESH_S, self.window_s / 100)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """Why nothing may go now, and how many seconds until it is worth looking again."""

    reason: str
    wait_s: float
    kind: WaitKind


def granted_per_s(account: AccountStatus, settings: PaceSettings) -> float:
    """Recipients per second that the account and the settings allow while nothing is throttled."""
    rate = account.max_send_rate_per_s * settings.share
    if settings.max_recipients_per_s is not None:
        rate = min(rate, settings.max_recipients_per_s)
    return max(rate, _LEAST_PER_S)


def seconds_worth(rate_per_s: float) -> int:
    """Recipients of a batch at that pace: a second's worth, 1 to 50."""
    return max(1, min(MAX_BATCH_RECIPIENTS, int(rate_per_s)))


def burst_recipients(rate_per_s: float) -> float:
    """What may go out at once at that pace: a quarter of a second's worth, or a batch and some."""
    return max(seconds_worth(rate_per_s) + rate_per_s * SPARE_S, rate_per_s * BURST_S)


def headroom(account: AccountStatus, settings: PaceSettings, *, in_window: float, since_read: float) -> float:
    """Recipients that the 24-hour window still takes from us; in doubt counts as sent.

    `in_window` is what we have sent in it, `since_read` what of that GetAccount's answer cannot have counted.
    """
    if account.max_24_hour_send is None:
        return float("inf")
    used = max(in_window, account.sent_last_24_hours + since_read)
    return account.max_24_hour_send - settings.daily_reserve - used


def minutes_worth(account: AccountStatus, settings: PaceSettings, rate_per_s: float) -> float:
    """What makes it worth going on once the day was spent: a 1440th of its quota, one recipient at least."""
    limit = account.max_24_hour_send or 0.0
    return max(1.0, min(limit / WINDOW_SLOTS, rate_per_s * settings.window_s / WINDOW_SLOTS))


def refusal(account: AccountStatus, settings: PaceSettings) -> Halt | None:
    """Why the account may send nothing until a person has done something about it; None if it may."""
    if not account.sending_enabled or account.enforcement_status == "SHUTDOWN":
        return _not_allowed(account)
    if account.max_24_hour_send is not None and settings.daily_reserve >= account.max_24_hour_send:
        return _all_reserved(settings.daily_reserve, account.max_24_hour_send)
    return None


def quota_unknown(age_s: float) -> Hindrance | None:
    """What to say of an answer of GetAccount that is so many seconds old: None while it holds."""
    if age_s <= STALE_AFTER_S:
        return None
    reason = f"GetAccount has not answered for {age_s / 60:.0f} minutes, so the quota is unknown"
    return Hindrance(reason, 1.0, WaitKind.QUOTA_UNKNOWN)


def told_spent(settings: PaceSettings) -> Hindrance:
    """What to say after SES refused for the day's sake, until GetAccount has been read again."""
    reason = "SES says that the 24-hour quota is spent; asking again"
    return Hindrance(reason, settings.look_again_s, WaitKind.DAY_SPENT)


def day_hindrance(
    settings: PaceSettings, missing: float, frees_at: Callable[[int], float | None], now: float
) -> Hindrance:
    """What to say while the day's quota has no room for so many as are `missing`.

    `frees_at` says when so many of our own leave the window, or None; `now` is epoch seconds, like its answer.
    """
    free = frees_at(int(missing))
    if free is None:
        return Hindrance(
            "the 24-hour quota is spent, by others too; asking again until it frees",
            settings.look_again_s,
            WaitKind.DAY_SPENT,
        )
    until = datetime.fromtimestamp(free, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return Hindrance(
        f"the 24-hour quota is spent; it frees from {until}",
        max(0.01, min(free - now, settings.look_again_s)),
        WaitKind.DAY_SPENT,
    )


def _all_reserved(reserve: int, limit: float) -> Halt:
    if not reserve:
        return Halt(
            "the account's 24-hour quota is 0: it may send nothing",
            "Ask AWS for a sending quota in this Region.",
            HaltScope.ACCOUNT,
        )
    return Halt(
        f"pacing.daily_reserve keeps {reserve:,} recipients a day for others, and the account may send {limit:,.0f}",
        "Lower pacing.daily_reserve.",
        HaltScope.ACCOUNT,
    )


def _not_allowed(account: AccountStatus) -> Halt:
    if account.enforcement_status == "SHUTDOWN":
        reason = "SES has shut down sending for this account (enforcement status SHUTDOWN)"
    else:
        reason = "sending is disabled for this account in this region"
    return Halt(
        reason,
        "Look at the account's status in the SES console and answer AWS Support.",
        HaltScope.ACCOUNT,
    )
