"""Every alert is seen true in a real run, at a pace at which time goes sixty times as fast."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import promql_parser
import pytest
import yaml

from tests import grafana
from tests.deploy import test_alerts_account, test_alerts_events, test_alerts_fleet, test_alerts_workers
from tests.deploy.hurried import FASTER, LOOKBACK, SEEN, hurried, hurried_rules

UNSEEN: dict[str, str] = {}
"""Alerts whose cause cannot be produced in a run, and why."""


def test_every_alert_is_seen_or_listed() -> None:
    for module in (test_alerts_account, test_alerts_events, test_alerts_fleet, test_alerts_workers):
        assert any(test in vars(module) for test in SEEN.values()), f"{module.__name__} sees nothing"
    assert set(SEEN) | set(UNSEEN) == {rule.name for rule in grafana.rules() if rule.alert}
    assert not set(SEEN) & set(UNSEEN)


def pairs() -> list[Any]:
    """Each rule as it is shipped, and in a hurry."""
    shipped = yaml.safe_load(grafana.RULES.read_text("utf-8"))["groups"]
    every = [
        (one, other)
        for group, hurry in zip(shipped, hurried_rules()["groups"], strict=True)
        for one, other in zip(group["rules"], hurry["rules"], strict=True)
    ]
    return [pytest.param(*both, id=both[0].get("alert") or both[0]["record"]) for both in every]


@pytest.mark.parametrize(("shipped", "hurry"), pairs())
def test_a_rule_in_a_hurry_is_the_same_rule(shipped: dict[str, Any], hurry: dict[str, Any]) -> None:
    kept = {key for key in shipped if key not in {"expr", "for"}}
    assert {key: hurry[key] for key in kept} == {key: shipped[key] for key in kept}
    if "for" in shipped:
        assert seconds(hurry["for"]) * FASTER == seconds(shipped["for"])
    one, other = (list(nodes(promql_parser.parse(rule["expr"]))) for rule in (shipped, hurry))
    ages = 0
    for before, after in zip(one, other, strict=True):
        if isinstance(before, timedelta) and isinstance(after, timedelta):
            assert after * FASTER == before
        elif isinstance(before, Age) and isinstance(after, Age):
            assert after.s * FASTER == pytest.approx(before.s)
            ages += 1
        else:
            assert after == before
    assert ages == shipped["expr"].count("time()")


def test_a_sample_stands_for_its_series_as_long_as_it_does_elsewhere() -> None:
    assert seconds(hurried(LOOKBACK)) * FASTER == 300


def seconds(duration: str) -> float:
    """As Prometheus reads it, in one unit."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    unit = duration.lstrip("0123456789")
    return int(duration.removesuffix(unit)) * units[unit]


@dataclass(frozen=True)
class Age:
    """A number of seconds that a time's age is held to."""

    s: float


def nodes(node: Any, *, age: bool = False) -> Iterator[object]:
    """All that an expression is made of, in its order. `age`: a number here is one."""
    match node:
        case promql_parser.NumberLiteral():
            yield Age(node.val) if age else node.val
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield type(node).__name__
            yield from nodes(node.expr)
        case promql_parser.VectorSelector():
            yield (node.name, sorted((m.name, str(m.op), m.value) for m in node.matchers.matchers))
            yield node.offset or timedelta()
        case promql_parser.MatrixSelector():
            yield node.range
            yield from nodes(node.vector_selector)
        case promql_parser.Call():
            yield (node.func.name, len(node.args))
            for argument in node.args:
                yield from nodes(argument)
        case promql_parser.AggregateExpr():
            yield (str(node.op), *(node.modifier.labels if node.modifier else ()))
            yield from nodes(node.expr)
        case promql_parser.BinaryExpr():
            yield (str(node.op), str(node.modifier and node.modifier.matching and node.modifier.matching.labels))
            yield from nodes(node.lhs)
            yield from nodes(node.rhs, age=is_age(node.lhs))
        case _:
            raise AssertionError(f"no rule for {type(node).__name__}")


def is_age(node: Any) -> bool:
    """Whether it is the time since something."""
    match node:
        case promql_parser.ParenExpr():
            return is_age(node.expr)
        case promql_parser.BinaryExpr():
            return str(node.op) == "-" and isinstance(node.lhs, promql_parser.Call) and node.lhs.func.name == "time"
    return False
