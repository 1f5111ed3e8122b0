"""The systemd units: systemd's own word on them, and real services run as they say, by a test that plays systemd."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bulksend.config import load_settings
from bulksend.errors import ExitCode
from bulksend.simulator import SimulatorProcess
from bulksend.worker.consuming import LAST_S as EVENTS_LAST_S
from bulksend.worker.event_setup import default_name
from bulksend.worker.process import LAST_S
from tests.deploy.service import CAMPAIGN, CONFIG, EVENTS, FOLDER, PROGRAM, TOKEN, WATCHDOG_S, WORKER, Systemd, Unit
from tests.worker_process import WITHIN_S, until

ROWS = 300
BOUNCED = 12
UNITS = pytest.mark.parametrize("unit", [WORKER, EVENTS], ids=["worker", "events"])


@pytest.fixture
def account(_isolation: None) -> Iterator[SimulatorProcess]:
    """SES, and SQS with the queue of the settings, which no other test has asked for messages."""
    with SimulatorProcess(events=True, max_send_rate_per_s=2000) as running:
        yield running


@pytest.fixture
def systemd(tmp_path: Path, account: SimulatorProcess) -> Iterator[Systemd]:
    playing = Systemd(tmp_path, account)
    yield playing
    playing.close()


@pytest.fixture
def apart(systemd: Systemd, account: SimulatorProcess) -> Iterator[Systemd]:
    """The service of events on the same machine, which the settings speak of."""
    systemd.take_up("apart")
    playing = Systemd(systemd.root, account, EVENTS)
    yield playing
    playing.close()


def analyzed(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verified(folder: Path, unit: Unit, text: str) -> tuple[int, str]:
    """systemd's word on a unit: it wants the program to be there, and Python stands for it."""
    copy = folder / unit.path.name
    copy.write_text(text.replace(PROGRAM, sys.executable), "utf-8")
    return analyzed("verify", "--man=no", str(copy))


@UNITS
def test_systemd_finds_nothing_to_say_of_the_unit(tmp_path: Path, unit: Unit) -> None:
    assert verified(tmp_path, unit, unit.text) == (0, "")
    # It says what it does not know with exit code 0: silence is the check.
    assert "Unknown key" in verified(tmp_path, unit, unit.text.replace("WatchdogSec=", "WatchDogSec="))[1]


@UNITS
def test_it_is_exposed_as_little_as_it_can_be(unit: Unit) -> None:
    code, said = analyzed("security", "--offline=true", "--threshold=12", "--no-pager", str(unit.path))
    assert code == 0, said
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= 1.2, said


@UNITS
def test_the_user_is_made_by_sysusers(unit: Unit) -> None:
    (user,) = unit.setting("User")
    lines = (FOLDER / "bulksend.sysusers.conf").read_text("utf-8").splitlines()
    (made,) = (shlex.split(line) for line in lines if not line.startswith("#"))
    assert (made[0], made[1], made[4]) == ("u", user, f"/var/lib/{unit.setting('StateDirectory')[0]}")


def test_systemd_waits_longer_than_the_services_do() -> None:
    settings = load_settings(CONFIG, {}, {})
    assert WORKER.seconds("TimeoutStopSec") > settings.worker.grace_s + LAST_S
    assert settings.worker.grace_s > settings.transport.answer_timeout_s
    assert EVENTS.seconds("TimeoutStopSec") > EVENTS_LAST_S
    assert WORKER.setting("KillMode") == EVENTS.setting("KillMode") == ["mixed"]
    assert [int(code) for code in WORKER.setting("RestartPreventExitStatus")] == [ExitCode.USAGE]
    # A queue that refuses ends it with that code, too, and may let it in again.
    assert (EVENTS.setting("Restart"), EVENTS.setting("RestartPreventExitStatus")) == (["on-failure"], [])


