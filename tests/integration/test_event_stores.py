"""One suite for the stores of events: each report counts once, in whatever order, by whomever, whoever is killed."""

from __future__ import annotations

import hashlib
import json
import random
import re
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksend import worker
from bulksend.errors import JournalError
from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason
from bulksend.journal import EventRecords, EventTally, Fate, Rates, Recorded, SqliteEvents, open_postgres_events
from bulksend.simulator import SimulatorProcess
from tests.forked import Forked
from tests.harness import Desk
from tests.postgres import Postgres, database, rows

NOW = 1_800_000_000.0
SENT = 1_799_990_000.25
"""When mails were sent, if nothing else is said."""
OTHER_PROCESS = Path(__file__).parents[1] / "recorder.py"

Open = Callable[[], EventRecords]


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same store, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteEvents(tmp_path / "store" / "events.db")
    url: str = request.getfixturevalue("database_url")
    return lambda: open_postgres_events(url)


@pytest.fixture
def events(reopen: Open) -> EventRecords:
    return reopen()


def event(
    kind: EventType,
    row: int | None = 1,
    *,
    campaign: str = "c1",
    mail: str = "",
    at: float = SENT + 3,
    sent_at: float = SENT,
    to: Sequence[str] | None = None,
    bounce: BounceKind | None = None,
    subtype: str = "",
    detail: str = "",
    published: bool = True,
) -> MailEvent:
    message_id = mail or f"m{row}"
    recipients = (f"user{row}@example.com",) if to is None else tuple(to)
    seed = repr((message_id, kind, recipients, at, bounce, subtype, published))
    key = hashlib.blake2b(seed.encode("utf-8", "backslashreplace"), digest_size=16).digest()
    return MailEvent(key, kind, message_id, at, sent_at, campaign, row, recipients, bounce, subtype, detail, published)


def bounced(row: int = 1, kind: BounceKind = BounceKind.PERMANENT, subtype: str = "General", **more: Any) -> MailEvent:
    return event(EventType.BOUNCE, row, bounce=kind, subtype=subtype, **more)


def complained(row: int = 1, **more: Any) -> MailEvent:
    return event(EventType.COMPLAINT, row, **more)


def delivered(row: int = 1, **more: Any) -> MailEvent:
    return event(EventType.DELIVERY, row, **more)


# What is new ----------------------------------------------------------------------------------------------------------


def test_what_is_new_is_told_once(events: EventRecords) -> None:
    batch = [
        event(EventType.SEND),
        delivered(),
        delivered(2),
        bounced(3),
        delivered(),
        event(EventType.SEND, 2, mail="another"),
        complained(4, campaign="c2"),
    ]
    assert events.record(batch, NOW) == Recorded(
        {EventType.SEND: 2, EventType.DELIVERY: 2, EventType.BOUNCE: 1, EventType.COMPLAINT: 1},
        {BounceKind.PERMANENT: 1},
        frozenset({"c1", "c2"}),
        copies=1,
        suppressed=2,
    )
    assert events.record(batch, NOW + 5) == Recorded({}, {}, frozenset(), 0, 0)
    assert events.record([], NOW) == Recorded({}, {}, frozenset(), 0, 0)
    third = events.record([event(EventType.SEND, 2, mail="a third"), *batch], NOW)
    assert (third.types, third.copies) == ({EventType.SEND: 1}, 0), "the row was a copy before"
    assert events.tally("c1") == EventTally(
        mails=3,
        copies=1,
        types={EventType.SEND: 2, EventType.DELIVERY: 2, EventType.BOUNCE: 1},
        bounces={BounceKind.PERMANENT: 1},
    )
    assert events.tally("c2").types == {EventType.COMPLAINT: 1}


def test_a_row_counts_once_in_whatever_befell_it(events: EventRecords) -> None:
    events.record([bounced(kind=BounceKind.TRANSIENT), delivered()], NOW)
    events.record([bounced(at=SENT + 9), delivered(mail="copy"), bounced(mail="copy")], NOW)
    assert events.tally("c1") == EventTally(
        mails=1,
        copies=1,
        types={EventType.BOUNCE: 1, EventType.DELIVERY: 1},
        bounces={BounceKind.PERMANENT: 1, BounceKind.TRANSIENT: 1},
    )


@pytest.mark.parametrize("kind", [EventType.REJECT, EventType.RENDERING_FAILURE])
def test_a_mail_that_ses_did_not_send_is_no_copy(events: EventRecords, kind: EventType) -> None:
    first = [event(EventType.SEND), event(kind, at=SENT + 1)]
    second = [event(EventType.SEND, mail="retried", sent_at=SENT + 60), delivered(mail="retried", sent_at=SENT + 60)]
    assert events.record(first, NOW).copies == 0
    assert events.record(second, NOW).copies == 0
    assert events.tally("c1").copies == 0
    assert events.fates("c1", [1]) == {1: Fate(1, delivered_at=SENT + 3)}
    # Two that were sent are, whatever befell a third; one of which it is heard late that it was not sent is none.
    assert events.record([delivered(mail="another", sent_at=SENT + 90)], NOW).copies == 1
    assert events.record([event(kind, mail="another", sent_at=SENT + 90)], NOW).copies == 0
    assert events.tally("c1").copies == 0
    # All of them were refused: the latest says why.
    events.record([event(kind, 2, at=SENT + 70, mail="b", sent_at=SENT + 60), event(EventType.REJECT, 2)], NOW)
    fate = events.fates("c1", [2])[2]
    is_reject = kind is EventType.REJECT
    assert (fate.rejected_at, fate.rendering_failed_at) == ((SENT + 70, None) if is_reject else (None, SENT + 70))
    assert events.tally("c1").copies == 0


