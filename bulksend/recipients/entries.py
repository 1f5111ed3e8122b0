r"""Rows as finished JSON of SendBulkEmail's BulkEmailEntry, whole columns at a time.

An entry is a fixed text with the row's columns put in. Template data is a JSON document inside a JSON string, so a cell
is escaped twice: a double quote in it stands as \\\" in the entry. Cells of a list with types (Parquet) may be JSON
values already, and may be null, which is JSON's null or the key's default.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING

import pyarrow as pa

from bulksend.errors import ListError
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import filled, has_characters, has_controls, longest_bytes, occurs
from bulksend.recipients.headers import HeaderValues

if TYPE_CHECKING:
    from collections.abc import Mapping as AbstractMapping
    from collections.abc import Sequence

    from bulksend.recipients.columns import Numbers, Texts
    from bulksend.recipients.mapping import BoundMapping, PlaceholderText

__all__ = ["MAX_DATA_CHARS", "EntryWriter", "overlong"]

MAX_DATA_CHARS = 262_144
"""The longest ReplacementTemplateData (API reference, ReplacementTemplate)."""

MAX_TAG_CHARS = 256
"""The longest value of a tag (API reference, MessageTag)."""

_ILLEGAL_IN_TAG = "[^A-Za-z0-9_-]"
_QUOTE = '\\"'
"""A quote of the JSON document inside the JSON string."""
_TO_ESCAPE = r'["\\\x00-\x1f]'
_MOST_CHARS_PER_BYTE = 6
"""What JSON makes of a control character: \\u0000."""


def escape_twice(column: Texts) -> Texts:
    """Cells as they stand in a JSON document inside a JSON string."""
    if not has_controls(column) and not has_characters(b'"\\', column):
        return column
    at_fault = pc.match_substring_regex(column, _TO_ESCAPE)
    escaped = column.filter(at_fault)
    characters = '\\"' + ("".join(map(chr, range(0x20))) if has_controls(escaped) else "")
    for character in characters:  # the backslash first, for the others bring in their own
        escaped = pc.replace_substring(escaped, character, _inside(_inside(character)))
    replaced: Texts = pc.replace_with_mask(column, at_fault, escaped)
    return replaced


def escape_once(column: Texts) -> Texts:
    """Cells without control characters as they stand in a JSON string."""
    if not has_characters(b'"\\', column):
        return column
    escaped: Texts = pc.replace_substring(pc.replace_substring(column, "\\", "\\\\"), '"', '\\"')
    return escaped


def overlong(columns: AbstractMapping[str, Texts], mapping: BoundMapping) -> dict[int, int]:
    """The rows with more than MAX_DATA_CHARS characters of template data: their places, and how many they have."""
    fixed = _fixed_chars(mapping)
    cells = [columns[name] for name in mapping.data]
    nulls = [_null_of(mapping, name) for name in mapping.data]
    most = sum(
        max(_MOST_CHARS_PER_BYTE * longest_bytes(cell), len(null)) for cell, null in zip(cells, nulls, strict=True)
    )
    if fixed + most <= MAX_DATA_CHARS:
        return {}
    size = functools.reduce(
        pc.add,
        [
            pc.fill_null(pc.binary_length(cell).cast(pa.int64()), len(null))
            for cell, null in zip(cells, nulls, strict=True)
        ],
    )
    found = {}
    for place in pc.indices_nonzero(pc.greater(size, (MAX_DATA_CHARS - fixed) // _MOST_CHARS_PER_BYTE)).to_pylist():
        chars = fixed
        for name, cell, null in zip(mapping.data, cells, nulls, strict=True):
            text = cell[place].as_py()
            if name in mapping.json_columns:
                chars += len(null if text is None else text)
            else:  # _fixed_chars has its quotes
                chars += len(null) - 2 if text is None else len(_inside(text))
        if chars > MAX_DATA_CHARS:
            found[place] = chars
    return found


class EntryWriter:
    """Makes entries of rows.

    Args:
        mapping: what goes into an entry.
        campaign_id: the value of the tag bulksend-campaign.

    Raises:
        ListError: what every row has in common is already more than SES takes.
    """

    def __init__(self, mapping: BoundMapping, campaign_id: str) -> None:
        self._mapping = mapping
        self._campaign_id = campaign_id
        self._data = _data_texts(mapping)
        if (chars := _fixed_chars(mapping)) > MAX_DATA_CHARS:
            raise ListError(
                f"default_data has {chars:,} characters before any row's data is put in; SES takes {MAX_DATA_CHARS:,}",
                hint="Shorten default_data in the campaign file, or move fixed text into the template.",
            )
        self._tags = [_Tag(name, text) for name, text in mapping.tags.items()]
        self._headers = [HeaderValues(name, text) for name, text in mapping.headers.items()]

    @property
    def same_bytes(self) -> int:
        """How much of an entry may be the same in every row: what stands around its cells, and where cells are null."""
        fixed = sum(len(_inside(text).encode()) for text in self._data)
        return fixed + sum(len(_null_of(self._mapping, name).encode()) for name in self._mapping.data)

    @property
    def warnings(self) -> list[str]:
        """What had to be changed in the entries written so far."""
        return [warning for tag in self._tags for warning in tag.warnings]

    def write(
        self,
        rows: Numbers,
        mailboxes: Texts,
        columns: AbstractMapping[str, Texts],
        *,
        copies: Texts | str = "",
        headers: Sequence[Texts] = (),
    ) -> Texts:
        """One entry for each row, a comma after each.

        Args:
            rows: their numbers.
            mailboxes: addresses such as `addresses.check` accepted, or what `name_addresses` made of them.
            columns: the columns of data and of tags.
            copies: what `check_copies` made of Cc and Bcc.
            headers: the values of those headers that differ from row to row, in their order.
        """
        if self._mapping.display_name is not None:
            mailboxes = escape_once(mailboxes)
        parts: list[Texts | str] = ['{"Destination":{"ToAddresses":["', mailboxes, '"]', copies]
        parts += ['},"ReplacementTags":[{"Name":"bulksend-campaign","Value":"', self._campaign_id]
        parts += ['"},{"Name":"bulksend-row","Value":"', rows.cast(pa.string())]
        for tag in self._tags:
            parts += [f'"}},{{"Name":"{tag.name}","Value":"', tag.values(columns)]
        parts.append('"}],')
        parts += self._header_parts(rows, headers)
        parts.append('"ReplacementEmailContent":{"ReplacementTemplate":{"ReplacementTemplateData":"')
        parts.append(_inside(self._data[0]))
        for name, text in zip(self._mapping.data, self._data[1:], strict=True):
            parts += [*self._cell(name, columns[name]), _inside(text)]
        parts.append('"}}},')
        entries: Texts = pc.binary_join_element_wise(*_merged(parts), "")
        return entries

    def _header_parts(self, rows: Numbers, varying: Sequence[Texts]) -> list[Texts | str]:
        values = iter(varying)
        one_click = self._mapping.one_click
        # These two first: nothing stands between them.
        made = [] if one_click is None else list(one_click.headers(rows))
        for header in self._headers:
            made.append((header.name, escape_once(next(values)) if header.fixed is None else _inside(header.fixed)))
        parts: list[Texts | str] = []
        opening = '"ReplacementHeaders":[{"Name":"'
        for name, value in made:
            parts += [f'{opening}{_inside(name)}","Value":"', value, '"}']
            opening = ',{"Name":"'
        return [*parts, "],"] if parts else []

    def _cell(self, name: str, column: Texts) -> list[Texts | str]:
        """A value of the template data, as it stands in the JSON string that holds that data."""
        null = _inside(_null_of(self._mapping, name)) if column.null_count else ""
        if name in self._mapping.json_columns:
            values = escape_once(column)
            return [pc.fill_null(values, null) if column.null_count else values]
        texts = escape_twice(column)
        if column.null_count:
            return [pc.fill_null(pc.binary_join_element_wise(_QUOTE, texts, _QUOTE, ""), null)]
        return [_QUOTE, texts, _QUOTE]


class _Tag:
    """One tag of the campaign: its legal name, its values, and what had to be changed to make them legal."""

    def __init__(self, name: str, text: PlaceholderText) -> None:
        self.name = _legal(name)
        self._given_name = name
        self._text = text
        self._rows_changed = 0

    @property
    def warnings(self) -> list[str]:
        """In words, one warning for the name and one for the values."""
        found = []
        if self.name != self._given_name:
            found.append(f"the tag {self._given_name!r} is sent as {self.name!r}: SES takes A-Z a-z 0-9 _ and - only")
        if not self._text.columns:
            value = self._text.texts[0]
            if _legal(value) != value:
                found.append(f"the tag {self.name!r} has the value {_legal(value)!r} in place of {value!r}")
        elif self._rows_changed:
            rows = "1 row" if self._rows_changed == 1 else f"{self._rows_changed:,} rows"
            found.append(
                f"the tag {self.name!r}: in {rows} the value was changed to what SES takes, _ for other characters"
            )
        return found

    def values(self, columns: AbstractMapping[str, Texts]) -> Texts | str:
        """The value for each row, or the one value for all of them."""
        first, *others = self._text.texts
        if not self._text.columns:
            return _legal(first)
        parts: list[Texts | str] = [first]
        for column, text in zip(self._text.columns, others, strict=True):
            parts += [filled(columns[column]), text]
        asked: Texts = pc.binary_join_element_wise(*_merged(parts), "")
        legal = asked
        if occurs(_ILLEGAL_IN_TAG, legal):
            legal = pc.replace_substring_regex(legal, _ILLEGAL_IN_TAG, "_")
        if longest_bytes(legal) > MAX_TAG_CHARS:
            legal = pc.utf8_slice_codeunits(legal, 0, MAX_TAG_CHARS)
        if pc.min(pc.binary_length(legal)).as_py() == 0:
            legal = pc.if_else(pc.equal(legal, ""), "_", legal)
        if legal is not asked:
            self._rows_changed += pc.sum(pc.not_equal(legal, asked)).as_py() or 0
        return legal


def _legal(text: str) -> str:
    """A tag's name or value with nothing in it that SES refuses."""
    return re.sub(_ILLEGAL_IN_TAG, "_", text)[:MAX_TAG_CHARS] or "_"


