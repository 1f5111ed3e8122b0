"""Dashboard, rules and runbook against the declared series and against each other. Nothing runs here."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from bulksend.metrics import CATALOGUE, Kind, Metrics
from tests import grafana, promql
from tests.grafana import Query, Rule

BOARD = grafana.dashboard()
PANELS = grafana.panels(BOARD)
QUERIES = list(grafana.queries(BOARD))
VARIABLES = list(grafana.variables(BOARD))
RULES = grafana.rules()
ALERTS = [rule for rule in RULES if rule.alert]
RUNBOOK = (Path(__file__).parents[2] / "docs" / "RUNBOOK.md").read_text("utf-8")
CHOICES = ("account", "region", "campaign", "instance")
ADDRESS = "https://example.com/bulksend/RUNBOOK.md"

UNSHOWN = {
    "process_virtual_memory_bytes": "says nothing of use beside the resident memory",
}
"""Series that neither dashboard nor rules use, and why."""

# What Grafana 11.6 knows, from @grafana/schema (dashboard_types, panelcfg) and @grafana/data (valueFormats/categories).
SCHEMA_VERSION = 41
BOARD_KEYS = {
    "annotations",
    "description",
    "editable",
    "fiscalYearStartMonth",
    "gnetId",
    "graphTooltip",
    "id",
    "links",
    "liveNow",
    "panels",
    "preload",
    "refresh",
    "revision",
    "schemaVersion",
    "snapshot",
    "tags",
    "templating",
    "time",
    "timepicker",
    "timezone",
    "title",
    "uid",
    "version",
    "weekStart",
}
PANEL_KEYS = {
    "cacheTimeout",
    "datasource",
    "description",
    "fieldConfig",
    "gridPos",
    "hideTimeOverride",
    "id",
    "interval",
    "libraryPanel",
    "links",
    "maxDataPoints",
    "maxPerRow",
    "options",
    "pluginVersion",
    "queryCachingTTL",
    "repeat",
    "repeatDirection",
    "targets",
    "timeFrom",
    "timeShift",
    "title",
    "transformations",
    "transparent",
    "type",
}
FIELD_KEYS = {
    "color",
    "custom",
    "decimals",
    "description",
    "displayName",
    "displayNameFromDS",
    "filterable",
    "links",
    "mappings",
    "max",
    "min",
    "noValue",
    "path",
    "thresholds",
    "unit",
    "writeable",
}
VARIABLE_KEYS = {
    "allValue",
    "allowCustomValue",
    "current",
    "datasource",
    "definition",
    "description",
    "hide",
    "includeAll",
    "label",
    "multi",
    "name",
    "options",
    "query",
    "refresh",
    "regex",
    "skipUrlSync",
    "sort",
    "type",
}
SINGLE_STAT_KEYS = {"reduceOptions", "orientation", "text"}
OPTION_KEYS = {
    "stat": SINGLE_STAT_KEYS
    | {
        "colorMode",
        "graphMode",
        "justifyMode",
        "percentChangeColorMode",
        "showPercentChange",
        "textMode",
        "wideLayout",
    },
    "gauge": SINGLE_STAT_KEYS
    | {"minVizHeight", "minVizWidth", "showThresholdLabels", "showThresholdMarkers", "sizing"},
    "timeseries": {"legend", "orientation", "tooltip", "timezone"},
    "table": {"cellHeight", "footer", "frameIndex", "showHeader", "showTypeIcons", "sortBy"},
}
UNITS = {"none", "short", "locale", "percentunit", "s", "dtdurations", "dateTimeFromNow", "bytes"}
HUES = {"blue", "green", "orange", "purple", "red", "yellow"}
COLOURS = {shade + hue for shade in ("", "dark-", "semi-dark-", "light-", "super-light-") for hue in HUES} | {"text"}


def series() -> dict[str, frozenset[str]]:
    """Everything that a query may name, and its labels: what is declared, of any process, recorded, of the scrape."""
    known = {"up": promql.TARGET}
    for declared in CATALOGUE:
        labels = promql.TARGET | set(declared.labels)
        if declared.kind is Kind.HISTOGRAM:
            known |= {f"{declared.name}_{part}": labels for part in ("sum", "count")}
            known[f"{declared.name}_bucket"] = labels | {"le"}
        else:
            known[declared.exposed] = labels
    for family in Metrics().registry.collect():
        if family.name.startswith("process_"):
            known |= {sample.name: promql.TARGET for sample in family.samples}
    return known


def level(name: str) -> frozenset[str]:
    """The labels that the name of a recorded series says it has, but for the job."""
    return frozenset(name.partition(":")[0].split("_")) - {"bulksend"}


def recorded() -> dict[str, frozenset[str]]:
    """What the rules record, in their order: each may use those before it, and itself."""
    known = series()
    found: dict[str, frozenset[str]] = {}
    for rule in RULES:
        if not rule.alert:
            known[rule.name] = level(rule.name)  # it may look at what it was
            labels = promql.labels_of(promql_parser.parse(rule.expression), known)
            assert labels is not None
            known[rule.name] = found[rule.name] = labels
    return found


SERIES = series()
KNOWN = SERIES | recorded()


def labels_of(expression: str) -> frozenset[str]:
    labels = promql.labels_of(promql_parser.parse(grafana.substituted(expression)), KNOWN)
    assert labels is not None, f"{expression} is a mere number"
    return labels


def anchors(markdown: str) -> set[str]:
    """Of its headings, as GitHub and most others make them."""
    headings = re.findall(r"^#+ (.+)$", markdown, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named(items: list[Any]) -> list[Any]:
    return [
        pytest.param(item, id=re.sub(r"\W+", "-", getattr(item, "where", getattr(item, "name", "")))) for item in items
    ]


# Expressions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", named(QUERIES))
def test_a_query_can_have_a_result_with_the_labels_that_its_legend_names(query: Query) -> None:
    labels = labels_of(query.expression)
    legend = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert legend <= labels, f"the legend names {legend - labels}"


@pytest.mark.parametrize("query", named(VARIABLES))
def test_a_variable_is_asked_by_a_label_that_its_series_have(query: Query) -> None:
    selector, label = grafana.label_values(query.expression)
    assert label in labels_of(selector)


@pytest.mark.parametrize("rule", named(RULES))
def test_a_rule_can_have_a_result_with_the_labels_that_its_texts_name(rule: Rule) -> None:
    labels = labels_of(rule.expression)
    texts = " ".join(rule.annotations.values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= labels


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(bulksend_entry_total[5m])", "is no series"),
        ('sum(bulksend_waiting{campaign="a"})', "has no label campaign"),
        ("sum by (region) (bulksend_waiting)", "a label that is not there"),
        ("histogram_quantile(0.9, sum by (instance) (bulksend_event_loop_lag_seconds_bucket))", "no le is left"),
        ("bulksend_waiting / bulksend_workers", "sides that never match"),
        ("bulksend_waiting * on (account) bulksend_quota_debt_recipients", "a label that one side has not"),
    ],
)
def test_what_can_have_no_result_is_found(expression: str, fault: str) -> None:
    with pytest.raises(promql.LabelError, match=fault):
        labels_of(expression)


def test_recorded_series_are_named_by_their_labels() -> None:
    for name, labels in recorded().items():
        assert level(name) == labels - {"job"}, name


def test_every_series_is_shown_or_listed() -> None:
    expressions = [query.expression for query in QUERIES] + [rule.expression for rule in RULES]
    used = {
        selector.name
        for expression in expressions
        for selector in promql.selectors(promql_parser.parse(grafana.substituted(expression)))
    }
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used if name}
    every = {declared.exposed for declared in CATALOGUE} | {name for name in SERIES if name.startswith("process_")}
    assert every - shown == set(UNSHOWN)


def test_a_recorded_series_is_used() -> None:
    every = " ".join([query.expression for query in QUERIES] + [rule.expression for rule in RULES])
    assert {name for name in recorded() if name not in every} == set()


def test_gauges_that_all_workers_expose_alike_are_never_summed() -> None:
    """A sum over instances of what the account, the store or a campaign is would count each worker's view again."""
    alike = {"bulksend_waiting", "bulksend_circuits_open"} | {
        declared.name
        for declared in CATALOGUE
        if declared.kind is Kind.GAUGE and declared.topic.name in {"QUOTA", "STORE"}
    }
    for expression in [query.expression for query in QUERIES] + [rule.expression for rule in RULES]:
        summed = re.findall(r"\bsum(?: by \([\w, ]*\))? ?\((\w+)", expression)
        assert not alike & set(summed), expression


