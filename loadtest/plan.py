"""What planning costs: CPU seconds per million rows, peak memory, and whether every planted duplicate is found.

    python -m loadtest.plan --rows 1000000 10000000 --format parquet csv

Each list is made, then planned by a process of its own, which is measured from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from loadtest.lists import FORMATS

REPEAT_EVERY = 1_000
MAX_S_PER_MILLION = 60

PLAN = """
import json, sys
from pathlib import Path
from bulksend.recipients import Mapping, take_snapshot

mapping = Mapping("email", None, {}, {"plan": "{plan}"}, dedupe=True)
taken = take_snapshot(Path(sys.argv[1]), mapping, campaign_id="measured", folder=Path(sys.argv[2]))
print(json.dumps({"rows": taken.rows, "entries": taken.entries, "skipped": taken.skipped}))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """One plan. `peak_mib` is the most memory that was resident."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    rows: int
    entries: int
    duplicates: int


def write(source: Path, rows: int) -> None:
    """Make the list in a process of its own: what this one has ever needed, its children seem to have needed too."""
    words = ["--rows", str(rows), "--out", str(source), "--repeat-every", str(REPEAT_EVERY)]
    subprocess.run([sys.executable, "-m", "loadtest.lists", *words], check=True)


def measure(source: Path, folder: Path, timeout_s: float) -> Measured:
    """Plan the list at `source` in a process of its own; `folder` gets the snapshot."""
    started = time.monotonic()
    with subprocess.Popen(
        ["timeout", str(timeout_s), sys.executable, "-c", PLAN, str(source), str(folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        # The usage of this one child, and of what it has waited for; RUSAGE_CHILDREN adds up all that ever were.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the plan of {source} failed with {process.returncode}")
    said = json.loads(output)
    return Measured(
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - started,
        peak_mib=usage.ru_maxrss / 1024,
        rows=said["rows"],
        entries=said["entries"],
        duplicates=said["skipped"].get("duplicate", 0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--format", choices=FORMATS, nargs="+", default=list(FORMATS))
    parser.add_argument(
        "--folder", type=Path, help="where lists and snapshots go for the time (default: the temporary)"
    )
    options = parser.parse_args()
    exact = True
    print(f"{'rows':>12} {'format':8} {'CPU s/M':>8} {'wall s':>8} {'peak MiB':>9} {'duplicates':>11}")
    for rows in options.rows:
        for form in options.format:
            with tempfile.TemporaryDirectory(dir=options.folder) as name:
                source = Path(name) / f"list.{form}"
                write(source, rows)
                found = measure(source, Path(name) / "snapshots", 10 + MAX_S_PER_MILLION * rows / 1e6)
            planted = rows // REPEAT_EVERY
            right = found.duplicates == planted and found.entries == rows - planted and found.rows == rows
            exact = exact and right
            print(
                f"{rows:>12,} {form:8} {found.cpu_s / rows * 1e6:>8.2f} {found.wall_s:>8.1f} {found.peak_mib:>9.0f} "
                f"{found.duplicates:>11,} {'exact' if right else f'WRONG: {planted:,} were planted'}",
                flush=True,
            )
    if not exact:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
