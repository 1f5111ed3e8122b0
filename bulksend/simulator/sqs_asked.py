"""A request of SQS, as its operations read it, and what SQS answers to one that is wrong. Pure.

Sources: Amazon SQS API Reference, Common Error Types and the errors of each operation; Developer Guide, Making Query
API requests using AWS JSON protocol (an error's __type, and its older name in x-amzn-query-error).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

__all__ = ["SqsAsked", "SqsError"]

MAX_ENTRIES = 10
_QUERY_NAMES = {
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
    "InvalidParameterValueException": "InvalidParameterValue",
    "MissingRequiredParameterException": "MissingParameter",
}
"""Errors that the older protocol calls otherwise."""
_COMMON = "Exception"
_is_batch_id = re.compile(r"[A-Za-z0-9_-]{1,80}").fullmatch


class SqsError(Exception):
    """What SQS answers in place of what was asked for. `code` is the shape's name."""

    def __init__(self, code: str, text: str, http_status: int = 400) -> None:
        self.code = code
        self.text = text
        self.http_status = http_status
        super().__init__(f"{http_status} {code}: {text}")

    @property
    def query_name(self) -> str:
        """The code in the older protocol, which SDKs show."""
        return _QUERY_NAMES.get(self.code, self.code)

    @property
    def body(self) -> bytes:
        """As the JSON protocol writes it."""
        space = "com.amazon.coral.service" if self.code.endswith(_COMMON) else "com.amazonaws.sqs"
        return orjson.dumps({"__type": f"{space}#{self.code}", "message": self.text})


def _invalid(value: object, name: str, reason: str) -> SqsError:
    shown = str(value)[:80]
    return SqsError(
        "InvalidParameterValueException", f"Value {shown} for parameter {name} is invalid. Reason: {reason}"
    )


@dataclass(frozen=True, slots=True)
class SqsAsked:
    """The members of a request, or of an entry of one. `region` is that of its signature, `host` that of its URL."""

    members: Mapping[str, Any]
    region: str
    host: str

    @classmethod
    def of(cls, body: bytes, region: str, host: str) -> SqsAsked:
        """Raises SqsError for what is no JSON object."""
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise SqsError("SerializationException", "The request is no JSON object.")
        return cls(found, region, host)

    def text(self, name: str) -> str:
        """A member that is required."""
        found = self.text_if_any(name)
        if not found:
            raise SqsError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")
        return found

    def text_if_any(self, name: str) -> str:
        """Empty where it is not there."""
        found = self.members.get(name)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise SqsError("SerializationException", f"{name} is a string.")
        return found

    def number(self, name: str, most: int, default: int | None, *, least: int = 0) -> int:
        """A whole number in its range; without a default it is required."""
        found = self.members.get(name, default)
        if found is None:
            raise SqsError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")
        if not isinstance(found, int) or isinstance(found, bool):
            raise SqsError("SerializationException", f"{name} is an integer.")
        if not least <= found <= most:
            raise _invalid(found, name, f"Must be between {least} and {most}, if provided.")
        return found

    def names(self, name: str) -> list[str]:
        """A list of names; empty where it is not there."""
        found = self.members.get(name) or []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise SqsError("SerializationException", f"{name} is a list of strings.")
        return found

    def entries(self) -> list[tuple[str, SqsAsked]]:
        """Those of a batch, by their ids."""
        found = self.members.get("Entries")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise SqsError("SerializationException", "Entries is a list of objects.")
        if not found:
            raise SqsError("EmptyBatchRequest", "There should be at least one entry in the request.")
        if len(found) > MAX_ENTRIES:
            raise SqsError(
                "TooManyEntriesInBatchRequest",
                f"Maximum number of entries per request are {MAX_ENTRIES}. You have sent {len(found)}.",
            )
        asked = [SqsAsked(one, self.region, self.host) for one in found]
        ids = [one.text("Id") for one in asked]
        if not all(_is_batch_id(one) for one in ids):
            raise SqsError(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
        if len(set(ids)) != len(ids):
            raise SqsError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
        return list(zip(ids, asked, strict=True))
