"""A campaign in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bulksend.model import Campaign, SkipReason, Tally

__all__ = ["campaign_facts", "print_doubts", "print_plan", "print_status"]


def campaign_facts(campaign: Campaign, tally: Tally) -> dict[str, object]:
    """The stable JSON form of `status` and of the end of `send`."""
    return {
        "campaign": campaign.name,
        "id": campaign.id,
        "state": campaign.state.value,
        "rows": tally.rows,
        "accepted": tally.accepted,
        "dead": tally.dead,
        "in_doubt": tally.in_doubt,
        "in_flight": tally.in_flight,
        "pending": tally.pending,
        "skipped": {reason.value: tally.skipped.get(reason, 0) for reason in SkipReason},
        "adds_up": tally.adds_up,
        "halt": None if campaign.halt is None else {"reason": campaign.halt.reason, "remedy": campaign.halt.remedy},
    }


def print_plan(console: Console, campaign: Campaign, warnings: Iterable[str]) -> None:
    """What would be sent, before anything is."""
    skipped = sum(campaign.skipped.values())
    console.print(
        f"[bold]{escape(campaign.name)}[/]: {campaign.rows:,} rows, [bold]{campaign.recipients:,}[/] to send"
        f" from {escape(campaign.binding.region)}, {skipped:,} skipped"
    )
    for reason, count in campaign.skipped.items():
        if count:
            console.print(f"  {count:,} {reason.value}")
    for warning in warnings:
        console.print(f"  [yellow]warning:[/] {escape(warning)}")
    if skipped:
        console.print(f"  who and why: bulksend results {escape(campaign.name)} --state skipped", highlight=False)


def print_status(console: Console, campaign: Campaign, tally: Tally) -> None:
    """The buckets, and the check that they add up."""
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
    console.print(f"[bold]{escape(campaign.name)}[/] is {campaign.state.value}")
    console.print(table)
    if tally.adds_up:
        console.print("The numbers add up: nobody is lost.")
    else:
        console.print("[bold red]The numbers do not add up.[/] Keep the store as it is and report this.")
    if campaign.halt is not None:
        console.print(f"[bold red]halted:[/] {escape(campaign.halt.reason)}")
        console.print(f"what to do: {escape(campaign.halt.remedy)}")
    if tally.in_doubt:
        console.print(
            f"In doubt means that SES may have accepted it: bulksend resolve {escape(campaign.name)}", highlight=False
        )
    if tally.dead:
        console.print(f"Who and why: bulksend results {escape(campaign.name)} --state dead", highlight=False)


def print_doubts(console: Console, doubts: Iterable[tuple[int, str, str, float | None]], most: int = 20) -> int:
    """(row, status, reason, sent at in epoch seconds) of what is in doubt, the first of them.

    Returns how many there are.
    """
    count = 0
    table = Table("row", "since", "status", "reason", box=None, padding=(0, 2, 0, 0))
    for count, (row, status, reason, at) in enumerate(doubts, start=1):
        if count <= most:
            since = "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            table.add_row(str(row), since, escape(status), escape(reason))
    if count:
        console.print(table)
        if count > most:
            console.print(f"and {count - most:,} more")
    return count
