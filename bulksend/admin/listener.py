"""An HTTP listener that a stranger cannot make hold more than it should: connections, memory and time are bounded.

What aiohttp leaves open is closed here. It lets a connection that says nothing, or never reads its answer's end, stay
as long as it likes; a connection therefore has a deadline whenever no handler runs on it, and is cut then, whatever
state it is in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import orjson
from aiohttp import web

from bulksend.admin.refusals import Refusal
from bulksend.errors import ServerError

__all__ = ["Handler", "Limits", "Listener", "cut", "send"]

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "bulksend"}
_NOT_HTTP = Refusal(
    400, "The request is not HTTP that can be read", "Send one HTTP/1.1 request, its head at most 8 KB a line."
)
_TOO_MANY = Refusal(503, "Too many connections are open", "Close some, or ask again later.")

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
"""Raises nothing but CancelledError; it may have sent its answer already, in whole or in part."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of it strangers may use.

    `store_requests` of the `connections` may wait for the store at once.
    `idle_s`: from connecting, or from the last answer, until a whole head is there. `body_s`: from then until the whole
    body is. `lingering_s`: how long the rest of a body is read that nobody wants. `stalled_s`: how long a client may
    read nothing of its answer. `readiness_s` bounds the check for /readyz, and a `heartbeat_s` without a turn of the
    event loop is death. `closing_s`: how long running requests have when the listener closes.
    """

    connections: int = 100
    store_requests: int = 20
    body_bytes: int = 1024 * 1024
    idle_s: float = 20.0
    body_s: float = 10.0
    lingering_s: float = 2.0
    stalled_s: float = 30.0
    readiness_s: float = 5.0
    heartbeat_s: float = 10.0
    closing_s: float = 5.0


class Listener:
    """A handler behind a port, while inside. `port` 0 takes a free one.

    Raises:
        ServerError: at entry, when the address and port cannot be had.
    """

    def __init__(self, handler: Handler, host: str, port: int, limits: Limits) -> None:
        self._handler = handler
        # One address, so that one port is meant by it.
        self._host = "127.0.0.1" if host.lower() == "localhost" else host
        self._port = port
        self._limits = limits
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        limits = self._limits
        server = _Server(self._handler, limits)
        runner = web.ServerRunner(server, shutdown_timeout=limits.closing_s / 2)  # it waits twice
        async with AsyncExitStack() as stack:
            await runner.setup()
            stack.callback(server.cut)
            stack.push_async_callback(runner.cleanup)
            try:
                await web.TCPSite(runner, self._host or None, self._port).start()
            except (OSError, OverflowError, UnicodeError) as error:
                where = f"{self._host or 'every address'}, port {self._port}"
                raise ServerError(f"{where}: {getattr(error, 'strerror', None) or error}") from error
            self._stack = stack.pop_all()
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)


class _Server(web.Server):
    """Makes a connection of each that comes, and knows which are open or still at work."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        super().__init__(self._attend, access_log=None)
        self.limits = limits
        self.open: set[_Connection] = set()
        self._answer = handler

    def __call__(self) -> web.RequestHandler:
        # A compressed body could be a thousand times what its length says.
        return _Connection(self, auto_decompress=False, access_log=None, lingering_time=self.limits.lingering_s)

    async def _attend(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        connection.at_work()
        try:
            response = await self._answer(request)
            await send(request, response, self.limits.stalled_s)
            return response
        finally:
            connection.at_rest()

    def cut(self) -> None:
        for connection in list(self.open):
            connection.cut()


class _Connection(web.RequestHandler):
    """One connection; it has a deadline while no handler runs."""

    __slots__ = ("_deadline", "_house", "_lost", "_wire", "_working")

    def __init__(self, house: _Server, *, auto_decompress: bool, access_log: None, lingering_time: float) -> None:
        super().__init__(
            house,
            loop=asyncio.get_running_loop(),
            auto_decompress=auto_decompress,
            access_log=access_log,  # type: ignore[arg-type]  # None is none, aiohttp's own default at web.Server
            lingering_time=lingering_time,
        )
        self._house = house
        self._wire: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._working = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        if len(self._house.open) >= self._house.limits.connections:
            wire.write(_raw(_TOO_MANY))
            wire.close()
            return
        self._wire = wire
        self._house.open.add(self)
        self._rest()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._lost = True
        if not self._working:
            self._leave()
        super().connection_lost(exc)

    def at_work(self) -> None:
        """A handler begins; it has limits of its own."""
        self._working = True
        self._stop_deadline()

    def at_rest(self) -> None:
        """It has ended. Its place is taken until then, even if the client has left."""
        self._working = False
        if self._lost:
            self._leave()
        else:
            self._rest()

    def cut(self) -> None:
        """Let go of the connection now, and of what was not sent."""
        if self._wire is not None:
            self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is not HTTP. Unlike aiohttp's own it repeats and logs nothing of what came."""
        del request, status, exc, message
        response = _NOT_HTTP.answer()
        response.headers.update(_HEADERS)
        response.force_close()
        return response

    def _rest(self) -> None:
        self._stop_deadline()
        self._deadline = asyncio.get_running_loop().call_later(self._house.limits.idle_s, self.cut)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        self._stop_deadline()
        self._house.open.discard(self)


async def send(
    request: web.BaseRequest, response: web.StreamResponse, stalled_s: float, piece: bytes | None = None
) -> bool:
    """Send a piece of an answer, or with None its end, which may be all. False if the client left or reads nothing.

    The connection is cut then.
    """
    try:
        async with asyncio.timeout(stalled_s):
            if not response.prepared:
                response.headers.update(_HEADERS)
                await response.prepare(request)
            if piece is None:
                await response.write_eof()
            else:
                await response.write(piece)
    except (ConnectionError, TimeoutError):
        cut(request)
        return False
    return True


def cut(request: web.BaseRequest) -> None:
    """End the connection now: what was sent of the answer is not whole, and shall not look so."""
    connection = request.protocol
    assert isinstance(connection, _Connection)
    connection.cut()


def _raw(refusal: Refusal) -> bytes:
    body = orjson.dumps({"error": refusal.error, "what_to_do": refusal.what_to_do})
    headers = {
        **_HEADERS,
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {refusal.status} Service Unavailable\r\n{head}\r\n".encode() + body
