"""Ask the worker on this machine `probe.py healthz` or `probe.py readyz`: exit code 0 for 200, else 1 with the reason.

For health checks in a container: there is no curl, and where the worker has a token every route needs it. Standard
library only, so that a check costs little. It finds address and token where the worker does, but for flags:
BULKSEND_HTTP_LISTEN and BULKSEND_HTTP_TOKEN_FILE, else [http] of the file that BULKSEND_CONFIG names, else of
config.toml in the current folder, else the default.
"""
# ruff: noqa: INP001  a program, no module of a package

from __future__ import annotations

import http.client
import os
import sys
import tomllib
from pathlib import Path

ROUTES = ("healthz", "readyz")
DEFAULT_LISTEN = "127.0.0.1:9464"
TIMEOUT_S = 4.0
"""Less than what the checks that call this allow (5 s)."""
MAX_ANSWER_BYTES = 4096
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  these are asked by the loopback address
OK = 200


def http_settings() -> tuple[str, Path | None]:
    """http.listen and http.token_file. Raises OSError or ValueError for a file that cannot be read."""
    file = Path(os.environ.get("BULKSEND_CONFIG") or "config.toml")
    table = tomllib.loads(file.read_text("utf-8-sig")).get("http", {}) if file.is_file() else {}
    listen = os.environ.get("BULKSEND_HTTP_LISTEN") or table.get("listen", DEFAULT_LISTEN)
    if from_environment := os.environ.get("BULKSEND_HTTP_TOKEN_FILE"):
        return listen, Path(from_environment)
    from_file = table.get("token_file")
    return listen, None if from_file is None else file.parent / from_file


def ask(route: str) -> tuple[int, str]:
    """Status and text of an answer. Raises OSError or http.client.HTTPException where there is none."""
    listen, token_file = http_settings()
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    connection = http.client.HTTPConnection(EVERY_ADDRESS.get(host, host), int(port), timeout=TIMEOUT_S)
    token = {} if token_file is None else {"Authorization": f"Bearer {token_file.read_text('ascii').strip()}"}
    try:
        connection.request("GET", f"/{route}", headers=token)
        response = connection.getresponse()
        return response.status, response.read(MAX_ANSWER_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()


def main() -> int:
    """Exit code of a health check."""
    if len(sys.argv) != 2 or sys.argv[1] not in ROUTES:  # noqa: PLR2004
        print(f"usage: probe.py {'|'.join(ROUTES)}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        status, text = ask(sys.argv[1])
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Not the error's own text: it could quote a line of the token's file.
        print(f"no answer: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        return 1
    print(text)  # noqa: T201
    return 0 if status == OK else 1


if __name__ == "__main__":
    sys.exit(main())
