from __future__ import annotations

import json
from typing import Any

from bulksend.simulator.tally import Tally
from bulksend.simulator.validate import Entry


def some(*rows: int, campaign: str = "c", recipients: int = 1) -> list[Entry]:
    return [Entry(f"u{row}@example.com", [], recipients, campaign, row, "") for row in rows]


def lines(tally: Tally, campaign: str | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for block in tally.lines(campaign) for line in block.splitlines()]


def test_a_row_that_comes_again_is_a_copy() -> None:
    tally = Tally(1)
    tally.accept(1, range(3), some(1, 2, 3), 10.0)
    tally.accept(2, range(2), some(2, 4), 11.5)
    tally.accept(3, [0], some(2), 11.9)
    told = tally.summary("c")
    assert (told["accepted"], told["rows"], told["copies"]) == (6, 4, [[2, 3]])
    assert (told["first_at"], told["last_at"]) == (10.0, 11.9)
    assert told["per_second"] == [(10, 3), (11, 3)]


def test_a_copy_within_one_call_is_seen() -> None:
    tally = Tally(1)
    tally.accept(1, range(2), some(5, 5), 0.0)
    assert tally.summary(None)["copies"] == [[5, 2]]


def test_rows_far_out_are_counted_too() -> None:
    tally = Tally(1)
    for request in (1, 2):
        tally.accept(request, [0], some(10**15), 0.0)
    assert tally.summary("c")["copies"] == [[10**15, 2]]


def test_entries_without_a_row_are_no_copies() -> None:
    tally = Tally(1)
    tally.accept(1, range(2), some(-1, -1), 0.0)
    told = tally.summary("c")
    assert (told["accepted"], told["rows"], told["copies"]) == (2, 0, [])
    assert lines(tally)[0]["row"] is None


def test_entries_are_in_doubt_until_they_are_answered() -> None:
    tally = Tally(1)
    first = tally.accept(1, range(2), some(1, 2), 0.0)
    second = tally.accept(2, range(2), some(3, 4), 0.0)
    assert tally.summary("c")["ambiguous"] == 4
    tally.settle(first)
    tally.settle(second)
    tally.doubt(second)
    assert tally.summary("c")["ambiguous"] == 2
    assert [line["answered"] for line in lines(tally)] == [True, True, False, False]


def test_campaigns_are_kept_apart() -> None:
    tally = Tally(1)
    marks = tally.accept(1, range(4), [*some(1, 2), *some(1, campaign="d"), *some(3)], 0.0)
    tally.settle(marks)
    assert tally.summary("c")["accepted"] == 3
    assert tally.summary("d")["accepted"] == 1
    assert tally.summary(None)["accepted"] == 4
    assert tally.summary(None)["copies"] == []
    assert tally.summary("unknown")["accepted"] == 0
    assert [line["row"] for line in lines(tally, "c")] == [1, 2, 3]


def test_the_lines_have_their_own_message_id_and_address() -> None:
    tally = Tally(0xABC)
    tally.accept(1, [0, 2], some(10, 12), 0.0)
    tally.accept(2, range(1500), some(*range(100, 1600)), 0.0)
    told = lines(tally, "c")
    assert [line["to"] for line in told[:3]] == ["u10@example.com", "u12@example.com", "u100@example.com"]
    assert told[-1]["to"] == "u1599@example.com"
    assert len({line["message_id"] for line in told}) == 1502
    assert told[1]["message_id"] == "0100000000000abc-00000001-0000-4000-8000-000000000002-000000"


def test_recipients_are_counted_by_the_second() -> None:
    tally = Tally(1)
    tally.accept(1, range(2), some(1, 2, recipients=3), 7.9)
    assert tally.summary("c")["per_second"] == [(7, 6)]
