"""One-click unsubscription, as strangers and their mail programs ask for it (RFC 8058). Pages without script or style.

A GET shows a page with a button, and changes nothing: programs that look for harmful mail follow every link of it. The
POST is what unsubscribes, whoever sends it: a mail provider for its user, or the button.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from email import message_from_bytes
from html import escape
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from bulksend.admin.asked import read_body, read_path
from bulksend.admin.listener import Limits
from bulksend.admin.ports import Unsubscribed, Unsubscribing
from bulksend.admin.refusals import Refusal, RefusedError

__all__ = ["UnsubscribePages", "refused_page"]

PATH = "u"
NAME, VALUE = "List-Unsubscribe", "One-Click"
MAX_BODY_BYTES = 4096
MAX_FIELDS = 8
AT_WORK = 4
"""Of those that have to look into a list; more wait."""
WAITING = 50
PER_S = 100.0
BURST = 200.0
WITHIN_S = 30.0

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
_NOTHING_HERE = Refusal(
    404,
    "There is nothing here",
    "If a link in a mail led you here, it may be cut short: open it from the mail once more.",
)
_NOT_SO = Refusal(405, "This can only be looked at (GET) or confirmed (POST)", "", headers={"Allow": "GET, HEAD, POST"})
_NOT_ONE_CLICK = Refusal(400, f"The body does not say {NAME}={VALUE}", "Post that as a form (RFC 8058).")
_NOT_A_FORM = Refusal(
    415, "The body is no form", "Post application/x-www-form-urlencoded or multipart/form-data, without encoding."
)
_BUSY = Refusal(503, "Too many requests are at work", "Try again in a minute.", headers={"Retry-After": "60"})

_QUESTION = (
    "Do you want to unsubscribe?",
    (
        "<p>Press the button to get no more mail of this sender's lists.</p>"
        f'<form method="post"><input type="hidden" name="{NAME}" value="{VALUE}">'
        '<button type="submit">Unsubscribe</button></form>'
    ),
)
_DONE = (
    "You are unsubscribed",
    "<p>You will get no more mail of this sender's lists. Mail that is under way already may still arrive.</p>",
)
_NOBODY_KNOWN = (
    "Nothing is left to unsubscribe",
    "<p>Whom that mail went to has been removed here. If such mail keeps coming, use the link in a newer one.</p>",
)


class UnsubscribePages:
    """Answers what comes to /u/TOKEN; all else is refused as if there were nothing."""

    def __init__(self, office: Unsubscribing, limits: Limits) -> None:
        self._office = office
        self._limits = limits
        self._at_work = asyncio.Semaphore(AT_WORK)
        self._waiting = 0
        self._tokens = BURST
        self._at_s = time.monotonic()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Raises RefusedError."""
        token = self._token(request.raw_path)
        if not await self._office.knows(token):
            raise RefusedError(_NOTHING_HERE)
        self._spend()  # what has no token of ours takes nothing from those who have
        match request.method:
            case "GET" | "HEAD":
                return _page(*_QUESTION)
            case "POST":
                await _want_one_click(request, self._limits)
                return await self._unsubscribe(token)
            case _:
                raise RefusedError(_NOT_SO)

    @staticmethod
    def _token(raw_path: str) -> str:
        try:
            path = read_path(raw_path)
        except RefusedError:
            raise RefusedError(_NOTHING_HERE) from None
        if len(path) != 2 or path[0] != PATH:  # noqa: PLR2004  /u/TOKEN
            raise RefusedError(_NOTHING_HERE)
        return path[1]

    def _spend(self) -> None:
        """Raises RefusedError: more come than need to."""
        now_s = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now_s - self._at_s) * PER_S)
        self._at_s = now_s
        if self._tokens < 1:
            raise RefusedError(_BUSY)
        self._tokens -= 1

    async def _unsubscribe(self, token: str) -> web.Response:
        if self._waiting >= WAITING:
            raise RefusedError(_BUSY)
        self._waiting += 1
        try:
            async with asyncio.timeout(WITHIN_S), self._at_work:
                done = await self._office.unsubscribe(token)
        except TimeoutError:
            raise RefusedError(_BUSY) from None
        finally:
            self._waiting -= 1
        match done:
            case Unsubscribed.DONE:
                return _page(*_DONE)
            case Unsubscribed.NOBODY_KNOWN:
                return _page(*_NOBODY_KNOWN)
            case Unsubscribed.NOT_OURS:
                raise RefusedError(_NOTHING_HERE)


async def _want_one_click(request: web.BaseRequest, limits: Limits) -> None:
    """Raises RefusedError: the body does not ask for it, or is too large or too slow."""
    kinds = request.headers.getall("Content-Type", ())
    if len(kinds) != 1 or "Content-Encoding" in request.headers:
        raise RefusedError(_NOT_A_FORM)
    body = await read_body(request, MAX_BODY_BYTES, limits.body_s)
    kind = kinds[0].partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        said = _urlencoded(body)
    elif kind == "multipart/form-data":
        said = _multipart(kinds[0], body)
    else:
        raise RefusedError(_NOT_A_FORM)
    if said.get(NAME) != VALUE:
        raise RefusedError(_NOT_ONE_CLICK)


def _urlencoded(body: bytes) -> Mapping[str, str]:
    try:
        return dict(parse_qsl(body.decode("ascii").strip(), max_num_fields=MAX_FIELDS))
    except ValueError:
        return {}


def _multipart(kind: str, body: bytes) -> Mapping[str, str]:
    """Of a body of a few kilobytes: a form's parts are those of a MIME message (RFC 7578)."""
    message = message_from_bytes(b"Content-Type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + body)
    fields: dict[str, str] = {}
    parts: Any = message.get_payload()
    for part in parts[:MAX_FIELDS] if isinstance(parts, list) else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            fields[name] = content.decode("latin-1").strip()
    return fields


def refused_page(refusal: Refusal) -> web.Response:
    """An error answer for whoever may be a person with a browser."""
    said = f"<p>{escape(refusal.what_to_do)}</p>" if refusal.what_to_do else ""
    response = _page(refusal.error, said, refusal.status)
    response.headers.update(refusal.headers)
    if refusal.close:
        response.force_close()
    return response


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"</head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8", headers=_HEADERS)
