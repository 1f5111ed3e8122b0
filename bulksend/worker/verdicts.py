"""What doctor makes of what it has found: facts in, a line each out. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from bulksend.errors import CampaignChangedError
from bulksend.model import CampaignState
from bulksend.pacing import PaceSettings
from bulksend.report import Check, Level
from bulksend.ses.inquiry import Cause, Unknown
from bulksend.worker.examined import Examined
from bulksend.worker.one_click import MAKE_ONE
from bulksend.worker.outlook import account_checks, duration_in_words, fit_check
from bulksend.worker.sending_verdicts import in_region, sending_checks, unchecked

__all__ = ["judge"]

BULK_RECIPIENTS = 5000
"""From so many a day Gmail and Yahoo want one-click unsubscribing (SES-FACTS, Unsubscribe)."""
SKEW_NOTED_S = 30.0
SKEW_REFUSED_S = 300.0
"""AWS refuses signatures that are older (Signature Version 4, clock skew)."""
_MB = 1024 * 1024
_ONE_CLICK = "List-Unsubscribe=One-Click"


def judge(found: Examined, pace: PaceSettings) -> list[Check]:
    """Every check there is to be made of it, in the order in which a person would go about them."""
    checks = [*_credentials(found)]
    if found.home is not None:
        checks += _account(found, pace)
        checks += sending_checks(found)
        checks += _clock(found)
    checks += _campaign(found)
    checks += _list(found)
    checks += _links(found)
    checks += _store(found)
    checks += _queues(found)
    return checks


def _credentials(found: Examined) -> Iterator[Check]:
    binding = found.binding
    if binding is None:
        yield Check("credentials", Level.FAULT, found.refused, found.refused_remedy)
    elif binding.endpoint_url:
        yield Check(
            "credentials", Level.OK, f"{binding.endpoint_url} is spoken to, which is not SES; no account is asked"
        )
        yield Check("region", Level.OK, binding.region)
    else:
        yield Check("credentials", Level.OK, f"they are account {binding.account}'s")
        yield Check("region", Level.OK, binding.region)


def _account(found: Examined, pace: PaceSettings) -> Iterator[Check]:
    assert found.home is not None
    for region in (found.home, *found.others):
        if isinstance(region.account, Unknown):
            yield _account_unread(f"account{in_region(found, region)}", region.account)
            continue
        for check in account_checks(region.account.status, pace, region.account.review):
            yield Check(f"{check.name}{in_region(found, region)}", check.level, check.says, check.remedy)
    if found.outlook is not None:
        yield fit_check(found.outlook, on_top=found.on_top)


def _account_unread(name: str, unknown: Unknown) -> Check:
    """Who cannot read the quota cannot send either, unless that passes."""
    match unknown.cause:
        case Cause.UNREACHABLE | Cause.REFUSED:
            remedy = "Nothing is sent before GetAccount answers: see to the network, the credentials and their policy."
            return Check(name, Level.FAULT, unknown.why, remedy)
        case Cause.THROTTLED | Cause.MISSING:
            return unchecked(name, unknown)
        case _:
            assert_never(unknown.cause)


def _clock(found: Examined) -> Iterator[Check]:
    if found.skew_s is None:
        return
    behind = abs(found.skew_s)
    if behind < SKEW_NOTED_S:
        yield Check("clock", Level.OK, "this machine's clock is SES's")
        return
    way = "behind" if found.skew_s > 0 else "ahead of"
    refused = ", more than signatures may be off: SES's clock is taken for them" if behind > SKEW_REFUSED_S else ""
    yield Check(
        "clock",
        Level.WARNING,
        f"this machine's clock is {duration_in_words(behind)} {way} SES's{refused}",
        "Set the clock, and keep it set by NTP: schedules and the 24-hour window go by it.",
    )


def _campaign(found: Examined) -> Iterator[Check]:
    """What keeps a planned campaign from being sent as its file has it."""
    if found.differs:
        yield Check(
            "campaign file",
            Level.FAULT,
            f"{found.campaign} is planned, and plan and send refuse its file, which differs by now: "
            f"{'; '.join(found.differs)}; all other checks go by the plan",
            CampaignChangedError.default_hint,
        )
    match found.state:
        case CampaignState.HALTED:
            why, remedy = ("", "") if found.halt is None else (f": {found.halt.reason}", found.halt.remedy)
            yield Check(
                "campaign",
                Level.WARNING,
                f"{found.campaign} is halted{why}",
                remedy or f"bulksend resume {found.campaign}",
            )
        case CampaignState.CANCELLED:
            yield Check(
                "campaign",
                Level.FAULT,
                f"{found.campaign} was cancelled: nothing more of it is sent",
                "Plan it under another name to send it after all.",
            )
        case CampaignState.PLANNED | CampaignState.QUEUED | CampaignState.SENDING | CampaignState.PAUSED:
            pass  # said with the list
        case CampaignState.FINISHED | None:
            pass
        case _:
            assert_never(found.state)


def _links(found: Examined) -> Iterator[Check]:
    """Whether those of [unsubscribe] can be made and followed, by this configuration."""
    links, name = found.links, "unsubscribe links"
    if links is None:
        return
    if not links.has_keys:
        yield Check(
            name,
            Level.FAULT if found.state is None else Level.WARNING,
            "the store is in PostgreSQL, and unsubscribe.key_file is not set: links are neither made nor known here",
            f"Every worker needs the same keys: name a file with them. {MAKE_ONE}",
        )
    elif not links.answered:
        yield Check(
            name,
            Level.WARNING,
            "http.public_listen is off: nobody answers the links here",
            "Set it for a worker behind the host of unsubscribe.url; or see that another worker answers them.",
        )
    else:
        yield Check(name, Level.OK, "they can be made, and a worker answers them")


def _list(found: Examined) -> Iterator[Check]:
    if found.list_fault:
        yield Check("list", Level.FAULT, found.list_fault, found.list_remedy)
        return
    kept = found.list
    if kept is None:
        return
    if kept.planned:
        state = (found.state or CampaignState.PLANNED).value
        yield Check(
            "list", Level.OK, f"{found.campaign} is {state}; {kept.recipients:,} recipients are left to send to"
        )
    else:
        yield Check(
            "list",
            Level.OK,
            f"{found.campaign} can be planned, by the first {kept.most_rows:,} rows of its list at most",
            "Plan it, then run this again: bulksend plan. Only then the whole list, and how long it takes, is known.",
        )
    for warning in kept.warnings:
        yield Check("list", Level.WARNING, warning)
    yield from _suppression(found)
    yield from _unsubscribe(found)


def _suppression(found: Examined) -> Iterator[Check]:
    assert found.list is not None
    count = found.list.suppressed
    if isinstance(count, Unknown):
        yield unchecked("suppression", count)
    elif count:
        yield Check(
            "suppression",
            Level.WARNING,
            f"{count:,} of the recipients that are left {'is' if count == 1 else 'are'} suppressed, and will not be "
            "written to",
        )
    elif found.list.planned:
        yield Check("suppression", Level.OK, "none of the recipients that are left is suppressed in the store")
    home = found.home
    if home is None or isinstance(home.account, Unknown):
        return
    kept = home.configuration_set
    by_set = None if kept is None or isinstance(kept, Unknown) else kept.suppressed_reasons
    reasons = home.account.suppressed_reasons if by_set is None else by_set
    off = [reason.lower() + "s" for reason in ("BOUNCE", "COMPLAINT") if reason not in reasons]
    if off:
        whose = "the account's" if by_set is None else "the configuration set's"
        yield Check(
            "suppression by SES",
            Level.WARNING,
            f"SES does not suppress by itself whom {' and '.join(off)} come from: {whose} suppression leaves them out",
            "Turn it on in SES for bounces and complaints: it holds for every sender of the account.",
        )
    else:
        yield Check("suppression by SES", Level.OK, "SES suppresses by itself whom bounces and complaints come from")


def _unsubscribe(found: Examined) -> Iterator[Check]:
    kept, sending = found.list, found.sending
    assert kept is not None
    if sending is None or not kept.samples or not kept.planned or kept.recipients < BULK_RECIPIENTS:
        return
    headers = [*sending.headers.items(), *kept.samples[0].headers]
    names = [name.lower() for name, _ in headers]
    values = {name.lower(): value for name, value in headers}
    way, post = values.get("list-unsubscribe", ""), values.get("list-unsubscribe-post", "")
    wrong = ""
    if "<https://" not in way.lower():
        wrong = "no List-Unsubscribe header with an https URL" if way else "no List-Unsubscribe header"
    elif post.replace(" ", "") != _ONE_CLICK:
        wrong = f"no header List-Unsubscribe-Post: {_ONE_CLICK}"
    elif names.index("list-unsubscribe") > names.index("list-unsubscribe-post"):
        wrong = "List-Unsubscribe-Post before List-Unsubscribe"
    if not wrong:
        yield Check("unsubscribe", Level.OK, "mails can be unsubscribed from with one click")
        return
    yield Check(
        "unsubscribe",
        Level.WARNING,
        f"mails have {wrong}: from {BULK_RECIPIENTS:,} a day Gmail and Yahoo want one-click unsubscribing of bulk mail",
        f'Set recipients.headers: first "List-Unsubscribe", then "List-Unsubscribe-Post" = "{_ONE_CLICK}"; '
        "or an [unsubscribe] section.",
    )


def _store(found: Examined) -> Iterator[Check]:
    store = found.store
    if store is None:
        return
    if store.fault:
        yield Check("store", Level.FAULT, store.fault, store.remedy)
        return
    if not store.writable:
        yield Check(
            "store",
            Level.FAULT,
            f"{store.place} cannot be written to",
            "Correct its owner or permissions, or name another store: --store.",
        )
        return
    if store.free_bytes is not None and store.free_bytes < store.needed_bytes:
        yield Check(
            "store",
            Level.FAULT,
            f"{store.place} has room for {store.free_bytes // _MB:,} MB, and the campaign takes about "
            f"{store.needed_bytes // _MB + 1:,} MB",
            "Make room on that disk, or name another store: --store.",
        )
        return
    room = "" if store.free_bytes is None else f", with {store.free_bytes // _MB:,} MB free"
    yield Check("store", Level.OK, f"{store.place} {'can be used' if store.exists else 'will be made by a plan'}{room}")


def _queues(found: Examined) -> Iterator[Check]:
    for queue in found.queues or ():
        name = f"queue {queue.name}"
        if queue.gone:
            yield Check(
                name,
                Level.WARNING,
                "there is no such queue, so its events are not taken",
                "Correct events.queues; bulksend events setup makes queues and prints their URLs.",
            )
        elif isinstance(queue.waiting, Unknown):
            yield unchecked(name, queue.waiting)
        elif not queue.has_dead_letters:
            yield Check(
                name,
                Level.WARNING,
                f"{queue.waiting:,} messages wait in it, and it no dead-letter queue: the unreadable stays in it",
                "Give it one: bulksend events setup makes both.",
            )
        else:
            yield Check(name, Level.OK, f"it answers; {queue.waiting:,} messages wait in it")
    if found.queues == ():
        yield Check(
            "queues",
            Level.WARNING,
            "events.queues is not set: no events are taken from anywhere"
            + (", and the campaign halts after its canary unless another process takes them" * found.needs_events),
            "Set it to the URLs of the queues that the events come to; bulksend events setup prints them.",
        )
