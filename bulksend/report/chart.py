"""Charts as inline SVG. They have no style of their own: the page's style sheet knows their classes.

The outer drawing has no view box, so that text keeps its size whatever the width; what is stretched is in an inner one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bulksend.report.figures import Span
from bulksend.report.markup import escaped
from bulksend.report.text import rate_in_words

__all__ = ["bar", "rate_chart", "round_ticks", "time_ticks"]

_TOP, _HEIGHT, _BOTTOM = 24, 200, 26
"""Of the plot, in CSS pixels: room for the highest label, the plot itself, the labels of time."""
_SCALE = 1000
"""Of the inner drawing, both ways."""
_MOST_TICKS = 6
_EDGE = 0.09
"""Labels nearer to an end than this are written inwards."""
_STEPS_S = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10_800, 21_600, 43_200),
    *(86_400, 172_800, 604_800, 1_209_600),
)
_MINUTE_S = 60
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class _Tick:
    share: float
    label: str


def rate_chart(spans: Sequence[Span], send_rate_per_s: float | None) -> str:
    """Recipients per second over time, against the account's send rate where that is known. At least one span."""
    begins, ends = spans[0].begins, spans[-1].ends
    highest = max(span.per_s for span in spans)
    ticks = round_ticks(max(highest, send_rate_per_s or 0.0))
    top = ticks[-1]

    def y(per_s: float) -> float:
        return _TOP + _HEIGHT * (1 - per_s / top)

    # One step a span: across at its rate.
    line = " ".join(
        f"V{_SCALE * (1 - span.per_s / top):.4g}H{_SCALE * (span.ends - begins) / (ends - begins):.5g}"
        for span in spans
    )
    said = f"Recipients per second, from {_instant(begins)} to {_instant(ends)}; at most {rate_in_words(highest)}"
    quota = ""
    if send_rate_per_s is not None:
        said += f"; the account's send rate is {rate_in_words(send_rate_per_s)}"
        at = f"{y(send_rate_per_s):.1f}"
        quota = (
            f'<line class="quota" x1="0" x2="100%" y1="{at}" y2="{at}"/>'
            f'<text class="quota" x="100%" y="{float(at) - 6:.1f}" text-anchor="end">'
            f"send rate {rate_in_words(send_rate_per_s)}/s</text>"
        )
    grid = "".join(
        f'<line class="grid" x1="0" x2="100%" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
        f'<text x="0" y="{y(tick) - 4:.1f}">{_number(tick)}{"/s" if tick == top else ""}</text>'
        for tick in ticks
        if tick
    )
    return (
        f'<svg class="chart" width="100%" height="{_TOP + _HEIGHT + _BOTTOM}" role="img" '
        'aria-labelledby="rate-title rate-words">'
        f'<title id="rate-title">Rate over time</title><desc id="rate-words">{escaped(said)}</desc>'
        f'<svg x="0" y="{_TOP}" width="100%" height="{_HEIGHT}" viewBox="0 0 {_SCALE} {_SCALE}" '
        'preserveAspectRatio="none" overflow="visible" aria-hidden="true">'
        f'<path class="area" d="M0 {_SCALE}{line}V{_SCALE}Z"/><path class="line" d="M0 {_SCALE}{line}V{_SCALE}"/></svg>'
        f'<line class="axis" x1="0" x2="100%" y1="{_TOP + _HEIGHT}" y2="{_TOP + _HEIGHT}"/>'
        f"{grid}{_times(begins, ends)}{quota}</svg>"
    )


def bar(share: float) -> str:
    """A bar for a table's cell, that says nothing which the numbers beside it do not."""
    return (
        '<svg class="bar" width="100%" height="12" aria-hidden="true">'
        f'<rect width="{100 * min(max(share, 0.0), 1.0):.4g}%" height="12" rx="2"/></svg>'
    )


def round_ticks(highest: float) -> list[float]:
    """From 0 in round steps to the first at or above the highest: three to six of them."""
    if highest <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(n * power for n in (1, 2, 2.5, 5, 10) if n * power * 5 >= highest)
    return [n * step for n in range(math.ceil(round(highest / step, 9)) + 1)]


def time_ticks(begins: float, ends: float) -> list[int]:
    """Round instants in UTC within a stretch of time, in epoch seconds: six at most."""
    step_s = next(
        (step_s for step_s in _STEPS_S if (ends - begins) / step_s < _MOST_TICKS),
        math.ceil((ends - begins) / (_MOST_TICKS - 1) / _DAY_S) * _DAY_S,
    )
    first = math.ceil(begins / step_s) * step_s
    return list(range(first, math.floor(ends) + 1, step_s))[:_MOST_TICKS]


def _times(begins: int, ends: int) -> str:
    """Every second one steps aside where the page is narrow."""
    ticks = time_ticks(begins, ends)
    form = _form(ticks, begins, ends)
    drawn = []
    for place, at in enumerate(ticks):
        share = (at - begins) / (ends - begins)
        anchor = "start" if share < _EDGE else "end" if share > 1 - _EDGE else "middle"
        aside = ' class="aside"' if place % 2 else ""
        x = f"{100 * share:.4g}%"
        drawn.append(
            f'<line class="axis" x1="{x}" x2="{x}" y1="{_TOP + _HEIGHT}" y2="{_TOP + _HEIGHT + 5}"/>'
            f'<text{aside} x="{x}" y="{_TOP + _HEIGHT + 20}" text-anchor="{anchor}">{_date(at, form)}</text>'
        )
    return "".join(drawn)


def _form(ticks: Sequence[int], begins: int, ends: int) -> str:
    step_s = ticks[1] - ticks[0] if len(ticks) > 1 else _MINUTE_S
    if step_s >= _DAY_S:
        return "%d %b"
    clock = "%H:%M:%S" if step_s < _MINUTE_S else "%H:%M"
    return clock if begins // _DAY_S == (ends - 1) // _DAY_S else f"%d %b {clock}"


def _date(at: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime(form)
    except (ValueError, OverflowError, OSError):
        return f"{at:.0f} s"


def _instant(at: float) -> str:
    return _date(at, "%Y-%m-%d %H:%M:%S UTC")


def _number(tick: float) -> str:
    return f"{tick:,.0f}" if tick == round(tick) else f"{tick:,.3g}"
