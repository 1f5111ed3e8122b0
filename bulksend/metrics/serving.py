"""Where the series of a one-off run can be had: a port of loopback, or a file."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from prometheus_client import start_http_server
from prometheus_client.exposition import generate_latest

from bulksend.errors import ServerError
from bulksend.metrics.registry import Metrics

__all__ = ["MetricsFile", "MetricsServer"]

WRITE_EVERY_S = 10.0


class MetricsServer:
    """/metrics on a loopback port, while inside.

    Raises:
        ServerError: at entry, when the port cannot be had.
    """

    def __init__(self, metrics: Metrics, port: int) -> None:
        self._metrics = metrics
        self._port = port
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._server, self._thread = start_http_server(
                self._port, addr="127.0.0.1", registry=self._metrics.registry
            )
        except OSError as error:
            raise ServerError(
                f"port {self._port} for /metrics: {error.strerror}",
                hint="Choose another port with --metrics-port (metrics.port, or BULKSEND_METRICS_PORT); 0 takes any "
                "free one.",
            ) from error
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MetricsFile:
    """A file for node_exporter's textfile collector, which reads `*.prom`: written every ten seconds and at the end.

    It is replaced, never half written, and may be read by anybody, as the collector is somebody else: no series names
    a person. Series of the process itself are left out, since the collector has some of the same name. `on_trouble` is
    told once, in a thread of its own, when it cannot be written any more.

    Raises:
        ServerError: at entry, when the file cannot be written, or is a folder, a device or the like.
    """

    def __init__(self, metrics: Metrics, path: Path, on_trouble: Callable[[str], None] = lambda _: None) -> None:
        self._metrics = metrics
        self._path = path
        self._on_trouble = on_trouble
        self._in_trouble = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="metrics-file", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._path = self._path.resolve()  # where it is a link, that stays one
            if self._path.exists() and not self._path.is_file():
                raise self._refusal("it is no file")
            self._write()
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        self._thread.start()
        return self

    def _refusal(self, why: str) -> ServerError:
        return ServerError(
            f"{self._path} for the metrics: {why}",
            hint="Name a file in a folder that is there and may be written with --metrics-textfile (metrics.textfile, "
            "or BULKSEND_METRICS_TEXTFILE).",
        )

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._write_if_possible()

    def _write_on(self) -> None:
        while not self._over.wait(WRITE_EVERY_S):
            self._write_if_possible()

    def _write_if_possible(self) -> None:
        """What watches a run must not end it."""
        try:
            self._write()
        except OSError as error:
            if not self._in_trouble:
                self._in_trouble = True
                self._on_trouble(f"{self._path} for the metrics cannot be written any more: {error.strerror}")

    def _write(self) -> None:
        text = generate_latest(self._metrics.own)
        # Beside it, and under a name that the collector does not read.
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text)
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
