"""Verbs that only look."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Fates, Output, States, app, target_of
from bulksend.cli.terminal import (
    complain,
    console,
    for_people,
    looked_at,
    print_facts,
    print_json,
    print_json_line,
    print_standing,
    private_file,
    some,
)
from bulksend.errors import BulksendError, EventStoreError, ExitCode, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from bulksend.model import Campaign, ResultRow
    from bulksend.worker import Standing, Target
    from bulksend.worker.settlement import Settler

WATCH_EVERY_S = 1.0
START_WITHIN_S = 600.0
"""How long a watcher waits for somebody to begin."""


@app.command
def status(
    campaign: Path | None = None,
    *,
    watch: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Where a campaign stands, and the check that nobody is lost. Without a name: all campaigns of the store.

    Args:
        campaign: The campaign file, or its name; if it is not given, each campaign of the store is listed.
        watch: Look again every second and show what is new, until the campaign has ended or stopped. One that is only
            planned is waited for, for ten minutes. Ctrl-C ends the watching alone.
        output: text for people, json for programs (with --watch one line for each look that is new).
        common: Common options.
    """
    if campaign is None:
        if watch:
            raise UsageError(
                "--watch is for one campaign", hint="Name it: bulksend status NAME --watch. bulksend status lists them."
            )
        return _list_campaigns(output, common)
    from bulksend.worker.settlement import Settler  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    settler = Settler(target.store)
    if watch:
        return _watch(target, output, settler)
    _settle(target, settler)
    return print_facts(target, output)


def _settle(target: Target, settler: Settler) -> None:
    """What events prove; where that cannot be written, or the list is damaged, the numbers stand without it."""
    with suppress(BulksendError):
        settler.settle(target.campaign())


def _list_campaigns(output: Output, common: Common) -> int:
    from bulksend.report import print_campaigns  # noqa: PLC0415
    from bulksend.worker import Store  # noqa: PLC0415

    store = Store.find(common.settings(), Path.cwd())
    found = store.standings()
    out = console(sys.stdout)
    if output == "json":
        print_json([one.facts() | {"created_at": one.campaign.created_at} for one in found])
    elif found:
        print_campaigns(out, ((one.campaign, one.tally, one.orphaned, bool(one.held_up)) for one in found))
    else:
        out.print(f"No campaign is in {store.journal.place}.", highlight=False, markup=False, soft_wrap=True)
    return looked_at(found)


def _watch(target: Target, output: Output, settler: Settler) -> int:
    """Show what is new, until the campaign has ended or stopped, or nobody is there who would send it."""
    from bulksend.model import CampaignState  # noqa: PLC0415

    began_s = time.monotonic()
    shown: Standing | None = None
    why = ""
    with _screen(output) as show:
        while True:
            _settle(target, settler)
            standing = target.standing()
            name, state = standing.campaign.name, standing.campaign.state
            if shown != standing:
                shown = standing
                show(standing)
            if state in (CampaignState.PLANNED, CampaignState.QUEUED):
                if time.monotonic() - began_s >= START_WITHIN_S:
                    why = (
                        f"Nobody has begun to send it. To send it: bulksend send {name}; or leave it to a worker: "
                        f"bulksend submit {name}, and bulksend worker where none is"
                    )
                    break
            elif standing.orphaned or (state is not CampaignState.SENDING and not standing.tally.in_flight):
                break
            time.sleep(WATCH_EVERY_S)
    if why:
        for_people().print(why, highlight=False)
    return looked_at([standing])


@contextmanager
def _screen(output: Output) -> Iterator[Callable[[Standing], None]]:
    """Where one look after the other is shown: on a terminal each in the place of the last, elsewhere below it."""
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    out = console(sys.stdout)

    def below(standing: Standing) -> None:
        print_standing(standing, output, out)
        sys.stdout.flush()

    def as_line(standing: Standing) -> None:
        print_json_line(standing.facts())

    def in_place(standing: Standing) -> None:
        # On a console of its own: what is printed on that of a live display comes with a copy of the display.
        aside = Console(file=io.StringIO(), force_terminal=True, width=out.width)
        with aside.capture() as drawn:
            print_standing(standing, output, aside)
        live.update(Text.from_ansi(drawn.get().rstrip()), refresh=True)

    if output == "json":
        yield as_line
    elif out.is_terminal:
        with Live(console=out, auto_refresh=False, vertical_overflow="visible") as live:
            yield in_place
    else:
        yield below


