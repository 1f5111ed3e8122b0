"""Words for people on standard error, data on standard output."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bulksend.cli.app import Output
from bulksend.errors import BulksendError, UsageError

if TYPE_CHECKING:
    from io import BufferedWriter

    from rich.console import Console

    from bulksend.model import Campaign, Tally
    from bulksend.worker import Target

__all__ = ["ask", "complain", "console", "for_people", "print_facts", "print_json", "print_tally", "private_file"]


def print_facts(target: Target, output: Output, stream: Literal["data", "people"] = "data") -> bool:
    """The campaign's buckets in the form asked for; whether they add up."""
    found = target.campaign()
    tally = target.store.journal.tally(found)
    print_tally(found, tally, output, stream)
    return tally.adds_up


def print_tally(campaign: Campaign, tally: Tally, output: Output, stream: Literal["data", "people"] = "data") -> None:
    """A campaign's buckets in the form asked for."""
    from bulksend.report import campaign_facts, print_status  # noqa: PLC0415

    if output == "json":
        print_json(campaign_facts(campaign, tally))
    else:
        print_status(for_people() if stream == "people" else console(sys.stdout), campaign, tally)


def ask(people: Console, question: str, *, verb: str, otherwise: str) -> None:
    """Go on only if a person says yes; `otherwise` says how things stand if not. Raises UsageError."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint=f"Pass --yes to {verb} without being asked.")
    people.print(f"{question} \\[y/N] ", end="", highlight=False)
    if input().strip().lower() not in {"y", "yes"}:
        raise UsageError("the answer was no", hint=otherwise)


@contextmanager
def private_file(path: Path) -> Iterator[BufferedWriter]:
    """A file that only its owner can read; it gets its name once it is whole, and is removed if it does not get there.

    Raises UsageError: it cannot be written.
    """
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
        partial.replace(path)
        partial = None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


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
