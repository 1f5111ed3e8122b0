"""A queue that SES's events come to: receiving, deleting, letting go, and where the unreadable goes."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from urllib.parse import urlsplit

from bulksend.aws import AwsAccess, Detour, Route, route_of
from bulksend.errors import AccountError, BulksendError
from bulksend.events.calls import SdkCalls, SignedCalls
from bulksend.events.troubles import QueueError, Trouble

__all__ = ["MAX_MESSAGES", "Calls", "Message", "Queue", "QueuePlace", "open_queue", "place_of"]

MAX_MESSAGES = 10
"""Of a receive, and of a batch (SQS API reference)."""
MAX_BATCH_BYTES = 1024 * 1024
"""Of the bodies of a SendMessageBatch (SQS API reference)."""
LONG_POLL_S = 20
"""The longest that SQS waits for a message (SQS API reference, ReceiveMessage)."""
ANSWER_S = 15.0
"""Within so long there is an answer, besides the time that SQS was told to wait."""

_REGION = re.compile(r"(?:\A|\.)sqs(?:-fips)?\.(?P<a>[a-z0-9-]+)\.|\A(?P<b>[a-z0-9-]+)\.queue\.amazonaws\.com\Z")
_PLAIN_HOST = re.compile(r"sqs\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_ACCOUNT = re.compile(r"\d{12}")


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """What a queue's URL says: its Region and account, where they can be told, and its name.

    `endpoint_url` is what is to be spoken to where the URL is not the Region's own; None leaves it to the SDK.
    """

    name: str
    account: str
    region: str | None
    endpoint_url: str | None


def place_of(url: str) -> QueuePlace:
    """Read a queue's URL, such as https://sqs.eu-west-1.amazonaws.com/123456789012/events."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    *before, name = parts.path.strip("/").split("/")
    account = before[-1] if before and _ACCOUNT.fullmatch(before[-1]) else parts.netloc
    found = _REGION.search(host)
    region = (found["a"] or found["b"]) if found else None
    is_plain = parts.scheme == "https" and parts.port is None and _PLAIN_HOST.fullmatch(host)
    return QueuePlace(name, account, region, None if is_plain else f"{parts.scheme}://{parts.netloc}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `receipt` is what it is deleted by."""

    receipt: str
    body: str


class Calls(Protocol):
    """Who speaks SQS."""

    async def call(self, operation: str, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """An operation's answer, by the names of the API reference. Raises QueueError."""
        ...


class Queue:
    """One queue. Everything raises QueueError."""

    def __init__(self, url: str, calls: Calls) -> None:
        self.url = url
        self.name = place_of(url).name
        self._calls = calls
        self._most = MAX_MESSAGES

    async def receive(self, wait_s: int = LONG_POLL_S) -> list[Message]:
        """At most ten messages; none after `wait_s`. They come again unless they are deleted in time."""
        request = {"QueueUrl": self.url, "MaxNumberOfMessages": self._most, "WaitTimeSeconds": wait_s}
        try:
            answer = await self._calls.call("ReceiveMessage", request, wait_s + ANSWER_S)
        except QueueError:
            self._most = 1  # ten large ones may be more than a connection takes
            raise
        self._most = min(MAX_MESSAGES, 2 * self._most)
        found = answer.get("Messages")
        return [
            Message(one["ReceiptHandle"], one["Body"])
            for one in (found if isinstance(found, list) else ())
            if isinstance(one, dict) and isinstance(one.get("Body"), str) and isinstance(one.get("ReceiptHandle"), str)
        ]

    async def delete(self, receipts: Sequence[str]) -> int:
        """For good, at most ten. Returns how many SQS would not: they may come again."""
        entries = [{"Id": str(place), "ReceiptHandle": receipt} for place, receipt in enumerate(receipts)]
        return len(await self._batch("DeleteMessageBatch", self.url, entries))

    async def show_again(self, receipts: Sequence[str], after_s: int = 0) -> int:
        """So that they are received again, at most ten, after so long (12 hours at most). Returns how many not."""
        entries = [
            {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": after_s}
            for place, receipt in enumerate(receipts)
        ]
        return len(await self._batch("ChangeMessageVisibilityBatch", self.url, entries))

    async def dead_letters(self) -> str | None:
        """The URL of the queue that its RedrivePolicy names; None where there is none.

        It has to be of the same account and Region (SQS Developer Guide, Dead-letter queues).
        """
        attributes = await self.attributes("RedrivePolicy")
        try:
            arn = json.loads(attributes.get("RedrivePolicy", ""))["deadLetterTargetArn"]
        except (ValueError, TypeError, KeyError):
            return None
        name = arn.rpartition(":")[2] if isinstance(arn, str) else ""
        return f"{self.url.rstrip('/').rpartition('/')[0]}/{name}" if name else None

    async def attributes(self, *names: str) -> dict[str, str]:
        """Attributes of the queue, by the names of the API reference (GetQueueAttributes)."""
        request = {"QueueUrl": self.url, "AttributeNames": list(names)}
        found = (await self._calls.call("GetQueueAttributes", request, ANSWER_S)).get("Attributes")
        return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else {}

    async def send(self, url: str, bodies: Sequence[str]) -> list[bool]:
        """Put texts into another queue of the account, at most ten; of each whether it is there."""
        sent = [False] * len(bodies)
        for places in _portions(bodies):
            entries = [{"Id": str(place), "MessageBody": bodies[place]} for place in places]
            failed = await self._batch("SendMessageBatch", url, entries)
            for place in places:
                sent[place] = place not in failed
        return sent

    async def _batch(self, operation: str, url: str, entries: list[dict[str, Any]]) -> set[int]:
        """Which of them failed, by their places."""
        answer = await self._calls.call(operation, {"QueueUrl": url, "Entries": entries}, ANSWER_S)
        done = answer.get("Successful")
        ids = {one.get("Id") for one in done if isinstance(one, dict)} if isinstance(done, list) else set()
        return {int(entry["Id"]) for entry in entries if entry["Id"] not in ids}


def _portions(bodies: Sequence[str]) -> list[list[int]]:
    """Places, in as few batches as their sizes allow."""
    portions: list[list[int]] = []
    size = MAX_BATCH_BYTES + 1
    for place, body in enumerate(bodies):
        length = len(body.encode())
        if size + length > MAX_BATCH_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(place)
        size += length
    return portions


@asynccontextmanager
async def open_queue(access: AwsAccess, url: str) -> AsyncIterator[tuple[Queue, str | None]]:
    """A queue, as whoever `access` says; and why it is the SDK that carries the calls, if it is.

    `access.endpoint_url` is SQS's, in place of AWS's own; its Region serves where the URL names none.

    Raises:
        QueueError: no credentials, or no Region; later whatever a call meets.
    """
    place = place_of(url)
    access = replace(
        access,
        region=place.region or access.region,
        endpoint_url=access.endpoint_url or place.endpoint_url,
        answer_timeout_s=LONG_POLL_S + ANSWER_S,
    )
    try:
        way: Route | Detour = await route_of(access, "sqs", lambda client: client.receive_message(QueueUrl=url))
    except AccountError as error:
        raise QueueError(error.detail, trouble=Trouble.CREDENTIALS, hint=error.hint) from error
    except BulksendError as error:
        raise QueueError(error.detail, hint=error.hint) from error
    match way:
        case Route():
            async with SignedCalls(access, way) as calls:
                yield Queue(url, calls), None
        case Detour(reason=reason):
            async with SdkCalls(access) as sdk:
                yield Queue(url, sdk), reason
