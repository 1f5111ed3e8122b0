"""A canary, a ramp and a breaker over the real parts, with events as they would come."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.engine import Engine, pipeline
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.facts import Audience, BatchAnswered, BreakerBlind, Waiting, WaitKind
from bulksend.model import Campaign, CampaignState, Halt, Tally, Verdict
from bulksend.safety import Breaker, Canary, RampStep, Safety
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store, safety
from bulksend.worker.running import bound_access, running, working
from bulksend.worker.safety import Guard, guarding
from tests.clocks import EPOCH, ScaledLoop
from tests.fleet import chunks_of
from tests.harness import CAMPAIGN, Desk, Facts, settings_for
from tests.integration.test_conservation import planned as any_campaign
from tests.integration.test_journals import at_work, batch

BREAKER = Safety()


@dataclass
class News:
    """Records what becomes of each accepted mail, so many seconds after it was sent, as a consumer would.

    `bounces` says of a row whether its mail bounces; rows for which `heard` is false are never heard of.
    """

    bounces: Callable[[int], bool] = lambda _: False
    heard: Callable[[int], bool] = lambda _: True
    complains: Callable[[int], bool] = lambda _: False
    refuses: Callable[[int], bool] = lambda _: False
    deliveries: bool = True
    after_s: float = 3.0
    seen: int = 0
    rows: list[int] = field(default_factory=list)

    def of(self, store: Store, campaign: Campaign, now: float) -> list[MailEvent]:
        """What has come since the last time."""
        starts, row = {}, 0
        for number, entries in store.journal.chunk_sizes(campaign):
            starts[number], row = row, row + entries
        with closing(sqlite3.connect(store.folder / "journal.db")) as db:
            found = db.execute(
                "SELECT a.id, a.at, a.chunk, a.first, a.count, a.indices, o.message_ids FROM attempt a "
                "JOIN outcome o ON o.attempt_id = a.id WHERE a.id > ? AND a.at <= ? ORDER BY a.id",
                (self.seen, now - self.after_s),
            ).fetchall()
        events: list[MailEvent] = []
        for attempt_id, at, chunk, first, count, indices, message_ids in found:
            self.seen = attempt_id
            places = range(first, first + count) if indices is None else orjson.loads(indices)
            for place, message_id in zip(places, orjson.loads(message_ids), strict=False):
                row = starts[chunk] + place + 1
                self.rows.append(row)
                if message_id and self.heard(row):
                    events += self.befell(campaign, row, message_id, at)
        return events

    def befell(self, campaign: Campaign, row: int, message_id: str, at: float) -> list[MailEvent]:
        if self.bounces(row):
            kinds = [EventType.BOUNCE]
        elif self.refuses(row):
            kinds = [EventType.RENDERING_FAILURE]
        else:
            kinds = [EventType.DELIVERY] if self.deliveries else []
            kinds += [EventType.COMPLAINT] if self.complains(row) else []
        return [
            MailEvent(
                key=hashlib.blake2b(f"{message_id} {kind}".encode(), digest_size=16).digest(),
                type=kind,
                message_id=message_id,
                at=at + self.after_s,
                sent_at=at,
                campaign_id=campaign.id,
                row=row,
                recipients=(f"person{row}@example.com",),
                bounce=BounceKind.PERMANENT if kind is EventType.BOUNCE else None,
                subtype="General" if kind is EventType.BOUNCE else "",
            )
            for kind in kinds
        ]


@dataclass
class Ran:
    state: CampaignState
    halt: Halt | None
    tally: Tally
    campaign: Campaign
    facts: Facts
    elapsed_s: float

    def waits(self) -> list[str]:
        return [fact.reason for fact in self.facts.seen if isinstance(fact, Waiting) and fact.kind is WaitKind.CANARY]


def settings_of(url: str, per_s: float) -> Settings:
    return settings_for(url, **{"pacing.max_recipients_per_s": per_s, "transport.answer_timeout_s": 300.0})


def planned(desk: Desk, entries: int, terms: Safety, *, chunk_entries: int = 5000) -> Campaign:
    with chunks_of(chunk_entries):
        campaign = desk.plan([f"person{n}@example.com" for n in range(1, entries + 1)], body=CAMPAIGN)
    return termed(desk, terms) if terms != Safety() else campaign


def termed(desk: Desk, terms: Safety) -> Campaign:
    """With another safety from now on."""
    journal = desk.store().journal
    campaign = journal.campaign(desk.name)
    journal.set_terms(campaign, campaign.policy, campaign.schedule, terms)
    return journal.campaign(desk.name)


def run(
    desk: Desk,
    news: News | None,
    *,
    per_s: float = 500.0,
    speed: float = 30.0,
    start_at_s: float = 0.0,
    meanwhile: Callable[[Engine, Store], Any] | None = None,
) -> Ran:
    """Send as `bulksend send` does, `speed` times as fast as the world, and have the events recorded."""
    loop = ScaledLoop(speed)
    pipeline.WATCH_EVERY_S = 0.5 * speed

    def now() -> float:
        return loop.now() + start_at_s

    store = Store.at(desk.folder / ".bulksend", now=now)
    campaign = store.journal.campaign(desk.name)
    settings, facts = settings_of(desk.url, per_s), Facts()
    found: list[Engine] = []

    async def consume() -> None:
        while news is not None:
            events = await asyncio.to_thread(news.of, store, campaign, now())
            if events:
                await asyncio.to_thread(store.events.record, events, now())
            await asyncio.sleep(1.0)

    async def main() -> CampaignState:
        audience = Audience([facts])
        async with (
            working(campaign.binding, bound_access(campaign, settings), settings, store, audience, None) as at_work,
            running(campaign, at_work, at_work.pacer, settings, store, audience, None) as engine,
        ):
            found.append(engine)
            chores = [asyncio.create_task(consume())]
            if meanwhile is not None:
                chores.append(asyncio.create_task(meanwhile(engine, store)))
            try:
                return await engine.run()
            finally:
                for chore in chores:
                    chore.cancel()
                    with suppress(asyncio.CancelledError):
                        await chore

    with store.journal.sending(campaign.id), asyncio.Runner(loop_factory=lambda: loop) as runner:
        state = runner.run(main())
    campaign = store.journal.campaign(desk.name)
    return Ran(state, found[0].halt, store.journal.tally(campaign), campaign, facts, loop.time())


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 1_000_000, "max_24_hour_send": -1, "latency_ms": 1}


@pytest.fixture
def desk(tmp_path: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Desk:
    # What a judgement takes is of the real world, and seems 30 times as long: it would be judged but now and then.
    monkeypatch.setattr(safety, "JUDGE_SHARE", 1.0)
    return Desk(tmp_path, simulator.url)


# The breaker ----------------------------------------------------------------------------------------------------------


def test_six_per_cent_of_bounces_halt_it_within_its_window(desk: Desk) -> None:
    planned(desk, 40_000, BREAKER)
    ended = run(desk, News(bounces=lambda row: row % 50 < 3))
    assert ended.state is CampaignState.HALTED
    assert ended.halt is not None
    assert "bounced for good" in ended.halt.reason
    assert "the limit is 4.8 %" in ended.halt.reason
    assert "bulksend resume launch" in ended.halt.remedy
    assert ended.elapsed_s < 3600
    assert 1000 < ended.tally.accepted < 40_000
    assert ended.tally.adds_up


def test_four_per_cent_do_not(desk: Desk) -> None:
    planned(desk, 12_000, BREAKER)
    ended = run(desk, News(bounces=lambda row: row % 50 < 2))
    assert (ended.state, ended.tally.accepted) == (CampaignState.FINISHED, 12_000)


def test_complaints_halt_it(desk: Desk) -> None:
    planned(desk, 20_000, BREAKER)
    ended = run(desk, News(complains=lambda row: row % 250 == 0))
    assert ended.halt is not None
    assert "were complained of" in ended.halt.reason


def test_without_a_breaker_nothing_halts_it(desk: Desk) -> None:
    planned(desk, 5000, Safety(breaker=None))
    assert run(desk, News(bounces=lambda _: True)).state is CampaignState.FINISHED


def test_what_was_sent_before_a_person_resumed_it_counts_no_more(desk: Desk) -> None:
    planned(desk, 12_000, BREAKER)
    news = News(bounces=lambda row: row <= 1010)
    first = run(desk, news)
    assert first.state is CampaignState.HALTED
    assert first.campaign.armed_at is not None
    again = run(desk, news, start_at_s=first.elapsed_s + 5)
    assert (again.state, again.tally.accepted) == (CampaignState.FINISHED, 12_000)
    assert again.campaign.armed_at is not None
    assert again.campaign.armed_at > first.campaign.armed_at


def test_where_no_delivery_is_reported_bounces_are_a_part_of_what_was_sent(desk: Desk) -> None:
    planned(desk, 12_000, replace(BREAKER, breaker=Breaker(min_sample=100)))
    ended = run(desk, News(bounces=lambda row: row % 50 < 2, deliveries=False))
    assert ended.state is CampaignState.FINISHED


def test_where_no_delivery_is_reported_complaints_alone_halt_it(desk: Desk) -> None:
    planned(desk, 12_000, replace(BREAKER, breaker=Breaker(min_sample=100)))
    ended = run(desk, News(complains=lambda row: row % 100 == 0, deliveries=False))
    assert ended.halt is not None
    assert "were complained of" in ended.halt.reason


def test_a_breaker_that_hears_nothing_says_so_once_and_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "BLIND_AFTER_S", 8.0)
    planned(desk, 60, BREAKER)
    ended = run(desk, None, per_s=2.0, speed=20.0)
    assert ended.state is CampaignState.FINISHED
    (blind,) = [fact for fact in ended.facts.seen if isinstance(fact, BreakerBlind)]
    assert "no event of this campaign has come in" in blind.reason


@dataclass
class Watched:
    """A guard over a store of its own, at times that the test chooses."""

    store: Store
    at: list[float]
    campaign: Campaign
    guard: Guard
    facts: Facts
    rows: int = 0

    @classmethod
    def begun(cls, folder: Path) -> Watched:
        """A campaign that is being sent since EPOCH."""
        at, facts = [EPOCH], Facts()
        store = Store.at(folder, now=lambda: at[0])
        campaign = any_campaign(store.journal)
        with at_work(store.journal) as do:
            do(store.journal.set_state(campaign.id, CampaignState.SENDING))
        return cls(store, at, campaign, Guard.of(campaign, store, facts), facts)

    def goes_out(self, at: float) -> None:
        self.at[0] = at
        self.guard.observe(BatchAnswered(Verdict.ACCEPTED, 1, 0.0, {}, "200", "signed"))

    def hears(self, mails: int, sent_at: float, news: News) -> None:
        """Of so many mails, that were sent at that time."""
        rows = range(self.rows, self.rows + mails)
        self.rows += mails
        events = [one for row in rows for one in news.befell(self.campaign, row, f"m{row}", sent_at)]
        self.store.events.record(events, self.at[0])

    def judged(self, *, until: Callable[[], bool]) -> list[Halt]:
        """Watch until it halts, or the test has seen enough."""
        halts: list[Halt] = []

        async def main() -> None:
            async with guarding(self.guard, halts.append), asyncio.timeout(30):
                while not halts and not until():  # noqa: ASYNC110  a thread does it
                    await asyncio.sleep(0.01)

        asyncio.run(main())
        return halts

    def blind(self) -> list[str]:
        return [fact.reason for fact in self.facts.seen if isinstance(fact, BreakerBlind)]


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    monkeypatch.setattr(safety, "JUDGE_EVERY_S", 0.01)
    return Watched.begun(tmp_path)


def never() -> bool:
    return False


def test_a_breaker_judges_a_pace_at_which_no_window_has_enough_mails(watched: Watched) -> None:
    """400 mails an hour, of which every third bounces."""
    for hour in range(3):
        watched.goes_out(EPOCH + 3600 * hour + 1800)
        watched.hears(400, watched.at[0] - 60, News(bounces=lambda row: row % 3 == 0))
    (halt,) = watched.judged(until=never)
    assert "the breaker tripped, of mails sent so far: 400 of 1,200 mails bounced for good" in halt.reason


def test_a_breaker_judges_events_that_come_later_than_its_window(watched: Watched) -> None:
    watched.goes_out(EPOCH + 3 * 3600)
    watched.hears(2000, EPOCH + 1, News(bounces=lambda row: row % 3 == 0))
    (halt,) = watched.judged(until=never)
    assert "667 of 2,000 mails bounced for good" in halt.reason


def test_a_clock_that_is_ahead_hides_no_mail_of_a_campaigns_first_seconds(watched: Watched) -> None:
    """SES tells when it took a mail by its own clock."""
    watched.goes_out(EPOCH + 10)
    watched.hears(2000, EPOCH - 120, News(bounces=lambda row: row % 3 == 0))
    assert watched.judged(until=never)


def test_a_breaker_that_hears_only_of_what_was_sent_long_ago_says_so(watched: Watched) -> None:
    for minute in range(60):
        watched.goes_out(EPOCH + 60 * minute)
    watched.hears(500, EPOCH + 1, News())
    assert not watched.judged(until=lambda: bool(watched.blind()))
    (said,) = watched.blind()
    assert "of no mail sent after 20" in said
    # Once it hears of the latest, it sees again.
    watched.hears(500, EPOCH + 3540, News())
    assert not watched.judged(until=lambda: len(watched.blind()) > 1)
    assert watched.blind() == [said, ""]


def test_a_breaker_that_hears_nothing_says_so_at_a_slow_pace_too(watched: Watched) -> None:
    for hour in range(4):
        watched.goes_out(EPOCH + 3600 * hour)
    assert not watched.judged(until=lambda: bool(watched.blind()))
    assert "no event of this campaign has come in" in watched.blind()[0]


def test_a_breaker_halts_what_ses_takes_and_does_not_send(watched: Watched) -> None:
    watched.goes_out(EPOCH + 60)
    watched.hears(1100, EPOCH + 30, News(refuses=lambda row: row % 5 == 0))
    (halt,) = watched.judged(until=never)
    assert "220 of 1,100 mails were accepted by SES and never sent (Reject or Rendering Failure): 20 %" in halt.reason
    assert "bulksend results" in halt.remedy


def test_bounces_of_the_second_in_which_it_was_resumed_count_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are counted by the second: what was sent a moment before is not told from what was sent a moment after."""
    monkeypatch.setattr(safety, "JUDGE_EVERY_S", 0.01)
    at = [EPOCH]
    store = Store.at(tmp_path, now=lambda: at[0])
    campaign = any_campaign(store.journal)
    news = News(bounces=lambda _: True)
    store.events.record(
        [one for row in range(2000) for one in news.befell(campaign, row, f"m{row}", EPOCH + 30.2)], EPOCH
    )

    def judged() -> Halt | None:
        guard = Guard.of(campaign, store, Facts())
        guard.observe(BatchAnswered(Verdict.ACCEPTED, 1, 0.0, {}, "200", "signed"))
        halts: list[Halt] = []

        async def main() -> None:
            async with guarding(guard, halts.append):
                await asyncio.sleep(0.3)

        asyncio.run(main())
        return halts[0] if halts else None

    async def attempt(state: CampaignState) -> None:
        await store.journal.set_state(campaign.id, state)
        if state is CampaignState.SENDING:
            await store.journal.intend(batch(campaign.id, [0]))

    with at_work(store.journal) as do:
        at[0] = EPOCH + 20
        do(attempt(CampaignState.SENDING))
        at[0] = EPOCH + 30.4
        assert judged() is not None
        do(attempt(CampaignState.HALTED))
        at[0] = EPOCH + 30.6
        do(attempt(CampaignState.SENDING))
        at[0] = EPOCH + 100
        assert judged() is None
        later = [one for row in range(2000, 4000) for one in news.befell(campaign, row, f"m{row}", EPOCH + 60)]
        store.events.record(later, EPOCH + 100)
        halt = judged()
        assert halt is not None
        since = f"{datetime.fromtimestamp(EPOCH + 31, UTC):%Y-%m-%d %H:%M:%S} UTC"
        assert f"the breaker tripped, of mails sent since {since}: 2,000 of 2,000 mails" in halt.reason


