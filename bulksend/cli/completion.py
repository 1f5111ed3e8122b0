"""Completion of verbs, options and file names by the shell."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from typing import Literal, get_args

from bulksend.cli.app import app
from bulksend.errors import ExitCode, UsageError

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish"]


@app.command
def completion(shell: Shell | None = None) -> int:
    """Print a script that lets the shell complete verbs, options and file names.

    bash: eval "$(bulksend completion bash)" in ~/.bashrc. zsh: bulksend completion zsh >"${fpath[1]}/_bulksend".
    fish: bulksend completion fish >~/.config/fish/completions/bulksend.fish.

    Args:
        shell: bash, zsh or fish; by SHELL in the environment if not given.
    """
    chosen = shell or _own_shell()
    sys.stdout.write(app.generate_completion(shell=chosen))
    return int(ExitCode.DONE)


def _own_shell() -> Shell:
    name = PurePath(os.environ.get("SHELL", "")).name
    for known in get_args(Shell):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise UsageError(
        f"which shell it is for cannot be told from SHELL ({name or 'not set'})",
        hint="Name it: bulksend completion bash, zsh or fish.",
    )
