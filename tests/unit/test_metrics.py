"""What is counted by hand comes out as prometheus-client itself would have counted it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bulksend.facts import BatchAnswered, BatchSent
from bulksend.metrics import COMMIT_BUCKETS_S, LATENCY_BUCKETS_S, Metrics
from bulksend.model import BatchKind, Verdict

SECONDS = st.floats(0, 100) | st.sampled_from(COMMIT_BUCKETS_S + LATENCY_BUCKETS_S)


def series(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample as it is scraped, but for the times of creation."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=30))
def test_durations_are_distributed_as_the_library_does(durations: list[tuple[float, float]]) -> None:
    ours, theirs = Metrics(), CollectorRegistry()
    answer = Histogram("bulksend_request_duration_seconds", "-", buckets=LATENCY_BUCKETS_S, registry=theirs)
    intent = Histogram("bulksend_intent_duration_seconds", "-", buckets=COMMIT_BUCKETS_S, registry=theirs)
    for commit_s, answer_s in durations:
        ours.observe(BatchSent(BatchKind.FIRST, 50, 50, 0.0, commit_s))
        ours.observe(BatchAnswered(Verdict.ACCEPTED, 50, answer_s, {}))
        intent.observe(commit_s)
        answer.observe(answer_s)
    assert series(theirs).items() <= series(ours.registry).items()


def test_a_request_with_throttled_entries_is_one_throttled_request() -> None:
    metrics = Metrics()
    metrics.observe(BatchSent(BatchKind.FIRST, 5, 5, 0.25, 0.001))
    metrics.observe(BatchSent(BatchKind.FIRST, 5, 5, 0.25, 0.001))
    outcomes = {
        (Verdict.ACCEPTED, "SUCCESS"): 2,
        (Verdict.THROTTLED, "ACCOUNT_THROTTLED"): 2,
        (Verdict.THROTTLED, "a status with spaces"): 1,
    }
    metrics.observe(BatchAnswered(Verdict.ACCEPTED, 5, 0.02, outcomes))
    seen = series(metrics.registry)
    assert seen["bulksend_throttled_requests_total", frozenset()] == 1
    assert seen["bulksend_in_flight_requests", frozenset()] == 1
    assert seen["bulksend_pacer_wait_seconds_total", frozenset()] == 0.5
    labels = frozenset({("verdict", "throttled"), ("status", "unknown")})
    assert seen["bulksend_entries_total", labels] == 1


def test_statuses_without_a_bound_are_one_label() -> None:
    metrics = Metrics()
    for n in range(100):
        outcomes = {(Verdict.IN_DOUBT, f"status no. {n}"): 1}
        metrics.observe(BatchAnswered(Verdict.ACCEPTED, 1, 0.02, outcomes))
    seen = {labels: value for (name, labels), value in series(metrics.registry).items() if "entries_total" in name}
    assert seen == {frozenset({("verdict", "in_doubt"), ("status", "unknown")}): 100}
