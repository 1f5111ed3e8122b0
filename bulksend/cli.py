"""The command line: verbs, options, exit codes; no policy.

Data goes to standard output, words for people to standard error. What is slow to import is imported where it is used.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

import bulksend
from bulksend.errors import BulksendError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from bulksend.config import Settings
    from bulksend.worker import Target

__all__ = ["main"]

app = App(
    name="bulksend",
    version=bulksend.__version__,
    help="Bulk mail through Amazon SES: the whole quota, nobody twice, nobody lost, and proof of it.",
    help_format="plaintext",
    result_action="return_value",
)

Output = Literal["text", "json"]
States = Literal["accepted", "dead", "in_doubt", "in_flight", "pending", "skipped"]


@Parameter(name="*", group="Common")
@dataclass(frozen=True)
class Common:
    """What every verb takes. Flags come before BULKSEND_* variables, those before the configuration file."""

    config: Path | None = None
    """Configuration file; else BULKSEND_CONFIG, else config.toml in the current folder."""
    store: str | None = None
    """Where journal and snapshots live: sqlite:FOLDER; else .bulksend beside the campaign file."""
    region: str | None = None
    """AWS Region to send from."""
    profile: str | None = None
    """Profile of the AWS configuration files."""
    endpoint_url: str | None = None
    """URL to speak to in place of Amazon SES, such as a simulator's."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """The least severe messages to log."""

    def settings(self, **more: object) -> Settings:
        """The settings in force. Raises ConfigError."""
        from bulksend.config import load_settings  # noqa: PLC0415
        from bulksend.worker.log import configure_log  # noqa: PLC0415

        flags = {
            "store": self.store,
            "aws.region": self.region,
            "aws.profile": self.profile,
            "aws.endpoint_url": self.endpoint_url,
            "log.level": self.log_level,
        }
        settings = load_settings(self.config, os.environ, flags | more)
        configure_log(settings.log.level, settings.log.format)
        return settings


COMMON = Common()


@app.command
def demo(*, recipients: int = 2000, common: Common = COMMON) -> int:
    """Send a made-up campaign to a simulator of SES that misbehaves, and check the books. Nothing leaves this machine.

    Args:
        recipients: How many rows the made-up list has.
        common: Common options.
    """
    from bulksend.demo import run_demo  # noqa: PLC0415

    return run_demo(_people(), recipients, common.settings())


@app.command
def plan(campaign: str, *, again: bool = False, output: Output = "text", common: Common = COMMON) -> int:
    """Check the list and freeze the campaign. Nothing is sent.

    Args:
        campaign: The campaign file.
        again: Allow a list and content that an earlier campaign has sent.
        output: text for people, json for programs.
        common: Common options.
    """
    target = _target(campaign, common.settings())
    _plan(target, common.settings(), again=again)
    found = target.campaign()
    _print_facts(target, output)
    return int(ExitCode.DONE if found.entries else ExitCode.USAGE)


