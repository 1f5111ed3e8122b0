"""What SES accepts of the members that its operations share: addresses, tags, headers, templates, attachments. Pure.

Limits are those of the API reference (Template, MessageHeader, MessageTag, Attachment) and of the developer guide
(Service quotas). What is wrong is a 400 that names the member, by the `where` that the caller gives.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

import orjson

from bulksend.simulator.answers import bad_request

__all__ = [
    "MAX_DATA_CHARS",
    "address_problem",
    "is_address",
    "is_tag",
    "json_object",
    "members",
    "read_attachments",
    "read_base64",
    "read_headers",
    "read_tags",
    "read_template",
    "strings",
    "template_content",
    "template_data",
]

MAX_HEADERS = 15
MAX_DATA_CHARS = 262_144
MAX_INLINE_BYTES = 1024 * 1024
MAX_STORED_BYTES = 500 * 1024

_TEMPLATE = frozenset({"Attachments", "Headers", "TemplateArn", "TemplateContent", "TemplateData", "TemplateName"})
_TEMPLATE_CONTENT = frozenset({"Html", "Subject", "Text"})
_ATTACHMENT = frozenset(
    {
        "ContentDescription",
        "ContentDisposition",
        "ContentId",
        "ContentTransferEncoding",
        "ContentType",
        "FileName",
        "RawContent",
    }
)
_ATTACHMENT_CHARS = {
    "FileName": (1, 255),
    "ContentId": (1, 78),
    "ContentType": (1, 78),
    "ContentDescription": (0, 1000),
}
_ATTACHMENT_WORDS = {
    "ContentDisposition": ("ATTACHMENT", "INLINE"),
    "ContentTransferEncoding": ("BASE64", "QUOTED_PRINTABLE", "SEVEN_BIT"),
}

is_tag = re.compile(r"[A-Za-z0-9_-]{1,256}").fullmatch
_HEADER_NAME = re.compile(r"[!-9;-@A-~]{1,126}").fullmatch
_HEADER_VALUE = re.compile(r"[ -~]{1,870}").fullmatch
_FORBIDDEN_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "content-disposition",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "return-path",
        "subject",
        "to",
    }
)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
is_address = re.compile(
    rf'(?=[^@]{{1,64}}@|")(?:{_ATOM}(?:\.{_ATOM})*|"[ !#-\[\]-~]{{1,62}}")@(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})+'
).fullmatch
_NAMED = re.compile(r"[ -;=?-~]*<([^<>]+)>").fullmatch


def json_object(body: bytes) -> dict[str, Any]:
    """The request's body.

    Raises:
        SesError: when it is not a JSON object.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The request body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("The request body is not a JSON object.")
    return value


def members(value: Any, allowed: frozenset[str], where: str) -> dict[str, Any]:
    """An object with nothing but known members."""
    if not isinstance(value, dict):
        raise bad_request(f"{where}: an object is expected.")
    if not value.keys() <= allowed:
        raise bad_request(f"{where}: unknown member {min(value.keys() - allowed)}.")
    return value


def address_problem(address: Any) -> str:
    """Why an address cannot be used, or "" when it can. A display name in front is fine."""
    if isinstance(address, str):
        if is_address(address):
            return ""
        named = _NAMED(address)
        if named and is_address(named[1]):
            return ""
        if not address.isascii():
            return "Local address contains control or whitespace or non-ASCII characters"
    return "Illegal address"


def strings(value: Any, where: str) -> list[str]:
    """A list of strings."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise bad_request(f"{where}: a list of strings is expected.")
    return value


def read_tags(tags: Any, where: str) -> tuple[str, int]:
    """Check tags; the campaign and the row that bulksend's own two tell."""
    campaign, row = "", -1
    if not isinstance(tags, list):
        raise bad_request(f"{where}: a list is expected.")
    for tag in tags:
        if not isinstance(tag, dict) or len(tag) != 2 or "Name" not in tag or "Value" not in tag:  # noqa: PLR2004
            raise bad_request(f"{where}: each tag has a Name and a Value.")
        name, value = tag["Name"], tag["Value"]
        if not isinstance(name, str) or not is_tag(name):
            raise bad_request(f"{where}: the Name {name!r} is not 1 to 256 of A-Z a-z 0-9 _ -.")
        if not isinstance(value, str) or not is_tag(value):
            raise bad_request(f"{where}: the Value of {name} is not 1 to 256 of A-Z a-z 0-9 _ -.")
        if name == "bulksend-campaign":
            campaign = value
        elif name == "bulksend-row" and value.isdigit():
            row = int(value[:18])
    return campaign, row


