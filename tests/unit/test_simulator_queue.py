"""The queue that the simulator holds: who sees a message when, how often, and what is answered to a wrong request."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.events import wiring
from bulksend.simulator import SimulatorSettings, sqs
from bulksend.simulator.account import Account
from bulksend.simulator.cloudwatch import answer as query_answer
from bulksend.simulator.events import Emitter
from bulksend.simulator.held_queue import MAX_RECEIVES, HeldQueue, ReceiptError, Received, Refusal, State
from bulksend.simulator.sqs_asked import SqsAsked, SqsError
from tests.clocks import EPOCH, JumpingLoop
from tests.simulated_ses import bulk

HIDDEN_S = 30
URL = f"http://127.0.0.1:8080{sqs.PATH}"


@dataclass
class Time:
    """Both of a queue's clocks."""

    now: float = EPOCH

    def __call__(self) -> float:
        return self.now


def queue(time: Time, **bounds: Any) -> HeldQueue:
    return HeldQueue("events", clock=time, steady=time, **bounds)


def taken(held: HeldQueue, most: int = 10, hidden_s: float = HIDDEN_S) -> list[Received]:
    return held.take(most, hidden_s)


def refused(what: Any, *arguments: Any) -> Refusal:
    with pytest.raises(ReceiptError) as error:
        what(*arguments)
    return error.value.why


def counts(held: HeldQueue) -> tuple[int, int, int]:
    return held.count(State.READY), held.count(State.DELAYED), held.count(State.IN_FLIGHT)


# The queue ------------------------------------------------------------------------------------------------------------


def test_a_message_is_one_receivers_until_its_time_is_up_and_gone_once_it_is_deleted() -> None:
    time = Time()
    held = queue(time)
    put = held.put("a")
    assert put is not None
    (first,) = taken(held)
    assert (first.message.body, first.receives, taken(held)) == ("a", 1, [])
    time.now += HIDDEN_S - 1
    assert taken(held) == []
    time.now += 1
    (second,) = taken(held)
    assert (second.message.id, second.receives) == (put.id, 2)
    assert second.receipt != first.receipt
    assert second.message.first_received_at == EPOCH
    held.delete(first.receipt)  # not the last one: taken for done, and nothing is
    assert counts(held) == (0, 0, 1)
    held.delete(second.receipt)
    held.delete(second.receipt)
    time.now += HIDDEN_S
    assert (taken(held), counts(held), held.oldest_s()) == ([], (0, 0, 0), None)


def test_what_is_deleted_after_its_time_is_not_received_again() -> None:
    time = Time()
    held = queue(time)
    held.put("a")
    (first,) = taken(held)
    time.now += HIDDEN_S
    assert counts(held) == (1, 0, 0)
    held.delete(first.receipt)
    assert (taken(held), counts(held)) == ([], (0, 0, 0))


def test_a_message_may_be_shown_again_at_once_or_later_by_its_last_receipt_alone() -> None:
    time = Time()
    held = queue(time)
    held.put("a")
    (first,) = taken(held)
    held.hide(first.receipt, 600)
    time.now += HIDDEN_S
    assert taken(held) == []
    held.hide(first.receipt, 0)
    assert refused(held.hide, first.receipt, 5) is Refusal.NOT_IN_FLIGHT
    (second,) = taken(held)
    assert refused(held.hide, first.receipt, 5) is Refusal.NOT_IN_FLIGHT
    held.delete(second.receipt)
    assert refused(held.hide, second.receipt, 5) is Refusal.GONE


def test_what_is_no_receipt_of_this_queue_is_refused() -> None:
    time = Time()
    held, other = queue(time), HeldQueue("other", clock=time, steady=time)
    for one in (held, other):
        one.put("a")
    (mine,), (theirs,) = taken(held), taken(other)
    for receipt in ("", "nonsense", "x" * 5000, "\u00e4", "AAAA", theirs.receipt):
        assert refused(held.delete, receipt) is Refusal.INVALID
    held.clear()
    held.put("b")
    assert len(taken(held)) == 1
    assert refused(held.delete, mine.receipt) is Refusal.INVALID, "what it was of is forgotten"
    assert counts(other) == (0, 0, 1)


