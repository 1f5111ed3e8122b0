"""A fleet on PostgreSQL, whose workers freeze and whose database is slow or away, seen by Prometheus."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from bulksend.simulator import SimulatorProcess
from tests.deploy.hurried import Worker, alerting, sees
from tests.fleet import Fleet, freeze, wake
from tests.postgres import Postgres, database
from tests.worker_process import told, until

pytestmark = pytest.mark.timeout(180)

UNGUARDED = "[safety]\nbreaker = false\n"
"""No events come here."""
SLOW = [{"fault": "slow_answer", "delay_ms": 12_000}]
"""Slow enough for the alert."""


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(max_send_rate_per_s=100, latency_ms=20) as running:
        yield running


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


def worker_of(fleet: Fleet) -> Worker:
    return Worker(fleet.folder, "--config", str(fleet.folder / "config.toml"))


@sees("BulksendChunksStalled", "BulksendWorkerStalled", also=["BulksendInDoubt", "BulksendNothingSent"])
def test_a_worker_freezes_and_the_other_has_all_it_can_hold(
    in_folder: Path, simulator: SimulatorProcess, server: Postgres
) -> None:
    simulator.rules(SLOW)
    with (
        database(server.url, "frozen") as url,
        Fleet(in_folder, url, simulator, lease_s=1.0, max_in_flight=1, answer_timeout_s=60.0) as fleet,
        worker_of(fleet) as one,
        worker_of(fleet) as other,
    ):
        fleet.submit("launch", 4000, UNGUARDED)
        until(lambda: all(told(w, "bulksend_in_flight_requests") for w in (one, other)), "both wait for an answer")
        with alerting(in_folder, one.target, other.target) as alerts:
            freeze(one)
            stalled = alerts.fires("BulksendChunksStalled")
            assert stalled.value >= 1
            simulator.rules([])
            wake(one)
            alerts.ends("BulksendChunksStalled")

            def stutter() -> None:
                freeze(other)
                time.sleep(0.7)
                wake(other)
                time.sleep(0.3)

            late = alerts.fires("BulksendWorkerStalled", meanwhile=stutter)
            assert late.labels["instance"] == other.target
            assert late.value > 0.5
            alerts.ends("BulksendWorkerStalled")


@sees("BulksendJournalSlow", "BulksendStoreUnavailable", "BulksendStoreNotCounted", also=["BulksendInDoubt"])
def test_the_database_is_slow_and_then_away(in_folder: Path, simulator: SimulatorProcess, server: Postgres) -> None:
    simulator.settings(max_send_rate_per_s=20)
    with (
        database(server.url, "shaken") as url,
        Fleet(in_folder, url, simulator, lease_s=1.0, max_in_flight=8) as fleet,
        worker_of(fleet) as worker,
        alerting(in_folder, worker.target) as alerts,
    ):
        fleet.submit("launch", 4000, UNGUARDED)
        alerts.await_data('bulksend_requests_total{verdict="accepted"}')
        delayed(server, 100_000)
        slow = alerts.fires("BulksendJournalSlow")
        assert slow.labels["instance"] == worker.target
        assert slow.value > 0.1
        delayed(server, 0)
        alerts.ends("BulksendJournalSlow")
        server.stop(signal.SIGQUIT)
        assert alerts.fires("BulksendStoreUnavailable").summary == "Workers wait for the store"
        assert alerts.fires("BulksendStoreNotCounted").value > 20
        server.start()
        alerts.ends("BulksendStoreUnavailable")
        alerts.ends("BulksendStoreNotCounted")


def delayed(server: Postgres, microseconds: int) -> None:
    """Have each commit wait so long before it is written (PostgreSQL, commit_delay)."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET commit_siblings = 0")
        connection.execute(f"ALTER SYSTEM SET commit_delay = {microseconds:d}")
        connection.execute("SELECT pg_reload_conf()")
