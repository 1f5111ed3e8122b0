from __future__ import annotations

import re
from typing import Any

import pytest

from bulksend.errors import ConfigError
from bulksend.simulator import faults
from bulksend.simulator.answers import SesError
from bulksend.simulator.faults import FAULTS, FaultBook


def book(*rules: dict[str, Any], seed: int = 0) -> FaultBook:
    made = FaultBook(seed)
    made.replace_rules(rules)
    return made


def test_every_fault_is_in_the_table() -> None:
    table = [line.split("|")[1] for line in (faults.__doc__ or "").splitlines() if line.startswith("| ")]
    assert {name for cell in table for name in re.findall(r"[a-z0-9_]+", cell)} == set(FAULTS)


def test_a_faulty_address_suffers_as_often_as_it_says() -> None:
    faulty = book()
    address = "fault.transient_failure.2+u17@example.com"
    suffered = [faulty.for_entry(address, ()) for _ in range(4)]
    assert [fault and fault.entry_status for fault in suffered] == ["TRANSIENT_FAILURE"] * 2 + [None] * 2
    assert faulty.for_entry("fault.transient_failure.2+u18@example.com", ()), "counted per address"


def test_a_faulty_address_without_a_number_suffers_always() -> None:
    faulty = book()
    assert all(faulty.for_entry("fault.failed@example.com", ()) for _ in range(100))
    assert faulty.for_entry("Some One <fault.failed+x@example.com>", ())


def test_a_fault_of_the_whole_call_comes_with_its_address() -> None:
    faulty = book()
    addresses = ["a@example.com", "fault.internal_500.1@example.com"]
    befallen, _ = faulty.begin("SendBulkEmail", addresses)
    assert befallen is FAULTS["internal_500"]
    assert faulty.begin("SendBulkEmail", addresses) == (None, [])
    assert faulty.for_entry("fault.internal_500@example.com", ()) is None


def test_an_ordinary_address_has_no_fault() -> None:
    faulty = book()
    assert faulty.for_entry("default.fault.failed@example.com", ()) is None
    assert faulty.for_entry("a@fault.failed.example.com", ()) is None


def test_a_fault_that_does_not_exist_is_refused_loudly() -> None:
    with pytest.raises(SesError, match="no_such_thing"):
        book().begin("SendBulkEmail", ["fault.no_such_thing@example.com"])


def test_a_rule_fires_in_its_requests_and_so_often() -> None:
    faulty = book({"fault": "throttled_429", "first_request": 3, "last_request": 8, "times": 4})
    fired = [faulty.begin("SendBulkEmail", ())[0] is not None for _ in range(10)]
    assert fired == [False, False, True, True, True, True, False, False, False, False]
    assert faulty.rules[0].fired == 4


def test_a_rule_for_another_operation_stays_out() -> None:
    faulty = book({"fault": "internal_500", "operation": "GetAccount"}, {"fault": "internal_500", "operation": "*"})
    assert faulty.begin("SendBulkEmail", ())[0] is not None
    assert faulty.rules[0].requests == 0
    faulty.begin("GetAccount", ())
    assert faulty.rules[0].fired == 1
    assert faulty.rules[1].fired == 1, "the first rule that fires has the call"


def test_a_share_of_the_entries_by_repeatable_dice() -> None:
    def throw(seed: int) -> list[bool]:
        faulty = book({"fault": "failed", "share": 0.1}, seed=seed)
        _, rules = faulty.begin("SendBulkEmail", ())
        return [faulty.for_entry("a@example.com", rules) is not None for _ in range(2000)]

    assert throw(1) == throw(1)
    assert throw(1) != throw(2)
    assert 140 <= sum(throw(1)) <= 260


def test_a_rule_for_some_addresses() -> None:
    faulty = book(
        {"fault": "failed", "address_contains": "@bad."},
        {"fault": "hang_after_accepting", "address_contains": "slow"},
    )
    befallen, rules = faulty.begin("SendBulkEmail", ["x@bad.example.com", "x@example.com"])
    assert befallen is None
    assert faulty.for_entry("x@bad.example.com", rules)
    assert faulty.for_entry("x@example.com", rules) is None
    assert faulty.begin("SendBulkEmail", ["slow@example.com"])[0] is not None


def test_a_rules_own_words() -> None:
    faulty = book({"fault": "http", "status": 418, "code": "Teapot", "text": "short", "no_request_id": True})
    befallen, _ = faulty.begin("SendBulkEmail", ())
    assert befallen is not None
    assert (befallen.http_status, befallen.code, befallen.text, befallen.by_ses) == (418, "Teapot", "short", False)
    assert befallen.ambiguous, "nothing but SES's own word proves a refusal"


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"fault": "nothing"}, "nothing"),
        ({}, "None"),
        ({"fault": "failed", "shar": 1}, "shar"),
        ({"fault": "failed", "share": "much"}, "share"),
        ({"fault": "failed", "times": -1}, "times"),
        ({"fault": "failed", "accept": 1}, "accept"),
        ({"fault": "failed", "accept": True}, "failed"),
        ({"fault": "failed", "status": 500}, "500"),
        ({"fault": "failed", "status": "SUCCESS"}, "SUCCESS"),
        ({"fault": "http", "status": "bad"}, "bad"),
        ({"fault": "slow_answer", "status": 500}, "slow_answer"),
        ({"fault": "throttled_429", "accept": True}, "throttled_429"),
        ({"fault": "unavailable_503", "accept": True}, "unavailable_503"),
        ("failed", "failed"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(rule: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        book(rule)


def test_new_rules_that_are_wrong_leave_the_old_ones() -> None:
    faulty = book({"fault": "failed"})
    with pytest.raises(ConfigError):
        faulty.replace_rules([{"fault": "throttled_429"}, {"fault": "nothing"}])
    assert [rule.fault.name for rule in faulty.rules] == ["failed"]
