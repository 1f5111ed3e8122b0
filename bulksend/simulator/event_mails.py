"""What SES's events say of the mail that they are about: their `mail` object, made from the call that sent it. Pure.

Source: Developer Guide, Contents of event data that Amazon SES publishes to Amazon SNS, Mail object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

__all__ = ["ACCOUNT_ID", "PROCESSING_S", "Mail", "iso", "mails"]

ACCOUNT_ID = "123456789012"
PROCESSING_S = 0.002
"""From acceptance to whatever happened. Short, so that no event is of the future."""
_MAX_HEADERS_BYTES = 10 * 1024
"""Longer headers are cut off (Mail object, headersTruncated)."""


class Mail(NamedTuple):
    """One accepted mail. `written` is its mail object; `addresses` are To, Cc and Bcc, bare.

    `at` is when it was accepted, in epoch seconds, `processed` when whatever befalls it did, as SES writes it.
    """

    message_id: str
    campaign: str
    addresses: list[str]
    at: float
    processed: str
    template: str
    region: str
    configuration_sets: list[str]
    written: dict[str, Any]


def iso(at: float) -> str:
    """Epoch seconds as SES writes them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mails(
    call: dict[str, Any], message_ids: Sequence[str], places: Sequence[int], at: float, region: str
) -> Iterator[Mail]:
    """The mails of a checked SendBulkEmail or SendEmail call that were accepted, with their message ids."""
    in_bulk = "BulkEmailEntries" in call
    entries = call["BulkEmailEntries"] if in_bulk else [call]
    content = (call["DefaultContent"] if in_bulk else call["Content"]).get("Template") or {}
    subject = (content.get("TemplateContent") or {}).get("Subject") or ""
    template = content.get("TemplateName") or str(content.get("TemplateArn") or "").rpartition("/")[2]
    source = call["FromEmailAddress"]
    sender = _bare(source)
    stamp, processed = iso(at), iso(at + PROCESSING_S)
    set_name = call.get("ConfigurationSetName")
    sets = [set_name] if set_name else []
    tags = {"ses:operation": ["SendBulkEmail" if in_bulk else "SendEmail"]}
    if sets:
        tags["ses:configuration-set"] = sets
    tags["ses:source-ip"] = ["127.0.0.1"]
    tags["ses:from-domain"] = [sender.rpartition("@")[2]]
    tags["ses:caller-identity"] = ["simulator"]
    tags |= _tags(call.get("DefaultEmailTags"))
    common = content.get("Headers") or []
    identity = call.get("FromEmailAddressIdentityArn") or f"arn:aws:ses:{region}:{ACCOUNT_ID}:identity/{sender}"
    for message_id, place in zip(message_ids, places, strict=True):
        entry = entries[place]
        own = _tags(entry.get("ReplacementTags" if in_bulk else "EmailTags"))
        destination = entry["Destination"]
        to, cc = destination.get("ToAddresses") or [], destination.get("CcAddresses") or []
        addresses = [_bare(address) for address in (*to, *cc, *(destination.get("BccAddresses") or []))]
        headers = [
            {"name": "From", "value": source},
            {"name": "To", "value": ", ".join(to)},
            {"name": "MIME-Version", "value": "1.0"},
            {"name": "Content-Type", "value": 'multipart/alternative; boundary="part"'},
        ]
        if subject:
            headers.append({"name": "Subject", "value": subject})
        headers += [
            {"name": h["Name"], "value": h["Value"]} for h in (*common, *(entry.get("ReplacementHeaders") or []))
        ]
        headers, is_cut = _cut(headers)
        common_headers: dict[str, Any] = {"from": [source], "to": to, "messageId": message_id}
        if cc:
            common_headers["cc"] = cc
        if subject:
            common_headers["subject"] = subject
        written = {
            "timestamp": stamp,
            "source": source,
            "sourceArn": identity,
            "sendingAccountId": ACCOUNT_ID,
            "messageId": message_id,
            "destination": addresses,
            "headersTruncated": is_cut,
            "headers": headers,
            "commonHeaders": common_headers,
            "tags": {**tags, **own},
        }
        campaign = (own.get("bulksend-campaign") or [""])[0]
        yield Mail(message_id, campaign, addresses, at, processed, template, region, sets, written)


def _bare(address: str) -> str:
    return address.rpartition("<")[2].rstrip(">")


def _tags(tags: list[dict[str, str]] | None) -> dict[str, list[str]]:
    return {tag["Name"]: [tag["Value"]] for tag in tags or []}


def _cut(headers: list[dict[str, str]]) -> tuple[list[dict[str, str]], bool]:
    """As many of the headers as fit, and whether some did not."""
    size_bytes = 0
    for n, header in enumerate(headers):
        size_bytes += len(header["name"]) + len(header["value"])
        if size_bytes > _MAX_HEADERS_BYTES:
            return headers[:n], True
    return headers, False
