"""results --format list: rows of a campaign as a list that can be sent again.

Whoever sends that list must not send copies: what the campaign itself will send, or may yet, is not given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from json import JSONDecoder
from typing import Any

import orjson

from bulksend.errors import SnapshotError, UsageError
from bulksend.model import Campaign, CampaignState, Chunk, EntryState
from bulksend.recipients import FORGOTTEN_ADDRESS, ListColumns
from bulksend.worker.control import DROPPED
from bulksend.worker.store import Store

__all__ = ["Relisted", "left_out", "relist", "states_of_list"]

_JSON = JSONDecoder()

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


def left_out(store: Store, campaign: Campaign, states: Collection[str], status: str = "") -> tuple[int, int]:
    """How many entries in these states are not given: removed at a person's request, and dropped out of doubt."""
    gone = store.journal.forgotten(campaign)
    wanted = {STATES[name] for name in states}
    forgotten = dropped = 0
    for report in store.journal.reports(campaign):
        if report.state in wanted:
            if (report.chunk, report.index) in gone:
                forgotten += 1
            elif report.status == DROPPED and not status:
                dropped += 1
    return forgotten, dropped


@dataclass(frozen=True, slots=True)
class Relisted:
    """Rows as a list: the names of its columns, those of them whose cells are JSON values, and the rows.

    None is null. As CSV it is written with `delimiter`, in `encoding`: what the campaign file says of its list.
    """

    columns: tuple[str, ...]
    json: frozenset[str]
    rows: Iterator[list[str | None]]
    delimiter: str
    encoding: str


def relist(
    store: Store, campaign: Campaign, states: Collection[str] = (), *, status: str = "", as_csv: bool = True
) -> Relisted:
    """The entries in these states as a list that makes the same entries of them; see `states_of_list`.

    `status` takes only those with that status. Without it, what was dropped out of doubt is left out: SES may have
    accepted it. What was removed at a person's request is left out as well. One chunk is in memory at a time.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
        UsageError: these cannot be given, or not `as_csv`; or the campaign was pruned.
    """
    wanted = [STATES[name] for name in states_of_list(store, campaign, states)]
    with store.read_snapshot(campaign) as reader:
        columns = reader.list_columns
    if as_csv and not columns.is_text:
        raise UsageError(
            f"the list of {campaign.name!r} has nulls, or values that are not text, which CSV cannot hold",
            hint="Write it as Parquet: --out NAME.parquet.",
        )
    frozen = {key: orjson.loads(campaign.frozen.get(f"recipients.{key}", "null")) for key in ("delimiter", "encoding")}
    return Relisted(
        columns.all,
        frozenset(columns.json),
        _rows(store, campaign, wanted, status),
        frozen["delimiter"] or ",",
        frozen["encoding"] or "utf-8",
    )


def _rows(store: Store, campaign: Campaign, wanted: Collection[EntryState], status: str) -> Iterator[list[str | None]]:
    with store.read_snapshot(campaign) as reader:
        columns = reader.list_columns
        chunk: Chunk | None = None
        addresses: list[str] = []
        kept: list[tuple[str | None, ...]] = []
        for report in store.journal.reports(campaign):
            if report.state not in wanted or (report.status != status if status else report.status == DROPPED):
                continue
            if chunk is None or chunk.number != report.chunk:
                chunk, addresses = reader.chunk(report.chunk), reader.addresses(report.chunk)
                kept = reader.kept(report.chunk)
            i = report.index
            if i >= len(chunk):
                raise SnapshotError(f"chunk {report.chunk} of {campaign.snapshot}")
            if addresses[i] != FORGOTTEN_ADDRESS:
                entry = orjson.loads(chunk.entries[chunk.offsets[i] : chunk.offsets[i + 1] - 1])
                cells = _cells(columns, addresses[i], entry) | dict(zip(columns.kept, kept[i], strict=True))
                yield [cells[name] for name in columns.all]


def _cells(columns: ListColumns, address: str, entry: dict[str, Any]) -> dict[str, str | None]:
    """The cells of a row by their columns, but those that the snapshot keeps by themselves."""
    destination = entry["Destination"]
    cells: dict[str, str | None] = {columns.address: address}
    for name, kind in ((columns.cc, "CcAddresses"), (columns.bcc, "BccAddresses")):
        if name is not None:
            cells[name] = ", ".join(destination.get(kind, ()))
    data = entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"]
    for name, value in _values(data):
        if name not in columns.data:
            continue  # of default_data alone
        if name in columns.json:
            cells[name] = None if value == "null" else value
        else:
            cells[name] = orjson.loads(value) if value.startswith('"') else None
    return cells


def _values(data: str) -> Iterator[tuple[str, str]]:
    """The names of a JSON object without spaces, each with its value's JSON as it is written there."""
    at = 1
    while data[at] != "}":
        name, at = _JSON.raw_decode(data, at + (data[at] == ","))
        start = at + 1
        _, at = _JSON.raw_decode(data, start)
        yield name, data[start:at]
