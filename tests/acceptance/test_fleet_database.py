"""The database of a fleet goes away, is another afterwards, or has no room: as its workers and people see it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bulksend.simulator import SimulatorProcess
from tests.acceptance.test_cli import bulksend
from tests.fleet import Fleet
from tests.postgres import Postgres, database
from tests.worker_process import WorkerProcess, until

LEASE_S = 2.0


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    """Answers take so long that there always are some in the air."""
    return {"max_send_rate_per_s": 800, "latency_ms": 250}


@contextmanager
def away(server: Postgres, fleet: Fleet, workers: list[WorkerProcess], at_least_s: float) -> Iterator[None]:
    """Kill the database, see that all stand still while inside, and start it again after so long."""
    server.kill()
    gone_s = time.monotonic()
    for one in workers:
        assert one.ask("GET", "/healthz")[0] == 200
        status, said = one.ask("GET", "/readyz")
        assert (status, "cannot be read" in str(said)) == (503, True)
    # By then every request whose intent was durable has left.
    before = fleet.simulator.tally()["requests"]
    yield
    while time.monotonic() < gone_s + at_least_s:
        time.sleep(0.1)
        assert all(one.ask("GET", "/healthz")[0] == 200 for one in workers)
    assert fleet.simulator.tally()["requests"] == before
    server.start()


def test_the_database_goes_away_for_less_and_for_more_than_a_lease(server: Postgres, shaken: Fleet) -> None:
    campaign = shaken.submit("launch", 2000)
    workers = shaken.workers(2)
    shaken.await_accepted(300)
    with away(server, shaken, workers, 0.5 * LEASE_S):
        pass
    shaken.await_accepted(900)
    with away(server, shaken, workers, 2 * LEASE_S):
        refused = bulksend("status", "launch")
        assert (refused.returncode, "See that the database runs" in refused.stderr) == (5, True)
    shaken.await_state("finished", campaign)
    shaken.everybody_once(campaign)
    assert [one.process.poll() for one in workers] == [None, None]
    for one in workers:
        until(lambda one=one: one.ask("GET", "/readyz")[0] == 200, "it is ready again")  # type: ignore[misc]


def test_a_worker_is_stopped_while_the_database_is_away(server: Postgres, shaken: Fleet) -> None:
    campaign = shaken.submit("launch", 1200)
    one, other = shaken.workers(2, {"BULKSEND_WORKER_GRACE_S": "1"})
    shaken.await_accepted(200)
    server.kill()
    assert one.stop() in {0, 4}
    assert "Traceback" not in one.said()
    server.start()
    shaken.await_state("finished", campaign)
    assert other.process.poll() is None
    ended, theirs = shaken.tally(campaign), shaken.simulator.tally(campaign.id)
    assert not theirs["copies"]
    assert ended.in_doubt <= shaken.max_in_flight * 50
    assert ended.accepted <= theirs["rows"] <= ended.accepted + ended.in_doubt == 1200


def test_a_restored_database_halts_what_was_being_sent(server: Postgres, shaken: Fleet) -> None:
    campaign = shaken.submit("launch", 1800)
    finished = shaken.submit("before", 20)
    workers = shaken.workers(1)
    shaken.await_state("finished", finished)
    shaken.await_accepted(400)
    assert bulksend("pause", "launch").returncode == 0  # so that much is left when the backup is taken
    until(lambda: shaken.tally(campaign).in_flight == 0, "it is at rest")
    with server.restored():
        assert bulksend("resume", "launch").returncode == 0
        shaken.await_accepted(1400)
    shaken.await_state("halted", campaign)
    status = bulksend("status", "launch")
    assert "the database failed over or was restored: what was sent after 20" in status.stderr + status.stdout
    halted = shaken.tally(campaign)
    assert (halted.pending + halted.in_flight, halted.adds_up) == (0, True)
    sent = shaken.simulator.tally(campaign.id)["requests"]
    assert bulksend("resume", "launch").returncode == 0
    shaken.await_state("finished", campaign)
    ended, theirs = shaken.tally(campaign), shaken.simulator.tally(campaign.id)
    assert (theirs["copies"], theirs["requests"]) == ([], sent)
    assert ended.accepted <= theirs["rows"] <= ended.accepted + ended.in_doubt == 1800
    shown = bulksend("resolve", "launch", "--output", "json")
    assert shown.returncode == 4
    assert any("failed over or was restored" in one["reason"] for one in json.loads(shown.stdout))
    assert shaken.state(finished) == "finished"
    assert workers[0].process.poll() is None


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder with room for 20 MB that anybody can reach."""
    folder = Path(tempfile.mkdtemp(prefix="bulksend-small-"))
    mounted = os.geteuid() == 0 and not subprocess.call(
        ["mount", "-t", "tmpfs", "-o", "size=20m,mode=755", "tmpfs", str(folder)], stderr=subprocess.DEVNULL
    )
    try:
        if not mounted:
            pytest.skip("file systems cannot be mounted here")
        folder.chmod(0o755)
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(ballast: Path) -> None:
    """Until there is no room for a page any more."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_no_room_for_tables(server: Postgres, small_disk: Path, in_folder: Path, simulator: SimulatorProcess) -> None:
    """The database's tables are on a disk of their own, which is full."""
    space = small_disk / "space"
    with psycopg.connect(server.url, autocommit=True) as connection:
        for parent in (in_folder, *in_folder.parents[:3]):
            parent.chmod(parent.stat().st_mode | 0o011)
        space.mkdir(mode=0o777)
        if server._user is not None:
            shutil.chown(space, server._user)
        connection.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        connection.execute("ALTER ROLE postgres SET default_tablespace = 'small'")
    with database(server.url, "full") as url, Fleet(in_folder, url, simulator) as fleet:
        campaign = fleet.submit("launch", 1500)
        (one,) = fleet.workers(1)
        fleet.await_accepted(300)
        ballast = small_disk / "ballast"
        fill(ballast)
        until(lambda: "No space left on device" in one.said(), "it says so")
        before = fleet.simulator.tally()["requests"]
        assert fleet.tally(campaign).adds_up
        time.sleep(1.5)
        assert fleet.simulator.tally()["requests"] == before
        ballast.unlink()
        fleet.await_state("finished", campaign)
        fleet.everybody_once(campaign)
        assert one.process.poll() is None
