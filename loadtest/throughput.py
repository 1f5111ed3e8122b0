"""CPU seconds per million recipients: bulksend beside what one would write with the SDK, and beside wrk as the limit.

    python -m loadtest.throughput
    python -m loadtest.throughput --rounds 1 --rows 100000 --peer-rows 5000 --seconds 2

Every sender posts the same entries to the same nginx on loopback, in turns, so many rounds; ratios are taken within a
round. nginx counts the requests: a run whose count differs is no result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest import prepared, report
from loadtest.children import Job, Measured, MissingError, ScenarioError, measure
from loadtest.lists import write_list
from loadtest.report import Report
from loadtest.servers import RESULTS, Nginx

S_PER_MILLION = 240.0
"""No sender is given more wall time than this, and a minute to start."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A row of the table."""

    name: str
    kind: str
    tls: bool = True
    transport: str = "auto"

    @property
    def full(self) -> bool:
        """Whether it sends all rows; the others are slow, and their figures are of fewer."""
        return self.kind == "send"


OURS = Sender("bulksend, signed", "send")
COMPATIBLE = Sender("bulksend, compatible", "send", transport="compatible")
GATHER = Sender("aioboto3 + gather, from the list", "gather")
PLAIN = Sender("aioboto3's client, ready entries", "plain")
WRK = Sender("wrk, a ready body", "wrk")
SENDERS = (
    OURS,
    COMPATIBLE,
    replace(OURS, tls=False),
    GATHER,
    PLAIN,
    Sender("boto3, a loop over the list", "boto3"),
    WRK,
    replace(WRK, tls=False),
)

NOTES = """
- CPU s/M: CPU seconds (user and system) of the sending process per million recipients, of the pass alone: interpreter
  start and imports are not in it. In bulksend's pass are the making of its clients, the snapshot's digest and the
  first look at the quota: the column "start" has these CPU seconds, once per pass. Of the peers' only sending is
  measured.
- bulksend: snapshot to outcomes in a durable SQLite journal on disk, with pacing, retries, log and metrics on. wrk,
  one thread: one body of the same size, answers not parsed, certificates not verified.
- The peers send fewer rows, scaled to a million; 64 requests at a time (the boto3 loop one), otherwise with the SDK's
  own settings.
- A run counts only if nginx has served as many requests as that sender had to send, and every entry was accepted.
- Ratios are taken within each round; medians are over the rounds.
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What all runs share: the server and the places of plans and list."""

    nginx: Nginx
    folder: Path
    options: argparse.Namespace

    def url(self, sender: Sender) -> str:
        return self.nginx.https_url if sender.tls else self.nginx.http_url

    def planned(self, sender: Sender) -> Path:
        return self.folder / ("planned-https" if sender.tls else "planned-http")

    def prepare(self) -> None:
        """The list, and a plan for each of the two URLs."""
        rows: int = self.options.rows
        source = self.folder / "list.csv"
        write_list(source, max(rows, self.options.peer_rows, RESULTS))
        if rows != max(rows, self.options.peer_rows, RESULTS):
            source = self.folder / "short.csv"
            write_list(source, rows)
        for sender in (OURS, replace(OURS, tls=False)):
            prepared.plan(source, self.planned(sender), rows, self.url(sender))

    def run(self, sender: Sender, *, metrics: bool = True) -> Measured:
        """One run, checked against nginx's own count.

        Raises:
            ScenarioError: it failed, or the counts differ.
        """
        rows: int = self.options.rows if sender.full else self.options.peer_rows
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place = self.folder
            if sender.full:
                place = prepared.fresh(self.planned(sender), Path(name))
            elif sender.kind == "wrk":
                place = self.planned(sender)
            job = Job(
                sender.kind,
                str(place),
                self.url(sender),
                rows,
                transport=sender.transport,
                metrics=metrics,
                seconds=self.options.seconds,
            )
            before = self.nginx.served()
            found = measure(job, timeout_s=60 + S_PER_MILLION * rows / 1e6, ca_file=self.nginx.ca_file)
            served = self.nginx.served() - before
        wanted = found.accepted // RESULTS
        # When wrk's time is up, some of its requests are still under way: those that nginx has served are not wrk's.
        spare = job.max_in_flight if sender.kind == "wrk" else 0
        if not wanted <= served.bulk <= wanted + spare:
            raise ScenarioError(f"nginx served {served.bulk:,} requests, where {wanted:,} were to come")
        return replace(found, requests=served.bulk, more={**found.more, "connections": served.connections - 1})


