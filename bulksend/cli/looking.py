"""Verbs that only look."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, States, app, target_of
from bulksend.cli.terminal import for_people, print_facts, print_json, print_tally, private_file
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from bulksend.model import Campaign, ResultRow, Tally
    from bulksend.worker import Target

WATCH_EVERY_S = 1.0
START_WITHIN_S = 600.0
"""How long a watcher waits for somebody to begin."""


@app.command
def status(
    campaign: Path,
    *,
    watch: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Where a campaign stands, and the check that nobody is lost.

    Args:
        campaign: The campaign file, or its name.
        watch: Look again every second and show what is new, until the campaign has ended or stopped. One that is only
            planned is waited for, for ten minutes. Ctrl-C ends the watching alone.
        output: text for people, json for programs.
        common: Common options.
    """
    target = target_of(campaign, common.settings())
    if watch:
        return _watch(target, output)
    return int(ExitCode.DONE if print_facts(target, output) else ExitCode.UNEXPECTED)


def _watch(target: Target, output: Output) -> int:
    """Show what is new, until the campaign has ended or stopped, or nobody is there who would send it."""
    from bulksend.model import CampaignState  # noqa: PLC0415

    journal = target.store.journal
    began_s = time.monotonic()
    shown: tuple[Campaign, Tally] | None = None
    why = ""
    while True:
        found = target.campaign()
        is_held = journal.someone_sends()
        tally = journal.tally(found)
        if shown != (found, tally):
            shown = (found, tally)
            print_tally(found, tally, output)
            sys.stdout.flush()
        if found.state is CampaignState.PLANNED:
            if time.monotonic() - began_s >= START_WITHIN_S:
                why = f"Nobody has begun to send it. To send it: bulksend send {found.name}"
                break
        elif found.state is CampaignState.SENDING:
            # A sender says how it ended before it lets go of the store; one that was killed says nothing.
            if not is_held and target.campaign().state is CampaignState.SENDING:
                why = f"Nobody is sending it: the process ended in the midst. To go on: bulksend resume {found.name}"
                break
        elif not tally.in_flight:
            break
        time.sleep(WATCH_EVERY_S)
    if why:
        for_people().print(why, highlight=False)
    return int(ExitCode.DONE if tally.adds_up else ExitCode.UNEXPECTED)


@app.command
def results(
    campaign: Path,
    *,
    state: Annotated[list[States] | None, Parameter(negative="")] = None,
    format: Literal["csv", "jsonl", "parquet", "list"] = "csv",  # noqa: A002  the option's name
    out: Path | None = None,
    common: Common = COMMON,
) -> int:
    """What became of each row, as a table; or the rows themselves, as a list that can be sent again.

    A list has the columns that the campaign used, of the rows that are dead, and of those that a cancelled campaign
    left unsent, unless --state says otherwise. What is pending is not given before the campaign has ended, as the
    campaign sends that itself. Its cells are the data as it was: unlike in csv, what a spreadsheet would run as a
    formula is not defused.

    Args:
        campaign: The campaign file, or its name.
        state: Only rows in this state; may be given more than once.
        format: csv, jsonl, parquet (which needs --out), or list.
        out: The file to write (readable by its owner only); standard output if not given.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.recipients import write_results_parquet  # noqa: PLC0415
    from bulksend.report import write_list, write_results  # noqa: PLC0415

    if format == "parquet" and out is None:
        raise UsageError("parquet is for files, not for standard output", hint="Name a file: --out results.parquet.")
    target = target_of(campaign, common.settings())
    found = target.campaign()
    target.store.refuse_pruned(found)
    people = for_people()

    def write(to: IO[str]) -> int:
        if format == "list":
            _say_what_is_missing(people, target, found, state or ())
            return write_list(*worker.relist(target.store, found, state or ()), to)
        return write_results(rows(), "jsonl" if format == "jsonl" else "csv", to)

    def rows() -> Iterator[ResultRow]:
        return worker.results(target.store, found, state or ())

    if out is None:
        write(sys.stdout)
        return int(ExitCode.DONE)
    with private_file(out) as file:
        if format == "parquet":
            count = write_results_parquet(rows(), file)
        else:
            with io.TextIOWrapper(file, "utf-8", newline="") as text:
                count = write(text)
    people.print(f"{count:,} rows in {out}", highlight=False)
    return int(ExitCode.DONE)


def _say_what_is_missing(people: Console, target: Target, found: Campaign, states: Sequence[States]) -> None:
    """What whoever sends a list should know of it. Raises UsageError if it cannot be given."""
    from bulksend import worker  # noqa: PLC0415

    chosen = worker.states_of_list(target.store, found, states)
    tally = target.store.journal.tally(found)
    if "in_doubt" in chosen:
        people.print(
            "[yellow]SES may have accepted what is in doubt:[/] whoever is in this list may get the mail a second time."
        )
    elif not states and tally.in_doubt:
        people.print(f"{tally.in_doubt:,} rows in doubt are not in the list: bulksend resolve {found.name} first.")
    if not states and tally.pending:
        people.print(
            f"{tally.pending:,} pending rows are not in the list: {found.name} is {found.state.value}, "
            "and sends them itself.",
            highlight=False,
        )
    if gone := worker.left_out(target.store, found, chosen):
        people.print(f"not in the list, as they were removed by bulksend forget: {gone:,}", highlight=False)


@app.command
def config(campaign: Path | None = None, *, common: Common = COMMON) -> int:
    """Show the settings in force, and check a campaign file, as JSON.

    Args:
        campaign: A campaign file to check as well.
        common: Common options.
    """
    from bulksend.config import load_campaign  # noqa: PLC0415

    shown: dict[str, object] = {"settings": common.settings().model_dump(mode="json")}
    if campaign is not None:
        shown["campaign"] = load_campaign(campaign).model_dump(mode="json", by_alias=True)
    print_json(shown)
    return int(ExitCode.DONE)
