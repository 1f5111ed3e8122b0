"""The command line: verbs, options, exit codes; no policy.

Data goes to standard output, words for people to standard error. What is slow to import is imported where it is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import IO

from cyclopts import CycloptsError, UnknownCommandError

from bulksend.cli import (
    account,
    completion,
    deciding,
    doctor,
    endpoint,
    event_setup,
    events,
    looking,
    reporting,
    sending,
    serving,
    suppression,
    tracing,
)
from bulksend.cli.app import ORDER, app
from bulksend.cli.terminal import complain, for_people
from bulksend.errors import BulksendError, ExitCode, UsageError

__all__ = [
    "account",
    "completion",
    "deciding",
    "doctor",
    "endpoint",
    "event_setup",
    "events",
    "looking",
    "main",
    "reporting",
    "run",
    "sending",
    "serving",
    "suppression",
    "tracing",
]

for place, verb in enumerate(ORDER):
    app[verb].sort_key = place


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    if os.getpid() == 1:  # the first process of a container: the kernel gives it no signal that it does not handle
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every error becomes words and an exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else int(ExitCode.DONE)
    except (BulksendError, CycloptsError) as error:
        return complain(error if isinstance(error, BulksendError) else _usage_error(error))
    except KeyboardInterrupt:
        for_people().print("Interrupted.")
        return int(ExitCode.INTERRUPTED)
    except OSError as error:
        return _complain_of_system(error)
    except Exception as error:
        if os.environ.get("BULKSEND_LOG_LEVEL") == "debug" or "debug" in arguments:
            raise
        return complain(BulksendError(f"{type(error).__name__}: {error}"))


def _usage_error(error: CycloptsError) -> UsageError:
    if isinstance(error, UnknownCommandError):
        said = str(error).split(" Available commands:")[0]  # which names the first eight
        return UsageError(said.rstrip("."), hint=f"Verbs are {', '.join(ORDER)}: bulksend VERB --help.")
    return UsageError(str(error).rstrip("."))


def _complain_of_system(error: OSError) -> int:
    """A file, a device or a stream that cannot be used as it is."""
    if isinstance(error, BrokenPipeError):
        # Whoever read the output has left. What watches a run never ends it, so nothing was under way.
        _let_go_of(sys.stdout)
        _let_go_of(sys.stderr)
        return int(ExitCode.UNEXPECTED)
    if error.filename is not None:
        said = f"{error.filename}: {error.strerror}"
    elif error.errno in {errno.ENOSPC, errno.EIO, errno.EBADF}:
        said = f"the output cannot be written: {error.strerror}"
    else:
        said = f"{type(error).__name__}: {error}"
    _let_go_of(sys.stdout)
    return complain(
        BulksendError(
            said,
            hint="Check the permissions and the disk's free space. bulksend status says how the campaign stands.",
        )
    )


def _let_go_of(stream: IO[str]) -> None:
    """What still waits to be written there goes nowhere, in place of an error at the very end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
