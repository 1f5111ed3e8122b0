"""Answers that are errors: what happened, what to do, and the status that fits."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
from aiohttp import web

from bulksend.errors import (
    AccountError,
    BulksendError,
    CampaignBusyError,
    CampaignChangedError,
    CampaignUnknownError,
    ConfigError,
    DeclinedError,
    EventStoreError,
    HaltedError,
    JournalError,
    ListError,
    ServerError,
    SnapshotError,
    UsageError,
)

__all__ = ["UNEXPECTED", "Refusal", "RefusedError", "json_answer", "refusal_of"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer. `close` ends the connection after it, since the rest of the request is not read."""

    status: int
    error: str
    what_to_do: str
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False

    def answer(self) -> web.Response:
        """As HTTP."""
        response = json_answer({"error": self.error, "what_to_do": self.what_to_do}, self.status)
        response.headers.update(self.headers)
        if self.close:
            response.force_close()
        return response


class RefusedError(Exception):
    """A request is refused; the room's own, always answered."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.error)


UNEXPECTED = Refusal(500, "Something unexpected went wrong in the worker", "Its log says what kind of error it was.")

_STATUSES: dict[type[BulksendError], int] = {
    AccountError: 503,
    CampaignBusyError: 409,
    CampaignChangedError: 409,
    CampaignUnknownError: 404,
    ConfigError: 422,
    DeclinedError: 409,
    EventStoreError: 503,
    HaltedError: 409,
    JournalError: 503,
    ListError: 422,
    ServerError: 503,
    SnapshotError: 503,
    UsageError: 409,
}
_HINTS: dict[type[BulksendError], str] = {
    CampaignBusyError: "Wait until it ends, then ask again.",
    CampaignUnknownError: "GET /campaigns lists the campaigns of this store.",
    ConfigError: "Correct the keys named above; the body has the tables and keys of a campaign file.",
    JournalError: "Nothing is sent without a journal. Check the disk or the database; the worker goes on by itself.",
    UsageError: "GET /campaigns/NAME shows the state it is in.",
}
"""For those whose own hint speaks to somebody at a command line."""


def refusal_of(error: BulksendError) -> Refusal | None:
    """The answer that an error becomes; None for a kind that no request should meet."""
    for kind in type(error).__mro__:
        if kind in _STATUSES:
            hint = _HINTS.get(kind, error.hint) if error.hint == type(error).default_hint else error.hint
            return Refusal(_STATUSES[kind], error.message, hint)
    return None


def json_answer(facts: object, status: int = 200) -> web.Response:
    """Raises TypeError for facts that JSON does not know."""
    return web.Response(body=orjson.dumps(facts), status=status, content_type="application/json")
