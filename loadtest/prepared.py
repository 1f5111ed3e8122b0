"""A campaign to be measured: its list, its plan, and a fresh copy of the planned state for each run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from loadtest.children import Job, Measured, measure

NAME = "measured"
CAMPAIGN = """\
name = "measured"
[sender]
from = "Example News <news@example.com>"
[content]
inline = {{ subject = "Hello {{{{first_name}}}}", text = "Dear {{{{first_name}}}}, {{{{note}}}}" }}
[recipients]
path = "{path}"
"""
PLAN_S_PER_MILLION = 60.0
START_S = 60.0


def plan(source: Path, folder: Path, rows: int, url: str, *, sample_every_s: float = 0.0) -> Measured:
    """Plan the list at `source`, to be sent to `url`, with `bulksend`'s own plan; `folder` gets the store.

    `body` in `folder` is then the first request's.
    """
    folder.mkdir(mode=0o700, parents=True)
    (folder / "campaign.toml").write_text(CAMPAIGN.format(path=source), "utf-8")
    return measure(
        Job("plan", str(folder), url, rows),
        timeout_s=START_S + PLAN_S_PER_MILLION * rows / 1e6,
        sample_every_s=sample_every_s,
    )


def fresh(planned: Path, folder: Path) -> Path:
    """The planned state once more, as if nothing had been sent: the journal copied, the snapshot linked."""
    store, old = folder / ".bulksend", planned / ".bulksend"
    (store / "snapshots").mkdir(mode=0o700, parents=True)
    store.chmod(0o700)
    for path in old.glob("journal.db*"):
        shutil.copy2(path, store / path.name)
    for path in (old / "snapshots").iterdir():
        os.link(path, store / "snapshots" / path.name)
    return folder
