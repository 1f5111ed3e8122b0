"""Verbs of the long-lived worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.sending import Count, plan_if_file, show_prospects
from bulksend.cli.terminal import ask, for_people, print_facts
from bulksend.errors import ExitCode

__all__ = ["migrate", "submit", "worker"]


@app.command
def submit(
    campaign: Path,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    again: Annotated[bool, Parameter(negative="")] = False,
    limit: Count | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Plan a campaign if need be, and leave it to a worker, which sends it by its schedule. Also after pause or halt.

    Args:
        campaign: The campaign file, or the name of a campaign that was planned.
        yes: Do not ask.
        again: Allow a list and content that an earlier campaign has sent.
        limit: Plan only so many from the beginning of the list; the campaign never sends to the rest.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker as work  # noqa: PLC0415
    from bulksend.model import CampaignState  # noqa: PLC0415
    from bulksend.report import print_plan  # noqa: PLC0415

    settings = common.settings()
    target = target_of(campaign, settings, to_plan=True)
    shown = plan_if_file(target, settings, "submit", again=again, limit=limit)
    found = target.campaign()
    people = for_people()
    if found.state is CampaignState.PLANNED and (shown or not yes):
        if not shown:
            print_plan(people, found, ())
        show_prospects(target, found, target.store.journal.tally(found).pending, settings)
    if found.state is CampaignState.PLANNED and not yes:
        ask(
            people,
            f"Have a worker send to {found.recipients:,} recipients?",
            verb="submit",
            otherwise="Nothing was submitted. The plan is kept: bulksend submit goes on from here.",
        )
    work.queue(target.store, found)
    print_facts(target, output)
    match work.has_worker(target.store):
        case True:
            people.print(f"A worker has it. To look on: bulksend status {found.name} --watch", highlight=False)
        case False:
            people.print("No worker is there now; one that is started takes it up: bulksend worker", highlight=False)
        case None:
            people.print("The store is held by a process that sends another campaign; a worker comes after it.")
    return int(ExitCode.DONE)


@app.command
def worker(*, common: Common = COMMON) -> int:
    """Send whatever is submitted to the store, until SIGTERM or Ctrl-C. SIGHUP reads the settings anew.

    A store that is not there yet is made only where it is named (--store): in the wrong folder, nobody's campaigns
    would be waited for.

    Args:
        common: Common options.
    """
    from bulksend.worker import Store  # noqa: PLC0415
    from bulksend.worker.process import serve  # noqa: PLC0415

    settings = common.settings()
    people = for_people()
    if settings.store is None:
        store = Store.find(
            settings,
            Path.cwd(),
            hint="Name the store with --store sqlite:FOLDER (BULKSEND_STORE, or store in the configuration file), "
            "start the worker in the folder that has it, or plan a campaign here first: bulksend plan.",
        )
    else:
        store = Store.open(settings, Path.cwd())
    people.print(f"worker at {store.journal.place}", highlight=False, markup=False, soft_wrap=True)
    return int(
        serve(
            store,
            settings,
            reload=common.settings,
            announce=lambda line: people.print(line, highlight=False, markup=False, soft_wrap=True),
        )
    )


@app.command
def migrate(*, common: Common = COMMON) -> int:
    """Make the tables of a store in PostgreSQL, or bring them up to date. Stop older workers first.

    Args:
        common: Common options.
    """
    from bulksend.worker.migrating import migrate as make_tables  # noqa: PLC0415

    made = make_tables(common.settings())
    people = for_people()
    for name in made:
        people.print(f"made: {name}", highlight=False)
    if not made:
        people.print("The tables are up to date.")
    return int(ExitCode.DONE)
