"""results --format list: rows of a campaign as a list that can be sent again.

Whoever sends that list must not send copies: what the campaign itself will send, or may yet, is not given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from email.header import decode_header, make_header
from email.utils import parseaddr
from itertools import chain
from typing import Any

import orjson

from bulksend.errors import SnapshotError, UsageError
from bulksend.model import Campaign, CampaignState, Chunk, EntryState
from bulksend.recipients import FORGOTTEN_ADDRESS
from bulksend.worker.store import Store

__all__ = ["left_out", "relist", "states_of_list"]

OVER = (CampaignState.FINISHED, CampaignState.CANCELLED)
STATES = {state.name.lower(): state for state in EntryState}


def states_of_list(store: Store, campaign: Campaign, states: Collection[str] = ()) -> tuple[str, ...]:
    """The states whose rows may be given as a list now: those asked for, or what nobody got and nobody will.

    That is what is dead; of a cancelled campaign also what was still to be sent, which is pending here.

    Raises:
        UsageError: there is no such state, it has no entries, or the campaign will send them itself, or may.
    """
    if "skipped" in states:
        raise UsageError(
            "skipped rows cannot be given as a list: they never became an entry, and their data was not kept",
            hint="See them with: bulksend results --state skipped. Correct them in the list itself."
            + (" What cancelling left unsent is --state pending." if campaign.state is CampaignState.CANCELLED else ""),
        )
    if not set(states) <= set(STATES):
        raise UsageError("no such state", hint=f"States are {', '.join(STATES)}.")
    chosen = tuple(states) or (("dead", "pending") if campaign.state is CampaignState.CANCELLED else ("dead",))
    name = campaign.name
    if campaign.state not in OVER and "pending" in chosen:
        raise UsageError(
            f"pending rows of {name!r} cannot be given as a list: it is {campaign.state.value}, and sends them itself",
            hint=f"To send them by another campaign, end this one first: bulksend cancel {name}.",
        )
    if "in_flight" in chosen:
        raise UsageError(
            "rows in flight cannot be given as a list: their answers are still awaited",
            hint="Wait until the sending process has ended; then they are in another state.",
        )
    if campaign.state not in OVER and "in_doubt" in chosen and campaign.policy.resend_in_doubt:
        raise UsageError(
            f"rows in doubt of {name!r} cannot be given as a list: by its policy it sends them again itself",
            hint=f'Let it finish, cancel it, or send its file with in_doubt = "hold" first: bulksend status {name}.',
        )
    # Paused, it may still be waiting for answers.
    if "dead" in chosen and (campaign.state is CampaignState.SENDING or store.journal.tally(campaign).in_flight):
        raise UsageError(
            f"dead rows of {name!r} cannot be given as a list while it is being sent: a halt may take them up again",
            hint=f"Let it end, or stop it first: bulksend pause {name}. As csv or jsonl they can be seen at any time.",
        )
    return chosen


def left_out(store: Store, campaign: Campaign, states: Collection[str]) -> int:
    """How many entries in these states are not given, for they were removed at a person's request."""
    gone = store.journal.forgotten(campaign)
    wanted = {STATES[name] for name in states}
    return sum(r.state in wanted and (r.chunk, r.index) in gone for r in store.journal.reports(campaign)) if gone else 0


def relist(store: Store, campaign: Campaign, states: Collection[str] = ()) -> tuple[list[str], Iterator[list[str]]]:
    """Columns and rows of a list of the entries in these states; see `states_of_list`.

    Columns are those of addresses, under the names that the campaign used, and one per key of the template's data;
    what is not text is JSON. What was removed at a person's request is left out. One chunk is in memory at a time.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
        UsageError: these cannot be given, or the campaign was pruned.
    """
    wanted = [STATES[name] for name in states_of_list(store, campaign, states)]
    used = {kind: _column(campaign, kind) for kind in ("address", "display_name", "cc", "bcc")}
    names = {kind: name for kind, name in used.items() if name is not None}
    entries = _entries(store, campaign, wanted)
    first = next(entries, None)
    if first is None:
        return list(dict.fromkeys(names.values())), iter(())
    columns = list(dict.fromkeys([*names.values(), *_data(first[1])]))

    def rows() -> Iterator[list[str]]:
        for address, entry in chain([first], entries):
            cells = _data(entry)
            given = _destination(address, entry["Destination"])
            # A display name that is data as well is taken from there: it was not encoded.
            cells |= {name: given[kind] for kind, name in names.items() if kind != "display_name" or name not in cells}
            yield [cells[name] for name in columns]

    return columns, rows()


def _entries(store: Store, campaign: Campaign, wanted: Collection[EntryState]) -> Iterator[tuple[str, dict[str, Any]]]:
    with store.read_snapshot(campaign) as reader:
        chunk: Chunk | None = None
        addresses: list[str] = []
        for report in store.journal.reports(campaign):
            if report.state not in wanted:
                continue
            if chunk is None or chunk.number != report.chunk:
                chunk, addresses = reader.chunk(report.chunk), reader.addresses(report.chunk)
            i = report.index
            if i >= len(chunk):
                raise SnapshotError(f"chunk {report.chunk} of {campaign.snapshot}")
            if addresses[i] != FORGOTTEN_ADDRESS:
                yield addresses[i], orjson.loads(chunk.entries[chunk.offsets[i] : chunk.offsets[i + 1] - 1])


def _column(campaign: Campaign, kind: str) -> str | None:
    """The name of a column of addresses, if the campaign has one."""
    text = campaign.frozen.get(f"recipients.{kind}")
    if text is None:
        return None
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:  # of a long value, the digest is kept
        raise UsageError(f"the name of the column recipients.{kind} is too long to be known again") from None


def _destination(address: str, destination: dict[str, list[str]]) -> dict[str, str]:
    name, _ = parseaddr(destination["ToAddresses"][0])
    return {
        "address": address,
        "display_name": str(make_header(decode_header(name))) if name else "",
        "cc": ", ".join(destination.get("CcAddresses", ())),
        "bcc": ", ".join(destination.get("BccAddresses", ())),
    }


def _data(entry: dict[str, Any]) -> dict[str, str]:
    data = orjson.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
    return {name: value if isinstance(value, str) else orjson.dumps(value).decode() for name, value in data.items()}
