"""Headers of each mail, made of patterns such as `<https://example.com/u/{token}>`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import longest_bytes, occurs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bulksend.recipients.columns import Texts
    from bulksend.recipients.mapping import PlaceholderText

__all__ = ["MAX_HEADER_CHARS", "HeaderValues"]

MAX_HEADER_CHARS = 870
"""The longest value of a header; it has printable ASCII only (API reference, MessageHeader)."""

_IN_BRACKETS = r"\A[^ <>]+\z"
_UNPRINTABLE = r"[^\x20-\x7e]"


class HeaderValues:
    """The values of one header."""

    def __init__(self, name: str, text: PlaceholderText) -> None:
        self.name = name
        self._text = text

    @property
    def fixed(self) -> str | None:
        """The one value for all rows, if it is the same for all."""
        return None if self._text.columns else self._text.texts[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its value is made of."""
        return self._text.columns

    def _in_brackets(self) -> list[str]:
        """The columns that stand within <>, as in `<https://example.com/u/{token}>`."""
        inside = False
        found = []
        for text, column in zip(self._text.texts, self._text.columns, strict=False):
            inside = text.rfind("<") > text.rfind(">") or (inside and ">" not in text)
            if inside:
                found.append(column)
        return found

    def values(self, columns: Mapping[str, Texts]) -> tuple[Texts, dict[int, str]]:
        """The value for each row; and for each that SES would refuse its place with the reason in words."""
        first, *others = self._text.texts
        parts: list[Texts | str] = [first]
        for column, text in zip(self._text.columns, others, strict=True):
            parts += [columns[column], text]
        made: Texts = pc.binary_join_element_wise(*parts, "")
        name = json.dumps(self.name)
        reasons: dict[int, str] = {}
        if occurs(_UNPRINTABLE, made):
            for place in pc.indices_nonzero(pc.match_substring_regex(made, _UNPRINTABLE)).to_pylist():
                reasons.setdefault(place, f"the header {name} would have a character in it that is not printable ASCII")
        sizes = pc.binary_length(made)
        if len(made) and pc.min(sizes).as_py() == 0:
            for place in pc.indices_nonzero(pc.equal(sizes, 0)).to_pylist():
                reasons.setdefault(place, f"the header {name} would be empty")
        if longest_bytes(made) > MAX_HEADER_CHARS:
            for place in pc.indices_nonzero(pc.greater(sizes, MAX_HEADER_CHARS)).to_pylist():
                reasons.setdefault(
                    place, f"the header {name} would have {sizes[place]} characters; SES takes {MAX_HEADER_CHARS}"
                )
        for column in self._in_brackets():
            # What would be `<https://example.com/>` or `<https://example.com/a b>` leads nobody anywhere.
            for place in pc.indices_nonzero(
                pc.invert(pc.match_substring_regex(columns[column], _IN_BRACKETS))
            ).to_pylist():
                fault = "a space or a bracket in" if columns[column][place].as_py() else "nothing from"
                reasons.setdefault(place, f"the header {name} would have {fault} column {column!r} within <>")
        return made, reasons
