"""report: what the page says of real campaigns, against the journal, the simulator's own tally, and in both stores."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bulksend.config import load_settings
from bulksend.journal import Journal, Standstill
from bulksend.model import AllAccepted, Binding, EntryState
from bulksend.report import CampaignReport, render_page
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from bulksend.worker.reporting import _send_rate_per_s, report_on
from tests.acceptance.test_cli import CAMPAIGN, bulksend
from tests.harness import REGION, settings_for, write_list
from tests.integration.test_conservation import ENTRIES, planned
from tests.integration.test_journals import DEAD, DOUBT, LATER, OK, at_work, batch, begun, intended
from tests.unit.test_report_page import Structure, campaign, report

PLAIN = [f"person{n}@example.com" for n in range(120)]
REFUSED = [f"fault.message_rejected+r{n}@example.com" for n in range(4)]
NAMED = "named.in.a.reason@example.com"
UNKNOWN = [f"fault.status+u{n}@example.com" for n in range(3)]
AGAIN = [f"fault.transient_failure.1+t{n}@example.com" for n in range(5)]
LOST = "fault.reset_after_accepting+l@example.com"
ADDRESSES = [*REFUSED, NAMED, *UNKNOWN, *AGAIN, *PLAIN, LOST, "no address", PLAIN[0]]
"""The last batch is lost, of 50 at most: none of the others is in it."""
RULES = [
    {
        "fault": "message_rejected",
        "address_contains": "named.in.a.reason",
        "text": "Email address is not verified: named.in.a.reason@example.com, <other@example.org>",
    }
]


EITHER = pytest.mark.parametrize("folder", ["sqlite", "postgres"], indirect=True)
"""In both stores: the words of a page are made of what either tells, by the same code."""


@pytest.fixture
def folder(request: pytest.FixtureRequest, in_folder: Path, simulator: SimulatorProcess) -> Path:
    """With a campaign, a list of all that can befall it, and a config.toml that may name a store in PostgreSQL."""
    config = f'[aws]\nendpoint_url = "{simulator.url}"\nregion = "eu-west-1"\n'
    if getattr(request, "param", "") == "postgres":
        url = request.getfixturevalue("database_url")
        config = f"store = {json.dumps(url)}\nsnapshots = {json.dumps(str(in_folder / 'snapshots'))}\n{config}"
    (in_folder / "config.toml").write_text(config, "utf-8")
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", ADDRESSES)
    simulator.rules(RULES)
    return in_folder


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bulksend("status", "launch", "--output", "json").stdout)
    return found


def reported(*more: str, out: str = "launch-report.html") -> Structure:
    """The page that the verb writes."""
    done = bulksend("report", "launch", *more)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert out in done.stderr
    return Structure(Path(out).read_text("utf-8"))


def numbers(page: Structure) -> dict[str, int]:
    """The table of all rows, by the words of `status`."""
    return {
        cells[0].partition(" | ")[0].lower().removeprefix("skipped: ").replace(" ", "_"): int(cells[1].replace(",", ""))
        for cells in page.table("Each row of the list")
    }


@EITHER
def test_a_campaign_with_everything(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes").returncode == 4
    facts = status()
    page = reported()

    said = numbers(page)
    assert said.pop("sum") == said.pop("rows_read_from_the_list") == facts["rows"] == len(ADDRESSES)
    assert said == {
        "accepted": facts["accepted"],
        "dead": facts["dead"],
        "in_doubt": facts["in_doubt"],
        "in_flight": 0,
        "pending": 0,
        **facts["skipped"],
    }
    theirs = simulator.tally(facts["id"])
    lost = facts["in_doubt"] - len(UNKNOWN)
    assert theirs["accepted"] == facts["accepted"] + lost
    assert (facts["dead"], facts["skipped"]["invalid"], facts["skipped"]["duplicate"]) == (5, 1, 1)
    assert lost > 0

    entries = len(ADDRESSES) - 2
    assert f"{facts['accepted']} of {entries} mails were accepted by SES; 5 were refused; " in page.said
    assert [[cells[0].partition(" | Read SES's words first")[0], *cells[1:]] for cells in page.table("Dead mails")] == [
        ["MESSAGE_REJECTED | Message rejected.", "4", "80.0\u202f%"],
        ["MESSAGE_REJECTED | Email address is not verified: [address], <[address]>", "1", "20.0\u202f%"],
    ]
    assert "bulksend retry" not in page.said, "SES would refuse the same again"
    doubts = {cells[0].partition(" | ")[0]: int(cells[1]) for cells in page.table("in doubt by")}
    assert sum(doubts.values()) == facts["in_doubt"]
    assert doubts["NO_ANSWER"] == lost
    counted = {cells[0]: int(cells[1]) for cells in page.table("requests that they were in")}
    assert counted == {"1": entries - len(AGAIN), "2": len(AGAIN)}
    assert page.table("sent again")[0][:2] == ["TRANSIENT_FAILURE | A temporary issue; try again.", "5"]
    assert "send rate 2,000/s" in page.said

    masked = [cells[1].partition(" | ")[0] for cells in page.table("given up: all of them")]
    assert masked == ["f***@example.com"] * 4 + ["n***@example.com"]
    text = (folder / "launch-report.html").read_text("utf-8")
    assert re.findall(r"[\w.+]+@[\w.]+", text) == ["news@example.com"]
    assert (folder / "launch-report.html").stat().st_mode & 0o777 == 0o600

    rate = made().accepted
    assert rate.total == facts["accepted"]
    assert sum(span.per_s * rate.width_s for span in rate.spans()) == pytest.approx(facts["accepted"])


def made() -> CampaignReport:
    """The facts behind the page."""
    settings = load_settings(Path("config.toml"), {}, {})
    return report_on(Store.open(settings, Path.cwd()), "launch", settings).report


def test_addresses_only_if_asked_for(folder: Path) -> None:
    bulksend("send", "campaign.toml", "--yes")
    before = reported()
    assert "personal data" not in before.said
    page = reported("--addresses", "--out", "full.html", out="full.html")
    assert "This page contains personal data" in page.said
    shown = [cells[1].partition(" | ")[0] for cells in page.table("given up: all of them")]
    assert shown == [*REFUSED, NAMED]
    assert "Email address is not verified: [address]" in page.said
    assert "other@example.org" not in page.said
    assert (folder / "full.html").stat().st_mode & 0o777 == 0o600


def test_for_programs_and_over_an_earlier_one(folder: Path) -> None:
    bulksend("send", "campaign.toml", "--yes")
    (folder / "r.html").write_text("<!DOCTYPE html>an earlier one that everybody can read")
    (folder / "r.html").chmod(0o644)
    done = bulksend("report", "campaign.toml", "--out", "r.html", "--output", "json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {key: facts[key] for key in status()} == status()
    written = folder / "r.html"
    assert (facts["file"], facts["size_bytes"]) == ("r.html", written.stat().st_size)
    assert facts["with_addresses"] is False
    assert written.stat().st_mode & 0o777 == 0o600
    assert not list(folder.glob(".r.html.*"))


def test_what_cannot_be_written(folder: Path) -> None:
    bulksend("plan", "campaign.toml")
    into = bulksend("report", "launch", "--out", str(folder))
    assert into.returncode == 2
    assert "launch-report.html" in into.stderr
    nowhere = bulksend("report", "launch", "--out", str(folder / "no" / "r.html"))
    assert nowhere.returncode == 2
    assert "cannot be written" in nowhere.stderr
    unknown = bulksend("report", "lunch")
    assert unknown.returncode == 2
    assert "lunch" in unknown.stderr


def test_planned_then_cancelled(folder: Path) -> None:
    assert bulksend("plan", "campaign.toml").returncode == 0
    page = reported()
    assert f"Nothing has been sent yet: {len(ADDRESSES) - 2} mails are ready." in page.said
    assert "SES has not answered anything yet." in page.said
    assert bulksend("forget", REFUSED[3], "--yes").returncode == 0
    page = reported()
    assert "1 was given up" in page.said
    assert page.table("given up: all of them")[0] == [
        "4",
        page.table("given up: all of them")[0][1],
        "FORGOTTEN | removed at the person's request",
    ]
    assert "SES has not answered anything yet." in page.said, "what stands for somebody who was removed is no request"
    assert bulksend("cancel", "launch", "--yes").returncode == 0
    page = reported()
    assert numbers(page)["cancelled"] == len(ADDRESSES) - 3
    assert "not sent, as the campaign was cancelled" in page.said
    assert folder.is_dir()


@EITHER
def test_halted(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found"}])
    write_list(folder / "list.csv", PLAIN)
    assert bulksend("send", "campaign.toml", "--yes").returncode == 5
    page = reported()
    assert "It halted: SES refused the campaign: TEMPLATE_NOT_FOUND" in page.said
    assert "What to do: Create the template" in page.said
    assert numbers(page)["pending"] == len(PLAIN)
    # Beside it may stand those that were not sent any more.
    assert any(cells[0].startswith("TEMPLATE_NOT_FOUND") for cells in page.table("sent again"))
    assert folder.is_dir()


@EITHER
def test_pruned(folder: Path) -> None:
    bulksend("send", "campaign.toml", "--yes")
    before = numbers(reported())
    assert bulksend("resolve", "launch", "--drop", "--why", "told by anna@example.com").returncode == 0
    page = reported()
    assert "DROPPED | told by [address]" in [cells[0] for cells in page.table("Dead mails")]
    assert bulksend("prune", "launch", "--yes").returncode == 0
    page = reported("--addresses")
    assert "bulksend retry" not in page.said, "it would refuse"
    after = numbers(page)
    assert after["accepted"] == before["accepted"]
    assert after["dead"] == before["dead"] + before["in_doubt"]
    assert "cannot be shown: the list was removed with bulksend prune at 20" in page.said
    assert "personal data" not in page.said, "there is none left"
    assert [cells[0] for cells in page.table("Dead mails")] == ["DROPPED", "MESSAGE_REJECTED"], "no reason is left"
    assert folder.is_dir()


def test_without_its_snapshot_and_without_ses(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("send", "campaign.toml", "--yes")
    before = numbers(reported())
    for snapshot in [*folder.rglob("*.parquet"), *(Path.home() / ".cache").rglob("*.parquet")]:
        snapshot.unlink()
    simulator.rules([{"fault": "forbidden_403", "operation": "GetAccount"}])
    done = bulksend("report", "launch")
    assert done.returncode == 0
    assert "without rows of the list: The snapshot of the list is missing or damaged" in done.stderr
    page = Structure((folder / "launch-report.html").read_text("utf-8"))
    assert numbers(page) == before
    assert "cannot be shown: the snapshot of the list is missing or damaged." in page.said
    assert str(folder) not in page.said
    assert "The account's send rate is not drawn" in page.said


def test_the_quota_of_another_account_is_not_drawn(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("send", "campaign.toml", "--yes")
    page = reported("--endpoint-url", simulator.url.replace("127.0.0.1", "localhost"))
    assert "The account's send rate is not drawn" in page.said
    assert folder.is_dir()


class Boasting(BaseHTTPRequestHandler):
    """Answers every GetAccount with some rate or other."""

    rate = b""

    def do_GET(self) -> None:
        data = b'{"SendQuota": {"MaxSendRate": %b}, "SendingEnabled": true}' % self.rate
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def boasting() -> Iterator[str]:
    """Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Boasting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


