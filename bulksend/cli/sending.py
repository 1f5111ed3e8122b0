"""Verbs that plan and send."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.terminal import ask, for_people, print_facts, print_json, some
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import Console

    from bulksend.config import Settings
    from bulksend.metrics import Metrics
    from bulksend.model import Campaign
    from bulksend.worker import Rehearsed, Target

Count = Annotated[int, Parameter(validator=Number(gte=1))]
SAMPLES = 3


@app.command
def demo(*, recipients: Count = 2000, common: Common = COMMON) -> int:
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
    again: Annotated[bool, Parameter(negative="")] = False,
    limit: Count | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Check the list and freeze the campaign. Nothing is sent.

    Args:
        campaign: The campaign file.
        again: Allow a list and content that an earlier campaign has sent.
        limit: Plan only so many from the beginning of the list. The campaign never sends to the rest of it, whatever is
            said later: that needs a list and a campaign of its own.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.model import CampaignState  # noqa: PLC0415

    settings = common.settings()
    target = target_of(campaign, settings, to_plan=True)
    plan_target(target, settings, again=again, limit=limit)
    found = target.campaign()
    if found.state is CampaignState.PLANNED:
        show_prospects(target, found, target.store.journal.tally(found).pending, settings)
    print_facts(target, output)
    return int(ExitCode.DONE if found.entries else ExitCode.USAGE)


@app.command
def send(
    campaign: Path,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    again: Annotated[bool, Parameter(negative="")] = False,
    limit: Count | None = None,
    test: str | None = None,
    rows: Count | None = None,
    dry_run: Annotated[bool, Parameter(negative="")] = False,
    metrics_port: int | None = None,
    metrics_textfile: Path | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Plan the campaign if that has not been done, ask, and send; a campaign that was stopped goes on where it was.

    Exit codes: 0 done; 2 usage or configuration, nothing was sent; 3 finished, some were refused (dead); 4 some may
    have been accepted (in doubt); 5 halted or paused; 6 another process is at work; 130 interrupted.

    Args:
        campaign: The campaign file, or the name of a planned campaign.
        yes: Do not ask.
        again: Allow a list and content that an earlier campaign has sent.
        limit: Plan only so many from the beginning of the list. The campaign never sends to the rest of it, whatever is
            said later: that needs a list and a campaign of its own.
        test: Send samples to this address instead, as they would go out: real mail, of a campaign file. The campaign is
            not touched.
        rows: How many samples --test sends; 3 if not given.
        dry_run: Send everything to a simulator on this machine instead, which reaches nobody.
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 while sending; 0 takes any free one.
        metrics_textfile: Write them to this file, every ten seconds and at the end, for node_exporter's textfile
            collector.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.model import CampaignState  # noqa: PLC0415
    from bulksend.report import print_plan  # noqa: PLC0415
    from bulksend.worker.planning import unheard_canary  # noqa: PLC0415

    settings = _settings(common, metrics_port, metrics_textfile)
    if rows is not None and test is None:
        raise UsageError("--rows is how many samples --test sends", hint="To send to the first of a list: --limit.")
    if test is not None or dry_run:
        _refuse_metrics_of_rehearsal(metrics_port, metrics_textfile)
        return _rehearse(campaign, settings, test, rows, limit, output, dry_run=dry_run)
    target = target_of(campaign, settings, to_plan=True)
    is_known = target.store.journal.find(target.name) is not None  # then nothing is planned, only compared
    with _exposed(settings) as metrics:
        with contextlib.nullcontext() if metrics is None or is_known else metrics.planning() as on_progress:
            shown = plan_if_file(target, settings, "send", again=again, limit=limit, on_progress=on_progress)
        found = target.campaign()
        people = for_people()
        if target.file is None:
            _warn(unheard_canary(found, settings))
        if found.state is CampaignState.PLANNED and not yes:
            pending = target.store.journal.tally(found).pending
            if not shown:
                print_plan(people, found, ())
            show_prospects(target, found, pending, settings)
            ask(
                people,
                f"Send to {found.recipients:,} recipients?"
                if pending == found.entries
                else f"Send what is pending of {found.name}, {pending:,} of {found.entries:,} mails?",
                verb="send",
                otherwise="Nothing was sent. The plan is kept: bulksend send goes on from here.",
            )
        return _send(target, found, settings, output, metrics)


@app.command
def resume(
    campaign: Path,
    *,
    metrics_port: int | None = None,
    metrics_textfile: Path | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Go on with a campaign that was paused, halted or interrupted. Exit codes are those of send.

    Where a worker is at the store, it is left to that; else it is sent by this process.

    Args:
        campaign: The campaign file, or its name.
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 while sending; 0 takes any free one.
        metrics_textfile: Write them to this file, every ten seconds and at the end, for node_exporter's textfile
            collector.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415

    settings = _settings(common, metrics_port, metrics_textfile)
    target = target_of(campaign, settings)
    if worker.has_worker(target.store):
        worker.queue(target.store, target.campaign())
        print_facts(target, output)
        for_people().print(f"A worker has it. To look on: bulksend status {target.name} --watch", highlight=False)
        return int(ExitCode.DONE)
    with _exposed(settings) as metrics:
        return _send(target, target.campaign(), settings, output, metrics)


@app.command(help_flags=[])
def simulate(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a simulator of SES on this machine, a process of its own, until it is told to stop; --help lists its options.

    Args:
        arguments: Options of the simulator.
    """
    from bulksend.simulator.__main__ import main as simulator  # noqa: PLC0415

    return simulator(list(arguments))


