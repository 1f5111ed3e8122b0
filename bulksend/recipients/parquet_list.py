"""A list in Parquet, one file or a folder of them, as numbered blocks of columns. Rows are numbered on from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from bulksend.errors import ListError
from bulksend.recipients.block import Block
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import single
from bulksend.recipients.skipped import Fault
from bulksend.recipients.values import Kind, as_strings, decoded, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from bulksend.recipients.columns import Texts
    from bulksend.recipients.source import Input, ListFiles

__all__ = ["ParquetList"]

BATCH_BYTES = 2 * 1024 * 1024
"""How much is decoded at a time, by the size of the rows before."""

MAX_BATCH_ROWS = 8192
FIRST_BATCH_ROWS = 64
MOST_GROWTH = 4
"""How many times as many rows may be read at a time as before."""

MAX_PIECE_BYTES = 4 * 1024 * 1024
"""How much is worked on at a time, if more turned out to be in a batch than was thought."""

_READ_BYTES = 256 * 1024
"""How much of each column is read at a time; without it, all that a row group has of it."""

_CSV_BYTES_PER_ROW = 150
"""What a row takes in CSV, roughly."""


class ParquetList:
    """A Parquet list, opened; a context manager. `json_columns` are those whose cells are JSON values, not text.

    Raises:
        ListError: a file is not Parquet, is encrypted, or has not the columns of the first one.
    """

    def __init__(self, source: Path | str, found: ListFiles) -> None:
        self._source = source
        self._found = found
        first: pa.Schema | None = None
        rows = 0
        for file in found.files:
            with _opened(file) as parquet:
                rows += parquet.metadata.num_rows
                if first is None:
                    first = parquet.schema_arrow
                else:
                    _check_same(first, parquet.schema_arrow, file, found.files[0])
        assert first is not None
        self._schema = first
        self.header = tuple(first.names)
        kinds = {field.name: kind_of(field.type) for field in first}
        self.json_columns = frozenset(name for name, kind in kinds.items() if kind is not None and kind.is_json)
        self.csv_bytes = rows * _CSV_BYTES_PER_ROW
        """About how many bytes of CSV these rows would be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open."""

    def hash_rest(self) -> str:
        """The list's digest: see `list_digest`. Raises ListError if a file has changed since it was found."""
        digest = self._found.digest()
        self._found.refuse_changes()
        return digest

    def blocks(self, columns: Sequence[str]) -> Iterator[Block]:
        """The list, block by block: of each row the named columns, the address first.

        Raises:
            ListError: a column is of a type that is neither text nor JSON; a file cannot be read to its end.
        """
        for name in columns:
            kind = self._schema.field(name).type
            if kind_of(kind) is None:
                raise ListError(
                    f"{self._source}: the column {name!r} is {kind}, which cannot be put into a mail",
                    hint="Name the columns of data in the campaign file's recipients.data, this one not among them.",
                )
        last = 0
        for file in self._found.files:
            with _opened(file) as parquet:
                try:
                    for read in _batches(parquet, columns):
                        for batch in _pieces(read):
                            yield _block(batch, columns, last)
                            last += len(batch)
                except (OSError, pa.ArrowException) as error:
                    raise ListError(
                        f"{file.name} cannot be read after row {last}: {error}",
                        hint="Check that the file was copied to its end and opens elsewhere, and plan again.",
                    ) from error


def _opened(file: Input) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file.open(), buffer_size=_READ_BYTES, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.strerror:
            raise ListError(f"{file.name}: {error.strerror}") from error
        raise ListError(
            f"{file.name} is not a Parquet file that can be read: {error}",
            hint="Check that the file was copied to its end, and that it is not encrypted.",
        ) from error


