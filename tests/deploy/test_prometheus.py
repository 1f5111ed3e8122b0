"""A real Prometheus scrapes a real run; every expression of dashboard and rules is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.request import urlopen

import promql_parser
import pytest

from tests import grafana, promql
from tests.deploy.prometheus import FATES, INTERVALS, Prometheus, Run, go_on, running, watching
from tests.events_queues import Desk
from tests.independent import Ministack

pytestmark = pytest.mark.timeout(180)

A_MOMENT = "it is some seconds ago"
EMPTY_QUERIES = {
    "Waits, halts and open circuits C": A_MOMENT,
    "Waits, halts and open circuits D": "no breaker has been blind for long enough to say so",
    "Dead letters B": A_MOMENT,
}
"""Expressions of the dashboard that rightly have no data at the end of the run."""

QUIET_RULES = {
    "BulksendNobodySends": "a worker is there",
    "BulksendNothingSent": "requests get through",
    "BulksendQuotaUnused": "less than a minute's work is left",
    "BulksendAccountHalted": "campaigns have halted, not the account",
    "BulksendSendingDisabled": "sending is enabled",
    "BulksendCircuitOpen": "one request in thirty fails",
    "BulksendDailyQuotaNear": "a million a day is granted",
    "BulksendQuotaUnknown": "GetAccount answers",
    "BulksendQuotaStale": "GetAccount answers",
    "BulksendBounceRateNear": "one mail in a hundred bounces",
    "BulksendBounceRateOver": "one mail in a hundred bounces",
    "BulksendComplaintRateNear": "one mail in thousands is complained of",
    "BulksendComplaintRateOver": "one mail in thousands is complained of",
    "BulksendEventsLate": "events come within seconds",
    "BulksendEventsHeldUp": "the queue answers",
    "BulksendCopiesObserved": "nothing is sent twice",
    "BulksendBreakerBlind": "it has not been blind for long enough to say so",
    "BulksendWorkerDown": "the worker is up",
    "BulksendWorkerRestarts": "the worker has started once",
    "BulksendWorkerStalled": "the event loop turns",
    "BulksendChunksStalled": "in SQLite no chunk is on lease",
    "BulksendStoreUnavailable": "the disk can be written",
    "BulksendJournalSlow": "commits take milliseconds",
    "BulksendStoreNotCounted": "the store is counted every 15 seconds",
}
"""Rules whose condition rightly does not hold. The others have to be true of this run; each alert is of some other."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What Prometheus knows of the run, and the time at which everything is asked for."""

    prometheus: Prometheus
    run: Run
    at: float

    def data(self, expression: str, **choices: str) -> int:
        """How many series an expression has, with the dashboard's variables filled in."""
        return len(self.prometheus.query(grafana.substituted(expression, {**INTERVALS, **choices}), self.at))

    def was(self, expression: str) -> bool:
        """Whether it had any lately."""
        return bool(self.prometheus.query_range(grafana.substituted(expression, INTERVALS), self.at - 15, self.at, 1))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with (
        Ministack() as sqs,
        running(tmp_path_factory.mktemp("run"), sqs=Desk(sqs.endpoint_url)) as run,
        watching(run) as prometheus,
    ):
        yield Watched(prometheus, run, go_on(run, 12))


def test_the_worker_is_scraped_with_its_token_and_nobody_else_is_let_in(watched: Watched) -> None:
    (target,) = watched.prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert target["scrapePool"] == "bulksend"
    with pytest.raises(HTTPError, match="401"):
        urlopen(f"http://{watched.run.target}/metrics", timeout=10)


def test_every_expression_of_the_dashboard_has_data(watched: Watched) -> None:
    asked = {query.where: watched.data(query.expression) for query in grafana.queries(grafana.dashboard())}
    empty = {where for where, found in asked.items() if not found}
    # A halt is seen as an increase for as long as the interval lasts.
    assert empty - {"annotation Halts"} == set(EMPTY_QUERIES)


