"""How long a campaign takes by what the account grants, and what of the account stands in its way. Judged here alone.

Sources: Developer Guide, Managing your SES sending limits (recipients count; the 24 hours roll); API reference,
GetAccount.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, replace

from bulksend.config import Settings
from bulksend.errors import BulksendError
from bulksend.model import AccountStatus, Campaign
from bulksend.pacing import PaceSettings, granted_per_s, headroom, refusal, steps_left
from bulksend.report import Check, Level, rate_in_words
from bulksend.safety import RampStep
from bulksend.ses.account import read_account
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.worker.access import aws_access
from bulksend.worker.store import Store

__all__ = [
    "Outlook",
    "account_checks",
    "duration_in_words",
    "fit_check",
    "on_top",
    "outlook_of",
    "prospects",
    "ramp_left",
    "sent_lately",
]

DAY_S = 86400.0
WITHIN_S = 5.0
"""How long a plan waits for what the account says of itself."""
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_EXACT = 100.0
"""Seconds up to which a duration is told in seconds; minutes and hours likewise of the next unit up."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is left to send, against what may be sent; in recipients.

    `room` is what the 24 hours still take now, `a_day` what they take at all; None without limit. `ramp` is what
    is left of the campaign's ramp.
    """

    recipients: int
    rate_per_s: float
    room: float | None
    a_day: float | None
    ramp: tuple[RampStep, ...] = ()

    @property
    def waits(self) -> int:
        """How often the 24-hour quota is spent before the end."""
        return _course(self)[0]

    @property
    def takes_s(self) -> float:
        """Seconds until its end, at the longest: what is spent is taken to be free a day later."""
        return _course(self)[1]


def _course(outlook: Outlook) -> tuple[int, float]:
    """How often it waits, and how long it takes: step after step of the ramp, by days where those are limited."""
    left, room, waits, waits_today = float(outlook.recipients), outlook.room, 0, False
    at_s, ends_s, frees_s = 0.0, 0.0, DAY_S if room is not None else math.inf
    for step in outlook.ramp:
        rate_per_s = min(step.rate_per_s, outlook.rate_per_s)
        ends_s += step.for_s
        while at_s < ends_s:
            until_s = min(ends_s, frees_s)
            at_pace = rate_per_s * (until_s - at_s)
            allowed = at_pace if room is None else min(at_pace, room)
            if left <= allowed:
                return waits, at_s + left / rate_per_s
            left -= allowed
            at_s = until_s
            if room is not None:
                waits += allowed < at_pace and not waits_today
                waits_today = waits_today or allowed < at_pace
                room -= allowed
            if at_s == frees_s:
                room, frees_s, waits_today = outlook.a_day, frees_s + DAY_S, False
    more, takes_s = _at_full_pace(left, outlook.rate_per_s, room, outlook.a_day)
    return waits + more, at_s + takes_s


def _at_full_pace(recipients: float, rate_per_s: float, room: float | None, a_day: float | None) -> tuple[int, float]:
    """The same without any ramp."""
    at_pace_s = recipients / rate_per_s
    if room is None or a_day is None or recipients <= room:
        return 0, at_pace_s
    at_pace = rate_per_s * DAY_S
    # From a pace's worth a day on it frees as fast as it is spent, once what was sent before has left it.
    waits = int(room < at_pace) if a_day >= at_pace else math.ceil((recipients - room) / a_day)
    if not waits:
        return 0, at_pace_s
    last = recipients - room - (waits - 1) * a_day
    return waits, max(at_pace_s, waits * DAY_S + last / rate_per_s)


def outlook_of(
    account: AccountStatus,
    pace: PaceSettings,
    recipients: int,
    sent_in_24_hours: float,
    ramp: tuple[RampStep, ...] = (),
) -> Outlook | None:
    """How sending goes if nothing else is sent; None where nothing may be sent at all.

    `sent_in_24_hours` is what the store knows to have sent, `ramp` what is left of the campaign's ramp.
    """
    if refusal(account, pace) is not None:
        return None
    room, a_day = headroom(account, pace, in_window=sent_in_24_hours, since_read=0.0), account.max_24_hour_send
    return Outlook(
        recipients,
        granted_per_s(account, pace),
        None if math.isinf(room) else max(0.0, room),
        None if a_day is None else a_day - pace.daily_reserve,
        ramp,
    )


def account_checks(account: AccountStatus, pace: PaceSettings, review: str = "") -> list[Check]:
    """Whether the account may send, and to whom."""
    halt = refusal(account, pace)
    if halt is not None:
        return [Check("account", Level.FAULT, halt.reason, halt.remedy)]
    checks = []
    if account.enforcement_status != "HEALTHY":
        checks.append(
            Check(
                "account",
                Level.WARNING,
                f"SES has it under review (enforcement status {account.enforcement_status}): it still sends",
                "Answer AWS Support, and see to bounces and complaints before anything large is sent.",
            )
        )
    if not account.production_access:
        asked = f"; the request for production access is {review}" if review else ""
        checks.append(
            Check(
                "account",
                Level.WARNING,
                "it is in the sandbox: SES accepts verified and mailbox-simulator recipients only, and refuses all "
                f"others{asked}",
                "Ask for production access in the SES console, in this Region.",
            )
        )
    if checks:
        return checks
    return [Check("account", Level.OK, f"it may send; enforcement status {account.enforcement_status}")]


def fit_check(outlook: Outlook, *, on_top: str = "") -> Check:
    """Whether the campaign fits into what may be sent, and how long it takes. `on_top`: what is not counted in."""
    many = f"{outlook.recipients:,} recipients" if outlook.recipients != 1 else "1 recipient"
    pace = f"{many} at {rate_in_words(outlook.rate_per_s)} a second{' once its ramp is over' if outlook.ramp else ''}"
    more = f"; {on_top}" if on_top else ""
    takes = duration_in_words(outlook.takes_s)
    if not outlook.waits:
        room = "" if outlook.room is None else f", of the {outlook.room:,.0f} that the 24 hours still take"
        return Check("quota", Level.OK, f"{pace}{room}: about {takes}{more}")
    assert outlook.room is not None
    assert outlook.a_day is not None
    return Check(
        "quota",
        Level.WARNING,
        f"{pace}, and the 24 hours take {outlook.room:,.0f} more now and {outlook.a_day:,.0f} at all: it has to wait, "
        f"and takes up to {takes}{more}",
        "Nothing is lost by waiting: sending goes on by itself as the quota frees. For less, ask for a larger quota.",
    )


def duration_in_words(duration_s: float) -> str:
    """As people say it: 40 seconds, 12 minutes, 3 hours, 2.5 days."""
    for unit, size_s, enough in (("second", 1.0, _EXACT), ("minute", _MINUTE_S, _EXACT), ("hour", _HOUR_S, 48.0)):
        if duration_s < enough * size_s:
            count = max(1, math.ceil(duration_s / size_s))
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{duration_s / DAY_S:,.1f} days"


def on_top(campaign: Campaign) -> str:
    """What makes a campaign take longer than its outlook."""
    said = [
        *(["its hours of sending"] if campaign.schedule.window is not None else []),
        *(["its canary"] if campaign.safety.canary is not None else []),
    ]
    return f"not counting {', '.join(said)}" if said else ""


def ramp_left(store: Store, campaign: Campaign) -> tuple[RampStep, ...]:
    """What is left of a campaign's ramp now; all of it before the first request. Raises JournalError."""
    began_at = store.journal.first_sent_at(campaign) if campaign.safety.ramp else None
    return steps_left(campaign.safety.ramp, 0.0 if began_at is None else store.journal.now() - began_at)


