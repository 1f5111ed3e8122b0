"""A worker that takes events beside what it sends, and goes on without them when it cannot have them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from bulksend.facts import EventsHeldUp
from bulksend.journal import SqliteEvents
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from bulksend.worker import consuming as consuming_module
from bulksend.worker.consuming import consuming
from tests.events_queues import REGION, Desk
from tests.harness import Facts, settings_for
from tests.independent import Ministack
from tests.integration.test_conservation import planned
from tests.ses_reports import CAMPAIGN, raw, report
from tests.worker_process import WorkerProcess, told, until


def labels_of(simulator: SimulatorProcess) -> dict[str, str]:
    """Of the series of its events: what stands for SES is the account, as where mails are counted."""
    return {"account": urlsplit(simulator.url).netloc, "region": REGION}


@pytest.fixture
def desk(ministack: Ministack) -> Desk:
    return Desk(ministack.endpoint_url)


def environment(simulator: SimulatorProcess, desk: Desk, *urls: str) -> dict[str, str]:
    return {
        "BULKSEND_AWS_ENDPOINT_URL": simulator.url,
        "BULKSEND_EVENTS_QUEUES": ",".join(urls),
        "BULKSEND_EVENTS_ENDPOINT_URL": desk.endpoint_url,
        "BULKSEND_STORE": "sqlite:store",
        "AWS_REGION": REGION,
    }


def test_a_worker_takes_events_without_any_campaign(desk: Desk, simulator: SimulatorProcess, in_folder: Path) -> None:
    queues = [desk.queue(), desk.queue()]
    for place, queue in enumerate(queues):
        desk.fill(queue.url, [raw(report("delivery", row=n, message_id=f"m-{n}")) for n in range(place, 40, 2)])
    desk.fill(queues[0].url, ["hello"])
    events = SqliteEvents(in_folder / "store" / "events.db")
    with WorkerProcess(in_folder, environment=environment(simulator, desk, *(queue.url for queue in queues))) as worker:
        until(lambda: events.tally(CAMPAIGN).mails == 40, "all events are in")
        until(lambda: all(desk.left(queue.url) == (0, 0) for queue in queues), "all messages are gone")
        labels = labels_of(simulator)
        assert told(worker, "bulksend_events_total", type="delivery", **labels) == 40
        assert told(worker, "bulksend_events_unreadable_total", **labels) == 1
        assert told(worker, "bulksend_events_held_up", **labels) == 0
        assert told(worker, "bulksend_event_lag_seconds", **labels) > 0
        assert worker.stop() == 0
        assert "@" not in worker.said()
    assert desk.bodies(queues[0].dead_url) == ["hello"]


def test_without_its_queue_a_worker_is_ready_and_takes_events_when_it_is_there(
    desk: Desk, simulator: SimulatorProcess, in_folder: Path
) -> None:
    url = desk.plain_queue("to-come")
    desk.sqs.delete_queue(QueueUrl=url)
    with WorkerProcess(in_folder, environment=environment(simulator, desk, url)) as worker:
        labels = labels_of(simulator)
        until(lambda: told(worker, "bulksend_events_held_up", **labels) == 1, "the metric says so")
        assert worker.ask("GET", "/readyz")[0] == 200
        assert worker.said().count("events are held up") == 1
        assert f"there is no queue {url}" in worker.said()
        desk.plain_queue("to-come")
        desk.fill(url, [raw(report("bounce"))])
        until(lambda: told(worker, "bulksend_bounces_total", kind="permanent", **labels) == 1, "the event is in")
        assert told(worker, "bulksend_events_held_up", **labels) == 0
        assert worker.stop() == 0


def test_a_store_that_is_told_of_another_s_campaign_says_so_once(
    desk: Desk, simulator: SimulatorProcess, in_folder: Path
) -> None:
    queues = [desk.queue(), desk.queue()]
    urls = [queue.url for queue in queues]
    settings = settings_for(simulator.url, **{"events.queues": urls, "events.endpoint_url": desk.endpoint_url})
    store = Store.at(in_folder / "store")
    both = (planned(store.journal).id, "another")
    for place, url in enumerate(urls):
        desk.fill(url, [raw(report("bounce", campaign=one, row=n)) for n in (place, place + 2) for one in both])

    async def main() -> None:
        async with consuming(store, settings), asyncio.timeout(20):
            while any(store.events.tally(one).mails < 4 for one in both) or any(map(busy, urls)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def busy(url: str) -> bool:
        return desk.left(url) != (0, 0)

    with capture_logs() as said:
        asyncio.run(main())
    warned = [one for one in said if "does not have" in one["event"]]
    assert [one["campaign_id"] for one in warned] == ["another"]
    assert "one store" in warned[0]["remedy"]
    assert "@" not in str(said)


def test_without_credentials_for_its_queue_a_worker_says_so_once_and_goes_on(
    desk: Desk, simulator: SimulatorProcess, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming_module, "TRY_AGAIN_S", 0.01)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    queue = desk.queue()
    settings = settings_for(simulator.url, **{"events.queues": [queue.url], "events.endpoint_url": desk.endpoint_url})
    store, told_of = Store.at(in_folder / "store"), Facts()
    news: list[frozenset[str]] = []

    async def main() -> None:
        async with consuming(store, settings, observers=[told_of], on_recorded=news.append):
            await asyncio.sleep(0.3)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
            desk.sqs.send_message(QueueUrl=queue.url, MessageBody=raw(report("bounce")))
            async with asyncio.timeout(20):
                while not news:  # noqa: ASYNC110  it is another thread that is waited for
                    await asyncio.sleep(0.01)

    asyncio.run(main())
    assert news == [{CAMPAIGN}]
    reasons = [fact.reason for fact in told_of.seen if isinstance(fact, EventsHeldUp)]
    assert ["no AWS credentials" in reason for reason in reasons] == [False, True, False]
    assert reasons[0] == reasons[2] == ""
