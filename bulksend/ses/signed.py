"""The signed transport: our own HTTP/1.1 and SigV4 around the ready bytes of a batch.

It knows when a request was handed to a connection: before that nothing has left, after that only a whole answer tells.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Self

from bulksend import __version__
from bulksend.aws.client import AwsAccess
from bulksend.aws.connection import Connection, Lost
from bulksend.aws.credentials import CredentialSource
from bulksend.aws.pool import NoConnectionError, Pool
from bulksend.aws.route import Route
from bulksend.aws.signing import SignedHead, Signer
from bulksend.aws.skew import ServerClock
from bulksend.clock import boot_s
from bulksend.model import Answer, Doubtful, NotSent
from bulksend.ses.answers import answer_of_error, answer_of_reply

__all__ = ["SignedTransport"]


class SignedTransport:
    """Satisfies the engine's Transport. An asynchronous context manager.

    `prefix` and `suffix` are the campaign's frozen frame.
    """

    kind: str = "signed"
    by_endpoint: bool = False

    def __init__(
        self, access: AwsAccess, route: Route, prefix: bytes, suffix: bytes, *, clock: ServerClock | None = None
    ) -> None:
        self._prefix = prefix
        self._suffix = suffix
        self._prefix_hash = sha256(prefix)
        self._frame_bytes = len(prefix) + len(suffix)
        self._answer_timeout_s = access.answer_timeout_s
        self._ready_within_s = 2 * access.connect_timeout_s
        self._credentials = CredentialSource(access)
        self._pool = Pool(route.peer, connect_timeout_s=access.connect_timeout_s)
        self._clock = clock or ServerClock()
        self._signer = Signer(route.region, route.service)
        self._path = route.path
        self._headers = (
            ("Host", route.host),
            ("Content-Type", "application/json"),
            ("User-Agent", f"bulksend/{__version__}"),
        )
        self._head: SignedHead | None = None
        self._head_of = (0, 0)
        """When it was signed (epoch seconds), and with which generation of credentials."""
        self._head_bytes = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.close()

    async def send(self, entries_json: bytes | memoryview, send_before_s: float) -> Answer:
        """One call, attempted once. See the engine's Transport."""
        try:
            connection = (self._pool.take_idle() if self._signs_as_of_now() else None) or await self._ready()
        except asyncio.CancelledError:
            return NotSent("interrupted before sending")
        except Exception as error:  # noqa: BLE001  whatever the SDK raises for want of credentials is an answer
            return self._not_ready(error)
        generation = self._head_of[1]
        try:
            parts = (self._signed(entries_json), self._prefix, entries_json, self._suffix)
            # The last thing before the first byte: a process that was stopped until now may have lost the chunk.
            if boot_s() > send_before_s:
                return NotSent("too long after the intent")
            reply = await connection.exchange(parts, self._answer_timeout_s)
        except asyncio.CancelledError:
            return Doubtful("interrupted while the answer was awaited")
        finally:
            self._pool.give_back(connection)
        return Doubtful(reply.reason) if isinstance(reply, Lost) else answer_of_reply(reply, generation)

    def _not_ready(self, error: Exception) -> Answer:
        match error:
            case NoConnectionError():
                return NotSent(str(error))
            case TimeoutError():
                return NotSent("no connection, or no credentials, in time")
            case _:
                return answer_of_error(error, self._credentials.generation, sent=False)

    def _signs_as_of_now(self) -> bool:
        of_now = (int(self._clock.now()), self._credentials.generation)
        return self._head_of == of_now and not self._credentials.due

    async def _ready(self) -> Connection:
        """A head that is of now, and a connection that stands: it is not kept waiting for the head.

        Raises:
            NoConnectionError: none could be made.
            TimeoutError: it took too long, or the credentials did.
        """
        async with asyncio.timeout(self._ready_within_s):
            if not self._signs_as_of_now():
                await self._sign_head()
            return self._pool.take_idle() or await self._pool.take_new()

    async def renew_credentials(self, refused_generation: int) -> int:
        """They are read anew with the next request."""
        return await self._credentials.renew(refused_generation)

    def set_clock(self, server_time: float) -> None:
        """From now on requests are signed with the server's clock."""
        self._clock.set(server_time)

    async def _sign_head(self) -> None:
        """Once a second, and whenever there are other keys: all that does not depend on the body."""
        credentials = await self._credentials.current()
        now = int(self._clock.now())
        head = self._signer.head(credentials, "POST", self._path, self._headers, now)
        lines = [f"POST {self._path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.headers), ""]
        self._head = head
        self._head_of = (now, self._credentials.generation)
        self._head_bytes = "\r\n".join(lines).encode()

    def _signed(self, entries_json: bytes | memoryview) -> bytes:
        """Request line and headers for these entries."""
        assert self._head is not None
        body_hash = self._prefix_hash.copy()
        body_hash.update(entries_json)
        body_hash.update(self._suffix)
        authorization = self._head.authorization(body_hash.hexdigest())
        length = self._frame_bytes + len(entries_json)
        return self._head_bytes + f"Authorization: {authorization}\r\nContent-Length: {length}\r\n\r\n".encode()
