"""`bulksend simulate`, also `python -m bulksend.simulator`: every setting is an option."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bulksend.errors import BulksendError
from bulksend.simulator.app import run
from bulksend.simulator.settings import Choice, SimulatorSettings

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bulksend simulate", description="An SES v2 over HTTP on loopback.")
    kinds: dict[str, type] = {"int": int, "float": float, "float | None": float, "str": str}
    for option in SimulatorSettings.options():
        flag, kind, text = f"--{option.name.replace('_', '-')}", str(option.type), option.metadata["help"]
        if kind == "bool":
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=option.default, help=text)
        elif kind == "tuple[str, ...]":
            parser.add_argument(flag, action="append", default=[], help=text)
        else:
            choices = Choice.get(option.name)
            parser.add_argument(flag, type=kinds[kind], default=option.default, choices=choices, help=text)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the simulator; the exit code says how it ended."""
    parsed = vars(_parser().parse_args(arguments))
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in parsed.items()}
    try:
        run(SimulatorSettings(**values))
    except BulksendError as error:
        sys.stderr.write(f"{error.message}\n{error.hint}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
