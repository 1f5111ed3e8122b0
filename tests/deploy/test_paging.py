"""From an alert to whoever is told: Debian's Prometheus and Alertmanager on the shipped files, and what they call."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml

from tests.deploy.prometheus import Prometheus
from tests.worker_process import until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
SHIPPED = FOLDER / "alertmanager.yml"
COMMANDS: list[str] = re.findall(r"(?m)^# (.+)$", (ROOT / "docs" / "DEPLOYMENT.md").read_text("utf-8"))
"""What DEPLOYMENT.md has root type."""
ADDRESS = "127.0.0.1:9093"
TOKEN = "0123456789abcdef0123456789abcdef"
WAITING = b'# TYPE bulksend_waiting gauge\nbulksend_waiting{why="store"} 1\n'
"""A worker that waits for its store."""


def command(start: str) -> str:
    """The one that DEPLOYMENT.md has with that beginning."""
    (found,) = (one for one in COMMANDS if one.startswith(start))
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Told:
    """Stands for the pager and the mailbox, and for a worker to Prometheus."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.tokens: set[str | None] = set()
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.calls += [(self.path.strip("/"), alert) for alert in body["alerts"]]
                self.send_response(200)
                self.end_headers()

            def do_GET(self) -> None:
                told.tokens.add(self.headers["Authorization"])
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(WAITING)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    @contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def of(self, receiver: str) -> list[tuple[str, str]]:
        """Alert and account of what a receiver was told."""
        labels = [alert["labels"] for called, alert in self.calls if called == receiver]
        return [(one["alertname"], one.get("account", "")) for one in labels]


class Alertmanager:
    """A server of the test's own on the shipped file, which tells `told`, and waits less; ended by its process id."""

    def __init__(self, folder: Path, told: Told) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        kept = yaml.safe_load(SHIPPED.read_text("utf-8"))
        assert [(one["name"], *(one.keys() - {"name"})) for one in kept["receivers"]] == [
            ("pager", "webhook_configs"),
            ("people", "email_configs"),
        ]
        del kept["global"]
        for one in kept["receivers"]:
            one.pop("email_configs", None)
            one["webhook_configs"] = [{"url": f"http://{told.address}/{one['name']}"}]
        kept["route"]["group_wait"] = "1s"
        for route in kept["route"]["routes"]:
            assert route["matchers"] in (['severity="critical"'], ['severity="info"'])
            route["group_wait"] = "1s"
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(kept), "utf-8")

    @contextmanager
    def running(self) -> Iterator[None]:
        # As DEPLOYMENT.md has it listen.
        found = re.search(r'ARGS="([^"]+)"', command("sed -i 's|^ARGS=.*|ARGS=\"--web.listen-address=127.0.0.1:9093"))
        assert found is not None
        options = found[1].replace(ADDRESS, self.address).split()
        files = [f"--config.file={self._folder / 'alertmanager.yml'}", f"--storage.path={self._folder / 'kept'}"]
        with (self._folder / "alertmanager.log").open("w") as log:
            process = subprocess.Popen(["prometheus-alertmanager", *options, *files], stdout=log, stderr=log)
        try:
            until(self._ready, "Alertmanager is ready")
            yield
        finally:
            process.terminate()
            process.wait(10)
        assert "cluster" not in (self._folder / "alertmanager.log").read_text("utf-8"), "it looks for nobody else"

    def _ready(self) -> bool:
        try:
            with urlopen(f"http://{self.address}/-/ready", timeout=5):
                return True
        except URLError:
            return False

    def add(self, *labels: str) -> None:
        """An alert, as amtool sends one."""
        subprocess.run(["amtool", f"--alertmanager.url=http://{self.address}", "alert", "add", *labels], check=True)


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    with made.listening():
        yield made


def test_amtool_takes_the_shipped_file_and_no_mistake_in_it(tmp_path: Path) -> None:
    for text, code in (
        (SHIPPED.read_text("utf-8"), 0),
        (SHIPPED.read_text("utf-8").replace("receiver: pager", "receiver: nobody"), 1),
    ):
        (tmp_path / "alertmanager.yml").write_text(text, "utf-8")
        *program, _ = shlex.split(command("amtool check-config"))
        done = subprocess.run([*program, str(tmp_path / "alertmanager.yml")], capture_output=True, check=False)
        assert done.returncode == code, done.stderr


