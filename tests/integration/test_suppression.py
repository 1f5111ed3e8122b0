"""Whom not to write to: at the plan, and again while a campaign is sent, in both stores."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bulksend import worker
from bulksend.admin import Unsubscribed
from bulksend.config import Settings, load_campaign
from bulksend.engine import Engine
from bulksend.errors import CampaignUnknownError, ConfigError
from bulksend.event import EventType, Suppression, SuppressionReason
from bulksend.facts import AddressesSuppressed, BatchAnswered, EntriesSuppressed, Fact
from bulksend.journal import SqliteEvents, SqliteJournal
from bulksend.model import Answer, CampaignState, EntryOutcome, Policy, SkipReason, Verdict
from bulksend.recipients import Mapping as ListMapping
from bulksend.recipients import screening, skipped_rows, snapshot, take_snapshot
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store, suppression
from bulksend.worker.one_click import keys_to_check
from bulksend.worker.unsubscribing import UnsubscribeOffice
from tests.clocks import JumpingLoop
from tests.harness import CAMPAIGN, Desk, settings_for, write_list
from tests.integration import test_postgres_journal as fleet_journal
from tests.integration.test_conservation import CHUNKS, EACH, ENTRIES, planned
from tests.integration.test_journals import batch, intended
from tests.ses_in_memory import ROW, ListInMemory, OpenGate, SesInMemory, Weather

COPIES = """\
name = "{name}"
[sender]
from = "Example News <news@example.com>"
[content]
template = "launch"
[recipients]
path = "list.csv"
dedupe = {dedupe}
cc = "cc"
bcc = "bcc"
"""


def suppress(store: Store, *addresses: str, reason: SuppressionReason = SuppressionReason.UNSUBSCRIBE) -> None:
    store.events.suppress([Suppression(address, reason, "test", time.time()) for address in addresses])


def test_suppressed_rows_are_skipped_with_their_reason(tmp_path: Path, simulator: SimulatorProcess) -> None:
    desk = Desk(tmp_path, simulator.url)
    suppress(desk.store(), "b@example.com")
    suppress(desk.store(), "c@xn--bcher-kva.example", reason=SuppressionReason.BOUNCE)
    rows = ["a@example.com", " B@Example.com", "c@bücher.example", "b@example.com", "nobody", "d@example.com"]
    campaign = desk.plan(rows, dedupe=True)
    assert campaign.skipped == {SkipReason.SUPPRESSED: 3, SkipReason.INVALID: 1}
    assert (campaign.rows, campaign.entries) == (6, 2)
    found = [(one.row, one.reason, one.detail) for one in skipped_rows(desk.store().snapshot_of(campaign))]
    unsubscribed = "whoever has this address has unsubscribed"
    assert found[:3] == [
        (2, SkipReason.SUPPRESSED, unsubscribed),
        (3, SkipReason.SUPPRESSED, "a mail to this address has bounced for good"),
        (4, SkipReason.SUPPRESSED, unsubscribed),
    ]
    ended = desk.send()
    assert ended.tally.adds_up
    assert {one.address for one in desk.results("skipped") if one.status == "suppressed"} == {
        "B@example.com",
        "c@xn--bcher-kva.example",
        "b@example.com",
    }


def test_a_suppressed_copy_leaves_the_row_out(tmp_path: Path, simulator: SimulatorProcess) -> None:
    desk = Desk(tmp_path, simulator.url)
    suppress(desk.store(), "boss@example.com")
    more = {
        "cc": ["", "x@example.com; Boss@example.com", "", "x@example.com"],
        "bcc": ["", "", "boss@example.com", ""],
    }
    write_list(tmp_path / "list.csv", [f"a{n}@example.com" for n in range(4)], more)
    campaign = desk.plan_file(COPIES)
    assert campaign.skipped == {SkipReason.SUPPRESSED: 2}
    found = [(one.row, one.address, one.detail) for one in skipped_rows(desk.store().snapshot_of(campaign))]
    why = "an address in Cc or Bcc: whoever has this address has unsubscribed"
    assert found == [(2, "a1@example.com", why), (3, "a2@example.com", why)]


def test_a_limit_counts_those_who_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("email\n" + "".join(f"a{n}@example.com\n" for n in range(9)), "utf-8")
    mapping = ListMapping(address="email", data=None, default_data={}, tags={}, dedupe=True)
    asked: list[int] = []

    def which(addresses: Sequence[str]) -> dict[str, str]:
        asked.append(len(addresses))
        return {one: "because" for one in addresses if one in {"a0@example.com", "a2@example.com"}}

    taken = take_snapshot(
        tmp_path / "list.csv", mapping, campaign_id="c1", folder=tmp_path / "s", limit=3, suppressed=which
    )
    assert (taken.rows, taken.entries, taken.skipped) == (5, 3, {SkipReason.SUPPRESSED: 2})
    assert sum(asked) == 9


@pytest.mark.parametrize("size", [1, 3, 100])
def test_questions_are_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(screening, "AT_ONCE", size)
    rows = "".join(f"a{n}@example.com,c{n}@example.com;b{n}@example.com\n" for n in range(10))
    (tmp_path / "list.csv").write_text("email,cc\n" + rows, "utf-8")
    mapping = ListMapping(address="email", data=None, default_data={}, tags={}, dedupe=False, cc="cc")

    def which(addresses: Sequence[str]) -> dict[str, str]:
        assert len(addresses) <= size
        return {one: "because" for one in addresses if one in {"a1@example.com", "b7@example.com", "c9@example.com"}}

    taken = take_snapshot(tmp_path / "list.csv", mapping, campaign_id="c1", folder=tmp_path / "s", suppressed=which)
    assert [(one.row, one.detail) for one in skipped_rows(taken.path)] == [
        (2, "because"),
        (8, "an address in Cc or Bcc: because"),
        (10, "an address in Cc or Bcc: because"),
    ]


# Again while it is sent -----------------------------------------------------------------------------------------------


IN_THE_AIR_S = 1e-4
"""Some turns of the loop, of which each takes a moment: an intent is being made meanwhile."""


class ListedScreen:
    """Satisfies the engine's Screen: rows of a list in memory, each suppressed from a time on."""

    def __init__(self, since: Mapping[int, float], now: Callable[[], float]) -> None:
        self._since = since
        self._now = now
        self._heard_at = float("-inf")

    def suppressed(self, row: int, for_s: float = 0.0) -> bool:
        return self._since.get(row, float("inf")) <= self._now() - for_s

    @property
    def has_news(self) -> bool:
        return any(self._heard_at < at <= self._now() for at in self._since.values())

    async def opened(self, number: int) -> Mapping[int, str]:
        await asyncio.sleep(0)
        first = number * EACH + 1
        return {row - first: "said so" for row in range(first, first + EACH) if self.suppressed(row)}

    async def news(self, numbers: Sequence[int]) -> Mapping[int, Mapping[int, str]]:
        self._heard_at = self._now()
        return {number: await self.opened(number) for number in numbers}


