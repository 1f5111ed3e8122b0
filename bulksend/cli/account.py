"""Verbs about the account: its quota, its templates."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
from cyclopts import App, Parameter

from bulksend.cli.app import COMMON, Common, Output, app
from bulksend.cli.terminal import console, for_people, print_json
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bulksend.worker.account import Quota

__all__ = ["template"]

template = App(name="template", help="The templates that are stored in the account.", help_format="plaintext")
app.command(template)


@app.command
def quota(*, output: Output = "text", common: Common = COMMON) -> int:
    """What the account may send, and what it has sent in the last 24 hours; when they are spent, from when they free.

    That is known from what the store at hand has sent; without a store, SES's answer stands alone. A fleet's workers,
    which share a database, tell their present pace as well.

    Args:
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.pacing import refusal  # noqa: PLC0415
    from bulksend.report import rate_in_words  # noqa: PLC0415
    from bulksend.worker.account import read_quota  # noqa: PLC0415

    found = read_quota(common.settings(), Path.cwd())
    account = found.account
    limit = account.max_24_hour_send
    if output == "json":
        print_json(
            {
                "max_send_rate_per_s": account.max_send_rate_per_s,
                "max_24_hour_send": limit,
                "sent_last_24_hours": account.sent_last_24_hours,
                "sending_enabled": account.sending_enabled,
                "production_access": account.production_access,
                "enforcement_status": account.enforcement_status,
                "spent": found.day.is_spent,
                "frees_at": found.day.frees_at,
                "pace_per_s": found.pace_per_s,
            }
        )
        return int(ExitCode.DONE)
    out = console(sys.stdout)
    pace = "" if found.pace_per_s is None else f"; the workers send at {rate_in_words(found.pace_per_s)} a second now"
    out.print(f"{rate_in_words(account.max_send_rate_per_s)} recipients a second{pace}", highlight=False)
    of = "without limit" if limit is None else f"of {limit:,.0f}"
    out.print(f"{account.sent_last_24_hours:,.0f} {of} sent in the last 24 hours", highlight=False)
    halt = refusal(account, found.pace)
    if halt is not None:
        out.print(
            f"nothing can be sent: {halt.reason}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        out.print(f"what to do: {halt.remedy}", markup=False, highlight=False, soft_wrap=True)
    elif found.day.is_spent:
        out.print(_spent(found), style="yellow", markup=False, highlight=False, soft_wrap=True)
    if account.enforcement_status not in ("HEALTHY", "SHUTDOWN"):
        said = f"SES has the account under review (enforcement status {account.enforcement_status})"
        out.print(said, style="yellow", markup=False, highlight=False)
    if not account.production_access:
        out.print("[yellow]the account is in the sandbox: verified and mailbox-simulator addresses only[/]")
    return int(ExitCode.DONE)


def _spent(found: Quota) -> str:
    """The 24 hours that take no more: from when they do."""
    kept = f"; pacing.daily_reserve keeps {found.pace.daily_reserve:,} for others" if found.pace.daily_reserve else ""
    if found.day.frees_at is not None:
        until = datetime.fromtimestamp(found.day.frees_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"the 24-hour quota is spent{kept}; it frees from {until}, as what this store has sent is then a day old"
    if found.has_store:
        return f"the 24-hour quota is spent{kept}; not by this store, which so cannot tell when it frees"
    return f"the 24-hour quota is spent{kept}; it frees 24 hours after what was sent, which no store at hand tells"


@template.command(name="list")
def list_(*, output: Output = "text", common: Common = COMMON) -> int:
    """The names of the stored templates.

    Args:
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker.templates import list_templates  # noqa: PLC0415

    found = list_templates(common.settings())
    if output == "json":
        print_json([{"name": t.name, "created_at": t.created_at} for t in found])
    else:
        for one in found:
            console(sys.stdout).print(one.name, highlight=False, markup=False)
    return int(ExitCode.DONE)


@template.command
def push(file: Path, *, common: Common = COMMON) -> int:
    """Create or replace a stored template from a TOML file: name, subject, and html or text (or html_file, text_file).

    Args:
        file: The template's file.
        common: Common options.
    """
    from bulksend.worker.templates import push_template  # noqa: PLC0415

    for_people().print(push_template(file, common.settings()), highlight=False, markup=False)
    return int(ExitCode.DONE)


@template.command
def pull(name: str, *, output: Output = "text", common: Common = COMMON) -> int:
    """Show a stored template as a file that template push reads.

    Args:
        name: The template's name.
        output: text for that file, json for programs.
        common: Common options.
    """
    from bulksend.config import template_toml  # noqa: PLC0415
    from bulksend.worker.templates import pull_template  # noqa: PLC0415

    found = pull_template(name, common.settings())
    if output == "json":
        print_json(found)
    else:
        sys.stdout.write(template_toml(**found))
    return int(ExitCode.DONE)


@template.command
def render(
    campaign: Path,
    data: Annotated[str, Parameter(help="Template data as JSON; default_data of the campaign is under it.")] = "{}",
    *,
    common: Common = COMMON,
) -> int:
    """Let SES render the campaign's template with some data.

    Args:
        campaign: The campaign file.
        data: Template data as JSON; default_data of the campaign is under it.
        common: Common options.
    """
    from bulksend.config import load_campaign  # noqa: PLC0415
    from bulksend.worker.templates import render_template  # noqa: PLC0415

    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"the data is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError("the data is not a JSON object")
    print(render_template(load_campaign(campaign), values, common.settings()))  # noqa: T201  it is the data
    return int(ExitCode.DONE)
