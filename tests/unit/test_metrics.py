"""What is counted by hand comes out as prometheus-client would have counted it; one page tells of every series."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bulksend.engine import Observer
from bulksend.errors import ServerError
from bulksend.event import BounceKind, EventType
from bulksend.facts import (
    BatchAnswered,
    BatchSent,
    CampaignHalted,
    CampaignHindered,
    ChunkRead,
    ChunkStanding,
    CircuitChanged,
    Committed,
    EntriesReturned,
    EntryStanding,
    EventsHeldUp,
    EventsRecorded,
    Fact,
    LoopLagged,
    PaceChanged,
    QuotaRead,
    Reputation,
    Span,
    StoreCounted,
    UnknownStatus,
    Waiting,
    WaitKind,
)
from bulksend.metrics import CATALOGUE, Kind, Metrics, MetricsFile, declared
from bulksend.metrics.numbers import CampaignLabels
from bulksend.metrics.page import page
from bulksend.model import AccountStatus, BatchKind, CampaignState, Halt, HaltScope, Verdict

SECONDS = st.floats(0, 100) | st.sampled_from(declared.COMMIT_S + declared.ANSWER_S)
ACCOUNT, REGION = "123456789012", "eu-west-1"
PAGE = Path(__file__).parents[2] / "docs" / "METRICS.md"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(registry: CollectorRegistry) -> Series:
    """Every sample as it is scraped, but for the times of creation."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Of the one sample with these labels among its own; None if there is none."""
    found = [
        number
        for (other, there), number in series(metrics.registry).items()
        if other == name and labels.items() <= dict(there).items()
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def sent() -> BatchSent:
    return BatchSent(BatchKind.FIRST, 50, 50, 0.25, 0.001)


def answered(
    outcomes: Mapping[tuple[Verdict, str], int] | None = None, *, answer_s: float = 0.02, code: str = "200"
) -> BatchAnswered:
    return BatchAnswered(Verdict.ACCEPTED, 50, answer_s, outcomes or {}, code, "signed")


def quota(max_24_hour_send: float | None, headroom: float) -> QuotaRead:
    return QuotaRead(AccountStatus(14.0, max_24_hour_send, 70.0, True, True, "HEALTHY"), 20.0, headroom, 7.0)  # noqa: FBT003


def counted(entries: Mapping[str, Mapping[EntryStanding, int]]) -> StoreCounted:
    states = dict.fromkeys(CampaignState, 0)
    return StoreCounted(1e9, 0.5, states, entries, 7, dict.fromkeys(ChunkStanding, 1), 3)


# Sending --------------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=30))
def test_durations_are_distributed_as_the_library_does(durations: list[tuple[float, float]]) -> None:
    ours, theirs = Metrics(), CollectorRegistry()
    labels = {"account": ACCOUNT, "region": REGION, "transport": "signed"}
    answer = Histogram(
        "bulksend_request_duration_seconds", "-", list(labels), buckets=declared.ANSWER_S, registry=theirs
    )
    intent = Histogram("bulksend_intent_duration_seconds", "-", buckets=declared.COMMIT_S, registry=theirs)
    with ours.campaign(ACCOUNT, REGION, "launch") as observer:
        for commit_s, answer_s in durations:
            observer.observe(BatchSent(BatchKind.FIRST, 50, 50, 0.0, commit_s))
            observer.observe(answered(answer_s=answer_s))
            intent.observe(commit_s)
            answer.labels(**labels).observe(answer_s)
    assert series(theirs).items() <= series(ours.registry).items()


def test_a_request_with_throttled_entries_is_one_throttled_request() -> None:
    metrics = Metrics()
    outcomes = {
        (Verdict.ACCEPTED, "SUCCESS"): 2,
        (Verdict.THROTTLED, "ACCOUNT_THROTTLED"): 2,
        (Verdict.THROTTLED, "a status with spaces"): 1,
    }
    with metrics.campaign(ACCOUNT, REGION, "launch") as observer:
        observer.observe(sent())
        observer.observe(sent())
        observer.observe(answered(outcomes))
        assert value(metrics, "bulksend_throttled_requests_total") == 1
        assert value(metrics, "bulksend_in_flight_requests") == 1
        assert value(metrics, "bulksend_pacer_wait_seconds_total", account=ACCOUNT, region=REGION) == 0.5
        assert value(metrics, "bulksend_entries_total", verdict="throttled", status="unknown") == 1
        assert value(metrics, "bulksend_requests_total", code="200", transport="signed", verdict="accepted") == 1
        assert value(metrics, "bulksend_request_recipients_total", verdict="accepted") == 50


def test_a_run_that_has_ended_has_nothing_in_flight_and_waits_for_nothing() -> None:
    metrics = Metrics()
    with metrics.campaign(ACCOUNT, REGION, "first") as first, metrics.campaign(ACCOUNT, REGION, "second") as second:
        for observer in (first, second):
            observer.observe(sent())
            observer.observe(Waiting("by its schedule", WaitKind.SCHEDULE))
            observer.observe(CircuitChanged(is_open=True, next_probe_s=1.0, why="-"))
        second.close()
        assert value(metrics, "bulksend_in_flight_requests") == 1
        assert value(metrics, "bulksend_waiting", why="schedule") == 1
        assert value(metrics, "bulksend_circuits_open") == 1
        first.observe(Waiting("", None))
        first.observe(CircuitChanged(is_open=False, next_probe_s=0.0, why=""))
        assert value(metrics, "bulksend_waiting", why="schedule") == 0
        assert value(metrics, "bulksend_circuits_open") == 0
    assert value(metrics, "bulksend_in_flight_requests") == 0


def test_what_a_campaign_tells_is_counted() -> None:
    metrics = Metrics()
    with metrics.campaign(ACCOUNT, REGION, "launch") as observer:
        for fact in (
            EntriesReturned(Verdict.DEAD, 20),
            UnknownStatus("NEW_STATUS"),
            CampaignHalted(Halt("why", "what to do", HaltScope.ACCOUNT)),
            ChunkRead(5000, 0.01),
        ):
            observer.observe(fact)
    assert value(metrics, "bulksend_entries_returned_total", was="dead") == 20
    assert value(metrics, "bulksend_entries_returned_total", was="in_doubt") == 0
    assert value(metrics, "bulksend_unknown_statuses_total") == 1
    assert value(metrics, "bulksend_halts_total", scope="account") == 1
    assert value(metrics, "bulksend_halts_total", scope="campaign") == 0
    assert value(metrics, "bulksend_snapshot_read_entries_total") == 5000
    assert value(metrics, "bulksend_snapshot_read_duration_seconds_count") == 1


# Labels ---------------------------------------------------------------------------------------------------------------


def test_statuses_and_codes_without_a_bound_are_few_labels() -> None:
    metrics = Metrics()
    with metrics.campaign(ACCOUNT, REGION, "launch") as observer:
        for n in range(1000):
            odd = {(Verdict.IN_DOUBT, f"someone{n}@example.com"): 1, (Verdict.IN_DOUBT, f"STATUS_{n}"): 1}
            observer.observe(answered(odd, code=f"Code{n}"))
    found = [dict(labels) for name, labels in series(metrics.registry) if name.startswith("bulksend_")]
    assert not [labels for labels in found if any("@" in label for label in labels.values())]
    assert value(metrics, "bulksend_entries_total", status="unknown") == 1000
    assert len({labels["status"] for labels in found if "status" in labels}) <= 66
    assert len({labels["code"] for labels in found if "code" in labels}) <= 65


def test_campaigns_are_told_apart_only_where_that_is_wanted_and_only_so_many() -> None:
    for campaigns in (False, True):
        metrics = Metrics(campaigns=campaigns)
        for n in range(declared.CAMPAIGNS_LABELLED + 10):
            with metrics.campaign(ACCOUNT, REGION, f"launch {n}") as observer:
                observer.observe(sent())
                observer.observe(answered({(Verdict.ACCEPTED, "SUCCESS"): 50}))
        metrics.store.observe(counted({f"launch {n}": {EntryStanding.IN_DOUBT: 1} for n in range(100)}))
        for name in ("bulksend_entries_total", "bulksend_campaign_entries"):
            labels = [dict(there)["campaign"] for found, there in series(metrics.registry) if found == name]
            assert len(labels) == (declared.CAMPAIGNS_LABELLED + 1 if campaigns else 1)
        assert value(metrics, "bulksend_entries_total", campaign="other" if campaigns else "") == (
            500 if campaigns else 50 * 60
        )
        assert value(metrics, "bulksend_campaign_entries", campaign="other" if campaigns else "") == (
            50 if campaigns else 100
        )


def test_a_url_that_stands_for_an_account_shows_no_more_than_its_host() -> None:
    metrics = Metrics()
    with metrics.account("http://127.0.0.1:8080/path?key=secret", REGION) as observer:
        observer.observe(quota(100.0, 30.0))
        assert value(metrics, "bulksend_quota_headroom_recipients", account="127.0.0.1:8080") == 30
        assert "secret" not in metrics.exposition()[1].decode()


# Quota, store, events -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "headroom", "shown", "debt"),
    [(100.0, 30.0, 30.0, 0.0), (100.0, -12.0, 0.0, 12.0), (None, float("inf"), float("inf"), 0.0)],
)
def test_the_quota_as_it_was_read(limit: float | None, headroom: float, shown: float, debt: float) -> None:
    metrics = Metrics()
    with metrics.account(ACCOUNT, REGION) as observer:
        observer.observe(quota(limit, headroom))
        observer.observe(PaceChanged(3.5, "throttled by SES", 7.0))
        observer.observe(Waiting("the day is spent", WaitKind.DAY_SPENT))
        expected = {
            "quota_max_send_rate_recipients_per_second": 14.0,
            "quota_max_24h_send_recipients": float("inf") if limit is None else limit,
            "quota_sent_last_24h_recipients": 70.0,
            "quota_foreign_24h_recipients": 20.0,
            "quota_headroom_recipients": shown,
            "quota_debt_recipients": debt,
            "pace_allowed_recipients_per_second": 7.0,
            "pace_recipients_per_second": 3.5,
            "sending_enabled": 1.0,
        }
        found = {name: value(metrics, f"bulksend_{name}", account=ACCOUNT, region=REGION) for name in expected}
        assert found == expected
        assert value(metrics, "bulksend_waiting", why="day_spent") == 1
    assert value(metrics, "bulksend_pace_recipients_per_second") is None, "nobody sends from it any more"
    assert value(metrics, "bulksend_waiting", why="day_spent") == 0


