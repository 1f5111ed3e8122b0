"""Make the secrets of compose.yml in a folder, those that are not there yet: `make_secrets.py FOLDER`.

Group-readable, as every service has a user of its own and the group in common; but for pgpass, which the database's
client library takes no notice of unless it is its owner's alone.
"""
# ruff: noqa: INP001  a program, no module of a package

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

GROUP, OWNER = 0o440, 0o400


def make(path: Path, text: str, mode: int) -> str:
    """What the file holds: `text`, unless it was there before. Whole or not at all, whatever happens meanwhile."""
    if not path.exists():
        part = path.with_name(f".{path.name}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
        part.replace(path)
    return path.read_text("ascii")


def main() -> None:
    """All of them."""
    folder = Path(sys.argv[1])
    make(folder / "token", secrets.token_urlsafe(32), GROUP)
    make(folder / "grafana-password", secrets.token_urlsafe(18), GROUP)
    password = make(folder / "database-password", secrets.token_urlsafe(32), GROUP)
    make(folder / "pgpass", f"*:*:bulksend:bulksend:{password}\n", OWNER)


if __name__ == "__main__":
    main()
