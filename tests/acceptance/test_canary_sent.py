"""`send` with a canary takes the events that it waits for, or leaves them to a process of their own; a rehearsal leaves
them to whom they belong."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.config import load_campaign
from bulksend.model import CampaignState
from bulksend.simulator import SimulatorProcess
from tests import events_queues
from tests.forked import Forked
from tests.harness import CAMPAIGN, Desk, settings_for
from tests.independent import Ministack
from tests.integration.test_outcomes import good

BODY = CAMPAIGN.replace("[content]", 'configuration_set = "marketing"\n[content]') + '[safety]\ncanary = "5 %, 2 min"\n'


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000.0}


def test_a_canary_passes_by_the_events_that_send_takes_itself(
    tmp_path: Path, simulator: SimulatorProcess, ministack: Ministack
) -> None:
    queues = events_queues.Desk(ministack.endpoint_url)
    queue = queues.queue()
    queues.fill(queue.url, ["for whoever sends it in earnest"])
    simulator.settings(events_queue_url=queue.url)
    desk = Desk(tmp_path, simulator.url)
    settings = settings_for(
        simulator.url, **{"events.queues": [queue.url], "events.endpoint_url": ministack.endpoint_url}
    )
    campaign = desk.plan(good(600), body=BODY)

    rehearsed = worker.dry_run(load_campaign(tmp_path / "campaign.toml"), settings)
    assert rehearsed.sent.tally.accepted == 600
    left = queues.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("1", "0")

    sent = worker.send(campaign, settings, desk.store())
    assert (sent.campaign.state, sent.tally.accepted) == (CampaignState.FINISHED, 600)
    assert sent.campaign.canary_passed_at is not None
    passed_at = sent.campaign.canary_passed_at
    before = [one for one in simulator.accepted(campaign.id) if one["at"] < passed_at]
    assert len(before) == 30


def test_a_canary_passes_by_events_that_another_process_takes(
    tmp_path: Path, simulator: SimulatorProcess, ministack: Ministack
) -> None:
    queue = events_queues.Desk(ministack.endpoint_url).queue()
    simulator.settings(events_queue_url=queue.url)
    desk = Desk(tmp_path, simulator.url)
    apart = {"events.queues": [queue.url], "events.endpoint_url": ministack.endpoint_url, "events.apart": True}
    campaign = desk.plan(good(600), body=BODY)
    config = f"""
        store = "sqlite:{tmp_path / ".bulksend"}"
        [aws]
        region = "eu-west-1"
        [events]
        queues = ["{queue.url}"]
        endpoint_url = "{ministack.endpoint_url}"
        apart = true
        """
    (tmp_path / "config.toml").write_text(config, "utf-8")
    log = tmp_path / "consumer.log"
    log.touch()
    with Forked("events", "consume", "--output", "json", folder=tmp_path, log=log) as consumer:
        try:
            sent = worker.send(campaign, settings_for(simulator.url, **apart), desk.store())
        finally:
            consumer.send_signal(signal.SIGTERM)

    assert (sent.campaign.state, sent.tally.accepted) == (CampaignState.FINISHED, 600)
    passed_at = sent.campaign.canary_passed_at
    assert passed_at is not None
    assert len([one for one in simulator.accepted(campaign.id) if one["at"] < passed_at]) == 30
    taken = desk.store().events.tally(campaign.id).mails
    assert 30 <= taken <= 600
    assert f"{taken} new events" in log.read_text("utf-8")  # all that the store has came through that process