@app.command
def send(
    campaign: str,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    again: bool = False,
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
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 while sending; 0 takes any free one.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.metrics import Metrics, MetricsServer  # noqa: PLC0415
    from bulksend.model import CampaignState  # noqa: PLC0415
    from bulksend.report import LiveProgress  # noqa: PLC0415
    from bulksend.worker.log import RunLog  # noqa: PLC0415

    settings = common.settings(**{"metrics.port": metrics_port})
    target = _target(campaign, settings)
    if target.file is not None:
        _plan(target, settings, again=again)
    found = target.campaign()
    people = _people()
    if found.state is CampaignState.PLANNED and not yes:
        _ask(people, f"Send to {found.recipients:,} recipients?")
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
    _print_facts(target, output, stream="people")
    if sent.interrupted:
        people.print(f"Interrupted. To go on: bulksend send {campaign}", highlight=False)
    return int(sent.exit_code)


@app.command
def status(campaign: str, *, output: Output = "text", common: Common = COMMON) -> int:
    """Where a campaign stands, and the check that nobody is lost.

    Args:
        campaign: The campaign file, or its name.
        output: text for people, json for programs.
        common: Common options.
    """
    target = _target(campaign, common.settings())
    return int(ExitCode.DONE if _print_facts(target, output) else ExitCode.UNEXPECTED)


@app.command
def results(
    campaign: str,
    *,
    state: Annotated[list[States] | None, Parameter(negative="")] = None,
    format: Literal["csv", "jsonl"] = "csv",  # noqa: A002  the option's name
    out: Path | None = None,
    common: Common = COMMON,
) -> int:
    """What became of each row, as a table.

    Args:
        campaign: The campaign file, or its name.
        state: Only rows in this state; may be given more than once.
        format: csv or jsonl.
        out: The file to write (readable by its owner only); standard output if not given.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.report import write_results  # noqa: PLC0415

    target = _target(campaign, common.settings())
    rows = worker.results(target.store, target.campaign(), state or ())
    if out is None:
        write_results(rows, format, sys.stdout)
        return int(ExitCode.DONE)
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        count = write_results(rows, format, file)
    _people().print(f"{count:,} rows in {out}", highlight=False)
    return int(ExitCode.DONE)


@app.command
def resolve(
    campaign: str,
    *,
    accepted: Annotated[bool, Parameter(negative="")] = False,
    resend: Annotated[bool, Parameter(negative="")] = False,
    drop: Annotated[bool, Parameter(negative="")] = False,
    row: Annotated[list[int] | None, Parameter(negative="")] = None,
    why: str = "a person's decision",
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Show what is in doubt, or decide it: SES may have accepted these entries, and no answer says so.

    Args:
        campaign: The campaign file, or its name.
        accepted: They were accepted: never send them again.
        resend: They were not: send them again (31 minutes after their request at the earliest).
        drop: Give them up: dead letters.
        row: Only this row of the list; may be given more than once.
        why: The evidence, kept in the journal.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.model import SettlementVerdict  # noqa: PLC0415
    from bulksend.report import print_doubts  # noqa: PLC0415

    chosen = [
        verdict
        for verdict, wanted in (
            (SettlementVerdict.ACCEPTED, accepted),
            (SettlementVerdict.RESEND, resend),
            (SettlementVerdict.DROP, drop),
        )
        if wanted
    ]
    if len(chosen) > 1:
        raise UsageError("--accepted, --resend and --drop exclude each other")
    target = _target(campaign, common.settings())
    found = list(worker.doubts(target.store, target.campaign(), row or ()))
    people = _people()
    if not chosen:
        if output == "json":
            _print_json([{"row": d.row, "at": d.report.at, "reason": d.report.reason} for d in found])
        elif not print_doubts(people, ((d.row, d.report.status, d.report.reason, d.report.at) for d in found)):
            people.print("Nothing is in doubt.")
        return int(ExitCode.SOME_IN_DOUBT if found else ExitCode.DONE)
    done = worker.resolve(target.store, target.campaign(), found, chosen[0], why)
    if output == "json":
        _print_json({"decided": done.decided, "too_early": done.too_early, "in_doubt": done.left})
    people.print(f"{done.decided:,} decided, {done.left:,} still in doubt")
    if done.too_early:
        people.print(
            f"{done.too_early:,} were sent less than 31 minutes ago: their signature may still be good. Try again then."
        )
    if chosen[0] is SettlementVerdict.RESEND and done.decided:
        people.print(f"They are pending again: bulksend send {campaign}", highlight=False)
    return int(ExitCode.SOME_IN_DOUBT if done.left else ExitCode.DONE)


@app.command(help_flags=[])
def simulate(*arguments: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Run a simulator of SES on this machine, a process of its own, until it is told to stop; --help lists its options.

    Args:
        arguments: Options of the simulator.
    """
    from bulksend.simulator.__main__ import main as simulator  # noqa: PLC0415

    return simulator(list(arguments))


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
    _print_json(shown)
    return int(ExitCode.DONE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every error becomes words and an exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
        return int(code) if isinstance(code, int) else int(ExitCode.DONE)
    except CycloptsError as error:
        return _complain(UsageError(str(error).rstrip(".")))
    except BulksendError as error:
        return _complain(error)
    except KeyboardInterrupt:
        _people().print("Interrupted.")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  whoever read the output has left
        return int(ExitCode.DONE)
    except Exception as error:
        if os.environ.get("BULKSEND_LOG_LEVEL") == "debug" or "debug" in arguments:
            raise
        return _complain(BulksendError(f"{type(error).__name__}: {error}"))


def _target(campaign: str, settings: Settings) -> Target:
    from bulksend.worker import find_target  # noqa: PLC0415

    return find_target(campaign, settings)


def _plan(target: Target, settings: Settings, *, again: bool) -> None:
    from bulksend import worker  # noqa: PLC0415
    from bulksend.report import print_plan  # noqa: PLC0415

    if target.file is None:
        raise UsageError(f"{target.name!r} is not a campaign file")
    people = _people()
    with people.status("reading the list …") as shown:
        planned = worker.plan(
            target.file,
            settings,
            target.store,
            again=again,
            on_progress=lambda rows: shown.update(f"reading the list … {rows:,} rows"),
        )
    if planned.is_new:
        print_plan(people, planned.campaign, planned.warnings)


def _print_facts(target: Target, output: Output, stream: Literal["data", "people"] = "data") -> bool:
    """The campaign's buckets in the form asked for; whether they add up."""
    from bulksend.report import campaign_facts, print_status  # noqa: PLC0415

    found = target.campaign()
    tally = target.store.journal.tally(found)
    if output == "json":
        _print_json(campaign_facts(found, tally))
    else:
        print_status(_people() if stream == "people" else _console(sys.stdout), found, tally)
    return tally.adds_up


def _ask(people: Console, question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="Pass --yes to send without being asked.")
    people.print(f"{question} \\[y/N] ", end="")
    if input().strip().lower() not in {"y", "yes"}:
        raise UsageError("not sent", hint="The plan is kept: bulksend send goes on from here.")


def _complain(error: BulksendError) -> int:
    people = _people()
    people.print(f"error: {error.message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        people.print(f"what to do: {error.hint}", markup=False, highlight=False, soft_wrap=True)
    return int(error.exit_code)


def _print_json(value: object) -> None:
    import orjson  # noqa: PLC0415

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


def _people() -> Console:
    return _console(sys.stderr)


def _console(stream: object) -> Console:
    from rich.console import Console  # noqa: PLC0415

    return Console(file=stream)  # type: ignore[arg-type]
