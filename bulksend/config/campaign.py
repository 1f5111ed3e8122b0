"""The campaign file: who sends what to whom, made into one frozen CampaignFile."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from bulksend.config.attachments import AttachedFile, Attachment, read_attachments
from bulksend.config.fields import (
    MAX_HEADERS,
    Arn,
    BareAddress,
    ColumnName,
    Delimiter,
    Encoding,
    EndpointId,
    FixedHeaders,
    Mailbox,
    Resource,
    RowHeaders,
    RowTags,
    Tags,
    UnsubscribeUrl,
    WindowText,
    as_json,
    campaign_name,
    instant,
    json_table,
    list_beside,
)
from bulksend.config.safety import SafetyTable, contradictions
from bulksend.config.source import Fault, Table, check, config_error, put, read_toml
from bulksend.schedule import MAX_PRIORITY, Schedule, Window

__all__ = [
    "CampaignFile",
    "Content",
    "InDoubtPolicy",
    "InlineTemplate",
    "Policy",
    "Recipients",
    "ScheduleTable",
    "Sender",
    "UnsubscribeTable",
    "campaign_of_tables",
    "frozen_keys",
    "load_campaign",
]

InDoubtPolicy = Literal["hold", "resend"]
"""In doubt, entries wait for proof or a person, or are sent again after 31 minutes at the soonest."""

_MAX_INLINE_BYTES = 1024 * 1024
_SHORT_CHARACTERS = 100
_OF_UNSUBSCRIBE = ("list-unsubscribe", "list-unsubscribe-post")


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
    endpoint_id: EndpointId | None = None
    """A multi-region endpoint; signing for it needs awscrt, the extra `multiregion`."""


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
    default_data: Annotated[dict[str, Any], BeforeValidator(json_table)] = Field(default_factory=dict)
    """Values for the template where a row has none."""
    headers: FixedHeaders = Field(default_factory=dict, max_length=MAX_HEADERS)
    tags: Tags = Field(default_factory=dict)
    attachments: tuple[Attachment, ...] = Field(default=(), strict=False)


class Recipients(Table):
    """[recipients]: the list, and which of its columns are what."""

    path: Annotated[Path | str, BeforeValidator(list_beside)]
    """The list, or a folder of Parquet files, absolute; in the file it is relative to the file's folder. Text is the
    URL of one in S3.
    """
    delimiter: Delimiter | None = None
    """What separates the fields of a CSV file; None is found out from the list."""
    encoding: Encoding | None = None
    """The encoding of a CSV file; None is UTF-8."""
    address: ColumnName = "email"
    """The column with the address."""
    display_name: ColumnName | None = None
    """The column with the name that stands before the address."""
    cc: ColumnName | None = None
    """The column with Cc addresses."""
    bcc: ColumnName | None = None
    """The column with Bcc addresses."""
    data: Annotated[tuple[ColumnName, ...], Field(strict=False)] | None = None
    """The columns that the template gets; None is every other column."""
    tags: RowTags = Field(default_factory=dict)
    """Tags of each mail: name to text with columns in braces."""
    headers: RowHeaders = Field(default_factory=dict, max_length=MAX_HEADERS)
    """Headers of each mail, in this order: name to text with columns in braces."""
    dedupe: bool = True


class Policy(Table):
    """[policy]: what may change after the campaign was planned."""

    in_doubt: InDoubtPolicy = "hold"
    max_attempts: int = Field(default=5, ge=1, le=100)


class ScheduleTable(Table):
    """[schedule]: when the campaign may send, and its share beside others; may change after it was planned."""

    priority: float = Field(default=1.0, gt=0, le=MAX_PRIORITY)
    """Its weight among the campaigns that send at once: with 2 it gets twice what one with 1 gets."""
    not_before: Annotated[datetime, BeforeValidator(instant)] | None = None
    """Nothing is sent before this instant."""
    window: WindowText | None = None
    """Daily hours in a zone: "09:00-18:00 Europe/Paris"."""

    def as_schedule(self) -> Schedule:
        """The same as facts."""
        return Schedule(
            self.priority,
            None if self.not_before is None else self.not_before.timestamp(),
            None if self.window is None else Window.parse(self.window),
        )


class UnsubscribeTable(Table):
    """[unsubscribe]: how mail programs unsubscribe their reader with one click (RFC 8058)."""

    url: UnsubscribeUrl
    """Where they post to: an https:// URL that leads to the public listener of a worker, {token} in it."""
    mailto: BareAddress | None = None
    """An address that is named beside it, for programs that know nothing else; what comes there is not read."""


