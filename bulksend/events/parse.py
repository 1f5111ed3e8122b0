"""A message of the events' queue, read: what became of one mail, whatever way the report came. Pure, and never raises.

The ways: SNS's envelope or its raw delivery, EventBridge, and an identity's notification, which has no tags. Documents
spell types and members differently, so letters alone count.

Sources: Developer Guide, Contents of event data that Amazon SES publishes to Amazon SNS; Amazon SNS notification
contents for Amazon SES; Monitoring with Amazon EventBridge. Amazon SNS Developer Guide, HTTP/HTTPS notification JSON
format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

import orjson

from bulksend.event import BounceKind, EventType, MailEvent

__all__ = ["NothingToCount", "Reading", "Unreadable", "parse"]

MAX_CHARACTERS = 1024 * 1024
"""Of a message (SQS Developer Guide, message quotas: 1 MiB)."""
MAX_ENVELOPES = 3
"""EventBridge's may come in SNS's."""
MAX_RECIPIENTS = 50
"""Of a mail (SES-FACTS, The call)."""
MAX_ADDRESS = 320
MAX_TEXT = 1000
MAX_ID = 256
MAX_ROW_DIGITS = 18
MAX_TIME_CHARACTERS = 64
_OF_WHOM_WE_WROTE_TO = frozenset({EventType.BOUNCE, EventType.COMPLAINT})
"""They concern nobody else, whatever addresses they name."""
CAMPAIGN_TAG, ROW_TAG = "bulksend-campaign", "bulksend-row"

_GREETING = "Successfully validated SNS topic"
"""How the text begins that SES sends when an event destination is made."""
_NO_REPORTS = frozenset({"amazonsnssubscriptionsucceeded", "received"})
"""Types of identity notifications that tell of no mail of ours (letters of them)."""
_CAMPAIGN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAMED = re.compile(r"<([^<>]*)>\s*\Z")


@dataclass(frozen=True, slots=True)
class NothingToCount:
    """A message that is as it should be, and tells of no mail."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that is no report; `reason` has nothing of its content."""

    reason: str


Reading: TypeAlias = MailEvent | NothingToCount | Unreadable


class _NoReportError(Exception):
    """`reading` says what it is instead."""

    def __init__(self, reading: NothingToCount | Unreadable) -> None:
        self.reading = reading


def parse(body: str | bytes) -> Reading:
    """Read the body of one SQS message."""
    text = body if isinstance(body, str) else body.decode("utf-8", "replace")
    if len(text) > MAX_CHARACTERS:
        return Unreadable("it is larger than a message can be")
    try:
        return _event(_report(text))
    except _NoReportError as found:
        return found.reading
    except RecursionError:
        return Unreadable("it is nested too deeply")


# What is around it ----------------------------------------------------------------------------------------------------


def _report(text: str) -> Mapping[str, Any]:
    """SES's own object, out of whatever it is in."""
    found = _object(text)
    for _ in range(MAX_ENVELOPES):
        if "eventType" in found or "notificationType" in found:
            return found
        found = _unwrapped(found)
    raise _NoReportError(Unreadable("it has too many envelopes"))


