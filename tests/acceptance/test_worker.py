"""The long-lived worker on SQLite: as a process, by its signals, its command line and its HTTP face."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from bulksend.config import load_settings
from bulksend.journal import Journal
from bulksend.model import CampaignState, Tally
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from tests.acceptance.test_cli import CAMPAIGN, age, bulksend
from tests.harness import write_list
from tests.worker_process import WITHIN_S, WorkerProcess, until


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 1000, "latency_ms": 20}


@pytest.fixture
def named_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that comes before any campaign makes its store, as it is named."""
    monkeypatch.setenv("BULKSEND_STORE", "sqlite:.bulksend")


def campaign(folder: Path, name: str, rows: int, more: str = "") -> str:
    """A campaign file with its list; returns the file's name."""
    write_list(folder / f"{name}.csv", [f"{name}{n}@example.com" for n in range(rows)])
    text = CAMPAIGN.replace('"launch"', f'"{name}"', 1).replace("list.csv", f"{name}.csv") + more
    (folder / f"{name}.toml").write_text(text, "utf-8")
    return f"{name}.toml"


def submit(file: str, url: str) -> None:
    done = bulksend("submit", file, "--yes", url=url)
    assert done.returncode == 0, done.stderr


def status(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bulksend("status", name, "--output", "json").stdout)
    return found


def journal() -> Journal:
    """Of the store here: what is asked again and again is asked of it, since a verb takes a tenth of a second."""
    return Store.open(load_settings(None, os.environ, {}), Path.cwd()).journal


def state(name: str) -> str:
    return journal().campaign(name).state


def finished(name: str) -> bool:
    return state(name) == CampaignState.FINISHED


def tally(name: str) -> Tally:
    found = journal()
    return found.tally(found.campaign(name))


def at(simulator: SimulatorProcess) -> list[str]:
    return ["--endpoint-url", simulator.url, "--region", "eu-west-1"]


def everybody_once(simulator: SimulatorProcess, name: str, rows: int) -> None:
    """By the simulator's own count."""
    found = status(name)
    theirs = simulator.tally(found["id"])
    assert (theirs["rows"], len(theirs["copies"]), found["accepted"]) == (rows, 0, rows)


