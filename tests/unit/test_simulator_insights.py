"""How often the simulator may be asked for insights and metrics, and what events tell it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from bulksend.event import EventType
from bulksend.simulator.account import Account
from bulksend.simulator.answers import SesError
from bulksend.simulator.asked import Asked
from bulksend.simulator.event_mails import mails
from bulksend.simulator.event_shapes import BOUNCE, Fate
from bulksend.simulator.events import Emitter
from bulksend.simulator.settings import SimulatorSettings
from bulksend.simulator.tally import message_ids
from bulksend.simulator.validate import bulk_entries
from tests.simulated_ses import CAMPAIGN, bulk

NOON = 1_800_014_400.0
DAY_S = 86_400


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> float:
        return self.at


class Stand:
    """An account by itself, on a clock of the test's."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.account = Account(SimulatorSettings(), now=self.clock, steady=self.clock)
        self.requests = 0

    def send(self, *addresses: str, **more: Any) -> list[str]:
        """What SendBulkEmail does once it has accepted a call; the message ids."""
        self.requests += 1
        call = bulk(*addresses, **more)
        entries = bulk_entries(call, strict_addresses=False)
        places = list(range(len(entries)))
        self.account.tally.accept(self.requests, places, entries, self.account.now())
        self.account.insights.accepted(entries[0].campaign, call)
        made = message_ids(self.account.run, self.requests)
        self.last = list(mails(call, [made(place) for place in places], places, self.clock(), "eu-west-1"))
        return [made(place) for place in places]

    def befell(self, place: int, *fates: Fate) -> None:
        mail = self.last[place]
        self.account.insights.befell(mail, [(fate, mail.addresses) for fate in fates])

    def insights(self, message_id: str) -> list[str]:
        reply = self.account.insights.get(Asked("GetMessageInsights", (message_id,), {}, b"", ""))
        return [event["Type"] for one in json.loads(reply.body)["Insights"] for event in one["Events"]]

    def metrics(self, *metrics: str, days: int = 1) -> dict[str, list[int]]:
        start = NOON // DAY_S * DAY_S
        query = {"Namespace": "VDM", "StartDate": start, "EndDate": start + days * DAY_S}
        body = json.dumps({"Queries": [{"Id": name, "Metric": name, **query} for name in metrics]})
        reply = self.account.insights.metrics(Asked("BatchGetMetricData", (), {}, body.encode(), ""))
        return {one["Id"]: one["Values"] for one in json.loads(reply.body)["Results"]}


def test_insights_once_per_second() -> None:
    stand = Stand()
    (message_id,) = stand.send("a@example.com")
    assert stand.insights(message_id) == ["SEND", "DELIVERY"]
    stand.clock.at += 0.5
    with pytest.raises(SesError, match="TooManyRequestsException") as caught:
        stand.insights(message_id)
    assert caught.value.http_status == 429
    stand.clock.at += 0.5
    stand.insights(message_id)
    stand.account.apply(stand.account.settings.patched({"enforce": False}))
    for _ in range(3):
        stand.insights(message_id)


def test_metrics_16_times_and_160_queries_per_second() -> None:
    stand = Stand()
    names = ("SEND", "DELIVERY", "COMPLAINT", "OPEN", "CLICK", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE")
    for _ in range(16):
        stand.metrics("SEND")
    with pytest.raises(SesError, match="TooManyRequestsException"):
        stand.metrics("SEND")
    stand.clock.at += 1
    for _ in range(15):
        stand.metrics(*names, "DELIVERY_OPEN", "DELIVERY_CLICK", "DELIVERY_COMPLAINT")
    stand.metrics(*names)
    stand.clock.at += 1
    for _ in range(16):
        stand.metrics(*names, "DELIVERY_OPEN", "DELIVERY_CLICK", "DELIVERY_COMPLAINT")


def test_what_events_tell_is_in_insights_and_metrics() -> None:
    stand = Stand()
    ids = stand.send(*[f"u{n}@example.com" for n in range(7)])
    sent = Fate(EventType.SEND)
    stand.befell(0, sent, Fate(EventType.DELIVERY))
    stand.befell(1, sent, BOUNCE)
    stand.befell(2, sent, Fate(EventType.BOUNCE, "Transient", "MailboxFull"))
    stand.befell(3, sent, Fate(EventType.DELIVERY), Fate(EventType.COMPLAINT))
    stand.befell(4, Fate(EventType.RENDERING_FAILURE))
    stand.befell(5, sent, Fate(EventType.DELIVERY_DELAY), Fate(EventType.DELIVERY), Fate(EventType.OPEN))
    told = []
    for message_id in ids:
        told.append(stand.insights(message_id))
        stand.clock.at += 1
    assert told == [
        ["SEND", "DELIVERY"],
        ["SEND", "BOUNCE"],
        ["SEND", "BOUNCE"],
        ["SEND", "DELIVERY", "COMPLAINT"],
        ["RENDERING_FAILURE"],
        ["SEND", "DELIVERY_DELAY", "DELIVERY", "OPEN"],
        ["SEND", "DELIVERY"],
    ]
    stand.clock.at = NOON + DAY_S
    stand.send("v@example.com")
    wanted = ("SEND", "DELIVERY", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE", "COMPLAINT", "OPEN", "CLICK")
    assert stand.metrics(*wanted, days=2) == {
        "SEND": [7, 1],
        "DELIVERY": [4, 1],
        "PERMANENT_BOUNCE": [1, 0],
        "TRANSIENT_BOUNCE": [1, 0],
        "COMPLAINT": [1, 0],
        "OPEN": [1, 0],
        "CLICK": [0, 0],
    }
    assert stand.account.tally.summary(CAMPAIGN)["accepted"] == 8


def test_a_suppressed_address_bounces_by_events_too() -> None:
    stand = Stand()
    stand.account.apply(
        stand.account.settings.patched({"events_queue_url": "http://127.0.0.1:9/1/q", "events_shape": "raw"})
    )
    listed = json.dumps({"EmailAddress": "gone@example.com", "Reason": "BOUNCE"}).encode()
    stand.account.suppression.put(Asked("PutSuppressedDestination", (), {}, listed, ""))
    (message_id,) = stand.send("Gone@example.com", ConfigurationSetName="marketing")

    async def told() -> list[dict[str, Any]]:
        emitter = Emitter(stand.account)
        call = bulk("Gone@example.com", ConfigurationSetName="marketing")
        emitter.accepted(stand.requests, json.dumps(call).encode(), [0])
        emitter._unfold_some(float("inf"))
        messages = [json.loads(one.text) for one in emitter._messages]
        await emitter.close()
        return messages

    (event,) = asyncio.run(told())
    assert (event["mail"]["messageId"], event["bounce"]["bounceSubType"]) == (message_id, "OnAccountSuppressionList")
    stand.account.suppression.reset()
    assert stand.insights(message_id) == ["SEND", "BOUNCE"], "what has happened stays"
