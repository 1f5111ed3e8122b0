"""A run, live on a terminal; silent elsewhere. Satisfies the engine's Observer."""

from __future__ import annotations

from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bulksend.facts import (
    AddressesSuppressed,
    BatchAnswered,
    BatchSent,
    CampaignHalted,
    CampaignHindered,
    ChunkRead,
    CircuitChanged,
    Committed,
    EntriesReturned,
    EntriesSuppressed,
    EventsHeldUp,
    EventsRecorded,
    Fact,
    LoopLagged,
    PaceChanged,
    QuotaRead,
    StoreCounted,
    UnknownStatus,
    Waiting,
)
from bulksend.model import EntryState, Tally, Verdict
from bulksend.report.text import rate_in_words

__all__ = ["LiveProgress"]


class LiveProgress:
    """Counts what the answers say from where the journal stood. Use as a context manager; draws only on a terminal."""

    def __init__(self, console: Console, name: str, tally: Tally) -> None:
        self._console = console
        self._accepted, self._dead, self._in_doubt = tally.accepted, tally.dead, tally.in_doubt
        total = tally.rows - sum(tally.skipped.values())
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID = self._bar.add_task(
            escape(name), total=total, completed=self._done, rate="", note=self._buckets()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def observe(self, fact: Fact) -> None:
        """Draw it, or say it."""
        match fact:
            case BatchAnswered():
                for (verdict, _), entries in fact.outcomes.items():
                    self._count(verdict.state, entries)
                self._bar.update(self._task, completed=self._done, note=self._buckets())
            case PaceChanged():
                self._bar.update(self._task, rate=f"{rate_in_words(fact.rate_per_s)}/s")
            case Waiting() if fact.reason:
                self._say(f"[yellow]waiting:[/] {escape(fact.reason)}")
            case CircuitChanged():
                if fact.is_open:
                    self._say(f"[yellow]trouble:[/] {escape(fact.why)}; sending single probes until it passes")
                else:
                    self._say("[green]sending again[/]")
            case CampaignHalted():
                self._say(f"[bold red]halting:[/] {escape(fact.halt.reason)}")
            case EntriesReturned():
                if fact.verdict is Verdict.IN_DOUBT:
                    self._in_doubt -= fact.entries
                else:
                    self._dead -= fact.entries
            case EntriesSuppressed():
                self._dead += fact.entries
                self._bar.update(self._task, completed=self._done, note=self._buckets())
            case QuotaRead():
                self._bar.start()  # not before: a run that is refused draws nothing
            case Waiting() | BatchSent() | Committed() | UnknownStatus() | ChunkRead() | LoopLagged():
                pass
            case CampaignHindered() | StoreCounted() | EventsRecorded() | EventsHeldUp() | AddressesSuppressed():
                pass

    def _count(self, state: EntryState, entries: int) -> None:
        match state:
            case EntryState.ACCEPTED:
                self._accepted += entries
            case EntryState.DEAD:
                self._dead += entries
            case EntryState.IN_DOUBT:
                self._in_doubt += entries
            case EntryState.PENDING | EntryState.IN_FLIGHT:
                pass

    def say_draining(self) -> None:
        """The first interrupt was heard."""
        self._bar.console.print("stopping: waiting for the answers in flight (once more to stop at once)")

    @property
    def _done(self) -> int:
        return self._accepted + self._dead + self._in_doubt

    def _buckets(self) -> str:
        doubt = f" · [yellow]{self._in_doubt:,} in doubt[/]" if self._in_doubt else ""
        return f"[green]{self._accepted:,} accepted[/] · {self._dead:,} dead{doubt}"

    def _say(self, markup: str) -> None:
        if self._console.is_terminal:  # elsewhere it is the log that says it
            self._bar.console.print(markup)
