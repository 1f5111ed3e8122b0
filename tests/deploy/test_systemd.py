"""The systemd unit: systemd's own word on it, and a real worker run as it says, by a test that plays systemd."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from bulksend.config import load_settings
from bulksend.errors import ExitCode
from bulksend.simulator import SimulatorProcess
from bulksend.worker.process import LAST_S
from tests.worker_process import WITHIN_S, until

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNIT = FOLDER / "bulksend-worker.service"
PROGRAM = "/opt/bulksend/bin/bulksend"
TOKEN = "0123456789abcdef0123456789abcdef"
WATCHDOG_S = 4.0
CAMPAIGN = """\
name = "launch"
[sender]
from = "news@example.com"
[content]
inline = { subject = "Hello", text = "Dear {{first_name}}" }
[recipients]
path = "list.csv"
"""


def setting(name: str) -> list[str]:
    """All values that the unit gives a key."""
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text("utf-8"))


def seconds(name: str) -> float:
    (value,) = setting(name)
    return float(value)


def families() -> list[int]:
    (value,) = setting("RestrictAddressFamilies")
    return [int(getattr(socket, name)) for name in value.split()]


def calls(name: str) -> set[str]:
    """The system calls of a group as this machine's systemd has it."""
    if not name.startswith("@"):
        return {name}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    found = [line.strip() for line in said.splitlines()[1:] if line.strip() and "#" not in line]
    return set().union(*map(calls, found))


def allowed_calls() -> list[str]:
    """What the unit's SystemCallFilter= lines leave, in their order; @default is always in (systemd.exec(5))."""
    left = calls("@default")
    for line in setting("SystemCallFilter"):
        named = set().union(*map(calls, line.removeprefix("~").split()))
        left = left - named if line.startswith("~") else left | named
    return sorted(left)