def test_every_series_that_an_expression_names_is_there(watched: Watched) -> None:
    """An alert that is quiet might be so because it looks for what nobody exposes."""
    expressions = [query.expression for query in grafana.queries(grafana.dashboard())]
    expressions += [rule.expression for rule in grafana.rules()]
    empty = set()
    for expression in expressions:
        for selector in promql.selectors(promql_parser.parse(grafana.substituted(expression, INTERVALS))):
            if selector.name is not None and not watched.data(selector.name):
                empty.add(selector.name)
    assert not empty


def test_every_rule_is_healthy_and_says_of_the_run_what_is_so(watched: Watched) -> None:
    loaded = [rule for group in watched.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert sorted(rule["name"] for rule in loaded) == sorted(rule.name for rule in grafana.rules())
    assert [rule["name"] for rule in loaded if rule["health"] != "ok"] == []
    quiet = {rule.name for rule in grafana.rules() if not watched.data(rule.expression)}
    assert quiet == set(QUIET_RULES)


def test_the_variables_have_the_values_of_the_run(watched: Watched) -> None:
    found = {}
    for query in grafana.variables(grafana.dashboard()):
        selector, label = grafana.label_values(query.expression)
        match = {"match[]": grafana.substituted(selector)}
        found[label] = watched.prometheus.ask(f"label/{label}/values", **match)
    assert found == {
        "account": [watched.run.account],
        "region": ["eu-west-1"],
        "campaign": ["halting", "heard", "later", "launch", "refused"],
        "instance": [watched.run.target],
    }


def test_one_campaign_can_be_chosen_and_all_hold_where_there_is_no_label(watched: Watched) -> None:
    left = next(q for q in grafana.queries(grafana.dashboard()) if q.where == "Campaigns that are not over left")
    assert watched.data(left.expression) == 4
    assert watched.data(left.expression, campaign="launch") == 1
    assert watched.data(left.expression, campaign="launch|later") == 2
    assert watched.data(left.expression, instance="another:9464") == 0
    assert watched.data('bulksend_workers{campaign=~"$campaign"}') == 1


@pytest.mark.parametrize(
    ("where", "counted"),
    [
        ("Came into doubt A", 'sum(bulksend_entries_total{verdict="in_doubt"})'),
        ("Not accepted, by status A", 'sum(bulksend_entries_total{verdict!="accepted"})'),
        ("Requests, by how they were answered A", "sum(bulksend_requests_total)"),
    ],
)
def test_what_is_counted_for_the_first_time_is_counted(watched: Watched, where: str, counted: str) -> None:
    """Prometheus's increase() leaves out the value with which a series begins: one entry in doubt would be none."""
    expression = next(q.expression for q in grafana.queries(grafana.dashboard()) if q.where == where)
    shown = watched.prometheus.query(grafana.substituted(expression, INTERVALS), watched.at)
    (whole,) = watched.prometheus.query(counted, watched.at)
    assert sum(float(one["value"][1]) for one in shown) == float(whole["value"][1]) > 0


def test_what_waits_and_what_is_marked_are_seen_over_time(watched: Watched) -> None:
    marks = {a["name"]: a["expr"] for a in grafana.dashboard()["annotations"]["list"] if "expr" in a}
    for name in ("Halts", "Worker starts"):
        assert watched.was(marks[name]), name
    for query in grafana.queries(grafana.dashboard()):
        if EMPTY_QUERIES.get(query.where) == A_MOMENT:
            assert watched.was(query.expression), query.where


def test_bounces_are_set_against_mails(watched: Watched) -> None:
    """Events are counted for the account that sends: else a rate would have nothing to be a rate of."""
    (rate,) = watched.prometheus.query("account_region:bulksend_bounces_permanent:ratio_1d", watched.at)
    assert rate["metric"]["account"] == watched.run.account
    assert float(rate["value"][1]) == pytest.approx(FATES["bounce_share"], rel=0.2)
