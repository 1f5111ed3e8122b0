"""An HTTP server that does to each connection, byte by byte, what a test says."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from bulksend.aws.pool import Peer
from bulksend.aws.route import Route

__all__ = ["Certificates", "Guest", "Server", "Visit", "answer_bytes", "breathe", "certificates", "results", "serving"]

REGION = "eu-west-1"
PATH = "/v2/email/outbound-bulk-emails"
REQUEST_ID = "8a5b9d3e-0000-4000-8000-000000000000"
A_MOMENT = 8
"""Turns of the event loop after which the other end, which runs on the same one, has read what was written."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One whole request."""

    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """Its value; empty where there is none."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


class Guest:
    """The server's end of one connection."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.number = server.connections
        self.reader = reader
        self._writer = writer

    async def request(self) -> Visit:
        """The next request, whole. Raises asyncio.IncompleteReadError when there is none."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        visit = Visit(head, b"")
        body = await self.reader.readexactly(int(visit.header("content-length") or 0))
        visit = Visit(head, body)
        self.server.visits.append(visit)
        return visit

    async def write(self, data: bytes) -> None:
        """Send it now, and let the other end read it."""
        self._writer.write(data)
        await breathe()

    async def flow(self, data: bytes) -> None:
        """Send it as fast as it is read."""
        self._writer.write(data)
        await self._writer.drain()

    @property
    def socket(self) -> Any:
        return self._writer.get_extra_info("socket")

    async def half_close(self) -> None:
        """Send no more, but go on reading. Not over TLS, which has no such thing."""
        self._writer.write_eof()
        await breathe()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """RST, whatever is still on the way."""
        if self.socket is not None:  # the client may have been first
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Until the client has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


@dataclass
class Server:
    """`visits` are the requests that were read whole, in order, over all connections."""

    port: int = 0
    tls: bool = False
    connections: int = 0
    visits: list[Visit] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def route(self, context: ssl.SSLContext | None = None) -> Route:
        return Route(Peer("127.0.0.1", self.port, context), f"127.0.0.1:{self.port}", PATH, REGION, "ses")


async def breathe() -> None:
    for _ in range(A_MOMENT):
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    behave: Callable[[Guest], Awaitable[None]], *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Server]:
    """On a free loopback port. `behave` is called for each connection, which is closed when it returns."""
    served = Server(tls=tls is not None)
    guests: set[asyncio.Task[None]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        guests.add(task)
        served.connections += 1
        try:
            await behave(Guest(served, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        except BaseException as error:  # noqa: BLE001  told to the test when the server is closed
            served.failures.append(error)
        finally:
            guests.discard(task)
            writer.close()

    listener = await asyncio.start_server(attend, host, 0, ssl=tls, backlog=1024)
    served.port = listener.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        listener.close()
        for guest in list(guests):
            guest.cancel()
        await asyncio.gather(*guests, return_exceptions=True)
        await breathe()
        if served.failures:
            raise served.failures[0]


def results(*ids: str) -> bytes:
    """The body of a 200 in which every entry is accepted."""
    return b'{"BulkEmailEntryResults":[%s]}' % b",".join(
        b'{"Status":"SUCCESS","MessageId":"%s"}' % i.encode() for i in ids
    )


def answer_bytes(body: bytes, status: int = 200, headers: tuple[str, ...] = (), *, by_ses: bool = True) -> bytes:
    """A whole answer with its length."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    if by_ses:
        lines.append(f"x-amzn-RequestId: {REQUEST_ID}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@dataclass(frozen=True)
class Certificates:
    """A private authority, a server of 127.0.0.1 and ::1 that it vouches for, and one of another name."""

    authority: bytes
    server: ssl.SSLContext
    elsewhere: ssl.SSLContext

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.decode())

    def bundle(self, folder: Path) -> Path:
        path = folder / "authority.pem"
        path.write_bytes(self.authority)
        return path


@cache
def certificates() -> Certificates:
    authority = trustme.CA()
    contexts = []
    for names in (("127.0.0.1", "::1", "localhost"), ("example.com",)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*names).configure_cert(context)
        contexts.append(context)
    return Certificates(authority.cert_pem.bytes(), *contexts)
