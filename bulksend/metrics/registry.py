"""The series of one process, made of plain numbers whenever somebody looks."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bulksend import __version__
from bulksend.event import SuppressionReason
from bulksend.facts import StoreCounted, WaitKind
from bulksend.metrics import declared
from bulksend.metrics.declared import Kind, Series
from bulksend.metrics.numbers import OTHER, AccountNumbers, CampaignLabels, CampaignNumbers, Distribution, Waits, Words
from bulksend.metrics.observers import AccountObserver, CampaignObserver, StoreObserver
from bulksend.model import HaltScope, Verdict

__all__ = ["Metrics"]

Labels = tuple[str, ...]
Sample = tuple[Labels, float | Distribution]


class Metrics(Collector):
    """The series of one process, in a registry of their own.

    With `campaigns`, the names of campaigns are a label; else that label is empty, which to Prometheus is none.
    """

    def __init__(self, *, campaigns: bool = False) -> None:
        self._labels_campaigns = campaigns
        self._names = CampaignLabels(declared.CAMPAIGNS_LABELLED)
        self._counted: dict[tuple[Series, Labels], float] = {
            (declared.RETURNED, (Verdict.DEAD.value,)): 0,
            (declared.RETURNED, (Verdict.IN_DOUBT.value,)): 0,
            (declared.UNKNOWN_STATUSES, ()): 0,
            (declared.SNAPSHOT_ENTRIES, ()): 0,
            (declared.PLAN_ROWS, ()): 0,
            **{(declared.HALTS, (scope.value,)): 0 for scope in HaltScope},
            (declared.SUPPRESSIONS, (SuppressionReason.UNSUBSCRIBE.value,)): 0,
        }
        self._looking_on: list[AccountObserver] = []
        """Those of accounts and queues; of one account there may be several."""
        self._accounts: dict[tuple[str, str], AccountNumbers] = {}
        self._campaigns: dict[tuple[str, str, str], CampaignNumbers] = {}
        self._plans_running = 0
        self._planning = Lock()
        self.statuses, self.codes = Words(), Words()
        self.waits = Waits()
        self.circuits: set[CampaignObserver] = set()
        self.blind: set[CampaignObserver] = set()
        self.census: StoreCounted | None = None
        self.intents_s = Distribution(declared.INTENT_DURATION.limits)
        self.commits_s = Distribution(declared.COMMIT_DURATION.limits)
        self.groups = Distribution(declared.GROUP_SIZE.limits)
        self.snapshot_reads_s = Distribution(declared.SNAPSHOT_READ.limits)
        self.plans_s = Distribution(declared.PLAN_DURATION.limits)
        self.loop_lags_s = Distribution(declared.LOOP_LAG.limits)
        self.own = CollectorRegistry()
        """What is declared here."""
        self.own.register(self)
        self.registry = CollectorRegistry()
        """The same, and what can be told of any process."""
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        self.store = StoreObserver(self)
        """Who is told of the store and the process."""

    # Whom to tell -----------------------------------------------------------------------------------------------------

    @contextmanager
    def account(self, account: str, region: str) -> Iterator[AccountObserver]:
        """Who is told of an account while it is sent from. `account` is its id, or the URL that stands for it."""
        labels = (_host(account), region)
        observer = AccountObserver(self, labels, self._accounts.setdefault(labels, AccountNumbers()))
        self._looking_on.append(observer)
        try:
            yield observer
        finally:
            self._looking_on.remove(observer)
            observer.close()

    @contextmanager
    def campaign(self, account: str, region: str, name: str) -> Iterator[CampaignObserver]:
        """Who is told of a run of a campaign."""
        labels = (_host(account), region)
        of_account = self._accounts.setdefault(labels, AccountNumbers())
        label = self._label(name)
        for key in [key for key in self._campaigns if key[2] and key[2] != OTHER and key[2] not in self._names]:
            del self._campaigns[key]  # another has its label's place
        numbers = self._campaigns.setdefault((*labels, label), CampaignNumbers())
        observer = CampaignObserver(self, of_account, numbers)
        self._names.begin(label)
        try:
            yield observer
        finally:
            observer.close()
            self._names.end(label, time.monotonic())

    @contextmanager
    def planning(self) -> Iterator[Callable[[int], None]]:
        """While a list is read; whom to tell how many rows of it have been."""
        began_s, told = time.monotonic(), 0

        def read(rows: int) -> None:
            nonlocal told
            with self._planning:
                self.count(declared.PLAN_ROWS, rows - told)
            told = rows

        with self._planning:
            self._plans_running += 1
        try:
            yield read
        finally:
            with self._planning:
                self._plans_running -= 1
                self.plans_s.note(time.monotonic() - began_s)

    # For observers ----------------------------------------------------------------------------------------------------

    def count(self, series: Series, more: float = 1, *labels: str) -> None:
        """So many more of a counter."""
        self._counted[series, labels] = self._counted.get((series, labels), 0) + more

    # Looking ----------------------------------------------------------------------------------------------------------

    def exposition(self) -> tuple[str, bytes]:
        """The content type and the text for Prometheus."""
        return CONTENT_TYPE_LATEST, generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Every series without a value, so that a registry knows their names."""
        return [_family(series, ()) for series in declared.CATALOGUE]

    def collect(self) -> Iterator[Metric]:
        """Every series, as it is now."""
        samples: dict[Series, list[Sample]] = {series: [] for series in declared.CATALOGUE}
        for (series, labels), value in (*self._counted.copy().items(), *self._gauges().items()):
            samples[series].append((labels, value))
        for account, numbers in self._accounts.copy().items():
            _add_account(samples, account, numbers)
        for campaign, counted in self._campaigns.copy().items():
            _add_campaign(samples, campaign, counted)
        if self.census is not None:
            self._add_census(samples, self.census)
        samples[declared.WAITING] = [((kind.value,), self.waits.count(kind)) for kind in WaitKind]
        one: tuple[tuple[Series, float | Distribution], ...] = (
            (declared.CIRCUITS_OPEN, len(self.circuits)),
            (declared.BREAKERS_BLIND, len(self.blind)),
            (declared.INTENT_DURATION, self.intents_s),
            (declared.COMMIT_DURATION, self.commits_s),
            (declared.GROUP_SIZE, self.groups),
            (declared.SNAPSHOT_READ, self.snapshot_reads_s),
            (declared.PLANS_RUNNING, self._plans_running),
            (declared.PLAN_DURATION, self.plans_s),
            (declared.LOOP_LAG, self.loop_lags_s),
        )
        for series, number in one:
            samples[series] = [((), number)]
        samples[declared.BUILD] = [((__version__, platform.python_version()), 1)]
        for series, found in samples.items():
            yield _family(series, found)

    def _gauges(self) -> dict[tuple[Series, Labels], float]:
        """Of accounts and queues that are looked on at. Of several queues, the one that is worst off."""
        found: dict[tuple[Series, Labels], float] = {}
        for observer in self._looking_on.copy():
            lag_s = observer.event_lag_s()
            shown = observer.gauges.copy() | ({} if lag_s is None else {declared.EVENT_LAG: lag_s})
            for series, value in shown.items():
                key = (series, observer.labels)
                is_of_queue = series in (declared.EVENT_LAG, declared.EVENTS_HELD_UP)
                found[key] = max(value, found[key]) if is_of_queue and key in found else value
        return found

    def _add_census(self, samples: dict[Series, list[Sample]], census: StoreCounted) -> None:
        entries: dict[Labels, float] = {}
        self._names.look_at_only(census.entries)
        for name, counts in census.entries.items():
            label = self._names.looked_at(name) if self._labels_campaigns else ""
            for standing, many in counts.items():
                key = (label, standing.value)
                entries[key] = entries.get(key, 0) + many
        samples[declared.CAMPAIGN_ENTRIES] = list(entries.items())
        samples[declared.CAMPAIGNS] = [((state.value,), many) for state, many in census.campaigns.items()]
        samples[declared.CHUNKS] = [((standing.value,), many) for standing, many in census.chunks.items()]
        samples[declared.SENDABLE] = [((), census.sendable)]
        oldest = min(census.doubt_since.values(), default=census.at)
        samples[declared.DOUBT_AGE] = [((), max(0.0, census.at - oldest))]
        for (account, region), spans in census.reputation.items():
            for span, reputation in spans.items():
                labels = (_host(account), region, span.value)
                samples[declared.HEARD_MAILS].append((labels, reputation.mails))
                samples[declared.HEARD_BOUNCED].append((labels, reputation.bounced))
                samples[declared.HEARD_COMPLAINED].append((labels, reputation.complained))
        samples[declared.WORKERS] = [((), census.workers)]
        samples[declared.CENSUS_AT] = [((), census.at)]
        samples[declared.CENSUS_DURATION] = [((), census.duration_s)]

    def _label(self, campaign: str) -> str:
        return self._names.label(campaign, time.monotonic()) if self._labels_campaigns else ""


