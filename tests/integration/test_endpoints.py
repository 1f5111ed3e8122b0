"""Multi-region endpoints: the verbs, what has to be in both Regions, the pace that both allow, and SigV4A on the wire.

The two Regions are two simulators behind one URL.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from bulksend import worker
from bulksend.cli import run
from bulksend.config import Settings, load_campaign
from bulksend.errors import AccountError, ExitCode
from bulksend.facts import Audience
from bulksend.fleet import Elsewhere, connecting
from bulksend.model import AccountStatus, Campaign, CampaignState
from bulksend.pacing import QuotaPacer
from bulksend.ses.endpoints import EndpointError
from bulksend.simulator import SimulatorProcess
from bulksend.worker import endpoint as verbs
from bulksend.worker.multiregion import smaller_quota, through_endpoint
from bulksend.worker.running import AccountAtWork, bound_access, working
from bulksend.worker.service import Service
from tests.harness import settings_for, write_list
from tests.two_regions import HOME, THERE, TwoRegions, two_regions
from tests.worker_process import until

RATE, RATE_THERE = 500, 40


@pytest.fixture(scope="module")
def _there() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(max_send_rate_per_s=RATE_THERE) as process:
        yield process


@pytest.fixture(scope="module")
def _home() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(max_send_rate_per_s=RATE) as process:
        yield process


@pytest.fixture
def regions(
    _home: SimulatorProcess, _there: SimulatorProcess, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TwoRegions]:
    """With the template and the configuration set of a campaign in both, and the campaign's list in the folder."""
    for one in (_home, _there):
        one.reset()
        one.settings(endpoint_change_s=0.0, endpoint_status="READY", identities=[])
    write_list(in_folder / "list.csv", [f"a{n}@example.com" for n in range(60)])
    with two_regions(_home, _there) as both:
        monkeypatch.setenv("BULKSEND_AWS_ENDPOINT_URL", both.url)
        monkeypatch.setenv("BULKSEND_AWS_REGION", HOME)
        monkeypatch.setattr("botocore.compat.HAS_CRT", True)  # the tests of this process do without, to start sooner
        monkeypatch.setattr(verbs, "LOOK_EVERY_S", 0.05)
        monkeypatch.setattr("bulksend.ses.endpoints.CALL_EVERY_S", 0.0)
        yield both
    structlog.reset_defaults()  # what verbs log to is gone with the test


def furnish(regions: TwoRegions, missing: str = "") -> None:
    """Both Regions, the second but for what is said to be missing."""
    for region in (HOME, THERE):
        client, lacks = regions.client(region), missing if region == THERE else ""
        if lacks != "template":
            content = {"Subject": "Hello", "Text": "Dear reader"}
            client.create_email_template(TemplateName=regions.name, TemplateContent=content)
        if lacks != "configuration set":
            client.create_configuration_set(ConfigurationSetName=regions.name)
    if missing == "identity":
        regions.there.settings(identities=["example.org"])


def campaign_file(regions: TwoRegions, endpoint_id: str) -> Path:
    path = Path("campaign.toml")
    path.write_text(
        f'name = "launch"\n[sender]\nfrom = "news@example.com"\nconfiguration_set = "{regions.name}"\n'
        f'endpoint_id = "{endpoint_id}"\n[content]\ntemplate = "{regions.name}"\n[recipients]\npath = "list.csv"\n',
        "utf-8",
    )
    return path


