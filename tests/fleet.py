"""Workers as processes around one database: started, stopped, frozen and killed as a test or a load test likes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg

from bulksend import worker
from bulksend.config import Settings, load_campaign, load_settings
from bulksend.model import Campaign, Tally
from bulksend.recipients import snapshot
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from tests.harness import REGION, write_list
from tests.worker_process import WorkerProcess, until

CAMPAIGN = """\
name = "{name}"
[sender]
from = "news@example.com"
[content]
template = "launch"
[recipients]
path = "{name}.csv"
"""
CONFIG = """\
store = {store}
snapshots = {snapshots}
[aws]
endpoint_url = {endpoint_url}
region = {region}
[engine]
max_in_flight = {max_in_flight}
[transport]
answer_timeout_s = {answer_timeout_s}
[fleet]
lease_s = {lease_s}
"""


class Fleet:
    """A store in PostgreSQL, a config.toml in `folder` that names it, and the workers started with that.

    `ses` is what it sends to, or the URL of that. Each worker opens few chunks of `chunk_entries` at a time, so that
    there is something left for the others. `fresh` is as WorkerProcess has it. What still lives at the end is killed.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        ses: SimulatorProcess | str,
        *,
        lease_s: float = 2.0,
        max_in_flight: int = 4,
        answer_timeout_s: float = 20.0,
        chunk_entries: int = 200,
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.url = url
        self._ses = ses
        self.max_in_flight = max_in_flight
        self._chunk_entries = chunk_entries
        self._fresh = fresh
        self._stack = ExitStack()
        words: dict[str, object] = {
            "store": url,
            "snapshots": str(folder / "snapshots"),
            "endpoint_url": ses if isinstance(ses, str) else ses.url,
            "region": REGION,
            "max_in_flight": max_in_flight,
            "answer_timeout_s": answer_timeout_s,
            "lease_s": lease_s,
        }
        # A JSON text is a TOML one as well.
        (folder / "config.toml").write_text(
            CONFIG.format(**{name: json.dumps(value) for name, value in words.items()}), "utf-8"
        )

    @property
    def simulator(self) -> SimulatorProcess:
        assert isinstance(self._ses, SimulatorProcess), "it sends to something else"
        return self._ses

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def settings(self) -> Settings:
        return load_settings(self.folder / "config.toml", {}, {})

    def environment(self) -> dict[str, str]:
        """For commands that are run in other folders."""
        return {**os.environ, "BULKSEND_CONFIG": str(self.folder / "config.toml")}

    @cached_property
    def store(self) -> Store:
        return Store.open(self.settings, self.folder)

    # Campaigns --------------------------------------------------------------------------------------------------------

    def write(self, name: str, addresses: Sequence[str], more: str = "") -> Path:
        """A campaign file with its list."""
        write_list(self.folder / f"{name}.csv", addresses)
        path = self.folder / f"{name}.toml"
        path.write_text(CAMPAIGN.format(name=name) + more, "utf-8")
        return path

    def plan(self, name: str, addresses: Sequence[str] | int, more: str = "") -> Campaign:
        """Planned, and left to no worker yet."""
        if isinstance(addresses, int):
            addresses = [f"{name}{n}@example.com" for n in range(addresses)]
        path = self.write(name, addresses, more)
        with chunks_of(self._chunk_entries):
            return worker.plan(load_campaign(path), self.settings, self.store).campaign

    def submit(self, name: str, addresses: Sequence[str] | int, more: str = "") -> Campaign:
        campaign = self.plan(name, addresses, more)
        worker.queue(self.store, campaign)
        return campaign

    def resume(self, campaign: Campaign) -> None:
        """Leave it to the workers once more."""
        store = self.store
        worker.queue(store, store.journal.campaign(campaign.name))

    def tally(self, campaign: Campaign) -> Tally:
        """As the journal has it now."""
        journal = self.store.journal
        return journal.tally(journal.campaign(campaign.name))

    def state(self, campaign: Campaign) -> str:
        ((found,),) = self.rows("SELECT state FROM campaign WHERE id = %s", campaign.id)
        return str(found)

    def unanswered(self) -> int:
        """Attempts that have no outcome yet."""
        ((found,),) = self.rows(
            "SELECT count(*) FROM attempt a WHERE NOT EXISTS (SELECT 1 FROM outcome WHERE attempt_id = a.id)"
        )
        return int(found)

    def await_state(self, state: str, *campaigns: Campaign) -> None:
        until(lambda: all(self.state(one) == state for one in campaigns), f"{state}: {[c.name for c in campaigns]}")

    def await_accepted(self, count: int, campaign: Campaign | None = None) -> None:
        """By the simulator's count, of one campaign or of all."""
        of = None if campaign is None else campaign.id
        until(lambda: self.simulator.tally(of)["accepted"] >= count, f"{count} are accepted")

    def everybody_once(self, campaign: Campaign) -> None:
        """By the simulator's own count, and the journal says the same."""
        theirs, ours = self.simulator.tally(campaign.id), self.tally(campaign)
        assert not theirs["copies"]
        assert (theirs["rows"], ours.accepted) == (campaign.entries, campaign.entries)
        assert ours.adds_up

    # Workers ----------------------------------------------------------------------------------------------------------

    def started(self, environment: Mapping[str, str] | None = None, program: str | None = None) -> WorkerProcess:
        """One more worker; it is not waited for. `program` is as WorkerProcess has it."""
        made = WorkerProcess(
            self.folder,
            *("--config", str(self.folder / "config.toml")),
            environment=dict(environment or {}),
            fresh=self._fresh,
            program=program,
        )
        self._stack.callback(made.__exit__, None, None, None)
        return made

    def workers(self, count: int, environment: Mapping[str, str] | None = None) -> list[WorkerProcess]:
        """So many more, all ready."""
        made = [self.started(environment) for _ in range(count)]
        for one in made:
            one.__enter__()
        return made

    def rows(self, statement: LiteralString, *parameters: object) -> list[Any]:
        """What the database says, on a connection that is kept for as long as the database lives."""
        try:
            return self._connection.execute(statement, parameters or None).fetchall()
        except psycopg.OperationalError:
            del self._connection
        return self._connection.execute(statement, parameters or None).fetchall()

    @cached_property
    def _connection(self) -> psycopg.Connection[Any]:
        made = psycopg.connect(self.url, autocommit=True)
        self._stack.callback(made.close)
        return made

    def overtaken(self) -> int:
        """Attempts that were made under an epoch when there was one under a later epoch already."""
        (found,) = self.rows(
            "SELECT count(*) FROM (SELECT epoch, at, max(epoch) OVER earlier AS latest FROM attempt WHERE epoch > 0 "
            "WINDOW earlier AS (PARTITION BY campaign_id, chunk ORDER BY at, id)) AS one WHERE epoch < latest"
        )[0]
        return int(found)


@contextmanager
def chunks_of(entries: int) -> Iterator[None]:
    """Chunks of at most so many entries, as if lists were long."""
    before = snapshot.MAX_CHUNK_ENTRIES
    snapshot.MAX_CHUNK_ENTRIES = entries
    try:
        yield
    finally:
        snapshot.MAX_CHUNK_ENTRIES = before


def freeze(one: WorkerProcess) -> None:
    """SIGSTOP, and wait until it has stopped."""
    one.process.send_signal(signal.SIGSTOP)
    until(lambda: stat_of(one.process.pid) == "T", "it has stopped")


def wake(one: WorkerProcess) -> None:
    one.process.send_signal(signal.SIGCONT)


def kill(one: WorkerProcess) -> None:
    """kill -9."""
    one.process.kill()
    one.process.wait()


def stat_of(pid: int) -> str:
    """One letter (proc(5), /proc/pid/stat)."""
    text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    return text.rpartition(")")[2].split()[0]
