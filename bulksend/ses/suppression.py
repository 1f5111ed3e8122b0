"""The account's own suppression list. SES accepts mail for an address on it, counts it, and does not send it.

Sources: API reference, ListSuppressedDestinations, PutSuppressedDestination, SuppressedDestinationSummary. How often
they may be called is not documented: once a second is asked, and more seldom where SES says so.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Any

from bulksend.aws import AwsAccess, explained, refusal_code
from bulksend.errors import BulksendError
from bulksend.event import Suppression, SuppressionReason
from bulksend.ses.seldom import SeldomClient

__all__ = ["ACCOUNT_LIST", "AccountSuppressions", "ListChangedError"]

ACCOUNT_LIST = "the account's suppression list"
"""The source of suppressions that come from there."""
EVERY_S = 1.0
PAGE_SIZE = 1000
_STALE = ("InvalidNextTokenException", "BadRequestException")
_REASONS = {"BOUNCE": SuppressionReason.BOUNCE, "COMPLAINT": SuppressionReason.COMPLAINT}


class ListChangedError(Exception):
    """Reading cannot go on from where it was: it has to begin anew. The room's own, never shown."""


class AccountSuppressions(SeldomClient):
    """The list of one account in one Region. An asynchronous context manager.

    Raises:
        AccountError: SES cannot be asked, or refuses.
        ConfigError: no region is set anywhere.
    """

    def __init__(self, access: AwsAccess, *, every_s: float = EVERY_S) -> None:
        super().__init__(access, every_s)

    async def pages(self, token: str | None = None) -> AsyncIterator[tuple[list[Suppression], str | None]]:
        """A thousand at a time, each time with the token of what comes next; from a token on, if there is one.

        Raises ListChangedError: the token is good no more.
        """
        while True:
            try:
                page = await self._seldom.ask(partial(self._page, token))
            except Exception as error:
                if token is not None and refusal_code(error) in _STALE:
                    raise ListChangedError from error
                raise _explained(error, "ses:ListSuppressedDestinations") from error
            token = page.get("NextToken") or None
            yield [_suppression(one) for one in page.get("SuppressedDestinationSummaries", ())], token
            if token is None:
                return

    async def _page(self, token: str | None) -> Any:
        more = {} if token is None else {"NextToken": token}
        return await self._client.list_suppressed_destinations(PageSize=PAGE_SIZE, **more)

    async def put(self, address: str, reason: SuppressionReason) -> bool:
        """Put an address there; SES knows bounces and complaints, and no other reason.

        False: it is not there, since SES takes it for no address (BadRequestException): a receiving server may have
        spelled it in its own way when it bounced.
        """
        word = "COMPLAINT" if reason is SuppressionReason.COMPLAINT else "BOUNCE"
        try:
            await self._seldom.ask(lambda: self._client.put_suppressed_destination(EmailAddress=address, Reason=word))
        except Exception as error:
            if refusal_code(error) == "BadRequestException":
                return False
            raise _explained(error, "ses:PutSuppressedDestination") from error
        return True


def _explained(error: Exception, action: str) -> BulksendError:
    why = explained(error)
    if refusal_code(error):
        why.hint = (
            f"Check the credentials, the Region, and that {action} is allowed. The same command goes on from here."
        )
    return why


def _suppression(one: dict[str, Any]) -> Suppression:
    at = one.get("LastUpdateTime")
    return Suppression(
        str(one.get("EmailAddress", "")).strip(),
        _REASONS.get(str(one.get("Reason")), SuppressionReason.MANUAL),
        ACCOUNT_LIST,
        at.timestamp() if isinstance(at, datetime) else time.time(),
    )
