"""docs/FEATURES.md against the service's own model and the code: every operation has its row, and says what is true."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "FEATURES.md").read_text("utf-8")
NOT_IN_THIS_SDK = {"GetEmailAddressInsights"}
"""In the reference, and in no model that is installed."""


def section(title: str) -> str:
    found = re.search(rf"(?ms)^## {title}\n(.*?)(?=^## |\Z)", PAGE)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


USED = {row[0].split()[0]: row for row in rows(section("Operations that are used"))}
NOT_OFFERED = [
    name for row in rows(section("Operations that are deliberately not offered")) for name in row[0].split(", ")
]


def operations() -> set[str]:
    model = botocore.session.get_session().get_service_model("sesv2")
    return set(model.operation_names) | NOT_IN_THIS_SDK


@cache
def ours() -> dict[str, frozenset[str]]:
    """The words of each file of the engine."""
    return {
        str(file.relative_to(ROOT)): frozenset(re.findall(r"\w+", file.read_text("utf-8")))
        for file in (ROOT / "bulksend").rglob("*.py")
        if "simulator" not in file.parts
    }


def calls(operation: str) -> list[str]:
    """The files in which the engine calls it."""
    return [file for file, words in ours().items() if xform_name(operation) in words]


def test_every_operation_has_one_row() -> None:
    named = [*USED, *NOT_OFFERED]
    assert sorted(named) == sorted(set(named))
    assert sorted(operations() - set(named)) == []
    assert sorted(set(named) - operations()) == []


@pytest.mark.parametrize("operation", sorted(USED))
def test_what_is_used_is_called_where_it_says(operation: str) -> None:
    _, _, where, _ = USED[operation]
    named = where.strip("`")
    if operation == "SendBulkEmail":  # the signed transport does not go through the SDK
        assert (ROOT / named).is_file()
        return
    assert named in calls(operation), calls(operation)


@pytest.mark.parametrize("operation", sorted(NOT_OFFERED))
def test_what_is_not_offered_is_not_called(operation: str) -> None:
    assert calls(operation) == []


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:tests|bulksend)/[\w/]+\.py)`", PAGE))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []
    assert len(named) > 10


@pytest.mark.parametrize(
    "shape",
    ["SendBulkEmailRequest", "BulkEmailEntry", "BulkEmailEntryResult", "Attachment", "Template", "MultiRegionEndpoint"],
)
def test_every_member_of_what_is_sent_and_answered_is_named(shape: str) -> None:
    model = botocore.session.get_session().get_service_model("sesv2").shape_for(shape)
    missing = [name for name in model.members if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []
