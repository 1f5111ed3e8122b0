"""Where a process listens, by whose leave, and the face of one that is no worker."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bulksend.admin import WatchedFace
from bulksend.config import Settings
from bulksend.errors import ConfigError
from bulksend.metrics import Metrics

__all__ = ["address_of", "token_of", "watched"]

MAX_TOKEN_BYTES = 4096


def address_of(listen: str) -> tuple[str, int]:
    """Host and port of ADDRESS:PORT, as the settings have checked it."""
    host, _, port = listen.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def token_of(settings: Settings) -> str | None:
    """The token in http.token_file, which only its owner can read; None where none is named. Raises ConfigError."""
    if settings.http.token_file is None:
        return None
    path = Path(settings.http.token_file)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"http.token_file {path} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigError(
            f"http.token_file {path} can be read or written by others", hint=f"Close it: chmod 600 {path}."
        )
    if len(text) > MAX_TOKEN_BYTES:
        raise ConfigError(f"http.token_file {path} is larger than {MAX_TOKEN_BYTES} bytes")
    return text.decode("latin-1").strip()


@asynccontextmanager
async def watched(settings: Settings, metrics: Metrics, announce: Callable[[str], None]) -> AsyncIterator[None]:
    """Serve /metrics and /healthz at http.listen, while inside.

    Raises:
        ConfigError: no token for an address other than loopback, or one that is none.
        ServerError: the address cannot be listened on.
    """
    if settings.http.listen == "off":
        yield
        return
    host, port = address_of(settings.http.listen)
    async with WatchedFace(metrics.exposition, host, port, token=token_of(settings)) as face:
        announce(face.announcement)
        yield
