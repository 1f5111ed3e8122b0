"""What SES accepts of its sending calls. Pure.

Limits are those of the API reference (SendBulkEmail, BulkEmailEntry, SendEmail) and of the developer guide (Service
quotas). What is wrong with a whole call is a 400 that names the member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from bulksend.model import MAX_BATCH_RECIPIENTS
from bulksend.simulator.answers import bad_request
from bulksend.simulator.members import (
    MAX_DATA_CHARS,
    address_problem,
    is_address,
    is_tag,
    members,
    read_attachments,
    read_base64,
    read_headers,
    read_tags,
    read_template,
    strings,
    template_data,
)

__all__ = ["MAX_BODY_BYTES", "Entry", "bulk_call", "bulk_entries", "email_call"]

MAX_BODY_BYTES = 40 * 1024 * 1024
MAX_ENTRIES = 50

_CALL = frozenset(
    {
        "BulkEmailEntries",
        "ConfigurationSetName",
        "DefaultContent",
        "DefaultEmailTags",
        "EndpointId",
        "FeedbackForwardingEmailAddress",
        "FeedbackForwardingEmailAddressIdentityArn",
        "FromEmailAddress",
        "FromEmailAddressIdentityArn",
        "ReplyToAddresses",
        "TenantName",
    }
)
_EMAIL_CALL = (_CALL - {"BulkEmailEntries", "DefaultContent", "DefaultEmailTags"}) | {
    "Content",
    "Destination",
    "EmailTags",
    "ListManagementOptions",
}
_CALL_TEXTS = sorted(_CALL - {"BulkEmailEntries", "DefaultContent", "DefaultEmailTags", "ReplyToAddresses"})
_ENTRY = frozenset({"Destination", "ReplacementEmailContent", "ReplacementHeaders", "ReplacementTags"})
_DESTINATION = frozenset({"ToAddresses", "CcAddresses", "BccAddresses"})
_SIMPLE = frozenset({"Attachments", "Body", "Headers", "Subject"})
_OWN_TAGS = frozenset({"bulksend-campaign", "bulksend-row"})


class Entry(NamedTuple):
    """What is kept of a checked BulkEmailEntry.

    `to` is the first of `addresses`, all of which count as recipients; `problem` is why the entry, and it alone, is
    refused; `row` is -1 without a tag.
    """

    to: str
    addresses: list[str]
    recipients: int
    campaign: str
    row: int
    problem: str


def _senders(call: Mapping[str, Any]) -> None:
    for name in _CALL_TEXTS:
        value = call.get(name)
        if value is not None and not isinstance(value, str):
            raise bad_request(f"{name}: a string is expected.")
        if value == "" and name in ("TenantName", "FromEmailAddressIdentityArn"):
            raise bad_request(f"{name}: must not be empty.")
    if not call.get("FromEmailAddress"):
        raise bad_request("FromEmailAddress: missing.")
    for name in ("FromEmailAddress", "FeedbackForwardingEmailAddress"):
        if call.get(name) and (problem := address_problem(call[name])):
            raise bad_request(f"{name}: {problem}.")
    for i, address in enumerate(strings(call.get("ReplyToAddresses") or [], "ReplyToAddresses")):
        if problem := address_problem(address):
            raise bad_request(f"ReplyToAddresses[{i}]: {problem}.")


def bulk_call(call: dict[str, Any]) -> dict[str, Any]:
    """Everything of a SendBulkEmail call but its entries; returns its Template."""
    members(call, _CALL, "SendBulkEmail")
    _senders(call)
    content = members(call.get("DefaultContent"), frozenset({"Template"}), "DefaultContent")
    template = read_template(content.get("Template"), "DefaultContent.Template")
    if (tags := call.get("DefaultEmailTags")) is not None:
        read_tags(tags, "DefaultEmailTags")
    return template


def email_call(call: dict[str, Any]) -> tuple[Entry, dict[str, Any] | None]:
    """A SendEmail call: its one entry, and its Template where it has one."""
    members(call, _EMAIL_CALL, "SendEmail")
    _senders(call)
    content = members(call.get("Content"), frozenset({"Raw", "Simple", "Template"}), "Content")
    if len([part for part in content.values() if part is not None]) != 1:
        raise bad_request("Content: exactly one of Simple, Raw and Template is expected.")
    template: dict[str, Any] | None = None
    if content.get("Template") is not None:
        template = read_template(content["Template"], "Content.Template")
    elif content.get("Simple") is not None:
        _simple(members(content["Simple"], _SIMPLE, "Content.Simple"))
    else:
        read_base64(members(content["Raw"], frozenset({"Data"}), "Content.Raw").get("Data"), "Content.Raw.Data")
    campaign, row = read_tags(call.get("EmailTags") or [], "EmailTags")
    addresses, problem = _destination(call.get("Destination"), "")
    recipients = len(addresses)
    if recipients > MAX_BATCH_RECIPIENTS:
        raise bad_request(f"Destination: {recipients} recipients, at most {MAX_BATCH_RECIPIENTS} are allowed.")
    return Entry(addresses[0] if addresses else "", addresses, recipients, campaign, row, problem), template


def bulk_entries(call: dict[str, Any], *, strict_addresses: bool) -> list[Entry]:
    """The entries of a SendBulkEmail call.

    `strict_addresses` makes a malformed address the whole call's fault instead of its entry's.
    """
    entries = call.get("BulkEmailEntries")
    if not isinstance(entries, list):
        raise bad_request("BulkEmailEntries: a list is expected.")
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise bad_request(f"BulkEmailEntries: {len(entries)} entries, between 1 and {MAX_ENTRIES} are allowed.")
    checked = [_usual_entry(entry) or _entry(entry, i) for i, entry in enumerate(entries)]
    recipients = sum([entry.recipients for entry in checked])
    if recipients > MAX_BATCH_RECIPIENTS:
        raise bad_request(f"BulkEmailEntries: {recipients} recipients, at most {MAX_BATCH_RECIPIENTS} are allowed.")
    if strict_addresses:
        for i, entry in enumerate(checked):
            if entry.problem:
                raise bad_request(f"BulkEmailEntries[{i}].Destination: {entry.problem}.")
    return checked


def _usual_entry(entry: Any) -> Entry | None:
    """The way of nearly all entries: one good To address, data and tags; None for any other, good or bad.

    It is here for its speed alone: `_entry` says the same of what passes.
    """
    try:
        destination = entry["Destination"]
        (to,) = addresses = destination["ToAddresses"]
        content = entry["ReplacementEmailContent"]
        template = content["ReplacementTemplate"]
        data = template["ReplacementTemplateData"]
        if len(entry) != 3 or len(destination) + len(content) + len(template) != 3 or not is_address(to):  # noqa: PLR2004
            return None
        if len(data) > MAX_DATA_CHARS or orjson.loads(data).__class__ is not dict or data.__class__ is not str:
            return None
        campaign, row = "", -1
        for tag in entry["ReplacementTags"]:
            name, value = tag["Name"], tag["Value"]
            if len(tag) != 2 or not is_tag(value) or (name not in _OWN_TAGS and not is_tag(name)):  # noqa: PLR2004
                return None
            if name == "bulksend-campaign":
                campaign = value
            elif name == "bulksend-row" and value.isdigit():
                row = int(value[:18])
    except (KeyError, TypeError, ValueError):
        return None
    return Entry(to, addresses, 1, campaign, row, "")


def _entry(entry: Any, i: int) -> Entry:
    where = f"BulkEmailEntries[{i}]"
    members(entry, _ENTRY, where)
    campaign, row = "", -1
    if (tags := entry.get("ReplacementTags")) is not None:
        campaign, row = read_tags(tags, f"{where}.ReplacementTags")
    if (content := entry.get("ReplacementEmailContent")) is not None:
        _replacement(content, f"{where}.ReplacementEmailContent")
    if (headers := entry.get("ReplacementHeaders")) is not None:
        read_headers(headers, f"{where}.ReplacementHeaders")
    addresses, problem = _destination(entry.get("Destination"), f"{where}.")
    return Entry(addresses[0] if addresses else "", addresses, len(addresses), campaign, row, problem)


def _destination(value: Any, where: str) -> tuple[list[str], str]:
    """The addresses, To first, and what is wrong with them."""
    destination = members(value, _DESTINATION, f"{where}Destination")
    addresses: list[str] = []
    for name in ("ToAddresses", "CcAddresses", "BccAddresses"):
        addresses += strings(destination.get(name) or [], f"{where}Destination.{name}")
    problem = "" if addresses else "Missing final '@domain'"
    for address in addresses:
        problem = problem or address_problem(address)
    return addresses, problem


def _replacement(value: Any, where: str) -> None:
    content = members(value, frozenset({"ReplacementTemplate"}), where)
    if content.get("ReplacementTemplate") is None:
        return
    where += ".ReplacementTemplate"
    template = members(content["ReplacementTemplate"], frozenset({"ReplacementTemplateData"}), where)
    if template.get("ReplacementTemplateData") is not None:
        template_data(template["ReplacementTemplateData"], f"{where}.ReplacementTemplateData")


def _simple(message: dict[str, Any]) -> None:
    where = "Content.Simple"
    body = members(message.get("Body"), frozenset({"Html", "Text"}), f"{where}.Body")
    for name, part in (("Subject", message.get("Subject")), *body.items()):
        text = members(part, frozenset({"Charset", "Data"}), f"{where}.{name}").get("Data")
        if not isinstance(text, str):
            raise bad_request(f"{where}.{name}.Data: a string is expected.")
    if message.get("Headers") is not None:
        read_headers(message["Headers"], f"{where}.Headers")
    if message.get("Attachments") is not None:
        read_attachments(message["Attachments"], f"{where}.Attachments")