def _add_account(samples: dict[Series, list[Sample]], labels: tuple[str, str], numbers: AccountNumbers) -> None:
    samples[declared.PACER_WAIT].append((labels, numbers.pacer_wait_s))
    samples[declared.THROTTLED].append((labels, numbers.throttled))
    samples[declared.REQUEST_DURATION] += [((*labels, by), many) for by, many in numbers.durations_s.copy().items()]
    samples[declared.EVENTS] += [((*labels, type_.value), many) for type_, many in numbers.events.items()]
    samples[declared.BOUNCES] += [((*labels, kind.value), many) for kind, many in numbers.bounces.items()]
    samples[declared.EVENTS_UNREADABLE].append((labels, numbers.events_unreadable))
    samples[declared.COPIES].append((labels, numbers.copies))


def _add_campaign(samples: dict[Series, list[Sample]], labels: tuple[str, str, str], numbers: CampaignNumbers) -> None:
    samples[declared.IN_FLIGHT].append((labels, numbers.in_flight))
    samples[declared.ENTRIES] += [
        ((*labels, verdict.value, status), many) for (verdict, status), many in numbers.entries.copy().items()
    ]
    recipients_by_verdict: dict[Verdict, int] = {}
    for (transport, code, verdict), (requests, recipients) in numbers.requests.copy().items():
        samples[declared.REQUESTS].append(((*labels, transport, code, verdict.value), requests))
        recipients_by_verdict[verdict] = recipients_by_verdict.get(verdict, 0) + recipients
    samples[declared.REQUEST_RECIPIENTS] += [
        ((*labels, verdict.value), recipients) for verdict, recipients in recipients_by_verdict.items()
    ]


def _family(series: Series, samples: Iterable[Sample]) -> Metric:
    """In the library's form."""
    match series.kind:
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(series.name, series.documentation, labels=series.labels)
            for labels, found in samples:
                assert isinstance(found, Distribution)
                histogram.add_metric(labels, found.buckets(), found.sum)
            return histogram
        case Kind.INFO:
            info = InfoMetricFamily(series.name, series.documentation)
            for labels, _ in samples:
                info.add_metric((), dict(zip(series.labels, labels, strict=True)))
            return info
        case Kind.COUNTER | Kind.GAUGE:
            family = CounterMetricFamily if series.kind is Kind.COUNTER else GaugeMetricFamily
            plain = family(series.name, series.documentation, labels=series.labels)
            for labels, found in samples:
                assert not isinstance(found, Distribution)
                plain.add_metric(labels, found)
            return plain


def _host(account: str) -> str:
    """An account's id; of a URL that stands for it, no more than host and port."""
    return account.split("://", 1)[-1].split("/", 1)[0]
