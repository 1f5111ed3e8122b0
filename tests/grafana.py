"""What is in deploy/ for Prometheus and Grafana, as data; and what Grafana makes of an expression before it asks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "bulksend.json"
RULES = DEPLOY / "prometheus" / "bulksend.rules.yml"
RULES_TEST = DEPLOY / "prometheus" / "bulksend.rules.test.yml"

ALL = ".*"
"""What each variable of the dashboard is when everything is chosen."""
INTERVALS = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of the dashboard: where it is, and whether it is asked for an instant or for a stretch of time."""

    where: str
    expression: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert, or a series that is recorded: then `alert` is empty."""

    group: str
    name: str
    alert: bool
    expression: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def dashboard() -> dict[str, Any]:
    """As it is provisioned."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found


def panels(of: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something: all but the titles of rows."""
    return [panel for panel in of["panels"] if panel["type"] != "row"]


def queries(of: dict[str, Any]) -> Iterator[Query]:
    """Every expression of panels and annotations, with its variables in it."""
    for panel in panels(of):
        for target in panel["targets"]:
            yield Query(
                f"{panel['title']} {target['refId']}", target["expr"], target["legendFormat"], bool(target["instant"])
            )
    for annotation in of["annotations"]["list"]:
        if "expr" in annotation:
            yield Query(f"annotation {annotation['name']}", annotation["expr"])


def variables(of: dict[str, Any]) -> Iterator[Query]:
    """What the values of the variables are asked by: `label_values(selector, label)`."""
    for variable in of["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(f"variable {variable['name']}", variable["query"]["query"])


def substituted(expression: str, values: Mapping[str, str] | None = None) -> str:
    """With Grafana's variables filled in; those of the dashboard are All unless said otherwise."""
    given = {**INTERVALS, **(values or {})}
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: given.get(found[1] or found[2], ALL), expression)


def label_values(query: str) -> tuple[str, str]:
    """Selector and label of `label_values(selector, label)`."""
    found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
    assert found is not None, query
    return found[1], found[2]


def rules() -> list[Rule]:
    """Of all groups, in their order."""
    return [
        Rule(
            group["name"],
            rule.get("alert") or rule["record"],
            "alert" in rule,
            rule["expr"],
            rule.get("labels", {}),
            rule.get("annotations", {}),
        )
        for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"]
        for rule in group["rules"]
    ]
