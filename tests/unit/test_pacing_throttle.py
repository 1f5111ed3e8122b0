"""The throttle's state by itself: what a row that several processes share has to hold."""

from __future__ import annotations

from dataclasses import asdict, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.pacing import Throttle


def test_the_state_is_a_few_numbers() -> None:
    throttle = Throttle()
    throttle.cut(5.0, 6.0)
    throttle.step_up(8.0)
    assert all(isinstance(value, int | float) for value in asdict(throttle).values())
    assert len(fields(Throttle)) == 5
    assert Throttle(**asdict(throttle)) == throttle


def test_a_cut_halves_once_per_flight() -> None:
    throttle = Throttle()
    assert throttle.cut(sent_at_s=1.0, now_s=2.0)
    assert throttle.factor == 0.5
    before = asdict(throttle)
    assert not throttle.cut(sent_at_s=2.0, now_s=3.0), "it was sent before the cut"
    assert asdict(throttle) == before
    assert throttle.cut(sent_at_s=2.5, now_s=3.0)
    assert throttle.factor == 0.25


def test_two_who_share_a_row_cut_it_once() -> None:
    row = asdict(Throttle())
    changed = []
    for _ in range(2):
        throttle = Throttle(**row)
        changed.append(throttle.cut(sent_at_s=1.0, now_s=2.0))
        row = asdict(throttle)
    assert changed == [True, False]
    assert row["factor"] == 0.5


def test_it_climbs_quickly_to_below_where_it_was_throttled_and_then_feels_its_way() -> None:
    throttle = Throttle()
    throttle.cut(0.0, 10.0)
    assert not throttle.step_up(10.9), "a step a second"
    climbed = []
    for second in range(11, 20):
        assert throttle.step_up(float(second))
        climbed.append(round(throttle.factor, 4))
    assert climbed[:4] == [0.6, 0.7, 0.8, 0.88]
    assert climbed[4:] == sorted(climbed[4:])
    assert all(0.88 < factor < 0.89 for factor in climbed[4:])
    for second in range(20, 120):
        throttle.step_up(float(second))
    assert throttle.factor == 1.0
    assert not throttle.step_up(1000.0), "there is nothing left to climb"


def test_a_cut_while_recovering_lowers_the_ceiling() -> None:
    throttle = Throttle()
    throttle.cut(0.0, 1.0)
    assert throttle.ceiling == pytest.approx(0.88)
    throttle.cut(2.0, 3.0)
    assert throttle.ceiling == pytest.approx(0.88**2)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 5.0)), max_size=200))
def test_the_factor_stays_within_its_bounds(events: list[tuple[bool, float]]) -> None:
    throttle, now_s = Throttle(), 0.0
    for is_cut, later_s in events:
        now_s += later_s
        before = asdict(throttle)
        changed = throttle.cut(now_s, now_s) if is_cut else throttle.step_up(now_s)
        assert changed == (asdict(throttle) != before)
        assert 0.02 <= throttle.factor <= 1.0
        assert throttle.ceiling <= 1.0
        assert throttle.factor <= before["factor"] if is_cut else throttle.factor >= before["factor"]
