"""results --format list: rows of a campaign as a list that can be sent again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from email.header import decode_header, make_header
from email.utils import parseaddr
from itertools import chain
from typing import Any

import orjson

from bulksend.errors import SnapshotError, UsageError
from bulksend.model import Campaign, Chunk, EntryState
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader
from bulksend.worker.store import Store

__all__ = ["relist"]

AGAIN = ("dead", "pending")
"""What nobody has received, and nobody may have."""


def relist(store: Store, campaign: Campaign, states: Collection[str] = ()) -> tuple[list[str], Iterator[list[str]]]:
    """Columns and rows of a list of the entries in these states; dead and pending ones unless it says otherwise.

    Columns are those of addresses, under the names that the campaign used, and one per key of the template's data;
    what is not text is JSON. What was removed at a person's request is left out. One chunk is in memory at a time. Of
    a cancelled campaign, what was not sent is pending.

    Raises:
        SnapshotError: the snapshot is missing or damaged.
        UsageError: there is no such state, or it has no entries.
    """
    known = {state.name.lower(): state for state in EntryState}
    wanted = [known.get(name) for name in states or AGAIN]
    if "skipped" in states:
        raise UsageError(
            "skipped rows cannot be given as a list: they never became an entry, and their data was not kept",
            hint="See them with: bulksend results --state skipped. Correct them in the list itself.",
        )
    if None in wanted:
        raise UsageError("no such state", hint=f"States are {', '.join(known)}.")
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


def _entries(
    store: Store, campaign: Campaign, wanted: Collection[EntryState | None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    with SnapshotReader(
        store.snapshot_of(campaign), size_bytes=campaign.snapshot_bytes, sha256=campaign.snapshot_sha256
    ) as reader:
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
