"""Queues and topics of a real SQS and SNS, to be consumed from."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

from bulksend.aws import AwsAccess
from bulksend.events import Queue, open_queue

REGION = "eu-west-1"
SENDERS = 8


@dataclass(frozen=True)
class Made:
    """A queue, and its dead-letter queue."""

    url: str
    arn: str
    dead_url: str


class Desk:
    """Makes queues at an endpoint, fills them, and looks into them."""

    def __init__(self, endpoint_url: str) -> None:
        self.endpoint_url = endpoint_url
        config = Config(retries={"total_max_attempts": 1})
        self.sqs: Any = boto3.client("sqs", REGION, endpoint_url=endpoint_url, config=config)
        self.sns: Any = boto3.client("sns", REGION, endpoint_url=endpoint_url, config=config)

    @property
    def access(self) -> AwsAccess:
        return AwsAccess(region=REGION, endpoint_url=self.endpoint_url)

    def queue(self, *, visible_after_s: int = 30, max_receives: int = 5) -> Made:
        """One with a dead-letter queue; both empty."""
        name = f"events-{uuid.uuid4().hex[:12]}"
        dead = self.sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self._arn(dead), "maxReceiveCount": max_receives}
        url = self.plain_queue(name, VisibilityTimeout=str(visible_after_s), RedrivePolicy=json.dumps(redrive))
        return Made(url, self._arn(url), dead)

    def plain_queue(self, name: str = "", **attributes: str) -> str:
        made: str = self.sqs.create_queue(QueueName=name or f"events-{uuid.uuid4().hex[:12]}", Attributes=attributes)[
            "QueueUrl"
        ]
        return made

    def topic(self, queue: Made, *, raw: bool) -> str:
        """One that feeds the queue."""
        arn: str = self.sns.create_topic(Name=f"events-{uuid.uuid4().hex[:12]}")["TopicArn"]
        self.sns.subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=queue.arn,
            Attributes={"RawMessageDelivery": str(raw).lower()},
        )
        return arn

    def publish(self, topic: str, messages: Sequence[str]) -> None:
        for begin in range(0, len(messages), 10):
            entries = [
                {"Id": str(place), "Message": message} for place, message in enumerate(messages[begin : begin + 10])
            ]
            assert not self.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries).get("Failed")

    def fill(self, url: str, bodies: Sequence[str]) -> None:
        """Put messages into a queue, several batches at a time."""
        asyncio.run(self._fill(url, bodies))

    async def _fill(self, url: str, bodies: Sequence[str]) -> None:
        batches = [bodies[begin : begin + 10] for begin in range(0, len(bodies), 10)]
        async with open_queue(self.access, url) as (queue, _):
            await asyncio.gather(*(self._send(queue, url, batches[n::SENDERS]) for n in range(SENDERS)))

    @staticmethod
    async def _send(queue: Queue, url: str, batches: Sequence[Sequence[str]]) -> None:
        for batch in batches:
            assert all(await queue.send(url, batch))

    def bodies(self, url: str) -> list[str]:
        """What can be received of a queue now; it is gone then."""
        found: list[str] = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [message["Body"] for message in messages]
            entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=url, Entries=entries)
        return found

    def left(self, url: str) -> tuple[int, int]:
        """How many messages can be received, and how many were received and not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return int(found[names[0]]), int(found[names[1]])

    def _arn(self, url: str) -> str:
        found: str = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return found