def test_what_is_submitted_is_sent_and_what_is_left_at_the_end_is_taken_up_again(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    submit(campaign(in_folder, "early", 3000), simulator.url)
    assert (status("early")["state"], status("early")["orphaned"]) == ("queued", True)
    assert "no worker is there" in bulksend("status", "early").stdout
    with WorkerProcess(in_folder, *at(simulator), fresh=True) as worker:
        until(lambda: tally("early").accepted > 300, "it is being sent")
        submit(campaign(in_folder, "late", 300), simulator.url)
        until(lambda: finished("late"), "late is finished, though early is not")
        assert not finished("early")
        assert worker.stop() == 0
    left = status("early")
    assert (left["state"], left["in_flight"], left["in_doubt"], left["adds_up"]) == ("queued", 0, 0, True)
    assert left["accepted"] == simulator.tally(left["id"])["accepted"]
    with WorkerProcess(in_folder, *at(simulator)):
        until(lambda: finished("early"), "early is finished")
    everybody_once(simulator, "early", 3000)
    everybody_once(simulator, "late", 300)


def test_a_worker_that_was_killed_is_followed_by_another(in_folder: Path, simulator: SimulatorProcess) -> None:
    submit(campaign(in_folder, "one", 2500), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: simulator.tally()["accepted"] > 300, "it is being sent")
        worker.process.send_signal(signal.SIGTERM)
        worker.process.kill()
        worker.process.wait()
    died = status("one")
    assert died["adds_up"]
    assert "by a worker that is gone: start it again" in bulksend("status", "one").stdout
    assert died["in_doubt"] <= 64 * 50
    with WorkerProcess(in_folder, *at(simulator)):
        until(lambda: finished("one"), "it is finished")
    ended = status("one")
    theirs = simulator.tally(ended["id"])
    assert not theirs["copies"]
    assert ended["accepted"] <= theirs["rows"] <= ended["accepted"] + ended["in_doubt"] == 2500


def test_campaigns_share_the_pace_by_their_priority(in_folder: Path, simulator: SimulatorProcess) -> None:
    for name, priority in (("one", 1), ("two", 2), ("four", 4)):
        submit(campaign(in_folder, name, 9000, f"[schedule]\npriority = {priority}\n"), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: simulator.tally()["accepted"] >= 3500, "half of one of them is sent")
        assert worker.stop() == 0
    sent = {name: status(name)["accepted"] for name in ("one", "two", "four")}
    whole = sum(sent.values())
    for name, weight in (("one", 1), ("two", 2), ("four", 4)):
        assert sent[name] == pytest.approx(whole * weight / 7, rel=0.12), sent


def test_a_schedule_is_kept_and_may_be_changed(in_folder: Path, simulator: SimulatorProcess) -> None:
    now = datetime.now(UTC)
    later = (now + timedelta(hours=2)).isoformat(timespec="seconds")
    closed = f"{now + timedelta(hours=3):%H:%M}-{now + timedelta(hours=4):%H:%M} UTC"
    submit(campaign(in_folder, "later", 100, f"[schedule]\nnot_before = {later}\n"), simulator.url)
    submit(campaign(in_folder, "hours", 100, f'[schedule]\nwindow = "{closed}"\n'), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        submit(campaign(in_folder, "now", 100), simulator.url)
        until(lambda: finished("now"), "the one without a schedule is finished")
        assert [status(name)["accepted"] for name in ("later", "hours")] == [0, 0]
        assert worker.said().count("by its schedule it may send again from") == 2
        for name in ("later", "hours"):
            submit(campaign(in_folder, name, 100), simulator.url)
        until(lambda: finished("later") and finished("hours"), "the others are finished, without their schedules")


def test_pause_resume_cancel_while_it_runs(in_folder: Path, simulator: SimulatorProcess) -> None:
    submit(campaign(in_folder, "one", 4000), simulator.url)
    submit(campaign(in_folder, "two", 4000), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: min(tally(name).accepted for name in ("one", "two")) > 100, "both are being sent")
        assert bulksend("pause", "one").returncode == 0
        assert worker.ask("POST", "/campaigns/two/cancel")[0] == 200
        until(lambda: tally("one").in_flight == tally("two").in_flight == 0, "both are at rest")
        paused, cancelled = status("one"), status("two")
        assert (paused["state"], cancelled["state"]) == ("paused", "cancelled")
        assert cancelled["skipped"]["cancelled"] > 0
        went_on = bulksend("resume", "one", url=simulator.url)
        assert (went_on.returncode, "A worker has it" in went_on.stderr) == (0, True)
        until(lambda: finished("one"), "one is finished")
        refused = worker.ask("POST", "/campaigns/two/resume")
        assert refused[0] == 409
        assert "was cancelled" in refused[1]["error"]
    everybody_once(simulator, "one", 4000)
    assert status("two")["accepted"] == simulator.tally(status("two")["id"])["accepted"]


def test_a_halt_of_the_account_halts_all_its_campaigns(in_folder: Path, simulator: SimulatorProcess) -> None:
    submit(campaign(in_folder, "one", 3000), simulator.url)
    submit(campaign(in_folder, "two", 3000), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)):
        until(lambda: min(tally(name).accepted for name in ("one", "two")) > 100, "both are being sent")
        simulator.rules([{"fault": "account_suspended", "share": 1.0}])
        until(lambda: {state(name) for name in ("one", "two")} == {"halted"}, "both are halted")
        simulator.rules([])
        for name in ("one", "two"):
            assert status(name)["halt"]["reason"]
            assert bulksend("resume", name, url=simulator.url).returncode == 0
        until(lambda: finished("one") and finished("two"), "both are finished")
    everybody_once(simulator, "one", 3000)


def test_settings_are_read_anew_on_sighup(in_folder: Path, simulator: SimulatorProcess) -> None:
    config = in_folder / "config.toml"
    config.write_text("[pacing]\nmax_recipients_per_s = 1.0\n", "utf-8")
    submit(campaign(in_folder, "one", 500), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: tally("one").accepted > 0, "it is being sent, slowly")
        config.write_text("[pacing]\nmax_recipients_per_s = 5\n[fleet]\nlease_s = 9\n[nonsense]\n", "utf-8")
        worker.process.send_signal(signal.SIGHUP)
        until(lambda: "the settings stay as they are" in worker.said(), "what is wrong is refused")
        config.write_text("[pacing]\nmax_recipients_per_s = 1000.0\n[fleet]\nlease_s = 9\n", "utf-8")
        worker.process.send_signal(signal.SIGHUP)
        until(lambda: finished("one"), "it is finished, fast")
        assert "these settings want a new start" in worker.said()
        assert worker.process.poll() is None


def test_a_policy_that_is_changed_is_heeded_at_once(in_folder: Path, simulator: SimulatorProcess) -> None:
    file = campaign(in_folder, "one", 4000)
    submit(file, simulator.url)
    with WorkerProcess(in_folder, *at(simulator), environment={"BULKSEND_LOG_LEVEL": "info"}) as worker:
        until(lambda: tally("one").accepted > 100, "it is being sent")
        with (in_folder / file).open("a", encoding="utf-8") as out:
            out.write('[policy]\nin_doubt = "resend"\n')
        submit(file, simulator.url)
        until(lambda: worker.said().count('"event": "taken up"') == 2, "it is taken up anew, with the new policy")
        until(lambda: finished("one"), "it is finished")
    everybody_once(simulator, "one", 4000)


def test_a_pause_while_the_worker_stops_is_kept(in_folder: Path, simulator: SimulatorProcess) -> None:
    simulator.settings(latency_ms=1500)
    submit(campaign(in_folder, "one", 4000), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: tally("one").in_flight > 0, "it is being sent")
        worker.process.send_signal(signal.SIGTERM)
        assert bulksend("pause", "one").returncode == 0
        assert worker.process.wait(WITHIN_S) == 0
    assert status("one")["state"] == "paused"


def test_told_twice_it_does_not_wait_and_the_campaign_is_taken_up_again(
    in_folder: Path, simulator: SimulatorProcess
) -> None:
    simulator.settings(latency_ms=3000)
    submit(campaign(in_folder, "one", 400), simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: tally("one").in_flight > 0, "it is being sent")
        worker.process.send_signal(signal.SIGTERM)
        worker.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        worker.process.send_signal(signal.SIGTERM)
        # The third may come when all is recorded and nobody listens any more.
        assert worker.process.wait(WITHIN_S) in {0, 4, -signal.SIGTERM}
    found = status("one")
    assert (found["state"], found["in_flight"], found["adds_up"]) == ("queued", 0, True)


def test_a_worker_makes_only_a_store_that_somebody_named(in_folder: Path, simulator: SimulatorProcess) -> None:
    refused = bulksend("worker", url=simulator.url)
    assert refused.returncode == 2
    assert f"there is no store in {in_folder / '.bulksend'}" in refused.stderr
    assert "plan a campaign here first" in refused.stderr
    assert "ready" not in refused.stderr
    assert not list(in_folder.iterdir())
    assert bulksend("plan", campaign(in_folder, "one", 10), url=simulator.url).returncode == 0
    with WorkerProcess(in_folder, *at(simulator)):
        submit("one", simulator.url)
        until(lambda: finished("one"), "it is sent from the store that is there")
    with WorkerProcess(in_folder, *at(simulator), environment={"BULKSEND_STORE": "sqlite:other"}):
        assert (in_folder / "other" / "journal.db").is_file()


def test_a_doubt_that_is_resent_is_resumed_beside_a_worker(in_folder: Path, simulator: SimulatorProcess) -> None:
    file = campaign(in_folder, "one", 5)
    write_list(in_folder / "one.csv", ["fault.close_after_accepting.1+c@example.com"])
    submit(file, simulator.url)
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        until(lambda: finished("one"), "it is finished")
        (listed,) = worker.ask("GET", "/campaigns")[1]["campaigns"]
        assert (listed["state"], listed["pending"], listed["in_doubt"]) == ("finished", 0, 1)
        age(in_folder / ".bulksend" / "journal.db", 3600)
        decided = bulksend("resolve", "one", "--resend")
        (hint,) = re.findall(r"They are pending again: bulksend (.+)", decided.stderr)
        (listed,) = worker.ask("GET", "/campaigns")[1]["campaigns"]
        assert (listed["state"], listed["pending"], listed["in_doubt"]) == ("planned", 1, 0)
        went_on = bulksend(*hint.split(), url=simulator.url)
        assert (went_on.returncode, "A worker has it" in went_on.stderr) == (0, True)
        until(lambda: finished("one"), "it is finished again")


def test_the_list_over_http_has_the_numbers_of_status(in_folder: Path, simulator: SimulatorProcess) -> None:
    for name in ("one", "two", "three"):
        assert bulksend("plan", campaign(in_folder, name, 40), url=simulator.url).returncode == 0
    assert bulksend("cancel", "two", "--yes").returncode == 0
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        submit("one", simulator.url)
        until(lambda: finished("one"), "it is finished")
        for one in worker.ask("GET", "/campaigns")[1]["campaigns"]:
            found = status(one["campaign"])
            assert {key: one[key] for key in ("id", "state", "rows", "pending", "in_doubt")} == {
                key: found[key] for key in ("id", "state", "rows", "pending", "in_doubt")
            }


@pytest.mark.usefixtures("named_store")
def test_systemd_is_told(in_folder: Path, simulator: SimulatorProcess) -> None:
    address = in_folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(WITHIN_S)
        told: list[str] = []

        def hears(word: str) -> None:
            deadline_s = time.monotonic() + WITHIN_S
            while not any(word in one for one in told):
                assert time.monotonic() < deadline_s, told
                told.append(listening.recv(4096).decode())

        environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "200000"}
        with WorkerProcess(in_folder, *at(simulator), environment=environment, fresh=True) as worker:
            hears("READY=1")
            told.clear()
            hears("WATCHDOG=1")
            worker.process.send_signal(signal.SIGHUP)
            hears("RELOADING=1\nMONOTONIC_USEC=")
            hears("READY=1")
            told.clear()
            assert worker.stop() == 0
            hears("STOPPING=1")


