"""Kept-alive connections to one host: as many as there are requests in the air, none of them old, none long idle."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from bulksend.aws.connection import Connection

__all__ = ["NoConnectionError", "Peer", "Pool"]

LIFETIME_S = 60.0
"""The Developer Guide advises about a minute for connections to a global endpoint, so that traffic follows its DNS."""
LIFETIME_JITTER = 0.2
"""Connections made together are not all made anew together."""
MAX_IDLE_S = 4.0
"""A server may close an idle connection at the moment of the next request, which is then in doubt.

Connecting anew is the lesser evil.
"""


class NoConnectionError(Exception):
    """No connection could be made; nothing of any request has left."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is connected to. `tls` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class Pool:
    """Hands out connections, the one used last first, so that those not needed grow idle and are closed."""

    def __init__(
        self, peer: Peer, *, connect_timeout_s: float, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._peer = peer
        self._connect_timeout_s = connect_timeout_s
        self._uniform = uniform
        self._idle: deque[Connection] = deque()
        self._out: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def take_idle(self) -> Connection | None:
        """A connection that stands, for one exchange; None when one has to be made."""
        now_s = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            # The sweeper may be late: the process may have been stopped for a while.
            if now_s < min(connection.good_until_s, connection.idle_since_s + MAX_IDLE_S) and connection.quiet():
                self._out.add(connection)
                return connection
            connection.close()
        return None

    async def take_new(self) -> Connection:
        """A connection made for this exchange. Raises NoConnectionError."""
        connection = await self._connect()
        if not connection.stands():
            raise NoConnectionError(f"{self._peer.host} hung up at once")
        self._out.add(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """After the exchange, whatever became of it."""
        self._out.discard(connection)
        if not connection.reusable:
            return
        connection.idle_since_s = now_s = asyncio.get_running_loop().time()
        if now_s >= connection.good_until_s:
            connection.close()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweep_later(MAX_IDLE_S)

    def close(self) -> None:
        """Close all, also those in use."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in (*self._idle, *self._out):
            connection.abort()
        self._idle.clear()
        self._out.clear()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        peer = self._peer
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop),
                    peer.host,
                    peer.port,
                    ssl=peer.tls,
                    server_hostname=peer.host if peer.tls else None,
                )
        except TimeoutError as error:
            raise NoConnectionError(f"no connection to {peer.host} within {self._connect_timeout_s:g} s") from error
        except ssl.SSLError as error:
            raise NoConnectionError(f"no TLS with {peer.host}: {error.reason or error}") from error
        except OSError as error:
            raise NoConnectionError(f"no connection to {peer.host}: {error.strerror or error}") from error
        connection.good_until_s = loop.time() + LIFETIME_S * (1 - self._uniform(0.0, LIFETIME_JITTER))
        return connection

    def _sweep(self) -> None:
        """Close what has been idle for long: the longest idle are on the left."""
        now_s = asyncio.get_running_loop().time()
        while self._idle and now_s - self._idle[0].idle_since_s >= MAX_IDLE_S:
            self._idle.popleft().close()
        self._sweeper = None
        if self._idle:
            self._sweep_later(self._idle[0].idle_since_s + MAX_IDLE_S - now_s)

    def _sweep_later(self, delay_s: float) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(delay_s, self._sweep)
