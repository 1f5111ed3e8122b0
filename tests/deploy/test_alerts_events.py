"""What events tell, or that they do not come, seen by Prometheus. The queue is a real SQS's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bulksend.simulator import SimulatorProcess
from tests.deploy.hurried import Alert, Alerts, Consumer, Worker, alerting, sees
from tests.events_queues import REGION, Desk
from tests.independent import Ministack
from tests.ses_reports import raw, report
from tests.worker_process import told, until

pytestmark = pytest.mark.timeout(180)

MARKETING = {"from": "Example News <news@example.com>", "configuration_set": "marketing"}
RATES = (
    *("BulksendBounceRateNear", "BulksendBounceRateOver"),
    *("BulksendComplaintRateNear", "BulksendComplaintRateOver"),
)
LONG_AGO_S = 1000


def environment(simulator: SimulatorProcess, desk: Desk, queue_url: str) -> dict[str, str]:
    """Of a worker that takes events from a queue."""
    return {
        "BULKSEND_STORE": "sqlite:store",
        "BULKSEND_AWS_ENDPOINT_URL": simulator.url,
        "BULKSEND_EVENTS_QUEUES": queue_url,
        "BULKSEND_EVENTS_ENDPOINT_URL": desk.endpoint_url,
    }


@contextmanager
def hearing(
    folder: Path, desk: Desk, queue_url: str, **settings: object
) -> Iterator[tuple[SimulatorProcess, Worker, Alerts]]:
    """Such a worker, a simulator, and who watches the worker."""
    with (
        SimulatorProcess(**settings) as simulator,
        Worker(folder, environment=environment(simulator, desk, queue_url)) as worker,
        alerting(folder, worker.target) as alerts,
    ):
        yield simulator, worker, alerts


def of(simulator: SimulatorProcess, alert: Alert) -> bool:
    """Whether it speaks of the account that the simulator stands for."""
    return (alert.labels["account"], alert.labels["region"]) == (urlsplit(simulator.url).netloc, REGION)


@sees(*RATES)
def test_mails_bounce_and_are_complained_of(tmp_path: Path, ministack: Ministack) -> None:
    desk = Desk(ministack.endpoint_url)
    queue = desk.queue()
    settings: dict[str, Any] = {
        "max_send_rate_per_s": 20_000,  # a campaign is over within a scrape or two
        "events_queue_url": queue.url,
        "event_types": ("Bounce", "Complaint"),  # ten thousand deliveries take the queue a minute
        "bounce_share": 0.045,
        "complaint_share": 0.0009,
    }
    with hearing(tmp_path, desk, queue.url, **settings) as (simulator, worker, alerts):
        worker.submit("first", 10_000, sender=MARKETING)
        alerts.await_data('bulksend_campaigns{state="finished"} == 1')
        alerts.await_data("sum(bulksend_events_total) == 459")
        near, complained = alerts.fires("BulksendBounceRateNear"), alerts.fires("BulksendComplaintRateNear")
        for one in (near, complained):
            assert of(simulator, one)
        assert near.value == pytest.approx(0.045, rel=0.05)
        assert complained.value == pytest.approx(0.0009, rel=0.05)
        assert alerts.is_quiet("BulksendBounceRateOver")
        assert alerts.is_quiet("BulksendComplaintRateOver")
        simulator.settings(bounce_share=0.1, complaint_share=0.002)
        worker.submit("second", 10_000, sender=MARKETING)
        over, complained = alerts.fires("BulksendBounceRateOver"), alerts.fires("BulksendComplaintRateOver")
        for one in (over, complained):
            assert of(simulator, one)
        simulator.settings(bounce_share=0.0, complaint_share=0.0)
        worker.submit("good", 18_000, sender=MARKETING)
        for name in RATES:
            alerts.ends(name)


@sees("BulksendEventsLate", "BulksendEventsUnreadable", "BulksendCopiesObserved", also=["BulksendInDoubt"])
def test_events_taken_apart_are_late_and_unreadable_and_tell_of_copies(tmp_path: Path, ministack: Ministack) -> None:
    desk = Desk(ministack.endpoint_url)
    queue = desk.queue()
    desk.fill(queue.url, ["hello", "world"])
    with ExitStack() as stack:
        simulator = stack.enter_context(
            SimulatorProcess(max_send_rate_per_s=100, events_queue_url=queue.url, event_delay_ms=4000)
        )
        apart = {**environment(simulator, desk, queue.url), "BULKSEND_EVENTS_APART": "true"}
        worker = stack.enter_context(Worker(tmp_path, environment=apart))
        consumer = stack.enter_context(Consumer(tmp_path, apart))
        until(lambda: told(consumer, "bulksend_events_unreadable_total") == 2, "it has read them before it is scraped")
        alerts = stack.enter_context(alerting(tmp_path, worker.target, consumer.target))
        unreadable = alerts.fires("BulksendEventsUnreadable")
        assert of(simulator, unreadable)
        assert unreadable.value == 2
        doubtful = [f"fault.reset_after_accepting.1+{n}@example.com" for n in range(20)]
        worker.submit("launch", doubtful, sender=MARKETING, policy={"in_doubt": "resend"})
        copies = alerts.fires("BulksendCopiesObserved")
        assert of(simulator, copies)
        assert 1 <= copies.value <= len(doubtful)
        tellings = count(1)

        def tell_of_long_ago() -> None:
            row = next(tellings)
            at = datetime.fromtimestamp(time.time() - LONG_AGO_S, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            desk.fill(queue.url, [raw(report("delivery", row=row, message_id=f"long-ago-{row}", at=at))])
            time.sleep(0.4)

        late = alerts.fires("BulksendEventsLate", meanwhile=tell_of_long_ago)
        assert of(simulator, late)
        assert late.value == pytest.approx(LONG_AGO_S, abs=60)
        assert late.summary.endswith("behind")
        alerts.ends("BulksendEventsLate")
        assert alerts.is_quiet("BulksendWorkerStalled"), "who takes events alone does not look at his loop"


@sees("BulksendEventsHeldUp", "BulksendBreakerBlind")
def test_there_is_no_queue(tmp_path: Path, ministack: Ministack) -> None:
    desk = Desk(ministack.endpoint_url)
    url = desk.plain_queue("to-come")
    desk.sqs.delete_queue(QueueUrl=url)
    with hearing(tmp_path, desk, url, max_send_rate_per_s=20) as (simulator, worker, alerts):
        worker.submit("launch", 2_000, sender=MARKETING, safety={"breaker": True})
        held_up = alerts.fires("BulksendEventsHeldUp")
        assert of(simulator, held_up)
        blind = alerts.fires("BulksendBreakerBlind")
        assert blind.labels["instance"] == worker.target
        desk.plain_queue("to-come")
        simulator.settings(events_queue_url=url)
        alerts.ends("BulksendEventsHeldUp")
        alerts.ends("BulksendBreakerBlind")