def test_a_census_is_shown_as_it_was_taken() -> None:
    metrics = Metrics()
    assert value(metrics, "bulksend_workers") is None, "it has not been counted yet"
    metrics.store.observe(
        counted(
            {
                "one": {EntryStanding.PENDING: 5, EntryStanding.RETRYING: 2},
                "two": {EntryStanding.PENDING: 1, EntryStanding.IN_DOUBT: 4},
            }
        )
    )
    metrics.store.observe(Committed(0.002, 16))
    metrics.store.observe(LoopLagged(0.2))
    metrics.store.observe(Waiting("the database does not answer", WaitKind.STORE))
    assert value(metrics, "bulksend_campaign_entries", state="pending") == 6
    assert value(metrics, "bulksend_campaign_entries", state="retrying") == 2
    assert value(metrics, "bulksend_campaign_entries", state="in_doubt") == 4
    assert value(metrics, "bulksend_campaigns", state="halted") == 0
    assert value(metrics, "bulksend_chunks", state="stalled") == 1
    assert value(metrics, "bulksend_sendable_entries") == 7
    assert value(metrics, "bulksend_workers") == 3
    assert value(metrics, "bulksend_census_timestamp_seconds") == 1e9
    assert value(metrics, "bulksend_journal_group_operations_sum") == 16
    assert value(metrics, "bulksend_journal_commit_duration_seconds_count") == 1
    assert value(metrics, "bulksend_event_loop_lag_seconds_bucket", le="0.25") == 1
    assert value(metrics, "bulksend_waiting", why="store") == 1


