"""The signed transport's own connections, against servers that do all that HTTP/1.1 and TCP allow, and more."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksend.aws import AwsAccess, pool
from bulksend.aws.connection import MAX_ANSWER_BYTES, Connection
from bulksend.aws.credentials import CredentialSource
from bulksend.aws.signing import Credentials
from bulksend.model import AllAccepted, Answer, Doubtful, NotSent, Refused
from bulksend.ses import SignedTransport
from tests.clocks import NO_DEADLINE_S
from tests.http_server import REGION, Guest, Server, answer_bytes, breathe, certificates, results, serving

PREFIX, SUFFIX = b'{"BulkEmailEntries":[', b"]}"
SHORT_S = 0.15
MARGIN_S = 2.0
"""What a busy machine may take longer."""

Behaviour = Callable[[Guest], Awaitable[None]]
Loop = Callable[[], asyncio.AbstractEventLoop]

everywhere = pytest.mark.parametrize(
    ("loop", "tls"),
    [
        pytest.param(loop, tls, id=f"{name}-{'tls' if tls else 'plain'}")
        for name, loop in (("uvloop", uvloop.new_event_loop), ("asyncio", asyncio.new_event_loop))
        for tls in (False, True)
    ],
)
plainly = pytest.mark.parametrize(
    "loop", [pytest.param(uvloop.new_event_loop, id="uvloop"), pytest.param(asyncio.new_event_loop, id="asyncio")]
)


@pytest.fixture(autouse=True)
def _ready_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they come from is another test's matter."""

    async def current(_: CredentialSource) -> Credentials:
        return Credentials("AKIAIOSFODNN7EXAMPLE", "example")

    monkeypatch.setattr(CredentialSource, "current", current)


@asynccontextmanager
async def meeting(
    behave: Behaviour, *, tls: bool = False, timeout_s: float = 5.0
) -> AsyncIterator[tuple[Server, SignedTransport]]:
    """A server that behaves so, and the transport that speaks to it."""
    made = certificates()
    async with serving(behave, tls=made.server if tls else None) as server:
        access = AwsAccess(
            region=REGION, endpoint_url=server.url, connect_timeout_s=timeout_s, answer_timeout_s=timeout_s
        )
        route = server.route(made.trusting() if tls else None)
        async with SignedTransport(access, route, PREFIX, SUFFIX) as transport:
            yield server, transport


def run(main: Coroutine[Any, Any, Any], loop: Loop = uvloop.new_event_loop) -> Any:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


def number_of(body: bytes) -> int:
    number: int = json.loads(body)["BulkEmailEntries"][0]
    return number


def answer_to(number: int, **more: Any) -> bytes:
    return answer_bytes(results(f"m{number}"), **more)


def accepted(number: int) -> AllAccepted:
    return AllAccepted([f"m{number}"])


async def politely(guest: Guest) -> None:
    while True:
        visit = await guest.request()
        await guest.write(answer_to(number_of(visit.body)))


# Between two requests -------------------------------------------------------------------------------------------------