def test_the_fate_of_a_row_is_that_of_its_latest_mail(events: EventRecords) -> None:
    events.record([bounced(mail="late", sent_at=SENT + 60, at=SENT + 61, detail="550 gone")], NOW)
    events.record([delivered(at=SENT + 200)], NOW)
    fate = Fate(1, bounce=BounceKind.PERMANENT, bounce_subtype="General", diagnostic="550 gone", bounced_at=SENT + 61)
    assert events.fates("c1", [1]) == {1: fate}
    assert events.tally("c1").copies == 1


def test_what_has_no_tags_is_counted_and_nothing_more(events: EventRecords, reopen: Open) -> None:
    batch = [
        bounced(campaign="", to=["secret@example.com"], detail="secret@example.com is unknown"),
        event(EventType.DELIVERY, None, to=["secret@example.com"]),
        bounced(5, published=False, to=["secret@example.com"]),
        event(EventType.DELIVERY, 2**62, to=["secret@example.com"]),
        event(EventType.DELIVERY, -1, to=["secret@example.com"]),
        delivered(6, campaign="c\0", to=["secret@example.com"]),
        delivered(7, campaign="c" * 201, to=["secret@example.com"]),
    ]
    assert events.record(batch, NOW).types == {EventType.BOUNCE: 2, EventType.DELIVERY: 5}
    assert reopen().record(batch, NOW) == Recorded({}, {}, frozenset(), 0, 0)
    assert events.tally("c1").mails == events.tally("").mails == 0
    assert events.of_address("secret@example.com") == events.of_message("m5") == []
    assert list(events.suppressions()) == []


def test_evidence_names_every_message_id_of_a_row(events: EventRecords) -> None:
    reject = event(EventType.REJECT, 2, detail="Bad content", at=SENT + 7)
    failure = event(EventType.RENDERING_FAILURE, 3, mail="r", detail="Attribute 'name' is not present")
    events.record([delivered(), event(EventType.OPEN), delivered(mail="copy", sent_at=SENT + 9), delivered(9)], NOW)
    events.record([event(EventType.SEND, 2), reject, failure, delivered(1, campaign="c2", mail="other's")], NOW)
    found = {(e.row, e.message_id): (e.at, e.refused, e.reason) for e in events.evidence("c1", [1, 2, 3, 4])}
    assert found == {
        (1, "m1"): (SENT, None, ""),
        (1, "copy"): (SENT + 9, None, ""),
        (2, "m2"): (SENT, EventType.REJECT, "Bad content"),
        (3, "r"): (SENT, EventType.RENDERING_FAILURE, "Attribute 'name' is not present"),
    }
    refused = events.refused("c1", 0, 9)
    assert [row for _, row in refused] == [2, 3]
    assert events.refused("c1", 0, 1) + events.refused("c1", refused[0][0], 1) == refused, "some at a time"
    assert events.refused("c1", refused[1][0], 9) == events.refused("c2", 0, 9) == []
    assert events.evidence("c1", []) == []
    assert [e.message_id for e in events.pairs("c1", 4)] == ["copy", "m1", "m2", "r"]
    assert len(events.pairs("c1", 1000)) == 5


def test_fates_and_histories(events: EventRecords) -> None:
    batch = [
        event(EventType.SUBSCRIPTION, at=SENT + 90),
        event(EventType.CLICK, at=SENT + 80, detail="https://example.com/"),
        event(EventType.OPEN, at=SENT + 75),
        event(EventType.OPEN, at=SENT + 70),
        complained(at=SENT + 60, subtype="abuse"),
        bounced(kind=BounceKind.TRANSIENT, subtype="MailboxFull", at=SENT + 10, detail="452 full"),
        bounced(subtype="NoEmail", at=SENT + 20, detail="550 unknown"),
        bounced(subtype="General", at=SENT + 21, detail="550 once more"),
        event(EventType.DELIVERY_DELAY, at=SENT + 8),
        delivered(at=SENT + 9),
        event(EventType.REJECT, 2, at=SENT + 1),
        event(EventType.RENDERING_FAILURE, 2, at=SENT + 2),
    ]
    events.record(batch, NOW)
    assert events.fates("c1", [1, 2, 3]) == {
        1: Fate(
            1,
            delivered_at=SENT + 9,
            bounce=BounceKind.PERMANENT,
            bounce_subtype="NoEmail",
            diagnostic="550 unknown",
            bounced_at=SENT + 20,
            complained_at=SENT + 60,
            delayed_at=SENT + 8,
            opened_at=SENT + 70,
            clicked_at=SENT + 80,
            unsubscribed_at=SENT + 90,
        ),
        2: Fate(2, rejected_at=SENT + 1, rendering_failed_at=SENT + 2),
    }
    in_order = sorted(batch[:10], key=lambda e: e.at)
    assert events.of_row("c1", 1) == events.of_message("m1") == events.of_address("user1@example.com") == in_order
    assert events.of_address("ser1@example.com") == events.of_address("user_@example.com") == []
    assert events.of_row("c1", 7) == []


