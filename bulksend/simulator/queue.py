"""The little of Amazon SQS that the events need: SendMessageBatch, by its JSON protocol, signed.

Source: Amazon SQS API Reference, SendMessageBatch; IAM User Guide, Create a signed AWS API request.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
import orjson

__all__ = ["MAX_BATCH_BYTES", "MAX_BATCH_MESSAGES", "Credentials", "Queue", "QueueError", "Taken", "region_of"]

MAX_BATCH_MESSAGES = 10
MAX_BATCH_BYTES = 256 * 1024
"""SQS takes four times that by now; servers that stand in for it may not."""
_TARGET = "AmazonSQS.SendMessageBatch"
_TIMEOUT_S = 10.0
_REGION = re.compile(r"(?<=[/.])[a-z]{2}(?:-[a-z]+)+-\d(?=[/.:])").search
_MAX_ANSWER_BYTES = 1024 * 1024


class QueueError(Exception):
    """The queue did not take a batch, or nobody knows."""


class Taken(NamedTuple):
    """What became of a batch, by position: these may be tried again, those will never be taken."""

    again: list[int]
    never: list[int]
    why: str


class Credentials(NamedTuple):
    """Whose signature it is. A queue that stands in for SQS takes any, as a rule."""

    key_id: str
    secret: str
    token: str

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Credentials:
        """Those of the environment, or the example pair of the AWS documentation."""
        if "AWS_ACCESS_KEY_ID" in environ and "AWS_SECRET_ACCESS_KEY" in environ:
            token = environ.get("AWS_SESSION_TOKEN", "")
            return cls(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], token)
        return cls("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "")

    def headers(self, host: str, body: bytes, region: str, now: datetime) -> dict[str, str]:
        """The headers of a SendMessageBatch to the root of this host."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": host, "x-amz-date": stamp, "x-amz-target": _TARGET}
        if self.token:
            signed["x-amz-security-token"] = self.token
        names = ";".join(sorted(signed))
        lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
        request = "\n".join(["POST", "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
        scope = f"{stamp[:8]}/{region}/sqs/aws4_request"
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = _hmac(_key(self.secret, scope), text).hex()
        del signed["host"]
        return {
            **signed,
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self.key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}",
        }


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@lru_cache(maxsize=4)
def _key(secret: str, scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def region_of(url: str, environ: Mapping[str, str]) -> str:
    """The Region of a queue: what its URL names, else that of bulksend, else of the SDKs."""
    if named := _REGION(url):
        return named[0]
    names = ("BULKSEND_AWS_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    return next((environ[name] for name in names if environ.get(name)), "us-east-1")


class Queue:
    """A client for queues on this machine, with connections of its own."""

    gives_up_after_s = 30.0

    def __init__(self, connections: int) -> None:
        self._credentials = Credentials.of(os.environ)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            read_bufsize=_MAX_ANSWER_BYTES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def send(self, url: str, messages: Sequence[str]) -> Taken:
        """Put up to ten messages into the queue at this URL.

        Raises:
            QueueError: when it took none, or does not say what it took.
        """
        entries = [{"Id": str(place), "MessageBody": message} for place, message in enumerate(messages)]
        body = orjson.dumps({"QueueUrl": url, "Entries": entries})
        host = urlsplit(url).netloc
        headers = self._credentials.headers(host, body, region_of(url, os.environ), datetime.now(UTC))
        try:
            # A queue on this machine could point elsewhere; nothing follows it there.
            async with self._http.post(
                f"http://{host}/", data=body, headers=headers, allow_redirects=False
            ) as response:
                text = await response.content.read(_MAX_ANSWER_BYTES)
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise QueueError(f"{type(error).__name__}: {error}") from error
        if status != 200:  # noqa: PLR2004 - the only good one
            raise QueueError(f"{status}: {text[:300].decode('utf-8', 'replace')}")
        return _taken(text, len(messages))


def _taken(text: bytes, size: int) -> Taken:
    """What an answer says of a batch of this size; whom it does not name is tried again."""
    try:
        answer: dict[str, Any] = orjson.loads(text)
        failed = answer.get("Failed") or []
        never = [int(one["Id"]) for one in failed if one.get("SenderFault")]
        good = {int(one["Id"]) for one in answer.get("Successful") or []}
        why = ", ".join(sorted({str(one.get("Code")) for one in failed}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise QueueError(f"an answer that cannot be read: {text[:300].decode('utf-8', 'replace')}") from error
    return Taken([place for place in range(size) if place not in good and place not in never], never, why)
