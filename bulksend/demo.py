"""demo: a made-up campaign through a misbehaving simulator, in a throw-away store. Nothing leaves this machine."""

from __future__ import annotations

import csv
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.errors import ExitCode
from bulksend.facts import BatchAnswered, Fact
from bulksend.model import CampaignState, Verdict
from bulksend.report import LiveProgress, print_doubts, print_plan, print_status
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Sent, Store
from bulksend.worker.log import RunLog
from bulksend.worker.rehearsal import at_simulator, example_credentials

__all__ = ["run_demo"]

CAMPAIGN = """\
name = "demo"
[sender]
from = "Example News <news@example.com>"
configuration_set = "demo"
[content]
inline = { subject = "Hello {{first_name}}", text = "Dear {{first_name}}, your plan is {{plan}}." }
default_data = { plan = "free" }
[recipients]
path = "list.csv"
"""
EVENTS_AFTER_MS = 1500
"""Long enough for doubt to be seen, short enough for most mails to be heard of before the end."""
NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald")


def run_demo(people: Console, recipients: int, settings: Settings) -> int:
    """Plan, send, hear what became of the mails, compare the journal with the simulator's own count: the exit code.

    0 if the books agree.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bulksend-demo-") as folder,
        example_credentials(),
        SimulatorProcess(
            max_send_rate_per_s=max(500.0, recipients / 8), latency_ms=40, events=True, event_delay_ms=EVENTS_AFTER_MS
        ) as simulator,
    ):
        simulator.rules(
            [
                {"fault": "transient_failure", "share": 0.02, "times": recipients // 50},
                {"fault": "throttled_429", "share": 0.02, "times": 3},
                {"fault": "unavailable_503", "share": 0.02, "times": 3},
                {"fault": "reset_after_accepting", "share": 1.0, "first_request": 12, "last_request": 12},
                {"events": ["Bounce"], "share": 0.02},
                {"events": ["DeliveryDelay", "Delivery"], "share": 0.05},
            ]
        )
        queues = {"queues": (simulator.events_queue_url,), "endpoint_url": simulator.url, "apart": False}
        own = {"store": None, "snapshots": None, "events": settings.events.model_copy(update=queues)}
        private = at_simulator(settings.model_copy(update=own), simulator.url)
        return _run(people, Path(folder), recipients, private, simulator)


@dataclass(slots=True)
class _Doubted:
    """Counts the mails that come into doubt."""

    mails: int = 0

    def observe(self, fact: Fact, /) -> None:
        """See engine.Observer."""
        if isinstance(fact, BatchAnswered):
            self.mails += sum(count for (verdict, _), count in fact.outcomes.items() if verdict is Verdict.IN_DOUBT)


def _run(people: Console, folder: Path, recipients: int, settings: Settings, simulator: SimulatorProcess) -> int:
    _write_list(folder / "list.csv", recipients)
    (folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    file = load_campaign(folder / "campaign.toml")
    store = Store.open(settings, folder)
    people.print("A simulator of SES that throttles, fails and drops connections; a list with faults of its own.\n")
    planned = worker.plan(file, settings, store)
    print_plan(people, planned.campaign, planned.warnings)
    people.print()
    tally = store.journal.tally(planned.campaign)
    doubted = _Doubted()
    with LiveProgress(people, file.name, tally) as progress:
        sent = worker.send(
            planned.campaign,
            settings,
            store,
            observers=(progress, doubted, RunLog(file.name, on_terminal=people.is_terminal)),
            on_drain=progress.say_draining,
        )
    print_status(people, sent.campaign, sent.tally, store.became(sent.campaign))
    if doubted.mails:
        people.print("\nThe simulator accepted one request and dropped the connection.")
    if settled := doubted.mails - sent.tally.in_doubt:
        people.print(f"Its mails were in doubt until events told of them: {settled:,} are known to be accepted.")
    if sent.tally.in_doubt:
        people.print("Nobody can know here whether it accepted these:")
        found = worker.doubts(store, sent.campaign)
        print_doubts(people, ((d.row, d.report.status, d.report.reason, d.report.at) for d in found), most=3)
    return _compare(people, sent, simulator)


def _compare(people: Console, sent: Sent, simulator: SimulatorProcess) -> int:
    theirs = simulator.tally(sent.campaign.id)
    ours = sent.tally
    copies = len(theirs["copies"])
    people.print(
        f"\nThe simulator's own count: {theirs['accepted']:,} accepted, {copies} copies. "
        f"Ours: {ours.accepted:,} accepted, {ours.in_doubt:,} in doubt, {ours.dead:,} dead."
    )
    if sent.interrupted or sent.campaign.state is not CampaignState.FINISHED:
        return int(sent.exit_code)
    agree = ours.adds_up and not copies and ours.accepted <= theirs["accepted"] <= ours.accepted + ours.in_doubt
    if not agree:
        people.print("[bold red]The books do not agree: please report this.[/]")
        return int(ExitCode.UNEXPECTED)
    people.print(f"[bold green]The books agree[/] after {sent.duration_s:.1f} s: nobody twice, nobody lost.")
    return int(ExitCode.DONE)


def _write_list(path: Path, recipients: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("email", "first_name", "plan"))
        for n in range(1, recipients + 1):
            address = f"success+{n}@simulator.amazonses.com"
            if n % 500 == 0:
                address = f"not an address {n}"
            elif n % 400 == 0:
                address = "success+1@simulator.amazonses.com"
            elif n % 300 == 0:
                address = f"fault.message_rejected+{n}@example.com"
            rows.writerow((address, NAMES[n % len(NAMES)], "pro" if n % 3 else "free"))
