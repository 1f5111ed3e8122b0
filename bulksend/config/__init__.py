"""config.toml, environment and campaign files, made into frozen, validated models; every fault is reported at once.

Importing this room imports pydantic, which is slow: command-line code imports it inside functions.
"""

from __future__ import annotations

from bulksend.config.campaign import (
    CampaignFile,
    Content,
    InDoubtPolicy,
    InlineTemplate,
    Policy,
    Recipients,
    Sender,
    frozen_keys,
    load_campaign,
)
from bulksend.config.settings import (
    AwsSettings,
    EngineSettings,
    LogSettings,
    MetricsSettings,
    PacingSettings,
    Settings,
    TransportSettings,
    load_settings,
)

__all__ = [
    "AwsSettings",
    "CampaignFile",
    "Content",
    "EngineSettings",
    "InDoubtPolicy",
    "InlineTemplate",
    "LogSettings",
    "MetricsSettings",
    "PacingSettings",
    "Policy",
    "Recipients",
    "Sender",
    "Settings",
    "TransportSettings",
    "frozen_keys",
    "load_campaign",
    "load_settings",
]
