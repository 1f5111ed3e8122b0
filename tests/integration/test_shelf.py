"""Where snapshots are kept: what a folder and S3 have in common, against an S3 that others wrote; and S3's bad days."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pyarrow import fs

from bulksend.errors import BulksendError, ConfigError, SnapshotError
from bulksend.recipients import Mapping, SnapshotReader, skipped_rows, take_snapshot
from bulksend.recipients.scratch import scratch_folder
from bulksend.recipients.shelf import FolderShelf, S3Shelf, Shelf, ShelfUnreachableError, open_shelf
from tests.forked import Forked
from tests.http_server import Guest, Server, certificates, serving
from tests.independent import Ministack

ID = "abcdefghjkmnpqrstvwxyz0123"
SNAPSHOT, SKIPPED = f"{ID}.parquet", f"{ID}.skipped.parquet"
REWRITTEN = f"{ID}.1.parquet"
S3_URL = "s3://shelf-of-tests/fleet/snapshots"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = "AKIAIOSFODNN7EXAMPLE"
LARGE_BYTES = 17 * 1024 * 1024 + 3
"""More than a part of an upload, and more than is read at once."""


@dataclass
class Kept:
    """One shelf as several machines have it."""

    machine: Callable[[str], Shelf]
    strew: Callable[[str], None]
    """Put a stranger's file where the snapshots are."""


@pytest.fixture
def folder_shelf(tmp_path: Path) -> Kept:
    shared = tmp_path / "shared" / "snapshots"

    def strew(name: str) -> None:
        shared.mkdir(parents=True, exist_ok=True)
        (shared / name).write_bytes(b"a stranger's")

    return Kept(lambda name: open_shelf(str(shared), cache=tmp_path / name, s3_endpoint_url=None), strew)


@pytest.fixture
def s3_shelf(ministack: Ministack, tmp_path: Path) -> Kept:
    host = ministack.endpoint_url.removeprefix("http://")
    store = fs.S3FileSystem(endpoint_override=host, scheme="http", allow_bucket_creation=True)
    store.create_dir("shelf-of-tests")

    def strew(name: str) -> None:
        with store.open_output_stream(f"shelf-of-tests/fleet/snapshots/{name}") as out:
            out.write(b"a stranger's")

    return Kept(
        lambda name: open_shelf(S3_URL, cache=tmp_path / name / "cache", s3_endpoint_url=ministack.endpoint_url), strew
    )


@pytest.fixture(params=["folder_shelf", "s3_shelf"])
def kept(request: pytest.FixtureRequest) -> Kept:
    found: Kept = request.getfixturevalue(request.param)
    return found


def made(shelf: Shelf, content: bytes = b"snapshot", skipped: bytes = b"skipped", name: str = SNAPSHOT) -> Path:
    path = shelf.workshop / name
    path.with_suffix(".skipped.parquet").write_bytes(skipped)
    path.write_bytes(content)
    return path


def put(shelf: Shelf, content: bytes = b"snapshot", skipped: bytes = b"skipped", name: str = SNAPSHOT) -> None:
    shelf.put(made(shelf, content, skipped, name))


def test_what_one_machine_puts_another_fetches(kept: Kept) -> None:
    here, there = kept.machine("here"), kept.machine("there")
    assert here.names() == set()
    assert not here.exists(SNAPSHOT)
    content = os.urandom(LARGE_BYTES)
    put(here, content)
    for shelf in (here, there):
        assert shelf.exists(SNAPSHOT)
        assert shelf.exists(SKIPPED)
        assert not shelf.exists(REWRITTEN)
        path = shelf.fetch(SNAPSHOT, size_bytes=LARGE_BYTES)
        assert path.name == SNAPSHOT
        assert path.read_bytes() == content
        assert path.with_suffix(".skipped.parquet").read_bytes() == b"skipped"


