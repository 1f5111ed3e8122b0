"""Some records of a list, as every kind of list hands them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.recipients.columns import compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection

    from bulksend.recipients.columns import Flags, Numbers, Texts
    from bulksend.recipients.skipped import Fault

__all__ = ["Block", "all_but"]


@dataclass(frozen=True, slots=True)
class Block:
    """Some records of the list: `rows` numbers those in `columns` (strings); `faults` are the unusable ones.

    `faults` follow the order of the list, and are all numbered below the rows of the next block. A list with types
    may have nulls in its columns, and JSON values for strings where it says so.
    """

    rows: Numbers
    columns: dict[str, Texts]
    faults: list[Fault]

    def without(self, places: Collection[int], faults: list[Fault]) -> Block:
        """The block without the rows at `places`, which are `faults` now."""
        kept = all_but(places, len(self.rows))
        return Block(
            self.rows.filter(kept),
            {name: column.filter(kept) for name, column in self.columns.items()},
            sorted([*self.faults, *faults], key=lambda fault: fault.row),
        )


def all_but(places: Collection[int], length: int) -> Flags:
    """True for each place of a column but those."""
    flags: Flags = pc.invert(pc.is_in(pa.array(range(length), pa.int64()), pa.array(list(places), pa.int64())))
    return flags