@pytest.mark.usefixtures("named_store")
def test_one_worker_to_a_store_in_sqlite(
    in_folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKSEND_HTTP_LISTEN", "127.0.0.1:0")
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        second = bulksend("worker", url=simulator.url)
        assert (second.returncode, f"process {worker.process.pid} holds the store" in second.stderr) == (6, True)
        file = campaign(in_folder, "one", 10)
        refused = bulksend("send", file, "--yes", url=simulator.url)
        assert (refused.returncode, "bulksend submit" in refused.stderr) == (6, True), refused.stderr
        submit(file, simulator.url)
        until(lambda: finished("one"), "the worker has sent it")


@pytest.mark.usefixtures("named_store")
def test_campaigns_come_by_http(in_folder: Path, simulator: SimulatorProcess) -> None:
    lists = in_folder / "lists"
    lists.mkdir()
    write_list(lists / "list.csv", [f"a{n}@example.com" for n in range(40)] + ["no address"])
    (in_folder / "secret.csv").write_text("email\nroot@example.com\n", "utf-8")
    tables: dict[str, Any] = {
        "name": "web",
        "sender": {"from": "news@example.com"},
        "content": {"template": "launch"},
        "recipients": {"path": "list.csv"},
    }
    with WorkerProcess(in_folder, *at(simulator), environment={"BULKSEND_HTTP_LISTS_FOLDER": str(lists)}) as worker:
        for path in ("../secret.csv", str(in_folder / "secret.csv"), "/etc/passwd"):
            refused = worker.ask("POST", "/campaigns", tables | {"recipients": {"path": path}})
            assert refused[0] == 422, path
            assert "not in the folder for lists" in refused[1]["error"]
        faulty = worker.ask("POST", "/campaigns", tables | {"sender": {"form": "x"}})
        assert (faulty[0], "did you mean sender.from?" in faulty[1]["error"]) == (422, True)
        made = worker.ask("POST", "/campaigns", tables)
        assert (made[0], made[1]["rows"]) == (201, 41)
        until(lambda: worker.ask("GET", "/campaigns/web")[1]["state"] == "finished", "it is finished")
        again = worker.ask("POST", "/campaigns", tables | {"content": {"template": "other"}})
        assert (again[0], "content.template" in again[1]["error"]) == (409, True)
        copy = worker.ask("POST", "/campaigns", tables | {"name": "copy"})
        assert (copy[0], "same list and content" in copy[1]["error"]) == (409, True)
        found = worker.ask("GET", "/campaigns/web/results?state=skipped&format=jsonl")
        assert (found[0], found[1]["status"]) == (200, "invalid")
        table = worker.ask("GET", "/campaigns/web/results?format=csv")[1]
        assert table.splitlines()[0].startswith("campaign,row,address,state")
        assert len(table.splitlines()) == 42
        assert [one["campaign"] for one in worker.ask("GET", "/campaigns")[1]["campaigns"]] == ["web"]
        assert "bulksend_entries_total" in worker.ask("GET", "/metrics")[1]
        assert worker.ask("GET", "/readyz")[0] == 200
        assert worker.ask("GET", "/healthz")[0] == 200
    everybody_once(simulator, "web", 40)


@pytest.mark.usefixtures("named_store")
def test_off_loopback_a_token_is_wanted_and_strangers_find_nothing(
    in_folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = in_folder / "token"
    token.write_text("0123456789abcdef0123456789abcdef\n", "utf-8")
    token.chmod(0o644)
    monkeypatch.setenv("BULKSEND_HTTP_LISTEN", "0.0.0.0:0")
    refused = bulksend("worker", url=simulator.url)
    assert (refused.returncode, "token" in refused.stderr) == (2, True)
    monkeypatch.setenv("BULKSEND_HTTP_TOKEN_FILE", str(token))
    refused = bulksend("worker", url=simulator.url)
    assert (refused.returncode, "chmod 600" in refused.stderr) == (2, True)
    token.chmod(0o600)
    monkeypatch.setenv("BULKSEND_HTTP_PUBLIC_LISTEN", "127.0.0.1:0")
    with WorkerProcess(in_folder, *at(simulator)) as worker:
        listening = [int(port) for port in re.findall(r"http://\S+?:(\d+)", worker.said())]
        own, public = listening[0], listening[-1]
        for path in ("/healthz", "/metrics", "/campaigns", "/openapi.json"):
            assert get(own, path) == 401, path
            assert get(own, path, "0123456789abcdef0123456789abcdeX") == 401, path
            assert get(own, path, "0123456789abcdef0123456789abcdef") == 200, path
            assert get(public, path, "0123456789abcdef0123456789abcdef") == 404, path
        assert "0123456789abcdef" not in worker.said()


def get(port: int, path: str, token: str | None = None) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()
