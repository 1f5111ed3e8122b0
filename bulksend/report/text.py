"""A campaign in words and numbers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bulksend.model import Campaign, CampaignState, SkipReason, Tally
from bulksend.report.became import EVENTS_UNREAD, Became, became_facts, became_in_words
from bulksend.report.waiting import opens_at
from bulksend.safety import duration_in_words, share_in_words

__all__ = ["campaign_facts", "print_campaigns", "print_doubts", "print_plan", "print_status", "rate_in_words"]

LIMIT = "limit"
"""What a campaign that was planned for the first rows only is frozen with."""

SLOW_PER_S = 10.0
_UNHEARD = Became()


def campaign_facts(
    campaign: Campaign,
    tally: Tally,
    became: Became | None = _UNHEARD,
    *,
    orphaned: bool = False,
    held_up: Sequence[str] = (),
    untold: str = "",
) -> dict[str, object]:
    """The stable JSON form of `status` and of the end of `send`.

    `became` is what events tell of its mails; None if they cannot be read, and `untold` says why. `orphaned` says that
    it is queued or was being sent, and that nobody is there to send it; `held_up` why nothing of it goes out now.
    """
    return {
        "campaign": campaign.name,
        "id": campaign.id,
        "state": campaign.state.value,
        "orphaned": orphaned,
        "held_up": list(held_up),
        "opens_at": opens_at(campaign, time.time()),
        "safety": _safety(campaign),
        "limit": None if LIMIT not in campaign.frozen else int(campaign.frozen[LIMIT]),
        "rows": tally.rows,
        "accepted": tally.accepted,
        "dead": tally.dead,
        "in_doubt": tally.in_doubt,
        "in_flight": tally.in_flight,
        "pending": tally.pending,
        "skipped": {reason.value: tally.skipped.get(reason, 0) for reason in SkipReason},
        "adds_up": tally.adds_up,
        "halt": None if campaign.halt is None else {"reason": campaign.halt.reason, "remedy": campaign.halt.remedy},
        "in_doubt_since": tally.doubt_since,
        "events": None if became is None else became_facts(became),
        "events_unread": untold or None,
    }


def rate_in_words(rate_per_s: float) -> str:
    """A rate as people read it; a slow one is not rounded to nothing."""
    return f"{rate_per_s:,.0f}" if rate_per_s >= SLOW_PER_S else f"{rate_per_s:,.3g}"


def print_plan(console: Console, campaign: Campaign, warnings: Iterable[str]) -> None:
    """What would be sent, before anything is."""
    skipped = sum(campaign.skipped.values())
    to_send = f"[bold]{campaign.entries:,}[/] to send"
    if campaign.recipients != campaign.entries:  # copies are recipients too, by whom SES counts
        to_send = f"[bold]{_some(campaign.entries, 'mail')}[/] to send to {_some(campaign.recipients, 'recipient')}"
    console.print(
        f"[bold]{escape(campaign.name)}[/]: {_some(campaign.rows, 'row')}, {to_send}"
        f" from {escape(campaign.binding.region)}, {skipped:,} skipped"
    )
    console.print(f"  {escape(_sender(campaign))}", highlight=False)
    for reason, count in campaign.skipped.items():
        if count:
            console.print(f"  {count:,} {reason.value}")
    _print_limit(console, campaign)
    for line in campaign.safety.in_words(campaign.entries):
        console.print(f"  {escape(line)}", highlight=False)
    for warning in warnings:
        console.print(f"  [yellow]warning:[/] {escape(warning)}")
    if skipped:
        console.print(f"  who and why: bulksend results {escape(campaign.name)} --state skipped", highlight=False)


def _some(count: int, thing: str) -> str:
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def _sender(campaign: Campaign) -> str:
    """In whose name, and by whose account. A very long name is kept as a digest only."""
    try:
        sender = str(orjson.loads(campaign.frozen.get("sender.from", "")))
    except orjson.JSONDecodeError:
        sender = "the sender of its file"
    binding = campaign.binding
    return f"in the name of {sender}, by " + (
        f"{binding.endpoint_url}, which is not SES" if binding.endpoint_url else f"account {binding.account}"
    )


def print_status(
    console: Console,
    campaign: Campaign,
    tally: Tally,
    became: Became | None = _UNHEARD,
    *,
    orphaned: bool = False,
    by_worker: bool = False,
    held_up: Sequence[str] = (),
    rehearsal: str = "",
) -> None:
    """The buckets, and the check that they add up.

    `became` is what events tell of its mails; None if they cannot be read. `orphaned` says that it is queued or was
    being sent, and that nobody is there to send it; `by_worker` that it was a worker who did; `held_up` why nothing of
    it goes out now. `rehearsal` says what was sent where that was not the campaign: then nothing can be looked up.
    """
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    for words, count, style in (
        ("accepted", tally.accepted, "green"),
        ("dead", tally.dead, "red" if tally.dead else "dim"),
        ("in doubt", tally.in_doubt, "yellow" if tally.in_doubt else "dim"),
        ("in flight", tally.in_flight, "dim" if not tally.in_flight else ""),
        ("pending", tally.pending, "dim" if not tally.pending else ""),
        *((f"skipped: {reason.value}", count, "") for reason, count in tally.skipped.items() if count),
    ):
        table.add_row(f"[{style}]{words}[/]" if style else words, f"{count:,}")
    table.add_section()
    table.add_row("[bold]rows read[/]", f"[bold]{tally.rows:,}[/]")
    name = escape(campaign.name)
    if rehearsal:
        console.print(
            f"[bold]{escape(rehearsal)}[/]: {campaign.state.value}. {name} itself is untouched.", highlight=False
        )
    elif orphaned and campaign.state is CampaignState.QUEUED:
        console.print(f"[bold]{name}[/] is queued, [yellow]and no worker is there[/]: bulksend worker", highlight=False)
    elif by_worker:
        console.print(
            f"[bold]{name}[/] [yellow]was being sent by a worker that is gone[/]: start it again, and it goes on by "
            "itself (bulksend worker)",
            highlight=False,
        )
    elif orphaned:
        console.print(
            f"[bold]{name}[/] [yellow]was being sent by a process that died[/]: bulksend resume {name}", highlight=False
        )
    else:
        console.print(f"[bold]{name}[/] is {campaign.state.value}")
    if not rehearsal:
        _print_limit(console, campaign)
        opens = opens_at(campaign, time.time())
        if opens is not None:
            console.print(f"[yellow]by its schedule it may send again from {_instant(opens)}[/]", highlight=False)
        for reason in held_up:
            console.print(f"[yellow]nothing goes out:[/] {escape(reason)}", highlight=False, soft_wrap=True)
        _print_canary(console, campaign, tally)
    console.print(table)
    if tally.adds_up:
        console.print("The numbers add up: nobody is lost.")
    else:
        console.print("[bold red]The numbers do not add up.[/] Keep the store as it is and report this.")
    if campaign.halt is not None:
        console.print(f"[bold red]halted:[/] {escape(campaign.halt.reason)}")
        console.print(f"what to do: {escape(campaign.halt.remedy)}")
        # Where its remedy is to end it, it cannot go on.
        ends = f"bulksend cancel {campaign.name}" in campaign.halt.remedy
        if campaign.state is CampaignState.HALTED and not rehearsal and not ends:
            console.print(f"To go on: bulksend resume {name}", highlight=False)
    if rehearsal:
        return
    _print_became(console, campaign, tally, became)
    if tally.in_doubt:
        since = "" if tally.doubt_since is None else f", the oldest for {_age(tally.doubt_since)}"
        console.print(
            f"In doubt means that SES may have accepted it{since}: bulksend resolve {escape(campaign.name)}",
            highlight=False,
        )
    if tally.dead:
        console.print(f"Who and why: bulksend results {escape(campaign.name)} --state dead", highlight=False)


def _print_became(console: Console, campaign: Campaign, tally: Tally, became: Became | None) -> None:
    if became is None:
        console.print(f"[yellow]What became of the mails cannot be told: {EVENTS_UNREAD}.[/]", highlight=False)
        return
    counts = list(became_in_words(became))
    if became.last_at is None:
        is_awaited = campaign.frozen.get("sender.configuration_set", "null") != "null"
        if is_awaited and (tally.accepted or tally.in_doubt):
            console.print(
                "No events yet: what became of accepted mails is not known. bulksend events status says whether they "
                "can come.",
                highlight=False,
            )
        if not counts:
            return
        console.print("By the links in the mails:")
    else:
        console.print(
            f"What became of them, by events of {_some(became.rows, 'row')}, the latest {_age(became.last_at)} ago:",
            highlight=False,
        )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    for words, count in counts:
        table.add_row(words, f"{count:,}")
    console.print(table)


def _age(at: float, now: float | None = None) -> str:
    """How long it is ago, roughly."""
    age_s = max(0.0, (time.time() if now is None else now) - at)
    for unit_s, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if age_s >= 2 * unit_s:
            return f"{age_s / unit_s:,.0f} {unit}s"
    return f"{age_s:,.0f} s"


def print_campaigns(console: Console, standings: Iterable[tuple[Campaign, Tally, bool, bool]]) -> None:
    """Campaigns with their numbers, a line each; whether each is orphaned (nobody is there to send it), and held up."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("campaign", overflow="fold")
    table.add_column("state")
    for numbers in ("rows", "pending", "in doubt", "dead"):
        table.add_column(numbers, justify="right", no_wrap=True)
    table.add_column("planned, UTC", no_wrap=True)
    lost = []
    for campaign, tally, orphaned, held_up in standings:
        if not tally.adds_up:
            lost.append(campaign.name)
        table.add_row(
            escape(campaign.name),
            _state(campaign.state, orphaned=orphaned, held_up=held_up),
            f"{tally.rows:,}",
            f"{tally.pending:,}",
            f"[yellow]{tally.in_doubt:,}[/]" if tally.in_doubt else "0",
            f"[red]{tally.dead:,}[/]" if tally.dead else "0",
            datetime.fromtimestamp(campaign.created_at, UTC).strftime("%Y-%m-%d %H:%M"),
        )
    console.print(table)
    console.print("All of one of them: bulksend status NAME", highlight=False)
    for name in lost:
        console.print(f"[bold red]The numbers of {escape(name)} do not add up.[/] Keep the store and report this.")


