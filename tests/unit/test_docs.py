"""docs/campaign-file.md and docs/configuration.md against the models: every key, and no other; examples that load."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bulksend.config import CampaignFile, Settings, load_campaign, load_settings
from bulksend.config.source import dotted_keys

DOCS = Path(__file__).parents[2] / "docs"

SMALLEST = """\
name = "2026-11-launch"
[sender]
from = "Example News <news@example.com>"
[content]
template = "launch"
[recipients]
path = "list.csv"
"""


def entries(page: str) -> dict[str, str]:
    """Each documented key with its text."""
    found = re.split(r"(?m)^### `(.+)`$", (DOCS / page).read_text("utf-8"))
    assert len(found[1::2]) == len(set(found[1::2]))
    return {key: re.split(r"(?m)^## ", text)[0] for key, text in zip(found[1::2], found[2::2], strict=True)}


def leaves(model: type[BaseModel]) -> list[str]:
    """The keys that are not tables themselves, in the model's order."""
    keys = list(dotted_keys(model))
    return [key for key in keys if not any(other.startswith(f"{key}.") for other in keys)]


CASES = [
    *(("campaign-file.md", key, text) for key, text in entries("campaign-file.md").items()),
    *(("configuration.md", key, text) for key, text in entries("configuration.md").items()),
]


@pytest.mark.parametrize(("page", "model"), [("campaign-file.md", CampaignFile), ("configuration.md", Settings)])
def test_every_key_is_documented_and_no_other(page: str, model: type[BaseModel]) -> None:
    assert sorted(entries(page)) == sorted(leaves(model))


@pytest.mark.parametrize(("page", "key", "text"), CASES, ids=[case[1] for case in CASES])
def test_an_entry_has_meaning_default_limits_and_an_example_that_loads(
    page: str, key: str, text: str, tmp_path: Path
) -> None:
    assert re.match(r"\n\n[A-Za-z]", text), "no meaning"
    assert re.search(r"(?m)^- Default: .+", text)
    assert re.search(r"(?m)^- Limits: .+", text)
    (example,) = re.findall(r"(?s)```toml\n(.*?)```", text)
    assert key in set(keys_of(tomllib.loads(example)))
    path = tmp_path / "example.toml"
    if page == "configuration.md":
        path.write_text(example, "utf-8")
        load_settings(path, {}, {})
        return
    overrides: dict[str, Any] = {}
    for section, value in tomllib.loads(example).items():
        if not isinstance(value, dict):
            overrides[section] = value
            continue
        overrides |= {f"{section}.{name}": below for name, below in value.items()}
    smallest = SMALLEST.replace('template = "launch"', "") if key.startswith(CHOICES) else SMALLEST
    path.write_text(smallest, "utf-8")
    load_campaign(path, overrides)


CHOICES = ("content.inline.", "content.template_arn")


@pytest.mark.parametrize("key", leaves(Settings))
def test_the_default_of_a_setting_is_the_model_s(key: str) -> None:
    section, _, name = key.rpartition(".")
    model: Any = Settings if not section else Settings.model_fields[section].annotation
    field = model.model_fields[name]
    text = entries("configuration.md")[key]
    shown = f'"{field.default}"' if isinstance(field.default, str) else str(field.default).lower()
    assert f"- Default: {'not set' if field.default is None else f'`{shown}`'}\n" in text
    assert f"- Variable: `BULKSEND_{key.replace('.', '_').upper()}`\n" in text
    assert " ".join((field.description or "").split()) in " ".join(text.split())


@pytest.mark.parametrize("key", ["recipients.address", "recipients.dedupe", "policy.in_doubt", "policy.max_attempts"])
def test_the_default_of_a_key_of_a_campaign_is_the_model_s(key: str) -> None:
    section, _, name = key.partition(".")
    model: Any = CampaignFile.model_fields[section].annotation
    default = model.model_fields[name].default
    shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
    assert f"- Default: `{shown}`\n" in entries("campaign-file.md")[key]


def test_the_smallest_campaign_of_the_docs_loads(tmp_path: Path) -> None:
    text = (DOCS / "campaign-file.md").read_text("utf-8")
    assert f"```toml\n{SMALLEST}```" in text
    (tmp_path / "c.toml").write_text(SMALLEST, "utf-8")
    load_campaign(tmp_path / "c.toml")


def keys_of(value: object, key: str = "") -> Iterator[str]:
    """Every dotted key of tables, and of the tables in lists."""
    match value:
        case dict():
            for name, below in value.items():
                dotted = f"{key}.{name}".removeprefix(".")
                yield dotted
                yield from keys_of(below, dotted)
        case list():
            for below in value:
                yield from keys_of(below, key)
        case _:
            pass
