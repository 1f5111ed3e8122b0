"""Who is let in by the HTTP face: with a token, without one, by way of a web page; and what strangers find."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from bulksend.admin.routes import ROUTES
from bulksend.errors import ConfigError, ServerError
from tests.office_in_memory import TOKEN, OfficeInMemory, face_in_thread, public_face_in_thread

EVERY = [(route.method, route.path.replace("{name}", "launch")) for route in ROUTES]
ELSEWHERE = [*EVERY, ("GET", "/nothing"), ("DELETE", "/campaigns"), ("GET", "/campaigns/%zz"), ("POST", "/metrics")]


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  what the token is for
def test_with_a_token_nothing_is_had_without_it(host: str, loop: type[asyncio.AbstractEventLoop]) -> None:
    office = OfficeInMemory()
    with face_in_thread(office, host=host, token=TOKEN, loop=loop) as face:
        said = set()
        for method, path in ELSEWHERE:
            for headers in (
                {},
                {"Authorization": f"Bearer {TOKEN}x"},
                {"Authorization": f"Basic {TOKEN}"},
                {"Authorization": "Bearer ä\xff"},
            ):
                answer = face.ask(method, path, headers=headers)
                assert answer.status == 401
                assert answer.headers["www-authenticate"].startswith("Bearer")
                said.add(answer.body)
        assert len(said) == 1, "a word about what exists"
        assert office.calls == []
        for method, path in EVERY:
            assert face.ask(method, path, {}, token=TOKEN).status in {200, 422}
        assert face.ask("GET", "/nothing", token=TOKEN).status == 404
        # Who has the token may come by any name, and through any page.
        answer = face.ask(
            "GET", "/campaigns", token=TOKEN, headers={"Host": "worker.example.com", "Origin": "https://example.com"}
        )
        assert answer.status == 200
        assert face.faults == []


def test_a_token_twice_is_none() -> None:
    with face_in_thread(OfficeInMemory(), token=TOKEN) as face:
        line = f"Authorization: Bearer {TOKEN}\r\n"
        heard = face.raw(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{line}{line}Connection: close\r\n\r\n".encode())
        assert heard.startswith(b"HTTP/1.1 401 ")


def test_bytes_that_are_not_text_are_no_token() -> None:
    with face_in_thread(OfficeInMemory(), token=TOKEN) as face:
        heard = face.raw(
            b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\xc3\r\nConnection: close\r\n\r\n"
        )
        assert heard.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))
        assert face.faults == []


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::", "example.com"])  # noqa: S104
def test_off_loopback_it_does_not_start_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="without a token"), face_in_thread(OfficeInMemory(), host=host):
        pass


def test_a_weak_token_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="16 or more"), face_in_thread(OfficeInMemory(), token="short"):
        pass


def test_the_start_says_where_it_listens_and_who_is_let_in() -> None:
    with face_in_thread(OfficeInMemory(), host="localhost") as face:
        assert face.url == f"http://127.0.0.1:{face.port}"
        assert face.url in face.announcement
        assert "no token is needed" in face.announcement
    with face_in_thread(OfficeInMemory(), token=TOKEN) as face:
        assert "needs the token" in face.announcement
        assert "not TLS" in face.announcement
        assert TOKEN not in face.announcement


def test_a_port_that_is_taken_is_an_error_of_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port}"), face_in_thread(OfficeInMemory(), port=port):
            pass
    with pytest.raises(ServerError, match="99999"), face_in_thread(OfficeInMemory(), port=99999):
        pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "rebound.example.com"}, 421),
        ({"Host": "rebound.example.com:80"}, 421),
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
def test_a_web_page_does_not_reach_a_face_without_a_token(headers: dict[str, str], status: int) -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        for method, path in ELSEWHERE:
            assert face.ask(method, path, headers=headers).status == status
        own = {"Host": f"localhost:{face.port}", "Origin": f"http://localhost:{face.port}"}
        assert office.calls == []
        assert face.ask("GET", "/campaigns", headers=own).status == 200


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    "kind",
    [
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=application/json"},
        {"Content-Type": "text/plain; application/json"},
        {"Content-Type": "application/json; charset=utf-7"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_what_a_form_can_send_changes_nothing(token: str | None, kind: dict[str, str]) -> None:
    office = OfficeInMemory()
    with face_in_thread(office, token=token) as face:
        for method, path in EVERY:
            if method == "POST":
                assert face.ask(method, path, b"{}", kind, token or "").status == 415
        assert office.calls == []
        good = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
        assert face.ask("POST", "/campaigns/launch/pause", b"{}", good, token or "").status == 200


def test_strangers_find_nothing_whatever_they_send() -> None:
    with public_face_in_thread() as face:
        said = set()
        for method, path in ELSEWHERE:
            for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}, {"Host": "example.com", "Origin": "null"}):
                answer = face.ask(method, path, b"{}" if method == "POST" else None, headers)
                assert answer.status == 404
                said.add(answer.body)
        assert len(said) == 1
        assert face.url in face.announcement
