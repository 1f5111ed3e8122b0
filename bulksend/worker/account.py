"""quota: what the account grants, how much of it is used, and when a spent day frees."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bulksend.config import Settings
from bulksend.errors import BulksendError
from bulksend.journal import SqliteJournal
from bulksend.model import AccountStatus, Binding
from bulksend.pacing import PaceSettings, SentWindow, granted_per_s, headroom, minutes_worth
from bulksend.ses import Account, find_binding
from bulksend.worker.access import aws_access
from bulksend.worker.running import pace_of
from bulksend.worker.store import Store

__all__ = ["Day", "Quota", "day_of", "read_quota"]

DAY_S = 86400.0
WHOSE_WITHIN_S = 5.0
"""How long STS is waited for, which says whose account it is."""
PACE_GOOD_FOR_S = 30.0
"""Of workers that have asked for nothing for so long, nobody knows the pace."""


@dataclass(frozen=True, slots=True)
class Day:
    """Whether the 24 hours take too little more to go on with, and from when they take enough (epoch seconds).

    `frees_at` is None where they do, where nothing that this store has sent is in the way, and without a store.
    """

    is_spent: bool
    frees_at: float | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What GetAccount says, and what a store at hand adds to it: `has_store` is whether there is one.

    `pace_per_s` is that of a fleet's workers, in recipients; None where nobody sends, or nobody tells.
    """

    account: AccountStatus
    pace: PaceSettings
    day: Day
    has_store: bool = False
    pace_per_s: float | None = None


def read_quota(settings: Settings, beside: Path) -> Quota:
    """GetAccount, once; and what the store of the settings, or the one in the folder `beside`, knows of that account.

    Without a store, or with one that cannot be read, GetAccount's answer stands alone.

    Raises:
        AccountError: SES cannot be asked, or refuses.
        ConfigError: no region is set anywhere.
    """

    async def ask() -> Quota:
        access, pace = aws_access(settings), pace_of(settings)
        async with Account(access) as ses:
            account = await ses.read()
        alone = Quota(account, pace, day_of(account, pace, SentWindow(pace.window_s)))
        try:
            store = await asyncio.to_thread(Store.find, settings, beside)
            async with asyncio.timeout(WHOSE_WITHIN_S):
                binding = await find_binding(access)
            sent = await asyncio.to_thread(_sent_lately, store, binding)
        except (BulksendError, TimeoutError):
            return alone
        day = day_of(account, pace, SentWindow(pace.window_s, sent))
        pace_per_s = await _pace_per_s(store, binding, account, pace) if sent else None
        return Quota(account, pace, day, has_store=True, pace_per_s=pace_per_s)

    return asyncio.run(ask())


def day_of(account: AccountStatus, pace: PaceSettings, sent: SentWindow) -> Day:
    """How the 24 hours stand, as a worker sees them; `sent` is what the store has sent in them."""
    room = headroom(account, pace, in_window=sent.total, since_read=0.0)
    missing = minutes_worth(account, pace, granted_per_s(account, pace)) - room
    if missing <= 0:
        return Day(is_spent=False)
    return Day(is_spent=True, frees_at=sent.frees_at(ceil(missing)))


def _sent_lately(store: Store, binding: Binding) -> list[tuple[float, int]]:
    journal = store.journal
    return journal.sent_by_minute(binding.account, binding.region, journal.now() - DAY_S)


async def _pace_per_s(store: Store, binding: Binding, account: AccountStatus, pace: PaceSettings) -> float | None:
    """Of the workers that share a database; one that has its store for itself tells nobody but Prometheus."""
    if isinstance(store.journal, SqliteJournal):
        return None
    from bulksend.fleet import Bucket, connecting  # noqa: PLC0415  its libraries may not be installed
    from bulksend.fleet.bucket import AWAY  # noqa: PLC0415

    bucket = Bucket(connecting(store.journal.url), binding.account, binding.region)
    with suppress(BulksendError, *AWAY):
        try:
            standing = await bucket.look()
        finally:
            await bucket.close()
        if abs(standing.now - standing.given_until) <= PACE_GOOD_FOR_S:
            return granted_per_s(account, pace) * standing.throttle.factor
    return None
