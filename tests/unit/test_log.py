"""The log goes to standard error as it is at the moment; that nobody is there to read it ends nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import structlog

from bulksend.facts import CampaignHalted, QuotaRead
from bulksend.model import AccountStatus, Halt
from bulksend.worker.log import RunLog, configure_log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_standard_error_may_be_exchanged_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    configure_log("warning", "json")
    log = structlog.get_logger()
    log.warning("one")
    monkeypatch.setattr(sys, "stderr", second)
    first.close()
    log.warning("two")
    assert json.loads(second.getvalue())["event"] == "two"
    second.close()
    log.warning("three")


def test_a_halt_is_told_with_its_reason_and_without_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    configure_log("warning", "json")
    RunLog("launch").observe(CampaignHalted(Halt("SES refused: <a.b@example.com> is not verified", "Verify it.")))
    line = json.loads(said.getvalue())
    assert (line["event"], line["campaign"], line["scope"]) == ("halted", "launch", "campaign")
    assert (line["reason"], line["remedy"]) == ("SES refused: <[address]> is not verified", "Verify it.")


GRANTED = AccountStatus(
    max_send_rate_per_s=14.0,
    max_24_hour_send=50_000.0,
    sent_last_24_hours=10.0,
    sending_enabled=True,
    production_access=True,
    enforcement_status="HEALTHY",
)


def test_a_quota_that_is_read_again_is_told_only_if_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read every 30 seconds: else the line that says why nothing goes out is soon far above."""
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    configure_log("info", "json")
    log = RunLog()
    changes: list[dict[str, object]] = [
        {"max_send_rate_per_s": 20.0},
        {"max_24_hour_send": None},
        {"enforcement_status": "PROBATION"},
        {"sending_enabled": False},
    ]
    account = GRANTED
    for change in ({}, *changes):
        account = replace(account, **change)  # type: ignore[arg-type]
        for sent in range(50):
            log.observe(QuotaRead(replace(account, sent_last_24_hours=float(sent)), float(sent), 1.0, 14.0))
    lines = [json.loads(line) for line in said.getvalue().splitlines()]
    assert [(line["event"], line["sent_last_24_hours"]) for line in lines] == [("quota read", 0.0)] * 5
    assert [line["max_send_rate_per_s"] for line in lines] == [14.0, 20.0, 20.0, 20.0, 20.0]
    assert [line["sending_enabled"] for line in lines] == [True, True, True, True, False]


def test_each_reading_of_the_quota_is_there_for_whoever_debugs(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    configure_log("debug", "json")
    log = RunLog()
    for _ in range(2):
        log.observe(QuotaRead(GRANTED, 0.0, 1.0, 14.0))
    assert [json.loads(line)["level"] for line in said.getvalue().splitlines()] == ["info", "debug"]
