"""Reading a CSV list: numbers, faults, and the errors that stop a plan before it begins."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.errors import ListError
from bulksend.recipients import csv_list
from bulksend.recipients.csv_list import CsvList
from bulksend.recipients.quotes import Quotes

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, *columns: str) -> tuple[list[tuple[object, ...]], list[tuple[int, str, str]]]:
    """The rows, each with its number first, and the faults."""
    rows: list[tuple[object, ...]] = []
    faults = []
    with CsvList(path) as opened:
        for block in opened.blocks(columns):
            cells = [block.columns[column].to_pylist() for column in columns]
            rows += zip(block.rows.to_pylist(), *cells, strict=True)
            faults += [(fault.row, fault.address, fault.detail) for fault in block.faults]
        assert opened.hash_rest() == hashlib.sha256(path.read_bytes()).hexdigest()
    return rows, faults


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.fixture(params=[None, 64])
def small_blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(csv_list, "BLOCK_BYTES", request.param)
        monkeypatch.setattr(csv_list, "HEADER_BYTES", request.param)


@pytest.mark.usefixtures("small_blocks")
class TestRecords:
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CR LF", "CR"])
    def test_text_comes_as_it_is(self, path: Path, mark: bytes, end: bytes) -> None:
        lines = ['email,"zip, code",x', '"a@example.com",007,""', "", '"b""@example.com","1,\n2",  y ', "c,,"]
        path.write_bytes(mark + end.join(line.encode() for line in lines))
        assert read(path, "email", "zip, code", "x") == (
            [(1, "a@example.com", "007", ""), (2, 'b"@example.com', "1,\n2", "  y "), (3, "c", "", "")],
            [],
        )

    def test_ragged_records_are_faults_and_the_others_keep_their_numbers(self, path: Path) -> None:
        path.write_text("n,email\n" + "x,a@example.com\n\ny\nz,b@example.com,c\n" * 40 + "w,last@example.com\nonly")
        rows, faults = read(path, "email")
        assert rows == [*((3 * i + 1, "a@example.com") for i in range(40)), (121, "last@example.com")]
        assert faults == sorted(
            [
                *((3 * i + 2, "y", "has 1 field, the header has 2") for i in range(40)),
                *((3 * i + 3, "b@example.com", "has 3 fields, the header has 2") for i in range(40)),
                (122, "only", "has 1 field, the header has 2"),
            ]
        )

    def test_only_ragged_records(self, path: Path) -> None:
        path.write_text("email\n" + "a,b\n" * 100)
        rows, faults = read(path, "email")
        assert rows == []
        assert [fault[0] for fault in faults] == list(range(1, 101))

    def test_bytes_that_are_not_utf8_spoil_their_record_alone(self, path: Path) -> None:
        good = "é😀@example.com,€,x\n".encode()
        path.write_bytes(
            b"email,city,other\n" + b"".join([good * 3, b"a\xff@example.com,b,c\n", b"d,\xe9\xe8,c\n"] * 20)
        )
        rows, faults = read(path, "email", "city")
        assert rows == [(5 * i + j, "é😀@example.com", "€") for i in range(20) for j in (1, 2, 3)]
        assert faults == sorted(
            [(5 * i + 4, "a\ufffd@example.com", "not valid UTF-8 in column 'email'") for i in range(20)]
            + [(5 * i + 5, "d", "not valid UTF-8 in column 'city'") for i in range(20)]
        )

    def test_bytes_that_are_not_utf8_in_a_column_that_nobody_asked_for(self, path: Path) -> None:
        path.write_bytes(b"email,city\na,\xff\nb,c\n")
        assert read(path, "email") == ([(1, "a"), (2, "b")], [])

    def test_a_ragged_record_that_is_not_utf8_either(self, path: Path) -> None:
        path.write_bytes(b"email,city\na,b\n\xff\nc,d,\xc3\ne,f\n\xf0\x9f\x98")
        assert read(path, "email") == (
            [(1, "a"), (4, "e")],
            [
                (2, "\ufffd", "has 1 field, the header has 2"),
                (3, "c", "has 3 fields, the header has 2"),
                (5, "\ufffd", "has 1 field, the header has 2"),
            ],
        )

    def test_a_quote_that_is_never_closed(self, path: Path) -> None:
        path.write_text('email,city\na,b\nc,"d\ne,f\n')
        with pytest.raises(ListError, match=r"a quote that opens in row 2 is never closed") as caught:
            read(path, "email")
        assert "row 2" in caught.value.hint

    def test_a_quote_that_is_never_closed_in_a_ragged_record(self, path: Path) -> None:
        path.write_text('email,city\na,b\n"c,d\ne,f\n')
        with pytest.raises(ListError, match=r"a quote that opens in row 2 is never closed"):
            read(path, "email")

    @pytest.mark.parametrize(
        ("rows", "row", "words"),
        [
            ('a@x.example,"Ann\nb@x.example,Bob\nc@x.example,"Cid\nd@x.example,Dan\n', 1, "text after the quote"),
            ('a@x.example,Ann\nb@x.example,"5 inch\nc@x.example,"6 inch\n', 2, "text after the quote"),
            ('a@x.example,"5" x\n', 1, "text after the quote"),
            ('a@x.example,""x\n', 1, "text after the quote"),
            ('a@x.example,"x"""y\n', 1, "text after the quote"),
            ('short\n"a@x.example"b,Ann\n', 2, "text after the quote"),
            ('a@x.example,"x"\n' * 9 + 'a@x.example,"said \\"hi\\" there"\n', 10, "text after the quote"),
            ('a@x.example,"Ann\nb@x.example,Bob"\n', 1, "look like rows"),
            ('a@x.example,"Ann\r\nb@x.example,Bob\r\nc@x.example,Cid 5"\n', 1, "look like rows"),
            ('a@x.example,"Ann\nb@x.example,"\n', 1, "look like rows"),
            ('"a@x.example,Ann\nb@x.example",Bob\n', 1, "look like rows"),
            ('a@x.example,"Ann\nb@x.example,Bob\nc",d,e\n', 1, "look like rows"),
        ],
    )
    def test_a_quote_that_stands_alone_swallows_nobody(self, path: Path, rows: str, row: int, words: str) -> None:
        path.write_text("email,name\n" + rows, newline="")
        with pytest.raises(ListError, match=rf"row {row} has .*{words}") as caught:
            read(path, "email")
        assert ("backslash" in caught.value.hint) == ("\\" in rows)

    def test_rows_in_a_field_are_seen_before_the_address_too(self, path: Path) -> None:
        path.write_text('name,email,city\n"Ann,a@x.example,Rome\nBob",b@x.example,Oslo\n')
        with pytest.raises(ListError, match=r"row 1 has a field in quotes that holds lines which look like rows"):
            read(path, "email")

    def test_the_place_of_a_field_after_one_of_several_lines(self, path: Path) -> None:
        path.write_text('note,name,email\n"1,\n2","Ann\n3,Bob,b@x.example\n4,Cid",c@x.example\n')
        with pytest.raises(ListError, match=r"row 1 has a field in quotes"):
            read(path, "email")

    def test_quotes_that_are_right_or_text(self, path: Path) -> None:
        cells = ['5" x', 'x"', '"5"" x"', '""', '""""', '""""""', '"a ""b"""', '"x, ""y"""', '"1\n2"', '" , "']
        cells += ['"Regards,\nAnn,\nb@x.example"', '"Hi\n b@x.example,Bob"', '"\n"', ' "5"']
        text = "email,name\n" + "".join(f"a{i}@x.example,{cell}\n" for i, cell in enumerate(cells * 20))
        path.write_text(text)
        expected = list(csv.reader(text.splitlines(keepends=True)))[1:]
        rows, faults = read(path, "email", "name")
        assert [[address, name] for _, address, name in rows] == expected
        assert faults == []


