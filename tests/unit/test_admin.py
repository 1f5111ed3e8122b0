"""The parts of the HTTP face that need no network: who is let in, what is read, which status, what is documented."""

from __future__ import annotations

import contextlib
import string
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulksend import errors
from bulksend.admin import document
from bulksend.admin.asked import Key, read_path, read_query
from bulksend.admin.entrance import Entrance, is_loopback
from bulksend.admin.refusals import RefusedError, refusal_of
from bulksend.admin.routes import CAMPAIGN_NAME, ROUTES, find
from bulksend.cli.app import Fates
from bulksend.config.fields import campaign_name
from bulksend.errors import BulksendError, CampaignUnknownError, ConfigError, HaltedError
from bulksend.event import FATES
from bulksend.model import Halt
from bulksend.worker.results import STATES

TOKEN = "0123456789abcdef-token"
OPEN = Entrance("127.0.0.1", None)
GUARDED = Entrance("0.0.0.0", TOKEN)  # noqa: S104  what the token is for
KEYS = {"state": Key(("dead", "pending"), several=True), "format": Key(("csv", "jsonl"))}


def status(of: Any) -> int | None:
    return None if of is None else of.status


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost", "LocalHost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    Entrance(host, None).check()


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "", "::", "10.0.0.1", "example.com", "localhost.example.com", "127.0.0.1.example.com", "127.1", "::2"],  # noqa: S104
)
def test_any_other_address_is_refused_without_a_token(host: str) -> None:
    with pytest.raises(ConfigError, match="without a token") as caught:
        Entrance(host, None).check()
    assert "token" in caught.value.hint
    Entrance(host, TOKEN).check()


@pytest.mark.parametrize(
    "token", ["", " ", "short", "0123456789abcde", "with a space in the middle", "ä" * 20, "\n" * 20]
)
def test_a_token_that_is_none_is_refused(token: str) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104
        with pytest.raises(ConfigError, match="token") as caught:
            Entrance(host, token).check()
        assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize(
    "given_headers",
    [
        [],
        [""],
        [TOKEN],
        ["Bearer"],
        ["Bearer "],
        [f"Bearer {TOKEN}x"],
        [f"Bearer {TOKEN[:-1]}"],
        [f"Basic {TOKEN}"],
        [f"Bearer {TOKEN}, Bearer {TOKEN}"],
        [f"Bearer {TOKEN}", f"Bearer {TOKEN}"],
        ["Bearer ä\udcff\U0001f511"],
        [f"Bearer {TOKEN}\udcff"],
    ],
)
def test_without_the_token_nobody_comes_in(given_headers: list[str]) -> None:
    refusal = GUARDED.refusal(given_headers, ["127.0.0.1"], [])
    assert refusal is not None
    assert refusal.status == 401
    assert "WWW-Authenticate" in refusal.headers


def test_with_the_token_anybody_does_by_whatever_name() -> None:
    for scheme in ("Bearer", "bearer", "BEARER "):
        assert GUARDED.refusal([f"{scheme} {TOKEN}"], ["worker.example.com"], ["https://example.com"]) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9090", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8080"])
def test_a_loopback_host_comes_in_from_its_own_origin(host: str) -> None:
    assert OPEN.refusal([], [host], []) is None
    assert OPEN.refusal([], [host], [f"http://{host}"]) is None


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [""],
        ["example.com"],
        ["localhost.example.com"],
        ["127.0.0.1.example.com:80"],
        ["127.0.0.1:80@example.com"],
        ["example.com:127"],
        ["127.0.0.1", "127.0.0.1"],
        ["[::2]"],
        ["::1"],
        ["127.0.0.1:"],
        ["\udcff"],
    ],
)
def test_another_host_does_not(hosts: list[str]) -> None:
    assert status(OPEN.refusal([], hosts, [])) == 421