# The canary -----------------------------------------------------------------------------------------------------------

CANARY = Safety(canary=Canary(0.1, 30.0))


def test_a_canary_that_arrives_lets_the_others_go(desk: Desk) -> None:
    planned(desk, 1000, CANARY, chunk_entries=70)
    news = News(bounces=lambda row: row % 50 == 0, after_s=20.0)
    ended = run(desk, news, speed=20.0)
    assert (ended.state, ended.tally.accepted) == (CampaignState.FINISHED, 1000)
    assert ended.campaign.canary_passed_at is not None
    assert [reason.partition(";")[0] for reason in ended.waits()] == ["the first 100 mails are out"]
    assert ended.facts.seen.index(Waiting("", None)) > 0
    (before,) = sent_before(desk, ended.campaign.canary_passed_at)
    assert before == 100


def sent_before(desk: Desk, at: float) -> tuple[int, ...]:
    with closing(sqlite3.connect(desk.folder / ".bulksend" / "journal.db")) as db:
        found = db.execute("SELECT coalesce(sum(count), 0) FROM attempt WHERE at <= ?", (at,)).fetchone()
        return tuple(found)


def test_a_canary_that_bounces_halts_it(desk: Desk) -> None:
    planned(desk, 1000, CANARY, chunk_entries=70)
    news = News(bounces=lambda row: row <= 8)
    ended = run(desk, news)
    assert (ended.state, ended.tally.accepted) == (CampaignState.HALTED, 100)
    assert ended.campaign.halt == ended.halt
    assert ended.halt is not None
    assert "the canary did badly: 8 of 100 mails bounced for good: 8 %" in ended.halt.reason
    # Whoever resumes it has seen that: what is left goes out.
    again = run(desk, news, start_at_s=ended.elapsed_s + 5)
    assert (again.state, again.tally.accepted) == (CampaignState.FINISHED, 1000)


