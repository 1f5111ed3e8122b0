"""Making configuration sets and event destinations.

Sources: API reference, CreateConfigurationSet, CreateConfigurationSetEventDestination,
UpdateConfigurationSetEventDestination, EventDestinationDefinition.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from bulksend.event import EventType

__all__ = ["create_destination", "create_set", "update_destination"]


async def create_set(client: Any, name: str) -> None:
    """A configuration set that sends, has metrics of its reputation, suppresses what SES can, and tracks nothing."""
    await client.create_configuration_set(
        ConfigurationSetName=name,
        SendingOptions={"SendingEnabled": True},
        ReputationOptions={"ReputationMetricsEnabled": True},
        SuppressionOptions={"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
    )


async def create_destination(client: Any, set_name: str, name: str, types: Collection[EventType], target: str) -> None:
    """An enabled event destination; `target` is the ARN of a topic or of the default event bus."""
    await client.create_configuration_set_event_destination(
        ConfigurationSetName=set_name, EventDestinationName=name, EventDestination=_definition(types, target)
    )


async def update_destination(client: Any, set_name: str, name: str, types: Collection[EventType], target: str) -> None:
    """The same in place of what an event destination is now."""
    await client.update_configuration_set_event_destination(
        ConfigurationSetName=set_name, EventDestinationName=name, EventDestination=_definition(types, target)
    )


def _definition(types: Collection[EventType], target: str) -> dict[str, Any]:
    by_bus = target.split(":")[2] == "events"
    return {
        "Enabled": True,
        "MatchingEventTypes": sorted(kind.name for kind in types),
        **({"EventBridgeDestination": {"EventBusArn": target}} if by_bus else {"SnsDestination": {"TopicArn": target}}),
    }
