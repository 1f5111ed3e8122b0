"""Reading one source of configuration: a TOML file, and what is wrong with it, in words for people."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from bulksend.errors import ConfigError

__all__ = ["Fault", "Table", "check", "config_error", "dotted_keys", "nearest", "put", "read_toml"]

_MAX_FILE_BYTES = 8 * 1024 * 1024
_SHOWN_CHARACTERS = 60

_Model = TypeVar("_Model", bound=BaseModel)


class Table(BaseModel):
    """A TOML table: no unknown keys, no conversions between types, no change after it was read."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        validate_default=False,
        defer_build=True,  # each would be built for itself, and again within those that have it
    )


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: in which source, at which key, and what."""

    source: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key} {self.problem}" if self.key else f"{self.source}: {self.problem}"


def config_error(faults: Sequence[Fault], *, hint: str | None = None) -> ConfigError:
    """All faults in one error: a single one in its sentence, several as a list of lines."""
    if len(faults) == 1:
        return ConfigError(str(faults[0]), hint=hint)
    return ConfigError("\n  ".join([f"{len(faults)} faults", *map(str, faults)]), hint=hint)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file of at most 8 MB; a byte order mark is passed over.

    Raises:
        ConfigError: it cannot be read, or is not TOML; the message gives line and column.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise config_error([Fault(source, "", f"cannot be read: {error.strerror or error}")]) from error
    if len(content) > _MAX_FILE_BYTES:
        raise config_error([Fault(source, "", f"is larger than {_MAX_FILE_BYTES} bytes")])
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise config_error([Fault(source, "", f"is not UTF-8 text (at line {line})")]) from error
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        raise config_error([Fault(source, "", f"is not valid TOML: {text[:1].lower()}{text[1:]}")]) from error
    except RecursionError as error:
        raise config_error([Fault(source, "", "is not valid TOML: it is nested too deeply")]) from error


def put(tables: dict[str, Any], key: str, value: object) -> None:
    """Set a dotted key, making the tables on the way; what stands in the way and is no table is replaced."""
    *parents, last = key.split(".")
    for parent in parents:
        below = tables.get(parent)
        if not isinstance(below, dict):
            below = tables[parent] = {}
        tables = below
    tables[last] = value


def dotted_keys(model: type[BaseModel]) -> Iterator[str]:
    """Every key of a model and of the tables in it, lists of tables too, as people write them: `aws`, `aws.region`."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield key
        table = _table_of(field.annotation)
        if table is not None:
            yield from (f"{key}.{below}" for below in dotted_keys(table))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was most likely meant to be."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return found[0] if found else None


def check(
    model: type[_Model], tables: Mapping[str, Any], name: Callable[[str], tuple[str, str]], context: Mapping[str, Any]
) -> tuple[_Model | None, list[Fault]]:
    """Validate tables against a model. Gives the model, or None and every fault.

    `name` turns a dotted key into the source and the spelling that the person used; `context` is for the model's own
    validators.
    """
    try:
        return model.model_validate(tables, context=dict(context)), []
    except ValidationError as error:
        faults = []
        for detail in error.errors(include_url=False):
            key = _dotted(detail["loc"])
            source, spelling = name(key)
            problem = _unknown(model, key) if detail["type"] == "extra_forbidden" else _problem(detail)
            faults.append(Fault(source, spelling, problem))
        return None, faults


def _table_of(annotation: object) -> type[BaseModel] | None:
    """The model in `Table`, `Table | None` or `tuple[Table, ...]`."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _dotted(loc: tuple[int | str, ...]) -> str:
    """`recipients.data[2]` from the parts; the mark that a table's own key is at fault is dropped."""
    key = ""
    for part in loc:
        if part == "[key]":
            continue
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return key.removeprefix(".")


def _unknown(model: type[BaseModel], key: str) -> str:
    """What to say of a key that the model does not have: the nearest one beside it, or of that name anywhere."""
    known = list(dotted_keys(model))
    table, _, word = re.sub(r"\[\d+\]", "", key).rpartition(".")
    beside = [other for other in known if other.rpartition(".")[0] == table]
    by_word: dict[str, str] = {}
    for other in sorted(known, key=lambda key: key.count(".")):
        by_word.setdefault(other.rpartition(".")[2], other)
    by_word_beside = {other.rpartition(".")[2]: other for other in beside}
    meant = by_word.get(word) or by_word_beside.get(nearest(word, by_word_beside) or "")
    meant = meant or by_word.get(nearest(word, by_word) or "")
    if meant is not None:
        return f"is not a known key; did you mean {meant}?"
    return f"is not a known key; known here: {', '.join(beside)}"


def _problem(detail: ErrorDetails) -> str:
    """The fault in plain words, with the value where that helps."""
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind in _SAID:
        return _SAID[kind].format(**context, value=_shown(value))
    for start, word in _KINDS:
        if kind.startswith(start):
            return f"must be {word}, not {_shown(value)}"
    return f"is not valid: {_shown(value)}"


_SAID = {
    "value_error": "{error}",
    "missing": "is missing",
    "greater_than": "must be greater than {gt:g}, not {value}",
    "greater_than_equal": "must be at least {ge:g}, not {value}",
    "less_than": "must be less than {lt:g}, not {value}",
    "less_than_equal": "must be at most {le:g}, not {value}",
    "too_long": "must hold at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}, not {value}",
}
"""What to say of a fault, by the type that the validation gives it."""

_KINDS = (
    ("string", "text"),
    ("int", "a whole number"),
    ("float", "a number"),
    ("finite", "a finite number"),
    ("bool", "true or false"),
    ("tuple", "a list"),
    ("list", "a list"),
    ("dict", "a table"),
    ("model", "a table"),
)


def _shown(value: object) -> str:
    """A value as TOML would have it, cut short."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case str() | int() | float():
            text = repr(value)
        case _:
            text = f"{value} (a {type(value).__name__})"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
