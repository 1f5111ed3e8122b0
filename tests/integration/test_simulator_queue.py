"""The queue that the simulator holds, spoken to with the real SDK, with bulksend's own consumer, and by its verbs."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bulksend.aws import AwsAccess
from bulksend.config import Settings
from bulksend.errors import ConfigError, ServerError
from bulksend.event import EventType
from bulksend.events import Consumer, QueueError, Trouble, open_queue
from bulksend.events.status import read_queue
from bulksend.journal import SqliteEvents
from bulksend.simulator import SimulatorProcess, SimulatorSettings
from tests.events_queues import REGION
from tests.integration.test_events_consumer import Told
from tests.simulated_ses import SesClient, bulk, ses_client


@pytest.fixture(scope="module")
def _running() -> Iterator[tuple[SimulatorProcess, SesClient, dict[str, Any]]]:
    fixed = ("host", "port", "day_s", "seed", "rules", "events", "exit_with_parent")
    with SimulatorProcess(events=True, max_send_rate_per_s=1e6, seed=7) as running, ses_client(running.url) as client:
        yield running, client, {name: value for name, value in running.settings().items() if name not in fixed}


@pytest.fixture
def simulator(_running: tuple[SimulatorProcess, SesClient, dict[str, Any]]) -> SimulatorProcess:
    running, _, defaults = _running
    running.reset()
    running.rules([])
    running.settings(**defaults)
    return running


@pytest.fixture
def client(_running: tuple[SimulatorProcess, SesClient, dict[str, Any]]) -> SesClient:
    return _running[1]


@pytest.fixture
def queue(simulator: SimulatorProcess) -> Any:
    """The SDK's client of it."""
    return boto3.client("sqs", REGION, endpoint_url=simulator.url, config=Config(retries={"total_max_attempts": 1}))


def send(client: SesClient, count: int, *, first_row: int = 0) -> None:
    addresses = [f"u{n}@example.com" for n in range(first_row, first_row + count)]
    client.call("send_bulk_email", **bulk(*addresses, first_row=first_row, ConfigurationSetName="marketing"))


def access(simulator: SimulatorProcess) -> AwsAccess:
    return AwsAccess(region=REGION, endpoint_url=simulator.url)


def consume(simulator: SimulatorProcess, events: SqliteEvents) -> Told:
    """All that is in the queue, by bulksend's own consumer."""
    told = Told()

    async def run() -> None:
        with ThreadPoolExecutor(1) as thread:
            async with open_queue(access(simulator), simulator.events_queue_url) as (found, why):
                assert why is None
                consumer = Consumer(found, events, told, thread=thread, now=time.time)
                await consumer.run(until_empty=True)

    asyncio.run(run())
    return told


def types(told: Told) -> Counter[str]:
    total: Counter[EventType] = sum((Counter(fact.types) for fact in told.facts), Counter())
    return Counter({kind.value: number for kind, number in total.items()})


