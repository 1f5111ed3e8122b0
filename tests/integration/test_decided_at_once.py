"""Two processes that decide something in one database at one moment: one waits for the other, and neither fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from bulksend.event import Suppression, SuppressionReason
from bulksend.journal import open_postgres, open_postgres_events
from bulksend.journal.postgres_events import SUPPRESS_LOCK
from bulksend.model import Policy
from bulksend.schedule import Schedule
from tests.integration.test_conservation import planned

WITHIN_S = 20.0
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@contextmanager
def held(url: str, statement: str) -> Iterator[psycopg.Connection[Any]]:
    """What a transaction has that another process has begun, until the block ends."""
    with psycopg.connect(url) as other:
        other.execute(statement)
        yield other


def wait_for_it(url: str, deciding: Future[Any]) -> None:
    """Until it waits for the other."""
    until = time.monotonic() + WITHIN_S
    with psycopg.connect(url, autocommit=True) as looking:
        while looking.execute(WAITING).fetchone() != (1,):
            assert not deciding.done(), "it waits for nobody"
            assert time.monotonic() < until


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


def test_addresses_come_off_the_list_while_nobody_suppresses(database_url: str, thread: ThreadPoolExecutor) -> None:
    """Rows that two take in two orders are a deadlock."""
    events = open_postgres_events(database_url)
    keys = [f"user{number}@example.com" for number in range(3)]
    events.suppress([Suppression(key, SuppressionReason.MANUAL, "by hand", 1.0) for key in keys])
    with held(database_url, f"SELECT pg_advisory_xact_lock({SUPPRESS_LOCK})") as other:
        removing = thread.submit(events.unsuppress, keys)
        wait_for_it(database_url, removing)
        other.execute("UPDATE suppression SET reason = 'complaint'")
    assert removing.result(WITHIN_S) == len(keys)
    assert not list(events.suppressions())


def test_terms_that_open_all_chunks_take_them_in_their_order(database_url: str, thread: ThreadPoolExecutor) -> None:
    journal = open_postgres(database_url)
    campaign = planned(journal)
    numbers = [number for number, _ in journal.chunk_sizes(campaign)]
    assert len(numbers) > 1
    with psycopg.connect(database_url, autocommit=True) as connection:  # the first is the last in the table now
        connection.execute("UPDATE chunk SET done = TRUE WHERE number > 0")
        connection.execute("UPDATE chunk SET done = TRUE WHERE number = 0")
    with held(database_url, "SELECT 1 FROM chunk WHERE number = 0 FOR UPDATE") as other:
        deciding = thread.submit(journal.set_terms, campaign, Policy(resend_in_doubt=True), Schedule(), campaign.safety)
        wait_for_it(database_url, deciding)
        free = other.execute("SELECT number FROM chunk WHERE number > 0 FOR UPDATE SKIP LOCKED").fetchall()
        assert len(free) == len(numbers) - 1, "whoever has the first gets the others"
    deciding.result(WITHIN_S)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM chunk WHERE done").fetchone() == (0,)
    assert journal.campaign(campaign.name).policy.resend_in_doubt
