"""As the first process of a container, to which the kernel gives no signal that it does not handle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worker_process import until

CAUGHT = 1 << (signal.SIGTERM - 1)


def test_a_worker_that_is_told_to_stop_before_it_has_begun_stops(tmp_path: Path) -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", "--", sys.executable, "-m", "bulksend", "worker"]
    environment = {**os.environ, "BULKSEND_STORE": f"sqlite:{tmp_path}", "BULKSEND_HTTP_LISTEN": "127.0.0.1:0"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as namespace:
        first: list[int] = []

        def catches() -> bool:
            if not first:
                children = Path(f"/proc/{namespace.pid}/task/{namespace.pid}/children").read_text("ascii").split()
                first.extend(map(int, children))
            assert namespace.poll() is None
            return bool(first) and bool(caught_by(first[0]) & CAUGHT)

        until(catches, "it handles the signal")
        os.kill(first[0], signal.SIGTERM)
        try:
            assert namespace.wait(20) == 128 + signal.SIGTERM
        finally:
            namespace.kill()
        assert namespace.stderr is not None
        assert "Traceback" not in namespace.stderr.read()


def caught_by(pid: int) -> int:
    """The signals that a process handles, a bit each (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("SigCgt:"):
            return int(line.split()[1], 16)
    pytest.fail("the kernel does not say what it handles")