# Rates ----------------------------------------------------------------------------------------------------------------


def test_a_mail_counts_in_rates_as_ses_counts_it(events: EventRecords) -> None:
    assert events.rates("c1", 0) == Rates(0, 0, 0, None)
    events.record([delivered(), delivered(2), event(EventType.SEND, 3), event(EventType.DELIVERY_DELAY, 4)], NOW)
    assert events.rates("c1", 0) == Rates(2, 0, 0, NOW, last_sent_at=int(SENT))
    # It bounced after all, twice; one that may pass is no answer; what one of two recipients has is delivered.
    events.record([bounced(), bounced(at=SENT + 9), bounced(3, BounceKind.TRANSIENT)], NOW + 1)
    events.record([delivered(5, to=["a@example.com"]), bounced(5, BounceKind.UNDETERMINED, to=["b@example.com"])], NOW)
    assert events.rates("c1", 0) == Rates(2, 1, 0, NOW + 1, last_sent_at=int(SENT))
    # SES did not send these, and counts them nowhere; one that is on its global list it does count.
    events.record([bounced(6, subtype="OnAccountSuppressionList"), event(EventType.REJECT, 7)], NOW)
    events.record([complained(8, subtype="onAccountSuppressionList"), event(EventType.RENDERING_FAILURE, 9)], NOW)
    assert events.rates("c1", 0) == Rates(2, 1, 0, NOW + 1, unsent=4, refused=2, last_sent_at=int(SENT))
    events.record([bounced(10, subtype="Suppressed")], NOW)
    assert events.rates("c1", 0) == Rates(2, 2, 0, NOW + 1, unsent=4, refused=2, last_sent_at=int(SENT))
    events.record([complained(2), complained(2, at=SENT + 99), complained(1), complained(5, detail="not-spam")], NOW)
    assert events.rates("c1", 0) == Rates(2, 2, 2, NOW + 1, unsent=4, refused=2, last_sent_at=int(SENT))
    assert events.rates("c1", 0).sample == 4
    assert events.rates("c2", 0) == Rates(0, 0, 0, None)


def test_rates_are_of_what_was_sent_since(events: EventRecords) -> None:
    events.record([delivered(row, sent_at=SENT + row) for row in range(100)], NOW)
    assert [events.rates("c1", SENT + since).delivered for since in (-5, 0, 0.5, 10, 99, 99.8)] == [
        *(100, 100, 100, 90, 1),
        0,
    ]
    # An earlier time of the same mail moves it, with all that is known of it.
    events.record([bounced(99, sent_at=SENT - 50)], NOW)
    assert events.rates("c1", SENT - 5) == Rates(99, 0, 0, NOW, last_sent_at=int(SENT) + 98)
    assert events.rates("c1", SENT - 50) == Rates(99, 1, 0, NOW, last_sent_at=int(SENT) + 98)


# In any order ---------------------------------------------------------------------------------------------------------

MAILS = [(0, "a"), (1, "a"), (1, "b"), (3, "a")]
WEIGHTY = (EventType.DELIVERY, EventType.BOUNCE, EventType.COMPLAINT)
SUBTYPES = ("General", "OnAccountSuppressionList", "Suppressed")
DETAILS = ("", "not-spam", "550 5.1.1 user unknown")


@st.composite
def reports(draw: st.DrawFn) -> MailEvent:
    kind = draw(st.sampled_from([*EventType, *WEIGHTY * 8]))
    row, mail = draw(st.sampled_from(MAILS))
    return event(
        kind,
        row,
        mail=f"{row}{mail}",
        at=SENT + draw(st.integers(0, 3)),
        sent_at=SENT + row + (mail == "b"),
        bounce=draw(st.sampled_from(BounceKind)) if kind is EventType.BOUNCE else None,
        subtype=draw(st.sampled_from(SUBTYPES)),
    )


campaigns = count()


def told(events: EventRecords, campaign: str) -> list[Any]:
    """All that is said of a campaign."""
    all_rows = range(4)
    return [
        events.tally(campaign),
        events.fates(campaign, all_rows),
        [events.rates(campaign, SENT + since) for since in range(5)],
        sorted((e.row, e.message_id, e.at, str(e.refused)) for e in events.evidence(campaign, all_rows)),
        sorted(row for _, row in events.refused(campaign, 0, 99)),
        [[e.key for e in events.of_row(campaign, row)] for row in all_rows],
    ]


