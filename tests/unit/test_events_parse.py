"""What comes from a queue of events, read: every shape and spelling, and whatever strangers may put there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.events import NothingToCount, Reading, Unreadable, parse
from tests.ses_reports import (
    CAMPAIGN,
    HAPPENED_AT,
    HAPPENED_AT_S,
    NOTHING_TO_COUNT,
    SENT_AT,
    SENT_AT_S,
    SHAPES,
    SPELLINGS,
    bridged,
    enveloped,
    notification,
    objects,
    raw,
    report,
)


def event(body: str | bytes) -> MailEvent:
    found = parse(body)
    assert isinstance(found, MailEvent), found
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("type_", "word"), [(type_, word) for type_, words in SPELLINGS.items() for word in words])
def test_every_type_in_every_spelling_and_shape(type_: str, word: str, shape: str) -> None:
    found = event(SHAPES[shape](report(type_, word=word)))
    assert found.type is EventType(type_)
    assert (found.message_id, found.campaign_id, found.row, found.published) == ("0100-1", CAMPAIGN, 17, True)
    assert found.recipients == ("ann@example.com",)
    assert found.sent_at == SENT_AT_S
    assert found.at == (HAPPENED_AT_S if "timestamp" in next(iter(objects()[type_].values())) else SENT_AT_S)


def test_all_types_are_known() -> None:
    assert set(SPELLINGS) == {type_.value for type_ in EventType}


TOLD = {
    "send": (None, "", ""),
    "reject": (None, "", "Bad content"),
    "bounce": (BounceKind.PERMANENT, "General", "smtp; 550 5.1.1 user unknown"),
    "complaint": (None, "", "abuse"),
    "delivery": (None, "", ""),
    "open": (None, "", ""),
    "click": (None, "", "https://example.com/offer"),
    "rendering_failure": (None, "", "Attribute 'name' is not present."),
    "delivery_delay": (None, "TransientCommunicationFailure", "smtp; 421 4.4.1 Unable to connect"),
    "subscription": (None, "UnsubscribeHeader", ""),
}


@pytest.mark.parametrize("type_", TOLD)
def test_what_each_type_tells(type_: str) -> None:
    found = event(raw(report(type_)))
    assert (found.bounce, found.subtype, found.detail) == TOLD[type_]


def test_only_who_left_everything_is_told_to_have_left() -> None:
    left = {"newTopicPreferences": {"unsubscribeAll": True}}
    of_a_topic = {"topicSubscriptionStatus": [{"topicName": "offers", "subscriptionStatus": "OptOut"}]}
    assert event(raw(report("subscription", about=left))).from_all
    for about in ({"newTopicPreferences": {"unsubscribeAll": False, **of_a_topic}}, {"newTopicPreferences": None}):
        assert not event(raw(report("subscription", about=about))).from_all
    assert not event(raw(report("click", about=left))).from_all
    of_two = json.loads(raw(report("subscription", about=left)))
    of_two["mail"]["destination"] = ["ann@example.com", "bob@example.com"]
    assert not event(json.dumps(of_two)).from_all


@pytest.mark.parametrize("type_", SPELLINGS)
def test_a_report_has_one_key_in_whatever_shape_it_comes(type_: str) -> None:
    keys = {event(shape(report(type_))).key for shape in SHAPES.values()}
    keys.add(event(enveloped(bridged(report(type_)))).key)
    keys.add(event(raw(report(type_, word=SPELLINGS[type_][1])).encode()).key)
    assert len(keys) == 1
    assert len(keys.pop()) == 16


def test_different_reports_have_different_keys() -> None:
    later = "2026-11-20T10:00:04.501Z"
    keys = {
        event(raw(found)).key
        for found in (
            *(report(type_) for type_ in SPELLINGS),
            report("delivery", message_id="0100-2"),
            report("delivery", at=later),
            report("delivery", address="bob@example.com"),
            report("bounce", about={"feedbackId": "another"}),
        )
    }
    assert len(keys) == len(SPELLINGS) + 4


def test_the_order_of_recipients_makes_no_other_report() -> None:
    one, other = ["a@example.com", "b@example.com"], ["b@example.com", "a@example.com"]
    assert (
        event(raw(report("delivery", about={"recipients": one}))).key
        == event(raw(report("delivery", about={"recipients": other}))).key
    )


@pytest.mark.parametrize("type_", ["bounce", "complaint", "delivery"])
def test_an_identity_s_notification_is_not_published_and_never_passes_for_the_report(type_: str) -> None:
    found = event(raw(notification(type_)))
    assert (found.type, found.published, found.campaign_id, found.row) == (EventType(type_), False, "", None)
    assert found.key != event(raw(report(type_))).key
    assert event(enveloped(notification(type_))).key == found.key


def test_a_notification_s_tags_are_not_believed() -> None:
    found = notification("bounce")
    found["mail"]["tags"] = {"bulksend-campaign": [CAMPAIGN], "bulksend-row": ["17"]}
    assert event(raw(found)).row is None


@pytest.mark.parametrize("body", NOTHING_TO_COUNT.values(), ids=NOTHING_TO_COUNT)
def test_what_is_no_report_and_no_fault(body: str) -> None:
    assert parse(body) == NothingToCount()


def without(found: dict[str, Any], *path: str) -> dict[str, Any]:
    table = found
    for name in path[:-1]:
        table = table[name]
    del table[path[-1]]
    return found


def untimed() -> dict[str, Any]:
    return without(without(report("delivery"), "delivery", "timestamp"), "mail", "timestamp")


UNREADABLE = {
    "empty": "",
    "no JSON": "hello",
    "a number": "17",
    "a list": "[]",
    "cut off": raw(report("bounce"))[:-10],
    "nothing in it": "{}",
    "a type that nobody knows": raw(report("bounce", word="Teleported")),
    "a type that is no word": raw(report("bounce") | {"eventType": ["Bounce"]}),
    "a type without end": raw(report("bounce", word="B" * 100_000)),
    "no mail": raw(without(report("bounce"), "mail")),
    "no message id": raw(without(report("bounce"), "mail", "messageId")),
    "a message id that is none": raw(report("bounce") | {"mail": {"messageId": 17, "timestamp": SENT_AT}}),
    "no time at all": raw(untimed()),
    "an envelope's type that is no word": '{"Type": []}',
    "another service's": json.dumps(json.loads(bridged(report("bounce"))) | {"source": "aws.s3"}),
    "envelopes in envelopes": enveloped(enveloped(enveloped(enveloped(report("bounce"))))),
    "nested without end": "[" * 100_000,
    "objects without end": '{"a":' * 100_000,
    "larger than SQS allows": raw(report("bounce", address="a" * 1024 * 1024 + "@example.com")),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_the_unreadable_says_why_and_nothing_of_what_is_in_it(body: str) -> None:
    found = parse(body)
    assert isinstance(found, Unreadable)
    assert found.reason
    assert "@" not in found.reason
    assert "Teleported" not in found.reason


def test_a_text_that_was_cut_in_the_middle_of_a_character_is_still_read() -> None:
    body = raw(report("bounce", about={"bouncedRecipients": [{"emailAddress": "ann@example.com", "status": "5.0.0"}]}))
    cut = body.replace("5.0.0", "gone \\ud83d")
    assert event(cut).detail == "gone ?"
    assert event(enveloped(json.loads(cut))).detail == "gone ?"


TAGS: dict[str, object] = {
    "none": {},
    "no table": ["bulksend-row"],
    "null": None,
    "no list": {"bulksend-campaign": {"a": 1}, "bulksend-row": 17},
    "empty lists": {"bulksend-campaign": [], "bulksend-row": []},
    "no campaign": {"bulksend-row": ["17"]},
    "no row": {"bulksend-campaign": [CAMPAIGN]},
    "a row of words": {"bulksend-campaign": [CAMPAIGN], "bulksend-row": ["seventeen"]},
    "a negative row": {"bulksend-campaign": [CAMPAIGN], "bulksend-row": ["-17"]},
    "a row of other digits": {"bulksend-campaign": [CAMPAIGN], "bulksend-row": ["١٧"]},
    "a row without end": {"bulksend-campaign": [CAMPAIGN], "bulksend-row": ["9" * 10_000]},
    "a campaign of other signs": {"bulksend-campaign": ["a b'; --"], "bulksend-row": ["17"]},
    "a campaign without end": {"bulksend-campaign": ["a" * 10_000], "bulksend-row": ["17"]},
}


@pytest.mark.parametrize("tags", TAGS.values(), ids=TAGS)
def test_tags_that_are_not_ours_are_none(tags: Any) -> None:
    found = report("bounce")
    found["mail"]["tags"] = tags
    assert (event(raw(found)).campaign_id, event(raw(found)).row) == ("", None)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Permanent", BounceKind.PERMANENT),
        ("PERMANENT", BounceKind.PERMANENT),
        ("transient", BounceKind.TRANSIENT),
        ("Transient", BounceKind.TRANSIENT),
        ("Undetermined", BounceKind.UNDETERMINED),
        ("Unheard-of", BounceKind.UNDETERMINED),
        (None, BounceKind.UNDETERMINED),
        (17, BounceKind.UNDETERMINED),
    ],
)
def test_kinds_of_bounces(said: object, kind: BounceKind) -> None:
    assert event(raw(report("bounce", about={"bounceType": said}))).bounce is kind


@pytest.mark.parametrize(
    ("said", "address"),
    [
        (" Ann@Example.COM ", "ann@example.com"),
        ("Ann <ann@example.com>", "ann@example.com"),
        ('"Ann, <the> first" <Ann@example.com> ', "ann@example.com"),
        ("<ann@example.com>", "ann@example.com"),
        ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
        ("ann\0@example.com", "ann@example.com"),
    ],
)
def test_addresses_are_spelled_as_suppressions_are(said: str, address: str) -> None:
    assert event(raw(report("complaint", address=said))).recipients == (address,)


@pytest.mark.parametrize("said", ["", "nobody", "a" * 400 + "@example.com", None, 17, {"a": 1}, [["x@example.com"]]])
def test_what_is_no_address_is_left_out(said: object) -> None:
    assert event(raw(report("delivery", about={"recipients": [{"emailAddress": said}]}))).recipients == ()


def test_a_bounce_concerns_nobody_but_whom_it_names() -> None:
    to_two = report("bounce", about={"bouncedRecipients": []})
    to_two["mail"]["destination"] = ["ann@example.com", "bob@example.com"]
    assert event(raw(to_two)).recipients == ()
    assert event(raw(without(report("delivery"), "delivery", "recipients"))).recipients == ()


@pytest.mark.parametrize(("type_", "member"), [("bounce", "bouncedRecipients"), ("complaint", "complainedRecipients")])
def test_a_forwarded_mail_concerns_whom_it_was_sent_to(type_: str, member: str) -> None:
    found = report(type_, about={member: [{"emailAddress": "target@example.net"}]})
    for destination, concerned in (
        (["Ann <Ann@example.com>"], ("ann@example.com",)),
        (["target@example.net"], ("target@example.net",)),
        (["ann@example.com", "bob@example.com"], ()),
        ([], ("target@example.net",)),
    ):
        found["mail"]["destination"] = destination
        assert event(raw(found)).recipients == concerned


@pytest.mark.parametrize(("type_", "member"), [("bounce", "bouncedRecipients"), ("complaint", "complainedRecipients")])
def test_a_receiving_server_speaks_for_nobody_to_whom_the_mail_was_not_sent(type_: str, member: str) -> None:
    others = [{"emailAddress": f"victim{n}@example.net"} for n in range(60)]
    found = report(type_, about={member: [*others[:40], {"emailAddress": "Bob@example.com"}]})
    found["mail"]["destination"] = ["mallory@example.com"]
    assert event(raw(found)).recipients == ("mallory@example.com",)
    found["mail"]["destination"] = ["ann@example.com", "Bob <bob@example.com>", "cid@example.com"]
    assert event(raw(found)).recipients == ("bob@example.com",)


@given(st.lists(st.sampled_from("abcdef"), max_size=6), st.lists(st.sampled_from("abcdef"), max_size=6))
def test_whom_a_bounce_concerns_was_written_to(written_to: list[str], named: list[str]) -> None:
    found = report("bounce", about={"bouncedRecipients": [{"emailAddress": f"{one}@example.com"} for one in named]})
    found["mail"]["destination"] = [f"{one}@example.com" for one in written_to]
    concerned = event(raw(found)).recipients
    assert not written_to or {one[0] for one in concerned} <= set(written_to)
    # Copies of a report are known by whom it names, whatever else is made of it.
    found["mail"]["destination"] = []
    assert event(raw(found)).key == event(raw(found | {"mail": found["mail"] | {"destination": ["x@example.com"]}})).key


def test_recipients_and_texts_are_bounded() -> None:
    many = [{"emailAddress": f"r{n}@example.com", "diagnosticCode": f"{n} " * 1000} for n in range(10_000)]
    bounce = report("bounce", about={"bouncedRecipients": many[:90]})
    found = event(raw(without(bounce, "mail", "destination")))
    assert len(found.recipients) == 50
    assert len(found.detail) == 1000
    plain = [f"r{n}@example.com" for n in range(10_000)]
    assert len(event(raw(report("delivery", about={"recipients": plain}))).recipients) == 50


def test_what_several_servers_said_is_told_once_each() -> None:
    people = [
        {"emailAddress": "a@example.com", "diagnosticCode": "550 no"},
        {"emailAddress": "b@example.com", "diagnosticCode": "550 no"},
        {"emailAddress": "c@example.com", "status": "5.2.2"},
        "nobody",
    ]
    assert event(raw(report("bounce", about={"bouncedRecipients": people}))).detail == "550 no; 5.2.2"


@pytest.mark.parametrize(
    "written",
    [
        HAPPENED_AT,
        "2026-11-20T10:00:04.5Z",
        "2026-11-20T10:00:04.500000000Z",
        "2026-11-20T12:00:04.500+02:00",
        "2026-11-20T10:00:04.500",
    ],
)
def test_times_are_iso_8601(written: str) -> None:
    assert event(raw(report("delivery", at=written))).at == HAPPENED_AT_S


@pytest.mark.parametrize("written", ["yesterday", "", "0001-01-01T00:00:00Z", "1" * 1000, "2026-13-40T00:00:00Z"])
def test_a_time_that_is_none_is_that_of_the_mail(written: str) -> None:
    assert event(raw(report("delivery", at=written))).at == SENT_AT_S
    found = report("delivery")
    found["mail"]["timestamp"] = written
    assert event(raw(found)).sent_at == HAPPENED_AT_S


# Whatever comes -------------------------------------------------------------------------------------------------------

words = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["Bounce", "Notification", "aws.ses", "ann@example.com", SENT_AT, "\0", "\ud800", "9" * 400]),
)
names = st.one_of(
    words,
    st.sampled_from(
        [
            *("eventType", "notificationType", "mail", "bounce", "bouncedRecipients", "Type", "Message", "detail"),
            *("detail-type", "source", "tags", "timestamp", "messageId", "destination", "emailAddress", "delivery"),
        ]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(names, below, max_size=4)),
    max_leaves=20,
)


def sound(found: Reading) -> None:
    """What whoever keeps it relies on."""
    if not isinstance(found, MailEvent):
        return
    texts = (found.message_id, found.campaign_id, found.subtype, found.detail, *found.recipients)
    assert len(found.key) == 16
    assert found.message_id
    assert found.at >= 0
    assert found.sent_at >= 0
    assert (found.row is None) == (not found.campaign_id)
    assert found.row is None or found.row < 2**63
    assert (found.type is EventType.BOUNCE) == (found.bounce is not None)
    assert all("\0" not in text and len(text.encode()) <= 4000 for text in texts)


@given(st.one_of(st.text(), st.binary(), values.map(json.dumps)))
def test_nothing_raises(body: str | bytes) -> None:
    sound(parse(body))


@given(st.sampled_from(sorted(SPELLINGS)), st.sampled_from(sorted(SHAPES)), st.data())
def test_a_report_with_anything_in_the_place_of_anything_is_read_or_not(
    type_: str, shape: str, data: st.DataObject
) -> None:
    found = report(type_)
    table: Any = found
    while True:
        name = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[name], dict) or not table[name] or data.draw(st.booleans()):
            break
        table = table[name]
    table[name] = data.draw(values)
    sound(parse(SHAPES[shape](found)))