def planned(regions: TwoRegions, endpoint_id: str) -> tuple[Campaign, Settings, worker.Store, tuple[str, ...]]:
    settings = settings_for(regions.url)
    store = worker.Store.open(settings, Path.cwd())
    made = worker.plan(load_campaign(campaign_file(regions, endpoint_id)), settings, store)
    return made.campaign, settings, store, made.warnings


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a verb; what it says as data, as JSON where it is that; on failure, what it says to people."""

    def run_it(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = run(arguments)
        out, err = capsys.readouterr()
        assert found == code, err
        return err if code else json.loads(out) if "json" in arguments else out + err

    return run_it


# The verbs ------------------------------------------------------------------------------------------------------------


def test_from_making_to_deleting(regions: TwoRegions, said: Any) -> None:
    assert "no multi-region endpoint" in said("endpoint", "list")
    regions.home.settings(endpoint_change_s=3600)
    made = said("endpoint", "create", "both", "--second-region", THERE, "--yes", "--output", "json")
    assert (made["name"], made["state"], made["regions"]) == ("both", "CREATING", [HOME, THERE])
    assert "still being made, and takes no mail yet" in said("endpoint", "list")
    assert "of the name 'both' already" in said("endpoint", "create", "both", "--second-region", THERE, "-y", code=2)
    regions.home.settings(endpoint_change_s=0.4)
    ready = said("endpoint", "create", "more", "--second-region", THERE, "--yes", "--wait", "--output", "json")
    assert ready["state"] == "READY"
    assert "expected" in said("endpoint", "create", "same", "--second-region", HOME, "--yes", code=2)
    assert "no such" in said("endpoint", "show", "none", code=2).lower()
    listed = said("endpoint", "list", "--output", "json")
    assert [(one["name"], one["state"]) for one in listed] == [("both", "READY"), ("more", "READY")]

    furnish(regions)
    planned(regions, made["endpoint_id"])
    assert "campaigns: launch" in said("endpoint", "show", "both")
    assert said("endpoint", "show", "more", "--output", "json")["campaigns"] == []
    before_asking = said("endpoint", "delete", "both", code=2)
    assert "no terminal to ask on" in before_asking
    assert "will be deleted, for good" in before_asking.replace("\n", " ")
    before_asking = said("endpoint", "create", "third", "--second-region", THERE, code=2)
    assert "The endpoint third will be made in this account" in before_asking
    assert len(said("endpoint", "list", "--output", "json")) == 2
    gone = said("endpoint", "delete", "both", "--yes", "--wait", "--output", "json")
    assert gone == {"name": "both", "state": None, "campaigns": ["launch"]}
    regions.home.settings(endpoint_change_s=3600)
    assert "it is being deleted" in said("endpoint", "delete", "more", "-y")


def test_one_that_fails_is_no_success(regions: TwoRegions, said: Any) -> None:
    regions.home.settings(endpoint_change_s=0.1, endpoint_status="FAILED")
    told = said("endpoint", "create", "both", "--second-region", THERE, "--yes", "--wait", code=2)
    assert "'both' is FAILED: it could not be made, and never takes mail" in told
    assert "Delete it and make another" in told


# What keeps a campaign back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words", "remedy"),
    [
        ("CREATING", "still being made", "Wait until it is READY"),
        ("FAILED", "could not be made", "bulksend cancel launch"),
        ("DELETING", "is being deleted", "bulksend cancel launch"),
        ("", "whose primary Region is eu-west-1", "bulksend cancel launch"),
    ],
)
def test_one_that_is_not_ready_is_refused_in_words(
    regions: TwoRegions, said: Any, state: str, words: str, remedy: str
) -> None:
    furnish(regions)
    endpoint_id = regions.endpoint()
    campaign, settings, store, warnings = planned(regions, endpoint_id)
    assert warnings == ()
    if state:
        regions.home.settings(endpoint_status=state)
    else:
        said("endpoint", "delete", "both", "--yes", "--wait")
    told = said("send", "launch", "--yes", code=2)
    assert words in told
    assert remedy in told

    asyncio.run(as_a_worker(store, settings, campaign))
    campaign = store.journal.campaign("launch")
    assert campaign.state is CampaignState.HALTED
    assert campaign.halt is not None
    assert words in campaign.halt.reason
    assert remedy in campaign.halt.remedy
    assert regions.sent == []
    assert store.journal.tally(campaign).pending == 60


@pytest.mark.parametrize("state", ["FAILED", "DELETING", ""])
def test_a_plan_is_bound_to_none_that_never_takes_mail(regions: TwoRegions, said: Any, state: str) -> None:
    furnish(regions)
    endpoint_id = regions.endpoint() if state else "abc12345.xyz"
    regions.home.settings(endpoint_status=state or "READY")
    campaign_file(regions, endpoint_id)
    told = said("plan", "campaign.toml", code=2)
    assert "'launch' is not planned" in told
    assert endpoint_id in told
    assert "sender.endpoint_id" in told
    regions.home.settings(endpoint_status="READY")
    campaign_file(regions, regions.endpoint("another"))
    assert "launch" in said("plan", "campaign.toml")


def test_one_that_is_being_made_is_warned_of(regions: TwoRegions) -> None:
    furnish(regions)
    endpoint_id = regions.endpoint()
    regions.home.settings(endpoint_status="CREATING")
    *_, warnings = planned(regions, endpoint_id)
    assert ["still being made" in warning and "Wait until it is READY" in warning for warning in warnings] == [True]


def test_whoever_got_it_by_an_endpoint_gets_it_by_none_again(regions: TwoRegions, said: Any) -> None:
    furnish(regions)
    planned(regions, regions.endpoint())
    path = Path("campaign.toml")
    other_way = "".join(
        line for line in path.read_text("utf-8").splitlines(keepends=True) if not line.startswith("endpoint")
    )
    path.write_text(other_way.replace("launch", "again"), "utf-8")
    assert "same list and content as 'launch'" in said("plan", "campaign.toml", code=2)
    said("cancel", "launch", "--yes")  # nobody got anything by it, nor will
    assert "again" in said("plan", "campaign.toml")


def test_where_nothing_can_be_signed_plan_and_doctor_say_so(
    regions: TwoRegions, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.compat.HAS_CRT", False)
    furnish(regions)
    *_, warnings = planned(regions, regions.endpoint())
    assert ["pip install 'bulksend[multiregion]'" in warning for warning in warnings] == [True]
    capsys.readouterr()
    assert run(("doctor", "campaign.toml", "--output", "json")) == ExitCode.USAGE
    assert "needs awscrt" in capsys.readouterr().out


async def as_a_worker(store: worker.Store, settings: Settings, campaign: Campaign) -> None:
    store.journal.ask_for(campaign, CampaignState.QUEUED)
    with pytest.raises(EndpointError):
        await Service(store, settings, only=campaign.id).run()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("template", "template in us-east-1: there is no template"),
        ("configuration set", "configuration set in us-east-1: there is no configuration set"),
        ("identity", "sender in us-east-1: news@example.com is no verified identity"),
    ],
)
def test_what_one_region_lacks_is_named(regions: TwoRegions, said: Any, missing: str, words: str) -> None:
    furnish(regions, missing)
    _, _, _, warnings = planned(regions, regions.endpoint())
    assert [words in warning for warning in warnings] == [True]
    told = said("send", "launch", "--yes", code=2)
    assert words in told
    assert "in eu-west-1: there" not in told
    assert regions.sent == []


def test_an_endpoint_that_cannot_be_looked_at_is_not_sent_by(regions: TwoRegions, said: Any) -> None:
    furnish(regions)
    planned(regions, regions.endpoint())
    denied = {"status": 403, "code": "AccessDeniedException", "text": "no", "share": 1.0}
    regions.home.rules([{"fault": "http", "operation": "ListMultiRegionEndpoints", **denied}])
    try:
        assert "allow the action ses:ListMultiRegionEndpoints" in said("send", "launch", "--yes", code=2)
    finally:
        regions.home.rules([])
    assert regions.sent == []


def test_a_rehearsal_does_without_the_endpoint(regions: TwoRegions, said: Any) -> None:
    campaign_file(regions, "abc12345.xyz")
    assert "dry run: finished" in said("send", "campaign.toml", "--dry-run")


# The pace -------------------------------------------------------------------------------------------------------------

STATUSES = st.builds(
    AccountStatus,
    max_send_rate_per_s=st.floats(0.1, 1e5),
    max_24_hour_send=st.none() | st.floats(0, 1e7),
    sent_last_24_hours=st.floats(0, 1e7),
    sending_enabled=st.booleans(),
    production_access=st.booleans(),
    enforcement_status=st.sampled_from(["HEALTHY", "PROBATION", "SHUTDOWN"]),
)


def room(one: AccountStatus) -> float:
    return float("inf") if one.max_24_hour_send is None else one.max_24_hour_send - one.sent_last_24_hours


@given(st.lists(STATUSES, min_size=1, max_size=3))
def test_no_region_is_asked_for_more_than_it_grants(accounts: list[AccountStatus]) -> None:
    found = smaller_quota(accounts)
    assert found.max_send_rate_per_s == min(one.max_send_rate_per_s for one in accounts)
    assert room(found) == min(room(one) for one in accounts)
    assert found.sending_enabled == all(one.sending_enabled for one in accounts)
    assert (found.enforcement_status == "SHUTDOWN") == any(one.enforcement_status == "SHUTDOWN" for one in accounts)
    assert (found.enforcement_status == "HEALTHY") == all(one.enforcement_status == "HEALTHY" for one in accounts)
    assert smaller_quota([found]) == found


def test_the_smaller_quota_paces_while_the_endpoint_is_sent_by(regions: TwoRegions) -> None:
    furnish(regions)
    campaign, settings, store, _ = planned(regions, regions.endpoint())
    regions.there.foreign(999_990)

    async def main() -> None:
        at_work: AccountAtWork
        access = bound_access(campaign, settings)
        async with working(campaign.binding, access, settings, store, Audience(), None) as at_work:
            pacer = at_work.pacer
            assert isinstance(pacer, QuotaPacer)
            assert (pacer.rate_per_s, pacer.batch_recipients) == (RATE, 50)
            async with through_endpoint(campaign, access, at_work.quotas, at_work.read_quotas):
                assert (pacer.rate_per_s, pacer.batch_recipients) == (RATE_THERE, 10)
                regions.cut_off = True
                stands = await at_work.quotas.read()
                assert (stands.max_send_rate_per_s, room(stands)) == (RATE_THERE, 10)
                regions.cut_off = False
            assert (await at_work.quotas.read()).max_send_rate_per_s == RATE

    asyncio.run(main())


def test_a_shared_pacer_hears_of_the_smaller_quota(regions: TwoRegions, database_url: str) -> None:
    furnish(regions)
    settings = settings_for(regions.url, store=database_url, snapshots=str(Path("snapshots").absolute()))
    store = worker.Store.open(settings, Path.cwd())
    campaign = worker.plan(load_campaign(campaign_file(regions, regions.endpoint())), settings, store).campaign

    async def main() -> tuple[float, float]:
        access = bound_access(campaign, settings)
        async with working(campaign.binding, access, settings, store, Audience(), None) as at_work:
            before = (await at_work.quotas.read()).max_send_rate_per_s
            async with through_endpoint(campaign, access, at_work.quotas, at_work.read_quotas):
                return before, (await at_work.quotas.read()).max_send_rate_per_s

    assert asyncio.run(main()) == (RATE, RATE_THERE)


def test_whoever_reads_the_quota_for_a_fleet_reads_it_where_another_sends(
    regions: TwoRegions, database_url: str
) -> None:
    furnish(regions)
    settings = settings_for(regions.url, store=database_url, snapshots=str(Path("snapshots").absolute()))
    store, reader = worker.Store.open(settings, Path.cwd()), worker.Store.open(settings, Path.cwd())
    campaign = worker.plan(load_campaign(campaign_file(regions, regions.endpoint())), settings, store).campaign
    access = bound_access(campaign, settings)

    async def forget_what_was_wanted() -> None:
        async with await connecting(database_url)() as connection:
            await connection.execute("UPDATE elsewhere SET wanted_until = 0")

    async def main() -> list[float]:
        async with (
            working(campaign.binding, access, settings, store, Audience(), None) as at_work,
            working(campaign.binding, access, settings, reader, Audience(), None) as beside,
        ):
            found = [(await beside.quotas.read()).max_send_rate_per_s]
            async with through_endpoint(campaign, access, at_work.quotas, at_work.read_quotas):
                found.append((await beside.quotas.read()).max_send_rate_per_s)
                regions.cut_off = True  # the reader knows what it was
                found.append((await beside.quotas.read()).max_send_rate_per_s)
            regions.cut_off = False
            await forget_what_was_wanted()
            found.append((await beside.quotas.read()).max_send_rate_per_s)
            return found

    assert asyncio.run(main()) == [RATE, RATE_THERE, RATE_THERE, RATE]


def test_a_region_that_only_others_need_keeps_nobody_else_from_sending(regions: TwoRegions, database_url: str) -> None:
    furnish(regions)
    settings = settings_for(regions.url, store=database_url, snapshots=str(Path("snapshots").absolute()))
    store = worker.Store.open(settings, Path.cwd())
    campaign = worker.plan(load_campaign(campaign_file(regions, regions.endpoint())), settings, store).campaign
    access = bound_access(campaign, settings)
    regions.cut_off = True

    async def main() -> float:
        await Elsewhere(connecting(database_url), campaign.binding.account, HOME).share([THERE])
        async with working(campaign.binding, access, settings, store, Audience(), None) as at_work:
            return (await at_work.quotas.read()).max_send_rate_per_s

    assert asyncio.run(main()) == RATE


def test_a_region_that_never_answered_is_waited_for(regions: TwoRegions) -> None:
    furnish(regions)
    campaign, settings, store, _ = planned(regions, regions.endpoint())
    regions.cut_off = True

    async def main() -> None:
        access = bound_access(campaign, settings)
        async with (
            working(campaign.binding, access, settings, store, Audience(), None) as at_work,
            through_endpoint(campaign, access, at_work.quotas, at_work.read_quotas),
        ):
            pytest.fail("it would be sent")

    refused(main())
    assert regions.sent == []


def refused(main: Coroutine[Any, Any, None]) -> None:
    with pytest.raises(AccountError, match="the quota of us-east-1, which 'launch' is sent from too"):
        asyncio.run(main)


# On the wire ----------------------------------------------------------------------------------------------------------


def bulksend(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, since it is when botocore is imported that awscrt is there or not."""
    return subprocess.run(
        [sys.executable, "-m", "bulksend", *arguments],
        env=signing(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def at_work(*arguments: str) -> subprocess.Popen[str]:
    """The same, not waited for."""
    command = [sys.executable, "-m", "bulksend", *arguments]
    return subprocess.Popen(command, env=signing(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def signing() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "BOTO_DISABLE_CRT"}


def test_requests_are_signed_for_every_region_and_a_tampered_one_is_not_taken(regions: TwoRegions) -> None:
    furnish(regions)
    campaign, _, store, warnings = planned(regions, regions.endpoint())
    assert warnings == ()
    regions.tampered = 1
    done = bulksend("send", "launch", "--yes")
    assert done.returncode == 0, done.stderr
    assert store.journal.tally(campaign).accepted == 60
    first, *others = regions.answered
    assert (first, set(others)) == (403, {200})
    for headers in regions.sent:
        assert headers["Authorization"].startswith("AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/")
        assert headers["X-Amz-Region-Set"] == "*"
        assert "x-amz-region-set" in headers["Authorization"]


def test_one_that_is_deleted_while_it_is_sent_by_leaves_the_rest_to_another_campaign(
    regions: TwoRegions, said: Any
) -> None:
    """What a person is told to do can be typed as it stands, and nobody is written to twice by it."""
    furnish(regions)
    endpoint_id = regions.endpoint()
    planned(regions, endpoint_id)
    regions.there.settings(max_send_rate_per_s=10)  # a request a second
    try:
        with at_work("send", "launch", "--yes") as sending:
            until(lambda: regions.answered, "the first answer")
            regions.client().delete_multi_region_endpoint(EndpointName="both")
            _, told = sending.communicate(timeout=50)
    finally:
        regions.there.settings(max_send_rate_per_s=RATE_THERE)
    assert sending.returncode == ExitCode.HALTED, told
    told = " ".join(told.split())
    assert f"'{endpoint_id}'" in told
    cancel, results = "bulksend cancel launch", "bulksend results launch --format list --out rest.csv"
    assert cancel in told
    assert results in told
    assert "To go on" not in told

    accepted = said("status", "launch", "--output", "json")["accepted"]
    assert 0 < accepted < 60
    said(*cancel.split()[1:], "--yes")
    said(*results.split()[1:])
    path = Path("campaign.toml")
    kept = [line for line in path.read_text("utf-8").splitlines(keepends=True) if not line.startswith("endpoint")]
    path.write_text("".join(kept).replace("launch", "rest").replace("list.csv", "rest.csv"), "utf-8")
    said("send", "campaign.toml", "--yes")
    assert said("status", "rest", "--output", "json")["accepted"] == 60 - accepted
    written = []
    for name in ("launch", "rest"):
        said("results", name, "--state", "accepted", "--out", f"{name}.got.csv")
        with Path(f"{name}.got.csv").open(encoding="utf-8", newline="") as file:
            written += [row["address"] for row in csv.DictReader(file)]
    assert sorted(written) == sorted(f"a{n}@example.com" for n in range(60))
    assert regions.home.tally()["accepted"] == 60
