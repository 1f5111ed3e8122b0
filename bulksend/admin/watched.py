"""The face of a process that is watched and told nothing: its series, and whether it lives."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from bulksend.admin.asked import read_path
from bulksend.admin.entrance import Entrance
from bulksend.admin.listener import Limits, Listener
from bulksend.admin.refusals import Refusal, RefusedError, json_answer

__all__ = ["WatchedFace"]

_NOTHING_HERE = Refusal(404, "There is nothing here", "GET /metrics and GET /healthz are all there is.")
_NOT_SO = Refusal(405, "This method is not for this path", "Use GET.", headers={"Allow": "GET"})


class WatchedFace:
    """/metrics and /healthz, while inside, for those whom the worker's face would let in.

    `metrics` gives the content type and the text of the Prometheus exposition. /healthz is answered by the event loop
    of the process itself: that it is, is what it says.

    Raises:
        ConfigError: at entry, for an address other than loopback without a token, or a token that is none.
        ServerError: at entry, when the address and port cannot be had.
    """

    def __init__(self, metrics: Callable[[], tuple[str, bytes]], host: str, port: int, *, token: str | None) -> None:
        self._metrics = metrics
        self._entrance = Entrance(host, token)
        self._listener = Listener(self._answer, host, port, Limits())

    async def __aenter__(self) -> Self:
        self._entrance.check()
        await self._listener.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.__aexit__(kind, error, trace)

    @property
    def announcement(self) -> str:
        """One line for whoever starts it."""
        who = "for this machine alone" if self._entrance.token is None else "every request needs the token"
        return f"metrics on {self._listener.url}/metrics: {who}"

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        refusal = self._entrance.refusal_by(request.headers)
        if refusal is not None:
            return refusal.answer()
        try:
            return self._found(request)
        except RefusedError as error:
            return error.refusal.answer()

    def _found(self, request: web.BaseRequest) -> web.Response:
        """Raises RefusedError."""
        path = read_path(request.raw_path)
        if path not in {("metrics",), ("healthz",)}:
            raise RefusedError(_NOTHING_HERE)
        if request.method != "GET":
            raise RefusedError(_NOT_SO)
        if path == ("healthz",):
            return json_answer({"alive": True})
        content_type, text = self._metrics()
        return web.Response(body=text, headers={"Content-Type": content_type})
