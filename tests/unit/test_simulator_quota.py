from __future__ import annotations

import pytest

from bulksend.simulator.quota import Bucket, DayWindow


def test_the_bucket_holds_one_second_and_may_be_overdrawn_by_one_call() -> None:
    bucket = Bucket(14.0, 0.0)
    assert bucket.take(50, 0.0)
    assert bucket.left(0.0) == -36.0
    assert not bucket.take(1, 0.0)
    assert not bucket.take(1, 36 / 14 - 0.001), "the debt is not repaid yet"
    assert bucket.take(50, 36 / 14 + 0.001)


def test_a_refusal_costs_nothing() -> None:
    bucket = Bucket(10.0, 0.0)
    assert bucket.take(15, 0.0)
    for _ in range(100):
        assert not bucket.take(50, 0.1)
    assert bucket.left(1.0) == pytest.approx(5.0)


def test_a_long_rest_fills_the_bucket_no_further_than_one_second() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.take(10, 0.0)
    assert bucket.left(3600.0) == 10.0


def test_over_a_minute_the_bucket_grants_its_rate_and_one_overdraft() -> None:
    bucket = Bucket(500.0, 0.0)
    granted = sum(50 for tick in range(60_000) if bucket.take(50, tick / 1000))
    assert 500 * 60 <= granted <= 500 * 61 + 50


def test_a_new_rate_counts_from_now_and_leaves_no_more_than_its_second() -> None:
    bucket = Bucket(100.0, 0.0)
    bucket.set_rate(10.0, 0.0)
    assert bucket.left(0.0) == 10.0
    bucket.set_rate(1000.0, 0.0)
    assert bucket.left(0.0) == 10.0
    assert bucket.left(0.5) == 510.0


def test_another_senders_recipients_are_spent_without_asking() -> None:
    bucket = Bucket(10.0, 0.0)
    bucket.spend(30, 0.0)
    assert not bucket.take(1, 1.9)
    assert bucket.take(1, 2.1)


def test_the_window_forgets_after_a_day_and_not_before() -> None:
    window = DayWindow(86_400.0, 1_000_000.0)
    window.add(7, 1_000_000.0)
    window.add(5, 1_043_200.0)
    assert window.total(1_000_000.0 + 86_399.0) == 12
    assert window.total(1_000_000.0 + 86_400.0 + 61.0) == 5
    assert window.total(1_043_200.0 + 86_400.0 + 61.0) == 0


def test_the_window_of_a_shortened_day() -> None:
    window = DayWindow(2.0, 0.0)
    for tick in range(1000):
        window.add(1, tick / 100)
        assert min(tick, 200) <= window.total(tick / 100) <= 202


def test_the_window_survives_a_rest_of_many_days() -> None:
    window = DayWindow(10.0, 0.0)
    window.add(3, 9.0)
    assert window.total(10_000.0) == 0
    window.add(2, 10_000.0)
    assert window.total(10_001.0) == 2


def test_the_window_does_not_mind_a_clock_that_steps_back() -> None:
    window = DayWindow(1440.0, 5000.0)
    window.add(1, 5000.0)
    window.add(1, 4000.0)
    assert window.total(5000.0) == 2
