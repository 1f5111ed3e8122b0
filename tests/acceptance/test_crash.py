"""kill -9, for real, with faults on: the small one of loadtest/crash.py."""

from __future__ import annotations

import random
from pathlib import Path

from loadtest.crash import one_campaign


def test_killed_and_resumed_nobody_is_lost_or_gets_two(tmp_path: Path) -> None:
    counted = one_campaign(tmp_path, entries=1500, kills=3, rate_per_s=1000.0, dice=random.Random(1))
    assert counted.kills == 3
    assert (counted.copies, counted.losses, counted.unbalanced) == (0, 0, 0)
    assert counted.in_doubt <= counted.in_doubt_bound
    assert counted.accepted <= counted.really_accepted <= counted.accepted + counted.in_doubt
