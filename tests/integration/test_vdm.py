"""report --ses: what SES counts of the campaign's configuration set, beside what this report counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bulksend.cli import run
from bulksend.simulator import SimulatorProcess
from tests.harness import REGION, write_list
from tests.unit.test_report_page import Structure


@pytest.fixture
def page(in_folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the page is written; the list has forty people."""
    monkeypatch.setenv("BULKSEND_AWS_ENDPOINT_URL", simulator.url)
    monkeypatch.setenv("BULKSEND_AWS_REGION", REGION)
    write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(40)])
    yield in_folder / "launch-report.html"
    structlog.reset_defaults()


def sent(configuration_set: str = 'configuration_set = "marketing"') -> None:
    Path("campaign.toml").write_text(
        f'name = "launch"\n[sender]\nfrom = "news@example.com"\n{configuration_set}\n[content]\n'
        'inline = { subject = "Hello", text = "Hello" }\n[recipients]\npath = "list.csv"\n',
        "utf-8",
    )
    assert run(["send", "campaign.toml", "--yes"]) == 0


def reported(page: Path) -> Structure:
    assert run(["report", "launch", "--ses"]) == 0
    return Structure(page.read_text("utf-8"))


def table_of(page: Structure) -> dict[str, list[str]]:
    return {cells[0]: cells[1:] for cells in page.tables["Mails by SES's metrics, and by this report"][1:]}


def test_counts_stand_beside_each_other(page: Path) -> None:
    sent()
    found = reported(page)
    counts = table_of(found)
    assert counts["Sent"] == ["40", "40"]
    assert counts["Delivered"] == ["40", "–"]  # no event has come
    assert counts["Bounced for good"] == ["0", "–"]
    assert "All mails of the configuration set marketing in eu-west-1" in "".join(found.text)
    assert run(["report", "launch"]) == 0
    assert "By SES's own count" not in page.read_text("utf-8")


@pytest.mark.usefixtures("page")
def test_programs_are_told_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    sent()
    for options, asked in ((["--ses"], True), ([], False)):
        capsys.readouterr()
        assert run(["report", "launch", *options, "--output", "json"]) == 0
        by_ses = json.loads(capsys.readouterr().out)["by_ses"]
        assert (by_ses is not None) == asked
        if asked:
            assert (by_ses["counts"]["SEND"], by_ses["regions"], by_ses["faults"]) == (40, [REGION], [])
            assert by_ses["configuration_set"] == "marketing"


def test_what_ses_does_not_tell_is_said(page: Path, simulator: SimulatorProcess) -> None:
    sent()
    denied = {"status": 403, "code": "AccessDeniedException", "text": "no", "share": 1.0}
    simulator.rules([{"fault": "http", "operation": "BatchGetMetricData", **denied}])
    text = "".join(reported(page).text)
    assert "SES did not tell: eu-west-1: these credentials may not call BatchGetMetricData: allow the action" in text
    simulator.rules([])


def test_without_a_configuration_set_it_is_not_asked(page: Path, simulator: SimulatorProcess) -> None:
    sent("")
    assert "the campaign names no configuration set" in "".join(reported(page).text)
    assert not any(one["operation"] == "BatchGetMetricData" for one in simulator.requests())


def test_before_anything_is_sent(page: Path) -> None:
    sent_nothing = Path("campaign.toml")
    sent_nothing.write_text(
        'name = "launch"\n[sender]\nfrom = "news@example.com"\n[content]\n'
        'inline = { subject = "Hello", text = "Hello" }\n[recipients]\npath = "list.csv"\n',
        "utf-8",
    )
    assert run(["plan", "campaign.toml"]) == 0
    assert "SES did not tell: nothing was sent yet" in "".join(reported(page).text)
