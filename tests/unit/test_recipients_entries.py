"""Entries: what is in them after decoding is what was in the list."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulksend.errors import ListError
from bulksend.recipients.entries import MAX_DATA_CHARS, EntryWriter, overlong
from bulksend.recipients.mapping import BoundMapping, PlaceholderText

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "\\\\n",
        "\0",
        "\x1f",
        "\x7f",
        "\n\r\t\b\f",
        "\u2028\u2029",
        "😀",
        "\ufeff",
        "{plan}",
        "</script>",
    ]
)


def bound(
    data: tuple[str, ...], default_data: dict[str, object] | None = None, tags: dict[str, str] | None = None
) -> BoundMapping:
    parsed = {name: PlaceholderText.parse(value) for name, value in (tags or {}).items()}
    return BoundMapping("email", data, default_data or {}, parsed, ("email", *data), ())


def write(mapping: BoundMapping, rows: list[dict[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Entries as decoded JSON, and the warnings."""
    writer = EntryWriter(mapping, "c1")
    names = {name: None for row in rows for name in row}
    # The columns are slices, as those of a list's first block are.
    columns = {name: pa.array(["cut off", *(row[name] for row in rows)]).slice(1) for name in names}
    addresses = pa.array(["a@example.com"] * len(rows))
    entries = writer.write(pa.array(range(1, len(rows) + 1), pa.int64()), addresses, columns)
    texts: list[str] = [entry.as_py() for entry in entries]
    assert all(text.endswith(",") for text in texts)
    decoded: list[dict[str, Any]] = json.loads(f"[{''.join(texts)[:-1]}]", object_pairs_hook=without_repeats)
    return decoded, writer.warnings


def without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({name for name, _ in pairs}) == len(pairs)
    return dict(pairs)


def data_of(entry: dict[str, Any]) -> dict[str, object]:
    text = entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"]
    decoded: dict[str, object] = json.loads(text, object_pairs_hook=without_repeats)
    return decoded


def tags_of(entry: dict[str, Any]) -> dict[str, str]:
    return {tag["Name"]: tag["Value"] for tag in entry["ReplacementTags"]}


def test_an_entry_is_exactly_what_ses_takes() -> None:
    entries, _ = write(bound(("first_name",), {"plan": "free"}, {"segment": "{first_name}"}), [{"first_name": "Ann"}])
    assert entries == [
        {
            "Destination": {"ToAddresses": ["a@example.com"]},
            "ReplacementTags": [
                {"Name": "bulksend-campaign", "Value": "c1"},
                {"Name": "bulksend-row", "Value": "1"},
                {"Name": "segment", "Value": "Ann"},
            ],
            "ReplacementEmailContent": {
                "ReplacementTemplate": {"ReplacementTemplateData": '{"plan":"free","first_name":"Ann"}'}
            },
        }
    ]


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), TEXTS.filter(bool), TEXTS)
@example([("".join(map(chr, range(0x100))), "\\" * 5 + '"' * 3)], "n", "")
def test_cells_names_and_defaults_survive_two_decodings(cells: list[tuple[str, str]], name: str, default: str) -> None:
    first, second = f"1{name}", f"2{name}"
    mapping = bound((first, second), {f"3{name}": default, "nested": {name: [1, None, default]}, second: "never seen"})
    rows = [{first: one, second: two} for one, two in cells]
    entries, _ = write(mapping, rows)
    assert [data_of(entry) for entry in entries] == [
        {f"3{name}": default, "nested": {name: [1, None, default]}} | row for row in rows
    ]


def test_without_any_data() -> None:
    writer = EntryWriter(bound(()), "c1")
    entry = writer.write(pa.array([7]), pa.array(["a@example.com"]), {})[0].as_py()
    assert data_of(json.loads(entry[:-1])) == {}


@pytest.mark.parametrize(
    ("pattern", "cell", "value", "changed"),
    [
        ("launch", "", "launch", False),
        ("a b.c", "", "a_b_c", True),
        ("{plan}", "free", "free", False),
        ("{plan}", "fr ee😀é", "fr_ee__", True),
        ("{plan}", "", "_", True),
        ("x{plan}", "", "x", False),
        ("x-{plan}-{plan}", "1", "x-1-1", False),
        ("{plan}", "y" * 256, "y" * 256, False),
        ("{plan}", "y" * 257, "y" * 256, True),
        ("{plan}", "é" * 300, "_" * 256, True),
    ],
)
def test_tags_are_made_legal_and_counted(pattern: str, cell: str, value: str, *, changed: bool) -> None:
    entries, warnings = write(bound(("plan",), tags={"t": pattern}), [{"plan": "ok"}, {"plan": cell}])
    assert tags_of(entries[1]) == {"bulksend-campaign": "c1", "bulksend-row": "2", "t": value}
    assert len(warnings) == changed
    if changed and "{" in pattern:
        assert "in 1 row " in warnings[0]


def test_the_limit_of_template_data_is_exact() -> None:
    room = MAX_DATA_CHARS - len('{"plan":""}')
    texts = [
        "x" * room,
        "x" * (room + 1),
        "\n" * (room // 2),
        "\n" * (room // 2 + 1),
        "\0" * (room // 6 + 1),
        "é" * room,
        "x",
    ]
    columns = {"plan": pa.array(texts)}
    assert set(overlong(columns, bound(("plan",)))) == {1, 3, 4}
    entries, _ = write(bound(("plan",)), [{"plan": text} for text in texts])
    for place, entry in enumerate(entries):
        chars = len(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
        assert overlong(columns, bound(("plan",))).get(place, 0) == (chars if chars > MAX_DATA_CHARS else 0)


def test_defaults_that_leave_no_room_are_the_campaigns_fault() -> None:
    EntryWriter(bound((), {"t": "x" * (MAX_DATA_CHARS - len('{"t":""}'))}), "c1")
    with pytest.raises(ListError, match="default_data has 262,145 characters"):
        EntryWriter(bound((), {"t": "x" * (MAX_DATA_CHARS + 1 - len('{"t":""}'))}), "c1")
