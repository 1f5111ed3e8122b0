"""Whole plans: any list is accounted for row by row, memory is flat, and a killed plan leaves nothing for long."""

from __future__ import annotations

import codecs
import csv
import io
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import email_validator
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.model import SkipReason
from bulksend.recipients import Mapping, SnapshotReader, csv_list, duplicates, skipped_rows, snapshot, take_snapshot
from loadtest.lists import write_list
from tests.fleet import stat_of
from tests.forked import Forked
from tests.worker_process import until

MAPPING = Mapping("email", ("name", "note"), {"plan": "free"}, {"t": "{name}"}, dedupe=True)
COLUMNS = ["name", "email", "note", "unused"]

# A list is made of bytes: two are left out, U+10FFFF, with which undecodable bytes are marked, and U+10FFFE, with which
# NULs are.
TEXT = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x10FFFD), max_size=6)
LATIN1 = st.sampled_from([b"\xe9", b"caf\xe9", b"\xff\xfe", b"\xc3", b"\xf0\x9f\x98", b"\x80\n"])
AWKWARD = st.sampled_from(
    ['"', '""', ",", "\n", "\r\n", "\r", "\\", "\0", "\x1f", "\x7f", "😀", "é", "\u2028", "\ufeff"]
)
CELL = st.one_of(
    st.just(b""),
    TEXT.map(str.encode),
    st.lists(AWKWARD, max_size=4).map("".join).map(str.encode),
    LATIN1,
)
ADDRESS = st.one_of(
    st.builds("{}{}@{}".format, st.sampled_from(["", " ", "\t"]), st.sampled_from(["a", "A", "b", "c.d"]),
              st.sampled_from(["x.test", "X.test", "bücher.test", "xn--bcher-kva.test", "y.example"])).map(str.encode),
    st.integers(0, 10**6).map(lambda number: b"user%d@example.com" % number),
    st.sampled_from([b"", b"nobody", b"a@x.invalid", b"\xe9@x.test", "é@x.test".encode()]),
)  # fmt: skip
RECORD = st.one_of(
    st.tuples(CELL, ADDRESS, CELL, CELL),
    st.tuples(CELL, ADDRESS, CELL, CELL),
    st.lists(CELL, min_size=1, max_size=6).map(tuple),
    st.just(()),
)


def written(record: tuple[bytes, ...], end: bytes, *, quoted: bool) -> bytes:
    """The record in CSV; the empty one is an empty line."""
    cells = [
        b'"%b"' % cell.replace(b'"', b'""')
        if quoted or any(mark in cell for mark in (b'"', b",", b"\n", b"\r")) or record == (b"",)
        else cell
        for cell in record
    ]
    return b",".join(cells) + end


END = st.sampled_from([b"\n", b"\n", b"\r\n", b"\r"])
WRITTEN = st.builds(written, RECORD, END, quoted=st.booleans())

# What comes apart where two blocks meet, or hides what follows it, and text about it.
CUT = st.sampled_from(["\r\n", "\r\n", "\0", "\0", '"', ",", "\n", "\r", "a", "bcdefgh", "é"])
CUT_CELL = st.lists(CUT, min_size=2, max_size=8).map("".join).map(str.encode)
WRITTEN_AT_EDGE = st.builds(written, st.tuples(CUT_CELL, ADDRESS, CUT_CELL, CUT_CELL), END, quoted=st.booleans())


@st.composite
def lists(draw: st.DrawFn) -> tuple[bytes, int]:
    """A list, and the bytes of a block: where one of them ends, there is a row that is easily cut wrong."""
    block_bytes = draw(st.sampled_from([320, 333, 400, 700, 2**20]))
    mark = draw(st.sampled_from([b"", codecs.BOM_UTF8]))
    before = b"".join([mark, b"name,email,note,unused\n", *draw(st.lists(WRITTEN, max_size=20)), b"n,f@example.com,,"])
    before_edge_bytes = draw(st.integers(1, 30))
    filler = b"f" * ((block_bytes - before_edge_bytes - len(before + b"\n")) % min(block_bytes, 1000))
    after = b"".join([draw(WRITTEN_AT_EDGE), *draw(st.lists(WRITTEN, max_size=10)), b"n,end@example.com,,\n"])
    last = draw(st.sampled_from([b"", b"n,last@example.com,,"]))
    return before + filler + b"\n" + after + last, block_bytes


def expectations(content: bytes) -> tuple[dict[int, tuple[str, dict[str, str]]], dict[int, tuple[SkipReason, str]]]:
    """What the list comes to by Python's csv module and email-validator: entries and skipped rows, by row number."""
    # Latin-1 keeps each byte; newline="" leaves line ends inside of fields alone.
    records = [row for row in csv.reader(io.StringIO(content.decode("latin-1"), newline="")) if row]
    entries: dict[int, tuple[str, dict[str, str]]] = {}
    skipped: dict[int, tuple[SkipReason, str]] = {}
    first: dict[str, int] = {}
    for number, record in enumerate(records[1:], start=1):
        if len(record) != len(COLUMNS):
            fields = "1 field" if len(record) == 1 else f"{len(record)} fields"
            skipped[number] = (SkipReason.INVALID, f"has {fields}, the header has 4")
            continue
        cells = dict(zip(COLUMNS, (cell.encode("latin-1") for cell in record), strict=True))
        undecodable = [name for name in ("email", "name", "note") if not decodes(cells[name])]
        if undecodable:
            skipped[number] = (SkipReason.INVALID, f"not valid UTF-8 in column {undecodable[0]!r}")
            continue
        try:
            valid = email_validator.validate_email(
                cells["email"].decode().strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True
            )
        except email_validator.EmailNotValidError as error:
            skipped[number] = (SkipReason.INVALID, str(error) if cells["email"].decode().strip() else "no address")
            continue
        address = f"{valid.original.rpartition('@')[0]}@{valid.ascii_domain}"
        if first.setdefault(address.lower(), number) != number:
            skipped[number] = (SkipReason.DUPLICATE, f"same address as row {first[address.lower()]}")
            continue
        data = {"plan": "free", "name": cells["name"].decode(), "note": cells["note"].decode()}
        entries[number] = (address, data)
    return entries, skipped


