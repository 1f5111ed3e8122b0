"""Answers that take 100 ms: how many requests are then in the air, what comes through, and what memory that takes.

    python -m loadtest.latency

The server is on the same machine, over https, each request on a connection of its own: up to 1,000 of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from loadtest import prepared, report
from loadtest.children import Job, ScenarioError, measure
from loadtest.lists import write_list
from loadtest.report import Report
from loadtest.servers import RESULTS, SlowServer
from loadtest.throughput import S_PER_MILLION, fifties

GOAL_MIB = 400 * 1e6 / 2**20
NOTES = """
- In flight: requests whose answer was awaited, at most and on average (the answers' times over the wall time). It
  follows the pace × latency, and the pace here is as fast as it goes, up to the cap.
- Answers: from sending to the answer, the delay included; what is over the delay is waiting for a processor, since
  sender and server share this machine.
- Peak: the sender's highest resident memory (VmHWM). Goal: ≤ 400 MB (381 MiB) at 1,000 connections.
"""


def latency(options: argparse.Namespace) -> Report:
    made = Report("latency", report.settings_of(options), NOTES)
    table = made.table(
        f"Answers after {options.delay_ms:g} ms, over https",
        cap="cap",
        most="most in flight",
        mean="mean in flight",
        p50="answers p50, ms",
        p95="p95, ms",
        rate="recipients/s",
        cpu="CPU s/M",
        peak="peak MiB",
        met="≤ 400 MB",
        remark="",
    )
    with tempfile.TemporaryDirectory(prefix="bulksend-latency-", dir=options.folder) as name:
        folder = Path(name)
        with SlowServer(folder / "server", options.delay_ms) as server:
            write_list(folder / "list.csv", options.rows)
            prepared.plan(folder / "list.csv", folder / "planned", options.rows, server.https_url)
            for cap in options.max_in_flight:
                place = prepared.fresh(folder / "planned", folder / f"run-{cap}")
                job = Job("flights", str(place), server.https_url, options.rows, max_in_flight=cap)
                limit_s = 60 + S_PER_MILLION * options.rows / 1e6
                limit_s += options.rows / RESULTS / cap * options.delay_ms / 1000
                try:
                    found = measure(job, timeout_s=limit_s, ca_file=server.ca_file, sample_every_s=0.2)
                except ScenarioError as error:
                    table.add(cap=cap, remark=f"failed: {error}")
                    made.good = False
                    continue
                met = found.peak_mib <= GOAL_MIB
                made.good = made.good and met
                table.add(
                    cap=cap,
                    most=found.more["most_in_flight"],
                    mean=found.more["mean_in_flight"],
                    p50=found.more["p50_ms"],
                    p95=found.more["p95_ms"],
                    rate=found.accepted / found.wall_s,
                    cpu=found.cpu_s_per_million,
                    peak=found.peak_mib,
                    met=met,
                )
                made.details[f"cap {cap}"] = [{"at_s": s.at_s, "rss_mib": s.rss_mib} for s in found.samples]
    return made


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--rows", type=fifties, default=2_000_000, help="a multiple of 50")
    arguments.add_argument("--delay-ms", type=float, default=100.0)
    arguments.add_argument("--max-in-flight", type=int, nargs="+", default=[64, 1000], help="engine.max_in_flight")
    return report.run(arguments, latency)


if __name__ == "__main__":
    sys.exit(main())