RATES = {b"500": 500.0, b"14.5": 14.5} | dict.fromkeys(
    (b"1e999", b"-1e999", b"NaN", b"9" * 400, b"1.7e308", b"-5", b'"many"', b"[]")
)


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.decode()[:8])
def test_a_rate_that_is_none_is_not_drawn(boasting: str, monkeypatch: pytest.MonkeyPatch, rate: bytes) -> None:
    monkeypatch.setattr(Boasting, "rate", rate)
    of = campaign(binding=Binding(boasting, REGION, boasting))
    found = _send_rate_per_s(of, settings_for(boasting))
    assert found == RATES[rate]
    drawn = "is not drawn" not in Structure(render_page(report(send_rate_per_s=found))).said
    assert drawn is (RATES[rate] is not None)


Open = Callable[[], Journal]


def test_the_history_of_chunks(reopen: Open) -> None:
    journal = reopen()
    campaign = planned(journal)

    async def main() -> None:
        await begun(journal, campaign, 0, 1)
        await journal.settle(await intended(journal, batch(campaign.id, [0, 1, 2, 3])), [OK, DEAD, LATER, DOUBT])
        await journal.settle(await intended(journal, batch(campaign.id, [5, 7])), AllAccepted(["a", "b"]))
        await journal.settle(await intended(journal, batch(campaign.id, [2])), [DEAD])
        await intended(journal, batch(campaign.id, [4, 6], 1))

    with at_work(journal) as run:
        run(main())
        with reopen().history(campaign) as (tally, chunks):
            first, second, third = list(chunks)
    assert (tally.rows, tally.accepted, tally.dead, tally.in_doubt) == (ENTRIES, 3, 2, 1)
    assert tally.adds_up
    assert (first.number, second.number, third.number) == (0, 1, 2)
    assert [list(attempt.record.indices) for attempt in first.attempts] == [[0, 1, 2, 3], [5, 7], [2]]
    assert [attempt.accepted_recipients for attempt in first.attempts] == [1, 2, 0]
    assert all(attempt.record.answered_at is not None for attempt in first.attempts)
    assert [attempt.record.answered_at for attempt in second.attempts] == [None]
    assert [attempt.accepted_recipients for attempt in second.attempts] == [0]
    assert third.attempts == []
    assert EntryState(first.ledger.states[1]) is EntryState.DEAD
    assert first.ledger.last[3].outcome.status == "NO_ANSWER"


