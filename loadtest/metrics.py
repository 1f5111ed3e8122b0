"""What metrics cost: send passes with and without the Prometheus observer, in turns.

python -m loadtest.metrics --rounds 5
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from loadtest import report
from loadtest.children import MissingError
from loadtest.report import Report
from loadtest.servers import RESULTS, Nginx
from loadtest.throughput import OURS, Bench, options_of

GOAL = 0.02
NOTES = """
- CPU seconds per million recipients of the send pass (signed transport, https), with the metrics' observer and
  without.
- The share is the difference within a round over the pass with metrics. It is a difference of two large figures: with
  few rounds on a machine that does other things too, it says little.
"""


def metrics(options: argparse.Namespace) -> Report:
    made = Report("metrics", report.settings_of(options), NOTES)
    table = made.table(
        "Metrics",
        rounds="rounds",
        on="CPU s/M with",
        off="CPU s/M without",
        share="share, median",
        each="of each round",
    )
    options.peer_rows, options.seconds = RESULTS, 0
    found: dict[bool, list[float]] = {True: [], False: []}
    try:
        with tempfile.TemporaryDirectory(prefix="bulksend-metrics-", dir=options.folder) as name:
            folder = Path(name)
            with Nginx(folder / "nginx") as nginx:
                bench = Bench(nginx, folder, options)
                bench.prepare()
                for number in range(options.rounds):
                    for on in (True, False) if number % 2 == 0 else (False, True):
                        cpu_s = bench.run(OURS, metrics=on).cpu_s_per_million
                        found[on].append(cpu_s)
                        report.people.print(f"round {number + 1}, metrics {'on' if on else 'off'}: {cpu_s:.3f}")
    except MissingError as error:
        table.add(each=f"missing: {error}")
        made.good = False
        return made
    shares = [1 - off / on for on, off in zip(found[True], found[False], strict=True)]
    share = report.median(shares)
    assert share is not None
    table.add(
        rounds=options.rounds,
        on=report.median(found[True]),
        off=report.median(found[False]),
        share=f"{share:.1%}",
        each=" ".join(f"{one:.1%}" for one in shares),
    )
    made.details["cpu_s_per_million"] = {"with": found[True], "without": found[False]}
    made.good = share <= GOAL
    return made


def main() -> int:
    return report.run(options_of(report.parser(__doc__)), metrics)


if __name__ == "__main__":
    sys.exit(main())
