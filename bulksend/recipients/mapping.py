"""What a campaign says of the rows of its list, and what that comes to for the list at hand."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulksend.errors import ListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["BoundMapping", "Mapping", "PlaceholderText", "bind"]

RESERVED_TAGS = ("bulksend-campaign", "bulksend-row")
"""The tags that every entry carries, so that any SES event of it names its campaign and row."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OTHER_SEPARATORS = {";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_COLUMNS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Mapping:
    """What a campaign file's [recipients] and [content] say of rows.

    `address` names the column of addresses. `data` names the columns that become template data, None meaning every
    other named one; `default_data` lies under each row's data, key by key. `tags` maps a tag's name to its value, in
    which `{column}` stands for that column's text. With `dedupe` the first row of an address is sent, later ones not.
    """

    address: str
    data: tuple[str, ...] | None
    default_data: dict[str, object]
    tags: dict[str, str]
    dedupe: bool


@dataclass(frozen=True, slots=True)
class PlaceholderText:
    """A tag's value taken apart: texts and columns in turn, a text first and last."""

    texts: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, pattern: str) -> PlaceholderText:
        """Take `pattern` apart at its `{column}` placeholders."""
        pieces = _PLACEHOLDER.split(pattern)
        return cls(tuple(pieces[::2]), tuple(pieces[1::2]))


@dataclass(frozen=True, slots=True)
class BoundMapping:
    """A mapping whose columns are known to be there. `columns` are those to be read, each once, the address first."""

    address: str
    data: tuple[str, ...]
    default_data: dict[str, object]
    tags: dict[str, PlaceholderText]
    columns: tuple[str, ...]
    warnings: tuple[str, ...]


def bind(mapping: Mapping, header: Sequence[str], source: Path) -> BoundMapping:
    """Find the mapping's columns in the list's header.

    Raises:
        ListError: a column is missing, or its name stands in the header twice; a tag's name is reserved.
    """
    for name in mapping.tags:
        if name in RESERVED_TAGS:
            raise ListError(
                f"the tag {name!r} is one that bulksend sets itself",
                hint="Give the tag another name in the campaign file.",
            )
    tags = {name: PlaceholderText.parse(pattern) for name, pattern in mapping.tags.items()}
    warnings = []
    if mapping.data is None:
        data = tuple(name for name in header if name not in ("", mapping.address))
        if unnamed := header.count(""):
            warnings.append(f"{unnamed} {'column' if unnamed == 1 else 'columns'} without a name left out of the data")
    else:
        data = tuple(dict.fromkeys(mapping.data))
    wanted = dict.fromkeys([mapping.address, *data, *(column for text in tags.values() for column in text.columns)])
    _check_columns(wanted, header, source)
    return BoundMapping(mapping.address, data, mapping.default_data, tags, tuple(wanted), tuple(warnings))


def _check_columns(wanted: Iterable[str], header: Sequence[str], source: Path) -> None:
    count = Counter(header)
    for name in wanted:
        if count[name] == 0:
            raise ListError(
                f"{source}: there is no column {name!r}. {_columns_there(header)}", hint=_hint(name, header)
            )
        if count[name] > 1:
            raise ListError(
                f"{source}: {count[name]} columns are named {name!r}, so it is not clear which one is meant",
                hint="Rename all but one of them in the first line of the list, and plan again.",
            )


def _columns_there(header: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in header[:_COLUMNS_SHOWN])
    more = f" and {len(header) - _COLUMNS_SHOWN} more" if len(header) > _COLUMNS_SHOWN else ""
    return f"Its columns are: {shown}{more}"


def _hint(name: str, header: Sequence[str]) -> str | None:
    if len(header) == 1:
        for separator, words in _OTHER_SEPARATORS.items():
            if separator in header[0]:
                return f"The list seems to be separated by {words}: save it with commas, and plan again."
    folded = {column.strip().casefold(): column for column in header}
    near = difflib.get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {folded[near[0]]!r}? Correct the campaign file's [recipients] section, and plan again."
    return None
