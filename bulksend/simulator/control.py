"""What lies under /_simulator: the tally, the events, the rules, the settings. Loopback, like everything here."""

from __future__ import annotations

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from aiohttp import web

from bulksend.errors import BulksendError
from bulksend.simulator.account import Account
from bulksend.simulator.events import Emitter

__all__ = ["PREFIX", "Kept", "KeptRequests", "control"]

PREFIX = "/_simulator/"
_MAX_KEPT_BYTES = 64 * 1024 * 1024


class _UnknownError(Exception):
    """There is nothing at this path."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A request as it came and what was answered."""

    operation: str
    at: float
    http_status: int
    request_id: str
    body: bytes


class KeptRequests:
    """The last requests, bounded in number and bytes."""

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque()
        self._size_bytes = 0

    def keep(self, kept: Kept, most: int) -> None:
        """Keep one more, and let the oldest go."""
        self._kept.append(kept)
        self._size_bytes += len(kept.body)
        while self._kept and (len(self._kept) > most or self._size_bytes > _MAX_KEPT_BYTES):
            self._size_bytes -= len(self._kept.popleft().body)

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()
        self._size_bytes = 0

    def listed(self) -> list[dict[str, Any]]:
        """Oldest first, bodies decoded where they are JSON."""
        return [
            {
                "operation": kept.operation,
                "at": kept.at,
                "http_status": kept.http_status,
                "request_id": kept.request_id,
                "body": _decoded(kept.body),
            }
            for kept in self._kept
        ]


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")


async def control(
    request: web.BaseRequest, account: Account, kept: KeptRequests, emitter: Emitter
) -> web.StreamResponse:
    """Answer a request under /_simulator."""
    name = request.url.host or ""
    if name not in ("127.0.0.1", "localhost"):
        # A page in a browser may reach loopback under a name of its own; nothing else calls it anything but this.
        return _json({"error": f"the simulator does not answer to {name}"}, 403)
    what = f"{request.method} {request.path.removeprefix(PREFIX)}"
    campaign = request.query.get("campaign")
    if what == "GET accepted":
        return await _accepted(request, account, campaign)
    try:
        body = await request.read()
        if what == "POST events/flush":
            await emitter.flush()
            what = "GET events"
        if what == "POST reset":
            emitter.reset()
        if what == "GET events":
            answer: Any = emitter.summary(campaign)
        else:
            answer = _dispatch(what, account, kept, campaign, orjson.loads(body) if body else None)
        return _json(answer)
    except _UnknownError:
        return _json({"error": f"the simulator has no {what}"}, 404)
    except BulksendError as error:
        return _json({"error": error.message, "hint": error.hint}, 400)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _json({"error": f"{what}: {error}"}, 400)


async def _accepted(request: web.BaseRequest, account: Account, campaign: str | None) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for lines in account.tally.lines(campaign):
        await response.write(lines)
    await response.write_eof()
    return response


def _dispatch(what: str, account: Account, kept: KeptRequests, campaign: str | None, body: Any) -> Any:
    if what.endswith(" rules"):
        return _rules(what, account, body)
    answer: Any = {}
    match what:
        case "GET tally":
            answer = account.tally.summary(campaign)
        case "GET requests":
            answer = kept.listed()
        case "GET settings":
            answer = asdict(account.settings)
        case "PATCH settings":
            account.apply(account.settings.patched(body))
            answer = asdict(account.settings)
        case "POST foreign":
            account.foreign(int(body["recipients"]))
        case "POST reset":
            account.reset()
            kept.clear()
        case _:
            raise _UnknownError
    return answer


def _rules(what: str, account: Account, body: Any) -> list[dict[str, Any]]:
    match what:
        case "GET rules":
            pass
        case "POST rules":
            if not isinstance(body, list):
                raise TypeError("a list of rules is expected")
            account.faults.replace_rules(body)
        case "DELETE rules":
            account.faults.replace_rules([])
        case _:
            raise _UnknownError
    return [{**rule.spec, "fired": rule.fired} for rule in account.faults.rules]


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
