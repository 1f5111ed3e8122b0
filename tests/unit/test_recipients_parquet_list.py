"""Parquet lists: every type as the template sees it, folders, files that cannot be used."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulksend.errors import ListError
from bulksend.recipients import Mapping, SnapshotReader, list_digest, parquet_list, skipped_rows
from bulksend.recipients.plan import Snapshot, take_snapshot
from bulksend.recipients.source import open_input

MAPPING = Mapping("email", None, {}, {}, dedupe=False)
AT = dt.datetime(2026, 11, 2, 3, 4, 5)  # noqa: DTZ001  # Parquet knows such times
KOLKATA = dt.timezone(dt.timedelta(hours=5, minutes=30))


def plan(source: Path, mapping: Mapping = MAPPING, **more: Any) -> Snapshot:
    folder = source.parent / f"snapshots-{len(list(source.parent.iterdir()))}"
    return take_snapshot(source, mapping, campaign_id="c1", folder=folder, **more)


def data_of(taken: Snapshot) -> dict[int, dict[str, Any]]:
    """The template data of each row."""
    found = {}
    with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        for info in taken.chunks:
            chunk = reader.chunk(info.number)
            for i, row in enumerate(chunk.rows):
                entry = json.loads(bytes(chunk.entries[chunk.offsets[i] : chunk.offsets[i + 1] - 1]))
                found[row] = json.loads(
                    entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"]
                )
    return found


def sheet(path: Path, values: list[Any], kind: pa.DataType, **options: Any) -> Path:
    emails = pa.array([f"u{n}@example.com" for n in range(len(values))])
    pq.write_table(pa.table({"email": emails, "x": pa.array(values, kind)}), path, **options)
    return path


@pytest.mark.parametrize(
    ("kind", "values", "seen"),
    [
        (pa.string(), ["00501", "", '"\\\n😀', None], ["00501", "", '"\\\n😀', None]),
        (pa.large_string(), ["a", None], ["a", None]),
        (pa.string_view(), ["a" * 20, None], ["a" * 20, None]),
        (pa.dictionary(pa.int32(), pa.string()), ["a", "b", None, "a"], ["a", "b", None, "a"]),
        (pa.int64(), [0, -1, 2**53 + 1, None], [0, -1, 2**53 + 1, None]),
        (pa.uint64(), [2**64 - 1], [2**64 - 1]),
        (pa.int8(), [-128], [-128]),
        (pa.dictionary(pa.int8(), pa.int64()), [5, None, 5], [5, None, 5]),
        (pa.bool_(), [True, False, None], [True, False, None]),
        (pa.float64(), [1.5, 1e300, -0.5, float("nan"), float("inf"), None], [1.5, 1e300, -0.5, None, None, None]),
        (pa.float32(), [0.1, float("-inf")], [0.1, None]),
        (pa.decimal128(10, 2), [Decimal("12.50"), None], [12.5, None]),
        (pa.decimal256(50, 0), [Decimal(10**45)], [10**45]),
        (pa.null(), [None, None], [None, None]),
        (pa.date32(), [dt.date(2026, 1, 2), None], ["2026-01-02", None]),
        (pa.time64("us"), [dt.time(1, 2, 3), dt.time(1, 2, 3, 500000)], ["01:02:03", "01:02:03.500000"]),
        (pa.timestamp("us"), [AT, None], ["2026-11-02T03:04:05", None]),
        (pa.timestamp("ms"), [AT.replace(microsecond=120000)], ["2026-11-02T03:04:05.120"]),
        (pa.timestamp("us", "UTC"), [AT], ["2026-11-02T03:04:05Z"]),
        (pa.timestamp("us", "+05:30"), [AT.replace(tzinfo=KOLKATA)], ["2026-11-02T03:04:05+05:30"]),
        (pa.list_(pa.int64()), [[1, None], [], None], [[1, None], [], None]),
        (pa.large_list(pa.string()), [['"\\', "é"]], [['"\\', "é"]]),
        (pa.list_(pa.float64(), 2), [[1.5, float("nan")]], [[1.5, None]]),
        (pa.struct([("a", pa.string()), ("b", pa.int32())]), [{"a": '"', "b": 1}, None], [{"a": '"', "b": 1}, None]),
        (pa.map_(pa.string(), pa.int64()), [[("k", 1)], []], [{"k": 1}, {}]),
        (pa.map_(pa.int32(), pa.string()), [[(7, "x")]], [{"7": "x"}]),
        (
            pa.list_(pa.struct([("p", pa.decimal128(5, 2)), ("at", pa.timestamp("ns", "UTC")), ("d", pa.date32())])),
            [[{"p": Decimal("1.20"), "at": AT, "d": AT.date()}]],
            [[{"p": 1.2, "at": "2026-11-02T03:04:05Z", "d": "2026-11-02"}]],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_values_are_what_they_are(tmp_path: Path, kind: pa.DataType, values: list[Any], seen: list[Any]) -> None:
    taken = plan(sheet(tmp_path / "list.parquet", values, kind))
    found = [data["x"] for data in data_of(taken).values()]
    assert found == seen
    assert list(map(type, found)) == list(map(type, seen))


def test_numbers_keep_their_digits(tmp_path: Path) -> None:
    taken = plan(sheet(tmp_path / "list.parquet", [Decimal("12.50"), Decimal("0.00")], pa.decimal128(9, 2)))
    with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        assert b'\\"x\\":12.50}' in bytes(reader.chunk(0).entries)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary(3), pa.list_(pa.binary()), pa.duration("s")]
)
def test_binary_values_are_refused_unless_nobody_wants_them(tmp_path: Path, kind: pa.DataType) -> None:
    source = sheet(tmp_path / "list.parquet", [None], kind)
    with pytest.raises(ListError, match="the column 'x' is ") as caught:
        plan(source)
    assert "recipients.data" in caught.value.hint
    assert plan(source, Mapping("email", (), {}, {}, dedupe=False)).entries == 1


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.list_(pa.int64()), pa.date32()])
def test_a_null_is_the_default_where_there_is_one(tmp_path: Path, kind: pa.DataType) -> None:
    source = sheet(tmp_path / "list.parquet", [None], kind)
    for default in ("a\"\\'é\n", 5, None, {"k": [1, '"']}):
        taken = plan(source, Mapping("email", None, {"x": default, "y": 1}, {}, dedupe=False))
        assert data_of(taken) == {1: {"x": default, "y": 1}}


def test_nulls_in_tags_headers_names_and_copies_are_nothing(tmp_path: Path) -> None:
    source = tmp_path / "list.parquet"
    nulls = {name: pa.array([None, "v"], pa.string()) for name in ("n", "t")}
    more = {"cc": pa.array(["c@example.com", None]), "b": pa.array([None, None]), "k": pa.array([1, None])}
    pq.write_table(pa.table({"email": ["a@example.com", "b@example.com"], **nulls, **more}), source)
    mapping = Mapping("email", (), {}, {"t": "x{t}{k}"}, False, "cc", "b", "n", {"X-T": "x{t}{k}"})  # noqa: FBT003
    taken = plan(source, mapping)
    with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        entries = json.loads(b"[%b]" % bytes(reader.chunk(0).entries)[:-1])
    assert [entry["Destination"] for entry in entries] == [
        {"ToAddresses": ["a@example.com"], "CcAddresses": ["c@example.com"]},
        {"ToAddresses": ['"v" <b@example.com>']},
    ]
    assert [entry["ReplacementTags"][2]["Value"] for entry in entries] == ["x1", "xv"]
    assert [entry["ReplacementHeaders"] for entry in entries] == [
        [{"Name": "X-T", "Value": "x1"}],
        [{"Name": "X-T", "Value": "xv"}],
    ]


def test_a_nested_value_that_json_does_not_have(tmp_path: Path) -> None:
    days = pa.array([1, 2**30, 2], pa.int32()).cast(pa.date32())  # the second is in the year 2941724
    source = tmp_path / "list.parquet"
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), days)
    emails = pa.array(["a@example.com", "b@example.com", "c@example.com"])
    pq.write_table(pa.Table.from_arrays([emails, lists], ["email", "x"]), source)
    taken = plan(source)
    assert data_of(taken) == {1: {"x": ["1970-01-02"]}, 3: {"x": ["1970-01-03"]}}
    assert "not possible in JSON" in next(skipped_rows(taken.path)).detail


def test_an_address_that_is_null(tmp_path: Path) -> None:
    source = tmp_path / "list.parquet"
    pq.write_table(pa.table({"email": pa.array([None, "a@example.com"])}), source)
    taken = plan(source)
    assert [row.detail for row in skipped_rows(taken.path)] == ["no address"]


def test_a_null_that_the_template_needs(tmp_path: Path) -> None:
    source = sheet(tmp_path / "list.parquet", ["a", None, ""], pa.string())
    needs = frozenset({("x",)})
    taken = plan(source, Mapping("email", None, {}, {}, dedupe=False, template_needs=needs))
    assert [(row.row, row.detail) for row in skipped_rows(taken.path)] == [(2, "no value for template variable 'x'")]
    taken = plan(source, Mapping("email", None, {"x": 1}, {}, dedupe=False, template_needs=needs))
    assert taken.entries == 3


def test_a_null_that_the_template_can_do_without(tmp_path: Path) -> None:
    source = sheet(tmp_path / "list.parquet", ["a", None, ""], pa.string())
    asks = frozenset({("x",), ("y",)})
    taken = plan(source, Mapping("email", None, {}, {}, dedupe=False, template_may_use=asks))
    assert taken.entries == 3
    (warning,) = taken.warnings
    assert "asks whether there is 'y'" in warning


def test_what_the_template_needs_of_a_nested_column(tmp_path: Path) -> None:
    users = [{"name": "Ann", "seen": [1]}, {"name": None, "seen": [1]}, None, {"name": "Bob", "seen": []}]
    fields: list[pa.Field[Any]] = [pa.field("name", pa.string()), pa.field("seen", pa.list_(pa.int64()))]
    source = sheet(tmp_path / "list.parquet", users, pa.struct(fields))
    mapping = Mapping(
        "email", None, {}, {}, dedupe=False, template_needs=frozenset({("x", "name"), ("x", "seen", "0")})
    )
    taken = plan(source, mapping)
    assert [(row.row, row.detail) for row in skipped_rows(taken.path)] == [
        (2, "no value for template variable 'x.name'"),
        (3, "no value for template variable 'x.name'"),
        (4, "no value for template variable 'x.seen.0'"),
    ]
    default = replace(mapping, default_data={"x": {"name": "you", "seen": [0]}})
    assert [row.row for row in skipped_rows(plan(source, default).path)] == [2, 4]


@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string())])
def test_text_that_is_not_utf8(tmp_path: Path, kind: pa.DataType) -> None:
    source = tmp_path / "list.parquet"
    offsets = pa.array([0, 1, 4, 5], pa.int32()).buffers()[1]
    broken: Any = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xed\xa0\x80b")])  # a surrogate
    if kind != pa.string():
        broken = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), broken)
    emails = pa.array(["a@example.com", "b@example.com", "c@example.com"])
    pq.write_table(pa.Table.from_arrays([emails, broken], ["email", "x"]), source)
    taken = plan(source)
    assert list(data_of(taken)) == [1, 3]
    (skipped,) = skipped_rows(taken.path)
    assert (skipped.row, skipped.address, skipped.detail) == (2, "b@example.com", "not valid UTF-8 in column 'x'")


class TestFolders:
    def test_files_follow_one_another_by_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(parquet_list, "MAX_BATCH_ROWS", 7)
        monkeypatch.setattr(parquet_list, "FIRST_BATCH_ROWS", 2)
        folder = tmp_path / "list"
        folder.mkdir()
        for number, name in enumerate(["b.parquet", "a.PARQUET", "c.parquet", "_x.parquet", ".y.parquet", "_z.txt"]):
            emails = [f"{name[0]}{n}@example.com" for n in range(10 + number)]
            table = pa.table({"email": emails, "n": list(range(10 + number))})
            pq.write_table(table.select(["n", "email"] if number else ["email", "n"]), folder / name, row_group_size=4)
        (folder / ".sub.parquet").mkdir()
        taken = plan(folder)
        assert taken.rows == 10 + 11 + 12
        assert [data["n"] for data in data_of(taken).values()] == [*range(11), *range(10), *range(12)]
        assert list(data_of(taken)) == list(range(1, 34))
        assert taken.list_digest == list_digest(folder)
        digest = taken.list_digest
        (folder / "c.parquet").rename(folder / "d.parquet")
        assert list_digest(folder) != digest

    @pytest.mark.parametrize("other", ["link.parquet", "2024", "part-0", "notes.txt", "sub.parquet"])
    def test_what_else_is_in_it_is_not_left_out_in_silence(self, tmp_path: Path, other: str) -> None:
        sheet(tmp_path / "a.parquet", [1], pa.int64())
        if other.startswith("link"):
            (tmp_path / other).symlink_to(tmp_path / "gone.parquet")
        elif other in {"part-0", "notes.txt"}:
            sheet(tmp_path / other, [1], pa.int64())
        else:
            (tmp_path / other).mkdir()
        with pytest.raises(ListError, match=rf"no \.parquet file that can be read: {re.escape(other)}") as caught:
            plan(tmp_path)
        assert "_" in caught.value.hint

    def test_one_file_has_the_digest_of_its_bytes(self, tmp_path: Path) -> None:
        source = sheet(tmp_path / "list.parquet", [1], pa.int64())
        assert plan(source).list_digest == hashlib.sha256(source.read_bytes()).hexdigest() == list_digest(source)

    @pytest.mark.parametrize(
        ("second", "words"),
        [
            ({"email": ["b@x.test"], "n": ["1"]}, "b.parquet: the column 'n' is string, is int64 in a.parquet"),
            ({"email": ["b@x.test"], "m": [1]}, "b.parquet: the column 'm' is int64, is not there in a.parquet"),
            ({"email": ["b@x.test"]}, "b.parquet: the column 'n' of a.parquet is not there"),
        ],
    )
    def test_columns_that_differ(self, tmp_path: Path, second: dict[str, list[Any]], words: str) -> None:
        pq.write_table(pa.table({"email": ["a@x.test"], "n": [1]}), tmp_path / "a.parquet")
        pq.write_table(pa.table(second), tmp_path / "b.parquet")
        with pytest.raises(ListError, match=re.escape(words)):
            plan(tmp_path)

    def test_no_parquet_in_it(self, tmp_path: Path) -> None:
        (tmp_path / "list.csv").write_text("email\na@example.com\n")
        with pytest.raises(ListError, match=r"no \.parquet file in it"):
            plan(tmp_path)


@pytest.mark.parametrize("how", ["replaced", "rewritten", "removed"])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_list_that_changes_while_it_is_read(tmp_path: Path, how: str, suffix: str) -> None:
    source, other = tmp_path / f"list.{suffix}", tmp_path / "other"
    if suffix == "parquet":
        sheet(source, [1], pa.int64())
        sheet(other, [2], pa.int64())
    else:
        source.write_text("email,x\na@example.com,1\n")
        other.write_text("email,x\nb@example.com,2\nc@example.com,3\n")

    def change(_rows: int) -> None:
        if how == "replaced" and other.exists():
            other.replace(source)
        elif how == "rewritten":
            source.write_bytes(other.read_bytes())
        else:
            source.unlink(missing_ok=True)

    with pytest.raises(ListError, match=r"changed while it was read|No such file"):
        plan(source, on_progress=change)


@pytest.mark.parametrize("stored", ["dictionary", "plain", "values"])
def test_texts_that_are_repeated_are_not_all_written_out_at_once(tmp_path: Path, stored: str) -> None:
    source = tmp_path / "list.parquet"
    text, count = "y" * 100_000, 3_000
    columns: dict[str, Any] = {"email": [f"u{n}@example.com" for n in range(count)], "x": [text] * count}
    table = pa.table(columns)
    if stored == "dictionary":
        table = table.set_column(1, "x", table["x"].dictionary_encode())
    pq.write_table(table, source, use_dictionary=stored != "values")
    rows = 0
    with parquet_list.ParquetList(source, open_input(source)) as opened:
        for block in opened.blocks(["email", "x"]):
            assert block.columns["x"].nbytes <= parquet_list.MAX_PIECE_BYTES
            rows += len(block.rows)
    assert rows == count


def test_short_floats_and_keys_of_maps_come_as_they_are_written(tmp_path: Path) -> None:
    prices = pa.map_(pa.decimal128(4, 2), pa.float32())
    source = sheet(tmp_path / "list.parquet", [[(Decimal("1.50"), 19.9)], [(Decimal(1), 1), (Decimal(1), 2)]], prices)
    taken = plan(source)
    assert data_of(taken) == {1: {"x": {"1.50": 19.9}}}
    assert [row.detail for row in skipped_rows(taken.path)] == [
        "a value that is not possible in JSON (a map with the same key twice) in column 'x'"
    ]


def test_a_time_beyond_the_calendar(tmp_path: Path) -> None:
    source = sheet(tmp_path / "list.parquet", [2**62, 0], pa.timestamp("us"))
    taken = plan(source)
    assert data_of(taken) == {2: {"x": "1970-01-01T00:00:00"}}
    assert "a time beyond the calendar" in next(skipped_rows(taken.path)).detail


def test_fewer_rows_are_read_at_a_time_where_they_are_long(tmp_path: Path) -> None:
    source = sheet(tmp_path / "list.parquet", ["y" * 50_000] * 2_000 + ["z"] * 20_000, pa.string())
    sizes = [(len(b), b.nbytes) for b in parquet_list._batches(pq.ParquetFile(source), ["x"])]
    assert max(size for _, size in sizes) <= 64 * 50_100
    assert max(rows for rows, _ in sizes) == parquet_list.MAX_BATCH_ROWS


def test_default_data_that_is_long_does_not_fill_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text("email\n" + "".join(f"u{n}@example.com\n" for n in range(12_000)))
    taken = plan(source, Mapping("email", None, {"x": "y" * 200_000}, {}, dedupe=False))  # more than an array can hold
    assert taken.entries == 12_000


def test_a_name_with_a_dot_is_no_path(tmp_path: Path) -> None:
    source = tmp_path / "list.parquet"
    nested = pa.array([{"b": 1}])
    pq.write_table(pa.table({"email": ["a@x.test"], "a": nested, "a.b": [2], "": [3]}), source)
    taken = plan(source)
    assert data_of(taken) == {1: {"a": {"b": 1}, "a.b": 2}}
    assert len(taken.warnings) == 1


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "head", "middle"])
def test_files_that_cannot_be_used(tmp_path: Path, damage: str) -> None:
    source = sheet(tmp_path / "list.parquet", [f"text {n}" for n in range(5000)], pa.string(), write_page_checksum=True)
    whole = source.read_bytes()
    source.write_bytes(
        {
            "text": b"email,x\na@example.com,1\n",
            "empty": b"",
            "cut": whole[:-10],
            "head": whole[: len(whole) // 2],
            "middle": whole[:9000] + bytes(500) + whole[9500:],
        }[damage]
    )
    with pytest.raises(ListError, match=r"cannot be read|is not a Parquet file") as caught:
        plan(source)
    assert str(source) in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [source]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="No such file"):
        plan(tmp_path / "list.parquet")


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ListError, match="no rows"):
        plan(sheet(tmp_path / "list.parquet", [], pa.string()))


def test_data_that_ses_would_refuse(tmp_path: Path) -> None:
    source = sheet(tmp_path / "list.parquet", [["x" * 262_144], ["y"], None], pa.list_(pa.string()))
    taken = plan(source, Mapping("email", None, {"x": "d" * 262_140}, {}, dedupe=False))
    assert list(data_of(taken)) == [2]
    assert [(row.row, row.detail) for row in skipped_rows(taken.path)] == [
        (1, "262,154 characters of template data; SES takes 262,144"),
        (3, "262,148 characters of template data; SES takes 262,144"),
    ]
