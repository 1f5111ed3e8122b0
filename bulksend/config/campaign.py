"""The campaign file: who sends what to whom, made into one frozen CampaignFile."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from email.utils import formataddr
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationInfo, model_validator

from bulksend.config.source import Fault, Table, check, config_error, put, read_toml

__all__ = [
    "CampaignFile",
    "Content",
    "InDoubtPolicy",
    "InlineTemplate",
    "Policy",
    "Recipients",
    "Sender",
    "frozen_keys",
    "load_campaign",
]

InDoubtPolicy = Literal["hold", "resend"]
"""In doubt, entries wait for proof or a person, or are sent again after 31 minutes at the soonest."""

_MAX_ADDRESS_CHARACTERS = 320
_MAX_INLINE_BYTES = 1024 * 1024
_MAX_DATA_CHARACTERS = 262_144
_MAX_HEADERS = 15
_SHORT_CHARACTERS = 100
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
    if any(ord(character) < ord(" ") or character == "\x7f" for character in text):
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
    return formataddr((name, found.ascii_email))


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


def _campaign_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text):
        raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 . _ -")
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


def _tag_text(text: str) -> str:
    if not re.fullmatch(r"(?:[^{}]|\{[^{}]+\})+", text):
        raise ValueError("must be text in which each column stands in braces, such as '{segment}'")
    return text


def _json_table(table: object) -> object:
    """A TOML table that JSON can hold as well, every offending key named."""
    if not isinstance(table, dict):
        return table  # the model says that it has to be a table
    faults = list(_beyond_json(table, ""))
    if faults:
        raise ValueError(f"holds what JSON cannot: {'; '.join(faults)}")
    if len(_json(table)) > _MAX_DATA_CHARACTERS:
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


def _file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value  # a path from the command line, or something that the model refuses
    if not value or "\0" in value:
        raise ValueError("must be the path of a file")
    return Path((info.context or {}).get("folder", Path()), value).absolute()


Mailbox = Annotated[str, AfterValidator(_mailbox)]
BareAddress = Annotated[str, AfterValidator(_bare_address)]
Arn = Annotated[str, AfterValidator(_arn)]
Resource = Annotated[str, AfterValidator(_resource)]
Headers = dict[Annotated[str, AfterValidator(_header_name)], Annotated[str, AfterValidator(_header_value)]]
Tags = dict[Annotated[str, AfterValidator(_tag_name)], Annotated[str, AfterValidator(_tag_value)]]
RowTags = dict[Annotated[str, AfterValidator(_tag_name)], Annotated[str, AfterValidator(_tag_text)]]
ColumnName = Annotated[str, Field(min_length=1)]


class Sender(Table):
    """[sender]: in whose name the campaign goes out. Addresses are kept as they go into a header."""

    from_address: Mailbox = Field(alias="from")
    """The From address, with or without a name."""
    reply_to: tuple[Mailbox, ...] = Field(default=(), strict=False)
    configuration_set: Resource | None = None
    from_identity_arn: Arn | None = None
    feedback_address: BareAddress | None = None
    """Where bounces and complaints are mailed to."""
    feedback_identity_arn: Arn | None = None
    tenant: Resource | None = None


class InlineTemplate(Table):
    """[content] inline: a template in the request itself, at most 1 MB in all; simple substitutions only."""

    subject: Annotated[str, Field(min_length=1)]
    html: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _has_a_body_of_legal_size(self) -> Self:
        if self.html is None and self.text is None:
            raise ValueError("must have html, text or both")
        if sum(len(part.encode()) for part in (self.subject, self.html or "", self.text or "")) > _MAX_INLINE_BYTES:
            raise ValueError(f"must have at most {_MAX_INLINE_BYTES} bytes in all")
        return self


class Content(Table):
    """[content]: what is sent. Exactly one of template, template_arn and inline is set."""

    template: Annotated[str, Field(min_length=1)] | None = None
    template_arn: Arn | None = None
    inline: InlineTemplate | None = None
    default_data: Annotated[dict[str, Any], BeforeValidator(_json_table)] = Field(default_factory=dict)
    """Values for the template where a row has none."""
    headers: Headers = Field(default_factory=dict, max_length=_MAX_HEADERS)
    tags: Tags = Field(default_factory=dict)


class Recipients(Table):
    """[recipients]: the list, and which of its columns are what."""

    path: Annotated[Path, BeforeValidator(_file)]
    """The list, absolute. In the file it is relative to the file's folder."""
    address: ColumnName = "email"
    """The column with the address."""
    data: Annotated[tuple[ColumnName, ...], Field(strict=False)] | None = None
    """The columns that the template gets; None is every other column."""
    tags: RowTags = Field(default_factory=dict)
    """Tags of each mail: name to text with columns in braces."""
    dedupe: bool = True


class Policy(Table):
    """[policy]: what may change after the campaign was planned."""

    in_doubt: InDoubtPolicy = "hold"
    max_attempts: int = Field(default=5, ge=1, le=100)


class CampaignFile(Table):
    """A campaign file, validated. Made by load_campaign."""

    name: Annotated[str, AfterValidator(_campaign_name)]
    sender: Sender
    content: Content
    recipients: Recipients
    policy: Policy = Field(default_factory=Policy)
    _path: Path = PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file that this was read from, absolute."""
        return self._path


def load_campaign(path: Path, overrides: Mapping[str, object] | None = None) -> CampaignFile:
    """Read a campaign file. `overrides` (flags) maps dotted keys (`sender.from`) to values; None is not given.

    `recipients.path` is relative to the file's folder in the file, and to the current folder in `overrides`.

    Raises:
        ConfigError: all faults in one: unknown keys (with the nearest known one), wrong types, what SES refuses.
    """
    tables = read_toml(path)
    flags = set()
    for key, value in (overrides or {}).items():
        if value is not None:
            flags.add(key)
            put(tables, key, Path(str(value)).absolute() if key == "recipients.path" else value)
    for section in ("sender", "content", "recipients"):
        tables.setdefault(section, {})

    campaign, faults = check(
        CampaignFile, tables, lambda key: ("command line" if key in flags else str(path), key), {"folder": path.parent}
    )
    faults += _content_faults(tables["content"], str(path))
    if campaign is None or faults:
        raise config_error(
            faults, hint="Correct the keys named above in the campaign file, or the flags that stand for them."
        )
    campaign._path = path.absolute()  # noqa: SLF001  # a private attribute, so that no key of the file can set it
    return campaign


def frozen_keys(campaign: CampaignFile) -> dict[str, str]:
    """Every key that is bound when the campaign is planned, with its value as JSON; keys that are not set are left out.

    Left out as well: name, recipients.path (the list itself has a digest) and policy, which may change. Values of more
    than 100 characters are given as their SHA-256.
    """
    tables = campaign.model_dump(
        mode="json", by_alias=True, exclude={"name": True, "policy": True, "recipients": {"path"}}
    )
    return {key: _short(_json(value)) for key, value in _leaves(tables, "") if value is not None}


def _content_faults(content: object, source: str) -> Iterator[Fault]:
    """The rule over three keys of [content]; it is looked at even where one of them has a fault of its own."""
    if not isinstance(content, dict):
        return
    chosen = [key for key in ("template", "template_arn", "inline") if key in content]
    if len(chosen) != 1:
        said = f"has {' and '.join(chosen)}" if chosen else "has none"
        yield Fault(source, "content", f"must have exactly one of template, template_arn and inline; it {said}")


def _leaves(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(below, f"{key}.{name}".removeprefix("."))
    else:
        yield key, value


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _short(text: str) -> str:
    return text if len(text) <= _SHORT_CHARACTERS else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