def test_a_report_says_why_nothing_goes_out(in_folder: Path) -> None:
    store = Store.at(in_folder / ".bulksend")
    campaign = planned(store.journal)
    spent = "the 24-hour quota is spent; it frees from 2026-11-22 12:00:00 UTC"

    async def main() -> None:
        await begun(store.journal, campaign)
        await store.journal.tell_standstills([Standstill(spent, campaign.id)])

    with at_work(store.journal) as run:
        run(main())
        held_up = report_on(store, "any", settings_for("http://127.0.0.1:1")).report
    assert held_up.held_up == (spent,)
    assert f"Nothing goes out: {spent}." in Structure(render_page(held_up)).said


def test_a_report_of_what_is_in_the_air(in_folder: Path) -> None:
    store = Store.at(in_folder / ".bulksend")
    campaign = planned(store.journal)

    async def main() -> None:
        await begun(store.journal, campaign)
        await intended(store.journal, batch(campaign.id, [0, 1]))

    with at_work(store.journal) as run:
        run(main())
        flying = report_on(store, "any", settings_for("http://127.0.0.1:1")).report
    landed = report_on(store, "any", settings_for("http://127.0.0.1:1")).report
    assert (flying.tally.in_flight, flying.tally.in_doubt, flying.requests.unanswered) == (2, 0, 1)
    assert flying.in_doubt.total == 0
    assert (landed.tally.in_flight, landed.tally.in_doubt, landed.in_doubt.total) == (0, 2, 2)
    assert not flying.orphaned
    assert landed.orphaned
    assert landed.list_gone == "the snapshot of the list is missing or damaged"
