"""Which addresses are accepted, and in which form: the vectorised check against email-validator, one by one."""

from __future__ import annotations

import email_validator
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulksend.recipients.addresses import check, comparison_keys


def judge(text: str) -> str | None:
    """email-validator's verdict, with the local part as it was written."""
    try:
        valid = email_validator.validate_email(
            text.strip(), allow_smtputf8=False, check_deliverability=False, strict=True, test_environment=True
        )
    except email_validator.EmailNotValidError:
        return None
    return f"{valid.original.rpartition('@')[0]}@{valid.ascii_domain}"


def check_one(text: str) -> tuple[str | None, str]:
    addresses, reasons = check(pa.array([text]))
    return addresses[0].as_py(), reasons.get(0, "")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("ann@example.com", "ann@example.com"),
        ("success@simulator.amazonses.com", "success@simulator.amazonses.com"),
        ("ann@anything.test", "ann@anything.test"),
        ("  ann@example.com\t", "ann@example.com"),
        ("\u00a0ann@example.com\u2003", "ann@example.com"),
        ("Ann.O'Neil+x@EXAMPLE.Com", "Ann.O'Neil+x@example.com"),
        ("INFO@Example.com", "INFO@example.com"),
        (" Sales@Bücher.example ", "Sales@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.EXAMPLE", "ann@xn--bcher-kva.example"),
        ("a@" + "b" * 63 + ".example", "a@" + "b" * 63 + ".example"),
        ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
    ],
)
def test_accepted(text: str, sent: str) -> None:
    assert check_one(text) == (sent, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no address"),
        (" \t", "no address"),
        ("\u00a0", "no address"),
        ("ann", "must have an @-sign"),
        ("ann@example", "should have a period"),
        (".ann@example.com", "period"),
        ("ann.@example.com", "period"),
        ("a..nn@example.com", "two periods in a row"),
        ("ann@example..com", "two periods in a row"),
        ("ann@-example.com", "hyphen"),
        ("ann@ab--c.example", "two dashes"),
        ("ann@example.c0", "top-level domain"),
        ("ann@mail.invalid", "special-use"),
        ("ann@MAIL.LOCALHOST", "special-use"),
        ("zoë@example.com", "Internationalized characters"),
        ('"ann b"@example.com', "Quoting"),
        ("Ann <ann@example.com>", "display name"),
        ("ann@[127.0.0.1]", "bracketed IP"),
        ("ann@example.com,bob@example.com", "invalid characters"),
        ("ann@exam\nple.com", "invalid characters"),
        ("x" * 65 + "@example.com", "too long before the @-sign"),
        ("a@" + "b" * 64 + ".example", "so many characters"),
        ("a@" + "b.c" * 84 + ".example", "characters; 254 are possible"),
        ("ann@" + "ü" * 100_000, "characters; 254 are possible"),
    ],
)
def test_refused_with_the_reason(text: str, reason: str) -> None:
    address, why = check_one(text)
    assert address is None
    assert reason in why


LOCAL = st.text("aZ09.!'+-_@\" é\n", max_size=5) | st.sampled_from(["ann", "Info", "x" * 64, "x" * 65])
LABEL = st.text("aZ0-é\u0130", max_size=4) | st.sampled_from(
    ["example", "xn--bcher-kva", "ab--c", "b" * 63, "b" * 64, "测试"]
)
TOP = st.sampled_from(
    ["com", "COM", "test", "invalid", "Local", "onion", "arpa", "localhost", "c", "c0", "example", ""]
)
ADDRESSES = st.builds(
    "{}{}@{}.{}{}".format, st.sampled_from(["", " ", "\t"]), LOCAL, LABEL, TOP, st.sampled_from(["", " \n"])
)


@given(st.lists(ADDRESSES | st.text(max_size=12), max_size=12))
@example(["a@b.com", "é@x", "", "c@D.com"])
def test_the_column_is_judged_as_email_validator_judges_each(texts: list[str]) -> None:
    # Sliced, as the first block of a list is: a column need not begin where its buffer does.
    addresses, reasons = check(pa.array(["first", *texts, "last"]).slice(1, len(texts)))
    assert addresses.to_pylist() == [judge(text) for text in texts]
    assert set(reasons) == {place for place, text in enumerate(texts) if judge(text) is None}
    assert all(reasons.values())


@given(st.lists(ADDRESSES, max_size=8))
def test_a_canonical_address_is_its_own_canonical_form(texts: list[str]) -> None:
    once = [address for address in check(pa.array(texts, pa.string()))[0].to_pylist() if address is not None]
    assert check(pa.array(once, pa.string()))[0].to_pylist() == once


def test_keys_are_lower_case() -> None:
    assert comparison_keys(pa.array(["Ann@example.com", "bob@example.com"])).to_pylist() == [
        "ann@example.com",
        "bob@example.com",
    ]