def test_the_settings_name_the_queue_that_setup_makes_and_no_port_twice() -> None:
    settings = load_settings(CONFIG, {}, {})
    (queue,) = settings.events.queues or ()
    assert urlsplit(queue).path == f"/123456789012/{default_name('bulksend')}"
    assert (urlsplit(queue).hostname, settings.events.apart) == (f"sqs.{settings.aws.region}.amazonaws.com", False)
    text = re.sub(r"(?m)^#(\w+ =|\[)", r"\1", CONFIG.read_text("utf-8"))
    both = {line for line in text.splitlines() if line.startswith(("apart =", "public_listen =", "key_file ="))}
    assert len(both) == 3, "what is commented out can be taken up"
    (line,) = EVENTS.setting("ExecStart")
    ports = re.findall(r"127\.0\.0\.1:(\d+)", text + line)
    assert len(ports) == len(set(ports)) == 3


def test_what_is_commented_out_in_the_settings_can_be_taken_up(simulator: SimulatorProcess, tmp_path: Path) -> None:
    systemd = Systemd(tmp_path, simulator)
    systemd.close()
    for key in ("apart", r"\[unsubscribe\]"):
        text = systemd.config.read_text("utf-8")
        systemd.config.write_text(re.sub(rf"(?m)^#({key})", r"\1", text), "utf-8")
    systemd.take_up("public_listen")
    systemd.take_up("key_file", f'"{tmp_path / "unsubscribe.keys"}"')
    settings = load_settings(systemd.config, {}, {})
    assert settings.events.apart
    assert settings.http.public_listen == "127.0.0.1:8080"
    assert settings.unsubscribe.key_file == str(tmp_path / "unsubscribe.keys")


def test_the_worker_tells_systemd_what_it_does(systemd: Systemd) -> None:
    with systemd.start() as process:
        systemd.told_until("READY=1")
        for _ in range(3):
            assert systemd.told(WATCHDOG_S) == "WATCHDOG=1", "systemd would have killed it"
        before_us = time.monotonic_ns() // 1000
        (reload,) = WORKER.setting("ExecReload")
        assert reload == "/bin/kill -HUP $MAINPID"
        process.send_signal(signal.SIGHUP)
        name, _, monotonic_us = systemd.told_until("RELOADING=1\n").splitlines()[1].partition("=")
        assert name == "MONOTONIC_USEC"
        assert before_us <= int(monotonic_us) <= time.monotonic_ns() // 1000
        systemd.told_until("READY=1")
        process.send_signal(signal.SIGTERM)
        systemd.told_until("STOPPING=1")
        assert process.wait(WITHIN_S) == 0, systemd.log()


def test_settings_at_fault_are_not_tried_again_nor_is_a_token_that_is_missing(systemd: Systemd) -> None:
    text = systemd.config.read_text("utf-8")
    systemd.config.write_text(text.replace("[http]", "[htp]"), "utf-8")
    with systemd.start() as process:
        assert process.wait(WITHIN_S) == ExitCode.USAGE
    systemd.config.write_text(text, "utf-8")
    (systemd.root / "credentials" / "token").unlink()
    with systemd.start() as process:
        assert process.wait(WITHIN_S) == ExitCode.USAGE


def submit(systemd: Systemd) -> None:
    """A campaign with some addresses that bounce."""
    kinds = ["bounce"] * BOUNCED + ["success"] * (ROWS - BOUNCED)
    rows = "".join(f"{kind}+{n}@simulator.amazonses.com,Ada\n" for n, kind in enumerate(kinds))
    (systemd.root / "launch.toml").write_text(CAMPAIGN, "utf-8")
    (systemd.root / "list.csv").write_text(f"email,first_name\n{rows}", "utf-8")
    submitted = systemd.bulksend("submit", "launch.toml", "--yes")
    assert submitted.returncode == 0, submitted.stderr


def until_heard_of(systemd: Systemd, *processes: subprocess.Popen[bytes]) -> None:
    """Until it is sent, and all that became of it is known."""

    def heard_of() -> bool:
        assert all(process.poll() is None for process in processes), systemd.log()
        status, text = systemd.ask("/campaigns/launch")
        assert status == 200, text
        found = json.loads(text)
        events = found["events"]
        return (found["accepted"], events["delivered"], events["bounced"]["permanent"]) == (
            ROWS,
            ROWS - BOUNCED,
            BOUNCED,
        )

    until(heard_of, "it is sent, and its events are in")


