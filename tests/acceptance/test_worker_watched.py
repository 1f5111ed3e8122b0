"""What a worker tells while something is wrong, and that it ends when that is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import bulksend
from tests.acceptance.test_worker import at, campaign, status, submit
from tests.worker_process import WorkerProcess, told, until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 100, "max_24_hour_send": 150}


def test_a_day_that_is_spent_is_waited_for_as_long_as_somebody_does(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    submit(campaign(in_folder, "launch", 300), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: told(worker, "bulksend_waiting", why="day_spent") == 1, "the day is spent")
        assert bulksend("pause", "launch").returncode == 0
        until(lambda: told(worker, "bulksend_waiting") == 0, "nobody waits any more")
        until(lambda: told(worker, "bulksend_campaigns", state="paused") == 1, "it is counted as soon as it ends")
        assert told(worker, "bulksend_halts_total") == 0


def test_each_campaign_that_halts_counts_also_one_that_cannot_be_begun(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    submit(campaign(in_folder, "sound", 3), simulator.url)
    submit(campaign(in_folder, "damaged", 5), simulator.url)
    (store,) = in_folder.glob(".bulksend")
    snapshot = store / "snapshots" / f"{status('damaged')['id']}.parquet"
    snapshot.write_bytes(b"PAR1" + snapshot.read_bytes()[4:-9])
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: told(worker, "bulksend_campaigns", state="halted") == 1, "it is counted as soon as it halts")
        assert told(worker, "bulksend_halts_total", scope="campaign") == 1
        until(lambda: told(worker, "bulksend_campaigns", state="finished") == 1, "the other is sent")


def test_an_account_that_may_send_again_sends_when_it_is_resumed(in_folder: Path, simulator: SimulatorProcess) -> None:
    simulator.settings(sending_enabled=False)
    submit(campaign(in_folder, "one", 40), simulator.url)
    submit(campaign(in_folder, "two", 40), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: told(worker, "bulksend_campaigns", state="halted") == 2, "both halt")
        assert told(worker, "bulksend_halts_total", scope="account") == 2
        simulator.settings(sending_enabled=True)
        assert bulksend("resume", "one").returncode == 0
        until(lambda: status("one")["state"] == "finished", "it is not halted by what GetAccount said before")


def test_a_halt_that_was_resumed_is_not_repeated_by_a_campaign_that_still_awaits_an_answer(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    simulator.settings(max_send_rate_per_s=10)
    simulator.rules([{"fault": "slow_answer", "address_contains": "slow", "delay_ms": 4000}])
    submit(campaign(in_folder, "slow", 1), simulator.url)
    submit(campaign(in_folder, "quick", 45), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: told(worker, "bulksend_in_flight_requests") and simulator.tally()["accepted"] > 10, "both begin")
        simulator.settings(sending_enabled=False)
        until(lambda: told(worker, "bulksend_campaigns", state="halted") == 1, "one halts, the other awaits its answer")
        simulator.settings(sending_enabled=True)
        assert bulksend("resume", "quick").returncode == 0
        until(lambda: told(worker, "bulksend_campaigns", state="finished") == 1, "it is not halted again")
        assert told(worker, "bulksend_halts_total", scope="account") == 2