def decodes(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


@settings(deadline=None, max_examples=100)
@given(lists())
def test_every_record_is_an_entry_or_skipped_once_with_its_number(list_and_block_bytes: tuple[bytes, int]) -> None:
    content, block_bytes = list_and_block_bytes
    entries, skipped = expectations(content.removeprefix(codecs.BOM_UTF8))
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(csv_list, "BLOCK_BYTES", block_bytes),
        mock.patch.object(csv_list, "HEADER_BYTES", block_bytes),
        mock.patch.object(duplicates, "ROWS_PER_FLUSH", 4),
        mock.patch.object(duplicates, "LIST_BYTES_PER_PARTITION", 100),
        mock.patch.object(snapshot, "MAX_CHUNK_ENTRIES", 7),
    ):
        source = Path(name) / "list.csv"
        source.write_bytes(content)
        taken = take_snapshot(source, MAPPING, campaign_id="c1", folder=Path(name))
        left_out = list(skipped_rows(taken.path))
        found: dict[int, tuple[str, dict[str, str]]] = {}
        with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
            for info in taken.chunks:
                chunk = reader.chunk(info.number)
                assert 0 < len(chunk) == info.entries <= 7
                addresses = reader.addresses(info.number)
                for i, entry in enumerate(
                    json.loads(b"[%b]" % bytes(chunk.entries[chunk.offsets[0] : chunk.offsets[-1] - 1]))
                ):
                    template = entry["ReplacementEmailContent"]["ReplacementTemplate"]
                    data = json.loads(template["ReplacementTemplateData"])
                    assert entry["Destination"] == {"ToAddresses": [addresses[i]]}
                    assert entry["ReplacementTags"][1] == {"Name": "bulksend-row", "Value": str(chunk.rows[i])}
                    assert chunk.rows[i] not in found
                    found[chunk.rows[i]] = (addresses[i], data)
    assert found == entries
    assert {row.row: (row.reason, row.detail) for row in left_out} == skipped
    assert [row.row for row in left_out] == sorted(skipped)
    assert taken.rows == len(entries) + len(skipped) == taken.entries + sum(taken.skipped.values())


PLAN = """
import os, re, sys
from pathlib import Path
from bulksend.recipients import Mapping, take_snapshot
mapping = Mapping("email", None, {}, {"t": "{plan}"}, dedupe=True)
taken = take_snapshot(Path(sys.argv[1]), mapping, campaign_id=sys.argv[2], folder=Path(sys.argv[3]),
                      on_progress=lambda rows: print(rows, flush=True))
# Not ru_maxrss: that begins with what the process had that started this one.
peak_kb = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(taken.rows, taken.entries, int(peak_kb) // 1024)
"""


def test_memory_is_bounded(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    write_list(source, 200_000)
    with source.open("ab") as out:  # and as many duplicates, ragged rows and bad addresses
        out.write(source.read_bytes().partition(b"\n")[2] + b"x,y\n" * 100_000 + b"no address,,,,\n" * 100_000)
    command = [sys.executable, "-c", PLAN, str(source), "c1", str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows, entries, peak_mb = map(int, output.splitlines()[-1].split())
    assert (rows, entries) == (600_000, 200_000)
    assert peak_mb <= 250


def test_a_killed_plan_is_cleared_away_by_the_next_one_but_a_living_one_is_not(tmp_path: Path) -> None:
    source, folder = tmp_path / "list.csv", tmp_path / "snapshots"
    write_list(source, 20_000)
    # Each stops of itself, once, when it has read something.
    stopping = PLAN.replace("print(rows, flush=True)", "stops and os.kill(os.getpid(), stops.pop())")
    stops = f"stops = [{signal.SIGSTOP:d}]; {stopping}"
    with (
        Forked(str(source), "killed", str(folder), program=stops) as killed,
        Forked(str(source), "alive", str(folder), program=stops) as alive,
    ):
        for process in (killed, alive):
            until(lambda process=process: stat_of(process.pid) == "T", "it has stopped")  # type: ignore[misc]
        killed.kill()
        killed.wait()
        assert sorted(path.name for path in folder.iterdir()) == [".alive.planning", ".killed.planning"]
        take_snapshot(source, MAPPING_OF_GENERATED, campaign_id="next", folder=folder)
        assert sorted(path.name for path in folder.iterdir()) == [
            ".alive.planning",
            "next.parquet",
            "next.skipped.parquet",
        ]
        alive.send_signal(signal.SIGCONT)
    assert alive.returncode == 0
    assert {path.name for path in folder.iterdir()} == {
        f"{name}{suffix}" for name in ("alive", "next") for suffix in (".parquet", ".skipped.parquet")
    }


MAPPING_OF_GENERATED = Mapping("email", ("city",), {}, {}, dedupe=False)


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    write_list(source, 50_000)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));{PLAN}"
    _, error = Forked(str(source), "c1", str(tmp_path / "snapshots"), program=limit).communicate(timeout=60)
    assert "SnapshotError" in error
    assert "cannot be written" in error
    assert list((tmp_path / "snapshots").iterdir()) == []
