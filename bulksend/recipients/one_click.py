"""The two headers by which a mail program unsubscribes its reader with one click (RFC 8058), of each mail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import int64s

if TYPE_CHECKING:
    from bulksend.recipients.columns import Numbers, Texts

__all__ = ["LIST_UNSUBSCRIBE", "LIST_UNSUBSCRIBE_POST", "OneClick"]

LIST_UNSUBSCRIBE = "List-Unsubscribe"
LIST_UNSUBSCRIBE_POST = "List-Unsubscribe-Post"
_ONE_CLICK = "List-Unsubscribe=One-Click"


@dataclass(frozen=True, slots=True)
class OneClick:
    """The value of List-Unsubscribe: `before` and `after` are what stands around a row's token.

    `tokens` makes the token of each row number: characters of a URL, the same number for each row, one after the other.
    """

    before: str
    after: str
    tokens: Callable[[Iterable[int]], bytes]

    def headers(self, rows: Numbers) -> tuple[tuple[str, Texts | str], ...]:
        """(name, value) of both headers, in the order in which they have to be."""
        data = self.tokens(int64s(rows))
        step = len(data) // max(1, len(rows))
        ends = pa.array(range(0, len(data) + 1, max(1, step)), pa.int32())
        made: Any = pa.Array.from_buffers(pa.string(), len(rows), [None, ends.buffers()[1], pa.py_buffer(data)])
        values: Texts = pc.binary_join_element_wise(self.before, made, self.after, "")
        return (LIST_UNSUBSCRIBE, values), (LIST_UNSUBSCRIBE_POST, _ONE_CLICK)
