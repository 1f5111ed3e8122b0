"""Workers that are killed, frozen or late, seen by Prometheus."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import bulksend
from tests.deploy.hurried import Worker, alerting, sees

pytestmark = pytest.mark.timeout(180)

SLOW = [{"fault": "slow_answer", "delay_ms": 3000}]
"""So that something is in the air at any time."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(max_send_rate_per_s=50) as running:
        running.rules(SLOW)
        yield running


@sees("BulksendWorkerDown", "BulksendNobodySends", "BulksendInDoubt", "BulksendWorkerRestarts")
def test_a_worker_that_dies_again_and_again(in_folder: Path, simulator: SimulatorProcess) -> None:
    target = f"127.0.0.1:{free_port()}"
    environment = {
        "BULKSEND_HTTP_LISTEN": target,
        "BULKSEND_STORE": "sqlite:store",
        "BULKSEND_AWS_ENDPOINT_URL": simulator.url,
    }

    def worker() -> Worker:
        return Worker(in_folder, environment=environment)

    with worker() as first, alerting(in_folder, target) as alerts:
        first.submit("launch", 20_000)
        alerts.await_data('bulksend_campaign_entries{campaign="launch", state="in_flight"} > 0')
        first.process.kill()
        down, nobody = alerts.fires("BulksendWorkerDown"), alerts.fires("BulksendNobodySends")
        assert down.summary == f"Worker {target} does not answer"
        assert nobody.description.startswith(
            "Campaigns that were queued or being sent when a worker last counted them: 1."
        )
        with worker() as second:
            doubt = alerts.fires("BulksendInDoubt")
            assert doubt.labels["campaign"] == "launch"
            assert doubt.summary == f"In doubt: {doubt.value:.0f} entries of launch"
            alerts.ends("BulksendWorkerDown")
            alerts.ends("BulksendNobodySends")
            second.process.kill()
        alerts.await_data("up == 0")
        alerts.await_data("absent(bulksend_campaign_entries)")
        assert alerts.fires("BulksendInDoubt").value == doubt.value, "it outlives who has counted it"
        with worker():
            alerts.await_data("up == 1")
        with worker() as last:
            restarts = alerts.fires("BulksendWorkerRestarts")
            assert restarts.summary == f"Worker {target} has started 3 times in 30 minutes"
            assert bulksend("pause", "launch", "--store", "sqlite:store").returncode == 0
            assert bulksend("resolve", "launch", "--drop", "--yes", "--store", "sqlite:store").returncode == 0
            alerts.ends("BulksendInDoubt")
            assert last.process.poll() is None
