"""Two simulators behind one URL, each a Region of its own: requests go by the Region that they are signed for."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import boto3

from bulksend.simulator import SimulatorProcess

__all__ = ["HOME", "THERE", "TwoRegions", "two_regions"]

HOME, THERE = "eu-west-1", "us-east-1"
_REGION = re.compile(r"Credential=[^/]+/\d{8}/([a-z0-9-]+)/ses/").search


@dataclass
class TwoRegions:
    """`sent` has the headers of every SendBulkEmail, `answered` the status of its answer.

    Of the first `tampered` the body is changed on the way.
    """

    home: SimulatorProcess
    there: SimulatorProcess
    url: str = ""
    sent: list[dict[str, str]] = field(default_factory=list)
    name: str = field(default_factory=lambda: f"n{secrets.token_hex(4)}")
    """For templates and configuration sets, which outlive a test."""
    answered: list[int] = field(default_factory=list)
    tampered: int = 0
    cut_off: bool = False
    """The other Region answers nothing."""

    def client(self, region: str = HOME) -> Any:
        return boto3.client("sesv2", endpoint_url=self.url, region_name=region)

    def endpoint(self, name: str = "both") -> str:
        """The id of a new one between the two."""
        details = {"RoutesDetails": [{"Region": THERE}]}
        return str(self.client().create_multi_region_endpoint(EndpointName=name, Details=details)["EndpointId"])


@contextmanager
def two_regions(home: SimulatorProcess, there: SimulatorProcess) -> Iterator[TwoRegions]:
    regions = TwoRegions(home, there)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sends = self.path.endswith("outbound-bulk-emails")
            if sends:
                regions.sent.append(dict(self.headers.items()))
                if len(regions.sent) <= regions.tampered:
                    body = body.replace(b"@example.com", b"@example.org")
            signed = _REGION(self.headers.get("Authorization") or "")
            is_there = signed is not None and signed[1] == THERE
            if is_there and regions.cut_off:
                self.close_connection = True
                return
            target = urlsplit((there if is_there else home).url).netloc
            connection = HTTPConnection(target, timeout=30)
            try:
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            if sends:
                regions.answered.append(answer.status)
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = forward  # noqa: N815  names of the standard library

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    regions.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield regions
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
