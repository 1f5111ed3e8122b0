"""A list becomes a snapshot: read once, checked, de-duplicated, written as ready entries.

First pass: the list's blocks are checked and set aside, their columns as text, the keys of their addresses to the
finder of duplicates. Second pass: what was set aside is read back without the duplicates and written as entries.
Memory does not depend on the length of the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.errors import ListError, SnapshotError
from bulksend.model import ChunkInfo, SkipReason
from bulksend.recipients import addresses
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import single
from bulksend.recipients.duplicates import DuplicateFinder
from bulksend.recipients.entries import EntryWriter
from bulksend.recipients.limit import Limit
from bulksend.recipients.list_columns import ListColumns
from bulksend.recipients.mapping import bind
from bulksend.recipients.opening import open_list
from bulksend.recipients.rows import RowChecks
from bulksend.recipients.scratch import Cells, scratch_folder, sync_folder
from bulksend.recipients.screening import Screening, without_unsubscribed
from bulksend.recipients.skipped import (
    SKIPPED_SCHEMA,
    SkippedWriter,
    duplicates_batch,
    faults_batch,
    path_of_skipped,
)
from bulksend.recipients.snapshot import SnapshotWriter
from bulksend.recipients.source import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bulksend.recipients.block import Block
    from bulksend.recipients.mapping import BoundMapping, Mapping
    from bulksend.recipients.screening import LookUp
    from bulksend.recipients.source import ListFormat

__all__ = ["Snapshot", "take_snapshot"]

ENTRIES_AT_ONCE_BYTES = 8 * 1024 * 1024
"""How much is made of rows at a time, roughly; a single row may be more."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A finished snapshot. rows = entries + the sum of `skipped`.

    `size_bytes` and `sha256` (hex) are those of the file at `path`, `list_digest` is the SHA-256 of the list's bytes
    (see `list_digest`), those after a limit included.
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
    source: Path | str,
    mapping: Mapping,
    *,
    campaign_id: str,
    folder: Path,
    form: ListFormat = PLAIN,
    limit: int | None = None,
    suppressed: LookUp | None = None,
    on_progress: Callable[[int], None] = _no_progress,
) -> Snapshot:
    """Make the snapshot of a list.

    Args:
        source: the list: a CSV file, also as .gz, .zst or .bz2; a .parquet file, or a folder of them; or the s3:// URL
            of such a file or folder.
        mapping: what its columns are for.
        campaign_id: names the snapshot, and is the value of each entry's tag bulksend-campaign.
        folder: where snapshots are kept; made if it is not there.
        form: how to read the list where that cannot be seen from it.
        limit: only the first so many rows that can be sent to become entries; the list counts as ended after them.
        suppressed: whom not to write to: given some thousands of addresses at a time, says which, and why. Rows that
            would go to them are skipped.
        on_progress: called now and then with the number of rows read so far.

    Returns:
        The snapshot, durable under its name. It may have no entries, when every row is skipped.

    Raises:
        ListError: the list or the mapping cannot be used. Nothing is left in the folder.
        SnapshotError: the snapshot cannot be written, for instance because the disk is full.
    """
    with open_list(source, form) as rows:
        bound = bind(mapping, rows.header, source, rows.json_columns)
        try:
            with scratch_folder(folder, campaign_id) as scratch:
                plan = _Plan(bound, campaign_id, scratch, rows.csv_bytes if mapping.dedupe else None, limit, suppressed)
                for block in rows.blocks(bound.columns):
                    plan.set_aside(block)
                    on_progress(plan.rows)
                    if plan.full:
                        break
                if plan.rows == 0:
                    raise ListError(f"{source}: the list has a header and no rows")
                return plan.finish(folder, rows.hash_rest())
        except OSError as error:
            raise SnapshotError(
                f"the snapshot cannot be written to {folder}: {error}",
                hint="Check the disk's free space and the folder's permissions, and plan again. Nothing was sent.",
            ) from error