def run_on(loop: JumpingLoop, journal: SqliteJournal, engine: Engine) -> None:
    """While the journal is at work, no time passes."""
    at_work = Counter[str]()

    def counting(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*work: Any) -> Any:
            at_work["now"] += 1
            try:
                return await write(*work)
            finally:
                at_work["now"] -= 1

        return counted

    loop.stand_still_while(lambda: at_work["now"] > 0)
    with pytest.MonkeyPatch.context() as patch, journal.sending():
        for call in ("_write", "_insert", "intend", "decide"):  # the last two ask the store of events as well
            patch.setattr(journal, call, counting(getattr(journal, call)))
        loop.run_until_complete(engine.run())
    loop.close()


class WatchedSes(SesInMemory):
    """Notes who is written to although suppressed."""

    def __init__(self, weather: Callable[[], Weather]) -> None:
        super().__init__(weather)
        self.suppressed: Callable[[int], bool] = lambda _: False
        self.wrong: list[int] = []

    async def send(self, entries_json: bytes | memoryview, send_before_s: float) -> Answer:
        self.wrong += [row for row in map(int, ROW.findall(entries_json)) if self.suppressed(row)]
        return await super().send(entries_json, send_before_s)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    weathers=st.lists(
        st.sampled_from([one for one in Weather if one not in {Weather.TEMPLATE, Weather.SUSPENDED}]), max_size=40
    ),
    since=st.dictionaries(st.integers(1, ENTRIES), st.floats(0.0, 0.2), max_size=ENTRIES),
    policy=st.sampled_from([Policy(), Policy(resend_in_doubt=True)]),
)
def test_nobody_is_written_to_once_suppressed(weathers: list[Weather], since: dict[int, float], policy: Policy) -> None:
    storm = iter(weathers)
    ses = WatchedSes(lambda: next(storm, Weather.FINE))
    with tempfile.TemporaryDirectory() as folder:
        journal = SqliteJournal(Path(folder) / "journal.db")
        campaign = planned(journal)
        for _ in range(3):
            loop = JumpingLoop()
            journal.now = loop.now
            began = loop.now()
            screen = ListedScreen({row: began + at for row, at in since.items()}, loop.now)
            ses.suppressed = partial(screen.suppressed, for_s=IN_THE_AIR_S)
            engine = Engine(
                campaign.id,
                source=ListInMemory(CHUNKS, EACH),
                journal=journal,
                transport=ses,
                pacer=OpenGate(),
                policy=policy,
                screen=screen,
                max_in_flight=4,
                now=loop.now,
            )
            run_on(loop, journal, engine)
            if journal.campaign("any").state is CampaignState.FINISHED:
                break
            since = dict.fromkeys(since, 0.0)
        tally = journal.tally(campaign)
        assert ses.wrong == []
        assert tally.adds_up
        assert (tally.pending, tally.in_flight) == (0, 0)
        kept_back = {r.chunk * EACH + r.index + 1 for r in journal.reports(campaign) if r.status == "SUPPRESSED"}
        assert kept_back <= since.keys()
        if not policy.resend_in_doubt and Weather.TOO_FEW not in weathers and Weather.ERROR_500 not in weathers:
            assert kept_back.isdisjoint(ses.accepted)


