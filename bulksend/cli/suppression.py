"""Verbs about whom not to write to."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from bulksend.cli.app import COMMON, Common, Output, app
from bulksend.cli.terminal import ask, for_people, print_json, some
from bulksend.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from bulksend.config import Settings
    from bulksend.worker import Store
    from bulksend.worker.suppressing import Imported

__all__ = ["suppression"]

suppression = App(
    name="suppression",
    help="Whom no campaign of the store writes to: asked at the plan, and again before each mail.",
    help_format="plaintext",
)
app.command(suppression)

Reason = Literal["bounce", "complaint", "unsubscribe", "manual"]
MANY_PER_S = 1


@suppression.command
def add(*addresses: str, reason: Reason = "manual", output: Output = "text", common: Common = COMMON) -> int:
    """Write to these addresses no more.

    Args:
        addresses: The addresses.
        reason: Why, as it is kept. Those that are on the list already keep theirs, unless this one is weightier, in the
            order unsubscribe, complaint, manual, bounce.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.event import SuppressionReason  # noqa: PLC0415
    from bulksend.worker import suppressing  # noqa: PLC0415

    _want(addresses)
    store = _store(common.settings())
    new = suppressing.add(store, addresses, SuppressionReason(reason))
    if output == "json":
        print_json({"added": new, "known": len(addresses) - new})
    for_people().print(f"{new:,} added, {len(addresses) - new:,} known already", highlight=False)
    return int(ExitCode.DONE)


@suppression.command
def remove(*addresses: str, output: Output = "text", common: Common = COMMON) -> int:
    """These addresses may be written to again. What was not sent for it stays dead: bulksend retry --status SUPPRESSED.

    Args:
        addresses: The addresses.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker import suppressing  # noqa: PLC0415

    _want(addresses)
    gone = suppressing.remove(_store(common.settings()), addresses)
    if output == "json":
        print_json({"removed": gone, "unknown": len(addresses) - gone})
    people = for_people()
    people.print(f"{gone:,} removed, {len(addresses) - gone:,} not on the list", highlight=False)
    if not gone:
        people.print("Nothing was changed. Who is on the list, and why: bulksend suppression list", highlight=False)
        return int(ExitCode.DONE)
    people.print(
        "The account's own suppression list is as it was. Mails that were not sent for it: bulksend retry CAMPAIGN "
        "--status SUPPRESSED, then bulksend resume CAMPAIGN",
        highlight=False,
    )
    return int(ExitCode.DONE)


@suppression.command(name="list")
def list_(*, output: Literal["text", "json", "csv"] = "text", common: Common = COMMON) -> int:
    """Everybody who is not written to, by address, with reason, source and time.

    Args:
        output: text for people; json, an object on each line, or csv for programs.
        common: Common options.
    """
    from bulksend.report import write_suppressions  # noqa: PLC0415

    store = _store(common.settings())
    count = write_suppressions(store.events.suppressions(), output, sys.stdout)
    for_people().print(some(count, "address") if count == 1 else f"{count:,} addresses", highlight=False)
    return int(ExitCode.DONE)


@suppression.command(name="import")
def import_(
    file: Path,
    *,
    column: str = "email",
    reason: Reason = "manual",
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Write to nobody in a file any more.

    Args:
        file: A list (.csv, also compressed, or .parquet), or a .txt file with an address on each line.
        column: The list's column of addresses.
        reason: Why, as it is kept. Those that are on the list already keep theirs, unless this one is weightier, in the
            order unsubscribe, complaint, manual, bounce.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.event import SuppressionReason  # noqa: PLC0415
    from bulksend.worker import suppressing  # noqa: PLC0415

    store = _store(common.settings())
    done = suppressing.import_file(store, file, column, SuppressionReason(reason))
    if output == "json":
        print_json(asdict(done))
    for_people().print(
        f"{done.added:,} added, {done.known:,} known already, {_no_addresses(done.refused)}{_where(done)}",
        highlight=False,
    )
    return int(ExitCode.DONE)


@suppression.command
def sync(*, output: Output = "text", common: Common = COMMON) -> int:
    """Take over the account's own suppression list: a thousand addresses a second. Interrupted, the next goes on.

    Args:
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker import suppressing  # noqa: PLC0415

    settings = common.settings()
    store = _store(settings)
    people = for_people()
    with people.status("reading the account's list …") as shown:
        done = suppressing.sync(
            store, settings, lambda read: shown.update(f"reading the account's list … {read:,} addresses")
        )
    if output == "json":
        print_json(asdict(done))
    rest = " (the rest was read before)" if done.resumed else ""
    people.print(f"{done.read:,} read{rest}, {done.added:,} of them new here", highlight=False)
    return int(ExitCode.DONE)


