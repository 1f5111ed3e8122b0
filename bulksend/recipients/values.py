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
    from bulksend.recipients.columns import Texts

__all__ = ["Kind", "as_strings", "decoded", "kind_of"]


@unique
class Kind(Enum):
    """What the cells of a column become.

    TEXT     the text itself.
    TIME     text: a date, a time of day or both, as ISO 8601 writes them.
    NUMBER   JSON: whole numbers with all their digits, decimals as they are written, true and false.
    FLOAT    JSON, null where it is not a number or not finite.
    NESTED   JSON: objects of structs and maps, arrays of lists.
    """

    TEXT = "text"
    TIME = "time"
    NUMBER = "number"
    FLOAT = "float"
    NESTED = "nested"

    @property
    def is_json(self) -> bool:
        """Whether a cell is a JSON value."""
        return self in (Kind.NUMBER, Kind.FLOAT, Kind.NESTED)


def kind_of(kind: pa.DataType) -> Kind | None:
    """What cells of this type become; None where they can be neither text nor JSON, as binary data."""
    kind = _bare(kind)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Kind.TEXT
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


def as_strings(column: pa.Array[Any]) -> Texts:
    """The column as strings: texts, or the JSON of values; nulls stay. `decoded` gave it out.

    Raises:
        UnicodeDecodeError: a text inside a nested value is not UTF-8. Texts by themselves are not looked at.
        ValueError, OverflowError: a nested value is none that Python or JSON knows, a date in the year 10000 for
            instance.
    """
    kind = kind_of(column.type)
    assert kind is not None
    match kind:
        case Kind.TEXT | Kind.NUMBER:
            return column.cast(pa.string())
        case Kind.TIME:
            return _iso_8601(column.cast(pa.string()))
        case Kind.FLOAT:
            finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, column.type))
            texts: Texts = finite.cast(pa.string())
            return texts
        case Kind.NESTED:
            return _nested(column)
        case _:
            assert_never(kind)


def _iso_8601(texts: Texts) -> Texts:
    """Times as pyarrow writes them, with a T before the time, a colon in the offset, and no fraction of only zeros."""
    for pattern, replacement in (
        (r"^([^ ]*) ", r"\1T"),
        (r"\.0+(\D|$)", r"\1"),
        (r"([+-]\d\d)(\d\d)$", r"\1:\2"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts


def _nested(column: pa.Array[Any]) -> Texts:
    castable: Any = column.cast(_in_python(column.type), safe=False)
    python = castable.to_pylist(maps_as_pydicts="lossy")
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
        return [kind.key_type, kind.item_type]
    if isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        return [kind.value_type]
    return None


def _in_python(kind: pa.DataType) -> pa.DataType:
    """The nested type with times no finer than Python's, so that every value has one there."""
    if isinstance(kind, pa.StructType):
        fields = [kind.field(place) for place in range(kind.num_fields)]
        return pa.struct([field.with_type(_in_python(field.type)) for field in fields])
    if isinstance(kind, pa.MapType):
        return pa.map_(_in_python(kind.key_type), _in_python(kind.item_type))
    if isinstance(kind, pa.ListType | pa.LargeListType):
        return pa.list_(_in_python(kind.value_type))
    if isinstance(kind, pa.FixedSizeListType):
        return pa.list_(_in_python(kind.value_type), kind.list_size)
    if isinstance(kind, pa.TimestampType) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if kind == pa.time64("ns") else kind
