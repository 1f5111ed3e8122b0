"""A queue of SQS that is as fast as it can be: so many events to give, in SNS's envelope, at most so many a second.

    python -m loadtest.queue_server EVENTS PER_S

It prints its port, and ends on SIGTERM. Whatever is received is taken for deleted. PER_S of 0 is no limit.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any, cast

import httptools
import uvloop

CAMPAIGN = "loadtestloadtestloadtest00"
MAX_MESSAGES = 10
LOOK_EVERY_S = 0.02
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {length}\r\n\r\n"
AT = "2026-11-20T10:00:00.000Z"


def template() -> list[bytes]:
    """A message as it stands in the answer to a ReceiveMessage, cut where its number goes."""
    report = {
        "eventType": "Delivery",
        "mail": {
            "timestamp": AT,
            "source": "Example News <news@example.com>",
            "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.com",
            "sendingAccountId": "123456789012",
            "messageId": "0102019a-@@-4b5a-6978-8796-a5b4c3d2e1f0-000000",
            "destination": ["r@@@example.com"],
            "headersTruncated": False,
            "headers": [{"name": name, "value": "x" * 40} for name in ("From", "To", "Subject", "MIME-Version")],
            "commonHeaders": {"from": ["Example News <news@example.com>"], "to": ["r@@@example.com"]},
            "tags": {
                "ses:configuration-set": ["marketing"],
                "ses:source-ip": ["192.0.2.7"],
                "bulksend-campaign": [CAMPAIGN],
                "bulksend-row": ["@@"],
            },
        },
        "delivery": {
            "timestamp": AT,
            "processingTimeMillis": 512,
            "recipients": ["r@@@example.com"],
            "smtpResponse": "250 2.6.0 Message received",
            "reportingMTA": "a8-50.smtp-out.eu-west-1.amazonses.com",
        },
    }
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:events",
        "Subject": "Amazon SES Email Event Notification",
        "Message": json.dumps(report),
        "Timestamp": AT,
        "SignatureVersion": "1",
        "Signature": "x" * 344,
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }
    message = {
        "MessageId": "d80dbcc6-51e3-4d66-a0a4-2f5d4a7ef0a5",
        "ReceiptHandle": f"AQEB{'x' * 380}@@",
        "MD5OfBody": "",
        "Body": json.dumps(envelope),
    }
    return json.dumps(message).encode().split(b"@@")


class Queue:
    """What is left of it."""

    def __init__(self, events: int, per_s: float) -> None:
        self._next, self._events, self._per_s = 1, events, per_s
        self._began_s = asyncio.get_running_loop().time()
        self._template = template()

    def messages(self) -> bytes | None:
        """The next ten as an answer; None where they are not there yet."""
        last = min(self._next + MAX_MESSAGES - 1, self._events)
        if self._per_s and last > self._per_s * (asyncio.get_running_loop().time() - self._began_s):
            return None
        found = b",".join(str(number).encode().join(self._template) for number in range(self._next, last + 1))
        self._next = last + 1
        return b'{"Messages":[%s]}' % found if found else b"{}"


class Answerer(asyncio.Protocol):
    """One connection."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._target, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._target, self._body = b"", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-amz-target":
            self._target = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._target.endswith(b"ReceiveMessage"):
            body = self._queue.messages()
            if body is None:
                self._loop.call_later(LOOK_EVERY_S, self._answer)
                return
        elif self._target.endswith(b"Batch"):
            ids = [{"Id": entry["Id"]} for entry in json.loads(self._body)["Entries"]]
            body = json.dumps({"Successful": ids, "Failed": []}).encode()
        else:
            body = b"{}"
        self._transport.write(HEAD.format(length=len(body)).encode() + body)


async def serve(events: int, per_s: float) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    queue = Queue(events, per_s)
    server = await loop.create_server(lambda: Answerer(queue), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__)
        sys.exit(2)
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))