# The dashboard --------------------------------------------------------------------------------------------------------


def test_the_dashboard_has_only_what_its_schema_knows() -> None:
    assert BOARD["schemaVersion"] == SCHEMA_VERSION
    assert set(BOARD) <= BOARD_KEYS
    assert (BOARD["id"], BOARD["uid"]) == (None, "bulksend")
    for panel in PANELS:
        assert set(panel) <= PANEL_KEYS, panel["title"]
        assert set(panel["options"]) <= OPTION_KEYS[panel["type"]], panel["title"]
        assert set(panel["fieldConfig"]["defaults"]) <= FIELD_KEYS, panel["title"]
    for variable in BOARD["templating"]["list"]:
        assert set(variable) <= VARIABLE_KEYS, variable["name"]


def test_panels_have_their_places() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [(panel["title"], panel["gridPos"]) for panel in BOARD["panels"]]
    for title, place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24, title
        assert place["h"] > 0, title
    for (title, a), (other, b) in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, f"{title} and {other} overlap"


def test_rows_have_no_holes() -> None:
    """Between one row's title and the next, every cell of the 24 columns has a panel, or nothing below it."""
    filled = {
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    }
    height = max(y for _, y in filled) + 1
    assert {(x, y) for x in range(24) for y in range(height)} == filled


