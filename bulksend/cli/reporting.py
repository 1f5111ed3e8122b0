"""The verb that writes a page for people."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.terminal import complain, for_people, print_json, private_file
from bulksend.errors import ExitCode, UsageError

BEGIN = b"<!DOCTYPE html>"


@app.command
def report(
    campaign: Path,
    *,
    out: Path | None = None,
    addresses: Annotated[bool, Parameter(negative="")] = False,
    ses: Annotated[bool, Parameter(negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Write a page for people: how a campaign went, and that nobody is lost.

    One HTML file that needs nothing else: to be read on any screen, printed, or handed on. Addresses in it are masked.

    Args:
        campaign: The campaign file, or its name.
        out: The file to write (readable by its owner only); CAMPAIGN-report.html in the current folder if not given.
        addresses: Show the addresses of the rows that are listed. The page says so at its top.
        ses: Ask SES for its own metrics of the campaign's configuration set (Virtual Deliverability Manager), and show
            them beside those of the events.
        output: text for people, json for programs: the numbers of status, SES's own (by_ses) and the file.
        common: Common options.
    """
    from bulksend.report import campaign_facts, render_page, ses_metrics_facts  # noqa: PLC0415
    from bulksend.worker.reporting import report_on  # noqa: PLC0415

    settings = common.settings()
    target = target_of(campaign, settings)
    out = out or Path(f"{target.name}-report.html")
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint=f"Name a file in it: --out {out / f'{target.name}-report.html'}.")
    _refuse_other(out)
    reported = report_on(target.store, target.name, settings, with_addresses=addresses, by_ses=ses)
    found = reported.report
    page = render_page(found).encode()
    with private_file(out) as file:
        file.write(page)
    people = for_people()
    if reported.warning:
        people.print(f"without rows of the list: {reported.warning}", highlight=False, markup=False)
    if output == "json":
        untold = "" if reported.untold is None else reported.untold.message
        facts = campaign_facts(
            found.campaign,
            found.tally,
            found.became,
            orphaned=found.orphaned,
            held_up=found.held_up,
            untold=untold,
        )
        facts |= {"file": str(out), "size_bytes": len(page), "with_addresses": found.with_addresses}
        print_json(facts | {"by_ses": ses_metrics_facts(found.by_ses)})
    else:
        personal = ", with addresses of recipients" if found.with_addresses else ""
        people.print(f"The report on {found.campaign.name} is in {out}{personal}", highlight=False, markup=False)
    code = int(ExitCode.DONE) if reported.untold is None else complain(reported.untold)
    return code if found.tally.adds_up else int(ExitCode.UNEXPECTED)


def _refuse_other(out: Path) -> None:
    """What is no report is not replaced by one. Raises UsageError."""
    with suppress(OSError):  # whoever writes it says what is wrong
        if out.is_file():
            with out.open("rb") as file:
                begin = file.read(len(BEGIN))
            if begin not in {b"", BEGIN}:
                raise UsageError(f"{out} is there, and is no report", hint="Name another file with --out.")
