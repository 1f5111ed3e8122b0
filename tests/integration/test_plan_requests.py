"""Whole plans of whole requests: nasty lists, as CSV and as Parquet, judged by an oracle that knows only Python."""

from __future__ import annotations

import email.header
import email.utils
import itertools
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import email_validator
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.errors import ListError
from bulksend.model import SkipReason
from bulksend.recipients import (
    ListFormat,
    Mapping,
    SkippedRow,
    Snapshot,
    SnapshotReader,
    csv_list,
    duplicates,
    parquet_list,
    skipped_rows,
    snapshot,
    take_snapshot,
)

COLUMNS = ("email", "name", "cc", "bcc", "token", "note")
MAPPING = Mapping(
    "email",
    ("note", "n"),
    {"plan": "free"},
    {"n": "{n}"},
    dedupe=True,
    cc="cc",
    bcc="bcc",
    display_name="name",
    headers={"List-Unsubscribe": "<{token}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
    template_needs=frozenset({("note",), ("plan",)}),
)

Cell = bytes | None
Part = TypeVar("Part")
BLANKS = " \t\n\r\v\f"


@dataclass(frozen=True)
class Row:
    """A row as it is written; a cell may be None in Parquet alone."""

    cells: tuple[Cell, ...]
    n: int | None


@dataclass
class Expected:
    """What a list comes to. `faults` has all that is wrong with a row, of which a plan names one."""

    entries: dict[int, dict[str, Any]] = field(default_factory=dict)
    faults: dict[int, set[str]] = field(default_factory=dict)
    duplicates: dict[int, int] = field(default_factory=dict)


def text_of(cell: Cell) -> str:
    return "" if cell is None else cell.decode()


def judged(text: str) -> str | None:
    try:
        valid = email_validator.validate_email(
            text.strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True
        )
    except email_validator.EmailNotValidError:
        return None
    return f"{valid.original.rpartition('@')[0]}@{valid.ascii_domain}"


def copies_of(cell: str) -> list[str | None]:
    pieces = [piece.strip(BLANKS) for piece in re.split("[,;]", cell)]
    return [judged(piece) for piece in pieces if piece]


def expectations(rows: Sequence[Row], *, typed: bool) -> Expected:
    found = Expected()
    first: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        try:
            to, name, cc, bcc, token, note = map(text_of, row.cells)
        except UnicodeDecodeError:
            found.faults[number] = {"utf-8"}
            continue
        address = judged(to)
        copies = {"Cc": copies_of(cc), "Bcc": copies_of(bcc)}
        faults = {word for word, addresses in copies.items() if None in addresses}
        if address is None:
            faults.add("address")
        elif len(mailbox_of(name.strip(" \t"), address)) > 320:
            faults.add("name")
        if re.search("[\x00-\x1f\x7f-\x9f]", name.strip(" \t")):
            faults.add("name")
        if not re.fullmatch("[!-;=?-~]{1,868}", token):
            faults.add("header")
        if row.cells[5] is None:
            faults.add("variable")
        if 1 + sum(map(len, copies.values())) > 50:
            faults.add("recipients")
        if faults:
            found.faults[number] = faults
            continue
        assert address is not None
        if first.setdefault(address.lower(), number) != number:
            found.duplicates[number] = first[address.lower()]
            continue
        destination: dict[str, object] = {"ToAddresses": [mailbox_of(name.strip(" \t"), address)]}
        destination |= {f"{word}Addresses": addresses for word, addresses in copies.items() if addresses}
        found.entries[number] = {
            "Destination": destination,
            "Headers": [("List-Unsubscribe", f"<{token}>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")],
            "Data": {"plan": "free", "note": note, "n": row.n if typed else text_of_number(row.n)},
            "Tag": text_of_number(row.n) or "_",
        }
    return found


def text_of_number(number: int | None) -> str:
    return "" if number is None else str(number)


def mailbox_of(name: str, address: str) -> str:
    """With its name, as the standard library would write it (longer names in several words, see `same_mailbox`)."""
    if not name:
        return address
    if name.isascii():
        return f'"{email.utils.quote(name)}" <{address}>'
    words = email.header.Header(re.sub("[\x00-\x1f]", "", name), "utf-8", maxlinelen=75).encode(linesep="")
    return f"{words} <{address}>"


def with_limit(found: Expected, limit: int | None, rows: int) -> tuple[Expected, int]:
    if limit is None or len(found.entries) < limit:
        return found, rows
    last = sorted(found.entries)[limit - 1]
    return Expected(up_to(last, found.entries), up_to(last, found.faults), up_to(last, found.duplicates)), last


def up_to(last: int, by_row: dict[int, Part]) -> dict[int, Part]:
    return {row: part for row, part in by_row.items() if row <= last}


def kind_of_fault(detail: str) -> str:
    for words, kind in (
        ("not valid UTF-8 in column", "utf-8"),
        ("in Cc: ", "Cc"),
        ("in Bcc: ", "Bcc"),
        ("the display name has", "name"),
        ("characters with its name", "name"),
        ('the header "List-Unsubscribe" would', "header"),
        ("no value for template variable 'note'", "variable"),
        ("recipients with Cc and Bcc", "recipients"),
    ):
        if words in detail:
            return kind
    return "address"


def write_csv(path: Path, rows: Sequence[Row], delimiter: bytes) -> None:
    lines = [delimiter.join(name.encode() for name in (*COLUMNS, "n"))]
    for row in rows:
        cells = [*(cell or b"" for cell in row.cells), text_of_number(row.n).encode()]
        lines.append(delimiter.join(b'"%b"' % cell.replace(b'"', b'""') for cell in cells))
    path.write_bytes(b"\n".join(lines))


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    columns: list[Any] = []
    for place in range(len(COLUMNS)):
        cells = [row.cells[place] for row in rows]
        # Not by pa.array, which would refuse what is not UTF-8.
        offsets = pa.array(list(itertools.accumulate((len(cell or b"") for cell in cells), initial=0)), pa.int32())
        there = pa.array([cell is not None for cell in cells])
        buffers = [there.buffers()[1], offsets.buffers()[1], pa.py_buffer(b"".join(cell or b"" for cell in cells))]
        columns.append(pa.Array.from_buffers(pa.string(), len(rows), buffers))
    numbers = pa.array([row.n for row in rows], pa.int64())
    pq.write_table(pa.Table.from_arrays([*columns, numbers], [*COLUMNS, "n"]), path, row_group_size=5)


def entries_of(taken: Snapshot) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        for info in taken.chunks:
            chunk = reader.chunk(info.number)
            assert sum(chunk.recipients) == info.recipients
            for i, row in enumerate(chunk.rows):
                entry = json.loads(bytes(chunk.entries[chunk.offsets[i] : chunk.offsets[i + 1] - 1]))
                assert chunk.recipients[i] == sum(map(len, entry["Destination"].values()))
                content = entry["ReplacementEmailContent"]["ReplacementTemplate"]
                assert entry["ReplacementTags"][1] == {"Name": "bulksend-row", "Value": str(row)}
                found[row] = {
                    "Destination": entry["Destination"],
                    "Headers": [(header["Name"], header["Value"]) for header in entry.get("ReplacementHeaders", [])],
                    "Data": json.loads(content["ReplacementTemplateData"]),
                    "Tag": entry["ReplacementTags"][-1]["Value"],
                }
    return found


def check(taken: Snapshot, expected: Expected, rows: int) -> None:
    found = entries_of(taken)
    assert list(found) == sorted(expected.entries)
    for row, entry in found.items():
        (mailbox,) = entry["Destination"]["ToAddresses"]
        (wanted,) = expected.entries[row]["Destination"]["ToAddresses"]
        assert re.sub(r"\?= =\?", "?==?", mailbox) == re.sub(r"\?= =\?", "?==?", wanted)
        entry["Destination"]["ToAddresses"] = [wanted]
        assert entry == expected.entries[row]
    skipped = list(skipped_rows(taken.path))
    assert [row.row for row in skipped] == sorted({**expected.faults, **expected.duplicates})
    for left_out in skipped:
        if left_out.reason is SkipReason.DUPLICATE:
            assert left_out.detail == f"same address as row {expected.duplicates[left_out.row]}"
        else:
            assert kind_of_fault(left_out.detail) in expected.faults[left_out.row]
    assert taken.rows == rows == taken.entries + sum(taken.skipped.values())
    assert taken.recipients == sum(chunk.recipients for chunk in taken.chunks)


def cells(*common: str) -> st.SearchStrategy[bytes]:
    """Mostly one of `common`, else anything."""
    anything = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x10FFFE), max_size=5).map(str.encode)
    broken = st.sampled_from([b"\xff", b"\xed\xa0\x80", b"caf\xe9"])
    usual = st.sampled_from([text.encode() for text in common])
    return st.one_of(*[usual] * 8, anything, broken)  # each as likely as the others: a good row needs six good cells


