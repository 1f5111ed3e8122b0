"""Several workers on one PostgreSQL: whether the promises hold on bad days, and how fast they are.

    python -m loadtest.fleet crash     kill -9, SIGSTOP and a restart of the database, four workers
    python -m loadtest.fleet outage    the database is away for a minute
    python -m loadtest.fleet rates     rows, chunks and recipients a second

It starts a PostgreSQL of its own. Everything stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from loadtest import fleet_rates, report
from loadtest.children import environment
from loadtest.fleet_crash import FleetCounted, Hits, Outage, one_campaign, outage_of
from loadtest.report import Report
from tests.postgres import Postgres

CRASH_NOTES = """
- Kills: SIGKILL of a worker, which another one replaces. Freezes: SIGSTOP for longer than the lease, then SIGCONT.
  Restarts: SIGKILL of PostgreSQL, and its start. All at random moments, spread over the campaign, while faults of every
  kind are on.
- Copies: rows that the simulator accepted more than once, or that we do not call accepted or in doubt. Losses: rows
  that we call accepted and the simulator does not. Unbalanced: times that the journal did not add up, looked at after
  each death. Overtaken: attempts made under an epoch after one was made under a later one.
- In doubt is bounded by what can have been in the air: (kills + freezes) × requests in flight × 50, and what the faults
  left open. A worker that wakes finds that what it awaited has timed out.
"""
OUTAGE_NOTES = """
- The database is killed, and started again after so many seconds. Sent meanwhile: requests that came to the simulator
  from two seconds after that until the start. In doubt: at the end; there must be none, as every answer was good.
- Alive: workers that are the same processes at the end. Healthy, ready: the answers of /healthz and /readyz meanwhile.
"""

MORE_THAN_ENOUGH_PER_S = 100_000.0
"""Even the part of it that is left by throttles without a cause, which are among the faults, is enough."""


def crash(options: argparse.Namespace) -> Report:
    made = Report("fleet-crash", report.settings_of(options), CRASH_NOTES)
    with Postgres() as server, tempfile.TemporaryDirectory(prefix="bulksend-fleet-", dir=options.folder) as folder:
        os.chdir(folder)
        counted = one_campaign(
            Path(folder),
            server,
            workers=options.workers,
            entries=options.entries,
            chunk_entries=options.chunk,
            hits=Hits(options.kills, options.freezes, options.restarts),
            lease_s=options.lease,
            recipients_per_s=MORE_THAN_ENOUGH_PER_S,
            dice=random.Random(options.seed),
        )
    table = made.table("Bad days", **headings(FleetCounted))
    table.add(**asdict(counted))
    made.good = counted.good
    return made


def outage(options: argparse.Namespace) -> Report:
    made = Report("fleet-outage", report.settings_of(options), OUTAGE_NOTES)
    with Postgres() as server, tempfile.TemporaryDirectory(prefix="bulksend-fleet-", dir=options.folder) as folder:
        os.chdir(folder)
        found = outage_of(
            Path(folder), server, workers=options.workers, seconds=options.seconds, recipients_per_s=options.rate
        )
    made.table("The database is away", **headings(Outage)).add(**asdict(found))
    made.good = found.good
    return made


def headings(kind: type) -> dict[str, str]:
    return {one.name: one.name.replace("_", " ") for one in fields(kind)}


SCENARIOS: dict[str, Callable[[argparse.Namespace], Report]] = {
    "crash": crash,
    "outage": outage,
    "rates": fleet_rates.rates,
}


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("scenario", choices=list(SCENARIOS))
    arguments.add_argument("--workers", type=int, default=4, help="crash, outage: how many")
    arguments.add_argument("--entries", type=int, default=150_000, help="crash: of the campaign")
    arguments.add_argument("--chunk", type=int, default=2500, help="crash: entries of a chunk")
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--freezes", type=int, default=6)
    arguments.add_argument("--restarts", type=int, default=1)
    arguments.add_argument("--lease", type=float, default=2.5, help="crash: seconds of a lease")
    arguments.add_argument("--rate", type=float, default=1000.0, help="outage: the quota, recipients per second")
    arguments.add_argument("--seconds", type=float, default=60.0, help="outage: how long; rates: of each measurement")
    arguments.add_argument("--recipients", type=int, default=400_000, help="rates: of the campaign that is sent")
    arguments.add_argument("--seed", type=int, default=0)
    os.environ |= environment()
    return report.run(arguments, lambda options: SCENARIOS[options.scenario](options))


if __name__ == "__main__":
    sys.exit(main())
