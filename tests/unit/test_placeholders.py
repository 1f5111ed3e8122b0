"""The names that a template takes from its data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.ses import fill, variables_of


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("no names at all", set()),
        ("Hi {{name}}, {{{ raw }}} and {{&amp}} or {{~trimmed~}}", {"name", "raw", "amp", "trimmed"}),
        (
            "{{person.name}} {{person.[0].x}} {{a/b}} {{first-name}} {{\u00e9t\u00e9}}",
            {"person", "a", "first-name", "\u00e9t\u00e9"},
        ),
        ("{{#if a}}{{b}}{{else}}{{c}}{{/if}}", {"a", "b", "c"}),
        ("{{#if a}}x{{else if b}}y{{^}}z{{/if}}{{#unless u}}{{/unless}}", {"a", "b", "u"}),
        ("{{#each items}}{{relative}} {{@index}} {{this}} {{../up}}{{/each}} {{after}}", {"items", "after"}),
        ("{{#each items as |item|}}{{item.x}}{{/each}}{{#with p}}{{q}}{{/with}}", {"items", "p"}),
        ("{{#each a}}{{#if b}}{{c}}{{/if}}{{/each}}{{d}}", {"a", "d"}),
        ("{{#section}}{{relative}}{{/section}}{{^inverse}}x{{/inverse}}", {"section", "inverse"}),
        ("{{! {a comment} }}{{!-- {{not}} --}}{{yes}}", {"yes"}),
        ("\\\\{{literal}} {{ok}}".replace("\\\\", "\\"), {"ok"}),
        ("{{amazonSESUnsubscribeUrl}}{{n}}", {"n"}),
        ("p{color:red} @media{a{b:c}} {{x}}", {"x"}),
        ("{{#if this}}{{.}}{{@root}}{{true}}{{/if}}", set()),
    ],
)
def test_names(template: str, names: set[str]) -> None:
    assert variables_of(template) == frozenset(names)


@pytest.mark.parametrize(
    "template",
    [
        "{{> partial}}",
        "{{helper argument}}",
        "{{lookup a b}}",
        "{{#if (eq a b)}}{{/if}}",
        "{{#if a}}never closed",
        "{{#if a}}{{/each}}",
        "{{/if}}",
        "{{{{raw}}}}{{{{/raw}}}}",
        '{{#*inline "x"}}{{/inline}}',
        "{{}}",
        "{{ not closed",
        "{{#each}}{{/each}}",
        "{{a=b}}",
    ],
)
def test_what_is_not_understood_is_not_checked(template: str) -> None:
    assert variables_of("{{known}}", template) is None


def test_all_parts_count() -> None:
    assert variables_of("{{a}}", None, "{{b}}") == frozenset({"a", "b"})


@given(st.text("{}#/^!&~. \n\"'()=>|[]\\\\abif", max_size=40))
def test_no_template_is_too_strange(template: str) -> None:
    found = variables_of(template)
    assert found is None or all(found)


def test_simple_substitutions() -> None:
    data: dict[str, object] = {"name": "Jo", "order": {"id": 7}}
    assert fill("{{name}} {{{ name }}} {{order.id}} {x}", data) == "Jo Jo 7 {x}"
    with pytest.raises(KeyError, match=r"order\.total"):
        fill("{{order.total}}", data)
