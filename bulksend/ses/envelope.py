"""The request around the entries, frozen when a campaign is planned.

Source: API reference, SendBulkEmail (request syntax).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

__all__ = ["Envelope", "EnvelopeAttachment"]


@dataclass(frozen=True, slots=True)
class EnvelopeAttachment:
    """A file that every mail of the campaign carries; `content` is its bytes, as they are.

    Source: API reference, Attachment. `disposition` is ATTACHMENT or INLINE, `transfer_encoding` BASE64,
    QUOTED_PRINTABLE or SEVEN_BIT, in any case.
    """

    file_name: str
    content: bytes
    content_type: str | None = None
    content_id: str | None = None
    disposition: str | None = None
    description: str | None = None
    transfer_encoding: str | None = None

    def members(self) -> dict[str, str]:
        """As SES wants it; what is not given is left out."""
        given = {
            "FileName": self.file_name,
            "RawContent": base64.b64encode(self.content).decode(),
            "ContentType": self.content_type,
            "ContentId": self.content_id,
            "ContentDisposition": self.disposition and self.disposition.upper(),
            "ContentDescription": self.description,
            "ContentTransferEncoding": self.transfer_encoding and self.transfer_encoding.upper(),
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Envelope:
    """Everything of a SendBulkEmail request but its entries. Of template, template_arn and inline exactly one is given.

    Default tags are not here: they are baked into every entry, as reports say that the bulk call ignores
    DefaultEmailTags. Default data is baked in too; TemplateData must be present all the same.
    """

    from_address: str
    reply_to: Sequence[str] = ()
    configuration_set: str | None = None
    from_identity_arn: str | None = None
    feedback_address: str | None = None
    feedback_identity_arn: str | None = None
    tenant: str | None = None
    template: str | None = None
    template_arn: str | None = None
    inline: Mapping[str, str] | None = None
    default_data: Mapping[str, object] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: Sequence[EnvelopeAttachment] = ()
    endpoint_id: str | None = None

    def frame(self) -> tuple[bytes, bytes]:
        """(prefix, suffix): prefix + entries joined by commas + suffix is a request body."""
        request: dict[str, object] = {
            "FromEmailAddress": self.from_address,
            "ReplyToAddresses": list(self.reply_to),
            "ConfigurationSetName": self.configuration_set,
            "FromEmailAddressIdentityArn": self.from_identity_arn,
            "FeedbackForwardingEmailAddress": self.feedback_address,
            "FeedbackForwardingEmailAddressIdentityArn": self.feedback_identity_arn,
            "TenantName": self.tenant,
            "EndpointId": self.endpoint_id,
            "DefaultContent": {"Template": self._template()},
        }
        head = orjson.dumps({name: value for name, value in request.items() if value not in (None, [])})
        return head[:-1] + b',"BulkEmailEntries":[', b"]}"

    def _template(self) -> dict[str, object]:
        template: dict[str, object] = {
            "TemplateName": self.template,
            "TemplateArn": self.template_arn,
            "TemplateContent": None
            if self.inline is None
            else {part.capitalize(): text for part, text in self.inline.items() if text is not None},
            "Headers": [{"Name": name, "Value": value} for name, value in self.headers.items()],
            "Attachments": [attachment.members() for attachment in self.attachments],
        }
        chosen = {name: value for name, value in template.items() if value not in (None, [])}
        return chosen | {"TemplateData": orjson.dumps(self.default_data).decode()}