class _Plan:
    """The two passes over one list."""

    def __init__(  # noqa: PLR0917  what there is to know of it
        self,
        mapping: BoundMapping,
        campaign_id: str,
        scratch: Path,
        list_bytes: int | None,
        limit: int | None,
        suppressed: LookUp | None,
    ) -> None:
        self._campaign_id = campaign_id
        self._mapping = mapping
        self._scratch = scratch
        self._checks = RowChecks(mapping)
        self._good = Cells(scratch / "rows.arrow", self._checks.schema)
        self._faulty = Cells(scratch / "faults.arrow", SKIPPED_SCHEMA)
        self._finder = None if list_bytes is None else DuplicateFinder(scratch, list_bytes)
        self._entries = EntryWriter(mapping, campaign_id)
        self._warnings = mapping.warnings
        self._limit = None if limit is None else Limit(limit, distinct=self._finder is not None)
        self._screening = None if suppressed is None else Screening(suppressed)
        self.rows = 0

    @property
    def full(self) -> bool:
        """Whether enough rows are set aside for all the entries that are wanted."""
        return self._limit is not None and self._limit.reached

    def set_aside(self, block: Block) -> None:
        """First pass, one block."""
        self.rows += len(block.rows) + len(block.faults)
        left_out = []
        if self._mapping.unsubscribed is not None:
            block, unsubscribed = without_unsubscribed(block, self._mapping.address, self._mapping.unsubscribed)
            left_out.append(unsubscribed)
        good, faults = self._checks.judge(block)
        left_out.append(faults_batch(faults))
        if self._screening is not None and len(good):
            good, suppressed = self._screening.split(good, addresses.comparison_keys(good["address"]))
            left_out.append(suppressed)
        self._good.write(good.columns)
        self._faulty.write([single(column) for column in pa.Table.from_batches(left_out).columns])
        if len(good) and (self._finder is not None or self._limit is not None):
            keys = addresses.comparison_keys(good["address"])
            if self._finder is not None:
                self._finder.add(good["row"], keys)
            if self._limit is not None:
                self._limit.add(keys)

    def _parts(self, good: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """So many of the rows at a time that their entries are of bounded size, however much text they all have."""
        if len(good):
            entry_bytes = self._entries.same_bytes + good.nbytes // len(good) + 1
            step = max(1, ENTRIES_AT_ONCE_BYTES // entry_bytes)
            for start in range(0, len(good), step):
                yield good.slice(start, step)

    def finish(self, folder: Path, list_digest: str) -> Snapshot:
        """Second pass: write the snapshot and the skipped rows, and put them in their places."""
        duplicates = None if self._finder is None else self._finder.find()
        columns = ListColumns.of(self._mapping, has_nulls=self._checks.has_nulls)
        snapshot = SnapshotWriter(self._scratch / "snapshot.parquet", columns)
        skipped = SkippedWriter(self._scratch / "skipped.parquet")
        room = self.rows if self._limit is None else self._limit.entries
        for number in range(len(self._good)):
            good = self._good.read(number)
            left_out = [self._faulty.read(number)]
            if duplicates is not None and len(good):
                repeated, firsts = duplicates.among(good["row"])
                if len(repeated):
                    is_repeated = pc.is_in(good["row"], repeated)
                    left_out.append(duplicates_batch(repeated, good["address"].filter(is_repeated), firsts))
                    good = good.filter(pc.invert(is_repeated))
            if self._limit is not None and len(good) >= room:
                # What comes after the last entry is as if it had never been in the list.
                good = good.slice(0, room)
                self.rows = good["row"][room - 1].as_py()
                left_out = [batch.filter(pc.less_equal(batch["row"], self.rows)) for batch in left_out]
            room -= len(good)
            for part in self._parts(good):
                ready = self._checks.ready(part)
                written = self._entries.write(
                    part["row"], ready.mailboxes, ready.columns, copies=ready.copies, headers=ready.headers
                )
                kept = [ready.columns[name] for name in columns.kept]
                snapshot.add(part["row"], part["address"], written, ready.recipients, kept)
            skipped.add(left_out)
            if self._limit is not None and room == 0:
                break
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
            warnings=(*self._warnings, *self._entries.warnings),
        )
