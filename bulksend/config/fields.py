"""The kinds of text that a campaign file holds, each checked as SES would check it."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from datetime import datetime
from email.header import Header
from email.utils import formataddr
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, ValidationInfo

from bulksend.schedule import LATEST_S, Window

__all__ = [
    "MAX_HEADERS",
    "Arn",
    "BareAddress",
    "ColumnName",
    "Delimiter",
    "Encoding",
    "EndpointId",
    "FixedHeaders",
    "Mailbox",
    "Resource",
    "RowHeaders",
    "RowTags",
    "Tags",
    "TemplateName",
    "UnsubscribeUrl",
    "WindowText",
    "as_json",
    "campaign_name",
    "file_beside",
    "instant",
    "json_table",
    "list_beside",
]

_MAX_ADDRESS_CHARACTERS = 320
_ENCODED_WORD_CHARACTERS = 75
"""At most (RFC 2047, 2)."""
_MAX_DATA_CHARACTERS = 262_144
MAX_HEADERS = 15
"""In one list of headers (API reference, Template and BulkEmailEntry)."""
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
"""API reference, MessageHeader: names that SES writes itself."""


def _mailbox(text: str) -> str:
    """An address, or a name with one, in the form that goes into a header: domain in Punycode, name by RFC 2047."""
    if re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", text):
        raise ValueError("must not hold line breaks or other control characters")
    named = re.fullmatch(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>\s*", text)
    name, address = (named["name"], named["address"]) if named else ("", text)
    if quoted := re.fullmatch(r'"((?:[^"\\]|\\.)*)"', name):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        # The test environment allows the reserved domain .test; example.com and its kin are allowed anyway.
        found = validate_email(
            address, check_deliverability=False, allow_smtputf8=False, allow_quoted_local=True, test_environment=True
        )
    except EmailNotValidError as error:
        raise ValueError(f"must be an address, or 'Name <address>', not {text[:100]!r}: {error}") from error
    if found.ascii_email is None or len(found.ascii_email) > _MAX_ADDRESS_CHARACTERS:
        raise ValueError(f"must be an address of at most {_MAX_ADDRESS_CHARACTERS} characters")
    if name.isascii():
        return formataddr((name, found.ascii_email))
    folded = Header(name, "utf-8", maxlinelen=_ENCODED_WORD_CHARACTERS).encode(linesep="\n")
    return f"{' '.join(line.strip() for line in folded.splitlines())} <{found.ascii_email}>"


def _bare_address(text: str) -> str:
    address = _mailbox(text)
    if "<" in address:
        raise ValueError("must be an address alone, without a name")
    return address


def _arn(text: str) -> str:
    if not re.fullmatch(r"arn:[!-~]{1,2000}", text):
        raise ValueError("must be an ARN, such as 'arn:aws:ses:eu-west-1:123456789012:identity/example.com'")
    return text


def _resource(text: str) -> str:
    # API reference, CreateConfigurationSet and CreateTenant: up to 64 letters, digits, hyphens and underscores.
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return text


def campaign_name(text: str) -> str:
    """A name that is good for a file's name as well, neither a hidden one nor an option."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 . _ -, the first none of . and -")
    return text


def _header_name(text: str) -> str:
    # API reference, MessageHeader.
    if not re.fullmatch(r"[!-9;-@A-~]{1,126}", text):
        raise ValueError("is not a header's name: 1 to 126 printable ASCII characters, no colon")
    if text.lower() in _FORBIDDEN_HEADERS:
        raise ValueError("is a header that SES writes itself and does not take from a campaign")
    return text


def _header_value(text: str) -> str:
    # API reference, MessageHeader.
    if not re.fullmatch(r"[ -~]{1,870}", text):
        raise ValueError("must be 1 to 870 printable ASCII characters")
    return text


