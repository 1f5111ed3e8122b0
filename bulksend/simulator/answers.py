"""What an answer is, before it is written: status, body, and how its bytes go out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique

import orjson

__all__ = [
    "Delivery",
    "Reply",
    "SesError",
    "already_exists",
    "bad_request",
    "error_reply",
    "json_reply",
    "limit_exceeded",
    "not_found",
    "too_many_requests",
]


@unique
class Delivery(Enum):
    """How an answer goes out."""

    WHOLE = "whole"
    HANG = "hang"
    """Never; the connection stays open until the client leaves."""
    RESET = "reset"
    """Not at all: the connection is reset (RST)."""
    CLOSE = "close"
    """Not at all: the connection is closed (FIN)."""
    TRUNCATED = "truncated"
    """Half of the body that Content-Length announces, then FIN."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `by_ses` false leaves SES's headers away, as a proxy's own answer would."""

    http_status: int
    body: bytes
    error_type: str = ""
    by_ses: bool = True
    delivery: Delivery = Delivery.WHOLE
    delay_ms: float = 0.0


class SesError(Exception):
    """An HTTP error that SES writes: it accepts nothing of the request."""

    def __init__(self, http_status: int, code: str, text: str) -> None:
        self.http_status = http_status
        self.code = code
        self.text = text
        super().__init__(f"{http_status} {code}: {text}")


def bad_request(text: str) -> SesError:
    """BadRequestException: the input is invalid (API reference, SendBulkEmail, Errors)."""
    return SesError(400, "BadRequestException", text)


def not_found(text: str) -> SesError:
    """NotFoundException: the resource doesn't exist."""
    return SesError(404, "NotFoundException", text)


def already_exists(text: str) -> SesError:
    """AlreadyExistsException: the resource already exists."""
    return SesError(400, "AlreadyExistsException", text)


def limit_exceeded(text: str) -> SesError:
    """LimitExceededException: there are too many instances of the resource type."""
    return SesError(400, "LimitExceededException", text)


def too_many_requests(text: str) -> SesError:
    """TooManyRequestsException: too many requests to the operation."""
    return SesError(429, "TooManyRequestsException", text)


def error_reply(error: SesError) -> Reply:
    """An error as SES's REST-JSON protocol writes it: the code in a header, the text in the body."""
    return Reply(error.http_status, orjson.dumps({"message": error.text}), error.code)


def json_reply(body: object) -> Reply:
    """A 200 with a JSON body."""
    return Reply(200, orjson.dumps(body))
