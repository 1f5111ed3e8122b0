from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.config import CampaignFile, frozen_keys, load_campaign
from bulksend.errors import ConfigError
from bulksend.safety import (
    Breaker,
    Canary,
    CanarySent,
    CanaryVerdict,
    Excess,
    Heard,
    RampStep,
    Safety,
    duration_in_words,
    duration_of,
    judge,
    judge_canary,
    share_in_words,
    share_of,
    surely_above,
)

SMALLEST = """\
name = "launch"
[sender]
from = "news@example.com"
[content]
template = "launch"
[recipients]
path = "list.csv"
"""


def load(folder: Path, safety: str) -> CampaignFile:
    path = folder / "campaign.toml"
    path.write_text(f"{SMALLEST}[safety]\n{safety}", "utf-8")
    return load_campaign(path)


# As people write it ---------------------------------------------------------------------------------------------------


def test_what_people_write_becomes_facts(tmp_path: Path) -> None:
    file = load(
        tmp_path,
        'canary = "2 %, 15 min"\nramp = ["50/s for 10 min", "500/s for 1 h"]\nbounce_limit = "4 %"\n'
        'complaint_limit = "0.05 %"\nwindow = "2 h"\nmin_sample = 500\n',
    )
    safety = file.safety.as_safety()
    assert safety == Safety(
        Canary(0.02, 900.0), (RampStep(50.0, 600.0), RampStep(500.0, 3600.0)), Breaker(0.04, 0.0005, 7200.0, 500)
    )
    assert Safety.from_json(safety.as_json()) == safety
    assert not [key for key in frozen_keys(file) if key.startswith("safety")]


def test_without_a_word_of_it_there_is_a_breaker_below_the_limits_of_ses(tmp_path: Path) -> None:
    safety = load(tmp_path, "").safety.as_safety()
    assert safety == Safety()
    assert safety.breaker is not None
    assert safety.breaker.bounce_limit < 0.05
    assert safety.breaker.complaint_limit < 0.001
    assert load(tmp_path, "breaker = false").safety.as_safety() == Safety(breaker=None)
    assert Safety.from_json(Safety(breaker=None).as_json()).breaker is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90 s", 90.0), ("15 min", 900.0), ("1.5 h", 5400.0), ("1 day", 86_400.0), ("2days", 172_800.0)],
)
def test_a_time(text: str, seconds: float) -> None:
    assert duration_of(text) == seconds


@given(st.integers(1, 90 * 86_400))
def test_a_time_in_words_is_read_as_the_same(seconds: int) -> None:
    assert duration_of(duration_in_words(float(seconds))) == seconds


@given(st.integers(1, 999))
def test_a_share_in_words_is_read_as_the_same(thousandths: int) -> None:
    assert math.isclose(share_of(share_in_words(thousandths / 1000)), thousandths / 1000)


@pytest.mark.parametrize(
    ("text", "per_s", "for_s", "again"),
    [
        ("50/s for 10 min", 50.0, 600.0, "50/s for 10 min"),
        ("1.5 / s for 1 h", 1.5, 3600.0, "90/min for 1 h"),
        ("1000/day for 1 day", 1000 / 86_400, 86_400.0, "1,000/day for 1 day"),
        ("30/min for 90 s", 0.5, 90.0, "30/min for 90 s"),
    ],
)
def test_a_step_of_a_ramp(text: str, per_s: float, for_s: float, again: str) -> None:
    step = RampStep.parse(text)
    assert math.isclose(step.rate_per_s, per_s)
    assert step.for_s == for_s
    assert str(step) == again


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('canary = "2 %"', "safety.canary must be a share of the list and a time, such as '2 %, 15 min', not '2 %'"),
        ('canary = "100 %, 1 h"', "safety.canary must be less than 100 %"),
        ('canary = "0 %, 1 h"', "safety.canary must be more than 0 % and at most 100 %"),
        ('canary = "2, 1 h"', "safety.canary must be a share in per cent, such as '4.8 %', not '2'"),
        ('canary = "2 %, 15 minutes"', "safety.canary must be a time in s, min, h or days, such as '15 min'"),
        ('canary = "2 %, 91 days"', "safety.canary must be 1 s to 90 days, not '91 days'"),
        ('ramp = ["50/s"]', "safety.ramp[1] must be a rate and a time, such as '50/s for 10 min', not '50/s'"),
        ('ramp = ["1/s for 1 h", "0/s for 1 h"]', "safety.ramp[2] must have a rate of 1/day to 1,000,000/s"),
        ('ramp = "50/s for 1 h"', "safety.ramp must be a list, not '50/s for 1 h'"),
        ('bounce_limit = "5"', "safety.bounce_limit must be a share in per cent"),
        ("complaint_limit = 0.001", "safety.complaint_limit must be text, not 0.001"),
        ('window = "30 s"', "safety.window must be 1 min to 7 days, not '30 s'"),
        ("min_sample = 0", "safety.min_sample must be at least 1, not 0"),
        ('brake = "1 %"', "safety.brake is not a known key; did you mean safety.breaker?"),
        (
            "breaker = false\nmin_sample = 10",
            "safety.min_sample says how the breaker judges, and breaker = false",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, line)
    assert said in refused.value.message


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="5 faults") as refused:
        load(
            tmp_path,
            'canary = "all"\nramp = ["slowly"]\nbreaker = false\nbounce_limit = "?"\nwindow = "1 h"\n',
        )
    for key in ("safety.canary", "safety.ramp[1]", "safety.bounce_limit", "safety.window"):
        assert key in refused.value.message


