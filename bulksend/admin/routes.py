"""The routes of the operators' face, and what each of them answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

from aiohttp import HttpVersion11, web

from bulksend.admin.asked import Key, read_json, read_path, read_query, want_json
from bulksend.admin.listener import Limits, cut, send
from bulksend.admin.openapi import document
from bulksend.admin.ports import Format, Office
from bulksend.admin.refusals import Refusal, RefusedError, json_answer
from bulksend.errors import BulksendError, CampaignUnknownError
from bulksend.event import FATES
from bulksend.model import EntryState

__all__ = ["ROUTES", "Asked", "Route", "find"]

STATES = (*(state.name.lower() for state in EntryState), "skipped")
CAMPAIGN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
"""What a campaign file's name may be, too."""
_CONTENT_TYPES: Mapping[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, let in and understood. `token_needed` is said in the OpenAPI document."""

    request: web.BaseRequest
    office: Office
    limits: Limits
    token_needed: bool
    name: str
    query: Mapping[str, list[str]]
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, with {name} for a campaign's. `takes_body`: POST /campaigns alone."""

    method: str
    path: str
    answer: Callable[[Asked], Awaitable[web.StreamResponse]]
    query: Mapping[str, Key] = field(default_factory=dict)
    takes_body: bool = False

    @property
    def segments(self) -> tuple[str, ...]:
        """Its path in parts."""
        return tuple(self.path.split("/")[1:])

    @property
    def needs_store(self) -> bool:
        """Whether it may wait for the store or for SES, for as long as they please."""
        return self.segments[0] == "campaigns"

    @property
    def operation(self) -> str:
        """What it is called where nothing of the request shall be told."""
        return f"{self.method} {self.path}"

    async def ask(self, request: web.BaseRequest, office: Office, limits: Limits, *, token_needed: bool) -> Asked:
        """Read the rest of the request. Raises RefusedError: 400, 404, 408, 413, 415."""
        if self.method == "POST":
            want_json(request)
        query = read_query(request.raw_path, self.query)
        segments = read_path(request.raw_path)
        name = segments[1] if len(segments) > 1 else ""
        if name and not CAMPAIGN_NAME.fullmatch(name):
            raise CampaignUnknownError("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ -")
        body: Mapping[str, object] = {}
        if self.method == "POST":
            body = await read_json(request, limits)
            if body and not self.takes_body:
                raise RefusedError(Refusal(400, "This takes no body", "Send none, or an empty object: {}."))
        return Asked(request, office, limits, token_needed, name, query, body)


def find(method: str, target: str) -> Route:
    """The route of a request. Raises RefusedError: 400, 404, or 405 with what is allowed."""
    segments = read_path(target)
    shape = tuple("{name}" if place == 1 and part else part for place, part in enumerate(segments))
    allowed = {route.method: route for route in ROUTES if route.segments == shape}
    if not allowed:
        raise RefusedError(Refusal(404, "There is nothing here", "GET /openapi.json lists all there is."))
    if method not in allowed:
        methods = ", ".join(allowed)
        refusal = Refusal(405, "This method is not for this path", f"Use {methods}.", headers={"Allow": methods})
        raise RefusedError(refusal)
    return allowed[method]


async def _metrics(asked: Asked) -> web.StreamResponse:
    content_type, text = asked.office.metrics()
    return web.Response(body=text, headers={"Content-Type": content_type})


async def _healthz(asked: Asked) -> web.StreamResponse:
    age_s = asked.office.heartbeat_age_s()
    alive = age_s <= asked.limits.heartbeat_s
    return json_answer({"alive": alive, "heartbeat_age_s": round(age_s, 3)}, 200 if alive else 503)


async def _readyz(asked: Asked) -> web.StreamResponse:
    limit_s = asked.limits.readiness_s
    try:
        async with asyncio.timeout(limit_s) as clock:
            reasons = list(await asked.office.hindrances())
    except TimeoutError:
        if not clock.expired():
            raise
        reasons = [f"The check took longer than {limit_s:g} s."]
    except BulksendError as error:
        reasons = [error.message]
    return json_answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)


async def _openapi(asked: Asked) -> web.StreamResponse:
    return json_answer(document(token_needed=asked.token_needed))


async def _campaigns(asked: Asked) -> web.StreamResponse:
    return json_answer({"campaigns": list(await asked.office.campaigns())})


async def _submit(asked: Asked) -> web.StreamResponse:
    again = asked.query.get("again") == ["true"]
    facts, new = await asked.office.submit(asked.body, again=again)
    return json_answer(facts, 201 if new else 200)


async def _campaign(asked: Asked) -> web.StreamResponse:
    return json_answer(await asked.office.campaign(asked.name))


async def _queue(asked: Asked) -> web.StreamResponse:
    return json_answer(await asked.office.queue(asked.name))


async def _pause(asked: Asked) -> web.StreamResponse:
    return json_answer(await asked.office.pause(asked.name))


async def _resume(asked: Asked) -> web.StreamResponse:
    return json_answer(await asked.office.resume(asked.name))


async def _cancel(asked: Asked) -> web.StreamResponse:
    return json_answer(await asked.office.cancel(asked.name))


async def _results(asked: Asked) -> web.StreamResponse:
    request, stalled_s = asked.request, asked.limits.stalled_s
    if request.version < HttpVersion11:
        error = "Results go out by HTTP/1.1 alone: before, nobody could tell a part from the whole"
        raise RefusedError(Refusal(400, error, "Ask by HTTP/1.1."))
    form = cast("Format", asked.query.get("format", ["csv"])[0])
    file = f'attachment; filename="{asked.name}.{form}"'
    response = web.StreamResponse(headers={"Content-Type": _CONTENT_TYPES[form], "Content-Disposition": file})
    states, fates = (tuple(asked.query.get(key, ())) for key in ("state", "fate"))
    async with aclosing(asked.office.results(asked.name, states, fates, form)) as pieces:
        try:
            async for piece in pieces:
                if not await send(request, response, stalled_s, piece):
                    break
        except BaseException:
            if response.prepared:
                cut(request)
            raise
    return response


ROUTES = (
    Route("GET", "/metrics", _metrics),
    Route("GET", "/healthz", _healthz),
    Route("GET", "/readyz", _readyz),
    Route("GET", "/openapi.json", _openapi),
    Route("GET", "/campaigns", _campaigns),
    Route("POST", "/campaigns", _submit, {"again": Key(("true", "false"))}, takes_body=True),
    Route("GET", "/campaigns/{name}", _campaign),
    Route("POST", "/campaigns/{name}/submit", _queue),
    Route("POST", "/campaigns/{name}/pause", _pause),
    Route("POST", "/campaigns/{name}/resume", _resume),
    Route("POST", "/campaigns/{name}/cancel", _cancel),
    Route(
        "GET",
        "/campaigns/{name}/results",
        _results,
        {
            "state": Key(STATES, several=True),
            "fate": Key(tuple(FATES.values()), several=True),
            "format": Key(tuple(_CONTENT_TYPES)),
        },
    ),
)
