"""The simulated account: settings, clock, quotas, all that it has, and what it says about itself."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from bulksend.simulator.answers import Reply, SesError, json_reply
from bulksend.simulator.asked import Asked, word
from bulksend.simulator.configuration_sets import SUPPRESSED_REASONS, ConfigurationSets
from bulksend.simulator.contacts import ContactLists
from bulksend.simulator.endpoints import Endpoints
from bulksend.simulator.faults import FaultBook
from bulksend.simulator.identities import Identities
from bulksend.simulator.insights import Insights
from bulksend.simulator.members import strings
from bulksend.simulator.quota import Bucket, DayWindow
from bulksend.simulator.settings import SimulatorSettings
from bulksend.simulator.suppression import SuppressionList
from bulksend.simulator.tally import Tally
from bulksend.simulator.templates import Templates
from bulksend.simulator.tenants import Tenants

__all__ = ["Account"]


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
        self._date: tuple[int, str] = (0, "")
        self._reset_quotas()

        def in_effect() -> SimulatorSettings:
            return self.settings

        self.templates = Templates(self.clock, self.date)
        self.sets = ConfigurationSets()
        self.suppression = SuppressionList(self.clock)
        self.identities = Identities(lambda: self.settings.identities)
        self.endpoints = Endpoints(self.clock, steady, in_effect)
        self.contacts = ContactLists(self.clock)
        self.tenants = Tenants(self.clock, in_effect)
        self.insights = Insights(self.tally, steady, in_effect, self.is_suppressed)
        self._suppressed_reasons = list(SUPPRESSED_REASONS)

    def _reset_quotas(self) -> None:
        self.bucket = Bucket(self.settings.rate_per_s, self.steady())
        self.window = DayWindow(self.settings.day_s, self.steady())

    def reset(self) -> None:
        """A new account: all that it had is gone, templates and configuration sets too; rules and settings stay."""
        self.tally.reset()
        self.faults.forget_addresses()
        self._reset_quotas()
        for one in (
            *(self.templates, self.sets, self.suppression, self.identities),
            *(self.endpoints, self.contacts, self.tenants, self.insights),
        ):
            one.reset()
        self._suppressed_reasons = list(SUPPRESSED_REASONS)

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

    def check_call(self, call: Mapping[str, Any], template: Mapping[str, Any] | None) -> None:
        """Refuse a call, whose members are checked, by what the account has: endpoint, identity, tenant, template."""
        if (endpoint_id := call.get("EndpointId")) is not None:
            self.endpoints.check(endpoint_id)
        if self.settings.identities:
            self.identities.check(call["FromEmailAddress"])
        if (tenant := call.get("TenantName")) is not None:
            self.tenants.check(tenant, call, template)
        if template is not None and self.settings.strict_templates:
            self.templates.check(template)

    def is_suppressed(self, address: str) -> bool:
        """Whether mail to a bare address is accepted and not sent, since it is on the account's suppression list."""
        return self.suppression.reason(address) in self._suppressed_reasons

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

    def get_account(self, _asked: Asked) -> Reply:
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
                "SuppressionAttributes": {"SuppressedReasons": self._suppressed_reasons},
                "VdmAttributes": {
                    "DashboardAttributes": {"EngagementMetrics": "ENABLED"},
                    "GuardianAttributes": {"OptimizedSharedDelivery": "DISABLED"},
                    "VdmEnabled": "ENABLED",
                },
            }
        )

    def put_suppression(self, asked: Asked) -> Reply:
        """PutAccountSuppressionAttributes: for which reasons the suppression list holds mail back."""
        reasons = strings(asked.members("SuppressedReasons").get("SuppressedReasons") or [], "SuppressedReasons")
        self._suppressed_reasons = [word(reason, SUPPRESSED_REASONS, "SuppressedReasons") for reason in reasons]
        return json_reply({})
