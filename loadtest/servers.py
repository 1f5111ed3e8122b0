"""Who answers: an nginx with a ready answer, and a server that lets every answer wait. On loopback.

Their certificates are signed by an authority of the moment, whose own certificate is what AWS_CA_BUNDLE has to name.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

import trustme

from loadtest.children import ROOT, MissingError, ScenarioError, bound, environment, stop
from loadtest.report import program

RESULTS = 50
"""Every answer has so many, so every request has to have so many entries."""
ANSWER = json.dumps(
    {
        "BulkEmailEntryResults": [
            {"Error": None, "MessageId": f"0102019a5e1f3c{n:02x}-3f6b1d2e-8c4a-4d57-9b0e-6a1c2f3d4e5f-000000"}
            | {"Status": "SUCCESS"}
            for n in range(RESULTS)
        ]
    },
    separators=(",", ":"),
)
ACCOUNT = json.dumps(
    {
        "SendQuota": {"Max24HourSend": -1, "MaxSendRate": 1_000_000, "SentLast24Hours": 0},
        "SendingEnabled": True,
        "ProductionAccessEnabled": True,
        "EnforcementStatus": "HEALTHY",
    },
    separators=(",", ":"),
)
"""API reference, SendBulkEmail and GetAccount, Response Syntax. The rate is more than anything here can send."""

TOKEN_BYTES = 2000
"""nginx takes no more than 4096 bytes for a word of its configuration."""
STARTS = 3
START_WITHIN_S = 15.0

CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 128k;
    client_max_body_size 16m;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    default_type application/json;
    log_format one '$uri';
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        add_header x-amzn-requestid $request_id always;
        location = /v2/email/outbound-bulk-emails {{
{variables}
            return 200 "{answer}";
        }}
        location = /v2/email/account {{
            access_log {folder}/other.log one;
            return 200 '{account}';
        }}
        location = /requests {{
            access_log {folder}/other.log one;
            stub_status;
        }}
        location / {{
            access_log {folder}/other.log one;
            return 404 '{{"message":"There is nothing here."}}';
        }}
    }}
}}
"""


def write_certificates(folder: Path) -> Path:
    """server.pem and server.key for 127.0.0.1; returns the file of the authority's certificate."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "localhost")
    chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
    (folder / "server.pem").write_bytes(chain)
    (folder / "server.key").touch(mode=0o600)
    (folder / "server.key").write_bytes(server.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    return folder / "ca.pem"


@dataclass(frozen=True, slots=True)
class Served:
    """What nginx counted: requests for bulk mails, all others, and connections."""

    bulk: int
    others: int
    connections: int

    def __sub__(self, before: Served) -> Served:
        return Served(self.bulk - before.bulk, self.others - before.others, self.connections - before.connections)


class Nginx:
    """One worker that answers every request with the same 50 successes. A context manager; `folder` is its own.

    Raises:
        MissingError: there is no nginx.
        ScenarioError: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        self.http_url = self.https_url = ""
        self.ca_file = folder / "ca.pem"

    def __enter__(self) -> Self:
        path = program("nginx")
        if path is None:
            raise MissingError("there is no nginx: make bench-deps installs it")
        self._folder.mkdir(mode=0o700, parents=True)
        self.ca_file = write_certificates(self._folder)
        for _ in range(STARTS):  # a port that was free may be taken by now
            if self._start(path):
                return self
        raise ScenarioError(f"nginx does not start: {self._last_error()}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            stop(self._process)

    def served(self) -> Served:
        """Its own count. Requests for bulk mails are all that it handled but those it logged."""
        netloc = self.http_url.removeprefix("http://")
        connection = HTTPConnection(netloc, timeout=10)
        try:
            connection.request("GET", "/requests")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        # "server accepts handled requests", and the three numbers
        accepts, _, requests = (int(word) for word in text.splitlines()[2].split())
        self._asked += 1
        deadline_s = time.monotonic() + 5.0
        while (others := self._logged()).count(b"/requests\n") < self._asked and time.monotonic() < deadline_s:
            time.sleep(0.01)  # it logs a request after it has answered it
        logged = others.count(b"\n")
        return Served(requests - logged, logged, accepts)

    def _logged(self) -> bytes:
        log = self._folder / "other.log"
        return log.read_bytes() if log.exists() else b""

    def _start(self, path: str) -> bool:
        http, https = _free_ports(2)
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_configuration(self._folder, http, https), "utf-8")
        self._process = subprocess.Popen(
            bound([path, "-p", str(self._folder), "-e", str(self._folder / "error.log"), "-c", str(configuration)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.http_url, self.https_url = f"http://127.0.0.1:{http}", f"https://127.0.0.1:{https}"
        (self._folder / "other.log").unlink(missing_ok=True)
        self._asked = 0
        deadline_s = time.monotonic() + START_WITHIN_S
        while self._process.poll() is None and time.monotonic() < deadline_s:
            try:
                self.served()
            except (OSError, HTTPException):
                time.sleep(0.02)
            else:
                return True
        stop(self._process)
        return False

    def _last_error(self) -> str:
        log = self._folder / "error.log"
        lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
        return lines[-1] if lines else "it says nothing"


class SlowServer:
    """A process that answers every request with the same 50 successes, `delay_ms` later, over https. A context manager.

    Raises:
        ScenarioError: it does not start.
    """

    def __init__(self, folder: Path, delay_ms: float) -> None:
        self._folder = folder
        self._delay_ms = delay_ms
        self._process: subprocess.Popen[str] | None = None
        self.https_url = ""
        self.ca_file = folder / "ca.pem"

    def __enter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True)
        self.ca_file = write_certificates(self._folder)
        self._process = subprocess.Popen(
            bound([sys.executable, "-m", "loadtest.slow_server", str(self._folder), str(self._delay_ms)]),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:
            stop(self._process)
            raise ScenarioError("the slow server does not start")
        self.https_url = f"https://127.0.0.1:{int(said)}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        stop(self._process)
        self._process.stdout.close()


def _configuration(folder: Path, http: int, https: int) -> str:
    pieces = [ANSWER[start : start + TOKEN_BYTES] for start in range(0, len(ANSWER), TOKEN_BYTES)]
    return CONFIGURATION.format(
        folder=folder,
        http=http,
        https=https,
        variables="\n".join(f"            set $part{n} '{piece}';" for n, piece in enumerate(pieces)),
        answer="".join(f"${{part{n}}}" for n in range(len(pieces))),
        account=ACCOUNT,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
