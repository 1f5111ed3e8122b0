"""`bulksend` as a process of its own, forked from a server that has imported it: starting Python anew costs a second.

What is tested of the start itself (a terminal, what is inherited, the limits of a process) wants a Python of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from io import BufferedWriter, TextIOWrapper
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Forked"]

_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.warm"])


class Forked:
    """`bulksend ARGUMENTS`, to be used as a `subprocess.Popen`: its output is in pipes, or all of it in `log`.

    Its standard input is empty. It has the environment and the current folder of the test, or those given. With a
    `program`, a text in Python, that is run in place of bulksend, as by `python -c PROGRAM ARGUMENTS`.
    """

    def __init__(
        self,
        *arguments: str,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        program: str | None = None,
    ) -> None:
        self.args = arguments
        variables = dict(os.environ if environment is None else environment)
        pipes = [] if log else [_SERVER.Pipe(duplex=False) for _ in range(2)]
        self._streams = [os.fdopen(os.dup(end.fileno()), encoding="utf-8") for end, _ in pipes]
        # A daemon is ended at the latest when the tests are.
        self._process = _SERVER.Process(
            target=_run,
            args=(program, arguments, folder or Path.cwd(), variables, log or [end for _, end in pipes]),
            daemon=True,
        )
        self._process.start()
        for end in (end for both in pipes for end in both):
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.kill()
        self.wait()
        self._close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def stdout(self) -> TextIOWrapper:
        return self._streams[0]

    @property
    def stderr(self) -> TextIOWrapper:
        return self._streams[1]

    @property
    def returncode(self) -> int | Any:
        """None as long as it lives; the negative of a signal's number if that has ended it."""
        return self._process.exitcode

    def poll(self) -> int | Any:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (code := self.returncode) is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written and nobody has read yet, as soon as it has ended."""
        read = ["", ""]

        def to_the_end(which: int, stream: TextIOWrapper) -> None:
            read[which] = stream.read()

        threads = [
            threading.Thread(target=to_the_end, args=(which, stream), daemon=True)
            for which, stream in enumerate(self._streams)
            if not stream.closed
        ]
        for one in threads:
            one.start()
        self.wait(timeout)
        for one in threads:
            one.join(timeout)
        self._close()
        return read[0], read[1]

    def _close(self) -> None:
        for stream in self._streams:
            stream.close()


def _run(
    program: str | None,
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    to: Path | Sequence[Connection],
) -> None:
    """In the forked process."""
    from bulksend.cli import main  # noqa: PLC0415  the server has imported it

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    ends: Sequence[Connection | BufferedWriter] = [to.open("ab"), to.open("ab")] if isinstance(to, Path) else to
    for number, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), number)
        end.close()
    if program is None:
        main(arguments)
    else:
        sys.argv = ["-c", *arguments]
        exec(program, {"__name__": "__main__"})  # noqa: S102  the test's own