def test_events_are_counted_by_type_and_all_types_are_there_from_the_beginning() -> None:
    metrics = Metrics()
    with metrics.account(ACCOUNT, REGION) as observer:
        for type_ in EventType:
            assert value(metrics, "bulksend_events_total", account=ACCOUNT, type=type_.value) == 0
        assert value(metrics, "bulksend_event_lag_seconds") is None
        types = {EventType.BOUNCE: 3, EventType.DELIVERY: 90}
        observer.observe(EventsRecorded(types, {BounceKind.PERMANENT: 2, BounceKind.TRANSIENT: 1}, 4.5, 1, 2))
        assert value(metrics, "bulksend_events_total", type="bounce", region=REGION) == 3
        assert value(metrics, "bulksend_bounces_total", kind="permanent") == 2
        assert value(metrics, "bulksend_bounces_total", kind="undetermined") == 0
        assert value(metrics, "bulksend_event_lag_seconds") == 4.5
        assert value(metrics, "bulksend_events_unreadable_total") == 1
        assert value(metrics, "bulksend_copies_observed_total", account=ACCOUNT, region=REGION) == 2
        observer.observe(EventsRecorded({}, {}, None, 7))
        assert value(metrics, "bulksend_event_lag_seconds") == 4.5, "what cannot be read says nothing of the others"


