"""The requirements files: exact, hashed, of today's pyproject.toml, and silent about the machine that made them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "requirements"


def pins(name: str) -> dict[str, str]:
    """Name to version, of a requirements file."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", text))


def wanted(requirements: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[._-]+", "-", name[0]).lower() for name in names if name}


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.glob("*.txt")))
def test_each_line_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    shapes = r"[a-z0-9-]+==[^\s/]+( ; [^/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|\s*#[^/]*((via|-[cr]) .*)?"
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(shapes, line) or "://" in line or " /" in line] == []


def test_all_that_pyproject_wants_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    base, dev = pins("base.txt"), pins("dev.txt")
    assert wanted(project["project"]["dependencies"]) <= base.keys()
    assert wanted(project["dependency-groups"]["dev"]) <= dev.keys()
    assert base.items() <= dev.items()
