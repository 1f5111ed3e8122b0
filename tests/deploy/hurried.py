"""Hours in minutes and minutes in seconds: rules, Prometheus and workers whose clocks all run alike, and faster."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self
from urllib.parse import urlsplit

import yaml

from bulksend.cli import main
from tests import grafana
from tests.deploy.prometheus import Prometheus, configuration
from tests.forked import Forked
from tests.harness import REGION, write_list
from tests.worker_process import WorkerProcess, until

P = ParamSpec("P")

FASTER = 60
"""How many times as fast time goes."""
LOOKBACK = "5m"
"""For how long a sample stands for its series (prometheus --query.lookback-delta)."""
TIMES = (
    ("bulksend.engine.circuit", "MAX_PROBE_S"),
    ("bulksend.engine.pipeline", "RESEND_AFTER_S"),
    ("bulksend.engine.pipeline", "RESEND_AFTER_S"),  # half an hour is long even so
    ("bulksend.events.consumer", "MAX_BACKOFF_S"),
    ("bulksend.fleet.shared_pacer", "REFRESH_S"),
    ("bulksend.fleet.shared_pacer", "STALE_AFTER_S"),
    ("bulksend.pacing.pacer", "REFRESH_S"),
    ("bulksend.pacing.quota", "REFRESH_S"),
    ("bulksend.pacing.quota", "STALE_AFTER_S"),
    ("bulksend.worker.consuming", "TRY_AGAIN_S"),
    ("bulksend.worker.looking_on", "CENSUS_AT_LEAST_EVERY_S"),
    ("bulksend.worker.looking_on", "CENSUS_EVERY_S"),
    ("bulksend.worker.safety", "BLIND_AFTER_S"),
)
"""What a worker does by the minute, so that alerts wait for it. Its pace and the time of its requests are as ever."""

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?<![\w.])(\d+)(ms|[smhdw])\b")
_AGE = re.compile(r"(time\(\) - [^<>]*[<>] )(\d+)")
_OPTIONAL = re.compile(r"\{\{ *with \$labels\.\w+ *\}\}.*?\{\{ *end *\}\}", re.DOTALL)

PROGRAM = "from tests.deploy.hurried import work; work()"


def hurried(expression: str) -> str:
    """An expression, or a duration: every duration in it a sixtieth, and every number that a time's age is held to."""
    shorter = _DURATION.sub(lambda found: f"{_milliseconds(found[0])}ms", expression)
    return _AGE.sub(lambda found: f"{found[1]}{int(found[2]) / FASTER:g}", shorter)


def _milliseconds(duration: str) -> int:
    found = _DURATION.fullmatch(duration)
    assert found is not None, duration
    return round(int(found[1]) * _SECONDS[found[2]] * 1000 / FASTER)