def _state(state: CampaignState, *, orphaned: bool, held_up: bool) -> str:
    if orphaned:
        return "[yellow]queued, no worker[/]" if state is CampaignState.QUEUED else "[yellow]sending, nobody there[/]"
    if held_up:
        return f"[yellow]{state.value}, held up[/]"
    return f"[bold red]{state.value}[/]" if state is CampaignState.HALTED else state.value


def _print_canary(console: Console, campaign: Campaign, tally: Tally) -> None:
    """What is held back until its canary is judged, while it is begun and not over."""
    canary = campaign.safety.canary
    if canary is None or campaign.canary_passed_at is not None or campaign.armed_at is None or not tally.pending:
        return
    if campaign.state is CampaignState.CANCELLED:
        return
    count = canary.entries(campaign.entries)
    tried = min(count, tally.accepted + tally.dead + tally.in_doubt + tally.in_flight)
    console.print(
        f"[yellow]canary: {tried:,} of the first {_some(count, 'mail')} are out; the others wait for what becomes of "
        f"these, {duration_in_words(canary.wait_s)} after the last of them at most[/]",
        highlight=False,
    )


def _safety(campaign: Campaign) -> dict[str, object]:
    """In the words of the campaign file; times in epoch seconds."""
    safety = campaign.safety
    return {
        "canary": None if safety.canary is None else str(safety.canary),
        "canary_mails": None if safety.canary is None else safety.canary.entries(campaign.entries),
        "canary_passed_at": campaign.canary_passed_at,
        "ramp": [str(step) for step in safety.ramp],
        "breaker": None
        if safety.breaker is None
        else {
            "bounce_limit": share_in_words(safety.breaker.bounce_limit),
            "complaint_limit": share_in_words(safety.breaker.complaint_limit),
            "window": duration_in_words(safety.breaker.window_s),
            "min_sample": safety.breaker.min_sample,
        },
        "armed_at": campaign.armed_at,
    }


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _print_limit(console: Console, campaign: Campaign) -> None:
    if LIMIT in campaign.frozen:
        console.print(
            f"limited to the first {int(campaign.frozen[LIMIT]):,} of its list. "
            "To send the rest: put it into a list of its own, and plan that under another name.",
            highlight=False,
        )


def print_doubts(
    console: Console,
    doubts: Iterable[tuple[int, str, str, float | None]],
    most: int = 20,
    *,
    now: float | None = None,
) -> int:
    """(row, status, reason, sent at in epoch seconds) of what is in doubt, the first of them.

    `now` is the store's clock, if not this machine's. Returns how many there are.
    """
    count = 0
    table = Table("row", "since", "for", "status", "reason", box=None, padding=(0, 2, 0, 0))
    for count, (row, status, reason, at) in enumerate(doubts, start=1):
        if count <= most:
            since, age = ("", "") if at is None else (_instant(at), _age(at, now))
            table.add_row(str(row), since, age, escape(status), escape(reason))
    if count:
        console.print(table)
        if count > most:
            console.print(f"and {count - most:,} more")
    return count
