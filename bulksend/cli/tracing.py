"""The verb that tells what became of one person, or of one mail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.terminal import console, print_json
from bulksend.errors import ExitCode


@app.command
def trace(
    address: str,
    campaign: Path | None = None,
    *,
    ses: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Tell all that is known of an address, or of a mail by its message id: did she get it, and if not, why?

    In the order of time: requests and their answers, what was decided, what events report. Copies (cc, bcc) are known
    by their events alone. Exit code 0 when anything is known, 2 when nothing is.

    Args:
        address: The address; or a message id, as SES gave it or as the mail's own header has it.
        campaign: Only this campaign, by its file or its name; else each campaign of the store at hand.
        ses: Ask SES too for its insights into the mails that are found: one a second, of the last ten.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.report import print_trace, trace_facts  # noqa: PLC0415
    from bulksend.worker import Store  # noqa: PLC0415
    from bulksend.worker.tracing import trace as follow  # noqa: PLC0415

    settings = common.settings()
    target = None if campaign is None else target_of(campaign, settings)
    store = Store.find(settings, Path.cwd()) if target is None else target.store
    found = follow(store, address, settings, campaign=None if target is None else target.name, ask_ses=ses)
    if output == "json":
        print_json(trace_facts(found))
    else:
        print_trace(console(sys.stdout), found)
    return int(ExitCode.DONE if found.known else ExitCode.USAGE)
