"""What became of mails, as events tell it: in status, results, report and resolve."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import json
import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.model import (
    Batch,
    BatchKind,
    Campaign,
    CampaignState,
    EntryOutcome,
    EntryState,
    Intent,
    ResultRow,
    Verdict,
)
from bulksend.recipients import SnapshotReader
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Settled, Settler, Store, settlement
from bulksend.worker.settlement import heed_events, settling
from tests.acceptance.test_cli import bulksend
from tests.harness import CAMPAIGN, Desk
from tests.integration.test_outcomes import good

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


def test_doubt_is_settled_by_whoever_asks(desk: Desk) -> None:
    campaign, _ = sent(desk, [*good(3), "fault.hang_after_accepting.1@example.com"])
    assert "In doubt means that SES may have accepted it, the oldest for" in bulksend("status", "launch").stdout
    shown = json.loads(bulksend("resolve", "launch", "--output", "json").stdout)
    assert [row["row"] for row in shown] == [1, 2, 3, 4]
    assert shown[0]["status"] == "NO_ANSWER"
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
    heed_events(store, campaign)
    assert store.journal.evidence is not None
    assert [one.message_id for one in store.journal.evidence(campaign.id, [1])] == ["m1"]


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
    monkeypatch.setattr(settlement, "REFUSED_AT_ONCE", 2)
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
    for verb in ("send", "resume"):
        refused = bulksend(verb, "campaign.toml" if verb == "send" else "launch", url=desk.url)
        assert refused.returncode == 5, refused.stderr
        assert f"events tell of {min(heard, 10)} mails to rows that the journal has never tried" in refused.stderr
        assert "restored from a backup?" in refused.stderr
    restored = desk.store().journal.campaign("launch")
    assert (restored.state, desk.store().journal.tally(restored).pending) == (CampaignState.HALTED, 10)


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
