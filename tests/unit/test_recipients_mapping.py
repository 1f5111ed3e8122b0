"""Binding a mapping to a header: which columns are read, and what is said when they are not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.errors import ListError
from bulksend.recipients.mapping import Mapping, PlaceholderText, bind

MAPPING = Mapping(address="email", data=None, default_data={}, tags={}, dedupe=True)
LIST = Path("list.csv")
USER_NAME = frozenset({("user", "name")})


def test_every_other_column_is_data() -> None:
    bound = bind(MAPPING, ["plan", "email", "city"], LIST)
    assert bound.data == ("plan", "city")
    assert bound.columns == ("email", "plan", "city")
    assert bound.warnings == ()


def test_what_the_template_needs_below_a_name_may_be_in_the_default_data() -> None:
    mapping = replace(MAPPING, template_needs=USER_NAME, default_data={"user": {"name": "you"}})
    assert bind(mapping, ["email"], LIST).required == ()
    assert bind(mapping, ["email", "user"], LIST, frozenset({"user"})).required == (("user", "name"),)


def test_columns_without_a_name_are_left_out_with_a_warning() -> None:
    bound = bind(MAPPING, ["email", "", "city", ""], LIST)
    assert bound.data == ("city",)
    assert bound.warnings == ("2 columns without a name left out of the data",)


def test_columns_of_tags_are_read_too_each_once() -> None:
    mapping = replace(MAPPING, data=("email", "city", "city"), tags={"t": "{plan}-{city}"})
    bound = bind(mapping, ["plan", "email", "city", "plan2"], LIST)
    assert bound.data == ("email", "city")
    assert bound.columns == ("email", "city", "plan")


def test_columns_that_nobody_asks_for_may_share_a_name() -> None:
    assert bind(replace(MAPPING, data=()), ["email", "x", "x"], LIST).columns == ("email",)


@pytest.mark.parametrize(
    ("mapping", "header", "message", "hint"),
    [
        (MAPPING, ["E-Mail", "plan"], "no column 'email'. Its columns are: 'E-Mail', 'plan'", "Did you mean 'E-Mail'?"),
        (MAPPING, ["who"], "no column 'email'", "Correct the list"),
        (MAPPING, ["email;plan"], "no column 'email'", "separated by a semicolon"),
        (MAPPING, ["email\tplan"], "no column 'email'", "separated by a tab"),
        (replace(MAPPING, data=("plam",)), ["email", "plan"], "no column 'plam'", "Did you mean 'plan'?"),
        (replace(MAPPING, tags={"t": "{pln}"}), ["email", "plan"], "no column 'pln'", "Did you mean 'plan'?"),
        (MAPPING, ["email", "x", "email"], "2 columns are named 'email'", "Rename"),
        (MAPPING, ["email", "x", "x"], "2 columns are named 'x'", "Rename"),
        (replace(MAPPING, tags={"bulksend-row": "1"}), ["email"], "'bulksend-row'", "another name"),
        (replace(MAPPING, template_needs=USER_NAME), ["email", "user"], "the column 'user' is text", "own name"),
        (replace(MAPPING, template_needs=USER_NAME), ["email"], "uses 'user', which neither", "Add a column"),
        (
            replace(MAPPING, template_needs=USER_NAME, default_data={"user": {"first": "you"}}),
            ["email"],
            "uses 'user.name', which default_data does not have",
            "Add it to default_data",
        ),
        (MAPPING, [f"c{n}" for n in range(30)], "'c19' and 10 more", "Correct the list"),
    ],
)
def test_what_cannot_be_bound(mapping: Mapping, header: list[str], message: str, hint: str) -> None:
    with pytest.raises(ListError) as caught:
        bind(mapping, header, LIST)
    assert message in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("pattern", "texts", "columns"),
    [
        ("plain", ("plain",), ()),
        ("{a}", ("", ""), ("a",)),
        ("x{a b}-{c}y", ("x", "-", "y"), ("a b", "c")),
        ("{ {a", ("{ {a",), ()),
    ],
)
def test_placeholders(pattern: str, texts: tuple[str, ...], columns: tuple[str, ...]) -> None:
    assert PlaceholderText.parse(pattern) == PlaceholderText(texts, columns)
