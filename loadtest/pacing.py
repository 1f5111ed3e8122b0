"""How much of the quota is used, and how often SES throttles: minutes of real sending against the enforcing simulator.

    python -m loadtest.pacing            every scenario, about six minutes
    python -m loadtest.pacing rate-500   one of them

Everything stays on loopback and ends by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from bulksend.engine import Engine
from bulksend.facts import Waiting
from bulksend.pacing import PaceSettings
from bulksend.simulator import SimulatorProcess
from loadtest import report
from loadtest.children import environment
from loadtest.report import Report
from tests.harness import Desk, Ended

NOTES = """
- Used: recipients accepted over what the quota granted in the time (with another sender, over what that left).
  Throttled: requests that the simulator refused with a 429, of all requests.
- rate-500, rate-14, rate-1: a quota of so many recipients per second. changing: the quota is halved, then doubled; the
  remark has the pace after each change. beside-another: another sender takes a third of it. short-day: a day's quota
  that is spent, in days of a minute; the sender waits and goes on by itself.
"""


@dataclass(frozen=True)
class Figures:
    """What came of a scenario. `used` is of what was to be had; `good`: as it has to be."""

    scenario: str
    seconds: float
    accepted: int
    used: float
    throttled: int
    requests: int
    good: bool
    remark: str = ""


def send(
    simulator: SimulatorProcess,
    seconds: float,
    recipients: int,
    *,
    pace: PaceSettings | None = None,
    meanwhile: Callable[[asyncio.AbstractEventLoop], None] = lambda _: None,
) -> tuple[Ended, dict[str, Any]]:
    """Send for so long, or to so many."""

    def schedule(engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, engine.drain)
        meanwhile(loop)

    with tempfile.TemporaryDirectory(prefix="bulksend-pacing-") as folder:
        desk = Desk(Path(folder), simulator.url)
        desk.plan([f"r{n}@example.com" for n in range(recipients)])
        ended = desk.send(speed=1.0, pace=pace, meanwhile=schedule, max_in_flight=64, answer_timeout_s=30.0)
        return ended, simulator.tally(ended.campaign.id)


def steady(rate: float, seconds: float = 60.0) -> Figures:
    """≥ 99 % of the rate after the first second, nothing throttled."""
    with SimulatorProcess(max_send_rate_per_s=rate, latency_ms=50) as simulator:
        _, tally = send(simulator, seconds + 1, int(rate * (seconds + 5)) + 100)
    used = tally["accepted"] / (rate * seconds)
    return Figures(
        f"rate-{rate:.0f}",
        seconds,
        tally["accepted"],
        used,
        tally["refused_429"],
        tally["requests"],
        used >= 0.99 and tally["refused_429"] == 0,
    )


def changing() -> Figures:
    """400/s, halved after 35 s, doubled after 70 s: each followed within one refresh of the quota."""
    rates = ((0.0, 400.0), (35.0, 200.0), (70.0, 400.0))
    with SimulatorProcess(max_send_rate_per_s=400.0, latency_ms=50, enforce=False) as simulator:

        def change(loop: asyncio.AbstractEventLoop) -> None:
            for at_s, rate in rates[1:]:
                loop.call_later(at_s, partial(simulator.settings, max_send_rate_per_s=rate))

        _, tally = send(simulator, 105.0, 45_000, meanwhile=change)
    by_second = [count for _, count in sorted((int(s), n) for s, n in dict(tally["per_second"]).items())]
    settled = {at_s: sum(by_second[int(at_s) + 31 : int(at_s) + 34]) / 3 for at_s, _ in rates}
    remark = ", ".join(f"{settled[at_s]:.0f}/s of {rate:.0f}" for at_s, rate in rates)
    good = all(abs(settled[at_s] - rate) <= 0.05 * rate for at_s, rate in rates)
    return Figures("changing", 105.0, tally["accepted"], 1.0, tally["refused_429"], tally["requests"], good, remark)


def beside_another(rate: float = 500.0, seconds: float = 90.0) -> Figures:
    """Another sender takes a third: at most 1 % throttled, at least 95 % of the rest used."""
    with SimulatorProcess(max_send_rate_per_s=rate, latency_ms=50) as simulator:

        def other(loop: asyncio.AbstractEventLoop) -> None:
            async def spend() -> None:
                while True:
                    await asyncio.sleep(0.1)
                    await asyncio.to_thread(simulator.foreign, round(rate / 30))

            tasks.append(loop.create_task(spend()))

        tasks: list[asyncio.Task[None]] = []
        _, tally = send(simulator, seconds, int(rate * seconds) + 1000, meanwhile=other)
    used = tally["accepted"] / (rate * 2 / 3 * (seconds - 1))
    throttled = tally["refused_429"]
    good = used >= 0.95 and throttled <= 0.01 * tally["requests"]
    return Figures("beside-another", seconds, tally["accepted"], used, throttled, tally["requests"], good)


def short_day(day_s: float = 60.0) -> Figures:
    """A day of a minute and 3,000 recipients: 4,500 wait, say until when, and go on by themselves."""
    with SimulatorProcess(max_send_rate_per_s=500.0, max_24_hour_send=3000, day_s=day_s, latency_ms=20) as simulator:
        ended, tally = send(simulator, 3 * day_s, 4500, pace=PaceSettings(window_s=day_s))
    waits = [fact.reason for fact in ended.facts if isinstance(fact, Waiting) and fact.reason]
    good = ended.tally.accepted == 4500 and any("frees from" in wait for wait in waits) and ended.elapsed_s >= day_s
    refused = tally["requests"] - tally["accepted"] // 50
    return Figures(
        "short-day",
        ended.elapsed_s,
        tally["accepted"],
        1.0,
        refused,
        tally["requests"],
        good,
        waits[0] if waits else "",
    )


SCENARIOS: dict[str, Callable[[], Figures]] = {
    "rate-500": lambda: steady(500.0),
    "rate-14": lambda: steady(14.0),
    "rate-1": lambda: steady(1.0),
    "changing": changing,
    "beside-another": beside_another,
    "short-day": short_day,
}


def pacing(options: argparse.Namespace) -> Report:
    made = Report("pacing", report.settings_of(options), NOTES)
    table = made.table("Use of the quota", **{field.name: field.name for field in fields(Figures)})
    os.environ |= environment()
    for name in options.scenarios or SCENARIOS:
        figures = SCENARIOS[name]()
        report.people.print(f"{name}: {figures.used:.1%} used, {figures.throttled} throttled")
        table.add(**asdict(figures) | {"used": f"{figures.used:.1%}"})
        made.good = made.good and figures.good
    return made


def main() -> int:
    arguments = report.parser(__doc__)
    arguments.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="all, if none is named")
    return report.run(arguments, pacing)


if __name__ == "__main__":
    sys.exit(main())
