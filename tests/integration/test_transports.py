"""One suite for both transports: whatever a server or the network does, they say the same of it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from bulksend.aws import AwsAccess, Route
from bulksend.clock import boot_s
from bulksend.model import AllAccepted, Answer, Answered, Doubtful, EntryResult, NotSent, Refused
from bulksend.ses import CompatibleTransport, SignedTransport, find_route
from tests.clocks import NO_DEADLINE_S
from tests.http_server import REGION, Guest, Server, answer_bytes, breathe, certificates, results, serving

KINDS = ("signed", "compatible")
PREFIX, SUFFIX = b'{"DefaultContent":{},"BulkEmailEntries":[', b"]}"
ENTRIES = b'{"Destination":{}},{"Destination":{}}'
TWO = results("m1", "m2")
SHORT_S = 0.15
"""A timeout that a test waits for."""
AT = 1_700_000_000.0
LOOPS = (uvloop.new_event_loop, asyncio.new_event_loop)

T = TypeVar("T")
Transport = SignedTransport | CompatibleTransport


@asynccontextmanager
async def opened(kind: str, access: AwsAccess, prefix: bytes = PREFIX) -> AsyncIterator[Transport]:
    transport: Transport
    if kind == "signed":
        route = await find_route(access, prefix)
        assert isinstance(route, Route), route
        transport = SignedTransport(access, route, prefix, SUFFIX)
    else:
        transport = CompatibleTransport(access, prefix, SUFFIX, max_connections=8)
    async with transport:
        yield transport


def access_to(url: str, *, connect_timeout_s: float = 5.0, answer_timeout_s: float = 5.0) -> AwsAccess:
    return AwsAccess(
        region=REGION, endpoint_url=url, connect_timeout_s=connect_timeout_s, answer_timeout_s=answer_timeout_s
    )


def run(main: Coroutine[Any, Any, T], loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop) -> T:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)


def error(status: int, body: object, *headers: str, by_ses: bool = True) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer_bytes(content, status, headers, by_ses=by_ses)


HTML = b"<html><body>Service Unavailable</body></html>"
ACCEPTED = AllAccepted(["m1", "m2"])

ANSWERS: dict[str, tuple[bytes, Answer]] = {
    "success": (answer_bytes(TWO), ACCEPTED),
    "no entries at all": (answer_bytes(results()), AllAccepted([])),
    "mixed": (
        answer_bytes(
            b'{"BulkEmailEntryResults":[{"Status":"SUCCESS","MessageId":"m1"},'
            b'{"Status":"MESSAGE_REJECTED","Error":"no \xc3\xbc"}]}'
        ),
        Answered([EntryResult("SUCCESS", "", "m1"), EntryResult("MESSAGE_REJECTED", "no ü", "")]),
    ),
    "too few": (answer_bytes(results("m1")), AllAccepted(["m1"])),
    "too many": (answer_bytes(results("m1", "m2", "m3")), AllAccepted(["m1", "m2", "m3"])),
    "no message id": (
        answer_bytes(b'{"BulkEmailEntryResults":[{"Status":"SUCCESS"}]}'),
        Answered([EntryResult("SUCCESS", "", "")]),
    ),
    "null message id": (
        answer_bytes(b'{"BulkEmailEntryResults":[{"Status":"SUCCESS","MessageId":null}]}'),
        Answered([EntryResult("SUCCESS", "", "")]),
    ),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(TWO), TWO),
        ACCEPTED,
    ),
    "closing": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + TWO, ACCEPTED),
    "interim": (b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" + answer_bytes(TWO), ACCEPTED),
    "empty 200": (answer_bytes(b""), Doubtful("")),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Doubtful("")),
    "no JSON": (answer_bytes(b"{"), Doubtful("")),
    "HTML": (answer_bytes(HTML), Doubtful("")),
    "no UTF-8": (answer_bytes(b'{"BulkEmailEntryResults":[{"Status":"\xff"}]}'), Doubtful("")),
    "null results": (answer_bytes(b'{"BulkEmailEntryResults":null}'), Doubtful("")),
    "no results": (answer_bytes(b"{}"), Doubtful("")),
    "result that is no object": (answer_bytes(b'{"BulkEmailEntryResults":["SUCCESS"]}'), Doubtful("")),
    "shorter than it says": (answer_bytes(TWO)[:-1], Doubtful("")),
    "chunked without end": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(TWO), TWO),
        Doubtful(""),
    ),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", Doubtful("")),
    "nothing": (b"", Doubtful("")),
    "type in a header": (
        error(400, {"message": "no"}, "x-amzn-ErrorType: BadRequestException:http://example.com/x"),
        Refused(400, "BadRequestException", "no", by_ses=True),
    ),
    "type in the body": (
        error(400, {"__type": "com.amazonaws.ses#MessageRejected", "Message": "no ü"}),
        Refused(400, "MessageRejected", "no ü", by_ses=True),
    ),
    "code in the body": (
        error(400, {"code": "ThrottlingException"}),
        Refused(400, "ThrottlingException", "", by_ses=True),
    ),
    "Code in the body": (error(400, {"Code": "RequestExpired"}), Refused(400, "RequestExpired", "", by_ses=True)),
    "a type and a code": (
        error(400, {"__type": "BadRequestException", "code": "ThrottlingException"}),
        Refused(400, "ThrottlingException", "", by_ses=True),
    ),
    "no code": (error(400, {"message": "no"}), Refused(400, "", "no", by_ses=True)),
    "empty message": (error(400, {"message": None}), Refused(400, "", "", by_ses=True)),
    "no body": (error(400, b""), Refused(400, "", "", by_ses=True)),
    "text": (error(400, b"no"), Refused(400, "", "no", by_ses=True)),
    "not by SES": (error(400, {"message": "no"}, by_ses=False), Refused(400, "", "no", by_ses=False)),
    "401": (error(401, {"message": "no"}), Refused(401, "", "no", by_ses=True)),
    "403": (
        error(403, {"message": "expired"}, "x-amzn-ErrorType: ExpiredTokenException"),
        Refused(403, "ExpiredTokenException", "expired", by_ses=True),
    ),
    "404": (error(404, {"__type": "NotFoundException"}), Refused(404, "NotFoundException", "", by_ses=True)),
    "408": (error(408, {"message": "no"}), Refused(408, "", "no", by_ses=True)),
    "413": (error(413, HTML, by_ses=False), Refused(413, "", HTML.decode(), by_ses=False)),
    "429": (
        error(429, {"message": "slow"}, "x-amzn-ErrorType: TooManyRequestsException"),
        Refused(429, "TooManyRequestsException", "slow", by_ses=True),
    ),
    "500": (
        error(500, {"__type": "InternalServiceErrorException"}),
        Refused(500, "InternalServiceErrorException", "", by_ses=True),
    ),
    "502 of a machine between": (error(502, HTML, by_ses=False), Refused(502, "", "Bad Gateway", by_ses=False)),
    "503": (error(503, {"__type": "ServiceUnavailable"}), Refused(503, "ServiceUnavailable", "", by_ses=True)),
    "503 without a body": (error(503, b" "), Refused(503, "", "Service Unavailable", by_ses=True)),
    "504": (error(504, b"", by_ses=False), Refused(504, "", "Gateway Timeout", by_ses=False)),
    "599": (error(599, b"", by_ses=False), Refused(599, "", "", by_ses=False)),
    "skew": (
        error(400, {"__type": "RequestExpired"}, f"Date: {formatdate(AT, usegmt=True)}"),
        Refused(400, "RequestExpired", "", by_ses=True, server_time=AT),
    ),
    "a date that is none": (error(400, {}, "Date: soon"), Refused(400, "", "", by_ses=True)),
    "a date beyond all": (
        error(400, {}, "Date: Sat, 21 Nov 99999999999999999999 00:00:00 +9999999999999999999"),
        Refused(400, "", "", by_ses=True),
    ),
    **{
        f"{status}": (
            error(status, {"message": "there"}, "Location: /elsewhere"),
            Refused(status, "", "there", by_ses=True),
        )
        for status in (301, 302, 303, 307, 308)
    },
}

CLOSING = {"closing", "shorter than it says", "chunked without end", "no HTTP", "nothing"}
"""After these the server closes."""


def silent(answer: Answer) -> Answer:
    """Without the reason, which each transport words for itself."""
    match answer:
        case Doubtful():
            return Doubtful("")
        case NotSent():
            return NotSent("")
        case _:
            return answer


@pytest.mark.parametrize("kind", KINDS)
def test_what_came_too_long_after_its_intent_does_not_leave(kind: str) -> None:
    async def behave(guest: Guest) -> None:
        await guest.request()
        await guest.write(answer_bytes(TWO))

    async def main() -> None:
        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            assert isinstance(await transport.send(ENTRIES, boot_s() - 0.001), NotSent)
            assert server.visits == []
            assert await transport.send(ENTRIES, boot_s() + 60.0) == ACCEPTED

    run(main())


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_read_alike(kind: str) -> None:
    names = list(ANSWERS)

    async def behave(guest: Guest) -> None:
        name = ""
        while name not in CLOSING:
            visit = await guest.request()
            name = names[json.loads(visit.body)["BulkEmailEntries"][0]]
            await guest.write(ANSWERS[name][0])

    async def main() -> tuple[dict[str, Answer], Server]:
        got = {}
        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            for number, name in enumerate(names):
                got[name] = silent(await transport.send(b"%d" % number, NO_DEADLINE_S))
        return got, server

    got, server = run(main())
    assert got == {name: expected for name, (_, expected) in ANSWERS.items()}
    assert len(server.visits) == len(names), "nothing was asked twice, and no redirect was followed"


@pytest.mark.parametrize("body", [b"no\xff", b'["no"]', b"null"])
def test_a_refusal_that_only_the_signed_one_can_read(body: bytes) -> None:
    """The SDK stumbles over it, which leaves a doubt where there need be none."""

    async def behave(guest: Guest) -> None:
        await guest.request()
        await guest.write(error(400, body))

    async def main(kind: str) -> Answer:
        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            return await transport.send(ENTRIES, NO_DEADLINE_S)

    signed = run(main("signed"))
    assert isinstance(signed, Refused)
    assert (signed.http_status, signed.code, signed.by_ses) == (400, "", True)
    assert isinstance(run(main("compatible")), Doubtful)


@pytest.mark.parametrize("kind", KINDS)
def test_the_body_is_the_frame_around_the_entries(kind: str) -> None:
    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(answer_bytes(TWO))

    large = b'"%s"' % (b"x" * 3_000_000)

    async def main() -> Server:
        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            assert await transport.send(memoryview(ENTRIES), NO_DEADLINE_S) == ACCEPTED
            assert await transport.send(memoryview(large), NO_DEADLINE_S) == ACCEPTED
        return server

    server = run(main())
    assert [visit.body for visit in server.visits] == [PREFIX + ENTRIES + SUFFIX, PREFIX + large + SUFFIX]
    assert server.connections == 1
    for visit in server.visits:
        assert visit.head.startswith(b"POST /v2/email/outbound-bulk-emails HTTP/1.1\r\n")
        assert visit.header("host") == f"127.0.0.1:{server.port}"
        assert visit.header("content-type") == "application/json"


# Faults that are no answers -------------------------------------------------------------------------------------------

Fault = Callable[[Guest], Awaitable[None]]


async def close_after_reading(guest: Guest) -> None:
    await guest.request()


async def reset_after_reading(guest: Guest) -> None:
    await guest.request()
    guest.reset()


async def reset_before_reading(guest: Guest) -> None:
    await guest.reader.read(1)
    guest.reset()


async def reset_within_the_answer(guest: Guest) -> None:
    await guest.request()
    await guest.write(answer_bytes(TWO)[:-5])
    guest.reset()


async def never_answer(guest: Guest) -> None:
    await guest.request()
    await guest.gone()


async def never_end(guest: Guest) -> None:
    await guest.request()
    await guest.write(answer_bytes(TWO)[:-5])
    await guest.gone()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_whole_answer_is_a_doubt(kind: str, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> dict[str, Answer]:
        got = {}
        for fault in (
            close_after_reading,
            reset_after_reading,
            reset_before_reading,
            reset_within_the_answer,
            never_answer,
            never_end,
        ):
            async with (
                serving(fault) as server,
                opened(kind, access_to(server.url, answer_timeout_s=SHORT_S)) as transport,
            ):
                got[fault.__name__] = silent(await transport.send(ENTRIES, NO_DEADLINE_S))
                assert server.connections == 1, "never sent again"
        return got

    assert set(run(main(), loop).values()) == {Doubtful("")}


async def hang(_: Guest) -> None:
    await asyncio.sleep(60)


def refusing() -> Iterator[str]:
    """An address at which nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


