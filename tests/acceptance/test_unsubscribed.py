"""From the header of a mail, as SES got it, to nobody writing there again: over HTTP, with a real worker."""

from __future__ import annotations

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import bulksend
from tests.acceptance.test_worker import at, campaign, finished, status, submit
from tests.harness import write_list
from tests.worker_process import WorkerProcess, told, until

UNSUBSCRIBE = '[unsubscribe]\nurl = "https://example.com/u/{token}"\nmailto = "unsubscribe@example.com"\n'
ROWS = 12
SLOW_ROWS = 2000


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 400, "latency_ms": 5}


def paths_by_address(simulator: SimulatorProcess) -> dict[str, str]:
    """What mail programs would post to, by whom the mail went to."""
    found = {}
    for request in simulator.requests():
        if request["operation"] != "SendBulkEmail":
            continue
        body = request["body"] if isinstance(request["body"], dict) else json.loads(request["body"])
        for entry in body["BulkEmailEntries"]:
            first, second, *_ = entry["ReplacementHeaders"]
            assert (first["Name"], second["Name"]) == ("List-Unsubscribe", "List-Unsubscribe-Post")
            assert second["Value"] == "List-Unsubscribe=One-Click"
            matched = re.fullmatch(
                r"<https://example\.com(/u/[\w-]{56})>, <mailto:unsubscribe@example\.com\?subject=unsubscribe>",
                first["Value"],
            )
            assert matched is not None, first
            (address,) = entry["Destination"]["ToAddresses"]
            found[address] = matched[1]
    return found


def ask(port: int, method: str, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if method == "POST" else {}
        connection.request(method, path, "List-Unsubscribe=One-Click" if method == "POST" else None, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def counted_everywhere(worker: WorkerProcess, name: str, addresses: list[str]) -> None:
    """These unsubscribed by the links of the campaign's mails, and nobody else."""
    count = len(addresses)
    assert status(name)["events"]["unsubscribed"] == count
    assert re.search(rf"^unsubscribed +{count} *$", bulksend("status", name).stdout, re.MULTILINE)
    listed = bulksend("results", name, "--fate", "unsubscribed", "--format", "jsonl").stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    assert [(row["address"], row["fate"]) for row in rows] == [(address, "unsubscribed") for address in addresses]
    assert all(row["unsubscribed_at"] for row in rows)
    assert worker.ask("GET", f"/campaigns/{name}")[1]["events"]["unsubscribed"] == count
    results = f"/campaigns/{name}/results?format=jsonl&fate"
    assert worker.ask("GET", f"{results}=unsubscribed") == (200, listed)
    assert worker.ask("GET", f"{results}=clicked") == (200, "")
    assert "It is delivered or bounced or" in worker.ask("GET", f"{results}=left")[1]["what_to_do"]
    assert bulksend("report", name).returncode == 0
    page = Path(f"{name}-report.html").read_text("utf-8")
    assert "Unsubscribed" in page
    assert addresses[0] not in page


def test_from_the_header_of_a_mail_to_nobody_writing_there(
    in_folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSEND_STORE", "sqlite:.bulksend")
    monkeypatch.setenv("BULKSEND_HTTP_PUBLIC_LISTEN", "127.0.0.1:0")
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        public = int(re.findall(r"http://\S+?:(\d+)", worker.said())[-1])
        submit(campaign(in_folder, "first", ROWS, UNSUBSCRIBE), simulator.url)
        until(lambda: finished("first"), "the first campaign is sent")
        paths = paths_by_address(simulator)
        assert len(paths) == len(set(paths.values())) == ROWS

        # Whoever only looks changes nothing.
        left = paths["first3@example.com"]
        assert ask(public, "GET", left)[0] == 200
        assert told(worker, "bulksend_suppressions_total", reason="unsubscribe") == 0
        for _ in range(2):
            answered, page = ask(public, "POST", left)
            assert (answered, "You are unsubscribed" in page) == (200, True)
        assert told(worker, "bulksend_suppressions_total", reason="unsubscribe") == 1
        # It is a number of the campaign, by every way to look at it; so is whoever else leaves.
        assert ask(public, "POST", paths["first6@example.com"])[0] == 200
        counted_everywhere(worker, "first", ["first3@example.com", "first6@example.com"])
        forged = left[:-1] + ("A" if left[-1] != "A" else "B")
        assert ask(public, "POST", forged)[0] == 404

        # The next plan leaves him out.
        more = [f"slow{n}@example.com" for n in range(SLOW_ROWS)]
        slow = campaign(in_folder, "slow", 0, UNSUBSCRIBE)
        write_list(in_folder / "slow.csv", ["First3@example.com", *more, "first5@example.com"])
        submit(slow, simulator.url)
        assert status("slow")["skipped"]["suppressed"] == 1

        # Whoever does so while it is being sent is not written to either, though he was planned.
        until(lambda: status("slow")["accepted"] > 0, "the slow one has begun")
        assert ask(public, "POST", paths["first5@example.com"])[0] == 200
        until(lambda: finished("slow"), "the slow campaign is sent")
        found = status("slow")
        assert (found["accepted"], found["dead"]) == (SLOW_ROWS, 1)
        dead = json.loads(bulksend("results", "slow", "--state", "dead", "--format", "jsonl").stdout)
        assert (dead["address"], dead["status"], dead["reason"], dead["attempts"]) == (
            "first5@example.com",
            "SUPPRESSED",
            "whoever has this address has unsubscribed",
            0,
        )
        stays = bulksend("suppression", "remove", "first8@example.com").stderr
        assert "0 removed" in stays
        assert "retry" not in stays
        assert "bulksend suppression list" in stays
        assert "first5@example.com" not in {to for one in simulator.accepted(found["id"]) for to in one["to"]}
        assert told(worker, "bulksend_entries_total", verdict="dead", status="SUPPRESSED") == 1
        assert "example.com" not in worker.said().replace("bulksend.example.com", "")

    # Links of mails whose list is gone say so, and do no harm.
    assert bulksend("prune", "first", "--yes", url=simulator.url).returncode == 0
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        public = int(re.findall(r"http://\S+?:(\d+)", worker.said())[-1])
        answered, page = ask(public, "POST", paths["first7@example.com"])
        assert (answered, "Nothing is left to unsubscribe" in page) == (200, True)
        assert told(worker, "bulksend_suppressions_total", reason="unsubscribe") == 0


def test_whoever_prunes_a_campaign_is_told_that_its_links_end_with_it(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    for name, more in (("linked", UNSUBSCRIBE), ("plain", "")):
        assert bulksend("plan", campaign(in_folder, name, 1, more), "--again", url=simulator.url).returncode == 0
        assert bulksend("cancel", name, "--yes").returncode == 0
        pruned = bulksend("prune", name, "--yes")
        assert pruned.returncode == 0, pruned.stderr
        assert ("unsubscribe links in its mails lead nowhere" in pruned.stderr) == (name == "linked")
        before, _, after = pruned.stderr.partition("links in its mails")
        assert "removed;" in (after or before)
