"""Verbs that only look."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, States, app, target_of
from bulksend.cli.terminal import for_people, print_facts, print_json
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    pass


WATCH_EVERY_S = 1.0


@app.command
def status(
    campaign: str,
    *,
    watch: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Where a campaign stands, and the check that nobody is lost.

    Args:
        campaign: The campaign file, or its name.
        watch: Look again every second for as long as it is being sent.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.model import CampaignState  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    while watch and target.campaign().state is CampaignState.SENDING:
        print_facts(target, output)
        time.sleep(WATCH_EVERY_S)
    return int(ExitCode.DONE if print_facts(target, output) else ExitCode.UNEXPECTED)


@app.command
def results(
    campaign: str,
    *,
    state: Annotated[list[States] | None, Parameter(negative="")] = None,
    format: Literal["csv", "jsonl", "list"] = "csv",  # noqa: A002  the option's name
    out: Path | None = None,
    common: Common = COMMON,
) -> int:
    """What became of each row, as a table; or the rows themselves, as a list that can be sent again.

    A list has the columns that the campaign used, of the rows that are dead or pending unless --state says otherwise.
    Its cells are the data as it was: unlike in csv, what a spreadsheet would run as a formula is not defused. What is
    pending will also be sent by the campaign itself: cancel that first.

    Args:
        campaign: The campaign file, or its name.
        state: Only rows in this state; may be given more than once.
        format: csv, jsonl, or list.
        out: The file to write (readable by its owner only); standard output if not given.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.report import write_list, write_results  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    found = target.campaign()

    def write(to: IO[str]) -> int:
        if format == "list":
            return write_list(*worker.relist(target.store, found, state or ()), to)
        return write_results(worker.results(target.store, found, state or ()), format, to)

    if out is None:
        write(sys.stdout)
        return int(ExitCode.DONE)
    partial = out.with_name(out.name + ".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            count = write(file)
        partial.replace(out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    for_people().print(f"{count:,} rows in {out}", highlight=False)
    return int(ExitCode.DONE)


@app.command
def config(campaign: str | None = None, *, common: Common = COMMON) -> int:
    """Show the settings in force, and check a campaign file, as JSON.

    Args:
        campaign: A campaign file to check as well.
        common: Common options.
    """
    from bulksend.config import load_campaign  # noqa: PLC0415

    shown: dict[str, object] = {"settings": common.settings().model_dump(mode="json")}
    if campaign is not None:
        shown["campaign"] = load_campaign(Path(campaign)).model_dump(mode="json", by_alias=True)
    print_json(shown)
    return int(ExitCode.DONE)