@given(st.floats(1e-6, 0.999), st.integers(1, 10**7))
def test_a_canary_is_a_part_of_the_list_rounded_up(share: float, entries: int) -> None:
    count = Canary(share, 60.0).entries(entries)
    assert 1 <= count <= entries
    assert count - 1 < share * entries + 1e-6
    assert count == entries or count >= share * entries - 1e-6


def test_a_share_that_divides_is_not_rounded_up() -> None:
    assert [Canary(share_of(f"{percent} %"), 1.0).entries(100) for percent in range(1, 100)] == list(range(1, 100))


# The breaker's judgement ----------------------------------------------------------------------------------------------


def tail(count: int, sample: int, rate: float) -> float:
    """P(X >= count), summed term by term."""
    logs = [
        math.lgamma(sample + 1)
        - math.lgamma(k + 1)
        - math.lgamma(sample - k + 1)
        + k * math.log(rate)
        + (sample - k) * math.log1p(-rate)
        for k in range(count, sample + 1)
    ]
    return sum(math.exp(one) for one in logs)


@pytest.mark.parametrize("limit", [0.048, 0.0008, 0.5])
@pytest.mark.parametrize("sample", [20, 200, 1000, 20_000])
def test_what_is_surely_above_would_be_rare_at_the_limit(sample: int, limit: float) -> None:
    first = next(count for count in range(sample + 1) if surely_above(count, sample, limit))
    assert tail(first, sample, limit) < 0.001
    assert all(surely_above(count, sample, limit) for count in range(first, sample + 1))
    assert not any(surely_above(count, sample, limit) for count in range(first))


def test_nothing_is_above_all() -> None:
    assert not surely_above(10, 10, 1.0)
    assert not surely_above(0, 0, 0.048)
    assert surely_above(30, 20, 0.048)  # complaints of mails of which nothing else is known


def when_tripped(rate: float, mails: int, seed: int, *, window: int = 1_800_000, look_every: int = 250) -> int | None:
    """After how many mails a breaker trips that looks at the last `window` of them, again and again; None for never."""
    uniform, limits = random.Random(seed).random, Breaker()
    bounced = [0]
    for sent in range(1, mails + 1):
        bounced.append(bounced[-1] + (uniform() < rate))
        if sent % look_every == 0:
            since = max(0, sent - window)
            known = bounced[sent] - bounced[since]
            if judge(limits, Heard(sent - since - known, known, 0)) is not None:
                return sent
    return None


@pytest.mark.parametrize("seed", range(5))
def test_six_per_cent_of_bounces_trip_it_within_a_minute_at_500_a_second(seed: int) -> None:
    tripped = when_tripped(0.06, 30_000, seed)
    assert tripped is not None
    assert 1000 <= tripped < 30_000


@pytest.mark.parametrize("seed", range(5))
def test_four_per_cent_never_do(seed: int) -> None:
    """In long runs, with windows so short that chance has its say in each."""
    assert when_tripped(0.04, 150_000, seed, window=1000, look_every=50) is None
    assert when_tripped(0.04, 150_000, seed) is None


