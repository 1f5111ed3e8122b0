"""Debian's Prometheus on loopback, on the shipped configuration; and a run of bulksend for it to watch."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from bulksend.simulator import SimulatorProcess
from tests import grafana
from tests.events_queues import Desk
from tests.harness import write_list
from tests.worker_process import WorkerProcess, until

SHIPPED = grafana.DEPLOY / "prometheus" / "prometheus.yml"
SCRAPE_S = 1
INTERVALS = {"__rate_interval": "5s", "__interval": "1s", "__range": "1m"}
"""What Grafana would fill in, at that scrape interval and for a minute's view."""

RULES: list[dict[str, Any]] = [
    {"fault": "template_not_found", "address_contains": "@halting.example.com"},
    {"fault": "message_rejected", "address_contains": "@refused.example.com"},
    {"fault": "internal_500", "share": 0.02},
    {"fault": "message_rejected", "share": 0.01},
    {"fault": "transient_failure", "share": 0.01},
    {"fault": "unavailable_503", "share": 0.01},
]
"""What SES does wrong in the run: some of everything that is counted."""
ONCE: list[dict[str, Any]] = [{"fault": "throttled_429", "times": 3}, {"fault": "status", "times": 1}]
"""What it does wrong once it is being watched."""

FATES: dict[str, Any] = {
    "bounce_share": 0.03,
    "complaint_share": 0.0012,
    "delay_share": 0.05,
    "event_garbage_share": 0.01,
}
"""What becomes of the mails of which events are told."""
SENDER = {"from": "Example News <news@example.com>"}
HEARD_OF = {**SENDER, "configuration_set": "marketing"}
HEARD = 900
"""How many: what a queue on the same machine takes and gives beside all else."""


