"""What planning costs: CPU seconds per million rows, peak memory, and whether every planted duplicate is found.

    python -m loadtest.plan --rows 1000000 10000000 --format parquet csv

Each list is made, then planned by a process of its own, round by round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from loadtest import report
from loadtest.children import ROOT, Job, Measured, environment, measure
from loadtest.lists import FORMATS
from loadtest.report import Report, Table

REPEAT_EVERY = 1_000
MAX_S_PER_MILLION = 60
GOALS = {"parquet": 2.0, "csv": 2.5}
GOAL_ROWS = 1_000_000
NOTES = """
- CPU s/M: CPU seconds (user and system) per million rows: read, check addresses, de-duplicate, write the snapshot to
  disk. Start of the interpreter and imports are not in it.
- Every thousandth row repeats an earlier address; every one of them has to be found. Peak: VmHWM of the process.
- The goals, 2.0 (Parquet) and 2.5 (CSV), are for a million rows and more.
"""


def write(source: Path, rows: int, repeat_every: int = REPEAT_EVERY) -> None:
    """Make the list in a process of its own, which takes its memory with it."""
    words = ["--rows", str(rows), "--out", str(source), "--repeat-every", str(repeat_every)]
    subprocess.run([sys.executable, "-m", "loadtest.lists", *words], check=True, cwd=ROOT, env=environment())


def plan(options: argparse.Namespace) -> Report:
    made = Report("plan", report.settings_of(options), NOTES)
    table = made.table(
        "Plan pass",
        format="format",
        rows="rows",
        cpu="CPU s/M",
        rounds="of each round",
        wall="wall s",
        peak="peak MiB",
        duplicates="duplicates",
        goal="goal",
        met="met",
        remark="",
    )
    for rows in options.rows:
        with tempfile.TemporaryDirectory(prefix="bulksend-plan-", dir=options.folder) as name:
            folder = Path(name)
            for form in options.format:
                write(folder / f"list.{form}", rows)
            runs: dict[str, list[Measured]] = defaultdict(list)
            for number in range(options.rounds):
                for form in options.format if number % 2 == 0 else options.format[::-1]:
                    with tempfile.TemporaryDirectory(dir=folder) as place:
                        (Path(place) / f"list.{form}").hardlink_to(folder / f"list.{form}")
                        limit_s = 30 + MAX_S_PER_MILLION * rows / 1e6
                        runs[form].append(measure(Job("snapshot", place, rows=rows), timeout_s=limit_s))
                    cpu_s = runs[form][-1].cpu_s / rows * 1e6
                    report.people.print(f"round {number + 1}: {form}, {rows:,} rows: {cpu_s:.2f} CPU s/M")
        for form in options.format:
            _add(made, table, form, rows, runs[form])
    return made


def _add(made: Report, table: Table, form: str, rows: int, runs: list[Measured]) -> None:
    planted = rows // REPEAT_EVERY
    exact = all(run.more["duplicates"] == planted and run.accepted == rows - planted for run in runs)
    per_million = [run.cpu_s / rows * 1e6 for run in runs]
    cpu = report.median(per_million)
    assert cpu is not None
    met = cpu <= GOALS[form]
    made.good = made.good and exact and (met or rows < GOAL_ROWS)
    table.add(
        format=form,
        rows=rows,
        cpu=cpu,
        rounds=report.spread(per_million),
        wall=report.median(run.wall_s for run in runs),
        peak=report.median(run.peak_mib for run in runs),
        duplicates=runs[0].more["duplicates"],
        goal=f"≤ {GOALS[form]:.1f}",
        met=met,
        remark="exact" if exact else f"WRONG: {planted:,} were planted",
    )


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    arguments.add_argument("--format", choices=FORMATS, nargs="+", default=list(FORMATS))
    return report.run(arguments, plan)


if __name__ == "__main__":
    sys.exit(main())
