"""Asking SES's control plane what a person wants to know: an answer, or in words why there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Self, TypeVar

from bulksend.aws.client import AwsAccess, explained, open_client, refusal_code
from bulksend.aws.skew import ServerClock, server_time
from bulksend.errors import BulksendError

__all__ = ["Cause", "Inquiry", "Unknown", "found", "pages"]

T = TypeVar("T")

ANSWER_WITHIN_S = 20.0
"""How long one question may take, with what the SDK tries again."""
MOST_PAGES = 100
PAGE_SIZE = 100
_NOT_FOUND = "NotFoundException"
_SKEWED = ("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture")
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "AuthorizationError")
_THROTTLED = ("TooManyRequestsException", "Throttling", "ThrottlingException", "RequestLimitExceeded")
_MISSING = ("UnknownOperationException", "UnknownOperation", "InvalidAction", "NotImplemented")
_MISSING_STATUS = (404, 405, 501)


@unique
class Cause(StrEnum):
    """What kept an answer back.

    UNREACHABLE  nobody answers, or there are no credentials to ask with: nothing else need be asked either.
    REFUSED      these credentials may not, or SES refuses the question.
    THROTTLED    too many questions just now.
    MISSING      the server does not know the question.
    """

    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    THROTTLED = "throttled"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be found out; `why` is for people."""

    why: str
    cause: Cause = Cause.REFUSED

    @property
    def unreachable(self) -> bool:
        """Whether nothing else need be asked there."""
        return self.cause is Cause.UNREACHABLE


class Inquiry:
    """One account in one Region, for whoever only looks. An asynchronous context manager.

    Not `retrying` means a single attempt for each question.

    Raises:
        AccountError: on entry: the profile is not known.
        ConfigError: on entry: no region is set anywhere.
    """

    def __init__(self, access: AwsAccess, clock: ServerClock | None = None, *, retrying: bool = True) -> None:
        self._access = access
        self._clock = clock or ServerClock()
        self._retrying = retrying
        self._clients = AsyncExitStack()
        self._client: Any = None
        self.skew_s: float | None = None
        """How far SES's clock was ahead of this machine's, by the Date of its last answer; None before any."""

    async def __aenter__(self) -> Self:
        try:
            opening = open_client(self._access, retrying=self._retrying)
            self._client = await self._clients.enter_async_context(opening)
        except Exception as error:
            raise explained(error) from error
        self._client.meta.events.register("before-send.sesv2", self._before_send)
        self._client.meta.events.register("after-call.sesv2", self._after_call)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()

    async def ask(self, read: Callable[[Any], Awaitable[T]]) -> T | Unknown:
        """What `read` makes of an SDK client. Whatever SES or the network do, it raises nothing."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                try:
                    return await read(self._client)
                except Exception as error:
                    if refusal_code(error) not in _SKEWED or self.skew_s is None:
                        raise
                    self._clock.set(time.time() + self.skew_s)
                    return await read(self._client)
        except TimeoutError:
            return Unknown(f"no answer within {ANSWER_WITHIN_S:.0f} seconds", Cause.UNREACHABLE)
        except Exception as error:  # noqa: BLE001  one question less: others may have their answers
            return _unknown(error)

    async def _before_send(self, request: Any, **_: object) -> None:
        await self._clock.correct(self._client, request)

    def _after_call(self, parsed: Any, **_: object) -> None:
        there = server_time(parsed)
        if there is not None:
            self.skew_s = there - time.time()


async def found(asked: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """The answer, or None where SES has no such thing."""
    try:
        return await asked
    except Exception as error:
        if refusal_code(error) == _NOT_FOUND:
            return None
        raise


async def pages(ask: Callable[..., Awaitable[dict[str, Any]]], **arguments: Any) -> AsyncIterator[dict[str, Any]]:
    """Each page of a list, a hundred of a hundred at most."""
    more: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = await ask(PageSize=PAGE_SIZE, **arguments, **more)
        yield page
        token = page.get("NextToken")
        if not token:
            return
        more = {"NextToken": token}


def _unknown(error: Exception) -> Unknown:
    if isinstance(error, BulksendError):
        return Unknown(error.message)
    code = refusal_code(error)
    if not code:
        why = explained(error)
        return Unknown(f"{why.detail}. {why.hint}", Cause.UNREACHABLE)
    response = getattr(error, "response", {})
    operation = str(getattr(error, "operation_name", "the call"))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    text = str(response.get("Error", {}).get("Message", ""))
    if code in _DENIED:
        return Unknown(f"these credentials may not call {operation}: allow the action ses:{operation} ({text})")
    if code in _THROTTLED:
        return Unknown(
            f"SES is asked for {operation} too often just now; run this again in a minute ({code})", Cause.THROTTLED
        )
    if code in _MISSING or (status in _MISSING_STATUS and code != _NOT_FOUND):
        return Unknown(f"{operation} is not there: the server does not know it ({code})", Cause.MISSING)
    return Unknown(f"{operation} was refused: {code}: {text}")