@suppression.command
def push(
    *,
    yes: Annotated[bool, Parameter(alias="-y", negative="")] = False,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Put bounces and complaints that are suppressed here on the account's own list too: one a second.

    Args:
        yes: Do not ask.
        output: text for people, json for programs.
        common: Common options.
    """
    from bulksend.worker import suppressing  # noqa: PLC0415

    settings = common.settings()
    store = _store(settings)
    people = for_people()
    with people.status("reading the account's list …"):
        what = suppressing.to_push(store, settings)
    people.print(
        f"{some(what.addresses, 'address') if what.addresses == 1 else f'{what.addresses:,} addresses'} not on the "
        f"account's list of {what.listed:,}; to put them there takes {_how_long(what.addresses)}",
        highlight=False,
    )
    done = suppressing.Pushed(0, 0)
    if what.addresses:
        if not yes:
            ask(people, "Put them on the account's list?", verb="push", otherwise="Nothing was put there.")
        with people.status("putting …") as shown:
            done = suppressing.push(store, settings, what, lambda so_far: shown.update(f"putting … {so_far:,}"))
    if output == "json":
        print_json({"put": done.put, "refused": done.refused, "listed": what.listed})
    noun = "address" if done.refused == 1 else "addresses"
    refused = f"; SES takes {done.refused:,} of them for no {noun}" if done.refused else ""
    people.print(f"{done.put:,} put there{refused}", highlight=False)
    return int(ExitCode.DONE)


@suppression.command
def anew(*, yes: Annotated[bool, Parameter(alias="-y", negative="")] = False, common: Common = COMMON) -> int:
    """Begin an empty list where the file that had it, events.db, is lost. Only if there is no backup of it.

    Args:
        yes: Do not ask.
        common: Common options.
    """
    from bulksend.worker import suppressing  # noqa: PLC0415

    store = _store(common.settings())
    people = for_people()
    if not yes:
        ask(
            people,
            "Go on without knowing who has unsubscribed, complained or bounced?",
            verb="begin anew",
            otherwise="Nothing was changed.",
        )
    suppressing.begin_anew(store)
    people.print("Nobody is on the list now. What you know from elsewhere: bulksend suppression import, and sync")
    return int(ExitCode.DONE)


def _store(settings: Settings) -> Store:
    """The one at hand. It is never made: a list in the wrong folder would keep nobody from being written to."""
    from bulksend.worker import Store  # noqa: PLC0415

    return Store.find(settings, Path.cwd())


def _want(addresses: tuple[str, ...]) -> None:
    if not addresses:
        raise UsageError("no address is named", hint="Name one or more. Those of a file: bulksend suppression import.")


def _no_addresses(count: int) -> str:
    return "1 is no address" if count == 1 else f"{count:,} are no addresses"


def _where(done: Imported) -> str:
    """In which rows there is no address: the first of them."""
    if not done.refused_rows:
        return ""
    more = ", …" if done.refused > len(done.refused_rows) else ""
    noun = "row" if done.refused == 1 else "rows"
    return f" ({noun} {', '.join(f'{row:,}' for row in done.refused_rows)}{more})"


def _how_long(addresses: int) -> str:
    """At one a second."""
    hours, seconds = divmod(addresses // MANY_PER_S, 3600)
    return f"{hours:,} h {seconds // 60} min" if hours else f"{seconds // 60} min {seconds % 60} s"
