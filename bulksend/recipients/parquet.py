"""Parquet files as a plan writes them: private, hashed in the same pass, with page checksums, durable once closed."""

from __future__ import annotations

import hashlib
import io
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from bulksend.recipients.scratch import create_private

if TYPE_CHECKING:
    from pathlib import Path


__all__ = ["ParquetFile"]

_WHOLE_CHUNK_BYTES = 32 * 1024 * 1024


class ParquetFile:
    """A new Parquet file. Each table written becomes a row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._sink = _HashedSink(path)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            schema,
            # Of lz4, snappy, zstd and none it costs the least time to write, hash and read back.
            compression="lz4",
            data_page_size=_WHOLE_CHUNK_BYTES,
            use_dictionary=False,
            write_page_checksum=True,
            write_statistics=False,
        )

    @property
    def size_bytes(self) -> int:
        """How much was written."""
        return self._sink.size_bytes

    @property
    def sha256(self) -> str:
        """The digest of what was written, in hex."""
        return self._sink.sha256.hexdigest()

    def write(self, table: pa.Table) -> None:
        """Append a row group."""
        self._writer.write_table(table, row_group_size=max(1, len(table)))

    def close(self) -> None:
        """Finish the file and make it durable."""
        self._writer.close()
        self._sink.sync()


class _HashedSink(io.RawIOBase):
    """The file as pyarrow writes it. Parquet is written from front to back, so that it can be hashed on the way."""

    def __init__(self, path: Path) -> None:
        self._file = os.fdopen(create_private(path), "wb")
        self.sha256 = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.sha256.update(data)
        written = self._file.write(data)
        self.size_bytes += written
        return written

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Left to `sync`: pyarrow closes what it writes to."""