def test_events_are_held_up_while_any_queue_of_the_account_is_whoever_else_comes_and_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metrics, now_s = Metrics(), 1000.0
    monkeypatch.setattr("bulksend.metrics.observers.time.monotonic", lambda: now_s)

    def held_up() -> float | None:
        return value(metrics, "bulksend_events_held_up", account=ACCOUNT, region=REGION)

    with metrics.account(ACCOUNT, REGION) as queue:
        queue.observe(EventsHeldUp(""))
        queue.observe(EventsRecorded({}, {}, 4.5, 0, 0))
        assert held_up() == 0
        queue.observe(EventsHeldUp("SQS does not answer"))
        with metrics.account(ACCOUNT, REGION) as sending, metrics.account(ACCOUNT, REGION) as other_queue:
            sending.observe(PaceChanged(7.0, "quota", 7.0))
            other_queue.observe(EventsHeldUp(""))
            other_queue.observe(EventsRecorded({}, {}, 0.5, 0, 0))
            assert held_up() == 1
            assert value(metrics, "bulksend_pace_recipients_per_second") == 7
        assert held_up() == 1
        assert value(metrics, "bulksend_pace_recipients_per_second") is None
        now_s += 60
        queue.observe(EventsHeldUp("the store is locked"))
        now_s += 60
        assert value(metrics, "bulksend_event_lag_seconds") == 124.5, "they are late by as long as they are held up"
        queue.observe(EventsHeldUp(""))
        assert (held_up(), value(metrics, "bulksend_event_lag_seconds")) == (0, 4.5)
    assert held_up() is None


def test_a_campaign_that_cannot_be_begun_is_waiting_for_what_hinders_it() -> None:
    metrics = Metrics()

    def waiting() -> list[float | None]:
        return [value(metrics, "bulksend_waiting", why=kind.value) for kind in WaitKind]

    none_at_all = waiting()
    metrics.store.observe(CampaignHindered("a", "the disk is full", WaitKind.STORE))
    metrics.store.observe(CampaignHindered("b", "other credentials", WaitKind.THIS_WORKER))
    metrics.store.observe(CampaignHindered("a", "the disk is still full", WaitKind.STORE))
    assert value(metrics, "bulksend_waiting", why="store") == 1
    assert value(metrics, "bulksend_waiting", why="this_worker") == 1
    for campaign_id in "ab":
        metrics.store.observe(CampaignHindered(campaign_id, "", None))
    assert waiting() == none_at_all == [0] * len(WaitKind)


