"""What a request asks, read strictly: its path, its query, its body."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, unquote_to_bytes

import orjson
from aiohttp import web

from bulksend.admin.listener import Limits
from bulksend.admin.refusals import Refusal, RefusedError

__all__ = ["Key", "read_body", "read_json", "read_path", "read_query", "want_json"]

MAX_DEPTH = 32
MAX_QUERY_KEYS = 32
_TARGET = re.compile(r"/[!-~]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Key:
    """A key that a query may have: its values, and whether it may be there with several of them."""

    values: tuple[str, ...]
    several: bool = False


def read_path(target: str) -> tuple[str, ...]:
    """The segments of the request's target, decoded: ("campaigns", "launch") of /campaigns/launch?x=y.

    Raises:
        RefusedError: 400, it is no path with an optional query, in printable ASCII, with UTF-8 behind its percents.
    """
    if not _TARGET.fullmatch(target) or "#" in target or _BAD_PERCENT.search(target):
        _refuse(400, "The request's target is not a path", "It is /path?query; encode other characters as %XX.")
    try:
        return tuple(unquote_to_bytes(part).decode() for part in target.partition("?")[0].split("/")[1:])
    except UnicodeDecodeError:
        _refuse(400, "The path is not UTF-8", "Encode its characters as the percent-encoding of UTF-8.")


def read_query(target: str, keys: Mapping[str, Key]) -> dict[str, list[str]]:
    """The query's keys that were given, each with its values. `target` has been through `read_path`.

    Raises:
        RefusedError: 400, there is another key, another value, or one of them twice.
    """
    query = target.partition("?")[2]
    given: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, strict_parsing=bool(query), errors="strict", max_num_fields=MAX_QUERY_KEYS
        )
    except ValueError:
        _refuse(400, "The query cannot be read", f"It is key=value&key=value, at most {MAX_QUERY_KEYS} of them.")
    for name, value in pairs:
        key = keys.get(name)
        if key is None:
            known = f"It takes {' and '.join(sorted(keys))}." if keys else "It takes none."
            _refuse(400, "The query has a key that is not known here", known)
        if value not in key.values:
            _refuse(400, f"The query's {name} has a value that is not known", f"It is {' or '.join(key.values)}.")
        values = given.setdefault(name, [])
        if value in values or (values and not key.several):
            _refuse(400, f"The query has {name} twice", "Leave one out.")
        values.append(value)
    return given


def want_json(request: web.BaseRequest) -> None:
    """Take no body but JSON that says so, as a form of a web page cannot.

    Raises:
        RefusedError: 415.
    """
    kinds = request.headers.getall("Content-Type", ())
    kind, _, parameters = (kinds[0] if len(kinds) == 1 else "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != _JSON or charset not in {"", "charset=utf-8"}:
        _refuse(415, "The body is not said to be JSON", f"Send the header Content-Type: {_JSON}, even with no body.")
    if "Content-Encoding" in request.headers:
        _refuse(415, "The body is encoded", "Send it as it is, without Content-Encoding.")


async def read_json(request: web.BaseRequest, limits: Limits) -> Mapping[str, object]:
    """The body, a JSON object; an empty body is an empty one.

    Raises:
        RefusedError: 413, 408 or 400: it is too large, too slow, or no JSON object.
    """
    body = await read_body(request, limits.body_bytes, limits.body_s)
    if not body:
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse(400, f"The body is not JSON: {error}", "Send one JSON object, in UTF-8.")
    if not isinstance(value, dict):
        _refuse(400, "The body is JSON, but not an object", "Send one JSON object: {…}.")
    _check_inside(value)
    return value


async def read_body(request: web.BaseRequest, most_bytes: int, within_s: float) -> bytes:
    """The body, of at most so many bytes. Raises RefusedError: 413, 408 or 400."""
    too_large = Refusal(413, f"The body is over {most_bytes} bytes", "Send less.", close=True)
    if (request.content_length or 0) > most_bytes:
        raise RefusedError(too_large)
    pieces: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(within_s):
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # nothing of the answer itself has been sent
            while piece := await request.content.readany():
                size_bytes += len(piece)
                if size_bytes > most_bytes:
                    raise RefusedError(too_large)
                pieces.append(piece)
    except TimeoutError:
        error = f"The body did not arrive within {within_s:g} s"
        raise RefusedError(Refusal(408, error, "Send it faster.", close=True)) from None
    except (ConnectionError, web.RequestPayloadError):
        # Mostly the client has left, and nobody hears this.
        raise RefusedError(Refusal(400, "The body broke off", "Send all of it.", close=True)) from None
    return b"".join(pieces)


def _check_inside(value: object) -> None:
    """Without recursion: depth is what is looked for."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.keys()
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and "\0" in item:
                _refuse(400, "The body has a text with the character NUL in it", "Leave it out.")
        level = inner
        if not level:
            return
    _refuse(400, f"The body is nested deeper than {MAX_DEPTH} levels", "A campaign needs no more than five.")


def _refuse(status: int, error: str, what_to_do: str) -> NoReturn:
    raise RefusedError(Refusal(status, error, what_to_do))
