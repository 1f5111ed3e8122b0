"""What events prove is settled in the journals of both stores, and nothing is sent again against it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bulksend.errors import JournalError
from bulksend.event import EventType, Suppression, SuppressionReason
from bulksend.journal import Journal, SqliteEvents, patience
from bulksend.journal.events import Evidence
from bulksend.journal.evidence import Paired, Proved
from bulksend.model import (
    Batch,
    BatchKind,
    Campaign,
    CampaignState,
    EntryOutcome,
    EntryReport,
    Halt,
    Settlement,
    SettlementVerdict,
    Verdict,
    Withheld,
)
from bulksend.worker.suppression import SuppressionScreen
from tests.integration.test_conservation import planned
from tests.integration.test_journals import DOUBT, LATER, OK, at_work, batch, begun, intended

FAILED = EventType.RENDERING_FAILURE
OTHER = EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id="other")

Open = Callable[[], Journal]


@pytest.fixture
def journal(reopen: Open) -> Journal:
    return reopen()


class Heard:
    """Events of a campaign, by row; it remembers what it was asked."""

    def __init__(self, *evidence: Evidence) -> None:
        self.evidence = evidence
        self.asked: list[list[int]] = []

    def __call__(self, campaign_id: str, rows: Collection[int]) -> Sequence[Evidence]:
        assert campaign_id == "c" * 26
        self.asked.append(sorted(rows))
        return [one for one in self.evidence if one.row in rows]


def retry(campaign: Campaign, indices: list[int]) -> Batch:
    return replace(batch(campaign.id, indices), kind=BatchKind.RETRY)


def reports(journal: Journal, campaign: Campaign) -> list[EntryReport]:
    return [report for report in journal.reports(campaign) if report.attempts]


def sent(row: int, name: str = "m1") -> Evidence:
    return Evidence(row, name, 5.0)


def failed(row: int, name: str = "m1") -> Evidence:
    return Evidence(row, name, 5.0, FAILED, "Attribute 'name' is not present")


def settle(journal: Journal, campaign: Campaign, *evidence: Evidence) -> Proved:
    """As whoever reads events does; rows are places and one, in the first chunk."""
    return journal.settle_by_events(campaign, 0, evidence, {one.row: one.row - 1 for one in evidence})


def test_first_attempts_ask_for_no_events(journal: Journal) -> None:
    campaign, heard = planned(journal), Heard(sent(1))
    journal.evidence = heard
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(intended(journal, batch(campaign.id, [0, 1])))
    assert heard.asked == []


def test_nothing_is_tried_again_that_an_event_proves(journal: Journal, reopen: Open) -> None:
    """The event is recorded, and nobody has settled it yet."""
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1, 2]))), [LATER, LATER, LATER]))
        journal.evidence = heard = Heard(sent(1), failed(2, "m2"))
        assert run(intended(journal, retry(campaign, [0, 1, 2]))).batch.indices == [2]
        assert heard.asked == [[1, 2, 3]]
        assert run(journal.intend(retry(campaign, [0, 1]))) is Withheld.SETTLED
    found = reports(reopen(), campaign)
    assert [(one.status, one.message_id) for one in found[:2]] == [("SETTLED", "m1"), ("RENDERING_FAILURE", "m2")]


class Away(Heard):
    """The store of events is away for a while."""

    def __init__(self, *evidence: Evidence, failures: int, is_outage: bool) -> None:
        super().__init__(*evidence)
        self.failures = failures
        self.is_outage = is_outage

    def __call__(self, campaign_id: str, rows: Collection[int]) -> Sequence[Evidence]:
        if self.failures:
            self.failures -= 1
            error = JournalError("events cannot be read")
            error.is_outage = self.is_outage
            raise error
        return super().__call__(campaign_id, rows)


@pytest.mark.parametrize(("failures", "is_outage"), [(3, False), (patience.MOST_TRIES + 9, True)])
def test_a_store_of_events_that_is_away_is_waited_for(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, failures: int, *, is_outage: bool
) -> None:
    monkeypatch.setattr(patience, "AGAIN_S", 0.0)
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1]))), [LATER, DOUBT]))
        journal.evidence = heard = Away(sent(1), failures=failures, is_outage=is_outage)
        assert run(journal.intend(retry(campaign, [0]))) is Withheld.SETTLED
        heard.failures = failures
        assert run(journal.decide(campaign.id, 0, [], {2: 1})) == []
        assert (heard.failures, heard.asked) == (0, [[1], [2]])
        journal.evidence = Away(failures=patience.MOST_TRIES, is_outage=False)
        with pytest.raises(JournalError):
            run(journal.decide(campaign.id, 0, [], {2: 1}))


def test_an_outage_is_waited_for_when_a_chunk_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AGAIN_S", 0.0)
    events = SqliteEvents(tmp_path / "events.db")
    assert events.suppress([Suppression("a@example.com", SuppressionReason.BOUNCE, "", 5.0)]) == 1
    real, left = events.suppressed, patience.MOST_TRIES + 9

    def away(addresses: Collection[str]) -> dict[str, SuppressionReason]:
        nonlocal left
        if left:
            left -= 1
            error = JournalError("suppressions cannot be read")
            error.is_outage = True
            raise error
        return real(addresses)

    async def keys(_: int) -> list[tuple[int, str]]:
        return [(0, "a@example.com"), (1, "b@example.com")]

    monkeypatch.setattr(events, "suppressed", away)
    reasons = asyncio.run(SuppressionScreen(events, keys, 1).opened(0))
    assert (list(reasons), left) == ([0], 0)


def test_a_policy_does_not_resend_what_an_event_proves(journal: Journal) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        intent = run(intended(journal, batch(campaign.id, [0, 1])))
        run(journal.settle(intent, [DOUBT, DOUBT]))
        journal.evidence = Heard(sent(2))
        resend = [Settlement(intent.attempt_id, i, SettlementVerdict.RESEND, "policy", 9.0) for i in (0, 1)]
        assert run(journal.decide(campaign.id, 0, resend, {1: 0, 2: 1})) == resend[:1]
        tally = journal.tally(campaign)
    assert (tally.accepted, tally.in_doubt, tally.adds_up) == (1, 0, True)


def test_a_late_event_of_the_first_mail_does_not_hold_the_second_back(journal: Journal) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0]))), [DOUBT]))
        assert settle(journal, campaign, failed(1)) == Proved(refused=1)
        (dead,) = reports(journal, campaign)
        assert (dead.status, dead.reason) == ("RENDERING_FAILURE", "Attribute 'name' is not present")
        assert journal.decide_entries(campaign, [(dead, SettlementVerdict.RETURNED)], "the template is mended") == 1
        journal.evidence = Heard(sent(1), failed(1))
        assert run(intended(journal, retry(campaign, [0]))).batch.indices == [0]


def test_what_an_event_settles_while_the_campaign_is_sent_is_heeded(journal: Journal, reopen: Open) -> None:
    """Another process settles; what it accepts and refuses is not sent, what a person returns since is."""
    campaign, other = planned(journal), reopen()
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1, 2]))), [LATER] * 3))
        assert settle(other, campaign, sent(1), failed(2, "m2"), failed(3, "m3")) == Proved(1, 2)
        (third,) = [one for one in reports(other, campaign) if one.index == 2]
        assert other.decide_entries(campaign, [(third, SettlementVerdict.RETURNED)], "once more") == 1
        assert run(intended(journal, retry(campaign, [0, 1, 2]))).batch.indices == [2]


def test_settling_twice_changes_nothing(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1]))), [DOUBT, OK]))
        flying = run(intended(journal, batch(campaign.id, [2])))
        assert settle(journal, campaign, sent(1), failed(2, "m"), sent(3, "m3")) == Proved(1, 1)
        assert settle(reopen(), campaign, sent(1), failed(2, "m"), sent(3, "m3")) == Proved()
        tally = journal.tally(campaign)
        assert (tally.accepted, tally.dead, tally.in_flight, tally.contradictions) == (1, 1, 1, 0)
        run(journal.settle(flying, [DOUBT]))
        assert settle(journal, campaign, sent(3, "m3")) == Proved(1), "it had come before the answer"
    first, second, third = reports(journal, campaign)
    assert (first.status, first.message_id) == ("SETTLED", "m1")
    assert first.reason == "SES reported mail m1 at 1970-01-01 00:00:05 UTC"
    assert (second.status, second.message_id, third.message_id) == ("RENDERING_FAILURE", "m", "m3")
    assert journal.tally(campaign).adds_up


def test_doubt_that_events_have_settled_stays_known(journal: Journal) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1, 2]))), [DOUBT, OK, DOUBT]))
        (chunk,) = journal.doubted_chunks(campaign)
        assert (chunk.number, chunk.settled_for_good) == (0, False)
        assert journal.doubted_places(campaign, 0) == [0, 2]
        settle(journal, campaign, sent(1))
        assert journal.doubted_places(campaign, 0) == [2]


def test_the_age_of_doubt_is_counted(journal: Journal) -> None:
    campaign = planned(journal)
    census = journal.census()
    with at_work(journal) as run:
        run(begun(journal, campaign))
        assert census.count(1).doubt_since == {}
        first = run(intended(journal, batch(campaign.id, [0])))
        second = run(intended(journal, batch(campaign.id, [1])))
        run(journal.settle(first, [DOUBT]))
        run(journal.settle(second, [DOUBT]))
        assert census.count(1).doubt_since == {"any": first.at}
        assert journal.tally(campaign).doubt_since == first.at
        settle(journal, campaign, sent(1))
        assert census.count(1).doubt_since == {"any": second.at}
        assert journal.tally(campaign).doubt_since == second.at


def test_pruning_leaves_status_and_message_id(journal: Journal) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        run(journal.settle(run(intended(journal, batch(campaign.id, [0, 1]))), [DOUBT, DOUBT]))
    rejected = replace(failed(2, "m2"), refused=EventType.REJECT, reason="Bad content: virus for bea@example.com")
    settle(journal, campaign, failed(1), rejected)
    journal.forget_address("bea@example.com")
    first, second = reports(journal, campaign)
    assert (first.status, second.status, first.reason, second.reason) == (
        "RENDERING_FAILURE",
        "REJECT",
        "Attribute 'name' is not present",
        "",
    )
    journal.prune(campaign)
    first, second = reports(journal, campaign)
    assert (first.status, second.status, first.reason, first.message_id) == ("RENDERING_FAILURE", "REJECT", "", "m1")


def test_mails_are_compared_with_answers(journal: Journal) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        intent = run(intended(journal, batch(campaign.id, [0, 1, 2])))
        run(journal.settle(intent, [OK, OTHER, DOUBT]))
        assert journal.paired(campaign, 0, {0: {"m"}, 1: {"other"}, 2: {"unheard"}}) == Paired(2)
        assert journal.paired(campaign, 0, {0: {"other"}, 1: {"m"}}) == Paired(0, 2, intent.at)


def test_a_campaign_that_is_being_sent_is_halted_by_whoever_finds_it_at_fault(journal: Journal, reopen: Open) -> None:
    campaign, halt = planned(journal), Halt("mails are another's", "look")
    assert not journal.halt(campaign, halt), "nobody sends it"
    with at_work(journal) as run:
        run(begun(journal, campaign))
        assert reopen().halt(campaign, halt)
        assert run(journal.intend(batch(campaign.id, [0]))) is Withheld.STOPPED
        assert run(journal.campaign_state(campaign.id)) is CampaignState.HALTED
    assert reopen().campaign("any").halt == halt