# The real screen, while a real campaign is sent -----------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def store_and_settings(
    request: pytest.FixtureRequest, tmp_path: Path, simulator: SimulatorProcess
) -> tuple[Store, Settings]:
    more: dict[str, object] = {"pacing.max_recipients_per_s": 100.0}
    if request.param == "sqlite":
        more["store"] = f"sqlite:{tmp_path}/store"
    else:
        more |= {"store": request.getfixturevalue("database_url"), "snapshots": str(tmp_path / "snapshots")}
    used = settings_for(simulator.url, **more)
    return Store.open(used, tmp_path), used


class AtFirstAnswer:
    """An observer that does something once."""

    def __init__(self, do: Callable[[], None]) -> None:
        self._do = do
        self.done = False
        self.suppressed = 0

    def observe(self, fact: Fact) -> None:
        if isinstance(fact, BatchAnswered) and not self.done:
            self.done = True
            self._do()
        if isinstance(fact, EntriesSuppressed):
            self.suppressed += fact.entries


def test_who_is_suppressed_after_the_plan_is_not_written_to_unless_that_is_taken_back(
    store_and_settings: tuple[Store, Settings],
    tmp_path: Path,
    simulator: SimulatorProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suppression, "NEWS_EVERY_S", 0.05)
    simulator.rules([{"fault": "transient_failure", "address_contains": "again@", "times": 1}])
    store, used = store_and_settings
    more = {"bcc": ["", "", *[""] * 200, "", "x@example.com, copied@example.com", ""]}
    everybody = ["before@example.com", "again@example.com", *[f"u{n}@example.com" for n in range(200)]]
    everybody += ["last@example.com", "innocent@example.com", "end@example.com"]
    write_list(tmp_path / "list.csv", everybody, more)
    path = tmp_path / "campaign.toml"
    path.write_text(COPIES.replace('cc = "cc"\nbcc', "bcc").format(name="launch", dedupe="true"), "utf-8")
    planned_now = worker.plan(load_campaign(path), used, store).campaign
    assert planned_now.entries == 205
    suppress(store, "before@example.com", reason=SuppressionReason.COMPLAINT)
    watching = AtFirstAnswer(
        lambda: suppress(store, "again@example.com", "last@example.com", "copied@example.com", "nobody@example.com")
    )
    sent = worker.send(planned_now, used, store, observers=[watching])
    assert (sent.campaign.state, sent.tally.adds_up) == (CampaignState.FINISHED, True)
    dead = {one.address: (one.status, one.reason) for one in worker.results(store, sent.campaign, ["dead"])}
    unsubscribed = "whoever has this address has unsubscribed"
    assert dead == {
        "before@example.com": ("SUPPRESSED", "somebody there has complained of a mail"),
        "again@example.com": ("SUPPRESSED", unsubscribed),
        "last@example.com": ("SUPPRESSED", unsubscribed),
        "innocent@example.com": ("SUPPRESSED", f"an address in Cc or Bcc: {unsubscribed}"),
    }
    assert (watching.suppressed, sent.tally.accepted) == (4, 201)
    theirs = {to for one in simulator.accepted(planned_now.id) for to in one["to"]}
    assert theirs.isdisjoint(dead)
    # Asked for again it stays so, until the address is taken off the list.
    assert worker.retry(store, sent.campaign, status="SUPPRESSED", why="test").again == 4
    assert worker.send(store.journal.campaign("launch"), used, store).tally.dead == 4
    assert store.events.unsuppress(["last@example.com", "copied@example.com"]) == 2
    assert worker.retry(store, store.journal.campaign("launch"), status="SUPPRESSED", why="test").again == 4
    last = worker.send(store.journal.campaign("launch"), used, store)
    assert (last.tally.dead, last.tally.accepted, last.tally.adds_up) == (2, 203, True)


