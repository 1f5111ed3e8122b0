"""The log goes to standard error as it is at the moment; that nobody is there to read it ends nothing."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import pytest
import structlog

from bulksend.worker.log import configure_log


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
