"""What SES does to an account, or leaves undone, seen by Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulksend.simulator import SimulatorProcess
from tests.deploy.hurried import Alert, Alerts, Worker, alerting, sees
from tests.harness import REGION
from tests.worker_process import told, until

pytestmark = pytest.mark.timeout(180)

OUTAGE = [{"fault": "unavailable_503", "operation": "*"}]


@contextmanager
def sending(
    folder: Path, more: Mapping[str, str] | None = None, **settings: object
) -> Iterator[tuple[SimulatorProcess, Worker, Alerts]]:
    """A worker without work, with `more` in its environment, at such a simulator; and who watches it."""
    with SimulatorProcess(**settings) as simulator:
        environment = {
            "BULKSEND_STORE": "sqlite:store",
            "BULKSEND_AWS_ENDPOINT_URL": simulator.url,
            **(more or {}),
        }
        with Worker(folder, environment=environment) as worker, alerting(folder, worker.target) as alerts:
            yield simulator, worker, alerts


def of(simulator: SimulatorProcess, alert: Alert) -> bool:
    """Whether it speaks of the account that the simulator stands for."""
    return (alert.labels["account"], alert.labels["region"]) == (urlsplit(simulator.url).netloc, REGION)


@sees("BulksendCircuitOpen", "BulksendQuotaStale", "BulksendQuotaUnknown", "BulksendNothingSent")
def test_ses_is_down(tmp_path: Path) -> None:
    with sending(tmp_path, max_send_rate_per_s=50, latency_ms=20) as (simulator, worker, alerts):
        worker.submit("launch", 20_000)
        alerts.await_data('bulksend_requests_total{verdict="accepted"}')
        simulator.rules(OUTAGE)
        stale = alerts.fires("BulksendQuotaStale")
        assert of(simulator, stale)
        assert stale.value > 5
        assert alerts.fires("BulksendCircuitOpen").summary == "Only probes go out; open circuits: 1"
        unknown = alerts.fires("BulksendQuotaUnknown")
        assert "more than 10 minutes: 1." in unknown.description
        nothing = alerts.fires("BulksendNothingSent")
        assert nothing.value > 15_000
        simulator.rules([])
        for name in ("BulksendQuotaUnknown", "BulksendQuotaStale", "BulksendCircuitOpen", "BulksendNothingSent"):
            alerts.ends(name)


@sees("BulksendThrottled", also=["BulksendQuotaUnused"])
def test_ses_throttles(tmp_path: Path) -> None:
    with sending(tmp_path, max_send_rate_per_s=100, latency_ms=20) as (simulator, worker, alerts):
        simulator.rules([{"fault": "throttled_429", "share": 0.4}])
        worker.submit("launch", 20_000)
        throttled = alerts.fires("BulksendThrottled")
        assert of(simulator, throttled)
        assert 0.01 < throttled.value <= 1
        simulator.rules([])
        alerts.ends("BulksendThrottled")


@sees("BulksendQuotaUnused", "BulksendDailyQuotaNear")
def test_answers_are_slow_and_then_the_day_ends(tmp_path: Path) -> None:
    slow, few = {"max_send_rate_per_s": 100, "latency_ms": 1500}, {"BULKSEND_ENGINE_MAX_IN_FLIGHT": "1"}
    with sending(tmp_path, few, **slow) as (simulator, worker, alerts):
        worker.submit("launch", 20_000)
        unused = alerts.fires("BulksendQuotaUnused")
        assert of(simulator, unused)
        assert 0.2 < unused.value < 0.5
        simulator.settings(latency_ms=20)
        alerts.ends("BulksendQuotaUnused")
        (sent,) = alerts.query("bulksend_quota_sent_last_24h_recipients")
        simulator.settings(max_24_hour_send=float(sent["value"][1]) + 2000)
        simulator.foreign(1900)
        near = alerts.fires("BulksendDailyQuotaNear")
        assert of(simulator, near)
        assert 0.9 <= near.value <= 1.1
        simulator.settings(max_24_hour_send=1_000_000)
        alerts.ends("BulksendDailyQuotaNear")


@sees(
    *("BulksendUnknownStatus", "BulksendSendingDisabled", "BulksendAccountHalted", "BulksendCampaignHalted"),
    also=["BulksendInDoubt"],
)
def test_an_account_is_suspended(tmp_path: Path) -> None:
    with sending(tmp_path, max_send_rate_per_s=100, latency_ms=20) as (simulator, worker, alerts):
        worker.submit("launch", 20_000)
        alerts.await_data('bulksend_requests_total{verdict="accepted"}')
        simulator.rules([{"fault": "status", "times": 2}])
        assert alerts.fires("BulksendUnknownStatus").value >= 1
        simulator.settings(sending_enabled=False)
        disabled = alerts.fires("BulksendSendingDisabled")
        assert of(simulator, disabled)
        assert alerts.fires("BulksendAccountHalted").value >= 1
        assert alerts.fires("BulksendCampaignHalted").summary == "Campaigns that have halted: 1"
        simulator.settings(sending_enabled=True)
        alerts.ends("BulksendSendingDisabled")
        assert worker.ask("POST", "/campaigns/launch/resume")[0] < 300
        alerts.ends("BulksendCampaignHalted")
        alerts.ends("BulksendAccountHalted")


@sees("BulksendAccountHalted", also=["BulksendCampaignHalted"])
def test_a_worker_that_starts_and_halts_between_two_scrapes(tmp_path: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=100) as simulator:
        environment = {"BULKSEND_STORE": "sqlite:store", "BULKSEND_AWS_ENDPOINT_URL": simulator.url}
        simulator.rules([{"fault": "account_suspended"}])
        with Worker(tmp_path, environment=environment) as worker:
            worker.submit("launch", 100)
            until(lambda: told(worker, "bulksend_halts_total", scope="account") == 1, "it has halted")
            with alerting(tmp_path, worker.target) as alerts:
                assert alerts.fires("BulksendAccountHalted").value == 1
                alerts.ends("BulksendAccountHalted")
