"""Words for people on standard error, data on standard output."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal

from bulksend.cli.app import Output
from bulksend.errors import BulksendError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from bulksend.worker import Target

__all__ = ["ask", "complain", "console", "for_people", "print_facts", "print_json"]


def print_facts(target: Target, output: Output, stream: Literal["data", "people"] = "data") -> bool:
    """The campaign's buckets in the form asked for; whether they add up."""
    from bulksend.report import campaign_facts, print_status  # noqa: PLC0415

    found = target.campaign()
    tally = target.store.journal.tally(found)
    if output == "json":
        print_json(campaign_facts(found, tally))
    else:
        print_status(for_people() if stream == "people" else console(sys.stdout), found, tally)
    return tally.adds_up


def ask(people: Console, question: str) -> None:
    """Go on only if a person says yes. Raises UsageError."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="Pass --yes to send without being asked.")
    people.print(f"{question} \\[y/N] ", end="")
    if input().strip().lower() not in {"y", "yes"}:
        raise UsageError("not sent", hint="The plan is kept: bulksend send goes on from here.")


def complain(error: BulksendError) -> int:
    """What happened, what to do next; returns the exit code."""
    console = for_people()
    console.print(f"error: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"what to do: {error.hint}", markup=False, highlight=False, soft_wrap=True)
    return int(error.exit_code)


def print_json(value: object) -> None:
    """Data for programs."""
    import orjson  # noqa: PLC0415

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def for_people() -> Console:
    """Where people read."""
    return console(sys.stderr)


def console(stream: object) -> Console:
    """A console on a stream."""
    from rich.console import Console  # noqa: PLC0415

    return Console(file=stream)  # type: ignore[arg-type]
