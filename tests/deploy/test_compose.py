"""compose.yml: what the specification and its own parts say of it, and the same picture run without a container engine.

What this cannot see: the images of others, the networks, and who owns a fresh volume.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import promql_parser
import psycopg
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from psycopg import sql

import bulksend
from bulksend.config import load_settings
from bulksend.worker.process import LAST_S
from tests import grafana, promql
from tests.deploy.dockerfile import stages
from tests.deploy.test_container import UID, free_port, unprivileged
from tests.postgres import Postgres
from tests.worker_process import WITHIN_S, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "compose"
FILE = FOLDER / "compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("bulksend:")]
SECRETS = "/run/bulksend-secrets"
RATE = "--max-send-rate-per-s=20"
pytestmark = pytest.mark.timeout(180)


def test_it_is_what_the_specification_says() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_confined_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"]), "a number, and not root's"
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", service["image"]), "an exact tag"
    assert re.fullmatch(r"\d+M", service["deploy"]["resources"]["limits"]["memory"])
    assert not {"privileged", "devices", "pid", "ipc", "cap_add"} & service.keys()
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "this machine alone may ask"
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert mode == ["ro"]
        else:
            assert source in COMPOSE["volumes"]
            assert (mode == ["ro"]) == (target == SECRETS and name != "secrets")
    if any(SECRETS in volume for volume in service.get("volumes", [])) and name not in OURS:
        assert service["group_add"] == [stages()[1].only("USER").rest.split(":")[1]]


def test_nothing_secret_stands_in_the_file() -> None:
    # The example keys of the AWS documentation are nobody's.
    known = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY|PASS", variable):
                assert value in known or str(value).startswith(f"{SECRETS}/"), variable


def test_ours_is_this_version_and_runs_as_the_image_says() -> None:
    for name in OURS:
        assert SERVICES[name]["image"] == f"bulksend:{bulksend.__version__}"
        assert SERVICES[name]["user"] == stages()[1].only("USER").rest
        build = SERVICES[name]["build"]
        assert (FOLDER / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()
    *command, route = stages()[1].only("HEALTHCHECK").listed()
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", *command, route]


def test_services_start_in_order_and_workers_may_end_in_peace() -> None:
    conditions = {
        (name, other): wanted["condition"]
        for name, service in SERVICES.items()
        for other, wanted in service.get("depends_on", {}).items()
    }
    assert conditions["migrate", "postgres"] == "service_healthy"
    assert conditions["worker", "migrate"] == "service_completed_successfully"
    assert conditions["worker", "relay"] == "service_healthy"
    assert conditions["postgres", "secrets"] == "service_completed_successfully"
    for (_, other), condition in conditions.items():
        service = SERVICES[other]
        match condition:
            case "service_healthy":
                assert "test" in service["healthcheck"]
            case "service_completed_successfully":
                assert service["restart"] == "no"
            case _:
                assert condition == "service_started"
    settings = load_settings(None, bulksend_environment(), {})
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > settings.worker.grace_s + LAST_S
    assert SERVICES["worker"]["deploy"]["replicas"] >= 2


def test_prometheus_finds_every_worker_and_the_alerts(tmp_path: Path) -> None:
    prometheus = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    (job,) = prometheus["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert job["job_name"] == "bulksend"
    assert (found["names"], found["port"]) == (["worker"], int(bulksend_environment()["BULKSEND_HTTP_LISTEN"][-4:]))
    assert job["authorization"]["credentials_file"] == bulksend_environment()["BULKSEND_HTTP_TOKEN_FILE"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])
    (rules,) = prometheus["rule_files"]
    assert f"/etc/prometheus/{rules}" in mounts.values()
    for source, target in mounts.items():
        if source.startswith("."):
            shutil.copy(FOLDER / source, tmp_path / Path(target).name)
    (tmp_path / "token").write_text("x", "ascii")
    config = (tmp_path / "prometheus.yml").read_text("utf-8").replace(SECRETS, str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(config, "utf-8")
    command = ["promtool", "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_what_it_is_provisioned_with() -> None:
    grafana = SERVICES["grafana"]
    mounts = {target: FOLDER / source for source, target, *_ in (volume.split(":") for volume in grafana["volumes"])}
    provisioning = mounts["/etc/grafana/provisioning"]
    for file in sorted(provisioning.glob("*/*.yml")):
        read = yaml.safe_load(file.read_text("utf-8"))
        for provider in read.get("providers", []):
            assert list(mounts[provider["options"]["path"]].glob("*.json")), provider
        for source in read.get("datasources", []):
            assert source["url"].removeprefix("$") in grafana["environment"]


def bulksend_environment() -> dict[str, str]:
    """The worker's, which is migrate's too."""
    found: dict[str, str] = SERVICES["worker"]["environment"]
    assert SERVICES["migrate"]["environment"] == found
    return found


class Picture:
    """The services, as processes on loopback: their commands and environment, with addresses and folders of here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        self.home = folder / "home"
        """Not to be written to, like the root of the containers."""
        snapshots, scratch = folder / "snapshots", folder / "tmp"
        for made in (self.secrets, snapshots, scratch):
            made.mkdir()
            if os.geteuid() == 0:
                os.chown(made, UID, UID)
        self.home.mkdir(mode=0o555)
        self.ports = {name: free_port() for name in ("postgres", "simulator", "relay", "worker-1", "worker-2")}
        self.places = {
            SECRETS: str(self.secrets),
            "/var/lib/bulksend/snapshots": str(snapshots),
            "postgres:5432": f"127.0.0.1:{self.ports['postgres']}",
            "simulator:8080": f"127.0.0.1:{self.ports['relay']}",
            "0.0.0.0:8080": f"127.0.0.1:{self.ports['relay']}",
            "127.0.0.1:8080": f"127.0.0.1:{self.ports['relay']}",
            "127.0.0.1:8081": f"127.0.0.1:{self.ports['simulator']}",
            "/srv/demo": str(FOLDER / "demo"),
            "/srv/": f"{FOLDER}/",
            "/opt/bulksend/probe.py": str(ROOT / "deploy/docker/probe.py"),
        }
        self.replacements = re.compile("|".join(map(re.escape, self.places)))

    def here(self, text: str) -> str:
        return self.replacements.sub(lambda found: self.places[found[0]], text)

    def command(self, name: str, *words: str) -> list[str]:
        """What a service of ours starts, or these words in it."""
        service = SERVICES[name]
        entrypoint = service.get("entrypoint", stages()[1].only("ENTRYPOINT").listed())
        given = list(words) or [*entrypoint, *service["command"]]
        if name == "simulator":
            # A quota that is slow to look at, and the port by itself.
            quicker = {"--port=8081": f"--port={self.ports['simulator']}", RATE: "--max-send-rate-per-s=500"}
            assert quicker.keys() <= set(given)
            given = [quicker.get(word, word) for word in given]
        given = [self.here(word) for word in given]
        program = {"bulksend": [sys.executable, "-m", "bulksend"], "python": [sys.executable]}
        return unprivileged([*program[given[0]], *given[1:]])

    def environment(self, name: str, **more: str) -> dict[str, str]:
        own = {key: self.here(value) for key, value in SERVICES[name].get("environment", {}).items()}
        scratch = {"HOME": str(self.home), "TMPDIR": str(self.folder / "tmp"), "PATH": os.defpath}
        return {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **scratch, **own, **more}

    @contextmanager
    def running(self, name: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        with (self.folder / f"{name}-{len(more)}.log").open("w") as log:
            process = subprocess.Popen(
                self.command(name), cwd=self.home, env=self.environment(name, **more), stdout=log, stderr=log, text=True
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def run(self, name: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A one-shot service, or `exec` of words in one."""
        return subprocess.run(
            self.command(name, *words),
            cwd=self.home,
            env=self.environment(name, **more),
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )

    def healthy(self, name: str, route: str | None = None, **more: str) -> bool:
        """What the service's health check says; a worker may be asked another route."""
        _, *test = SERVICES[name]["healthcheck"]["test"]
        return self.run(name, *test[:-1], route or test[-1], **more).returncode == 0

    def books(self) -> dict[str, Any]:
        """The simulator's, of events."""
        with urlopen(f"http://127.0.0.1:{self.ports['simulator']}/_simulator/events", timeout=WITHIN_S) as answer:
            found: dict[str, Any] = json.loads(answer.read())
        return found

    def series(self) -> list[Sample]:
        """What Prometheus would read from both workers."""
        token = (self.secrets / "token").read_text("ascii")
        found: list[Sample] = []
        for name in ("worker-1", "worker-2"):
            url = f"http://127.0.0.1:{self.ports[name]}/metrics"
            request = Request(url, headers={"Authorization": f"Bearer {token}"})
            with urlopen(request, timeout=WITHIN_S) as answer:  # noqa: S310 - loopback
                families = text_string_to_metric_families(answer.read().decode())
                found += [sample for family in families for sample in family.samples]
        return found

    def listens(self, worker: str) -> dict[str, str]:
        assert bulksend_environment()["BULKSEND_HTTP_LISTEN"] == "0.0.0.0:9464"
        return {"BULKSEND_HTTP_LISTEN": f"127.0.0.1:{self.ports[worker]}"}


@pytest.fixture
def picture() -> Iterator[Picture]:
    folder = Path(tempfile.mkdtemp(prefix="bulksend-compose-"))
    folder.chmod(0o755)
    yield Picture(folder)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(picture: Picture) -> Iterator[None]:
    """PostgreSQL as its image sets it up: by TCP, a user with the password of the file, and no way in without."""
    hba = picture.folder / "hba"
    hba.write_text("local all all trust\nhost bulksend bulksend 127.0.0.1/32 scram-sha-256\n", "ascii")
    address = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={picture.ports['postgres']}", "-c", f"hba_file={hba}"]
    os.environ["PGPORT"] = str(picture.ports["postgres"])  # of the socket, too
    try:
        with Postgres(options=address) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                password = (picture.secrets / "database-password").read_text("ascii")
                connection.execute(sql.SQL("CREATE ROLE bulksend LOGIN PASSWORD {}").format(sql.Literal(password)))
                connection.execute("CREATE DATABASE bulksend OWNER bulksend")
            yield
    finally:
        del os.environ["PGPORT"]


def total(series: list[Sample], name: str, **labels: str) -> float:
    return sum(one.value for one in series if one.name == name and labels.items() <= one.labels.items())


def empty_rows(series: list[Sample]) -> list[str]:
    """Rows of the dashboard of which no query has anything to work with: each selects a series that is 0 or missing."""
    recorded = {rule.name: rule.expression for rule in grafana.rules() if not rule.alert}

    def is_filled(expression: str) -> bool:
        parsed = promql_parser.parse(grafana.substituted(expression))
        return all(
            is_filled(recorded[selector.name]) if selector.name in recorded else selected(selector)
            for selector in promql.selectors(parsed)
        )

    def selected(selector: promql_parser.VectorSelector) -> float:
        return sum(
            one.value
            for one in series
            if one.name == selector.name
            and all(matches(matcher, one.labels.get(matcher.name, "")) for matcher in selector.matchers.matchers)
        )

    filled: dict[str, bool] = {}
    row = ""
    for panel in grafana.dashboard()["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
            filled[row] = False
        else:
            filled[row] |= any(is_filled(target["expr"]) for target in panel["targets"])
    return [title for title, has_some in filled.items() if not has_some]


def matches(matcher: promql_parser.Matcher, value: str) -> bool:
    match matcher.op:
        case promql_parser.MatchOp.Equal:
            return value == matcher.value
        case promql_parser.MatchOp.NotEqual:
            return value != matcher.value
        case promql_parser.MatchOp.Re:
            return re.fullmatch(matcher.value, value) is not None
        case _:
            return re.fullmatch(matcher.value, value) is None


def test_secrets_are_made_once_and_closed(picture: Picture) -> None:
    for _ in range(2):
        made = picture.run("secrets")
        assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
        kept = {path.name: path.read_text("ascii") for path in picture.secrets.iterdir()}
    assert kept.keys() == {"token", "grafana-password", "database-password", "pgpass"}
    assert len(set(kept.values())) == 4
    assert kept["pgpass"] == f"*:*:bulksend:bulksend:{kept['database-password']}\n"
    again = picture.run("secrets")
    assert again.returncode == 0
    assert kept == {path.name: path.read_text("ascii") for path in picture.secrets.iterdir()}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in picture.secrets.iterdir()}
    assert modes == {"token": 0o440, "grafana-password": 0o440, "database-password": 0o440, "pgpass": 0o400}


def test_the_picture_runs_and_the_demo_is_sent(picture: Picture) -> None:
    assert picture.run("secrets").returncode == 0
    with ExitStack() as stack:
        stack.enter_context(database(picture))
        early = picture.run("worker", **picture.listens("worker-1"))
        assert early.returncode not in {0, 1, 2}, "tables are missing: it may be started again"
        migrated = picture.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        stack.enter_context(picture.running("simulator"))
        assert not picture.healthy("relay")
        relay = stack.enter_context(picture.running("relay"))
        until(lambda: picture.healthy("relay"), "the relay leads to the simulator")
        names = ("worker-1", "worker-2")
        workers = [stack.enter_context(picture.running("worker", **picture.listens(name))) for name in names]
        for name in names:
            listens = picture.listens(name)
            until(lambda: picture.healthy("worker", **listens), f"{name} is healthy", within_s=60.0)  # noqa: B023
        submitted = picture.run("worker", "bulksend", "submit", "/srv/demo/launch.toml", "--yes")
        assert submitted.returncode == 0, submitted.stderr
        assert "A worker has it" in submitted.stderr

        def status() -> dict[str, Any]:
            found: dict[str, Any] = json.loads(
                picture.run("worker", "bulksend", "status", "launch", "--output", "json").stdout
            )
            return found

        rows = len((FOLDER / "demo/list.csv").read_text("utf-8").splitlines()) - 1
        until(lambda: status()["state"] == "finished", "it is sent", within_s=120.0)
        until(lambda: picture.books()["queued"] == 0, "all events are in the simulator's queue")
        books = picture.books()
        told = sum(books["emitted"].values())
        until(lambda: total(picture.series(), "bulksend_events_total") == told, "the workers have taken them all")
        until(lambda: status()["in_doubt"] == 0, "events settle what was in doubt")
        found, series = status(), picture.series()
        assert (found["rows"], found["accepted"] + found["dead"]) == (rows, rows)
        assert found["dead"] > 0
        by_type = {name.lower().replace("deliverydelay", "delivery_delay"): n for name, n in books["emitted"].items()}
        assert by_type.keys() == {"delivery", "bounce", "complaint", "delivery_delay"}
        assert {kind: total(series, "bulksend_events_total", type=kind) for kind in by_type} == by_type
        for kind in ("permanent", "transient"):
            assert total(series, "bulksend_bounces_total", kind=kind) > 0
        addresses = (FOLDER / "demo/list.csv").read_text("utf-8")
        assert by_type["complaint"] == addresses.count("complaint+")
        assert found["events"]["bounced"]["permanent"] == addresses.count("\nbounce+") + addresses.count("suppression")
        assert empty_rows(series) == []
        for name in names:
            assert picture.healthy("worker", "readyz", **picture.listens(name)), name
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(WITHIN_S) for worker in workers] == [0, 0]
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(WITHIN_S) == 0
    said = "".join(log.read_text("utf-8") for log in picture.folder.glob("*.log"))
    assert "@simulator.amazonses.com" not in said
    assert not [path.name for path in picture.secrets.iterdir() if path.read_text("ascii").strip() in said]
