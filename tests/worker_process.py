"""`bulksend worker` as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tests.forked import Forked

WITHIN_S = 30.0

Process = Forked | subprocess.Popen[bytes]


def until(condition: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
    """Wait for something to come true."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.02)


class WorkerProcess:
    """A worker in a folder, with what else stands on its command line; killed at the end if it still lives.

    A `fresh` one has a Python of its own, as people start it; the others are forked, and `program` is as Forked has it.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        fresh: bool = False,
        program: str | None = None,
    ) -> None:
        self._log = folder / f"worker-{time.monotonic_ns()}.log"
        self._log.touch()
        variables = {"BULKSEND_HTTP_LISTEN": "127.0.0.1:0", **os.environ, **(environment or {})}
        started = ("worker", *arguments)
        self.process: Process = (
            _fresh(folder, started, variables, self._log)
            if fresh
            else Forked(*started, folder=folder, environment=variables, log=self._log, program=program)
        )

    def __enter__(self) -> Self:
        try:
            until(lambda: "ready:" in self.said() or self.process.poll() is not None, "the worker is ready")
            assert self.process.poll() is None, self.said()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text("utf-8")

    @property
    def url(self) -> str:
        """Of its HTTP face."""
        found = re.search(r"http://[^ ,]+:\d+", self.said())
        assert found is not None, self.said()
        return found[0]

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """A request to its HTTP face: the status, and what it says as JSON, or as text if it is none."""
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=WITHIN_S)
        try:
            sent = None if body is None and method == "GET" else json.dumps({} if body is None else body)
            connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Tell it to stop; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(WITHIN_S)


def _fresh(folder: Path, arguments: Sequence[str], environment: dict[str, str], log: Path) -> Process:
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "bulksend", *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def told(worker: WorkerProcess, name: str, **labels: str) -> float:
    """What it says of a series: the sum of the samples with these labels among theirs."""
    status, text = worker.ask("GET", "/metrics")
    assert status == 200
    samples = "\n".join(line for line in text.splitlines() if line.startswith(name))  # all of it takes long to read
    return sum(
        sample.value
        for family in text_string_to_metric_families(samples)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
