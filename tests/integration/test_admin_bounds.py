"""What a rude client can do to the HTTP faces: little, and not for long."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import uvloop

from bulksend.admin import Face, Limits
from tests.office_in_memory import OfficeInMemory, Running, face_in_thread, public_face_in_thread, say

Loop = Callable[[], asyncio.AbstractEventLoop]
HEAD = b"Host: localhost\r\n"
POST = b"POST /campaigns HTTP/1.1\r\n" + HEAD + b"Content-Type: application/json\r\n"
SHORT = Limits(connections=4, body_bytes=1000, idle_s=0.3, body_s=0.3, lingering_s=0.2, stalled_s=0.3, closing_s=0.2)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    made: Loop = request.param
    return made


@pytest.fixture
def office() -> OfficeInMemory:
    return OfficeInMemory()


@pytest.fixture
def face(office: OfficeInMemory, loop: Loop) -> Iterator[Running]:
    with face_in_thread(office, limits=SHORT, loop=loop) as running:
        yield running
        assert running.ask("GET", "/healthz").status == 200, "it does not serve any more"
        assert running.faults == []


def drip(wire: socket.socket, data: bytes) -> int:
    """Send a byte whenever nothing has been heard for a moment; returns how many went until it was cut off."""
    wire.settimeout(0.02)
    for sent, byte in enumerate(data):
        try:
            wire.sendall(bytes([byte]))
            if not wire.recv(1):
                return sent
        except TimeoutError:
            pass
        except ConnectionError:
            return sent
    return len(data)


def test_who_says_nothing_is_cut_off(face: Running) -> None:
    with face.connect() as wire:
        assert say(wire) == b""


def test_who_sends_a_head_byte_by_byte_is_cut_off(face: Running) -> None:
    head = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"X: " + b"x" * 1000
    with face.connect() as wire:
        assert drip(wire, head) < len(head)


def test_the_second_head_may_not_take_longer_than_the_first(face: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n"
    with face.connect() as wire:
        wire.sendall(request)
        assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
        wire.sendall(request)
        assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
        head = b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1000
        assert drip(wire, head) < len(head)


def test_a_body_that_does_not_come_is_told_and_cut_off(face: Running, office: OfficeInMemory) -> None:
    for length in (b"Content-Length: 900\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
        heard = face.raw(POST + length)
        assert heard.startswith(b"HTTP/1.1 408 ")
        assert b"Connection: close" in heard
    body = b"Content-Length: 900\r\n\r\n" + b" " * 900
    with face.connect() as wire:
        wire.sendall(POST)
        assert drip(wire, body) < len(body)
    assert office.calls == []


def test_a_body_nobody_asked_for_holds_no_connection(face: Running) -> None:
    heard = face.raw(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"Content-Length: 900\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 200 ")


def test_too_large_a_body_is_refused_by_its_length_or_when_it_gets_there(face: Running, office: OfficeInMemory) -> None:
    assert face.ask("POST", "/campaigns", b" " * 1001).status == 413
    assert face.raw(POST + b"Content-Length: 100000000000\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b" " * 512 + b"\r\n200\r\n" + b" " * 512 + b"\r\n"
    assert face.raw(POST + chunks).startswith(b"HTTP/1.1 413 ")
    assert office.calls == []
    assert face.ask("POST", "/campaigns", b" " * 990 + b"{}").status == 422


def test_a_client_that_waits_for_a_go_ahead_gets_it(face: Running) -> None:
    with face.connect() as wire:
        wire.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
        assert wire.recv(65536).startswith(b"HTTP/1.1 100 ")
        assert say(wire, b"{}").startswith(b"HTTP/1.1 422 ")
    heard = face.raw(POST + b"Expect: 100-continue\r\nContent-Length: 2000\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % i for i in range(20_000)) + b"\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://example.com/healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.0\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n0\r\n\r\n",
        POST + b"Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost\r\n\r\nhello",
    ],
)
def test_what_is_malformed_gets_a_4xx_or_nothing(
    face: Running, office: OfficeInMemory, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with caplog.at_level(logging.DEBUG):
        heard = face.raw(data)
    assert not heard or heard.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    if heard:
        assert b"Cache-Control: no-store" in heard
        assert b'"what_to_do"' in heard
        assert b"xxxx" not in heard
    assert office.calls == []
    assert [record for record in caplog.records if record.name.startswith("aiohttp")] == []


def test_an_upgrade_that_nobody_offers_is_a_request_like_any_other(face: Running) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    heard = face.raw(b"GET /healthz HTTP/1.1\r\n" + HEAD + upgrade + b"\x81\x85garbage" * 10)
    assert heard.startswith(b"HTTP/1.1 200 ")


def test_requests_one_behind_the_other_are_all_answered(face: Running) -> None:
    request = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n"
    last = b"GET /healthz HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n"
    assert face.raw(request * 99 + last).count(b"HTTP/1.1 200 ") == 100


def test_more_connections_than_there_are_places_are_turned_away(face: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(SHORT.connections):
            wire = stack.enter_context(face.connect())
            wire.sendall(b"GET /healthz HTTP/1.1\r\n" + HEAD + b"\r\n")
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
        with face.connect() as wire:
            heard = say(wire)
        assert heard.startswith(b"HTTP/1.1 503 ")
        assert b"Too many connections" in heard
    while face.ask("GET", "/healthz").status == 503:
        pass  # they have gone, but it may not have heard


def test_leaving_does_not_make_room_before_the_work_has_ended(loop: Loop) -> None:
    office = OfficeInMemory(stuck={"campaigns"})
    with face_in_thread(office, limits=SHORT, loop=loop) as face:
        for _ in range(SHORT.connections):
            with face.connect() as wire:
                wire.sendall(b"GET /campaigns HTTP/1.1\r\n" + HEAD + b"\r\n")
                assert office.begun.wait(10)
                office.begun.clear()
        with face.connect() as wire:
            assert say(wire).startswith(b"HTTP/1.1 503 ")


def unread(face: Running, path: bytes) -> socket.socket:
    """A client that asks, and has hardly any room for the answer."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.settimeout(20)
    wire.connect(("127.0.0.1", face.port))
    wire.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HEAD + b"\r\n")
    return wire