def throughput(options: argparse.Namespace) -> Report:
    made = Report("throughput", report.settings_of(options), NOTES)
    taken: dict[Sender, list[Measured | str]] = defaultdict(list)
    try:
        with tempfile.TemporaryDirectory(prefix="bulksend-throughput-", dir=options.folder) as name:
            folder = Path(name)
            with Nginx(folder / "nginx") as nginx:
                bench = Bench(nginx, folder, options)
                bench.prepare()
                for number in range(options.rounds):
                    # Forth and back: whatever grows or wears out in a round does not always meet the same one.
                    for sender in SENDERS if number % 2 == 0 else SENDERS[::-1]:
                        taken[sender].append(_attempt(bench, sender, number))
    except MissingError as error:
        for sender in SENDERS:
            taken[sender] = [f"missing: {error}"]
    made.details["runs"] = [
        {"sender": s.name, "tls": s.tls, "runs": [r if isinstance(r, str) else vars_of(r) for r in runs]}
        for s, runs in taken.items()
    ]
    _senders_table(made, options, taken)
    _ratios_table(made, taken)
    return made


def _attempt(bench: Bench, sender: Sender, number: int) -> Measured | str:
    try:
        found = bench.run(sender)
    except MissingError as error:
        return f"missing: {error}"
    except ScenarioError as error:
        return f"failed: {error}"
    over = "https" if sender.tls else "http"
    report.people.print(f"round {number + 1}: {sender.name}, {over}: {found.cpu_s_per_million:.2f} CPU s/M")
    return found


def vars_of(found: Measured) -> dict[str, object]:
    """For the details, without samples."""
    return {
        "cpu_s_per_million": found.cpu_s_per_million,
        "cpu_s": found.cpu_s,
        "wall_s": found.wall_s,
        "peak_mib": found.peak_mib,
        "accepted": found.accepted,
        "requests": found.requests,
        **found.more,
    }


def _senders_table(made: Report, options: argparse.Namespace, taken: dict[Sender, list[Measured | str]]) -> None:
    table = made.table(
        "Send pass, CPU seconds per million recipients",
        sender="sender",
        over="over",
        rows="rows",
        cpu="CPU s/M",
        rounds="of each round",
        rate="recipients/s",
        peak="peak MiB",
        start="start, CPU s",
        remark="",
    )
    for sender in SENDERS:
        runs = [run for run in taken[sender] if isinstance(run, Measured)]
        wrong = [run for run in taken[sender] if isinstance(run, str)]
        table.add(
            sender=sender.name,
            over="https" if sender.tls else "http",
            rows=options.rows if sender.full else None if sender.kind == "wrk" else options.peer_rows,
            cpu=report.median(run.cpu_s_per_million for run in runs),
            rounds=report.spread([run.cpu_s_per_million for run in runs]),
            rate=report.median(run.accepted / run.wall_s for run in runs),
            peak=report.median(run.peak_mib for run in runs) if sender.kind != "wrk" else None,
            start=report.median(run.more["start_cpu_s"] for run in runs if "start_cpu_s" in run.more),
            remark="; ".join(sorted(set(wrong))),
        )


def _ratios_table(made: Report, taken: dict[Sender, list[Measured | str]]) -> None:
    table = made.table("Ratios", what="what", median="median", goal="goal", rounds="of each round", met="met")
    for what, above, below, goal in (
        ("aioboto3 + gather ÷ bulksend, signed (https)", GATHER, OURS, 20.0),
        ("wrk ÷ bulksend, signed (https)", WRK, OURS, 0.15),
        ("aioboto3's client ÷ bulksend, compatible (https)", PLAIN, COMPATIBLE, 2.5),
    ):
        ratios = [
            a.cpu_s_per_million / b.cpu_s_per_million
            for a, b in zip(taken[above], taken[below], strict=True)
            if isinstance(a, Measured) and isinstance(b, Measured)
        ]
        found = report.median(ratios)
        met = found is not None and found >= goal
        table.add(
            what=what,
            median=found,
            goal=f"≥ {goal:g}",
            rounds=report.spread(ratios),
            met="missing" if found is None else met,
        )
        made.good = made.good and met


def options_of(arguments: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Those that scenarios with nginx and rounds share."""
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rows", type=fifties, default=1_000_000, help="a multiple of 50")
    return arguments


def fifties(text: str) -> int:
    """A number of rows that makes whole requests: every answer has fifty results."""
    rows = int(text)
    if rows <= 0 or rows % RESULTS:
        raise argparse.ArgumentTypeError(f"{text} is no multiple of {RESULTS}")
    return rows


def main() -> int:
    arguments = options_of(report.parser(__doc__))
    arguments.add_argument("--peer-rows", type=fifties, default=100_000, help="rows that each SDK sender sends")
    arguments.add_argument("--seconds", type=int, default=10, help="how long wrk posts")
    return report.run(arguments, throughput)


if __name__ == "__main__":
    sys.exit(main())
