"""Several workers on one database: frozen, stopped, killed; the simulator's own count says what came of it."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any, LiteralString

import pytest

from loadtest.fleet_crash import Hits, one_campaign
from tests.fleet import Fleet, kill, stat_of, wake
from tests.postgres import Postgres
from tests.worker_process import until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 800, "latency_ms": 30}


def test_killed_frozen_and_without_a_database_nobody_is_lost_or_gets_two(
    tmp_path: Path, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counted = one_campaign(
        tmp_path,
        server,
        workers=3,
        entries=3500,
        chunk_entries=200,
        hits=Hits(kills=3, freezes=2, restarts=1),
        lease_s=1.5,
        recipients_per_s=900.0,
        dice=random.Random(5),
    )
    assert (counted.kills, counted.freezes, counted.restarts) == (3, 2, 1)
    assert (counted.copies, counted.losses, counted.unbalanced) == (0, 0, 0)
    assert counted.overtaken == 0
    assert counted.in_doubt <= counted.in_doubt_bound
    assert counted.accepted <= counted.really_accepted <= counted.accepted + counted.in_doubt


STOPS_AT_THE_WORST_INSTANT = """
import os, signal, sys
from pathlib import Path
from bulksend.cli import main
from bulksend.journal.postgres import PostgresJournal
from bulksend.model import Intent

intend = PostgresJournal.intend

async def intend_and_stop(self, batch):
    made = await intend(self, batch)
    if isinstance(made, Intent) and Path("stop").exists():
        Path("stop").rename("stopped").write_text(str(made.attempt_id))
        os.kill(os.getpid(), signal.SIGSTOP)
    return made

PostgresJournal.intend = intend_and_stop
main(sys.argv[1:])
"""
"""A worker that stops once there is a file `stop`: between an intent that is durable and its request's first byte."""


def test_a_worker_that_slept_longer_than_its_lease_sends_nothing_under_it(fleet: Fleet) -> None:
    sleeper = fleet.started(program=STOPS_AT_THE_WORST_INSTANT).__enter__()
    fleet.workers(1)
    campaign = fleet.submit("launch", 4000)
    holders: LiteralString = "SELECT count(DISTINCT holder) FROM chunk WHERE leased_until > store_now()"
    until(lambda: fleet.rows(holders) == [(2,)], "both have something to send")
    (fleet.folder / "stop").touch()
    until(lambda: stat_of(sleeper.process.pid) == "T", "it has stopped")
    until(lambda: fleet.rows(holders) == [(1,)], "its leases have run out")
    until(lambda: fleet.rows("SELECT 1 FROM chunk WHERE epoch > 1"), "the other has taken up what it held")
    woken_at = time.time()
    wake(sleeper)
    fleet.await_state("finished", campaign)
    fleet.everybody_once(campaign)
    assert fleet.tally(campaign).in_doubt == 0, "the answers to what was in the air came late, and were taken"
    assert sleeper.process.poll() is None
    intended = int((fleet.folder / "stopped").read_text("ascii"))
    found = fleet.rows(
        "SELECT DISTINCT sent_at < %s, message_id FROM entry_attempt WHERE attempt_id = %s", woken_at, intended
    )
    assert found == [(True, None)], "what it had intended before it slept did not leave when it woke"
    assert any(one["at"] > woken_at for one in fleet.simulator.accepted(campaign.id))
    assert fleet.overtaken() == 0


def test_sigterm_leaves_nothing_in_doubt_and_its_chunks_to_others_at_once_and_then_kill_9(fleet: Fleet) -> None:
    campaign = fleet.submit("launch", 3000)
    (first,) = fleet.workers(1, {"BULKSEND_FLEET_LEASE_S": "600"})
    fleet.await_accepted(300)
    others = [fleet.started(), fleet.started()]
    assert first.stop() == 0
    left = fleet.tally(campaign)
    assert (left.in_doubt, left.adds_up) == (0, True)
    fleet.await_accepted(left.accepted + 600)
    killed = others[0]
    killed.process.send_signal(signal.SIGTERM)
    kill(killed)
    assert fleet.tally(campaign).adds_up
    fleet.await_state("finished", campaign)  # what the first held is not waited for: that lease would hold for long
    ended, theirs = fleet.tally(campaign), fleet.simulator.tally(campaign.id)
    assert not theirs["copies"]
    assert ended.in_doubt <= fleet.max_in_flight * 50
    assert ended.accepted <= theirs["rows"] <= ended.accepted + ended.in_doubt == 3000
    assert others[1].stop() == 0
    until(lambda: fleet.rows("SELECT status FROM procrastinate_jobs WHERE status <> 'doing'") == [], "no job is left")
