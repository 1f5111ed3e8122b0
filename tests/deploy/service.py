"""A systemd unit, and a test that plays systemd: it runs a service as its unit says, with files of here."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from bulksend.simulator import SimulatorProcess
from tests.worker_process import WITHIN_S

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
CONFIG = FOLDER / "config.toml"
PROGRAM = "/opt/bulksend/bin/bulksend"
SQS = "https://sqs.eu-west-1.amazonaws.com"
"""In whose place the simulator holds a queue of the same account and name."""
TOKEN = "0123456789abcdef0123456789abcdef"
WATCHDOG_S = 4.0
CAMPAIGN = """\
name = "launch"
[sender]
from = "news@example.com"
configuration_set = "bulksend"
[content]
inline = { subject = "Hello", text = "Dear {{first_name}}" }
[recipients]
path = "list.csv"
"""


class Unit:
    """A unit's file."""

    def __init__(self, name: str) -> None:
        self.path = FOLDER / name
        self.text = self.path.read_text("utf-8")

    def setting(self, name: str) -> list[str]:
        """All values that it gives a key."""
        return re.findall(rf"(?m)^{name}=(.*)$", self.text)

    def seconds(self, name: str) -> float:
        """Of a key that is there once."""
        (value,) = self.setting(name)
        return float(value)

    def families(self) -> list[int]:
        """Of sockets that it allows."""
        (value,) = self.setting("RestrictAddressFamilies")
        return [int(getattr(socket, name)) for name in value.split()]

    def allowed_calls(self) -> list[str]:
        """What its SystemCallFilter= lines leave, in their order; @default is always in (systemd.exec(5))."""
        left = _calls("@default")
        for line in self.setting("SystemCallFilter"):
            named = set().union(*map(_calls, line.removeprefix("~").split()))
            left = left - named if line.startswith("~") else left | named
        return sorted(left)

    def confinement(self, folder: Path, without: Sequence[str] = ()) -> Path:
        """Its filters, for confined.py."""
        filters = folder / f"{self.path.stem}-filters.json"
        left = [call for call in self.allowed_calls() if call not in without]
        filters.write_text(json.dumps({"calls": left, "families": self.families()}), "ascii")
        return filters


def _calls(name: str) -> set[str]:
    """The system calls of a group as this machine's systemd has it."""
    if not name.startswith("@"):
        return {name}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    found = [line.strip() for line in said.splitlines()[1:] if line.strip() and "#" not in line]
    return set().union(*map(_calls, found))


WORKER, EVENTS = Unit("bulksend-worker.service"), Unit("bulksend-events.service")


class Systemd:
    """What systemd is to a service: places, environment, and a socket that it is told at.

    Services of one `root` are those of one machine: they share settings, state and keys.
    """

    def __init__(self, root: Path, simulator: SimulatorProcess, unit: Unit = WORKER) -> None:
        self.root = root
        self.unit = unit
        self.state = root / "var/lib/bulksend"
        self.config = root / "etc/bulksend/config.toml"
        self._credentials = root / "credentials"
        for folder in (self.state, self.config.parent, self._credentials):
            folder.mkdir(parents=True, exist_ok=True)
        if not self.config.exists():
            text = CONFIG.read_text("utf-8").replace("/var/lib/bulksend", str(self.state))
            self.config.write_text(text.replace("127.0.0.1:9464", "127.0.0.1:0").replace(SQS, simulator.url), "utf-8")
            (self._credentials / "token").write_text(TOKEN, "ascii")
            (self._credentials / "token").chmod(0o440)  # as systemd leaves them, but for an access list
        # By name, so that it is looked up.
        self._endpoint_url = simulator.url.replace("127.0.0.1", "localhost")
        self._queues_url = simulator.url
        self._address = f"bulksend-{os.getpid()}-{time.monotonic_ns()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{self._address}")

    def close(self) -> None:
        """Of the socket."""
        self._socket.close()

    def take_up(self, key: str, value: str | None = None) -> None:
        """Take the # from a key of the settings, and give it another value."""
        text = self.config.read_text("utf-8")
        changed, times = re.subn(rf"(?m)^#({key} = )(.*)$", lambda found: found[1] + (value or found[2]), text)
        assert times == 1, key
        self.config.write_text(changed, "utf-8")

    def environment(self) -> dict[str, str]:
        """The unit's, and what systemd adds."""
        own = dict(line.partition("=")[::2] for line in self.unit.setting("Environment"))
        own = {name: value.replace("%d", str(self._credentials)) for name, value in own.items()}
        own["XDG_CACHE_HOME"] = own["XDG_CACHE_HOME"].replace("/var/cache", f"{self.root}/var/cache")
        own |= {"NOTIFY_SOCKET": f"@{self._address}", "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        own |= {"BULKSEND_AWS_ENDPOINT_URL": self._endpoint_url, "BULKSEND_EVENTS_ENDPOINT_URL": self._queues_url}
        own |= {"PATH": os.defpath, "HOME": str(self.state)}
        return own | {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    def command(self, filters: Path | None) -> list[str]:
        """ExecStart, with a program, files and ports of here; under the unit's filters, where they are given."""
        (line,) = self.unit.setting("ExecStart")
        program, *rest = shlex.split(line)
        assert program == PROGRAM
        rest = [word.replace("/etc/bulksend/config.toml", str(self.config)) for word in rest]
        rest = [re.sub(r"^127\.0\.0\.1:\d+$", "127.0.0.1:0", word) for word in rest]
        confined = [] if filters is None else [str(Path(__file__).parent / "confined.py"), str(filters), sys.executable]
        return [sys.executable, *confined, "-m", "bulksend", *rest]

    @contextmanager
    def start(self, filters: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """The service's process, which is killed at the end if it still lives."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self.command(filters), cwd=self.state, env=self.environment(), umask=0o077, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    @property
    def _log(self) -> Path:
        return self.root / f"{self.unit.path.stem}.log"

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text("utf-8")

    def ask(self, path: str, token: str = TOKEN) -> tuple[int, str]:
        """A request to where it says that it listens: status and text."""
        found = re.search(r"http://([^ ,/]+:\d+)[/:,]", self.log())
        assert found is not None, self.log()
        connection = HTTPConnection(found[1], timeout=WITHIN_S)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def told(self, within_s: float = WITHIN_S) -> str:
        """The next datagram."""
        self._socket.settimeout(within_s)
        try:
            return self._socket.recv(4096).decode()
        except TimeoutError:
            raise AssertionError(self.log()) from None

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
