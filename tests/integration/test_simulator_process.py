"""The simulator as a process: how it starts, what reaches it, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bulksend.errors import ConfigError, ServerError
from bulksend.simulator import SimulatorProcess, SimulatorSettings
from tests.simulated_ses import bulk

BULK = "/v2/email/outbound-bulk-emails"
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/eu-west-1/ses/aws4_request, "
    f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as running:
        yield running


def ask(
    simulator: SimulatorProcess, method: str, path: str, body: Any = None, **headers: str
) -> tuple[HTTPResponse, Any]:
    connection = HTTPConnection(urlsplit(simulator.url).netloc, timeout=30)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, None if body is None else json.dumps(body), names)
        response = connection.getresponse()
        return response, json.loads(response.read())
    finally:
        connection.close()


def signed(simulator: SimulatorProcess, **changed: str) -> tuple[HTTPResponse, Any]:
    date = changed.pop("X_Amz_Date", "20260101T000000Z")
    headers = {"Authorization": AUTHORIZATION.format(day="20260101"), "X_Amz_Date": date, **changed}
    return ask(simulator, "POST", BULK, bulk("a@example.com"), **headers)


def test_it_tells_its_url_in_one_line_and_ends_well_on_sigterm() -> None:
    command = [sys.executable, "-m", "bulksend.simulator", "--port", "0"]
    for number in (signal.SIGTERM, signal.SIGINT):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = json.loads(process.stdout.readline())
            assert line["pid"] == process.pid
            assert line["url"].startswith("http://127.0.0.1:")
            process.send_signal(number)
            assert process.wait(30) == 0
            assert process.stdout.read() == ""


def test_it_tells_where_its_own_queue_is() -> None:
    command = [sys.executable, "-m", "bulksend", "simulate", "--events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 0
    assert line["events_queue_url"] == f"{line['url']}/123456789012/bulksend-events"


def test_events_for_two_queues_are_refused() -> None:
    command = [sys.executable, "-m", "bulksend.simulator", "--events", "--events-queue-url=http://127.0.0.1:1/q/e"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert "one queue" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_ends_with_its_parent() -> None:
    program = (
        "import os\n"
        "from bulksend.simulator import SimulatorProcess\n"
        "simulator = SimulatorProcess()\n"
        "simulator.start()\n"
        "print(simulator.url, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False, timeout=30)
    address = urlsplit(parent.stdout.strip())
    assert address.port is not None
    try:
        with socket.create_connection(("127.0.0.1", address.port), timeout=30) as connection:
            # Nothing is asked, so that nothing but its end can close the connection.
            assert connection.recv(1) == b""
    except (ConnectionRefusedError, ConnectionResetError):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost", "192.0.2.1"])  # noqa: S104 - that it is refused
def test_it_listens_on_loopback_only(host: str) -> None:
    with pytest.raises(ServerError, match=r"127\.0\.0\.1 only"):
        SimulatorSettings(host=host)


def test_a_port_that_is_taken_is_said_so(simulator: SimulatorProcess) -> None:
    port = str(urlsplit(simulator.url).port)
    command = [sys.executable, "-m", "bulksend.simulator", "--port", port]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_rules_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text('[{"fault": "failed", "share": 0.5}]', "utf-8")
    with SimulatorProcess(rules=str(path), verified=("a@example.com", "b@example.com"), day_s=7) as simulator:
        assert simulator.rules() == [{"fault": "failed", "share": 0.5, "fired": 0}]
        settings = simulator.settings()
        assert (settings["verified"], settings["day_s"]) == (["a@example.com", "b@example.com"], 7)
    path.write_text("{}", "utf-8")
    command = [sys.executable, "-m", "bulksend.simulator", "--rules", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert "rules.json" in ended.stderr


def test_settings_that_make_no_sense_are_named() -> None:
    for wrong in ({"max_send_rate_per_s": 0}, {"day_s": -1}, {"daily_refusal": "never"}, {"max_24_hour_send": -2}):
        (name,) = wrong
        with pytest.raises(ConfigError, match=name):
            SimulatorSettings(**wrong)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_rate": 5}, "max_rate"),
        ({"port": 5}, "port"),
        ({"latency_ms": "5"}, "latency_ms"),
        ({"sandbox": 1}, "sandbox"),
        ({"latency_ms": True}, "latency_ms"),
        ({"latency_ms": -5}, "latency_ms"),
    ],
)
def test_a_change_that_does_not_fit_is_refused(
    simulator: SimulatorProcess, changes: dict[str, Any], named: str
) -> None:
    before = simulator.settings()
    with pytest.raises(ServerError, match=named):
        simulator.settings(**changes)
    assert simulator.settings() == before


def test_a_rule_that_does_not_fit_is_refused(simulator: SimulatorProcess) -> None:
    with pytest.raises(ServerError, match="nonsense"):
        simulator.rules([{"fault": "nonsense"}])
    for path, status in (("/_simulator/nothing", 404), ("/_simulator/foreign", 400)):
        assert ask(simulator, "POST", path, {})[0].status == status


def test_a_page_in_a_browser_cannot_reach_the_controls_by_a_name_of_its_own(simulator: SimulatorProcess) -> None:
    assert ask(simulator, "GET", "/_simulator/tally", Host="rebound.example.com")[0].status == 403


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": ""}, 403, "MissingAuthenticationTokenException"),
        ({"Authorization": "Bearer token"}, 403, "IncompleteSignature"),
        ({"Authorization": AUTHORIZATION.format(day="20260101")[:-1]}, 403, "IncompleteSignature"),
        ({"Authorization": AUTHORIZATION.format(day="20260102")}, 403, "IncompleteSignature"),
        ({"X_Amz_Date": "yesterday"}, 403, "IncompleteSignature"),
        (
            {"Authorization": AUTHORIZATION.format(day="20260101").replace("x-amz-date", "x-amz-date;x-not-there")},
            403,
            "IncompleteSignature",
        ),
        ({"X_Amz_Date": "20260101T000000Z"}, 400, "RequestExpired"),
    ],
)
def test_a_signature_that_does_not_hold(
    simulator: SimulatorProcess, headers: dict[str, str], status: int, code: str
) -> None:
    response, body = signed(simulator, **headers)
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (status, code)
    assert body["message"]
    assert response.headers["x-amzn-RequestId"]
    assert response.headers["Date"]
    assert simulator.tally()["accepted"] == 0


def test_a_body_over_40_mb_is_too_large(simulator: SimulatorProcess) -> None:
    response, body = ask(simulator, "POST", BULK, "x" * (40 * 1024 * 1024))
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
    assert body["message"]


def test_half_a_request_is_no_request(simulator: SimulatorProcess) -> None:
    before = len(simulator.requests())
    host, port = urlsplit(simulator.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST {BULK} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n\r\n{{".encode())
    assert len(simulator.requests()) == before
    assert simulator.tally()["accepted"] == 0


@pytest.mark.parametrize(("fault", "reset"), [("reset_after_accepting", True), ("close_after_accepting", False)])
def test_a_reset_is_not_a_close(simulator: SimulatorProcess, fault: str, *, reset: bool) -> None:
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    body = json.dumps(bulk(f"fault.{fault}@example.com"))
    head = f"POST {BULK} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nX-Amz-Date: {date}\r\n"
    head += f"Authorization: {AUTHORIZATION.format(day=date[:8])}\r\n\r\n"
    host, port = urlsplit(simulator.url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall((head + body).encode())
        if reset:
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""
    simulator.reset()


def test_the_newer_way_to_list_configuration_sets(simulator: SimulatorProcess) -> None:
    date = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"Authorization": AUTHORIZATION.format(day=date[:8]), "X_Amz_Date": date}
    _, created = ask(simulator, "POST", "/v2/email/configuration-sets", {"ConfigurationSetName": "one"}, **headers)
    assert created == {}
    _, listed = ask(simulator, "POST", "/v2/email/list-configuration-sets", {"PageSize": 10}, **headers)
    assert listed == {"ConfigurationSets": ["one"]}


def test_it_is_gone_when_it_is_stopped() -> None:
    with SimulatorProcess() as simulator:
        pid = simulator.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ServerError, match="does not answer"):
        simulator.tally()