def test_two_in_a_thousand_complaints_trip_it_and_four_in_ten_thousand_do_not() -> None:
    limits = Breaker()
    found = judge(limits, Heard(20_000, 0, 40))
    assert found == Excess("complaints", 40, 20_000, 0.0008)
    assert judge(limits, Heard(20_000, 0, 8)) is None


def test_nothing_is_judged_by_a_small_sample() -> None:
    assert judge(Breaker(), Heard(0, 999, 0)) is None
    assert judge(Breaker(), Heard(0, 1000, 0)) is not None
    assert judge(Breaker(min_sample=10), Heard(0, 10, 0)) is not None


def test_where_nobody_hears_of_deliveries_bounces_are_a_part_of_what_was_sent() -> None:
    assert judge(Breaker(), Heard(0, 1000, 0, sent=40_000)) is None
    assert judge(Breaker(), Heard(0, 3000, 0, sent=40_000)) is not None
    assert judge(Breaker(), Heard(0, 1000, 0, sent=1000)) is not None


def test_what_was_never_sent_is_no_part_of_a_rate() -> None:
    assert Heard(90, 10, 0, unsent=900).sample == 100
    assert Heard(90, 10, 0, unsent=900).known == 1000


def test_what_ses_refused_has_a_limit_of_its_own() -> None:
    found = judge(Breaker(), Heard(900, 0, 0, unsent=100, refused=100))
    assert found == Excess("refusals", 100, 1000, 0.05)
    assert str(found).startswith("100 of 1,000 mails were accepted by SES and never sent (Reject or Rendering Failure)")
    assert judge(Breaker(), Heard(0, 0, 0, unsent=1000, refused=1000)) == Excess("refusals", 1000, 1000, 0.05)
    assert judge(Breaker(), Heard(960, 0, 0, unsent=40, refused=40)) is None
    assert judge(Breaker(), Heard(0, 0, 0, unsent=999, refused=999)) is None
    # Where nobody hears of deliveries, they are a part of what was sent.
    assert judge(Breaker(), Heard(0, 0, 0, unsent=1000, refused=1000, sent=40_000)) is None


def test_what_the_accounts_own_list_holds_back_is_no_refusal() -> None:
    assert judge(Breaker(), Heard(5000, 0, 0, unsent=5000)) is None
    assert judge(Breaker(), Heard(5000, 0, 0, unsent=5000, refused=10)) is None


def test_an_excess_in_words() -> None:
    assert (
        str(Excess("bounces", 299, 5000, 0.048))
        == "299 of 5,000 mails bounced for good: 5.98 %, and the limit is 4.8 %"
    )


# The canary's ---------------------------------------------------------------------------------------------------------


def canary(
    heard: Heard, *, accepted: int = 200, under_way: int = 0, untried: int = 0, late: bool = False, now: float = 100.0
) -> CanaryVerdict | Excess:
    sent = CanarySent(accepted + under_way, accepted, under_way, untried, 50.0)
    return judge_canary(Breaker(), sent, heard, deadline=now - 1 if late else now + 1, now=now)


def test_it_passes_as_soon_as_all_is_known() -> None:
    assert canary(Heard(192, 8, 0)) is CanaryVerdict.PASS
    assert canary(Heard(191, 8, 0)) is CanaryVerdict.WAIT
    assert canary(Heard(190, 8, 0, unsent=2)) is CanaryVerdict.PASS
    assert canary(Heard(1, 0, 0), accepted=1) is CanaryVerdict.PASS


def test_it_halts_above_a_limit_once_all_is_known() -> None:
    assert canary(Heard(190, 10, 0)) == Excess("bounces", 10, 200, 0.048)
    assert canary(Heard(200, 0, 2)) == Excess("complaints", 2, 200, 0.0008)


def test_one_bounce_or_complaint_is_no_rate() -> None:
    assert canary(Heard(9, 1, 0), accepted=10) is CanaryVerdict.PASS
    assert canary(Heard(200, 0, 1)) is CanaryVerdict.PASS


def test_it_halts_before_all_is_known_where_there_is_no_doubt() -> None:
    assert canary(Heard(80, 20, 0)) == Excess("bounces", 20, 100, 0.048)
    assert canary(Heard(95, 5, 0)) is CanaryVerdict.WAIT
    assert canary(Heard(0, 15, 0)) is CanaryVerdict.WAIT  # of fewer than 20 nothing is said while more may come


