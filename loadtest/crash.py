"""kill -9 at random moments, resume, and count: nobody lost, nobody twice, by the simulator's own tally.

    python -m loadtest.crash --kills 100

Each campaign is killed several times while faults of every kind are on, then resumed to its end. Everything stays on
loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bulksend import worker
from bulksend.config import load_settings
from bulksend.model import Campaign
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from loadtest import report
from loadtest.children import ScenarioError, bound, environment
from loadtest.report import Report

FAULTS = [
    {"fault": "transient_failure", "share": 0.01},
    {"fault": "throttled_429", "share": 0.01},
    {"fault": "unavailable_503", "share": 0.01},
    {"fault": "account_throttled", "share": 0.001},
    {"fault": "reset_after_accepting", "share": 0.004},
    {"fault": "reset_before_reading", "share": 0.004},
    {"fault": "hang_after_accepting", "share": 0.002},
    {"fault": "internal_500", "share": 0.004},
    {"fault": "truncated_answer", "share": 0.004},
    {"fault": "malformed_answer", "share": 0.004},
    {"fault": "too_few_results", "share": 0.004},
]
CAMPAIGN = """\
name = "crash"
[sender]
from = "news@example.com"
[content]
template = "launch"
[recipients]
path = "list.csv"
"""
CONFIG = """\
[transport]
answer_timeout_s = 2.0
[engine]
max_in_flight = {cap}
"""
CAP = 16
BATCH = 50
RUN_LIMIT_S = 180.0
NOTES = """
- Kills: SIGKILL of a sending process; each campaign is resumed after it, and in the end finished. Entries of all
  campaigns together.
- Copies: rows that the simulator accepted more than once, or that we do not call accepted or in doubt. Losses: rows
  that we call accepted and the simulator does not. Unbalanced: times that the journal did not add up.
