"""A list becomes a snapshot: read once, checked, de-duplicated, written as ready entries.

First pass: the list's blocks are checked and set aside, their columns as text, the keys of their addresses to the
finder of duplicates. Second pass: what was set aside is read back without the duplicates and written as entries.
Memory does not depend on the length of the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bulksend.errors import ListError, SnapshotError
from bulksend.model import ChunkInfo, SkipReason
from bulksend.recipients import addresses
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.csv_list import CsvList
from bulksend.recipients.duplicates import DuplicateFinder
from bulksend.recipients.entries import MAX_DATA_CHARS, EntryWriter, overlong
from bulksend.recipients.mapping import bind
from bulksend.recipients.scratch import Cells, scratch_folder, sync_folder
from bulksend.recipients.skipped import (
    SKIPPED_SCHEMA,
    Fault,
    SkippedWriter,
    duplicates_batch,
    faults_batch,
    path_of_skipped,
)
from bulksend.recipients.snapshot import SnapshotWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bulksend.recipients.csv_list import Block
    from bulksend.recipients.mapping import BoundMapping, Mapping

__all__ = ["Snapshot", "take_snapshot"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A finished snapshot. rows = entries + the sum of `skipped`.

    `size_bytes` and `sha256` (hex) are those of the file at `path`, `list_digest` is the SHA-256 of the list's bytes.
    """

    path: Path
    size_bytes: int
    sha256: str
    chunks: tuple[ChunkInfo, ...]
    rows: int
    entries: int
    recipients: int
    skipped: dict[SkipReason, int]
    list_digest: str
    warnings: tuple[str, ...]


def _no_progress(_rows: int) -> None:
    pass


def take_snapshot(
    source: Path,
    mapping: Mapping,
    *,
    campaign_id: str,
    folder: Path,
    on_progress: Callable[[int], None] = _no_progress,
) -> Snapshot:
    """Make the snapshot of a list.

    Args:
        source: the list, a CSV file in UTF-8.
        mapping: what its columns are for.
        campaign_id: names the snapshot, and is the value of each entry's tag bulksend-campaign.
        folder: where snapshots are kept; made if it is not there.
        on_progress: called now and then with the number of rows read so far.

    Returns:
        The snapshot, durable under its name. It may have no entries, when every row is skipped.

    Raises:
        ListError: the list or the mapping cannot be used. Nothing is left in the folder.
        SnapshotError: the snapshot cannot be written, for instance because the disk is full.
    """
    with CsvList(source) as rows:
        bound = bind(mapping, rows.header, source)
        try:
            with scratch_folder(folder, campaign_id) as scratch:
                plan = _Plan(bound, campaign_id, scratch, source.stat().st_size if mapping.dedupe else None)
                for block in rows.blocks(bound.columns):
                    plan.set_aside(block)
                    on_progress(plan.rows)
                if plan.rows == 0:
                    raise ListError(f"{source}: the list has a header and no rows")
                return plan.finish(folder, rows.digest)
        except OSError as error:
            raise SnapshotError(
                f"the snapshot cannot be written to {folder}: {error}",
                hint="Check the disk's free space and the folder's permissions, and plan again. Nothing was sent.",
            ) from error


class _Plan:
    """The two passes over one list."""

    def __init__(self, mapping: BoundMapping, campaign_id: str, scratch: Path, list_bytes: int | None) -> None:
        self._mapping = mapping
        self._campaign_id = campaign_id
        self._scratch = scratch
        needed = {*mapping.data, *(column for text in mapping.tags.values() for column in text.columns)}
        self._kept = [column for column in mapping.columns if column in needed]
        fields: dict[str, pa.DataType] = {"row": pa.int64(), "address": pa.string()}
        fields |= {f"c{place}": pa.string() for place in range(len(self._kept))}
        self._good = Cells(scratch / "rows.arrow", pa.schema(fields))
        self._faulty = Cells(scratch / "faults.arrow", SKIPPED_SCHEMA)
        self._finder = None if list_bytes is None else DuplicateFinder(scratch, list_bytes)
        self._entries = EntryWriter(mapping, campaign_id)
        self.rows = 0

    def set_aside(self, block: Block) -> None:
        """First pass, one block."""
        self.rows += len(block.rows) + len(block.faults)
        raw = block.columns[self._mapping.address]
        canonical, reasons = addresses.check(raw)
        for place, chars in overlong(block.columns, self._mapping).items():
            reasons.setdefault(place, f"{chars:,} characters of template data; SES takes {MAX_DATA_CHARS:,}")
        faults = block.faults + [Fault(block.rows[i].as_py(), raw[i].as_py(), why) for i, why in reasons.items()]
        faults.sort(key=lambda fault: fault.row)
        columns: list[pa.Array[Any]] = [block.rows, canonical, *(block.columns[name] for name in self._kept)]
        if reasons:
            places = pa.array(range(len(block.rows)), pa.int64())
            kept = pc.invert(pc.is_in(places, pa.array(list(reasons), pa.int64())))
            columns = [column.filter(kept) for column in columns]
        self._good.write(columns)
        self._faulty.write(faults_batch(faults).columns)
        if self._finder is not None and len(columns[0]):
            self._finder.add(columns[0], addresses.comparison_keys(columns[1]))

    def finish(self, folder: Path, list_digest: str) -> Snapshot:
        """Second pass: write the snapshot and the skipped rows, and put them in their places."""
        duplicates = None if self._finder is None else self._finder.find()
        snapshot = SnapshotWriter(self._scratch / "snapshot.parquet")
        skipped = SkippedWriter(self._scratch / "skipped.parquet")
        for number in range(len(self._good)):
            rows, canonical, *kept = self._good.read(number).columns
            left_out = [self._faulty.read(number)]
            if duplicates is not None and len(rows):
                repeated, firsts = duplicates.among(rows)
                if len(repeated):
                    is_repeated = pc.is_in(rows, repeated)
                    left_out.append(duplicates_batch(repeated, canonical.filter(is_repeated), firsts))
                    is_first = pc.invert(is_repeated)
                    rows, canonical, *kept = (column.filter(is_first) for column in (rows, canonical, *kept))
            if len(rows):
                columns = dict(zip(self._kept, kept, strict=True))
                snapshot.add(rows, canonical, self._entries.write(rows, canonical, columns))
            skipped.add(left_out)
        self._good.remove()  # before the sync, which would write it to the disk
        self._faulty.remove()
        snapshot.close()
        skipped.close()
        path = folder / f"{self._campaign_id}.parquet"
        if path.exists():
            raise SnapshotError(f"{path} is there already", hint="A campaign that is planned again needs a new id.")
        # The skipped rows first: where there is a snapshot, there are its skipped rows.
        (self._scratch / "skipped.parquet").replace(path_of_skipped(path))
        (self._scratch / "snapshot.parquet").replace(path)
        sync_folder(folder)
        entries = sum(chunk.entries for chunk in snapshot.chunks)
        assert self.rows == entries + skipped.counts.total(), "a row was lost or counted twice"
        return Snapshot(
            path=path,
            size_bytes=snapshot.file.size_bytes,
            sha256=snapshot.file.sha256,
            chunks=tuple(snapshot.chunks),
            rows=self.rows,
            entries=entries,
            recipients=sum(chunk.recipients for chunk in snapshot.chunks),
            skipped=dict(skipped.counts),
            list_digest=list_digest,
            warnings=(*self._mapping.warnings, *self._entries.warnings),
        )
