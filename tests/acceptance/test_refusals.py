"""What is refused before anything is sent, and what is said of it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from bulksend.cli import run
from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import CAMPAIGN, bulksend, command, sending
from tests.forked import Forked
from tests.harness import write_list


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 2000, "latency_ms": 1}


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(20)])
    return in_folder


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("send", "launch", "--yes", "--limit", "5"), "--limit and --again are for planning"),
        (("send", "launch", "--yes", "--again"), "--limit and --again are for planning"),
        (("send", "campaign.toml", "--yes", "--rows", "2"), "--rows is how many samples"),
        (("send", "campaign.toml", "--test", "me@example.com", "--dry-run"), "exclude each other"),
        (("send", "campaign.toml", "--dry-run", "--metrics-port", "0"), "--metrics-port is not for a rehearsal"),
        (("send", "campaign.toml", "--test", "me@example.com", "--metrics-port", "0"), "is not for a rehearsal"),
        (("send", "campaign.toml", "--dry-run", "--metrics-textfile", "m.prom"), "--metrics-textfile is not for a"),
        (("send", "campaign.toml", "--test", "me@example.com", "--metrics-textfile", "m.prom"), "is not for a"),
        (("send", "campaign.toml", "--test", "me@example.com", "--limit", "5"), "--rows says how many"),
        (("send", "campaign.toml", "--test", "me@example.com", "--rows", "0"), "Must be >= 1"),
        (("send", "campaign.toml", "--test", "not an address"), "'not an address' is not an address"),
        (("send", "launch", "--test", "me@example.com"), "launch.toml"),
        (("send", "launch", "--dry-run"), "launch.toml"),
        (("send", "campaign.toml", "--yes", "--limit", "0"), "Must be >= 1"),
        (("send", "campaign.toml", "--yes", "--limit", "-3"), "Must be >= 1"),
        (("plan", "campaign.toml", "--limit", "0"), "Must be >= 1"),
        (("plan", "launch"), "there is no campaign file 'launch'"),
        (("demo", "--recipients", "0"), "Must be >= 1"),
        (("snd", "campaign.toml"), "forget, quota, template"),
        (("pause", "launch"), "'launch' is not being sent"),
        (("retry", "launch", "--status", "NOPE"), "Dead letters are: none"),
        (("retry", "launch", "--reason", "nope"), "Dead letters are: none"),
        (("resolve", "launch", "--accepted", "--row", "99999"), "row 99999"),
        (("results", "launch", "--format", "list", "--address", "a@example.com"), "Choose another --format"),
    ],
)
def test_what_cannot_be_meant_sends_nothing(
    folder: Path, simulator: SimulatorProcess, arguments: tuple[str, ...], words: str
) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    before = bulksend("status", "launch", "--output", "json").stdout
    at = simulator.url if arguments[0] in {"send", "plan"} else None
    refused = bulksend(*arguments, url=at)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert simulator.tally()["requests"] == 0
    assert bulksend("status", "launch", "--output", "json").stdout == before
    assert folder.is_dir()


def test_a_campaign_of_the_first_of_a_list_says_so(folder: Path, simulator: SimulatorProcess) -> None:
    planned = bulksend("plan", "campaign.toml", "--limit", "5", url=simulator.url)
    assert "limited to the first 5 of its list" in planned.stderr
    sent = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert sent.returncode == 0
    assert "launch was planned with --limit 5, and stays so limited" in sent.stderr
    assert "limited to the first 5 of its list. To send the rest:" in sent.stderr
    assert simulator.tally()["accepted"] == 5
    assert "limited to the first 5 of its list" in bulksend("status", "launch").stdout
    assert json.loads(bulksend("status", "launch", "--output", "json").stdout)["limit"] == 5
    # Nor does the whole list go out under another name: five would have the mail twice.
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"rest"'), "utf-8")
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 2
    assert simulator.tally()["accepted"] == 5


@pytest.mark.parametrize(("option", "what"), [(("--test", "me@example.com"), "samples"), (("--dry-run",), "dry run")])
def test_a_rehearsal_says_what_it_is_and_what_failed(
    folder: Path, simulator: SimulatorProcess, option: tuple[str, ...], what: str
) -> None:
    write_list(folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com"])
    me = ("--test", "fault.message_rejected+me@example.com") if what == "samples" else option
    done = bulksend("send", "campaign.toml", *me, url=simulator.url)
    assert done.returncode == 3
    assert f"{what}: finished. launch itself is untouched." in done.stderr
    assert "launch is finished" not in done.stderr
    assert re.search(r"row 2, fault.message_rejected\+b@example.com: dead, MESSAGE_REJECTED: \S", done.stderr)
    assert "bulksend results" not in done.stderr
    assert bulksend("status", "launch").returncode == 2, "there is no such campaign"
    facts = json.loads(bulksend("send", "campaign.toml", *option, "--output", "json", url=simulator.url).stdout)
    assert facts["rehearsal"] == what


def test_a_dry_run_of_the_first_of_a_list(folder: Path, simulator: SimulatorProcess) -> None:
    done = bulksend("send", "campaign.toml", "--dry-run", "--limit", "3", "--output", "json", url=simulator.url)
    assert json.loads(done.stdout)["accepted"] == 3
    assert folder.is_dir()


@pytest.mark.parametrize("how", ["emptied", "removed"])
def test_a_lost_journal_is_not_taken_for_a_new_store(folder: Path, simulator: SimulatorProcess, how: str) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    store = folder / ".bulksend"
    for path in store.glob("journal.db*"):
        path.unlink()
    if how == "emptied":
        (store / "journal.db").touch()
    before = sorted(path.name for path in store.rglob("*"))
    for arguments in (("send", "campaign.toml", "--yes"), ("plan", "campaign.toml"), ("status", "launch")):
        refused = bulksend(*arguments, url=simulator.url if arguments[0] != "status" else None)
        assert refused.returncode == 5
        assert "the journal is lost" in refused.stderr
        assert "Restore it from a backup" in refused.stderr
    assert simulator.tally()["accepted"] == 20
    assert {path.name for path in store.rglob("*")} - set(before) <= {"journal.db-wal", "journal.db-shm"}
    shutil.rmtree(store / "snapshots")
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0


def test_what_was_inherited_as_ignored_stays_ignored(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", [f"a{n}@example.com" for n in range(600)])
    simulator.settings(max_send_rate_per_s=200)
    arguments = command("send", "campaign.toml", "--yes", "--endpoint-url", simulator.url, "--region", "eu-west-1")
    sender = subprocess.Popen(
        ["nohup", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        while not simulator.tally()["accepted"]:
            assert sender.poll() is None
            time.sleep(0.02)
        sender.send_signal(signal.SIGHUP)
        _, err = sender.communicate(timeout=30)
    finally:
        sender.kill()
        sender.communicate()
    assert (sender.returncode, b"stopping" in err) == (0, False)
    assert folder.is_dir()


def test_a_terminal_that_closes_twice_still_drains(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        simulator.settings(latency_ms=5000)
        before = simulator.tally()["requests"]
        while simulator.tally()["requests"] == before:
            time.sleep(0.02)
        sender.send_signal(signal.SIGHUP)
        line = "-"
        while "stopping" not in line:
            line = sender.stderr.readline()
            assert line, "it has ended without a word"
        sender.send_signal(signal.SIGHUP)
        out, _ = sender.communicate(timeout=30)
    facts = json.loads(out)
    assert (sender.returncode, facts["in_doubt"], facts["state"]) == (130, 0, "paused")


def test_results_go_to_what_is_no_file_as_it_stands(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    whole = bulksend("results", "launch").stdout
    os.mkfifo(folder / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((folder / "pipe").read_text("utf-8")))
    reader.start()
    assert bulksend("results", "launch", "--out", "pipe").returncode == 0
    reader.join()
    assert read == [whole]
    assert (folder / "pipe").is_fifo()
    # A link is not replaced, what it leads to is.
    (folder / "link.csv").symlink_to("real.csv")
    assert bulksend("results", "launch", "--out", "link.csv").returncode == 0
    assert (folder / "link.csv").is_symlink()
    assert (folder / "real.csv").read_text("utf-8") == whole
    assert bulksend("results", "launch", "--out", "/dev/null").returncode == 0
    assert Path("/dev/null").is_char_device()
    out = folder / "out.txt"
    with out.open("w") as file:
        done = subprocess.run(
            command("results", "launch", "--out", "/dev/stdout"), stdout=file, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, out.read_text("utf-8")) == (0, whole)
    assert Path("/dev/stdout").is_symlink()
    refused = bulksend("results", "launch", "--out", ".")
    assert refused.returncode == 2
    assert "is a folder" in refused.stderr


def test_a_report_replaces_nothing_but_reports(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    before = (folder / "campaign.toml").read_text("utf-8")
    refused = bulksend("report", "launch", "--out", "campaign.toml")
    assert refused.returncode == 2
    assert "is there, and is no report" in refused.stderr
    assert (folder / "campaign.toml").read_text("utf-8") == before
    (folder / "empty.html").touch()
    for _ in range(2):
        assert bulksend("report", "launch", "--out", "empty.html").returncode == 0
    (folder / "loop.html").symlink_to("loop.html")
    refused = bulksend("report", "launch", "--out", "loop.html")
    assert refused.returncode == 2
    assert "leads to itself" in refused.stderr


def test_output_that_nobody_takes(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", [f"a{n}@example.com" for n in range(3000)])
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    results = " ".join(command("results", "launch"))
    quiet = subprocess.run(["bash", "-c", f"{results} | head -n 1"], capture_output=True, text=True, check=False)
    assert (quiet.stdout.count("\n"), quiet.stderr) == (1, "")
    words = "the output cannot be written: No space left on device"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command("results", "launch"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    for more in ((), ("--output", "json")):
        err = io.StringIO()
        # What is still to be written when it is closed goes nowhere: else this raised, as Python does at its end.
        with Path("/dev/full").open("w") as full, redirect_stdout(full), redirect_stderr(err):
            assert run(["status", "launch", *more]) == 1
        assert words in err.getvalue()


def test_a_lock_that_cannot_be_opened_is_said_in_words(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    for name, verb in (("journal.db.lock", "forget"), ("plans.lock", "prune")):
        path = folder / ".bulksend" / name
        path.unlink()
        path.mkdir()
        refused = bulksend(verb, "a1@example.com" if verb == "forget" else "launch", "--yes")
        assert refused.returncode == 5
        assert f"{name} cannot be opened" in refused.stderr
        path.rmdir()


def test_metrics_that_cannot_be_had_name_what_is_at_fault(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for verb in (("send", "launch", "--yes"), ("resume", "launch")):
            refused = bulksend(*verb, "--metrics-port", port, url=simulator.url)
            assert (refused.returncode, f"port {port} for /metrics" in refused.stderr) == (2, True)
            assert "--metrics-port (metrics.port" in refused.stderr
            assert "http.listen" not in refused.stderr
    nowhere = str(folder / "no" / "where.prom")
    refused = bulksend("send", "launch", "--yes", "--metrics-textfile", nowhere, url=simulator.url)
    assert (refused.returncode, f"{nowhere} for the metrics" in refused.stderr) == (2, True)
    assert "--metrics-textfile (metrics.textfile" in refused.stderr
    assert "port" not in refused.stderr
    assert simulator.tally()["requests"] == 0


@pytest.mark.parametrize("name", ["-a.b", ".hidden", "--yes"])
def test_a_name_that_a_command_line_would_misread_is_refused(
    folder: Path, simulator: SimulatorProcess, name: str
) -> None:
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', f'"{name}"'), "utf-8")
    for verb in ("plan", "submit"):
        refused = bulksend(verb, "campaign.toml", *(["--yes"] if verb == "submit" else []), url=simulator.url)
        assert refused.returncode == 2
        assert "name must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first none of . and -" in refused.stderr
    assert not (folder / ".bulksend").exists()


def test_what_begins_with_a_dash_inside_is_a_good_name(folder: Path, simulator: SimulatorProcess) -> None:
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"_a-.b"'), "utf-8")
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    assert "_a-.b is planned" in bulksend("status", "_a-.b").stdout


def test_a_name_is_no_file_to_plan_where_there_is_no_store(folder: Path, simulator: SimulatorProcess) -> None:
    refused = bulksend("plan", "launch", url=simulator.url)
    assert (refused.returncode, "Name the campaign's file" in refused.stderr) == (2, True)
    assert not (folder / ".bulksend").exists()


def test_did_she_get_it(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["a@example.com", "fault.message_rejected+Bea@Example.com", "no address"])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    found = bulksend("results", "launch", "--address", " fault.message_rejected+bea@example.COM ", "--format", "jsonl")
    (row,) = found.stdout.splitlines()
    assert (json.loads(row)["row"], json.loads(row)["state"]) == (2, "dead")
    (row,) = bulksend("results", "launch", "--address", "no address", "--format", "jsonl").stdout.splitlines()
    assert json.loads(row)["state"] == "skipped"
    nobody = bulksend("results", "launch", "--address", "eve@example.com")
    assert nobody.returncode == 2
    assert "launch has no such row with eve@example.com" in nobody.stderr


def test_off_a_terminal_nothing_is_wrapped_nor_said_twice(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    done = Forked(
        *("send", "campaign.toml", "--yes", "--endpoint-url", simulator.url, "--region", "eu-west-1"),
        environment=os.environ | {"COLUMNS": "40"},
    )
    _, err = done.communicate(timeout=50)
    assert done.returncode == 5
    lines = err.splitlines()
    assert sum(line.startswith("halted: SES refused the campaign") for line in lines) == 1
    assert not [line for line in lines if line.startswith("halting")]
    assert sum('"event":"halted"' in line.replace(": ", ":") for line in lines) == 1
    assert folder.is_dir()


def test_watching_in_json_is_one_line_a_look(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    lines = bulksend("status", "launch", "--watch", "--output", "json").stdout.splitlines()
    assert [json.loads(line)["accepted"] for line in lines] == [20]
    assert folder.is_dir()