def deaf() -> Iterator[str]:
    """A listener whose backlog is full: to connect takes for ever."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.settimeout(0)
            one.connect_ex(address)
            waiting.append(one)
        yield f"http://127.0.0.1:{address[1]}"
        for one in waiting:
            one.close()


def nowhere() -> Iterator[str]:
    """No such name: by definition there never is one (RFC 2606)."""
    yield "http://nowhere.invalid:1"


def silent_tls() -> Iterator[str]:
    """Accepts, and never answers the handshake."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [refusing, deaf, nowhere, silent_tls])
def test_no_connection_is_known_not_to_have_sent(kind: str, place: Callable[[], Iterator[str]]) -> None:
    where = place()
    url = next(where)

    async def main() -> Answer:
        async with opened(kind, access_to(url, connect_timeout_s=SHORT_S)) as transport:
            return await transport.send(ENTRIES, NO_DEADLINE_S)

    answer = run(main())
    assert isinstance(answer, NotSent), answer
    assert answer.reason
    assert list(where) == []


@pytest.mark.parametrize(
    ("kind", "fault"),
    [(kind, fault) for kind in KINDS for fault in ("untrusted", "no TLS", "reset", "other name")],
)
def test_without_trust_nothing_is_sent(kind: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates()
    if fault != "untrusted":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(made.bundle(tmp_path)))
    tls = {"untrusted": made.server, "other name": made.elsewhere}.get(fault)

    async def behave(guest: Guest) -> None:
        if fault == "reset":
            guest.reset()
        elif fault == "no TLS":
            await guest.reader.read(1)
            await guest.write(answer_bytes(TWO))
        else:
            await guest.request()

    async def main() -> Answer:
        async with serving(behave, tls=tls) as server:
            url = server.url.replace("http:", "https:")
            async with opened(kind, access_to(url)) as transport:
                answer = await transport.send(ENTRIES, NO_DEADLINE_S)
            assert server.visits == []
            return answer

    answer = run(main())
    assert isinstance(answer, NotSent), answer


