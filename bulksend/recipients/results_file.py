"""What became of each row, as a Parquet file with typed columns: for programs that analyse it."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedWriter

    from bulksend.model import ResultRow

__all__ = ["RESULTS_SCHEMA", "write_results_parquet"]

_TIME = pa.timestamp("us", "UTC")
_TYPES: dict[str, pa.DataType] = {
    "campaign": pa.string(),
    "row": pa.int64(),
    "address": pa.string(),
    "state": pa.string(),
    "status": pa.string(),
    "reason": pa.string(),
    "message_id": pa.string(),
    "attempts": pa.int32(),
    "at": _TIME,
    "fate": pa.string(),
    "bounce": pa.string(),
    "bounce_subtype": pa.string(),
    "diagnostic": pa.string(),
    "delivered_at": _TIME,
    "bounced_at": _TIME,
    "complained_at": _TIME,
    "delayed_at": _TIME,
    "rejected_at": _TIME,
    "rendering_failed_at": _TIME,
    "opened_at": _TIME,
    "clicked_at": _TIME,
    "unsubscribed_at": _TIME,
}
RESULTS_SCHEMA = pa.schema([pa.field(name, kind, nullable=kind == _TIME) for name, kind in _TYPES.items()])

ROWS_PER_GROUP = 50_000


def write_results_parquet(rows: Iterable[ResultRow], out: BufferedWriter) -> int:
    """Write rows to a file from front to back, one row group in memory; returns how many there were.

    `at` is null for what was never attempted, the other times for what did not happen. Raises OSError.
    """
    source = iter(rows)
    count = 0
    with pq.ParquetWriter(pa.PythonFile(out, mode="w"), RESULTS_SCHEMA, compression="zstd") as writer:
        while group := list(islice(source, ROWS_PER_GROUP)):
            writer.write_batch(_batch(group))
            count += len(group)
    return count


def _batch(rows: list[ResultRow]) -> pa.RecordBatch:
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in _TYPES}
    for name, kind in _TYPES.items():
        if kind == _TIME:
            columns[name] = [None if at is None else round(at * 1_000_000) for at in columns[name]]
    return pa.record_batch(columns, schema=RESULTS_SCHEMA)
