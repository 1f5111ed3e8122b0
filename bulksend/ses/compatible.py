"""The compatible transport: the SDK's client with the finished body swapped in."""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Self

import orjson

from bulksend.aws.client import AwsAccess, direct_session, open_client
from bulksend.aws.skew import ServerClock
from bulksend.clock import boot_s
from bulksend.errors import ConfigError
from bulksend.model import Answer, Doubtful, NotSent
from bulksend.ses.answers import FIRST_ERROR_STATUS, answer_of_error, answer_of_results
from bulksend.ses.endpoints import GET_AWSCRT, UNSIGNABLE, can_sign

__all__ = ["CompatibleTransport"]

_call: ContextVar[_Call] = ContextVar("call")

LARGE_BODY_BYTES = 512 * 1024
"""Above this a body is handed over as a stream: aiohttp warns of larger ones that are written in one piece."""
LIFETIME_S = 50.0
"""No request begins on connections that are older.

A multi-region endpoint moves traffic between its Regions by DNS; 60 s at most are advised (Developer Guide, Global
endpoints).
"""
SLACK_S = 5.0
"""The whole call may take connecting and answering, and this.

A server that trickles bytes must not hold an entry for ever.
"""


@dataclass(slots=True)
class _Opened:
    """An SDK client, with what closes it; `calls` are those under way."""

    client: Any
    closing: AsyncExitStack
    calls: int = 0


@dataclass(slots=True)
class _Call:
    """One call, as the SDK's hooks see it: what to send, until when, whether any of it may have left, what came.

    `send_before_s` is of the clock that runs in suspend.
    """

    body: bytes
    send_before_s: float
    client: Any = None
    left: bool = False
    answer: bytes = b""


class CompatibleTransport:
    """Satisfies the engine's Transport over aioboto3. An asynchronous context manager.

    `prefix` and `suffix` are the campaign's frozen frame.
    """

    kind: str = "compatible"

    def __init__(
        self, access: AwsAccess, prefix: bytes, suffix: bytes, *, max_connections: int, clock: ServerClock | None = None
    ) -> None:
        self._access = access
        self._prefix = prefix
        self._suffix = suffix
        self._max_connections = max_connections
        self._limit_s = access.connect_timeout_s + access.answer_timeout_s + SLACK_S
        self._opened: _Opened | None = None
        self._replaced: list[_Opened] = []
        """Clients whose credentials were refused, and whose calls may be under way still."""
        self._generation = 0
        self._renewing = asyncio.Lock()
        self._clock = clock or ServerClock()
        self._arguments = {"DefaultContent": {}, "BulkEmailEntries": [], **_endpoint_argument(prefix, suffix)}

    async def __aenter__(self) -> Self:
        """Raises ConfigError without awscrt for a multi-region endpoint, and what the SDK raises for want of a region.

        What it raises for want of credentials' files is raised too.
        """
        if self.by_endpoint:
            _want_awscrt()
        self._opened = await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._replace()
        async with AsyncExitStack() as closing:
            for opened in self._replaced:
                closing.push_async_callback(opened.closing.aclose)

    @property
    def by_endpoint(self) -> bool:
        """Whether the frozen request is for a multi-region endpoint."""
        return "EndpointId" in self._arguments

    async def send(self, entries_json: bytes | memoryview, send_before_s: float) -> Answer:
        """One call, attempted once. See the engine's Transport."""
        generation = self._generation
        call = _Call(b"".join((self._prefix, entries_json, self._suffix)), send_before_s)
        _call.set(call)
        opened = None
        try:
            async with asyncio.timeout(self._limit_s):
                opened = await self._take()
                call.client = opened.client
                await opened.client.send_bulk_email(**self._arguments)
        except TimeoutError:
            return Doubtful("no whole answer in time") if call.left else NotSent("no connection in time")
        except asyncio.CancelledError:
            if call.left:
                return Doubtful("interrupted while the answer was awaited")
            return NotSent("interrupted before sending")
        except Exception as error:  # noqa: BLE001  whatever the SDK raises is an answer
            return answer_of_error(error, generation, sent=call.left)
        finally:
            if opened is not None:
                opened.calls -= 1
        return answer_of_results(call.answer)

    async def renew_credentials(self, refused_generation: int) -> int:
        """The next request's client reads them anew."""
        async with self._renewing:
            if refused_generation == self._generation:
                self._replace()
                self._generation += 1
            return self._generation

    def set_clock(self, server_time: float) -> None:
        """From now on requests are signed with the server's clock."""
        self._clock.set(server_time)

    async def _take(self) -> _Opened:
        """A client for one call, which is counted. Replaced ones go when another is opened: each has connections."""
        async with self._renewing:
            if self._opened is None:
                await self._close_replaced()
                self._opened = await self._open()
            self._opened.calls += 1
            return self._opened

    def _replace(self) -> None:
        if self._opened is not None:
            self._replaced.append(self._opened)
            self._opened = None

    async def _close_replaced(self) -> None:
        """Those that nobody calls any more."""
        over = [opened for opened in self._replaced if not opened.calls]
        self._replaced = [opened for opened in self._replaced if opened.calls]
        for opened in over:
            await opened.closing.aclose()

    async def _open(self) -> _Opened:
        closing = AsyncExitStack()
        client = await closing.enter_async_context(
            open_client(
                self._access,
                retrying=False,
                max_connections=self._max_connections,
                http_session=_SessionsInTurn,
            )
        )
        client.meta.events.register("before-call.sesv2.SendBulkEmail", _swap_body)
        client.meta.events.register("before-send.sesv2.SendBulkEmail", self._before_send)
        return _Opened(client, closing)

    async def _before_send(self, request: Any, **_: object) -> None:
        await self._clock.correct(_call.get().client, request)
        if boot_s() > _call.get().send_before_s:
            raise TimeoutError
        if len(request.body) > LARGE_BODY_BYTES:
            request.body = io.BytesIO(request.body)
        _call.get().left = True


