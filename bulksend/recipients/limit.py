"""How far to read a list of which only the first so many entries are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulksend.recipients.columns import Texts

__all__ = ["Limit"]

_SLOTS_PER_ENTRY = 64
_MOST_SLOTS = 64 * 1024 * 1024


class Limit:
    """Counts rows that can become entries until there are certainly `entries` of them.

    With `distinct`, an address counts once. It is remembered as one taken slot of a table of bounded size: two
    addresses may share one, so that the count may run behind, never ahead, and a little more is read than needed.
    """

    def __init__(self, entries: int, *, distinct: bool) -> None:
        self.entries = entries
        self._slots = bytearray(min(_SLOTS_PER_ENTRY * entries, _MOST_SLOTS)) if distinct else None
        self._counted = 0

    @property
    def reached(self) -> bool:
        """Whether no more rows have to be read."""
        return self._counted >= self.entries

    def add(self, keys: Texts) -> None:
        """Some rows, by what their addresses are compared by."""
        if self._slots is None:
            self._counted += len(keys)
            return
        slots, size = self._slots, len(self._slots)
        for key in keys.to_pylist():
            slot = hash(key) % size
            if not slots[slot]:
                slots[slot] = 1
                self._counted += 1
