from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from bulksend.simulator.answers import SesError
from bulksend.simulator.members import address_problem, json_object
from bulksend.simulator.validate import _entry, _usual_entry, bulk_call, bulk_entries, email_call
from tests.simulated_ses import CAMPAIGN, bulk, entry

Json = dict[str, Any]


def check(call: Json) -> None:
    bulk_call(call)
    bulk_entries(call, strict_addresses=False)


def template(**more: Any) -> Json:
    return bulk("a@example.com", DefaultContent={"Template": {"TemplateName": "t", **more}})


def of_entry(**more: Any) -> Json:
    return bulk(BulkEmailEntries=[entry("a@example.com", 1, **more)])


def headers(*pairs: tuple[str, str]) -> list[Json]:
    return [{"Name": name, "Value": value} for name, value in pairs]


def attachment(**more: Any) -> Json:
    return template(
        Attachments=[{"FileName": "a.txt", "RawContent": base64.b64encode(b"text").decode("ascii"), **more}]
    )


GOOD: list[Json] = [
    bulk("a@example.com"),
    bulk(*[f"u{n}@example.com" for n in range(50)]),
    template(TemplateData="{}", Headers=headers(("X-Campaign", "v" * 870))),
    bulk("a@example.com", DefaultContent={"Template": {"TemplateArn": "arn:aws:ses:x:1:template/t"}}),
    bulk("a@example.com", DefaultContent={"Template": {"TemplateContent": {"Subject": "s", "Html": "h"}}}),
    of_entry(ReplacementHeaders=headers(("List-Unsubscribe", "<https://example.com/u>"))),
    of_entry(ReplacementTags=headers(("t" * 256, "_-9"))),
    of_entry(ReplacementEmailContent=None, ReplacementTags=None, ReplacementHeaders=[]),
    attachment(ContentDisposition="INLINE", ContentId="i", ContentType="text/plain", ContentDescription=""),
    template(TemplateData=json.dumps({"k": "v" * (262_144 - 9)}, separators=(",", ":"))),
]

BAD_ENTRIES: list[tuple[Json, str]] = [
    (of_entry(ReplacementTags=headers(("a", "v@x"))), r"BulkEmailEntries\[0\].ReplacementTags"),
    (of_entry(ReplacementTags=headers(("a", ""))), "ReplacementTags"),
    (of_entry(ReplacementTags=headers(("t" * 257, "v"))), "ReplacementTags"),
    (of_entry(ReplacementTags=[{"Name": "a"}]), "ReplacementTags"),
    (of_entry(Surprise=1), "Surprise"),
    (of_entry(Destination={"ToAddresses": "a@example.com"}), "ToAddresses: a list"),
    (of_entry(Destination={"To": []}), "To"),
    (of_entry(Destination={"ToAddresses": ["a@example.com"] * 30, "BccAddresses": ["b@example.com"] * 21}), "51 recip"),
    (of_entry(ReplacementHeaders=headers(("Date", "now"))), "ReplacementHeaders: the header Date"),
    (of_entry(ReplacementEmailContent={"ReplacementTemplate": {"ReplacementTemplateData": "1"}}), "TemplateData"),
    (of_entry(ReplacementEmailContent={"Surprise": 1}), "Surprise"),
]
BAD: list[tuple[Json, str]] = [
    *BAD_ENTRIES,
    (bulk(), "BulkEmailEntries: 0 entries"),
    (bulk(*["a@example.com"] * 51), "BulkEmailEntries: 51 entries"),
    (bulk(BulkEmailEntries=None), "BulkEmailEntries"),
    (bulk("a@example.com", Surprise=1), "Surprise"),
    (bulk("a@example.com", FromEmailAddress=""), "FromEmailAddress"),
    (bulk("a@example.com", FromEmailAddress="news"), "FromEmailAddress"),
    (bulk("a@example.com", ReplyToAddresses=["nobody"]), r"ReplyToAddresses\[0\]"),
    (bulk("a@example.com", ConfigurationSetName=7), "ConfigurationSetName"),
    (bulk("a@example.com", TenantName=""), "TenantName"),
    (bulk("a@example.com", DefaultContent=None), "DefaultContent"),
    (bulk("a@example.com", DefaultContent={"Template": {}}), "DefaultContent.Template: exactly one"),
    (template(TemplateContent={"Subject": "s"}), "DefaultContent.Template: exactly one"),
    (template(Surprise=1), "Surprise"),
    (template(TemplateName=""), "TemplateName"),
    (template(TemplateData="{"), "TemplateData"),
    (template(TemplateData="[]"), "TemplateData"),
    (template(TemplateData='{"k":"' + "v" * 262_144 + '"}'), "TemplateData"),
    (template(Headers=headers(*[("X-A", "v")] * 16)), "Headers: a list of at most 15"),
    (template(Headers=headers(("X A", "v"))), "Headers"),
    (template(Headers=headers(("X-A:", "v"))), "Headers"),
    (template(Headers=headers(("X" * 127, "v"))), "Headers"),
    (template(Headers=headers(("X-A", "v" * 871))), "Headers"),
    (template(Headers=headers(("X-A", "a\r\nBcc: b@example.com"))), "Headers"),
    (template(Headers=headers(("X-A", "ä"))), "Headers"),
    (template(Headers=headers(("reply-TO", "b@example.com"))), "reply-TO may not be set"),
    (template(Headers=[{"Name": "X-A"}]), "Name and a Value"),
    (attachment(RawContent="not base64!"), "RawContent"),
    (attachment(RawContent=None), "RawContent: missing"),
    (attachment(FileName=None), "FileName: missing"),
    (attachment(FileName="f" * 256), "FileName"),
    (attachment(ContentId=""), "ContentId"),
    (attachment(ContentType="t" * 79), "ContentType"),
    (attachment(ContentDescription="d" * 1001), "ContentDescription"),
    (attachment(ContentDisposition="FLOATING"), "ContentDisposition"),
    (attachment(ContentTransferEncoding="ROT13"), "ContentTransferEncoding"),
    (attachment(Surprise=1), "Surprise"),
    (bulk("a@example.com", DefaultEmailTags=headers(("a b", "v"))), "DefaultEmailTags"),
]