@dataclass(slots=True)
class _Turn:
    """An HTTP session, with its connections and what it has looked up in DNS; `requests` are those under way."""

    session: Any
    good_until_s: float
    requests: int = 0


class _SessionsInTurn:
    """Stands for the SDK's HTTP session: one after the other, so that no connection gets old.

    One whose time is over is closed when its last request has ended.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        self._make = partial(_reading_session(), *given, **named)
        self._turns: list[_Turn] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        turns, self._turns = self._turns, []
        for turn in turns:
            await turn.session.close()

    async def send(self, request: Any) -> Any:
        turn = self._current()
        turn.requests += 1
        try:
            return await turn.session.send(request)
        finally:
            turn.requests -= 1
            await self._close_old()

    def _current(self) -> _Turn:
        now = asyncio.get_running_loop().time()
        if not self._turns or now >= self._turns[-1].good_until_s:
            self._turns.append(_Turn(self._make(), now + LIFETIME_S))
        return self._turns[-1]

    async def _close_old(self) -> None:
        over = [turn for turn in self._turns[:-1] if not turn.requests]
        self._turns = [turn for turn in self._turns if turn not in over]
        for turn in over:
            await turn.session.close()


@cache
def _reading_session() -> type:
    """The SDK's HTTP session, keeping a good answer's body for us: its own parser looks up every result's members."""
    base: Any = direct_session()

    class ReadingSession(base):  # type: ignore[misc]
        async def send(self, request: Any) -> Any:
            response = await super().send(request)
            if response.status_code < FIRST_ERROR_STATUS:
                _call.get().answer = await response.content
                response._content = b"{}"  # noqa: SLF001  what its parser is to see
            return response

    return ReadingSession


def _endpoint_argument(prefix: bytes, suffix: bytes) -> dict[str, str]:
    """The frozen request's EndpointId as the SDK has to be given it.

    In the body alone, it would not be seen: the SDK would sign plain SigV4 for the Region's own host.
    """
    if b'"EndpointId":' not in prefix:
        return {}
    endpoint_id = orjson.loads(prefix + suffix).get("EndpointId")
    return {} if endpoint_id is None else {"EndpointId": endpoint_id}


def _want_awscrt() -> None:
    if not can_sign():
        raise ConfigError(
            f"the campaign's endpoint_id is that of a multi-region endpoint, {UNSIGNABLE}",
            hint=f"{GET_AWSCRT} Then send again: nothing was sent.",
        )


def _swap_body(params: dict[str, Any], **_: object) -> None:
    params["body"] = _call.get().body
