"""Every route of the HTTP face over real HTTP: its answers, its errors, and the statuses that the document has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http.client import IncompleteRead

import pytest
import uvloop

from bulksend.admin import Limits, document
from bulksend.admin.routes import ROUTES, Route
from bulksend.errors import (
    AccountError,
    BulksendError,
    CampaignBusyError,
    CampaignChangedError,
    CampaignUnknownError,
    ConfigError,
    JournalError,
    ListError,
    SnapshotError,
    UsageError,
)
from tests.office_in_memory import TOKEN, OfficeInMemory, Running, face_in_thread

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
CALLS = {
    "GET /metrics": "metrics",
    "GET /healthz": "healthz",
    "GET /readyz": "readyz",
    "GET /campaigns": "campaigns",
    "POST /campaigns": "submit",
    "GET /campaigns/{name}": "campaign",
    "POST /campaigns/{name}/submit": "queue",
    "POST /campaigns/{name}/pause": "pause",
    "POST /campaigns/{name}/resume": "resume",
    "POST /campaigns/{name}/cancel": "cancel",
    "GET /campaigns/{name}/results": "results",
}
"""The office's call behind each route, but for the one that asks nobody."""


def target(route: Route, name: str = "launch") -> str:
    return route.path.replace("{name}", name)


def test_what_each_route_answers() -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        answer = face.ask("GET", "/metrics")
        assert (answer.status, answer.body) == (200, office.metrics_text)
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert face.ask("GET", "/healthz").json == {"alive": True, "heartbeat_age_s": 0.001}
        assert face.ask("GET", "/readyz").json == {"ready": True, "reasons": []}
        assert face.ask("GET", "/openapi.json").json == document(token_needed=False)
        assert [each["campaign"] for each in face.ask("GET", "/campaigns").json["campaigns"]] == ["launch"]
        assert face.ask("GET", "/campaigns/launch").json["campaign"] == "launch"
        for verb, state in {"submit": "sending", "pause": "paused", "resume": "sending", "cancel": "cancelled"}.items():
            for body in (b"", b"{}", b" {} "):
                answer = face.ask("POST", f"/campaigns/launch/{verb}", body)
                assert (answer.status, answer.json["state"]) == (200, state)
        assert face.faults == []


def test_every_answer_says_that_it_is_not_to_be_stored_or_guessed_at() -> None:
    with face_in_thread(OfficeInMemory()) as face:
        for method, path in (("GET", "/metrics"), ("GET", "/nothing"), ("GET", "/campaigns/launch/results")):
            headers = face.ask(method, path).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["server"] == "bulksend"


def test_a_campaign_is_new_once_and_then_the_same_or_another() -> None:
    office = OfficeInMemory()
    tables = {"name": "spring", "sender": {"from": "news@example.com"}, "content": {}, "recipients": {}}
    with face_in_thread(office) as face:
        assert face.ask("POST", "/campaigns", tables).status == 201
        assert face.ask("POST", "/campaigns?again=true", tables).status == 200
        assert face.ask("POST", "/campaigns?again=false", tables | {"sender": {}}).status == 409
    assert [call[2] for call in office.calls] == [False, True, False]
    assert office.calls[0][1] == tables


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_a_campaign_without_anything_is_a_fault_of_the_campaign(body: bytes) -> None:
    with face_in_thread(OfficeInMemory()) as face:
        answer = face.ask("POST", "/campaigns", body)
        assert answer.status == 422
        assert "name: must be text" in answer.json["error"]
        assert answer.json["what_to_do"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CampaignUnknownError("launch"), 404),
        (CampaignChangedError("launch"), 409),
        (CampaignBusyError("pid 1"), 409),
        (UsageError("is finished"), 409),
        (ConfigError("name: no"), 422),
        (ListError("row 2"), 422),
        (AccountError("no answer"), 503),
        (JournalError("disk full"), 503),
        (SnapshotError("gone"), 503),
    ],
)
def test_an_error_of_the_office_becomes_an_answer(error: BulksendError, status: int) -> None:
    office = OfficeInMemory(failures={"submit": error, "results": error})
    with face_in_thread(office) as face:
        for answer in (face.ask("POST", "/campaigns", {}), face.ask("GET", "/campaigns/launch/results")):
            assert answer.status == status
            assert answer.json["error"] == error.message
            assert answer.json["what_to_do"]
        assert face.faults == []