def test_what_an_account_is_judged_by_is_told_of_each_span() -> None:
    metrics = Metrics()
    spans = {Span.DAY: Reputation(90, 3, 1), Span.WEEK: Reputation(100, 4, 2)}
    metrics.store.observe(replace(counted({}), reputation={("http://127.0.0.1:8080/", REGION): spans}))
    found = [
        value(metrics, f"bulksend_heard_{what}", account="127.0.0.1:8080", region=REGION, span=span)
        for what in ("mails", "bounced_mails", "complained_mails")
        for span in ("day", "week")
    ]
    assert found == [90, 100, 3, 4, 1, 2]
    metrics.store.observe(counted({}))
    assert value(metrics, "bulksend_heard_mails", span="day") is None


def test_the_oldest_doubt_of_all_campaigns_is_told() -> None:
    metrics = Metrics()
    assert value(metrics, "bulksend_in_doubt_oldest_seconds") is None
    metrics.store.observe(counted({}))
    assert value(metrics, "bulksend_in_doubt_oldest_seconds") == 0
    metrics.store.observe(replace(counted({}), doubt_since={"one": 1e9 - 60, "other": 1e9 - 90}))
    assert value(metrics, "bulksend_in_doubt_oldest_seconds") == 90


def test_rows_read_while_planning_are_counted_once() -> None:
    metrics = Metrics()
    with metrics.planning() as read:
        read(1000)
        assert value(metrics, "bulksend_plans_running") == 1
        read(1500)
    with metrics.planning() as read:
        read(10)
    assert value(metrics, "bulksend_plan_rows_total") == 1510
    assert value(metrics, "bulksend_plans_running") == 0
    assert value(metrics, "bulksend_plan_duration_seconds_count") == 2


@pytest.mark.parametrize("fact", [sent(), answered(), quota(None, 1.0), counted({}), LoopLagged(1.0), Committed(1, 1)])
def test_nobody_counts_what_is_somebody_elses(fact: Fact) -> None:
    metrics = Metrics()
    with metrics.account(ACCOUNT, REGION) as account, metrics.campaign(ACCOUNT, REGION, "launch") as campaign:
        told: dict[str, Observer] = {"store": metrics.store, "account": account, "campaign": campaign}
        before = series(metrics.own)
        changed = {}
        for who, observer in told.items():
            observer.observe(fact)
            after = series(metrics.own)
            changed[who] = after != before
            before = after
        assert sum(changed.values()) == 1, changed


# Where it can be had --------------------------------------------------------------------------------------------------


def test_a_file_is_whole_readable_by_the_collector_and_has_no_series_of_the_process(tmp_path: Path) -> None:
    metrics = Metrics()
    path = tmp_path / "bulksend.prom"
    with MetricsFile(metrics, path):
        assert path.stat().st_mode & 0o777 == 0o644
        metrics.store.observe(counted({}))
    text = path.read_text(encoding="utf-8")
    assert "bulksend_workers 3.0" in text
    assert "process_" not in text
    assert [one.name for one in tmp_path.iterdir()] == ["bulksend.prom"]


def test_every_series_is_declared_once_named_as_prometheus_wants_it_and_told_of() -> None:
    names = [one.name for one in CATALOGUE]
    assert len(names) == len(set(names))
    for one in CATALOGUE:
        assert re.fullmatch(r"bulksend_[a-z0-9_]+[a-z0-9]", one.name)
        assert not one.name.endswith("_total")
        assert one.documentation.endswith("."), one.name
        assert not {"address", "recipient", "email"} & set(one.labels)
        assert (one.kind is Kind.HISTOGRAM) == bool(one.limits)


def test_the_page_is_of_todays_declarations() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m bulksend.metrics.page > docs/METRICS.md"


def test_what_is_exposed_is_what_is_declared() -> None:
    exposed = {(family.name, family.type, family.documentation) for family in Metrics().own.collect()}
    declared_ = {(one.name, one.kind.value, one.documentation) for one in CATALOGUE}
    assert exposed == declared_


