"""A server with a ready answer that it gives only after a while: what SES's latency does to a sender.

    python -m loadtest.slow_server FOLDER DELAY_MS

FOLDER has server.pem and server.key. It prints its port, and ends on SIGTERM.
"""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from pathlib import Path
from typing import Any, cast

import httptools
import uvloop

from loadtest.servers import ACCOUNT, ANSWER

HEAD = (
    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nx-amzn-requestid: {id}\r\nContent-Length: {length}\r\n\r\n"
)
BACKLOG = 4096


def reply(status: str, body: str) -> bytes:
    head = HEAD.format(status=status, id="0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", length=len(body))
    return (head + body).encode()


REPLIES = {
    b"/v2/email/outbound-bulk-emails": reply("200 OK", ANSWER),
    b"/v2/email/account": reply("200 OK", ACCOUNT),
}
NOTHING = reply("404 Not Found", '{"message":"There is nothing here."}')


class Answerer(asyncio.Protocol):
    """One connection; a request's answer is due `delay_s` after its last byte."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_message_complete(self) -> None:
        self._loop.call_later(self._delay_s, self._answer, REPLIES.get(self._path, NOTHING))

    def _answer(self, answer: bytes) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(folder: Path, delay_ms: float) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "server.pem", folder / "server.key")
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await loop.create_server(lambda: Answerer(delay_ms / 1000), "127.0.0.1", 0, ssl=tls, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