def _fixed_header_value(text: str) -> str:
    if found := re.search(r"(?<!\{)\{[A-Za-z_][\w .-]*\}(?!\})", _header_value(text)):
        raise ValueError(f"has {found[0]} in it, which every mail would get as it stands: see recipients.headers")
    return text


def _unlike_names(headers: dict[str, str]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name in headers:
        if name.lower() in seen:
            raise ValueError(f"has {seen[name.lower()]} and {name}, which are one header: their case is of no account")
        seen[name.lower()] = name
    return headers


def _tag_name(text: str) -> str:
    # API reference, MessageTag.
    if text.lower().startswith(("bulksend-", "ses:")):
        raise ValueError("is a tag that bulksend or SES sets: no name starts with bulksend- or ses:")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", text):
        raise ValueError("is not a tag's name: 1 to 256 of the characters A-Z a-z 0-9 _ -")
    return text


def _tag_value(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", text):
        raise ValueError("must be 1 to 256 of the characters A-Z a-z 0-9 _ -")
    return text


def _endpoint_id(text: str) -> str:
    # It becomes the first labels of a host's name.
    if not re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*", text):
        raise ValueError("must be the id of a multi-region endpoint, such as 'abc12345.xyz'")
    return text


def _template_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 _ -")
    return text


def _delimiter(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise ValueError("must be one ASCII character, such as ',' or ';' or '\\t', and no quote or line break")
    return text


def _encoding(text: str) -> str:
    try:
        known = codecs.lookup(text)
        "a".encode(text)  # rot13 and its kin are codecs, but not of text
    except (LookupError, ValueError, UnicodeError):
        raise ValueError(f"must be an encoding's name, such as 'utf-8' or 'cp1252', not {text[:60]!r}") from None
    return known.name


def _tag_text(text: str) -> str:
    if not re.fullmatch(r"(?:[^{}]|\{[^{}]+\})+", text):
        raise ValueError("must be text in which each column stands in braces, such as '{segment}'")
    return text


def _header_text(text: str) -> str:
    if not re.fullmatch(r"(?:[^{}]|\{[^{}]+\})+", text):
        raise ValueError(
            "must be text in which each column stands in braces, such as '<https://example.com/u/{token}>'"
        )
    if not re.fullmatch(r"[ -~]{0,870}", re.sub(r"\{[^{}]+\}", "", text)):
        raise ValueError("must have printable ASCII characters around its columns, at most 870")
    return text


def _unsubscribe_url(text: str) -> str:
    # RFC 8058, 3.1: an HTTPS URI, in angle brackets in the header; RFC 3986, 2: what else is no character of a URI.
    if not re.fullmatch(r"https://[!$-;=?-Z_a-z~\[\]{}]{1,700}", text):
        raise ValueError("must be an https:// URL such as 'https://example.com/u/{token}', in plain ASCII")
    if text.count("{token}") != 1 or re.search(r"[{}]", text.replace("{token}", "")):
        raise ValueError("must have {token} in it exactly once, and no other braces")
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        sound = False
    if not sound:
        raise ValueError("must be a URL with a host, and without user or password")
    if "{token}" not in parts.path + parts.query:
        raise ValueError("must have {token} in its path or query: whoever is called gets nothing else of it")
    return text


def _window(text: str) -> str:
    return str(Window.parse(text))


def instant(value: object) -> object:
    """A date-time with its offset from UTC, as TOML has it or as text, for where there are no date-times (JSON).

    One without an offset is refused: taken on the wrong clock it would be hours off, and nobody would notice.
    """
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"must be a date and time, such as 2026-12-01T09:00:00+01:00, not {str(value)[:60]!r}")  # noqa: TRY004  pydantic wants a ValueError
    if moment.tzinfo is None:
        told = moment.isoformat()
        raise ValueError(
            f"does not say on which clock: add the offset from UTC, as in {told}+01:00, or {told}Z for UTC"
        )
    if moment.timestamp() >= LATEST_S:
        raise ValueError(f"must be before the year 9999, not {moment.isoformat()}")
    return moment


def json_table(table: object) -> object:
    """A TOML table that JSON can hold as well, every offending key named."""
    if not isinstance(table, dict):
        return table  # the model says that it has to be a table
    faults = list(_beyond_json(table, ""))
    if faults:
        raise ValueError(f"holds what JSON cannot: {'; '.join(faults)}")
    if len(as_json(table)) > _MAX_DATA_CHARACTERS:
        raise ValueError(f"must have at most {_MAX_DATA_CHARACTERS} characters as JSON")
    return table


def _beyond_json(value: object, key: str) -> Iterator[str]:
    match value:
        case None | bool() | str():
            pass
        case int():
            if not -(2**63) <= value < 2**64:
                yield f"{key} has more than 64 bits"
        case float():
            if not math.isfinite(value):
                yield f"{key} is not a finite number"
        case dict():
            for name, below in value.items():
                yield from _beyond_json(below, f"{key}.{name}".removeprefix("."))
        case list():
            for place, below in enumerate(value, start=1):
                yield from _beyond_json(below, f"{key}[{place}]")
        case _:
            yield f"{key} is a {type(value).__name__}; write it as text in quotes"


def as_json(value: object) -> str:
    """Without spaces; what is not ASCII stays as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def file_beside(value: object, info: ValidationInfo) -> object:
    """A path as it stands in a file, relative to that file's folder, made absolute."""
    if not isinstance(value, str):
        return value  # a path from the command line, or something that the model refuses
    if not value or "\0" in value:
        raise ValueError("must be the path of a file")
    return Path((info.context or {}).get("folder", Path()), value).absolute()


def list_beside(value: object, info: ValidationInfo) -> object:
    """The same, but for the URL of an object or a folder of S3, or of a contact list of SES, which is kept as it is."""
    if isinstance(value, str) and value.startswith("contacts://"):
        # API reference, CreateContactList; its topics' names are made of the same characters.
        if not re.fullmatch(r"contacts://[A-Za-z0-9_-]{1,64}(?:\?topic=[A-Za-z0-9_-]{1,64})?", value):
            raise ValueError("must be a contact list such as 'contacts://LIST', or 'contacts://LIST?topic=TOPIC'")
        return value
    if isinstance(value, str) and "://" in value:
        if not re.fullmatch(r"s3://[A-Za-z0-9._-]+/[^\x00-\x1f\x7f?#]+", value):
            raise ValueError("must be a path, or an S3 URL such as 's3://bucket/lists/list.csv', or contacts://LIST")
        return value
    if not isinstance(value, str | Path):
        raise ValueError("must be text: a path, or an S3 URL")  # noqa: TRY004  pydantic wants a ValueError
    return file_beside(value, info)


Mailbox = Annotated[str, AfterValidator(_mailbox)]
BareAddress = Annotated[str, AfterValidator(_bare_address)]
Arn = Annotated[str, AfterValidator(_arn)]
Resource = Annotated[str, AfterValidator(_resource)]
FixedHeaders = Annotated[
    dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_fixed_header_value)]],
    AfterValidator(_unlike_names),
]
Tags = dict[Annotated[str, AfterValidator(_tag_name)], Annotated[str, AfterValidator(_tag_value)]]
RowHeaders = Annotated[
    dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_text)]],
    AfterValidator(_unlike_names),
]
RowTags = dict[Annotated[str, AfterValidator(_tag_name)], Annotated[str, AfterValidator(_tag_text)]]
WindowText = Annotated[str, AfterValidator(_window)]
UnsubscribeUrl = Annotated[str, AfterValidator(_unsubscribe_url)]
EndpointId = Annotated[str, AfterValidator(_endpoint_id)]
TemplateName = Annotated[str, AfterValidator(_template_name)]
Delimiter = Annotated[str, AfterValidator(_delimiter)]
Encoding = Annotated[str, AfterValidator(_encoding)]
ColumnName = Annotated[str, Field(min_length=1)]
