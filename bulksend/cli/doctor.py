"""The verb that looks for trouble before anything is sent."""

from __future__ import annotations

import sys
from pathlib import Path

from bulksend.cli.app import COMMON, Common, Output, app
from bulksend.cli.terminal import console, print_json
from bulksend.errors import ExitCode


@app.command
def doctor(campaign: Path | None = None, *, output: Output = "text", common: Common = COMMON) -> int:
    """Look for all that would keep a campaign from going out, and say what to do about it. Nothing is sent or changed.

    Credentials, account and quota; sender and DKIM; configuration set and its events; the template, rendered for some
    rows; tenant, reputation, suppression, unsubscribing; clock, store, queues. What cannot be asked is said to be so.
    Exit code 0 when nothing is at fault, 2 when something is.

    Args:
        campaign: The campaign file, or its name; without it, the account alone is looked at.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.report import Level, checks_facts, print_checks, verdict_of  # noqa: PLC0415
    from bulksend.worker.doctor import doctor as examine  # noqa: PLC0415

    checks = examine(None if campaign is None else str(campaign), common.settings())
    if output == "json":
        print_json(checks_facts(checks))
    else:
        print_checks(console(sys.stdout), checks)
    return int(ExitCode.USAGE if verdict_of(checks) is Level.FAULT else ExitCode.DONE)