@pytest.mark.parametrize(
    "origins",
    [
        ["null"],
        [""],
        ["http://example.com"],
        ["http://127.0.0.1:9091"],
        ["https://127.0.0.1:9090"],
        ["http://127.0.0.1:9090", "http://example.com"],
    ],
)
def test_another_origin_does_not(origins: list[str]) -> None:
    assert status(OPEN.refusal([], ["127.0.0.1:9090"], origins)) == 403


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", ("",)),
        ("/campaigns", ("campaigns",)),
        ("/campaigns/a%2Fb?x=%41", ("campaigns", "a/b")),
        ("/campaigns/%C3%A4", ("campaigns", "ä")),
        ("/campaigns%2Flaunch", ("campaigns/launch",)),
    ],
)
def test_a_path_is_read(target: str, segments: tuple[str, ...]) -> None:
    assert read_path(target) == segments


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "http://127.0.0.1/",
        "campaigns",
        "/a b",
        "/\0",
        "/%",
        "/%0",
        "/%zz",
        "/%ff",
        "/ä",
        "/x?y=%",
        "/x#y",
        "/\n",
    ],
)
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_path(target)
    assert caught.value.refusal.status == 400


def test_a_query_is_read() -> None:
    assert read_query("/x", KEYS) == {}
    assert read_query("/x?", KEYS) == {}
    assert read_query("/x?state=dead&format=csv&state=pending", KEYS) == {
        "state": ["dead", "pending"],
        "format": ["csv"],
    }


@pytest.mark.parametrize(
    "query",
    [
        "other=1",
        "state",
        "state=",
        "state=DEAD",
        "state=dead,pending",
        "state=dead&state=dead",
        "format=csv&format=jsonl",
        "format=csv&format=csv",
        "format=%ff",
        "format=csv%00",
        "&",
        "&".join(["state=dead"] * 40),
    ],
)
def test_a_query_with_anything_else_is_refused(query: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_query(f"/x?{query}", KEYS)
    assert caught.value.refusal.status == 400


@given(st.text(max_size=60))
@example("/campaigns/launch/pause?again=true")
def test_no_target_surprises(target: str) -> None:
    with contextlib.suppress(RefusedError):
        route = find("GET", target)
        read_query(target, route.query)


def test_every_error_a_person_can_meet_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BulksendError)]
    assert len(kinds) > 10
    for kind in kinds:
        error = HaltedError(Halt("why", "what")) if kind is HaltedError else kind("why")
        refusal = refusal_of(error)
        if kind is BulksendError:
            assert refusal is None
        else:
            assert refusal is not None
            assert refusal.status in {404, 409, 422, 503}
            assert refusal.error == error.message


def test_a_hint_speaks_to_those_who_ask_over_http_unless_it_was_made_for_the_case() -> None:
    common, special = refusal_of(CampaignUnknownError("x")), refusal_of(CampaignUnknownError("x", hint="Try y."))
    assert common is not None
    assert "--store" not in common.what_to_do
    assert special is not None
    assert special.what_to_do == "Try y."


def operations() -> dict[tuple[str, str], Any]:
    paths: Any = document(token_needed=True)["paths"]
    return {
        (method.upper(), path): operation
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method != "parameters"
    }


def test_every_route_is_documented_and_nothing_else() -> None:
    assert sorted(operations()) == sorted((route.method, route.path) for route in ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=[route.operation for route in ROUTES])
def test_a_query_is_documented_as_it_is_read(route: Any) -> None:
    operation = operations()[route.method, route.path]
    documented = {}
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        several = schema.get("type") == "array"
        documented[parameter["name"]] = Key(tuple((schema["items"] if several else schema)["enum"]), several)
    assert documented == route.query
    assert ("requestBody" in operation) == (route.method == "POST")


@pytest.mark.parametrize("token_needed", [True, False])
def test_the_document_says_whether_a_token_is_needed(token_needed: bool) -> None:  # noqa: FBT001
    said: Any = document(token_needed=token_needed)
    assert bool(said["security"]) is token_needed
    assert bool(said["components"]["securitySchemes"]) is token_needed


def test_states_are_the_workers() -> None:
    route = next(route for route in ROUTES if route.path.endswith("/results"))
    assert sorted(route.query["state"].values) == sorted(STATES)
    assert route.query["fate"].values == tuple(FATES.values()) == get_args(Fates)


@given(st.text(string.ascii_letters + string.digits + "._-/ %\n\0ä", max_size=70))
@example("a" * 64)
@example("a" * 65)
@example("launch\n")
@example("-a.b")
@example(".hidden")
@example("_a")
@example("")
def test_names_are_those_of_campaign_files(name: str) -> None:
    try:
        allowed = campaign_name(name) == name
    except ValueError:
        allowed = False
    assert bool(CAMPAIGN_NAME.fullmatch(name)) is allowed
