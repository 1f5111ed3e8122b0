"""Ministack, an SES server that others wrote: in a virtual environment of its own, since it wants another botocore.

`python -m tests.independent` makes the environment; tests make it on first use.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Ministack", "ministack_command"]

_ROOT = Path(__file__).resolve().parents[1]
_REQUIREMENTS = _ROOT / "requirements" / "ministack.txt"
_FOLDER = _ROOT / ".venv-ministack"
_MADE = _FOLDER / ".made-from-requirements"
_START_S = 45.0
_STOP_S = 10.0
_POLL_S = 0.05
_STARTS = 3


def ministack_command() -> list[str]:
    """The command that starts ministack, its environment made if it is not there or not of today's requirements.

    Several processes may ask at once: the first makes it, the others wait.
    """
    content = _REQUIREMENTS.read_bytes()
    wanted = hashlib.sha256(content).hexdigest()
    with _REQUIREMENTS.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not _MADE.is_file() or _MADE.read_text(encoding="ascii") != wanted:
            shutil.rmtree(_FOLDER, ignore_errors=True)
            _install()
            _MADE.write_text(wanted, encoding="ascii")
    return [str(_FOLDER / "bin" / "ministack")]


def _install() -> None:
    python = str(_FOLDER / "bin" / "python")
    required = ["--quiet", "--require-hashes", "--requirement", str(_REQUIREMENTS)]
    private_uv = _ROOT / ".venv-uv" / "bin" / "uv"
    uv = shutil.which("uv") or (str(private_uv) if private_uv.is_file() else None)
    if uv is not None:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(_FOLDER)], check=True)
        subprocess.run([uv, "pip", "install", "--compile-bytecode", "--python", python, *required], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(_FOLDER)], check=True)
        subprocess.run([python, "-m", "pip", "install", *required], check=True)


class Ministack:
    """A ministack on a free loopback port, in a process and a folder of its own, for as long as the context is open.

    With `auth` it verifies signatures and asks IAM's policies.
    """

    def __init__(self, *, auth: bool = False) -> None:
        self.port = 0
        self._auth = auth
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="ministack-")

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        command = ministack_command()
        for attempt in range(_STARTS):
            self.port = _free_port()  # somebody else may take it before ministack does
            self._start(command)
            if self._answers():
                return self
            self._stop()
            if attempt == _STARTS - 1:
                said = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
                self._folder.cleanup()
                raise RuntimeError(f"ministack does not start; it said: {said}")
        raise AssertionError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._folder.cleanup()

    def messages(self) -> list[dict[str, Any]]:
        """What was sent since the last reset, of all accounts: MessageId, Source, To, Subject, BodyText, BodyHtml"""
        by_account = json.loads(self._call("GET", "/_ministack/ses/messages"))["messages"]
        return [message for messages in by_account.values() for message in messages]

    def reset(self) -> None:
        """Forget every identity, template and message."""
        self._call("POST", "/_ministack/reset")

    @property
    def _log(self) -> Path:
        return Path(self._folder.name, "log")

    def _start(self, command: list[str]) -> None:
        # Nothing of this process's environment goes along: no credentials, no proxy, no container engine.
        environ = {
            "PATH": os.defpath,
            "HOME": self._folder.name,
            "TMPDIR": self._folder.name,
            "STATE_DIR": str(Path(self._folder.name, "state")),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "DOCKER_HOST": f"unix://{self._folder.name}/no-docker.sock",
            "LOG_LEVEL": "WARNING",
            "AUTH": str(self._auth).lower(),
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environ, cwd=self._folder.name, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _answers(self) -> bool:
        """Wait until it answers; False when it ended or took too long."""
        assert self._process is not None
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                self._call("GET", "/_ministack/health")
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(_POLL_S)
            else:
                # A stranger may have answered on that port; then ours has ended.
                return self._process.poll() is None
        return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _call(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.endpoint_url}{path}", method=method)  # noqa: S310  loopback
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=_STOP_S) as answer:
            content: bytes = answer.read()
        return content


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    ministack_command()
    os.utime(_MADE)  # for make, which goes by the time
