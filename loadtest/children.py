"""Processes that are started to be measured: bounded in time, ended with the one that started them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REGION = "eu-west-1"
PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
MIB = 1024 * 1024


class ScenarioError(Exception):
    """A part of a scenario failed; the text says which, and what it said."""


class MissingError(ScenarioError):
    """A part of a scenario is not installed; the text says what, and how it is had."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment: seconds since the pass began, memory in MiB."""

    at_s: float
    rss_mib: float
    anonymous_mib: float
    open_files: int


@dataclass(frozen=True, slots=True)
class Job:
    """One run to be measured in a process of its own. `kind` is one of those in `loadtest.senders`."""

    kind: str
    folder: str
    url: str = ""
    rows: int = 0
    transport: str = "auto"
    metrics: bool = True
    max_in_flight: int = 64
    seconds: int = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run took: CPU seconds (user + system) and wall seconds of the pass alone, without start and imports.

    `began_s` is when the pass began, by the monotonic clock, which all processes share; `samples` are of the pass.
    `peak_mib` is the process's VmHWM; `accepted` what the sender itself counted; `more` is the kind's own.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float
    accepted: int
    requests: int = 0
    began_s: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def cpu_s_per_million(self) -> float:
        return self.cpu_s / max(1, self.accepted) * 1e6


def environment(ca_file: Path | None = None) -> dict[str, str]:
    """No AWS configuration but example credentials, no proxy; nothing of the machine's own is ever used."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "BULKSEND_")) and name.lower() not in PROXIES
    }
    made = kept | {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
    }
    return made if ca_file is None else made | {"AWS_CA_BUNDLE": str(ca_file)}


def bound(command: Sequence[str]) -> list[str]:
    """The command, to be ended by the kernel when this process ends in whatever way (where the system can do that)."""
    setpriv = shutil.which("setpriv")
    return list(command) if setpriv is None else [setpriv, "--pdeathsig", "TERM", *command]


@contextmanager
def running(command: Sequence[str], **arguments: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A child, while inside; afterwards it has ended."""
    process = subprocess.Popen(bound(command), stdin=subprocess.DEVNULL, **arguments)
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[Any], within_s: float = 10.0) -> None:
    """End a child: gently, then for good."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure(job: Job, *, timeout_s: float, ca_file: Path | None = None, sample_every_s: float = 0.0) -> Measured:
    """Do one job in a process of its own; look at it from outside every so often, if that is wanted.

    Raises:
        MissingError: what the job needs is not installed.
        ScenarioError: it failed, or took too long.
    """
    command = [sys.executable, "-m", "loadtest.senders", json.dumps(asdict(job))]
    samples: list[Sample] = []
    began_s = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with running(command, cwd=job.folder, env=environment(ca_file), stdout=out, stderr=err) as process:
            while process.poll() is None:
                at_s = time.monotonic() - began_s
                if at_s > timeout_s:
                    raise ScenarioError(f"{job.kind} took more than {timeout_s:.0f} s")
                if sample_every_s and (taken := sample(process.pid, time.monotonic())):
                    samples.append(taken)
                try:
                    process.wait(sample_every_s or timeout_s - at_s + 0.1)
                except subprocess.TimeoutExpired:
                    continue
        out.seek(0)
        err.seek(0)
        said = out.read().decode()
        if process.returncode:
            last = err.read().decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            raise ScenarioError(f"{job.kind} failed: {last[0]}")
    found = json.loads(said.splitlines()[-1])
    if "missing" in found:
        raise MissingError(found["missing"])
    measured = Measured(**found)
    of_pass = (replace(one, at_s=round(one.at_s - measured.began_s, 2)) for one in samples)
    return replace(measured, samples=[one for one in of_pass if 0 <= one.at_s <= measured.wall_s])


def sample(pid: int, at_s: float) -> Sample | None:
    """A look at a process; None when it is not there any more, or hides itself."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
        open_files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return None
    rss, anonymous = memory_mib(status, "VmRSS"), memory_mib(status, "RssAnon")
    return Sample(at_s, rss, anonymous, open_files) if rss else None


def peak_mib() -> float:
    """This process's highest resident memory, from /proc: getrusage's is inherited from whoever started it."""
    return memory_mib(Path("/proc/self/status").read_text("utf-8"), "VmHWM")


def memory_mib(status: str, name: str) -> float:
    """A line of /proc/PID/status; 0 where there is none."""
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
