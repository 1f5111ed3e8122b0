"""A canary that several workers send: never more than it goes out before it is judged, whoever dies."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from bulksend import worker
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.model import Campaign
from tests.fleet import Fleet, kill
from tests.worker_process import until

CANARY = 120


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 150, "latency_ms": 30}


def campaign_of(fleet: Fleet) -> Campaign:
    return fleet.submit("launch", 300, '[safety]\ncanary = "40 %, 5 min"\n')


def tell(fleet: Fleet, campaign: Campaign, *, bounced: int = 0) -> None:
    """Record what became of every mail that was accepted; the first rows bounced."""
    events = [
        MailEvent(
            key=hashlib.blake2b(row.message_id.encode(), digest_size=16).digest(),
            type=EventType.BOUNCE if row.row <= bounced else EventType.DELIVERY,
            message_id=row.message_id,
            at=row.at or 0.0,
            sent_at=row.at or 0.0,
            campaign_id=campaign.id,
            row=row.row,
            recipients=(row.address,),
            bounce=BounceKind.PERMANENT if row.row <= bounced else None,
        )
        for row in worker.results(fleet.store, campaign, ("accepted",))
    ]
    fleet.store.events.record(events, time.time())


def await_canary(fleet: Fleet, campaign: Campaign) -> None:
    """All of it was tried, and has its answer or is in doubt."""

    def tried() -> bool:
        tally = fleet.tally(campaign)
        return tally.accepted + tally.in_doubt == CANARY

    until(tried, "the canary is out")


def test_two_workers_one_of_whom_is_killed_send_the_canary_and_no_more_until_it_has_passed(fleet: Fleet) -> None:
    campaign = campaign_of(fleet)
    victim, _ = fleet.workers(2)
    fleet.await_accepted(40)
    kill(victim)
    await_canary(fleet, campaign)
    time.sleep(1.5)
    assert fleet.simulator.tally(campaign.id)["rows"] <= CANARY
    assert fleet.tally(campaign).pending == campaign.entries - CANARY
    tell(fleet, campaign)
    fleet.await_state("finished", campaign)
    ((passed_at,),) = fleet.rows("SELECT canary_passed_at FROM campaign")
    ((before,),) = fleet.rows("SELECT sum(count)::int FROM attempt WHERE at < %s", passed_at)
    assert before == CANARY
    ((armed_early,),) = fleet.rows("SELECT armed_at <= (SELECT min(at) FROM attempt) FROM campaign")
    assert armed_early, "who joins does not begin it again"
    theirs, ours = fleet.simulator.tally(campaign.id), fleet.tally(campaign)
    assert not theirs["copies"]
    assert ours.accepted + ours.in_doubt == campaign.entries
    assert ours.adds_up


def test_a_canary_that_bounces_halts_it_and_a_person_may_let_it_go_on(fleet: Fleet) -> None:
    campaign = campaign_of(fleet)
    fleet.workers(1)
    await_canary(fleet, campaign)
    tell(fleet, campaign, bounced=30)
    fleet.await_state("halted", campaign)
    found = fleet.store.journal.campaign("launch")
    assert found.halt is not None
    assert "30 of 120 mails bounced for good" in found.halt.reason
    assert fleet.simulator.tally(campaign.id)["rows"] == CANARY
    fleet.resume(found)
    fleet.await_state("finished", campaign)
    fleet.everybody_once(campaign)
