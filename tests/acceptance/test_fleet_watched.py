"""What the workers of a fleet tell of themselves, of the account and of the store."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet import Fleet
from tests.worker_process import told, until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 1000, "latency_ms": 30}


def test_each_counts_what_it_does_itself_and_tells_the_same_of_account_and_store(fleet: Fleet) -> None:
    fleet.simulator.settings(latency_ms=2000)  # it lasts twenty seconds
    campaign = fleet.submit("launch", 4000)
    both = fleet.workers(2)
    until(lambda: all(told(one, "bulksend_entries_total") > 0 for one in both), "both send")
    # How often a store is counted hangs on how long that takes; but whoever is done with a campaign does it at once.
    fleet.await_state("finished", fleet.submit("other", 50))
    until(lambda: any(told(one, "bulksend_chunks", state="leased") > 0 for one in both), "chunks are on lease")
    for one in both:
        assert told(one, "bulksend_pace_recipients_per_second", region="eu-west-1") == 1000
        assert told(one, "bulksend_sending_enabled") == 1
        assert told(one, "bulksend_event_loop_lag_seconds_count") > 0
        assert told(one, "bulksend_journal_group_operations_sum") > 0
        assert told(one, "bulksend_snapshot_read_entries_total") > 0
    fleet.simulator.settings(latency_ms=30)
    fleet.await_state("finished", campaign)
    accepted = [told(one, "bulksend_entries_total", verdict="accepted") for one in both]
    assert (sum(accepted), fleet.tally(campaign).accepted) == (4050, 4000)
    until(lambda: all(told(one, "bulksend_campaigns", state="finished") == 2 for one in both), "it is counted anew")
    assert [told(one, "bulksend_workers") for one in both] == [2, 2]
    assert [told(one, "bulksend_in_flight_requests") for one in both] == [0, 0]
    assert [told(one, "bulksend_sendable_entries") for one in both] == [0, 0]


def test_a_campaign_that_waits_for_its_hours_from_the_beginning_is_told(fleet: Fleet) -> None:
    fleet.submit("later", 200, "[schedule]\nnot_before = 2099-01-01T09:00:00Z\n")
    (worker,) = fleet.workers(1)
    until(lambda: told(worker, "bulksend_waiting", why="schedule") == 1, "it waits for its schedule")
    assert told(worker, "bulksend_sendable_entries") == 0
    assert told(worker, "bulksend_campaign_entries", state="pending") == 200
