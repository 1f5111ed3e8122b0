"""Verbs that plan and send."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.terminal import ask, for_people, print_facts, print_json
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bulksend.config import Settings
    from bulksend.model import Campaign
    from bulksend.worker import Target


@app.command
def demo(*, recipients: int = 2000, common: Common = COMMON) -> int:
    """Send a made-up campaign to a simulator of SES that misbehaves, and check the books. Nothing leaves this machine.

    Args:
        recipients: How many rows the made-up list has.
        common: Common options.
    """
    from bulksend.demo import run_demo  # noqa: PLC0415

    return run_demo(for_people(), recipients, common.settings())


@app.command
def plan(
    campaign: Path,
    *,
    again: bool = False,
    limit: int | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Check the list and freeze the campaign. Nothing is sent.

    Args:
        campaign: The campaign file.
        again: Allow a list and content that an earlier campaign has sent.
        limit: Plan only the first so many recipients of the list.
        output: text for people, json for programs.
        common: Common options.
    """
    target = target_of(campaign, common.settings())
    _plan(target, common.settings(), again=again, limit=limit)
    found = target.campaign()
    print_facts(target, output)
    return int(ExitCode.DONE if found.entries else ExitCode.USAGE)


@app.command
def send(
    campaign: Path,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    again: bool = False,
    limit: int | None = None,
    test: str | None = None,
    rows: int = 3,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    metrics_port: int | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Plan the campaign if that has not been done, ask, and send; a campaign that was stopped goes on where it was.

    Exit codes: 0 done; 2 usage or configuration; 3 finished, some dead; 4 some in doubt; 5 halted or paused; 6
    another process sends; 130 interrupted.

    Args:
        campaign: The campaign file, or the name of a planned campaign.
        yes: Do not ask.
        again: Allow a list and content that an earlier campaign has sent.
        limit: Plan only the first so many recipients of the list.
        test: Send samples to this address instead, as they would go out; the campaign is not touched.
        rows: How many samples --test sends.
        dry_run: Send everything to a simulator on this machine instead, from a throw-away store.
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 while sending; 0 takes any free one.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.model import CampaignState  # noqa: PLC0415

    settings = common.settings(**{"metrics.port": metrics_port})
    if test is not None or dry_run:
        return _rehearse(campaign, settings, test, rows, output)
    target = target_of(campaign, settings)
    if target.file is not None:
        _plan(target, settings, again=again, limit=limit)
    found = target.campaign()
    people = for_people()
    if found.state is CampaignState.PLANNED and not yes:
        pending = target.store.journal.tally(found).pending
        ask(
            people,
            f"Send to {found.recipients:,} recipients?"
            if pending == found.entries
            else f"Send what is pending of {found.name}, {pending:,} of {found.entries:,} mails?",
            verb="send",
            otherwise="Nothing was sent. The plan is kept: bulksend send goes on from here.",
        )
    return _send(target, found, settings, output)


@app.command
def resume(
    campaign: Path,
    *,
    metrics_port: int | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Go on with a campaign that was paused, halted or interrupted. Exit codes are those of send.

    Args:
        campaign: The campaign file, or its name.
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 while sending; 0 takes any free one.
        output: text for people, json for programs.
        common: Common options.
    """
    settings = common.settings(**{"metrics.port": metrics_port})
    target = target_of(campaign, settings)
    return _send(target, target.campaign(), settings, output)


@app.command(help_flags=[])
def simulate(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a simulator of SES on this machine, a process of its own, until it is told to stop; --help lists its options.

    Args:
        arguments: Options of the simulator.
    """
    from bulksend.simulator.__main__ import main as simulator  # noqa: PLC0415

    return simulator(list(arguments))


def _rehearse(campaign: Path, settings: Settings, address: str | None, rows: int, output: Output) -> int:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.config import load_campaign  # noqa: PLC0415
    from bulksend.report import campaign_facts, print_status  # noqa: PLC0415

    file = load_campaign(campaign)
    people = for_people()
    if address is None:
        people.print("To a simulator on this machine; nothing leaves it.")
        sent = worker.dry_run(file, settings)
    else:
        people.print(f"The first {rows} of the list, to {address}.", highlight=False, markup=False)
        sent = worker.send_samples(file, settings, address, rows)
    if output == "json":
        print_json(campaign_facts(sent.campaign, sent.tally))
    else:
        print_status(people, sent.campaign, sent.tally)
    return int(sent.exit_code)


def _plan(target: Target, settings: Settings, *, again: bool, limit: int | None) -> None:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.report import print_plan  # noqa: PLC0415

    if target.file is None:
        raise UsageError(f"{target.name!r} is not a campaign file")
    people = for_people()
    with people.status("reading the list …") as shown:
        planned = worker.plan(
            target.file,
            settings,
            target.store,
            again=again,
            limit=limit,
            on_progress=lambda rows: shown.update(f"reading the list … {rows:,} rows"),
        )
    if planned.is_new:
        print_plan(people, planned.campaign, planned.warnings)


def _send(target: Target, found: Campaign, settings: Settings, output: Output) -> int:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.metrics import Metrics, MetricsServer  # noqa: PLC0415
    from bulksend.model import CampaignState  # noqa: PLC0415
    from bulksend.report import LiveProgress  # noqa: PLC0415
    from bulksend.worker.log import RunLog  # noqa: PLC0415

    target.store.refuse_pruned(found)
    people = for_people()
    metrics = Metrics()
    with contextlib.ExitStack() as stack:
        port = settings.metrics.port
        if port is not None:
            server = stack.enter_context(MetricsServer(metrics, port))
            people.print(f"metrics on {server.url}", highlight=False)
        if found.state is CampaignState.FINISHED:
            people.print("Nothing is left to send.")
        progress = stack.enter_context(LiveProgress(people, found.name, target.store.journal.tally(found)))
        sent = worker.send(
            found,
            settings,
            target.store,
            observers=(progress, metrics, RunLog(found.name)),
            on_drain=progress.say_draining,
        )
    print_facts(target, output, stream="people")
    if sent.interrupted:
        people.print(f"Interrupted. To go on: bulksend resume {found.name}", highlight=False)
    return int(sent.exit_code)
