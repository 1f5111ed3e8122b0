"""README.md and docs/ against the command line: no verb and no option that is not there, no verb left out."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from cyclopts import App

from bulksend.cli.app import app
from bulksend.errors import ExitCode
from bulksend.simulator.settings import SimulatorSettings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER = "VERB"

# In code only, where a command line ends with its line, a comment, a pipe or another command. A Kubernetes namespace of
# the same name is no command.
CODE = re.compile(r"(?s)```[a-z]*\n(.*?)```|`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|(?<=[\s/]))(?<!-n )bulksend ([a-zA-Z][^\n#|;&]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def verbs_of(group: App, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], set[str]]:
    """Every verb, as its words, with its options."""
    found: dict[tuple[str, ...], set[str]] = {}
    for name in group:
        if name.startswith("-"):
            continue
        words, command = (*before, name), group[name]
        below = verbs_of(command, words)
        found |= below
        if not below:
            arguments = command.assemble_argument_collection()
            found[words] = {option for argument in arguments for option in argument.names} | {"--help"}
    simulate = ("simulate",)
    if simulate in found:
        found[simulate] |= {f"--{field.name.replace('_', '-')}" for field in SimulatorSettings.options()}
    return found


@cache
def verbs() -> dict[tuple[str, ...], set[str]]:
    """All of them: not before they are needed, since every process that runs tests imports this file."""
    return verbs_of(app)


def groups() -> set[tuple[str, ...]]:
    return {words[:1] for words in verbs() if len(words) > 1}


def code_of(text: str) -> str:
    """Blocks and spans of code, with commands over several lines made one."""
    return "\n".join(block or span for block, span in CODE.findall(text)).replace("\\\n", " ")


def commands_in(text: str) -> list[str]:
    """What follows `bulksend` on each command line of a page."""
    lines = (line.removeprefix("$ ") for line in code_of(text).splitlines() if not line.startswith(("bulksend_", "[")))
    return [found for line in lines for found in COMMAND.findall(line)]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_of_a_page_is_one(page: Path) -> None:
    wrong = []
    for command in commands_in(page.read_text("utf-8")):
        words = command.split()
        if words[0] == PLACEHOLDER:
            continue
        verb = tuple(words[: 2 if (words[0],) in groups() else 1])
        if verb not in verbs():
            wrong.append(f"bulksend {command}")
            continue
        wrong += [f"bulksend {command}: {option}" for option in OPTION.findall(command) if option not in verbs()[verb]]
    assert wrong == []


# Most options on this page are those of docker, kubectl and the like; the test above looks at those of our commands.
ONLY_OURS = [page for page in PAGES if page.name != "DEPLOYMENT.md"]


@pytest.mark.parametrize("page", ONLY_OURS, ids=[page.name for page in ONLY_OURS])
def test_every_option_of_a_page_is_one_of_some_verb(page: Path) -> None:
    known = set().union(*verbs().values())
    assert sorted(set(OPTION.findall(code_of(page.read_text("utf-8")))) - known) == []


def test_every_verb_is_on_some_page() -> None:
    code = [code_of(page.read_text("utf-8")) for page in PAGES]
    missing = []
    for words in verbs():
        if len(words) == 1:
            shown = any(re.search(rf"\b{words[0]}\b", text) for text in code)
        else:
            shown = any(words[0] in text and re.search(rf"\b{words[1]}\b", text) for text in code)
        if not shown:
            missing.append(" ".join(words))
    assert missing == []


def test_the_pages_have_commands() -> None:
    named = {command.split()[0] for page in PAGES for command in commands_in(page.read_text("utf-8"))}
    assert {"plan", "send", "status", "results", "resolve", "simulate", "template"} <= named
    assert len(verbs()) > len(groups())


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_exit_codes_are_all_there() -> None:
    table = (ROOT / "README.md").read_text("utf-8").partition("## Exit codes")[2].partition("\n## ")[0]
    assert [int(code) for code in re.findall(r"(?m)^\| (\d+) \|", table)] == sorted(ExitCode)
