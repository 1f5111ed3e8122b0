"""What doctor has looked at, a line each, and the verdict on all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, unique

from rich.console import Console
from rich.markup import escape

__all__ = ["Check", "Level", "checks_facts", "print_checks", "print_prospects", "verdict_of"]


@unique
class Level(StrEnum):
    """How something is that was looked at.

    OK         as it should be, or of no concern.
    WARNING    mail would go out; a person should know this before.
    FAULT      the campaign would not go out, or would fail.
    UNCHECKED  could not be found out.
    """

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    UNCHECKED = "could not check"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what it is, how it is, and what to do about it where that is called for."""

    name: str
    level: Level
    says: str
    remedy: str = ""


_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAULT: "bold red", Level.UNCHECKED: "cyan"}
_WIDTH = len(Level.UNCHECKED)


def verdict_of(checks: Sequence[Check]) -> Level:
    """The gravest: a fault, else a warning, else what could not be checked."""
    there = {check.level for check in checks}
    return next((level for level in (Level.FAULT, Level.WARNING, Level.UNCHECKED) if level in there), Level.OK)


def checks_facts(checks: Sequence[Check]) -> dict[str, object]:
    """The stable JSON form of `doctor`."""
    return {
        "verdict": verdict_of(checks).value,
        "checks": [
            {"check": one.name, "level": one.level.value, "says": one.says, "remedy": one.remedy} for one in checks
        ],
    }


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """A line each, what to do below it, and the verdict."""
    for one in checks:
        style = _STYLES[one.level]
        console.print(
            f"[{style}]{one.level.value:<{_WIDTH}}[/]  {escape(one.name)}: {escape(_plain(one.says))}",
            highlight=False,
            soft_wrap=True,
        )
        if one.remedy:
            console.print(f"{'':{_WIDTH}}  what to do: {escape(_plain(one.remedy))}", highlight=False, soft_wrap=True)
    counts = {level: sum(check.level is level for check in checks) for level in Level}
    words = {Level.FAULT: ("fault", "faults"), Level.WARNING: ("warning", "warnings")}
    parts = [f"{counts[level]} {words[level][counts[level] != 1]}" for level in words if counts[level]]
    if counts[Level.UNCHECKED]:
        parts.append(f"{counts[Level.UNCHECKED]} not checked")
    said = ", ".join(parts) or "nothing to complain of"
    verdict = verdict_of(checks)
    console.print(f"[{_STYLES[verdict]}]verdict: {said}[/]", highlight=False)


def print_prospects(console: Console, checks: Sequence[Check]) -> None:
    """What a plan says of the account: how long it takes, and what stands in its way."""
    for one in checks:
        if one.level is Level.OK and one.name == "quota":
            console.print(f"  {escape(one.says)}", highlight=False)
        elif one.level is not Level.OK:
            console.print(f"  [yellow]warning:[/] {escape(one.name)}: {escape(_plain(one.says))}", highlight=False)


def _plain(text: str) -> str:
    """Texts of servers without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
