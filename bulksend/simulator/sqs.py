"""The queue that the simulator holds for its events, and its dead-letter queue, behind SQS's JSON protocol.

What receives from a queue is there, and what looks at one; none can be made or changed. Names and limits are those of
the Amazon SQS API Reference, attributes those that `bulksend events setup` gives a queue.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from bulksend.simulator.event_mails import ACCOUNT_ID
from bulksend.simulator.held_queue import MAX_RECEIVES, HeldQueue, ReceiptError, Received, Refusal, State
from bulksend.simulator.queue import Taken
from bulksend.simulator.sqs_asked import SqsAsked, SqsError

__all__ = ["MAX_REQUEST_BYTES", "PATH", "TARGET", "Sqs"]

TARGET = "AmazonSQS."
"""What X-Amz-Target begins with."""
NAME, DEAD_NAME = "bulksend-events", "bulksend-events-dead"
PATH = f"/{ACCOUNT_ID}/{NAME}"
"""Of the queue's URL."""
VISIBILITY_S = 120
LONG_POLL_S = 20
RETENTION_S = 14 * 24 * 3600
MAX_MESSAGE_BYTES = 1024 * 1024
"""Of a message, and of all of a batch."""
MAX_REQUEST_BYTES = 8 * MAX_MESSAGE_BYTES
"""A character of a message takes up to six in JSON."""
_MAX_VISIBILITY_S = 12 * 3600
_MAX_DELAY_S = 900
_MAX_RECEIVED = 10
_MAX_LISTED = 1000
_FULL = "The simulator's queue is full: nobody receives from it, or deletes what was received."
_is_text = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*").fullmatch
_UNSET = frozenset(
    {
        *("All", "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds"),
        *("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"),
    }
)
"""Names of attributes that a queue may lack."""
_NO_ATTRIBUTES = "The simulator's queue takes no message attributes."

_Entry = Callable[[HeldQueue, SqsAsked], dict[str, Any]]