def by_hand(batch: Iterable[MailEvent]) -> tuple[EventTally, list[tuple[int, int, int, int]], set[str]]:
    """What a slow and simple mind makes of events: the tally, rates since each second, and whom they suppress."""
    known = {e.key: e for e in batch}.values()
    by_row = {row: [e for e in known if e.row == row] for row in {e.row for e in known}}
    hard = [e for e in known if e.bounce is BounceKind.PERMANENT and e.subtype != "OnAccountSuppressionList"]
    unsent = [e for e in known if e.subtype == "OnAccountSuppressionList" and suppresses(e)]
    unsent += [e for e in known if e.type in {EventType.REJECT, EventType.RENDERING_FAILURE}]
    ids = [
        {e.message_id for e in known if e.type is EventType.DELIVERY},
        {e.message_id for e in hard},
        {e.message_id for e in known if suppresses(e) and e.bounce is None and e not in unsent},
        {e.message_id for e in unsent},
    ]
    refused = {e.message_id for e in known if e.type in {EventType.REJECT, EventType.RENDERING_FAILURE}}
    sent_at = {e.message_id: e.sent_at for e in known}
    ids[0] -= ids[1]
    ids[3] -= ids[0] | ids[1]
    tally = EventTally(
        len(by_row),
        sum(len({e.message_id for e in of_row} - refused) > 1 for of_row in by_row.values()),
        Counter(kind for of_row in by_row.values() for kind in {e.type for e in of_row}),
        Counter(kind for of_row in by_row.values() for kind in {e.bounce for e in of_row if e.bounce}),
    )
    rates = [tuple(sum(sent_at[one] >= SENT + since for one in some) for some in ids) for since in range(5)]
    return tally, rates, {address for e in known if suppresses(e) for address in e.recipients}  # type: ignore[return-value]


