"""Asking AWS of what carries events: what it refuses, in words, and what is not there, as None."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from bulksend.aws import explained, refusal_code
from bulksend.errors import BulksendError, ExitCode

__all__ = ["SetupError", "in_words", "or_none", "said_of", "subscriptions"]

MAX_PAGES = 100
_GONE = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "NotAuthorized", "UnauthorizedOperation"}
)


class SetupError(BulksendError):
    """Events cannot be set up"""

    exit_code = ExitCode.USAGE
    default_hint = (
        "What was made stays, and disturbs nobody. Run bulksend events setup again: it goes on where it ended."
    )


@contextmanager
def in_words(piece: str, service: str) -> Iterator[None]:
    """Whatever a service answers to a call about a part becomes a SetupError."""
    try:
        yield
    except BulksendError:
        raise
    except Exception as error:
        detail, hint = said_of(error, service)
        raise SetupError(f"{piece}: {detail}", hint=hint) from error


def said_of(error: Exception, service: str) -> tuple[str, str | None]:
    """What a service, or the way to it, said; and what to do where that is known. `service` is its prefix in IAM."""
    said, code = explained(error), refusal_code(error)
    if code in _DENIED:
        action = f"{service}:{getattr(error, 'operation_name', '')}"
        hint = (
            f"Allow {action}, or use credentials of somebody who may: deploy/aws/events-setup-policy.json has all "
            "that is needed. What was made stays; setup goes on where it ended."
        )
        return f"these credentials may not call {action}", hint
    return said.detail, None if code else said.hint


async def or_none(asked: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """The answer; None where there is no such thing. Raises what the SDK raises."""
    try:
        return await asked
    except Exception as error:
        if refusal_code(error) in _GONE:
            return None
        raise


async def subscriptions(sns: Any, topic_arn: str) -> AsyncIterator[dict[str, Any]]:
    """A topic's subscriptions; none where there is no such topic."""
    more: dict[str, str] = {}
    for _ in range(MAX_PAGES):
        page = await or_none(sns.list_subscriptions_by_topic(TopicArn=topic_arn, **more))
        for one in (page or {}).get("Subscriptions") or ():
            yield one
        token = (page or {}).get("NextToken")
        if not token:
            return
        more = {"NextToken": token}