def units(panel: dict[str, Any]) -> list[str]:
    found = [panel["fieldConfig"]["defaults"]["unit"]]
    for override in panel["fieldConfig"]["overrides"]:
        found += [p["value"] for p in override["properties"] if p["id"] == "unit"]
    return found


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"]) for panel in PANELS])
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 30
    assert panel["description"].endswith(".")
    assert all(unit in UNITS or unit.startswith("suffix:") for unit in units(panel))
    assert panel["fieldConfig"]["defaults"].get("noValue") is not None, "nothing measured has to look like nothing"
    assert panel["interval"] == "15s"
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert target["instant"] is not target["range"]
        assert target["legendFormat"]
    references = [target["refId"] for target in panel["targets"]]
    assert len(references) == len(set(references))
    (link,) = panel["links"]
    address, anchor = link["url"].split("#")
    assert address == "${runbook}"
    assert anchor in anchors(RUNBOOK)


def colours(node: Any) -> list[str]:
    """Every colour that is said by name."""
    if isinstance(node, list):
        return [colour for item in node for colour in colours(item)]
    if not isinstance(node, dict):
        return []
    here = [value for key, value in node.items() if key in {"color", "fixedColor"} and isinstance(value, str)]
    return here + [colour for value in node.values() for colour in colours(value)]


@pytest.mark.parametrize("panel", [pytest.param(panel, id=panel["title"]) for panel in PANELS])
def test_a_panel_has_colours_and_overrides_that_exist(panel: dict[str, Any]) -> None:
    assert set(colours(panel)) <= COLOURS
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    values = [step["value"] for step in steps[1:]]
    assert values == sorted(values)
    legends = [target["legendFormat"] for target in panel["targets"]]
    for override in panel["fieldConfig"]["overrides"]:
        match override["matcher"]:
            case {"id": "byName", "options": name}:
                plain = name in legends or any(legend.startswith("{{") for legend in legends)
                assert plain or name in renamed(panel), name
            case {"id": "byRegexp", "options": pattern}:
                assert any(re.match(pattern.strip("/"), legend) for legend in legends), pattern
            case other:
                pytest.fail(f"{other}")


def renamed(panel: dict[str, Any]) -> set[str]:
    """The columns of a table."""
    return {
        name
        for transformation in panel.get("transformations", [])
        for name in transformation["options"].get("renameByName", {}).values()
    }


def test_each_row_asks_a_question_that_the_runbook_answers() -> None:
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert all(row.endswith("?") for row in rows)
    assert len(rows) == 7
    assert all(f"## {row}\n" in RUNBOOK for row in rows)


