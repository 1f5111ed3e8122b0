"""What both journals keep of a campaign's safety, and tell of its attempts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bulksend.facts import ChunkStanding
from bulksend.journal import Journal, SqliteJournal, open_postgres
from bulksend.journal.postgres import PostgresJournal
from bulksend.model import CampaignState, EntryOutcome, Halt, Verdict
from bulksend.safety import Breaker, Canary, CanarySent, RampStep, Safety
from tests.integration.test_conservation import EACH, ENTRIES, planned
from tests.integration.test_journals import at_work, batch, begun, intended

SAFETY = Safety(Canary(20 / ENTRIES, 60.0), (RampStep(5.0, 60.0),), Breaker(bounce_limit=0.03))
OK = EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id="m")
LATER = EntryOutcome(Verdict.TRANSIENT, "TRANSIENT_FAILURE", "busy", due_at=1234.5)
DEAD = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "no")
HALT = Halt("too many", "fewer")


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    if request.param == "sqlite":
        return SqliteJournal(tmp_path / "store" / "journal.db")
    return open_postgres(request.getfixturevalue("database_url"))


def with_safety(journal: Journal, safety: Safety = SAFETY) -> None:
    campaign = planned(journal)
    journal.set_terms(campaign, campaign.policy, campaign.schedule, safety)


def test_terms_are_kept(journal: Journal) -> None:
    with_safety(journal)
    assert journal.campaign("any").safety == SAFETY
    with at_work(journal) as do:
        do(begun(journal, journal.campaign("any")))
        (submitted,) = do(journal.submitted())
        assert submitted.safety == SAFETY


def armed_at(journal: Journal) -> float:
    at = journal.campaign("any").armed_at
    assert at is not None
    return at


def test_a_person_who_begins_it_arms_the_breaker_and_nobody_else_does(journal: Journal) -> None:
    with_safety(journal)
    campaign = journal.campaign("any")
    assert (campaign.armed_at, journal.guarded(campaign)) == (None, None)

    async def moved(*states: CampaignState) -> None:
        for state in states:
            assert await journal.set_state(campaign.id, state, HALT if state is CampaignState.HALTED else None)
            await asyncio.sleep(0.002)

    with at_work(journal) as do:
        do(moved(CampaignState.SENDING))
        first = armed_at(journal)
        assert journal.guarded(campaign) == (first, None)
        do(moved(CampaignState.SENDING))  # another worker joins
        do(moved(CampaignState.QUEUED, CampaignState.SENDING))  # a worker is restarted
        assert armed_at(journal) == first
        do(moved(CampaignState.HALTED))
        assert journal.guarded(campaign) is None
        do(moved(CampaignState.SENDING))
        second = armed_at(journal)
        assert second > first
        do(moved(CampaignState.PAUSED))
        assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.QUEUED
        third = armed_at(journal)
        assert third > second
        assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.QUEUED
        do(moved(CampaignState.SENDING))
        assert armed_at(journal) == third


def test_a_canary_is_judged_once(journal: Journal) -> None:
    with_safety(journal)
    campaign = journal.campaign("any")
    with at_work(journal) as do:
        do(begun(journal, campaign))
        journal.pass_canary(campaign)
        passed_at = journal.campaign("any").canary_passed_at
        assert passed_at is not None
        journal.pass_canary(campaign)
        assert journal.guarded(campaign) == (armed_at(journal), passed_at)


def test_a_bad_canary_is_judged_and_the_campaign_halted_at_once(journal: Journal) -> None:
    with_safety(journal)
    with at_work(journal) as do:
        do(begun(journal, journal.campaign("any")))
        journal.pass_canary(journal.campaign("any"), HALT)
        found = journal.campaign("any")
        assert (found.state, found.halt) == (CampaignState.HALTED, HALT)
        assert found.canary_passed_at is not None


def test_who_has_paused_it_is_not_overruled(journal: Journal) -> None:
    with_safety(journal)
    with at_work(journal) as do:
        do(begun(journal, journal.campaign("any")))
        journal.ask_for(journal.campaign("any"), CampaignState.PAUSED)
        journal.pass_canary(journal.campaign("any"), HALT)
        assert journal.campaign("any").state is CampaignState.PAUSED


def test_how_far_a_canary_is(journal: Journal) -> None:
    """Of 20 entries, 17 in the first chunk and 3 in the second."""
    with_safety(journal)
    campaign = journal.campaign("any")
    assert journal.chunk_sizes(campaign) == [(0, EACH), (1, EACH), (2, EACH)]
    assert journal.canary_sent(campaign, 20) == CanarySent(20, 0, 20, 20, None)
    assert journal.first_sent_at(campaign) is None

    async def main() -> tuple[float, float]:
        await begun(journal, campaign, 0, 1)
        first = await intended(journal, batch(campaign.id, [0, 1, 2, 3]))
        await journal.settle(first, [OK, DEAD, LATER, OK])
        second = await intended(journal, batch(campaign.id, [1, 2, 5], chunk=1))
        await journal.settle(second, [OK, OK, OK])
        await intended(journal, batch(campaign.id, [9], chunk=1))
        return first.at, second.at

    with at_work(journal) as do:
        began_at, last_at = do(main())
        sent = journal.canary_sent(campaign, 20)
        assert sent.last_at == pytest.approx(last_at)
        assert (sent.accepted, sent.under_way, sent.untried) == (4, 15, 14)
        assert journal.first_sent_at(campaign) == pytest.approx(began_at)
        assert journal.mails_sent(campaign.id, 0.0) == 7
        assert journal.mails_sent(campaign.id, last_at + 60) == 0


def test_what_a_canary_holds_back_is_not_to_be_sent_now(journal: Journal) -> None:
    with_safety(journal)
    campaign = journal.campaign("any")
    with at_work(journal) as do:
        do(begun(journal, campaign))
        assert journal.census().count(1).sendable == 20
        journal.pass_canary(campaign)
        counted = journal.census().count(1)
        assert counted.sendable == ENTRIES
        assert counted.chunks[ChunkStanding.DONE] == 0


def test_no_worker_is_handed_a_chunk_that_a_canary_holds_back(database_url: str) -> None:
    journal = open_postgres(database_url)
    assert isinstance(journal, PostgresJournal)
    with_safety(journal)
    campaign = journal.campaign("any")
    with at_work(journal) as do:
        do(journal.set_state(campaign.id, CampaignState.SENDING))
        assert do(journal.idle_chunks(campaign.id, [], 10)) == [0, 1]
        journal.pass_canary(campaign)
        assert do(journal.idle_chunks(campaign.id, [], 10)) == [0, 1, 2]
        assert do(journal.idle_chunks(campaign.id, [1], 1)) == [0]
