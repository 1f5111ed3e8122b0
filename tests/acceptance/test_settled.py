"""After a bad day and all its events, nothing that SES accepted is in doubt; the rest sent again doubles nobody."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.config import Settings
from bulksend.model import CampaignState, SettlementVerdict
from bulksend.simulator import SimulatorProcess
from bulksend.worker.consuming import consume
from tests import events_queues
from tests.harness import CAMPAIGN, Desk, settings_for
from tests.independent import Ministack
from tests.integration.test_outcomes import good

ACCEPTED_UNHEARD = (
    *("hang_after_accepting", "reset_after_accepting", "close_after_accepting", "truncated_answer", "malformed_answer"),
    *("empty_answer", "too_few_results", "too_many_results", "bad_gateway_502_accepted", "internal_500_accepted"),
)
NOT_ACCEPTED = ("hang_before_accepting", "reset_before_reading", "gateway_timeout_504")
BODY = CAMPAIGN.replace("[content]", 'configuration_set = "marketing"\n[content]')
LATER_S = 2000.0
"""Past the 31 minutes in which a signature may still be good."""


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {
        "max_send_rate_per_s": 5000.0,
        "enforce": False,
        "bounce_share": 0.04,
        "rendering_failure_share": 0.03,
        "event_duplicate_share": 0.3,
        "event_disorder_share": 0.2,
    }


def addresses() -> list[str]:
    """A fault in each second request or so; each befalls its request once, and not the one that is sent again."""
    listed = good(1500)
    for place, fault in enumerate((*ACCEPTED_UNHEARD, *NOT_ACCEPTED)):
        listed[place * 100 + 7] = f"fault.{fault}.1+{place}@example.com"
    return listed


def test_events_settle_a_bad_day(tmp_path: Path, simulator: SimulatorProcess, ministack: Ministack) -> None:
    queue = events_queues.Desk(ministack.endpoint_url).queue()
    simulator.settings(events_queue_url=queue.url)
    desk = Desk(tmp_path, simulator.url)
    settings = settings_for(
        simulator.url, **{"events.queues": [queue.url], "events.endpoint_url": ministack.endpoint_url}
    )
    campaign = desk.plan(addresses(), body=BODY)
    ended = desk.send(speed=200.0, answer_timeout_s=20.0)
    assert ended.state is CampaignState.FINISHED
    assert ended.tally.in_doubt >= 50 * len(ACCEPTED_UNHEARD)

    take_events(desk, simulator, settings)
    theirs = {one["row"]: one["message_id"] for one in simulator.accepted(campaign.id)}
    assert [row.row for row in desk.results("in_doubt") if row.row in theirs] == []
    left = desk.results("in_doubt")
    assert len(left) == 50 * len(NOT_ACCEPTED)
    agrees(desk, simulator)

    later = max(row.at or 0.0 for row in left) + LATER_S
    store = desk.store(lambda: later)
    found = list(worker.doubts(store, campaign))
    done = worker.resolve(store, campaign, found, SettlementVerdict.RESEND, "no event tells of it")
    assert (done.decided, done.too_early, done.left) == (len(left), 0, 0)
    again = desk.send(start_at_s=later - time.time())
    assert (again.state, again.tally.in_doubt, again.tally.pending) == (CampaignState.FINISHED, 0, 0)

    take_events(desk, simulator, settings)
    agrees(desk, simulator)
    tally = desk.store().journal.tally(campaign)
    assert tally.accepted + tally.dead == tally.rows == simulator.tally(campaign.id)["accepted"]
    with pytest.raises(StopIteration):
        next(worker.doubts(store, campaign))


def take_events(desk: Desk, simulator: SimulatorProcess, settings: Settings) -> None:
    """All of them, as `bulksend events consume --once` does."""
    simulator.flush_events()
    consumed = consume(desk.store(), settings, once=True, announce=lambda _: None)
    assert consumed.events
    assert consumed.unreadable == 0


def agrees(desk: Desk, simulator: SimulatorProcess) -> None:
    """What SES accepted is accepted, or dead since it could not be rendered; nobody twice; every event counted once."""
    store = desk.store()
    campaign = store.journal.campaign(desk.name)
    theirs = {one["row"]: one["message_id"] for one in simulator.accepted(campaign.id)}
    assert simulator.tally(campaign.id)["copies"] == []
    ours = [row for row in desk.results() if row.state in {"accepted", "dead"}]
    assert {row.row: row.message_id for row in ours} == theirs
    assert Counter(row.status for row in ours if row.state == "dead").keys() == {"RENDERING_FAILURE"}
    emitted = simulator.events(campaign.id)["emitted"]
    became = store.became(campaign)
    words = {"Delivery": "delivery", "Bounce": "bounce", "Rendering Failure": "rendering_failure"}
    assert {kind.value: count for kind, count in became.types.items() if kind.value in words.values()} == {
        words[name]: emitted[name] for name in words
    }
    assert (became.rows, became.copies) == (len(theirs), 0)
    fates = Counter(row.fate for row in desk.results())
    assert (fates["delivered"], fates["bounced"]) == (emitted["Delivery"], emitted["Bounce"])
    tally = store.journal.tally(campaign)
    assert tally.adds_up
    assert tally.dead == emitted["Rendering Failure"]
