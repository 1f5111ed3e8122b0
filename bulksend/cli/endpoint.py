"""Verbs about multi-region endpoints: what sends a campaign from two Regions."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from bulksend.cli.app import COMMON, Common, Output, app
from bulksend.cli.terminal import ask, console, for_people, print_json, some
from bulksend.errors import ExitCode

if TYPE_CHECKING:
    from bulksend.ses.endpoints import Endpoint

__all__ = ["endpoint"]

endpoint = App(
    name="endpoint",
    help="Multi-region endpoints: a campaign that names one (sender.endpoint_id) is sent from two Regions.",
    help_format="plaintext",
)
app.command(endpoint)

Flag = Annotated[bool, Parameter(negative="")]
Yes = Annotated[bool, Parameter(alias="-y", negative="")]


@endpoint.command(name="list")
def list_(*, output: Output = "text", common: Common = COMMON) -> int:
    """The endpoints whose primary Region is the one in force, with their states.

    Args:
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker.endpoint import list_endpoints  # noqa: PLC0415

    found = list_endpoints(common.settings())
    if output == "json":
        print_json([_facts(one) for one in found])
        return int(ExitCode.DONE)
    out = console(sys.stdout)
    for one in found:
        words = f"{one.name}  {one.endpoint_id}  {' + '.join(one.regions)}  {one.state}: {one.state.in_words}"
        out.print(words, highlight=False, markup=False, soft_wrap=True)
    if not found:
        for_people().print("no multi-region endpoint has its primary Region here")
    return int(ExitCode.DONE)


@endpoint.command
def show(name: str, *, output: Output = "text", common: Common = COMMON) -> int:
    """One endpoint: its id, Regions and state, and the campaigns of the store that are sent by it.

    Args:
        name: The endpoint's name.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker.endpoint import campaigns_of, show_endpoint  # noqa: PLC0415

    settings = common.settings()
    found = show_endpoint(name, settings)
    campaigns = campaigns_of(found, settings, Path.cwd())
    if output == "json":
        print_json(_facts(found) | {"campaigns": campaigns})
        return int(ExitCode.DONE)
    out = console(sys.stdout)
    for words in (
        f"id: {found.endpoint_id}",
        f"Regions: {' and '.join(found.regions)}, the first its primary",
        f"state: {found.state}: {found.state.in_words}",
        f"made: {_told(found.created_at)}; last changed: {_told(found.changed_at)}",
        f"campaigns: {', '.join(campaigns) or 'none of this store'}",
    ):
        out.print(words, highlight=False, markup=False, soft_wrap=True)
    return int(ExitCode.DONE)


@endpoint.command
def create(
    name: str,
    *,
    second_region: str,
    wait: Flag = False,
    yes: Yes = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Make an endpoint between the Region in force and a second one. It takes SES a while; then it is READY, or FAILED.

    Args:
        name: The endpoint's name.
        second_region: The other Region that mails are to leave from.
        wait: Wait until it is READY, an hour at most.
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker.endpoint import create_endpoint  # noqa: PLC0415

    settings, people = common.settings(), for_people()
    people.print(
        f"The endpoint {name} will be made in this account, between {settings.aws.region or 'the Region in force'} and "
        f"{second_region}. It changes nothing for campaigns that do not name it.",
        highlight=False,
        markup=False,
    )
    if not yes:
        ask(people, "Make it?", verb="make it", otherwise="Nothing was made.")
    with people.status("asking SES …") as shown:
        made = create_endpoint(
            name,
            second_region,
            settings,
            wait=wait,
            on_look=lambda one: shown.update(f"{one.state}: {one.state.in_words} …"),
        )
    if output == "json":
        print_json(_facts(made))
    people.print(
        f'{made.name} is {made.state}: {made.state.in_words}. In a campaign file: endpoint_id = "{made.endpoint_id}"',
        highlight=False,
        markup=False,
    )
    return int(ExitCode.DONE)


@endpoint.command
def delete(name: str, *, wait: Flag = False, yes: Yes = False, output: Output = "text", common: Common = COMMON) -> int:
    """Delete an endpoint. Campaigns of the store that are still to be sent by it are named: they could not be any more.

    Args:
        name: The endpoint's name.
        wait: Wait until it is gone, an hour at most.
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker.endpoint import campaigns_of, delete_endpoint, show_endpoint  # noqa: PLC0415

    settings, people = common.settings(), for_people()
    found = show_endpoint(name, settings)
    campaigns = campaigns_of(found, settings, Path.cwd())
    people.print(
        f"The endpoint {name} ({found.endpoint_id}, {' + '.join(found.regions)}, {found.state}) will be deleted, "
        "for good.",
        highlight=False,
        markup=False,
    )
    if campaigns:
        people.print(
            f"{some(len(campaigns), 'campaign')} of the store could not be sent any more: {', '.join(campaigns)}",
            style="yellow",
            highlight=False,
            markup=False,
        )
    if not yes:
        ask(people, "Delete it?", verb="delete it", otherwise="It is as it was.")
    with people.status("asking SES …") as shown:
        state = delete_endpoint(name, settings, wait=wait, on_look=lambda one: shown.update(f"{one.state} …"))
    if output == "json":
        print_json({"name": name, "state": state, "campaigns": campaigns})
    people.print(
        f"{name} is gone" if state is None else f"{name} is {state}: {state.in_words}", highlight=False, markup=False
    )
    return int(ExitCode.DONE)


def _facts(one: Endpoint) -> dict[str, Any]:
    return {
        "name": one.name,
        "endpoint_id": one.endpoint_id,
        "state": one.state,
        "regions": list(one.regions),
        "created_at": one.created_at,
        "changed_at": one.changed_at,
    }


def _told(at: float | None) -> str:
    return "not told" if at is None else f"{datetime.fromtimestamp(at, UTC):%F %T} UTC"