class TestEdgesOfBlocks:
    """The first two rows and the bytes before the edge are as long as the block, 64 bytes."""

    ROWS = b"email,city\na@x.example,Rome\nb@x.example,Oslo\n"
    MORE = b"d@x.example,Paris\n"

    @pytest.fixture(autouse=True)
    def _blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_list, "BLOCK_BYTES", 64)
        monkeypatch.setattr(csv_list, "HEADER_BYTES", 64)

    def rows_of(self, path: Path, before: bytes, after: bytes, more: int) -> tuple[tuple[object, ...], list[object]]:
        """The row at the edge, and the faults; of the others the numbers are right."""
        assert len(self.ROWS + before) == 64
        path.write_bytes(self.ROWS + before + after + self.MORE * more)
        rows, faults = read(path, "email", "city")
        assert [row for row in rows if row[0] != 3] == [
            (1, "a@x.example", "Rome"),
            (2, "b@x.example", "Oslo"),
            *((number, "d@x.example", "Paris") for number in range(4, 4 + more)),
        ]
        return rows[2], list(faults)

    @pytest.mark.parametrize("more", [2, 40], ids=["the last block", "blocks after it"])
    def test_a_line_end_in_quotes_that_a_nul_stands_before(self, path: Path, more: int) -> None:
        row, faults = self.rows_of(path, b'c\0,"123456789012345', b'\n6"\n', more)
        assert (row, faults) == ((3, "c\0", "123456789012345\n6"), [])

    @pytest.mark.parametrize("more", [2, 40], ids=["the last block", "blocks after it"])
    def test_a_line_end_in_quotes_is_cut_in_two(self, path: Path, more: int) -> None:
        row, faults = self.rows_of(path, b'c@x.example,"12345\r', b'\n6"\n', more)
        assert (row, faults) == ((3, "c@x.example", "12345\r\n6"), [])

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\n\n", "\r\r\n", "\n\r\n\r\r\n\n" * 30])
    def test_line_ends_wherever_the_edge_is(self, path: Path, end: str) -> None:
        for longer in range(64):
            cities = ["R" * longer, "O" * 62, "", "Paris"]  # the second fills a block
            path.write_text("email,city\n" + "".join(f"a,{city}{end}" for city in cities), newline="")
            assert read(path, "city") == ([*enumerate(cities, start=1)], [])

    def test_nuls_wherever_the_edge_is(self, path: Path) -> None:
        for longer in range(64):
            # A block without NULs follows one with them.
            cities = ["R" * longer, "1\0,\n2", *["O" * 60] * 3, "1\0\0\n2", *["Paris"] * 20]
            path.write_text("city,email\n" + "".join(f'"{city}",a\n' for city in cities), newline="")
            assert read(path, "city") == ([*enumerate(cities, start=1)], [])


