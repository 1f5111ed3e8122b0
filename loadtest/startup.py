"""How long commands take before they do anything: wall and CPU seconds, median of many.

python -m loadtest.startup
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from loadtest import prepared, report
from loadtest.children import ScenarioError, bound, environment
from loadtest.lists import write_list
from loadtest.report import Report

NOWHERE = "http://127.0.0.1:9"
ROWS = 1000
LIMIT_S = 60
GOAL_S = 0.3
BULKSEND = ("-m", "bulksend")
COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import bulksend'": ("-c", "import bulksend"),
    "bulksend --version": (*BULKSEND, "--version"),
    "bulksend --help": (*BULKSEND, "--help"),
    "bulksend send --help": (*BULKSEND, "send", "--help"),
    "bulksend status NAME": (*BULKSEND, "status", prepared.NAME),
    "bulksend results NAME": (*BULKSEND, "results", prepared.NAME),
    "bulksend plan FILE (known already)": (*BULKSEND, "plan", "campaign.toml", "--endpoint-url", NOWHERE),
}
NOTES = """
- Wall and CPU seconds (user and system) of the whole process, interpreter included; compiled modules and files are in
  the page cache. The campaign has 1,000 rows. Goal: `bulksend --help` within 0.3 s.
"""


def startup(options: argparse.Namespace) -> Report:
    made = Report("startup", report.settings_of(options), NOTES)
    table = made.table(
        "Start-up", command="command", wall="wall s", cpu="CPU s", least="least wall s", goal="goal", met="met"
    )
    taken: dict[str, list[tuple[float, float]]] = {command: [] for command in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="bulksend-startup-", dir=options.folder) as name:
        folder = Path(name) / "planned"
        write_list(Path(name) / "list.csv", ROWS)
        prepared.plan(Path(name) / "list.csv", folder, ROWS, NOWHERE)
        for _ in range(options.times):
            for command, words in COMMANDS.items():
                taken[command].append(_timed(command, words, folder))
    for command, times in taken.items():
        wall = report.median(wall for wall, _ in times)
        assert wall is not None
        is_goal = command == "bulksend --help"
        met = wall <= GOAL_S
        table.add(
            command=command,
            wall=wall,
            cpu=report.median(cpu for _, cpu in times),
            least=min(wall for wall, _ in times),
            goal=f"≤ {GOAL_S}" if is_goal else None,
            met=met if is_goal else None,
        )
        made.good = made.good and (met or not is_goal)
    return made


def _timed(command: str, words: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        bound(["timeout", str(LIMIT_S), sys.executable, *words]),
        cwd=folder,
        env=environment() | {"AWS_DEFAULT_REGION": "eu-west-1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    with process.stderr as stream:
        said = stream.read().decode(errors="replace").strip()
    # The usage of this one child, and of what it has waited for.
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - began_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ScenarioError(f"{command} ended with {process.returncode}: {said[-200:]}")
    return wall_s, usage.ru_utime + usage.ru_stime


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("--times", type=int, default=15)
    return report.run(arguments, startup)


if __name__ == "__main__":
    sys.exit(main())