- In doubt is bounded by what can have been in the air: kills × requests in flight × 50, and what the faults left open.
"""


@dataclass
class Counted:
    """What the two sides say after the last resume."""

    campaigns: int = 0
    kills: int = 0
    entries: int = 0
    accepted: int = 0
    really_accepted: int = 0
    copies: int = 0
    losses: int = 0
    dead: int = 0
    in_doubt: int = 0
    in_doubt_bound: int = 0
    unbalanced: int = 0

    @property
    def good(self) -> bool:
        return not (self.copies or self.losses or self.unbalanced) and self.in_doubt <= self.in_doubt_bound


def one_campaign(folder: Path, entries: int, kills: int, rate_per_s: float, dice: random.Random) -> Counted:
    """Plan, kill so often, resume to the end, compare."""
    lines = [f"fault.message_rejected+{n}@example.com" if n % 97 == 0 else f"r{n}@example.com" for n in range(entries)]
    (folder / "list.csv").write_text("email\n" + "\n".join(lines) + "\n", "utf-8")
    (folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    (folder / "config.toml").write_text(CONFIG.format(cap=CAP), "utf-8")
    counted = Counted(campaigns=1, entries=entries)
    with SimulatorProcess(
        max_send_rate_per_s=rate_per_s, latency_ms=20, latency_jitter_ms=40, seed=dice.randrange(2**31)
    ) as simulator:
        simulator.rules(FAULTS)
        command = [
            *(sys.executable, "-m", "bulksend", "send", "campaign.toml", "--yes", "--output", "json"),
            *("--config", "config.toml", "--endpoint-url", simulator.url, "--region", "eu-west-1"),
            *("--log-level", "error"),
        ]
        while counted.kills < kills:
            requests_before = simulator.tally()["requests"]
            process = start(command, folder)
            wait_until_sending(process, simulator, requests_before)
            time.sleep(dice.uniform(0.0, 0.6 * entries / rate_per_s / kills))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.communicate()
            counted.kills += 1
            counted.unbalanced += not balanced(folder, simulator.url)
        finish(command, folder)
        compare(folder, simulator, counted)
    return counted


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        bound(command), cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def wait_until_sending(process: subprocess.Popen[str], simulator: SimulatorProcess, requests_before: int) -> None:
    deadline_s = time.monotonic() + 30.0
    while process.poll() is None and simulator.tally()["requests"] == requests_before:
        if time.monotonic() > deadline_s:
            raise ScenarioError("the sender has not sent anything in 30 s")
        time.sleep(0.01)


def finish(command: list[str], folder: Path) -> None:
    """Resume to the end; a halt (ten probes in doubt can happen by chance) is resumed as well."""
    deadline_s = time.monotonic() + RUN_LIMIT_S
    while time.monotonic() < deadline_s:
        process = start(command, folder)
        out, _ = process.communicate(timeout=RUN_LIMIT_S)
        if json.loads(out)["state"] == "finished":
            return
    raise ScenarioError("the campaign does not end")


def opened(folder: Path, url: str) -> tuple[Store, Campaign]:
    settings = load_settings(folder / "config.toml", {}, {"aws.endpoint_url": url})
    store = Store.open(settings, folder)
    return store, store.journal.campaign("crash")


def balanced(folder: Path, url: str) -> bool:
    """Promise 1, at the instant of a death."""
    store, campaign = opened(folder, url)
    return store.journal.tally(campaign).adds_up


def compare(folder: Path, simulator: SimulatorProcess, counted: Counted) -> None:
    """Row by row: what we call accepted they accepted, what we call refused or pending they did not."""
    store, campaign = opened(folder, simulator.url)
    tally = store.journal.tally(campaign)
    theirs = simulator.tally(campaign.id)
    really = {int(entry["row"]) for entry in simulator.accepted(campaign.id)}
    for row in worker.results(store, campaign):
        if row.state == "accepted":
            counted.losses += row.row not in really
        elif row.state != "in_doubt":
            counted.losses += row.state != "dead"
            counted.copies += row.row in really
    counted.accepted, counted.dead, counted.in_doubt = tally.accepted, tally.dead, tally.in_doubt
    counted.really_accepted = theirs["accepted"]
    counted.copies += len(theirs["copies"])
    counted.unbalanced += not tally.adds_up
    counted.in_doubt_bound = counted.kills * CAP * BATCH + theirs["ambiguous_attempts"]


def run(kills: int, *, kills_each: int, entries: int, rate_per_s: float, seed: int, parent: Path | None) -> Counted:
    """As many campaigns as it takes."""
    dice = random.Random(seed)
    total = Counted()
    while total.kills < kills:
        with tempfile.TemporaryDirectory(prefix="bulksend-crash-", dir=parent) as folder:
            one = one_campaign(Path(folder), entries, min(kills_each, kills - total.kills), rate_per_s, dice)
        if one.kills == 0:
            raise ScenarioError("the campaign ends before it can be killed: more entries are needed")
        for name, value in asdict(one).items():
            setattr(total, name, getattr(total, name) + value)
        report.people.print(
            f"{total.kills} kills: {total.copies} copies, {total.losses} losses, {total.in_doubt} in doubt"
        )
    return total


def crash(options: argparse.Namespace) -> Report:
    made = Report("crash", report.settings_of(options), NOTES)
    total = run(
        options.kills,
        kills_each=options.kills_each,
        entries=options.entries,
        rate_per_s=options.rate,
        seed=options.seed,
        parent=options.folder,
    )
    table = made.table("Kills", **{name: name.replace("_", " ") for name in asdict(total)})
    table.add(**asdict(total))
    made.good = total.good
    return made


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--kills-each", type=int, default=10, help="kills per campaign")
    arguments.add_argument("--entries", type=int, default=20_000, help="entries per campaign")
    arguments.add_argument("--rate", type=float, default=2000.0, help="the simulator's quota, recipients per second")
    arguments.add_argument("--seed", type=int, default=0)
    return report.run(arguments, crash)


if __name__ == "__main__":
    sys.exit(main())
