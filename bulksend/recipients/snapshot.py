"""The snapshot file: a Parquet file of ready entries, one row group to a chunk, and the way back from it to chunks.

Columns: row, address, recipients, entry; the entry is finished JSON followed by a comma, so that neighbours make one
slice of a request. Then k0, k1 …: cells of the list that the entries do not have as they were (see ListColumns).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bulksend.errors import SnapshotError
from bulksend.model import Chunk, ChunkInfo
from bulksend.recipients.addresses import comparison_keys
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import int32s, int64s, single
from bulksend.recipients.list_columns import ListColumns
from bulksend.recipients.parquet import ParquetFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from bulksend.recipients.columns import Numbers, Texts

__all__ = ["SnapshotReader", "SnapshotWriter"]

MAX_CHUNK_ENTRIES = 5_000
MAX_CHUNK_BYTES = 16 * 1024 * 1024

_FIELDS: list[pa.Field[Any]] = [
    pa.field("row", pa.int64(), nullable=False),
    pa.field("address", pa.string(), nullable=False),
    pa.field("recipients", pa.int32(), nullable=False),
    pa.field("entry", pa.binary(), nullable=False),
]

_HASH_READ_BYTES = 1024 * 1024


class SnapshotWriter:
    """Cuts a stream of entries into chunks and writes each as a row group."""

    def __init__(self, path: Path, columns: ListColumns) -> None:
        kept = [pa.field(f"k{place}", pa.string()) for place in range(len(columns.kept))]
        self._schema = pa.schema([*_FIELDS, *kept], columns.metadata())
        self.file = ParquetFile(path, self._schema)
        self.chunks: list[ChunkInfo] = []
        self._waiting: list[pa.Table] = []
        self._waiting_entries = 0
        self._waiting_bytes = 0

    def add(
        self,
        rows: Numbers,
        addresses: Texts,
        entries: Texts,
        recipients: Numbers | None = None,
        kept: Sequence[Texts] = (),
    ) -> None:
        """Append entries, each with its comma; `recipients` is 1 for each unless it is given. `kept` are k0, k1 …."""
        if recipients is None:
            recipients = pa.repeat(pa.scalar(1, pa.int32()), len(rows))
        table = pa.table([rows, addresses, recipients, entries.cast(pa.binary()), *kept], schema=self._schema)
        offsets = int32s(entries.buffers()[1])[entries.offset :]
        start, count = 0, len(table)
        while start < count:
            room_bytes = MAX_CHUNK_BYTES - self._waiting_bytes
            end = min(start + MAX_CHUNK_ENTRIES - self._waiting_entries, count)
            end = bisect_right(offsets, offsets[start] + room_bytes, start, end + 1) - 1
            if end == start and not self._waiting:
                end += 1  # by itself too large for a chunk: a chunk of its own
            self._waiting.append(table.slice(start, end - start))
            self._waiting_entries += end - start
            self._waiting_bytes += offsets[end] - offsets[start]
            start = end
            if start < count or self._waiting_entries == MAX_CHUNK_ENTRIES:
                self._write_chunk()

    def close(self) -> None:
        """Write what is left and make the file durable."""
        if self._waiting:
            self._write_chunk()
        self.file.close()

    def _write_chunk(self) -> None:
        table = pa.concat_tables(self._waiting)
        self.file.write(table)
        recipients = int(pc.sum(table["recipients"]).as_py())
        self.chunks.append(ChunkInfo(len(self.chunks), entries=self._waiting_entries, recipients=recipients))
        self._waiting, self._waiting_entries, self._waiting_bytes = [], 0, 0


class SnapshotReader:
    """A finished snapshot; a context manager. One thread at a time may use it.

    Args:
        path: the snapshot's file.
        size_bytes: its size as it was when the campaign was planned.
        sha256: its digest then, in hex. None where only a cell is looked up: the whole file is not read for that, and
            what is read has checksums of its own.

    Raises:
        SnapshotError: the file is missing or is not the one that was planned. Methods raise it for damage that appears
            later.
    """

    def __init__(self, path: Path, *, size_bytes: int, sha256: str | None) -> None:
        self._path = path
        try:
            source = pa.OSFile(str(path), "rb")
            if source.size() != size_bytes:
                raise SnapshotError(f"{path} has {source.size():,} bytes; it had {size_bytes:,} when it was planned")
            digest = hashlib.sha256()
            while sha256 is not None and (block := source.read(_HASH_READ_BYTES)):
                digest.update(block)
            if sha256 not in (None, digest.hexdigest()):
                raise SnapshotError(f"{path} is not the file that was planned: its SHA-256 differs")
            self._file = pq.ParquetFile(source, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; chunks that were read stay good."""
        self._file.close(force=True)

    def chunk(self, number: int) -> Chunk:
        """One chunk, numbered from 0. It holds on to the columns' own memory; nothing is copied."""
        table = self._read(number, ["row", "recipients", "entry"])
        recipients, entries = single(table["recipients"]), single(table["entry"])
        _, offsets, data = entries.buffers()
        return Chunk(
            number=number,
            rows=int64s(single(table["row"])),
            recipients=int32s(recipients.buffers()[1])[recipients.offset :][: len(recipients)],
            offsets=int32s(offsets)[entries.offset :][: len(entries) + 1],
            entries=memoryview(data),
            one_each=pc.max(recipients).as_py() == 1,
        )

    def __len__(self) -> int:
        """How many chunks it has."""
        return self._file.num_row_groups

    def table(self, number: int) -> pa.Table:
        """All columns of a chunk."""
        return self._read(number, self.schema.names)

    @property
    def schema(self) -> pa.Schema:
        """Of all columns."""
        return self._file.schema_arrow

    @property
    def list_columns(self) -> ListColumns:
        """What the columns of the list were. Raises SnapshotError if an earlier version made the snapshot."""
        return ListColumns.read(self.schema.metadata, self._path)

    def kept(self, number: int) -> list[tuple[str | None, ...]]:
        """The cells of `list_columns.kept` for each of a chunk's entries, in their order."""
        names = self.schema.names[len(_FIELDS) :]
        if not names:
            return [()] * self._file.metadata.row_group(number).num_rows
        return list(zip(*(column.to_pylist() for column in self._read(number, names).columns), strict=True))

    def addresses(self, number: int) -> list[str]:
        """The addresses of a chunk's entries, in their order."""
        found: list[str] = single(self._read(number, ["address"])["address"]).to_pylist()
        return found

    def keys(self, number: int) -> list[tuple[int, str]]:
        """(place in the chunk, address) of everybody whom its entries go to, spelled as duplicates are compared.

        Cc and Bcc are among them.
        """
        table = self._read(number, ["address", "recipients"])
        to: Any = comparison_keys(single(table["address"])).to_pylist()
        found: list[tuple[int, str]] = list(enumerate(to))
        with_copies = pc.indices_nonzero(pc.greater(single(table["recipients"]), 1)).to_pylist()
        if with_copies:
            entries = single(self._read(number, ["entry"])["entry"])
            for place in with_copies:
                destination = orjson.loads(entries[place].as_py().removesuffix(b","))["Destination"]
                for kind in ("CcAddresses", "BccAddresses"):
                    found += [(place, address.lower()) for address in destination.get(kind, ())]
        return found

    def address_of_row(self, row: int) -> str | None:
        """Whom the entry of a row of the list goes to, spelled as duplicates are compared; None if it has no entry."""
        low, high = 0, len(self)
        while low < high:
            number = (low + high) // 2
            rows = int64s(single(self._read(number, ["row"])["row"]))
            if row < rows[0]:
                high = number
            elif row > rows[-1]:
                low = number + 1
            else:
                place = bisect_left(rows, row)
                return self.addresses(number)[place].lower() if rows[place] == row else None
        return None

    def rows(self, number: int) -> list[int]:
        """The row numbers of a chunk's entries, in their order."""
        return list(int64s(single(self._read(number, ["row"])["row"])))

    def _read(self, number: int, columns: list[str]) -> pa.Table:
        if not 0 <= number < self._file.num_row_groups:
            raise SnapshotError(f"{self._path} has no chunk {number}; it has {self._file.num_row_groups}")
        try:
            return self._file.read_row_group(number, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise SnapshotError(f"{self._path}, chunk {number}: {error}") from error