class Systemd:
    """What systemd is to a service: places, environment, and a socket that it is told at."""

    def __init__(self, root: Path, simulator: SimulatorProcess) -> None:
        self.root = root
        self.state = root / "var/lib/bulksend"
        self.config = root / "etc/bulksend/config.toml"
        self._credentials = root / "credentials"
        for folder in (self.state, self.config.parent, self._credentials):
            folder.mkdir(parents=True)
        config = (FOLDER / "config.toml").read_text("utf-8").replace("/var/lib/bulksend", str(self.state))
        self.config.write_text(config.replace("127.0.0.1:9464", "127.0.0.1:0"), "utf-8")
        (self._credentials / "token").write_text(TOKEN, "ascii")
        (self._credentials / "token").chmod(0o440)  # as systemd leaves them, but for an access list
        # By name, so that it is looked up.
        self._endpoint_url = simulator.url.replace("127.0.0.1", "localhost")
        self._address = f"bulksend-{os.getpid()}-{time.monotonic_ns()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self._address}")

    def close(self) -> None:
        self._socket.close()

    def environment(self) -> dict[str, str]:
        """The unit's, and what systemd adds."""
        own = dict(line.partition("=")[::2] for line in setting("Environment"))
        own = {name: value.replace("%d", str(self._credentials)) for name, value in own.items()}
        own["XDG_CACHE_HOME"] = own["XDG_CACHE_HOME"].replace("/var/cache", f"{self.root}/var/cache")
        own |= {"NOTIFY_SOCKET": f"@{self._address}", "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        own |= {"BULKSEND_AWS_ENDPOINT_URL": self._endpoint_url, "PATH": os.defpath, "HOME": str(self.state)}
        return own | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    def command(self, filters: Path | None) -> list[str]:
        """ExecStart, with a program and files of here; under the unit's filters, where they are given."""
        (line,) = setting("ExecStart")
        program, *rest = shlex.split(line)
        assert program == PROGRAM
        rest = [word.replace("/etc/bulksend/config.toml", str(self.config)) for word in rest]
        confined = [] if filters is None else [str(Path(__file__).parent / "confined.py"), str(filters), sys.executable]
        return [sys.executable, *confined, "-m", "bulksend", *rest]

    @contextmanager
    def start(self, filters: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The service's process, which is killed at the end if it still lives."""
        with (self.root / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(filters), cwd=self.state, env=self.environment(), umask=0o077, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def log(self) -> str:
        return (self.root / "log").read_text("utf-8")

    def told(self, within_s: float = WITHIN_S) -> str:
        """The next datagram. Raises TimeoutError."""
        self._socket.settimeout(within_s)
        return self._socket.recv(4096).decode()

    def told_until(self, start: str) -> str:
        """The first that starts so; what comes before it may only be the watchdog's."""
        while True:
            one = self.told()
            if one.startswith(start):
                return one
            assert one == "WATCHDOG=1", (one, self.log())

    def bulksend(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As a person would, as the service's user."""
        command = [sys.executable, "-m", "bulksend", *arguments, "--config", str(self.config)]
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )


@pytest.fixture
def systemd(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Systemd]:
    playing = Systemd(tmp_path, simulator)
    yield playing
    playing.close()


def analyzed(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verified(folder: Path, text: str) -> tuple[int, str]:
    """systemd's word on a unit: it wants the program to be there, and Python stands for it."""
    copy = folder / UNIT.name
    copy.write_text(text.replace(PROGRAM, sys.executable), "utf-8")
    return analyzed("verify", "--man=no", str(copy))


def test_systemd_finds_nothing_to_say_of_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text("utf-8")
    assert verified(tmp_path, text) == (0, "")
    # It says what it does not know with exit code 0: silence is the check.
    assert "Unknown key" in verified(tmp_path, text.replace("WatchdogSec=", "WatchDogSec="))[1]


def test_it_is_exposed_as_little_as_it_can_be() -> None:
    code, said = analyzed("security", "--offline=true", "--threshold=12", "--no-pager", str(UNIT))
    assert code == 0, said
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= 1.2, said


def test_the_user_is_made_by_sysusers() -> None:
    (user,) = setting("User")
    lines = (FOLDER / "bulksend.sysusers.conf").read_text("utf-8").splitlines()
    (made,) = (shlex.split(line) for line in lines if not line.startswith("#"))
    assert (made[0], made[1], made[4]) == ("u", user, f"/var/lib/{setting('StateDirectory')[0]}")


def test_systemd_waits_longer_than_the_worker_does_for_answers() -> None:
    settings = load_settings(FOLDER / "config.toml", {}, {})
    assert seconds("TimeoutStopSec") > settings.worker.grace_s + LAST_S
    assert settings.worker.grace_s > settings.transport.answer_timeout_s
    assert setting("KillMode") == ["mixed"]
    assert [int(code) for code in setting("RestartPreventExitStatus")] == [ExitCode.USAGE]


def test_the_worker_tells_systemd_what_it_does(systemd: Systemd) -> None:
    with systemd.start() as process:
        systemd.told_until("READY=1")
        for _ in range(3):
            assert systemd.told(WATCHDOG_S) == "WATCHDOG=1", "systemd would have killed it"
        before_us = time.monotonic_ns() // 1000
        (reload,) = setting("ExecReload")
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


def confinement(folder: Path, without: Sequence[str] = ()) -> Path:
    filters = folder / "filters.json"
    left = [call for call in allowed_calls() if call not in without]
    filters.write_text(json.dumps({"calls": left, "families": families()}), "ascii")
    return filters


def test_a_campaign_is_sent_under_the_units_filters(systemd: Systemd, tmp_path: Path) -> None:
    assert setting("MemoryDenyWriteExecute") == ["yes"]
    (tmp_path / "launch.toml").write_text(CAMPAIGN, "utf-8")
    rows = "".join(f"success+{n}@simulator.amazonses.com,Ada\n" for n in range(300))
    (tmp_path / "list.csv").write_text(f"email,first_name\n{rows}", "utf-8")
    with systemd.start(confinement(tmp_path)) as process:
        systemd.told_until("READY=1")
        assert systemd.log().startswith("confined: Address family not supported by protocol\n")
        submitted = systemd.bulksend("submit", "launch.toml", "--yes")
        assert submitted.returncode == 0, submitted.stderr

        def accepted() -> bool:
            assert process.poll() is None, systemd.log()
            return bool(json.loads(systemd.bulksend("status", "launch", "--output", "json").stdout)["accepted"] == 300)

        until(accepted, "it is sent")
        found = re.search(r"http://([^ ,]+:\d+)", systemd.log())
        assert found is not None
        for path, token, status in (("/readyz", TOKEN, 200), ("/metrics", TOKEN, 200), ("/metrics", "none", 401)):
            connection = HTTPConnection(found[1], timeout=WITHIN_S)
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == status
            connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0, systemd.log()
    assert sum(path.stat().st_mode & 0o077 for path in systemd.state.rglob("*")) == 0


def test_the_filters_bite(systemd: Systemd, tmp_path: Path) -> None:
    with systemd.start(confinement(tmp_path, without=["connect", "epoll_ctl", "epoll_create1"])) as process:
        assert process.wait(WITHIN_S) != 0
