"""Links to unsubscribe: Debian's nginx with the shipped server, in front of a real worker's public listener."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path

import pytest
import trustme

from bulksend.simulator import SimulatorProcess
from tests.deploy.service import CAMPAIGN, FOLDER, WORKER, Systemd
from tests.worker_process import WITHIN_S, until

SHIPPED = (FOLDER / "nginx-unsubscribe.conf").read_text("utf-8")
HOST = "mail.example.com"
LINK = f"https://{HOST}/u/{{token}}"
AROUND = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/main.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log {folder}/access.log;
    include {folder}/bulksend-unsubscribe.conf;
}}
"""
"""What Debian's nginx.conf has around it, for one process of the test's own."""
ROWS = 5


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """nginx with the shipped file, but for ports, and the places of certificate and log."""

    def __init__(self, folder: Path, listener: int) -> None:
        self.folder = folder
        self.port = free_port()
        authority = trustme.CA()
        certificate = authority.issue_cert(HOST)
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
        self._trust = ssl.create_default_context()
        authority.configure_trust(self._trust)
        text = re.sub(r"/etc/letsencrypt/live/mail\.example\.com/\w+\.pem", str(folder / "both.pem"), SHIPPED)
        text = text.replace("/var/log/nginx", str(folder)).replace("    listen [::]:443 ssl;\n", "")
        text = text.replace("listen 443 ", f"listen 127.0.0.1:{self.port} ")
        (folder / "bulksend-unsubscribe.conf").write_text(
            text.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{listener}"), "utf-8"
        )
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder), "utf-8")
        self.command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "main.log")]

    def checked(self) -> tuple[int, str]:
        """What `nginx -t` says."""
        done = subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ended by its process id."""
        process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL)
        try:
            until(self._listens, "nginx listens")
            yield
        finally:
            process.terminate()
            process.wait(WITHIN_S)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        """As a mail program would, which trusts the certificate of that host and no other."""
        connection = HTTPSConnection(HOST, self.port, timeout=WITHIN_S, context=self._trust)
        connection._create_connection = lambda *_, **__: socket.create_connection(  # type: ignore[attr-defined]
            ("127.0.0.1", self.port), WITHIN_S
        )
        try:
            form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
            connection.request(method, path, body, form)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def logged(self) -> str:
        """Everything that it wrote."""
        return "".join(path.read_text("utf-8") for path in self.folder.glob("*.log"))


@pytest.fixture
def systemd(tmp_path: Path, simulator: SimulatorProcess) -> Iterator[Systemd]:
    playing = Systemd(tmp_path, simulator)
    playing.take_up("public_listen", f'"127.0.0.1:{free_port()}"')
    playing.take_up("apart")  # this simulator has no queue
    yield playing
    playing.close()


def links(simulator: SimulatorProcess) -> dict[str, str]:
    """The link of each mail that SES has got, by its address."""
    found = {}
    for request in simulator.requests():
        if request["operation"] == "SendBulkEmail":
            body = request["body"] if isinstance(request["body"], dict) else json.loads(request["body"])
            for entry in body["BulkEmailEntries"]:
                headers = {one["Name"]: one["Value"] for one in entry["ReplacementHeaders"]}
                assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
                (address,) = entry["Destination"]["ToAddresses"]
                found[address] = headers["List-Unsubscribe"].strip("<>")
    return found


def unsubscribed(systemd: Systemd) -> int:
    """Of the campaign's rows."""
    return int(json.loads(systemd.ask("/campaigns/launch")[1])["events"]["unsubscribed"])


def test_nginx_takes_the_shipped_file_and_no_mistake_in_it(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, 8080)
    code, said = proxy.checked()
    assert (code, "warn" in said) == (0, False), said
    file = tmp_path / "bulksend-unsubscribe.conf"
    file.write_text(file.read_text("utf-8").replace("proxy_pass ", "proxy_pas "), "utf-8")
    assert "unknown directive" in proxy.checked()[1]


def test_a_link_is_followed_through_the_proxy_to_the_worker(
    systemd: Systemd, simulator: SimulatorProcess, tmp_path: Path
) -> None:
    assert f"{HOST}/u/{{token}}" in SHIPPED
    (tmp_path / "launch.toml").write_text(f'{CAMPAIGN}[unsubscribe]\nurl = "{LINK}"\n', "utf-8")
    people = [f"success+{n}@simulator.amazonses.com" for n in range(ROWS)]
    (tmp_path / "list.csv").write_text("email,first_name\n" + "".join(f"{one},Ada\n" for one in people), "utf-8")
    with systemd.start(WORKER.confinement(tmp_path)):
        systemd.told_until("READY=1")
        submitted = systemd.bulksend("submit", "launch.toml", "--yes")
        assert submitted.returncode == 0, submitted.stderr
        until(lambda: len(links(simulator)) == ROWS, "it is sent")
        link = links(simulator)[people[2]]
        path = link.removeprefix(f"https://{HOST}")
        found = re.search(r"public HTTP face listens on http://127\.0\.0\.1:(\d+)", systemd.log())
        assert found is not None, systemd.log()
        (tmp_path / "nginx").mkdir()
        proxy = Proxy(tmp_path / "nginx", int(found[1]))
        with proxy.running():
            status, page = proxy.ask("GET", path)
            assert (status, '<button type="submit">' in page) == (200, True)
            assert unsubscribed(systemd) == 0
            status, page = proxy.ask("POST", path, b"List-Unsubscribe=One-Click")
            assert (status, "You are unsubscribed" in page) == (200, True)
            assert unsubscribed(systemd) == 1
            # What is no link is a page of bulksend's below /u/, and elsewhere nothing that is bulksend's.
            status, page = proxy.ask("GET", "/u/none")
            assert (status, "There is nothing here" in page) == (404, True)
            for other in ("/", "/metrics", "/healthz", "/campaigns", "/u/../metrics", "/u"):
                status, page = proxy.ask("GET", other)
                assert status in {301, 404}, other
                assert "There is nothing here" not in page, "nginx says so itself"
            assert proxy.ask("POST", path, b"x" * 9000)[0] == 413
        token = path.rpartition("/")[2]
        assert token not in proxy.logged() + systemd.log()
