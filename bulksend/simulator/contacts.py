"""The account's contact lists.

Source: API reference, CreateContactList, CreateContact, ListContacts, ListContactsFilter, TopicFilter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from bulksend.simulator.answers import Reply, already_exists, bad_request, json_reply, limit_exceeded, not_found
from bulksend.simulator.asked import Asked, Clock, read_list_members, read_resource_tags, word
from bulksend.simulator.members import is_address, members

__all__ = ["ContactLists"]

_MAX_TOPICS = 20
"""Topics of one list (developer guide, Service quotas)."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_STATUSES = ("OPT_IN", "OPT_OUT")
_TOPIC = frozenset({"DefaultSubscriptionStatus", "Description", "DisplayName", "TopicName"})
_PREFERENCE = frozenset({"SubscriptionStatus", "TopicName"})
_FILTER = frozenset({"FilteredStatus", "TopicFilter"})
_TOPIC_FILTER = frozenset({"TopicName", "UseDefaultIfPreferenceUnavailable"})


@dataclass(slots=True)
class _Contact:
    """`preferences` are OPT_IN or OPT_OUT by topic. Times are epoch seconds."""

    address: str
    preferences: dict[str, str]
    unsubscribed: bool
    attributes: str | None
    created_at: float
    updated_at: float


@dataclass(slots=True)
class _List:
    """Topics by name, contacts by address in lower case."""

    topics: dict[str, dict[str, str]]
    description: str | None
    tags: list[dict[str, str]]
    created_at: float
    contacts: dict[str, _Contact] = field(default_factory=dict)
    order: list[str] | None = None

    @property
    def defaults(self) -> dict[str, str]:
        return {name: topic["DefaultSubscriptionStatus"] for name, topic in self.topics.items()}


