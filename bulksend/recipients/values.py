"""Values of a list with types, as what stands in the template data: text, or finished JSON."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum, unique
from typing import TYPE_CHECKING, Any, assert_never

import orjson
import pyarrow as pa
from pyarrow import types

from bulksend.recipients.columns import compute as pc

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulksend.recipients.columns import Texts

_SHORT_FLOATS = (pa.float16(), pa.float32())
_NO_TIME = "<value out of range"
"""How pyarrow begins what it writes for a time that it cannot write."""

__all__ = ["Kind", "as_strings", "decoded", "kind_of"]


@unique
class Kind(Enum):
    """What the cells of a column become.

    TEXT     the text itself.
    TIME     text: a date, a time of day or both, as ISO 8601 writes them.
    NUMBER   JSON: whole numbers with all their digits, decimals as they are written, true and false.
    FLOAT    JSON, null where it is not a number or not finite.
    NESTED   JSON: objects of structs and maps, arrays of lists.
    JSON     JSON, as it is written there.
    """

    TEXT = "text"
    TIME = "time"
    NUMBER = "number"
    FLOAT = "float"
    NESTED = "nested"
    JSON = "json"

    @property
    def is_json(self) -> bool:
        """Whether a cell is a JSON value."""
        return self in (Kind.NUMBER, Kind.FLOAT, Kind.NESTED, Kind.JSON)


def kind_of(kind: pa.DataType) -> Kind | None:
    """What cells of this type become; None where they can be neither text nor JSON, as binary data."""
    is_json, kind = isinstance(kind, pa.JsonType), _bare(kind)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Kind.JSON if is_json else Kind.TEXT
    if types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind):
        return Kind.TIME
    if types.is_integer(kind) or types.is_decimal(kind) or types.is_boolean(kind) or types.is_null(kind):
        return Kind.NUMBER
    if types.is_floating(kind):
        return Kind.FLOAT
    if types.is_nested(kind) and (inner := _inner(kind)) is not None:
        return Kind.NESTED if all(kind_of(below) is not None for below in inner) else None
    return None


def decoded(column: pa.Array[Any]) -> pa.Array[Any]:
    """The column's values, however they are stored."""
    if isinstance(column, pa.ExtensionArray):
        return decoded(column.storage)
    if isinstance(column, pa.DictionaryArray):
        return decoded(column.dictionary_decode())
    return column


def as_strings(column: pa.Array[Any], kind: Kind) -> Texts:
    """The column as strings: texts, or the JSON of values; nulls stay. `decoded` gave it out; `kind` is the column's.

    Raises:
        UnicodeDecodeError: a text inside a nested value is not UTF-8. Texts by themselves are not looked at.
        ValueError, OverflowError: JSON is not valid; a nested value is none that Python or JSON knows, a date in the
            year 10000 for instance.
    """
    match kind:
        case Kind.TEXT | Kind.NUMBER:
            return column.cast(pa.string())
        case Kind.TIME:
            return _iso_8601(_times(column))
        case Kind.FLOAT:
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
            texts: Texts = finite.cast(pa.string())
            return texts
        case Kind.NESTED:
            return _nested(column)
        case Kind.JSON:
            return _json(column.cast(pa.string()))
        case _:
            assert_never(kind)


def _times(column: pa.Array[Any]) -> Texts:
    texts: Texts = column.cast(pa.string())
    if pc.any(pc.starts_with(texts, _NO_TIME)).as_py():
        raise ValueError("a time beyond the calendar")
    return texts


def _iso_8601(texts: Texts) -> Texts:
    """Times as pyarrow writes them, with a T before the time, a colon in the offset, and no fraction of only zeros."""
    for pattern, replacement in (
        (r"^([^ ]*) ", r"\1T"),
        (r"\.0+(\D|$)", r"\1"),
        (r"([+-]\d\d)(\d\d)$", r"\1:\2"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _json(texts: Texts) -> Texts:
    for text in texts.to_pylist():
        if text is not None:
            orjson.loads(text)
    # Between values, a line end is as good as a space; inside of a text there is none.
    one_line: Texts = pc.replace_substring_regex(texts, r"[\t\r\n]", " ")
    return one_line


def _nested(column: pa.Array[Any]) -> Texts:
    # By way of text, a short float has the digits that it was written with: 19.9, not 19.899999618530273.
    castable: Any = column.cast(_by_text(column.type)).cast(_in_python(column.type), safe=False)
    try:
        python = castable.to_pylist(maps_as_pydicts="strict")
    except KeyError as error:
        raise ValueError("a map with the same key twice") from error
    options = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return pa.array(
        [None if value is None else orjson.dumps(value, _beyond_orjson, options).decode() for value in python],
        pa.string(),
    )


def _beyond_orjson(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError


def _bare(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are stored."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif isinstance(kind, pa.DictionaryType):
            kind = kind.value_type
        else:
            return kind


def _inner(kind: pa.DataType) -> list[pa.DataType] | None:
    """The types inside of a nested one; None for kinds that are not known here."""
    if isinstance(kind, pa.StructType):
        return [kind.field(place).type for place in range(kind.num_fields)]
    if isinstance(kind, pa.MapType):
        return None if types.is_nested(kind.key_type) else [kind.key_type, kind.item_type]
    if isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        return [kind.value_type]
    return None


def _by_text(kind: pa.DataType) -> pa.DataType:
    """The nested type with text for floats that are shorter than Python's."""
    return _mapped(kind, lambda leaf: pa.string() if leaf in _SHORT_FLOATS else leaf)


def _in_python(kind: pa.DataType) -> pa.DataType:
    """The nested type with times no finer than Python's and floats as long, so that every value has one there."""
    return _mapped(kind, _leaf_in_python)


def _leaf_in_python(kind: pa.DataType) -> pa.DataType:
    if kind in _SHORT_FLOATS:
        return pa.float64()
    if isinstance(kind, pa.TimestampType) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if kind == pa.time64("ns") else kind


def _mapped(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with others for what is not nested in it. Keys that JSON cannot write are text."""
    if isinstance(kind, pa.StructType):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([field.with_type(_mapped(field.type, leaf)) for field in fields])
    if isinstance(kind, pa.MapType):
        return pa.map_(
            pa.string() if types.is_decimal(kind.key_type) else leaf(kind.key_type), _mapped(kind.item_type, leaf)
        )
    if isinstance(kind, pa.ListType | pa.LargeListType):
        return pa.list_(_mapped(kind.value_type, leaf))
    if isinstance(kind, pa.FixedSizeListType):
        return pa.list_(_mapped(kind.value_type, leaf), kind.list_size)
    return leaf(kind)
