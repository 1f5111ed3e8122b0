"""A worker that is frozen, or cut off, in the midst of a transaction must not hold up the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from bulksend.fleet import ChunkJobs
from bulksend.journal import open_postgres
from bulksend.journal.database import Database
from bulksend.journal.postgres import PostgresJournal
from bulksend.model import CampaignState, Withheld
from tests.integration.test_conservation import planned
from tests.integration.test_journals import batch
from tests.postgres import rows

LEASE_S = 4.0
WITHIN_S = 30.0


@pytest.fixture
def frozen_one(database_url: str) -> Iterator[PostgresJournal]:
    journal = open_postgres(database_url, lease_s=LEASE_S)
    with journal.sending():
        yield journal


def test_who_is_frozen_in_a_transaction_does_not_hold_up_the_others(
    frozen_one: PostgresJournal, database_url: str
) -> None:
    campaign = planned(frozen_one)
    is_frozen, goes_on = threading.Event(), threading.Event()

    def freeze(db: Database) -> str:
        db.execute("UPDATE identity SET seen_at = store_now(), reaped_at = 0")
        db.execute("SELECT 1 FROM chunk WHERE campaign_id = ? AND number = 0 FOR SHARE", (campaign.id,)).fetchall()
        is_frozen.set()
        goes_on.wait(WITHIN_S)
        return "done"

    async def main() -> None:
        assert await frozen_one.set_state(campaign.id, CampaignState.SENDING)
        assert await frozen_one.open_chunk(campaign.id, 0) is not None
        other = open_postgres(database_url, lease_s=LEASE_S)
        with other.sending():
            assert await other.open_chunk(campaign.id, 1) is not None
            frozen = asyncio.ensure_future(frozen_one._write(freeze))
            await asyncio.to_thread(is_frozen.wait, WITHIN_S)
            try:
                async with asyncio.timeout(WITHIN_S):
                    assert await other.may_reap(0.0)
                    assert await other.renew() == {(campaign.id, 1)}, "its lease has not run out meanwhile"
                    while await other.open_chunk(campaign.id, 0) is None:
                        await other.renew()
            finally:
                goes_on.set()
            assert await frozen == "done", "it was done again, on a new connection"
            assert await frozen_one.intend(batch(campaign.id, [0])) is Withheld.LOST

    asyncio.run(main())


def test_jobs_are_taken_without_transactions_that_could_be_left_open(database_url: str) -> None:
    """What is frozen between the end of a statement and that of its transaction would keep the rows locked."""

    async def main() -> list[str]:
        async with ChunkJobs(database_url, stale_after_s=LEASE_S) as jobs:
            await jobs.beat()
            await jobs.hand_out("any", [3, 1, 2])
            assert await jobs.living("any") == {1, 2, 3}
            taken = await jobs.take(["any"])
            assert taken is not None
            assert taken.number == 1, "in the order of the list"
            await jobs.finish(taken)
            await jobs.bury()
            return [query for (query,) in rows(database_url, LAST_STATEMENTS)]

    said = asyncio.run(main())
    assert any("procrastinate" in query for query in said)
    assert "COMMIT" not in said


LAST_STATEMENTS = (
    "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


def test_what_the_database_calls_ours_and_we_do_not_know_is_given_back(database_url: str) -> None:
    """The word that a worker has a job may be lost, or come back with a database that was restored."""

    async def main() -> None:
        async with ChunkJobs(database_url, stale_after_s=LEASE_S) as jobs:
            await jobs.hand_out("any", [1, 2])
            known = await jobs.take(["any"])
            assert known is not None
            strange = await jobs.take(["any"])
            assert strange is not None
            jobs._taken.discard(strange.id)
            await jobs.beat()
            assert await jobs.living("any") == {known.number}

    asyncio.run(main())