def test_a_canary_that_is_not_rendered_halts_it(desk: Desk) -> None:
    planned(desk, 300, CANARY, chunk_entries=70)
    ended = run(desk, News(refuses=lambda row: row % 10 != 0))
    assert ended.state is CampaignState.HALTED
    assert ended.halt is not None
    assert "the canary did badly: " in ended.halt.reason
    assert "were accepted by SES and never sent (Reject or Rendering Failure)" in ended.halt.reason
    assert ended.campaign.canary_passed_at is not None


def test_a_canary_of_which_nothing_is_heard_halts_it_at_its_deadline(desk: Desk) -> None:
    planned(desk, 1000, CANARY, chunk_entries=70)
    ended = run(desk, None)
    assert (ended.state, ended.tally.accepted) == (CampaignState.HALTED, 100)
    assert ended.halt is not None
    assert "the canary cannot be judged: too little was heard in 30 s" in ended.halt.reason
    assert "and events tell nothing of what became of them" in ended.halt.reason
    assert ended.elapsed_s > 30
    assert ended.campaign.canary_passed_at is None
    # Resumed, it waits as long once more; by now somebody takes the events in.
    again = run(desk, News(), start_at_s=ended.elapsed_s + 5)
    assert (again.state, again.tally.accepted) == (CampaignState.FINISHED, 1000)


