"""Verbs that only look: watching a campaign, results as Parquet, completion."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulksend.cli import looking
from bulksend.recipients import results_file
from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import CAMPAIGN, bulksend, sending
from tests.forked import Forked
from tests.harness import write_list
from tests.unit.test_readme import verbs
from tests.worker_process import until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 2000, "latency_ms": 10}


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com", "=no,address"])
    return in_folder


def watching(*more: str) -> Forked:
    """A watcher in a process of its own that has shown something."""
    watcher = Forked("status", "launch", "--watch", *more)
    assert watcher.stdout.readline() == "launch is planned\n"
    return watcher


def test_a_planned_campaign_is_watched_from_its_beginning_to_its_end(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    with watching() as watcher:
        assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 3
        out, err = watcher.communicate(timeout=20)
    assert (watcher.returncode, err) == (0, "")
    assert "launch is finished" in out
    assert out.count("launch is finished") == 1
    assert folder.is_dir()


def test_the_watching_is_ended_quietly(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    with watching() as watcher:
        watcher.send_signal(signal.SIGINT)
        _, err = watcher.communicate(timeout=20)
    assert (watcher.returncode, err) == (130, "")
    assert folder.is_dir()


def test_nobody_is_waited_for_without_end(
    folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    monkeypatch.setattr(looking, "START_WITHIN_S", 0.0)
    watched = bulksend("status", "launch", "--watch", "--output", "json")
    assert watched.returncode == 0
    assert json.loads(watched.stdout)["state"] == "planned"
    assert "Nobody has begun to send it" in watched.stderr
    assert folder.is_dir()


def test_what_one_that_is_sent_here_waits_for_is_told_elsewhere(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.settings(max_24_hour_send=250)
    with sending(folder, simulator):
        until(lambda: "the 24-hour quota is spent" in bulksend("status", "launch").stdout, "it says so")
        facts = json.loads(bulksend("status", "launch", "--output", "json").stdout)
        assert (facts["state"], facts["accepted"], len(facts["held_up"])) == ("sending", 250, 1)
        assert "sending, held up" in bulksend("status").stdout


def test_a_sender_that_was_killed_is_not_waited_for(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        sender.kill()
        sender.wait()
        watched = bulksend("status", "launch", "--watch")
    assert watched.returncode == 0
    assert "launch was being sent by a process that died: bulksend resume launch" in watched.stdout
    assert "is sending" not in watched.stdout
    assert watched.stdout.count("rows read") == 1
    assert "process that died" in bulksend("status", "launch").stdout
    assert json.loads(bulksend("status", "launch", "--output", "json").stdout)["orphaned"] is True


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "launch"),
        ("status", "campaign.toml"),
        ("pause", "launch"),
        ("cancel", "launch", "--yes"),
        ("resume", "campaign.toml"),
        ("send", "launch", "--yes"),
        ("submit", "launch", "--yes"),
        ("results", "launch"),
        ("report", "launch"),
        ("resolve", "launch"),
        ("retry", "launch"),
        ("prune", "launch", "--yes"),
        ("forget", "a@example.com", "--yes"),
        ("worker",),
    ],
    ids=" ".join,
)
def test_only_what_plans_makes_a_store(folder: Path, arguments: tuple[str, ...]) -> None:
    refused = bulksend(*arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"there is no store in {folder / '.bulksend'}" in refused.stderr
    assert "--store" in refused.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["campaign.toml", "list.csv"]


def test_a_store_that_is_named_and_not_there_is_not_made_by_looking(folder: Path) -> None:
    refused = bulksend("status", "--store", "sqlite:elsewhere")
    assert (refused.returncode, f"there is no store in {folder / 'elsewhere'}" in refused.stderr) == (2, True)
    assert "bulksend config shows" in refused.stderr
    assert not (folder / "elsewhere").exists()


def test_status_without_a_name_lists_every_campaign(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"doubt"'), "utf-8")
    write_list(folder / "list.csv", ["fault.close_after_accepting+c@example.com", "d@example.com"])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 4
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"later"'), "utf-8")
    write_list(folder / "list.csv", [f"e{n}@example.com" for n in range(1234)])
    assert bulksend("submit", "campaign.toml", "--yes", url=simulator.url).returncode == 0

    listed = bulksend("status")
    assert listed.returncode == 0, listed.stderr
    head, *lines = [line.split() for line in listed.stdout.splitlines() if line]
    assert head == ["campaign", "state", "rows", "pending", "in", "doubt", "dead", "planned,", "UTC"]
    shown = {line[0]: line for line in lines}
    assert shown["launch"][1:6] == ["finished", "3", "0", "0", "1"]
    assert shown["doubt"][1:4] == ["finished", "2", "0"]
    assert shown["later"][1:8] == ["queued,", "no", "worker", "1,234", "1,234", "0", "0"]
    assert "of one of them: bulksend status NAME" in listed.stdout

    as_data = json.loads(bulksend("status", "--output", "json").stdout)
    assert [one["campaign"] for one in as_data] == ["launch", "doubt", "later"]
    for one in as_data:
        assert one.pop("created_at") > 1e9
        assert one == json.loads(bulksend("status", one["campaign"], "--output", "json").stdout)
    assert [one["orphaned"] for one in as_data] == [False, False, True]
    assert as_data[1]["in_doubt"] >= 1


def test_status_of_a_store_without_campaigns(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["no address"])
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 2
    listed = bulksend("status")
    assert (listed.returncode, listed.stdout) == (0, f"No campaign is in {folder / '.bulksend' / 'journal.db'}.\n")
    assert json.loads(bulksend("status", "--output", "json").stdout) == []


def test_one_campaign_is_watched(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    refused = bulksend("status", "--watch")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--watch is for one campaign" in refused.stderr
    assert folder.is_dir()


def test_results_as_parquet(folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_file, "ROWS_PER_GROUP", 2)
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    (folder / "r.parquet").write_text("an earlier one that everybody can read")
    (folder / "r.parquet").chmod(0o644)
    done = bulksend("results", "launch", "--format", "parquet", "--out", "r.parquet")
    assert done.returncode == 0, done.stderr
    assert "3 rows" in done.stderr
    assert (folder / "r.parquet").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir() if "r.parquet" in path.name) == ["r.parquet"]
    file = pq.ParquetFile(folder / "r.parquet")
    assert file.num_row_groups == 2
    table = file.read()
    kinds: dict[str, Any] = {"row": pa.int64(), "attempts": pa.int32()}
    times = {name: pa.timestamp("us", "UTC") for name in table.column_names if name == "at" or name.endswith("_at")}
    assert {field.name: field.type for field in table.schema} == {
        name: (kinds | times).get(name, pa.string()) for name in table.column_names
    }
    same = [json.loads(line) for line in bulksend("results", "launch", "--format", "jsonl").stdout.splitlines()]
    for row, other in zip(table.to_pylist(), same, strict=True):
        at, seen = other.pop("at"), row.pop("at")
        assert row == other
        assert (seen is None) == (at is None)
        assert at is None or seen.astimezone(UTC).isoformat(timespec="milliseconds") == at
        assert at is None or abs((seen - datetime.fromisoformat(at)).total_seconds()) < 0.001
    assert [row["state"] for row in same] == ["accepted", "dead", "skipped"]
    assert [row["address"] for row in same][2] == "=no,address"


def test_parquet_is_not_for_terminals_and_nothing_is_left_of_what_failed(
    folder: Path, simulator: SimulatorProcess
) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    refused = bulksend("results", "launch", "--format", "parquet")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--out" in refused.stderr
    assert bulksend("results", "launch", "--format", "parquet", "--out", "no/folder/r").returncode == 2
    for path in (folder / ".bulksend" / "snapshots").glob("*.skipped.parquet"):
        path.unlink()
    for form in ("parquet", "csv"):
        assert bulksend("results", "launch", "--format", form, "--out", "r").returncode == 5
    assert sorted(path.name for path in folder.iterdir()) == [".bulksend", "campaign.toml", "list.csv"]


def test_what_bash_completes(folder: Path) -> None:
    script = bulksend("completion", "bash").stdout
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")

    def completed(*words: str) -> list[str]:
        ask = 'COMP_WORDS=(bulksend "$@"); COMP_CWORD=$#; _bulksend; printf "%s\\n" "${COMPREPLY[@]}"'
        bash = ["bash", "-c", f"{script}\n{ask}", "bash", *words]
        return subprocess.run(bash, capture_output=True, text=True, check=True).stdout.split()

    assert set(completed("")) == {words[0] for words in verbs()}
    assert completed("send", "cam") == ["campaign.toml"]
    assert completed("results", "launch", "--format", "pa") == ["parquet"]
    assert sorted(completed("template", "pu")) == ["pull", "push"]
    assert folder.is_dir()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_every_verb(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = bulksend("completion", shell).stdout
    assert [words for words in verbs() if words[-1] not in script] == []
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert bulksend("completion").stdout == script
    monkeypatch.setenv("SHELL", "/bin/dash")
    refused = bulksend("completion")
    assert refused.returncode == 2
    assert "bulksend completion bash" in refused.stderr