@pytest.mark.parametrize(
    "error", [KeyError("a@example.com"), ConnectionResetError("a@example.com"), TimeoutError("a@")]
)
def test_what_nobody_expected_is_told_by_its_type_alone(error: Exception) -> None:
    office = OfficeInMemory(failures=dict.fromkeys(CALLS.values(), error))
    with face_in_thread(office) as face:
        for route in ROUTES:
            if route.operation in CALLS:
                answer = face.ask(route.method, target(route))
                assert answer.status == 500
                assert b"example" not in answer.body
                assert type(error).__name__.encode() not in answer.body
        assert face.faults == [(type(error).__name__, operation) for operation in CALLS]
        office.failures.clear()
        assert face.ask("GET", "/campaigns").status == 200


def test_health_is_the_heartbeat_alone() -> None:
    office = OfficeInMemory(reasons=["The store does not answer."], stuck={"campaigns"})
    with face_in_thread(office, limits=Limits(heartbeat_s=2)) as face:
        assert face.ask("GET", "/healthz").status == 200
        office.age_s = 2.5
        answer = face.ask("GET", "/healthz")
        assert (answer.status, answer.json) == (503, {"alive": False, "heartbeat_age_s": 2.5})


def test_readiness_tells_why_not() -> None:
    office = OfficeInMemory(reasons=["The store does not answer.", "Sending is disabled."])
    with face_in_thread(office, limits=Limits(readiness_s=0.05)) as face:
        answer = face.ask("GET", "/readyz")
        assert (answer.status, answer.json) == (503, {"ready": False, "reasons": office.reasons})
        office.failures["readyz"] = AccountError("no answer")
        assert face.ask("GET", "/readyz").json["reasons"] == ["The SES account cannot be read: no answer"]
        office.stuck.add("readyz")
        answer = face.ask("GET", "/readyz")
        assert (answer.status, answer.json["reasons"]) == (503, ["The check took longer than 0.05 s."])


def test_whoever_waits_for_the_store_leaves_room_for_health() -> None:
    office = OfficeInMemory(stuck={"campaigns"})
    limits = Limits(connections=4, store_requests=2, closing_s=0.1)
    with face_in_thread(office, limits=limits) as face:
        waiting = [face.connect() for _ in range(2)]
        for wire in waiting:
            wire.sendall(b"GET /campaigns HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert office.begun.wait(10)
            office.begun.clear()
        assert face.ask("GET", "/campaigns/launch").status == 503
        assert face.ask("GET", "/healthz").status == 200
        for wire in waiting:
            wire.close()


@LOOPS
def test_results_come_as_they_are_given(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    office = OfficeInMemory(pieces=[b"x" * 300_000, b"", b"y" * 300_000])
    with face_in_thread(office, loop=loop) as face:
        answer = face.ask("GET", "/campaigns/launch/results?state=dead&state=in_doubt")
        assert answer.body == b"x" * 300_000 + b"y" * 300_000
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="launch.csv"'
        assert office.calls == [("results", "launch", ("dead", "in_doubt"), (), "csv")]
        office.pieces = []
        answer = face.ask("GET", "/campaigns/launch/results?format=jsonl")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-type"] == "application/x-ndjson"
        assert office.calls[1] == ("results", "launch", (), (), "jsonl")


@LOOPS
@pytest.mark.parametrize("error", [SnapshotError("page 3"), KeyError("a@example.com")])
def test_results_that_break_off_do_not_look_whole(
    loop: Callable[[], asyncio.AbstractEventLoop], error: Exception
) -> None:
    office = OfficeInMemory(pieces=[b"row,state\n", error])
    with face_in_thread(office, loop=loop) as face:
        with pytest.raises((IncompleteRead, ConnectionError)):
            face.ask("GET", "/campaigns/launch/results")
        assert face.faults == ([("KeyError", "GET /campaigns/{name}/results")] if isinstance(error, KeyError) else [])
        assert office.closed.is_set()
        heard = face.raw(b"GET /campaigns/launch/results HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert heard.count(b"HTTP/1.1") == 1
        assert not heard.endswith(b"0\r\n\r\n")
        heard = face.raw(b"GET /campaigns/launch/results HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert heard.startswith(b"HTTP/1.0 400 ")
        face.faults.clear()
        office.pieces = [error]
        assert face.ask("GET", "/campaigns/launch/results").status == (503 if isinstance(error, SnapshotError) else 500)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/campaigns/", 404),
        ("GET", "/healthz/", 404),
        ("GET", "/campaigns%2Flaunch", 404),
        ("GET", "/campaigns%2F%7Bname%7D", 404),
        ("GET", "/campaigns/launch/pause/now", 404),
        ("GET", "/campaigns/unknown", 404),
        ("GET", "/campaigns/unknown/results", 404),
        ("GET", "/campaigns/l%61unch", 200),
        ("GET", "/campaigns/launch%00", 404),
        ("GET", "/campaigns/launch%0A", 404),
        ("GET", "/campaigns/..%2F..%2Fetc", 404),
        ("GET", "/campaigns/" + "a" * 7000, 404),
        ("GET", "/campaigns/%zz", 400),
        ("GET", "/campaigns/%ff", 400),
        ("GET", "/metrics?x=1", 400),
        ("GET", "/campaigns/launch/results?format=xml", 400),
        ("GET", "/campaigns/launch/results?fate=left", 400),
        ("GET", "/campaigns/launch/results?fate=opened&fate=opened", 400),
        ("POST", "/campaigns/launch/pause?again=true", 400),
        ("HEAD", "/metrics", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/campaigns/launch", 405),
        ("OPTIONS", "/campaigns", 405),
        ("PUT", "/campaigns", 405),
        ("TRACE", "/campaigns", 405),
        ("GET", "/campaigns/launch/cancel", 405),
    ],
)
def test_garbage_in_path_and_query_is_refused(method: str, path: str, status: int) -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        answer = face.ask(method, path)
        assert answer.status == status
        assert ("allow" in answer.headers) == (status == 405)
        assert b"aaaa" not in answer.body
        assert face.faults == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"name = 'x'", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1e999}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "deeper than 32"),
        (b'{"a":' + b"[" * 500 + b"]" * 500 + b"}", "deeper than 32"),
        (b'{"a": [{"b": "x\\u0000"}]}', "NUL"),
        (b'{"x\\u0000": 1}', "NUL"),
    ],
)
def test_a_body_that_is_no_campaign_is_refused_in_words(body: bytes, said: str) -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        answer = face.ask("POST", "/campaigns", body)
        assert answer.status == 400
        assert said in answer.json["error"]
        assert answer.json["what_to_do"]
    assert office.calls == []


