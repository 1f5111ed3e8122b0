"""The port of a one-off run: for this machine alone, and whoever asks nothing takes nothing away."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from bulksend.metrics import Metrics, MetricsServer, serving
from tests.worker_process import until


def asked(url: str, path: str = "/metrics", host: str = "") -> tuple[int, str]:
    """Status and text of one request."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    with closing(connection):
        return answer.status, answer.read().decode()


def test_a_port_has_the_series_and_nothing_else_and_for_this_machine_alone() -> None:
    metrics = Metrics()
    with MetricsServer(metrics, 0) as server:
        status, text = asked(server.url)
        assert status == 200
        assert "bulksend_build_info" in text
        port = server.url.rpartition(":")[2].removesuffix("/metrics")
        assert asked(server.url, host=f"localhost:{port}")[0] == 200
        assert asked(server.url, host=f"evil.example.com:{port}")[0] == 421
        assert asked(server.url, host="evil.example.com")[0] == 421
        assert asked(server.url, host="[::1")[0] == 421
        assert asked(server.url, path="/anything/else")[0] == 404


def test_connections_that_ask_nothing_take_no_more_than_a_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 60.0)
    with MetricsServer(Metrics(), 0) as server, ExitStack() as stack:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2].removesuffix("/metrics")))
        before = threading.active_count()
        idle = [stack.enter_context(socket.create_connection(address, 10)) for _ in range(serving.MAX_CONNECTIONS)]
        until(lambda: threading.active_count() == before + len(idle), "all of them have a thread")
        with socket.create_connection(address, 10) as one_more:
            assert one_more.recv(1) == b"", "nobody is there for it"
        assert threading.active_count() == before + len(idle)
        idle.pop().close()
        until(lambda: threading.active_count() == before + len(idle), "its thread is free")
        assert asked(server.url)[0] == 200


def test_who_asks_nothing_for_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving._Handler, "timeout", 0.05)
    with MetricsServer(Metrics(), 0) as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2].removesuffix("/metrics")))
        with socket.create_connection(address, 10) as idle:
            assert idle.recv(1) == b""
