"""What a report counts with: rates over time, durations, kinds, and the ticks of charts."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.report import Durations, Kinds, Rate
from bulksend.report.chart import round_ticks, time_ticks
from bulksend.report.figures import MAX_POINTS, Kind, Pace
from tests.unit.test_report_page import NOON, kinds

INSTANTS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 1000).map(float), st.floats(-1e7, 1e7)).map(NOON.__add__), st.integers(0, 10**6)
    ),
    min_size=1,
    max_size=60,
)
"""Some of them together, others far away."""


@given(INSTANTS)
def test_a_rate_loses_nothing_and_is_short(added: list[tuple[float, int]]) -> None:
    rate = Rate()
    for at, amount in added:
        rate.add(at, amount)
    spans = rate.spans()
    assert len(spans) <= MAX_POINTS
    assert rate.total == sum(amount for _, amount in added)
    assert sum(span.per_s * rate.width_s for span in spans) == pytest.approx(rate.total)
    assert spans[0].begins <= min(at for at, _ in added)
    assert spans[-1].ends > max(at for at, _ in added)
    assert all(before.ends == after.begins for before, after in pairwise(spans))
    for span in spans:
        there = sum(amount for at, amount in added if span.begins <= at < span.ends)
        assert span.per_s * rate.width_s == pytest.approx(there)


@given(INSTANTS, st.floats(0, 1e4))
def test_a_pace_leaves_out_silences_and_nothing_else(added: list[tuple[float, int]], before_s: float) -> None:
    rate = Rate()
    for at, amount in added:
        rate.add(at, amount)
    instants = sorted(at for at, amount in added if amount)
    since = min(at for at, _ in added) - before_s
    pace = rate.pace(since)
    if not instants:
        assert pace == Pace(0.0, 0.0)
        return
    took_s = instants[-1] - since
    long_s = max(60.0, 20 * took_s / len(instants))
    silent_s = sum(gap for gap in (b - a for a, b in pairwise([since, *instants])) if gap > long_s)
    missed_s = sum(gap for gap in (b - a for a, b in pairwise(instants)) if long_s < gap < 2 * rate.width_s)
    assert silent_s - missed_s - 1e-3 <= pace.silent_s <= silent_s + 1e-3
    assert pace.per_s == pytest.approx(rate.total / max(took_s - pace.silent_s, 1.0))


@pytest.mark.parametrize(
    ("added", "since", "pace"),
    [
        ([(second, 500) for second in range(201)], 0, Pace(502.5, 0.0)),
        ([(second, 500) for second in range(201)] + [(3800, 3)], 0, Pace(100_503 / 200, 3600.0)),
        ([(second, 500) for second in range(3600, 3801)], 0, Pace(502.5, 3600.0)),
        ([(100 * n, 1) for n in range(1, 101)], 0, Pace(0.01, 0.0)),
        ([(0.1, 30), (0.2, 20)], 0, Pace(50.0, 0.0)),
        ([(1, 100), (500, 0)], 0, Pace(100.0, 0.0)),
        ([(second, 500) for second in range(201)] + [(209, 0), (1000, 0)], 0, Pace(502.5, 0.0)),
        ([(5, 7)], 900, Pace(7.0, 0.0)),
    ],
    ids=[
        "even",
        "a straggler",
        "a late beginning",
        "slow",
        "under a second",
        "refused later",
        "refused in the last step",
        "a clock set back",
    ],
)
def test_a_pace(added: list[tuple[float, int]], since: float, pace: Pace) -> None:
    rate = Rate()
    for at, amount in added:
        rate.add(NOON + at, amount)
    found = rate.pace(NOON + since)
    assert (found.per_s, found.silent_s) == pytest.approx((pace.per_s, pace.silent_s), rel=1e-6)


@pytest.mark.parametrize(("for_s", "width_s"), [(300, 1), (301, 2), (3000, 10), (86_400, 600), (86_400 * 40, 21_600)])
def test_what_is_even_stays_even(for_s: int, width_s: int) -> None:
    rate, step_s = Rate(), 1 if for_s < 10_000 else 300
    for second in range(0, for_s, step_s):
        rate.add(1_795_219_200.0 + second, 7 * step_s)  # midnight
    assert rate.width_s == width_s
    *all_but_last, last = rate.spans()
    assert {span.per_s for span in all_but_last} == {7.0}
    assert last.per_s * width_s == 7 * (for_s - len(all_but_last) * width_s)


@given(INSTANTS, st.randoms())
def test_a_rate_does_not_hang_on_the_order(added: list[tuple[float, int]], dice: Any) -> None:
    one, other = Rate(), Rate()
    shuffled = list(added)
    dice.shuffle(shuffled)
    for at, amount in added:
        one.add(at, amount)
    for at, amount in shuffled:
        other.add(at, amount)
    assert one.spans() == other.spans()


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_is_at_most_a_fiftieth_too_high(took_s: list[float], percent: int) -> None:
    durations = Durations()
    for one_s in took_s:
        durations.add(one_s)
    exact_s = sorted(took_s)[math.ceil(len(took_s) * percent / 100) - 1]
    found_s = durations.percentile_s(percent)
    assert exact_s * (1 - 1e-9) <= found_s <= max(exact_s * 1.02, 1e-4) * (1 + 1e-9)
    assert found_s <= durations.longest_s == max(took_s)
    bins = list(durations.bins())
    assert sum(count for _, _, count in bins) == len(took_s)
    for begins_s, ends_s, count in bins:
        assert count == sum(begins_s <= one_s < ends_s for one_s in took_s)


def test_durations_of_nothing() -> None:
    assert (Durations().percentile_s(50), list(Durations().bins())) == (0.0, [])
    back = Durations()
    back.add(-3.0)
    assert (back.percentile_s(99), back.longest_s) == (0.0, 0.0)


@given(st.lists(st.tuples(st.integers(0, 40).map(str), st.just("")), max_size=300), st.integers(0, 50))
def test_kinds_add_up(added: list[tuple[str, str]], number: int) -> None:
    counted = kinds(*((status, reason, 1) for status, reason in added))
    most, rest = counted.most(number)
    assert sum(kind.entries for kind in most) + rest == len(added) == counted.total
    assert all(kind.entries == added.count((kind.status, "")) for kind in most)
    assert all(kind.reason == "" for kind in most)


def test_kinds_take_no_more_room_than_they_may() -> None:
    counted = kinds(*((str(n), "", 1) for n in range(5000)), ("4", "", 10), ("4999", "", 10))
    most, rest = counted.most(1)
    assert [(kind.status, kind.entries) for kind in most] == [("4", 11)]
    assert (rest, counted.total, len(counted._statuses), room(counted)) == (5009, 5020, 1000, 1000)
    assert room(kinds(*((str(n % 7), str(n), 1) for n in range(5000)))) == 1000


def room(counted: Kinds) -> int:
    return sum(map(len, counted._reasons.values()))


def test_reasons_that_all_differ_do_not_hide_the_main_one() -> None:
    counted = kinds(
        *(("MESSAGE_REJECTED", f"refused, reference {n}", 1) for n in range(1000)),
        ("TEMPLATE_DOES_NOT_EXIST", "Template launch does not exist", 50_000),
    )
    most, rest = counted.most(3)
    assert most == [
        Kind("TEMPLATE_DOES_NOT_EXIST", "Template launch does not exist", 50_000),
        Kind("MESSAGE_REJECTED", None, 999),
        Kind("MESSAGE_REJECTED", "refused, reference 0", 1),
    ]
    assert rest == 0


@given(st.lists(st.tuples(st.integers(0, 4).map(str), st.integers(0, 300).map(str)), max_size=2000), st.integers(5, 30))
def test_the_kinds_of_a_status_make_its_total(added: list[tuple[str, str]], number: int) -> None:
    counted = kinds(*((status, reason, 1) for status, reason in added))
    every: Counter[tuple[str, str | None]] = Counter(added)
    most, rest = counted.most(number)
    assert (rest, len(most) <= number) == (0, True)
    totals: Counter[str] = Counter()
    for kind in most:
        totals[kind.status] += kind.entries
        assert kind.reason is None or kind.entries == every[kind.status, kind.reason]
    assert totals == Counter(status for status, _ in added)
    assert [kind.entries for kind in most] == sorted((kind.entries for kind in most), reverse=True)


@given(st.floats(1e-6, 1e9))
def test_ticks_of_a_rate(highest: float) -> None:
    ticks = round_ticks(highest)
    assert 3 <= len(ticks) <= 6
    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-9)
    assert ticks[-2] < highest


@given(st.integers(0, 4_000_000_000), st.integers(1, 10**9))
def test_ticks_of_time(begins: int, width_s: int) -> None:
    ticks = time_ticks(begins, begins + width_s)
    assert len(ticks) <= 6
    assert all(begins <= at <= begins + width_s for at in ticks)
    assert ticks == sorted(set(ticks))