def test_what_comes_too_often_goes_to_the_dead_letter_queue_with_its_name_and_age() -> None:
    time = Time()
    dead = HeldQueue("dead", clock=time, steady=time, max_messages=1)
    held = queue(time, dead=dead)
    put = [held.put("a"), held.put("b")]
    for _ in range(MAX_RECEIVES):
        assert len(taken(held)) == 2
        time.now += HIDDEN_S
    # There is room for one; the other is not thrown away.
    assert [one.message.body for one in taken(held)] == ["b"]
    (buried,) = taken(dead)
    assert put[0] is not None
    assert (buried.message.id, buried.message.body, buried.receives) == (put[0].id, "a", 1)
    assert buried.message.sent_at == EPOCH
    assert (counts(held), counts(dead)) == ((0, 0, 1), (0, 0, 1))


def test_it_is_bounded_in_messages_and_in_bytes() -> None:
    held = queue(Time(), max_messages=3, max_bytes=10)
    assert [held.put(body) is not None for body in ("aaaa", "\u00e4\u00e4", "bbb", "cc", "")] == [
        *(True, True, False, True, False)
    ]
    for one in taken(held):
        held.delete(one.receipt)
    assert held.put("x" * 10) is not None


def test_what_was_deleted_leaves_nothing_behind() -> None:
    held = queue(Time())
    for _ in range(300):
        for _ in range(10):
            held.put("x")
        for one in taken(held):
            held.delete(one.receipt)
    assert len(held._hidden) <= 2000


@dataclass
class Model:
    """What a queue promises, of each message: whether it is there, and from when on it may be received."""

    there: dict[str, float] = field(default_factory=dict)
    receives: dict[str, int] = field(default_factory=dict)
    receipts: dict[str, str] = field(default_factory=dict)
    put: int = 0
    deleted: int = 0


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from((0, 0, 5))),
        st.tuples(st.just("take"), st.integers(1, 10)),
        st.tuples(st.just("delete"), st.integers(0, 50)),
        st.tuples(st.just("hide"), st.integers(0, 50)),
        st.tuples(st.just("wait"), st.sampled_from((1, 4, HIDDEN_S))),
    ),
    max_size=120,
)


@given(OPERATIONS)
def test_nobody_else_sees_what_is_received_and_nothing_is_lost(operations: list[tuple[str, int]]) -> None:
    time = Time()
    dead = HeldQueue("dead", clock=time, steady=time)
    held, model = queue(time, dead=dead), Model()
    for what, number in operations:
        match what:
            case "put":
                message = held.put("x", number)
                assert message is not None
                model.there[message.id] = time.now + number
                model.put += 1
            case "take":
                for one in taken(held, number):
                    assert model.there[one.message.id] <= time.now
                    model.there[one.message.id] = time.now + HIDDEN_S
                    model.receives[one.message.id] = model.receives.get(one.message.id, 0) + 1
                    assert one.receives == model.receives[one.message.id] <= MAX_RECEIVES
                    model.receipts[one.message.id] = one.receipt
            case "wait":
                time.now += number
            case _ if model.receipts:
                found = sorted(model.receipts)[number % len(model.receipts)]
                receipt = model.receipts.pop(found)
                if what == "delete":
                    held.delete(receipt)
                    model.deleted += found in model.there
                    model.there.pop(found, None)
                elif found in model.there and model.there[found] > time.now:
                    held.hide(receipt, 7)
                    model.there[found] = time.now + 7
        ready, delayed, in_flight = counts(held)
        assert ready + delayed + in_flight + sum(counts(dead)) + model.deleted == model.put
    time.now += 1000
    left = {one.message.id for _ in range(len(model.there) + 1) for one in [*taken(held), *taken(dead)]}
    assert left == model.there.keys()


# Its protocol ---------------------------------------------------------------------------------------------------------


