"""Rows whose mail would go to a suppressed address are left out of the snapshot, To, Cc and Bcc alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson
import pyarrow as pa

from bulksend.model import SkipReason
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import filled
from bulksend.recipients.skipped import SKIPPED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulksend.recipients.block import Block
    from bulksend.recipients.columns import Texts

__all__ = ["LookUp", "Screening", "in_a_copy", "without_unsubscribed"]

AT_ONCE = 5_000
"""Addresses to one question."""

LookUp: TypeAlias = Callable[[Sequence[str]], Mapping[str, str]]
"""Which of these addresses (as duplicates are compared) are suppressed, each with the reason in words."""


class Screening:
    """Asks, block by block, whom not to write to; it keeps nothing of the answers."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up

    def split(self, good: pa.RecordBatch, keys: Texts) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Good rows without those that are suppressed, and these as rows of the skipped file.

        A row that has a suppressed address in Cc or Bcc is left out whole: without that copy it would be another mail
        than the list asks for, and nobody would know.
        """
        reasons: dict[int, str] = {}
        for start in range(0, len(keys), AT_ONCE):
            some: Any = keys.slice(start, AT_ONCE).to_pylist()
            if found := self._look_up(some):
                reasons |= {start + place: found[key] for place, key in enumerate(some) if key in found}
        if "copies" in good.schema.names:
            for place, why in self._copies(good["copies"]):
                reasons.setdefault(place, why)
        if not reasons:
            return good, _suppressed_batch(good.slice(0, 0), [])
        places = sorted(reasons)
        kept = pc.invert(pc.is_in(pa.array(range(len(good)), pa.int64()), pa.array(places, pa.int64())))
        left_out = good.take(pa.array(places, pa.int64()))
        return good.filter(kept), _suppressed_batch(left_out, [reasons[place] for place in places])

    def _copies(self, copies: Texts) -> Iterator[tuple[int, str]]:
        """(place, reason) of rows with a suppressed address in Cc or Bcc; `copies` is what `check_copies` made."""
        filled = pc.indices_nonzero(pc.not_equal(copies, "")).to_pylist()
        for start in range(0, len(filled), AT_ONCE):
            places = filled[start : start + AT_ONCE]
            written = [orjson.loads("{" + copies[place].as_py().removeprefix(",") + "}") for place in places]
            # Each address is as `addresses.check` has it: what is left to do is lower case.
            of_row = [[address.lower() for cell in one.values() for address in cell] for one in written]
            found = self._asked({key for keys in of_row for key in keys})
            if found:
                for place, keys in zip(places, of_row, strict=True):
                    why = next((found[key] for key in keys if key in found), None)
                    if why is not None:
                        yield place, in_a_copy(why)

    def _asked(self, keys: set[str]) -> Mapping[str, str]:
        asked = sorted(keys)
        found: dict[str, str] = {}
        for start in range(0, len(asked), AT_ONCE):
            found |= self._look_up(asked[start : start + AT_ONCE])
        return found


def without_unsubscribed(block: Block, address: str, column: str) -> tuple[Block, pa.RecordBatch]:
    """A block without the rows that have a text in this column, and these as rows of the skipped file."""
    reasons = filled(block.columns[column])
    places = pc.indices_nonzero(pc.not_equal(reasons, ""))
    where = places.cast(pa.int64())
    left_out = pa.record_batch(
        [block.rows.take(where), filled(block.columns[address]).take(where)], names=["row", "address"]
    )
    return block.without(where.to_pylist(), []), _suppressed_batch(left_out, reasons.take(where).to_pylist())


def in_a_copy(why: str) -> str:
    """The reason where it is not the To address."""
    return f"an address in Cc or Bcc: {why}"


def _suppressed_batch(rows: pa.RecordBatch, reasons: Sequence[str | None]) -> pa.RecordBatch:
    """Rows with their reasons, as rows of the skipped file."""
    word = pa.repeat(pa.scalar(SkipReason.SUPPRESSED.value), len(rows))
    return pa.record_batch([rows["row"], rows["address"], word, pa.array(reasons, pa.string())], schema=SKIPPED_SCHEMA)
