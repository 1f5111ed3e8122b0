"""Templates: what a campaign's one uses, and push, pull, list and render."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from bulksend.aws import AwsAccess
from bulksend.config import CampaignFile, InlineTemplate, Settings, load_template
from bulksend.errors import BulksendError
from bulksend.model import Binding
from bulksend.ses import (
    ListedTemplate,
    TemplateContent,
    TemplateError,
    TemplateNames,
    TemplateNotFoundError,
    Templates,
    fill,
    names_in,
    not_simple,
)
from bulksend.worker.access import aws_access

__all__ = [
    "StoredTemplate",
    "TemplateUse",
    "list_templates",
    "pull_template",
    "push_template",
    "render_template",
    "template_use",
]


@dataclass(frozen=True, slots=True)
class TemplateUse:
    """What a campaign's template takes from its data, as far as that is known, and what its reader should know."""

    names: TemplateNames = field(default_factory=TemplateNames)
    warnings: tuple[str, ...] = ()


class StoredTemplate(TypedDict):
    """A template as SES has it; None for a part that it does not have."""

    name: str
    subject: str
    html: str | None
    text: str | None


def template_use(file: CampaignFile, settings: Settings, binding: Binding) -> TemplateUse:
    """Read the inline template, or ask SES for the stored one.

    Where that cannot be had or understood there is a warning: only a check is lost.

    Raises:
        TemplateError: an inline template has more than simple substitutions, which is all that SES makes in one.
    """
    content = file.content
    if content.inline is not None:
        return TemplateUse(_inline_names(content.inline))
    name = content.template or _name_here(content.template_arn or "", binding)
    if name is None:
        said = "the template belongs to another account or region: whether the list has all it uses is not checked"
        return TemplateUse(warnings=(said,))
    access = aws_access(settings)
    try:
        stored = asyncio.run(_get(access, name))
    except TemplateNotFoundError:
        said = f"there is no template {name!r} in this account and region yet: SES will refuse the campaign"
        return TemplateUse(warnings=(said,))
    except BulksendError as error:
        said = f"whether the list has all that the template {name!r} uses is not checked: {error.message}"
        return TemplateUse(warnings=(said,))
    names = names_in(stored.subject, stored.html, stored.text)
    if not names.unknown:
        return TemplateUse(names)
    said = (
        f"whether the list has all that the template {name!r} uses is checked in part only: "
        f"what these take from it is not known: {' '.join(names.unknown)}"
    )
    return TemplateUse(names, (said,))


def push_template(path: Path, settings: Settings) -> str:
    """Store the template of a file, new or changed. Returns a sentence that says which.

    Raises:
        AccountError: SES cannot be asked.
        ConfigError: the file has faults.
        TemplateError: SES refuses the template.
    """
    file = load_template(path)
    template = TemplateContent(file.name, file.subject, file.html, file.text)

    async def put() -> bool:
        async with Templates(aws_access(settings)) as templates:
            return await templates.put(template)

    return f"{file.name}: {'created' if asyncio.run(put()) else 'changed'}"


def pull_template(name: str, settings: Settings) -> StoredTemplate:
    """A stored template.

    `bulksend.config.template_toml(**it)` makes a file of it.

    Raises:
        AccountError: SES cannot be asked.
        TemplateNotFoundError: there is none of that name.
    """
    stored = asyncio.run(_get(aws_access(settings), name))
    return {"name": stored.name, "subject": stored.subject, "html": stored.html, "text": stored.text}


def list_templates(settings: Settings) -> list[ListedTemplate]:
    """Every stored template with the time of its making.

    Raises:
        AccountError: SES cannot be asked.
    """

    async def ask() -> list[ListedTemplate]:
        async with Templates(aws_access(settings)) as templates:
            return await templates.list()

    return asyncio.run(ask())


def render_template(file: CampaignFile, data: dict[str, object], settings: Settings) -> str:
    """The campaign's mail for one row's data, with default_data under it.

    A stored template is rendered by SES. SES has no call that renders an inline one: its simple substitutions, all that
    it may have, are made here.

    Raises:
        AccountError: SES cannot be asked.
        TemplateError: the data lacks a name that the template uses, or there is no such template.
    """
    content = file.content
    merged = {**content.default_data, **data}
    if content.inline is not None:
        inline = content.inline
        try:
            parts = [f"Subject: {fill(inline.subject, merged)}"]
            parts += [fill(part, merged) for part in (inline.text, inline.html) if part is not None]
        except KeyError as error:
            raise TemplateError(
                f"it uses {error.args[0]!r}, which the row does not have",
                hint="Add a column of that name to the list, or a value to default_data in the campaign file.",
            ) from error
        return "\n\n".join(parts) + "\n"
    name = content.template or (content.template_arn or "").rpartition("/")[2]

    async def ask() -> str:
        async with Templates(aws_access(settings)) as templates:
            return await templates.render(name, merged)

    return asyncio.run(ask())


def _inline_names(inline: InlineTemplate) -> TemplateNames:
    parts = {"subject": inline.subject, "html": inline.html, "text": inline.text}
    for key, part in parts.items():
        if part is not None and (found := not_simple(part)) is not None:
            raise TemplateError(
                f"content.inline.{key} has {found}; there SES only puts values in the place of {{{{name}}}}",
                hint="Write {{name}}, the name without spaces; for conditions, loops and partials store the template: "
                "bulksend template push.",
            )
    return names_in(*parts.values())


async def _get(access: AwsAccess, name: str) -> TemplateContent:
    async with Templates(access) as templates:
        return await templates.get(name)


def _name_here(arn: str, binding: Binding) -> str | None:
    """The name of a template by its ARN, if it is one of the account and region that the campaign is bound to.

    An endpoint override stands for the account, whatever its number.
    """
    # arn:aws:ses:eu-west-1:123456789012:template/launch
    parts = arn.split(":", 5)
    if len(parts) != 6 or not parts[5].startswith("template/") or parts[3] != binding.region:  # noqa: PLR2004  parts of an ARN
        return None
    ours = bool(binding.endpoint_url) or parts[4] == binding.account
    return parts[5].partition("/")[2] if ours else None
