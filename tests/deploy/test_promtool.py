"""Debian's promtool on the rules, their tests, the example configuration, and what a real run exposes."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests import grafana
from tests.deploy.prometheus import SHIPPED, running

pytestmark = pytest.mark.timeout(120)


def promtool(*arguments: str, given: bytes = b"", folder: Path = grafana.RULES.parent) -> tuple[int, str]:
    """Its exit code, and all that it says."""
    done = subprocess.run(
        ["promtool", *arguments], input=given, cwd=folder, capture_output=True, timeout=100, check=False
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_the_rules_are_rules() -> None:
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", grafana.RULES.name)
    assert code == 0, said
    assert f"{len(grafana.rules())} rules found" in said


def test_each_alert_fires_when_it_should_and_not_when_it_nearly_should() -> None:
    code, said = promtool("test", "rules", grafana.RULES_TEST.name)
    assert code == 0, said
    assert "SUCCESS" in said


def test_the_example_configuration_is_one(tmp_path: Path) -> None:
    shutil.copy(grafana.RULES, tmp_path)
    (tmp_path / "token").write_text("a-token-of-an-example", "utf-8")
    text = SHIPPED.read_text("utf-8").replace("/etc/prometheus/bulksend-token", "token")
    (tmp_path / SHIPPED.name).write_text(text, "utf-8")
    code, said = promtool("check", "config", SHIPPED.name, folder=tmp_path)
    assert code == 0, said
    assert "token" in text


def test_what_a_run_exposes_is_as_it_should_be(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        time.sleep(3)
        exposed = run.metrics()
    assert exposed.count(b"# TYPE bulksend_") > 30
    assert b"launch" in exposed
    assert b"@" not in exposed, "a label that names a person"
    assert promtool("check", "metrics", given=exposed) == (0, "")
