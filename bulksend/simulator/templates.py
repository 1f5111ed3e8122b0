"""The account's stored templates, and how they render."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bulksend.simulator.answers import Reply, already_exists, bad_request, json_reply, limit_exceeded, not_found
from bulksend.simulator.asked import Asked, Clock
from bulksend.simulator.members import template_content, template_data

__all__ = ["Templates"]

_MAX_TEMPLATES = 20_000
"""Email templates of one account and Region (developer guide, Service quotas)."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_VARIABLE = re.compile(r"\{\{\{?\s*([\w.]+)\s*\}?\}\}")


class Templates:
    """By name, each with its content and when it was made. `date` gives the Date of a rendered mail."""

    def __init__(self, clock: Clock, date: Callable[[], str]) -> None:
        self._clock = clock
        self._date = date
        self._templates: dict[str, tuple[dict[str, Any], float]] = {}

    def reset(self) -> None:
        """Forget all."""
        self._templates.clear()

    def check(self, template: Mapping[str, Any]) -> None:
        """Refuse a stored template that is unknown; `template` is a call's, checked."""
        if template.get("TemplateContent") is None:
            self._content(template.get("TemplateName") or str(template.get("TemplateArn")).rpartition("/")[2])

    def _content(self, name: str) -> dict[str, Any]:
        if name not in self._templates:
            raise not_found(f"Template {name} does not exist")
        return self._templates[name][0]

    def create(self, asked: Asked) -> Reply:
        """CreateEmailTemplate."""
        request = asked.members("TemplateContent", "TemplateName", "Tags")
        name = request.get("TemplateName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("TemplateName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._templates:
            raise already_exists(f"Template {name} already exists")
        if len(self._templates) >= _MAX_TEMPLATES:
            raise limit_exceeded("Template limit exceeded")
        self._templates[name] = (template_content(request.get("TemplateContent"), "TemplateContent"), self._clock())
        return json_reply({})

    def get(self, asked: Asked) -> Reply:
        """GetEmailTemplate."""
        return json_reply({"TemplateContent": self._content(asked.name), "TemplateName": asked.name})

    def update(self, asked: Asked) -> Reply:
        """UpdateEmailTemplate."""
        self._content(asked.name)
        content = template_content(asked.members("TemplateContent").get("TemplateContent"), "TemplateContent")
        self._templates[asked.name] = (content, self._templates[asked.name][1])
        return json_reply({})

    def delete(self, asked: Asked) -> Reply:
        """DeleteEmailTemplate."""
        self._content(asked.name)
        del self._templates[asked.name]
        return json_reply({})

    def list(self, asked: Asked) -> Reply:
        """ListEmailTemplates."""
        page, _ = asked.page()
        names, more = page.of(sorted(self._templates))
        listed = [{"CreatedTimestamp": self._templates[name][1], "TemplateName": name} for name in names]
        return json_reply({"TemplatesMetadata": listed, **more})

    def render(self, asked: Asked) -> Reply:
        """TestRenderEmailTemplate, for simple substitutions."""
        content = self._content(asked.name)
        data = template_data(asked.members("TemplateData").get("TemplateData"), "TemplateData")

        def fill(match: re.Match[str]) -> str:
            value: Any = data
            for key in match[1].split("."):
                if not isinstance(value, dict) or key not in value:
                    raise bad_request(f"Attribute '{match[1]}' is not present in the rendering data.")
                value = value[key]
            return str(value)

        parts = {key: _VARIABLE.sub(fill, content.get(key) or "") for key in ("Subject", "Text", "Html")}
        lines = [f"Date: {self._date()}", f"Subject: {parts['Subject']}", "MIME-Version: 1.0"]
        lines.append('Content-Type: multipart/alternative; boundary="part"')
        for key, kind in (("Text", "plain"), ("Html", "html")):
            if content.get(key):
                lines += ["", "--part", f"Content-Type: text/{kind}; charset=UTF-8", "", parts[key]]
        return json_reply({"RenderedTemplate": "\r\n".join([*lines, "--part--", ""])})
