"""Which rows repeat the address of an earlier one, found with little memory however long the list is.

Addresses are spread over partitions on disk by a hash, so that equal ones are in the same partition, and each partition
is then looked at by itself. Rows are called equal only where the addresses themselves are: the hash decides nothing but
the partition.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import int64s, longest_bytes, single
from bulksend.recipients.scratch import Cells

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulksend.recipients.columns import Numbers, Texts

__all__ = ["DuplicateFinder", "Duplicates"]

LIST_BYTES_PER_PARTITION = 8 * 1024 * 1024
MAX_PARTITIONS = 256
ROWS_PER_FLUSH = 128 * 1024
FLUSHES_PER_SECTION = 4
"""A section is the part of the list whose duplicates are in memory at one time."""

_HASHED_BYTES = 64
_WORD_BYTES = 8
_UINT64 = pa.uint64()
# Odd multipliers spread the bits of a word upwards (D. Knuth, The Art of Computer Programming, vol. 3, 6.4).
_MULTIPLIERS = [
    pa.scalar((0x9E3779B97F4A7C15 * (2 * place + 1)) % 2**64, _UINT64) for place in range(_HASHED_BYTES // 8)
]
_LAST_MULTIPLIER = pa.scalar(0xBF58476D1CE4E5B9, _UINT64)
_FOLD_BITS = pa.scalar(32, _UINT64)
_TOP_BYTE_SHIFT_BITS = pa.scalar(56, _UINT64)

_KEYED_COLUMNS: dict[str, pa.DataType] = {"row": pa.int64(), "key": pa.string()}
_KEYED = pa.schema(_KEYED_COLUMNS)
_PAIRED_COLUMNS: dict[str, pa.DataType] = {"row": pa.int64(), "first": pa.int64()}
_PAIRED = pa.schema(_PAIRED_COLUMNS)


class DuplicateFinder:
    """Takes the rows of a list in their order and says afterwards which of them are duplicates.

    Args:
        folder: where the temporary files go; whoever owns the folder removes them.
        list_bytes: the size of the list, by which the number of partitions is chosen.
    """

    def __init__(self, folder: Path, list_bytes: int) -> None:
        self._folder = folder
        # A power of two that divides the hash's top byte evenly.
        self._partitions = 1
        while self._partitions < min(MAX_PARTITIONS, list_bytes / LIST_BYTES_PER_PARTITION):
            self._partitions *= 2
        self._keys = Cells(folder / "keys.arrow", _KEYED)
        self._flushes = 0
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0
        self._section_ends: list[int] = []

    def add(self, rows: Numbers, keys: Texts) -> None:
        """Take some rows, numbered higher than those before, and their keys."""
        self._waiting.append(pa.record_batch([rows, keys], schema=_KEYED))
        self._waiting_rows += len(rows)
        if self._waiting_rows >= ROWS_PER_FLUSH:
            self._flush()

    def find(self) -> Duplicates:
        """Which of the rows are duplicates. No more rows can be added."""
        if self._waiting_rows:
            self._flush()
        pairs = Cells(self._folder / "duplicates.arrow", _PAIRED)
        for partition in range(self._partitions):
            numbers = range(partition, self._flushes * self._partitions, self._partitions)
            table = pa.Table.from_batches([self._keys.read(number) for number in numbers], _KEYED)
            rows, firsts = _duplicates(single(table["row"]), single(table["key"]))
            view, start = int64s(rows), 0
            for section_end in self._section_ends:
                end = bisect_right(view, section_end)
                pairs.write([rows.slice(start, end - start), firsts.slice(start, end - start)])
                start = end
        self._keys.remove()
        return Duplicates(pairs, self._partitions, self._section_ends)

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._waiting, _KEYED)
        self._waiting, self._waiting_rows = [], 0
        rows, keys = single(table["row"]), single(table["key"])
        if self._flushes % FLUSHES_PER_SECTION == 0:
            self._section_ends.append(0)
        self._section_ends[-1] = rows[len(rows) - 1].as_py()
        self._flushes += 1
        if self._partitions == 1:
            self._keys.write([rows, keys])
            return
        places = pc.shift_right(_top_bytes(keys), pa.scalar(9 - self._partitions.bit_length(), pa.uint8()))
        order = pc.sort_indices(places)
        sizes = {count["values"]: count["counts"] for count in pc.value_counts(places).to_pylist()}
        rows, keys = rows.take(order), keys.take(order)
        start = 0
        for partition in range(self._partitions):
            size = sizes.get(partition, 0)
            self._keys.write([rows.slice(start, size), keys.slice(start, size)])
            start += size


class Duplicates:
    """The duplicates of a list, to be asked for in the order of its rows."""

    def __init__(self, pairs: Cells, partitions: int, section_ends: Sequence[int]) -> None:
        self._pairs = pairs
        self._partitions = partitions
        self._section_ends = section_ends
        self._section = -1
        self._loaded = pa.table([pa.array([], pa.int64())] * 2, schema=_PAIRED)

    def among(self, rows: Numbers) -> tuple[Numbers, Numbers]:
        """Those of `rows`, numbers that were once added together, that are duplicates; and of each its first row."""
        first, last = rows[0].as_py(), rows[len(rows) - 1].as_py()
        if self._section < 0 or self._section_ends[self._section] < first:
            self._section = bisect_left(self._section_ends, first)
            # They were written partition by partition.
            numbers = range(self._section, len(self._section_ends) * self._partitions, len(self._section_ends))
            batches = [self._pairs.read(number) for number in numbers]
            self._loaded = pa.Table.from_batches(batches, _PAIRED).sort_by("row")
        found, firsts = single(self._loaded["row"]), single(self._loaded["first"])
        view = int64s(found)
        start, end = bisect_left(view, first), bisect_right(view, last)
        return found.slice(start, end - start), firsts.slice(start, end - start)


def _duplicates(rows: Numbers, keys: Texts) -> tuple[Numbers, Numbers]:
    """The rows whose key stood before, and the first row of that key; both in the order given."""
    encoded = keys.dictionary_encode()
    codes = encoded.indices
    # Codes are given out in order of first appearance: only a first one is above all codes before it.
    highest_before = pa.concat_arrays([pa.array([-1], codes.type), pc.cumulative_max(codes)]).slice(0, len(codes))
    is_first = pc.greater(codes, highest_before)
    if pc.all(is_first).as_py() is not False:
        return rows.slice(0, 0), rows.slice(0, 0)
    repeats = pc.invert(is_first)
    return rows.filter(repeats), rows.filter(is_first).take(codes.filter(repeats))


def _top_bytes(keys: Texts) -> Numbers:
    """A byte of a hash of each key's first 64 bytes, evenly spread."""
    if (width := longest_bytes(keys)) > _HASHED_BYTES:
        keys = pc.utf8_slice_codeunits(keys, 0, _HASHED_BYTES)
        width = _HASHED_BYTES
    words = max(1, -(-width // _WORD_BYTES))
    # Padded with NULs to whole words; a word of NULs adds nothing, so the width does not change the hash.
    padded = pc.ascii_rpad(keys, words * _WORD_BYTES, "\0")
    flat = pa.Array.from_buffers(_UINT64, len(keys) * words, [None, padded.buffers()[2]])
    rows_of_words = pa.FixedSizeListArray.from_arrays(flat, words)
    hashes = pa.repeat(pa.scalar(0, _UINT64), len(keys))
    for place in range(words):
        hashes = pc.bit_wise_xor(hashes, pc.multiply(pc.list_element(rows_of_words, place), _MULTIPLIERS[place]))
    folded = pc.bit_wise_xor(hashes, pc.shift_right(hashes, _FOLD_BITS))
    top_bytes: Numbers = pc.shift_right(pc.multiply(folded, _LAST_MULTIPLIER), _TOP_BYTE_SHIFT_BITS).cast(pa.uint8())
    return top_bytes
