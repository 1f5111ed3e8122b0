"""Contact lists of SES as a campaign's list: who of them is written to, and what is left of it on the disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import structlog

from bulksend import worker
from bulksend.cli import run
from bulksend.config import load_campaign
from bulksend.errors import CampaignChangedError, ConfigError, ListError
from bulksend.model import Campaign
from bulksend.ses import contacts as asked
from bulksend.simulator import SimulatorProcess
from bulksend.worker.contacts import ContactSource
from bulksend.worker.samples import samples_of
from tests.harness import REGION, settings_for

TOPICS = {"news": "OPT_OUT", "offers": "OPT_IN"}
CHOICES = (None, "OPT_IN", "OPT_OUT")
EVERYBODY = [
    (f"{news}.{offers}.{'gone' if gone else 'here'}@example.com".lower(), news, offers, gone)
    for news, offers, gone in itertools.product(CHOICES, CHOICES, (False, True))
]


@pytest.fixture(autouse=True)
def _at_simulator(simulator: SimulatorProcess, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert Path.cwd() == in_folder
    monkeypatch.setenv("BULKSEND_AWS_ENDPOINT_URL", simulator.url)
    monkeypatch.setenv("BULKSEND_AWS_REGION", REGION)
    monkeypatch.setattr(asked, "CALL_EVERY_S", 0.0)
    monkeypatch.setattr(asked, "PAGE_SIZE", 7)
    yield
    structlog.reset_defaults()


@pytest.fixture
def people(simulator: SimulatorProcess) -> Any:
    """A list with a contact for each way to be subscribed or not; the client that made it."""
    client = boto3.client("sesv2", endpoint_url=simulator.url, region_name=REGION)
    topics = [
        {"TopicName": name, "DisplayName": name, "DefaultSubscriptionStatus": status} for name, status in TOPICS.items()
    ]
    client.create_contact_list(ContactListName="people", Topics=topics)
    for address, news, offers, gone in EVERYBODY:
        chosen = [
            {"TopicName": name, "SubscriptionStatus": status}
            for name, status in (("news", news), ("offers", offers))
            if status is not None
        ]
        client.create_contact(
            ContactListName="people", EmailAddress=address, TopicPreferences=chosen, UnsubscribeAll=gone
        )
    return client


def campaign_file(path: str, name: str = "launch", more: str = "") -> Path:
    file = Path(f"{name}.toml")
    file.write_text(
        f'name = "{name}"\n[sender]\nfrom = "news@example.com"\n[content]\ntemplate = "launch"\n'
        f'[recipients]\npath = "{path}"\n{more}',
        "utf-8",
    )
    return file


def planned(url: str, path: str, name: str = "launch", **more: Any) -> tuple[worker.Store, Campaign]:
    settings = settings_for(url)
    store = worker.Store.open(settings, Path.cwd())
    return store, worker.plan(load_campaign(campaign_file(path, name)), settings, store, **more).campaign


@pytest.mark.parametrize("topic", [None, *TOPICS])
@pytest.mark.usefixtures("people")
def test_only_the_subscribed_are_written_to(simulator: SimulatorProcess, topic: str | None) -> None:
    path = "contacts://people" if topic is None else f"contacts://people?topic={topic}"
    subscribed = {
        address
        for address, news, offers, gone in EVERYBODY
        if not gone and (topic is None or ({"news": news, "offers": offers}[topic] or TOPICS[topic]) == "OPT_IN")
    }
    store, campaign = planned(simulator.url, path)
    rows = list(worker.results(store, campaign, ()))
    assert {row.address for row in rows if row.state == "pending"} == subscribed
    skipped = {row.address: row for row in rows if row.state == "skipped"}
    assert {row.status for row in skipped.values()} == {"suppressed"}
    assert skipped["none.opt_in.gone@example.com"].reason == (
        "has unsubscribed from everything of the contact list people"
    )
    if topic == "news":
        assert "not opted in to the topic news" in skipped["none.opt_in.here@example.com"].reason
        assert skipped["opt_out.opt_in.here@example.com"].reason == "has opted out of the topic news"
    assert campaign.rows == len(EVERYBODY) == len(rows)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_limit_counts_those_who_are_written_to(simulator: SimulatorProcess, limit: int) -> None:
    store, campaign = planned(simulator.url, "contacts://people", limit=limit)
    subscribed = [address for address, _, _, gone in EVERYBODY if not gone]
    assert campaign.entries == min(limit, len(subscribed))
    assert store.journal.tally(campaign).adds_up


@pytest.mark.usefixtures("people")
def test_columns_are_what_a_list_of_contacts_tells(simulator: SimulatorProcess) -> None:
    store, campaign = planned(simulator.url, "contacts://people?topic=offers")
    with store.read_snapshot(campaign) as reader:
        samples = samples_of(reader)
    rows = {row.row: row.address for row in worker.results(store, campaign, ())}
    for sample in samples:
        news, offers = rows[sample.row].split(".")[:2]
        assert set(sample.data) == {"updated_at", "topic_news", "topic_offers"}
        assert datetime.fromisoformat(str(sample.data["updated_at"])).tzinfo is not None
        assert sample.data["topic_news"] == (TOPICS["news"] if news == "none" else news.upper())
        assert sample.data["topic_offers"] == (TOPICS["offers"] if offers == "none" else offers.upper())


@pytest.mark.usefixtures("people")
def test_nothing_of_it_is_left_but_the_snapshot(simulator: SimulatorProcess) -> None:
    seen: list[tuple[str, int]] = []

    def look(_rows: int) -> None:
        seen.extend((path.name, path.stat().st_mode & 0o777) for path in Path(".bulksend/snapshots").rglob("*.csv"))

    store, _ = planned(simulator.url, "contacts://people", on_progress=look)
    assert set(seen) == {("contacts.csv", 0o600)}
    assert [path for path in store.folder.rglob("*") if path.suffix == ".csv" or path.name.endswith(".planning")] == []


@pytest.mark.usefixtures("people")
def test_a_known_campaign_is_not_fetched_again(simulator: SimulatorProcess) -> None:
    _, campaign = planned(simulator.url, "contacts://people")
    simulator.reset()  # and with it the contact lists
    assert planned(simulator.url, "contacts://people")[1].id == campaign.id
    with pytest.raises(
        CampaignChangedError, match=r"recipients\.path \(was contacts://people, is contacts://people\?t"
    ):
        planned(simulator.url, "contacts://people?topic=news")


def test_the_same_people_and_mail_under_another_name(people: Any, simulator: SimulatorProcess) -> None:
    planned(simulator.url, "contacts://people")
    with pytest.raises(CampaignChangedError, match="same list and content"):
        planned(simulator.url, "contacts://people", "more")
    people.update_contact(ContactListName="people", EmailAddress=EVERYBODY[0][0], UnsubscribeAll=True)
    assert planned(simulator.url, "contacts://people", "more")[1].name == "more"


@pytest.mark.usefixtures("people")
def test_throttled_it_asks_again(simulator: SimulatorProcess) -> None:
    refusal = {"fault": "http", "operation": "ListContacts", "status": 429, "code": "TooManyRequestsException"}
    simulator.rules([{**refusal, "text": "slower", "share": 1.0, "times": 2}])
    assert planned(simulator.url, "contacts://people")[1].rows == len(EVERYBODY)
    assert simulator.rules()[0]["fired"] == 2


def test_what_is_not_there_is_said(people: Any, simulator: SimulatorProcess) -> None:
    with pytest.raises(ListError, match="no contact list 'nobody' in eu-west-1"):
        planned(simulator.url, "contacts://nobody")
    with pytest.raises(ListError, match=r"has no topic 'x'\. Its topics are: news, offers"):
        planned(simulator.url, "contacts://people?topic=x")
    people.create_contact_list(ContactListName="empty")
    with pytest.raises(ListError, match="'empty' is empty"):
        planned(simulator.url, "contacts://empty")
    settings = settings_for(simulator.url)
    file = load_campaign(campaign_file("contacts://people", more='address = "adress"'))
    with pytest.raises(ListError, match="contacts://people: there is no column 'adress'"):
        worker.plan(file, settings, worker.Store.open(settings, Path.cwd()))


@pytest.mark.parametrize(
    "path", ["contacts://", "contacts://a b", "contacts://a?topic=", "contacts://a?x=y", "ftp://a"]
)
def test_other_urls_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="contacts://LIST"):
        load_campaign(campaign_file(path))


@pytest.mark.usefixtures("people")
def test_a_rehearsal_reads_no_more_than_it_needs(simulator: SimulatorProcess) -> None:
    campaign_file("contacts://people")
    assert run(["send", "launch.toml", "--dry-run", "--limit", "3"]) == 0
    calls = [one for one in simulator.requests() if one["operation"] == "ListContacts"]
    assert len(calls) == 1
    assert not any(one["operation"] == "SendBulkEmail" for one in simulator.requests())


def test_a_path_is_no_url_of_a_contact_list() -> None:
    assert ContactSource.of(Path("contacts://people")) is None
    assert ContactSource.of("s3://bucket/list.csv") is None
    assert ContactSource.of("contacts://people?topic=news") == ContactSource(
        "contacts://people?topic=news", "people", "news"
    )
