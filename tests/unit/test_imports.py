"""The import rule: imports point down only, siblings don't know each other, a library lives in its named rooms.

The source is read, not run: imports inside functions and for type checkers count like any other.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "bulksend"
SOURCE = Path(__file__).parents[2] / PACKAGE

TOP = frozenset({"__init__", "__main__", "cli"})
MIDDLE = frozenset({"admin", "engine", "events", "fleet", "journal", "metrics", "recipients", "report", "ses"})

LAYERS = (
    TOP,
    frozenset({"demo"}),
    frozenset({"worker"}),
    MIDDLE | {"simulator"},
    frozenset({"aws", "ledger"}),
    frozenset({"config", "outcome", "pacing"}),
    frozenset({"facts", "errors"}),
    frozenset({"event", "model"}),
    frozenset({"clock", "safety", "schedule"}),
)
"""From the top down. A room uses those of lower layers; rooms of one layer don't know each other, but for the top."""

SIMULATOR_USES = frozenset({"errors", "event", "model"})
SIMULATOR_USERS = TOP | {"demo", "worker"}

LIBRARIES: dict[str, frozenset[str]] = {
    "aioboto3": frozenset({"aws", "events", "ses"}),
    "aiobotocore": frozenset({"aws", "events", "ses"}),
    "aiohttp": frozenset({"admin", "aws", "simulator", "ses"}),  # the SDK's HTTP is made of it; its exceptions
    "aiolimiter": frozenset({"pacing"}),
    "botocore": frozenset({"aws", "events", "ses"}),
    "cyclopts": frozenset({"cli"}),
    "email_validator": frozenset({"config", "recipients"}),
    "httptools": frozenset({"aws"}),
    "orjson": frozenset(
        {"admin", "cli", "config", "events", "journal", "recipients", "report", "ses", "simulator", "worker"}
    ),
    "procrastinate": frozenset({"fleet"}),
    "prometheus_client": frozenset({"metrics"}),
    "psycopg": frozenset({"fleet", "journal"}),
    "psycopg_pool": frozenset({"fleet"}),
    "pyarrow": frozenset({"recipients"}),
    "pydantic": frozenset({"config"}),
    "pydantic_core": frozenset({"config"}),
    "rich": frozenset({"cli", "demo", "report"}),
    "sqlite3": frozenset({"journal"}),
    "structlog": frozenset({"cli", "engine", "worker"}),
    "uvloop": frozenset({"cli", "simulator", "worker"}),
}
"""Where each library may be imported. sqlite3 stands for the journal's store, though Python brings it along."""