def test_half_of_a_canary_is_enough_at_its_deadline(desk: Desk) -> None:
    planned(desk, 1000, CANARY)
    ended = run(desk, News(heard=lambda row: row % 2 == 0 or row > 100))
    assert ended.state is CampaignState.FINISHED
    assert ended.elapsed_s > 30


def test_a_canary_in_doubt_does_not_keep_the_others(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "reset_after_accepting", "address_contains": "person3@", "times": 1}])
    planned(desk, 300, Safety(canary=Canary(0.5, 30.0)))
    ended = run(desk, News())
    assert ended.state is CampaignState.FINISHED
    assert ended.tally.in_doubt == 50
    assert ended.tally.accepted + ended.tally.in_doubt == 300


def test_a_canary_that_was_paused_is_no_more_than_it_was(desk: Desk) -> None:
    planned(desk, 1000, CANARY, chunk_entries=70)

    async def pause(engine: Engine, store: Store) -> None:
        while store.journal.tally(store.journal.campaign("launch")).accepted < 40:  # noqa: ASYNC110  it may be anywhere
            await asyncio.sleep(0.5)
        engine.drain()

    first = run(desk, None, per_s=20.0, meanwhile=pause)
    assert first.state is CampaignState.PAUSED
    assert 40 <= first.tally.accepted <= 100
    second = run(desk, None, start_at_s=1000.0)
    assert (second.state, second.tally.accepted) == (CampaignState.HALTED, 100)


