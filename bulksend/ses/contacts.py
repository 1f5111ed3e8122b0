"""Contact lists: who is on one, and who of them is subscribed.

Sources: API reference, GetContactList, ListContacts, Contact, Topic; Developer Guide, Using list management: whoever
has no preference for a topic has the topic's default, and UnsubscribeAll goes before every preference. ListContacts has
no AttributesData, which only GetContact tells, a contact at a time. How often they may be called is not documented:
once a second is asked, and more seldom where SES says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from bulksend.aws import AwsAccess, explained, refusal_code
from bulksend.errors import BulksendError, ListError
from bulksend.ses.seldom import SeldomClient

__all__ = ["Contact", "ContactLists"]

CALL_EVERY_S = 1.0
PAGE_SIZE = 1000
_NOT_FOUND = "NotFoundException"


@dataclass(frozen=True, slots=True)
class Contact:
    """Somebody on a list. `opted_in` has the topics that they have a preference for; `changed_at` is epoch seconds."""

    address: str
    unsubscribed_from_all: bool
    opted_in: Mapping[str, bool]
    changed_at: float | None


class ContactLists(SeldomClient):
    """The account's contact lists in one Region. An asynchronous context manager.

    Raises:
        AccountError: SES cannot be asked, or refuses.
        ConfigError: no region is set anywhere.
    """

    def __init__(self, access: AwsAccess) -> None:
        super().__init__(access, CALL_EVERY_S)

    async def topics(self, name: str) -> dict[str, bool]:
        """The topics of a list, and whether contacts without a preference for one are subscribed to it.

        Raises:
            ListError: there is no such list.
        """
        try:
            reply = await self._seldom.ask(partial(self._client.get_contact_list, ContactListName=name))
        except Exception as error:
            raise self._meant(error, name, "GetContactList") from error
        return {
            str(topic["TopicName"]): topic.get("DefaultSubscriptionStatus") == "OPT_IN"
            for topic in reply.get("Topics") or ()
        }

    async def contacts(self, name: str) -> AsyncIterator[list[Contact]]:
        """All of a list, a thousand at a time: those who have unsubscribed too.

        Raises:
            ListError: there is no such list.
        """
        more: dict[str, str] = {}
        while True:
            asked = partial(self._client.list_contacts, ContactListName=name, PageSize=PAGE_SIZE, **more)
            try:
                page = await self._seldom.ask(asked)
            except Exception as error:
                raise self._meant(error, name, "ListContacts") from error
            yield [_contact(one) for one in page.get("Contacts") or ()]
            token = page.get("NextToken")
            if not token:
                return
            more = {"NextToken": token}

    def _meant(self, error: Exception, name: str, operation: str) -> BulksendError:
        code = refusal_code(error)
        if code == _NOT_FOUND:
            return ListError(
                f"there is no contact list {name!r} in {self._client.meta.region_name}",
                hint="Correct recipients.path, or the Region; a contact list is one account's, in one Region.",
            )
        why = explained(error)
        if code:
            why.hint = f"Nothing was sent. Check the credentials, the Region, and that ses:{operation} is allowed."
        return why


def _contact(one: dict[str, Any]) -> Contact:
    at = one.get("LastUpdatedTimestamp")
    return Contact(
        str(one.get("EmailAddress") or ""),
        bool(one.get("UnsubscribeAll")),
        {
            str(kept["TopicName"]): kept.get("SubscriptionStatus") == "OPT_IN"
            for kept in one.get("TopicPreferences") or ()
        },
        at.timestamp() if isinstance(at, datetime) else None,
    )
