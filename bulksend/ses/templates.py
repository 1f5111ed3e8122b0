"""Stored email templates: the control-plane calls.

Source: API reference, CreateEmailTemplate, UpdateEmailTemplate, GetEmailTemplate, ListEmailTemplates,
TestRenderEmailTemplate: "You can execute this operation no more than once per second."
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from bulksend.aws.client import AwsAccess, explained, open_client, refusal_code
from bulksend.errors import BulksendError, ExitCode

__all__ = ["ListedTemplate", "TemplateContent", "TemplateError", "TemplateNotFoundError", "Templates"]

CALL_EVERY_S = 1.0
PAGE_SIZE = 100
_NOT_FOUND = "NotFoundException"


class TemplateError(BulksendError):
    """The template cannot be used"""

    exit_code = ExitCode.USAGE
    default_hint = "Correct the template, or see what is there with: bulksend template list."


class TemplateNotFoundError(TemplateError):
    """There is no such template in this account and region"""

    default_hint = "Put it there with bulksend template push, or see what is there with: bulksend template list."


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """A stored template. A part that it does not have is None."""

    name: str
    subject: str
    html: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class ListedTemplate:
    """A template by its name; `created_at` is epoch seconds."""

    name: str
    created_at: float | None


class Templates:
    """The account's templates, at most one call a second. An asynchronous context manager.

    Every method raises TemplateNotFoundError, TemplateError for what SES says against a template, or AccountError.
    """

    def __init__(self, access: AwsAccess) -> None:
        self._access = access
        self._clients = AsyncExitStack()
        self._client: Any = None
        self._next_call_at = 0.0

    async def __aenter__(self) -> Self:
        try:
            self._client = await self._clients.enter_async_context(open_client(self._access, retrying=True))
        except Exception as error:
            raise explained(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()

    async def list(self) -> list[ListedTemplate]:
        """All of them, in SES's order."""
        listed: list[ListedTemplate] = []
        page: dict[str, Any] = {"NextToken": None}
        while "NextToken" in page:
            token = {} if page["NextToken"] is None else {"NextToken": page["NextToken"]}
            page = await self._call("list_email_templates", PageSize=PAGE_SIZE, **token)
            for template in page.get("TemplatesMetadata", []):
                created = template.get("CreatedTimestamp")
                at = created.timestamp() if isinstance(created, datetime) else None
                listed.append(ListedTemplate(str(template.get("TemplateName", "")), at))
            if not page.get("NextToken"):
                break
        return listed

    async def get(self, name: str) -> TemplateContent:
        """One template."""
        reply = await self._call("get_email_template", TemplateName=name)
        content = reply.get("TemplateContent", {})
        return TemplateContent(name, content.get("Subject") or "", content.get("Html"), content.get("Text"))

    async def put(self, template: TemplateContent) -> bool:
        """Change the template, or create it where there is none of its name. True when it was created."""
        given = {"Subject": template.subject, "Html": template.html, "Text": template.text}
        content = {part: text for part, text in given.items() if text is not None}
        try:
            await self._call("update_email_template", TemplateName=template.name, TemplateContent=content)
        except TemplateNotFoundError:
            await self._call("create_email_template", TemplateName=template.name, TemplateContent=content)
            return True
        return False

    async def render(self, name: str, data: dict[str, object]) -> str:
        """The mail that SES makes of a template and data: MIME text."""
        reply = await self._call(
            "test_render_email_template", TemplateName=name, TemplateData=json.dumps(data, ensure_ascii=False)
        )
        return str(reply.get("RenderedTemplate", ""))

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        now = asyncio.get_running_loop().time()
        if now < self._next_call_at:
            await asyncio.sleep(self._next_call_at - now)
        self._next_call_at = asyncio.get_running_loop().time() + CALL_EVERY_S
        try:
            return await getattr(self._client, operation)(**arguments)  # type: ignore[no-any-return]
        except Exception as error:
            raise _meant(error, arguments.get("TemplateName")) from error


def _meant(error: Exception, name: str | None) -> BulksendError:
    code = refusal_code(error)
    what = explained(error)
    if code == _NOT_FOUND and name is not None:
        return TemplateNotFoundError(name)
    if code in ("BadRequestException", "AlreadyExistsException", "LimitExceededException") or _is_parameter(error):
        return TemplateError(what.detail if name is None else f"{name}: {what.detail}")
    return what


def _is_parameter(error: Exception) -> bool:
    from botocore.exceptions import ParamValidationError  # noqa: PLC0415

    return isinstance(error, ParamValidationError)
