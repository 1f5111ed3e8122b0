"""Asking SQS: a real one that verifies and refuses, and one that does to each connection what a test says."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import partial
from typing import Any

import boto3
import pytest

from bulksend.aws import AwsAccess
from bulksend.events import Queue, QueueError, Trouble, open_queue, place_of
from bulksend.events.calls import SdkCalls
from bulksend.events.queue import MAX_BATCH_BYTES
from tests.events_queues import REGION, Desk
from tests.http_server import Guest, Server, answer_bytes, serving
from tests.independent import Ministack

KINDS = ("signed", "sdk")
NOTHING = answer_bytes(b"{}")
QUEUE = "/123456789012/events"


@asynccontextmanager
async def opened(kind: str, endpoint_url: str, url: str) -> AsyncIterator[Queue]:
    access = AwsAccess(region=REGION, endpoint_url=endpoint_url, connect_timeout_s=5.0)
    if kind == "signed":
        async with open_queue(access, url) as (queue, why):
            assert why is None
            yield queue
        return
    async with SdkCalls(access) as calls:
        yield Queue(url, calls)


def with_queue(
    kind: str, endpoint_url: str, url: str, work: Callable[[Queue], Awaitable[object]], *, times: int = 1
) -> Any:
    async def main() -> object:
        async with opened(kind, endpoint_url, url) as queue:
            for _ in range(times - 1):
                await work(queue)
            return await work(queue)

    return asyncio.run(main())


def refusal(code: str, status: int = 400, text: str = "No.", *headers: str) -> bytes:
    body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": text}).encode()
    return answer_bytes(body, status, headers)


def played(kind: str, answers: list[bytes], work: Callable[[Queue], Awaitable[object]], times: int = 1) -> Server:
    """Against a server that gives these answers, one after the other, and then nothing of interest."""
    left = iter(answers)

    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(next(left, NOTHING))

    async def main() -> Server:
        async with serving(behave) as server, opened(kind, server.url, f"{server.url}{QUEUE}") as queue:
            for _ in range(times):
                await work(queue)
        return server

    return asyncio.run(main())


# A queue as it should be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_messages_come_go_and_come_again(kind: str, ministack: Ministack) -> None:
    desk = Desk(ministack.endpoint_url)
    made = desk.queue()
    bodies = [f'{n} \u00e4\U0001f4e8 "quoted"\n' for n in range(25)]

    async def work(queue: Queue) -> None:
        for begin in range(0, 25, 10):
            assert all(await queue.send(made.url, bodies[begin : begin + 10]))
        first, second, third = [await queue.receive(0) for _ in range(3)]
        assert [len(first), len(second), len(third)] == [10, 10, 5]
        assert sorted(message.body for message in (*first, *second, *third)) == sorted(bodies)
        assert await queue.receive(0) == []
        assert await queue.delete([message.receipt for message in first]) == 0
        assert await queue.show_again([message.receipt for message in second]) == 0
        again = await queue.receive(0)
        assert {message.body for message in again} == {message.body for message in second}
        assert await queue.dead_letters() == made.dead_url
        assert (await queue.attributes("QueueArn"))["QueueArn"] == made.arn

    with_queue(kind, ministack.endpoint_url, made.url, work)
    assert desk.left(made.url) == (0, 15)


@pytest.mark.parametrize("kind", KINDS)
def test_what_sqs_would_not_do_is_counted(kind: str, ministack: Ministack) -> None:
    made = Desk(ministack.endpoint_url).plain_queue()

    async def work(queue: Queue) -> tuple[int, int, str | None]:
        assert await queue.send(made, ["a"]) == [True]
        (message,) = await queue.receive(0)
        some = [message.receipt, "no-such-receipt"]
        return await queue.show_again(some, 60), await queue.delete(some), await queue.dead_letters()

    assert with_queue(kind, ministack.endpoint_url, made, work) == (1, 1, None)


def test_texts_that_are_too_many_for_a_request_go_in_several(ministack: Ministack) -> None:
    desk = Desk(ministack.endpoint_url)
    made = desk.plain_queue()
    bodies = ["a" * (MAX_BATCH_BYTES // 2), "b" * (MAX_BATCH_BYTES // 2), "c", "d" * MAX_BATCH_BYTES]
    assert with_queue("signed", ministack.endpoint_url, made, lambda queue: queue.send(made, bodies)) == [True] * 4
    assert sorted(map(len, desk.bodies(made))) == sorted(map(len, bodies))


def test_many_at_once_use_few_connections() -> None:
    async def behave(guest: Guest) -> None:
        while True:
            await guest.request()
            await guest.write(NOTHING)

    async def main() -> Server:
        async with serving(behave) as server, opened("signed", server.url, f"{server.url}{QUEUE}") as queue:
            for _ in range(10):
                await asyncio.gather(*(queue.receive(0) for _ in range(5)))
        return server

    server = asyncio.run(main())
    assert len(server.visits) == 50
    assert server.connections == 5


def test_what_a_request_says() -> None:
    server = played("signed", [], lambda queue: queue.receive(20))
    (visit,) = server.visits
    assert visit.head.startswith(b"POST / HTTP/1.1\r\n")
    assert visit.header("x-amz-target") == "AmazonSQS.ReceiveMessage"
    assert visit.header("content-type") == "application/x-amz-json-1.0"
    assert f"/{REGION}/sqs/aws4_request" in visit.header("authorization")
    assert "x-amz-target" in visit.header("authorization")
    assert json.loads(visit.body) == {
        "QueueUrl": f"{server.url}{QUEUE}",
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
    }


def test_answers_that_are_none_of_sqs_s_are_trouble_or_nothing() -> None:
    for body in (b'{"Messages": 17}', b'{"Messages": [17, {"Body": 3}, {"ReceiptHandle": "a"}]}', b""):
        played("signed", [answer_bytes(body)], no_messages)
    for body in (b"<html>", b"[]"):
        with pytest.raises(QueueError) as caught:
            played("signed", [answer_bytes(body)], no_messages)
        assert caught.value.trouble is Trouble.AWAY


async def no_messages(queue: Queue) -> None:
    assert await queue.receive(0) == []


# Trouble in words -----------------------------------------------------------------------------------------------------

REFUSED = {
    "gone": (refusal("QueueDoesNotExist"), Trouble.GONE, "there is no queue"),
    "gone, by the older name": (refusal("AWS.SimpleQueueService.NonExistentQueue"), Trouble.GONE, "there is no queue"),
    "denied": (refusal("AccessDeniedException", 403), Trouble.DENIED, "denied"),
    "denied the key": (refusal("KmsAccessDenied"), Trouble.DENIED, "denied"),
    "throttled": (refusal("RequestThrottled"), Trouble.THROTTLED, "throttled"),
    "too much in flight": (refusal("OverLimit", 403), Trouble.THROTTLED, "throttled"),
    "too many requests": (answer_bytes(b"slow down", 429), Trouble.THROTTLED, "throttled"),
    "an error of its own": (refusal("InternalFailure", 500), Trouble.AWAY, "error of its own"),
    "a gateway's": (answer_bytes(b"<html>", 502), Trouble.AWAY, "error of its own"),
    "anything else": (refusal("InvalidAttributeName", 400, "x" * 5000), Trouble.REFUSED, "InvalidAttributeName"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("answer", "trouble", "words"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_said_in_words(kind: str, answer: bytes, trouble: Trouble, words: str) -> None:
    with pytest.raises(QueueError) as caught:
        played(kind, [answer] * 3, no_messages)
    assert caught.value.trouble is trouble
    assert words in caught.value.message
    assert QUEUE in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 600
    assert caught.value.passes == (trouble in {Trouble.THROTTLED, Trouble.AWAY})


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_there(kind: str) -> None:
    with pytest.raises(QueueError) as caught:
        with_queue(kind, "http://127.0.0.1:1", f"http://127.0.0.1:1{QUEUE}", no_messages)
    assert caught.value.trouble is Trouble.AWAY


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_that_is_lost(kind: str) -> None:
    async def behave(guest: Guest) -> None:
        await guest.request()
        guest.reset()

    async def main() -> None:
        async with serving(behave) as server, opened(kind, server.url, f"{server.url}{QUEUE}") as queue:
            await queue.receive(0)

    with pytest.raises(QueueError) as caught:
        asyncio.run(main())
    assert caught.value.trouble is Trouble.AWAY


def test_after_trouble_few_messages_are_asked_for_at_first() -> None:
    """Ten large ones may be more than a connection takes."""
    asked = []

    async def receive(queue: Queue) -> None:
        try:
            await queue.receive(0)
        except QueueError:
            asked.append("trouble")

    server = played("signed", [refusal("InternalFailure", 500)], receive, times=6)
    assert asked == ["trouble"]
    assert [json.loads(visit.body)["MaxNumberOfMessages"] for visit in server.visits] == [10, 1, 2, 4, 8, 10]


# Keys and clocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidClientTokenId", "UnrecognizedClientException"])
def test_refused_keys_are_read_anew_once(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [refusal(code, 403)]

    async def work(queue: Queue) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE")
        await queue.receive(0)

    server = played("signed", answers, work)
    assert len(server.visits) == 2
    # Keys are read with the first request: by then the environment has the new ones already.
    with pytest.raises(QueueError) as caught:
        played("signed", [refusal(code, 403)] * 9, no_messages)
    assert caught.value.trouble is Trouble.CREDENTIALS


def test_keys_that_are_renewed_serve_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def work(queue: Queue) -> None:
        await queue.receive(0)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE")
        await queue.receive(0)

    server = played("signed", [NOTHING, refusal("ExpiredToken", 403)], work)
    seen += [visit.header("authorization").partition("Credential=")[2].partition("/")[0] for visit in server.visits]
    assert seen == ["AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "AKIAI44QH8DHBEXAMPLE"]


def test_the_sdk_s_keys_are_read_anew_with_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(queue: Queue) -> None:
        with pytest.raises(QueueError):
            await queue.receive(0)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAI44QH8DHBEXAMPLE")
        await queue.receive(0)

    server = played("sdk", [refusal("ExpiredToken", 403)], work)
    assert "AKIAI44QH8DHBEXAMPLE" in server.visits[-1].header("authorization")


def test_no_keys_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(QueueError, match="no AWS credentials") as caught:
        with_queue("signed", "http://127.0.0.1:1", f"http://127.0.0.1:1{QUEUE}", no_messages)
    assert caught.value.trouble is Trouble.CREDENTIALS


@pytest.mark.parametrize("code", ["InvalidSignatureException", "RequestExpired"])
def test_a_clock_that_is_wrong_is_set_by_the_server_s(code: str) -> None:
    theirs = time.time() + 3600
    late = refusal(code, 403, "Signature expired", f"Date: {formatdate(theirs, usegmt=True)}")
    server = played("signed", [late], no_messages)
    first, second = [visit.header("x-amz-date") for visit in server.visits]
    ahead_s = time.mktime(time.strptime(second, "%Y%m%dT%H%M%SZ")) - time.mktime(time.strptime(first, "%Y%m%dT%H%M%SZ"))
    assert 3590 <= ahead_s <= 3610
    with pytest.raises(QueueError) as caught:
        played("signed", [refusal(code, 403, "", f"Date: {formatdate(time.time(), usegmt=True)}")] * 9, no_messages)
    assert caught.value.trouble is Trouble.CREDENTIALS


# A server that verifies -----------------------------------------------------------------------------------------------

ALLOWED = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "SendMessage")


@pytest.fixture(scope="module")
def verifying(_isolation: None) -> Iterator[Ministack]:
    with Ministack(auth=True) as server:
        yield server


def client(server: Ministack, service: str, keys: tuple[str, str]) -> Any:
    return boto3.client(
        service, REGION, endpoint_url=server.endpoint_url, aws_access_key_id=keys[0], aws_secret_access_key=keys[1]
    )


@pytest.fixture
def queue_url(verifying: Ministack, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue, and this process's keys those of a user who may do what the hint names and nothing else."""
    root = ("test", "test")
    iam = client(verifying, "iam", root)
    url: str = client(verifying, "sqs", root).create_queue(QueueName="events")["QueueUrl"]
    if not any(user["UserName"] == "consumer" for user in iam.list_users()["Users"]):
        iam.create_user(UserName="consumer")
    grant(verifying, *ALLOWED)
    key = iam.create_access_key(UserName="consumer")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    return url