ROWS = st.builds(
    Row,
    st.tuples(
        st.one_of(
            st.sampled_from([b"a@x.test", b" A@X.test", "b@bücher.test".encode(), b"b@xn--bcher-kva.test", b"@", b""]),
            st.integers(0, 10**6).map(lambda number: b"u%d@example.com" % number),
        ),
        cells("", "", "Ann", "Zoë Müller", 'A "B" \\ C', "x\r\nBcc: y@z.test", "é" * 90, "=cmd|' /C calc'!A0"),
        cells("", "", "", "c@x.test", "c@x.test; d@x.test,", "nobody", ",".join(["e@x.test"] * 49), "É@x.test"),
        cells("", "", "", "f@x.test", ",".join(["g@x.test"] * 30), "g@x.test,h@\u2003"),
        cells("t", "tok-en", "", "é", "\r\nX: y", "t" * 868, "t" * 869, '"\\'),
        cells("note", '"\\\n\0\x1f', "😀", "\u2028", ""),
    ),
    st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)


@settings(deadline=None, max_examples=80)
@given(
    rows=st.lists(ROWS, min_size=1, max_size=25),
    holes=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 5)), max_size=4),
    delimiter=st.sampled_from([b",", b";", b"\t", b"|"]),
    block=st.sampled_from([3, 2**20]),
    limit=st.sampled_from([None, None, 1, 3]),
    typed=st.booleans(),
)
def test_every_row_is_an_entry_or_skipped_with_a_reason_that_it_has(
    rows: list[Row], holes: list[tuple[int, int]], delimiter: bytes, block: int, limit: int | None, *, typed: bool
) -> None:
    if typed:
        for place, column in holes:
            if place < len(rows):
                made = list(rows[place].cells)
                made[column] = None
                rows[place] = Row(tuple(made), rows[place].n)
    expected, count = with_limit(expectations(rows, typed=typed), limit, len(rows))
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(csv_list, "BLOCK_BYTES", 2048 if block == 3 else block),
        mock.patch.object(csv_list, "HEADER_BYTES", 2048 if block == 3 else block),
        mock.patch.object(parquet_list, "MAX_BATCH_ROWS", block),
        mock.patch.object(duplicates, "ROWS_PER_FLUSH", 4),
        mock.patch.object(duplicates, "LIST_BYTES_PER_PARTITION", 100),
        mock.patch.object(snapshot, "MAX_CHUNK_ENTRIES", 7),
    ):
        source = Path(name) / ("list.parquet" if typed else "list.csv")
        if typed:
            write_parquet(source, rows)
        else:
            write_csv(source, rows, delimiter)
        check(take_snapshot(source, MAPPING, campaign_id="c1", folder=Path(name), limit=limit), expected, count)