def suppresses(e: MailEvent) -> bool:
    return e.bounce is BounceKind.PERMANENT or e.type is EventType.COMPLAINT or e.from_all


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(reports(), min_size=1, max_size=30), st.data())
def test_order_and_duplicates_change_nothing(events: EventRecords, batch: list[MailEvent], data: st.DataObject) -> None:
    told_of = []
    for again in (batch, data.draw(st.permutations([*batch, *batch[: len(batch) // 2]]))):
        campaign = f"{next(campaigns)}"
        theirs = [named(e, campaign) for e in again]
        size = data.draw(st.integers(1, len(again)))
        counted: Counter[EventType] = Counter()
        for start in range(0, len(theirs), size):
            counted.update(events.record(theirs[start : start + size], NOW).types)
        assert counted == Counter(e.type for e in {e.key: e for e in batch}.values())
        tally, rates, suppressed = by_hand(batch)
        assert events.tally(campaign) == tally
        found = [events.rates(campaign, SENT + since) for since in range(5)]
        assert [(r.delivered, r.bounced, r.complained, r.unsent) for r in found] == rates
        addresses = {f"{campaign}.{address}": address for e in batch for address in e.recipients}
        assert {addresses[address] for address in events.suppressed(addresses)} == suppressed
        told_of.append(told(events, campaign))
    assert told_of[0] == told_of[1]


def named(e: MailEvent, campaign: str) -> MailEvent:
    """The same of another campaign, with other people."""
    to = tuple(f"{campaign}.{address}" for address in e.recipients)
    return MailEvent(
        e.key, e.type, e.message_id, e.at, e.sent_at, campaign, e.row, to, e.bounce, e.subtype, e.detail, e.published
    )


# By our own link ------------------------------------------------------------------------------------------------------


def left(row: int, at: float = SENT + 50) -> Suppression:
    """Whom the mail of a row went to has unsubscribed by the link in it."""
    return Suppression(f"user{row}@example.com", SuppressionReason.UNSUBSCRIBE, "campaign launch", at)


def test_whoever_unsubscribes_by_our_link_counts_once_with_those_who_do_by_ses_s(events: EventRecords) -> None:
    assert events.unsubscribe("c1", 1, left(1)) == 1
    assert events.unsubscribe("c1", 1, left(1, SENT + 99)) == 0
    assert events.suppressed(["user1@example.com"]) == {"user1@example.com": SuppressionReason.UNSUBSCRIBE}
    assert events.tally("c1") == EventTally(0, 0, {EventType.SUBSCRIPTION: 1}, {}), "no event was heard"
    assert events.rates("c1", 0) == Rates(0, 0, 0, None), "by which nothing is judged"
    assert events.fates("c1", [1, 2]) == {1: Fate(1, unsubscribed_at=SENT + 50)}
    # The same by both ways, in either order: the earlier time counts.
    later = event(EventType.SUBSCRIPTION, at=SENT + 70)
    earlier = event(EventType.SUBSCRIPTION, 2, at=SENT + 20)
    assert events.record([later, earlier, delivered(3)], NOW).types[EventType.SUBSCRIPTION] == 2
    events.unsubscribe("c1", 2, left(2))
    events.unsubscribe("c1", 3, left(3))
    assert events.tally("c1") == EventTally(3, 0, {EventType.SUBSCRIPTION: 3, EventType.DELIVERY: 1}, {})
    fates = events.fates("c1", [1, 2, 3])
    assert [fates[row].unsubscribed_at for row in (1, 2, 3)] == [SENT + 50, SENT + 20, SENT + 50]
    assert fates[3].delivered_at == SENT + 3
    assert events.unsubscribed("c1", [1, 2, 3, 4]) == dict.fromkeys((1, 2, 3), SENT + 50)
    # By the row, and by the campaign: a link in another mail is another matter.
    assert events.unsubscribe("c2", 1, left(1)) == 0
    assert events.tally("c2").types == {EventType.SUBSCRIPTION: 1}
    assert events.tally("c1").types[EventType.SUBSCRIPTION] == 3


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(MAILS), st.integers(0, 3)), min_size=1, max_size=12))
def test_each_row_is_unsubscribed_once_in_any_order(
    events: EventRecords, done: list[tuple[bool, tuple[int, str], int]]
) -> None:
    campaign = f"{next(campaigns)}"
    for by_link, (row, mail), at in done:
        if by_link:
            events.unsubscribe(campaign, row, left(row, SENT + at))
        else:
            kinds = (EventType.SUBSCRIPTION, EventType.DELIVERY)
            events.record([event(k, row, campaign=campaign, mail=f"{row}{mail}", at=SENT + at) for k in kinds], NOW)
    assert events.tally(campaign).types[EventType.SUBSCRIPTION] == len({row for _, (row, _), _ in done})
    first: dict[int, float] = {}
    for by_link, (row, _), at in done:
        if by_link:
            first.setdefault(row, SENT + at)
    assert events.unsubscribed(campaign, range(4)) == first, "what is known changes nothing"


def test_who_leaves_by_both_ways_at_once_counts_once(events: EventRecords, reopen: Open) -> None:
    rows = range(12)
    one, other = reopen(), reopen()
    events.suppress([])

    def by_link() -> None:
        for row in rows:
            one.unsubscribe("c1", row, left(row))

    def by_event() -> None:
        for row in rows:
            other.record([event(EventType.SUBSCRIPTION, row), complained(row)], NOW)

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(by_link), threads.submit(by_event)]:
            future.result(60)
    assert events.tally("c1").types == {EventType.SUBSCRIPTION: 12, EventType.COMPLAINT: 12}
    assert set(events.suppressed([f"user{row}@example.com" for row in rows]).values()) == {
        SuppressionReason.UNSUBSCRIBE
    }


def test_that_somebody_left_is_a_number_and_names_nobody(tmp_path: Path) -> None:
    store = SqliteEvents(tmp_path / "events.db")
    store.record([delivered(2)], NOW)
    store.unsubscribe("c1", 1, left(1))
    store.unsuppress(["user1@example.com"])
    store.forget("user1@example.com")
    store.prune("c1")
    store.clear_free_space()
    assert not traces(store.path, "user1@")
    assert store.tally("c1").types[EventType.SUBSCRIPTION] == 1


# By many at once, and in spite of kill -9 -----------------------------------------------------------------------------


def recorder(events: EventRecords, batches: int, seed: int) -> Forked:
    """Another process that records the same events as everybody, in an order of its own; a line for each batch."""
    where = str(events.path) if isinstance(events, SqliteEvents) else events._server.url  # type: ignore[attr-defined]
    return Forked(where, str(batches), str(seed), program="from tests.recorder import main; main()")


def test_many_who_record_the_same_at_once_count_each_once(events: EventRecords, reopen: Open) -> None:
    from tests.recorder import ROWS, many  # noqa: PLC0415

    batches = 12

    def record(seed: int) -> tuple[int, int, int]:
        done = [reopen().record(batch, NOW) for batch in many(batches, seed)]
        return sum(sum(r.types.values()) for r in done), sum(r.copies for r in done), sum(r.suppressed for r in done)

    events.suppress([])
    with recorder(events, batches, 1) as one, recorder(events, batches, 2) as two, ThreadPoolExecutor(2) as threads:
        here = list(threads.map(record, [3, 4]))
        there = [json.loads(line) for process in (one, two) for line in process.communicate(timeout=60)[0].splitlines()]
    distinct = {e.key: e for batch in many(batches, 0) for e in batch}
    tally, _, suppressed = by_hand(distinct.values())
    assert sum(n for n, _, _ in here) + sum(n for n, _, _ in there) == len(distinct)
    assert sum(n for _, n, _ in here) + sum(n for _, n, _ in there) == tally.copies > 0
    assert sum(n for _, _, n in here) + sum(n for _, _, n in there) == len(suppressed) > 0
    assert events.tally("c1") == tally
    assert len(events.of_address("user7@example.com")) == sum(
        "user7@example.com" in e.recipients for e in distinct.values()
    )
    assert tally.mails == ROWS


def test_what_was_returned_outlives_kill_9(events: EventRecords, reopen: Open) -> None:
    from tests.recorder import many  # noqa: PLC0415

    batches = list(many(300, 5))
    with recorder(events, 300, 5) as process:
        for _ in range(5):
            process.stdout.readline()
        process.kill()
        finished = 5 + len(process.stdout.read().splitlines())
    assert finished < len(batches)
    store = reopen()
    certain = {e.key: e for batch in batches[:finished] for e in batch}
    there = {e.key for row in {e.row for e in certain.values() if e.row is not None} for e in store.of_row("c1", row)}
    assert certain.keys() <= there
    # One more may have been recorded of which nobody was told; it is there whole or not at all.
    known = batches[: finished + 1] if len(there) > len(certain) else batches[:finished]
    assert store.tally("c1") == by_hand(e for batch in known for e in batch)[0]
    rest = sum(sum(store.record(batch, NOW).types.values()) for batch in batches)
    assert rest == len({e.key for batch in batches for e in batch}) - len(there)
    assert store.tally("c1") == by_hand(e for batch in batches for e in batch)[0]


# Whom not to write to -------------------------------------------------------------------------------------------------


def suppression(name: str, reason: SuppressionReason = SuppressionReason.MANUAL) -> Suppression:
    return Suppression(f"{name}@example.com", reason, "by hand", NOW)


def test_bounces_and_complaints_suppress_whom_they_concern(events: EventRecords) -> None:
    batch = [
        bounced(1),
        bounced(2, BounceKind.TRANSIENT),
        bounced(3, BounceKind.UNDETERMINED),
        complained(4, to=["d@example.com", "e@example.com"]),
        complained(5, detail="not-spam"),
        bounced(6, subtype="OnAccountSuppressionList"),
        complained(7, subtype="OnAccountSuppressionList"),
        delivered(8),
        event(EventType.SUBSCRIPTION, 9),
        event(EventType.REJECT, 10),
        replace(event(EventType.SUBSCRIPTION, 11), from_all=True),
    ]
    assert events.record(batch, NOW).suppressed == 6
    assert {s.address: (s.reason, s.source, s.at) for s in events.suppressions()} == {
        "d@example.com": (SuppressionReason.COMPLAINT, "m4", SENT + 3),
        "e@example.com": (SuppressionReason.COMPLAINT, "m4", SENT + 3),
        "user1@example.com": (SuppressionReason.BOUNCE, "m1", SENT + 3),
        "user11@example.com": (SuppressionReason.UNSUBSCRIBE, "m11", SENT + 3),
        "user6@example.com": (SuppressionReason.BOUNCE, "m6", SENT + 3),
        "user7@example.com": (SuppressionReason.COMPLAINT, "m7", SENT + 3),
    }
    # Who was taken off the list stays off it, until something new is heard.
    assert events.unsuppress(["user1@example.com", "nobody@example.com"]) == 1
    assert events.record([*batch, delivered(1)], NOW).suppressed == 0
    assert events.suppressed(["user1@example.com", "d@example.com"]) == {"d@example.com": SuppressionReason.COMPLAINT}
    assert events.record([bounced(1, at=SENT + 500)], NOW).suppressed == 1


def test_a_list_of_suppressions(events: EventRecords) -> None:
    assert (events.suppress([]), events.unsuppress(["a@example.com"]), events.suppressed([])) == (0, 0, {})
    assert events.suppress([suppression("b"), suppression("a"), suppression("b")]) == 2
    assert events.suppress([suppression("b", SuppressionReason.BOUNCE), suppression("C")]) == 1
    assert list(events.suppressions()) == [suppression("C"), suppression("a"), suppression("b")]
    assert events.suppressed(["b@example.com", "x@example.com", "\0\ud800"]) == {
        "b@example.com": SuppressionReason.MANUAL
    }
    assert events.unsuppress(["a@example.com", "a@example.com", "b@example.com"]) == 2
    assert [s.address for s in events.suppressions()] == ["C@example.com"]


def test_the_weightiest_reason_is_kept_in_whatever_order_they_come(events: EventRecords) -> None:
    manual, complaint, unsubscribe = (
        SuppressionReason.MANUAL,
        SuppressionReason.COMPLAINT,
        SuppressionReason.UNSUBSCRIBE,
    )
    assert events.record([bounced(1), complained(2, to=["b@example.com"]), bounced(2, to=["b@example.com"])], NOW) == (
        Recorded({EventType.BOUNCE: 2, EventType.COMPLAINT: 1}, {BounceKind.PERMANENT: 2}, frozenset({"c1"}), 0, 2)
    )
    last, _ = events.suppressed_after(-1)

    def kept() -> list[tuple[SuppressionReason, str, float]]:
        return [(one.reason, one.source, one.at) for one in events.suppressions()]

    assert kept() == [(complaint, "m2", SENT + 3), (SuppressionReason.BOUNCE, "m1", SENT + 3)]
    assert events.suppress([suppression("b"), suppression("user1"), suppression("user1", complaint)]) == 0
    assert kept() == [(complaint, "m2", SENT + 3), (complaint, "by hand", NOW)]
    assert events.suppress([suppression("user1", unsubscribe), suppression("new"), suppression("user1")]) == 1
    assert events.record([complained(1, at=SENT + 9), complained(3, to=["new@example.com"])], NOW).suppressed == 0
    assert kept() == [(complaint, "m2", SENT + 3), (complaint, "m3", SENT + 3), (unsubscribe, "by hand", NOW)]
    assert events.suppress([suppression("new", manual)]) == 0
    assert kept()[1][0] is complaint
    assert events.suppressed_after(last)[1] == ["new@example.com"], "a weightier reason is no news of anybody"


def test_news_of_suppressions_come_in_parts_and_none_is_missed(events: EventRecords) -> None:
    assert events.suppressed_after(-1) == (0, [])
    assert events.suppressed_after(0) == (0, [])
    assert events.suppress(suppression(f"u{number}") for number in range(12_500)) == 12_500
    first, some = events.suppressed_after(0)
    last, others = events.suppressed_after(first)
    assert len(some) == 10_000
    assert set(some + others) == {f"u{number}@example.com" for number in range(12_500)}
    assert events.suppressed_after(last) == (last, [])
    assert events.suppressed_after(-1) == (last, [])
    events.unsuppress(["u12499@example.com"])
    events.suppress([suppression("new")])
    newest, found = events.suppressed_after(last)
    assert (newest > last, found) == (True, ["new@example.com"]), "no number is used twice"
    assert len(list(events.suppressions())) == 12_500


def test_whoever_follows_the_news_misses_nothing_that_others_add_meanwhile(events: EventRecords, reopen: Open) -> None:
    added, writers = 25, 4
    ended = threading.Event()

    def add(writer: int) -> None:
        for number in range(added):
            reopen().record([bounced(row=1000 * writer + number, campaign=f"c{writer}")], NOW)

    def follow() -> set[str]:
        seen: set[str] = set()
        cursor = 0
        over = False
        while not over:
            over = ended.is_set()
            cursor, some = events.suppressed_after(cursor)
            seen.update(some)
        return seen

    with ThreadPoolExecutor(writers + 1) as threads:
        following = threads.submit(follow)
        list(threads.map(add, range(writers)))
        ended.set()
        assert len(following.result()) == added * writers


# What it is given, and what is removed --------------------------------------------------------------------------------


def test_whatever_others_write_is_kept_within_bounds(events: EventRecords) -> None:
    odd = "x\0\ud800é" * 1000
    many = [f"{number}@example.com" for number in range(10_000)]
    events.record(
        [
            bounced(1, mail=odd, subtype=odd, detail=odd, to=["a\0\n\udfff@example.com", "", odd]),
            delivered(2, mail="z", at=float("nan"), sent_at=float("inf"), to=many),
        ],
        NOW,
    )
    (one,) = events.of_row("c1", 1)
    assert len(one.detail) <= 1000
    assert one.detail.startswith("x?é")
    assert len(one.message_id) <= 200
    assert one.recipients[0] == "a?@example.com"
    assert len(one.recipients) == 2
    (two,) = events.of_row("c1", 2)
    assert (two.at, two.sent_at, len(two.recipients)) == (NOW, NOW, 100)
    assert events.of_message(odd) == [one]
    assert len(events.fates("c1", [1, 2])) == 2


def test_an_address_is_forgotten(events: EventRecords) -> None:
    events.record(
        [
            bounced(1, to=["Bea_@example.com".lower()], detail="550 <bea_@example.com> is unknown"),
            delivered(2, to=["bea_@example.com", "bea-@example.com", "a.bea_@example.com"]),
            event(EventType.REJECT, 3, to=["c@example.com"], detail="Copy for BEA_@EXAMPLE.COM refused"),
            delivered(4, to=["beas@example.com"], detail="250 ok"),
        ],
        NOW,
    )
    before = told(events, "c1")[:1] + told(events, "c1")[2:]
    assert events.forget("nobody@example.com") == 0
    assert events.forget("bea_@example.com") == 3
    assert events.forget("bea_@example.com") == 0
    assert events.of_address("bea_@example.com") == []
    assert [(e.recipients, e.detail) for row in (1, 2, 3, 4) for e in events.of_row("c1", row)] == [
        ((), ""),
        (("bea-@example.com", "a.bea_@example.com"), ""),
        (("c@example.com",), ""),
        (("beas@example.com",), "250 ok"),
    ]
    assert told(events, "c1")[:1] + told(events, "c1")[2:] == before, "the numbers stay"
    assert list(events.suppressed(["bea_@example.com"])) == ["bea_@example.com"], "and that nobody writes to her"


def test_of_a_pruned_campaign_no_address_is_kept_nor_comes_back(events: EventRecords) -> None:
    def batch(campaign: str, first: int) -> list[MailEvent]:
        return [bounced(row, campaign=campaign, detail="550 gone") for row in range(first, first + 3)]

    events.record(batch("c1", 1) + batch("c2", 1), NOW)
    events.record([delivered(9_000), delivered(2**40)], NOW)
    events.prune("c1")
    events.prune("c1")
    events.prune("c3")
    events.record(batch("c1", 1) + batch("c1", 7), NOW + 1)
    for row in (1, 2, 3, 7, 8, 9, 9_000, 2**40):
        assert [(e.recipients, e.detail) for e in events.of_row("c1", row)] == [((), "")], row
    assert events.of_row("c2", 1) == batch("c2", 1)[:1]
    assert events.tally("c1").mails == 8
    assert events.rates("c1", 0).bounced == 6
    assert events.suppressed(["user1@example.com", "user8@example.com"]).keys() == {
        "user1@example.com",
        "user8@example.com",
    }


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000, "enforce": False}