def test_every_severity_of_the_rules_has_its_route_and_every_inhibition_its_alerts() -> None:
    rules = [
        rule
        for group in yaml.safe_load((FOLDER / "bulksend.rules.yml").read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    severities = {rule["labels"]["severity"] for rule in rules}
    assert severities == {"critical", "warning", "info"}
    for severity in severities:
        test = ["amtool", "config", "routes", "test", f"--config.file={SHIPPED}", f"severity={severity}"]
        said = subprocess.run(test, capture_output=True, text=True, check=True).stdout
        assert said.split() == ["pager" if severity == "critical" else "people"]
    named = {rule["alert"]: rule["labels"]["severity"] for rule in rules}
    for rule in yaml.safe_load(SHIPPED.read_text("utf-8"))["inhibit_rules"]:
        source, target = (
            re.fullmatch(r'alertname="(\w+)"', *rule[f"{side}_matchers"]) for side in ("source", "target")
        )
        assert source is not None
        assert target is not None
        assert (named[source[1]], named[target[1]]) == ("critical", "warning")


def test_an_alert_goes_from_prometheus_to_the_pager_or_to_the_mailbox(tmp_path: Path, told: Told) -> None:
    manager = Alertmanager(tmp_path, told)
    # The lines that lead to Alertmanager are comments until DEPLOYMENT.md's command takes the # away.
    file = tmp_path / "prometheus.yml"
    file.write_bytes((FOLDER / "prometheus.yml").read_bytes())
    subprocess.run(
        ["/bin/sh", "-c", command("sed -i '/^# alerting").replace("/etc/prometheus", str(tmp_path))], check=True
    )
    configuration = yaml.safe_load(file.read_text("utf-8").replace(ADDRESS, manager.address))
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    workers = configuration["scrape_configs"][0]
    workers["scrape_timeout"] = "1s"
    workers["static_configs"] = [{"targets": [told.address, f"127.0.0.1:{free_port()}"]}]
    workers["authorization"]["credentials_file"] = str(tmp_path / "token")
    (tmp_path / "token").write_text(TOKEN, "ascii")
    rules = re.sub(r"(?m)^( +for: ).*$", r"\g<1>0s", (FOLDER / "bulksend.rules.yml").read_text("utf-8"))
    (tmp_path / "bulksend.rules.yml").write_text(rules, "utf-8")
    with manager.running(), Prometheus(tmp_path, configuration):
        until(lambda: ("BulksendStoreUnavailable", "") in told.of("pager"), "the pager goes off")
        until(lambda: ("BulksendWorkerDown", "") in told.of("people"), "a mail is sent")
    assert told.tokens == {f"Bearer {TOKEN}"}
    alert = next(alert for called, alert in told.calls if called == "pager")
    assert alert["annotations"]["runbook_url"].endswith("#bulksendstoreunavailable")
    assert {name for name, _ in told.of("people")}.isdisjoint({name for name, _ in told.of("pager")})


def test_a_trial_reaches_the_pager_and_of_a_pair_the_critical_one_speaks_alone(tmp_path: Path, told: Told) -> None:
    manager = Alertmanager(tmp_path, told)
    with manager.running():
        trial = shlex.split(command(f"amtool --alertmanager.url=http://{ADDRESS} alert add"))
        subprocess.run([word.replace(ADDRESS, manager.address) for word in trial], check=True)
        pair = ("BulksendBounceRateOver", "BulksendBounceRateNear")
        manager.add(pair[0], "severity=critical", "account=one", "region=eu-west-1")
        for account in ("one", "two"):
            manager.add(pair[1], "severity=warning", f"account={account}", "region=eu-west-1")
        until(lambda: len(told.of("pager")) == 2, "the pager goes off")
        until(lambda: (pair[1], "two") in told.of("people"), "the other account's is told")
    assert sorted(told.of("pager")) == [(pair[0], "one"), ("BulksendTrial", "")]
    assert told.of("people") == [(pair[1], "two")]
