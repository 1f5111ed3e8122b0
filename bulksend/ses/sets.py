"""Configuration sets: whether they send, and where their events go.

Sources: API reference, GetConfigurationSet, GetConfigurationSetEventDestinations, EventDestination.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulksend.event import EventType
from bulksend.ses.inquiry import found

__all__ = ["ConfigurationSet", "EventDestination", "read_set"]

_KINDS = {
    "SnsDestination": "SNS",
    "EventBridgeDestination": "EventBridge",
    "KinesisFirehoseDestination": "Firehose",
    "CloudWatchDestination": "CloudWatch",
    "PinpointDestination": "Pinpoint",
}
_TARGETS = ("TopicArn", "EventBusArn", "DeliveryStreamArn", "ApplicationArn")
_QUEUED = ("SNS", "EventBridge")


@dataclass(frozen=True, slots=True)
class EventDestination:
    """Where events of these types go; `kind` is SNS, EventBridge, Firehose, CloudWatch or Pinpoint.

    `target` is the ARN of the topic, event bus, delivery stream or application; empty where there is none.
    """

    name: str
    kind: str
    enabled: bool
    types: frozenset[EventType]
    target: str = ""

    @property
    def leads_to_a_queue(self) -> bool:
        """Whether its events can come to where bulksend takes them from."""
        return self.enabled and self.kind in _QUEUED


@dataclass(frozen=True, slots=True)
class ConfigurationSet:
    """A configuration set. `suppressed_reasons` is None where it goes by the account's."""

    name: str
    sending_enabled: bool
    suppressed_reasons: tuple[str, ...] | None
    destinations: tuple[EventDestination, ...]

    @property
    def covered(self) -> frozenset[EventType]:
        """Types whose events can come to a queue."""
        return frozenset().union(*(one.types for one in self.destinations if one.leads_to_a_queue))


async def read_set(client: Any, name: str) -> ConfigurationSet | None:
    """The configuration set with its event destinations; None where there is none of that name."""
    reply = await found(client.get_configuration_set(ConfigurationSetName=name))
    if reply is None:
        return None
    listed = await client.get_configuration_set_event_destinations(ConfigurationSetName=name)
    suppression = reply.get("SuppressionOptions")
    return ConfigurationSet(
        name,
        sending_enabled=bool((reply.get("SendingOptions") or {}).get("SendingEnabled", True)),
        suppressed_reasons=None if suppression is None else tuple(suppression.get("SuppressedReasons") or ()),
        destinations=tuple(_destination(one) for one in listed.get("EventDestinations") or ()),
    )


def _destination(one: dict[str, Any]) -> EventDestination:
    known = {kind.name: kind for kind in EventType}
    return EventDestination(
        str(one.get("Name") or ""),
        next((kind for member, kind in _KINDS.items() if one.get(member)), "of an unknown kind"),
        enabled=bool(one.get("Enabled")),
        types=frozenset(known[name] for name in one.get("MatchingEventTypes") or () if name in known),
        target=next((str(value) for member in _KINDS for value in _arns(one.get(member))), ""),
    )


def _arns(destination: dict[str, Any] | None) -> list[Any]:
    return [value for name, value in (destination or {}).items() if name in _TARGETS and value]
