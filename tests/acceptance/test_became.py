"""What became of mails, as events tell it: in status, results, report and resolve."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import re
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.errors import ExitCode, HaltedError
from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason
from bulksend.facts import BatchSent, Fact
from bulksend.model import (
    Batch,
    BatchKind,
    Campaign,
    CampaignState,
    EntryOutcome,
    EntryState,
    Halt,
    Intent,
    ResultRow,
    Verdict,
)
from bulksend.recipients import SnapshotReader
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Settled, Settler, Store
from bulksend.worker.settlement import heed_events
from bulksend.worker.settling import settling
from tests.acceptance.test_cli import bulksend
from tests.harness import CAMPAIGN, Desk, settings_for
from tests.integration.test_outcomes import good
from tests.worker_process import WorkerProcess, until
from tests.worker_process import told as told_by

BODY = CAMPAIGN.replace("[content]", 'configuration_set = "marketing"\n[content]')
LATER = 4e9
"""Further than the clock of a test's run has gone."""
DIAGNOSTIC = '=HYPERLINK("https://example.com") 550 5.1.1 <good+2@example.com> unknown'


@pytest.fixture
def desk(in_folder: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(in_folder, simulator.url)


def told(campaign: Campaign, row: int, kind: EventType, mail: str, **more: Any) -> MailEvent:
    """An event of a row's mail, a minute ago."""
    at = time.time() - 60
    key = hashlib.blake2b(f"{row} {kind} {mail}".encode(), digest_size=16).digest()
    return MailEvent(key, kind, mail, at, at, campaign.id, row, (f"good+{row}@example.com",), **more)


def record(store: Store, *events: MailEvent) -> None:
    store.events.record(events, time.time())


def sent(desk: Desk, addresses: list[str]) -> tuple[Campaign, dict[int, ResultRow]]:
    desk.plan(addresses, body=BODY)
    desk.send(speed=200.0, answer_timeout_s=20.0)
    return desk.store().journal.campaign(desk.name), {row.row: row for row in desk.results()}


def test_what_became_of_mails(desk: Desk) -> None:
    campaign, rows = sent(desk, good(12))
    before = bulksend("status", "launch")
    assert "No events yet" in before.stdout
    assert json.loads(bulksend("status", "launch", "--output", "json").stdout)["events"]["last_at"] is None
    bounce = {"bounce": BounceKind.PERMANENT, "subtype": "NoEmail", "detail": DIAGNOSTIC}
    record(
        desk.store(),
        *(told(campaign, n, EventType.DELIVERY, rows[n].message_id) for n in range(1, 8)),
        told(campaign, 1, EventType.OPEN, rows[1].message_id),
        told(campaign, 1, EventType.COMPLAINT, rows[1].message_id),
        told(campaign, 2, EventType.BOUNCE, rows[2].message_id, **bounce),
        told(campaign, 9, EventType.BOUNCE, rows[9].message_id, bounce=BounceKind.TRANSIENT, subtype="MailboxFull"),
        told(campaign, 3, EventType.DELIVERY, "another mail of row 3"),
        told(campaign, 10, EventType.RENDERING_FAILURE, rows[10].message_id, detail="Attribute 'name' is not present"),
    )
    status = bulksend("status", "launch")
    assert re.search(r"events of 9 rows, the latest \d+ s ago", status.stdout)
    for words, count in (
        *(("accepted", 11), ("dead", 1), ("delivered", 7), ("opened", 1), ("complained", 1)),
        *(("bounced: permanent", 1), ("bounced: transient", 1), ("rendering failed", 1), ("more than one mail", 1)),
    ):
        assert re.search(rf"^{words} +{count} *$", status.stdout, re.MULTILINE), words
    facts = json.loads(bulksend("status", "launch", "--output", "json").stdout)
    assert (facts["events"]["delivered"], facts["events"]["copies"], facts["events"]["rows"]) == (7, 1, 9)
    assert facts["events"]["bounced"] == {"permanent": 1, "transient": 1, "undetermined": 0}

    every = {int(row["row"]): row for row in csv.DictReader(io.StringIO(bulksend("results", "launch").stdout))}
    assert [every[n]["fate"] for n in (1, 2, 3, 9, 10, 11)] == [
        *("complained", "bounced", "delivered", "bounced", "rendering_failed", ""),
    ]
    assert (every[2]["bounce"], every[2]["bounce_subtype"]) == ("permanent", "NoEmail")
    assert every[2]["diagnostic"] == f"'{DIAGNOSTIC}", "what a spreadsheet would run is defused"
    assert every[2]["bounced_at"].endswith("+00:00")
    assert (every[10]["state"], every[10]["status"]) == ("dead", "RENDERING_FAILURE")
    of = bulksend("results", "launch", "--fate", "bounced", "--fate", "opened", "--format", "jsonl").stdout
    assert [json.loads(line)["row"] for line in of.splitlines()] == [1, 2, 9]
    assert bulksend("results", "launch", "--fate", "bounced", "--format", "list").returncode == 2

    again = bulksend("retry", "launch", "--status", "RENDERING_FAILURE")
    assert "pending again: 1" in again.stderr
    assert "pending again: 0" in bulksend("retry", "launch").stderr, "the same event does not refuse it again"

    assert bulksend("report", "launch").returncode == 0
    page = (desk.folder / "launch-report.html").read_text("utf-8")
    assert "Delivered and bounced" in page
    assert "permanent NoEmail" in page.replace("<wbr>", "")
    assert "good+2@example.com" not in page


def test_of_a_campaign_of_which_nothing_was_sent_no_events_are_awaited(desk: Desk) -> None:
    desk.plan(good(2), body=BODY)
    assert "No events yet" not in bulksend("status", "launch").stdout
    assert bulksend("cancel", "launch", "--yes").returncode == 0
    status = bulksend("status", "launch")
    assert "launch is cancelled" in status.stdout
    assert "No events yet" not in status.stdout


def test_who_left_by_our_link_is_told_before_any_event_comes(desk: Desk) -> None:
    campaign, _ = sent(desk, good(2))
    desk.store().events.unsubscribe(
        campaign.id, 2, Suppression("x@example.com", SuppressionReason.UNSUBSCRIBE, "", LATER)
    )
    status = bulksend("status", "launch").stdout
    assert "No events yet" in status
    assert re.search(r"^unsubscribed +1 *$", status, re.MULTILINE)
    assert "by events of" not in status
    assert bulksend("report", "launch").returncode == 0
    page = (desk.folder / "launch-report.html").read_text("utf-8")
    assert "<td>Unsubscribed</td>" in page or "Unsubscribed" in page
    assert "By events of" not in page


def test_doubt_is_settled_by_whoever_asks(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(3), "fault.hang_after_accepting.1@example.com"])
    assert "In doubt means that SES may have accepted it, the oldest for" in bulksend("status", "launch").stdout
    shown = json.loads(bulksend("resolve", "launch", "--output", "json").stdout)
    assert [row["row"] for row in shown] == [1, 2, 3, 4]
    assert shown[0]["status"] == "NO_ANSWER"
    # It is in doubt since its request, not since that was given up: everybody says the same.
    since = json.loads(bulksend("status", "launch", "--output", "json").stdout)["in_doubt_since"]
    assert [row["at"] for row in shown] == [since] * 4
    instant = f"{datetime.fromtimestamp(since, UTC):%F %T} UTC"
    assert instant in bulksend("resolve", "launch").stderr
    assert f"in doubt since {instant}" in bulksend("trace", "good+1@example.com").stdout
    assert {row.at for row in desk.results("in_doubt")} == {since}
    assert json.loads(bulksend("resolve", "launch", "--status", "OTHER", "--output", "json").stdout) == []
    assert json.loads(bulksend("resolve", "launch", "--older-than", "1 day", "--output", "json").stdout) == []
    assert "such as '15 min'" in bulksend("resolve", "launch", "--older-than", "soon").stderr
    record(desk.store(), told(campaign, 2, EventType.DELIVERY, "m2"), told(campaign, 4, EventType.BOUNCE, "m4"))
    shown = json.loads(bulksend("resolve", "launch", "--output", "json").stdout)
    assert [row["row"] for row in shown] == [1, 3]
    settled = {row.row: row for row in desk.results("accepted")}
    assert (settled[2].status, settled[2].message_id) == ("SETTLED", "m2")
    assert settled[2].reason.startswith("SES reported mail m2 at ")


