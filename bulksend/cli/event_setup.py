"""Verbs that bring events to a queue, and that look whether they come there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output
from bulksend.cli.events import events
from bulksend.cli.terminal import ask, console, for_people, print_json, some
from bulksend.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from bulksend.events.setup import Piece
    from bulksend.report import Check
    from bulksend.worker.event_setup import Made, SetupPlan
    from bulksend.worker.event_status import EventsAsFound


@events.command
def setup(
    configuration_set: str,
    *,
    via: Literal["sns", "eventbridge"] = "sns",
    name: str | None = None,
    also: Annotated[tuple[Literal["send", "open", "click"], ...], Parameter(negative="", consume_multiple=True)] = (),
    create: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Have SES send a configuration set's events to a queue of yours: shows what is there and what it would make, asks.

    By SNS: topic, queue, dead-letter queue, subscription, event destination. By EventBridge: a rule in place of topic
    and subscription. What is there is kept; what somebody has made otherwise is shown, and nothing is made then.

    Args:
        configuration_set: The configuration set, as campaigns name it.
        via: What carries the events; to eventbridge, SES delivers by best effort only.
        name: What all parts are called; else the configuration set's name and -events.
        also: Types of events besides the seven that are needed; named after CONFIGURATION-SET.
        create: Make the configuration set too, if there is none.
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.event import EventType  # noqa: PLC0415
    from bulksend.events.wiring import Via  # noqa: PLC0415
    from bulksend.worker.event_setup import EventSetup, Wanted, default_name  # noqa: PLC0415

    wanted = Wanted(
        configuration_set,
        name or default_name(configuration_set),
        Via(via),
        frozenset(EventType(kind) for kind in also),
        create,
    )
    people = for_people()
    with EventSetup(common.settings(), wanted) as work:
        plan = work.look()
        _show(people, plan)
        if plan.different:
            people.print("Nothing was made: see what is different above.", highlight=False)
            if output == "json":
                print_json(_facts(plan, made=None))
            return int(ExitCode.USAGE)
        if plan.to_do and not yes:
            ask(people, f"Do that to {some(len(plan.to_do), 'part')}?", verb="do it", otherwise="Nothing was made.")
        made = work.make(plan, lambda piece: people.print(f"done: {piece.name}", highlight=False, markup=False))
    if not plan.to_do:
        people.print("Everything is there: nothing was changed.", highlight=False)
    if output == "json":
        print_json(_facts(plan, made))
    else:
        _show_made(people, made)
    return int(ExitCode.DONE)


@events.command
def status(configuration_set: str | None = None, *, output: Output = "text", common: Common = COMMON) -> int:
    """Whether events come to where they are taken from, and how much waits there. Nothing is changed.

    The configuration set's event destinations of all kinds, what each covers, which needed types none brings to a
    queue; where its topics and rules lead; messages and dead letters of the queues of the settings (events.queues).
    Unless CloudWatch says that messages wait for long, they are counted twice, 5 seconds apart: that nobody takes them
    is a warning. What cannot be asked is said to be so. Exit code 0 when nothing is at fault, 2 when something is.

    Args:
        configuration_set: The configuration set, as campaigns name it; without it, the queues alone.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.report import Level, print_checks, verdict_of  # noqa: PLC0415
    from bulksend.worker.event_status import judge_events, look_at_events  # noqa: PLC0415

    found = look_at_events(configuration_set, common.settings())
    checks = judge_events(found)
    if output == "json":
        print_json(_standing_facts(found, checks))
    else:
        print_checks(console(sys.stdout), checks)
    return int(ExitCode.USAGE if verdict_of(checks) is Level.FAULT else ExitCode.DONE)


_VERBS = {"there": "is there", "missing": "to make", "unfinished": "to complete", "different": "different"}
_WIDTH = max(map(len, _VERBS.values()))


def _show(people: Console, plan: SetupPlan) -> None:
    wiring = plan.wiring
    people.print(
        f"account {wiring.account}, Region {wiring.region}: events of the configuration set {wiring.configuration_set}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for piece in plan.pieces:
        line = f"  {_VERBS[piece.state.value]:<{_WIDTH}}  {piece.name}{f': {piece.says}' if piece.says else ''}"
        people.print(line, highlight=False, markup=False, soft_wrap=True)
        if piece.remedy:
            remedy = f"  {'':<{_WIDTH}}  what to do: {piece.remedy}"
            people.print(remedy, highlight=False, markup=False, soft_wrap=True)


def _show_made(people: Console, made: Made) -> None:
    """What goes into files, to standard output."""
    import orjson  # noqa: PLC0415

    if made.is_named:
        people.print("config.toml names the queue already:", highlight=False)
    else:
        people.print("For config.toml, beside the queues that are there:", highlight=False)
    out = console(sys.stdout)
    out.print(f'[events]\nqueues = ["{made.queue_url}"]', highlight=False, markup=False, soft_wrap=True)
    people.print("For whoever takes the events, in IAM:", highlight=False)
    policy = {"Version": "2012-10-17", "Statement": made.statements}
    text = orjson.dumps(policy, option=orjson.OPT_INDENT_2).decode()
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _facts(plan: SetupPlan, made: Made | None) -> dict[str, object]:
    wiring, changed = plan.wiring, plan.to_do if made is not None else ()
    return {
        "account": wiring.account,
        "region": wiring.region,
        "configuration_set": wiring.configuration_set,
        "name": wiring.name,
        "via": wiring.via.value,
        "changed": len(changed),
        "pieces": [_piece_facts(piece, changed=piece in changed) for piece in plan.pieces],
        "queue_url": made.queue_url if made is not None else None,
        "statements": list(made.statements) if made is not None else None,
    }


def _piece_facts(piece: Piece, *, changed: bool) -> dict[str, object]:
    return {
        "name": piece.name,
        "found": piece.state.value,
        "says": piece.says,
        "remedy": piece.remedy,
        "changed": changed,
    }


def _standing_facts(found: EventsAsFound, checks: list[Check]) -> dict[str, object]:
    from bulksend.report import checks_facts  # noqa: PLC0415
    from bulksend.ses.sets import ConfigurationSet  # noqa: PLC0415

    kept = found.kept
    destinations = kept.destinations if isinstance(kept, ConfigurationSet) else ()
    return {
        **checks_facts(checks),
        "configuration_set": found.name or None,
        "destinations": [
            {
                "name": one.name,
                "kind": one.kind,
                "target": one.target,
                "enabled": one.enabled,
                "types": sorted(kind.value for kind in one.types),
            }
            for one in destinations
        ],
        "queues": [
            {
                "url": queue.url,
                "why_not": queue.why or None,
                "waiting": None if queue.why else queue.waiting,
                "in_flight": None if queue.why else queue.in_flight,
                "oldest_s": queue.oldest_s.value,
                "nobody_takes": queue.still,
                "dead_letters": queue.dead.value,
            }
            for queue in found.queues
        ],
    }