class Sqs:
    """Both queues. It takes events as `Emitter` gives them, and answers whoever receives them.

    `clock` is the time of day in epoch seconds, `steady` a clock that never jumps.
    """

    gives_up_after_s = float("inf")
    """What has no room in it waits until there is."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        self._steady = steady
        self._dead = HeldQueue(DEAD_NAME, clock=clock, steady=steady)
        self._events = HeldQueue(NAME, clock=clock, steady=steady, dead=self._dead)
        self._queues = {NAME: self._events, DEAD_NAME: self._dead}
        self._operations: dict[str, Callable[[SqsAsked], dict[str, Any]]] = {
            "ChangeMessageVisibility": lambda asked: _change(self._queue(asked), asked),
            "ChangeMessageVisibilityBatch": lambda asked: self._each(asked, _change),
            "DeleteMessage": lambda asked: _delete(self._queue(asked), asked),
            "DeleteMessageBatch": lambda asked: self._each(asked, _delete),
            "GetQueueAttributes": self._attributes,
            "GetQueueUrl": self._url,
            "ListQueues": self._list,
            "SendMessage": lambda asked: _send(self._queue(asked), asked),
            "SendMessageBatch": self._send_batch,
        }

    def clear(self) -> None:
        """Forget all messages."""
        for queue in self._queues.values():
            queue.clear()

    def oldest_s(self, name: str) -> float | None:
        """For how long the oldest message of a queue has been there; None where there is none, or no such queue."""
        return self._queues[name].oldest_s() if name in self._queues else None

    async def send(self, _url: str, messages: Sequence[str]) -> Taken:
        """Put events in; those for which there is no room may be tried again."""
        again = [place for place, message in enumerate(messages) if self._events.put(message) is None]
        return Taken(again, [], _FULL if again else "")

    async def answer(self, operation: str, asked: SqsAsked) -> bytes:
        """The answer to an operation, as the JSON protocol writes it.

        Raises:
            SqsError: what SQS would answer in place of it.
        """
        if operation == "ReceiveMessage":
            return orjson.dumps(await self._receive(asked))
        if operation not in self._operations:
            raise SqsError("UnknownOperationException", f"The simulator's queue has no {operation[:80]}.")
        answer = self._operations[operation](asked)
        return orjson.dumps(answer) if answer else b""

    def _queue(self, asked: SqsAsked) -> HeldQueue:
        """By the path of its URL: which host and port lead here is not known here."""
        *_, account, name = ["", "", *_path(asked.text("QueueUrl")).split("/")]
        if account != ACCOUNT_ID or name not in self._queues:
            raise _no_queue()
        return self._queues[name]

    async def _receive(self, asked: SqsAsked) -> dict[str, Any]:
        queue = self._queue(asked)
        most = asked.number("MaxNumberOfMessages", _MAX_RECEIVED, 1, least=1)
        hidden_s = asked.number("VisibilityTimeout", _MAX_VISIBILITY_S, VISIBILITY_S)
        until = self._steady() + asked.number("WaitTimeSeconds", LONG_POLL_S, LONG_POLL_S)
        wanted = {*asked.names("AttributeNames"), *asked.names("MessageSystemAttributeNames")}
        while not (taken := queue.take(most, hidden_s)) and self._steady() < until:
            await queue.some(until)
        return {"Messages": [_message(one, wanted) for one in taken]} if taken else {}

    def _each(self, asked: SqsAsked, what: _Entry) -> dict[str, Any]:
        queue = self._queue(asked)
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry_id, entry in asked.entries():
            try:
                done.append({"Id": entry_id, **what(queue, entry)})
            except SqsError as error:
                is_theirs = error.code != "RequestThrottled"
                said = {"Code": error.query_name, "Message": error.text, "SenderFault": is_theirs}
                failed.append({"Id": entry_id, **said})
        return {"Successful": done, "Failed": failed}

    def _send_batch(self, asked: SqsAsked) -> dict[str, Any]:
        size_bytes = sum(_size(entry.text_if_any("MessageBody")) for _, entry in asked.entries())
        if size_bytes > MAX_MESSAGE_BYTES:
            raise SqsError(
                "BatchRequestTooLong",
                f"Batch requests cannot be longer than {MAX_MESSAGE_BYTES} bytes. You have sent {size_bytes} bytes.",
            )
        return self._each(asked, _send)

    def _attributes(self, asked: SqsAsked) -> dict[str, Any]:
        queue, wanted = self._queue(asked), asked.names("AttributeNames")
        arn = f"arn:aws:sqs:{asked.region}:{ACCOUNT_ID}"
        found = {
            "ApproximateNumberOfMessages": queue.count(State.READY),
            "ApproximateNumberOfMessagesDelayed": queue.count(State.DELAYED),
            "ApproximateNumberOfMessagesNotVisible": queue.count(State.IN_FLIGHT),
            "CreatedTimestamp": int(queue.made_at),
            "DelaySeconds": 0,
            "LastModifiedTimestamp": int(queue.made_at),
            "MaximumMessageSize": MAX_MESSAGE_BYTES,
            "MessageRetentionPeriod": RETENTION_S,
            "QueueArn": f"{arn}:{queue.name}",
            "ReceiveMessageWaitTimeSeconds": LONG_POLL_S,
            "SqsManagedSseEnabled": "false",
            "VisibilityTimeout": VISIBILITY_S,
        }
        if queue is self._events:
            redrive = {"deadLetterTargetArn": f"{arn}:{DEAD_NAME}", "maxReceiveCount": MAX_RECEIVES}
            found["RedrivePolicy"] = orjson.dumps(redrive).decode()
        if unknown := [name for name in wanted if name not in found.keys() | _UNSET]:
            raise SqsError("InvalidAttributeName", f"Unknown Attribute {unknown[0][:80]}.")
        chosen = {name: str(value) for name, value in found.items() if name in wanted or "All" in wanted}
        return {"Attributes": chosen} if chosen else {}

    def _url(self, asked: SqsAsked) -> dict[str, Any]:
        if (
            asked.text("QueueName") not in self._queues
            or (asked.text_if_any("QueueOwnerAWSAccountId") or ACCOUNT_ID) != ACCOUNT_ID
        ):
            raise _no_queue()
        return {"QueueUrl": _url_of(asked.host, asked.text("QueueName"))}

    def _list(self, asked: SqsAsked) -> dict[str, Any]:
        prefix = asked.text_if_any("QueueNamePrefix")
        most = asked.number("MaxResults", _MAX_LISTED, _MAX_LISTED, least=1)
        after = asked.text_if_any("NextToken")
        names = [name for name in sorted(self._queues) if name.startswith(prefix) and name > after]
        more = {"NextToken": names[most - 1]} if len(names) > most else {}
        return {"QueueUrls": [_url_of(asked.host, name) for name in names[:most]], **more} if names else {}


def _no_queue() -> SqsError:
    return SqsError("QueueDoesNotExist", "The specified queue does not exist.")


def _path(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/")
    except ValueError:
        raise SqsError("InvalidAddress", f"The address {url[:200]} is not valid for this endpoint.", 404) from None


def _url_of(host: str, name: str) -> str:
    return f"http://{host}/{ACCOUNT_ID}/{name}"


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _send(queue: HeldQueue, asked: SqsAsked) -> dict[str, Any]:
    body = asked.text("MessageBody")
    if asked.members.get("MessageAttributes") or asked.members.get("MessageSystemAttributes"):
        raise SqsError("UnsupportedOperation", _NO_ATTRIBUTES)
    if not _is_text(body):
        raise SqsError("InvalidMessageContents", "Invalid characters found. Valid characters are those of XML 1.0.")
    if _size(body) > MAX_MESSAGE_BYTES:
        reason = f"One or more parameters are invalid. Reason: Message must be shorter than {MAX_MESSAGE_BYTES} bytes."
        raise SqsError("InvalidParameterValueException", reason)
    message = queue.put(body, asked.number("DelaySeconds", _MAX_DELAY_S, 0))
    if message is None:
        raise SqsError("RequestThrottled", _FULL)
    return {"MessageId": message.id, "MD5OfMessageBody": _md5(body)}


def _delete(queue: HeldQueue, asked: SqsAsked) -> dict[str, Any]:
    try:
        queue.delete(asked.text("ReceiptHandle"))
    except ReceiptError as error:
        raise _by_receipt(error) from error
    return {}


def _change(queue: HeldQueue, asked: SqsAsked) -> dict[str, Any]:
    for_s = asked.number("VisibilityTimeout", _MAX_VISIBILITY_S, None)
    try:
        queue.hide(asked.text("ReceiptHandle"), for_s)
    except ReceiptError as error:
        raise _by_receipt(error) from error
    return {}


def _by_receipt(error: ReceiptError) -> SqsError:
    match error.why:
        case Refusal.INVALID:
            return SqsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        case Refusal.NOT_IN_FLIGHT:
            return SqsError("MessageNotInflight", "The message referred to is not in flight.")
        case Refusal.GONE:
            return SqsError(
                "InvalidParameterValueException",
                "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for "
                "visibility timeout change.",
            )


def _message(one: Received, wanted: set[str]) -> dict[str, Any]:
    message = one.message
    found: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": one.receipt,
        "MD5OfBody": _md5(message.body),
        "Body": message.body,
    }
    if wanted:
        known = {
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received_at * 1000)),
            "ApproximateReceiveCount": str(one.receives),
            "SenderId": ACCOUNT_ID,
            "SentTimestamp": str(int(message.sent_at * 1000)),
        }
        found["Attributes"] = {name: value for name, value in known.items() if name in wanted or "All" in wanted}
    return found
