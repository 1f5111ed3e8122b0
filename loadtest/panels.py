"""The dashboard as a picture, where there is no Grafana: its panels, by their own queries, from a real run.

    python -m loadtest.panels OUT.html [SECONDS]

runs a simulator, a worker, a queue of events and Debian's Prometheus for so many seconds (90), and draws each panel in
its place in the dashboard's grid, plainly: what Grafana makes of it is prettier, but has the same numbers, names, units
and colours. With OUT.png it is a picture, by Debian's chromium. Nothing of it is shipped.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

from tests import grafana
from tests.deploy.prometheus import INTERVALS, Prometheus, go_on, running, watching

COLUMN_PX, LINE_PX, GAP_PX = 60, 36, 6
PALETTE = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0", "#96d98d", "#ffee52")
HUES = dict(zip(("green", "yellow", "blue", "orange", "red", "purple"), PALETTE, strict=False)) | {"text": "#ccccdc"}
STYLE = """
body{margin:0;background:#111217;color:#ccccdc;font:12px 'DejaVu Sans',sans-serif}
.p{position:absolute;background:#181b1f;border:1px solid #2c3235;box-sizing:border-box;overflow:hidden;padding:4px 8px}
.p h3{margin:0 0 2px;font-size:12px;font-weight:600;white-space:nowrap}.row{background:none;border:0}
.row h3{font-size:15px}.v{display:flex;height:75%;align-items:center;justify-content:space-around;text-align:center}
.v b{font-size:24px;display:block}.v small{color:#9fa7b3}table{width:100%;border-collapse:collapse}
td,th{text-align:left;border-bottom:1px solid #2c3235;padding:2px 6px;white-space:nowrap}
.l{font-size:10px;line-height:13px}.l span{margin-right:10px;display:inline-block}
.bar{background:#2c3235;height:10px;width:80%;margin:auto}.bar div{height:10px}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel. `points` are (epoch seconds, value); `field` is how it is to look."""

    name: str
    labels: dict[str, str]
    points: list[tuple[float, float]]
    reference: str
    field: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> float:
        return next((value for _, value in reversed(self.points) if not math.isnan(value)), math.nan)


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: a Prometheus, and a stretch of time (epoch seconds)."""

    prometheus: Prometheus
    start: float
    end: float

    def lines(self, panel: dict[str, Any]) -> list[Line]:
        """Every series of a panel."""
        found = []
        for target in panel["targets"]:
            asked = grafana.substituted(target["expr"], INTERVALS)
            if target["instant"]:
                series = [s | {"values": [s["value"]]} for s in self.prometheus.query(asked, self.end)]
            else:
                series = self.prometheus.query_range(asked, self.start, self.end, 1)
            for one in series:
                name = legend(target["legendFormat"], one["metric"])
                points = [(float(at), float(value)) for at, value in one["values"]]
                found.append(Line(name, one["metric"], points, target["refId"], looks(panel, name)))
        return found


def legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), pattern).strip()


def looks(panel: dict[str, Any], name: str) -> dict[str, Any]:
    """The field configuration of a name: the defaults, and what overrides them."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]["options"]
        by_name = override["matcher"]["id"] == "byName"
        if matcher == name if by_name else re.search(matcher.strip("/"), name):
            found |= {one["id"]: one["value"] for one in override["properties"]}
    return found


def shade(name: str) -> str:
    return HUES.get(name.rpartition("-")[2], "#ccccdc")


def threshold(look: dict[str, Any], value: float) -> str:
    steps = look["thresholds"]["steps"]
    return shade(next(s["color"] for s in reversed(steps) if s["value"] is None or value >= s["value"]))


def said(value: float, look: dict[str, Any]) -> str:
    """A value in its unit, as far as that matters here."""
    for mapping in look.get("mappings", []):
        known = mapping["options"].get(f"{value:g}", {}).get("text")
        if known:
            return str(known)
    if not math.isfinite(value):
        return "∞" if math.isinf(value) else "-"
    unit: str = look["unit"]
    decimals = look.get("decimals", 2)
    match unit:
        case "percentunit":
            text = f"{value * 100:.{decimals}f} %"
        case "bytes":
            text = f"{value / 2**20:.0f} MiB"
        case "dateTimeFromNow":
            text = f"{time.time() - value / 1000:.0f} seconds ago"
        case "dtdurations":
            text = f"{value // 3600:.0f}h {value % 3600 // 60:.0f}m {value % 60:.0f}s"
        case "s":
            text = f"{value:.{decimals}f} s" if value >= 1 else f"{value * 1000:.1f} ms"
        case "short" if value >= 1000:
            text = f"{value / 1000:.2f} K"
        case _:
            suffix = unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
            text = (f"{value:,.{decimals}f}" if value % 1 else f"{value:,.0f}") + suffix
    return text


def stat(panel: dict[str, Any], lines: list[Line]) -> str:
    cells = [
        f"<div><b style='color:{threshold(line.field, line.last)}'>{escape(said(line.last, line.field))}</b>"
        f"<small>{escape(line.name) if len(lines) > 1 else ''}</small></div>"
        for line in lines
        if not math.isnan(line.last)
    ]
    nothing = f"<div><b>{escape(panel['fieldConfig']['defaults'].get('noValue', 'No data'))}</b></div>"
    return f"<div class=v>{''.join(cells) or nothing}</div>"


def gauge(panel: dict[str, Any], lines: list[Line]) -> str:
    bars = "".join(
        f"<div class=bar><div style='width:{min(1, line.last / line.field['max']):.0%};"
        f"background:{threshold(line.field, line.last)}'></div></div>"
        for line in lines
    )
    return stat(panel, lines) + bars


def chart(panel: dict[str, Any], lines: list[Line], view: View) -> str:
    """Lines, stacked where the panel says so."""
    if not lines:
        return stat(panel, lines)
    place, look = panel["gridPos"], panel["fieldConfig"]["defaults"]
    width, height = place["w"] * COLUMN_PX - 90, place["h"] * LINE_PX - 58 - 13 * min(3, 1 + len(lines) // 3)
    curves = stacked(lines)
    top = {
        right: extent(look, [points for line, points in curves if is_right(line) is right]) for right in (False, True)
    }

    def across(at: float) -> str:
        return f"{(at - view.start) / (view.end - view.start) * width:.1f}"

    parts = []
    for part in (0, 0.5, 1):
        y = height - height * part
        parts.append(f"<line x2='{width}' y1='{y:.0f}' y2='{y:.0f}' stroke='#2c3235'/>")
        parts.append(f"<text x='{width + 4}' y='{y + 4:.0f}' fill='#9fa7b3'>{said(top[False] * part, look)}</text>")
    names = []
    for number, (line, points) in reversed(list(enumerate(curves))):
        colour = line.field.get("color", {}).get("fixedColor")
        paint = shade(colour) if colour else PALETTE[number % len(PALETTE)]
        dash = "stroke-dasharray='6'" if "custom.lineStyle" in line.field else ""
        path = " ".join(f"{across(at)},{height - value / top[is_right(line)] * height:.1f}" for at, value in points)
        if is_stacked(line) and points:
            floor = f"{across(points[-1][0])},{height} {across(points[0][0])},{height}"
            parts.append(f"<polygon points='{path} {floor}' fill='{paint}'/>")
        parts.append(f"<polyline points='{path}' fill='none' stroke='{paint}' stroke-width='1.5' {dash}/>")
        names.append(f"<span style='color:{paint}'>■ {escape(line.name)}: {escape(said(line.last, line.field))}</span>")
    if look["custom"]["thresholdsStyle"]["mode"] != "off":
        for step in look["thresholds"]["steps"][1:]:
            y = height - height * step["value"] / top[False]
            paint = shade(step["color"])
            parts.append(f"<line x2='{width}' y1='{y:.0f}' y2='{y:.0f}' stroke='{paint}' stroke-dasharray='6'/>")
    size = f"width='{width + 70}' height='{height + 10}' viewBox='0 -6 {width + 70} {height + 10}' font-size='10'"
    return f"<svg {size}>{''.join(parts)}</svg><div class=l>{''.join(reversed(names))}</div>"


Curve = tuple[Line, list[tuple[float, float]]]


def stacked(lines: list[Line]) -> list[Curve]:
    """Each line and where it runs: on top of those before it, where it is stacked."""
    floor: dict[float, float] = {}
    curves: list[Curve] = []
    for line in lines:
        points = [(at, value) for at, value in line.points if math.isfinite(value)]
        if is_stacked(line):
            points = [(at, value + floor.get(at, 0)) for at, value in points]
            floor |= dict(points)
        curves.append((line, points))
    return curves


def is_stacked(line: Line) -> bool:
    stacking: dict[str, str] = line.field.get("custom.stacking", line.field["custom"]["stacking"])
    return stacking["mode"] == "normal"


def is_right(line: Line) -> bool:
    return line.field.get("custom.axisPlacement") == "right"


def extent(look: dict[str, Any], curves: list[list[tuple[float, float]]]) -> float:
    """The top of an axis."""
    highest = max((value for points in curves for _, value in points), default=0.0)
    return max(highest * 1.05, look["custom"].get("axisSoftMax", 0)) or 1


def table(panel: dict[str, Any], lines: list[Line]) -> str:
    """Rows of equal labels made one, columns named and ordered as the transformation says."""
    organize = next(t["options"] for t in panel["transformations"] if t["id"] == "organize")
    many = len(panel["targets"]) > 1
    rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    shared = set.intersection(*({k for k in line.labels if k != "__name__"} for line in lines)) if lines else set()
    for line in lines:
        row = rows.setdefault(tuple(sorted((k, line.labels[k]) for k in shared)), {})
        row |= line.labels
        row[f"Value #{line.reference}" if many else "Value"] = line.last
    if not rows:
        return stat(panel, [])
    columns = {
        column: organize["renameByName"].get(column, column)
        for column in organize["indexByName"]
        if any(column in row for row in rows.values()) and not organize["excludeByName"].get(column)
    }
    head = "".join(f"<th>{escape(name)}</th>" for name in columns.values())
    body = "".join(
        "<tr>"
        + "".join(f"<td>{escape(cell(panel, name, row.get(column, '')))}</td>" for column, name in columns.items())
        for row in rows.values()
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def cell(panel: dict[str, Any], name: str, value: str | float) -> str:
    return value if isinstance(value, str) else said(value, looks(panel, name))


def drawn(view: View, board: dict[str, Any]) -> Iterator[str]:
    """Each panel in its place."""
    for panel in board["panels"]:
        place = panel["gridPos"]
        where = (
            f"left:{place['x'] * COLUMN_PX}px;top:{place['y'] * LINE_PX}px;"
            f"width:{place['w'] * COLUMN_PX - GAP_PX}px;height:{place['h'] * LINE_PX - GAP_PX}px"
        )
        if panel["type"] == "row":
            yield f"<div class='p row' style='{where}'><h3>{escape(panel['title'])}</h3></div>"
            continue
        lines = view.lines(panel)
        match panel["type"]:
            case "stat":
                inside = stat(panel, lines)
            case "gauge":
                inside = gauge(panel, lines)
            case "table":
                inside = table(panel, lines)
            case _:
                inside = chart(panel, lines, view)
        yield f"<div class=p style='{where}'><h3>{escape(panel['title'])}</h3>{inside}</div>"


def page(view: View) -> str:
    """The whole dashboard."""
    board = grafana.dashboard()
    height = max(accumulate((p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"]), max))
    head = f"<!doctype html><meta charset=utf-8><title>{board['title']}</title><style>{STYLE}</style>"
    return f"{head}<body style='height:{height * LINE_PX}px'>{''.join(drawn(view, board))}"


def photograph(html: Path, png: Path, height_px: int) -> None:
    """By chromium, without a network."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                f"--user-data-dir={profile}", f"--window-size={24 * COLUMN_PX},{height_px}",
                f"--screenshot={png}", html.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    out = Path(sys.argv[1]).resolve()
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 90.0
    os.environ.update(
        AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY="example", AWS_EC2_METADATA_DISABLED="true"
    )
    with (
        tempfile.TemporaryDirectory() as name,
        running(Path(name), rate_per_s=2 * seconds) as run,
        watching(run) as seen,
    ):
        start = time.time() - 2
        text = page(View(seen, start, go_on(run, seconds)))
    html = out.with_suffix(".html")
    html.write_text(text, "utf-8")
    if out.suffix == ".png":
        height = re.search(r"height:(\d+)px'>", text)
        assert height is not None
        photograph(html, out, int(height[1]))


if __name__ == "__main__":
    main()