class Faltering(SqliteEvents):
    """A store that once fails in a way that nobody thought of."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failures = 1

    def suppressed_after(self, number: int) -> tuple[int, list[str]]:
        if number >= 0 and self.failures:
            self.failures -= 1
            raise ValueError("ann@example.com")
        return super().suppressed_after(number)


@pytest.mark.parametrize("most", [1, 100])
def test_news_are_heard_after_any_failure_and_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(suppression, "NEWS_EVERY_S", 0.01)
    monkeypatch.setattr(suppression, "MAX_FRESH", most)
    events = Faltering(tmp_path / "events.db")

    async def keys(number: int) -> Sequence[tuple[int, str]]:
        return [(place, f"u{place}@example.com") for place in range(number * 10, number * 10 + 10)]

    async def heard(screen: suppression.SuppressionScreen) -> None:
        async with asyncio.timeout(20):
            while not screen.has_news:  # noqa: ASYNC110  it is another thread that is waited for
                await asyncio.sleep(0.01)

    async def main() -> tuple[Mapping[int, Mapping[int, str]], bool, bool]:
        async with suppression.screening(events, keys) as screen:
            events.suppress(
                Suppression(f"u{n}@example.com", SuppressionReason.UNSUBSCRIBE, "test", 0.0) for n in (3, 15, 99)
            )
            await heard(screen)
            found = await screen.news([0, 1, 2])
            had_news = screen.has_news
            events.suppress([Suppression("u20@example.com", SuppressionReason.UNSUBSCRIBE, "test", 0.0)])
            await heard(screen)
            return found, had_news, 20 in (await screen.news([2]))[2]

    with capture_logs() as said:
        found, had_news, goes_on = asyncio.run(main())
    why = suppression.WHY[SuppressionReason.UNSUBSCRIBE]
    assert found == {0: {3: why}, 1: {15: why}}
    assert (had_news, goes_on) == (False, True)
    assert [one["error"] for one in said] == ["ValueError"]


# Whom a token leads to ------------------------------------------------------------------------------------------------


def test_a_token_leads_to_whom_its_mail_went_to_as_long_as_that_is_known(
    tmp_path: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_CHUNK_ENTRIES", 4)
    desk = Desk(tmp_path, simulator.url)
    rows = [*[f"Person{n}@example.com" for n in range(6)], "nobody", *[f"person{n}@example.com" for n in range(7, 12)]]
    campaign = desk.plan(rows, body=CAMPAIGN + '[unsubscribe]\nurl = "https://example.com/u/{{token}}"\n')
    store = desk.store()
    keys = keys_to_check(settings_for(simulator.url), store)
    assert keys is not None
    told: list[Fact] = []
    office = UnsubscribeOffice(store, lambda: keys, told.append)

    def click(row: int, campaign_id: str = campaign.id) -> Unsubscribed:
        return asyncio.run(office.unsubscribe(keys.tokens(campaign_id, [row]).decode()))

    def known() -> list[tuple[str, SuppressionReason, str]]:
        return [(one.address, one.reason, one.source) for one in store.events.suppressions()]

    assert asyncio.run(office.unsubscribe("no token")) is Unsubscribed.NOT_OURS
    assert click(1) is click(12) is click(12) is Unsubscribed.DONE
    assert known() == [(f"person{n}@example.com", SuppressionReason.UNSUBSCRIBE, "campaign launch") for n in (0, 11)]
    assert told == [AddressesSuppressed(SuppressionReason.UNSUBSCRIBE, 1)] * 2
    # Rows that were skipped, or never in the list.
    assert click(7) is click(13) is click(10**9) is Unsubscribed.NOBODY_KNOWN
    # A campaign of another store, or of after the backup that the journal was restored from: somebody has to see to it.
    with pytest.raises(CampaignUnknownError, match="z" * 26):
        click(1, "z" * 26)
    worker.forget(store, "person3@example.com")
    assert click(4) is Unsubscribed.NOBODY_KNOWN
    assert click(5) is Unsubscribed.DONE
    worker.cancel(store, store.journal.campaign("launch"))
    worker.prune(store, store.journal.campaign("launch"))
    assert click(6) is Unsubscribed.NOBODY_KNOWN
    assert len(known()) == 3
    assert store.events.unsubscribed(campaign.id, range(20)).keys() == {1, 5, 12}
    assert store.became(campaign).types == {EventType.SUBSCRIPTION: 3}


# In the database of a fleet -------------------------------------------------------------------------------------------

REFUSED = EntryOutcome(Verdict.DEAD, "SUPPRESSED", "said so")


def test_only_whoever_has_a_chunk_refuses_entries_of_it(database_url: str) -> None:
    campaign = fleet_journal.sending(database_url)
    with fleet_journal.worker(database_url) as first, fleet_journal.worker(database_url) as second:
        first(first.journal.open_chunk(campaign.id, 0))
        first(intended(first.journal, batch(campaign.id, [0])))
        assert first(first.journal.refuse(campaign.id, 0, {0: REFUSED, 1: REFUSED})) == [1], "one is in flight"
        assert first(first.journal.refuse(campaign.id, 0, {1: REFUSED})) == [], "it is dead already"
        assert second(second.journal.refuse(campaign.id, 0, {2: REFUSED})) == []
        fleet_journal.lapse(database_url)
        assert first(first.journal.refuse(campaign.id, 0, {2: REFUSED})) == []
        second(second.journal.open_chunk(campaign.id, 0))
        assert first(first.journal.refuse(campaign.id, 0, {2: REFUSED})) == []
        second(intended(second.journal, batch(campaign.id, [2])))
        assert second(second.journal.refuse(campaign.id, 0, {2: REFUSED, 3: REFUSED})) == [3]
        tally = second.journal.tally(campaign)
        assert (tally.dead, tally.contradictions, tally.adds_up) == (2, 0, True)


def test_links_in_a_store_of_many_workers_want_a_key_that_all_have(
    tmp_path: Path, database_url: str, simulator: SimulatorProcess
) -> None:
    used = settings_for(simulator.url, store=database_url, snapshots=str(tmp_path / "snapshots"))
    (tmp_path / "list.csv").write_text("email\na@example.com\n", "utf-8")
    path = tmp_path / "campaign.toml"
    body = CAMPAIGN.format(name="launch", dedupe="true") + '[unsubscribe]\nurl = "https://example.com/u/{token}"\n'
    path.write_text(body, "utf-8")
    store = Store.open(used, tmp_path)
    assert keys_to_check(used, store) is None
    with pytest.raises(ConfigError, match=r"unsubscribe\.key_file is not set"):
        worker.plan(load_campaign(path), used, store)
    assert store.journal.campaigns() == []
