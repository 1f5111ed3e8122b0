"""CSV as it comes: compressed, with other delimiters, in other encodings."""

from __future__ import annotations

import bz2
import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from bulksend.errors import ListError
from bulksend.recipients import ListFormat, csv_list, list_digest
from bulksend.recipients.csv_list import CsvList


def zstd(data: bytes) -> bytes:
    compressed = pa.compress(data, codec="zstd", asbytes=True)
    assert isinstance(compressed, bytes)
    return compressed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd}


def read(path: Path, form: ListFormat | None = None) -> tuple[list[tuple[str, ...]], list[tuple[int, str, str]]]:
    """The header and the rows, and the faults."""
    faults = []
    with CsvList(path, form or ListFormat()) as csv:
        rows = [csv.header]
        for block in csv.blocks(csv.header):
            rows += zip(*(block.columns[column].to_pylist() for column in csv.header), strict=True)
            faults += [(fault.row, fault.address, fault.detail) for fault in block.faults]
        assert csv.hash_rest() == hashlib.sha256(path.read_bytes()).hexdigest() == list_digest(path)
    return rows, faults


@pytest.mark.parametrize("suffix", [*COMPRESS, ".GZ"])
class TestCompressed:
    def test_is_read_as_if_it_were_not(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"list.csv{suffix}"
        rows = [("email", "city"), *((f"u{n}@example.com", "Kraków") for n in range(60_000))]
        content = "\n".join(",".join(row) for row in rows).encode()
        compress = COMPRESS[suffix.lower()]
        path.write_bytes(compress(content[:1_000_000]) + compress(content[1_000_000:]))
        assert read(path) == (rows, [])

    def test_damaged(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"list.csv{suffix}"
        whole = COMPRESS[suffix.lower()](b"email,city\n" + b"".join(b"u%d@example.com,x\n" % n for n in range(90_000)))
        for damaged in (
            whole[:-1],
            whole[: len(whole) // 2],
            whole[:3],
            b"email,city\na,b\n",
            whole[:-4] + b"\0\0\0\0" * (suffix != ".zst"),  # the check sum, which this one does not have
        ):
            path.write_bytes(damaged)
            with pytest.raises(ListError, match=r"is not a whole \w+ file") as caught:
                read(path)
            assert str(path) in str(caught.value)

    def test_nothing(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"list.csv{suffix}"
        path.write_bytes(COMPRESS[suffix.lower()](b""))
        with pytest.raises(ListError, match="the file is empty"):
            read(path)


def test_what_is_behind_compressed_data_is_hashed_too(tmp_path: Path) -> None:
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress(b"email,city\na,b\n"))
    with CsvList(path) as csv:
        assert csv.hash_rest() == list_digest(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
class TestDelimiters:
    def test_is_found_in_the_header(self, tmp_path: Path, delimiter: str) -> None:
        path = tmp_path / "list.csv"
        lines = ["email,city,plan", '"a;b",c,"x|y\tz"', "d", 'e,"f""\ng",', "1,2,3,4"]
        path.write_text("\n".join(["", *lines]).replace(",", delimiter))
        text = '"x|y\tz"'.replace(",", delimiter)[1:-1]
        rows, faults = read(path)
        assert rows == [("email", "city", "plan"), ("a;b", "c", text), ("e", 'f"\ng', "")]
        assert faults == [
            (2, "d", "has 1 field, the header has 3"),
            (4, "1", "has 4 fields, the header has 3"),
        ]

    def test_quoted_names_do_not_count(self, tmp_path: Path, delimiter: str) -> None:
        path = tmp_path / "list.csv"
        other = "|" if delimiter == ";" else ";"
        name = f'"a""{other}{other}\n{other}b"'
        path.write_text(f"email{delimiter}{name}\nx{delimiter}y\n")
        assert read(path) == ([("email", f'a"{other}{other}\n{other}b'), ("x", "y")], [])

    def test_is_given(self, tmp_path: Path, delimiter: str) -> None:
        path = tmp_path / "list.csv"
        path.write_text(f"email{delimiter}city:plan:x:y\na{delimiter}b\n")
        assert read(path, ListFormat(delimiter=delimiter)) == ([("email", "city:plan:x:y"), ("a", "b")], [])


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email\na;b\nc\n")
    assert read(path) == ([("email",), ("a;b",), ("c",)], [])


def test_a_delimiter_that_nobody_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email:city\na:b,c\n")
    assert read(path, ListFormat(delimiter=":")) == ([("email", "city"), ("a", "b,c")], [])


@pytest.mark.parametrize("delimiter", ["", ",,", "é", '"', "\n", "\0"])
def test_what_cannot_be_a_delimiter(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email\na\n")
    with pytest.raises(ListError, match="cannot be the delimiter"):
        CsvList(path, ListFormat(delimiter=delimiter))


@pytest.mark.parametrize("block_bytes", [64, 2**20])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "UTF8", "utf-16", "utf-16-le", "utf-32", "gb18030"])
def test_other_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block_bytes: int) -> None:
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(csv_list, "HEADER_BYTES", block_bytes)
    path = tmp_path / "list.csv"
    rows = [("email", "città"), *((f"u{n}@example.com", "Kraków €😀") for n in range(50))]
    path.write_text("".join(f"{one};{two}\r\n" for one, two in rows), encoding=encoding, newline="")
    assert read(path, ListFormat(encoding=encoding)) == (rows, [])


def test_a_byte_order_mark_that_the_encoding_does_not_want(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("\ufeffemail,x\na,b\n".encode("utf-16-le"))
    assert read(path, ListFormat(encoding="utf-16-le")) == ([("email", "x"), ("a", "b")], [])


def test_compressed_and_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.csv.gz"
    path.write_bytes(gzip.compress("email;città\na;Zoë\n".encode("cp1252")))
    assert read(path, ListFormat(encoding="cp1252")) == ([("email", "città"), ("a", "Zoë")], [])


def test_bytes_that_the_encoding_does_not_have_spoil_their_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"email,x\na,\x80\nb\x81,\x80\nc,\x81\xe9\nd,\xe9\n")
    rows, faults = read(path, ListFormat(encoding="cp1252"))
    assert rows == [("email", "x"), ("a", "€"), ("d", "é")]
    assert faults == [
        (2, "b\ufffd", "not valid cp1252 in column 'email'"),
        (3, "c", "not valid cp1252 in column 'x'"),
    ]
    path.write_bytes("email,x\na,b\n".encode("utf-16-le") + b"\x00\xd8" + "c,d\ne,f\n".encode("utf-16-le"))
    rows, faults = read(path, ListFormat(encoding="utf-16-le"))
    assert (rows[1], rows[-1]) == (("a", "b"), ("e", "f"))
    assert [row for row, _, _ in faults] == [2]


def test_lone_surrogates_of_an_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"email,x\na,\\ud800\nb,\\u00e9\n")
    rows, faults = read(path, ListFormat(encoding="raw_unicode_escape"))
    assert rows == [("email", "x"), ("b", "é")]
    assert faults == [(1, "a", "not valid raw_unicode_escape in column 'x'")]


@pytest.mark.parametrize("encoding", ["no-such", "base64", "rot13", "undefined", "", "\0", "hex"])
def test_encodings_that_are_none(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text("email\na\n")
    with pytest.raises(ListError, match="there is no encoding named"):
        CsvList(path, ListFormat(encoding=encoding))


def test_a_header_that_is_not_of_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"email,\x81\na,b\n")
    with pytest.raises(ListError, match="the header is not valid cp1252"):
        CsvList(path, ListFormat(encoding="cp1252"))