def test_the_sdk_finds_the_queue_and_takes_what_is_in_it(
    simulator: SimulatorProcess, client: SesClient, queue: Any
) -> None:
    url = simulator.events_queue_url
    assert queue.list_queues()["QueueUrls"] == [url, f"{url}-dead"]
    assert queue.get_queue_url(QueueName="bulksend-events")["QueueUrl"] == url
    send(client, 25)
    assert simulator.flush_events()["emitted"] == {"Delivery": 25}
    attributes = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == "25"
    assert attributes["QueueArn"] == f"arn:aws:sqs:{REGION}:123456789012:bulksend-events"
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(":bulksend-events-dead")
    rows = set()
    asked = {"QueueUrl": url, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 0}
    while messages := queue.receive_message(**asked, MessageSystemAttributeNames=["All"]).get("Messages"):
        assert {message["Attributes"]["ApproximateReceiveCount"] for message in messages} == {"1"}
        rows |= {json.loads(json.loads(m["Body"])["Message"])["mail"]["tags"]["bulksend-row"][0] for m in messages}
        entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
        assert len(queue.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == len(messages)
    assert rows == {str(n) for n in range(25)}


def test_the_sdk_sends_hides_and_deletes(queue: Any, simulator: SimulatorProcess) -> None:
    url = f"{simulator.events_queue_url}-dead"
    queue.send_message(QueueUrl=url, MessageBody="one")
    entries = [{"Id": "2", "MessageBody": "two", "DelaySeconds": 900}]
    assert queue.send_message_batch(QueueUrl=url, Entries=entries)["Successful"][0]["Id"] == "2"
    (message,) = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
    queue.change_message_visibility(**handle, VisibilityTimeout=0)
    (again,) = queue.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert (again["Body"], again["Attributes"]) == ("one", {"ApproximateReceiveCount": "2"})
    change = [{"Id": "x", "ReceiptHandle": again["ReceiptHandle"], "VisibilityTimeout": 60}]
    assert queue.change_message_visibility_batch(QueueUrl=url, Entries=change)["Successful"] == [{"Id": "x"}]
    queue.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    names = ["ApproximateNumberOfMessagesDelayed", "ApproximateNumberOfMessagesNotVisible"]
    found = queue.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert found == dict(zip(names, ("1", "0"), strict=True))


def test_the_sdk_is_told_of_errors_by_the_names_that_it_knows(queue: Any, simulator: SimulatorProcess) -> None:
    url = simulator.events_queue_url
    with pytest.raises(queue.exceptions.QueueDoesNotExist):
        queue.receive_message(QueueUrl=f"{url}-not")
    with pytest.raises(queue.exceptions.ReceiptHandleIsInvalid):
        queue.delete_message(QueueUrl=url, ReceiptHandle="x")
    with pytest.raises(queue.exceptions.BatchEntryIdsNotDistinct):
        queue.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "a"}] * 2)
    with pytest.raises(ClientError, match=r"AWS\.SimpleQueueService\.NonExistentQueue") as unknown:
        queue.get_queue_url(QueueName="other")
    assert unknown.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*WaitTimeSeconds"):
        queue.receive_message(QueueUrl=url, WaitTimeSeconds=21)
    with pytest.raises(ClientError, match="UnknownOperationException"):
        queue.create_queue(QueueName="other")


def test_bulksends_consumer_counts_what_the_books_say(
    simulator: SimulatorProcess, client: SesClient, tmp_path: Path
) -> None:
    for nth, shape in enumerate(("sns", "raw", "eventbridge")):
        simulator.settings(
            events_shape=shape,
            bounce_share=0.1,
            complaint_share=0.02,
            delay_share=0.1,
            reject_share=0.02,
            event_loss_share=0.1,
            event_duplicate_share=0.2,
            event_disorder_share=0.2,
            event_jitter_ms=500,
            event_garbage_share=0.05,
        )
        for n in range(2):
            send(client, 50, first_row=100 * nth + 50 * n)
    books = simulator.flush_events()
    assert (books["mails"], books["failed"], books["queued"]) == (300, 0, 0)
    assert min(sum(books[name].values()) for name in ("emitted", "copies", "lost")) > 10
    told = consume(simulator, SqliteEvents(tmp_path / "events.db"))
    assert types(told) == {
        {"DeliveryDelay": "delivery_delay"}.get(name, name.lower()): number for name, number in books["emitted"].items()
    }
    assert sum(fact.unreadable for fact in told.facts) == books["garbage"] > 0
    assert {said.partition(":")[0] for said in told.said} == {"left"}
    standing = asyncio.run(read_queue(access(simulator), simulator.events_queue_url))
    assert (standing.waiting, standing.in_flight, standing.dead.value) == (0, 0, books["garbage"])
    assert standing.dead_letters == "bulksend-events-dead"


