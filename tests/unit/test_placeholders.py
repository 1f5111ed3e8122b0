"""The names that a template takes from its data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.ses import fill, names_in, not_simple


def dotted(paths: frozenset[tuple[str, ...]]) -> set[str]:
    return {".".join(path) for path in paths}


@pytest.mark.parametrize(
    ("template", "needed", "optional"),
    [
        ("no names at all", "", ""),
        ("Hi {{name}}, {{{ raw }}} and {{&amp}} or {{~trimmed~}}", "name raw amp trimmed", ""),
        (
            "{{person.name}} {{p.[0].x}} {{a/b}} {{first-name}} {{\u00e9t\u00e9}}",
            "person.name p.0.x a/b first-name été",
            "",
        ),
        ("{{[first name]}} {{person.[last name]}}", "first_name person.last_name", ""),
        ("{{#if a}}{{b}}{{else}}{{c}}{{/if}}{{c}}", "c", "a b"),
        ("{{#if a}}x{{else if b}}y{{^}}z{{/if}}{{#unless u}}{{/unless}}{{#if a}}{{a}}{{/if}}", "", "a b u"),
        (
            "{{#each items}}{{relative}} {{@index}} {{this}} {{this.x}} {{../up}}{{/each}} {{after}}",
            "items up after",
            "",
        ),
        ("{{#each a}}{{#if b}}{{c}} {{../d}} {{@root.e}}{{/if}}{{/each}}", "a", "d e"),
        ("{{#each items as |item|}}{{item.x}}{{/each}}{{#with p}}{{q}}{{/with}}", "items p", ""),
        ("{{#section}}{{relative}}{{/section}}{{^inverse}}x{{/inverse}}", "section inverse", ""),
        ("{{! {a comment} }}{{!-- {{not}} --}}{{yes}}", "yes", ""),
        ("\\{{literal}} {{ok}}", "ok", ""),
        ("{{amazonSESUnsubscribeUrl}}{{n}}", "n", ""),
        ("p{color:red} @media{a{b:c}} {{x}}", "x", ""),
        ("{{#if this}}{{.}}{{@root}}{{true}}{{./here}}{{/if}}", "", "here"),
        ('{{#* inline "full"}}{{first}}{{#if last}} {{last}}{{/if}}{{/inline}}{{a}}', "a", ""),
        ('{{#* inline "full"}}{{first}}{{#if last}} {{last}}{{/if}}{{/inline}}{{> full}}', "first", "last"),
        ('{{#* inline "f"}}{{first}}{{/inline}}{{#if x}}{{> f}}{{/if}}{{#each l}}{{> f}}{{/each}}', "l", "x first"),
        ('{{#* inline "f"}}{{../up}}{{/inline}}{{#each l}}{{> f}}{{/each}}', "l up", ""),
    ],
)
def test_names(template: str, needed: str, optional: str) -> None:
    found = names_in(template)
    assert dotted(found.needed) == {name.replace("_", " ").replace("/", ".") for name in needed.split()}
    assert dotted(found.optional) == set(optional.split())
    assert found.unknown == ()


@pytest.mark.parametrize(
    ("template", "unknown"),
    [
        ("{{> partial}}", None),
        ("{{> (lookup . 'x')}}", None),
        ('{{#* inline "p"}}{{/inline}}{{> p a="b"}}', '{{> p a="b"}}'),
        ("{{helper argument}}", None),
        ("{{lookup a b}}", None),
        ("{{#if (eq a b)}}{{/if}}", "{{#if (eq a b)}}"),
        ("{{#if a}}never closed", "{{#if}}"),
        ("{{#if a}}{{/each}}{{/if}}", "{{/each}}"),
        ("{{#each a}}{{#if b}}{{/each}}", "{{#if}}"),
        ("{{/if}}", None),
        ("{{{{raw}}}}", None),
        ("{{}}", None),
        ("{{ not closed", None),
        ("{{#each}}{{/each}}", "{{#each}}"),
        ("{{a=b}}", None),
        ("{{first name}}", None),
    ],
)
def test_what_is_not_understood_is_said_and_the_rest_is_read(template: str, unknown: str | None) -> None:
    found = names_in("{{known}}", f"{{{{before}}}}{template}")
    assert found.unknown == (unknown or template,)
    assert {"known", "before"} <= dotted(found.needed)


def test_all_parts_count() -> None:
    found = names_in("{{a}}{{#if b}}{{/if}}", None, "{{b}}{{#if c}}{{/if}}")
    assert (dotted(found.needed), dotted(found.optional)) == ({"a", "b"}, {"c"})


@given(st.text("{}#/^!&~. \n\"'()=>|[]\\\\abif*", max_size=40))
def test_no_template_is_too_strange(template: str) -> None:
    found = names_in(template)
    assert all(path and all(path) for path in found.needed | found.optional)
    assert all(len(words) <= 40 for words in found.unknown)
    not_simple(template)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("Hi {{name}} {{{ raw }}} {{order.id}} {{first-name}} {x} p{a{color:red}}", None),
        ("{{name}} {{first name}}", "{{first name}}"),
        ("{{[first name]}}", "{{[first name]}}"),
        ("{{#if a}}x{{/if}}", "{{#if a}}"),
        ("{{#each a}}{{b}}{{/each}}", "{{#each a}}"),
        ("{{> partial}}", "{{> partial}}"),
        ("{{name}} {{user", "{{user"),
        ("{{user}", "{{user}"),
        ("{{}}", "{{}}"),
        ("{{! comment }}", "{{! comment }}"),
        ("{{user and " + "x" * 90, "{{user and " + "x" * 28 + "…"),
    ],
)
def test_what_is_more_than_a_simple_substitution(part: str, found: str | None) -> None:
    assert not_simple(part) == found


def test_simple_substitutions() -> None:
    data: dict[str, object] = {"name": "Jo", "order": {"id": 7}}
    assert fill("{{name}} {{{ name }}} {{order.id}} {x}", data) == "Jo Jo 7 {x}"
    with pytest.raises(KeyError, match=r"order\.total"):
        fill("{{order.total}}", data)