def taken(systemd: Systemd) -> float:
    """How many events a service says that it took, of all types and accounts."""
    status, text = systemd.ask("/metrics")
    assert status == 200
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("bulksend_events_total{"))


def test_a_campaign_is_sent_and_heard_of_under_the_units_filters(systemd: Systemd, tmp_path: Path) -> None:
    assert WORKER.setting("MemoryDenyWriteExecute") == ["yes"]
    with systemd.start(WORKER.confinement(tmp_path)) as process:
        systemd.told_until("READY=1")
        assert systemd.log().startswith("confined: Address family not supported by protocol\n")
        submit(systemd)
        until_heard_of(systemd, process)
        assert taken(systemd) == ROWS
        for path, token, status in (("/readyz", TOKEN, 200), ("/metrics", TOKEN, 200), ("/metrics", "none", 401)):
            assert systemd.ask(path, token)[0] == status
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0, systemd.log()
    assert sum(path.stat().st_mode & 0o077 for path in systemd.state.rglob("*")) == 0


def test_with_events_apart_the_other_service_takes_them_under_its_filters(
    systemd: Systemd, apart: Systemd, tmp_path: Path
) -> None:
    assert WORKER.path.name in EVENTS.setting("After")[0].split()
    with ExitStack() as stack:
        worker = stack.enter_context(systemd.start())
        systemd.told_until("READY=1")
        consumer = stack.enter_context(apart.start(EVENTS.confinement(tmp_path)))
        apart.told_until("READY=1")
        assert apart.log().startswith("confined: Address family not supported by protocol\n")
        assert apart.told(WATCHDOG_S) == "WATCHDOG=1"
        submit(systemd)
        until_heard_of(systemd, worker, consumer)
        assert (taken(systemd), taken(apart)) == (0, ROWS)
        assert [apart.ask(path)[0] for path in ("/healthz", "/campaigns", "/")] == [200, 404, 404]
        assert [apart.ask(path, "none")[0] for path in ("/healthz", "/metrics", "/")] == [401, 401, 401]
        for process in (worker, consumer):
            process.send_signal(signal.SIGTERM)
        apart.told_until("STOPPING=1")
        assert (worker.wait(WITHIN_S), consumer.wait(WITHIN_S)) == (0, 0), apart.log()
    assert "@" not in apart.log()
    assert sum(path.stat().st_mode & 0o077 for path in systemd.state.rglob("*")) == 0


SIGN_FOR_AN_ENDPOINT = """
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.crt.auth import CrtSigV4AsymAuth
request = AWSRequest("POST", "https://abc.endpoints.email.global.api.aws/", data=b"{}")
CrtSigV4AsymAuth(Credentials("AKIAIOSFODNN7EXAMPLE", "x"), "ses", "*").add_auth(request)
print(request.headers["Authorization"].split()[0])
"""


def test_a_multi_region_endpoint_is_signed_for_under_the_filters(tmp_path: Path) -> None:
    # awscrt is another library's machine code, with threads of its own.
    confined = str(Path(__file__).parent / "confined.py")
    command = [sys.executable, confined, str(WORKER.confinement(tmp_path)), sys.executable, "-c", SIGN_FOR_AN_ENDPOINT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "AWS4-ECDSA-P256-SHA256\n", done.stderr


def test_without_its_queue_the_service_of_events_fails_and_says_why(apart: Systemd) -> None:
    text = apart.config.read_text("utf-8")
    apart.config.write_text(text.replace("/bulksend-events", "/elsewhere"), "utf-8")
    with apart.start() as process:
        assert process.wait(WITHIN_S) == ExitCode.USAGE
    assert "there is no queue" in apart.log()


def test_the_filters_bite(systemd: Systemd, tmp_path: Path) -> None:
    filters = WORKER.confinement(tmp_path, without=["connect", "epoll_ctl", "epoll_create1"])
    with systemd.start(filters) as process:
        assert process.wait(WITHIN_S) != 0
