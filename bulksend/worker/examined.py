"""What doctor has found out, before anything is judged: answers, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from bulksend.config import CampaignFile
from bulksend.model import Binding, Campaign, CampaignState, Halt
from bulksend.ses.account import AccountDetails
from bulksend.ses.identities import Identity
from bulksend.ses.inquiry import Unknown
from bulksend.ses.reputation import Finding, ReputationEntity
from bulksend.ses.sets import ConfigurationSet
from bulksend.ses.templates import TemplateContent
from bulksend.ses.tenants import Tenant
from bulksend.worker.outlook import Outlook

__all__ = [
    "Examined",
    "LinksAsFound",
    "ListAsFound",
    "QueueAsFound",
    "RegionAsFound",
    "Rendering",
    "Sample",
    "Sending",
    "StoreAsFound",
]


@dataclass(frozen=True, slots=True)
class Sending:
    """What a campaign sends with: the members of its request. Empty for what it does not name."""

    sender: str
    identity_arn: str = ""
    configuration_set: str = ""
    tenant: str = ""
    endpoint_id: str = ""
    template: str = ""
    template_arn: str = ""
    inline: Mapping[str, str] | None = None
    """Subject, Html, Text of an inline template."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of every mail, in their order."""
    planned: str = ""
    """The campaign's name where it is frozen: nothing of this can be changed any more."""

    @classmethod
    def of_campaign(cls, campaign: Campaign) -> Self:
        """As it was frozen."""
        request: dict[str, Any] = orjson.loads(campaign.prefix + campaign.suffix)
        template = request["DefaultContent"]["Template"]
        return cls(
            sender=request["FromEmailAddress"],
            identity_arn=request.get("FromEmailAddressIdentityArn", ""),
            configuration_set=request.get("ConfigurationSetName", ""),
            tenant=request.get("TenantName", ""),
            endpoint_id=request.get("EndpointId", ""),
            template=template.get("TemplateName", ""),
            template_arn=template.get("TemplateArn", ""),
            inline=template.get("TemplateContent"),
            headers={one["Name"]: one["Value"] for one in template.get("Headers", ())},
            planned=campaign.name,
        )

    @classmethod
    def of_file(cls, file: CampaignFile) -> Self:
        """As its file has it."""
        sender, content = file.sender, file.content
        inline = None if content.inline is None else content.inline.model_dump(exclude_none=True)
        return cls(
            sender=sender.from_address,
            identity_arn=sender.from_identity_arn or "",
            configuration_set=sender.configuration_set or "",
            tenant=sender.tenant or "",
            endpoint_id=sender.endpoint_id or "",
            template=content.template or "",
            template_arn=content.template_arn or "",
            inline=None if inline is None else {part.capitalize(): text for part, text in inline.items()},
            headers=dict(content.headers),
        )

    @property
    def template_name(self) -> str:
        """Of the stored template, whether it is named or given by its ARN; empty for an inline one."""
        return self.template or self.template_arn.partition(":template/")[2]


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that would be sent: its template data, and the headers of its mail in their order."""

    row: int
    data: Mapping[str, object]
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came of a sample's template: `fault` in words, empty if it renders."""

    row: int
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ListAsFound:
    """The campaign's list. Where it is not `planned`, only its beginning was read.

    `recipients` are those that are left to send to; `suppressed` counts those of them that the store has suppressed.
    """

    planned: bool
    recipients: int
    samples: tuple[Sample, ...]
    suppressed: int | Unknown = 0
    warnings: tuple[str, ...] = ()
    most_rows: int = 0


@dataclass(frozen=True, slots=True)
class RegionAsFound:
    """What one Region has of what the campaign sends with; None for what it does not name, or what is not there.

    `identities` are those that may stand for its sender, nearest first.
    """

    name: str
    account: AccountDetails | Unknown
    identities: tuple[Identity, ...] | Unknown | None = None
    configuration_set: ConfigurationSet | Unknown | None = None
    template: TemplateContent | Unknown | None = None


@dataclass(frozen=True, slots=True)
class StoreAsFound:
    """Where the campaign's state is, or would be: `fault` where it cannot be used. Sizes in bytes; None: not known."""

    place: str
    exists: bool
    writable: bool = True
    free_bytes: int | None = None
    needed_bytes: int = 0
    fault: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class QueueAsFound:
    """A queue that events come by. `waiting` are messages in it; `gone` says that there is no such queue."""

    name: str
    waiting: int | Unknown
    gone: bool = False
    has_dead_letters: bool = True


@dataclass(frozen=True, slots=True)
class LinksAsFound:
    """What the configuration has for the links of [unsubscribe]: keys, and a place where they are answered."""

    has_keys: bool
    answered: bool


@dataclass(frozen=True, slots=True)
class Examined:
    """All of it. What was not asked, as it is of no concern, is None."""

    binding: Binding | None
    """Whose account, and where."""
    refused: str = ""
    """Why there are no credentials, or no Region."""
    refused_remedy: str = ""
    skew_s: float | None = None
    home: RegionAsFound | None = None
    others: tuple[RegionAsFound, ...] = ()
    """The other Regions of its multi-region endpoint."""
    endpoint: str | Unknown | None = None
    """The state of the endpoint, in SES's word; empty where there is none of its id."""
    tenant: Tenant | Unknown | None = None
    reputation: tuple[ReputationEntity, ...] | Unknown | None = None
    findings: tuple[Finding, ...] | Unknown | None = None
    campaign: str = ""
    state: CampaignState | None = None
    """Of the campaign, once it is planned."""
    halt: Halt | None = None
    differs: tuple[str, ...] = ()
    """What its file has otherwise than its plan."""
    links: LinksAsFound | None = None
    sending: Sending | None = None
    list: ListAsFound | None = None
    list_fault: str = ""
    """Why the campaign cannot be planned."""
    list_remedy: str = ""
    renderings: tuple[Rendering, ...] | Unknown | None = None
    outlook: Outlook | None = None
    on_top: str = ""
    needs_events: bool = False
    """A canary waits for them."""
    store: StoreAsFound | None = None
    queues: tuple[QueueAsFound, ...] | None = None