def grant(server: Ministack, *actions: str) -> None:
    # In AWS an action covers its batches; this server wants them named.
    named = [f"sqs:{action}{more}" for action in actions for more in ("", "Batch")]
    statement = {"Effect": "Allow", "Action": named, "Resource": "*"}
    client(server, "iam", ("test", "test")).put_user_policy(
        UserName="consumer",
        PolicyName="consume",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_verifying_server_takes_our_signatures(kind: str, verifying: Ministack, queue_url: str) -> None:
    async def work(queue: Queue) -> None:
        assert await queue.send(queue_url, ["a"]) == [True]
        (message,) = await queue.receive(0)
        assert await queue.show_again([message.receipt], 30) == 0
        assert await queue.delete([message.receipt]) == 0
        assert await queue.dead_letters() is None

    with_queue(kind, verifying.endpoint_url, queue_url, work)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_allowed_is_denied_in_words(kind: str, verifying: Ministack, queue_url: str) -> None:
    grant(verifying, "GetQueueAttributes")
    for work in (no_messages, partial(Queue.delete, receipts=["a"]), partial(Queue.send, url=queue_url, bodies=["a"])):
        with pytest.raises(QueueError) as caught:
            with_queue(kind, verifying.endpoint_url, queue_url, work)
        assert caught.value.trouble is Trouble.DENIED
        assert all(f"sqs:{action}" in caught.value.hint for action in ALLOWED)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_keys_are_said_in_words(
    kind: str, verifying: Ministack, queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(QueueError, match="credentials are refused") as caught:
        with_queue(kind, verifying.endpoint_url, queue_url, no_messages)
    assert caught.value.trouble is Trouble.CREDENTIALS


# Where a queue is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "region", "account", "endpoint_url"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/events", "eu-west-1", "123456789012", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/events", "cn-north-1", "123456789012", None),
        (
            "https://sqs-fips.us-east-1.amazonaws.com/123456789012/events",
            "us-east-1",
            "123456789012",
            "https://sqs-fips.us-east-1.amazonaws.com",
        ),
        (
            "https://eu-west-1.queue.amazonaws.com/123456789012/events",
            "eu-west-1",
            "123456789012",
            "https://eu-west-1.queue.amazonaws.com",
        ),
        (
            "https://vpce-0abc.sqs.eu-west-1.vpce.amazonaws.com/123456789012/events",
            "eu-west-1",
            "123456789012",
            "https://vpce-0abc.sqs.eu-west-1.vpce.amazonaws.com",
        ),
        ("http://127.0.0.1:4566/events", None, "127.0.0.1:4566", "http://127.0.0.1:4566"),
    ],
)
def test_a_queue_s_url_says_where_it_is(url: str, region: str | None, account: str, endpoint_url: str | None) -> None:
    place = place_of(url)
    assert (place.name, place.region, place.account, place.endpoint_url) == ("events", region, account, endpoint_url)


def test_behind_a_proxy_the_sdk_carries_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    async def main() -> str | None:
        url = "https://sqs.eu-west-1.amazonaws.com/123456789012/events"
        async with open_queue(AwsAccess(region=REGION), url) as (_, why):
            return why

    assert asyncio.run(main()) == "requests go through a proxy"