def _unwrapped(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    kind, message = envelope.get("Type"), envelope.get("Message")
    if isinstance(kind, str) and kind in {"SubscriptionConfirmation", "UnsubscribeConfirmation"}:
        raise _NoReportError(NothingToCount())
    if kind == "Notification" and isinstance(message, str):
        return _object(message)
    detail = envelope.get("detail")
    if "detail-type" not in envelope or not isinstance(detail, dict):
        raise _NoReportError(Unreadable("it is no report of SES's, nor an envelope of one"))
    if envelope.get("source") != "aws.ses":
        raise _NoReportError(Unreadable("it is an event of another service"))
    if "eventType" not in detail:  # of the account, such as advice and the status of sending
        raise _NoReportError(NothingToCount())
    return detail


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except (ValueError, UnicodeEncodeError):  # a text that was cut off may end in half a character
        found = _leniently(text)
    if not isinstance(found, dict):
        raise _NoReportError(Unreadable("it is no JSON object"))
    return found


def _leniently(text: str) -> object:
    if text.startswith(_GREETING):
        raise _NoReportError(NothingToCount())
    try:
        return json.loads(text)
    except ValueError:
        raise _NoReportError(Unreadable("it is no JSON")) from None


# The report -----------------------------------------------------------------------------------------------------------


def _event(report: Mapping[str, Any]) -> Reading:
    published = "eventType" in report
    word = report["eventType" if published else "notificationType"]
    type_ = _type(word) if isinstance(word, str) and len(word) <= MAX_ID else None
    if type_ is None:
        if isinstance(word, str) and _letters(word) in _NO_REPORTS:
            return NothingToCount()
        return Unreadable("it is of a type that no document names")
    mail = _table(report.get("mail"))
    message_id = _text(mail.get("messageId"), MAX_ID)
    about = _about(report, type_)
    sent_at = _time(mail.get("timestamp"))
    at = _time(about.get("timestamp"))
    if not message_id:
        return Unreadable("it names no mail")
    at = sent_at if at is None else at
    if at is None:
        return Unreadable("it has no time")
    told = _TOLD[type_](about)
    written_to = _addresses(mail.get("destination"))
    named = told.recipients if told.recipients is not None else written_to
    campaign_id, row = _tags(mail.get("tags")) if published else ("", None)
    return MailEvent(
        key=_key(message_id, type_, named, _text(about.get("feedbackId"), MAX_ID) or f"{at:.3f}", published),
        type=type_,
        message_id=message_id,
        at=at,
        sent_at=at if sent_at is None else sent_at,
        campaign_id=campaign_id,
        row=row,
        recipients=_concerned(written_to, named) if type_ in _OF_WHOM_WE_WROTE_TO else named,
        bounce=told.bounce,
        subtype=told.subtype,
        detail=told.detail,
        published=published,
        from_all=told.from_all and len(written_to) == 1,  # of several, nobody knows who it was
    )


def _concerned(written_to: tuple[str, ...], named: tuple[str, ...]) -> tuple[str, ...]:
    """Whom a bounce or a complaint is of: nobody whom the mail was not sent to, where that is known.

    A forwarded mail bounces for an address that nobody here has written to; and whoever runs a receiving server may
    name whom he likes, who would be suppressed.
    """
    if len(written_to) == 1:
        return written_to
    return tuple(one for one in named if one in written_to) if written_to else named


def _key(message_id: str, type_: EventType, recipients: Iterable[str], when: str, published: bool) -> bytes:  # noqa: FBT001
    """The same for each copy of a report, by whatever way it came.

    An identity's notification has one of its own: it lacks the tags, and must not pass for the report that has them.
    """
    parts = (message_id, type_, when, "published" if published else "notified", *sorted(recipients))
    return blake2b("\0".join(parts).encode(), digest_size=16).digest()


@lru_cache(256)
def _letters(word: str) -> str:
    return "".join(c for c in word if c.isalnum()).lower()


_TYPES = {_letters(type_.value): type_ for type_ in EventType}
_KINDS = {kind.value: kind for kind in BounceKind}


def _type(word: str) -> EventType | None:
    return _TYPES.get(_letters(word))


def _about(report: Mapping[str, Any], type_: EventType) -> Mapping[str, Any]:
    """The object that is named after the type; an empty one, where there is none."""
    for name in _OBJECTS[type_]:
        found = report.get(name)
        if isinstance(found, dict):
            return found
    return {}


_OBJECTS: dict[EventType, tuple[str, ...]] = {
    EventType.SEND: ("send",),
    EventType.REJECT: ("reject",),
    EventType.BOUNCE: ("bounce",),
    EventType.COMPLAINT: ("complaint",),
    EventType.DELIVERY: ("delivery",),
    EventType.OPEN: ("open",),
    EventType.CLICK: ("click",),
    EventType.RENDERING_FAILURE: ("failure", "renderingFailure"),
    EventType.DELIVERY_DELAY: ("deliveryDelay",),
    EventType.SUBSCRIPTION: ("subscription",),
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What an object of a type has to tell. Recipients of None are those of the mail."""

    recipients: tuple[str, ...] | None = None
    bounce: BounceKind | None = None
    subtype: str = ""
    detail: str = ""
    from_all: bool = False


def _bounce(about: Mapping[str, Any]) -> _Told:
    people = about.get("bouncedRecipients")
    kind = about.get("bounceType")
    return _Told(
        recipients=_addresses(people),
        bounce=_KINDS.get(_letters(_text(kind, MAX_ID)), BounceKind.UNDETERMINED),
        subtype=_text(about.get("bounceSubType"), MAX_ID),
        detail=_diagnostics(people),
    )


def _complaint(about: Mapping[str, Any]) -> _Told:
    return _Told(
        recipients=_addresses(about.get("complainedRecipients")),
        subtype=_text(about.get("complaintSubType"), MAX_ID),
        detail=_text(about.get("complaintFeedbackType"), MAX_TEXT),
    )


def _delay(about: Mapping[str, Any]) -> _Told:
    people = about.get("delayedRecipients")
    return _Told(
        recipients=_addresses(people), subtype=_text(about.get("delayType"), MAX_ID), detail=_diagnostics(people)
    )


def _subscription(about: Mapping[str, Any]) -> _Told:
    return _Told(
        subtype=_text(about.get("source"), MAX_ID),
        from_all=_table(about.get("newTopicPreferences")).get("unsubscribeAll") is True,
    )


def _detail_in(member: str) -> Callable[[Mapping[str, Any]], _Told]:
    return lambda about: _Told(detail=_text(about.get(member), MAX_TEXT))


_TOLD: dict[EventType, Callable[[Mapping[str, Any]], _Told]] = {
    EventType.SEND: lambda _: _Told(),
    EventType.REJECT: _detail_in("reason"),
    EventType.BOUNCE: _bounce,
    EventType.COMPLAINT: _complaint,
    EventType.DELIVERY: lambda about: _Told(recipients=_addresses(about.get("recipients"))),
    EventType.OPEN: lambda _: _Told(),
    EventType.CLICK: _detail_in("link"),
    EventType.RENDERING_FAILURE: _detail_in("errorMessage"),
    EventType.DELIVERY_DELAY: _delay,
    EventType.SUBSCRIPTION: _subscription,
}


# Its members ----------------------------------------------------------------------------------------------------------


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object, most: int) -> str:
    """A text that any store and any log takes: no NUL, no half of a surrogate pair; empty for all that is no text."""
    if not isinstance(value, str):
        return ""
    value = value[:most]
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _addresses(value: object) -> tuple[str, ...]:
    """Of a list of texts, or of objects that have an emailAddress; each once, in their order."""
    if not isinstance(value, list):
        return ()
    found: dict[str, None] = {}
    for one in value:
        address = _address(one.get("emailAddress") if isinstance(one, dict) else one)
        if address:
            found[address] = None
            if len(found) == MAX_RECIPIENTS:
                break
    return tuple(found)


def _address(value: object) -> str:
    """As a Suppression spells it: out of `Name <a@example.com>`, trimmed, lower-cased; empty where it is none."""
    text = _text(value, MAX_TEXT)
    named = _NAMED.search(text) if text.rstrip().endswith(">") else None
    address = (named[1] if named else text).strip().lower()
    return address if "@" in address and len(address) <= MAX_ADDRESS else ""


def _diagnostics(people: object) -> str:
    """What the receiving servers said, each saying once; of one that said nothing the status."""
    if not isinstance(people, list):
        return ""
    said: dict[str, None] = {}
    for one in people[:MAX_RECIPIENTS]:
        if isinstance(one, dict):
            said[_text(one.get("diagnosticCode"), MAX_TEXT) or _text(one.get("status"), MAX_TEXT)] = None
    return "; ".join(filter(None, said))[:MAX_TEXT]


def _tags(value: object) -> tuple[str, int | None]:
    """Our own two, if both are there as we write them."""
    tags = _table(value)
    campaign, row = _first(tags.get(CAMPAIGN_TAG)), _first(tags.get(ROW_TAG))
    if not _CAMPAIGN_ID.fullmatch(campaign) or not row.isascii() or not row.isdecimal() or len(row) > MAX_ROW_DIGITS:
        return "", None
    return campaign, int(row)


def _first(values: object) -> str:
    if isinstance(values, list) and values:
        values = values[0]
    return values if isinstance(values, str) else ""


def _time(value: object) -> float | None:
    """ISO 8601, with Z, an offset, or neither, which is UTC; in epoch seconds."""
    if not isinstance(value, str) or len(value) > MAX_TIME_CHARACTERS:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return at if at >= 0 else None
