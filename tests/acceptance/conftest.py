"""What tests of several workers stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bulksend.simulator import SimulatorProcess
from tests.fleet import Fleet
from tests.postgres import Postgres, database


@pytest.fixture
def fleet(in_folder: Path, simulator: SimulatorProcess, database_url: str) -> Iterator[Fleet]:
    """No worker yet; the current folder has its config.toml."""
    with Fleet(in_folder, database_url, simulator) as made:
        yield made


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A database server of the test's own, to be killed."""
    with Postgres() as running:
        yield running


@pytest.fixture
def shaken(in_folder: Path, simulator: SimulatorProcess, server: Postgres) -> Iterator[Fleet]:
    """A fleet on that server."""
    with database(server.url, "shaken") as url, Fleet(in_folder, url, simulator) as made:
        yield made