def test_a_nul_hides_nothing(path: Path) -> None:
    # So many long rows come before them that pyarrow's parser begins to look at eight bytes at a time.
    rows = [f"{'a' * head}\0{'b' * tail},{'c' * 30}" for head in range(9) for tail in range(9)]
    path.write_text("email,city\n" + "longlonglong,longlonglonglonglonglong\n" * 17_000 + "\n".join(rows))
    found, faults = read(path, "email", "city")
    assert [f"{email},{city}" for _, email, city in found[17_000:]] == rows
    assert [number for number, *_ in found] == list(range(1, len(found) + 1))
    assert faults == []


def test_a_nul_in_a_ragged_record_and_its_stand_in_in_a_list(path: Path) -> None:
    path.write_text("email,city\na\0b\nc\U0010fffe,\0\nd,\0\n", encoding="utf-8")
    assert read(path, "email", "city") == (
        [(3, "d", "\0")],
        [(1, "a\0b", "has 1 field, the header has 2"), (2, "c\ufffd", "not valid UTF-8 in column 'email'")],
    )


@given(st.text('",\n\r;x@.', max_size=60), st.integers(1, 70))
def test_quotes_are_judged_alike_wherever_blocks_end(text: str, size: int) -> None:
    data = text.encode()
    whole = Quotes(",", 2, 0)
    whole.sound_rows(data, final=True)
    pieces = Quotes(",", 2, 0)
    given = b""
    for start in range(0, len(data) + 1, size):
        if pieces.fault is None:
            given += pieces.sound_rows(data[start : start + size], final=start + size > len(data))
    assert pieces.fault == whole.fault
    assert (b"\n" + data).startswith(given)
    assert pieces.fault is not None or given == b"\n" + data
    if '"' in text and "@" not in text:
        try:
            list(csv.reader(io.StringIO(text, newline=""), strict=True))
            strict = True
        except csv.Error as error:
            strict = "expected after" not in str(error)
        assert (pieces.fault is None) == strict


@pytest.mark.parametrize("record", ['"a,b\n' + "c,d\n" * 100, "x" * 300 + ",y\n"], ids=["quote", "long"])
def test_a_record_longer_than_a_block(path: Path, monkeypatch: pytest.MonkeyPatch, record: str) -> None:
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", 64)
    monkeypatch.setattr(csv_list, "HEADER_BYTES", 64)
    path.write_text("email,city\na,b\nragged\n" + record)
    with pytest.raises(ListError, match=r"row 3 has over 64 bytes, or a quote in it is never closed"):
        read(path, "email")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n\r\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"email,caf\xe9\n", "the header is not valid UTF-8"),
        (b"email,\0\na,b\n", "the header has NUL bytes"),
        ("email\na\n".encode("utf-16-le"), "NUL bytes"),
        ("email\na\n".encode("utf-16"), "encoded as UTF-16"),
        (b'"' + b"email\n" * 50_001, "quote that is never closed"),
        (b"x" * 300_000, "the header is longer than 262,144 bytes"),
    ],
)
def test_lists_that_cannot_be_used(path: Path, content: bytes, words: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ListError, match=words) as caught:
        CsvList(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_no_file(path: Path) -> None:
    with pytest.raises(ListError, match="No such file"):
        CsvList(path)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="is not a file"):
        CsvList(tmp_path)
