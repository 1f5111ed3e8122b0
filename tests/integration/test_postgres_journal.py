"""What only the journal on PostgreSQL has: leases and epochs, late answers, a database that goes away or is another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from bulksend.errors import BulksendError, JournalError
from bulksend.facts import ChunkStanding, EntryStanding
from bulksend.journal import Census, open_postgres
from bulksend.journal.postgres import PostgresJournal
from bulksend.journal.postgres_server import PgDatabase
from bulksend.ledger import Ledger
from bulksend.model import Campaign, CampaignState, EntryState, Intent, Settlement, SettlementVerdict, Withheld
from bulksend.worker.migrating import migrate_database
from tests.integration.test_conservation import EACH, ENTRIES, planned
from tests.integration.test_journals import DOUBT, LATER, OK, batch, begun, intended
from tests.postgres import Postgres, database, rows

LEASE_S = 1.0


class Worker:
    """A process's journal, with a loop to run its coroutines in."""

    def __init__(self, journal: PostgresJournal, runner: asyncio.Runner) -> None:
        self.journal = journal
        self._runner = runner

    def __call__(self, coroutine: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await coroutine

        return self._runner.run(waited())


@contextmanager
def worker(url: str, lease_s: float = LEASE_S) -> Iterator[Worker]:
    journal = open_postgres(url, lease_s=lease_s)
    with journal.sending(), asyncio.Runner() as runner:
        yield Worker(journal, runner)


def sending(url: str) -> Campaign:
    journal = open_postgres(url)
    campaign = planned(journal)
    with journal.sending():
        assert asyncio.run(journal.set_state(campaign.id, CampaignState.SENDING))
    return campaign


def lapse(url: str) -> None:
    """Every lease runs out now, as after a long time."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE chunk SET leased_until = store_now() - 1 WHERE leased_until IS NOT NULL")


def state_of(ledger: Ledger, *places: int) -> list[EntryState]:
    return [EntryState(ledger.states[i]) for i in places]


def test_a_chunk_is_one_worker_s_until_its_lease_runs_out(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url) as first, worker(database_url) as second:
        assert first(first.journal.open_chunk(campaign.id, 0)) is not None
        assert second(second.journal.open_chunk(campaign.id, 0)) is None
        assert second(second.journal.open_chunk(campaign.id, 1)) is not None
        assert second(second.journal.idle_chunks(campaign.id, [], 10)) == [2]
        lapse(database_url)
        assert second(second.journal.open_chunk(campaign.id, 0)) is not None
        assert first(first.journal.renew()) == set()
        assert second(second.journal.renew()) == {(campaign.id, 0)}, "a lease that ran out is not renewed"


def test_nothing_is_intended_under_an_old_epoch_or_without_a_lease(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url) as first, worker(database_url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        first(first.journal.open_chunk(campaign.id, 1))
        sent = first(intended(first.journal, batch(campaign.id, [0, 1])))
        lapse(database_url)
        assert first(first.journal.intend(batch(campaign.id, [0], 1))) is Withheld.LOST
        ledger = second(second.journal.open_chunk(campaign.id, 0))
        assert state_of(ledger, 0, 1, 2) == [EntryState.IN_DOUBT, EntryState.IN_DOUBT, EntryState.PENDING]
        assert first(first.journal.intend(batch(campaign.id, [2]))) is Withheld.LOST
        assert first(first.journal.intend(batch(campaign.id, [3]))) is Withheld.LOST, "nor later on"
        taken = second(intended(second.journal, batch(campaign.id, [2, 3])))
        assert taken.attempt_id > sent.attempt_id
        first(first.journal.settle(sent, [OK, OK]))
        lapse(database_url)
        assert first(first.journal.open_chunk(campaign.id, 0)) is not None
        first(intended(first.journal, batch(campaign.id, [4])))
        assert [epoch for (epoch,) in rows(database_url, "SELECT epoch FROM attempt ORDER BY id")] == [1, 2, 3]
    tally = open_postgres(database_url).tally(campaign)
    assert (tally.accepted, tally.contradictions) == (2, 0)


def test_an_intent_is_good_for_no_longer_than_the_lease(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url, lease_s=5.0) as first:
        began_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        first(first.journal.open_chunk(campaign.id, 0))
        intent: Intent = first(intended(first.journal, batch(campaign.id, [0])))
        assert began_s + 4.0 < intent.send_before_s < began_s + 8.0
        first(first.journal.renew())
        later: Intent = first(intended(first.journal, batch(campaign.id, [1])))
        assert later.send_before_s > intent.send_before_s


def answered_late(url: str, campaign: Campaign, outcome: Any) -> tuple[PostgresJournal, Census]:
    """One worker's answer comes when another has closed the chunk, and the campaign; somebody has counted them."""
    census = open_postgres(url).census()
    with worker(url) as first, worker(url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        sent = first(intended(first.journal, batch(campaign.id, [0, 1])))
        lapse(url)
        for number in range(3):
            second(second.journal.open_chunk(campaign.id, number))
            left = range(2 if number == 0 else 0, EACH)
            intent = second(intended(second.journal, batch(campaign.id, list(left), number)))
            second(second.journal.settle(intent, [OK] * len(left)))
            assert second(second.journal.close_chunk(campaign.id, number))
        assert census.count(1).entries["any"][EntryStanding.IN_DOUBT] == 2
        assert second(second.journal.set_state(campaign.id, CampaignState.FINISHED))
        assert census.count(1).entries == {"any": {EntryStanding.IN_DOUBT: 2}}
        first(first.journal.settle(sent, [OK, outcome]))
    return open_postgres(url), census


def test_an_acceptance_that_comes_late_settles_the_doubt(database_url: str) -> None:
    campaign = sending(database_url)
    journal, census = answered_late(database_url, campaign, OK)
    assert census.count(1).entries == {}
    tally = journal.tally(campaign)
    assert (tally.accepted, tally.in_doubt, tally.contradictions) == (ENTRIES, 0, 0)
    assert journal.campaign("any").state is CampaignState.FINISHED


def test_a_census_sees_what_comes_late_to_a_chunk_that_is_done(database_url: str) -> None:
    campaign = sending(database_url)
    census = open_postgres(database_url).census()
    with worker(database_url) as first, worker(database_url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        sent = first(intended(first.journal, batch(campaign.id, list(range(EACH)))))
        lapse(database_url)
        stalled = census.count(2).chunks
        assert (stalled[ChunkStanding.STALLED], stalled[ChunkStanding.WAITING]) == (1, 2)
        second(second.journal.open_chunk(campaign.id, 0))
        assert second(second.journal.close_chunk(campaign.id, 0))
        assert census.count(2).entries["any"][EntryStanding.IN_DOUBT] == EACH
        first(first.journal.settle(sent, [OK] * EACH))
        assert census.count(2).entries["any"][EntryStanding.ACCEPTED] == EACH


def test_a_retry_that_comes_late_opens_chunk_and_campaign_again(database_url: str) -> None:
    campaign = sending(database_url)
    journal, census = answered_late(database_url, campaign, LATER)
    found = census.count(1).entries["any"]
    assert (found[EntryStanding.RETRYING], found[EntryStanding.IN_DOUBT]) == (1, 0)
    assert journal.tally(campaign).pending == 1
    assert journal.campaign("any").state is CampaignState.QUEUED
    with journal.sending():
        assert asyncio.run(journal.open_chunks(campaign.id)) == [0]


def test_whoever_closes_a_chunk_sees_the_answer_that_comes_meanwhile(database_url: str) -> None:
    """The answer's transaction is held open while the chunk is being closed: neither may miss the other."""
    campaign = sending(database_url)
    with worker(database_url) as first, worker(database_url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        sent = first(intended(first.journal, batch(campaign.id, [0])))
        lapse(database_url)
        second(second.journal.open_chunk(campaign.id, 0))
        left = second(intended(second.journal, batch(campaign.id, list(range(1, EACH)))))
        second(second.journal.settle(left, [OK] * (EACH - 1)))
        with psycopg.connect(database_url) as other:
            other.execute("SELECT 1 FROM outcome")
            other.execute("LOCK TABLE outcome IN SHARE MODE")  # the answer waits in the middle of its transaction
            late = threading.Thread(target=lambda: first(first.journal.settle(sent, [LATER])))
            late.start()
            wait_until(database_url, "wait_event_type = 'Lock' AND query LIKE 'INSERT INTO outcome%'")
            closing: list[bool] = []
            closer = threading.Thread(target=lambda: closing.append(second(second.journal.close_chunk(campaign.id, 0))))
            closer.start()
            wait_until(database_url, "wait_event_type = 'Lock' AND query LIKE 'SELECT epoch FROM chunk%'")
        late.join(10.0)
        closer.join(10.0)
        assert closing == [False]
    assert open_postgres(database_url).tally(campaign).pending == ENTRIES - EACH + 1


def wait_until(url: str, condition: str) -> None:
    deadline_s = time.monotonic() + 10.0
    while not rows(url, f"SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND {condition}"):  # noqa: S608
        assert time.monotonic() < deadline_s, condition


def test_a_decision_of_a_person_and_an_intent_do_not_miss_each_other(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url) as first:
        first(first.journal.open_chunk(campaign.id, 0))
        sent = first(intended(first.journal, batch(campaign.id, [0, 1])))
        first(first.journal.settle(sent, [LATER, LATER]))
        person = open_postgres(database_url)
        report = next(iter(person.reports(campaign)))
        with person.deciding() as db:
            person._touch(db, campaign.id, [0])
            db.execute(
                "INSERT INTO settlement (attempt_id, place, verdict, evidence, at) VALUES (?, 0, 'accepted', '', 0)",
                (report.attempt_id,),
            )
            found: list[Any] = []
            asking = threading.Thread(
                target=lambda: found.append(first(first.journal.intend(batch(campaign.id, [0, 1]))))
            )
            asking.start()
            wait_until(database_url, "wait_event_type = 'Lock' AND query LIKE 'SELECT k.campaign_id%'")
        asking.join(10.0)
        assert list(found[0].batch.indices) == [1]


def test_what_waits_is_not_idle_before_it_is_due(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url) as one:
        now = one.journal.now()
        for number, until in ((0, now + 60.0), (1, now - 1.0), (2, None)):
            one(one.journal.open_chunk(campaign.id, number))
            one(one.journal.leave_chunk(campaign.id, number, until))
        assert one(one.journal.idle_chunks(campaign.id, [], 10)) == [1, 2]
        assert one(one.journal.idle_chunks(campaign.id, [1], 10)) == [2]
        assert one(one.journal.has_open_chunks(campaign.id))


def test_one_worker_at_a_time_reaps(database_url: str) -> None:
    with worker(database_url) as first, worker(database_url) as second:
        first(first.journal.submitted())
        second(second.journal.submitted())
        assert [first(first.journal.may_reap(60.0)), second(second.journal.may_reap(60.0))] == [True, False]


def test_resending_by_policy_needs_the_doubt_to_stand(database_url: str) -> None:
    """An answer that came late, from another worker, has decided it."""
    campaign = sending(database_url)
    with worker(database_url) as first, worker(database_url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        sent = first(intended(first.journal, batch(campaign.id, [0, 1])))
        lapse(database_url)
        ledger = second(second.journal.open_chunk(campaign.id, 0))
        assert state_of(ledger, 0) == [EntryState.IN_DOUBT]
        first(first.journal.settle(sent, [OK, DOUBT]))
        wanted = [Settlement(sent.attempt_id, i, SettlementVerdict.RESEND, "policy", 1.0) for i in (0, 1)]
        assert second(second.journal.decide(campaign.id, 0, wanted)) == wanted[1:]


# The database ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(_isolation: None) -> Iterator[Postgres]:
    """One that may be stopped."""
    with Postgres() as running:
        yield running


@pytest.fixture
def own_url(server: Postgres, request: pytest.FixtureRequest) -> Iterator[str]:
    with database(server.url, f"own_{abs(hash(request.node.name))}") as url:
        yield url


def test_while_the_database_is_away_intents_and_answers_wait(server: Postgres, own_url: str) -> None:
    campaign = sending(own_url)
    told: list[str] = []
    journal = open_postgres(own_url, lease_s=30.0)
    journal.on_trouble = told.append

    async def main() -> tuple[Any, Any]:
        await begun(journal, campaign)
        sent = await intended(journal, batch(campaign.id, [0, 1]))
        server.kill()
        answer = asyncio.ensure_future(journal.settle(sent, [OK, LATER]))
        more = asyncio.ensure_future(journal.intend(batch(campaign.id, [2, 3])))
        done, _ = await asyncio.wait([answer, more], timeout=0.7)
        assert not done
        assert told
        assert told[-1]
        await asyncio.to_thread(server.start)
        return sent, (await asyncio.gather(answer, more))[1]

    with journal.sending():
        sent, intent = asyncio.run(main())
    assert told[-1] == ""
    assert isinstance(intent, Intent)
    assert list(intent.batch.indices) == [2, 3]
    tally = open_postgres(own_url).tally(campaign)
    assert (tally.accepted, tally.contradictions) == (1, 0)
    ids = [found for (found,) in rows(own_url, "SELECT id FROM attempt ORDER BY id")]
    assert ids[0] == sent.attempt_id
    assert ids[-1] == intent.attempt_id


def test_a_lease_that_ran_out_while_the_database_was_away_is_lost(server: Postgres, own_url: str) -> None:
    campaign = sending(own_url)
    journal = open_postgres(own_url, lease_s=1.0)

    async def main() -> Any:
        await begun(journal, campaign)
        server.kill()
        asked = asyncio.ensure_future(journal.intend(batch(campaign.id, [0])))
        await asyncio.sleep(1.2)
        await asyncio.to_thread(server.start)
        return await asked

    with journal.sending():
        assert asyncio.run(main()) is Withheld.LOST
    assert open_postgres(own_url).tally(campaign).pending == ENTRIES


def test_an_intent_whose_commit_was_cut_off_counts_as_never_sent(
    server: Postgres, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost after the commit became durable, before anybody here heard of it."""
    campaign = sending(own_url)
    journal = open_postgres(own_url, lease_s=30.0)
    execute = PgDatabase.execute
    cut = 0

    def cutting(self: Any, statement: str, parameters: Any = (), /) -> Any:
        nonlocal cut
        done = execute(self, statement, parameters)
        if statement == "COMMIT" and cut == 1:
            cut = 2
            raise psycopg.OperationalError("the connection was lost")
        return done

    monkeypatch.setattr(PgDatabase, "execute", cutting)

    async def main() -> Any:
        nonlocal cut
        await begun(journal, campaign)
        cut = 1
        return await journal.intend(batch(campaign.id, [0, 1]))

    with journal.sending():
        intent = asyncio.run(main())
        assert isinstance(intent, Intent)
        asyncio.run(journal.settle(intent, [OK, OK]))
    assert cut == 2
    assert server.url
    tally = open_postgres(own_url).tally(campaign)
    assert (tally.accepted, tally.in_doubt, tally.contradictions) == (2, 0, 0)
    assert len(rows(own_url, "SELECT 1 FROM attempt")) == 2


def test_a_restored_database_halts_everything(server: Postgres, own_url: str) -> None:
    campaign = sending(own_url)
    with worker(own_url) as one:
        one(one.journal.open_chunk(campaign.id, 0))
        sent = one(intended(one.journal, batch(campaign.id, [0, 1])))
        one(one.journal.settle(sent, [OK, OK]))
        one(one.journal.leave_chunk(campaign.id, 0, None))
    with server.restored(), worker(own_url) as one:
        one(one.journal.open_chunk(campaign.id, 0))
        lost = one(intended(one.journal, batch(campaign.id, [2, 3, 4])))
        one(one.journal.settle(lost, [OK, OK, OK]))
    with worker(own_url) as one:
        assert one(one.journal.open_chunk(campaign.id, 0)) is None
    journal = open_postgres(own_url)
    found = journal.campaign("any")
    assert found.state is CampaignState.HALTED
    assert found.halt is not None
    assert "failed over or was restored: what was sent after 20" in found.halt.reason
    tally = journal.tally(found)
    assert (tally.accepted, tally.in_doubt, tally.pending) == (2, ENTRIES - 2, 0)
    assert tally.adds_up
    statuses = {r.status for r in journal.reports(found) if r.state is EntryState.IN_DOUBT}
    assert statuses == {"DATABASE_CHANGED"}
    with worker(own_url) as again:
        assert again(again.journal.set_state(campaign.id, CampaignState.SENDING)), "a person goes on: that is once"
        assert again(again.journal.open_chunk(campaign.id, 0)) is not None


def test_a_database_without_fsync_is_refused() -> None:
    with Postgres(options=["-c", "fsync=off"]) as unsafe, pytest.raises(JournalError, match="fsync = off"):
        migrate_database(unsafe.url)


def test_tables_are_wanted_and_made_once(server: Postgres) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
    url = server.url_of("empty")
    with pytest.raises(JournalError) as refused:
        open_postgres(url)
    assert "bulksend migrate" in refused.value.hint
    assert migrate_database(url)[-1] == "procrastinate"
    assert migrate_database(url) == []
    assert open_postgres(url).campaigns() == []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO bulksend_migration VALUES (99, 'of tomorrow', 0)")
    with pytest.raises(JournalError, match="newer bulksend"):
        open_postgres(url)


def test_no_password_is_told() -> None:
    with pytest.raises(JournalError) as refused:
        open_postgres("postgresql://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in refused.value.message + refused.value.hint
    assert "postgresql://127.0.0.1:1/x" in refused.value.message


def test_an_intent_that_was_cut_off_opens_what_others_have_closed_meanwhile(
    own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit became durable; before the worker is connected again, another has closed the campaign in doubt."""
    campaign = sending(own_url)
    journal = open_postgres(own_url, lease_s=30.0)
    execute = PgDatabase.execute
    cut = 0

    def cutting(self: Any, statement: str, parameters: Any = (), /) -> Any:
        nonlocal cut
        done = execute(self, statement, parameters)
        if statement == "COMMIT" and cut == 1:
            cut = 2
            lapse(own_url)
            with worker(own_url) as other:
                for number in range(3):
                    ledger = other(other.journal.open_chunk(campaign.id, number))
                    left = [i for i in range(EACH) if ledger.states[i] == EntryState.PENDING]
                    intent = other(intended(other.journal, batch(campaign.id, left, number)))
                    other(other.journal.settle(intent, [OK] * len(left)))
                    assert other(other.journal.close_chunk(campaign.id, number))
                assert other(other.journal.set_state(campaign.id, CampaignState.FINISHED))
            raise psycopg.OperationalError("the connection was lost")
        return done

    monkeypatch.setattr(PgDatabase, "execute", cutting)

    async def main() -> Any:
        nonlocal cut
        await begun(journal, campaign)
        cut = 1
        return await journal.intend(batch(campaign.id, [0, 1]))

    with journal.sending():
        assert asyncio.run(main()) is Withheld.LOST
        assert asyncio.run(journal.open_chunks(campaign.id)) == [0]
    assert open_postgres(own_url).tally(campaign).pending == 2
    assert open_postgres(own_url).campaign("any").state is CampaignState.QUEUED


def test_a_chunk_is_left_whose_opening_nobody_awaits_any_more(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url) as one:

        async def main() -> list[int]:
            opening = asyncio.ensure_future(one.journal.open_chunk(campaign.id, 0))
            await asyncio.sleep(0)
            opening.cancel()
            await one.journal.leave_chunk(campaign.id, 0, None)
            return await one.journal.idle_chunks(campaign.id, [], 10)

        assert one(main()) == [0, 1, 2]


def test_a_database_restored_to_before_a_campaign_began_knows_nothing_of_it(server: Postgres, own_url: str) -> None:
    campaign = planned(open_postgres(own_url))
    with worker(own_url) as one:
        one(one.journal.renew())
    with server.restored(), worker(own_url) as one:
        one(one.journal.set_state(campaign.id, CampaignState.SENDING))
        one(one.journal.open_chunk(campaign.id, 0))
        one(intended(one.journal, batch(campaign.id, list(range(EACH)))))
    with worker(own_url) as one:
        one(one.journal.renew())
    tally = open_postgres(own_url).tally(campaign)
    assert (tally.pending, tally.in_doubt) == (0, ENTRIES)


@pytest.mark.parametrize("password", ["hunt%er2", "hunter 2", "hun@ter2", "12/nter2", "hun:ter2@["])
def test_no_part_of_a_password_is_told(password: str) -> None:
    with pytest.raises(BulksendError) as refused:
        open_postgres(f"postgresql://me:{password}@127.0.0.1:1/x")
    said = refused.value.message + refused.value.hint
    assert not [part for part in ("hunt", "hun", "ter2", "nter2", "er 2") if part in said.replace("hint", "")], said


def test_a_person_and_a_worker_do_not_lock_each_other_out(database_url: str) -> None:
    campaign = sending(database_url)
    with worker(database_url, 30.0) as one:
        one(one.journal.open_chunk(campaign.id, 0))
        sent = one(intended(one.journal, batch(campaign.id, [0, 1])))
        one(one.journal.settle(sent, [DOUBT, DOUBT]))
        person = open_postgres(database_url)
        reports = [report for report in person.reports(campaign) if report.state is EntryState.IN_DOUBT]
        wanted = [(report, SettlementVerdict.ACCEPTED) for report in reports]
        failures: list[str] = []
        over = threading.Event()

        def decides() -> None:
            while not over.is_set():
                try:
                    person.decide_entries(campaign, wanted, "looked")
                except JournalError as error:
                    failures.append(error.message)

        deciding = threading.Thread(target=decides)
        deciding.start()

        async def main() -> None:
            for _ in range(150):
                asked = asyncio.ensure_future(one.journal.intend(batch(campaign.id, [2])))
                state = asyncio.ensure_future(one.journal.set_state(campaign.id, CampaignState.SENDING))
                await state
                intent = await asked
                assert isinstance(intent, Intent)
                await one.journal.settle(intent, [LATER])

        try:
            one(main())
        finally:
            over.set()
            deciding.join()
    assert failures == []
