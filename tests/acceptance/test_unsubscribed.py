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
        assert (dead["address"], dead["status"], dead["reason"]) == (
            "first5@example.com",
            "SUPPRESSED",
            "whoever has this address has unsubscribed",
        )
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
