"""Verbs by which a person decides."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from bulksend.cli.app import COMMON, Common, Output, app, target_of
from bulksend.cli.terminal import ask, for_people, print_facts, print_json, some
from bulksend.errors import ExitCode, UsageError

MANY = 100
"""Entries that are decided at once without a question."""


@app.command
def resolve(
    campaign: Path,
    *,
    accepted: Annotated[bool, Parameter(negative="")] = False,
    resend: Annotated[bool, Parameter(negative="")] = False,
    drop: Annotated[bool, Parameter(negative="")] = False,
    row: Annotated[list[int] | None, Parameter(negative="")] = None,
    status: Annotated[str, Parameter(show_default=False)] = "",
    older_than: str | None = None,
    why: Annotated[str, Parameter(show_default=False)] = "a person's decision",
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Show what is in doubt, or decide it: SES may have accepted these entries, and no answer says so.

    What events prove is settled first.

    Args:
        campaign: The campaign file, or its name.
        accepted: They were accepted: never send them again.
        resend: They were not: send them again (31 minutes after their request at the earliest).
        drop: Give them up: dead letters.
        row: Only this row of the list; may be given more than once.
        status: Only those with this status, such as NO_ANSWER.
        older_than: Only what has been in doubt for so long, such as "31 min", "2 h" or "1 day".
        why: The evidence, kept in the journal.
        yes: Do not ask, however many they are.
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
    settings = common.settings()
    target = target_of(campaign, settings)
    target.store.refuse_pruned(target.campaign())
    settled = worker.settle(target.store, target.campaign())
    older_than_s = _duration_s(older_than)
    found = list(worker.doubts(target.store, target.campaign(), row or (), status=status, older_than_s=older_than_s))
    if missing := sorted(set(row or ()).difference(d.row for d in found)):
        raise UsageError(
            f"not in doubt, or not in the list: row {', '.join(map(str, missing))}; nothing was decided",
            hint=f"What is in doubt: bulksend resolve {target.name}. A row's state: bulksend results {target.name}.",
        )
    people = for_people()
    if settled.mispaired:
        people.print(
            f"[yellow]Events tell of {settled.mispaired:,} mails under other rows than SES's answers did:[/] "
            "results are not in the order of the entries, so what the journal says of single rows may be another's.",
        )
    now = target.store.journal.now()
    if not chosen:
        if output == "json":
            print_json(
                [
                    {
                        "row": d.row,
                        "at": d.report.at,
                        "age_s": None if d.report.at is None else max(0.0, now - d.report.at),
                        "status": d.report.status,
                        "reason": d.report.reason,
                        "forgotten": d.forgotten,
                    }
                    for d in found
                ]
            )
        elif not print_doubts(people, ((d.row, d.report.status, d.report.reason, d.report.at) for d in found), now=now):
            people.print("Nothing of that kind is in doubt." if status or older_than else "Nothing is in doubt.")
        return int(ExitCode.SOME_IN_DOUBT if found else ExitCode.DONE)
    is_early = chosen[0] is SettlementVerdict.RESEND and worker.unheard(
        target.store, target.campaign(), found, expected=bool(settings.events.queues)
    )
    if is_early:
        people.print(
            "[yellow]No event tells of any mail that was sent as late as these:[/] what proves that they were accepted "
            "may wait in a queue still, and whoever it is about gets the mail twice. Whether messages wait: "
            "bulksend events status",
            soft_wrap=True,
        )
    if (is_early or len(found) > MANY) and not yes:
        ask(
            people,
            f"Decide {chosen[0].value} for {len(found):,} entries of {target.name}?",
            verb="decide",
            otherwise=f"Nothing was decided: {len(found):,} entries are in doubt.",
        )
    done = worker.resolve(target.store, target.campaign(), found, chosen[0], why)
    if output == "json":
        print_json(
            {"decided": done.decided, "too_early": done.too_early, "forgotten": done.forgotten, "in_doubt": done.left}
        )
    people.print(f"{done.decided:,} decided, {done.left:,} still in doubt", highlight=False)
    if done.too_early:
        people.print(
            f"{done.too_early:,} were sent less than 31 minutes ago: their signature may still be good. Try again then."
        )
    if done.forgotten:
        people.print(
            f"{done.forgotten:,} were removed by bulksend forget and cannot be sent again: decide --accepted or --drop."
        )
    if chosen[0] is SettlementVerdict.RESEND and done.decided:
        people.print(f"They are pending again: bulksend resume {target.name}", highlight=False)
    return int(ExitCode.SOME_IN_DOUBT if done.left else ExitCode.DONE)


def _duration_s(text: str | None) -> float:
    from bulksend.safety import duration_of  # noqa: PLC0415

    if text is None:
        return 0.0
    try:
        return duration_of(text)
    except ValueError as error:
        raise UsageError(f"--older-than {error}", hint='Write it so: "31 min", "2 h", "1 day".') from None


@app.command
def pause(campaign: Path, *, output: Output = "text", common: Common = COMMON) -> int:
    """Let the process that sends the campaign end, with the answers it waits for. bulksend resume goes on.

    Args:
        campaign: The campaign file, or its name.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    worker.pause(target.store, target.campaign())
    print_facts(target, output)
    for_people().print(
        f"Whoever sends it stops as soon as its answers are there. To go on: bulksend resume {target.name}",
        highlight=False,
    )
    return int(ExitCode.DONE)