@pytest.mark.parametrize("call", GOOD)
def test_what_ses_documents_is_accepted(call: Json) -> None:
    check(call)


@pytest.mark.parametrize(("call", "named"), BAD, ids=[named for _, named in BAD])
def test_what_ses_refuses_is_a_400_that_names_the_member(call: Json, named: str) -> None:
    with pytest.raises(SesError, match=named) as caught:
        check(call)
    assert (caught.value.http_status, caught.value.code) == (400, "BadRequestException")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(SesError):
        json_object(body)


@pytest.mark.parametrize(
    "address",
    [
        "a@example.com",
        "first.last+tag@sub.example.co.uk",
        "o'neil@example.com",
        "Example News <news@example.com>",
        '"News, Example" <news@example.com>',
        '"a b"@example.com',
        "a@xn--bcher-kva.example",
        "l" * 64 + "@example.com",
    ],
)
def test_good_addresses(address: str) -> None:
    assert address_problem(address) == ""


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "@example.com",
        "a@",
        "a@b@example.com",
        "a@example",
        "a b@example.com",
        ".a@example.com",
        "a..b@example.com",
        "a@-example.com",
        "a@example..com",
        "a@bücher.example",
        "ä@example.com",
        "News <a@example.com",
        "a@example.com\n",
        "a@example.com, b@example.com",
        "l" * 65 + "@example.com",
        "a@" + "d." * 127 + "com",
        None,
    ],
)
def test_bad_addresses(address: str) -> None:
    assert address_problem(address) != ""


def test_a_bad_address_is_its_entrys_fault_or_the_calls() -> None:
    call = bulk("a@example.com", "nobody")
    assert [bool(e.problem) for e in bulk_entries(call, strict_addresses=False)] == [False, True]
    with pytest.raises(SesError, match=r"BulkEmailEntries\[1\]"):
        bulk_entries(call, strict_addresses=True)


def test_an_entry_without_an_address_is_refused_alone() -> None:
    call = of_entry(Destination={"ToAddresses": [], "CcAddresses": None})
    assert bulk_entries(call, strict_addresses=False)[0].problem


def test_cc_and_bcc_are_recipients() -> None:
    more = {"ToAddresses": ["a@example.com"], "CcAddresses": ["c@example.com"], "BccAddresses": ["b@example.com"]}
    (checked,) = bulk_entries(of_entry(Destination=more), strict_addresses=False)
    assert (checked.to, checked.recipients, checked.campaign, checked.row) == ("a@example.com", 3, CAMPAIGN, 1)


def _changed(change: Callable[[Json], object]) -> Json:
    made = entry("a@example.com", 7)
    change(made)
    return made


@pytest.mark.parametrize("value", [e for call in GOOD for e in call["BulkEmailEntries"][:2]])
def test_the_short_way_of_usual_entries_says_what_the_long_one_says(value: Json) -> None:
    short = _usual_entry(value)
    assert short is None or short == _entry(value, 0)


def test_the_usual_entry_takes_the_short_way() -> None:
    assert _usual_entry(entry("a@example.com", 7)) == ("a@example.com", ["a@example.com"], 1, CAMPAIGN, 7, "")


@pytest.mark.parametrize(
    "value",
    [
        *[call["BulkEmailEntries"][0] for call, _ in BAD_ENTRIES],
        _changed(lambda e: e["Destination"].update(CcAddresses=["b@example.com"])),
        _changed(lambda e: e["Destination"]["ToAddresses"].append("b@example.com")),
        _changed(lambda e: e["Destination"].update(ToAddresses=["nobody"])),
        _changed(lambda e: e["ReplacementEmailContent"]["ReplacementTemplate"].update(ReplacementTemplateData=[1])),
        _changed(lambda e: e["ReplacementTags"].append({"Name": "a", "Value": "b", "More": "c"})),
        _changed(lambda e: e["ReplacementTags"].append(["Name", "Value"])),
        7,
        None,
    ],
)
def test_the_short_way_lets_nothing_unusual_pass(value: Any) -> None:
    assert _usual_entry(value) is None


def test_send_email_takes_one_kind_of_content() -> None:
    simple = {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}
    call: Json = {"FromEmailAddress": "n@example.com", "Destination": {"ToAddresses": ["a@example.com"]}}
    checked, used = email_call({**call, "Content": {"Simple": simple}})
    assert (checked.to, used) == ("a@example.com", None)
    wrong: list[Json] = [{}, {"Simple": simple, "Raw": {"Data": ""}}, {"Simple": {"Body": {}}}, {"Raw": {"Data": "?"}}]
    for content in wrong:
        with pytest.raises(SesError, match="Content"):
            email_call({**call, "Content": content})
