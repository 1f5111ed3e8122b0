"""What a campaign says of the rows of its list, and what that comes to for the list at hand."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bulksend.errors import ListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bulksend.recipients.one_click import OneClick

__all__ = ["BoundMapping", "Mapping", "PlaceholderText", "bind", "value_at"]

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

    `cc` and `bcc` name columns whose cells hold any number of addresses, with commas or semicolons between them;
    `display_name` one with the name to write before the address. None of these is data unless `data` says so.
    `headers` maps a header's name to its pattern, like `tags`, in the order in which they are sent.
    `unsubscribed` names a column that says of a row why nobody is to write to it, and of all others nothing.
    `one_click` makes the headers for unsubscribing, which stand before those.
    `template_needs` are the names without which the template makes no mail, with the names below them
    (`("user", "name")`), `template_may_use` those that it can do without. Both are empty where that is not known.
    """

    address: str
    data: tuple[str, ...] | None
    default_data: dict[str, object]
    tags: dict[str, str]
    dedupe: bool
    cc: str | None = None
    bcc: str | None = None
    display_name: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    unsubscribed: str | None = None
    one_click: OneClick | None = None
    template_needs: frozenset[tuple[str, ...]] = frozenset()
    template_may_use: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True, slots=True)
class PlaceholderText:
    """A value of a tag or header taken apart: texts and columns in turn, a text first and last."""

    texts: tuple[str, ...]
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, pattern: str) -> PlaceholderText:
        """Take `pattern` apart at its `{column}` placeholders."""
        pieces = _PLACEHOLDER.split(pattern)
        return cls(tuple(pieces[::2]), tuple(pieces[1::2]))


@dataclass(frozen=True, slots=True)
class BoundMapping:
    """A mapping whose columns are known to be there. `columns` are those to be read, each once, the address first.

    The cells of `json_columns` are JSON values, not text. `required` is what the template needs of columns of data,
    each with the names below it, where default_data does not have it.
    """

    address: str
    data: tuple[str, ...]
    default_data: dict[str, object]
    tags: dict[str, PlaceholderText]
    columns: tuple[str, ...]
    warnings: tuple[str, ...]
    cc: str | None = None
    bcc: str | None = None
    display_name: str | None = None
    headers: dict[str, PlaceholderText] = field(default_factory=dict)
    unsubscribed: str | None = None
    one_click: OneClick | None = None
    json_columns: frozenset[str] = frozenset()
    required: tuple[tuple[str, ...], ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns of tags, headers and names that are not data: entries do not have them as they were."""
        patterns = [*self.tags.values(), *self.headers.values()]
        wanted = [name for text in patterns for name in text.columns]
        if self.display_name is not None:
            wanted.append(self.display_name)
        return tuple(name for name in dict.fromkeys(wanted) if name not in self.data)


def bind(
    mapping: Mapping, header: Sequence[str], source: Path | str, json_columns: frozenset[str] = frozenset()
) -> BoundMapping:
    """Find the mapping's columns in the list's header.

    Raises:
        ListError: a column is missing, or its name stands in the header twice; a tag's name is reserved; the template
            needs a variable that no row has.
    """
    for name in mapping.tags:
        if name in RESERVED_TAGS:
            raise ListError(
                f"the tag {name!r} is one that bulksend sets itself",
                hint="Give the tag another name in the campaign file.",
            )
    tags = {name: PlaceholderText.parse(pattern) for name, pattern in mapping.tags.items()}
    headers = {name: PlaceholderText.parse(pattern) for name, pattern in mapping.headers.items()}
    special = (mapping.address, mapping.display_name, mapping.cc, mapping.bcc, mapping.unsubscribed)
    mapped = [name for name in special if name is not None]
    warnings = []
    if mapping.data is None:
        data = tuple(name for name in header if name not in ("", *mapped))
        if unnamed := header.count(""):
            warnings.append(f"{unnamed} {'column' if unnamed == 1 else 'columns'} without a name left out of the data")
    else:
        data = tuple(dict.fromkeys(mapping.data))
    patterns = [*tags.values(), *headers.values()]
    wanted = dict.fromkeys([mapping.address, *data, *mapped, *(name for text in patterns for name in text.columns)])
    _check_columns(wanted, header, source)
    _check_needs(mapping, data, header, source)
    _check_depths(mapping, data, json_columns, source)
    warnings += _missed(mapping, data)
    return BoundMapping(
        mapping.address,
        data,
        mapping.default_data,
        tags,
        tuple(wanted),
        tuple(warnings),
        cc=mapping.cc,
        bcc=mapping.bcc,
        display_name=mapping.display_name,
        headers=headers,
        unsubscribed=mapping.unsubscribed,
        one_click=mapping.one_click,
        json_columns=json_columns & wanted.keys(),
        required=tuple(
            path
            for path in sorted(mapping.template_needs)
            if path[0] in data and (len(path) > 1 or mapping.default_data.get(path[0]) is None)
        ),
    )


def value_at(value: object, path: Sequence[str]) -> object:
    """What a template finds below a value: None where there is nothing."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list):
            if step == "length":
                return len(value)
            value = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
        else:
            return None
    return value


def _check_needs(mapping: Mapping, data: Sequence[str], header: Sequence[str], source: Path | str) -> None:
    missing = sorted({path[0] for path in mapping.template_needs}.difference(data, mapping.default_data))
    if not missing:
        return
    names = ", ".join(map(repr, missing))
    # SES accepts a mail whose template lacks a value, and then never sends it.
    hint = "Add a column of that name to the list, or a value to default_data in the campaign file."
    if any(name in header for name in missing):
        hint = "Name the column in the campaign file's recipients.data, and plan again."
    raise ListError(
        f"{source}: the template uses {names}, which neither a column of data nor default_data provides", hint=hint
    )


def _check_depths(mapping: Mapping, data: Sequence[str], json_columns: frozenset[str], source: Path | str) -> None:
    """What is below a name can only be in a value that has something below it."""
    for path in sorted(mapping.template_needs):
        if len(path) == 1:
            continue
        name, whole = path[0], ".".join(path)
        if name in data and name not in json_columns:
            raise ListError(
                f"{source}: the template uses {whole!r}, and the column {name!r} is text, with nothing below it",
                hint="Use the column's own name in the template, or a list in Parquet with a nested column.",
            )
        if name not in data and value_at(mapping.default_data[name], path[1:]) is None:
            raise ListError(
                f"{source}: the template uses {whole!r}, which default_data does not have",
                hint="Add it to default_data in the campaign file, or a nested column to a list in Parquet.",
            )


def _missed(mapping: Mapping, data: Sequence[str]) -> list[str]:
    missing = sorted({path[0] for path in mapping.template_may_use}.difference(data, mapping.default_data))
    if not missing:
        return []
    names = ", ".join(map(repr, missing))
    return [f"the template asks whether there is {names}: neither a column of data nor default_data has that name"]


def _check_columns(wanted: Iterable[str], header: Sequence[str], source: Path | str) -> None:
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
    if header[0].lower().startswith("sep="):
        return "Remove the first line, which is for Excel alone, and plan again; a delimiter is found out without it."
    if len(header) == 1:
        for separator, words in _OTHER_SEPARATORS.items():
            if separator in header[0]:
                return f"The list seems to be separated by {words}: save it with commas, and plan again."
    folded = {column.strip().casefold(): column for column in header}
    near = difflib.get_close_matches(name.strip().casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"Did you mean {folded[near[0]]!r}? Correct the campaign file's [recipients] section, and plan again."
    return None