VAGUE_NAMES = frozenset({"common", "helper", "helpers", "util", "utils"})


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module by its path below the package: `ses` for ("ses", "client"), `__init__` for the package."""
    return parts[0] if parts else "__init__"


def imported(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(line, dotted parts) of everything that a module imports; `package` is the package it is in."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, tuple(alias.name.split("."))) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = package[: len(package) - level + 1] if level else ()
                base += tuple(module.split(".")) if module else ()
                # `from bulksend import ses` imports the room ses, or a name of bulksend's own.
                yield from ((node.lineno, (*base, alias.name)) for alias in names)
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]) if "import" in ast.unparse(func):
                yield node.lineno, tuple(name.split("."))
            case _:
                pass


def layer_of(room: str) -> int | None:
    return next((place for place, rooms in enumerate(LAYERS) if room in rooms), None)


def breach(room: str, parts: tuple[str, ...], rooms: frozenset[str]) -> str | None:
    """What is wrong with an import of `parts` in `room`, if anything."""
    if parts[0] != PACKAGE:
        library = parts[0]
        if library in LIBRARIES:
            return None if room in LIBRARIES[library] else f"{library} does not live in {room}"
        return None if library in sys.stdlib_module_names else f"{library} has no room: name one in LIBRARIES"
    other = room_of(parts[1:])
    if other not in rooms:
        # A name of bulksend/__init__.py: those below may know the version, but not the public API.
        if len(parts) == 2 and (other == "__version__" or room in TOP):
            return None
        return f"{other} is no room"
    if other == room or (room in TOP and other in TOP):
        return None
    return breach_of_layers(room, other)


def breach_of_layers(room: str, other: str) -> str | None:
    here, there = layer_of(room), layer_of(other)
    if here is None or there is None:
        return f"{room if here is None else other} is in no layer"
    if room == "simulator":
        return None if other in SIMULATOR_USES else f"the simulator uses {other}"
    if other == "simulator":
        return None if room in SIMULATOR_USERS else f"{room} uses the simulator"
    if here == there:
        return f"{room} and {other} are siblings"
    return None if here < there else f"{room} is below {other}"


def breaches(source: Path) -> list[str]:
    """Every breach of the rule in the package at `source`, as `file:line what`."""
    found = []
    files = sorted(source.rglob("*.py"))
    paths = [file.relative_to(source).with_suffix("").parts for file in files]
    rooms = frozenset(path[0] for path in paths)
    for file, path in zip(files, paths, strict=True):
        found += [f"{file.relative_to(source)}: a vague name" for part in path if part in VAGUE_NAMES]
        if layer_of(path[0]) is None:
            found.append(f"{file.relative_to(source)}: {path[0]} is in no layer")
        tree = ast.parse(file.read_bytes(), str(file))
        for line, parts in imported(tree, (PACKAGE, *path[:-1])):
            wrong = breach(room_of(path), parts, rooms)
            if wrong is not None:
                found.append(f"{file.relative_to(source)}:{line} {wrong}")
    return found


def test_the_package_keeps_the_rule() -> None:
    assert breaches(SOURCE) == []


def make(folder: Path, files: dict[str, str]) -> Path:
    """A package of empty rooms, and of the given files."""
    for room in ("__init__", "cli", "worker", "engine", "metrics", "pacing", "outcome", "ledger", "model", "errors"):
        (folder / f"{room}.py").touch()
    for room in ("ses", "simulator", "journal"):
        (folder / room).mkdir()
        (folder / room / "__init__.py").touch()
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model", "import bulksend.errors", "model.py:1 model is below errors"),
        ("model", "\nimport bulksend.errors as e, json", "model.py:2 model is below errors"),
        ("pacing", "from bulksend.engine import Engine", "pacing.py:1 pacing is below engine"),
        ("pacing", "from bulksend import engine", "pacing.py:1 pacing is below engine"),
        ("pacing", "from bulksend import outcome", "pacing.py:1 pacing and outcome are siblings"),
        ("outcome", "from bulksend.ledger import Ledger", "outcome.py:1 outcome is below ledger"),
        ("engine", "from .metrics import Metrics", "engine.py:1 engine and metrics are siblings"),
        ("engine", "from . import metrics", "engine.py:1 engine and metrics are siblings"),
        ("ses/client", "from ..engine import Engine", "ses/client.py:1 ses and engine are siblings"),
        ("ses/client", "from .. import journal", "ses/client.py:1 ses and journal are siblings"),
        ("ses/client", "from ..journal.rows import Row", "ses/client.py:1 ses and journal are siblings"),
        ("engine", "def f():\n    import bulksend.journal", "engine.py:2 engine and journal are siblings"),
        (
            "engine",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bulksend.worker import Worker",
            "engine.py:3 engine is below worker",
        ),
        (
            "engine",
            "import importlib\nimportlib.import_module('bulksend.ses')",
            "engine.py:2 engine and ses are siblings",
        ),
        ("engine", "from bulksend import cli", "engine.py:1 engine is below cli"),
        ("worker", "from bulksend import cli", "worker.py:1 worker is below cli"),
        ("metrics", "from bulksend.simulator import Simulator", "metrics.py:1 metrics uses the simulator"),
        ("simulator/app", "from bulksend.outcome import classify", "simulator/app.py:1 the simulator uses outcome"),
        ("simulator/app", "from bulksend.ses import client", "simulator/app.py:1 the simulator uses ses"),
        ("worker", "import bulksend", "worker.py:1 worker is below __init__"),
        ("worker", "from bulksend import send", "worker.py:1 send is no room"),
        ("model", "from bulksend.nowhere import x", "model.py:1 nowhere is no room"),
        ("engine", "import pyarrow.parquet as pq", "engine.py:1 pyarrow does not live in engine"),
        ("engine", "def f():\n    from aioboto3 import Session", "engine.py:2 aioboto3 does not live in engine"),
        ("worker", "import sqlite3", "worker.py:1 sqlite3 does not live in worker"),
        ("ses/client", "import requests", "ses/client.py:1 requests has no room: name one in LIBRARIES"),
        ("utils", "", "utils.py: a vague name"),
        ("ses/helpers", "", "ses/helpers.py: a vague name"),
        ("journal/common", "", "journal/common.py: a vague name"),
        ("sundries", "", "sundries.py: sundries is in no layer"),
    ],
)
def test_a_breach_is_seen(tmp_path: Path, file: str, text: str, said: str) -> None:
    found = breaches(make(tmp_path, {file: text}))
    assert said in found


def test_what_is_allowed_is_not_blamed(tmp_path: Path) -> None:
    folder = make(
        tmp_path,
        {
            "__init__": "from bulksend.worker import send\nfrom bulksend.model import Tally",
            "cli": "import cyclopts\nfrom bulksend import __version__, worker\nfrom bulksend.simulator import app",
            "worker": "from bulksend import __version__, engine, journal\nfrom bulksend.simulator import app",
            "engine": "from bulksend.pacing import Pacer\nfrom bulksend.ledger import Ledger\nimport asyncio.tasks",
            "ledger": "from bulksend.outcome import Outcome",
            "journal/rows": "import sqlite3\nfrom .writer import Writer\nfrom bulksend.journal import open",
            "journal/writer": "from ..model import Batch",
            "simulator/app": "from aiohttp import web\nfrom bulksend.model import Batch\nfrom . import quota",
            "ses/client": "import aioboto3\nfrom botocore.exceptions import ClientError",
        },
    )
    assert breaches(folder) == []
