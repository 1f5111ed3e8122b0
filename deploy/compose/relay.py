"""Pass TCP connections on: `relay.py LISTEN TARGET`, both ADDRESS:PORT. `relay.py --check TARGET` asks if one answers.

The simulator of SES listens on 127.0.0.1 only. Between containers of compose.yml, in a network that leads nowhere
else, this stands in front of it.
"""
# ruff: noqa: INP001  a program, no module of a package

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import suppress

BLOCK_BYTES = 64 * 1024
CHECK_WITHIN_S = 4.0


def address(text: str) -> tuple[str, int]:
    """Host and port of ADDRESS:PORT."""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def passed_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """One direction, until its end."""
    try:
        while block := await source.read(BLOCK_BYTES):
            target.write(block)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()
    except OSError:
        target.transport.abort()


async def relay(listen: str, target: str) -> None:
    """Until SIGTERM or SIGINT."""

    async def join(source: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*address(target))
        except OSError:
            out.transport.abort()  # refused there, so reset here: nothing is made of it
            return
        try:
            await asyncio.gather(passed_on(source, back), passed_on(there, out))
        finally:
            for writer in (out, back):
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    host, port = address(listen)
    server = await asyncio.start_server(join, host, port)
    try:
        await ended.wait()
    finally:
        server.close()


def main() -> None:
    """Relay, or check."""
    if sys.argv[1] != "--check":
        asyncio.run(relay(sys.argv[1], sys.argv[2]))
        return
    # The relay takes connections before there is anything behind it: an answer is the proof.
    with socket.create_connection(address(sys.argv[2]), timeout=CHECK_WITHIN_S) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        sys.exit(0 if connection.recv(5) == b"HTTP/" else 1)


if __name__ == "__main__":
    main()
