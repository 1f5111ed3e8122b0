"""trace: what journal, list, events and SES itself know of one address or mail, in both stores."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.errors import CampaignUnknownError, UsageError
from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason
from bulksend.journal import Standstill
from bulksend.model import Campaign, CampaignState, Halt, HaltScope, SettlementVerdict
from bulksend.report import Trace, trace_facts
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from bulksend.worker.settlement import settle
from bulksend.worker.tracing import trace
from tests.harness import CAMPAIGN, settings_for, write_list
from tests.independent import Ministack

REJECTED = "fault.message_rejected+b@example.com"
LOST = "fault.close_after_accepting+d@example.com"
ADDRESSES = ["Ada@Bücher.example", REJECTED, "c@example.com", "no address", "ada@xn--bcher-kva.example"]


@dataclass
class Desk:
    """A store with a campaign that was sent: accepted, rejected, accepted, invalid, duplicate."""

    folder: Path
    settings: Settings

    @property
    def store(self) -> Store:
        return Store.open(self.settings, self.folder)

    def campaign(self, name: str = "launch") -> Campaign:
        return self.store.journal.campaign(name)

    def send(self, name: str, addresses: Sequence[str]) -> None:
        write_list(self.folder / "list.csv", addresses)
        path = self.folder / f"{name}.toml"
        path.write_text(CAMPAIGN.format(name=name, dedupe="true"), "utf-8")
        planned = worker.plan(load_campaign(path), self.settings, self.store)
        worker.send(planned.campaign, self.settings, self.store)

    def message_id(self, row: int, name: str = "launch") -> str:
        return next(one.message_id for one in worker.results(self.store, self.campaign(name)) if one.row == row)

    def report(self, kind: EventType, row: int, *, name: str = "launch", after_s: float = 60.0, **more: Any) -> None:
        """An event of a row's mail, so long after it was planned."""
        campaign = self.campaign(name)
        at = campaign.created_at + after_s
        given: dict[str, Any] = {
            "message_id": self.message_id(row, name),
            "campaign_id": campaign.id,
            "row": row,
        } | more
        key = f"{kind}{given['message_id']}{after_s}".encode()[-16:].rjust(16)
        self.store.events.record([MailEvent(key, kind, at=at, sent_at=campaign.created_at, **given)], at)

    def trace(self, asked: str, **more: Any) -> Trace:
        return trace(self.store, asked, self.settings, **more)


@pytest.fixture(params=["sqlite", "postgres"])
def desk(request: pytest.FixtureRequest, tmp_path: Path, simulator: SimulatorProcess) -> Desk:
    more: dict[str, object] = {}
    if request.param == "postgres":
        more = {"store": request.getfixturevalue("database_url"), "snapshots": str(tmp_path / "snapshots")}
    made = Desk(tmp_path, settings_for(simulator.url, **more))
    made.send("launch", ADDRESSES)
    return made


@pytest.fixture
def on_sqlite(tmp_path: Path, simulator: SimulatorProcess) -> Callable[..., Desk]:
    def make(addresses: Sequence[str] = ("a@example.com",)) -> Desk:
        made = Desk(tmp_path, settings_for(simulator.url))
        made.send("launch", addresses)
        return made

    return make


def kinds(found: Trace) -> list[str]:
    return [step.kind for step in found.steps]


def test_one_store_from_sending_to_what_events_say(desk: Desk) -> None:
    found = desk.trace("ADA@Bücher.example ")
    assert kinds(found) == ["skipped", "request", "answer"]
    assert found.steps[-1].message_id == desk.message_id(1)
    first, second = found.answers
    assert "row 1: accepted by SES at" in first
    assert "row 5: no, it was left out of the plan, as duplicate: same address as row 1" in second

    (refused,) = desk.trace(REJECTED).answers
    assert "row 2: no, it was refused for good at" in refused
    assert "MESSAGE_REJECTED" in refused

    (invalid,) = desk.trace("no address").answers
    assert "row 4: no, it was left out of the plan, as invalid" in invalid

    desk.report(EventType.DELIVERY, 1, recipients=("ada@xn--bcher-kva.example",))
    desk.report(EventType.BOUNCE, 3, bounce=BounceKind.PERMANENT, subtype="NoEmail", detail="550 no such user")
    assert "row 1: yes, it was accepted at" in desk.trace("ada@xn--bcher-kva.example").answers[0]
    (bounced,) = desk.trace("c@example.com").answers
    assert "row 3: no, it bounced for good at" in bounced
    assert bounced.endswith("(NoEmail): 550 no such user")

    for asked in (message_id := desk.message_id(3), f"<{message_id}@email.amazonses.com>"):
        by_id = desk.trace(asked)
        assert by_id.answers == (bounced.replace("row 3:", "row 3, c@example.com:"),), "it tells whose mail it was"
        assert kinds(by_id) == ["request", "answer", "event"]
        assert trace_facts(by_id)["mails"] == [{"campaign": "launch", "row": 3, "address": "c@example.com"}]
    assert trace_facts(desk.trace("c@example.com"))["mails"] == trace_facts(by_id)["mails"]

    assert [desk.trace(asked).known for asked in ("nobody@example.com", "0" * 60, "%", "who")] == [False] * 4


