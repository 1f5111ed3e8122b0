"""The reports of several scenarios as one page of Markdown.

python -m loadtest.results loadtest/out/*.json > loadtest/RESULTS.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadtest.report import written

TITLE = "# Results of the last full run\n\nWritten by `python -m loadtest.results` from the scenarios' JSON."


def page(reports: list[dict[str, Any]]) -> Iterator[str]:
    """The machine once, if all were measured on the same; then each scenario."""
    yield TITLE
    machines = [one["machine"] for one in reports]
    shared = all(one == machines[0] for one in machines)
    if shared:
        yield "## Machine"
        yield _pairs(machines[0])
    for one in reports:
        yield f"## {one['scenario']}"
        said = " ".join(f"`--{_flag(name)} {_words(value)}`" for name, value in one["settings"].items())
        yield f"{one['at']}; {'good' if one['good'] else '**not all is as it has to be**'}; {said}"
        if not shared:
            yield _pairs(one["machine"])
        for table in one["tables"]:
            yield f"**{table['title']}**"
            yield _rows(list(table["columns"].values()), [[r.get(k) for k in table["columns"]] for r in table["rows"]])
        yield one["notes"].strip()


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _pairs(machine: dict[str, Any]) -> str:
    return _rows(["", ""], [[name, str(value)] for name, value in machine.items()])


def _rows(headings: list[str], rows: list[list[Any]]) -> str:
    numbers = [any(isinstance(row[i], (int, float)) for row in rows) for i in range(len(headings))]
    lines = [headings, ["---:" if number else "---" for number in numbers]]
    lines += [[written(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    if not sys.argv[1:] or sys.argv[1].startswith("-"):
        print(__doc__)
        return 2
    print("\n\n".join(page([json.loads(Path(name).read_text("utf-8")) for name in sys.argv[1:]])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