def test_how_old_the_oldest_is_can_be_asked(simulator: SimulatorProcess, client: SesClient) -> None:
    send(client, 3)
    simulator.flush_events()
    standing = asyncio.run(read_queue(access(simulator), simulator.events_queue_url))
    assert (standing.why, standing.waiting, standing.oldest_s.why) == ("", 3, "")
    assert standing.oldest_s.value is not None
    assert 0 <= standing.oldest_s.value < 60
    gone = asyncio.run(read_queue(access(simulator), f"{simulator.events_queue_url}-not"))
    assert gone.gone


def test_a_reset_empties_the_queue(simulator: SimulatorProcess, client: SesClient, queue: Any) -> None:
    send(client, 3)
    simulator.flush_events()
    handle = queue.receive_message(QueueUrl=simulator.events_queue_url)["Messages"][0]["ReceiptHandle"]
    simulator.reset()
    assert simulator.events()["mails"] == 0
    assert "Messages" not in queue.receive_message(QueueUrl=simulator.events_queue_url, WaitTimeSeconds=0)
    with pytest.raises(queue.exceptions.ReceiptHandleIsInvalid):
        queue.delete_message(QueueUrl=simulator.events_queue_url, ReceiptHandle=handle)


def post(simulator: SimulatorProcess, body: bytes, **headers: str) -> tuple[int, str, str]:
    """Status, body, and the older name of an error."""
    connection = HTTPConnection(urlsplit(simulator.url).netloc, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/", body, {"X-Amz-Target": "AmazonSQS.ListQueues", **given})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers.get("x-amzn-query-error", "")
    finally:
        connection.close()


def test_what_is_not_signed_for_sqs_or_too_large_is_refused(simulator: SimulatorProcess) -> None:
    status, body, _ = post(simulator, b"{}")
    assert (status, json.loads(body)["__type"]) == (403, "com.amazon.coral.service#MissingAuthenticationTokenException")
    scope = "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/ses/aws4_request, SignedHeaders=host;x-amz-date"
    status, body, name = post(
        simulator, b"{}", Authorization=f"{scope}, Signature={'0' * 64}", X_Amz_Date="20260101T000000Z"
    )
    assert (status, name) == (403, "IncompleteSignature;Sender")
    status, body, _ = post(simulator, b"x" * (8 * 1024 * 1024 + 1))
    assert (status, "too large" in body) == (413, True)


def test_a_receiver_that_leaves_takes_nothing_with_it(
    simulator: SimulatorProcess, client: SesClient, queue: Any
) -> None:
    """A message for whoever is gone would be out of sight for two minutes."""

    async def leave() -> None:
        async with open_queue(access(simulator), simulator.events_queue_url) as (found, _):
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await found.receive()

    asyncio.run(leave())
    send(client, 1)
    simulator.flush_events()
    (message,) = queue.receive_message(QueueUrl=simulator.events_queue_url, WaitTimeSeconds=1)["Messages"]
    assert message["ReceiptHandle"]


def test_a_simulator_without_a_queue_has_none() -> None:
    with SimulatorProcess() as plain:
        assert plain.events_queue_url == ""
        status, _, _ = post(plain, b"{}")
        assert status == 403

        async def receive() -> None:
            async with open_queue(access(plain), f"{plain.url}/123456789012/bulksend-events") as (found, _):
                await found.receive(0)

        with pytest.raises(QueueError) as error:
            asyncio.run(receive())
        assert error.value.trouble is not Trouble.AWAY
        with pytest.raises(ServerError, match="events cannot change"):
            plain.settings(events=True)


def test_events_go_to_one_queue(simulator: SimulatorProcess) -> None:
    with pytest.raises(ConfigError, match="one queue"):
        SimulatorSettings(events=True, events_queue_url="http://127.0.0.1:1/000000000000/events")
    with pytest.raises(ServerError, match="one queue"):
        simulator.settings(events_queue_url="http://127.0.0.1:1/000000000000/events")


def test_its_url_is_one_that_the_settings_take(simulator: SimulatorProcess) -> None:
    queues = [simulator.events_queue_url]
    found = Settings.model_validate({"events": {"queues": queues, "endpoint_url": simulator.url}})
    assert found.events.queues == tuple(queues)