def hurried_rules() -> dict[str, Any]:
    """The shipped rules, hurried, and otherwise as they are."""
    loaded: dict[str, Any] = yaml.safe_load(grafana.RULES.read_text("utf-8"))
    for group in loaded["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["expr"] = hurried(rule["expr"])
            if "for" in rule:
                rule["for"] = hurried(rule["for"])
    return loaded


# Workers --------------------------------------------------------------------------------------------------------------


def work() -> None:
    """Be `bulksend` with the arguments of this process, in a hurry."""
    for module, name in TIMES:
        found = importlib.import_module(module)
        setattr(found, name, getattr(found, name) / FASTER)
    main(sys.argv[1:])


class Hurried(WorkerProcess):
    """`bulksend ARGUMENTS` in a hurry, to be scraped. It names campaigns, and takes lists from its folder."""

    ready = "ready:"
    """What it says when it is."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._log = folder / f"{arguments[0]}-{time.monotonic_ns()}.log"
        self._log.touch()
        own = {
            "BULKSEND_HTTP_LISTEN": "127.0.0.1:0",
            "BULKSEND_METRICS_CAMPAIGNS": "true",
            "BULKSEND_HTTP_LISTS_FOLDER": str(folder),
            "BULKSEND_AWS_REGION": REGION,
        }
        variables = {**os.environ, **own, **(environment or {})}
        self.process = Forked(*arguments, folder=folder, environment=variables, log=self._log, program=PROGRAM)

    def __enter__(self) -> Self:
        try:
            until(lambda: self.ready in self.said() or self.process.poll() is not None, "it is ready")
            assert self.process.poll() is None, self.said()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    @property
    def target(self) -> str:
        """What Prometheus calls it."""
        return urlsplit(self.url).netloc


class Consumer(Hurried):
    """`bulksend events consume`."""

    ready = "taking events"

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        super().__init__(folder, "events", "consume", "--metrics-port", "0", environment=environment)


class Worker(Hurried):
    """`bulksend worker`."""

    def __init__(self, folder: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        super().__init__(folder, "worker", *arguments, environment=environment)

    def submit(self, name: str, addresses: list[str] | int, **more: object) -> None:
        """Have it plan and send a campaign, to these or to so many. Unless it is said, no breaker awaits events."""
        if isinstance(addresses, int):
            addresses = [f"{name}{n}@example.com" for n in range(addresses)]
        path = self._folder / f"{name}.csv"
        write_list(path, addresses)
        usual = {
            "sender": {"from": "Example News <news@example.com>"},
            "content": {"template": "launch"},
            "safety": {"breaker": False},
        }
        status, said = self.ask(
            "POST", "/campaigns", {"name": name, **usual, "recipients": {"path": str(path)}, **more}
        )
        assert 200 <= status < 300, said


# Alerts ---------------------------------------------------------------------------------------------------------------

SEEN: dict[str, str] = {}
"""By its name, where each alert is seen to fire."""
OF_A_BUSY_MACHINE = frozenset(
    {"BulksendJournalSlow", "BulksendQuotaUnused", "BulksendWorkerDown", "BulksendWorkerStalled"}
)
"""What may fire anywhere, in a hurry: a second without a turn counts as a minute."""
_looked_at: set[str] = set()
_fired: set[str] = set()


@dataclass(frozen=True)
class Alert:
    """One that fires, with its texts as Prometheus fills them in."""

    labels: dict[str, str]
    summary: str
    description: str
    value: float


class Alerts(Prometheus):
    """A Prometheus in a hurry, and what it alerts to."""

    def fires(self, name: str, within_s: float = 40.0, meanwhile: Callable[[], object] = lambda: None) -> Alert:
        """Wait until it does; of one alert. `meanwhile` is called again and again until then."""
        self._await(lambda: self._of(name, "firing"), f"{name} fires", within_s, meanwhile)
        (found,) = self._of(name, "firing")
        _looked_at.add(name)
        texts = found["annotations"]
        for text in texts.values():
            assert "<no value>" not in text, text
        wanted = _OPTIONAL.sub("", " ".join(_rule(name).annotations.values()))
        for label in re.findall(r"\$labels\.(\w+)", wanted):
            assert found["labels"].get(label), f"{name} has no {label}, which its texts name"
        return Alert(found["labels"], texts["summary"], texts["description"], float(found["value"]))

    def ends(self, name: str, within_s: float = 40.0, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until its condition does not hold any more."""
        self._await(lambda: not self._of(name, "firing", "pending"), f"{name} ends", within_s, meanwhile)

    def is_quiet(self, name: str) -> bool:
        """Whether it has not fired yet."""
        return not self.query(f'last_over_time(ALERTS{{alertname="{name}", alertstate="firing"}}[1h])')

    def await_data(self, expression: str, within_s: float = 30.0) -> list[dict[str, Any]]:
        """Wait until an expression has some."""
        self._await(lambda: self.query(expression), expression, within_s, lambda: None)
        return self.query(expression)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                every = self.query('last_over_time(ALERTS{alertstate="firing"}[1h])')
                _fired.update(one["metric"]["alertname"] for one in every)
        finally:
            super().__exit__(kind, error, trace)

    def _of(self, name: str, *states: str) -> list[dict[str, Any]]:
        every = self.ask("alerts")["alerts"]
        return [one for one in every if one["labels"]["alertname"] == name and one["state"] in states]

    def _await(
        self, condition: Callable[[], object], what: str, within_s: float, meanwhile: Callable[[], object]
    ) -> None:
        deadline_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline_s, f"not within {within_s:.0f} s: {what}; {self._state()}"
            meanwhile()
            time.sleep(0.1)

    def _state(self) -> str:
        every = [(one["labels"]["alertname"], one["state"]) for one in self.ask("alerts")["alerts"]]
        return json.dumps(every)


@contextmanager
def alerting(folder: Path, *targets: str) -> Iterator[Alerts]:
    """One that scrapes these workers, which want no token."""
    made = folder / "prometheus"
    made.mkdir()
    settings = configuration(made, list(targets))
    (made / grafana.RULES.name).write_text(yaml.safe_dump(hurried_rules()), "utf-8")
    for job in settings["scrape_configs"]:
        job.pop("authorization", None)
    with Alerts(made, settings, f"--query.lookback-delta={hurried(LOOKBACK)}") as prometheus:
        prometheus.await_data("up")
        yield prometheus


def _rule(name: str) -> grafana.Rule:
    (found,) = [rule for rule in grafana.rules() if rule.name == name]
    return found


def sees(*names: str, also: Collection[str] = ()) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Say of a test which alerts it sees firing, each by `fires`; it fails if it does not, or if others fire.

    `also` are those that have the same cause.
    """

    def registered(test: Callable[P, None]) -> Callable[P, None]:
        SEEN.update(dict.fromkeys(names, test.__name__))

        @wraps(test)
        def checked(*arguments: P.args, **named: P.kwargs) -> None:
            _looked_at.clear()
            _fired.clear()
            test(*arguments, **named)
            assert set(names) == _looked_at
            others = _fired - {*names, *also} - OF_A_BUSY_MACHINE
            assert not others, f"fired as well: {others}"

        return checked

    return registered
