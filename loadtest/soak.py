"""Minutes of sending while everything goes wrong: is anybody lost or mailed twice, does memory or do open files grow?

    python -m loadtest.soak
    python -m loadtest.soak --minutes 0.5 --sample-s 1

`bulksend send` against the simulator, with every kind of fault in one per cent of the requests each. It is drained at
the end of the time, and the two sides' books are compared row by row.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bulksend import worker
from bulksend.config import load_settings
from bulksend.model import Campaign
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from loadtest import faults, report
from loadtest.children import REGION, Sample, ScenarioError, environment, running, sample
from loadtest.lists import write_list
from loadtest.prepared import CAMPAIGN, NAME
from loadtest.report import Report

CONFIG = """\
[transport]
kind = "{transport}"
answer_timeout_s = 5.0
[log]
level = "error"
"""
START_WITHIN_S = 120.0
DRAIN_WITHIN_S = 120.0
PART_OF_RATE = 0.1
"""More than what the throttles among the faults leave of the pace."""
WARM_UP = 0.4
"""The part of the time whose samples are not looked at: FAILED is tried again after two to four minutes, and until then
more and more chunks wait for such an entry."""
GROWTH = 0.05
GROWTH_MIB = 4.0
GROWTH_FILES = 4
NOTES = """
- Faults: each kind befalls the given share of the requests (entry faults: of a request's entries one). Kinds that stop
  a campaign at first sight, as they should, are left out; those that say that the day is spent come once, and refused
  credentials twenty times, far apart. Since three kinds are throttles, each of which halves the pace, most of the quota
  stays unused.
- Copies: rows that the simulator accepted more than once. Losses: rows that are accepted on one side and neither
  accepted nor in doubt on the other. Both by comparing every row.
- Growth: the median of the last third of the samples against that of the first third, after a warm-up of two fifths of
  the time (retries wait for up to four minutes, and chunks with them); allowed are 5 % and 4 MiB of resident memory,
  and 5 % and 4 open files.
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """What the two sides say, row by row."""

    accepted: int
    dead: int
    in_doubt: int
    pending: int
    really_accepted: int
    copies: int
    losses: int
    adds_up: bool


def soak(options: argparse.Namespace) -> Report:
    made = Report("soak", report.settings_of(options), NOTES)
    seconds = 60.0 * options.minutes
    with tempfile.TemporaryDirectory(prefix="bulksend-soak-", dir=options.folder) as name:
        folder = Path(name)
        # More than can be sent in the time, so that it is sending to the end.
        write_list(folder / "list.csv", int(options.rate * PART_OF_RATE * (seconds + 20)))
        (folder / "campaign.toml").write_text(CAMPAIGN.format(path="list.csv"), "utf-8")
        (folder / "config.toml").write_text(CONFIG.format(transport=options.transport), "utf-8")
        with SimulatorProcess(
            max_send_rate_per_s=options.rate, max_24_hour_send=-1, latency_ms=20, latency_jitter_ms=40, kept_requests=0
        ) as simulator:
            simulator.rules(faults.rules(options.share))
            samples = _send(folder, simulator, seconds, options.sample_s)
            fired = Counter[str]()
            for rule in simulator.rules():
                fired[rule["fault"]] += int(rule["fired"])
            theirs = simulator.tally()
            compared = _compare(folder, simulator)
    _tables(made, compared, theirs, fired, samples)
    made.details |= {
        "faults_fired": dict(fired),
        "halting_kinds_left_out": faults.halting(),
        "samples": [asdict(one) for one in samples],
    }
    return made


def _send(folder: Path, simulator: SimulatorProcess, seconds: float, sample_every_s: float) -> list[Sample]:
    """Send for so long, drain, and return the samples since the first request."""
    command = [
        *(sys.executable, "-m", "bulksend", "send", "campaign.toml", "--yes", "--output", "json"),
        *("--config", "config.toml", "--endpoint-url", simulator.url, "--region", REGION, "--metrics-port", "0"),
    ]
    samples: list[Sample] = []
    with (
        (folder / "out").open("wb") as out,
        (folder / "err").open("wb") as err,
        running(command, cwd=folder, env=environment(), stdout=out, stderr=err) as process,
    ):
        deadline_s = time.monotonic() + START_WITHIN_S
        while not simulator.tally()["requests"]:
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise ScenarioError("the sender does not begin to send")
            time.sleep(0.2)
        began_s = time.monotonic()
        while (at_s := time.monotonic() - began_s) < seconds and process.poll() is None:
            taken = sample(process.pid, round(at_s, 2))
            if taken is not None:
                samples.append(taken)
                report.people.print(f"{at_s:6.0f} s: {taken.rss_mib:.0f} MiB, {taken.open_files} open files")
            _pause(process, min(sample_every_s, max(0.0, seconds - at_s)))
        if process.poll() is not None:
            said = (folder / "err").read_text("utf-8")[-500:]
            raise ScenarioError(f"the sender ended after {at_s:.0f} s with {process.returncode}. It said last: {said}")
        process.send_signal(signal.SIGTERM)
        process.wait(DRAIN_WITHIN_S)
    return samples


def _pause(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _compare(folder: Path, simulator: SimulatorProcess) -> Compared:
    store, campaign = _opened(folder, simulator)
    tally = store.journal.tally(campaign)
    really = bytearray(campaign.rows + 1)
    copies = losses = 0
    for entry in simulator.accepted(campaign.id):
        row = int(entry["row"])
        copies += really[row]
        really[row] = 1
    for found in worker.results(store, campaign):
        if found.state == "accepted":
            losses += not really[found.row]
        elif found.state != "in_doubt":
            losses += really[found.row]
    return Compared(
        accepted=tally.accepted,
        dead=tally.dead,
        in_doubt=tally.in_doubt,
        pending=tally.pending,
        really_accepted=sum(really),
        copies=copies,
        losses=losses,
        adds_up=tally.adds_up and not tally.in_flight,
    )


def _opened(folder: Path, simulator: SimulatorProcess) -> tuple[Store, Campaign]:
    settings = load_settings(folder / "config.toml", {}, {"aws.endpoint_url": simulator.url, "aws.region": REGION})
    store = Store.open(settings, folder)
    return store, store.journal.campaign(NAME)


def _tables(
    made: Report, compared: Compared, theirs: dict[str, Any], fired: dict[str, int], samples: Sequence[Sample]
) -> None:
    books = made.table(
        "Books",
        accepted="accepted",
        dead="dead",
        in_doubt="in doubt",
        pending="pending",
        really_accepted="accepted by the simulator",
        copies="copies",
        losses="losses",
        adds_up="adds up",
        requests="requests",
        faults="faults",
        kinds="kinds of them",
    )
    books.add(
        **asdict(compared),
        requests=int(theirs["requests"]),
        faults=sum(fired.values()),
        kinds=sum(count > 0 for count in fired.values()),
    )
    made.good = compared.adds_up and not compared.copies and not compared.losses
    table = made.table(
        "Growth", what="what", first="first third", last="last third", most="most", samples="samples", flat="flat"
    )
    warm = [one for one in samples if one.at_s >= WARM_UP * samples[-1].at_s]
    third = max(1, len(warm) // 3)
    for what, values, spare in (
        ("resident memory, MiB", [one.rss_mib for one in warm], GROWTH_MIB),
        ("of that anonymous, MiB", [one.anonymous_mib for one in warm], GROWTH_MIB),
        ("open files", [float(one.open_files) for one in warm], GROWTH_FILES),
    ):
        first, last = statistics.median(values[:third]), statistics.median(values[-third:])
        flat = last <= first * (1 + GROWTH) + spare
        made.good = made.good and flat
        table.add(what=what, first=first, last=last, most=max(values), samples=len(values), flat=flat)


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--minutes", type=float, default=10.0)
    arguments.add_argument("--rate", type=float, default=50_000.0, help="the simulator's quota, recipients per second")
    arguments.add_argument("--share", type=float, default=0.01, help="of the requests that each kind befalls")
    arguments.add_argument("--transport", choices=("auto", "compatible"), default="auto")
    arguments.add_argument("--sample-s", type=float, default=5.0, help="how often the process is looked at")
    return report.run(arguments, soak)


if __name__ == "__main__":
    sys.exit(main())
