"""How a quota is shared: by campaigns of different weights, and by workers of a fleet, also while some are killed.

    python -m loadtest.sharing

Everything stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bulksend.simulator import SimulatorProcess
from loadtest import report
from loadtest.children import ScenarioError, environment
from loadtest.report import Report
from tests.postgres import Postgres, database
from tests.worker_process import WorkerProcess

WEIGHTS = {"one": 1, "two": 2, "four": 4}
SETTLED_S = 5.0
CAMPAIGN = """\
name = "{name}"
[sender]
from = "news@example.com"
[content]
template = "launch"
[recipients]
path = "{name}.csv"
[schedule]
priority = {priority}
"""
NOTES = """
- used: of what the quota allows in the time that was measured. Shares: what a campaign got over what its weight is due.
- Good are shares within 5 %, 98 % of the quota used, nothing throttled, and no copy or loss by the simulator's tally.
"""


@dataclass(frozen=True)
class Figures:
    """One scenario. Times in seconds."""

    scenario: str
    workers: int
    kills: int
    measured_s: float
    accepted: int
    used: str
    shares: str
    throttled: int
    copies: int
    losses: int
    good: bool


@dataclass
class Place:
    """A folder with a store, a simulator behind it, and the workers that send from it."""

    folder: Path
    simulator: SimulatorProcess
    stack: ExitStack
    workers: list[WorkerProcess]

    def bulksend(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bulksend", *arguments], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 3, 4):
            raise ScenarioError(f"bulksend {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def submit(self, name: str, rows: int, priority: int) -> None:
        with (self.folder / f"{name}.csv").open("w", encoding="utf-8") as out:
            out.write("email\n")
            out.writelines(f"{name}{n}@example.com\n" for n in range(rows))
        (self.folder / f"{name}.toml").write_text(CAMPAIGN.format(name=name, priority=priority), "utf-8")
        self.bulksend("submit", f"{name}.toml", "--yes")

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.bulksend("status", name, "--output", "json"))
        return found

    def add_worker(self) -> None:
        self.workers.append(self.stack.enter_context(WorkerProcess(self.folder)))

    def kill_one(self, dice: random.Random) -> None:
        """kill -9, and another in its place."""
        worker = self.workers.pop(dice.randrange(len(self.workers)))
        worker.process.kill()
        worker.process.wait()
        self.add_worker()


@contextmanager
def place(kind: str, rate_per_s: float, parent: Path | None) -> Iterator[Place]:
    """A store of its own, on SQLite or PostgreSQL."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulksend-sharing-", dir=parent)))
        simulator = stack.enter_context(
            SimulatorProcess(max_send_rate_per_s=rate_per_s, max_24_hour_send=-1, latency_ms=30, latency_jitter_ms=20)
        )
        lines = [f'[aws]\nendpoint_url = "{simulator.url}"\nregion = "eu-west-1"\n[fleet]\nlease_s = 3\n']
        if kind == "fleet":
            server = stack.enter_context(Postgres())
            url = stack.enter_context(database(server.url, "sharing"))
            lines.insert(0, f'store = "{url}"\nsnapshots = "shelf"\n')
        (folder / "config.toml").write_text("".join(lines), "utf-8")
        yield Place(folder, simulator, stack, [])


def shares(kind: str, workers: int, *, rate_per_s: float, seconds: float, parent: Path | None) -> Figures:
    """Three campaigns of weights 1, 2 and 4."""
    with place(kind, rate_per_s, parent) as here:
        for name, weight in WEIGHTS.items():
            here.submit(name, int(rate_per_s * (seconds + 4 * SETTLED_S)), weight)
        for _ in range(workers):
            here.add_worker()
        ids = {name: str(here.status(name)["id"]) for name in WEIGHTS}

        def sent() -> dict[str, int]:
            return {name: int(here.simulator.tally(found)["accepted"]) for name, found in ids.items()}

        wait_for(lambda: all(sent().values()), "all of them are being sent")
        time.sleep(SETTLED_S)
        began_s, before = time.monotonic(), sent()
        time.sleep(seconds)
        after, took_s = sent(), time.monotonic() - began_s
        throttled = here.simulator.tally()["refused_429"]
    got = {name: after[name] - before[name] for name in WEIGHTS}
    whole = sum(got.values())
    of_due = {name: got[name] / (whole * weight / sum(WEIGHTS.values())) for name, weight in WEIGHTS.items()}
    good = all(abs(share - 1.0) <= 0.05 for share in of_due.values()) and not throttled
    return Figures(
        scenario=f"shares-{kind}",
        workers=workers,
        kills=0,
        measured_s=took_s,
        accepted=whole,
        used=f"{whole / (rate_per_s * took_s):.1%}",
        shares=" ".join(f"{share:.3f}" for share in of_due.values()),
        throttled=throttled,
        copies=0,
        losses=0,
        good=good,
    )


