"""SQS's JSON protocol on connections of our own, which takes a fraction of the SDK's CPU; or through the SDK.

Source: Amazon SQS Developer Guide, Making Query API requests using AWS JSON protocol.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import Any, Self

import orjson

from bulksend import __version__
from bulksend.aws import (
    AwsAccess,
    Connection,
    CredentialSource,
    Lost,
    NoConnectionError,
    Pool,
    Reply,
    Route,
    ServerClock,
    SignedHead,
    Signer,
    explained,
    open_client,
)
from bulksend.aws.skew import epoch_of
from bulksend.errors import ConfigError
from bulksend.events.troubles import CLOCK_CODES, CREDENTIAL_CODES, QueueError, Trouble, refusal

__all__ = ["SdkCalls", "SignedCalls"]

MAX_SKEW_S = 240.0
"""A clock that is wrong by more is worth correcting: signatures are good for some five minutes."""
SUCCESS = 200
MAX_CONNECTIONS = 32


class SignedCalls:
    """One queue's calls. An asynchronous context manager."""

    def __init__(self, access: AwsAccess, route: Route, *, clock: ServerClock | None = None) -> None:
        self._credentials = CredentialSource(access)
        self._pool = Pool(route.peer, connect_timeout_s=access.connect_timeout_s)
        self._ready_within_s = 2 * access.connect_timeout_s
        self._clock = clock or ServerClock()
        self._signer = Signer(route.region, route.service)
        self._host, self._path = route.host, route.path or "/"
        self._heads: dict[str, tuple[SignedHead, bytes]] = {}
        """By operation: all of the signature but the body's part, and the lines that go with it."""
        self._heads_of = (0, 0)
        """When they were signed (epoch seconds), and with which generation of credentials."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.close()

    async def call(self, operation: str, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Ask SQS. Credentials that are refused are read anew once, a clock that is wrong is corrected once.

        Raises:
            QueueError: whatever came in place of the answer.
        """
        body = orjson.dumps(request)
        renewed = corrected = False
        while True:
            reply, generation = await self._exchange(operation, request["QueueUrl"], body, timeout_s)
            if reply.status == SUCCESS:
                return _members(reply.body, operation)
            code, text = _error_of(reply)
            if code in CLOCK_CODES and not corrected and self._correct_clock(reply):
                corrected = True
            elif code in CREDENTIAL_CODES and not renewed:
                await self._credentials.renew(generation)
                renewed = True
            else:
                raise refusal(operation, request["QueueUrl"], code, text, reply.status)

    async def _exchange(self, operation: str, queue_url: str, body: bytes, timeout_s: float) -> tuple[Reply, int]:
        try:
            async with asyncio.timeout(self._ready_within_s):
                head, lines, generation = await self._head(operation)
                connection: Connection = self._pool.take_idle() or await self._pool.take_new()
        except NoConnectionError as error:
            raise QueueError(f"{queue_url}: {error}", trouble=Trouble.AWAY) from error
        except TimeoutError as error:
            raise QueueError(f"{queue_url}: no connection, or no credentials, in time", trouble=Trouble.AWAY) from error
        try:
            authorization = head.authorization(sha256(body).hexdigest())
            last = f"Authorization: {authorization}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            reply = await connection.exchange((lines, last, body), timeout_s)
        finally:
            self._pool.give_back(connection)
        if isinstance(reply, Lost):
            raise QueueError(f"{queue_url}: {reply.reason}", trouble=Trouble.AWAY)
        return reply, generation

    async def _head(self, operation: str) -> tuple[SignedHead, bytes, int]:
        """Once a second for each operation, and whenever there are other keys."""
        try:
            credentials = await self._credentials.current()
        except Exception as error:
            said = explained(error)
            raise QueueError(said.detail, trouble=Trouble.CREDENTIALS, hint=said.hint) from error
        now, generation = int(self._clock.now()), self._credentials.generation
        if self._heads_of != (now, generation):
            self._heads.clear()
            self._heads_of = (now, generation)
        found = self._heads.get(operation)
        if found is None:
            headers = (
                ("Host", self._host),
                ("Content-Type", "application/x-amz-json-1.0"),
                ("X-Amz-Target", f"AmazonSQS.{operation}"),
                ("User-Agent", f"bulksend/{__version__}"),
            )
            head = self._signer.head(credentials, "POST", self._path, headers, now)
            lines = [f"POST {self._path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.headers), ""]
            found = self._heads[operation] = head, "\r\n".join(lines).encode()
        return *found, generation

    def _correct_clock(self, reply: Reply) -> bool:
        """Whether the server's clock is another, which is taken from now on."""
        theirs = epoch_of(reply.headers.get(b"date", b"").decode("latin-1"))
        if theirs is None or abs(theirs - self._clock.now()) < MAX_SKEW_S:
            return False
        self._clock.set(theirs)
        return True


class SdkCalls:
    """The same through the SDK's client: behind a proxy, or with a client certificate."""

    def __init__(self, access: AwsAccess) -> None:
        self._access = access
        self._stack = AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(self, operation: str, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """See SignedCalls. `timeout_s` is the longest of the client's life: that of all its calls."""
        from botocore import xform_name  # noqa: PLC0415
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            client = await self._opened()
            async with asyncio.timeout(timeout_s):
                answer: dict[str, Any] = await getattr(client, xform_name(operation))(**request)
        except ClientError as error:
            said, status = error.response.get("Error", {}), error.response.get("ResponseMetadata", {})
            code = str(said.get("Code", ""))
            if code in CREDENTIAL_CODES:
                await self._close()  # the next call's client reads them anew
            text, http_status = str(said.get("Message", "")), int(status.get("HTTPStatusCode", 0))
            raise refusal(operation, request["QueueUrl"], code, text, http_status) from error
        except TimeoutError as error:
            raise QueueError(f"{request['QueueUrl']}: no answer in time", trouble=Trouble.AWAY) from error
        except Exception as error:
            trouble = _sdk_trouble(error)
            raise QueueError(f"{request['QueueUrl']}: {explained(error).detail}", trouble=trouble) from error
        return answer

    async def _opened(self) -> Any:
        async with self._opening:
            if self._client is None:
                opened = open_client(self._access, "sqs", retrying=False, max_connections=MAX_CONNECTIONS)
                self._client = await self._stack.enter_async_context(opened)
            return self._client

    async def _close(self) -> None:
        async with self._opening:
            self._client = None
            await self._stack.aclose()


def _sdk_trouble(error: Exception) -> Trouble:
    from botocore import exceptions as sdk  # noqa: PLC0415

    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
        return Trouble.CREDENTIALS
    return Trouble.REFUSED if isinstance(explained(error), ConfigError) else Trouble.AWAY


def _members(body: bytes, operation: str) -> dict[str, Any]:
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise QueueError(f"{operation} got an answer that is no JSON", trouble=Trouble.AWAY)
    return found


def _error_of(reply: Reply) -> tuple[str, str]:
    """Code and text of an error, in the protocol's own way: __type is a shape's name, after its namespace."""
    try:
        said = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        return "", ""
    code, text = said.get("__type"), said.get("message") or said.get("Message")
    code = code if isinstance(code, str) else ""
    return code.rpartition("#")[2].partition(":")[0], text if isinstance(text, str) else ""