def test_whoever_sends_a_campaign_settles_first(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    record(desk.store(), told(campaign, 1, EventType.SEND, "m1"), told(campaign, 2, EventType.SEND, "m2"))
    resumed = bulksend("resume", "launch", "--output", "json", url=desk.url)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["accepted"] == 2
    store = desk.store()
    heed_events(store, campaign, lambda _: None)
    assert store.journal.evidence is not None
    assert [one.message_id for one in store.journal.evidence(campaign.id, [1])] == ["m1"]


def test_whoever_has_sent_a_campaign_settles_before_it_is_counted(desk: Desk) -> None:
    """The event came while the answer was still awaited: to a process of its own, which had nothing to settle then."""
    campaign = desk.plan([*good(1), "fault.reset_after_accepting.1@example.com"], body=BODY)

    class Elsewhere:
        def observe(self, fact: Fact) -> None:
            if isinstance(fact, BatchSent):
                record(desk.store(), *(told(campaign, row, EventType.SEND, f"m{row}") for row in (1, 2)))

    done = worker.send(campaign, settings_for(desk.url), desk.store(), observers=[Elsewhere()])
    assert (done.tally.accepted, done.tally.in_doubt, done.exit_code) == (2, 0, ExitCode.DONE)


def test_a_second_refusal_of_a_row_counts_as_well(desk: Desk) -> None:
    """Settled by one process all the time."""
    campaign, rows = sent(desk, good(2))
    store = desk.store()
    settler = Settler(store)
    record(store, told(campaign, 1, EventType.REJECT, rows[1].message_id, detail="Bad content"))
    assert settler.settle(campaign) == Settled(refused=1)
    assert bulksend("retry", "launch").returncode == 0
    desk.send()
    again = next(row for row in desk.results() if row.row == 1)
    record(store, told(campaign, 1, EventType.REJECT, again.message_id, detail="Bad content"))
    assert settler.settle(campaign) == Settled(refused=1)


def test_refusals_are_settled_some_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.worker.settlement.REFUSED_AT_ONCE", 2)
    campaign, rows = sent(desk, good(7))
    store = desk.store()
    settler = Settler(store)
    record(store, *(told(campaign, n, EventType.REJECT, rows[n].message_id) for n in (5, 1, 4, 2, 3)))
    assert settler.settle(campaign) == Settled(refused=5)
    record(store, told(campaign, 6, EventType.REJECT, rows[6].message_id))
    assert settler.settle(campaign) == Settled(refused=1)
    assert settler.settle(campaign) == Settled()
    assert [rows._known for rows in settler._lists.values()] == [{}], "it is over: the list is not kept in memory"


def test_another_mail_proves_a_row_whose_first_was_refused(desk: Desk) -> None:
    """Settled by one process all the time, after each event."""
    campaign, _ = sent(desk, ["fault.hang_after_accepting.1@example.com"])
    store = desk.store()
    settler = Settler(store)
    record(store, told(campaign, 1, EventType.SEND, "first"))
    assert settler.settle(campaign) == Settled(accepted=1)
    assert settler.settle(campaign) == Settled()
    record(store, told(campaign, 1, EventType.REJECT, "first"))
    assert settler.settle(campaign) == Settled(refused=1)
    record(store, told(campaign, 1, EventType.DELIVERY, "second"))
    assert settler.settle(campaign) == Settled(accepted=1)


@pytest.mark.parametrize("heard", [12, 2])
def test_a_journal_that_is_older_than_the_events_is_not_sent_from(desk: Desk, heard: int) -> None:
    """Restored from a backup; of what was sent meanwhile, events have come of all or of some."""
    campaign = desk.plan(good(12), body=BODY)
    store = desk.store()
    with store.journal.sending(), asyncio.Runner() as runner:
        runner.run(_first_two(store, campaign))
    backup = desk.folder / "backup.db"
    with closing(sqlite3.connect(desk.folder / ".bulksend/journal.db")) as db, closing(sqlite3.connect(backup)) as to:
        db.backup(to)
    assert bulksend("send", "campaign.toml", url=desk.url).returncode == 0
    rows = {row.row: row for row in desk.results()}
    late = [told(campaign, n, EventType.DELIVERY, rows[n].message_id) for n in range(13 - heard, 13)]
    record(store, *(replace(one, sent_at=one.sent_at + 3600) for one in late))
    assert bulksend("resume", "launch", url=desk.url).returncode == 0, "the journal knows them all"
    del store
    for path in (desk.folder / ".bulksend").glob("journal.db-*"):
        path.unlink()
    backup.replace(desk.folder / ".bulksend/journal.db")
    textfile = ("--metrics-textfile", "bulksend.prom")
    for verb in ("send", "resume"):
        refused = bulksend(verb, "campaign.toml" if verb == "send" else "launch", *textfile, url=desk.url)
        assert refused.returncode == 5, refused.stderr
        assert 'bulksend_halts_total{scope="campaign"} 1.0' in (desk.folder / "bulksend.prom").read_text("utf-8")
        assert f"events tell of {min(heard, 10)} mails to rows that the journal has never tried" in refused.stderr
        assert "restored from a backup?" in refused.stderr
    restored = desk.store().journal.campaign("launch")
    assert (restored.state, desk.store().journal.tally(restored).pending) == (CampaignState.HALTED, 10)
    with WorkerProcess(desk.folder, "--endpoint-url", desk.url, "--region", "eu-west-1") as served:
        assert bulksend("resume", "launch").returncode == 0
        until(lambda: told_by(served, "bulksend_halts_total"), "a worker does not send from it either")
        until(lambda: desk.store().journal.campaign("launch").state is CampaignState.HALTED, "it is halted")
        assert told_by(served, "bulksend_halts_total", scope="campaign") == 1
        halted = [json.loads(line) for line in served.said().splitlines() if '"halted"' in line]
        assert ["restored from a backup?" in line["reason"] for line in halted] == [True]
    also = list[Halt]()
    with pytest.raises(HaltedError):
        heed_events(desk.store(), replace(restored, state=CampaignState.QUEUED), also.append)
    assert also == [], "whoever halted it meanwhile has told of it"


async def _first_two(store: Store, campaign: Campaign) -> None:
    """They are accepted; nothing else is tried."""
    await store.journal.set_state(campaign.id, CampaignState.SENDING)
    await store.journal.open_chunk(campaign.id, 0)
    with SnapshotReader(store.snapshot_of(campaign), size_bytes=campaign.snapshot_bytes, sha256=None) as reader:
        batch = Batch(campaign.id, reader.chunk(0), [0, 1], 2, BatchKind.FIRST, 1)
    intent = await store.journal.intend(batch)
    assert isinstance(intent, Intent)
    await store.journal.settle(intent, [EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id=one) for one in "ab"])
    await store.journal.set_state(campaign.id, CampaignState.PAUSED)


