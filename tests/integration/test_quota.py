"""quota: what SES grants, from when a spent day frees, and what is said of an account that may not send."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend import worker
from bulksend.cli.account import _spent
from bulksend.config import Settings, load_campaign
from bulksend.errors import AccountError
from bulksend.model import AccountStatus
from bulksend.pacing import PaceSettings, SentWindow
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from bulksend.worker.account import Day, Quota, day_of, read_quota
from bulksend.worker.service import Service
from tests.acceptance.test_cli import bulksend
from tests.harness import CAMPAIGN, settings_for, write_list

NOON = 1_795_262_400.0
DAY_S = 86_400.0
PACE = PaceSettings()


def granted(limit: float | None, sent: float, **more: Any) -> AccountStatus:
    made: dict[str, Any] = {"sending_enabled": True, "production_access": True, "enforcement_status": "HEALTHY"}
    return AccountStatus(max_send_rate_per_s=50.0, max_24_hour_send=limit, sent_last_24_hours=sent, **made | more)


@pytest.mark.parametrize(
    ("limit", "by_account", "own", "day"),
    [
        (3000.0, 2900.0, [(NOON, 2900)], Day(is_spent=False)),
        (None, 9e9, [(NOON, 9)], Day(is_spent=False)),
        (3000.0, 3000.0, [], Day(is_spent=True)),
        (3000.0, 3000.0, [(NOON, 3000)], Day(is_spent=True, frees_at=NOON + 60 + DAY_S)),
        (3000.0, 10.0, [(NOON, 3000)], Day(is_spent=True, frees_at=NOON + 60 + DAY_S)),
        (3000.0, 3000.0, [(NOON, 1), (NOON + 600, 2999)], Day(is_spent=True, frees_at=NOON + 660 + DAY_S)),
        (3000.0, 3000.0, [(NOON, 2), (NOON + 600, 2998)], Day(is_spent=True, frees_at=NOON + 660 + DAY_S)),
        (3000.0, 3000.0, [(NOON, 3), (NOON + 600, 2997)], Day(is_spent=True, frees_at=NOON + 60 + DAY_S)),
        (14_400.0, 14_400.0, [(NOON, 5)], Day(is_spent=True)),
    ],
    ids=[
        "room",
        "unlimited",
        "by others",
        "by us",
        "SES lags",
        "too little",
        "just less",
        "a minute's worth",
        "by us, too little",
    ],
)
def test_when_a_day_is_spent_and_frees(
    limit: float | None, by_account: float, own: list[tuple[float, int]], day: Day
) -> None:
    assert day_of(granted(limit, by_account), PACE, SentWindow(DAY_S, own)) == day


@given(
    limit=st.integers(1, 10_000),
    by_account=st.integers(0, 12_000),
    own=st.lists(st.tuples(st.integers(0, 1439), st.integers(1, 3000)), max_size=20),
    reserve=st.integers(0, 500),
)
def test_once_it_is_said_to_have_freed_it_has(
    limit: int, by_account: int, own: list[tuple[int, int]], reserve: int
) -> None:
    """If SES counts as we do: never a time at which the day is spent still."""
    sent = [(NOON + 60 * minute, count) for minute, count in sorted(own)]
    pace = PaceSettings(daily_reserve=reserve)
    account = granted(float(limit), float(by_account))
    day = day_of(account, pace, SentWindow(DAY_S, sent))
    if day.frees_at is None:
        return
    window = SentWindow(DAY_S, sent)
    total = window.total
    window.expire(day.frees_at)
    left = max(0.0, by_account - (total - window.total))
    assert day_of(granted(float(limit), left), pace, window).is_spent is False


Make = Callable[[SimulatorProcess, int], tuple[Store, Settings]]


@pytest.fixture(params=["sqlite", "postgres"])
def submitted(request: pytest.FixtureRequest, in_folder: Path) -> Make:
    """A store at hand in which a campaign to so many is queued."""

    def make(simulator: SimulatorProcess, count: int) -> tuple[Store, Settings]:
        config = f'[aws]\nendpoint_url = "{simulator.url}"\nregion = "eu-west-1"\n'
        more: dict[str, object] = {}
        if request.param == "postgres":
            more = {"store": request.getfixturevalue("database_url"), "snapshots": str(in_folder / "snapshots")}
            config = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items()) + config
        (in_folder / "config.toml").write_text(config, "utf-8")
        write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(count)])
        (in_folder / "launch.toml").write_text(CAMPAIGN.format(name="launch", dedupe="true"), "utf-8")
        settings = settings_for(simulator.url, **more)
        store = Store.open(settings, in_folder)
        planned = worker.plan(load_campaign(in_folder / "launch.toml"), settings, store).campaign
        worker.queue(store, planned)
        return store, settings

    return make


def test_a_spent_day_says_when_it_frees_and_a_fleet_its_pace(submitted: Make) -> None:
    with SimulatorProcess(max_send_rate_per_s=500, max_24_hour_send=100) as simulator:
        store, settings = submitted(simulator, 300)

        async def main() -> str:
            service = Service(store, settings)
            run = asyncio.create_task(service.run())
            while not (standing := await asyncio.to_thread(store.standing, "launch")).held_up:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            service.stop()
            await run
            return standing.held_up[0]

        held_up = asyncio.run(main())
        shown = bulksend("quota")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "100 of 100 sent in the last 24 hours" in shown.stdout
        (until,) = re.findall(r"the 24-hour quota is spent; it frees from (.* UTC), as what this store", shown.stdout)
        if settings.store is None:  # a fleet's workers do not say
            assert held_up.endswith(until)
        assert ("; the workers send at 500 a second now" in shown.stdout) is (settings.store is not None)

        facts = json.loads(bulksend("quota", "--output", "json").stdout)
        frees = datetime.strptime(until, "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC).timestamp()
        assert facts["spent"] is True
        assert int(facts["frees_at"]) == frees
        assert facts["pace_per_s"] == (None if settings.store is None else 500.0)


def test_without_a_store_it_says_what_ses_says(in_folder: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=14, max_24_hour_send=0, enforcement_status="PROBATION") as simulator:
        shown = bulksend("quota", url=simulator.url)
        assert shown.returncode == 0, shown.stderr
        assert "14 recipients a second\n0 of 0 sent in the last 24 hours\n" in shown.stdout
        assert "nothing can be sent: the account's 24-hour quota is 0" in shown.stdout
        assert "SES has the account under review (enforcement status PROBATION)" in shown.stdout
    assert not any(in_folder.iterdir()), "no store is made"


@pytest.mark.parametrize(
    ("day", "has_store", "reserve", "said"),
    [
        (Day(is_spent=True), False, 0, "; it frees 24 hours after what was sent, which no store at hand tells"),
        (Day(is_spent=True), True, 0, "; not by this store, which so cannot tell when it frees"),
        (Day(is_spent=True, frees_at=NOON), True, 0, "; it frees from 2026-11-21 12:00:00 UTC, as what this store has"),
        (Day(is_spent=True), True, 500, "; pacing.daily_reserve keeps 500 for others; not by this store, which so"),
    ],
)
def test_a_spent_day_in_words(day: Day, has_store: bool, reserve: int, said: str) -> None:  # noqa: FBT001
    quota = Quota(granted(3000.0, 3000.0), PaceSettings(daily_reserve=reserve), day, has_store=has_store)
    assert _spent(quota).startswith(f"the 24-hour quota is spent{said}")


def test_that_sending_is_disabled_is_said_in_words(in_folder: Path) -> None:
    with SimulatorProcess(sending_enabled=False) as simulator:
        shown = bulksend("quota", url=simulator.url).stdout
    assert "nothing can be sent: sending is disabled for this account in this region\n" in shown
    assert "answer AWS Support" in shown
    assert "False" not in shown
    assert not any(in_folder.iterdir())


@pytest.mark.parametrize(
    ("fault", "said", "advice"),
    [
        (
            "internal_500",
            "GetAccount has failed at the server (HTTP 500): ",
            "It is no fault of yours: run this again in a minute",
        ),
        ("forbidden_403", "GetAccount was refused: ", "Check the credentials"),
    ],
)
def test_whose_fault_it_is(simulator: SimulatorProcess, tmp_path: Path, fault: str, said: str, advice: str) -> None:
    simulator.rules([{"fault": fault, "operation": "GetAccount"}])
    with pytest.raises(AccountError) as error:
        read_quota(settings_for(simulator.url), tmp_path)
    assert error.value.detail.startswith(said)
    assert advice in error.value.hint
    assert ("credentials" in error.value.hint) is (fault == "forbidden_403")
