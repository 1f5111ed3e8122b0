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
from bulksend.pacing import PaceSettings, granted_per_s, headroom, refusal
from bulksend.report import Check, Level, rate_in_words
from bulksend.ses.account import read_account
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.worker.access import aws_access
from bulksend.worker.store import Store

__all__ = ["Outlook", "account_checks", "duration_in_words", "fit_check", "outlook_of", "prospects", "sent_lately"]

DAY_S = 86400.0
WITHIN_S = 5.0
"""How long a plan waits for what the account says of itself."""
_MINUTE_S, _HOUR_S = 60.0, 3600.0
_EXACT = 100.0
"""Seconds up to which a duration is told in seconds; minutes and hours likewise of the next unit up."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is left to send, against what may be sent; in recipients.

    `room` is what the 24 hours still take now, `a_day` what they take at all; None without limit.
    """

    recipients: int
    rate_per_s: float
    room: float | None
    a_day: float | None

    @property
    def waits(self) -> int:
        """How often the 24-hour quota is spent before the end."""
        if self.room is None or self.a_day is None or self.recipients <= self.room:
            return 0
        at_pace = self.rate_per_s * DAY_S
        if self.a_day >= at_pace:  # it frees as fast as it is spent, once what was sent before has left it
            return int(self.room < at_pace)
        return math.ceil((self.recipients - self.room) / self.a_day)

    @property
    def takes_s(self) -> float:
        """Seconds until its end, at the longest: what is spent is taken to be free a day later."""
        waits, at_pace_s = self.waits, self.recipients / self.rate_per_s
        if not waits:
            return at_pace_s
        assert self.room is not None
        assert self.a_day is not None
        last = self.recipients - self.room - (waits - 1) * self.a_day
        return max(at_pace_s, waits * DAY_S + last / self.rate_per_s)


def outlook_of(account: AccountStatus, pace: PaceSettings, recipients: int, sent_in_24_hours: float) -> Outlook | None:
    """How sending goes if nothing else is sent; None where nothing may be sent at all.

    `sent_in_24_hours` is what the store knows to have sent.
    """
    if refusal(account, pace) is not None:
        return None
    room, a_day = headroom(account, pace, in_window=sent_in_24_hours, since_read=0.0), account.max_24_hour_send
    return Outlook(
        recipients,
        granted_per_s(account, pace),
        None if math.isinf(room) else max(0.0, room),
        None if a_day is None else a_day - pace.daily_reserve,
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
    pace = f"{many} at {rate_in_words(outlook.rate_per_s)} a second"
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
        sent = sent_lately(store, binding.account, binding.region)
    except (BulksendError, TimeoutError):
        return ()
    if account is None:
        return ()
    outlook = outlook_of(account, pace, recipients, sent)
    return (*account_checks(account, pace), *(() if outlook is None else (fit_check(outlook),)))