def test_forget_and_prune_leave_no_trace_in_any_file(tmp_path: Path, simulator: SimulatorProcess) -> None:
    desk = Desk(tmp_path, simulator.url)
    desk.plan(["bea@example.com", "cid@example.com"])
    desk.send()
    store = desk.store()
    campaign = store.journal.campaign("launch")
    words = ("bea@", "cid@", "gone fishing")
    # So many, and in such an order, that the file keeps copies of what it has moved from page to page.
    batch = [
        event(kind, row, campaign=campaign.id, to=[("bea@", "cid@")[row % 2] + "example.com"], detail="gone fishing")
        for row in range(2000)
        for kind in (EventType.SEND, EventType.DELIVERY)
    ]
    random.Random(1).shuffle(batch)
    for start in range(0, len(batch), 500):
        store.events.record(batch[start : start + 500], NOW)
    assert [traces(store.folder / "events.db", word) for word in words] == [True, True, True]
    done = worker.forget(desk.store(), " Bea@EXAMPLE.com")
    assert (done.rows, done.events) == (1, 2000)
    assert [traces(store.folder / "events.db", word) for word in words] == [False, True, True]
    worker.prune(desk.store(), campaign)
    assert [traces(store.folder / "events.db", word) for word in words] == [False, False, False]
    assert store.events.tally(campaign.id).types == {EventType.SEND: 2000, EventType.DELIVERY: 2000}


