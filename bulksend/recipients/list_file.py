"""Rows as a list in Parquet, for what CSV cannot hold: nulls, and values that are not text."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from io import BufferedWriter

__all__ = ["write_list_parquet"]

ROWS_PER_GROUP = 5_000


def write_list_parquet(
    columns: Sequence[str], json: Collection[str], rows: Iterable[Sequence[str | None]], out: BufferedWriter
) -> int:
    """Write rows from front to back, one row group in memory; returns how many there were. Raises OSError.

    Columns of `json` get Parquet's logical type for it, which is read back as it is written; all others are text.
    """
    schema = pa.schema([pa.field(name, pa.json_() if name in json else pa.string()) for name in columns])
    source = iter(rows)
    count = 0
    with pq.ParquetWriter(pa.PythonFile(out, mode="w"), schema, compression="zstd") as writer:
        while group := list(islice(source, ROWS_PER_GROUP)):
            arrays: list[pa.Array[Any]] = []
            for name, cells in zip(columns, zip(*group, strict=True), strict=True):
                texts: pa.Array[Any] = pa.array(cells, pa.string())
                arrays.append(pa.ExtensionArray.from_storage(pa.json_(), texts) if name in json else texts)
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(group)
    return count