NASTY = (
    b"\xef\xbb\xbfemail;first name;first name;note\r\n"
    b"ann@example.com;Ann;x;plain\r\n"
    b"\r\n"  # an empty line is no row
    b'"bob@example.com";"Bob ""B"" O\'Neil";x;"two\r\nlines; and more"\r\n'
    b"short@example.com;x\r\n"
    b"long@example.com;x;x;x;x\r\n"
    b"latin@example.com;x;x;caf\xe9\r\n"
    b"caf\xe9@example.com;x;x;x\r\n"
    b"jos\xc3\xa9@example.com;x;x;x\r\n"
    b"joe@b\xc3\xbccher.example.com;x;x;\xf0\x9f\x98\x80\r\n" + b"x" * 300 + b"@example.com;x;x;x\r\n"
    b"=cmd|' /C calc'!A0;x;x;x\r\n"
    b"calc@example.com;x;x;=cmd|' /C calc'!A0\r\n"
    b'crlf@example.com;x;x;"a\r\nBcc: x@example.com"\r\n'
    b"nul@example.com;x;x;a\0b\r\n"
    b"surrogate@example.com;x;x;\xed\xa0\xbd\r\n"
    b"zip@example.com;x;x;00501\r\n"
    b"null@example.com;x;x;NULL\r\n"
    b" ANN@EXAMPLE.COM ;x;x;again\r\n"
    b"a@example.com\r\nb@example.com;x;x;x\r\n"
    b";;;\r\n"
    b"end@example.com;x;x;"
)