def _check_same(first: pa.Schema, schema: pa.Schema, file: Input, first_file: Input) -> None:
    ours, theirs = ([(field.name, field.type) for field in one] for one in (schema, first))
    if sorted(ours, key=str) == sorted(theirs, key=str):
        return
    for name, kind in ours:
        if (name, kind) not in theirs:
            there = [str(other) for other_name, other in theirs if other_name == name]
            raise ListError(
                f"{file.name}: the column {name!r} is {kind}, "
                f"{'is not there' if not there else f'is {there[0]}'} in {first_file.base_name}",
                hint="All the files of a list have the same columns of the same types.",
            )
    name = next((name for name, kind in theirs if (name, kind) not in ours), theirs[0][0] if theirs else "")
    raise ListError(
        f"{file.name}: the column {name!r} of {first_file.base_name} is not there, or is there more than once",
        hint="All the files of a list have the same columns of the same types.",
    )


def _batches(parquet: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The file's rows, so many at a time that they take about BATCH_BYTES in memory, as those before them did.

    How much that is can be seen nowhere else: a text that is repeated stands in a Parquet file once.
    """
    rows = FIRST_BATCH_ROWS
    for batch in parquet.iter_batches(rows, columns=list(columns), use_threads=False):
        if len(batch):
            yield batch
            fitting = BATCH_BYTES * len(batch) // (_decoded_bytes(batch) + 1)
            rows = max(1, min(MAX_BATCH_ROWS, rows * MOST_GROWTH, fitting))
            parquet.reader.set_batch_size(rows)  # for those that it has not read yet


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows of a batch in pieces of at most MAX_PIECE_BYTES, or of one row."""
    if len(batch) > 1 and _decoded_bytes(batch) > MAX_PIECE_BYTES:
        half = len(batch) // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))
    else:
        yield batch


def _decoded_bytes(batch: pa.RecordBatch) -> int:
    """How much the values take in memory, those of dictionaries written out."""
    size = 0
    for column in batch.columns:
        if isinstance(column, pa.DictionaryArray) and kind_of(column.type) is Kind.TEXT:
            lengths = pc.binary_length(column.dictionary)
            size += int(pc.sum(lengths.take(column.indices)).as_py() or 0)
        else:
            size += column.nbytes
    return size


def _block(batch: pa.RecordBatch, columns: Sequence[str], last: int) -> Block:
    rows = pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), len(batch)), start=last)
    texts: dict[str, Texts] = {}
    unusable: dict[int, str] = {}
    for name in columns:
        texts[name], reasons = _strings(batch.column(batch.schema.get_field_index(name)))
        for place, reason in reasons.items():
            unusable.setdefault(place, f"{reason} in column {name!r}")
    block = Block(rows, texts, [])
    if not unusable:
        return block
    address = texts[columns[0]]
    faults = [Fault(last + 1 + place, address[place].as_py() or "", reason) for place, reason in unusable.items()]
    return block.without(unusable, faults)


def _strings(column: pa.Array[Any]) -> tuple[Texts, dict[int, str]]:
    """The column as strings, and the places of cells that cannot be, for which a text stands, with the reason."""
    kind = kind_of(column.type)
    assert kind is not None
    column = decoded(column)
    try:
        return _checked(column, kind), {}
    except (ValueError, OverflowError):
        pass
    made: list[Texts] = []
    unusable: dict[int, str] = {}
    for place in range(len(column)):
        try:
            made.append(_checked(column.slice(place, 1), kind))
        except (ValueError, OverflowError) as error:
            is_text = kind is Kind.TEXT or isinstance(error, UnicodeDecodeError)
            unusable[place] = "not valid UTF-8" if is_text else f"a value that is not possible in JSON ({error})"
            made.append(pa.array(["\ufffd"]))
    return single(pa.chunked_array(made, pa.string())), unusable


def _checked(column: pa.Array[Any], kind: Kind) -> Texts:
    # Where a nested column has a fault can only be seen by reading it.
    if kind in (Kind.TEXT, Kind.JSON):
        column.validate(full=True)
    return as_strings(column, kind)