NOT_FILTERED = {
    "Send rate used": {"campaign"},
    "Recipients a second, against the quota": {"campaign"},
    "Throttled": {"campaign"},
    "Wait for the quota": {"campaign"},
    "Done in": {"account", "region", "campaign", "instance"},
    "Done in, at the allowed pace": {"account", "region"},
    "More than the day takes": {"account", "region"},
    "Campaigns that are not over": {"account", "region", "instance"},
}
"""Panels that set an account's rate, or all of a store's, against what has no such label, or is not one worker's."""


@pytest.mark.parametrize("query", named(QUERIES))
def test_a_query_is_filtered_by_the_variables_that_its_series_have_labels_for(query: Query) -> None:
    asked = grafana.substituted(query.expression, {name: f"by-{name}" for name in CHOICES})
    for selector in promql.selectors(promql_parser.parse(asked)):
        if selector.name == "bulksend_build_info" and not selector.matchers.matchers:
            continue  # says no more than which processes are bulksend's
        chosen = {matcher.name for matcher in selector.matchers.matchers if matcher.value == f"by-{matcher.name}"}
        missing = (KNOWN[selector.name or ""] & set(CHOICES)) - chosen
        assert missing == NOT_FILTERED.get(query.where.rsplit(" ", 1)[0], set()) & missing


@pytest.mark.parametrize("query", named(QUERIES))
def test_what_is_left_is_divided_by_what_all_workers_send(query: Query) -> None:
    """The rate of those that are chosen would make what all of them have left take longer."""
    if "/" in query.expression and re.search(r"bulksend_(sendable|campaign)_entries", query.expression):
        rates = re.findall(r"rate\(\w+\{([^}]*)\}", query.expression)
        assert not any("instance" in matchers for matchers in rates), query.where


def test_an_absent_campaign_is_among_all_of_them() -> None:
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "account", "region", "campaign", "instance", "runbook"]
    for name in CHOICES:
        variable = variables[name]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert re.fullmatch(variable["allValue"], "") is not None
        assert variable["current"]["value"] == ["$__all"]
        assert variable["query"]["query"] == variable["definition"]
    assert variables["runbook"]["query"] == ADDRESS
    assert variables["datasource"]["query"] == "prometheus"


def test_rates_are_over_an_interval_that_grafana_chooses_or_long_enough_for_any_scrape() -> None:
    for query in QUERIES:
        for window in re.findall(r"\[([^\]]+)\]", query.expression):
            assert window in {"$__rate_interval", "$__range", "5m", "1m"}, query


def test_halts_and_starts_are_marked() -> None:
    names = [annotation["name"] for annotation in BOARD["annotations"]["list"] if annotation["enable"]]
    assert names == ["Annotations & Alerts", "Halts", "Worker starts"]


# Rules and runbook ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alert", named(ALERTS))
def test_an_alert_says_how_bad_it_is_and_leads_to_its_section(alert: Rule) -> None:
    assert set(alert.labels) == {"severity"}
    assert alert.labels["severity"] in {"critical", "warning", "info"}
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"{ADDRESS}#{alert.name.lower()}"
    assert f"### {alert.name}\n" in RUNBOOK


def test_every_alert_is_tested_to_fire_and_not_to_fire() -> None:
    checks = [
        (check["alertname"], bool(check["exp_alerts"]))
        for test in yaml.safe_load(grafana.RULES_TEST.read_text("utf-8"))["tests"]
        if test["input_series"]
        for check in test["alert_rule_test"]
    ]
    assert set(checks) == {(alert.name, fires) for alert in ALERTS for fires in (True, False)}


def test_the_runbook_has_a_section_for_nothing_else() -> None:
    sections = re.findall(r"^### (Bulksend\w+)$", RUNBOOK, re.MULTILINE)
    assert sorted(sections) == sorted(alert.name for alert in ALERTS)


def test_each_section_says_what_is_needed_at_night() -> None:
    for section in re.split(r"^### ", RUNBOOK, flags=re.MULTILINE)[1:]:
        name, text = section.split("\n", 1)
        for part in ("**Means:**", "**How bad:**", "**Look first at:**", "**Over when:**"):
            assert part in text, f"{name} lacks {part}"