def test_a_plan_is_read_elsewhere(kept: Kept, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("email,x\na@example.com,1\nno address,2\n", encoding="utf-8")
    here, there = kept.machine("here"), kept.machine("there")
    mapping = Mapping("email", None, {}, {}, dedupe=True)
    taken = take_snapshot(listed, mapping, campaign_id=ID, folder=here.workshop)
    here.put(taken.path)
    path = there.fetch(SNAPSHOT, size_bytes=taken.size_bytes)
    with SnapshotReader(path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        assert reader.addresses(0) == ["a@example.com"]
    assert [row.row for row in skipped_rows(path)] == [2]
    assert there.names() == {SNAPSHOT, SKIPPED}


def test_names_are_those_of_snapshots(kept: Kept) -> None:
    for name in ("notes.txt", "list.parquet", f".{SNAPSHOT}.part", f"x{SNAPSHOT}"):
        kept.strew(name)
    shelf = kept.machine("here")
    assert shelf.names() == set()
    put(shelf)
    put(shelf, name=REWRITTEN)
    assert kept.machine("there").names() == {SNAPSHOT, SKIPPED, REWRITTEN, f"{ID}.1.skipped.parquet"}


def test_removed_is_removed(kept: Kept) -> None:
    here, there = kept.machine("here"), kept.machine("there")
    put(here)
    path = there.fetch(SNAPSHOT, size_bytes=8)
    there.remove(SNAPSHOT)
    assert there.names() == here.names() == {SKIPPED}
    assert not path.exists()
    with pytest.raises(SnapshotError, match="there is no .*" + SNAPSHOT):
        there.fetch(SNAPSHOT, size_bytes=8)
    for _ in range(2):
        there.remove(SNAPSHOT)
        there.remove(SKIPPED)
    assert here.names() == set()
    assert not path.with_suffix(".skipped.parquet").exists()


def test_a_snapshot_of_another_size_is_not_given_out(kept: Kept) -> None:
    put(kept.machine("here"))
    there = kept.machine("there")
    with pytest.raises(SnapshotError, match=rf"{SNAPSHOT} has 8 bytes; it had 9") as caught:
        there.fetch(SNAPSHOT, size_bytes=9)
    assert not isinstance(caught.value, ShelfUnreachableError)
    assert there.fetch(SNAPSHOT, size_bytes=8).read_bytes() == b"snapshot"


def test_a_snapshot_without_skipped_rows_beside_it(kept: Kept) -> None:
    put(kept.machine("here"))
    there = kept.machine("there")
    there.remove(SKIPPED)
    assert not there.fetch(SNAPSHOT, size_bytes=8).with_suffix(".skipped.parquet").exists()


@pytest.mark.parametrize("name", ["../" + SNAPSHOT, "/etc/passwd", "", "journal.db", ".", SNAPSHOT + "\n"])
def test_other_names_are_refused(kept: Kept, name: str) -> None:
    shelf = kept.machine("here")
    for use in (lambda: shelf.fetch(name, size_bytes=1), lambda: shelf.exists(name), lambda: shelf.remove(name)):
        with pytest.raises(SnapshotError, match="is not the name of a snapshot"):
            use()


def test_what_killed_plans_left(kept: Kept) -> None:
    shelf = kept.machine("here")
    assert shelf.scratch() == []
    with scratch_folder(shelf.workshop, "living"):
        left = shelf.workshop / ".killed.planning"
        left.mkdir()
        (shelf.workshop / "other").mkdir()
        assert shelf.scratch() == [left]


def test_what_is_open_for_reading_alone_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS refuses such a lock (man 2 flock), and no folder can be open for anything else."""
    real = fcntl.flock

    def strict(file: int | IO[bytes], how: int) -> None:
        if how & fcntl.LOCK_EX and fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", strict)
    shelf = FolderShelf(tmp_path / "shared")
    left = shelf.workshop / ".killed.planning"
    left.mkdir()
    assert shelf.scratch() == [left]
    with scratch_folder(shelf.workshop, "living") as living:
        assert not left.exists()
        assert shelf.scratch() == []
        (living / "rows.arrow").touch()
    assert list(shelf.workshop.iterdir()) == []


def test_modes(kept: Kept) -> None:
    here, there = kept.machine("here"), kept.machine("there")
    old = os.umask(0)
    try:
        workshop = here.workshop
        if isinstance(here, S3Shelf):
            put(here)
            path = there.fetch(SNAPSHOT, size_bytes=8)
            for file in (path, path.with_suffix(".skipped.parquet")):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(old)
    assert stat.S_IMODE(workshop.stat().st_mode) == 0o700


def test_tidying_leaves_the_shelf_alone(kept: Kept) -> None:
    here, there = kept.machine("here"), kept.machine("there")
    put(here)
    put(here, name=REWRITTEN)
    for name in (SNAPSHOT, REWRITTEN):
        there.fetch(name, size_bytes=8)
    before = here.names()
    there.tidy(lambda: {REWRITTEN})
    assert here.names() == before
    if isinstance(there, S3Shelf):
        assert there.cache.names() == {REWRITTEN, f"{ID}.1.skipped.parquet"}
    assert there.fetch(SNAPSHOT, size_bytes=8).read_bytes() == b"snapshot"


def test_what_is_fetched_during_tidying_stays(s3_shelf: Kept) -> None:
    here, there = s3_shelf.machine("here"), s3_shelf.machine("there")
    put(here)

    def in_use() -> set[str]:
        there.fetch(SNAPSHOT, size_bytes=8)
        return set()

    there.tidy(in_use)
    assert isinstance(there, S3Shelf)
    assert there.cache.names() == {SNAPSHOT, SKIPPED}


def test_what_is_cached_is_not_asked_for(s3_shelf: Kept) -> None:
    here = s3_shelf.machine("here")
    put(here)
    cache = here.workshop
    offline = open_shelf(S3_URL, cache=cache, s3_endpoint_url="http://127.0.0.1:1")
    (cache / SKIPPED).unlink()
    assert offline.fetch(SNAPSHOT, size_bytes=8) == cache / SNAPSHOT
    (cache / SNAPSHOT).write_bytes(b"snap")
    assert here.fetch(SNAPSHOT, size_bytes=8).read_bytes() == b"snapshot"


@pytest.mark.parametrize("where", ["", "s3://", "s3:///x", "gs://bucket/x", "https://example.com/x", "s3://b//x"])
def test_places_that_are_none(where: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        open_shelf(where, cache=tmp_path, s3_endpoint_url=None)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shelf = open_shelf(str(tmp_path / "file"), cache=tmp_path, s3_endpoint_url=None)
    assert isinstance(shelf, FolderShelf)
    for use in (
        lambda: shelf.workshop,
        lambda: shelf.fetch(SNAPSHOT, size_bytes=1),
        lambda: shelf.exists(SNAPSHOT),
        shelf.names,
        lambda: shelf.remove(SNAPSHOT),
    ):
        with pytest.raises(SnapshotError, match="file"):
            use()


def there(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def each_way(shelf: Shelf, local: Path) -> Iterator[BulksendError]:
    """What each method says that asks S3."""
    for use in (
        lambda: shelf.put(local),
        lambda: shelf.fetch(REWRITTEN, size_bytes=8),
        lambda: shelf.exists(SNAPSHOT),
        shelf.names,
        lambda: shelf.remove(REWRITTEN),
    ):
        with pytest.raises(SnapshotError) as caught:
            use()
        assert KEY not in caught.value.message + caught.value.hint
        assert SECRET not in caught.value.message + caught.value.hint
        yield caught.value


def test_a_whole_bucket(s3_shelf: Kept, ministack: Ministack, tmp_path: Path) -> None:
    s3_shelf.strew("below.parquet")
    shelf = open_shelf("s3://shelf-of-tests/", cache=tmp_path, s3_endpoint_url=ministack.endpoint_url)
    put(shelf)
    assert shelf.names() == {SNAPSHOT, SKIPPED}
    for name in shelf.names():
        shelf.remove(name)
    assert shelf.names() == s3_shelf.machine("here").names() == set()


def test_no_such_bucket(ministack: Ministack, tmp_path: Path) -> None:
    shelf = open_shelf("s3://no-such-bucket/x", cache=tmp_path, s3_endpoint_url=ministack.endpoint_url)
    local = made(shelf)
    with pytest.raises(SnapshotError, match="no bucket no-such-bucket"):
        shelf.fetch(REWRITTEN, size_bytes=8)
    with pytest.raises(SnapshotError, match="no bucket no-such-bucket"):
        shelf.exists(SNAPSHOT)
    for use in (lambda: shelf.put(local), shelf.names):
        with pytest.raises(SnapshotError, match=r"s3://no-such-bucket/x.*bucket does not exist") as caught:
            use()
        assert "bucket is there" in caught.value.hint


def test_refused_credentials(tmp_path: Path) -> None:
    with Ministack(auth=True) as server:
        shelf = open_shelf(S3_URL, cache=tmp_path, s3_endpoint_url=server.endpoint_url)
        for error in each_way(shelf, made(shelf)):
            assert not isinstance(error, ShelfUnreachableError)
            assert S3_URL in error.message
            assert "credentials" in error.hint


def test_nobody_there(tmp_path: Path) -> None:
    shelf = open_shelf(S3_URL, cache=tmp_path, s3_endpoint_url="http://127.0.0.1:1")
    with pytest.raises(ShelfUnreachableError, match=f"{S3_URL}/{SKIPPED}.*NETWORK_CONNECTION"):
        shelf.fetch(SNAPSHOT, size_bytes=8)
    assert there(tmp_path) == set()


def test_what_was_never_made_is_not_put(s3_shelf: Kept) -> None:
    shelf = s3_shelf.machine("here")
    with pytest.raises(SnapshotError, match=f"there is no .*here/cache/{SKIPPED}"):
        shelf.put(shelf.workshop / SNAPSHOT)
    assert shelf.names() == set()


@dataclass
class Trouble:
    """An S3 of one bucket that a test can interfere with. Of what is uploaded it remembers the size alone."""

    files: dict[str, bytes] = field(default_factory=dict)
    cut_bytes: int = 0
    """So much of every download is missing; the connection closes instead."""
    lost_bytes: int = 0
    """So much of every upload is lost."""
    refused_part: int = 0
    busy: bool = False
    """No upload can be begun."""
    expired: bool = False
    asked: list[str] = field(default_factory=list)
    """The method and file name of each request."""
    at: Callable[[str], asyncio.Event | None] = lambda _: None
    """What a request has to wait for, if anything."""
    parts: dict[int, int] = field(default_factory=dict)

    async def attend(self, guest: Guest) -> None:
        while True:
            head = (await guest.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.splitlines()
            method, target, _ = first.split()
            headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
            if "expect" in headers:
                await guest.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if headers.get("transfer-encoding") == "chunked":
                while length := int((await guest.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    await guest.reader.readexactly(length + 2)
                await guest.reader.readexactly(2)
            await guest.reader.readexactly(int(headers.get("content-length", 0)))
            url = urlsplit(target)
            name = unquote(url.path).rpartition("/")[2]
            self.asked.append(f"{method} {name}")
            event = self.at(self.asked[-1])
            if event is not None:
                await event.wait()
            size_bytes = int(headers.get("x-amz-decoded-content-length", headers.get("content-length", 0)))
            await self._answer(guest, method, name, parse_qs(url.query, keep_blank_values=True), headers, size_bytes)

    async def _answer(  # noqa: PLR0917  the parts of a request
        self,
        guest: Guest,
        method: str,
        name: str,
        query: dict[str, list[str]],
        headers: dict[str, str],
        size_bytes: int,
    ) -> None:
        if self.expired:
            await self._say(guest, "400 Bad Request", "", "Content-Length: 0")
        elif self.busy and method == "POST":
            await self._say(guest, "503 Slow Down", "<Error><Code>SlowDown</Code><Message>Slower.</Message></Error>")
        elif method == "POST" and "uploads" in query:
            self.parts.clear()
            await self._say(guest, "200 OK", tree("InitiateMultipartUploadResult", UploadId="u"))
        elif method == "PUT" and not name:
            await self._say(guest, "200 OK", "")  # the folder
        elif method == "PUT" and int(query["partNumber"][0]) == self.refused_part:
            await self._say(guest, "400 No", "<Error><Code>EntityTooLarge</Code><Message>No.</Message></Error>")
        elif method == "PUT":
            self.parts[int(query["partNumber"][0])] = size_bytes
            await self._say(guest, "200 OK", "", 'ETag: "e"')
        elif method == "POST":
            self.files[name] = bytes(sum(self.parts.values()) - self.lost_bytes)
            await self._say(guest, "200 OK", tree("CompleteMultipartUploadResult", ETag="e"))
        elif "list-type" in query:
            await self._say(guest, "200 OK", tree("ListBucketResult", KeyCount="0", IsTruncated="false"))
        elif method == "DELETE":
            self.files.pop(name, None)
            await self._say(guest, "204 No Content", "")
        elif name in {"bucket", "p"}:
            await self._say(guest, "200 OK", "")
        elif name not in self.files:
            await self._say(guest, "404 Not Found", "", "Content-Length: 0")
        elif method == "HEAD":
            await self._say(guest, "200 OK", None, f"Content-Length: {len(self.files[name])}")
        else:
            first, _, last = headers["range"].removeprefix("bytes=").partition("-")
            body = self.files[name][int(first) : int(last) + 1]
            size = f"Content-Length: {len(body)}\r\nContent-Range: bytes {first}-{last}/{len(self.files[name])}"
            await self._say(guest, "206 Partial Content", None, size)
            await guest.flow(body[: len(body) - self.cut_bytes])
            if self.cut_bytes:
                guest.close()

    async def _say(self, guest: Guest, status: str, body: str | None, header: str = "X-Of: tests") -> None:
        length = "" if body is None or "Content-Length" in header else f"Content-Length: {len(body)}\r\n"
        await guest.write(f"HTTP/1.1 {status}\r\n{header}\r\n{length}\r\n{body or ''}".encode())

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Server]:
        async with serving(self.attend) as server:
            yield server
        assert server.failures == []


def tree(kind: str, **fields: str) -> str:
    root = ET.Element(kind)
    for name, text in fields.items():
        ET.SubElement(root, name).text = text
    return ET.tostring(root, encoding="unicode")


PROGRAM = """
import resource, sys
from pathlib import Path
from bulksend.errors import SnapshotError
from bulksend.recipients.shelf import open_shelf
url, cache, endpoint, name, size, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    print(open_shelf(url, cache=Path(cache), s3_endpoint_url=endpoint).fetch(name, size_bytes=int(size)))
except SnapshotError as error:
    print(type(error).__name__, error.message, error.hint)
"""


def fetching(server: Server, cache: Path, size_bytes: int, limit_bytes: int = 0) -> Forked:
    """Another process that fetches the snapshot."""
    arguments = ["s3://bucket/p", str(cache), server.url, SNAPSHOT, str(size_bytes), str(limit_bytes)]
    return Forked(*arguments, program=PROGRAM)


def shelf_at(server: Server, cache: Path) -> S3Shelf:
    found = open_shelf("s3://bucket/p", cache=cache, s3_endpoint_url=server.url)
    assert isinstance(found, S3Shelf)
    return found


def test_processes_of_one_machine_download_once(tmp_path: Path) -> None:
    content = os.urandom(100_000)

    async def scene() -> None:
        all_there = asyncio.Event()
        s3 = Trouble({SNAPSHOT: content, SKIPPED: b"skipped"})

        def at(request: str) -> asyncio.Event | None:
            # Each asks for the size of the skipped rows before it downloads anything.
            if s3.asked.count(f"HEAD {SKIPPED}") >= 3:
                all_there.set()
            return all_there if request == f"GET {SKIPPED}" else None

        s3.at = at
        async with s3.open() as server:
            processes = [fetching(server, tmp_path, len(content)) for _ in range(3)]
            for said, _ in await asyncio.gather(*(asyncio.to_thread(one.communicate) for one in processes)):
                assert said.strip() == str(tmp_path / SNAPSHOT)
        assert s3.asked.count(f"GET {SNAPSHOT}") == s3.asked.count(f"GET {SKIPPED}") == 1

    asyncio.run(scene())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {SNAPSHOT: content, SKIPPED: b"skipped"}


def test_a_download_that_is_cut_short_leaves_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        s3 = Trouble({SNAPSHOT: bytes(1000)}, cut_bytes=1)
        async with s3.open() as server:
            shelf = shelf_at(server, tmp_path)
            with pytest.raises(ShelfUnreachableError, match=f"s3://bucket/p/{SNAPSHOT}"):
                await asyncio.to_thread(shelf.fetch, SNAPSHOT, size_bytes=1000)
            assert there(tmp_path) == set()
            s3.cut_bytes = 0
            path = await asyncio.to_thread(shelf.fetch, SNAPSHOT, size_bytes=1000)
            assert path.read_bytes() == bytes(1000)

    asyncio.run(scene())


def test_a_download_that_is_killed(tmp_path: Path) -> None:
    async def scene() -> None:
        reached, never = asyncio.Event(), asyncio.Event()

        def at(request: str) -> asyncio.Event | None:
            if request == f"GET {SNAPSHOT}" and not reached.is_set():
                reached.set()
                return never
            return None

        s3 = Trouble({SNAPSHOT: bytes(1000)}, at=at)
        async with s3.open() as server:
            process = fetching(server, tmp_path, 1000)
            await reached.wait()
            shelf = shelf_at(server, tmp_path)
            part = tmp_path / f".{SNAPSHOT}.part"
            shelf.tidy(set)
            assert there(tmp_path) == {part.name}, "it is being written"
            assert stat.S_IMODE(part.stat().st_mode) == 0o600
            process.kill()
            await asyncio.to_thread(process.communicate)
            assert there(tmp_path) == {part.name}
            part.write_bytes(bytes(2000))
            path = await asyncio.to_thread(shelf.fetch, SNAPSHOT, size_bytes=1000)
            assert there(tmp_path) == {path.name}
            assert path.read_bytes() == bytes(1000)
            part.touch()
            shelf.tidy(lambda: {SNAPSHOT})
            assert there(tmp_path) == {path.name}

    asyncio.run(scene())


def test_no_room_in_the_cache(tmp_path: Path) -> None:
    async def scene() -> str:
        async with Trouble({SNAPSHOT: bytes(100_000)}).open() as server:
            process = fetching(server, tmp_path, 100_000, limit_bytes=50_000)
            said, _ = await asyncio.to_thread(process.communicate)
            return said

    said = asyncio.run(scene())
    assert said.startswith(f"SnapshotError The snapshot of the list is missing or damaged: {tmp_path / SNAPSHOT}: File")
    assert "free space" in said
    assert there(tmp_path) == set()


@pytest.mark.parametrize("trouble", [Trouble(lost_bytes=1), Trouble(refused_part=2)], ids=["lost", "refused"])
def test_what_did_not_arrive_whole_does_not_stay(trouble: Trouble, tmp_path: Path) -> None:
    async def scene() -> None:
        async with trouble.open() as server:
            shelf = shelf_at(server, tmp_path)
            path = made(shelf, bytes(LARGE_BYTES), b"")
            trouble.files[SKIPPED] = b""
            with pytest.raises(SnapshotError, match=f"s3://bucket/p/{SNAPSHOT}"):
                await asyncio.to_thread(shelf.place.put, path)

    asyncio.run(scene())
    assert SNAPSHOT not in trouble.files


def test_a_failure_does_not_remove_what_was_there(tmp_path: Path) -> None:
    async def scene() -> None:
        s3 = Trouble({SNAPSHOT: bytes(LARGE_BYTES)}, busy=True)
        async with s3.open() as server:
            shelf = shelf_at(server, tmp_path)
            path = made(shelf, bytes(LARGE_BYTES))
            with pytest.raises(ShelfUnreachableError, match="SLOW_DOWN"):
                await asyncio.to_thread(shelf.place.put, path)
        assert SNAPSHOT in s3.files

    asyncio.run(scene())


def test_a_token_that_has_expired(tmp_path: Path) -> None:
    async def scene() -> None:
        async with Trouble(expired=True).open() as server:
            with pytest.raises(SnapshotError, match=r"HTTP status 400.* HeadObject") as caught:
                await asyncio.to_thread(shelf_at(server, tmp_path).exists, SNAPSHOT)
            assert "credentials" in caught.value.hint

    asyncio.run(scene())


def test_a_server_that_cannot_show_who_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        s3 = Trouble({SNAPSHOT: bytes(8), SKIPPED: b""})
        async with serving(s3.attend, tls=certificates().server) as server:
            with pytest.raises(ShelfUnreachableError, match="certificate"):
                await asyncio.to_thread(shelf_at(server, tmp_path).fetch, SNAPSHOT, size_bytes=8)
        assert s3.asked == []

    asyncio.run(scene())
