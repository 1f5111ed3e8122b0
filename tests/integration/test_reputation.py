"""What SES judges an account by, from what the store knows: whoever sent, and whenever it was started."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.config import load_settings
from bulksend.facts import Audience, Fact, Reputation, Span, StoreCounted
from bulksend.model import AllAccepted, Binding
from bulksend.worker import Store
from bulksend.worker.looking_on import looking_on
from bulksend.worker.reputation import DAY_S, reputations
from tests.integration.test_conservation import planned
from tests.integration.test_event_stores import bounced, complained, delivered
from tests.integration.test_journals import at_work, batch, begun, intended

NOW = 1_800_000_000.0
HOME, ELSEWHERE = ("123456789012", "eu-west-1"), ("123456789012", "us-east-1")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return Store.at(tmp_path / ".bulksend")
    given = {"store": request.getfixturevalue("database_url"), "snapshots": str(tmp_path)}
    return Store.open(load_settings(None, {}, given), tmp_path)


def known(store: Store, *, letter: str, binding: tuple[str, str]) -> str:
    """One more campaign of the store; its id."""
    first = store.journal.find("any") or planned(store.journal)
    if letter != "c":
        another = replace(first, id=letter * 26, name=letter, snapshot=letter, binding=Binding(*binding))
        store.journal.announce_snapshot(letter)
        store.journal.add(another, [])
    return letter * 26


def test_mails_count_by_when_they_were_sent_and_where_their_campaign_is_bound_to(store: Store) -> None:
    known(store, letter="c", binding=HOME)
    known(store, letter="d", binding=HOME)
    known(store, letter="e", binding=ELSEWHERE)
    today, this_week, before = NOW - 3600, NOW - 2 * DAY_S, NOW - 8 * DAY_S
    one, other, there = "c" * 26, "d" * 26, "e" * 26
    store.events.record(
        [
            *(delivered(row, campaign=one, sent_at=today) for row in range(8)),
            bounced(8, campaign=one, sent_at=today),
            bounced(8, campaign=one, sent_at=today),  # twice there
            *(delivered(row, campaign=one, sent_at=this_week) for row in range(20, 25)),
            complained(21, campaign=one, sent_at=this_week),
            bounced(30, campaign=one, sent_at=before),
            bounced(1, campaign=other, sent_at=today),
            delivered(2, campaign=other, sent_at=today),
            complained(2, campaign=other, sent_at=today),
            bounced(1, campaign=there, sent_at=this_week),
            delivered(2, campaign=there, sent_at=this_week),
            delivered(2, campaign="f" * 26, sent_at=today),  # another store's
        ],
        NOW,
    )
    assert reputations(store, NOW) == {
        HOME: {Span.DAY: Reputation(11, 2, 1), Span.WEEK: Reputation(16, 2, 2)},
        ELSEWHERE: {Span.DAY: Reputation(0, 0, 0), Span.WEEK: Reputation(2, 1, 0)},
    }
    assert reputations(store, NOW + 8 * DAY_S) == {}


def test_where_nothing_says_that_mails_arrive_they_are_all_that_were_sent(store: Store) -> None:
    campaign = planned(store.journal)

    async def sent() -> float:
        await begun(store.journal, campaign)
        intent = await intended(store.journal, batch(campaign.id, [0, 1, 2, 3]))
        await store.journal.settle(intent, AllAccepted(["m0", "m1", "m2", "m3"]))
        return intent.at

    with at_work(store.journal) as do:
        at = do(sent())
    assert reputations(store, at) == {}
    other = known(store, letter="d", binding=HOME)
    store.events.record([complained(1, campaign=other, sent_at=at)], at)
    assert reputations(store, at + 1)[HOME] == dict.fromkeys(Span, Reputation(4, 0, 1)), "of a campaign without events"
    store.events.record([bounced(1, campaign=campaign.id, sent_at=at)], at)
    assert reputations(store, at + 1)[HOME] == dict.fromkeys(Span, Reputation(4, 1, 1))
    assert reputations(store, at + 2 * DAY_S)[HOME][Span.DAY] == Reputation(0, 0, 0)
    store.events.record([delivered(2, campaign=campaign.id, sent_at=at)], at)
    assert reputations(store, at + 1)[HOME] == dict.fromkeys(Span, Reputation(2, 1, 1))


class Seen:
    def __init__(self) -> None:
        self.counted: list[StoreCounted] = []

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, StoreCounted):
            self.counted.append(fact)


def test_it_is_counted_with_the_store_which_is_counted_without_it_too(tmp_path: Path) -> None:
    store, seen = Store.at(tmp_path / ".bulksend"), Seen()
    campaign = planned(store.journal)
    now = store.journal.now()
    store.events.record([delivered(1, campaign=campaign.id, sent_at=now)], now)

    async def looked_on(at: Store) -> None:
        async with looking_on(at, Audience([seen])):
            pass

    asyncio.run(looked_on(store))
    assert seen.counted[-1].reputation[HOME][Span.DAY] == Reputation(1, 0, 0)
    for file in (tmp_path / ".bulksend").glob("events.db*"):
        file.unlink()
    asyncio.run(looked_on(Store.at(tmp_path / ".bulksend")))
    assert seen.counted[-1].reputation == {}
    assert seen.counted[-1].campaigns == seen.counted[0].campaigns
