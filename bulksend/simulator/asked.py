"""A request for any operation but the sending ones, as each operation reads it: names, members, pages. Pure."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bulksend.simulator.answers import SesError, bad_request
from bulksend.simulator.event_mails import ACCOUNT_ID
from bulksend.simulator.members import json_object, members

__all__ = ["Asked", "Clock", "Page", "instant", "read_list_members", "read_resource_tags", "word"]


_MOST_PAGED = 1000
_USUAL_PAGE = 100
_PAGING = frozenset({"NextToken", "PageSize"})
_RESOURCE_TAG = frozenset({"Key", "Value"})

Clock = Callable[[], float]
"""The simulator's time of day, epoch seconds."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list that is sorted by its keys: those after `after`, `size` at most."""

    after: str
    size: int

    def of(self, keys: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
        """The keys of this page, and the NextToken of the next if there is one."""
        start = bisect_right(keys, self.after) if self.after else 0
        end = start + self.size
        more = {"NextToken": base64.b64encode(keys[end - 1].encode()).decode()} if end < len(keys) else {}
        return keys[start:end], more


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for `operation`. `names` are those in its path; `region` is the one that it was signed for."""

    operation: str
    names: tuple[str, ...]
    query: Mapping[str, list[str]]
    body: bytes
    region: str

    @property
    def name(self) -> str:
        """The only name in the path, or the first."""
        return self.names[0]

    def members(self, *allowed: str) -> dict[str, Any]:
        """The members of the body, nothing but these."""
        return members(json_object(self.body or b"{}"), frozenset(allowed), self.operation)

    def page(self, *allowed: str, code: str = "BadRequestException") -> tuple[Page, dict[str, Any]]:
        """Which part of a list is wanted, and the body's other members.

        Newer SDKs post what older ones put into the query. `code` is the error for a NextToken that is none.
        """
        given: dict[str, Any] = (
            self.members(*_PAGING, *allowed) if self.body else {key: values[-1] for key, values in self.query.items()}
        )
        size = given.pop("PageSize", None)
        token = given.pop("NextToken", None)
        size = _USUAL_PAGE if size is None else int(size) if str(size).isdecimal() and len(str(size)) < 5 else 0  # noqa: PLR2004
        if not 1 <= size <= _MOST_PAGED:
            raise bad_request(f"PageSize: 1 to {_MOST_PAGED} is expected.")
        try:
            after = base64.b64decode(token or "", validate=True).decode()
        except (TypeError, ValueError, binascii.Error) as error:
            raise SesError(400, code, "NextToken is invalid.") from error
        return Page(after, size), given

    def arn(self, resource: str) -> str:
        """The ARN of a resource such as `tenant/a/b`."""
        return f"arn:aws:ses:{self.region}:{ACCOUNT_ID}:{resource}"


def word(value: Any, words: Sequence[str], where: str) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in words:
        raise bad_request(f"{where}: one of {', '.join(words)} is expected.")
    return value


def instant(value: Any, where: str) -> float:
    """A time as epoch seconds: a number in a body, an ISO 8601 text in a query."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise bad_request(f"{where}: a time is expected.") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def read_list_members(value: Any, allowed: frozenset[str], where: str) -> list[dict[str, Any]]:
    """A list of objects with nothing but known members; empty when it is left out."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise bad_request(f"{where}: a list is expected.")
    return [members(one, allowed, f"{where}[{i}]") for i, one in enumerate(value)]


def read_resource_tags(value: Any) -> list[dict[str, str]]:
    """The tags of a resource of the account, each with a Key and a Value."""
    tags = read_list_members(value, _RESOURCE_TAG, "Tags")
    if not all(isinstance(tag.get("Key"), str) and isinstance(tag.get("Value"), str) for tag in tags):
        raise bad_request("Tags: each has a Key and a Value.")
    return tags