def asked(**members: Any) -> SqsAsked:
    return SqsAsked.of(json.dumps({"QueueUrl": URL, **members}).encode(), "eu-west-1", "127.0.0.1:8080")


def called(of: sqs.Sqs, operation: str, **members: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(asyncio.run(of.answer(operation, asked(**members))) or b"{}")
    return found


def code_of(of: sqs.Sqs, operation: str, **members: Any) -> str:
    with pytest.raises(SqsError) as error:
        called(of, operation, **members)
    return error.value.code


@pytest.fixture
def queues() -> sqs.Sqs:
    time = Time()
    return sqs.Sqs(time, time)


def test_it_is_such_a_queue_as_events_setup_makes() -> None:
    assert sqs.VISIBILITY_S == wiring.VISIBILITY_S
    assert sqs.LONG_POLL_S == wiring.LONG_POLL_S
    assert sqs.RETENTION_S == wiring.RETENTION_S
    assert MAX_RECEIVES == wiring.MAX_RECEIVES


def entry(name: str, **members: Any) -> dict[str, Any]:
    return {"Id": name, **members}


@pytest.mark.parametrize(
    ("operation", "members", "code"),
    [
        ("CreateQueue", {}, "UnknownOperationException"),
        ("", {}, "UnknownOperationException"),
        ("ReceiveMessage", {"QueueUrl": None}, "MissingRequiredParameterException"),
        ("ReceiveMessage", {"QueueUrl": 7}, "SerializationException"),
        ("ReceiveMessage", {"QueueUrl": URL + "-not"}, "QueueDoesNotExist"),
        ("ReceiveMessage", {"QueueUrl": "http://127.0.0.1:8080/000000000000/bulksend-events"}, "QueueDoesNotExist"),
        ("ReceiveMessage", {"QueueUrl": "bulksend-events"}, "QueueDoesNotExist"),
        ("ReceiveMessage", {"QueueUrl": "http://[/x"}, "InvalidAddress"),
        ("ReceiveMessage", {"MaxNumberOfMessages": 0}, "InvalidParameterValueException"),
        ("ReceiveMessage", {"MaxNumberOfMessages": 11}, "InvalidParameterValueException"),
        ("ReceiveMessage", {"WaitTimeSeconds": 21}, "InvalidParameterValueException"),
        ("ReceiveMessage", {"WaitTimeSeconds": "1"}, "SerializationException"),
        ("ReceiveMessage", {"WaitTimeSeconds": True}, "SerializationException"),
        ("ReceiveMessage", {"VisibilityTimeout": 43201}, "InvalidParameterValueException"),
        ("ReceiveMessage", {"AttributeNames": "All"}, "SerializationException"),
        ("DeleteMessage", {}, "MissingRequiredParameterException"),
        ("DeleteMessage", {"ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("ChangeMessageVisibility", {"ReceiptHandle": "x"}, "MissingRequiredParameterException"),
        ("ChangeMessageVisibility", {"ReceiptHandle": "x", "VisibilityTimeout": 1}, "ReceiptHandleIsInvalid"),
        ("SendMessage", {}, "MissingRequiredParameterException"),
        ("SendMessage", {"MessageBody": "a\u0000"}, "InvalidMessageContents"),
        ("SendMessage", {"MessageBody": "x" * (1024 * 1024 + 1)}, "InvalidParameterValueException"),
        ("SendMessage", {"MessageBody": "a", "DelaySeconds": 901}, "InvalidParameterValueException"),
        ("SendMessage", {"MessageBody": "a", "MessageAttributes": {"a": {}}}, "UnsupportedOperation"),
        ("SendMessageBatch", {"Entries": []}, "EmptyBatchRequest"),
        ("SendMessageBatch", {}, "SerializationException"),
        ("SendMessageBatch", {"Entries": [entry(str(n)) for n in range(11)]}, "TooManyEntriesInBatchRequest"),
        ("SendMessageBatch", {"Entries": [entry("a"), entry("a")]}, "BatchEntryIdsNotDistinct"),
        ("SendMessageBatch", {"Entries": [entry("a b")]}, "InvalidBatchEntryId"),
        ("SendMessageBatch", {"Entries": ["a"]}, "SerializationException"),
        (
            "SendMessageBatch",
            {"Entries": [entry(str(n), MessageBody="x" * 600_000) for n in range(2)]},
            "BatchRequestTooLong",
        ),
        ("DeleteMessageBatch", {"Entries": [entry("")]}, "MissingRequiredParameterException"),
        ("GetQueueAttributes", {"AttributeNames": ["Colour"]}, "InvalidAttributeName"),
        ("GetQueueUrl", {"QueueName": "other"}, "QueueDoesNotExist"),
        ("GetQueueUrl", {"QueueName": sqs.NAME, "QueueOwnerAWSAccountId": "000000000000"}, "QueueDoesNotExist"),
    ],
)
def test_a_wrong_request_is_refused_as_sqs_does(
    queues: sqs.Sqs, operation: str, members: dict[str, Any], code: str
) -> None:
    assert code_of(queues, operation, **members) == code
    assert called(queues, "GetQueueAttributes", AttributeNames=["ApproximateNumberOfMessages"]) == {
        "Attributes": {"ApproximateNumberOfMessages": "0"}
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b'{"QueueUrl":"\\ud800"}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(SqsError, match="SerializationException"):
        SqsAsked.of(body, "eu-west-1", "127.0.0.1")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = (
    *("QueueUrl", "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds", "AttributeNames", "ReceiptHandle"),
    *("MessageBody", "DelaySeconds", "MessageAttributes", "QueueName", "QueueNamePrefix", "MaxResults", "NextToken"),
)
OF_ALL_KINDS = st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, ANYTHING))
OPERATION_NAMES = (
    *("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "SendMessage", "GetQueueAttributes", "GetQueueUrl"),
    *("ListQueues", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch"),
)


@given(
    st.sampled_from(OPERATION_NAMES),
    OF_ALL_KINDS,
    ANYTHING | st.lists(OF_ALL_KINDS.map(lambda members: {"Id": "1"} | members), max_size=2),
)
def test_no_request_breaks_it(operation: str, members: dict[str, Any], entries: object) -> None:
    time = Time()
    queues = sqs.Sqs(time, time)
    said = {"QueueUrl": URL, "Entries": entries, **members, "WaitTimeSeconds": 0}
    try:
        found = asyncio.run(queues.answer(operation, SqsAsked(said, "eu-west-1", "127.0.0.1")))
    except SqsError as error:
        found = error.body
    assert isinstance(json.loads(found or b"{}"), dict)


def test_of_a_batch_the_good_are_taken_and_the_bad_are_named(queues: sqs.Sqs) -> None:
    good, bad = {"Id": "good", "MessageBody": "a"}, {"Id": "bad", "MessageBody": "\ufffe"}
    sent = called(queues, "SendMessageBatch", Entries=[good, bad])
    assert [one["Id"] for one in sent["Successful"]] == ["good"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in sent["Failed"]] == [
        ("bad", "InvalidMessageContents", True)
    ]
    (found,) = called(queues, "ReceiveMessage", AttributeNames=["All"])["Messages"]
    assert (found["Body"], found["Attributes"]["ApproximateReceiveCount"]) == ("a", "1")
    receipts = [{"Id": "1", "ReceiptHandle": found["ReceiptHandle"]}, {"Id": "2", "ReceiptHandle": "x"}]
    deleted = called(queues, "DeleteMessageBatch", Entries=receipts)
    assert deleted["Successful"] == [{"Id": "1"}]
    assert [(one["Id"], one["Code"]) for one in deleted["Failed"]] == [("2", "ReceiptHandleIsInvalid")]


def test_a_full_queue_takes_the_rest_later(queues: sqs.Sqs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues._events, "_max_messages", 2)
    again, never, why = asyncio.run(queues.send(URL, ["a", "b", "c"]))
    assert (again, never) == ([2], [])
    assert "full" in why
    assert code_of(queues, "SendMessage", MessageBody="c") == "RequestThrottled"
    (failed,) = called(queues, "SendMessageBatch", Entries=[entry("1", MessageBody="c")])["Failed"]
    assert (failed["Code"], failed["SenderFault"]) == ("RequestThrottled", False)


def test_lists_go_on_where_they_ended(queues: sqs.Sqs) -> None:
    first = called(queues, "ListQueues", MaxResults=1)
    second = called(queues, "ListQueues", MaxResults=1, NextToken=first["NextToken"])
    assert first["QueueUrls"] + second["QueueUrls"] == [URL, f"{URL}-dead"]
    assert "NextToken" not in second
    assert called(queues, "ListQueues", QueueNamePrefix="no") == {}


def test_a_receiver_waits_for_what_comes_and_for_what_is_seen_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        queues = sqs.Sqs(loop.now, loop.time)

        async def receive(**members: Any) -> tuple[int, float]:
            """How many came, and after how many seconds."""
            began_s = loop.time()
            found = json.loads(await queues.answer("ReceiveMessage", asked(MaxNumberOfMessages=10, **members)))
            return len(found.get("Messages", ())), round(loop.time() - began_s, 2)

        assert await receive(WaitTimeSeconds=0) == (0, 0)
        assert await receive(WaitTimeSeconds=3) == (0, 3)
        assert await receive() == (0, 20)
        waiting = [asyncio.create_task(receive()) for _ in range(2)]
        await asyncio.sleep(5)
        await queues.send(URL, ["a", "b"])
        # One takes both; the other goes on waiting, and is let go in time.
        assert sorted(await asyncio.gather(*waiting)) == [(0, 20), (2, 5)]
        assert await receive(VisibilityTimeout=7) == (0, 20)
        await asyncio.sleep(75)  # the first receiver's two minutes are over ten seconds after that
        assert await receive(VisibilityTimeout=7) == (2, 10)
        assert await receive() == (2, 7)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())


def test_events_wait_for_room_and_none_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    room, mails = 20, 100

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        account = Account(SimulatorSettings(events=True), now=loop.now, steady=loop.time)
        held = sqs.Sqs(account.clock, account.steady)
        held._events._max_messages = room
        emitter = Emitter(account, held)
        for number in range(0, mails, 50):
            call = bulk(*(f"u{n}@example.com" for n in range(50)), ConfigurationSetName="marketing")
            emitter.accepted(number, json.dumps(call).encode(), list(range(50)))
        await asyncio.sleep(300)
        told = emitter.summary(None)
        assert (told["emitted"], told["failed"], told["queued"]) == ({"Delivery": room}, 0, mails - room)
        assert "full" in told["last_error"]
        taken = 0
        while taken < mails:
            answer = json.loads(await held.answer("ReceiveMessage", asked(MaxNumberOfMessages=10)))
            entries = [entry(str(n), ReceiptHandle=m["ReceiptHandle"]) for n, m in enumerate(answer["Messages"])]
            await held.answer("DeleteMessageBatch", asked(Entries=entries))
            taken += len(entries)
        told = emitter.summary(None)
        assert (told["emitted"], told["failed"], told["queued"]) == ({"Delivery": mails}, 0, 0)
        await emitter.close()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    assert "the queue takes no events: The simulator's queue is full" in capsys.readouterr().err


# What is asked beside it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, b"no such action"),
        (b"Action=ListTopics", 400, b"The simulator has no ListTopics."),
        (b"Action=%3Cscript%3E", 400, b"&lt;script&gt;"),
        (b"Action=GetMetricStatistics&MetricName=Other", 400, b"<Code>InvalidAction</Code>"),
        (b"\xff", 400, b"MalformedQueryString"),
        (b"&".join(b"a=b" for _ in range(300)), 400, b"MalformedQueryString"),
    ],
)
def test_what_is_no_question_about_the_queue_is_an_error(body: bytes, status: int, said: bytes) -> None:
    found = query_answer(body, "id", EPOCH, lambda _: 1.0)
    assert found[0] == status
    assert said in found[1]
