"""The log goes to standard error as it is at the moment; that nobody is there to read it ends nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from bulksend.facts import CampaignHalted
from bulksend.model import Halt
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
