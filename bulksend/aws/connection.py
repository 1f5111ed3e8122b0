"""One HTTP/1.1 connection: a request goes out, its answer comes in, and of anything else it is known how far it got."""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import httptools

__all__ = ["Connection", "Lost", "Reply"]

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Head and body, interim answers too: fifty results are some 7 kB."""
LARGE_BODY_BYTES = 256 * 1024
"""Above this the parts of a request are handed over one by one, rather than copied into one."""
MAX_HEADERS = 1000
SWITCHING_PROTOCOLS = 101
FIRST_FINAL_STATUS = 200
FIRST_REFUSAL = 300
SOMETHING_CAME = select.POLLIN | select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. Names of headers are in lower case; of a name that came twice, the last is kept."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """The request was handed over, and no whole answer came."""

    reason: str


class Connection(asyncio.Protocol):
    """Carries one exchange at a time. Once `reusable` is false it is good for nothing more.

    What arrives while nothing has been asked, what follows a whole answer, and what is no HTTP, closes it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: Any = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Reply | Lost] | None = None
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._received_bytes = 0
        self._until_closed = False
        self._poll = select.poll()
        self._socket = -1
        self.reusable = False
        self.good_until_s = 0.0
        """When it is too old for another request; this and the next are the pool's, by the event loop's clock."""
        self.idle_since_s = 0.0

    # What its owner does ----------------------------------------------------------------------------------------------

    async def exchange(self, parts: Sequence[bytes | memoryview], timeout_s: float) -> Reply | Lost:
        """Send a request in parts, head first, and await its answer; within `timeout_s` there is a result.

        From the first step on a byte may have left. Cancelled, it closes the connection and raises, unless the answer
        came in the same moment.
        """
        assert self._transport is not None
        answer: asyncio.Future[Reply | Lost] = self._loop.create_future()
        self._answer = answer
        self._received_bytes = 0
        alarm = self._loop.call_later(timeout_s, self._give_up)
        try:
            try:
                if sum(map(len, parts)) > LARGE_BODY_BYTES:
                    self._transport.writelines(parts)
                else:
                    self._transport.write(b"".join(parts))
            except (OSError, RuntimeError) as error:  # uvloop's way to say that it has just been closed
                self._lose(f"it could not be written ({type(error).__name__})")
            return await answer
        except asyncio.CancelledError:
            self.abort()
            if answer.done():
                return answer.result()
            raise
        finally:
            alarm.cancel()
            self._answer = None

    def stands(self) -> bool:
        """Whether it is open, as far as the event loop knows: it tells of a loss some turns later."""
        return self.reusable and self._transport is not None and not self._transport.is_closing()

    def quiet(self) -> bool:
        """Whether nothing has come on the wire since the last answer, as far as the kernel knows.

        A server that has closed its end, without the event loop knowing it yet, is found out before the next request.
        """
        if not self.stands() or self._poll.poll(0):
            self.abort()
        return self.reusable

    def close(self) -> None:
        """Close in good order: TLS says so to the server."""
        self.reusable = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop does -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands, TLS included."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self.reusable = True
        self._socket = transport.get_extra_info("socket").fileno()
        self._poll.register(self._socket, SOMETHING_CAME)

    def data_received(self, data: bytes) -> None:
        """Some of the answer."""
        if self._answer is None or self._answer.done():
            self.abort()
            return
        self._received_bytes += len(data)
        if self._received_bytes > MAX_ANSWER_BYTES:
            self._lose("an answer without end")
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._lose(f"an answer that is no HTTP ({type(error).__name__})")

    def eof_received(self) -> None:
        """The server sends no more: that may be the end of the answer, and is that of the connection."""
        self.reusable = False
        if self._until_closed:
            self._complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whomever."""
        self._lose(f"the connection was lost before the answer ({type(exc).__name__ if exc else 'closed'})")

    # What the parser says ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another answer begins; to no request, if the one that was sent has its answer."""
        if self._answer is None or self._answer.done():
            self.abort()
        self._headers = {}
        self._body = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if len(self._headers) == MAX_HEADERS:
            self._lose("an answer of too many headers")
            return
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._status = self._parser.get_status_code()
        headers = self._headers
        self._until_closed = (
            self._status >= FIRST_FINAL_STATUS
            and b"content-length" not in headers
            and b"transfer-encoding" not in headers
        )

    def on_body(self, body: bytes) -> None:
        """Some of the body, unchunked."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole; interim ones are passed over."""
        if self._status == SWITCHING_PROTOCOLS:
            self._lose("an answer that switches protocols")
        elif self._status >= FIRST_FINAL_STATUS:
            self._complete()

    # ------------------------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        self._until_closed = False
        if self._answer is None or self._answer.done():
            return
        unsent = self._unsent()
        if unsent and self._status < FIRST_REFUSAL:
            self._lose("success before the request was whole")  # whatever was accepted, it is not what is sent here
            return
        if unsent or not self._parser.should_keep_alive():
            self.abort()
        self._answer.set_result(Reply(self._status, self._headers, b"".join(self._body)))

    def _unsent(self) -> bool:
        """Whether some of the request has not reached the server's machine yet: it answers before it has read it.

        Under TLS the transport does not know; the kernel does, where it can be asked. Had the server read all of it,
        the answer would have brought the last acknowledgement along.
        """
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > 0:
            return True
        try:
            unacknowledged = fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return False
        return int.from_bytes(unacknowledged, sys.byteorder) > 0

    def _give_up(self) -> None:
        self._lose("no whole answer in time")

    def _lose(self, reason: str) -> None:
        self._until_closed = False
        self.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(Lost(reason))