class Prometheus:
    """A server of the test's own, on a port of loopback; ended by its process id. `options` are its own."""

    def __init__(self, folder: Path, configuration: Mapping[str, Any], *options: str) -> None:
        self._folder = folder
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        (folder / "prometheus.yml").write_text(yaml.safe_dump(dict(configuration)), "utf-8")

    def __enter__(self) -> Self:
        with (self._folder / "prometheus.log").open("w") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'series'}",
                    f"--web.listen-address={self.address}",
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(self._ready, "Prometheus is ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "prometheus.log").read_text("utf-8")
        try:
            with urlopen(f"http://{self.address}/-/ready", timeout=5):
                return True
        except URLError:
            return False

    def ask(self, path: str, **parameters: object) -> Any:
        """The `data` of an answer of the HTTP API. Raises HTTPError for an expression that it refuses."""
        with urlopen(f"http://{self.address}/api/v1/{path}?{urlencode(parameters)}", timeout=30) as response:
            answer = json.load(response)
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer
        return answer["data"]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples of an expression at a time (epoch seconds)."""
        data = self.ask("query", query=expression, time=time.time() if at is None else at)
        found: list[dict[str, Any]] = data["result"]
        assert data["resultType"] == "vector", expression
        return found

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[dict[str, Any]]:
        """The series of an expression over a stretch of time."""
        found: list[dict[str, Any]] = self.ask("query_range", query=expression, start=start, end=end, step=step_s)[
            "result"
        ]
        return found


def configuration(folder: Path, targets: list[str]) -> dict[str, Any]:
    """The shipped one, but for addresses, paths, and clocks that run faster. The token is in the folder."""
    found: dict[str, Any] = yaml.safe_load(SHIPPED.read_text("utf-8"))
    found["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    assert found["rule_files"] == [grafana.RULES.name]
    rules = grafana.RULES.read_text("utf-8").replace("interval: 1m\n", f"interval: {SCRAPE_S}s\n")
    (folder / grafana.RULES.name).write_text(rules, "utf-8")
    workers, one_off = found["scrape_configs"]
    assert (workers["job_name"], one_off["job_name"]) == ("bulksend", "bulksend-send")
    workers["authorization"]["credentials_file"] = "token"
    workers["scrape_timeout"] = f"{SCRAPE_S}s"
    workers["static_configs"] = [{"targets": targets}]
    found["scrape_configs"] = [workers]
    return found


class Run:
    """Simulator and worker, at work on a campaign that takes a minute. The worker wants a token and names campaigns."""

    def __init__(self, folder: Path, simulator: SimulatorProcess, worker: WorkerProcess, token: str) -> None:
        self.folder = folder
        self.simulator = simulator
        self.account = simulator.url.removeprefix("http://").rstrip("/")
        """What stands for the account in labels."""
        self.target = worker.url.removeprefix("http://").rstrip("/")
        self._worker = worker
        self._token = token

    def _request(self, path: str, body: object = None) -> bytes:
        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        with urlopen(Request(f"http://{self.target}{path}", sent, headers), timeout=30) as response:
            answer: bytes = response.read()
        return answer

    def submit(self, name: str, rows: int, *, domain: str = "example.com", **more: object) -> None:
        """Have the worker plan and send a campaign to so many of a domain."""
        path = self.folder / f"{name}.csv"
        write_list(path, [f"{name}{n}@{domain}" for n in range(rows)])
        content = {"sender": SENDER, "content": {"template": "launch"}}
        self._request("/campaigns", {"name": name, **content, "recipients": {"path": str(path)}, **more})

    def metrics(self) -> bytes:
        """What is scraped."""
        return self._request("/metrics")


@contextmanager
def running(folder: Path, *, rate_per_s: float = 300, sqs: Desk | None = None) -> Iterator[Run]:
    """Such a run, which ends with the block; events come of one campaign, by a queue of an SQS, or the simulator's."""
    token = secrets.token_urlsafe(32)
    file = folder / "token"
    file.touch(0o600)
    file.write_text(token, "utf-8")
    environment = {
        "BULKSEND_METRICS_CAMPAIGNS": "true",
        "BULKSEND_HTTP_TOKEN_FILE": str(file),
        "BULKSEND_HTTP_LISTS_FOLDER": str(folder),
    }
    events: dict[str, Any] = {"events": True} if sqs is None else {"events_queue_url": sqs.queue().url}
    settings = {"max_send_rate_per_s": rate_per_s, "latency_ms": 40, "latency_jitter_ms": 30, **FATES, **events}
    with SimulatorProcess(**settings) as simulator:
        simulator.rules(RULES)
        environment |= {
            "BULKSEND_EVENTS_QUEUES": events.get("events_queue_url") or simulator.events_queue_url,
            "BULKSEND_EVENTS_ENDPOINT_URL": simulator.url if sqs is None else sqs.endpoint_url,
        }
        arguments = [
            "--store",
            f"sqlite:{folder / '.bulksend'}",
            "--endpoint-url",
            simulator.url,
            "--region",
            "eu-west-1",
        ]
        with WorkerProcess(folder, *arguments, environment=environment, fresh=True) as worker:
            run = Run(folder, simulator, worker, token)
            run.submit("launch", int(50 * rate_per_s))
            run.submit("heard", HEARD, sender=HEARD_OF)
            yield run


@contextmanager
def watching(run: Run) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the run, and has done so."""
    with Prometheus(run.folder, configuration(run.folder, [run.target])) as prometheus:
        until(lambda: prometheus.query("up == 1"), "the worker has been scraped")
        yield prometheus


def go_on(run: Run, seconds: float) -> float:
    """Have two campaigns halt and one wait for its hour, and look on for so long; the time then, in epoch seconds."""
    time.sleep(2 * SCRAPE_S)
    run.simulator.rules(ONCE + RULES)
    run.submit("halting", 200, domain="halting.example.com")
    run.submit("refused", 200, domain="refused.example.com")
    run.submit("later", 500, schedule={"not_before": "2099-01-01T09:00:00+00:00"})
    time.sleep(seconds)
    return time.time()