def read_headers(headers: Any, where: str) -> None:
    """Check headers: how many, their names and their values."""
    if not isinstance(headers, list) or len(headers) > MAX_HEADERS:
        raise bad_request(f"{where}: a list of at most {MAX_HEADERS} is expected.")
    for header in headers:
        if not isinstance(header, dict) or len(header) != 2 or "Name" not in header or "Value" not in header:  # noqa: PLR2004
            raise bad_request(f"{where}: each header has a Name and a Value.")
        name, value = header["Name"], header["Value"]
        if not isinstance(name, str) or not _HEADER_NAME(name):
            raise bad_request(f"{where}: the Name {name!r} is not a header's.")
        if name.lower() in _FORBIDDEN_HEADERS:
            raise bad_request(f"{where}: the header {name} may not be set.")
        if not isinstance(value, str) or not _HEADER_VALUE(value):
            raise bad_request(f"{where}: the Value of {name} is not 1 to 870 printable ASCII characters.")


def template_data(data: Any, where: str) -> dict[str, Any]:
    """Template data: a JSON object in a string."""
    if not isinstance(data, str) or len(data) > MAX_DATA_CHARS:
        raise bad_request(f"{where}: a string of at most {MAX_DATA_CHARS} characters is expected.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise bad_request(f"{where}: not a JSON object.")
    return value


def template_content(value: Any, where: str, max_bytes: int = MAX_STORED_BYTES) -> dict[str, Any]:
    """Subject, Text and Html of a template."""
    content = members(value, _TEMPLATE_CONTENT, where)
    if not all(isinstance(part, str) for part in content.values() if part is not None):
        raise bad_request(f"{where}: Subject, Text and Html are strings.")
    if sum(len(part.encode("utf-8")) for part in content.values() if part) > max_bytes:
        raise bad_request(f"{where}: more than {max_bytes} bytes.")
    return content


def read_template(value: Any, where: str) -> dict[str, Any]:
    """Check a Template with all that is in it."""
    template = members(value, _TEMPLATE, where)
    sources = [name for name in ("TemplateName", "TemplateArn", "TemplateContent") if template.get(name) is not None]
    if len(sources) != 1:
        raise bad_request(f"{where}: exactly one of TemplateName, TemplateArn and TemplateContent is expected.")
    source = template[sources[0]]
    if sources[0] == "TemplateContent":
        template_content(source, f"{where}.TemplateContent", MAX_INLINE_BYTES)
    elif not isinstance(source, str) or not source:
        raise bad_request(f"{where}.{sources[0]}: must not be empty.")
    if template.get("TemplateData") is not None:
        template_data(template["TemplateData"], f"{where}.TemplateData")
    if template.get("Headers") is not None:
        read_headers(template["Headers"], f"{where}.Headers")
    if template.get("Attachments") is not None:
        read_attachments(template["Attachments"], f"{where}.Attachments")
    return template


def read_base64(value: Any, where: str) -> None:
    """Check a blob."""
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except (TypeError, ValueError) as error:
        raise bad_request(f"{where}: not Base64.") from error


def read_attachments(attachments: Any, where: str) -> None:
    """Check attachments: required members, lengths, words, Base64."""
    if not isinstance(attachments, list):
        raise bad_request(f"{where}: a list is expected.")
    for i, value in enumerate(attachments):
        attachment = members(value, _ATTACHMENT, f"{where}[{i}]")
        for name in ("RawContent", "FileName"):
            if attachment.get(name) is None:
                raise bad_request(f"{where}[{i}].{name}: missing.")
        for name, (least, most) in _ATTACHMENT_CHARS.items():
            text = attachment.get(name)
            if text is not None and (not isinstance(text, str) or not least <= len(text) <= most):
                raise bad_request(f"{where}[{i}].{name}: {least} to {most} characters are expected.")
        for name, words in _ATTACHMENT_WORDS.items():
            if attachment.get(name) is not None and attachment[name] not in words:
                raise bad_request(f"{where}[{i}].{name}: one of {', '.join(words)} is expected.")
        read_base64(attachment["RawContent"], f"{where}[{i}].RawContent")