class ContactLists:
    """By name."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._lists: dict[str, _List] = {}

    def _known(self, name: str) -> _List:
        if name not in self._lists:
            raise not_found(f"List with name: {name} doesn't exist.")
        return self._lists[name]

    def create(self, asked: Asked) -> Reply:
        """CreateContactList."""
        request = asked.members("ContactListName", "Description", "Tags", "Topics")
        name = request.get("ContactListName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("ContactListName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._lists:
            raise already_exists(f"List with name: {name} already exists.")
        topics: dict[str, dict[str, str]] = {}
        for topic in read_list_members(request.get("Topics"), _TOPIC, "Topics"):
            for key in ("DisplayName", "TopicName"):
                if not isinstance(topic.get(key), str) or not topic[key]:
                    raise bad_request(f"Topics.{key}: missing.")
            word(topic.get("DefaultSubscriptionStatus"), _STATUSES, "Topics.DefaultSubscriptionStatus")
            topics[topic["TopicName"]] = topic
        if len(topics) > _MAX_TOPICS:
            raise limit_exceeded(f"A list has at most {_MAX_TOPICS} topics.")
        tags = read_resource_tags(request.get("Tags"))
        self._lists[name] = _List(topics, request.get("Description"), tags, self._clock())
        return json_reply({})

    def get(self, asked: Asked) -> Reply:
        """GetContactList."""
        found = self._known(asked.name)
        told: dict[str, Any] = {
            "ContactListName": asked.name,
            "CreatedTimestamp": found.created_at,
            "LastUpdatedTimestamp": found.created_at,
            "Tags": found.tags,
            "Topics": list(found.topics.values()),
        }
        if found.description is not None:
            told["Description"] = found.description
        return json_reply(told)

    def list(self, asked: Asked) -> Reply:
        """ListContactLists."""
        page, _ = asked.page()
        names, more = page.of(sorted(self._lists))
        listed = [{"ContactListName": name, "LastUpdatedTimestamp": self._lists[name].created_at} for name in names]
        return json_reply({"ContactLists": listed, **more})

    def create_contact(self, asked: Asked) -> Reply:
        """CreateContact."""
        into = self._known(asked.name)
        request = asked.members("AttributesData", "EmailAddress", "TopicPreferences", "UnsubscribeAll")
        address = request.get("EmailAddress")
        if not isinstance(address, str) or not is_address(address):
            raise bad_request("EmailAddress: an address without a display name is expected.")
        if address.lower() in into.contacts:
            raise already_exists(f"Contact {address} already exists in list {asked.name}.")
        self._put(into, address, request, self._clock())
        return json_reply({})

    def update_contact(self, asked: Asked) -> Reply:
        """UpdateContact: all that it says takes the place of what was there."""
        into, contact = self._contact(asked)
        request = asked.members("AttributesData", "TopicPreferences", "UnsubscribeAll")
        self._put(into, contact.address, request, contact.created_at)
        return json_reply({})

    def delete_contact(self, asked: Asked) -> Reply:
        """DeleteContact."""
        into, contact = self._contact(asked)
        del into.contacts[contact.address.lower()]
        into.order = None
        return json_reply({})

    def _put(self, into: _List, address: str, request: dict[str, Any], created_at: float) -> None:
        preferences: dict[str, str] = {}
        for one in read_list_members(request.get("TopicPreferences"), _PREFERENCE, "TopicPreferences"):
            if one.get("TopicName") not in into.topics:
                raise bad_request(f"TopicPreferences: the list has no topic {one.get('TopicName')}.")
            status = word(one.get("SubscriptionStatus"), _STATUSES, "TopicPreferences.SubscriptionStatus")
            preferences[one["TopicName"]] = status
        unsubscribed, attributes = request.get("UnsubscribeAll", False), request.get("AttributesData")
        if not isinstance(unsubscribed, bool):
            raise bad_request("UnsubscribeAll: true or false is expected.")
        if attributes is not None and not isinstance(attributes, str):
            raise bad_request("AttributesData: a string is expected.")
        made = _Contact(address, preferences, unsubscribed, attributes, created_at, self._clock())
        into.contacts[address.lower()] = made
        into.order = None

    def _contact(self, asked: Asked) -> tuple[_List, _Contact]:
        name, address = asked.names
        there = self._known(name)
        if address.lower() not in there.contacts:
            raise not_found(f"Contact {address} doesn't exist in list {name}.")
        return there, there.contacts[address.lower()]

    def get_contact(self, asked: Asked) -> Reply:
        """GetContact: with its AttributesData, which no list of contacts has."""
        there, contact = self._contact(asked)
        told = {**_told(there, contact), "ContactListName": asked.name, "CreatedTimestamp": contact.created_at}
        if contact.attributes is not None:
            told["AttributesData"] = contact.attributes
        return json_reply(told)

    def list_contacts(self, asked: Asked) -> Reply:
        """ListContacts.

        A FilteredStatus alone is of UnsubscribeAll; with a TopicFilter it is of the preference for that topic, or of
        the topic's default where that is wanted, whatever UnsubscribeAll says: a reader has to look at both.
        """
        there = self._known(asked.name)
        page, request = asked.page("Filter")
        wanted = members(request.get("Filter") or {}, _FILTER, "Filter")
        status = wanted.get("FilteredStatus")
        if status is not None:
            word(status, _STATUSES, "Filter.FilteredStatus")
        topic = members(wanted.get("TopicFilter") or {}, _TOPIC_FILTER, "Filter.TopicFilter")
        name, defaults = topic.get("TopicName"), there.defaults
        if name is not None and name not in defaults:
            raise bad_request(f"Filter.TopicFilter: the list has no topic {name}.")
        by_default = defaults.get(name or "") if topic.get("UseDefaultIfPreferenceUnavailable") else None
        if there.order is None:
            there.order = sorted(there.contacts)
        keys = there.order
        if name is not None:
            preferred = {key: there.contacts[key].preferences.get(name, by_default) for key in keys}
            keys = [key for key in keys if preferred[key] is not None and status in (None, preferred[key])]
        elif status is not None:
            keys = [key for key in keys if there.contacts[key].unsubscribed == (status == "OPT_OUT")]
        listed, more = page.of(keys)
        return json_reply({"Contacts": [_told(there, there.contacts[key]) for key in listed], **more})


def _told(there: _List, contact: _Contact) -> dict[str, Any]:
    return {
        "EmailAddress": contact.address,
        "LastUpdatedTimestamp": contact.updated_at,
        "TopicDefaultPreferences": _preferences(there.defaults),
        "TopicPreferences": _preferences(contact.preferences),
        "UnsubscribeAll": contact.unsubscribed,
    }


def _preferences(statuses: dict[str, str]) -> list[dict[str, str]]:
    return [{"SubscriptionStatus": status, "TopicName": name} for name, status in statuses.items()]
