"""What every test stands on: no real credentials, no configuration of this machine, no proxy in front of loopback."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from bulksend.simulator import SimulatorProcess
from bulksend.worker.running import GC_THRESHOLD
from tests import sdk  # noqa: F401
from tests.folders import quick_folder
from tests.independent import Ministack, ministack_command
from tests.postgres import Databases, Postgres

gc.disable()  # until the first test: nothing that is imported or collected is garbage
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(quick_folder()))

settings.register_profile("suite", deadline=None)  # how long a test takes says more of the machine than of the code
settings.load_profile("suite")

_ENVIRONMENT = {
    # The example key pair of the AWS documentation: a request that went astray would be refused.
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "NO_COLOR": "1",
    "TZ": "UTC",
}


@pytest.fixture(autouse=True, scope="session")
def _isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For this process and all that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "BULKSEND_")) or name.lower() in {"http_proxy", "https_proxy", "all_proxy"}:
                patch.delenv(name)
        for name, value in _ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


def pytest_sessionstart(session: pytest.Session) -> None:
    """Of several processes each imports the modules of the whole suite from another one on.

    To compile them, with their assertions rewritten, costs more than all other beginnings: so each is compiled by one
    of the processes, and found by the others.
    """
    here: dict[str, Any] | None = getattr(session.config, "workerinput", None)
    if here is None or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    root = session.config.rootpath
    names = sorted(
        ".".join(path.relative_to(root).with_suffix("").parts)
        for folder in session.config.args
        for path in (root / folder).rglob("test_*.py")
    )
    first = len(names) * int(here["workerid"].removeprefix("gw")) // here["workercount"]
    for name in names[first:] + names[:first]:
        with suppress(Exception):  # the collection tells it
            importlib.import_module(name)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make ministack's environment before the clock of the first test that needs it runs."""
    if session.config.option.collectonly:
        return
    if any("ministack" in getattr(item, "fixturenames", ()) for item in session.items):
        ministack_command()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """What is there now stays until the end: to look through it again and again was a tenth of all work."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()


@pytest.fixture(scope="session")
def _ministack_server(_isolation: None) -> Iterator[Ministack]:
    with Ministack() as server:
        yield server


@pytest.fixture
def ministack(_ministack_server: Ministack) -> Ministack:
    """An independent SES server, empty."""
    _ministack_server.reset()
    return _ministack_server


@pytest.fixture(scope="session")
def _postgres_url(_isolation: None) -> Iterator[str]:
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    with Postgres() as server:
        yield server.url


@pytest.fixture(scope="session")
def _databases(_postgres_url: str) -> Iterator[Databases]:
    with Databases(_postgres_url) as databases:
        yield databases


@pytest.fixture
def database_url(_databases: Databases) -> Iterator[str]:
    """The URL of a database with bulksend's tables and nothing in them."""
    with _databases.empty() as url:
        yield url


@pytest.fixture(scope="session")
def _simulator_process(_isolation: None) -> Iterator[tuple[SimulatorProcess, dict[str, Any]]]:
    with SimulatorProcess() as running:
        fixed = {"host", "port", "day_s", "seed", "rules", "events", "exit_with_parent"}
        yield running, {name: value for name, value in running.settings().items() if name not in fixed}


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    """How `simulator` is set at the beginning of each test; a module that wants it otherwise has its own."""
    return {"max_send_rate_per_s": 2000, "latency_ms": 1}


@pytest.fixture
def simulator(
    _simulator_process: tuple[SimulatorProcess, dict[str, Any]], simulator_settings: dict[str, Any]
) -> SimulatorProcess:
    """A simulator of SES that has accepted nothing yet and has no faults; one process for all tests of this one."""
    running, defaults = _simulator_process
    running.reset()
    running.rules([])
    running.settings(**defaults | simulator_settings)
    return running


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
