"""The common end of all scenarios: a table for people, JSON for later, and the machine it was measured on."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bulksend import __version__
from bulksend.errors import BulksendError
from loadtest.children import ScenarioError

Cell: TypeAlias = str | int | float | bool | None
Row: TypeAlias = Mapping[str, Cell]

PACKAGES = ("aioboto3", "aiobotocore", "boto3", "aiohttp", "uvloop", "httptools", "orjson", "pyarrow")
INTERRUPTED = 130

people = Console(stderr=True, highlight=False)
"""Progress goes to standard error; the table to standard output."""


@dataclass
class Table:
    """Rows under `columns`, which maps the key of a cell to its heading. A key that a row lacks is an empty cell."""

    title: str
    columns: dict[str, str]
    rows: list[dict[str, Cell]] = field(default_factory=list)

    def add(self, **row: Cell) -> None:
        unknown = row.keys() - self.columns.keys()
        assert not unknown, unknown
        self.rows.append(row)


def described() -> dict[str, Cell]:
    """What the figures depend on; nothing that names the machine or its places."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "bulksend": __version__,
        **{name: _version_of(name) for name in PACKAGES},
        "nginx": _said("nginx", "-v"),
        "wrk": _said("wrk", "-v"),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def program(name: str) -> str | None:
    """Where a program is; nginx is in a folder of the system's, which is not everybody's path."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _said(name: str, flag: str) -> str:
    """A program's version, from whatever it prints when it is asked."""
    path = program(name)
    if path is None:
        return "missing"
    said = subprocess.run([path, flag], capture_output=True, text=True, check=False, timeout=10)
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else "present"


@dataclass
class Report:
    """What a scenario found. `good` is whether all that has to hold does; `notes` say, in Markdown, what it means."""

    scenario: str
    settings: dict[str, Any]
    notes: str
    tables: list[Table] = field(default_factory=list)
    good: bool = True
    details: dict[str, Any] = field(default_factory=dict)
    at: str = field(default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    machine: dict[str, Cell] = field(default_factory=described)

    def table(self, title: str, **columns: str) -> Table:
        self.tables.append(Table(title, columns))
        return self.tables[-1]

    def show(self) -> None:
        out = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
        for table in self.tables:
            shown = RichTable(title=escape(table.title), title_justify="left")
            for key, heading in table.columns.items():
                numbers = any(isinstance(row.get(key), (int, float)) for row in table.rows)
                shown.add_column(heading, justify="right" if numbers else "left")
            for row in table.rows:
                shown.add_row(*(escape(written(row.get(key))) for key in table.columns))
            out.print(shown)
        out.print(self.notes.strip(), markup=False)
        out.print("good" if self.good else "NOT GOOD")

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def written(cell: Cell) -> str:
    """A cell as text: numbers to the digits that mean something."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "NO"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.1f}" if abs(cell) >= 20 else f"{cell:.2f}"
        case str():
            return cell


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every scenario takes."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--json", type=Path, metavar="FILE", help="write report and machine here as JSON")
    made.add_argument(
        "--folder", type=Path, help="where lists, snapshots and journals go for the time (default: the temporary one)"
    )
    return made


def run(arguments: argparse.ArgumentParser, scenario: Callable[[argparse.Namespace], Report]) -> int:
    """Run a scenario and print what it found. SIGTERM ends it as Ctrl-C does: whatever it started is stopped."""
    options = arguments.parse_args()
    if options.folder is not None:
        options.folder = options.folder.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = scenario(options)
    except KeyboardInterrupt:
        people.print("Interrupted; nothing is kept running.")
        return INTERRUPTED
    except (BulksendError, ScenarioError) as error:
        people.print(str(error), style="bold red", markup=False)
        return 1
    report.show()
    if options.json is not None:
        options.json.write_text(report.as_json(), "utf-8")
    return 0 if report.good else 1


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The options that make a difference to the figures."""
    return {name: value for name, value in vars(options).items() if name not in {"json", "folder"}}


def median(values: Iterable[float]) -> float | None:
    """None where there are none."""
    found = list(values)
    return statistics.median(found) if found else None


def spread(values: Sequence[float]) -> str:
    """All of them, in their order."""
    return " ".join(written(float(value)) for value in values)
