"""The command line: verbs, options, exit codes; no policy.

Data goes to standard output, words for people to standard error. What is slow to import is imported where it is used.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from cyclopts import CycloptsError

from bulksend.cli import account, completion, deciding, looking, sending
from bulksend.cli.app import app
from bulksend.cli.terminal import complain, for_people
from bulksend.errors import BulksendError, ExitCode, UsageError

__all__ = ["account", "completion", "deciding", "looking", "main", "run", "sending"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line; every error becomes words and an exit code."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False)
        return int(code) if isinstance(code, int) else int(ExitCode.DONE)
    except CycloptsError as error:
        return complain(UsageError(str(error).rstrip(".")))
    except BulksendError as error:
        return complain(error)
    except KeyboardInterrupt:
        for_people().print("Interrupted.")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has left. What watches a run never ends it, so nothing was under way.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return int(ExitCode.UNEXPECTED)
    except Exception as error:
        if os.environ.get("BULKSEND_LOG_LEVEL") == "debug" or "debug" in arguments:
            raise
        return complain(BulksendError(f"{type(error).__name__}: {error}"))
