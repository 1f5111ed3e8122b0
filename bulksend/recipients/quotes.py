"""A CSV list cut where rows end, and double quotes that cannot be right: both are found before the parser reads it.

A quoted field ends with a quote that a delimiter, a line end or the end of the file follows; a quote inside it is
doubled (RFC 4180, 2). Where a quote stands alone, the field runs on to the next quote there is, over other rows: these
would be lost in it without a trace, for the parser lets it pass. A quote inside a field that does not begin with one is
text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["QuoteFault", "Quotes"]

_QUOTE = b'"'
_LINE_ENDS = re.compile(rb"\r\n|\r|\n")
_IS_ADDRESS = re.compile(rb'[^\s@"]+@[^\s@"]+\.[^\s@"]+')


@dataclass(frozen=True, slots=True)
class QuoteFault:
    """What is wrong with a quoted field, in words that follow the number of its row, and what to do."""

    problem: str
    hint: str


class Quotes:
    """Reads ahead of the parser; `fault` is the first that was found.

    Args:
        delimiter: one ASCII character.
        width: how many fields a row has.
        address_place: which of them is the address, counted from 0.
    """

    def __init__(self, delimiter: str, width: int, address_place: int) -> None:
        self._delimiter = delimiter.encode()
        self._width = width
        self._address_place = address_place
        self.fault: QuoteFault | None = None
        self._row = b"\n"  # the last row so far, after the end of the one before it
        self._judged = 1  # how much of that is known to be sound
        between = b"[" + re.escape(self._delimiter) + rb"\r\n]"
        # From quote to quote in one match, with nothing to go back to: fields of one line, and quotes that are text.
        self._sound = re.compile(
            rb'(?:[^"]*+(?:(?<=' + between + rb')"(?:[^"\r\n]++|"")*+"(?=' + between + rb")|(?<!" + between + rb')"))*+'
        )
        self._field = re.compile(rb'"((?:[^"]++|"")*+)"')
        self._ends = re.compile(between)

    @property
    def held_bytes(self) -> int:
        """How long the row is that has begun and not ended yet."""
        return len(self._row) - (2 if self._row.startswith(b"\r\n") else 1)

    def sound_rows(self, data: bytes, *, final: bool) -> bytes:
        """The rows that the next bytes of the list complete; where there is a fault, up to the end of its field.

        The first of all begins with a line end; the last row lacks its own, with which the rows after it begin. So two
        of these never meet inside of a field or of a CR LF. They do meet inside of a row, as the parser is quickest:
        it looks at eight bytes at a time once it has seen the length of one row, which it takes apart by itself then.

        At the end (`final`), a field that is still open is not judged: whoever counts the rows finds it.
        """
        text = self._row + data + (b"\n" if final else b"")
        at, row_from = self._judged, 0
        while True:
            opens = text.find(_QUOTE, self._sound.match(text, at).end())  # type: ignore[union-attr]  # matches always
            field = None if opens < 0 else self._field.match(text, opens)
            sound_from, at = at, len(text) if opens < 0 else opens
            row_from = max(row_from, text.rfind(b"\n", sound_from, at), text.rfind(b"\r", sound_from, at))
            if field is None or field.end() == len(text):  # it may go on in the next bytes
                if text[row_from - 1 : row_from + 1] == b"\r\n":
                    row_from -= 1
                self._row, self._judged = text[row_from:], at - row_from
                return text[:-1] if final else text[:row_from]
            self.fault = self._judge(text, field, text[row_from + 1 : opens])
            if self.fault is not None:
                return text[: field.end()]
            at = field.end()

    def _judge(self, text: bytes, field: re.Match[bytes], before: bytes) -> QuoteFault | None:
        if not self._ends.match(text, field.end()):
            escaped = text[field.end() - 2 : field.end()] == b'\\"'
            return QuoteFault(
                "has text after the quote that closes a field",
                "The list writes quotes inside of fields with a backslash: write them doubled, as CSV has them"
                if escaped
                else "Look for a double quote that stands alone, there or in a row before it, and double or remove it",
            )
        content = field[1]
        if _LINE_ENDS.search(content) and self._has_rows(content, before):
            return QuoteFault(
                "has a field in quotes that holds lines which look like rows of this list",
                "Close or double the quote that opens it. If those lines are its text, begin each with a space",
            )
        return None

    def _has_rows(self, content: bytes, before: bytes) -> bool:
        """Whether lines of the field have the address where a row would have it, and as many fields."""
        place = self._field.sub(b"", before).count(self._delimiter)
        first, *others = (line.split(self._delimiter) for line in _LINE_ENDS.split(content))
        *middle, last = others
        if any(len(fields) == self._width and self._is_address(fields, 0) for fields in middle):
            return True
        if len(last) == place + 1 and self._is_address(last, 0):
            return True
        return len(first) == self._width - place and self._is_address(first, place)

    def _is_address(self, fields: list[bytes], first_place: int) -> bool:
        """Whether these fields of a row, from that place on, have an address in its place."""
        there = self._address_place - first_place
        return 0 <= there < len(fields) and _IS_ADDRESS.fullmatch(fields[there]) is not None
