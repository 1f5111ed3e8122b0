"""Peak memory of plan and send, and whether it is flat: both are looked at all the time while they run.

python -m loadtest.memory
python -m loadtest.memory --rows 100000 --format parquet
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loadtest import prepared, report
from loadtest.children import Job, Measured, MissingError, Sample, ScenarioError, measure
from loadtest.lists import FORMATS
from loadtest.plan import write
from loadtest.report import Cell, Report, Table
from loadtest.servers import Nginx
from loadtest.throughput import S_PER_MILLION, fifties

GOAL_MIB = 250 * 1e6 / 2**20
SAMPLE_EVERY_S = 0.1
POINTS = (10, 25, 50, 75, 95)
"""Per cent of the pass's time."""
NOWHERE = "http://127.0.0.1:9"
"""What a plan is bound to where there is no nginx; planning an inline template asks nobody."""
NOTES = """
- Peak: the highest resident memory of the process (VmHWM), Python and libraries included. Goal: ≤ 250 MB (238 MiB).
- The columns in per cent: resident memory (VmRSS) when so much of the pass was over.
- The send pass is the same for both formats but for what the list makes of the snapshot; it goes to nginx over https.
"""


def memory(options: argparse.Namespace) -> Report:
    made = Report("memory", report.settings_of(options), NOTES)
    points = {f"at_{point}": f"{point} %" for point in POINTS}
    table = made.table(
        "Resident memory, MiB",
        pass_="pass",
        format="format",
        rows="rows",
        peak="peak",
        **points,
        wall="wall s",
        met="≤ 250 MB",
        remark="",
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bulksend-memory-", dir=options.folder)))
        try:
            nginx: Nginx | None = stack.enter_context(Nginx(folder / "nginx"))
        except MissingError:
            nginx = None
        bench = Bench(made, table, nginx)
        for rows in options.rows:
            for form in options.format:
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    bench.one(Path(place), form, rows)
    return made


@dataclass(frozen=True, slots=True)
class Bench:
    """The report in the making, and where to send; without nginx nothing is sent."""

    made: Report
    table: Table
    nginx: Nginx | None

    def one(self, folder: Path, form: str, rows: int) -> None:
        """Plan and send one list."""
        source = folder / f"list.{form}"
        named: dict[str, Cell] = {"format": form, "rows": rows}
        write(source, rows, repeat_every=0)
        url = NOWHERE if self.nginx is None else self.nginx.https_url
        planned = prepared.plan(source, folder / "planned", rows, url, sample_every_s=SAMPLE_EVERY_S)
        self._add("plan", named, planned)
        source.unlink()
        if self.nginx is None:
            self._add("send", named, "missing: there is no nginx: make bench-deps installs it")
            return
        job = Job("send", str(folder / "planned"), url, rows)
        limit_s = 60 + S_PER_MILLION * rows / 1e6
        try:
            sent = measure(job, timeout_s=limit_s, ca_file=self.nginx.ca_file, sample_every_s=SAMPLE_EVERY_S)
        except ScenarioError as error:
            self._add("send", named, f"failed: {error}")
        else:
            self._add("send", named, sent)

    def _add(self, name: str, named: dict[str, Cell], found: Measured | str) -> None:
        if isinstance(found, str):
            self.table.add(pass_=name, **named, remark=found)
            self.made.good = False
            return
        met = found.peak_mib <= GOAL_MIB
        self.made.good = self.made.good and met
        report.people.print(f"{name}, {named['format']}, {named['rows']:,} rows: {found.peak_mib:.0f} MiB")
        shape = {f"at_{point}": _at(found.samples, point) for point in POINTS}
        self.table.add(pass_=name, **named, peak=found.peak_mib, **shape, wall=found.wall_s, met=met)
        step = max(1, len(found.samples) // 100)
        self.made.details[f"{name} {named['format']} {named['rows']}"] = [
            {"at_s": one.at_s, "rss_mib": one.rss_mib} for one in found.samples[::step]
        ]


def _at(samples: list[Sample], per_cent: int) -> float | None:
    return samples[(len(samples) - 1) * per_cent // 100].rss_mib if samples else None


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--rows", type=fifties, nargs="+", default=[1_000_000, 10_000_000], help="multiples of 50")
    arguments.add_argument("--format", choices=FORMATS, nargs="+", default=list(FORMATS))
    return report.run(arguments, memory)


if __name__ == "__main__":
    sys.exit(main())
