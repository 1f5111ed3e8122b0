"""The simulator tells a real SQS what became of the mails that it accepted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from bulksend.simulator import SimulatorProcess
from bulksend.simulator.event_shapes import NAMES
from tests.independent import Ministack
from tests.simulated_ses import CAMPAIGN, SesClient, bulk, ses_client

FINAL = ("Delivery", "Bounce", "Reject", "Rendering Failure")
PATIENCE_S = 20.0
SCOPE = "AKIAIOSFODNN7EXAMPLE/20261121/eu-west-1/sqs/aws4_request"
"""Which tells ministack the account and the Region; it does not look at the signature."""


class Sqs:
    """One queue of ministack, spoken to without an SDK."""

    def __init__(self, ministack: Ministack) -> None:
        self._at = ministack.endpoint_url.removeprefix("http://")
        self.url: str = self.call("CreateQueue", QueueName="events")["QueueUrl"]

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        connection = HTTPConnection(self._at, timeout=PATIENCE_S)
        headers = {
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=0",
        }
        try:
            connection.request("POST", "/", json.dumps(arguments), headers)
            answer: dict[str, Any] = json.loads(connection.getresponse().read() or b"{}")
        finally:
            connection.close()
        return answer

    def bodies(self) -> list[str]:
        """The messages that nobody has received yet, in the order of their coming."""
        found: list[str] = []
        while got := self.call("ReceiveMessage", QueueUrl=self.url, MaxNumberOfMessages=10).get("Messages"):
            found += [message["Body"] for message in got]
        return found

    def events(self) -> list[dict[str, Any]]:
        """The same, of raw events."""
        return [json.loads(body) for body in self.bodies()]


@pytest.fixture
def sqs(ministack: Ministack) -> Sqs:
    return Sqs(ministack)


@pytest.fixture(scope="module")
def _running() -> Iterator[tuple[SimulatorProcess, SesClient, dict[str, Any]]]:
    fixed = ("host", "port", "day_s", "seed", "rules", "events", "exit_with_parent")
    with SimulatorProcess(max_send_rate_per_s=1e6, seed=7) as running, ses_client(running.url) as client:
        yield running, client, {name: value for name, value in running.settings().items() if name not in fixed}


@pytest.fixture
def client(_running: tuple[SimulatorProcess, SesClient, dict[str, Any]]) -> SesClient:
    return _running[1]


@pytest.fixture
def simulator(_running: tuple[SimulatorProcess, SesClient, dict[str, Any]], sqs: Sqs) -> SimulatorProcess:
    """One that tells the queue what SNS with raw delivery would."""
    running, _, defaults = _running
    running.reset()
    running.rules([])
    running.settings(**defaults | {"events_queue_url": sqs.url, "events_shape": "raw"})
    return running


def batch(count: int, *, first_row: int = 0) -> dict[str, Any]:
    return bulk(*(f"u{n}@example.com" for n in range(count)), first_row=first_row, ConfigurationSetName="marketing")


def by_type(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["eventType"] for event in events)


def test_every_accepted_mail_is_told_of_whatever_became_of_its_answer(
    simulator: SimulatorProcess, client: SesClient, sqs: Sqs
) -> None:
    simulator.settings(
        bounce_share=0.1, reject_share=0.02, rendering_failure_share=0.02, complaint_share=0.05, delay_share=0.1
    )
    accepting = ("reset_after_accepting", "close_after_accepting", "truncated_answer", "malformed_answer")
    refusing = ("bad_gateway_502", "reset_before_reading", "throttled_429")
    whole = (*accepting, "bad_gateway_502_accepted", *refusing, "hang_after_accepting")
    rules: list[dict[str, Any]] = [
        {"fault": name, "first_request": n, "last_request": n} for n, name in enumerate(whole, 1)
    ]
    simulator.rules([*rules, {"fault": "message_rejected", "share": 0.2}])

    async def send_all() -> None:
        for n in range(12):
            call = asyncio.ensure_future(client.client.send_bulk_email(**batch(50, first_row=50 * n)))
            if n == len(whole) - 1:
                before = simulator.tally(CAMPAIGN)["accepted"]
                while simulator.tally(CAMPAIGN)["accepted"] == before:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    client.runner.run(send_all())
    told = simulator.flush_events(CAMPAIGN)
    tally = simulator.tally(CAMPAIGN)
    accepted = {line["message_id"]: line for line in simulator.accepted(CAMPAIGN)}
    events = sqs.events()
    ends = [event for event in events if event["eventType"] in FINAL]
    assert len(accepted) == tally["accepted"] > 300
    assert tally["ambiguous"] > 200
    assert Counter(event["mail"]["messageId"] for event in ends) == Counter(list(accepted))
    for event in ends:
        line = accepted[event["mail"]["messageId"]]
        assert event["mail"]["destination"] == [line["to"]]
        assert event["mail"]["tags"]["bulksend-row"] == [str(line["row"])]
    assert by_type(events) == told["emitted"]
    assert (told["mails"], told["queued"], told["failed"], told["garbage"]) == (len(accepted), 0, 0, 0)
    assert abs(told["emitted"]["Bounce"] - 0.1 * len(accepted)) < 2


@pytest.mark.parametrize("shape", ["sns", "raw", "eventbridge"])
def test_each_shape_and_each_type(simulator: SimulatorProcess, client: SesClient, sqs: Sqs, shape: str) -> None:
    simulator.settings(events_shape=shape, event_types=[*NAMES.values()])
    simulator.rules([{"events": [name], "address_contains": f"u{n}@"} for n, name in enumerate(NAMES.values())])
    client.call("send_bulk_email", **batch(10))
    client.call(
        "send_email",
        FromEmailAddress="news@example.com",
        Destination={"ToAddresses": ["complaint+me@simulator.amazonses.com"]},
        Content={"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}},
        ConfigurationSetName="marketing",
        EmailTags=[{"Name": "bulksend-campaign", "Value": "other"}],
    )
    told = simulator.flush_events()
    assert told["campaigns"] == [CAMPAIGN, "other"]
    bodies = [json.loads(body) for body in sqs.bodies()]
    events = [unwrapped(body, shape) for body in bodies]
    assert by_type(events) == told["emitted"]
    assert set(told["emitted"]) == set(NAMES.values())
    # Nothing is sent of what could not be rendered; nine and the mail by SendEmail are.
    assert told["emitted"]["Send"] == 10
    (test_mail,) = (event for event in events if event["eventType"] == "Delivery" and "other" in str(event["mail"]))
    assert test_mail["mail"]["tags"]["ses:operation"] == ["SendEmail"]
    assert simulator.events("other")["emitted"] == {"Send": 1, "Complaint": 1, "Delivery": 1}


def unwrapped(body: dict[str, Any], shape: str) -> dict[str, Any]:
    found = body
    if shape == "sns":
        assert body["Type"] == "Notification"
        found = json.loads(body["Message"])
    if shape == "eventbridge":
        assert body["source"] == "aws.ses"
        found = body["detail"]
    return found


def test_only_calls_with_a_configuration_set_are_told_of(
    simulator: SimulatorProcess, client: SesClient, sqs: Sqs
) -> None:
    client.send_bulk("a@example.com")
    told = simulator.flush_events()
    assert (told["mails"], told["unpublished"], told["emitted"]) == (0, 1, {})
    simulator.settings(events_always=True)
    client.send_bulk("b@example.com")
    assert simulator.flush_events()["emitted"] == {"Delivery": 1}
    assert [event["mail"]["destination"] for event in sqs.events()] == [["b@example.com"]]


def test_copies_garbage_and_losses_are_counted(simulator: SimulatorProcess, client: SesClient, sqs: Sqs) -> None:
    simulator.settings(
        event_duplicate_share=0.3, event_garbage_share=0.2, event_loss_share=0.1, event_disorder_share=0.3
    )
    for n in range(6):
        client.call("send_bulk_email", **batch(50, first_row=50 * n))
    told = simulator.flush_events(CAMPAIGN)
    bodies = sqs.bodies()
    good, rows = [], []
    for body in bodies:
        with contextlib.suppress(ValueError, TypeError, KeyError):
            good.append(json.loads(body)["mail"]["messageId"])
            rows.append(int(json.loads(body)["mail"]["tags"]["bulksend-row"][0]))
    assert len(set(good)) == told["emitted"]["Delivery"] == 300 - told["lost"]["Delivery"]
    assert len(good) - len(set(good)) == told["copies"]["Delivery"] > 50
    assert len(bodies) - len(good) == told["garbage"] > 30
    assert 10 < told["lost"]["Delivery"] < 60
    assert max(told["emitted"].values()) == told["emitted"]["Delivery"]
    assert rows != sorted(rows)


def test_what_is_late_waits_until_it_is_let_go_or_forgotten(
    simulator: SimulatorProcess, client: SesClient, sqs: Sqs
) -> None:
    simulator.settings(event_delay_ms=3_600_000)
    client.call("send_bulk_email", **batch(20))
    simulator.settings(event_delay_ms=0)
    client.call("send_bulk_email", **batch(1, first_row=20))
    until = time.monotonic() + PATIENCE_S
    while simulator.events()["queued"] > 20 and time.monotonic() < until:
        pass
    assert [event["mail"]["tags"]["bulksend-row"] for event in sqs.events()] == [["20"]]
    simulator.reset()
    told = simulator.events()
    assert (told["queued"], told["emitted"]) == (0, {})
    simulator.settings(event_delay_ms=3_600_000, event_jitter_ms=1000)
    client.call("send_bulk_email", **batch(5))
    # What held when it was accepted holds.
    simulator.settings(event_types=["Send"])
    assert simulator.flush_events()["emitted"] == {"Delivery": 5}
    assert len(sqs.bodies()) == 5


def test_a_queue_that_is_away_slows_no_answer_and_loses_no_event(
    simulator: SimulatorProcess, client: SesClient, sqs: Sqs
) -> None:
    simulator.settings(events_queue_url="http://127.0.0.1:1/000000000000/events")
    for n in range(20):
        client.call("send_bulk_email", **batch(50, first_row=50 * n))
    until = time.monotonic() + PATIENCE_S
    while not simulator.events()["last_error"] and time.monotonic() < until:
        pass
    told = simulator.events()
    assert "ClientConnectorError" in told["last_error"]
    assert (told["queued"], told["emitted"]) == (1000, {})
    simulator.settings(events_queue_url=sqs.url)
    client.call("send_bulk_email", **batch(1, first_row=1000))
    told = simulator.flush_events()
    assert (told["emitted"], told["failed"]) == ({"Delivery": 1001}, 0)
    assert len({event["mail"]["messageId"] for event in sqs.events()}) == 1001


def test_whoever_looks_on_is_told_once_that_the_queue_takes_nothing(
    sqs: Sqs, capfd: pytest.CaptureFixture[str]
) -> None:
    with SimulatorProcess(events_queue_url="http://127.0.0.1:1/000000000000/events") as own:
        with ses_client(own.url) as client:
            for n in range(4):
                client.call("send_bulk_email", **batch(50, first_row=50 * n))
            until = time.monotonic() + PATIENCE_S
            while not own.events()["last_error"] and time.monotonic() < until:
                pass
            own.settings(events_queue_url=sqs.url)
            client.call("send_bulk_email", **batch(1, first_row=200))
        assert own.flush_events()["emitted"] == {"Delivery": 201}
    said = capfd.readouterr().err.splitlines()
    assert [line.partition(": Client")[0] for line in said] == [
        "simulator: the queue takes no events",
        "simulator: the queue takes events again",
    ]


class Fussy(BaseHTTPRequestHandler):
    """A queue that is out of order at first, then takes half of a batch, and never the row 3."""

    protocol_version = "HTTP/1.1"
    taken: ClassVar[list[str]] = []
    calls: ClassVar[int] = 0
    paths: ClassVar[set[str]] = set()

    def do_POST(self) -> None:
        entries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Entries"]
        cls = type(self)
        cls.calls += 1
        cls.paths.add(self.path)
        match cls.calls:
            case 1:
                self.answer(500, b"out of order")
            case 2:
                self.answer(200, b"no JSON")
            case 3:
                self.answer(307, b"", Location="/elsewhere")
            case n:
                row_3 = [e["Id"] for e in entries if '"bulksend-row":["3"]' in e["MessageBody"]]
                later = [e["Id"] for e in entries if e["Id"] not in row_3][: 5 if n % 2 else 0]
                good = [e for e in entries if e["Id"] not in row_3 + later]
                cls.taken += [e["MessageBody"] for e in good]
                failed = [{"Id": i, "SenderFault": i in row_3, "Code": "Odd"} for i in row_3 + later]
                told = {"Successful": [{"Id": e["Id"]} for e in good], "Failed": failed}
                self.answer(200, json.dumps(told).encode())

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""


def test_what_a_queue_refuses_is_sent_again_or_counted(simulator: SimulatorProcess, client: SesClient) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Fussy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            simulator.settings(events_queue_url=f"http://127.0.0.1:{server.server_port}/000000000000/events")
            client.call("send_bulk_email", **batch(10))
            told = simulator.flush_events()
        finally:
            server.shutdown()
            thread.join()
    rows = sorted(int(json.loads(body)["mail"]["tags"]["bulksend-row"][0]) for body in Fussy.taken)
    assert rows == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert Fussy.paths == {"/"}
    assert (told["emitted"], told["failed"], told["last_error"]) == ({"Delivery": 9}, 1, "Odd")


def test_mails_have_the_same_fates_after_a_reset(simulator: SimulatorProcess, client: SesClient, sqs: Sqs) -> None:
    simulator.settings(
        bounce_share=0.3, open_share=0.5, event_loss_share=0.2, event_types=["Delivery", "Bounce", "Open"]
    )

    def run() -> list[tuple[str, str]]:
        simulator.reset()
        client.call("send_bulk_email", **batch(40))
        simulator.flush_events()
        return sorted((event["mail"]["tags"]["bulksend-row"][0], event["eventType"]) for event in sqs.events())

    first = run()
    assert len(first) > 40
    assert run() == first
