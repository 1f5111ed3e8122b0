"""Where the series of a one-off run can be had: a port of loopback, or a file."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from prometheus_client.exposition import generate_latest

from bulksend.errors import ServerError
from bulksend.metrics.registry import Metrics

__all__ = ["MetricsFile", "MetricsServer"]

WRITE_EVERY_S = 10.0
MAX_CONNECTIONS = 8
ASK_WITHIN_S = 5.0
BEGIN = b"# HELP "
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _is_this_machine(host: str) -> bool:
    """By the Host header, with or without a port."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname in LOOPBACK
    return False


class _Server(ThreadingHTTPServer):
    """A thread for each connection, but only for a few: idle ones must not take all that a process may open."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], metrics: Metrics) -> None:
        self.metrics = metrics
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever has gone is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    """One request on a connection."""

    timeout = ASK_WITHIN_S
    server: _Server

    def do_GET(self) -> None:
        # A page in somebody's browser may ask under a name of its own that leads here.
        if not _is_this_machine(self.headers.get("Host", "")):
            self.send_error(421, "The Host header does not name this machine")
        elif self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "There is nothing here: /metrics is all there is")
        else:
            content_type, text = self.server.metrics.exposition()
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  http.server's word
        """Nobody wants to know."""


class MetricsServer:
    """/metrics on a loopback port, while inside: for a few at a time, each of whom has some seconds to ask.

    Raises:
        ServerError: at entry, when the port cannot be had.
    """

    def __init__(self, metrics: Metrics, port: int) -> None:
        self._metrics = metrics
        self._port = port
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._server = _Server(("127.0.0.1", self._port), self._metrics)
        except OSError as error:
            raise ServerError(
                f"port {self._port} for /metrics: {error.strerror}",
                hint="Choose another port with --metrics-port (metrics.port, or BULKSEND_METRICS_PORT); 0 takes any "
                "free one.",
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
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
            if self._path.exists() and not _is_ours(self._path):
                raise self._refusal("something else is in it")
            self._write()
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        except RuntimeError as error:  # Path.resolve
            raise self._refusal("it is a link that leads to itself") from error
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


def _is_ours(path: Path) -> bool:
    """Whether a file has nothing in it but what a run may have left."""
    with path.open("rb") as file:
        begin = file.read(len(BEGIN))
    return begin in {b"", BEGIN}
