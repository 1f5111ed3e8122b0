"""One suite for the journals of both stores: what is intended, answered, decided and read back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bulksend.errors import CampaignBusyError, CampaignUnknownError, NameTakenError
from bulksend.facts import ChunkStanding, EntryStanding
from bulksend.journal import Journal, SqliteJournal
from bulksend.ledger import Ledger
from bulksend.model import (
    AllAccepted,
    Batch,
    BatchKind,
    Campaign,
    CampaignState,
    EntryOutcome,
    EntryState,
    Halt,
    HaltScope,
    Intent,
    Policy,
    Settlement,
    SettlementVerdict,
    SkipReason,
    Verdict,
    Withheld,
)
from bulksend.safety import Safety
from bulksend.schedule import Schedule, Window
from tests.integration.test_conservation import EACH, ENTRIES, planned
from tests.ses_in_memory import ListInMemory

OK = EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id="m")
DEAD = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "no")
DOUBT = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "reset")
LATER = EntryOutcome(Verdict.TRANSIENT, "TRANSIENT_FAILURE", "busy", due_at=1234.5)

Open = Callable[[], Journal]


@pytest.fixture
def journal(reopen: Open) -> Journal:
    return reopen()


def batch(campaign_id: str, indices: list[int], chunk: int = 0) -> Batch:
    return Batch(campaign_id, ListInMemory(3, EACH).read(chunk), indices, len(indices), BatchKind.FIRST, 1)


@contextmanager
def at_work(journal: Journal) -> Iterator[Callable[[Awaitable[Any]], Any]]:
    """Inside `sending()`, with a loop to run coroutines in."""
    with journal.sending(), asyncio.Runner() as runner:

        async def waited(coroutine: Awaitable[Any]) -> Any:
            return await coroutine

        yield lambda coroutine: runner.run(waited(coroutine))


async def begun(journal: Journal, campaign: Campaign, *chunks: int) -> list[Ledger]:
    """The campaign is being sent, and these chunks are ours."""
    assert await journal.set_state(campaign.id, CampaignState.SENDING)
    ledgers = [await journal.open_chunk(campaign.id, number) for number in chunks or (0,)]
    assert None not in ledgers
    return [ledger for ledger in ledgers if ledger is not None]


async def intended(journal: Journal, asked: Batch) -> Intent:
    intent = await journal.intend(asked)
    assert isinstance(intent, Intent), intent
    return intent


def test_a_campaign_comes_back_as_it_was(journal: Journal) -> None:
    campaign = planned(journal)
    assert journal.campaign("any") == campaign
    assert journal.campaigns() == [campaign]
    with pytest.raises(CampaignUnknownError, match="'other'"):
        journal.campaign("other")


def test_terms_may_change(journal: Journal) -> None:
    campaign = planned(journal)
    schedule = Schedule(4.0, 1_800_000_000.0, Window.parse("09:00-18:00 Europe/Paris"))
    journal.set_terms(campaign, Policy(resend_in_doubt=False, max_attempts=9), schedule, Safety())
    found = journal.campaign("any")
    assert (found.policy.max_attempts, found.schedule) == (9, schedule)


def test_a_name_is_taken_once(journal: Journal, reopen: Open) -> None:
    planned(journal)
    with pytest.raises(NameTakenError):
        planned(reopen())
    assert len(journal.campaigns()) == 1


def test_intend_settle_replay(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        first = await intended(journal, batch(campaign.id, [0, 1, 2, 3]))
        second = await intended(journal, batch(campaign.id, [5, 7]))
        assert second.attempt_id > first.attempt_id
        await journal.settle(first, [OK, DEAD, LATER, DOUBT])
        await journal.settle(first, [OK, OK, OK, OK])
        assert not await journal.close_chunk(campaign.id, 0)

    with journal.sending():
        asyncio.run(main())
        tally = journal.tally(campaign)
        assert (tally.accepted, tally.dead, tally.in_doubt, tally.in_flight) == (1, 1, 1, 2)
        assert tally.adds_up


def test_attempts_of_the_dead_are_in_doubt(journal: Journal, reopen: Open) -> None:
    """The lease of a dead worker on PostgreSQL has to run out first: tests/integration/test_postgres_journal.py."""
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        await journal.settle(await intended(journal, batch(campaign.id, [0, 1])), [OK, LATER])
        await intended(journal, batch(campaign.id, [5, 7]))
        await journal.leave_chunk(campaign.id, 0, None)

    with journal.sending():
        asyncio.run(main())
    tally = journal.tally(campaign)
    assert (tally.accepted, tally.in_doubt, tally.in_flight, tally.pending) == (1, 2, 0, ENTRIES - 3)
    another = reopen()

    async def looks() -> None:
        (ledger,) = await begun(another, campaign)
        assert list(ledger.states[:8]) == [2, 0, 0, 0, 0, 4, 0, 4]
        assert ledger.histories[1].due_at == 1234.5

    with another.sending():
        asyncio.run(looks())


def test_a_census_tells_campaigns_chunks_and_what_may_be_sent(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    census = reopen().census()
    planned_only = census.count(4)
    assert (planned_only.workers, planned_only.sendable) == (4, 0)
    assert planned_only.entries["any"][EntryStanding.PENDING] == ENTRIES
    assert planned_only.campaigns[CampaignState.PLANNED] == 1
    on_lease = 0 if isinstance(journal, SqliteJournal) else 1

    async def main() -> None:
        await begun(journal, campaign)
        await journal.settle(await intended(journal, batch(campaign.id, [0, 1, 2, 3])), [OK, DEAD, LATER, DOUBT])
        await intended(journal, batch(campaign.id, [5, 7]))
        found = census.count(1)
        assert found.sendable == ENTRIES - 5
        expected = dict(zip(EntryStanding, (ENTRIES - 6, 1, 2, 1, 1, 1), strict=True))
        assert found.entries == {"any": expected}
        chunks = dict.fromkeys(ChunkStanding, 0) | {ChunkStanding.WAITING: 3 - on_lease}
        assert found.chunks == chunks | ({ChunkStanding.LEASED: 1} if on_lease else {})

    with journal.sending():
        asyncio.run(main())


def test_a_census_of_what_is_over_tells_what_is_in_doubt_until_it_is_decided(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    census = reopen().census()

    async def main() -> None:
        await begun(journal, campaign, 0, 1, 2)
        for number in range(3):
            doubts = [DOUBT, DOUBT] if number == 1 else []
            outcomes = doubts + [OK] * (EACH - len(doubts))
            intent = await intended(journal, batch(campaign.id, list(range(EACH)), number))
            await journal.settle(intent, outcomes)
            assert await journal.close_chunk(campaign.id, number)
            assert census.count(1).entries["any"][EntryStanding.IN_DOUBT] == (2 if number else 0)
        assert await journal.set_state(campaign.id, CampaignState.FINISHED)

    with journal.sending():
        asyncio.run(main())
    for looked in (census, reopen().census(), census):
        assert looked.count(1).entries == {"any": {EntryStanding.IN_DOUBT: 2}}
    doubtful = [report for report in journal.reports(campaign) if report.state is EntryState.IN_DOUBT]
    journal.decide_entries(campaign, [(doubtful[0], SettlementVerdict.ACCEPTED)], "seen")
    assert census.count(1).entries == {"any": {EntryStanding.IN_DOUBT: 1}}
    journal.decide_entries(campaign, [(doubtful[1], SettlementVerdict.DROP)], "not seen")
    assert census.count(1).entries == {}
    assert census.count(1).entries == {}


def test_a_census_counts_anew_what_has_changed_since(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    census = reopen().census()

    def standing(of: EntryStanding) -> int:
        return census.count(1).entries["any"].get(of, 0)

    async def main() -> None:
        await begun(journal, campaign)
        await journal.settle(await intended(journal, batch(campaign.id, [0, 1])), [OK, DOUBT])
        assert standing(EntryStanding.ACCEPTED) == 1
        rest = list(range(2, EACH))
        await journal.settle(await intended(journal, batch(campaign.id, rest)), [OK] * len(rest))
        assert standing(EntryStanding.ACCEPTED) == EACH - 1
        assert await journal.close_chunk(campaign.id, 0)
        assert standing(EntryStanding.IN_DOUBT) == 1

    with journal.sending():
        asyncio.run(main())
    (doubtful,) = [report for report in journal.reports(campaign) if report.state is EntryState.IN_DOUBT]
    journal.decide_entries(campaign, [(doubtful, SettlementVerdict.ACCEPTED)], "seen")
    assert standing(EntryStanding.IN_DOUBT) == 0
    assert standing(EntryStanding.ACCEPTED) == EACH


def test_a_census_looks_again_at_what_is_over_when_it_was_sent_again(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    census = reopen().census()

    async def main(outcome: EntryOutcome) -> None:
        for number in await journal.open_chunks(campaign.id):
            (ledger,) = await begun(journal, campaign, number)
            pending = [i for i in range(EACH) if ledger.states[i] == EntryState.PENDING]
            await journal.settle(await intended(journal, batch(campaign.id, pending, number)), [outcome] * len(pending))
            assert await journal.close_chunk(campaign.id, number)
        assert await journal.set_state(campaign.id, CampaignState.FINISHED)

    with journal.sending():
        asyncio.run(main(DEAD))
    assert census.count(1).entries == {}
    first = next(iter(journal.reports(campaign)))
    journal.decide_entries(campaign, [(first, SettlementVerdict.RETURNED)], "once more")
    with journal.sending():
        asyncio.run(main(DOUBT))
    assert census.count(1).entries == {"any": {EntryStanding.IN_DOUBT: 1}}


def test_an_answer_that_is_all_success(journal: Journal) -> None:
    campaign = planned(journal)
    ids = ["010f018e", 'a"b\\c', "with,comma", "{}", ""]

    async def main() -> None:
        await begun(journal, campaign)
        await journal.settle(await intended(journal, batch(campaign.id, [0, 1, 2, 3, 4])), AllAccepted(ids))

    with journal.sending():
        asyncio.run(main())
    assert [r.message_id for r in journal.reports(campaign)][:5] == ids
    assert journal.tally(campaign).accepted == 5


def test_texts_of_any_kind_come_back(journal: Journal) -> None:
    campaign = planned(journal)
    texts = ["back\\slash", 'quo"te', "nul\0byte", "emoji 🎉", "{curly}, [square]", "line\nend", "NULL", "%s ?"]

    async def main() -> None:
        await begun(journal, campaign)
        intent = await intended(journal, batch(campaign.id, list(range(len(texts)))))
        await journal.settle(intent, [EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", text) for text in texts])

    with journal.sending():
        asyncio.run(main())
    reasons = [report.reason for report in journal.reports(campaign)][: len(texts)]
    assert reasons == [text.replace("\0", "\ufffd") for text in texts]


def test_reports_tell_everything(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        for outcomes in ([LATER, OK], [DEAD]):
            intent = await intended(journal, batch(campaign.id, [0, 1] if len(outcomes) == 2 else [0]))
            await journal.settle(intent, outcomes)

    with journal.sending():
        asyncio.run(main())
    first, second, third, *_ = journal.reports(campaign)
    assert (first.state, first.status, first.reason, first.attempts) == (EntryState.DEAD, "MESSAGE_REJECTED", "no", 2)
    assert (second.state, second.message_id, second.attempts) == (EntryState.ACCEPTED, "m", 1)
    assert (third.state, third.attempts, third.at) == (EntryState.PENDING, 0, None)
    assert len(list(journal.reports(campaign))) == ENTRIES


def test_evidence_that_came_meanwhile_narrows_an_intent(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    person = reopen()

    async def main() -> None:
        await begun(journal, campaign)
        sent = await intended(journal, batch(campaign.id, [0, 1, 2]))
        await journal.settle(sent, [LATER, LATER, OK])
        reports = list(person.reports(campaign))
        assert person.decide_entries(campaign, [(reports[0], SettlementVerdict.ACCEPTED)], "an event") == 1
        narrowed = await intended(journal, batch(campaign.id, [0, 1]))
        assert list(narrowed.batch.indices) == [1]
        assert narrowed.batch.recipients == 1
        assert await journal.intend(batch(campaign.id, [0])) is Withheld.SETTLED

    with journal.sending():
        asyncio.run(main())
    assert journal.tally(campaign).contradictions == 0


@pytest.mark.parametrize("state", [CampaignState.PAUSED, CampaignState.CANCELLED])
def test_somebody_stops_the_campaign(journal: Journal, reopen: Open, state: CampaignState) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        await intended(journal, batch(campaign.id, [0]))
        assert reopen().ask_for(campaign, state) is state
        assert await journal.intend(batch(campaign.id, [1])) is Withheld.STOPPED
        assert await journal.campaign_state(campaign.id) is state

    with journal.sending():
        asyncio.run(main())


def test_what_is_over_is_not_asked_for(journal: Journal) -> None:
    campaign = planned(journal)
    assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.QUEUED
    assert journal.ask_for(campaign, CampaignState.PAUSED) is CampaignState.PAUSED
    assert journal.ask_for(campaign, CampaignState.CANCELLED) is CampaignState.CANCELLED
    assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.CANCELLED
    with journal.sending():
        assert not asyncio.run(journal.set_state(campaign.id, CampaignState.SENDING))
    tally = journal.tally(journal.campaign("any"))
    assert tally.skipped[SkipReason.CANCELLED] == ENTRIES
    assert tally.adds_up


def test_what_is_being_sent_is_not_queued_and_only_what_is_queued_is_begun(journal: Journal) -> None:
    campaign = planned(journal)
    worker = (CampaignState.QUEUED, CampaignState.SENDING)

    async def main() -> None:
        assert not await journal.set_state(campaign.id, CampaignState.SENDING, only_from=worker)
        assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.QUEUED
        assert await journal.set_state(campaign.id, CampaignState.SENDING, only_from=worker)
        assert journal.ask_for(campaign, CampaignState.QUEUED) is CampaignState.SENDING
        assert not await journal.set_state(campaign.id, CampaignState.FINISHED)

    with journal.sending():
        asyncio.run(main())


def test_settling_is_once_and_resend_opens_the_chunk_again(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        intent = await intended(journal, batch(campaign.id, list(range(EACH))))
        await journal.settle(intent, [DOUBT] * EACH)
        assert await journal.close_chunk(campaign.id, 0)
        assert await journal.open_chunks(campaign.id) == [1, 2]

    with journal.sending():
        asyncio.run(main())
    reports = [r for r in journal.reports(campaign) if r.state is EntryState.IN_DOUBT]
    decisions = [(r, SettlementVerdict.RESEND) for r in reports[:3]] + [(reports[3], SettlementVerdict.DROP)]
    assert journal.decide_entries(campaign, decisions, "looked") == 4
    assert journal.decide_entries(campaign, decisions, "looked again") == 0
    tally = journal.tally(campaign)
    assert (tally.in_doubt, tally.dead, tally.pending) == (EACH - 4, 1, ENTRIES - EACH + 3)
    with journal.sending():
        assert asyncio.run(journal.open_chunks(campaign.id)) == [0, 1, 2]


def test_policy_decides_only_what_is_in_doubt_still(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        intent = await intended(journal, batch(campaign.id, [0, 1, 2]))
        await journal.settle(intent, [DOUBT, OK, DEAD])
        wanted = [Settlement(intent.attempt_id, i, SettlementVerdict.RESEND, "policy", 1.0) for i in (0, 1, 2)]
        assert await journal.decide(campaign.id, 0, wanted) == wanted[:1]
        assert await journal.decide(campaign.id, 0, wanted) == []
        returned = [Settlement(intent.attempt_id, i, SettlementVerdict.RETURNED, "streak", 1.0) for i in (1, 2)]
        assert await journal.decide(campaign.id, 0, returned) == returned[1:]

    with journal.sending():
        asyncio.run(main())
    tally = journal.tally(campaign)
    assert (tally.accepted, tally.dead, tally.in_doubt, tally.pending) == (1, 0, 0, ENTRIES - 1)


def test_the_end_of_a_run_is_kept(journal: Journal) -> None:
    campaign = planned(journal)
    halt = Halt("a reason", "a remedy", HaltScope.ACCOUNT)
    with journal.sending():
        asyncio.run(journal.set_state(campaign.id, CampaignState.HALTED, halt))
    assert journal.campaign("any").halt == halt


def finish(journal: Journal, campaign: Campaign) -> None:
    """Everything is answered."""

    async def main() -> None:
        await begun(journal, campaign, 0, 1, 2)
        for number in range(3):
            intent = await intended(journal, batch(campaign.id, list(range(EACH)), number))
            await journal.settle(intent, [DOUBT, DEAD, *[OK] * (EACH - 2)])
            assert await journal.close_chunk(campaign.id, number)
        assert await journal.set_state(campaign.id, CampaignState.FINISHED)

    with journal.sending():
        asyncio.run(main())


def test_a_new_policy_opens_doubts_again(journal: Journal) -> None:
    campaign = planned(journal)
    finish(journal, campaign)
    journal.set_terms(campaign, Policy(resend_in_doubt=True), Schedule(), Safety())
    assert journal.campaign("any").state is CampaignState.PLANNED
    assert journal.campaign("any").policy.resend_in_doubt


def test_what_was_removed_is_not_sent_again(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        intent = await intended(journal, batch(campaign.id, [0, 1]))
        named = EntryOutcome(Verdict.DEAD, "MESSAGE_REJECTED", "Ada@Example.com is not good")
        await journal.settle(intent, [named, DOUBT])
        await journal.leave_chunk(campaign.id, 0, None)

    with journal.sending():
        asyncio.run(main())
    journal.ask_for(campaign, CampaignState.PAUSED)
    journal.announce_snapshot("other")
    with journal.alone():
        dropped = journal.forget_entries(
            campaign, {0: [0, 1, 3, 9], 2: [4]}, snapshot="other", size_bytes=7, sha256="ab"
        )
        journal.forget_address("ada@example.com")
        journal.clear_free_space()
    assert dropped == 3
    assert journal.forgotten(campaign) == {(0, 0), (0, 1), (0, 3), (0, 9), (2, 4)}
    assert (journal.campaign("any").snapshot, journal.campaign("any").snapshot_bytes) == ("other", 7)
    reports = list(journal.reports(campaign))
    assert reports[0].reason == ""
    assert [(r.status, r.state) for r in reports if r.chunk == 0 and r.index in (3, 9)] == [
        ("FORGOTTEN", EntryState.DEAD)
    ] * 2
    decisions = [(reports[0], SettlementVerdict.RETURNED), (reports[1], SettlementVerdict.RESEND)]
    assert journal.decide_entries(campaign, decisions, "a person") == 0
    assert journal.tally(campaign).adds_up


def test_a_pruned_campaign_keeps_its_numbers_and_no_text(journal: Journal) -> None:
    campaign = planned(journal)
    finish(journal, campaign)
    with journal.sending():
        halt = Halt("ada@example.com was refused", "look")
        asyncio.run(journal.set_state(campaign.id, CampaignState.HALTED, halt))
    assert journal.snapshots_in_use() == {""}
    with journal.alone():
        journal.prune(campaign)
    at = journal.pruned_at(campaign)
    assert at is not None
    with journal.alone():
        journal.prune(campaign)
    assert journal.pruned_at(campaign) == at, "a second time changes nothing"
    assert journal.snapshots_in_use() == set()
    assert {report.reason for report in journal.reports(campaign)} == {""}
    kept = journal.campaign("any").halt
    assert kept is not None
    assert "ada" not in kept.reason
    assert journal.tally(campaign).dead == 3


def test_whoever_plans_and_whoever_removes_lists_keep_out_of_each_other_s_way(journal: Journal, reopen: Open) -> None:
    with journal.plans(alone=False) as one, reopen().plans(alone=False) as two:
        assert (one, two) == (True, True)
        with reopen().plans(alone=True) as three:
            assert not three
    with journal.plans(alone=True) as one:
        assert one
        with reopen().plans(alone=True) as two:
            assert not two
    with journal.plans(alone=True) as one:
        assert one


def test_nobody_removes_anything_while_somebody_sends(journal: Journal, reopen: Open) -> None:
    campaign = planned(journal)
    with at_work(journal) as run:
        run(begun(journal, campaign))
        with pytest.raises(CampaignBusyError), reopen().alone():
            pass
        run(journal.leave_chunk(campaign.id, 0, None))
    journal.ask_for(campaign, CampaignState.PAUSED)
    with reopen().alone():
        pass


def test_the_view_unfolds_batches_to_recipients(journal: Journal) -> None:
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign)
        for indices, outcomes in (([0, 1, 2], [OK, DEAD, LATER]), ([4, 7], None)):
            intent = await intended(journal, batch(campaign.id, indices))
            if outcomes is not None:
                await journal.settle(intent, outcomes)

    with journal.sending():
        asyncio.run(main())
    with journal.reading() as db:
        rows = db.execute(
            "SELECT place, verdict, status, reason, message_id FROM entry_attempt ORDER BY place"
        ).fetchall()
    assert rows == [
        (0, "accepted", "SUCCESS", None, "m"),
        (1, "dead", "MESSAGE_REJECTED", "no", None),
        (2, "transient", "TRANSIENT_FAILURE", "busy", None),
        (4, "unanswered", None, None, None),
        (7, "unanswered", None, None, None),
    ]


def test_what_counts_against_the_day(journal: Journal) -> None:
    campaign = planned(journal)
    since = journal.now()

    async def main() -> None:
        await begun(journal, campaign)
        intent = await intended(journal, batch(campaign.id, [0, 1, 2, 3]))
        await journal.settle(intent, [OK, DEAD, LATER, DOUBT])
        await intended(journal, batch(campaign.id, [5, 6]))

    with journal.sending():
        asyncio.run(main())
    ((minute, recipients), *more) = journal.sent_by_minute("123456789012", "eu-west-1", since - 60.0)
    assert since - 60.0 <= minute <= since
    assert recipients + sum(count for _, count in more) == 4
    assert journal.sent_by_minute("123456789012", "eu-west-1", since + 3600.0) == []
    assert journal.sent_by_minute("another", "eu-west-1", 0.0) == []
