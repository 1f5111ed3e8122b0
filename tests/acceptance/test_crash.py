"""kill -9, for real, with faults on: the small one of loadtest/crash.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loadtest import crash
from loadtest.children import environment
from loadtest.crash import one_campaign
from tests.forked import Forked


def test_killed_and_resumed_nobody_is_lost_or_gets_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forked(command: list[str], folder: Path) -> Forked:
        arguments = command[command.index("bulksend") + 1 :]
        return Forked(*arguments, folder=folder, environment=environment())

    monkeypatch.setattr(crash, "start", forked)
    counted = one_campaign(tmp_path, entries=1500, kills=3, rate_per_s=1000.0, dice=random.Random(1))
    assert counted.kills == 3
    assert (counted.copies, counted.losses, counted.unbalanced) == (0, 0, 0)
    assert counted.in_doubt <= counted.in_doubt_bound
    assert counted.accepted <= counted.really_accepted <= counted.accepted + counted.in_doubt
