"""Questions about a whole column of text at once."""

from __future__ import annotations

from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute

__all__ = [
    "Flags",
    "Numbers",
    "Texts",
    "compute",
    "filled",
    "has_characters",
    "has_controls",
    "int32s",
    "int64s",
    "longest_bytes",
    "occurs",
    "single",
]

compute: Any = pyarrow.compute
"""pyarrow.compute, whose published types leave out most of what its functions take."""

Texts: TypeAlias = "pa.Array[Any]"
"""A column of strings without nulls."""

Numbers: TypeAlias = "pa.Array[Any]"
"""A column of whole numbers without nulls."""

Flags: TypeAlias = "pa.Array[Any]"
"""A column of true and false."""


def occurs(pattern: str, column: Texts) -> bool:
    r"""Whether `pattern`, an RE2 expression of bytes, may match in some cell of the column; False is certain.

    The column's cells stand one after the other in one buffer, which is searched as if it were a single text: several
    times faster than cell by cell. So a match of more than one byte may also lie across the border of two cells.
    """
    if not (data := _bytes_of(column)):
        return False
    # As bytes, RE2 need not decode UTF-8: an ASCII byte is never a part of another character.
    ends = pa.array([0, len(data)], pa.int32())
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, ends.buffers()[1], pa.py_buffer(data)])
    return bool(compute.match_substring_regex(whole, pattern)[0].as_py())


def has_controls(column: Texts) -> bool:
    """Whether a cell has a character below U+0020."""
    if not (data := _bytes_of(column)):
        return False
    numbers = pa.Array.from_buffers(pa.uint8(), len(data), [None, pa.py_buffer(data)])
    return bool(compute.min(numbers).as_py() < ord(" "))


def has_characters(characters: bytes, column: Texts) -> bool:
    """Whether a cell has one of these ASCII characters."""
    data = bytes(_bytes_of(column))
    return any(data.find(character) >= 0 for character in characters)


def _bytes_of(column: Texts) -> memoryview:
    """The UTF-8 of all cells without a gap between them."""
    _, offsets_buffer, data = column.buffers()
    if len(column) == 0 or data is None or offsets_buffer is None:
        return memoryview(b"")
    offsets = int32s(offsets_buffer)
    return memoryview(data)[offsets[column.offset] : offsets[column.offset + len(column)]]


def filled(column: Texts) -> Texts:
    """The column with an empty text in the place of nulls."""
    return compute.fill_null(column, "") if column.null_count else column


def longest_bytes(column: Texts) -> int:
    """The length of the longest cell in bytes of UTF-8; 0 for an empty column."""
    return int(compute.max(compute.binary_length(column)).as_py() or 0)


def single(column: pa.ChunkedArray[Any]) -> Any:
    """The column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def int32s(buffer: pa.Buffer | None) -> memoryview:
    """A buffer of 32-bit numbers: the offsets of a column of text, for instance."""
    return memoryview(buffer or b"").cast("i")


def int64s(column: Numbers) -> memoryview:
    """The column's numbers where they lie; it has no nulls."""
    values = memoryview(column.buffers()[1] or b"").cast("q")
    return values[column.offset : column.offset + len(column)]
