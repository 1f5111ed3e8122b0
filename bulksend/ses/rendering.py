"""Whether a stored template renders.

Source: API reference, TestRenderEmailTemplate ("no more than once per second").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bulksend.aws.client import refusal_code
from bulksend.ses.inquiry import found
from bulksend.ses.templates import CALL_EVERY_S as RENDER_EVERY_S
from bulksend.ses.templates import TemplateContent

__all__ = ["RENDER_EVERY_S", "read_template", "rendering_fault"]


async def read_template(client: Any, name: str) -> TemplateContent | None:
    """GetEmailTemplate; None where there is none of that name."""
    reply = await found(client.get_email_template(TemplateName=name))
    if reply is None:
        return None
    content = reply.get("TemplateContent") or {}
    return TemplateContent(name, content.get("Subject") or "", content.get("Html"), content.get("Text"))


async def rendering_fault(client: Any, name: str, data: Mapping[str, object]) -> str:
    """What SES says against the mail that it makes of a template and data; empty if nothing."""
    text = json.dumps(data, ensure_ascii=False)
    try:
        await client.test_render_email_template(TemplateName=name, TemplateData=text)
    except Exception as error:
        if refusal_code(error) == "BadRequestException":
            return str(getattr(error, "response", {}).get("Error", {}).get("Message", "")) or "SES refuses it"
        raise
    return ""