def quota(kills: int, *, rate_per_s: float, seconds: float, parent: Path | None) -> Figures:
    """Four workers under one quota; some are killed and replaced."""
    dice = random.Random(1)
    rows = int(rate_per_s * seconds)
    with place("fleet", rate_per_s, parent) as here:
        here.submit("one", rows, 1)
        for _ in range(4):
            here.add_worker()
        found = str(here.status("one")["id"])

        def sent() -> int:
            return int(here.simulator.tally(found)["accepted"])

        wait_for(lambda: sent() > 0, "it is being sent")
        time.sleep(SETTLED_S)
        began_s, before = time.monotonic(), sent()
        ends_s = began_s + seconds - 4 * SETTLED_S
        for number in range(kills):
            time.sleep(max(0.0, began_s + (number + 0.5) * (ends_s - began_s) / kills - time.monotonic()))
            here.kill_one(dice)
        time.sleep(max(0.0, ends_s - time.monotonic()))
        after, took_s = sent(), time.monotonic() - began_s
        wait_for(lambda: here.status("one")["state"] == "finished", "it is finished", within_s=120.0)
        theirs, ours = here.simulator.tally(found), here.status("one")
    used = (after - before) / (rate_per_s * took_s)
    losses = max(0, ours["accepted"] - theirs["rows"], theirs["rows"] - ours["accepted"] - ours["in_doubt"])
    missing = rows - ours["accepted"] - ours["in_doubt"] - ours["dead"]
    return Figures(
        scenario="quota-fleet" if not kills else "quota-fleet-killed",
        workers=4,
        kills=kills,
        measured_s=took_s,
        accepted=after - before,
        used=f"{used:.1%}",
        shares="",
        throttled=theirs["refused_429"],
        copies=len(theirs["copies"]),
        losses=losses + missing,
        good=used >= 0.98 and not (theirs["refused_429"] or theirs["copies"] or losses or missing),
    )


def wait_for(condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise ScenarioError(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.1)


def sharing(options: argparse.Namespace) -> Report:
    made = Report("sharing", report.settings_of(options), NOTES)
    os.environ |= environment()
    seconds, rate, parent = options.seconds, options.rate, options.folder
    scenarios: dict[str, Callable[[], Figures]] = {
        "shares-sqlite": lambda: shares("sqlite", 1, rate_per_s=rate / 4, seconds=seconds, parent=parent),
        "shares-fleet": lambda: shares("fleet", 4, rate_per_s=rate / 4, seconds=seconds, parent=parent),
        "quota-fleet": lambda: quota(0, rate_per_s=rate, seconds=seconds + 4 * SETTLED_S, parent=parent),
        "quota-fleet-killed": lambda: quota(6, rate_per_s=rate, seconds=seconds + 4 * SETTLED_S, parent=parent),
    }
    table = made.table("Shared quotas", **{field.name: field.name for field in fields(Figures)})
    for name in options.scenarios or scenarios:
        figures = scenarios[name]()
        report.people.print(f"{name}: {figures.used} used, {figures.throttled} throttled {figures.shares}")
        table.add(**asdict(figures))
        made.good = made.good and figures.good
    return made


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("scenarios", nargs="*", help="shares-sqlite shares-fleet quota-fleet quota-fleet-killed")
    arguments.add_argument("--seconds", type=float, default=60.0)
    arguments.add_argument(
        "--rate", type=float, default=2000.0, help="the fleet's quota; shares are of a quarter of it"
    )
    return report.run(arguments, sharing)


if __name__ == "__main__":
    sys.exit(main())
