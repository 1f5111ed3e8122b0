"""HTML from values: whatever is put in is escaped, bounded, and stands alone in its direction of writing."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

__all__ = [
    "bounded",
    "clock",
    "duration_in_words",
    "escaped",
    "instant",
    "isolated",
    "share",
    "some",
    "table",
    "unbroken",
    "under",
]

_JOINERS = "\u200c\u200d"
"""They are of category Cf, and belong to words and emoji."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_TENTHS, _HUNDREDTHS = 1000, 10_000
"""Of a per cent, in a whole."""
_NARROW = "\u202f"
"""A space that does not end a line."""
_PER_CENT = re.compile(r"(?<=\d) (?=%)")

_BYTES_A_CHARACTER = 3
"""What any living script takes, so that only what is made of signs to be escaped is cut sooner."""

_UNITS_S = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def escaped(text: str) -> str:
    """Text for an element or a quoted attribute."""
    return html.escape(text)


def bounded(text: str, most: int) -> str:
    """At most so many characters; those that are not seen, or turn what is around them, become U+FFFD."""
    # What is cut off is never looked at.
    plain = "".join(
        "\ufffd" if unicodedata.category(c) in _HIDDEN and c not in _JOINERS else c
        for c in text[: most + 1].replace("\r\n", " ").replace("\n", " ").replace("\t", " ")
    )
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"


def isolated(text: str, most: int) -> str:
    """A text of others, ready for the page: at most so many characters, and three times as many bytes."""
    plain = bounded(text, most)
    ready, left_bytes = "", _BYTES_A_CHARACTER * most
    for c in plain:
        written = html.escape(c, quote=False)
        left_bytes -= len(written.encode())
        if left_bytes < 0:
            ready += "…"
            break
        ready += written
    return f"<bdi>{ready}</bdi>"


def some(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def share(count: int, of: int, *, finely: bool = False) -> str:
    """In per cent, by tenths (`finely`: by hundredths); none and all are said of none and all alone."""
    if not of:
        return "–"
    whole = _HUNDREDTHS if finely else _TENTHS
    parts = round(whole * count / of)
    sign = "< " if count and not parts else "> " if count < of and parts == whole else ""
    shown = 100 * min(max(parts, bool(count)), whole - (count < of)) / whole
    return f"{sign}{shown:.{2 if finely else 1}f} %".replace(" ", _NARROW)


def unbroken(text: str) -> str:
    """A text in which no line ends between a number and its per cent sign."""
    return _PER_CENT.sub(_NARROW, text)


def instant(at: float | None) -> str:
    """An instant in epoch seconds, in UTC; a dash for none."""
    return _dated(at, "{0.day} {0:%B %Y, %H:%M:%S} UTC")


def clock(at: float | None) -> str:
    """The same for a table, without saying that it is UTC."""
    return _dated(at, "{0:%Y-%m-%d %H:%M:%S}")


def _dated(at: float | None, form: str) -> str:
    if at is None:
        return "–"
    try:
        found = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # no calendar has it
        return f"{at:.0f} s after 1970"
    return f'<time datetime="{found:%Y-%m-%dT%H:%M:%SZ}">{form.format(found)}</time>'


def duration_in_words(duration_s: float) -> str:
    """A duration by its two largest units; one under ten seconds in seconds or milliseconds."""
    if duration_s < 1:
        return f"{duration_s * 1000:.3g} ms"
    if duration_s < 10:  # noqa: PLR2004  two figures say it
        return f"{duration_s:.3g} s"
    left_s, words = round(duration_s), list[str]()
    for unit_s, noun in _UNITS_S:
        count, left_s = divmod(left_s, unit_s)
        if count:
            words.append(some(count, noun))
    return " ".join(words[:2])


def under(content: str) -> str:
    """Ready content on a line of its own within a cell, smaller."""
    return f"<small>{content}</small>" if content else ""


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), of: str = ""
) -> str:
    """A table of ready cells; the first cell of a row is its heading.

    `numbers` are the columns that hold numbers, `of` is the table's class in the style sheet.
    """
    right = frozenset(numbers)

    def kind(place: int) -> str:
        return ' class="n"' if place in right else ""

    def line(cells: Sequence[str]) -> str:
        return "".join(
            f"<td{kind(place)}>{content}</td>" if place else f'<th scope="row">{content}</th>'
            for place, content in enumerate(cells)
        )

    named = f' class="{of}"' if of else ""
    head = "".join(f'<th scope="col"{kind(place)}>{column}</th>' for place, column in enumerate(columns))
    body = "\n".join(f"<tr>{line(cells)}</tr>" for cells in rows)
    return (
        f'<div class="scroll"><table{named}><caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )
