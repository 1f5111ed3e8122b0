"""Cc and Bcc: cells with any number of addresses, each judged as the To address is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.recipients import addresses
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import int32s, longest_bytes

if TYPE_CHECKING:
    from typing import Any

    from bulksend.recipients.columns import Numbers, Texts

__all__ = ["check_copies"]

_SEPARATORS = "[,;]"


def check_copies(cells: Texts, word: str) -> tuple[Texts, Numbers, dict[int, str]]:
    """Judge a column of copies; `word` is Cc or Bcc.

    Returns:
        What stands in the entry's Destination after its To addresses: `,"CcAddresses":["a@example.com"]`, or nothing
        where the cell is empty. How many addresses that is. And of refused cells their place with the reason in words.
    """
    nothing = pa.repeat(pa.scalar(""), len(cells))
    none = pa.repeat(pa.scalar(0, pa.int32()), len(cells))
    if longest_bytes(cells) == 0:
        return nothing, none, {}
    # All addresses of the column as one column, and for each the row that it is of.
    split: Any = pc.split_pattern_regex(cells, _SEPARATORS)
    places = pc.list_parent_indices(split).cast(pa.int32())
    single = pc.ascii_trim_whitespace(pc.list_flatten(split))
    there = pc.not_equal(single, "")
    single, places = single.filter(there), places.filter(there)
    if not len(single):
        return nothing, none, {}
    canonical, refused = addresses.check(single)
    reasons: dict[int, str] = {}
    for place, why in refused.items():
        reasons.setdefault(places[place].as_py(), f"in {word}: {why}")
    # A refused address leaves its row out, whatever is made of it here.
    canonical = pc.fill_null(canonical, "")
    counted = pc.value_counts(places)
    rows, counts = pc.struct_field(counted, "values"), pc.struct_field(counted, "counts").cast(pa.int32())
    ends = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(counts)])
    offsets: Any = pa.Array.from_buffers(pa.int32(), len(ends), [None, ends.buffers()[1]])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, canonical), '","')
    written = pc.binary_join_element_wise(f',"{word}Addresses":["', joined, '"]', "")
    filled = pa.array(_flags(len(cells), int32s(rows.buffers()[1])[rows.offset :][: len(rows)]), pa.bool_())
    return pc.replace_with_mask(nothing, filled, written), pc.replace_with_mask(none, filled, counts), reasons


def _flags(length: int, places: memoryview) -> list[bool]:
    flags = [False] * length
    for place in places:
        flags[place] = True
    return flags