def _inside(text: str) -> str:
    """The text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _data_texts(mapping: BoundMapping) -> list[str]:
    """The template data's JSON around its values: one text more than the mapping has columns of data.

    A default whose key is also a column is seen only where that column has no value, not even an empty text.
    """
    defaults = {key: value for key, value in mapping.default_data.items() if key not in mapping.data}
    before = _json(defaults)[:-1]
    texts = []
    for name in mapping.data:
        comma = "" if before == "{" else ","
        texts.append(f'{before}{comma}"{_inside(name)}":')
        before = ""
    return [*texts, before + "}"]


def _fixed_chars(mapping: BoundMapping) -> int:
    """How many characters of template data every row has at least, the quotes around texts among them."""
    texts = sum(name not in mapping.json_columns for name in mapping.data)
    return sum(len(text) for text in _data_texts(mapping)) + 2 * texts


def _null_of(mapping: BoundMapping, name: str) -> str:
    """The JSON of what stands for a null in a column of data."""
    return _json(mapping.default_data.get(name))


def _json(value: object) -> str:
    # What a campaign file can say and JSON cannot, dates and times, is sent as it is written there.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def _merged(parts: list[Texts | str]) -> list[Texts | str]:
    """The parts, with texts that follow one another made one."""
    merged: list[Texts | str] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    return merged