class CampaignFile(Table):
    """A campaign file, validated. Made by load_campaign."""

    name: Annotated[str, AfterValidator(campaign_name)]
    sender: Sender
    content: Content
    recipients: Recipients
    policy: Policy = Field(default_factory=Policy)
    schedule: ScheduleTable = Field(default_factory=ScheduleTable)
    safety: SafetyTable = Field(default_factory=SafetyTable)
    unsubscribe: UnsubscribeTable | None = None
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
            is_path = key == "recipients.path" and "://" not in str(value)
            put(tables, key, Path(str(value)).absolute() if is_path else value)
    return _checked(
        tables,
        lambda key: "command line" if key in flags else str(path),
        path.absolute(),
        hint="Correct the keys named above in the campaign file, or the flags that stand for them.",
    )


def campaign_of_tables(tables: Mapping[str, object], folder: Path, source: str) -> CampaignFile:
    """A campaign that did not come as a file: the same keys. Paths in it are relative to `folder`.

    `source` is what faults are said to be in.

    Raises:
        ConfigError: all faults in one.
    """
    return _checked(
        dict(tables), lambda _: source, folder.absolute() / "campaign.toml", hint="Correct the keys named above."
    )


def _checked(tables: dict[str, Any], source_of: Callable[[str], str], path: Path, *, hint: str) -> CampaignFile:
    for section in ("sender", "content", "recipients"):
        tables.setdefault(section, {})
    campaign, faults = check(CampaignFile, tables, lambda key: (source_of(key), key), {"folder": path.parent})
    faults += _content_faults(tables["content"], source_of("content"))
    faults += [Fault(source_of(key), key, problem) for key, problem in contradictions(tables.get("safety"))]
    faults += _unsubscribe_faults(tables, source_of)
    if campaign is None or faults:
        raise config_error(faults, hint=hint)
    campaign._path = path  # noqa: SLF001  # a private attribute, so that no key of the file can set it
    return campaign


def frozen_keys(campaign: CampaignFile, attached: Sequence[AttachedFile] | None = None) -> dict[str, str]:
    """Every key that is bound when the campaign is planned, with its value as JSON; keys that are not set are left out.

    Left out as well: name, recipients.path (the list itself has a digest), and policy, schedule and safety, which may
    change. Values of more than 100 characters are given as their SHA-256. An attachment is bound by its bytes
    (`content.attachments.1.sha256`) and its attributes, not by its path; `attached` are the attachments where they have
    been read already.

    Raises:
        ConfigError: attachments cannot be read.
    """
    if attached is None:
        attached = read_attachments(campaign.content.attachments, campaign.path)
    tables = campaign.model_dump(
        mode="json",
        by_alias=True,
        exclude={
            "name": True,
            "policy": True,
            "schedule": True,
            "safety": True,
            "content": {"attachments"},
            "recipients": {"path"},
        },
    )
    tables["content"]["attachments"] = {
        str(place): {
            "sha256": file.sha256,
            "file_name": file.file_name,
            "content_type": file.content_type,
            "content_id": file.content_id,
            "disposition": file.disposition,
            "description": file.description,
            "transfer_encoding": file.transfer_encoding,
        }
        for place, file in enumerate(attached, start=1)
    }
    return {key: _short(as_json(value)) for key, value in _leaves(tables, "") if value is not None}


def _content_faults(content: object, source: str) -> Iterator[Fault]:
    """The rule over three keys of [content]; it is looked at even where one of them has a fault of its own."""
    if not isinstance(content, dict):
        return
    chosen = [key for key in ("template", "template_arn", "inline") if key in content]
    if len(chosen) != 1:
        said = f"has {' and '.join(chosen)}" if chosen else "has none"
        yield Fault(source, "content", f"must have exactly one of template, template_arn and inline; it {said}")


def _unsubscribe_faults(tables: Mapping[str, object], source_of: Callable[[str], str]) -> Iterator[Fault]:
    """With [unsubscribe], the two headers are not the campaign's to set, and have to have room beside its own."""
    if "unsubscribe" not in tables:
        return
    for section in ("content", "recipients"):
        table = tables[section]
        headers = table.get("headers") if isinstance(table, dict) else None
        if not isinstance(headers, dict):
            continue
        key = f"{section}.headers"
        for name in headers:
            if str(name).lower() in _OF_UNSUBSCRIBE:
                yield Fault(
                    source_of(key), f"{key}.{name}", "is a header that [unsubscribe] sets: leave out one of them"
                )
        if section == "recipients" and MAX_HEADERS - len(_OF_UNSUBSCRIBE) < len(headers) <= MAX_HEADERS:
            most = MAX_HEADERS - len(_OF_UNSUBSCRIBE)
            yield Fault(source_of(key), key, f"must have at most {most} headers beside those of [unsubscribe]")


def _leaves(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(below, f"{key}.{name}".removeprefix("."))
    else:
        yield key, value


def _short(text: str) -> str:
    return text if len(text) <= _SHORT_CHARACTERS else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