def traces(path: Path, word: str) -> bool:
    """Whether the file, or what lies beside it, has the word in it."""
    return any(word.encode() in file.read_bytes().lower() for file in path.parent.glob(f"{path.name}*"))


# SQLite ---------------------------------------------------------------------------------------------------------------


def test_looking_makes_no_file_and_writing_makes_one_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "store" / "events.db"
    store, other = SqliteEvents(path), SqliteEvents(path)
    assert told(store, "c1")[0] == EventTally(0, 0, {}, {})
    assert store.suppressed(["a@example.com"]) == {}
    assert list(store.suppressions()) == []
    assert store.of_address("a@example.com") == store.of_message("m") == []
    assert (store.suppressed_after(-1), store.suppressed_after(7)) == ((0, []), (7, []))
    assert (store.forget("a@example.com"), store.unsuppress(["a@example.com"]), store.record([], NOW).copies) == (
        0,
        0,
        0,
    )
    store.clear_free_space()
    assert not path.parent.exists()
    store.record([delivered()], NOW)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert other.tally("c1").mails == 1
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_of_which_the_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.touch()
    assert SqliteEvents(path).tally("c1").mails == 0
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    assert SqliteEvents(path).tally("c1").mails == 0
    SqliteEvents(path).record([delivered()], NOW)
    assert SqliteEvents(path).tally("c1").mails == 1


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"no database, but long enough to be looked at" * 100)
    for call in (lambda: SqliteEvents(path).tally("c1"), lambda: SqliteEvents(path).record([delivered()], NOW)):
        with pytest.raises(JournalError, match=re.escape(str(path))):
            call()
    path.unlink()
    SqliteEvents(path).record([delivered()], NOW)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")
    for call in (lambda: SqliteEvents(path).tally("c1"), lambda: SqliteEvents(path).record([delivered()], NOW)):
        with pytest.raises(JournalError, match="newer bulksend"):
            call()