def _refuse_metrics_of_rehearsal(port: int | None, textfile: Path | None) -> None:
    for option, value in (("--metrics-port", port), ("--metrics-textfile", textfile)):
        if value is not None:
            raise UsageError(
                f"{option} is not for a rehearsal, which is not counted",
                hint=f"Leave it out, or leave out --test and --dry-run: {option} shows a campaign that is sent.",
            )


def _rehearse(  # noqa: PLR0917  the options
    campaign: Path,
    settings: Settings,
    address: str | None,
    rows: int | None,
    limit: int | None,
    output: Output,
    *,
    dry_run: bool,
) -> int:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.config import load_campaign  # noqa: PLC0415
    from bulksend.report import campaign_facts, print_status  # noqa: PLC0415

    if address is not None and dry_run:
        raise UsageError(
            "--test and --dry-run exclude each other", hint="--test sends real mail, by SES; --dry-run sends none."
        )
    if address is not None and limit is not None:
        raise UsageError("--limit is not for samples", hint="--rows says how many of them --test sends.")
    if not worker.is_file(campaign):
        raise UsageError(
            f"samples and dry runs are made of a campaign file, and there is no file {str(campaign)!r}",
            hint=f"If that is the name of a campaign, name the file that it was planned from, such as {campaign}.toml.",
        )
    file = load_campaign(campaign)
    people = for_people()
    if address is None:
        people.print("To a simulator on this machine; nothing leaves it.")
        done = worker.dry_run(file, settings, limit=limit)
    else:
        many = "row" if rows == 1 else f"{rows or SAMPLES} rows"
        people.print(f"The first {many} that can be sent, to {address}.", highlight=False, markup=False)
        done = worker.send_samples(file, settings, address, rows or SAMPLES)
    sent = done.sent
    what = "dry run" if address is None else "samples"
    if output == "json":
        print_json({"rehearsal": what} | campaign_facts(sent.campaign, sent.tally))
    else:
        print_status(people, sent.campaign, sent.tally, rehearsal=what)
    _print_failures(people, done)
    return int(sent.exit_code)


