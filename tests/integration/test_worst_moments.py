"""What was once found to go wrong, or could: each at its worst moment."""

from __future__ import annotations

import asyncio
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bulksend import worker
from bulksend.engine import Engine
from bulksend.engine.remedies import without_addresses
from bulksend.errors import CampaignChangedError
from bulksend.facts import BatchAnswered, Committed, Fact
from bulksend.model import CampaignState, Policy
from bulksend.ses.answers import _text
from bulksend.simulator import SimulatorProcess
from tests.forked import Forked
from tests.harness import REGION, Desk, settings_for
from tests.independent import Ministack
from tests.integration.test_outcomes import agree, good


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000, "enforce": False}


@pytest.fixture
def desk(tmp_path: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(tmp_path, simulator.url)


@pytest.mark.parametrize("fault", ["message_rejected", "bad_request_400"])
def test_a_campaign_at_fault_kills_nobody_however_often_it_is_sent(
    desk: Desk, simulator: SimulatorProcess, fault: str
) -> None:
    simulator.rules([{"fault": "throttled_429", "share": 1.0, "times": 6}, {"fault": fault, "share": 1.0}])
    desk.plan(good(400))
    for _ in range(3):
        ended = desk.send()
        assert (ended.state, ended.tally.dead, ended.tally.pending) == (CampaignState.HALTED, 0, 400)
    simulator.rules([])
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.accepted == 400


class Redirecting(BaseHTTPRequestHandler):
    posts: list[bytes]

    def do_GET(self) -> None:
        quota = {"Max24HourSend": -1, "MaxSendRate": 1000.0, "SentLast24Hours": 0}
        self._answer(200, {"SendQuota": quota, "SendingEnabled": True, "EnforcementStatus": "HEALTHY"})

    def do_POST(self) -> None:
        self.posts.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(307, {})

    def _answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-amzn-RequestId", "r")
        if status == 307:
            self.send_header("Location", self.path)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    posts = Redirecting.posts = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        desk = Desk(tmp_path, f"http://127.0.0.1:{server.server_port}")
        desk.plan(good(20))
        ended = desk.send()
        server.shutdown()
    assert len(posts) == 1
    assert (ended.tally.in_doubt, ended.tally.accepted) == (20, 0)


def test_a_store_taken_over_stops_its_first_sender(desk: Desk, simulator: SimulatorProcess) -> None:
    """Somebody removes the lock file and starts a second sender: the first makes no more intents."""
    simulator.settings(latency_ms=50)
    desk.plan(good(3000))
    command = ("send", str(desk.folder / "campaign.toml"), "--yes", "--output", "json")
    at = ("--endpoint-url", desk.url, "--region", REGION)
    first = Forked(*command, *at, environment=os.environ | {"BULKSEND_PACING_MAX_RECIPIENTS_PER_S": "400"})
    second = None
    try:
        deadline_s = time.monotonic() + 30
        while not simulator.tally()["accepted"]:
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        (desk.folder / ".bulksend" / "journal.db.lock").unlink()
        second = Forked(*command, *at)
        _, said = first.communicate(timeout=50)
        assert first.returncode == 6
        assert "taken this store over" in said
        assert json.loads(second.communicate(timeout=50)[0])["adds_up"]
    finally:
        for sender in (first, second):
            if sender is not None:
                sender.kill()
                sender.communicate()
    assert simulator.tally()["copies"] == []


def test_a_policy_of_resending_sends_a_doubt_once_more_and_alone(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([*good(9), "fault.hang_after_accepting+a@example.com"])
    ended = desk.send(speed=900.0, answer_timeout_s=600.0, policy=Policy(resend_in_doubt=True))
    theirs = simulator.tally(ended.campaign.id)
    assert theirs["copies"] == [[row, 2] for row in range(1, 11)], "the price that the policy names"
    assert (ended.tally.accepted, ended.tally.in_doubt) == (9, 1)
    assert ended.tally.adds_up


class Troublesome:
    """An observer that raises at what it is told."""

    def __init__(self, kind: type[Fact]) -> None:
        self.kind = kind

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, self.kind):
            raise BrokenPipeError


@pytest.mark.parametrize("kind", [BatchAnswered, Committed])
def test_what_watches_a_run_does_not_end_it(desk: Desk, simulator: SimulatorProcess, kind: type[Fact]) -> None:
    campaign = desk.plan(good(200))
    sent = worker.send(campaign, settings_for(desk.url), desk.store(), observers=(Troublesome(kind),))
    assert sent.tally.accepted == simulator.tally(campaign.id)["accepted"] == 200


def test_the_clock_jumps_while_many_are_in_flight(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.settings(latency_ms=100)
    simulator.rules([{"fault": "request_expired_400", "share": 1.0, "times": 8}])
    desk.plan(good(1000))
    ended = desk.send(max_in_flight=16, speed=1.0)
    agree(ended, simulator)
    assert ended.tally.accepted == 1000


def test_getaccount_reads_replaced_credentials(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan(good(20))
    simulator.rules([{"fault": "forbidden_403", "operation": "GetAccount", "share": 1.0, "times": 1}])
    assert desk.send().tally.accepted == 20


def test_a_spent_day_and_a_silent_getaccount_do_not_hold_up_an_interrupt(
    desk: Desk, simulator: SimulatorProcess
) -> None:
    desk.plan(good(400))
    simulator.rules([{"fault": "limit_exceeded_400", "operation": "SendBulkEmail", "share": 1.0}])

    def go_silent(engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(30.0, simulator.rules, [{"fault": "hang_before_accepting", "operation": "*", "share": 1.0}])
        loop.call_later(60.0, engine.drain)
        loop.call_later(61.0, engine.abandon)

    ended = desk.send(meanwhile=go_silent, answer_timeout_s=1200.0, max_in_flight=4)
    assert ended.state is CampaignState.PAUSED
    assert ended.elapsed_s < 600
    assert ended.tally.in_flight == 0
    assert ended.tally.adds_up


def test_credentials_of_another_account_are_refused(
    tmp_path: Path, ministack: Ministack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "111111111111")
    desk = Desk(tmp_path, "")
    (tmp_path / "campaign.toml").write_text("", "utf-8")
    settings = settings_for(ministack.endpoint_url).model_copy()
    settings = settings.model_copy(update={"aws": settings.aws.model_copy(update={"endpoint_url": None})})
    campaign = desk.plan(good(10), settings=settings)
    assert campaign.binding.account == "111111111111"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "222222222222")
    with pytest.raises(CampaignChangedError, match="was 111111111111, is 222222222222"):
        worker.send(campaign, settings, desk.store())
    assert desk.store().journal.tally(campaign).pending == 10


def test_texts_of_ses_are_made_fit_for_a_journal_and_a_terminal() -> None:
    assert _text("Anna \ud83d") == "Anna ?"
    assert len(_text("x" * 10_000)) == 2000
    shown = without_addresses("Email address is not verified: a.b@example.com, <c@example.org>")
    assert shown == "Email address is not verified: [address], <[address]>"