def test_at_the_deadline_half_of_them_are_enough() -> None:
    assert canary(Heard(96, 4, 0), late=True) is CanaryVerdict.PASS
    assert canary(Heard(94, 6, 0), late=True) == Excess("bounces", 6, 100, 0.048)
    assert canary(Heard(95, 4, 0), late=True) is CanaryVerdict.CANNOT_JUDGE
    assert canary(Heard(0, 0, 0), late=True) is CanaryVerdict.CANNOT_JUDGE


def test_at_the_deadline_a_small_canary_must_be_known_to_20_of_it_or_all() -> None:
    assert canary(Heard(19, 0, 0), accepted=30, late=True) is CanaryVerdict.CANNOT_JUDGE
    assert canary(Heard(20, 0, 0), accepted=30, late=True) is CanaryVerdict.PASS
    assert canary(Heard(9, 0, 0), accepted=10, late=True) is CanaryVerdict.CANNOT_JUDGE
    assert canary(Heard(10, 0, 0), accepted=10, late=True) is CanaryVerdict.PASS


@pytest.mark.parametrize("accepted", [200, 120, 20])
def test_a_canary_that_ses_refused_does_not_pass(accepted: int) -> None:
    """However much of it was settled, which takes it out of what was accepted."""
    heard = Heard(20, 0, 0, unsent=180, refused=180)
    assert canary(heard, accepted=accepted) == Excess("refusals", 180, 200, 0.05)


def test_a_small_canary_that_ses_refused_does_not_pass() -> None:
    assert canary(Heard(8, 0, 0, unsent=2, refused=2), accepted=8) == Excess("refusals", 2, 10, 0.05)
    assert canary(Heard(0, 0, 0, unsent=10, refused=10), accepted=0) == Excess("refusals", 10, 10, 0.05)
    assert canary(Heard(0, 0, 0, unsent=1, refused=1), accepted=0) is CanaryVerdict.WAIT
    assert canary(Heard(0, 0, 0, unsent=1, refused=1), accepted=0, late=True) is CanaryVerdict.CANNOT_JUDGE


def test_what_was_refused_stands_for_no_mail_that_may_still_arrive() -> None:
    """It is settled already: of 193 that are left, two are not known."""
    assert canary(Heard(191, 0, 0, unsent=7, refused=7), accepted=193) is CanaryVerdict.WAIT
    assert canary(Heard(193, 0, 0, unsent=7, refused=7), accepted=193) is CanaryVerdict.PASS
    assert canary(Heard(8, 0, 0, unsent=1, refused=1), accepted=19, late=True) is CanaryVerdict.CANNOT_JUDGE


def test_it_waits_while_not_all_of_it_has_gone_out() -> None:
    assert canary(Heard(0, 0, 0), under_way=10, untried=10, late=True) is CanaryVerdict.WAIT
    assert canary(Heard(200, 0, 0), under_way=10, untried=10) is CanaryVerdict.WAIT


def test_what_is_tried_again_for_long_does_not_keep_it() -> None:
    assert canary(Heard(200, 0, 0), under_way=10) is CanaryVerdict.WAIT
    assert canary(Heard(200, 0, 0), under_way=10, late=True) is CanaryVerdict.PASS


def test_of_a_canary_that_was_refused_nothing_is_known() -> None:
    assert canary(Heard(0, 0, 0), accepted=0) is CanaryVerdict.WAIT
    assert canary(Heard(0, 0, 0), accepted=0, late=True) is CanaryVerdict.CANNOT_JUDGE


# In words -------------------------------------------------------------------------------------------------------------


def test_safety_in_words() -> None:
    safety = Safety(Canary(0.02, 900.0), (RampStep(50.0, 600.0), RampStep(500.0, 3600.0)))
    assert safety.in_words(10_000) == [
        "canary: the first 200 mails, judged by what becomes of them within 15 min; then the others",
        "ramp: 50/s for 10 min, 500/s for 1 h; then as fast as the quota",
        f"breaker: {Breaker()}",
    ]
    assert Safety(breaker=None).in_words(10_000) == ["no breaker"]
    assert str(Breaker()) == (
        "halts above 4.8 % bounces or 0.08 % complaints among what was sent in 1 h, "
        "once it is known of 1,000 mails what became of them"
    )
