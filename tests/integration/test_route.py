"""Requests go where the SDK's would go, and are trusted to whom the SDK's would be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bulksend.aws import AwsAccess, Detour, Route
from bulksend.aws.client import open_client
from bulksend.errors import AccountError
from bulksend.model import AllAccepted
from bulksend.ses import SignedTransport, find_route
from tests.clocks import NO_DEADLINE_S
from tests.http_server import PATH, REGION, Guest, Server, answer_bytes, certificates, results, serving

PREFIX = b'{"BulkEmailEntries":['


def find(prefix: bytes = PREFIX, **access: Any) -> Route | Detour:
    return asyncio.run(find_route(AwsAccess(**{"region": REGION, **access}), prefix))


def found(**access: Any) -> Route:
    route = find(**access)
    assert isinstance(route, Route), route
    return route


async def politely(guest: Guest) -> None:
    while True:
        await guest.request()
        await guest.write(answer_bytes(results("m1")))


def test_the_regions_own_endpoint() -> None:
    route = found()
    assert (route.host, route.peer.host, route.peer.port) == (f"email.{REGION}.amazonaws.com",) * 2 + (443,)
    assert (route.path, route.region, route.service) == (PATH, REGION, "ses")
    assert route.peer.tls is not None
    assert route.peer.tls.check_hostname
    assert route.peer.tls.verify_mode.name == "CERT_REQUIRED"
    assert found(region="us-east-1").host == "email.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("variables", "host"),
    [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "email-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "email.us-east-1.api.aws"),
        (
            {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
            "email-fips.us-east-1.api.aws",
        ),
        ({"AWS_ENDPOINT_URL_SESV2": "https://ses.example.com"}, "ses.example.com"),
        ({"AWS_ENDPOINT_URL": "https://aws.example.com:8443"}, "aws.example.com:8443"),
        (
            {"AWS_ENDPOINT_URL_SESV2": "https://ses.example.com", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
            "email.us-east-1.amazonaws.com",
        ),
    ],
)
def test_what_the_environment_says(variables: dict[str, str], host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    route = found(region="us-east-1")
    assert (route.host, route.region) == (host, "us-east-1")


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://127.0.0.1:4570", "127.0.0.1:4570", 4570, PATH),
        ("http://127.0.0.1", "127.0.0.1", 80, PATH),
        ("https://ses.example.com:443", "ses.example.com", 443, PATH),
        ("https://SES.Example.com/a/prefix/", "ses.example.com", 443, "/a/prefix" + PATH),
        ("https://ses.example.com/a%20b", "ses.example.com", 443, "/a%20b" + PATH),
        ("http://[::1]:4570", "[::1]:4570", 4570, PATH),
    ],
)
def test_an_endpoint_override(url: str, host: str, port: int, path: str) -> None:
    route = found(endpoint_url=url)
    assert (route.host, route.peer.port, route.path) == (host, port, path)
    assert route.peer.host == host.rsplit(":", 1)[0].strip("[]") if port not in (80, 443) else host
    assert (route.peer.tls is None) == url.startswith("http:")


@pytest.mark.parametrize("prefix", ["", "/a/prefix", "/a%20b", "/~u"])
def test_the_sdks_own_request_is_the_same(prefix: str) -> None:
    """Request line, host, type, scope and what is signed."""

    async def main() -> Server:
        async with serving(politely) as server:
            access = AwsAccess(region=REGION, endpoint_url=server.url + prefix)
            route = await find_route(access, PREFIX)
            assert isinstance(route, Route)
            async with SignedTransport(access, route, PREFIX, b"]}") as transport:
                assert await transport.send(b"{}", NO_DEADLINE_S) == AllAccepted(["m1"])
            async with open_client(access, retrying=False) as client:
                await client.send_bulk_email(DefaultContent={}, BulkEmailEntries=[{}])
        return server

    ours, theirs = asyncio.run(main()).visits
    assert ours.head.split(b"\r\n")[0] == theirs.head.split(b"\r\n")[0]
    for name in ("host", "content-type"):
        assert ours.header(name) == theirs.header(name)
    scopes = [visit.header("authorization").split(",")[0] for visit in (ours, theirs)]
    assert scopes[0] == scopes[1]
    listed = [visit.header("authorization").split("SignedHeaders=")[1].split(",")[0] for visit in (ours, theirs)]
    assert listed[0] == listed[1]


@pytest.mark.parametrize(
    ("variables", "detour"),
    [
        ({"HTTPS_PROXY": "http://127.0.0.1:3128"}, True),
        ({"https_proxy": "http://127.0.0.1:3128"}, True),
        ({"HTTP_PROXY": "http://127.0.0.1:3128"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": ".amazonaws.com"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "*"}, False),
        ({"HTTPS_PROXY": "http://127.0.0.1:3128", "NO_PROXY": "example.com"}, True),
    ],
)
def test_proxies(variables: dict[str, str], detour: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    if "NO_PROXY" in variables:
        monkeypatch.delenv("no_proxy")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    way = find()
    assert isinstance(way, Detour) == detour
    if isinstance(way, Detour):
        assert "proxy" in way.reason


def test_what_only_the_sdk_can_sign() -> None:
    way = find(b'{"EndpointId":"abc.xyz","BulkEmailEntries":[')
    assert isinstance(way, Detour)
    assert "multi-region" in way.reason


@pytest.mark.parametrize("path", ["/a/../b", "/a//b", "/./a"])
def test_a_path_that_two_would_read_differently(path: str) -> None:
    assert isinstance(find(endpoint_url=f"http://127.0.0.1:4570{path}"), Detour)


def test_without_keys_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(AccountError, match="no AWS credentials"):
        find()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_cannot_be_read(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content, "ascii")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    with pytest.raises(AccountError, match=r"bundle\.pem"):
        find()


@pytest.mark.parametrize("by", ["environment", "configuration"])
def test_a_private_authority(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = certificates().bundle(tmp_path)
    if by == "environment":
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    else:
        config = tmp_path / "aws-config"
        config.write_text(f"[default]\nca_bundle = {bundle}\n", "ascii")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))

    async def main() -> None:
        async with serving(politely, tls=certificates().server, host="::1") as server:
            access = AwsAccess(region=REGION, endpoint_url=f"https://[::1]:{server.port}")
            route = await find_route(access, PREFIX)
            assert isinstance(route, Route)
            async with SignedTransport(access, route, PREFIX, b"]}") as transport:
                assert await transport.send(b"{}", NO_DEADLINE_S) == AllAccepted(["m1"])
            assert server.visits[0].header("host") == f"[::1]:{server.port}"

    asyncio.run(main())