def sent_lately(store: Store, account: str, region: str) -> float:
    """Recipients that the store's campaigns have spent of the last 24 hours. Raises JournalError."""
    journal = store.journal
    return float(sum(count for _, count in journal.sent_by_minute(account, region, journal.now() - DAY_S)))


def prospects(
    campaign: Campaign, recipients: int, settings: Settings, pace: PaceSettings, store: Store
) -> tuple[Check, ...]:
    """What a plan says of sending to so many: by one question with little patience; nothing where it has no answer."""
    binding = campaign.binding
    access = replace(
        aws_access(settings),
        region=binding.region,
        endpoint_url=binding.endpoint_url or None,
        connect_timeout_s=WITHIN_S,
        answer_timeout_s=WITHIN_S,
    )

    async def ask() -> AccountStatus | None:
        async with asyncio.timeout(WITHIN_S), Inquiry(access, retrying=False) as inquiry:
            details = await inquiry.ask(read_account)
        return None if isinstance(details, Unknown) else details.status

    try:
        account = asyncio.run(ask())
        sent, ramp = sent_lately(store, binding.account, binding.region), ramp_left(store, campaign)
    except (BulksendError, TimeoutError):
        return ()
    if account is None:
        return ()
    outlook = outlook_of(account, pace, recipients, sent, ramp)
    fit = () if outlook is None else (fit_check(outlook, on_top=on_top(campaign)),)
    return (*account_checks(account, pace), *fit)
