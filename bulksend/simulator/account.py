"""The simulated account: settings, clock, quotas, templates, configuration sets, and what it says about itself."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from bulksend.simulator.answers import Reply, SesError, bad_request, json_reply
from bulksend.simulator.faults import FaultBook
from bulksend.simulator.members import json_object, members, template_content, template_data
from bulksend.simulator.quota import Bucket, DayWindow
from bulksend.simulator.settings import SimulatorSettings
from bulksend.simulator.tally import Tally

__all__ = ["Account"]

_MAX_TEMPLATES = 20_000
"""Email templates of one account and Region (developer guide, Service quotas)."""
_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_SET_NAME = _TEMPLATE_NAME
_VARIABLE = re.compile(r"\{\{\{?\s*([\w.]+)\s*\}?\}\}")


class Account:
    """One account in one Region. `now` is the time of day in epoch seconds, `steady` a clock that never jumps."""

    def __init__(
        self,
        settings: SimulatorSettings,
        *,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.now = now
        self.steady = steady
        self.run = int(now() * 1000)
        self.requests = 0
        self.faults = FaultBook(settings.seed)
        self.tally = Tally(self.run)
        self.jitter = random.Random(settings.seed)  # noqa: S311 - latency wants to be repeatable
        self._reset_quotas()
        self._templates: dict[str, tuple[dict[str, Any], float]] = {}
        self._sets: dict[str, dict[str, Any]] = {}
        self._date: tuple[int, str] = (0, "")

    def _reset_quotas(self) -> None:
        self.bucket = Bucket(self.settings.rate_per_s, self.steady())
        self.window = DayWindow(self.settings.day_s, self.steady())

    def reset(self) -> None:
        """A new day: tally, quotas and the faulty addresses begin again; rules, settings and templates stay."""
        self.tally.reset()
        self.faults.forget_addresses()
        self._reset_quotas()

    def apply(self, settings: SimulatorSettings) -> None:
        """Other settings from now on."""
        self.bucket.set_rate(settings.rate_per_s, self.steady())
        self.settings = settings

    def clock(self) -> float:
        """The simulator's own time of day, epoch seconds."""
        return self.now() + self.settings.clock_offset_s

    def date(self) -> str:
        """The Date header."""
        second = int(self.clock())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]

    def foreign(self, recipients: int) -> None:
        """Another sender of the account sends: rate and day are spent."""
        self.bucket.spend(recipients, self.steady())
        self.window.add(recipients, self.steady())

    def latency_s(self) -> float:
        """How long the next answer takes."""
        settings = self.settings
        jitter = self.jitter.uniform(0, settings.latency_jitter_ms) if settings.latency_jitter_ms else 0.0
        return (settings.latency_ms + jitter) / 1000

    def check_sending(self) -> None:
        """Refuse to send for an account that may not (API reference, SendBulkEmail, Errors)."""
        if self.settings.enforcement_status == "SHUTDOWN":
            raise SesError(400, "AccountSuspendedException", "The account's ability to send email is restricted.")
        if not self.settings.sending_enabled:
            raise SesError(400, "SendingPausedException", "The account's ability to send email is currently paused.")

    def check_template(self, template: Mapping[str, Any] | None) -> None:
        """Refuse an unknown stored template, where the settings want that."""
        if template is None or not self.settings.strict_templates or template.get("TemplateContent") is not None:
            return
        name = template.get("TemplateName") or str(template.get("TemplateArn")).rpartition("/")[2]
        if name not in self._templates:
            raise SesError(404, "NotFoundException", f"Template {name} does not exist")

    def day_is_spent(self) -> bool:
        """Whether the rolling day has nothing left. One call may overdraw it, as it may the rate."""
        quota = self.settings.day_quota
        return self.settings.enforce and quota >= 0 and self.window.total(self.steady()) >= quota

    def is_verified(self, address: str) -> bool:
        """Whether the sandbox may send there: the mailbox simulator, or a verified address or domain."""
        address = address.rpartition("<")[2].rstrip(">").lower()
        domain = address.rpartition("@")[2]
        return domain == "simulator.amazonses.com" or any(
            v.lower() in (address, domain) for v in self.settings.verified
        )

    def get_account(self, _argument: str, _query: Mapping[str, str], _body: bytes) -> Reply:
        """GetAccount."""
        settings = self.settings
        return json_reply(
            {
                "DedicatedIpAutoWarmupEnabled": False,
                "EnforcementStatus": settings.enforcement_status,
                "ProductionAccessEnabled": not settings.sandbox,
                "SendQuota": {
                    "Max24HourSend": float(settings.day_quota),
                    "MaxSendRate": float(settings.rate_per_s),
                    "SentLast24Hours": float(self.window.total(self.steady())),
                },
                "SendingEnabled": settings.sending_enabled,
                "SuppressionAttributes": {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
            }
        )

    def create_template(self, _argument: str, _query: Mapping[str, str], body: bytes) -> Reply:
        """CreateEmailTemplate."""
        request = members(
            json_object(body), frozenset({"TemplateContent", "TemplateName", "Tags"}), "CreateEmailTemplate"
        )
        name = request.get("TemplateName")
        if not isinstance(name, str) or not _TEMPLATE_NAME(name):
            raise bad_request("TemplateName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._templates:
            raise SesError(400, "AlreadyExistsException", f"Template {name} already exists")
        if len(self._templates) >= _MAX_TEMPLATES:
            raise SesError(400, "LimitExceededException", "Template limit exceeded")
        self._templates[name] = (template_content(request.get("TemplateContent"), "TemplateContent"), self.clock())
        return json_reply({})

    def _template(self, name: str) -> dict[str, Any]:
        if name not in self._templates:
            raise SesError(404, "NotFoundException", f"Template {name} does not exist")
        return self._templates[name][0]

    def get_template(self, name: str, _query: Mapping[str, str], _body: bytes) -> Reply:
        """GetEmailTemplate."""
        return json_reply({"TemplateContent": self._template(name), "TemplateName": name})

    def update_template(self, name: str, _query: Mapping[str, str], body: bytes) -> Reply:
        """UpdateEmailTemplate."""
        self._template(name)
        request = members(json_object(body), frozenset({"TemplateContent"}), "UpdateEmailTemplate")
        content = template_content(request.get("TemplateContent"), "TemplateContent")
        self._templates[name] = (content, self._templates[name][1])
        return json_reply({})

    def delete_template(self, name: str, _query: Mapping[str, str], _body: bytes) -> Reply:
        """DeleteEmailTemplate."""
        self._template(name)
        del self._templates[name]
        return json_reply({})

    def list_templates(self, _argument: str, query: Mapping[str, str], _body: bytes) -> Reply:
        """ListEmailTemplates."""
        names, token = _page(sorted(self._templates), query)
        listed = [{"CreatedTimestamp": self._templates[name][1], "TemplateName": name} for name in names]
        return json_reply({"TemplatesMetadata": listed, **token})

    def render_template(self, name: str, _query: Mapping[str, str], body: bytes) -> Reply:
        """TestRenderEmailTemplate, for simple substitutions."""
        content = self._template(name)
        request = members(json_object(body), frozenset({"TemplateData"}), "TestRenderEmailTemplate")
        data = template_data(request.get("TemplateData"), "TemplateData")

        def fill(match: re.Match[str]) -> str:
            value: Any = data
            for key in match[1].split("."):
                if not isinstance(value, dict) or key not in value:
                    raise bad_request(f"Attribute '{match[1]}' is not present in the rendering data.")
                value = value[key]
            return str(value)

        parts = {key: _VARIABLE.sub(fill, content.get(key) or "") for key in ("Subject", "Text", "Html")}
        lines = [f"Date: {self.date()}", f"Subject: {parts['Subject']}", "MIME-Version: 1.0"]
        lines.append('Content-Type: multipart/alternative; boundary="part"')
        for key, kind in (("Text", "plain"), ("Html", "html")):
            if content.get(key):
                lines += ["", "--part", f"Content-Type: text/{kind}; charset=UTF-8", "", parts[key]]
        return json_reply({"RenderedTemplate": "\r\n".join([*lines, "--part--", ""])})

    def create_set(self, _argument: str, _query: Mapping[str, str], body: bytes) -> Reply:
        """CreateConfigurationSet."""
        request = json_object(body)
        name = request.get("ConfigurationSetName")
        if not isinstance(name, str) or not _SET_NAME(name):
            raise bad_request("ConfigurationSetName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._sets:
            raise SesError(400, "AlreadyExistsException", f"Configuration set {name} already exists.")
        self._sets[name] = request
        return json_reply({})

    def get_set(self, name: str, _query: Mapping[str, str], _body: bytes) -> Reply:
        """GetConfigurationSet."""
        if name not in self._sets:
            raise SesError(404, "NotFoundException", f"Configuration set {name} does not exist.")
        return json_reply({"SendingOptions": {"SendingEnabled": True}, **self._sets[name]})

    def list_sets(self, _argument: str, query: Mapping[str, str], body: bytes) -> Reply:
        """ListConfigurationSets; newer SDKs post what older ones put into the query."""
        asked = json_object(body) if body else query
        names, token = _page(sorted(self._sets), {key: str(value) for key, value in asked.items()})
        return json_reply({"ConfigurationSets": names, **token})


def _page(names: list[str], query: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """One page of a list, and the NextToken after it."""
    size, start = query.get("PageSize", "100"), query.get("NextToken", "0")
    if not (size.isdecimal() and start.isdecimal() and len(start) < 10 and 1 <= int(size) <= 1000):  # noqa: PLR2004
        raise bad_request("PageSize or NextToken is invalid.")
    end = int(start) + int(size)
    return names[int(start) : end], ({"NextToken": str(end)} if end < len(names) else {})
