"""The application, the options that every verb takes, and the campaign that a person means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App, Parameter

from bulksend import __version__

if TYPE_CHECKING:
    from bulksend.config import Settings
    from bulksend.worker import Target

__all__ = ["COMMON", "ORDER", "Common", "Fates", "Output", "States", "app", "target_of"]

app = App(
    name="bulksend",
    version=__version__,
    help="Bulk mail through Amazon SES: the whole quota, nobody twice, nobody lost, and proof of it.\n\n"
    "CAMPAIGN is a campaign file, such as launch.toml, or the name of a campaign that was planned, as in the file.",
    help_format="plaintext",
    result_action="return_value",
)

ORDER = (
    *("doctor", "plan", "send", "status", "pause", "resume", "cancel"),
    *("submit", "worker", "migrate"),
    *("results", "trace", "report", "resolve", "retry", "prune", "forget"),
    *("quota", "template", "events", "suppression", "endpoint", "config", "demo", "simulate", "completion"),
)
"""The verbs as they are needed one after the other; help has them so."""

Output = Literal["text", "json"]
Fates = Literal[
    "delivered",
    "bounced",
    "complained",
    "delayed",
    "rejected",
    "rendering_failed",
    "opened",
    "clicked",
    "unsubscribed",
]
States = Literal["accepted", "dead", "in_doubt", "in_flight", "pending", "skipped"]


@Parameter(name="*", group="Common")
@dataclass(frozen=True)
class Common:
    """What every verb takes. Flags come before BULKSEND_* variables, those before the configuration file."""

    config: Path | None = None
    """Configuration file; else BULKSEND_CONFIG, else config.toml in the current folder."""
    store: str | None = None
    """Where journal and snapshots live: sqlite:FOLDER or postgresql://...; else .bulksend beside the campaign file."""
    region: str | None = None
    """AWS Region to send from."""
    profile: str | None = None
    """Profile of the AWS configuration files."""
    endpoint_url: str | None = None
    """URL to speak to in place of Amazon SES, such as a simulator's."""
    log_level: Literal["debug", "info", "warning", "error"] | None = None
    """The least severe messages to log."""

    def settings(self, **more: object) -> Settings:
        """The settings in force. Raises ConfigError."""
        from bulksend.config import load_settings  # noqa: PLC0415
        from bulksend.worker.log import configure_log  # noqa: PLC0415

        flags = {
            "store": self.store,
            "aws.region": self.region,
            "aws.profile": self.profile,
            "aws.endpoint_url": self.endpoint_url,
            "log.level": self.log_level,
        }
        settings = load_settings(self.config, os.environ, flags | more)
        configure_log(settings.log.level, settings.log.format)
        return settings


COMMON = Common()


def target_of(campaign: Path, settings: Settings, *, to_plan: bool = False) -> Target:
    """By its file, or by its name in the store at hand. Raises ConfigError, JournalError, UsageError.

    Where there is no store, one is made only for what may be planned now.
    """
    from bulksend.worker import find_target  # noqa: PLC0415

    return find_target(str(campaign), settings, to_plan=to_plan)
