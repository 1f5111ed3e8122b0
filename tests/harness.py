"""A campaign from list to verdict against a real server, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulksend import worker
from bulksend.aws import AwsAccess
from bulksend.config import Settings, load_campaign, load_settings
from bulksend.engine import Engine, pipeline
from bulksend.facts import Audience, Fact
from bulksend.model import Campaign, CampaignState, Halt, Policy, ResultRow, Tally
from bulksend.pacing import PaceSettings, QuotaPacer
from bulksend.recipients import SnapshotReader
from bulksend.ses import Account, CompatibleTransport
from bulksend.worker import Store
from bulksend.worker.running import ChunkThread
from tests.clocks import ScaledLoop

REGION = "eu-west-1"

CAMPAIGN = """\
name = "{name}"
[sender]
from = "Example News <news@example.com>"
[content]
template = "launch"
[recipients]
path = "list.csv"
dedupe = {dedupe}
"""


@dataclass
class Facts:
    """An observer that remembers."""

    seen: list[Fact] = field(default_factory=list)

    def observe(self, fact: Fact) -> None:
        self.seen.append(fact)


@dataclass
class Ended:
    state: CampaignState
    halt: Halt | None
    tally: Tally
    campaign: Campaign
    facts: list[Fact]
    elapsed_s: float
    """By the test's clock."""


def write_list(path: Path, addresses: Sequence[str], more: Mapping[str, Sequence[str]] | None = None) -> None:
    columns = {"email": addresses, **(more or {})}
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(columns)
        out.writerows(zip(*columns.values(), strict=True))


def settings_for(url: str, **more: object) -> Settings:
    return load_settings(None, {}, {"aws.endpoint_url": url, "aws.region": REGION, **more})


@dataclass
class Desk:
    """One folder, one store, one campaign: planned once, sent as often as the test likes."""

    folder: Path
    url: str
    name: str = "launch"

    def plan(
        self,
        addresses: Sequence[str],
        *,
        dedupe: bool = False,
        body: str = CAMPAIGN,
        settings: Settings | None = None,
    ) -> Campaign:
        write_list(self.folder / "list.csv", addresses)
        return self.plan_file(body, dedupe=dedupe, settings=settings)

    def plan_file(self, body: str, *, dedupe: bool = False, settings: Settings | None = None) -> Campaign:
        """With the list that lies there already."""
        path = self.folder / "campaign.toml"
        path.write_text(body.format(name=self.name, dedupe=str(dedupe).lower()), "utf-8")
        return worker.plan(load_campaign(path), settings or settings_for(self.url), self.store()).campaign

    def store(self, now: Callable[[], float] | None = None) -> Store:
        return Store.at(self.folder / ".bulksend", now=now or time.time)

    def results(self, *states: str) -> list[ResultRow]:
        store = self.store()
        return list(worker.results(store, store.journal.campaign(self.name), states))

    def send(
        self,
        *,
        speed: float = 60.0,
        policy: Policy | None = None,
        max_in_flight: int = 8,
        answer_timeout_s: float = 600.0,
        access: AwsAccess | None = None,
        pace: PaceSettings | None = None,
        meanwhile: Callable[[Engine], None] | None = None,
        start_at_s: float = 0.0,
    ) -> Ended:
        """Send with the real parts, `speed` times as fast as the world. `answer_timeout_s` is in the test's seconds."""
        loop = ScaledLoop(speed)
        pipeline.WATCH_EVERY_S = 0.5 * speed  # half a second of the world's: at great speeds it would do nothing else

        def now() -> float:
            return loop.now() + start_at_s

        store = self.store(now)
        campaign = store.journal.campaign(self.name)
        facts = Facts()
        access = access or AwsAccess(
            region=REGION, endpoint_url=self.url, connect_timeout_s=600.0, answer_timeout_s=answer_timeout_s
        )
        halts: list[Halt | None] = []
        elapsed: list[float] = []

        async def main() -> CampaignState:
            with SnapshotReader(
                store.snapshot_of(campaign), size_bytes=campaign.snapshot_bytes, sha256=campaign.snapshot_sha256
            ) as reader:
                async with (
                    Account(access) as account,
                    QuotaPacer(account.read, settings=pace, observe=facts.observe, now=now) as pacer,
                    CompatibleTransport(
                        access, campaign.prefix, campaign.suffix, max_connections=max_in_flight
                    ) as transport,
                ):
                    with ChunkThread(reader, Audience()) as source:
                        engine = Engine(
                            campaign.id,
                            source=source,
                            journal=store.journal,
                            transport=transport,
                            pacer=pacer,
                            observers=(facts,),
                            policy=policy or campaign.policy,
                            max_in_flight=max_in_flight,
                            now=now,
                        )
                        if meanwhile is not None:
                            meanwhile(engine)
                        try:
                            return await engine.run()
                        finally:
                            halts.append(engine.halt)
                            elapsed.append(loop.time())

        with store.journal.sending(), asyncio.Runner(loop_factory=lambda: loop) as runner:
            state = runner.run(main())
        campaign = store.journal.campaign(self.name)
        return Ended(state, halts[-1], store.journal.tally(campaign), campaign, facts.seen, elapsed[0])