def test_a_nasty_list_row_by_row(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_bytes(NASTY)
    mapping = Mapping("email", ("note",), {}, {}, dedupe=True)
    taken = take_snapshot(source, mapping, campaign_id="c1", folder=tmp_path)
    assert {row: (e["Destination"]["ToAddresses"][0], e["Data"]["note"]) for row, e in entries_of(taken).items()} == {
        1: ("ann@example.com", "plain"),
        2: ("bob@example.com", "two\r\nlines; and more"),
        8: ("joe@xn--bcher-kva.example.com", "😀"),
        11: ("calc@example.com", "=cmd|' /C calc'!A0"),
        12: ("crlf@example.com", "a\r\nBcc: x@example.com"),
        13: ("nul@example.com", "a\0b"),
        15: ("zip@example.com", "00501"),
        16: ("null@example.com", "NULL"),
        19: ("b@example.com", "x"),
        21: ("end@example.com", ""),
    }
    invalid = SkipReason.INVALID
    skipped = {row.row: row for row in skipped_rows(taken.path)}
    internationalized = skipped.pop(7)
    assert "Internationalized" in internationalized.detail
    no_at = skipped.pop(10)
    assert (no_at.address, no_at.detail) == ("=cmd|' /C calc'!A0", "An email address must have an @-sign.")
    assert list(skipped.values()) == [
        SkippedRow(3, "short@example.com", invalid, "has 2 fields, the header has 4"),
        SkippedRow(4, "long@example.com", invalid, "has 5 fields, the header has 4"),
        SkippedRow(5, "latin@example.com", invalid, "not valid UTF-8 in column 'note'"),
        SkippedRow(6, "caf\ufffd@example.com", invalid, "not valid UTF-8 in column 'email'"),
        SkippedRow(9, "x" * 300 + "@example.com", invalid, "the address has 312 characters; 254 are possible"),
        SkippedRow(14, "surrogate@example.com", invalid, "not valid UTF-8 in column 'note'"),
        SkippedRow(17, "ANN@example.com", SkipReason.DUPLICATE, "same address as row 1"),
        SkippedRow(18, "a@example.com", invalid, "has 1 field, the header has 4"),
        SkippedRow(20, "", invalid, "no address"),
    ]
    with pytest.raises(ListError, match="2 columns are named 'first name'"):
        take_snapshot(source, replace(mapping, data=None), campaign_id="c2", folder=tmp_path)
    # The same in Latin-1: every byte is a character there, so that only the rules of addresses and SES are left.
    form = ListFormat(delimiter=";", encoding="latin-1")
    source.write_bytes(NASTY.removeprefix(b"\xef\xbb\xbf"))
    taken = take_snapshot(source, mapping, campaign_id="c3", folder=tmp_path, form=form)
    assert entries_of(taken)[5]["Data"] == {"note": "café"}


@pytest.mark.parametrize(("cc", "bcc", "fits"), [(49, 0, True), (0, 49, True), (24, 25, True), (49, 1, False)])
def test_fifty_recipients_fit_into_a_mail(tmp_path: Path, cc: int, bcc: int, *, fits: bool) -> None:
    rows = [Row((b"a@x.test", b"", b"c@x.test," * cc, b"b@x.test;" * bcc, b"t", b""), 1)]
    write_parquet(tmp_path / "list.parquet", rows)
    taken = take_snapshot(tmp_path / "list.parquet", MAPPING, campaign_id="c1", folder=tmp_path)
    assert (taken.entries, taken.recipients) == ((1, 50) if fits else (0, 0))
    check(taken, expectations(rows, typed=True), 1)


def test_the_limit_ends_the_list_and_the_digest_does_not(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    rows = [f"u{n // 2}@example.com" for n in range(300_000)]
    source.write_text("email\n" + "\n".join(rows) + "\n")
    mapping = Mapping("email", None, {}, {}, dedupe=True)
    read: list[int] = []
    whole = take_snapshot(source, mapping, campaign_id="c1", folder=tmp_path)
    taken = take_snapshot(source, mapping, campaign_id="c2", folder=tmp_path, limit=10, on_progress=read.append)
    assert (taken.rows, taken.entries, taken.skipped) == (19, 10, {SkipReason.DUPLICATE: 9})
    assert read[-1] < 300_000
    assert taken.list_digest == whole.list_digest
    taken = take_snapshot(source, replace(mapping, dedupe=False), campaign_id="c3", folder=tmp_path, limit=10)
    assert (taken.rows, taken.entries, taken.skipped) == (10, 10, {})
    taken = take_snapshot(source, mapping, campaign_id="c4", folder=tmp_path, limit=150_001)
    assert (taken.rows, taken.entries) == (300_000, 150_000)
    taken = take_snapshot(source, mapping, campaign_id="c5", folder=tmp_path, limit=140_000)
    assert (taken.rows, taken.entries) == (279_999, 140_000)


def test_variables_that_no_row_has(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("email,plan\na@example.com,\n")
    mapping = Mapping(
        "email", None, {"city": "Lima"}, {}, dedupe=True, template_needs=frozenset({("plan",), ("city",)})
    )
    assert take_snapshot(source, mapping, campaign_id="c1", folder=tmp_path).entries == 1
    for names, hint in ((("town", "x"), "Add a column"), (("email",), "recipients.data")):
        missing = replace(mapping, template_needs=frozenset({("plan",), *((name,) for name in names)}))
        with pytest.raises(ListError, match=", ".join(map(repr, sorted(names)))) as caught:
            take_snapshot(source, missing, campaign_id="c2", folder=tmp_path)
        assert hint in caught.value.hint
