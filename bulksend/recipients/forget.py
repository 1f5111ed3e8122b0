"""A person is removed from a snapshot and from the skipped rows beside it: both are written anew, chunk by chunk."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bulksend.errors import SnapshotError
from bulksend.recipients import addresses
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import single
from bulksend.recipients.mapping import RESERVED_TAGS
from bulksend.recipients.parquet import ParquetFile
from bulksend.recipients.scratch import scratch_folder, sync_folder
from bulksend.recipients.skipped import SKIPPED_SCHEMA, path_of_skipped
from bulksend.recipients.snapshot import SnapshotReader

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORGOTTEN_ADDRESS", "Removed", "forgettable", "remove_address"]

FORGOTTEN_ADDRESS = "forgotten"
"""Stands in the place of a removed address; it is none itself."""

_DESTINATION = {"ToAddresses": ["forgotten@invalid"]}
_OF_EVERY_SNAPSHOT = ("row", "address", "recipients", "entry")
_COPIES = ("CcAddresses", "BccAddresses")
_IN_AN_ADDRESS = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]"


@dataclass(slots=True)
class Removed:
    """What was removed, and the snapshot without it: its file name, size in bytes and SHA-256 in hex.

    `places` are the removed entries by chunk, `copies` counts those of others in which it was a copy, `skipped` the
    skipped rows. `mentions` counts entries of others that still have the address in their data.
    """

    places: dict[int, list[int]] = field(default_factory=dict)
    copies: int = 0
    skipped: int = 0
    mentions: int = 0
    snapshot: str = ""
    size_bytes: int = 0
    sha256: str = ""

    @property
    def rows(self) -> int:
        """Of the list."""
        return sum(map(len, self.places.values())) + self.copies + self.skipped


def forgettable(address: str) -> str:
    """What addresses are compared by; of a text that is no address, what skipped rows are."""
    canonical, _ = addresses.check(pa.array([address], pa.string()))
    key: str | None = addresses.comparison_keys(canonical)[0].as_py()
    return address.strip().lower() if key is None else key


def remove_address(path: Path, key: str, typed: str, *, size_bytes: int, sha256: str, name: str) -> Removed:
    """Write the snapshot at `path` and its skipped rows anew without an address, if they have it.

    Args:
        path: the snapshot; it stays as it is.
        key: the address as `forgettable` gives it out.
        typed: the address as a person wrote it; skipped rows are compared with both.
        size_bytes: of the snapshot, as planned.
        sha256: of the snapshot, as planned.
        name: the new snapshot's file name, in the same folder. It is durable there when this returns.

    Raises:
        SnapshotError: a file is missing or damaged, or the new one cannot be written.
    """
    removed = Removed(snapshot=name)
    person = _Person(key, typed)
    folder = path.parent
    try:
        # Scratch folders that killed plans have left are removed by this as well.
        with (
            scratch_folder(folder, name) as scratch,
            SnapshotReader(path, size_bytes=size_bytes, sha256=sha256) as reader,
        ):
            new = ParquetFile(scratch / "snapshot.parquet", reader.schema)
            for number in range(len(reader)):
                new.write(person.removed_from(reader.table(number), number, removed))
            new.close()
            skipped = ParquetFile(scratch / "skipped.parquet", SKIPPED_SCHEMA)
            with pq.ParquetFile(path_of_skipped(path), page_checksum_verification=True) as old:
                for number in range(old.num_row_groups):
                    skipped.write(person.removed_from_skipped(old.read_row_group(number, use_threads=False), removed))
            skipped.close()
            if removed.rows:
                # The skipped rows first: where there is a snapshot, there are its skipped rows.
                (scratch / "skipped.parquet").replace(path_of_skipped(folder / name))
                (scratch / "snapshot.parquet").replace(folder / name)
                sync_folder(folder)
                removed.size_bytes, removed.sha256 = new.size_bytes, new.sha256
    except (OSError, pa.ArrowException) as error:
        raise SnapshotError(
            f"{path} cannot be written anew: {error}",
            hint="Check the file, and the disk's free space, then run bulksend forget again.",
        ) from error
    return removed


class _Person:
    """Whoever is removed, and how to know them again."""

    def __init__(self, key: str, typed: str) -> None:
        self._key = key
        self._typed = {key, typed.strip().lower()}
        self._mention = re.compile(rf"(?<!{_IN_AN_ADDRESS}){re.escape(key)}(?![A-Za-z0-9-]|\.[A-Za-z0-9])")

    def removed_from(self, table: pa.Table, number: int, removed: Removed) -> pa.Table:
        """A chunk of the snapshot without them."""
        keys = addresses.comparison_keys(single(table["address"]))
        lowered = pc.ascii_lower(single(table["entry"]).cast(pa.string()))
        touched = pc.or_(pc.equal(keys, self._key), pc.match_substring(lowered, self._key))
        kept = [name for name in table.column_names if name not in _OF_EVERY_SNAPSHOT]
        for name in kept:
            mentioned = pc.match_substring(pc.ascii_lower(single(table[name])), self._key)
            touched = pc.or_(touched, pc.fill_null(mentioned, fill_value=False))
        places = pc.indices_nonzero(touched).to_pylist()
        if not places:
            return table
        columns: dict[str, list[Any]] = table.to_pydict()
        for place in places:
            entry = orjson.loads(columns["entry"][place].removesuffix(b","))
            if keys[place].as_py() == self._key:
                removed.places.setdefault(number, []).append(place)
                columns["address"][place] = FORGOTTEN_ADDRESS
                tags = [tag for tag in entry["ReplacementTags"] if tag["Name"] in RESERVED_TAGS]
                entry = {"Destination": _DESTINATION, "ReplacementTags": tags}
                for name in kept:
                    columns[name][place] = None
            elif copies := self._copies_taken(entry["Destination"]):
                removed.copies += 1
                columns["recipients"][place] -= copies
            if any(map(self._is_in, [orjson.dumps(entry).decode(), *(columns[name][place] or "" for name in kept)])):
                removed.mentions += 1
            columns["entry"][place] = orjson.dumps(entry) + b","
        return pa.table(columns, schema=table.schema)

    def removed_from_skipped(self, table: pa.Table, removed: Removed) -> pa.Table:
        """Skipped rows without them."""
        columns: dict[str, list[Any]] = table.to_pydict()
        for place, (address, detail) in enumerate(zip(columns["address"], columns["detail"], strict=True)):
            if address.strip().lower() in self._typed or self._is_in(address):
                removed.skipped += 1
                columns["address"][place] = FORGOTTEN_ADDRESS
            if self._is_in(detail):
                columns["detail"][place] = ""
        return pa.table(columns, schema=SKIPPED_SCHEMA)

    def _copies_taken(self, destination: dict[str, list[str]]) -> int:
        """How many copies of an entry were theirs; they are taken out of it."""
        taken = 0
        for kind in _COPIES:
            there = destination.get(kind, [])
            staying = [address for address in there if address.lower() != self._key]
            if len(staying) < len(there):
                taken += len(there) - len(staying)
                if staying:
                    destination[kind] = staying
                else:
                    del destination[kind]
        return taken

    def _is_in(self, text: str) -> bool:
        return "@" in self._key and self._mention.search(text.lower()) is not None