def test_doubt_is_told_with_what_was_decided_of_it(desk: Desk) -> None:
    desk.send("second", [LOST])
    found = desk.trace(LOST)
    assert kinds(found) == ["request", "answer"]
    assert "second, row 1: in doubt since" in found.answers[0]
    store, campaign = desk.store, desk.campaign("second")
    worker.resolve(store, campaign, list(worker.doubts(store, campaign)), SettlementVerdict.ACCEPTED, "she said so")
    found = desk.trace(LOST)
    assert kinds(found) == ["request", "answer", "decision"]
    assert found.steps[-1].says == "it was decided that SES had accepted it: she said so"
    assert (
        "second, row 1: not known, no answer told whether SES accepted it; it was taken for accepted by a"
        in (found.answers[0])
    )
    assert found.answers[0].endswith(": she said so")


def test_a_doubt_that_was_given_up_was_not_refused(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite([LOST])
    store, campaign = desk.store, desk.campaign()
    worker.resolve(store, campaign, list(worker.doubts(store, campaign)), SettlementVerdict.DROP, "the offer is over")
    (answer,) = desk.trace(LOST).answers
    assert "not known, no answer told whether SES accepted it; it was given up by a person at" in answer
    assert answer.endswith(": the offer is over")
    assert "refused" not in answer


def test_what_an_event_settled_is_no_person_s_word(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite([LOST])
    desk.report(EventType.SEND, 1, message_id="0107-of-the-unanswered")
    settle(desk.store, desk.campaign())
    with closing(sqlite3.connect(desk.store.folder / "events.db")) as db:
        db.execute("DELETE FROM event")
        db.commit()
    assert "accepted by SES at" in desk.trace(LOST).answers[0]


def test_a_mail_that_only_an_event_names(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite(ADDRESSES)
    desk.send("second", [LOST])
    desk.report(EventType.DELIVERY, 1, name="second", message_id="0107-seen-in-an-event")
    found = desk.trace("0107-seen-in-an-event")
    assert [step.campaign for step in found.steps] == ["second"] * 3
    assert f"second, row 1, {LOST}: yes, it was delivered at" in found.answers[0]


def test_only_one_campaign_is_searched_where_that_is_asked_for(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite(ADDRESSES)
    desk.send("second", ["c@example.com"])
    assert len(desk.trace("c@example.com").answers) == 2
    (answer,) = desk.trace("c@example.com", campaign="second").answers
    assert answer.startswith("second, row 1")
    assert not desk.trace(desk.message_id(3), campaign="second").known
    with pytest.raises(CampaignUnknownError):
        desk.trace("c@example.com", campaign="third")


def test_who_was_removed_is_not_found_and_a_pruned_list_says_so(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite(ADDRESSES)
    message_id = desk.message_id(3)
    worker.forget(desk.store, "c@example.com")
    assert not desk.trace("c@example.com").known
    assert (
        desk.trace(message_id).answers[0].startswith("launch, row 3, of somebody removed by bulksend forget: accepted")
    )
    worker.prune(desk.store, desk.campaign())
    gone = desk.trace("ada@xn--bcher-kva.example")
    assert (gone.known, "was removed by bulksend prune" in gone.notes[0]) == (False, True)
    found = desk.trace(message_id)
    assert (kinds(found), found.steps[0].row) == (["request", "answer"], None)
    assert found.answers[0].startswith("launch: accepted by SES")


def test_who_is_suppressed_and_in_no_list_is_known(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite()
    desk.store.events.suppress([Suppression("x@example.com", SuppressionReason.COMPLAINT, "an event", 1.0)])
    found = desk.trace("X@example.com")
    assert (found.known, found.answers) == (True, ("X@example.com: it is not in the list of launch",))
    assert "suppressed (complaint)" in found.notes[0]


def test_the_events_tell_whose_mail_it_was_where_the_list_is_gone(on_sqlite: Callable[..., Desk]) -> None:
    desk = on_sqlite()
    message_id = desk.message_id(1)
    desk.report(EventType.BOUNCE, 1, bounce=BounceKind.PERMANENT, recipients=("a@example.com",))
    for file in (desk.store.folder / "snapshots").iterdir():
        file.unlink()
    found = desk.trace(message_id)
    assert "which row it was for cannot be told" in found.notes[0]
    assert found.answers[0].startswith("launch, a@example.com: accepted by SES")


def test_who_left_by_our_link_is_told_so(desk: Desk) -> None:
    campaign = desk.campaign()
    one = Suppression("c@example.com", SuppressionReason.UNSUBSCRIBE, "campaign launch", campaign.created_at + 60)
    desk.store.events.unsubscribe(campaign.id, 3, one)
    for asked in ("c@example.com", desk.message_id(3)):
        found = desk.trace(asked)
        assert kinds(found) == ["request", "answer", "unsubscription"]
        assert (found.steps[-1].row, found.steps[-1].at) == (3, one.at)


def test_nothing_is_asked_about_an_empty_text(on_sqlite: Callable[..., Desk]) -> None:
    with pytest.raises(UsageError):
        on_sqlite().trace("  ")


def test_the_insights_of_ses(on_sqlite: Callable[..., Desk], simulator: SimulatorProcess) -> None:
    desk = on_sqlite()
    found = desk.trace("a@example.com", ask_ses=True)
    assert sorted(kinds(found)) == ["answer", "insight", "insight", "request"]
    assert "yes, it was accepted at" in found.answers[0]
    unknown = desk.trace("0107" * 15, ask_ses=True)
    assert (unknown.known, "SES has no insights into" in unknown.notes[0]) == (False, True), unknown
    nobody = desk.trace("nobody@example.com", ask_ses=True)
    assert "SES was not asked" in nobody.notes[0]
    for status, code, said in (
        (403, "AccessDeniedException", "allow the action ses:GetMessageInsights"),
        (404, "UnknownOperationException", "does not know it"),
        (400, "BadRequestException", "no Virtual Deliverability Manager"),
    ):
        rule = {"fault": "http", "operation": "GetMessageInsights", "status": status, "code": code}
        simulator.rules([{**rule, "text": "no Virtual Deliverability Manager"}])
        found = desk.trace("a@example.com", ask_ses=True)
        assert said in found.notes[0]
        assert kinds(found) == ["request", "answer"]


def test_a_server_without_insights(on_sqlite: Callable[..., Desk], ministack: Ministack, tmp_path: Path) -> None:
    other = settings_for(ministack.endpoint_url)
    desk = on_sqlite()
    found = trace(desk.store, "0107" * 15, other, ask_ses=True)
    assert "no insights" in found.notes[0]
    assert tmp_path.is_dir()


def test_why_it_is_not_sent_yet(desk: Desk) -> None:
    """Of somebody whose mail waits: what for, and what to do."""
    write_list(desk.folder / "list.csv", [f"late{n}@example.com" for n in range(200)])
    path = desk.folder / "late.toml"
    path.write_text(CAMPAIGN.format(name="late", dedupe="true") + '[safety]\ncanary = "1 %, 15 min"\n', "utf-8")
    planned = worker.plan(load_campaign(path), desk.settings, desk.store).campaign
    journal = desk.store.journal

    def said(address: str = "late199@example.com") -> str:
        (answer,) = desk.trace(address).answers
        return answer.removeprefix("late, row 200: not yet, it is still to be sent; ")

    assert said() == "the campaign is only planned; to send it: bulksend send late"
    journal.ask_for(planned, CampaignState.QUEUED)
    if desk.settings.store is None:  # in a database, whoever has sent the other campaign was seen lately
        assert said() == "the campaign is queued, and no worker is there: bulksend worker"
    spent = "the 24-hour quota is spent; it frees from 2026-11-22 12:00:00 UTC"

    async def tell() -> None:
        await journal.tell_standstills([Standstill(spent, planned.id)])

    with journal.sending():
        canary = "it waits for the canary: what becomes of the first 2 of the campaign's mails"
        assert said().startswith(canary)
        asyncio.run(tell())
        assert said().startswith(f"nothing of the campaign goes out: {spent}; {canary}")
        assert said("late1@example.com").endswith(f"; nothing of the campaign goes out: {spent}")
        halt = Halt("the template is gone", "Make it again.", HaltScope.CAMPAIGN)
        asyncio.run(journal.set_state(planned.id, CampaignState.HALTED, halt))
    assert said() == "the campaign is halted: the template is gone. What to do: Make it again."
    journal.ask_for(planned, CampaignState.QUEUED)
    journal.ask_for(planned, CampaignState.PAUSED)
    assert said() == "the campaign is paused; to go on: bulksend resume late"
