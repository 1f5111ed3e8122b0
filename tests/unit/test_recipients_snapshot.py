"""The snapshot as a file: chunks and back, damage, permissions, skipped rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.errors import ListError, SnapshotError
from bulksend.model import Batch, BatchKind, ChunkInfo, SkipReason
from bulksend.recipients import Mapping, SkippedRow, Snapshot, SnapshotReader, csv_list, skipped_rows, take_snapshot
from bulksend.recipients import snapshot as snapshot_room

MAPPING = Mapping(address="email", data=None, default_data={}, tags={}, dedupe=True)


def plan(folder: Path, text: str, mapping: Mapping = MAPPING) -> Snapshot:
    source = folder / "list.csv"
    source.write_text(text)
    return take_snapshot(source, mapping, campaign_id="c1", folder=folder / "snapshots")


def read(snapshot: Snapshot) -> SnapshotReader:
    return SnapshotReader(snapshot.path, size_bytes=snapshot.size_bytes, sha256=snapshot.sha256)


def many(rows: int, data: str = "x") -> str:
    return "email,note\n" + "".join(f"u{n}@example.com,{data}\n" for n in range(1, rows + 1))


def test_a_list_from_end_to_end(tmp_path: Path) -> None:
    text = "email,plan\nann@example.com,free\nbob\n@,x\nANN@Example.com ,pro\nbob@example.com,\n,\n"
    taken = plan(tmp_path, text)
    assert taken == Snapshot(
        path=tmp_path / "snapshots" / "c1.parquet",
        size_bytes=taken.path.stat().st_size,
        sha256=hashlib.sha256(taken.path.read_bytes()).hexdigest(),
        chunks=(ChunkInfo(number=0, entries=2, recipients=2),),
        rows=6,
        entries=2,
        recipients=2,
        skipped={SkipReason.INVALID: 3, SkipReason.DUPLICATE: 1},
        list_digest=hashlib.sha256(text.encode()).hexdigest(),
        warnings=(),
    )
    assert list(skipped_rows(taken.path)) == [
        SkippedRow(2, "bob", SkipReason.INVALID, "has 1 field, the header has 2"),
        SkippedRow(3, "@", SkipReason.INVALID, "There must be something before the @-sign."),
        SkippedRow(4, "ANN@example.com", SkipReason.DUPLICATE, "same address as row 1"),
        SkippedRow(6, "", SkipReason.INVALID, "no address"),
    ]
    with read(taken) as reader:
        assert reader.rows(0) == [1, 5]
        assert reader.addresses(0) == ["ann@example.com", "bob@example.com"]


def test_a_chunk_is_ready_for_batches(tmp_path: Path) -> None:
    with read(plan(tmp_path, many(20))) as reader:
        chunk = reader.chunk(0)
    assert len(chunk) == 20
    assert list(chunk.rows) == list(range(1, 21))
    assert list(chunk.recipients) == [1] * 20
    assert chunk.size_bytes == sum(chunk.offsets[i + 1] - chunk.offsets[i] for i in range(20))
    for indices in ([3, 4, 5], [0], [19], [2, 7, 11], list(range(20))):
        batch = Batch("c1", chunk, indices, len(indices), BatchKind.FIRST, 0)
        entries = json.loads(b"[" + batch.payload() + b"]")
        assert [entry["Destination"]["ToAddresses"] for entry in entries] == [
            [f"u{i + 1}@example.com"] for i in indices
        ]
        assert [entry["ReplacementTags"][1]["Value"] for entry in entries] == [str(i + 1) for i in indices]


def test_chunks_have_5000_entries_at_most(tmp_path: Path) -> None:
    taken = plan(tmp_path, many(12_001))
    assert [chunk.entries for chunk in taken.chunks] == [5000, 5000, 2001]
    with read(taken) as reader:
        assert [row for number in range(3) for row in reader.rows(number)] == list(range(1, 12_002))


def test_chunks_have_a_size_in_bytes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_room, "MAX_CHUNK_BYTES", 2000)
    # Blocks smaller than a chunk, so that chunks are made of several.
    monkeypatch.setattr(csv_list, "BLOCK_BYTES", 4000)
    monkeypatch.setattr(csv_list, "HEADER_BYTES", 100)
    sizes = [10, 10, 1500, 3000, 3000, *[10] * 20, *[600] * 30]
    text = "email,note\n" + "".join(f"u{n}@example.com,{'x' * size}\n" for n, size in enumerate(sizes))
    taken = plan(tmp_path, text)
    rows = []
    with read(taken) as reader:
        for info in taken.chunks:
            chunk = reader.chunk(info.number)
            assert len(chunk) == info.entries == info.recipients
            assert chunk.size_bytes <= 2000 or len(chunk) == 1
            rows += list(chunk.rows)
    assert rows == list(range(1, len(sizes) + 1))
    assert len(taken.chunks) < len(sizes) - 20


def test_data_that_ses_would_refuse_is_skipped_and_its_address_is_free_for_a_later_row(tmp_path: Path) -> None:
    taken = plan(tmp_path, f"email,note\na@example.com,{'x' * 262_144}\na@example.com,short\n")
    assert list(skipped_rows(taken.path)) == [
        SkippedRow(1, "a@example.com", SkipReason.INVALID, "262,155 characters of template data; SES takes 262,144")
    ]
    with read(taken) as reader:
        assert reader.rows(0) == [2]


def test_without_deduplication_each_row_is_an_entry(tmp_path: Path) -> None:
    taken = plan(tmp_path, "email\na@example.com\na@example.com\n", replace(MAPPING, dedupe=False))
    assert (taken.entries, taken.skipped) == (2, {})


def test_nobody_left_is_not_an_error_here(tmp_path: Path) -> None:
    taken = plan(tmp_path, "email\nnobody\n")
    assert (taken.rows, taken.entries, taken.chunks) == (1, 0, ())
    with read(taken) as reader, pytest.raises(SnapshotError, match="has no chunk 0"):
        reader.chunk(0)


def test_what_is_kept_of_a_refused_address_is_bounded(tmp_path: Path) -> None:
    plan(tmp_path, f"email,x\n{'y' * 100_000},1\n{'z' * 100_000}\n")
    assert [len(row.address) for row in skipped_rows(tmp_path / "snapshots" / "c1.parquet")] == [320, 320]


def test_warnings_are_carried(tmp_path: Path) -> None:
    taken = plan(tmp_path, "email,,x\na@example.com,1,b c\n", replace(MAPPING, tags={"t": "{x}"}))
    assert len(taken.warnings) == 2


def test_progress_counts_rows(tmp_path: Path) -> None:
    seen: list[int] = []
    source = tmp_path / "list.csv"
    source.write_text(many(30_000))
    take_snapshot(source, MAPPING, campaign_id="c1", folder=tmp_path, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 30_000
    assert len(seen) > 1


def test_the_snapshot_is_private(tmp_path: Path) -> None:
    folder = plan(tmp_path, many(3)).path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "c1.parquet": 0o600,
        "c1.skipped.parquet": 0o600,
    }


@pytest.mark.parametrize("text", ["email\n", 'email\na@example.com\n"b'])
def test_a_list_that_fails_leaves_nothing_behind(tmp_path: Path, text: str) -> None:
    with pytest.raises(ListError):
        plan(tmp_path, text)
    assert list((tmp_path / "snapshots").iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "snapshots").write_text("a file in its place")
    with pytest.raises(SnapshotError, match="cannot be written"):
        plan(tmp_path, many(1))


def test_a_snapshot_is_never_written_over(tmp_path: Path) -> None:
    first = plan(tmp_path, many(1)).path.read_bytes()
    with pytest.raises(SnapshotError, match="there already"):
        plan(tmp_path, many(2))
    assert (tmp_path / "snapshots" / "c1.parquet").read_bytes() == first


class TestDamage:
    def test_missing(self, tmp_path: Path) -> None:
        taken = plan(tmp_path, many(3))
        taken.path.unlink()
        with pytest.raises(SnapshotError, match=r"c1\.parquet"):
            read(taken)

    def test_cut_short(self, tmp_path: Path) -> None:
        taken = plan(tmp_path, many(3))
        taken.path.write_bytes(taken.path.read_bytes()[:-1])
        with pytest.raises(SnapshotError, match="bytes; it had"):
            read(taken)

    def test_one_bit_at_the_opening(self, tmp_path: Path) -> None:
        taken = plan(tmp_path, many(3))
        flip(taken.path, 100)
        with pytest.raises(SnapshotError, match="SHA-256 differs"):
            read(taken)

    def test_one_bit_while_it_is_open(self, tmp_path: Path) -> None:
        taken = plan(tmp_path, many(300, "abc"))
        with read(taken) as reader:
            reader.chunk(0)
            flip(taken.path, taken.size_bytes // 2)
            with pytest.raises(SnapshotError, match="chunk 0"):
                reader.chunk(0)

    def test_skipped_rows_missing(self, tmp_path: Path) -> None:
        with pytest.raises(SnapshotError, match="skipped"):
            list(skipped_rows(tmp_path / "c1.parquet"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    with path.open("r+b") as file:
        file.write(content)