def test_a_body_as_deep_as_is_allowed_comes_through() -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        face.ask("POST", "/campaigns", b'{"a":' * 31 + b"1" + b"}" * 31)
    assert len(office.calls) == 1


def test_a_change_takes_no_body() -> None:
    office = OfficeInMemory()
    with face_in_thread(office) as face:
        assert face.ask("POST", "/campaigns/launch/cancel", {"name": "launch"}).status == 400
    assert office.calls == []


def ways_to(face: Running, route: Route) -> dict[int, Callable[[], int]]:
    """For each status that a route can have: how to get it."""
    path = target(route)

    def ask(path: str = path, body: bytes | None = None, **headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return face.ask(route.method, path, body, given).status

    def slow() -> int:
        head = f"{route.method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return int(face.raw(head.encode() + b"Content-Length: 9\r\n\r\n{").split()[1])

    ways: dict[int, Callable[[], int]] = {
        400: lambda: ask(path + "?unknown=1"),
        403: lambda: ask(Origin="http://example.com"),
        421: lambda: ask(Host="example.com"),
    }
    if "{name}" in route.path:
        ways[404] = lambda: ask(target(route, "unknown"))
    if route.method == "POST":
        ways |= {
            408: slow,
            413: lambda: ask(body=b" " * 2000),
            415: lambda: ask(Content_Type="text/plain"),
        }
    return ways


@pytest.mark.parametrize("route", ROUTES, ids=[route.operation for route in ROUTES])
def test_every_documented_status_can_be_had_and_no_other(route: Route) -> None:
    paths: dict[str, dict[str, dict[str, dict[str, object]]]] = document(token_needed=False)["paths"]  # type: ignore[assignment]
    documented = {int(status) for status in paths[route.path][route.method.lower()]["responses"]}
    call = CALLS.get(route.operation, "")
    seen = set()
    office = OfficeInMemory()
    limits = Limits(body_s=0.05, body_bytes=1000, lingering_s=0.05, store_requests=1, closing_s=0.1)
    with face_in_thread(office, limits=limits) as face:
        for status, way in ways_to(face, route).items():
            assert way() == status
            seen.add(status)
        tables = {"name": "new", "sender": {}, "content": {}, "recipients": {}}
        bodies = [tables, tables] if route.takes_body else [None]
        seen.update(face.ask(route.method, target(route), body).status for body in bodies)
        if call:
            office.failures[call] = KeyError()
            seen.add(face.ask(route.method, target(route)).status)
            office.failures.clear()
        if route.needs_store:
            errors = {409: UsageError("no"), 503: JournalError("no")} | ({422: ListError("no")} if bodies[0] else {})
            for status, error in errors.items():
                if status in documented:
                    office.failures[call] = error
                    assert face.ask(route.method, target(route)).status == status
                    seen.add(status)
        office.age_s, office.reasons = 1e9, ["Why."]
        seen.add(face.ask(route.method, "/healthz" if call == "healthz" else "/readyz").status)
    with face_in_thread(OfficeInMemory(), token=TOKEN) as face:
        seen.add(face.ask(route.method, target(route)).status)
    assert seen - {405} | {500, 503} == documented
