"""bulksend as people run it: a process, its exit code, its two output streams."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from bulksend.cli import run
from bulksend.simulator import SimulatorProcess
from tests.forked import Forked
from tests.harness import write_list

CAMPAIGN = """\
name = "launch"
[sender]
from = "Example News <news@example.com>"
[content]
inline = { subject = "Hello {{first_name}}", text = "Dear {{first_name}}" }
default_data = { first_name = "friend" }
[recipients]
path = "list.csv"
"""


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 2000, "latency_ms": 10}


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(300)], {"first_name": ["Ada"] * 300})
    return in_folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "bulksend", *arguments]


class Terminal(io.StringIO):
    """Standard input with a person at it who has typed something."""

    def isatty(self) -> bool:
        return True


def bulksend(*arguments: str, url: str | None = None, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command line within this process: starting one costs more than most of what is tested here."""
    at = [] if url is None else ["--endpoint-url", url, "--region", "eu-west-1"]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
        patch.setenv("COLUMNS", "200")
        code = run([*arguments, *at])
    assert "Traceback" not in err.getvalue()
    return subprocess.CompletedProcess(list(arguments), code, out.getvalue(), err.getvalue())


def test_as_a_process(folder: Path, simulator: SimulatorProcess) -> None:
    at = ("--endpoint-url", simulator.url, "--region", "eu-west-1")
    done = subprocess.run(
        command("send", "campaign.toml", "--yes", "--output", "json", *at),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["accepted"] == 300
    assert "The numbers add up" not in done.stdout
    assert folder.is_dir()


def test_from_plan_to_results(folder: Path, simulator: SimulatorProcess) -> None:
    planned = bulksend("plan", "campaign.toml", "--output", "json", url=simulator.url)
    assert planned.returncode == 0
    assert json.loads(planned.stdout)["pending"] == 300
    assert simulator.tally()["requests"] == 0
    sent = bulksend("send", "campaign.toml", "--yes", "--output", "json", url=simulator.url)
    assert sent.returncode == 0
    facts = json.loads(sent.stdout)
    assert (facts["state"], facts["accepted"], facts["adds_up"]) == ("finished", 300, True)
    assert simulator.tally(facts["id"])["accepted"] == 300
    again = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert again.returncode == 0
    assert again.stdout == ""
    assert "Nothing is left" in again.stderr
    assert simulator.tally(facts["id"])["accepted"] == 300
    status = bulksend("status", "launch")
    assert status.returncode == 0
    assert re.search(r"accepted +300", status.stdout)
    assert "add up" in status.stdout
    rows = list(csv.DictReader(io.StringIO(bulksend("results", "launch").stdout)))
    assert len(rows) == 300
    assert list(rows[0]) == [
        *("campaign", "row", "address", "state", "status", "reason", "message_id", "attempts", "at"),
        *("fate", "bounce", "bounce_subtype", "diagnostic", "delivered_at", "bounced_at", "complained_at"),
        *("delayed_at", "rejected_at", "rendering_failed_at", "opened_at", "clicked_at", "unsubscribed_at"),
    ]
    assert rows[0]["address"] == "a0@example.com"
    assert (folder / ".bulksend" / "journal.db").is_file()


def test_some_dead_is_3_and_some_in_doubt_is_4(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(
        folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com", "no address", "a@example.com"]
    )
    campaign = (folder / "campaign.toml").read_text("utf-8")
    first = bulksend("send", "campaign.toml", "--yes", "--output", "json", url=simulator.url)
    assert first.returncode == 3
    assert json.loads(first.stdout)["skipped"] == {"invalid": 1, "duplicate": 1, "suppressed": 0, "cancelled": 0}
    dead = bulksend("results", "launch", "--state", "dead", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["row"] for line in dead] == [2]
    skipped = bulksend("results", "launch", "--state", "skipped").stdout
    assert "same address as row 1" in skipped
    (folder / "campaign.toml").write_text(campaign.replace('"launch"', '"second"'), "utf-8")
    write_list(folder / "list.csv", ["fault.close_after_accepting+c@example.com"])
    second = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert second.returncode == 4
    assert bulksend("resolve", "second").returncode == 4
    early = bulksend("resolve", "second", "--resend")
    assert early.returncode == 4
    assert "31 minutes" in early.stderr
    assert bulksend("resolve", "second", "--drop").returncode == 0
    for arguments in ((), ("--status", "DROPPED")):
        assert "pending again: 0" in bulksend("retry", "second", *arguments).stderr, "it may have been accepted"
    assert bulksend("send", "second", "--yes", url=simulator.url).returncode == 3
    assert simulator.tally()["copies"] == []


def test_a_doubt_that_a_person_settles(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["fault.close_after_accepting+c@example.com"])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 4
    done = bulksend("resolve", "launch", "--accepted", "--row", "1", "--why", "she answered")
    assert done.returncode == 0
    (row,) = bulksend("results", "launch", "--format", "jsonl").stdout.splitlines()
    assert (json.loads(row)["status"], json.loads(row)["reason"]) == ("SETTLED", "she answered")
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 0


def test_a_halt_is_5_with_reason_and_remedy(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    sent = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert sent.returncode == 5
    assert "TEMPLATE_NOT_FOUND" in sent.stderr
    assert "Create the template" in sent.stderr
    assert folder.is_dir()


@contextmanager
def sending(folder: Path, simulator: SimulatorProcess, *more: str) -> Iterator[Forked]:
    """A campaign that takes a while, as soon as it is sending; it does not outlive the test."""
    simulator.settings(max_send_rate_per_s=200)
    write_list(folder / "list.csv", [f"a{n}@example.com" for n in range(5000)])
    sender = Forked(
        *("send", "campaign.toml", "--yes", "--output", "json", "--endpoint-url", simulator.url),
        *("--region", "eu-west-1", *more),
    )
    try:
        deadline_s = time.monotonic() + 30
        while not simulator.tally()["accepted"]:
            assert sender.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        yield sender
    finally:
        sender.kill()
        sender.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_drains_and_is_130(folder: Path, simulator: SimulatorProcess, number: signal.Signals) -> None:
    with sending(folder, simulator) as sender:
        sender.send_signal(number)
        out, err = sender.communicate(timeout=30)
        assert sender.returncode == 130
        facts = json.loads(out)
        assert (facts["state"], facts["in_doubt"], facts["in_flight"], facts["adds_up"]) == ("paused", 0, 0, True)
        assert facts["accepted"] == simulator.tally(facts["id"])["accepted"]
        assert "To go on" in err


def test_a_second_interrupt_ends_at_once(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        simulator.rules([{"fault": "hang_after_accepting", "share": 1.0}])
        before = simulator.tally()["requests"]
        while simulator.tally()["requests"] == before:
            time.sleep(0.02)
        sender.send_signal(signal.SIGINT)
        while "stopping" not in sender.stderr.readline():
            pass
        sender.send_signal(signal.SIGINT)
        out, _ = sender.communicate(timeout=20)
        assert sender.returncode == 130
        facts = json.loads(out)
        theirs = simulator.tally(facts["id"])["accepted"]
        assert facts["accepted"] < theirs <= facts["accepted"] + facts["in_doubt"]
        assert facts["adds_up"]


def test_a_second_sender_is_6_and_told_who_the_first_is(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        second = bulksend("send", "launch", "--yes", url=simulator.url)
        assert second.returncode == 6
        assert f"process {sender.pid} is sending 'launch'" in second.stderr
        assert "bulksend status launch --watch" in second.stderr
        assert "bulksend pause launch" in second.stderr
        assert "submit" not in second.stderr
        assert bulksend("prune", "launch", "--yes").returncode == 6
        facts = json.loads(bulksend("status", "launch", "--output", "json").stdout)
        assert facts["adds_up"]
        assert facts["state"] == "sending"
        sender.send_signal(signal.SIGINT)
        sender.communicate(timeout=30)


def test_metrics_of_a_run(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator, "--metrics-port", "0") as sender:
        line = ""
        while "metrics on" not in line:
            line = sender.stderr.readline()
        text = ""
        accepted = r'bulksend_entries_total\{.*status="SUCCESS",verdict="accepted"\} [1-9]'
        while not (re.search(r"bulksend_sendable_entries [1-9]", text) and re.search(accepted, text)):
            assert sender.poll() is None
            with urllib.request.urlopen(line.split()[-1], timeout=10) as answer:  # noqa: S310  our own
                text = answer.read().decode()
        assert re.search(r"bulksend_pace_recipients_per_second\{.*\} 200.0", text)
        assert 'campaign="launch"' not in text
        assert "example.com" not in text
        sender.send_signal(signal.SIGINT)
        sender.communicate(timeout=30)


def test_metrics_of_a_run_that_is_shorter_than_a_scrape(folder: Path, simulator: SimulatorProcess) -> None:
    file = folder / "bulksend.prom"
    (folder / "config.toml").write_text("metrics.campaigns = true\n", "utf-8")
    sent = bulksend("send", "campaign.toml", "--yes", "--metrics-textfile", str(file), url=simulator.url)
    assert sent.returncode in {0, 3}, sent.stderr
    text = file.read_text(encoding="utf-8")
    facts = json.loads(bulksend("status", "launch", "--output", "json").stdout)
    found = re.search(r'bulksend_entries_total\{.*campaign="launch".*status="SUCCESS",verdict="accepted"\} (\S+)', text)
    assert found is not None
    assert float(found[1]) == facts["accepted"] > 0
    assert f"bulksend_plan_rows_total {float(facts['rows'])}" in text
    assert 'bulksend_campaigns{state="finished"} 1.0' in text, "it is counted once more at the end"
    assert "example.com" not in text
    nowhere = bulksend("resume", "launch", "--metrics-textfile", str(folder / "no" / "where.prom"), url=simulator.url)
    assert (nowhere.returncode, "where.prom for the metrics" in nowhere.stderr) == (2, True), nowhere.stderr


@pytest.mark.parametrize(
    ("fault", "verb"),
    [("close_after_accepting.1", ("resolve", "launch", "--resend")), ("message_rejected.1", ("retry", "launch"))],
)
def test_what_is_pending_again_is_resumed(
    folder: Path, simulator: SimulatorProcess, fault: str, verb: tuple[str, ...]
) -> None:
    write_list(folder / "list.csv", [f"fault.{fault}+c@example.com"])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode in {3, 4}
    age(folder / ".bulksend" / "journal.db", 3600)
    done = bulksend(*verb)
    assert "pending again" in done.stderr
    assert "bulksend send" not in done.stderr
    assert done.stderr.rstrip().endswith(": bulksend resume launch")
    assert bulksend("resume", "launch", url=simulator.url).returncode == 0
    assert json.loads(bulksend("status", "launch", "--output", "json").stdout)["accepted"] == 1


def age(journal: Path, by_s: float) -> None:
    """As if all that was sent had been sent so much earlier."""
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("UPDATE attempt SET at = at - ?", (by_s,))
        db.execute("UPDATE outcome SET at = at - ?", (by_s,))


def test_a_halt_is_over_once_the_campaign_is_queued(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 5
    halted = bulksend("status", "launch").stdout
    assert "halted: SES refused the campaign" in halted
    assert halted.rstrip().endswith("To go on: bulksend resume launch")
    assert bulksend("submit", "launch", "--yes").returncode == 0
    queued = bulksend("status", "launch").stdout
    assert "launch is queued" in queued
    assert "halted" not in queued
    assert "To go on" not in queued
    assert json.loads(bulksend("status", "launch", "--output", "json").stdout)["halt"] is None
    assert folder.is_dir()


def test_a_cancelled_campaign_still_says_why_it_was_halted(folder: Path, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 5
    cancelled = bulksend("cancel", "launch", "--yes").stdout
    assert "launch is cancelled" in cancelled
    assert "halted: SES refused the campaign" in cancelled
    assert "To go on" not in cancelled
    assert folder.is_dir()


def test_only_what_is_planned_counts_as_planned(folder: Path, simulator: SimulatorProcess) -> None:
    def plans(*arguments: str) -> float:
        bulksend(*arguments, "--metrics-textfile", str(folder / "m.prom"), url=simulator.url)
        found = re.search(r"bulksend_plan_duration_seconds_count (\S+)", (folder / "m.prom").read_text("utf-8"))
        assert found is not None
        return float(found[1])

    assert plans("send", "campaign.toml", "--yes") == 1
    assert plans("send", "campaign.toml", "--yes") == 0, "it is known"
    assert plans("send", "launch", "--yes") == 0
    assert plans("resume", "campaign.toml") == 0
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"copy"'), "utf-8")
    assert plans("send", "campaign.toml", "--yes") == 1, "it is refused: the same list and content"


def test_sending_needs_yes_where_nobody_can_be_asked(folder: Path, simulator: SimulatorProcess) -> None:
    sent = bulksend("send", "campaign.toml", url=simulator.url)
    assert sent.returncode == 2
    assert "--yes" in sent.stderr
    assert simulator.tally()["requests"] == 0
    assert folder.is_dir()


@pytest.mark.parametrize("what", ["campaign.toml", "launch"])
@pytest.mark.usefixtures("folder")
def test_what_was_planned_is_shown_again_before_it_is_sent(what: str, simulator: SimulatorProcess) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    asked = bulksend("send", what, url=simulator.url)
    assert asked.returncode == 2
    assert asked.stderr.count("in the name of") == 1
    assert f"{simulator.url}, which is not SES" in asked.stderr


@pytest.mark.parametrize(
    ("arguments", "verb", "kept"),
    [
        (("send", "campaign.toml"), "send", "Nothing was sent."),
        (("cancel", "launch"), "cancel", "Nothing was cancelled: launch is planned."),
        (("prune", "launch"), "prune", "Nothing was removed: the list of launch is still there."),
        (("forget", "a0@example.com"), "forget", "Nothing was removed."),
    ],
)
def test_whoever_is_asked_reads_what_it_is_about(
    folder: Path, simulator: SimulatorProcess, arguments: tuple[str, ...], verb: str, kept: str
) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    before = bulksend("status", "launch", "--output", "json").stdout
    at = simulator.url if verb == "send" else None
    alone = bulksend(*arguments, url=at)
    assert (alone.returncode, f"--yes to {verb} without being asked" in alone.stderr) == (2, True)
    for typed in ("n\n", "\n", "yess\n", ""):
        refused = bulksend(*arguments, url=at, typed=typed)
        assert (refused.returncode, refused.stderr.endswith(f"{kept}\n") or verb == "send") == (2, True)
        assert kept in refused.stderr
        assert "error:" not in refused.stderr
    assert bulksend("status", "launch", "--output", "json").stdout == before
    assert simulator.tally()["requests"] == 0
    if verb == "cancel":
        assert bulksend(*arguments, typed="y\n").returncode == 0
    assert folder.is_dir()


def test_what_is_pending_again_is_what_is_asked_about(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["a@example.com", "fault.message_rejected.1+b@example.com"])
    bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    bulksend("retry", "launch")
    asked = bulksend("send", "launch", url=simulator.url, typed="y\n")
    assert asked.returncode == 0
    assert "Send what is pending of launch, 1 of 2 mails?" in asked.stderr


def test_what_is_changed_is_named(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    changed = CAMPAIGN.replace("news@", "other@").replace("Dear", "Dearest")
    (folder / "campaign.toml").write_text(changed, "utf-8")
    with (folder / "list.csv").open("a", encoding="utf-8") as file:
        file.write("late@example.com,Ada\n")
    sent = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert sent.returncode == 2
    for key in ("sender.from", "content.inline.text", "list.csv"):
        assert key in sent.stderr
    other = bulksend("send", "launch", "--yes", "--region", "us-east-1", "--endpoint-url", simulator.url)
    assert other.returncode == 2
    assert "aws.region" in other.stderr


def test_the_same_list_and_content_need_again(folder: Path, simulator: SimulatorProcess) -> None:
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    (folder / "campaign.toml").write_text(CAMPAIGN.replace('"launch"', '"encore"'), "utf-8")
    refused = bulksend("plan", "campaign.toml", url=simulator.url)
    assert refused.returncode == 2
    assert "--again" in refused.stderr
    assert len(list((folder / ".bulksend" / "snapshots").glob("*.parquet"))) == 2, "nothing is left of what was refused"
    assert bulksend("plan", "campaign.toml", "--again", url=simulator.url).returncode == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "list.csv"),
        ("", "empty"),
        ("email,first_name\n", "no"),
        ("mail,first_name\na@example.com,Ada\n", "email"),
        ("email,first_name\nnobody,Ada\n", "no usable recipient"),
    ],
)
def test_a_list_that_cannot_be_used_is_said_before_anything_is_sent(
    folder: Path, simulator: SimulatorProcess, content: str | None, words: str
) -> None:
    if content is None:
        (folder / "list.csv").unlink()
    else:
        (folder / "list.csv").write_text(content, "utf-8")
    sent = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert sent.returncode == 2
    assert words in sent.stderr
    assert "what to do" in sent.stderr
    assert simulator.tally()["requests"] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sned", "campaign.toml"], "send"),
        (["send"], "CAMPAIGN"),
        (["send", "nowhere.toml"], "nowhere.toml"),
        (["send", "unknown-name", "--yes"], "unknown-name"),
        (["status", "launch"], "launch"),
        (["results", "launch", "--state", "lost"], "lost"),
        (["resolve", "launch", "--accepted", "--drop"], "exclude"),
        (["config", "--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_usage_errors_are_2_in_words(folder: Path, arguments: list[str], words: str) -> None:
    done = bulksend(*arguments)
    assert done.returncode == 2
    assert words.lower() in done.stderr.lower()
    assert folder.is_dir()


def test_an_unreachable_account_is_2_as_nothing_was_sent(folder: Path) -> None:
    bulksend("plan", "campaign.toml", url="http://127.0.0.1:9")
    sent = bulksend("send", "campaign.toml", "--yes", url="http://127.0.0.1:9")
    assert sent.returncode == 2
    assert "cannot be read" in sent.stderr
    assert folder.is_dir()


def test_a_damaged_snapshot_halts_and_status_still_works(folder: Path, simulator: SimulatorProcess) -> None:
    bulksend("plan", "campaign.toml", url=simulator.url)
    (snapshot,) = [p for p in (folder / ".bulksend" / "snapshots").glob("*.parquet") if "skipped" not in p.name]
    damaged = bytearray(snapshot.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    snapshot.write_bytes(damaged)
    sent = bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    assert sent.returncode == 5
    assert "snapshot" in sent.stderr
    assert simulator.tally()["accepted"] == 0
    assert bulksend("status", "launch").returncode == 0


def test_config_shows_what_is_in_force(folder: Path) -> None:
    (folder / "config.toml").write_text("[engine]\nmax_in_flight = 7\n", "utf-8")
    shown = json.loads(bulksend("config", "campaign.toml", "--region", "eu-west-1").stdout)
    assert shown["settings"]["engine"]["max_in_flight"] == 7
    assert shown["settings"]["aws"]["region"] == "eu-west-1"
    assert shown["campaign"]["sender"]["from"] == "Example News <news@example.com>"


def test_results_to_a_private_file_with_formulas_defused(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["=cmd|calc", "a@example.com"])
    bulksend("send", "campaign.toml", "--yes", url=simulator.url)
    done = bulksend("results", "launch", "--out", "out.csv")
    assert done.returncode == 0
    assert (folder / "out.csv").stat().st_mode & 0o777 == 0o600
    assert "'=cmd|calc" in (folder / "out.csv").read_text("utf-8")


def test_the_demo_needs_no_credentials_and_no_profile(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    done = bulksend("demo", "--recipients", "1200")
    assert done.returncode == 0, done.stderr
    assert "The books agree" in done.stderr
    assert list(in_folder.iterdir()) == []


def test_simulate_is_a_process_of_its_own(in_folder: Path) -> None:
    with Forked("simulate", "--port", "0") as running:
        url = json.loads(running.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/_simulator/tally", timeout=10) as answer:  # noqa: S310  our own
            assert json.load(answer)["accepted"] == 0
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
    assert in_folder.is_dir()


def test_the_same_from_python_in_ten_lines(folder: Path, simulator: SimulatorProcess) -> None:
    program = f"""\
import bulksend
settings = bulksend.load_settings(aws={{"endpoint_url": "{simulator.url}", "region": "eu-west-1"}})
launch = bulksend.open_campaign("campaign.toml", settings)
planned = launch.plan()
print(planned.campaign.entries)
sent = launch.send()
print(sent.campaign.state, sent.tally.accepted)
for row in launch.results("accepted"):
    assert row.message_id
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert done.stdout == "300\nfinished 300\n", done.stderr
    assert len(program.splitlines()) <= 10
    assert folder.is_dir()


def test_pause_and_resume_from_a_second_terminal(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        assert bulksend("pause", "launch").returncode == 0
        out, err = sender.communicate(timeout=10)
        assert sender.returncode == 5
        facts = json.loads(out)
        assert (facts["state"], facts["in_flight"], facts["in_doubt"], facts["adds_up"]) == ("paused", 0, 0, True)
        assert "Interrupted" not in err
    simulator.settings(max_send_rate_per_s=5000)
    resumed = bulksend("resume", "launch", "--output", "json", url=simulator.url)
    assert resumed.returncode == 0
    facts = json.loads(resumed.stdout)
    assert facts["accepted"] == 5000
    assert simulator.tally(facts["id"])["copies"] == []
    assert bulksend("pause", "launch").returncode == 2


def test_cancel_is_for_good(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        assert bulksend("cancel", "launch").returncode == 2, "nobody can be asked here"
        assert bulksend("cancel", "launch", "--yes").returncode == 0
        out, _ = sender.communicate(timeout=10)
        assert sender.returncode == 5
        facts = json.loads(out)
        assert (facts["state"], facts["pending"], facts["adds_up"]) == ("cancelled", 0, True)
        assert facts["skipped"]["cancelled"] == 5000 - facts["accepted"]
    assert facts["accepted"] == simulator.tally(facts["id"])["accepted"]
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 2
    assert bulksend("resume", "launch", url=simulator.url).returncode == 2
    skipped = bulksend("results", "launch", "--state", "skipped", "--format", "jsonl").stdout.splitlines()
    assert len(skipped) == facts["skipped"]["cancelled"]


def test_retry_takes_dead_letters_up_again(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(
        folder / "list.csv",
        ["a@example.com", "fault.message_rejected.1+b@example.com", "fault.invalid_parameter.1+c@example.com"],
    )
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    assert "pending again: 1" in bulksend("retry", "launch", "--status", "MessageRejected").stderr
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 3
    assert "pending again: 1" in bulksend("retry", "launch").stderr
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 0
    assert simulator.tally()["copies"] == []


def test_status_watches_until_the_end(folder: Path, simulator: SimulatorProcess) -> None:
    with sending(folder, simulator) as sender:
        sender.send_signal(signal.SIGINT)
        watched = bulksend("status", "launch", "--watch")
        assert watched.returncode == 0
        assert "launch is paused" in watched.stdout


def test_the_quota(folder: Path, simulator: SimulatorProcess) -> None:
    shown = json.loads(bulksend("quota", "--output", "json", url=simulator.url).stdout)
    assert (shown["max_send_rate_per_s"], shown["sending_enabled"]) == (2000.0, True)
    assert "2,000 recipients a second" in bulksend("quota", url=simulator.url).stdout
    assert folder.is_dir()


@pytest.mark.parametrize(
    "arguments", [("quota",), ("template", "list"), ("template", "pull", "x"), ("plan", "campaign.toml")]
)
def test_without_a_region_it_says_where_to_name_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    refused = bulksend(*arguments)
    assert refused.returncode == 2
    assert "no AWS region is set" in refused.stderr
    assert "--region" in refused.stderr
    assert folder.is_dir()


def test_the_region_of_the_environment_is_heeded(
    folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "ap-south-2")
    assert bulksend("quota", "--endpoint-url", simulator.url).returncode == 0
    planned = bulksend("plan", "campaign.toml", "--endpoint-url", simulator.url)
    assert "from ap-south-2" in planned.stderr
    # A campaign goes where it was planned for, whatever the environment of another day says.
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert bulksend("resume", "launch", "--endpoint-url", simulator.url).returncode == 0
    assert folder.is_dir()


def test_templates_go_up_and_come_down(folder: Path, simulator: SimulatorProcess) -> None:
    (folder / "template.toml").write_text(
        'name = "hello"\nsubject = "Hi {{first_name}}"\ntext = "Dear {{first_name}}"\n'
    )
    assert bulksend("template", "push", "template.toml", url=simulator.url).returncode == 0
    listed = json.loads(bulksend("template", "list", "--output", "json", url=simulator.url).stdout)
    assert "hello" in [t["name"] for t in listed]
    pulled = json.loads(bulksend("template", "pull", "hello", "--output", "json", url=simulator.url).stdout)
    assert pulled == {"name": "hello", "subject": "Hi {{first_name}}", "html": None, "text": "Dear {{first_name}}"}
    stored = CAMPAIGN.replace(CAMPAIGN.splitlines()[4], 'template = "hello"')
    (folder / "campaign.toml").write_text(stored, "utf-8")
    rendered = bulksend("template", "render", "campaign.toml", '{"first_name": "Ada"}', url=simulator.url)
    assert "Dear Ada" in rendered.stdout
    assert bulksend("template", "pull", "nowhere", url=simulator.url).returncode == 2


def test_what_is_pulled_can_be_pushed(folder: Path, simulator: SimulatorProcess) -> None:
    hard = {"name": "hard", "subject": 'a "b" \\ \t日', "html": '<p class="x">\r\n"""\\n</p>\n', "text": "\nline\n\n"}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in hard.items()]  # JSON's escapes are TOML's
    (folder / "hard.toml").write_text("".join(lines), "utf-8")
    assert bulksend("template", "push", "hard.toml", url=simulator.url).returncode == 0
    first = bulksend("template", "pull", "hard", url=simulator.url)
    (folder / "pulled.toml").write_text(first.stdout.replace('"hard"', '"copy"', 1), "utf-8", newline="")
    assert bulksend("template", "push", "pulled.toml", url=simulator.url).returncode == 0
    again = bulksend("template", "pull", "copy", "--output", "json", url=simulator.url)
    assert json.loads(again.stdout) == hard | {"name": "copy"}


def test_samples_to_oneself(folder: Path, simulator: SimulatorProcess) -> None:
    sent = bulksend("send", "campaign.toml", "--test", "me@example.com", "--rows", "2", url=simulator.url)
    assert sent.returncode == 0
    entries = [e for r in simulator.requests() for e in (r["body"] or {}).get("BulkEmailEntries", [])]
    assert [e["Destination"] for e in entries] == [{"ToAddresses": ["me@example.com"]}] * 2
    assert not (folder / ".bulksend").exists()


def test_a_dry_run_reaches_nobody(folder: Path, simulator: SimulatorProcess) -> None:
    rehearsed = bulksend("send", "campaign.toml", "--dry-run", "--output", "json", url=simulator.url)
    assert rehearsed.returncode == 0
    assert json.loads(rehearsed.stdout)["accepted"] == 300
    assert simulator.tally()["requests"] == 0
    assert not (folder / ".bulksend").exists()


def test_the_first_of_a_list(folder: Path, simulator: SimulatorProcess) -> None:
    sent = bulksend("send", "campaign.toml", "--yes", "--limit", "7", "--output", "json", url=simulator.url)
    assert json.loads(sent.stdout)["accepted"] == 7
    assert folder.is_dir()


def test_prune_removes_the_list_and_keeps_the_numbers(folder: Path, simulator: SimulatorProcess) -> None:
    write_list(folder / "list.csv", ["a@example.com", "fault.message_rejected+b@example.com"])
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    assert bulksend("prune", "launch", "--yes").returncode == 2
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 3
    journal = folder / ".bulksend" / "journal.db"
    with closing(sqlite3.connect(journal)) as db:
        ((before,),) = db.execute("SELECT exceptions FROM outcome WHERE exceptions IS NOT NULL").fetchall()
    assert json.loads(before)[0][3]
    assert bulksend("prune", "launch", "--yes").returncode == 0
    assert list((folder / ".bulksend" / "snapshots").glob("*.parquet")) == []
    with closing(sqlite3.connect(journal)) as db:
        ((after,),) = db.execute("SELECT exceptions FROM outcome WHERE exceptions IS NOT NULL").fetchall()
    assert json.loads(after)[0][2:4] == ["MESSAGE_REJECTED", ""]
    facts = json.loads(bulksend("status", "launch", "--output", "json").stdout)
    assert (facts["accepted"], facts["dead"], facts["adds_up"]) == (1, 1, True)
