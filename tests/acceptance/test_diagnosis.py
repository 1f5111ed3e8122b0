"""doctor, trace and what a plan says of the account, as a person meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import CAMPAIGN, bulksend
from tests.harness import write_list


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com"])
    return in_folder


def levels(output: str) -> dict[str, str]:
    return {one["check"]: one["level"] for one in json.loads(output)["checks"]}


@pytest.fixture
def template(simulator: SimulatorProcess, folder: Path) -> None:
    (folder / "template.toml").write_text('name = "launch"\nsubject = "Hello"\ntext = "Hello"\n', "utf-8")
    assert bulksend("template", "push", "template.toml", url=simulator.url).returncode == 0


@pytest.mark.usefixtures("template")
def test_doctor_before_and_after_a_plan(folder: Path, simulator: SimulatorProcess) -> None:
    before = bulksend("doctor", "campaign.toml", "--output", "json", url=simulator.url)
    assert (before.returncode, before.stderr) == (0, "")
    assert json.loads(before.stdout)["verdict"] == "warning"
    assert levels(before.stdout)["template"] == "ok"
    assert not (folder / ".bulksend").exists()
    planned = bulksend("plan", "campaign.toml", url=simulator.url)
    assert (
        "2 recipients at 2,000 a second, of the 1,000,000 that the 24 hours still take: about 1 second"
        in planned.stderr
    )
    after = bulksend("doctor", "launch", url=simulator.url)
    assert after.returncode == 0
    assert "ok               rendering: the template renders with the data of row 1, 2\n" in after.stdout
    assert "warning          configuration set: the campaign names none" in after.stdout
    assert after.stdout.endswith("verdict: 2 warnings\n")
    alone = bulksend("doctor", "--output", "json", url=simulator.url)
    assert (alone.returncode, levels(alone.stdout)["account"]) == (0, "ok")


def test_what_is_at_fault_ends_with_2(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.settings(sending_enabled=False, enforcement_status="SHUTDOWN")
    found = bulksend("doctor", "campaign.toml", url=simulator.url)
    assert found.returncode == 2
    assert "fault            account: SES has shut down sending" in found.stdout
    assert "what to do: Look at the account's status" in found.stdout
    unknown = bulksend("doctor", "nothing-of-that-name", url=simulator.url)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sandbox": True}, "warning: account: it is in the sandbox"),
        ({"sending_enabled": False}, "warning: account: sending is disabled"),
        ({"max_24_hour_send": 1}, "warning: quota: 2 recipients at 2,000 a second, and the 24 hours take 1 more now"),
    ],
)
def test_a_plan_warns_of_the_account(
    folder: Path, simulator: SimulatorProcess, settings: dict[str, Any], said: str
) -> None:
    simulator.settings(**settings)
    for _ in ("for the first time", "when it is known"):
        planned = bulksend("plan", "campaign.toml", url=simulator.url)
        assert (planned.returncode, said in planned.stderr) == (0, True), planned.stderr
    assert folder.is_dir()


def test_a_canary_that_nobody_listens_for_is_always_warned_of(folder: Path, simulator: SimulatorProcess) -> None:
    (folder / "campaign.toml").write_text(CAMPAIGN + '[safety]\ncanary = "50 %, 30 s"\n', "utf-8")
    for verb in (("plan", "campaign.toml"), ("plan", "campaign.toml"), ("send", "campaign.toml"), ("send", "launch")):
        warned = bulksend(*verb, url=simulator.url).stderr
        assert warned.count("warning: events.queues is not set") == 1, verb
        assert warned.count("and sender.configuration_set is not set") == 1, verb


def test_how_long_it_takes_has_the_ramp_in_it_and_says_what_it_has_not(
    folder: Path, simulator: SimulatorProcess
) -> None:
    """As plan, doctor and submit have it: one mail a day for two days, then the account's pace."""
    terms = '[safety]\nramp = ["1/day for 2 days"]\ncanary = "50 %, 30 s"\n'
    (folder / "campaign.toml").write_text(CAMPAIGN + terms, "utf-8")
    planned = " ".join(bulksend("plan", "campaign.toml", url=simulator.url).stderr.split())
    said = (
        "2 recipients at 2,000 a second once its ramp is over, of the 1,000,000 that the 24 hours still take: about 2.0"
    )
    assert said in planned
    assert said in bulksend("doctor", "launch", url=simulator.url).stdout
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"other"') + terms, "utf-8")
    submitted = bulksend("submit", "campaign.toml", "--again", "--yes", url=simulator.url).stderr
    assert said in " ".join(submitted.split())


def test_a_plan_does_without_the_account(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "http", "operation": "GetAccount", "status": 403, "code": "AccessDeniedException"}])
    planned = bulksend("plan", "campaign.toml", url=simulator.url)
    assert planned.returncode == 0
    assert "recipients at" not in planned.stderr
    assert (folder / ".bulksend").is_dir()


def test_did_she_get_it(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("trace", "a@example.com").returncode == 2
    bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    found = bulksend("trace", "A@example.com")
    assert (found.returncode, found.stderr) == (0, "")
    assert "launch, row 1: accepted by SES at" in found.stdout
    refused = json.loads(bulksend("trace", "fault.message_rejected+b@example.com", "launch", "--output", "json").stdout)
    assert [step["kind"] for step in refused["steps"]] == ["request", "answer"]
    assert "row 2: no, it was refused for good" in refused["answers"][0]
    insights = bulksend("trace", "a@example.com", "campaign.toml", "--ses", url=simulator.url)
    assert "SES's insights: it was delivered" in insights.stdout
    nobody = bulksend("trace", "nobody@example.com")
    assert nobody.returncode == 2
    assert "nothing is known of it" in nobody.stdout
    assert folder.is_dir()