def test_a_canary_that_is_judged_while_somebody_stops_the_process_stays_halted(desk: Desk) -> None:
    campaign = planned(desk, 1000, CANARY)

    async def judged(engine: Engine, store: Store) -> None:
        while store.journal.tally(campaign).accepted < 40:  # noqa: ASYNC110  it may be anywhere
            await asyncio.sleep(0.5)
        engine.drain()
        store.journal.pass_canary(campaign, Halt("too many bounced", "Look at the list."))

    ended = run(desk, None, per_s=20.0, meanwhile=judged)
    assert (ended.state, ended.campaign.state) == (CampaignState.HALTED, CampaignState.HALTED)
    assert ended.campaign.halt == Halt("too many bounced", "Look at the list.")


def test_a_canary_taken_out_of_the_file_lets_the_others_go(desk: Desk) -> None:
    planned(desk, 1000, CANARY)
    first = run(desk, None)
    assert first.tally.accepted == 100
    termed(desk, Safety())
    again = run(desk, None, start_at_s=first.elapsed_s)
    assert (again.state, again.tally.accepted) == (CampaignState.FINISHED, 1000)


# The ramp -------------------------------------------------------------------------------------------------------------


def test_a_campaign_follows_its_ramp(desk: Desk) -> None:
    planned(desk, 3000, Safety(ramp=(RampStep(10.0, 60.0), RampStep(50.0, 30.0))))
    ended = run(desk, News(), per_s=1000.0, speed=20.0)
    assert ended.state is CampaignState.FINISHED
    with closing(sqlite3.connect(desk.folder / ".bulksend" / "journal.db")) as db:
        sent = db.execute("SELECT at, count FROM attempt ORDER BY at").fetchall()
    began = sent[0][0]
    # The first attempt is made a little after the ramp begins: so much is left out around the steps.
    # Never more than the curve; on a busy machine, which is late at this speed, it may be less.
    assert 400 < sum(count for at, count in sent if at < began + 57) <= 600
    assert 600 < sum(count for at, count in sent if began + 62 <= at < began + 86) <= 1300