def _print_failures(people: Console, done: Rehearsed) -> None:
    """There and then: the store that has them is gone."""
    for row in done.failures:
        people.print(
            f"row {row.row}, {row.address}: {row.state.replace('_', ' ')}, {row.status}: {row.reason}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    more = done.sent.tally.dead + done.sent.tally.in_doubt - len(done.failures)
    if more > 0:
        people.print(f"and {some(more, 'row')} more", highlight=False)


def plan_if_file(
    target: Target,
    settings: Settings,
    verb: str,
    *,
    again: bool,
    limit: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> bool:
    """Plan what was named by its file, for a verb that goes on from there; whether it is new, and so has been shown."""
    if target.file is not None:
        return plan_target(target, settings, again=again, limit=limit, on_progress=on_progress)
    if limit is not None or again:
        raise UsageError(
            f"{target.name!r} is the name of a campaign, and --limit and --again are for planning one",
            hint=f"Name a campaign file that has not been planned yet; or leave them out to {verb} what was planned.",
        )
    return False


def plan_target(
    target: Target,
    settings: Settings,
    *,
    again: bool,
    limit: int | None,
    on_progress: Callable[[int], None] | None = None,
) -> bool:
    """Plan a campaign; whether it is new, and so has been shown. `on_progress` is told the rows read so far."""
    from bulksend import worker  # noqa: PLC0415
    from bulksend.report import print_plan  # noqa: PLC0415
    from bulksend.worker.planning import LIMIT  # noqa: PLC0415

    if target.file is None:
        raise UsageError(
            f"there is no campaign file {target.name!r}", hint=f"Name the file, such as {target.name}.toml."
        )
    people = for_people()
    with people.status("reading the list …") as shown:

        def tell(rows: int) -> None:
            shown.update(f"reading the list … {rows:,} rows")
            if on_progress is not None:
                on_progress(rows)

        planned = worker.plan(target.file, settings, target.store, again=again, limit=limit, on_progress=tell)
    if planned.is_new:
        print_plan(people, planned.campaign, planned.warnings)
        return True
    if limit is None and LIMIT in planned.campaign.frozen:
        people.print(
            f"{planned.campaign.name} was planned with --limit {planned.campaign.frozen[LIMIT]}, and stays so limited.",
            highlight=False,
        )
    _warn(planned.warnings)
    return False


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        _say(f"warning: {warning}")


def show_prospects(target: Target, found: Campaign, pending: int, settings: Settings) -> None:
    """How long so many mails take, and what of the account stands in their way, where that can be had at once."""
    from bulksend.report import print_prospects  # noqa: PLC0415
    from bulksend.worker.outlook import prospects  # noqa: PLC0415
    from bulksend.worker.running import pace_of  # noqa: PLC0415

    recipients = found.recipients if pending == found.entries else pending
    print_prospects(for_people(), prospects(found, recipients, settings, pace_of(settings), target.store))


def _settings(common: Common, metrics_port: int | None, metrics_textfile: Path | None) -> Settings:
    """With what was said of the metrics."""
    textfile = None if metrics_textfile is None else str(metrics_textfile)
    return common.settings(**{"metrics.port": metrics_port, "metrics.textfile": textfile})


def _say(words: str) -> None:
    for_people().print(words, highlight=False, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _exposed(settings: Settings) -> Iterator[Metrics | None]:
    """What counts this run, and can be looked at while inside; None if nobody wants to look."""
    from bulksend.metrics import Metrics, MetricsFile, MetricsServer  # noqa: PLC0415

    port, textfile = settings.metrics.port, settings.metrics.textfile
    if port is None and textfile is None:
        yield None
        return
    metrics = Metrics(campaigns=settings.metrics.campaigns)
    with contextlib.ExitStack() as stack:
        if port is not None:
            server = stack.enter_context(MetricsServer(metrics, port))
            for_people().print(f"metrics on {server.url}", highlight=False)
        if textfile is not None:
            stack.enter_context(MetricsFile(metrics, Path(textfile), _say))
        yield metrics


def _send(target: Target, found: Campaign, settings: Settings, output: Output, metrics: Metrics | None) -> int:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.model import CampaignState  # noqa: PLC0415
    from bulksend.report import LiveProgress  # noqa: PLC0415
    from bulksend.worker.log import RunLog  # noqa: PLC0415

    target.store.refuse_pruned(found)
    people = for_people()
    if found.state is CampaignState.FINISHED:
        people.print("Nothing is left to send.")
    with LiveProgress(people, found.name, target.store.journal.tally(found)) as progress:
        sent = worker.send(
            found,
            settings,
            target.store,
            observers=(progress, RunLog(found.name, on_terminal=people.is_terminal)),
            metrics=metrics,
            on_drain=progress.say_draining,
        )
    print_facts(target, output, stream="people")
    if sent.interrupted:
        people.print(f"Interrupted. To go on: bulksend resume {found.name}", highlight=False)
    elif sent.campaign.state is CampaignState.PAUSED:
        people.print(f"Paused. To go on: bulksend resume {found.name}", highlight=False)
    return int(sent.exit_code)
