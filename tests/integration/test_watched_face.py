"""The face of a process that is only watched: who is let in, and what there is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from bulksend.admin import WatchedFace
from bulksend.errors import ConfigError, ServerError

TOKEN = "0123456789abcdef0123456789abcdef"
SERIES = b"bulksend_events_total 1\n"


def face(host: str = "127.0.0.1", token: str | None = None, port: int = 0) -> WatchedFace:
    return WatchedFace(lambda: ("text/plain; version=0.0.4", SERIES), host, port, token=token)


def asked(opened: WatchedFace, ask: Callable[[int], list[tuple[int, bytes]]]) -> list[tuple[int, bytes]]:
    """What it answers while it is open; `ask` gets its port."""

    async def main() -> list[tuple[int, bytes]]:
        async with opened:
            port = int(opened.announcement.partition("/metrics")[0].rpartition(":")[2])
            return await asyncio.to_thread(ask, port)

    return asyncio.run(main())


def answer(port: int, method: str, path: str, **headers: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_it_has_its_series_and_its_health_and_nothing_else() -> None:
    paths = ("/metrics", "/healthz", "/readyz", "/campaigns", "/", "/metrics/", "/openapi.json")
    found = asked(face(), lambda port: [answer(port, "GET", path) for path in paths])
    assert found[:2] == [(200, SERIES), (200, b'{"alive":true}')]
    assert [status for status, _ in found[2:]] == [404] * 5
    assert asked(face(), lambda port: [answer(port, "POST", "/metrics")])[0][0] == 405


def test_whom_the_workers_face_would_not_let_in_it_does_not_either() -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    tries: list[dict[str, str]] = [{}, {"Authorization": "Bearer none"}, bearer]
    found = asked(face(token=TOKEN), lambda port: [answer(port, "GET", "/metrics", **one) for one in tries])
    assert [status for status, _ in found] == [401, 401, 200]
    assert asked(face(), lambda port: [answer(port, "GET", "/metrics", Host="example.com")])[0][0] == 421


def test_off_loopback_it_wants_a_token() -> None:
    with pytest.raises(ConfigError, match="without a token"):
        asked(face("0.0.0.0"), lambda _: [])  # noqa: S104  that is refused
    with pytest.raises(ConfigError, match="16 or more"):
        asked(face("0.0.0.0", token="short"), lambda _: [])  # noqa: S104


def test_a_port_that_is_taken_is_said_to_be() -> None:
    def again(port: int) -> list[tuple[int, bytes]]:
        with pytest.raises(ServerError, match=str(port)):
            asked(face(port=port), lambda _: [])
        return []

    asked(face(), again)
