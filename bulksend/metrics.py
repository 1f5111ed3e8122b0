"""Every Prometheus series, declared once; an observer of runs.

Nothing personal is in any label, and each label has few values. Served on loopback only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Self, assert_never

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bulksend import __version__
from bulksend.errors import ServerError
from bulksend.facts import (
    BatchAnswered,
    BatchSent,
    CampaignHalted,
    CircuitChanged,
    Committed,
    EntriesReturned,
    Fact,
    PaceChanged,
    QuotaRead,
    UnknownStatus,
    Waiting,
)
from bulksend.model import Verdict

__all__ = ["Metrics", "MetricsServer"]

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)


class Metrics:
    """The series of one process, in a registry of their own. Satisfies the engine's Observer."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._batches = _Batches()
        registry.register(self._batches)
        self._returned = Counter(
            "bulksend_entries_returned_total",
            "Entries made pending again: dead letters by a halt, in-doubt ones by the campaign's policy.",
            ["was"],
            registry=registry,
        )
        self._commit = Histogram(
            "bulksend_journal_commit_duration_seconds",
            "Duration of the journal's commits.",
            buckets=COMMIT_BUCKETS_S,
            registry=registry,
        )
        self._operations = Counter(
            "bulksend_journal_operations_total", "Operations the journal committed.", registry=registry
        )
        self._pace = Gauge("bulksend_pace_recipients_per_second", "The present pace.", registry=registry)
        self._rate = Gauge(
            "bulksend_quota_max_send_rate_recipients_per_second", "What SES grants a second.", registry=registry
        )
        self._day = Gauge(
            "bulksend_quota_max_24_hour_send_recipients",
            "What SES grants in 24 hours; +Inf is unlimited.",
            registry=registry,
        )
        self._sent = Gauge(
            "bulksend_quota_sent_last_24_hours_recipients", "What SES has counted in 24 hours.", registry=registry
        )
        self._foreign = Gauge(
            "bulksend_quota_foreign_24_hours_recipients", "Of these, what others have sent.", registry=registry
        )
        self._waiting = Gauge("bulksend_waiting", "1 while nothing may be sent for want of quota.", registry=registry)
        self._circuit = Gauge("bulksend_circuit_open", "1 while only probes go out.", registry=registry)
        self._unknown = Counter(
            "bulksend_unknown_statuses_total", "Entries with a status that no document names.", registry=registry
        )
        self._halts = Counter(
            "bulksend_halts_total", "Times that sending stopped by itself.", ["scope"], registry=registry
        )
        Info("bulksend_build", "The version that runs.", registry=registry).info({"version": __version__})

    def exposition(self) -> tuple[str, bytes]:
        """The content type and the text for Prometheus."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)

    def observe(self, fact: Fact) -> None:
        """Count it."""
        match fact:
            case BatchSent():
                self._batches.sent(fact)
            case BatchAnswered():
                self._batches.answered(fact)
            case EntriesReturned():
                self._returned.labels(fact.verdict.value).inc(fact.entries)
            case Committed():
                self._commit.observe(fact.duration_s)
                self._operations.inc(fact.operations)
            case QuotaRead():
                limit = fact.account.max_24_hour_send
                self._rate.set(fact.account.max_send_rate_per_s)
                self._day.set(float("inf") if limit is None else limit)
                self._sent.set(fact.account.sent_last_24_hours)
                self._foreign.set(fact.foreign)
            case PaceChanged():
                self._pace.set(fact.rate_per_s)
            case Waiting():
                self._waiting.set(1 if fact.reason else 0)
            case CircuitChanged():
                self._circuit.set(1 if fact.is_open else 0)
            case UnknownStatus():
                self._unknown.inc()
            case CampaignHalted():
                self._halts.labels(fact.halt.scope.value).inc()
            case _:
                assert_never(fact)


class _Distribution:
    """Seconds by bucket. One thread writes."""

    def __init__(self, buckets_s: Sequence[float]) -> None:
        self._limits = [*buckets_s, float("inf")]
        self._counts = [0] * len(self._limits)
        self._sum = 0.0

    def observe(self, value_s: float) -> None:
        self._counts[bisect_left(self._limits, value_s)] += 1
        self._sum += value_s

    def family(self, name: str, documentation: str) -> HistogramMetricFamily:
        buckets = [
            ("+Inf" if limit == float("inf") else str(limit), count)
            for limit, count in zip(self._limits, accumulate(self._counts), strict=True)
        ]
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._sum)


class _Batches(Collector):
    """What is counted for each batch: plain numbers, as this is done twenty thousand times a million recipients.

    Series are made of them when somebody looks. Only the event loop's thread writes.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[Verdict, str], int] = {}
        self._requests: dict[Verdict, int] = {}
        self._throttled = 0
        self._in_flight = 0
        self._pacer_wait_s = 0.0
        self._answer = _Distribution(LATENCY_BUCKETS_S)
        self._intent = _Distribution(COMMIT_BUCKETS_S)

    def sent(self, fact: BatchSent) -> None:
        self._in_flight += 1
        self._pacer_wait_s += fact.pacer_wait_s
        self._intent.observe(fact.commit_s)

    def answered(self, fact: BatchAnswered) -> None:
        self._in_flight -= 1
        self._answer.observe(fact.answer_s)
        self._requests[fact.verdict] = self._requests.get(fact.verdict, 0) + 1
        throttled = False
        for (verdict, status), entries in fact.outcomes.items():
            label = (verdict, _bounded(status))
            self._entries[label] = self._entries.get(label, 0) + entries
            throttled = throttled or verdict is Verdict.THROTTLED
        self._throttled += throttled

    def collect(self) -> Iterator[Metric]:
        entries = CounterMetricFamily(
            "bulksend_entries",
            "Entries by what SES's answer made of them, with SES's own status.",
            labels=["verdict", "status"],
        )
        for (verdict, status), count in self._entries.copy().items():
            entries.add_metric([verdict.value, status], count)
        yield entries
        requests = CounterMetricFamily(
            "bulksend_requests", "SendBulkEmail requests by the verdict on them.", labels=["verdict"]
        )
        for verdict, count in self._requests.copy().items():
            requests.add_metric([verdict.value], count)
        yield requests
        yield GaugeMetricFamily(
            "bulksend_in_flight_requests", "Requests whose answer is awaited.", value=self._in_flight
        )
        yield CounterMetricFamily(
            "bulksend_pacer_wait_seconds", "Time that batches waited for the quota.", value=self._pacer_wait_s
        )
        yield CounterMetricFamily("bulksend_throttled_requests", "Requests SES throttled.", value=self._throttled)
        yield self._answer.family("bulksend_request_duration_seconds", "From sending a request to its answer.")
        yield self._intent.family("bulksend_intent_duration_seconds", "From asking for a durable intent to having it.")


class MetricsServer:
    """/metrics on a loopback port, while inside.

    Raises:
        ServerError: at entry, when the port cannot be had.
    """

    def __init__(self, metrics: Metrics, port: int) -> None:
        self._metrics = metrics
        self._port = port
        self.url = ""

    def __enter__(self) -> Self:
        try:
            self._server, self._thread = start_http_server(
                self._port, addr="127.0.0.1", registry=self._metrics.registry
            )
        except OSError as error:
            raise ServerError(f"port {self._port} for /metrics: {error.strerror}") from error
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@lru_cache(256)
def _bounded(status: str) -> str:
    """A label has few values: what is no word of SES's or ours is only counted as unknown."""
    plain = len(status) <= 64 and status.replace("_", "").isalnum() and status.isascii()  # noqa: PLR2004
    return status if plain else "unknown"