def test_a_file_that_is_none_is_refused_and_a_link_stays_one(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe.prom", tmp_path / "link.prom", tmp_path / "there" / "real.prom"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, Path("/dev/null")):
        with pytest.raises(ServerError, match=r"it is no file") as caught, MetricsFile(Metrics(), path):
            pass
        assert "--metrics-textfile" in caught.value.hint
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    target.parent.mkdir()
    link.symlink_to(target)
    with MetricsFile(Metrics(), link):
        pass
    assert link.is_symlink()
    assert "bulksend_build_info" in target.read_text(encoding="utf-8")


def test_a_folder_that_goes_away_is_told_once(tmp_path: Path) -> None:
    folder, told = tmp_path / "folder", list[str]()
    folder.mkdir()
    with MetricsFile(Metrics(), folder / "m.prom", told.append) as file:
        shutil.rmtree(folder)
        file._write_if_possible()
        file._write_if_possible()
    assert len(told) == 1
    assert "m.prom" in told[0]


def test_a_campaign_that_is_long_over_makes_room_for_another_and_one_at_work_does_not() -> None:
    labels = CampaignLabels(2)
    assert (labels.label("one", 0.0), labels.label("two", 1.0), labels.label("three", 2.0)) == ("one", "two", "other")
    labels.begin("one")
    assert labels.label("three", 3000.0) == "other", "an hour has not passed"
    assert labels.label("three", 4000.0) == "three"
    assert "two" not in labels
    assert labels.label("four", 9000.0) == "four", "three was not seen for more than an hour"
    labels.end("one", 9000.0)
    assert labels.label("five", 9001.0) == "other"
    assert labels.label("one", 9002.0) == "one"


def test_the_counters_of_a_campaign_go_with_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.metrics.numbers.FORGOTTEN_AFTER_S", 0.0)
    metrics = Metrics(campaigns=True)
    for n in range(declared.CAMPAIGNS_LABELLED + 5):
        with metrics.campaign(ACCOUNT, REGION, f"launch {n}") as observer:
            observer.observe(sent())
    found = {dict(labels)["campaign"] for name, labels in series(metrics.own) if name == "bulksend_in_flight_requests"}
    assert found == {f"launch {n}" for n in range(5, declared.CAMPAIGNS_LABELLED + 5)}


def test_campaigns_that_only_lie_there_take_no_label_from_those_that_are_sent() -> None:
    metrics = Metrics(campaigns=True)
    lying = {f"planned {n}": {EntryStanding.PENDING: 5} for n in range(declared.CAMPAIGNS_LABELLED + 5)}
    metrics.store.observe(counted(lying))

    def shown() -> dict[str, float]:
        return {
            dict(labels)["campaign"]: found
            for (name, labels), found in series(metrics.own).items()
            if name == "bulksend_campaign_entries"
        }

    assert shown()["other"] == 5 * 5
    with metrics.campaign(ACCOUNT, REGION, "launch") as observer:
        observer.observe(sent())
        assert value(metrics, "bulksend_in_flight_requests", campaign="launch") == 1
        assert shown()["other"] == 6 * 5
        assert len(shown()) == declared.CAMPAIGNS_LABELLED
        metrics.store.observe(counted(lying))
        assert shown()["other"] == 6 * 5
    metrics.store.observe(counted({"newcomer": {EntryStanding.PENDING: 5}}))
    assert "newcomer" in shown(), "those before it are gone"


def test_documented_statuses_are_never_others() -> None:
    metrics = Metrics()
    with metrics.campaign(ACCOUNT, REGION, "launch") as observer:
        for n in range(100):
            observer.observe(answered({(Verdict.IN_DOUBT, f"INVENTED_{n}"): 1}))
        observer.observe(answered({(Verdict.ACCEPTED, "SUCCESS"): 50}))
    assert value(metrics, "bulksend_entries_total", status="SUCCESS") == 50


def test_a_campaign_that_could_not_be_begun_has_halted() -> None:
    metrics = Metrics()
    metrics.store.observe(CampaignHalted(Halt("the snapshot is damaged", "-")))
    assert value(metrics, "bulksend_halts_total", scope="campaign") == 1


@pytest.mark.parametrize("text", ['name = "launch"\n', "x"])
def test_a_file_that_has_something_else_in_it_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ServerError, match="something else is in it"), MetricsFile(Metrics(), path):
        pass
    assert path.read_text("utf-8") == text


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.prom"
    path.symlink_to(path)
    with pytest.raises(ServerError), MetricsFile(Metrics(), path):
        pass