def test_a_campaign_that_was_paused_goes_on_along_its_ramp(desk: Desk) -> None:
    planned(desk, 1500, Safety(ramp=(RampStep(10.0, 60.0), RampStep(100.0, 60.0))))

    async def pause(engine: Engine, store: Store) -> None:
        while store.journal.first_sent_at(store.journal.campaign("launch")) is None:  # noqa: ASYNC110  it may be soon
            await asyncio.sleep(0.5)
        engine.drain()

    first = run(desk, None, per_s=1000.0, meanwhile=pause)
    assert 0 < first.tally.accepted < 300
    again = run(desk, None, per_s=1000.0, speed=20.0, start_at_s=65.0)
    assert again.state is CampaignState.FINISHED
    with closing(sqlite3.connect(desk.folder / ".bulksend" / "journal.db")) as db:
        sent = db.execute("SELECT at, count FROM attempt WHERE at > ? ORDER BY at", (EPOCH + 65,)).fetchall()
    assert sum(count for at, count in sent if at < sent[0][0] + 10) > 150, "100 by the first step"


def test_the_plan_keeps_the_safety_of_the_file(desk: Desk) -> None:
    body = CAMPAIGN + '[safety]\ncanary = "10 %, 30 s"\n'
    campaign = desk.plan(["a@example.com", "b@example.com"], body=body)
    assert campaign.safety == CANARY
    changed = desk.plan_file(CAMPAIGN + '[safety]\nramp = ["5/s for 1 min"]\n')
    assert changed.safety == Safety(ramp=(RampStep(5.0, 60.0),))


def test_a_canary_without_a_configuration_set_is_warned_of(desk: Desk) -> None:
    body = CAMPAIGN + '[safety]\ncanary = "10 %, 30 s"\n'
    (desk.folder / "list.csv").write_text("email\na@example.com\n", "utf-8")
    path = desk.folder / "campaign.toml"
    path.write_text(body.format(name="launch", dedupe="true"), "utf-8")
    warnings = worker.plan(load_campaign(path), settings_for(desk.url), desk.store()).warnings
    assert [True for one in warnings if one.startswith("safety.canary is judged by events")] == [True]
