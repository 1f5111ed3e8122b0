"""The two faces: one for those who operate the worker, one for strangers."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from bulksend.admin.entrance import Entrance
from bulksend.admin.listener import Limits, Listener
from bulksend.admin.ports import Office, Unsubscribing
from bulksend.admin.refusals import UNEXPECTED, Refusal, RefusedError, refusal_of
from bulksend.admin.routes import Asked, Route, find
from bulksend.admin.unsubscribe import UnsubscribePages, refused_page
from bulksend.errors import BulksendError

__all__ = ["Face", "PublicFace"]

_BUSY = Refusal(503, "Too many requests for campaigns are at work", "Ask again when some of them are answered.")
_LATER = Refusal(503, "That could not be done now", "Try again later.", headers={"Retry-After": "600"})


class Face:
    """An office behind HTTP for those who operate it, while inside; docs/http.md has the routes.

    `report_fault` is told of what nobody expected: the type of the error, and the route, with nothing of the request.
    `url` is where it listens, and `announcement` says so, and who is let in.

    Raises:
        ConfigError: at entry, for an address other than loopback without a token, or a token that is none.
        ServerError: at entry, when the address and port cannot be had.
    """

    def __init__(
        self,
        office: Office,
        host: str,
        port: int,
        *,
        token: str | None,
        report_fault: Callable[[str, str], None],
        limits: Limits | None = None,
    ) -> None:
        self._office = office
        self._entrance = Entrance(host, token)
        self._report_fault = report_fault
        self._limits = limits or Limits()
        self._waiting = 0
        self._listener = Listener(self._answer, host, port, self._limits)

    async def __aenter__(self) -> Self:
        self._entrance.check()
        await self._listener.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """http://address:port; empty before it is entered."""
        return self._listener.url

    @property
    def announcement(self) -> str:
        """One line for whoever starts it."""
        if self._entrance.token is None:
            return f"The HTTP face listens on {self.url}, for this machine alone: no token is needed."
        return f"The HTTP face listens on {self.url}: every request needs the token. It speaks plain HTTP, not TLS."

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._entrance.refusal_by(request.headers)
        if refusal is not None:
            return refusal.answer()
        operation = "no route"
        try:
            route = find(request.method, request.raw_path)
            operation = route.operation
            return await self._follow(route, request)
        except RefusedError as error:
            return error.refusal.answer()
        except BulksendError as error:
            refusal = refusal_of(error)
            if refusal is not None:
                return refusal.answer()
            self._report_fault(type(error).__qualname__, operation)
        except Exception as error:  # noqa: BLE001  a fault in one request is told, and must not end the worker
            self._report_fault(type(error).__qualname__, operation)
        return UNEXPECTED.answer()

    async def _follow(self, route: Route, request: web.BaseRequest) -> web.StreamResponse:
        """Let no more of them wait for the store than leaves room for those who ask after the worker's health."""
        if not route.needs_store:
            return await route.answer(await self._ask(route, request))
        if self._waiting >= self._limits.store_requests:
            raise RefusedError(_BUSY)
        self._waiting += 1
        try:
            return await route.answer(await self._ask(route, request))
        finally:
            self._waiting -= 1

    async def _ask(self, route: Route, request: web.BaseRequest) -> Asked:
        token_needed = self._entrance.token is not None
        return await route.ask(request, self._office, self._limits, token_needed=token_needed)


class PublicFace:
    """What strangers may call: one-click unsubscription. It has none of the operators' routes, and asks for no token.

    `report_fault` is told of what nobody expected, as the other face's is.

    Raises:
        ServerError: at entry, when the address and port cannot be had.
    """

    def __init__(
        self,
        office: Unsubscribing,
        host: str,
        port: int,
        *,
        report_fault: Callable[[str, str], None],
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self._pages = UnsubscribePages(office, limits)
        self._report_fault = report_fault
        self._listener = Listener(self._answer, host, port, limits)

    async def __aenter__(self) -> Self:
        await self._listener.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.__aexit__(kind, error, trace)

    @property
    def url(self) -> str:
        """http://address:port; empty before it is entered."""
        return self._listener.url

    @property
    def announcement(self) -> str:
        """One line for whoever starts it."""
        return f"The public HTTP face listens on {self.url}, for anybody. It speaks plain HTTP, not TLS."

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._pages.answer(request)
        except RefusedError as error:
            return refused_page(error.refusal)
        except Exception as error:  # noqa: BLE001  a fault in one request is told, and must not end the worker
            self._report_fault(type(error).__qualname__, "unsubscribe")
        return refused_page(_LATER)