def test_nothing_that_is_asked_often_looks_through_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    connect = SqliteEvents._connect

    def traced(self: SqliteEvents) -> sqlite3.Connection:
        db = connect(self)
        db.set_trace_callback(statements.append)
        return db

    monkeypatch.setattr(SqliteEvents, "_connect", traced)
    store = SqliteEvents(tmp_path / "events.db")
    for _ in range(2):
        store.record([bounced(), event(EventType.REJECT, 2), delivered(3), delivered(4, campaign="")], NOW)
    told(store, "c1")
    store.pairs("c1", 100)
    store.of_message("m1")
    store.suppressed(["a@example.com"])
    store.suppressed_after(0)
    store.suppressed_after(-1)
    list(store.suppressions())
    store.unsubscribe("c1", 1, left(1))
    store.record([event(EventType.SUBSCRIPTION)], NOW)
    store.prune("c1")
    planned = set()
    with closing(sqlite3.connect(tmp_path / "events.db")) as db:
        for statement in statements:
            if re.match("SELECT|INSERT|UPDATE", statement):
                planned.add(statement.split("(")[0])
                plan = [detail for *_, detail in db.execute(f"EXPLAIN QUERY PLAN {statement}")]
                tables = r"\b(event|mail|m|e|refusal|sent|became|heard|untagged|suppression|unsubscription)\b"
                # The number of the last of them is at the end of the table.
                looked = [one for one in plan if re.match(f"SCAN {tables}", one) and "max(" not in statement]
                assert looked == [], (statement, plan)
    assert len(planned) > 20


# PostgreSQL -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_was_lost_meanwhile_is_made_anew(database_url: str) -> None:
    store = open_postgres_events(database_url)
    store.record([delivered()], NOW)
    with psycopg.connect(database_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    assert found == [(True,)], "one connection is kept"
    assert store.tally("c1").mails == 1
    assert store.record([delivered(2)], NOW).types == {EventType.DELIVERY: 1}
    assert rows(database_url, "SELECT count(*) FROM event") == [(2,)]


def test_an_outage_is_told_and_the_next_call_goes_on() -> None:
    with Postgres() as server, database(server.url, "outage") as url:
        with pytest.raises(JournalError, match="has no tables of bulksend") as found:
            open_postgres_events(server.url).tally("c1")
        assert found.value.hint == "Make them: bulksend migrate."
        store = open_postgres_events(url)
        store.record([delivered()], NOW)
        server.kill()
        for call in (lambda: store.record([delivered(2)], NOW), lambda: store.tally("c1")):
            with pytest.raises(JournalError, match="cannot be"):
                call()
        server.start()
        assert store.tally("c1").mails == 1
        assert store.record([delivered(2)], NOW).types == {EventType.DELIVERY: 1}