@everywhere
def test_a_connection_is_used_again(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        async with meeting(politely, tls=tls) as (server, transport):
            for number in range(5):
                assert await transport.send(b"%d" % number, NO_DEADLINE_S) == accepted(number)
            assert server.connections == 1

    run(main(), loop)


async def then_close(guest: Guest) -> None:
    guest.close()


async def then_reset(guest: Guest) -> None:
    guest.reset()


async def then_close_its_half(guest: Guest) -> None:
    await guest.half_close()
    await guest.gone()


async def then_answer_again(guest: Guest) -> None:
    await guest.write(answer_to(99))
    await guest.gone()


async def then_begin_to_answer_again(guest: Guest) -> None:
    await guest.write(answer_to(99)[:20])
    await guest.gone()


async def then_say_something(guest: Guest) -> None:
    await guest.write(b"\0")
    await guest.gone()


BETWEEN = [
    then_close,
    then_reset,
    then_answer_again,
    then_begin_to_answer_again,
    then_say_something,
]


@everywhere
@pytest.mark.parametrize("then", BETWEEN)
def test_what_happens_while_idle_touches_no_request(
    then: Behaviour,
    loop: Loop,
    tls: bool,  # noqa: FBT001
) -> None:
    idle_between_requests(then, loop, tls=tls)


@plainly
def test_a_half_closed_connection_is_not_asked_again(loop: Loop) -> None:
    """TLS knows no such thing."""
    idle_between_requests(then_close_its_half, loop, tls=False)


def idle_between_requests(then: Behaviour, loop: Loop, *, tls: bool) -> None:
    async def behave(guest: Guest) -> None:
        visit = await guest.request()
        await guest.write(answer_to(number_of(visit.body)))
        await then(guest)

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            for number in range(3):
                assert await transport.send(b"%d" % number, NO_DEADLINE_S) == accepted(number)
                await breathe()
                await breathe()
            assert server.connections == 3
            assert len(server.visits) == 3

    run(main(), loop)


@plainly
@pytest.mark.parametrize("last_words", [b"", answer_to(99), b"\0"])
def test_what_the_kernel_alone_knows_is_seen_in_time(last_words: bytes, loop: Loop) -> None:
    """It comes in the very moment before the next request, when the event loop has not looked yet."""
    ends: list[int] = []

    async def behave(guest: Guest) -> None:
        ends.append(os.dup(guest.socket.fileno()))
        await politely(guest)

    async def main() -> None:
        async with meeting(behave) as (server, transport):
            assert await transport.send(b"0", NO_DEADLINE_S) == accepted(0)
            with socket.socket(fileno=ends.pop()) as end:
                end.sendall(last_words)
                end.shutdown(socket.SHUT_WR)
                assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert (server.connections, len(server.visits)) == (2, 2)
            os.close(ends.pop())

    run(main(), loop)


@everywhere
@pytest.mark.parametrize("more", [answer_to(99), answer_to(99)[:1], answer_to(99)[:30], b"junk", b"\0", b"\r\n\r\n"])
def test_what_follows_an_answer_is_nobodys(
    more: bytes,
    loop: Loop,
    tls: bool,  # noqa: FBT001
) -> None:
    async def behave(guest: Guest) -> None:
        while True:
            visit = await guest.request()
            await guest.write(answer_to(number_of(visit.body)) + more)

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            for number in range(3):
                assert await transport.send(b"%d" % number, NO_DEADLINE_S) == accepted(number)
            assert server.connections == (1 if more.isspace() else 3)

    run(main(), loop)


@plainly
def test_idle_for_too_long(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE_S", 0.05)

    async def main() -> None:
        async with meeting(politely) as (server, transport):
            await asyncio.gather(*(transport.send(b"%d" % number, NO_DEADLINE_S) for number in range(3)))
            assert server.connections == 3
            await asyncio.sleep(0.12)
            assert not transport._pool._idle, "they are closed without anybody asking"
            assert await transport.send(b"9", NO_DEADLINE_S) == accepted(9)
            assert server.connections == 4

    run(main(), loop)


def test_idle_for_too_long_while_the_process_stood_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_IDLE_S", 0.05)

    async def main() -> None:
        async with meeting(politely) as (server, transport):
            assert await transport.send(b"0", NO_DEADLINE_S) == accepted(0)
            time.sleep(0.06)  # noqa: ASYNC251  the whole process, as SIGSTOP would
            assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert server.connections == 2

    run(main(), asyncio.new_event_loop)


@plainly
def test_a_server_that_has_said_goodbye_is_not_asked_again(loop: Loop) -> None:
    """Under TLS that comes before the connection's end, and nothing of it is left in the kernel."""

    async def main() -> None:
        async with meeting(politely, tls=True) as (server, transport):
            assert await transport.send(b"0", NO_DEADLINE_S) == accepted(0)
            transport._pool._idle[-1].eof_received()
            assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert server.connections == 2

    run(main(), loop)


def test_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LIFETIME_S", 0.05)

    async def main() -> None:
        async with meeting(politely) as (server, transport):
            until_s = time.monotonic() + 0.2
            number = 0
            while time.monotonic() < until_s:
                number += 1
                assert await transport.send(b"%d" % number, NO_DEADLINE_S) == accepted(number)
            assert 4 <= server.connections <= 7
            assert not transport._pool._out

    run(main())


def test_the_one_used_last_is_used_first() -> None:
    """So the others grow idle and are closed, and their number follows the need."""

    async def main() -> None:
        async with meeting(politely) as (server, transport):
            await asyncio.gather(*(transport.send(b"%d" % number, NO_DEADLINE_S) for number in range(4)))
            idle = transport._pool._idle
            *others, last = idle
            assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert list(idle) == [*others, last]
            for one in others:
                one.idle_since_s -= pool.MAX_IDLE_S
            transport._pool._sweep()
            assert list(idle) == [last]
            assert server.connections == 4

    run(main())


# Before the request ---------------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("then", [then_close, then_reset])
def test_a_server_that_hangs_up_at_once(then: Behaviour, loop: Loop, tls: bool) -> None:  # noqa: FBT001
    """It may be seen before the request is handed over, or after; soon, in any case."""

    async def main() -> None:
        async with meeting(then, tls=tls, timeout_s=20.0) as (server, transport):
            async with asyncio.timeout(MARGIN_S):
                for number in range(20):
                    answer = await transport.send(b"%d" % number, NO_DEADLINE_S)
                    assert isinstance(answer, NotSent | Doubtful)
            assert server.visits == []

    run(main(), loop)


@plainly
def test_hung_up_between_connecting_and_sending(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that connected is the last to hear of it."""
    connection_made = Connection.connection_made

    def and_lost(self: Connection, transport: asyncio.BaseTransport) -> None:
        connection_made(self, transport)
        assert isinstance(self._transport, object)
        transport.close()

    monkeypatch.setattr(Connection, "connection_made", and_lost)

    async def main() -> Answer:
        async with meeting(politely, timeout_s=20.0) as (_, transport):
            async with asyncio.timeout(MARGIN_S):
                return await transport.send(b"1", NO_DEADLINE_S)

    assert isinstance(run(main(), loop), NotSent)


# The shapes of an answer ----------------------------------------------------------------------------------------------

BODY = results("m1")
WHOLE = {
    "with a length": answer_to(1),
    "100": b"HTTP/1.1 100 Continue\r\n\r\n" + answer_to(1),
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer_to(1),
    "many interim ones": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nA: b\r\n\r\n" * 200 + answer_to(1),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "chunks of a byte each": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
    + b"0\r\n\r\n",
    "chunks with extensions": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'%x;name="va;lue";other\r\n%s\r\n0;last\r\n\r\n' % (len(BODY), BODY),
    "chunks with trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n"
    b"%x\r\n%s\r\n0\r\nA: b\r\nx-late: c\r\n\r\n" % (len(BODY), BODY),
    "HTTP/1.0 that stays": answer_to(1, headers=("Connection: keep-alive",)).replace(b"/1.1", b"/1.0", 1),
    "no reason": answer_to(1).replace(b" Whatever", b"", 1),
    "a reason of many words": answer_to(1).replace(b" Whatever", b" So be it, \xfc", 1),
    "headers of any case": answer_to(1).replace(b"Content-Length", b"cONTENT-lENGTH", 1),
    "spaces around values": answer_to(1).replace(b"Content-Length: ", b"Content-Length: \t ", 1),
    "a fraction of a megabyte of headers": answer_to(1, headers=tuple(f"A{n}: {'x' * 500}" for n in range(100))),
}
ENDS_WITH_CLOSE = {
    "closing": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "closing and saying so": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "interim, then closing": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + BODY,
}
LAST = {
    "with a length, and closing": answer_to(1, headers=("Connection: close",)),
    "HTTP/1.0 with a length": answer_to(1).replace(b"/1.1", b"/1.0", 1),
    "chunked, and closing": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
}
UNREADABLE = {
    "101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + answer_to(1),
    "101 to nothing": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + answer_to(1),
    "two lengths": answer_to(1, headers=("Content-Length: 1",)),
    "a length and chunks": answer_to(1, headers=("Transfer-Encoding: chunked",)),
    "a length below nothing": answer_to(1).replace(b"Length: ", b"Length: -", 1),
    "a length beyond all": answer_to(1).replace(b"Length: ", b"Length: " + b"9" * 30, 1),
    "a chunk beyond all": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
    "a status that is none": answer_to(1).replace(b" 200 ", b" 2x0 ", 1),
    "more headers than anybody reads": answer_to(1, headers=tuple(f"A{n}: x" for n in range(1001))),
    "HTTP/2": answer_to(1).replace(b"HTTP/1.1", b"HTTP/2", 1),
    "HTTP/0.9": BODY,
    "TLS": b"\x15\x03\x03\x00\x02\x02\x28",
}


def after(raw: bytes, *, then_closes: bool) -> Behaviour:
    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(raw)
            if then_closes:
                return

    return behave


@everywhere
@pytest.mark.parametrize("raw", [*WHOLE.values(), *LAST.values()], ids=[*WHOLE, *LAST])
def test_a_whole_answer_in_any_shape(raw: bytes, loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        async with meeting(after(raw, then_closes=False), tls=tls) as (server, transport):
            assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
            assert server.connections == (2 if raw in LAST.values() else 1)

    run(main(), loop)


@everywhere
def test_an_answer_that_ends_with_the_connection(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        for raw in ENDS_WITH_CLOSE.values():
            async with meeting(after(raw, then_closes=True), tls=tls) as (server, transport):
                assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
                assert await transport.send(b"1", NO_DEADLINE_S) == accepted(1)
                assert server.connections == 2

    run(main(), loop)


@everywhere
def test_an_answer_that_nobody_can_read(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def main() -> None:
        for name, raw in UNREADABLE.items():
            async with meeting(after(raw, then_closes=True), tls=tls) as (server, transport):
                assert isinstance(await transport.send(b"1", NO_DEADLINE_S), Doubtful), name
                assert isinstance(await transport.send(b"1", NO_DEADLINE_S), Doubtful), name
                assert server.connections == 2, name

    run(main(), loop)


async def endless_body(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 OK\r\n\r\n")
    return b"x" * 65536


async def endless_chunks(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    return b"1\r\nx\r\n" * 10_000


async def endless_headers(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 OK\r\n")
    return b"".join(b"A%d: x\r\n" % number for number in range(7000))


async def endless_header(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 OK\r\nA: ")
    return b"x" * 65536


async def endless_reason(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 ")
    return b"x" * 65536


async def endless_interims(_: Guest) -> bytes:
    return b"HTTP/1.1 100 Continue\r\n\r\n" * 2500


async def endless_trailers(guest: Guest) -> bytes:
    await guest.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    return b"A: x\r\n" * 10_000


ENDLESS = [
    endless_body,
    endless_chunks,
    endless_headers,
    endless_header,
    endless_reason,
    endless_interims,
    endless_trailers,
]


@pytest.mark.parametrize("begin", ENDLESS)
def test_an_answer_without_end_is_cut_off(begin: Callable[[Guest], Awaitable[bytes]]) -> None:
    written = 0

    async def behave(guest: Guest) -> None:
        nonlocal written
        await guest.request()
        more = await begin(guest)
        while True:
            await guest.flow(more)
            written += len(more)

    async def main() -> None:
        async with meeting(behave, timeout_s=20.0) as (_, transport):
            assert isinstance(await transport.send(b"1", NO_DEADLINE_S), Doubtful)

    run(main())
    assert written < MAX_ANSWER_BYTES + 8 * 1024 * 1024, "no more than that and what the kernel holds"


# The answer, cut anywhere ---------------------------------------------------------------------------------------------


@everywhere
@pytest.mark.parametrize("shape", ["with a length", "chunked", "103", "chunks with trailers"])
def test_an_answer_in_two_parts(shape: str, loop: Loop, tls: bool) -> None:  # noqa: FBT001
    raw = WHOLE[shape]

    async def behave(guest: Guest) -> None:
        while True:
            at = number_of((await guest.request()).body)
            await guest.write(raw[:at])
            await guest.write(raw[at:])

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            for at in range(len(raw) + 1):
                assert await transport.send(b"%d" % at, NO_DEADLINE_S) == accepted(1), at
            assert server.connections == 1

    run(main(), loop)


@everywhere
@pytest.mark.parametrize("shape", ["with a length", "chunked"])
@pytest.mark.parametrize("end", [then_close, then_reset])
def test_an_answer_that_breaks_off(
    end: Behaviour,
    shape: str,
    loop: Loop,
    tls: bool,  # noqa: FBT001
) -> None:
    raw = WHOLE[shape]
    # Where it breaks off is found out by what reads it, which knows nothing of TLS; a handshake costs ten exchanges.
    step = 7 if tls else 1

    async def behave(guest: Guest) -> None:
        at = number_of((await guest.request()).body)
        await guest.write(raw[:at])
        await end(guest)

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            for at in sorted({*range(0, len(raw), step), len(raw) - 1}):
                assert isinstance(await transport.send(b"%d" % at, NO_DEADLINE_S), Doubtful), at
            assert await transport.send(b"%d" % len(raw), NO_DEADLINE_S) == accepted(1)
            assert len(server.visits) == server.connections

    run(main(), loop)


@everywhere
def test_a_closing_answer_that_is_reset_is_not_whole(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def behave(guest: Guest) -> None:
        await guest.request()
        await guest.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
        guest.reset()

    async def main() -> None:
        async with meeting(behave, tls=tls) as (_, transport):
            assert isinstance(await transport.send(b"1", NO_DEADLINE_S), Doubtful)

    run(main(), loop)


# Answers before their time --------------------------------------------------------------------------------------------

LARGE = b"1," + b"1," * 2_500_000 + b"1"


@everywhere
@pytest.mark.parametrize("closing", [True, False])
def test_a_refusal_before_the_body_is_read(
    closing: bool,  # noqa: FBT001
    loop: Loop,
    tls: bool,  # noqa: FBT001
) -> None:
    async def behave(guest: Guest) -> None:
        await guest.reader.readuntil(b"\r\n\r\n")
        headers = ("Connection: close",) if closing else ()
        await guest.write(answer_bytes(b'{"message":"no"}', 413, headers))
        if not closing:
            await guest.gone()

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            for number in (1, 2):
                answer = await transport.send(LARGE, NO_DEADLINE_S)
                assert isinstance(answer, Refused)
                assert (answer.http_status, answer.text, answer.by_ses) == (413, "no", True)
                assert server.connections == number, "never used again: the rest of the request was not sent"

    run(main(), loop)


@everywhere
def test_success_before_the_body_is_read_is_none(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    """Nobody accepts what has not arrived: whatever was meant, it was not this request."""

    async def behave(guest: Guest) -> None:
        await guest.reader.readuntil(b"\r\n\r\n")
        await guest.write(answer_to(99))
        await guest.gone()

    async def main() -> None:
        async with meeting(behave, tls=tls) as (server, transport):
            assert isinstance(await transport.send(LARGE, NO_DEADLINE_S), Doubtful)
            assert isinstance(await transport.send(LARGE, NO_DEADLINE_S), Doubtful)
            assert server.connections == 2

    run(main(), loop)


@everywhere
def test_a_server_that_stops_reading(loop: Loop, tls: bool) -> None:  # noqa: FBT001
    async def behave(guest: Guest) -> None:
        await guest.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(5)

    async def main() -> None:
        async with meeting(behave, tls=tls, timeout_s=SHORT_S) as (_, transport), asyncio.timeout(MARGIN_S):
            assert isinstance(await transport.send(LARGE, NO_DEADLINE_S), Doubtful)

    run(main(), loop)


@plainly
def test_cancelled_in_the_moment_of_the_answer(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has come is not thrown away."""
    data_received = Connection.data_received
    sending: list[asyncio.Task[Answer]] = []

    def and_cancel(self: Connection, data: bytes) -> None:
        data_received(self, data)
        sending[0].cancel()

    monkeypatch.setattr(Connection, "data_received", and_cancel)

    async def main() -> Answer:
        async with meeting(politely) as (_, transport):
            sending.append(asyncio.create_task(transport.send(b"1", NO_DEADLINE_S)))
            return await sending[0]

    assert run(main(), loop) == accepted(1)


# Anything at all ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deed:
    """What the server does to one request."""

    framing: str
    cuts: tuple[float, ...]
    """Where the answer is split; shares of its length."""
    kept: float
    """The share of the answer that is sent."""
    end: str
    junk: bytes
    reads: float
    """The share of the request's body that is read first."""


DEEDS = st.builds(
    Deed,
    framing=st.sampled_from(["length", "chunked", "closing", "interim"]),
    cuts=st.lists(st.floats(0, 1), max_size=4).map(lambda cuts: tuple(sorted(cuts))),
    kept=st.sampled_from([1.0, 1.0, 1.0, 0.99, 0.5, 0.1, 0.0]),
    end=st.sampled_from(["go on", "go on", "close", "reset", "half", "hang"]),
    junk=st.sampled_from([b"", b"", b"", b"\r\n", answer_to(99), b"HTTP/1.1 200 OK\r\nContent-Le", b"\0"]),
    reads=st.sampled_from([1.0, 1.0, 1.0, 1.0, 0.5, 0.0]),
)


def framed(number: int, framing: str) -> bytes:
    body = results(f"m{number}")
    match framing:
        case "chunked":
            half = len(body) // 2
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        case "closing":
            return b"HTTP/1.1 200 OK\r\n\r\n" + body
        case "interim":
            return b"HTTP/1.1 100 Continue\r\n\r\n" + answer_to(number)
        case _:
            return answer_to(number)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    deeds=st.lists(DEEDS, min_size=1, max_size=8),
    at_once=st.integers(1, 3),
    tls=st.booleans(),
    loop=st.sampled_from([uvloop.new_event_loop, asyncio.new_event_loop]),
)
def test_never_anothers_answer_and_never_not_sent_what_was_read(
    deeds: list[Deed],
    at_once: int,
    tls: bool,  # noqa: FBT001
    loop: Loop,
) -> None:
    bodies_begun: set[int] = set()

    async def behave(guest: Guest) -> None:
        while True:
            head = await guest.reader.readuntil(b"\r\n\r\n")
            first = await guest.reader.readexactly(len(PREFIX) + 2)
            number = int(first[len(PREFIX) :])
            bodies_begun.add(number)
            deed = deeds[number - 10]
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) - len(first)
            await guest.reader.readexactly(int(length * deed.reads))
            raw = framed(number, deed.framing)
            raw = raw[: int(len(raw) * deed.kept)]
            edges = [0, *(int(cut * (len(raw) - 1)) for cut in deed.cuts), len(raw)]
            if deed.kept == 1.0:
                raw += deed.junk
                edges[-1] = len(raw)  # in one with the end of the answer: later, it could be the next one's
            for start, end in pairwise(edges):
                await guest.write(raw[start:end])
            match deed.end:
                case "go on" if deed.reads == 1.0:
                    continue
                case "reset":
                    return guest.reset()
                case "half" if not tls:
                    await guest.half_close()
                    return await guest.gone()
                case "hang":
                    return await guest.gone()
                case _:
                    return None

    async def main() -> None:
        async with meeting(behave, tls=tls, timeout_s=0.05) as (_, transport):

            async def one(number: int) -> None:
                began_s = time.monotonic()
                answer = await transport.send(b"%d" % number + b"," + b"0," * 2000 + b"0", NO_DEADLINE_S)
                assert time.monotonic() - began_s < 0.05 + 0.05 + MARGIN_S
                match answer:
                    case AllAccepted():
                        assert answer == accepted(number)
                    case NotSent():
                        assert number not in bodies_begun
                    case _:
                        assert isinstance(answer, Doubtful)

            for first in range(10, 10 + len(deeds), at_once):
                await asyncio.gather(*(one(n) for n in range(first, min(first + at_once, 10 + len(deeds)))))

    run(main(), loop)
