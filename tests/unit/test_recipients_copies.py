"""Cc and Bcc, display names, headers: what is sent, and what is refused in which words."""

from __future__ import annotations

import email.header
import email.headerregistry
import email.policy
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.recipients.copies import check_copies
from bulksend.recipients.display_names import MAX_MAILBOX_CHARS, name_addresses
from bulksend.recipients.headers import HeaderValues
from bulksend.recipients.mapping import PlaceholderText


def copies(*cells: str) -> tuple[list[dict[str, Any]], list[int], dict[int, str]]:
    # A slice, as columns are that had a header.
    made, counts, reasons = check_copies(pa.array(["cut@off.test", *cells]).slice(1), "Cc")
    texts: list[Any] = made.to_pylist()
    numbers: list[Any] = counts.to_pylist()
    return [json.loads(f"{{{text[1:]}}}") for text in texts], numbers, reasons


def test_a_cell_holds_any_number_of_addresses() -> None:
    made, counts, reasons = copies(
        "a@example.com", "", "b@example.com, c@bücher.test;D@Example.com", " ", ";,", " e@x.test ;"
    )
    assert made == [
        {"CcAddresses": ["a@example.com"]},
        {},
        {"CcAddresses": ["b@example.com", "c@xn--bcher-kva.test", "D@example.com"]},
        {},
        {},
        {"CcAddresses": ["e@x.test"]},
    ]
    assert counts == [1, 0, 3, 0, 0, 1]
    assert reasons == {}


def test_the_first_bad_address_of_a_cell_is_named() -> None:
    _, _, reasons = copies("a@example.com", "b@example.com;nobody,@", "", "x@y.invalid")
    assert list(reasons) == [1, 3]
    assert reasons[1] == "in Cc: An email address must have an @-sign."


def test_empty_columns() -> None:
    assert copies() == ([], [], {})
    assert copies("", "") == ([{}, {}], [0, 0], {})


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40) | st.sampled_from(
    ['Ann "The Boss" Lee', "back\\slash", "Lee, Ann", "a <b@c.test>", "Zoë", "山田太郎" * 5, "=?utf-8?q?x?=", "é" * 60]
)


@given(st.lists(NAMES, max_size=5))
def test_a_name_is_read_back_by_a_mail_program(names: list[str]) -> None:
    addresses = [f"u{place}@example.com" for place in range(len(names))]
    made, reasons = name_addresses(pa.array(["cut off", *names]).slice(1), pa.array(addresses, pa.string()))
    mailboxes: list[Any] = made.to_pylist()
    for place, (name, address, mailbox) in enumerate(zip(names, addresses, mailboxes, strict=True)):
        assert (place in reasons) == (len(mailbox) > MAX_MAILBOX_CHARS)
        assert mailbox.isascii()
        assert mailbox.isprintable()
        if not name.strip(" \t"):
            assert mailbox == address
            continue
        assert mailbox.endswith(f" <{address}>")
        if name.isascii():
            header = email.policy.default.header_factory("To", mailbox)
            assert isinstance(header, email.headerregistry.AddressHeader)
            assert (header.addresses[0].addr_spec, len(header.addresses)) == (address, 1)
            if "=?" not in name:
                assert " ".join(header.addresses[0].display_name.split()) == " ".join(name.split())
        else:
            words = mailbox.removesuffix(f" <{address}>").split(" ")
            assert all(len(word) <= 75 for word in words)
            assert str(email.header.make_header(email.header.decode_header(" ".join(words)))) == name.strip(" \t")


@pytest.mark.parametrize("name", ["a\nBcc: x@y.test", "a\rb", "\0", "a\x7f", "a\x85b", "tab\there"])
def test_a_name_with_control_characters_is_refused(name: str) -> None:
    _, reasons = name_addresses(pa.array(["ok", name]), pa.array(["a@x.test", "b@x.test"]))
    assert list(reasons) == [1]
    assert "control character" in reasons[1]


def test_a_refused_address_stays_null() -> None:
    made, reasons = name_addresses(pa.array(["Ann", "Zoë", ""]), pa.array([None, None, None], pa.string()))
    assert made.to_pylist() == [None, None, None]
    assert reasons == {}


def test_a_name_that_makes_the_address_too_long() -> None:
    made, reasons = name_addresses(pa.array(["n" * 300, "n" * 320]), pa.array(["a@example.com"] * 2))
    assert len(made[0].as_py()) <= MAX_MAILBOX_CHARS
    assert reasons == {1: "the address has 338 characters with its name; SES takes 320"}


def test_header_values() -> None:
    header = HeaderValues("List-Unsubscribe", PlaceholderText.parse("<https://example.com/{kind}/{token}>"))
    cells = ["ok", "a\r\nBcc: x@y.test", "é", "\x7f", "", "t" * 846, "t" * 847]
    made, reasons = header.values({"token": pa.array(cells), "kind": pa.array(["u"] * len(cells))})
    assert made.to_pylist()[0] == "<https://example.com/u/ok>"
    unprintable = 'the header "List-Unsubscribe" would have a character in it that is not printable ASCII'
    long = 'the header "List-Unsubscribe" would have 871 characters; SES takes 870'
    empty = "the header \"List-Unsubscribe\" would have nothing from column 'token' within <>"
    assert reasons == {1: unprintable, 2: unprintable, 3: unprintable, 4: empty, 6: long}


def test_what_stands_within_brackets() -> None:
    header = HeaderValues("X-A", PlaceholderText.parse("{a} <x:{b}>, <y:{c}/z> {d}"))
    cells = {"a": ["", " "], "b": ["1", "1 2"], "c": ["1", "1>"], "d": ["", "<"]}
    _, reasons = header.values({name: pa.array(column) for name, column in cells.items()})
    assert reasons == {1: "the header \"X-A\" would have a space or a bracket in column 'b' within <>"}


def test_an_empty_header_is_refused() -> None:
    header = HeaderValues("X-A", PlaceholderText.parse("{a}{b}"))
    _, reasons = header.values({"a": pa.array(["", "1"]), "b": pa.array(["", ""])})
    assert reasons == {0: 'the header "X-A" would be empty'}


def test_a_header_without_columns_is_fixed() -> None:
    assert HeaderValues("X-A", PlaceholderText.parse("One-Click")).fixed == "One-Click"
