"""Words for people on standard error, data on standard output."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bulksend.cli.app import Output
from bulksend.errors import BulksendError, DeclinedError, ExitCode, UsageError

if TYPE_CHECKING:
    from io import BufferedWriter

    from rich.console import Console

    from bulksend.worker import Standing, Target

__all__ = [
    "ask",
    "complain",
    "console",
    "for_people",
    "looked_at",
    "print_facts",
    "print_json",
    "print_json_line",
    "print_standing",
    "private_file",
    "some",
]

WIDE = 10_000


def print_facts(target: Target, output: Output, stream: Literal["data", "people"] = "data") -> int:
    """The campaign's buckets in the form asked for. Returns the exit code of who only looks: see `looked_at`."""
    standing = target.standing()
    print_standing(standing, output, for_people() if stream == "people" else console(sys.stdout))
    return looked_at([standing])


def looked_at(standings: Sequence[Standing]) -> int:
    """Complains where events cannot be read, once. Returns the exit code: whether the numbers add up and are whole."""
    untold = next((one.untold for one in standings if one.untold is not None), None)
    code = int(ExitCode.DONE) if untold is None else complain(untold)
    return code if all(one.tally.adds_up for one in standings) else int(ExitCode.UNEXPECTED)


def print_standing(standing: Standing, output: Output, to: Console) -> None:
    """A campaign's buckets in the form asked for: as text to a console, as JSON to standard output."""
    from bulksend.report import print_status  # noqa: PLC0415

    if output == "json":
        print_json(standing.facts())
    else:
        print_status(
            to,
            standing.campaign,
            standing.tally,
            standing.became,
            orphaned=standing.orphaned,
            by_worker=standing.by_worker,
            held_up=standing.held_up,
        )


def some(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def ask(people: Console, question: str, *, verb: str, otherwise: str) -> None:
    """Go on only if a person says yes; `otherwise` says how things stand if not. Raises DeclinedError, UsageError."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint=f"Pass --yes to {verb} without being asked.")
    people.print(f"{question} \\[y/N] ", end="", highlight=False)
    try:
        answer = input()
    except EOFError:
        people.print()
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise DeclinedError(otherwise)


@contextmanager
def private_file(path: Path) -> Iterator[BufferedWriter]:
    """A file that only its owner can read; it gets its name once it is whole, and is removed if it does not get there.

    What is no file, such as a device or a pipe, is written to as it stands. Raises UsageError: it cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"Name a file in it: --out {path / 'results.csv'}.")
    partial: Path | None = None
    try:
        if _is_stream(path):
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "wb") as stream:
                yield stream
            return
        path = _led_to(path)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        partial = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            yield file
        partial.replace(path)
        partial = None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="Check the folder, its permissions and the disk's free space, or name another file.",
        ) from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _led_to(path: Path) -> Path:
    """Where it is a link, that stays one. Raises OSError."""
    try:
        return path.resolve()
    except RuntimeError as error:  # of a Python before 3.13
        raise OSError(errno.ELOOP, "it is a link that leads to itself") from error


def _is_stream(path: Path) -> bool:
    """A device, a pipe, or one of the process's own streams, whatever is behind it."""
    is_own = path.is_symlink() and str(path.absolute()).startswith(("/dev/std", "/dev/fd/", "/proc/"))
    return is_own or (path.exists() and not path.is_file())


def complain(error: BulksendError) -> int:
    """What happened, what to do next; returns the exit code."""
    console = for_people()
    if isinstance(error, DeclinedError):
        console.print(error.detail, markup=False, highlight=False, soft_wrap=True)
        return int(error.exit_code)
    console.print(f"error: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"what to do: {error.hint}", markup=False, highlight=False, soft_wrap=True)
    return int(error.exit_code)


def print_json(value: object) -> None:
    """Data for programs."""
    _write_json(value, indented=True)


def print_json_line(value: object) -> None:
    """One of many, on a line of its own, at once."""
    _write_json(value, indented=False)
    sys.stdout.flush()


def _write_json(value: object, *, indented: bool) -> None:
    import orjson  # noqa: PLC0415

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 if indented else None).decode() + "\n")


def for_people() -> Console:
    """Where people read."""
    return console(sys.stderr)


def console(stream: object) -> Console:
    """A console on a stream. Off a terminal its lines are as long as they are, for programs that read them."""
    from rich.console import Console  # noqa: PLC0415

    found = Console(file=stream)  # type: ignore[arg-type]
    if not found.is_terminal:
        found.width = WIDE
    return found
