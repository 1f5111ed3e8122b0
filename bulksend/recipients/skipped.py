"""Rows of the list that never became an entry: what is known of them, and the file that keeps them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bulksend.errors import SnapshotError
from bulksend.model import SkipReason
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.parquet import ParquetFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bulksend.recipients.columns import Numbers, Texts

__all__ = [
    "SKIPPED_SCHEMA",
    "Fault",
    "SkippedRow",
    "SkippedWriter",
    "duplicates_batch",
    "faults_batch",
    "path_of_skipped",
    "shorten",
    "skipped_rows",
]

MAX_ADDRESS_CHARS = 320
"""How much of a refused address is kept: the longest address that SMTP knows (RFC 5321, 4.5.3.1)."""

_COLUMNS: dict[str, pa.DataType] = {
    "row": pa.int64(),
    "address": pa.string(),
    "reason": pa.string(),
    "detail": pa.string(),
}
SKIPPED_SCHEMA = pa.schema(_COLUMNS)

_ROWS_PER_GROUP = 10_000


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that is not sent to. `row` counts data records from 1; `address` is the list's text, shortened if long."""

    row: int
    address: str
    reason: SkipReason
    detail: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What makes one row of the list invalid."""

    row: int
    address: str
    detail: str


def shorten(text: str, limit: int = MAX_ADDRESS_CHARS) -> str:
    """The first `limit` characters of `text`, an ellipsis last where some were cut off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def faults_batch(faults: Sequence[Fault]) -> pa.RecordBatch:
    """Faults as rows of the skipped file."""
    return pa.record_batch(
        [
            pa.array([fault.row for fault in faults], pa.int64()),
            pa.array([shorten(fault.address) for fault in faults], pa.string()),
            pa.repeat(pa.scalar(SkipReason.INVALID.value), len(faults)),
            pa.array([fault.detail for fault in faults], pa.string()),
        ],
        schema=SKIPPED_SCHEMA,
    )


def duplicates_batch(rows: Numbers, addresses: Texts, firsts: Numbers) -> pa.RecordBatch:
    """Duplicates, each with the row that has its address first, as rows of the skipped file."""
    reasons = pa.repeat(pa.scalar(SkipReason.DUPLICATE.value), len(rows))
    details = pc.binary_join_element_wise("same address as row ", firsts.cast(pa.string()), "")
    return pa.record_batch([rows, addresses, reasons, details], schema=SKIPPED_SCHEMA)


class SkippedWriter:
    """Gathers skipped rows, in their order, into row groups of a sensible size."""

    def __init__(self, path: Path) -> None:
        self._file = ParquetFile(path, SKIPPED_SCHEMA)
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self.counts: Counter[SkipReason] = Counter()

    def add(self, batches: Sequence[pa.RecordBatch]) -> None:
        """Append what was skipped of some rows; the batches are sorted together."""
        table = pa.Table.from_batches(batches, SKIPPED_SCHEMA)
        if not len(table):
            return
        for count in pc.value_counts(table["reason"]).to_pylist():
            self.counts[SkipReason(count["values"])] += count["counts"]
        self._waiting.append(table.sort_by("row"))
        self._waiting_rows += len(table)
        if self._waiting_rows >= _ROWS_PER_GROUP:
            self._write()

    def close(self) -> None:
        """Write what is left and make the file durable."""
        self._write()
        self._file.close()

    def _write(self) -> None:
        if self._waiting:
            self._file.write(pa.concat_tables(self._waiting))
        self._waiting, self._waiting_rows = [], 0


def path_of_skipped(path_of_snapshot: Path) -> Path:
    """Where the skipped rows of a snapshot are."""
    return path_of_snapshot.with_suffix(".skipped.parquet")


def skipped_rows(path_of_snapshot: Path) -> Iterator[SkippedRow]:
    """The rows that the plan left out, in the order of the list.

    Raises:
        SnapshotError: the file of skipped rows is missing or damaged.
    """
    path = path_of_skipped(path_of_snapshot)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_ROWS_PER_GROUP, use_threads=False):
                for row, address, reason, detail in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    yield SkippedRow(row, address, SkipReason(reason), detail)
    except (OSError, pa.ArrowException) as error:
        raise SnapshotError(f"{path}: {error}") from error
