"""What is said when a list is gone: pruned on purpose, or lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import CAMPAIGN, bulksend
from tests.harness import write_list


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com", "no address"])
    return in_folder


def test_whatever_needs_a_pruned_list_says_so_and_what_is_left(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    before = bulksend("status", "launch", "--output", "json").stdout
    assert bulksend("prune", "launch", "--yes").returncode == 0
    at_ses = (
        ("send", "launch", "--yes"),
        ("send", "campaign.toml", "--yes"),
        ("resume", "launch"),
        ("plan", "campaign.toml"),
    )
    here = (
        ("results", "launch"),
        ("results", "launch", "--format", "jsonl", "--out", "r.jsonl"),
        ("results", "launch", "--format", "list"),
        ("retry", "launch"),
        ("resolve", "launch"),
        ("resolve", "launch", "--resend"),
    )
    for arguments in (*at_ses, *here):
        refused = bulksend(*arguments, url=simulator.url if arguments in at_ses else None)
        assert (refused.returncode, refused.stdout) == (2, ""), arguments
        assert re.search(
            r"'launch' was removed by bulksend prune at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", refused.stderr
        )
        assert "3 rows: 1 accepted, 1 dead, 0 in doubt, 1 skipped" in refused.stderr
        assert "Nothing is left to send" not in refused.stderr
    assert bulksend("status", "launch", "--output", "json").stdout == before, (
        "nothing is pending that could not be sent"
    )
    assert sorted(path.name for path in folder.iterdir()) == [".bulksend", "campaign.toml", "list.csv"]
    forgotten = bulksend("forget", "a@example.com", "--yes", "--output", "json")
    assert json.loads(forgotten.stdout) == {
        "campaigns": 0,
        "rows": 0,
        "never_sent": 0,
        "mentions": 0,
        "pruned": 1,
        "events": 0,
    }
    assert bulksend("prune", "launch", "--yes").returncode == 0


def test_a_list_that_was_lost_is_not_taken_for_a_pruned_one(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    for path in (folder / ".bulksend" / "snapshots").iterdir():
        path.unlink()
    lost = bulksend("results", "launch")
    assert lost.returncode == 5
    assert "backup" in lost.stderr
    forgotten = bulksend("forget", "a@example.com", "--yes")
    assert forgotten.returncode == 5
    assert "bulksend prune launch" in forgotten.stderr
    assert bulksend("prune", "launch", "--yes").returncode == 0
    assert bulksend("forget", "a@example.com", "--yes").returncode == 0
