"""Workers are killed and frozen, and the database is killed, while one campaign is sent; then both sides count."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

from bulksend.errors import ExitCode
from bulksend.model import Campaign
from bulksend.simulator import SimulatorProcess
from loadtest import crash
from loadtest.children import ScenarioError
from tests.fleet import Fleet, freeze, kill, wake
from tests.postgres import Postgres, database
from tests.worker_process import WorkerProcess

CAP = 4
"""Requests in flight of a worker."""
ANSWER_TIMEOUT_S = 2.0
LOOK_EVERY_S = 0.03
STUCK_AFTER_S = 120.0
DATABASE = "fleet"


@dataclass(frozen=True, slots=True)
class Hits:
    """What happens meanwhile: kill -9 of workers, SIGSTOPs for longer than their lease, kill -9 of PostgreSQL."""

    kills: int
    freezes: int
    restarts: int

    def shuffled(self, dice: random.Random) -> list[str]:
        kinds = ["kill"] * self.kills + ["freeze"] * self.freezes + ["restart"] * self.restarts
        dice.shuffle(kinds)
        return kinds


@dataclass
class FleetCounted(crash.Counted):
    """What the two sides say at the end."""

    freezes: int = 0
    restarts: int = 0
    overtaken: int = 0
    """Attempts made under an epoch after one was made under a later one."""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return super().good and not self.overtaken


class Havoc:
    """The workers of one campaign, and what happens to them."""

    def __init__(self, fleet: Fleet, server: Postgres, campaign: Campaign, lease_s: float, dice: random.Random) -> None:
        self.fleet = fleet
        self.counted = FleetCounted(campaigns=1, entries=campaign.entries)
        self._server = server
        self._campaign = campaign
        self._lease_s = lease_s
        self._dice = dice
        self._awake: list[WorkerProcess] = []
        self._asleep: list[tuple[float, WorkerProcess]] = []

    def add_workers(self, count: int) -> None:
        self._awake += self.fleet.workers(count)

    def look_after_sleepers(self) -> None:
        now_s = time.monotonic()
        for at_s, one in [pair for pair in self._asleep if pair[0] <= now_s]:
            self._asleep.remove((at_s, one))
            wake(one)
            self._awake.append(one)
        for one in list(self._awake):
            match one.process.poll():
                case None:
                    pass
                case ExitCode.HALTED if "ready:" not in one.said():  # it was started while the database was away
                    self._awake.remove(one)
                    self._awake.append(self.fleet.started())
                case code:
                    raise ScenarioError(f"a worker ended by itself, with {code}: {one.said()[-2000:]}")

    def hit(self, kind: str) -> None:
        match kind:
            case "kill":
                one = self._some_worker()
                self._awake.remove(one)
                kill(one)
                self.counted.kills += 1
                self._check()
                self._awake.append(self.fleet.started())
            case "freeze":
                one = self._some_worker()
                self._awake.remove(one)
                freeze(one)
                self._asleep.append((time.monotonic() + self._dice.uniform(1.3, 2.0) * self._lease_s, one))
                self.counted.freezes += 1
            case "restart":
                self._server.kill()
                self._server.start()
                self.counted.restarts += 1
                self._check()

    def until(self, accepted: int) -> None:
        """Until the simulator has accepted so many; none for until the campaign is over."""
        simulator, before, since_s = self.fleet.simulator, -1, time.monotonic()
        while (count := simulator.tally(self._campaign.id)["accepted"]) < accepted:
            self.look_after_sleepers()
            if count != before:
                before, since_s = count, time.monotonic()
            self._refuse_stuck(since_s)
            time.sleep(LOOK_EVERY_S)

    def finish(self) -> None:
        """To the end; a halt (ten probes in doubt can happen by chance) is gone on from."""
        since_s = time.monotonic()
        while (state := self.fleet.state(self._campaign)) != "finished" or self._asleep:
            self.look_after_sleepers()
            if state == "halted":
                self.fleet.resume(self._campaign)
            self._refuse_stuck(since_s)
            time.sleep(5 * LOOK_EVERY_S)

    def _refuse_stuck(self, since_s: float) -> None:
        if time.monotonic() - since_s > STUCK_AFTER_S:
            said = "\n".join(one.said()[-500:] for one in self._awake)
            raise ScenarioError(f"nothing has moved for {STUCK_AFTER_S:.0f} s; the workers said:\n{said}")

    def _some_worker(self) -> WorkerProcess:
        while not self._awake:
            self.look_after_sleepers()
            time.sleep(LOOK_EVERY_S)
        return self._dice.choice(self._awake)

    def _check(self) -> None:
        """Promise 1, at the instant of a death."""
        self.counted.unbalanced += not self.fleet.tally(self._campaign).adds_up


def one_campaign(
    folder: Path,
    server: Postgres,
    *,
    workers: int,
    entries: int,
    chunk_entries: int,
    hits: Hits,
    lease_s: float,
    recipients_per_s: float,
    dice: random.Random,
) -> FleetCounted:
    """Send it while all this happens, at moments spread over the campaign, and compare row by row.

    `recipients_per_s` is the quota that they share.
    """
    addresses = [
        f"fault.message_rejected+{n}@example.com" if n % 97 == 0 else f"r{n}@example.com" for n in range(entries)
    ]
    began_s = time.monotonic()
    with (
        database(server.url, DATABASE) as url,
        SimulatorProcess(
            max_send_rate_per_s=recipients_per_s,
            latency_ms=20,
            latency_jitter_ms=40,
            seed=dice.randrange(2**31),
        ) as simulator,
        Fleet(
            folder,
            url,
            simulator,
            lease_s=lease_s,
            max_in_flight=CAP,
            answer_timeout_s=ANSWER_TIMEOUT_S,
            chunk_entries=chunk_entries,
        ) as fleet,
    ):
        simulator.rules(crash.FAULTS)
        campaign = fleet.submit("crash", addresses)
        havoc = Havoc(fleet, server, campaign, lease_s, dice)
        havoc.add_workers(workers)
        kinds = hits.shuffled(dice)
        for number, kind in enumerate(kinds):
            havoc.until(int(0.9 * entries * (number + dice.random()) / len(kinds)))
            havoc.hit(kind)
        havoc.finish()
        counted = havoc.counted
        crash.compare(folder, simulator, counted)
        counted.overtaken = fleet.overtaken()
        # What a frozen worker had in the air has timed out by the time that it wakes.
        in_the_air = (counted.kills + counted.freezes) * CAP * crash.BATCH
        counted.in_doubt_bound = in_the_air + simulator.tally(campaign.id)["ambiguous_attempts"]
    counted.seconds = round(time.monotonic() - began_s, 1)
    return counted


@dataclass(frozen=True, slots=True)
class Outage:
    """What came of a time without a database."""

    seconds: float
    workers: int
    alive: int
    healthy: bool
    ready: bool
    sent_meanwhile: int
    entries: int
    accepted: int
    in_doubt: int
    copies: int
    adds_up: bool

    @property
    def good(self) -> bool:
        stood_still = self.alive == self.workers and self.healthy and not self.ready and not self.sent_meanwhile
        return stood_still and self.adds_up and (self.accepted, self.in_doubt, self.copies) == (self.entries, 0, 0)


def outage_of(folder: Path, server: Postgres, *, workers: int, seconds: float, recipients_per_s: float) -> Outage:
    """Send for some seconds, take the database away, give it back, and send the rest."""
    entries = int(20 * recipients_per_s)
    with (
        database(server.url, DATABASE) as url,
        SimulatorProcess(max_send_rate_per_s=recipients_per_s, latency_ms=300) as simulator,
        Fleet(folder, url, simulator, lease_s=10.0, max_in_flight=16) as fleet,
    ):
        campaign = fleet.submit("outage", entries)
        started = fleet.workers(workers)
        fleet.await_accepted(entries // 3)
        server.kill()
        time.sleep(2.0)  # what had its intent has left by then
        before = simulator.tally()["requests"]
        healthy, ready = [], []
        until_s = time.monotonic() + seconds - 2.0
        while time.monotonic() < until_s:
            time.sleep(1.0)
            healthy += [one.ask("GET", "/healthz")[0] for one in started]
            ready += [one.ask("GET", "/readyz")[0] for one in started]
        sent_meanwhile = simulator.tally()["requests"] - before
        server.start()
        fleet.await_state("finished", campaign)
        tally, theirs = fleet.tally(campaign), simulator.tally(campaign.id)
        return Outage(
            seconds=seconds,
            workers=workers,
            alive=sum(one.process.poll() is None for one in started),
            healthy=set(healthy) == {200},
            ready=set(ready) != {503},
            sent_meanwhile=sent_meanwhile,
            entries=entries,
            accepted=tally.accepted,
            in_doubt=tally.in_doubt,
            copies=len(theirs["copies"]) + theirs["accepted"] - tally.accepted,
            adds_up=tally.adds_up,
        )