@pytest.mark.parametrize("kind", KINDS)
def test_a_trusted_server_is_sent_to(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = certificates()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(made.bundle(tmp_path)))

    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(answer_bytes(TWO))

    async def main() -> Server:
        async with serving(behave, tls=made.server) as server, opened(kind, access_to(server.url)) as transport:
            assert await transport.send(ENTRIES, NO_DEADLINE_S) == ACCEPTED
            assert await transport.send(ENTRIES, NO_DEADLINE_S) == ACCEPTED
        return server

    assert run(main()).connections == 1


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_while_the_answer_is_awaited(kind: str, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> Answer:
        read = asyncio.Event()

        async def behave(guest: Guest) -> None:
            await guest.request()
            read.set()
            await guest.gone()

        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            task = asyncio.create_task(transport.send(ENTRIES, NO_DEADLINE_S))
            await read.wait()
            task.cancel()
            return await task

    assert isinstance(run(main(), loop), Doubtful)


@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_while_it_connects(kind: str) -> None:
    where = silent_tls()
    url = next(where)

    async def main() -> Answer:
        async with opened(kind, access_to(url)) as transport:
            task = asyncio.create_task(transport.send(ENTRIES, NO_DEADLINE_S))
            await asyncio.sleep(SHORT_S)
            task.cancel()
            return await task

    answer = run(main())
    assert isinstance(answer, NotSent if kind == "signed" else Doubtful), (
        "the SDK does not say whether it had connected"
    )
    assert list(where) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_trickles_holds_nobody_for_ever(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.ses.compatible.SLACK_S", 0.0)

    async def behave(guest: Guest) -> None:
        await guest.request()
        for byte in answer_bytes(TWO):
            await guest.write(bytes([byte]))
            await asyncio.sleep(SHORT_S / 5)

    async def main() -> Answer:
        access = access_to("", connect_timeout_s=SHORT_S, answer_timeout_s=SHORT_S)
        async with serving(behave) as server:
            access = access_to(server.url, connect_timeout_s=SHORT_S, answer_timeout_s=SHORT_S)
            async with opened(kind, access) as transport, asyncio.timeout(5):
                return await transport.send(ENTRIES, NO_DEADLINE_S)

    assert isinstance(run(main()), Doubtful)


@pytest.mark.parametrize("kind", KINDS)
def test_many_at_once_get_each_their_own_answer(kind: str) -> None:
    async def behave(guest: Guest) -> None:
        while True:
            visit = await guest.request()
            await breathe()
            await guest.write(answer_bytes(results(f"m{json.loads(visit.body)['BulkEmailEntries'][0]}")))

    async def main() -> list[Answer]:
        async with serving(behave) as server, opened(kind, access_to(server.url)) as transport:
            return await asyncio.gather(*(transport.send(b"%d" % n, NO_DEADLINE_S) for n in range(60)))

    assert run(main()) == [AllAccepted([f"m{n}"]) for n in range(60)]


def test_clients_of_refused_credentials_do_not_add_up() -> None:
    """As where one Region of two denies: each refusal has another client opened. A call under way keeps its own."""
    denied = error(403, {"message": "no"}, "x-amzn-errortype: AccessDeniedException")
    living: set[int] = set()

    async def main() -> tuple[Answer, list[int]]:
        reached, goes_on = asyncio.Event(), asyncio.Event()

        async def behave(guest: Guest) -> None:
            living.add(guest.number)
            try:
                while True:
                    await guest.request()
                    if guest.number == 1:
                        reached.set()
                        await goes_on.wait()
                    await guest.write(answer_bytes(TWO) if guest.number == 1 else denied)
            finally:
                living.discard(guest.number)

        open_then = []
        async with serving(behave) as server, opened("compatible", access_to(server.url)) as transport:
            under_way = asyncio.create_task(transport.send(ENTRIES, NO_DEADLINE_S))
            await reached.wait()
            for generation in range(6):
                assert await transport.renew_credentials(generation) == generation + 1
                refused = await transport.send(ENTRIES, NO_DEADLINE_S)
                assert isinstance(refused, Refused)
                assert refused.generation == generation + 1
                await breathe()
                open_then.append(len(living))
            goes_on.set()
            answer = await under_way
            await transport.renew_credentials(6)
            await transport.send(ENTRIES, NO_DEADLINE_S)
            await breathe()
            return answer, [*open_then, len(living)]

    answer, open_then = run(main())
    assert answer == ACCEPTED
    assert open_then == [2] * 6 + [1]
    assert not living


def test_whoever_is_sent_by_an_endpoint_says_so() -> None:
    to_both = PREFIX.replace(b"{", b'{"EndpointId":"abc12345.xyz",', 1)
    access = access_to("http://127.0.0.1:1")
    found = [CompatibleTransport(access, prefix, SUFFIX, max_connections=1) for prefix in (PREFIX, to_both)]
    assert [transport.by_endpoint for transport in found] == [False, True]


@pytest.mark.parametrize(("lifetime_s", "connections"), [(60.0, 1), (0.0, 5)])
def test_no_request_begins_on_a_connection_that_is_too_old(
    monkeypatch: pytest.MonkeyPatch, lifetime_s: float, connections: int
) -> None:
    """What leads to a multi-region endpoint has to find out now and then which Region that is."""
    monkeypatch.setattr("bulksend.ses.compatible.LIFETIME_S", lifetime_s)

    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(answer_bytes(TWO))

    async def main() -> int:
        async with serving(behave) as server, opened("compatible", access_to(server.url)) as transport:
            for _ in range(5):
                assert await transport.send(ENTRIES, NO_DEADLINE_S) == ACCEPTED
            return server.connections

    assert run(main()) == connections


def test_what_is_under_way_on_an_old_connection_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.ses.compatible.LIFETIME_S", 0.0)

    async def main() -> list[Answer]:
        may_answer, is_asked = asyncio.Event(), asyncio.Event()

        async def behave(guest: Guest) -> None:
            await guest.request()
            if guest.number == 1:
                is_asked.set()
                await may_answer.wait()
            await guest.write(answer_bytes(results(f"m{guest.number}")))
            await guest.gone()

        async with serving(behave) as server, opened("compatible", access_to(server.url)) as transport:
            first = asyncio.create_task(transport.send(ENTRIES, NO_DEADLINE_S))
            await is_asked.wait()
            second = await transport.send(ENTRIES, NO_DEADLINE_S)
            may_answer.set()
            return [await first, second]

    assert run(main()) == [AllAccepted(["m1"]), AllAccepted(["m2"])]
