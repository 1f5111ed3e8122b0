"""Why nothing goes out: told by who sends, seen by who looks from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.errors import JournalError
from bulksend.facts import CircuitChanged, Waiting, WaitKind
from bulksend.journal import Journal, SqliteJournal, Standstill, open_postgres
from bulksend.metrics import Metrics
from bulksend.model import Binding, CampaignState
from bulksend.simulator import SimulatorProcess
from bulksend.worker import standstills
from bulksend.worker.service import Service
from bulksend.worker.standstills import Standstills
from tests.clocks import JumpingLoop
from tests.harness import settings_for, write_list
from tests.integration.test_conservation import planned

SPENT = Waiting("the 24-hour quota is spent", WaitKind.DAY_SPENT)
BINDING = Binding("123456789012", "eu-west-1", "")
FINISHED = CampaignState.FINISHED


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    if request.param == "sqlite":
        return SqliteJournal(tmp_path / "store" / "journal.db")
    return open_postgres(request.getfixturevalue("database_url"))


def test_what_is_told_is_of_that_campaign_or_of_all_of_its_account(journal: Journal) -> None:
    campaign = planned(journal)
    binding = campaign.binding
    told = [
        Standstill("its own", campaign.id),
        Standstill("another's", "other"),
        Standstill("its account's", "", binding.account, binding.region),
        Standstill("another Region's", "", binding.account, "elsewhere"),
    ]

    async def main() -> list[list[str]]:
        seen = []
        for found in (told, told[1:2], told[:1], []):
            await journal.tell_standstills(found)
            seen.append(await asyncio.to_thread(journal.standstills, campaign))
        return seen

    with journal.sending():
        assert asyncio.run(main()) == [["its account's", "its own"], [], ["its own"], []]


def test_who_says_nothing_for_long_is_gone(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    campaign = planned(journal)
    with journal.sending():
        asyncio.run(journal_told(journal, [Standstill("the day is spent", campaign.id)]))
        assert journal.standstills(campaign) == ["the day is spent"]
        at = journal.now()
        monkeypatch.setattr(journal, "now", lambda: at + 61)
        assert journal.standstills(campaign) == []


def test_a_new_sender_of_a_file_has_not_said_what_the_last_one_has(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "store" / "journal.db")
    campaign = planned(journal)
    with journal.sending():
        asyncio.run(journal_told(journal, [Standstill("the day is spent", campaign.id)]))
    with journal.sending():
        assert journal.standstills(campaign) == []


async def journal_told(journal: Journal, found: list[Standstill]) -> None:
    await journal.tell_standstills(found)


# What is told, and when -----------------------------------------------------------------------------------------------


class Kept:
    """What was told, one after the other; the first so many times it cannot be."""

    def __init__(self, failures: int = 0) -> None:
        self.told: list[list[Standstill]] = []
        self._failures = failures

    async def tell_standstills(self, found: Sequence[Standstill]) -> None:
        if self._failures:
            self._failures -= 1
            raise JournalError("away")
        self.told.append(list(found))


def told_over_time(kept: Kept, told: Callable[[Standstills], Awaitable[None]]) -> list[list[Standstill]]:
    """What is told while somebody notes what holds things up, on a clock of its own."""

    async def main() -> None:
        found = Standstills(kept)
        async with found.telling():
            await told(found)

    loop = JumpingLoop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return kept.told


def test_a_reason_is_told_soon_and_again_while_it_lasts_and_at_the_end_that_it_is_over() -> None:
    async def noted(found: Standstills) -> None:
        one = found.of_campaign("c")
        one.observe(SPENT)
        await asyncio.sleep(45)
        one.observe(Waiting("", None))
        await asyncio.sleep(100)

    reason = [Standstill(SPENT.reason, "c")]
    assert told_over_time(Kept(), noted) == [reason, reason, reason, [], []]


def test_what_is_over_at_once_is_not_told() -> None:
    async def noted(found: Standstills) -> None:
        one = found.of_account(BINDING)
        one.observe(SPENT)
        await asyncio.sleep(standstills.SOON_S / 2)
        one.observe(Waiting("", None))
        await asyncio.sleep(100)

    assert told_over_time(Kept(), noted) == [[], []]


def test_all_that_holds_one_up_is_told_together_without_what_its_file_says_itself() -> None:
    async def noted(found: Standstills) -> None:
        one, account = found.of_campaign("c"), found.of_account(BINDING)
        one.observe(CircuitChanged(is_open=True, next_probe_s=1.0, why="NO_ANSWER"))
        one.because("no account")
        one.observe(Waiting("by its schedule it may send again from nine", WaitKind.SCHEDULE))
        account.observe(SPENT)
        await asyncio.sleep(2)
        found.keep_only(["d"])
        other = found.of_campaign("d")
        for note in (SPENT, CircuitChanged(is_open=True, next_probe_s=1.0, why="")):
            other.observe(note)
        other.over()
        await asyncio.sleep(2)

    of_account = Standstill(SPENT.reason, "", BINDING.account, BINDING.region)
    circuit = "most requests fail, so only single ones go out to see whether that is over: NO_ANSWER; no account"
    assert told_over_time(Kept(), noted) == [[Standstill(circuit, "c"), of_account], [of_account], []]


def test_reasons_have_no_address_and_nothing_that_cannot_be_written() -> None:
    async def noted(found: Standstills) -> None:
        found.of_campaign("c").because("no identity jane@example.com in /srv/\udcff/list")
        await asyncio.sleep(2)

    ((told,), _) = told_over_time(Kept(), noted)
    assert "jane" not in told.reason
    assert told.reason.encode("utf-8").endswith(b"in /srv/?/list")


def test_a_fault_that_nobody_foresaw_does_not_end_the_telling() -> None:
    class Faulty(Kept):
        async def tell_standstills(self, found: Sequence[Standstill]) -> None:
            if not self.told:
                self.told.append([])
                raise ValueError("unforeseen")
            await super().tell_standstills(found)

    async def noted(found: Standstills) -> None:
        found.of_campaign("c").observe(SPENT)
        await asyncio.sleep(30)

    assert told_over_time(Faulty(), noted)[1] == [Standstill(SPENT.reason, "c")]


def test_that_nothing_can_be_told_ends_nothing() -> None:
    async def noted(found: Standstills) -> None:
        found.of_campaign("c").observe(SPENT)
        await asyncio.sleep(30)

    reason = [Standstill(SPENT.reason, "c")]
    assert told_over_time(Kept(failures=1), noted) == [reason, reason, []], "and is told as soon as it can be"


# In a run -------------------------------------------------------------------------------------------------------------


def test_status_says_that_the_day_is_spent(in_folder: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=500, max_24_hour_send=100) as simulator:
        store, settings = submitted(in_folder, simulator)

        async def main() -> None:
            service = Service(store, settings)
            run = asyncio.create_task(service.run())
            while not (standing := await asyncio.to_thread(store.standing, "launch")).held_up:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert standing.tally.accepted == 100
            assert standing.held_up[0].startswith("the 24-hour quota is spent; it frees from ")
            service.stop()
            await run

        asyncio.run(main())
        assert store.standing("launch").held_up == ()


def test_status_says_that_the_account_does_not_answer_until_it_does(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksend.worker.service.TRY_AGAIN_S", 0.1)
    monkeypatch.setattr(standstills, "SOON_S", 0.0)
    with SimulatorProcess(max_send_rate_per_s=500) as simulator:
        store, settings = submitted(in_folder, simulator)
        simulator.rules([{"fault": "internal_500", "operation": "GetAccount"}])
        metrics = Metrics()

        def waiting() -> float | None:
            return metrics.own.get_sample_value("bulksend_waiting", {"why": "quota_unknown"})

        async def main() -> None:
            service = Service(store, settings, metrics=metrics)
            run = asyncio.create_task(service.run())
            while not (standing := await asyncio.to_thread(store.standing, "launch")).held_up:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert standing.tally.accepted == 0
            assert standing.held_up[0].startswith("it cannot be sent now: ")
            assert waiting() == 1
            simulator.rules([])
            while (standing := await asyncio.to_thread(store.standing, "launch")).campaign.state is not FINISHED:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            assert (standing.tally.accepted, standing.held_up) == (300, ())
            assert await asyncio.to_thread(store.journal.standstills, standing.campaign) == []
            assert waiting() == 0
            service.stop()
            await run

        asyncio.run(main())


def submitted(folder: Path, simulator: SimulatorProcess) -> tuple[worker.Store, Settings]:
    """A store whose campaign a worker is to take up."""
    write_list(folder / "list.csv", [f"a{n}@example.com" for n in range(300)])
    file = folder / "campaign.toml"
    file.write_text(
        'name = "launch"\n[sender]\nfrom = "news@example.com"\n[content]\ntemplate = "launch"\n'
        '[recipients]\npath = "list.csv"\n',
        "utf-8",
    )
    settings = settings_for(simulator.url)
    store = worker.Store.open(settings, folder)
    store.journal.ask_for(worker.plan(load_campaign(file), settings, store).campaign, CampaignState.QUEUED)
    return store, settings