def test_who_does_not_read_results_holds_no_memory_and_is_cut_off(face: Running, office: OfficeInMemory) -> None:
    office.endless = b"x" * 65536
    with unread(face, b"/campaigns/launch/results"):
        assert office.closed.wait(20)
    assert office.given_bytes < 32 * 1024 * 1024  # what the system's buffers take


def test_who_leaves_amid_results_ends_them(face: Running, office: OfficeInMemory) -> None:
    office.endless = b"x" * 65536
    with unread(face, b"/campaigns/launch/results") as wire:
        assert wire.recv(100)
    assert office.closed.wait(20)


def test_who_does_not_read_a_large_answer_is_cut_off(face: Running, office: OfficeInMemory) -> None:
    office.metrics_text = b"x" * 64 * 1024 * 1024
    wires = [unread(face, b"/metrics") for _ in range(SHORT.connections)]
    office.metrics_text = b""
    while face.ask("GET", "/healthz").status == 503:
        pass
    for wire in wires:
        with wire:
            assert len(say(wire)) < 64 * 1024 * 1024


def test_strangers_are_bounded_as_well() -> None:
    with public_face_in_thread(SHORT) as face:
        with face.connect() as wire:
            assert say(wire) == b""
        assert b" 400 " in face.raw(b"nonsense\r\n\r\n")
        heard = face.raw(POST + b"Content-Length: 100000000\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 404 ")
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(face.connect()) for _ in range(SHORT.connections)]
            for wire in wires:
                wire.sendall(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
                assert wire.recv(65536).startswith(b"HTTP/1.1 404 ")
            with face.connect() as wire:
                assert say(wire).startswith(b"HTTP/1.1 503 ")


def closing(office: OfficeInMemory, loop: Loop, then: Callable[[OfficeInMemory], None]) -> Any:
    """Ask for the campaigns, close the face once that is at work, `then` do something; what came of the request."""

    async def go() -> Any:
        async with aiohttp.ClientSession() as session:
            async with Face(
                office, "127.0.0.1", 0, token=None, report_fault=lambda *_: None, limits=Limits(closing_s=0.3)
            ) as face:
                async with asyncio.timeout(20):
                    idle = await session.get(f"{face.url}/healthz")
                    await idle.read()
                    asked = asyncio.create_task(session.get(f"{face.url}/campaigns"))
                    while not office.begun.is_set():  # noqa: ASYNC110  it is for other threads as well
                        await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(then, office)
                url = face.url
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{url}/healthz")
            try:
                return (await asked).status
            except aiohttp.ClientError as error:
                return error

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(go())


class Slow(OfficeInMemory):
    """Answers when it is let."""

    async def _called(self, name: str, *arguments: object) -> None:
        del name, arguments
        self.let = asyncio.Event()
        self.begun.set()
        await self.let.wait()


def test_a_request_that_is_at_work_when_it_closes_is_answered(loop: Loop) -> None:
    def let(office: OfficeInMemory) -> None:
        assert isinstance(office, Slow)
        office.let.set()

    assert closing(Slow(), loop, let) == 200


def test_but_closing_does_not_wait_for_ever(loop: Loop) -> None:
    assert isinstance(closing(Slow(), loop, lambda _: None), aiohttp.ClientError)