def test_what_was_dropped_is_accepted_by_its_event_and_not_retried(desk: Desk) -> None:
    campaign, _ = sent(desk, ["fault.hang_after_accepting.1@example.com"])
    assert bulksend("resolve", "launch", "--drop").returncode == 0
    hinted = bulksend("retry", "launch")
    assert "pending again: 0" in hinted.stderr
    assert "1 row was dropped out of doubt: SES may have accepted it" in hinted.stderr
    assert "bulksend retry launch --status DROPPED" in hinted.stderr
    record(desk.store(), told(campaign, 1, EventType.SEND, "m1"))
    refused = bulksend("retry", "launch", "--status", "DROPPED")
    assert refused.returncode == 2
    assert "no dead letter" in refused.stderr


def test_many_are_not_decided_without_a_question(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.cli.deciding.MANY", 2)
    sent(desk, [*good(2), "fault.hang_after_accepting.1@example.com"])
    assert "--yes" in bulksend("resolve", "launch", "--drop").stderr
    declined = bulksend("resolve", "launch", "--drop", typed="n\n")
    assert "3 entries are in doubt" in declined.stderr
    assert desk.store().journal.tally(desk.store().journal.campaign("launch")).in_doubt == 3
    assert bulksend("resolve", "launch", "--drop", "--yes").returncode == 0


def test_whether_proof_is_on_its_way_is_said_before_anything_is_sent_again(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    store, warned = desk.store(), "No event tells of any mail that was sent as late as these"
    assert warned not in bulksend("resolve", "launch", "--resend").stderr, "nobody expects any"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BULKSEND_EVENTS_QUEUES", "https://sqs.eu-west-1.amazonaws.com/123456789012/events")
        refused = bulksend("resolve", "launch", "--resend")
    assert (refused.returncode, warned in refused.stderr) == (2, True)
    early = replace(told(campaign, 1, EventType.DELIVERY, "m1"), sent_at=time.time() - 300)
    record(store, early)
    refused = bulksend("resolve", "launch", "--resend")
    assert (refused.returncode, warned in refused.stderr) == (2, True)
    assert "sent less than 31 minutes ago" in bulksend("resolve", "launch", "--resend", "--yes").stderr
    assert warned not in bulksend("resolve", "launch", "--drop", "--row", "2", "--yes").stderr


def test_a_doubt_as_old_as_what_events_tell_of_is_sent_again_without_a_question(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    record(desk.store(), replace(told(campaign, 1, EventType.DELIVERY, "m1"), sent_at=LATER))
    done = bulksend("resolve", "launch", "--resend")
    assert (done.returncode, "sent less than 31 minutes ago" in done.stderr) == (4, True)
    assert "No event tells" not in done.stderr


def test_a_pruned_list_settles_nothing_and_breaks_nothing(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    record(desk.store(), told(campaign, 2, EventType.SEND, "m2"))
    (desk.folder / ".bulksend/snapshots" / campaign.snapshot).rename(desk.folder / "aside")
    assert bulksend("status", "launch").returncode == 0, "a list that is missing"
    (desk.folder / "aside").rename(desk.folder / ".bulksend/snapshots" / campaign.snapshot)
    assert bulksend("prune", "launch", "--yes").returncode == 0
    assert worker.settle(desk.store(), campaign) == Settled()
    status = bulksend("status", "launch")
    assert status.returncode == 0
    assert "In doubt means" in status.stdout


def test_what_was_forgotten_is_settled(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(2), "fault.hang_after_accepting.1@example.com"])
    assert bulksend("forget", "good+2@example.com", "--yes").returncode == 0
    record(desk.store(), told(campaign, 2, EventType.DELIVERY, "m2"))
    store = desk.store()
    assert worker.settle(store, store.journal.campaign("launch")) == Settled(accepted=1)


def test_answers_for_other_entries_halt_the_campaign(desk: Desk) -> None:
    """Results that are not in the order of the entries."""
    campaign, rows = sent(desk, good(4))
    store = desk.store()
    record(store, *(told(campaign, n, EventType.SEND, rows[5 - n].message_id) for n in (1, 2, 3, 4)))
    assert worker.settle(store, campaign) == Settled(mispaired=4), "it is over: nothing is left to be halted"
    assert "4 mails under other rows" in bulksend("resolve", "launch").stderr
    with store.journal.deciding() as db:
        db.execute("UPDATE campaign SET state = 'sending'")
    settled = worker.settle(store, campaign)
    assert settled.halt is not None
    assert "4 mails under other rows" in settled.halt.reason
    halted = store.journal.campaign("launch")
    assert (halted.state, halted.halt) == (CampaignState.HALTED, settled.halt)
    store.journal.ask_for(halted, CampaignState.QUEUED)
    with store.journal.deciding() as db:
        db.execute("UPDATE campaign SET armed_at = 0")
    said = list[Halt]()
    with pytest.raises(HaltedError):
        heed_events(store, store.journal.campaign("launch"), said.append)
    assert said == [settled.halt]
    with store.journal.deciding() as db:
        db.execute("UPDATE campaign SET state = 'sending', armed_at = ?", (LATER,))
    assert worker.settle(store, store.journal.campaign("launch")).halt is None, "somebody has looked at it, and resumed"


def test_a_worker_settles_soon_after_events_are_recorded(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    store = desk.store()

    async def main() -> None:
        async with settling(store) as on_recorded:
            await asyncio.sleep(0)
            record(store, told(campaign, 1, EventType.SEND, "m1"))
            on_recorded(frozenset({campaign.id, "nobody's"}))

    asyncio.run(main())
    assert [row.state for row in desk.results()] == ["accepted", EntryState.IN_DOUBT.name.lower()]


def test_an_event_that_comes_before_its_answer_is_given_up_settles_it_then(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksend.worker.settling.AGAIN_S", 0.1)
    monkeypatch.setattr("bulksend.worker.settling.SOON_S", 0.0)
    campaign = desk.plan([*good(1), "fault.hang_after_accepting.1@example.com"])
    store = desk.store()
    ended = threading.Event()
    settle, looks = Settler.settle, list[Campaign]()

    def look(settler: Settler, campaign: Campaign) -> Settled:
        looks.append(campaign)
        return settle(settler, campaign) if ended.is_set() else Settled()  # its answer is awaited

    monkeypatch.setattr(Settler, "settle", look)

    async def main() -> None:
        async with settling(store) as on_recorded:
            record(store, told(campaign, 1, EventType.SEND, "m1"))
            on_recorded(frozenset({campaign.id}))
            sent = await asyncio.to_thread(desk.send, speed=200.0, answer_timeout_s=20.0)
            assert (sent.state, sent.tally.in_doubt) == (CampaignState.FINISHED, 2)
            async with asyncio.timeout(30):
                while len([one for one in looks if one.state is CampaignState.FINISHED]) < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            ended.set()
            await settled(store, campaign)

    asyncio.run(main())


def test_what_could_not_be_settled_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.worker.settling.AGAIN_S", 0.1)
    monkeypatch.setattr("bulksend.worker.settling.SOON_S", 0.0)
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    store = desk.store()
    said = list[object]()
    monkeypatch.setattr("bulksend.worker.settling._Chore._say", lambda _, error: said.append(error))

    async def main() -> None:
        path = store.snapshot_of(campaign)
        away = path.rename(path.with_suffix(".away"))
        async with settling(store) as on_recorded:
            record(store, told(campaign, 1, EventType.SEND, "m1"))
            on_recorded(frozenset({campaign.id}))
            async with asyncio.timeout(30):
                while len(said) < 3:  # noqa: ASYNC110  a thread does it
                    await asyncio.sleep(0.01)
            away.rename(path)
            await settled(store, campaign)

    asyncio.run(main())


def test_a_fault_that_nobody_foresaw_does_not_end_the_settling(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.worker.settling.AGAIN_S", 0.1)
    monkeypatch.setattr("bulksend.worker.settling.SOON_S", 0.0)
    campaign, _ = sent(desk, [*good(1), "fault.hang_after_accepting.1@example.com"])
    store = desk.store()
    record(store, told(campaign, 1, EventType.SEND, "m1"))
    asked, campaigns = list[None](), store.journal.campaigns

    def faulty() -> list[Campaign]:
        asked.append(None)
        if len(asked) < 3:
            raise RuntimeError
        return campaigns()

    monkeypatch.setattr(store.journal, "campaigns", faulty)

    async def main() -> None:
        async with settling(store):
            await settled(store, campaign)

    asyncio.run(main())


async def settled(store: Store, campaign: Campaign) -> None:
    """Wait until of its two entries the first is accepted, while the process goes on."""
    async with asyncio.timeout(30):
        while store.journal.tally(campaign).accepted != 1:  # noqa: ASYNC110  a thread does it
            await asyncio.sleep(0.02)