@app.command
def cancel(
    campaign: Path,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Stop a campaign for good: what is pending is skipped. What is under way is still recorded.

    Args:
        campaign: The campaign file, or its name.
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    found = target.campaign()
    if not yes:
        ask(
            for_people(),
            f"Cancel {found.name} for good?",
            verb="cancel",
            otherwise=f"Nothing was cancelled: {found.name} is {found.state.value}.",
        )
    worker.cancel(target.store, found)
    print_facts(target, output)
    return int(ExitCode.DONE)


@app.command
def retry(
    campaign: Path,
    *,
    status: Annotated[str, Parameter(show_default=False)] = "",
    reason: Annotated[str, Parameter(show_default=False)] = "",
    why: Annotated[str, Parameter(show_default=False)] = "a person asked for a retry",
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Make what was refused for good (dead) pending again; bulksend resume sends it.

    Args:
        campaign: The campaign file, or its name.
        status: Only those with this status, such as MESSAGE_REJECTED.
        reason: Only those whose reason contains this text.
        why: Kept in the journal.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    done = worker.retry(target.store, target.campaign(), status=status, reason=reason, why=why)
    people = for_people()
    people.print(f"pending again: {done.again:,}", highlight=False)
    if done.forgotten:
        people.print(f"left as they are: {done.forgotten:,}, removed by bulksend forget", highlight=False)
    if done.too_early:
        people.print(
            f"left as they are: {done.too_early:,}, sent less than 31 minutes ago: their signature may still be good",
            highlight=False,
        )
    if done.dropped:
        were = (
            "row was dropped out of doubt: SES may have accepted it"
            if done.dropped == 1
            else ("rows were dropped out of doubt: SES may have accepted them")
        )
        people.print(
            f"left as they are: {done.dropped:,} {were}. To send even so: "
            f"bulksend retry {target.name} --status DROPPED",
            highlight=False,
        )
    print_facts(target, output)
    if done.again:
        people.print(f"To send it: bulksend resume {target.name}", highlight=False)
    return int(ExitCode.DONE)


@app.command
def prune(
    campaign: Path,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    common: Common = COMMON,
) -> int:
    """Remove the list of a campaign that is over, and SES's texts about its recipients. The numbers stay.

    The unsubscribe links in its mails lead nowhere then.

    Args:
        campaign: The campaign file, or its name.
        yes: Do not ask.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.worker.one_click import LINKS  # noqa: PLC0415

    target = target_of(campaign, common.settings())
    found = target.campaign()
    if LINKS in found.frozen:
        for_people().print(
            "[yellow]The unsubscribe links in its mails lead nowhere then:[/] whoever uses one is not suppressed, and "
            "is told that nothing is left to unsubscribe.",
        )
    if not yes:
        ask(
            for_people(),
            f"Remove the list of {found.name} for good?",
            verb="prune",
            otherwise=f"Nothing was removed: the list of {found.name} is still there.",
        )
    count = worker.prune(target.store, found)
    for_people().print(f"{some(count, 'file')} removed; bulksend status {found.name} still works", highlight=False)
    return int(ExitCode.DONE)


@app.command
def forget(
    address: str,
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Remove a person from every campaign of the store at hand: address, data, and SES's texts. The numbers stay.

    What was still to be sent to that address never will be. Lists outside the store are not touched, and neither is the
    list of suppressions.

    Args:
        address: The address.
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend import worker  # noqa: PLC0415
    from bulksend.worker import suppressing  # noqa: PLC0415

    store = worker.Store.find(common.settings(), Path.cwd())
    people = for_people()
    if not yes:
        ask(
            people,
            f"Remove this address from every campaign in {store.journal.place} for good?",
            verb="forget",
            otherwise="Nothing was removed.",
        )
    done = worker.forget(store, address)
    if output == "json":
        print_json(asdict(done))
    people.print(
        f"removed from {some(done.rows, 'row')} in {some(done.campaigns, 'campaign')}; "
        f"{done.never_sent:,} of them will never be sent",
        highlight=False,
    )
    if done.pruned:
        people.print(f"campaigns pruned before, with nothing left of their lists: {done.pruned:,}", highlight=False)
    if done.mentions:
        people.print(f"still mentioned in the data of other people: {some(done.mentions, 'row')}", highlight=False)
    people.print("Lists outside the store still have it, where they had it.", highlight=False)
    if suppressing.is_suppressed(store, address):
        people.print(
            "It stays on the list of suppressions, so that nobody writes there. To take it off that too: "
            "bulksend suppression remove ADDRESS",
            highlight=False,
        )
    return int(ExitCode.DONE)
