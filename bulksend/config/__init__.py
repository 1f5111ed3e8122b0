"""config.toml, environment and campaign files, made into frozen, validated models; every fault is reported at once.

Importing this room imports pydantic, which is slow: command-line code imports it inside functions.
"""

from __future__ import annotations

from bulksend.config.attachments import AttachedFile, Attachment, read_attachments
from bulksend.config.campaign import (
    CampaignFile,
    Content,
    InDoubtPolicy,
    InlineTemplate,
    Policy,
    Recipients,
    Sender,
    UnsubscribeTable,
    campaign_of_tables,
    frozen_keys,
    load_campaign,
)
from bulksend.config.settings import (
    AwsSettings,
    EngineSettings,
    FleetSettings,
    HttpSettings,
    LogSettings,
    MetricsSettings,
    PacingSettings,
    Settings,
    TransportSettings,
    UnsubscribeSettings,
    WorkerSettings,
    load_settings,
)
from bulksend.config.template import TemplateFile, load_template, template_toml

__all__ = [
    "AttachedFile",
    "Attachment",
    "AwsSettings",
    "CampaignFile",
    "Content",
    "EngineSettings",
    "FleetSettings",
    "HttpSettings",
    "InDoubtPolicy",
    "InlineTemplate",
    "LogSettings",
    "MetricsSettings",
    "PacingSettings",
    "Policy",
    "Recipients",
    "Sender",
    "Settings",
    "TemplateFile",
    "TransportSettings",
    "UnsubscribeSettings",
    "UnsubscribeTable",
    "WorkerSettings",
    "campaign_of_tables",
    "frozen_keys",
    "load_campaign",
    "load_settings",
    "load_template",
    "read_attachments",
    "template_toml",
]
