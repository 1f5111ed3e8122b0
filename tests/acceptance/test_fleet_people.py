"""What people do to campaigns of a fleet, on the command line: the same words as with a store in SQLite."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import psycopg
import pytest

from bulksend.journal.postgres import PLANS_LOCK
from bulksend.model import Campaign, CampaignState
from tests.acceptance.test_cli import bulksend
from tests.fleet import Fleet
from tests.forked import Forked
from tests.worker_process import until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 800, "latency_ms": 30}


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bulksend("status", name, "--output", "json").stdout)
    return found


@pytest.mark.parametrize("same", [True, False])
def test_two_submit_one_name_at_the_same_moment(fleet: Fleet, *, same: bool) -> None:
    folders = [fleet.folder / "one", fleet.folder / "other"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        path = fleet.write("launch", [f"{0 if same else number}.{n}@example.com" for n in range(50)])
        for file in (path, path.with_suffix(".csv")):
            file.rename(folder / file.name)
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        # Both wait here, when they know that the name is free, and have not taken it.
        connection.execute("SELECT pg_advisory_lock(%s)", (PLANS_LOCK,))
        both = [
            Forked(
                *("submit", "launch.toml", "--yes", "--output", "json"), folder=folder, environment=fleet.environment()
            )
            for folder in folders
        ]
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        until(lambda: fleet.rows(waiting) == [(2,)] or any(one.poll() is not None for one in both), "both wait")
        connection.execute("SELECT pg_advisory_unlock(%s)", (PLANS_LOCK,))
        said = [one.communicate(timeout=30) for one in both]
    codes = [one.returncode for one in both]
    assert sorted(codes) == ([0, 0] if same else [0, 2]), said
    if not same:
        words = said[codes.index(2)][1]
        assert "launch" in words
        assert "Traceback" not in words
        assert "name of its own" in words
    (campaign,) = fleet.store.journal.campaigns()
    assert (campaign.state, campaign.entries) == (CampaignState.QUEUED, 50)
    table = csv.DictReader(io.StringIO(bulksend("results", "launch").stdout))
    assert {row["address"].partition(".")[0] for row in table} == {"0" if same else str(codes.index(0))}
    assert len(fleet.store.shelf.names()) == 2, "of the other neither list nor skipped rows are left behind"


def test_pause_resume_cancel_and_halts(fleet: Fleet) -> None:
    one, two = fleet.submit("one", 1200), fleet.submit("two", 1200)
    fleet.simulator.settings(latency_ms=3000)  # neither is finished before it is decided on, however late that is
    workers = fleet.workers(2)
    fleet.await_accepted(150, one)
    fleet.await_accepted(150, two)
    assert bulksend("pause", "one").returncode == 0
    assert bulksend("cancel", "two", "--yes").returncode == 0
    fleet.simulator.settings(latency_ms=30)
    until(lambda: fleet.unanswered() == 0, "both are at rest")
    until(lambda: fleet.rows("SELECT count(*) FROM chunk WHERE holder IS NOT NULL") == [(0,)], "all chunks are free")
    paused, cancelled = status("one"), status("two")
    assert (paused["state"], paused["in_doubt"], paused["adds_up"]) == ("paused", 0, True)
    assert (cancelled["state"], cancelled["in_doubt"], cancelled["adds_up"]) == ("cancelled", 0, True)
    assert cancelled["skipped"]["cancelled"] == 1200 - cancelled["accepted"] > 0
    assert bulksend("resume", "two").returncode == 2
    a_template_that_is_not_there(fleet)
    an_account_that_is_suspended(fleet, one)
    fleet.everybody_once(one)
    assert fleet.simulator.tally(two.id)["accepted"] == cancelled["accepted"]
    assert [worker.process.poll() for worker in workers] == [None, None]


def a_template_that_is_not_there(fleet: Fleet) -> None:
    fleet.simulator.rules([{"fault": "template_not_found", "address_contains": "faulty"}])
    faulty = fleet.submit("faulty", 1200)
    fleet.await_state("halted", faulty)
    halted = status("faulty")
    assert "template" in halted["halt"]["reason"].lower()
    assert (halted["pending"] + halted["in_flight"], halted["dead"], halted["in_doubt"]) == (1200, 0, 0)
    fleet.simulator.rules([])
    until(lambda: fleet.unanswered() == 0, "no answer is awaited")
    assert fleet.simulator.tally(faulty.id)["requests"] <= 2 * fleet.max_in_flight, "none has begun it again"
    assert fleet.state(faulty) == "halted"


def an_account_that_is_suspended(fleet: Fleet, paused: Campaign) -> None:
    """One campaign hears of it; the other halts as well."""
    fleet.simulator.rules([{"fault": "account_suspended", "address_contains": paused.name}])
    other = fleet.submit("other", 3000)
    fleet.await_accepted(50, other)
    assert bulksend("resume", paused.name).returncode == 0
    fleet.await_state("halted", paused, other)
    assert status("other")["halt"] == status(paused.name)["halt"]
    fleet.simulator.rules([])
    assert bulksend("cancel", "other", "--yes").returncode == 0
    assert bulksend("resume", paused.name).returncode == 0
    fleet.await_state("finished", paused)


def test_the_verbs_on_a_finished_campaign(fleet: Fleet) -> None:
    people = [f"a{n}@example.com" for n in range(300)]
    people[203] = "fault.message_rejected@example.com"
    people[5] = "no address"
    fleet.simulator.rules([{"fault": "reset_after_accepting", "times": 1}])
    campaign = fleet.submit("launch", people)
    fleet.workers(1)
    fleet.await_state("finished", campaign)
    ended = status("launch")
    assert (ended["dead"], ended["in_doubt"], ended["skipped"]["invalid"], ended["adds_up"]) == (1, 50, 1, True)
    table = list(csv.DictReader(io.StringIO(bulksend("results", "launch").stdout)))
    assert len(table) == 300
    assert {row["state"] for row in table} == {"accepted", "dead", "in_doubt", "skipped"}
    doubted = [row["row"] for row in table if row["state"] == "in_doubt"]
    assert bulksend("resolve", "launch", "--resend").returncode == 4, "too early"
    decided = bulksend("resolve", "launch", "--accepted", "--row", doubted[0], "--row", doubted[1])
    assert "2 decided, 48 still in doubt" in decided.stderr
    assert bulksend("resolve", "launch", "--drop").returncode == 0
    fleet.simulator.reset()
    assert bulksend("retry", "launch", "--status", "MESSAGE_REJECTED").returncode == 0
    fleet.resume(campaign)
    fleet.await_state("finished", campaign)
    assert fleet.simulator.tally(campaign.id)["requests"] == 1
    assert status("launch")["dead"] == 1 + 48
    assert bulksend("forget", people[7], "--yes").returncode == 0
    gone = list(csv.DictReader(io.StringIO(bulksend("results", "launch").stdout)))
    assert people[7] not in {row["address"] for row in gone}
    assert bulksend("prune", "launch", "--yes").returncode == 0
    assert status("launch")["adds_up"]
    pruned = bulksend("results", "launch")
    assert (pruned.returncode, "was removed by bulksend prune" in pruned.stderr) == (2, True)
    assert fleet.store.shelf.names() == set()


def test_who_sends_by_himself_beside_others_is_told_everything_once(fleet: Fleet) -> None:
    fleet.simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    fleet.plan("launch", 3)
    halted = bulksend("send", "launch", "--yes", "--metrics-textfile", "bulksend.prom")
    assert halted.returncode == 5
    said = [json.loads(line) for line in halted.stderr.splitlines() if line.startswith("{")]
    assert [(one["campaign"], one["event"]) for one in said if "reason" in one] == [("launch", "halted")]
    assert 'bulksend_halts_total{scope="campaign"} 1.0' in (fleet.folder / "bulksend.prom").read_text("utf-8")