@app.command
def results(
    campaign: Path,
    *,
    state: Annotated[list[States] | None, Parameter(negative="")] = None,
    status: str | None = None,
    fate: Annotated[list[Fates] | None, Parameter(negative="")] = None,
    address: str | None = None,
    format: Literal["csv", "jsonl", "parquet", "list"] = "csv",  # noqa: A002  the option's name
    out: Path | None = None,
    common: Common = COMMON,
) -> int:
    """What became of each row, as a table; or the rows themselves, as a list that can be sent again.

    A list has the columns that the campaign used, of the rows that are dead, and of those that a cancelled campaign
    left unsent, unless --state says otherwise. What is pending is not given before the campaign has ended, as the
    campaign sends that itself. Its cells are the data as it was: unlike in csv, what a spreadsheet would run as a
    formula is not defused. What CSV cannot hold, nulls and values that are not text, needs an --out that ends with
    .parquet. What was dropped out of doubt may have been accepted: it is given with --status DROPPED alone.

    Args:
        campaign: The campaign file, or its name.
        state: Only rows in this state; may be given more than once.
        status: Only rows with this status, DROPPED for instance.
        fate: Only rows of which events tell this; may be given more than once. Not for lists. Who unsubscribed by the
            link of the mail is told of as well.
        address: Only rows of this address: whether she got it, and if not, why. Not that of copies (cc, bcc).
        format: csv, jsonl, parquet (which needs --out), or list.
        out: The file to write (readable by its owner only); standard output if not given.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.recipients import forgettable, write_results_parquet  # noqa: PLC0415
    from bulksend.report import write_results  # noqa: PLC0415
    from bulksend.worker.settlement import Settler  # noqa: PLC0415

    if format == "parquet" and out is None:
        raise UsageError("parquet is for files, not for standard output", hint="Name a file: --out results.parquet.")
    if format == "list" and address is not None:
        raise UsageError("--address is for looking someone up, not for lists", hint="Choose another --format.")
    if format == "list" and fate:
        raise UsageError("--fate is not for lists", hint="Choose another --format.")
    target = target_of(campaign, common.settings())
    found = target.campaign()
    target.store.refuse_pruned(found)
    _settle(target, Settler(target.store))
    people = for_people()

    if format == "list":
        return _write_list(people, target, found, state or (), status or "", out)

    def write(to: IO[str]) -> int:
        return write_results(rows(), "jsonl" if format == "jsonl" else "csv", to)

    untold: list[EventStoreError] = []

    def rows() -> Iterator[ResultRow]:
        all_of_them = worker.results(target.store, found, state or (), fate or (), on_untold=untold.append)
        every = (r for r in all_of_them if status in (None, r.status))
        if address is None:
            return every
        wanted = {address.strip().lower(), forgettable(address)}
        return (row for row in every if row.address.strip().lower() in wanted)

    if out is None:
        count = write(sys.stdout)
        if not count and address is not None:
            people.print(f"{found.name} has no such row with {address}", highlight=False, markup=False)
            return int(ExitCode.USAGE)
        return _whole(untold)
    with private_file(out) as file:
        if format == "parquet":
            count = write_results_parquet(rows(), file)
        else:
            with io.TextIOWrapper(file, "utf-8", newline="") as text:
                count = write(text)
    people.print(f"{some(count, 'row')} in {out}", highlight=False, markup=False)
    return _whole(untold)


def _whole(untold: Sequence[EventStoreError]) -> int:
    """The exit code of results: complains where they lack what events tell."""
    return complain(untold[0]) if untold else int(ExitCode.DONE)


def _write_list(  # noqa: PLR0917  what a person says of it
    people: Console, target: Target, found: Campaign, states: Sequence[States], status: str, out: Path | None
) -> int:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.recipients import write_list_parquet  # noqa: PLC0415
    from bulksend.report import write_list  # noqa: PLC0415

    as_parquet = out is not None and out.suffix.lower() == ".parquet"
    listed = worker.relist(target.store, found, states, status=status, as_csv=not as_parquet)
    _say_what_is_missing(people, target, found, states, status)
    if out is None:
        write_list(listed.columns, listed.rows, sys.stdout, listed.delimiter)
        return int(ExitCode.DONE)
    with private_file(out) as file:
        if as_parquet:
            count = write_list_parquet(listed.columns, listed.json, listed.rows, file)
        else:
            with io.TextIOWrapper(file, listed.encoding, newline="") as text:
                count = write_list(listed.columns, listed.rows, text, listed.delimiter)
    people.print(f"{some(count, 'row')} in {out}", highlight=False, markup=False)
    return int(ExitCode.DONE)


def _say_what_is_missing(
    people: Console, target: Target, found: Campaign, states: Sequence[States], status: str
) -> None:
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
    gone, dropped = worker.left_out(target.store, found, chosen, status)
    if gone:
        people.print(f"not in the list, as they were removed by bulksend forget: {gone:,}", highlight=False)
    if dropped:
        people.print(
            f"not in the list, as SES may have accepted them before they were dropped: {dropped:,} (--status DROPPED)",
            highlight=False,
        )


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
