"""The account's configuration sets: their options, and where their events go.

Limits are those of the API reference (CreateConfigurationSet, EventDestinationDefinition and the destinations).
"""

from __future__ import annotations

import re
from typing import Any

from bulksend.simulator.answers import Reply, already_exists, bad_request, json_reply, limit_exceeded, not_found
from bulksend.simulator.asked import Asked, read_list_members, read_resource_tags, word
from bulksend.simulator.members import members, strings

__all__ = ["SUPPRESSED_REASONS", "ConfigurationSets"]

SUPPRESSED_REASONS = ("BOUNCE", "COMPLAINT")
_MAX_DESTINATIONS = 10
"""Event destinations of one configuration set (developer guide, Service quotas)."""
_EVENT_TYPES = (
    "SEND",
    "REJECT",
    "BOUNCE",
    "COMPLAINT",
    "DELIVERY",
    "OPEN",
    "CLICK",
    "RENDERING_FAILURE",
    "DELIVERY_DELAY",
    "SUBSCRIPTION",
)
_DESTINATIONS: dict[str, tuple[str, ...]] = {
    "CloudWatchDestination": ("DimensionConfigurations",),
    "EventBridgeDestination": ("EventBusArn",),
    "KinesisFirehoseDestination": ("DeliveryStreamArn", "IamRoleArn"),
    "PinpointDestination": ("ApplicationArn",),
    "SnsDestination": ("TopicArn",),
}
"""Each kind with its members, which are all required but Pinpoint's."""
_DIMENSION = frozenset({"DefaultDimensionValue", "DimensionName", "DimensionValueSource"})
_DIMENSION_SOURCES = ("MESSAGE_TAG", "EMAIL_HEADER", "LINK_TAG")
_DEFINITION = frozenset({"Enabled", "MatchingEventTypes", *_DESTINATIONS})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_ARN = re.compile(r"arn:aws[a-z-]*:[a-z]+:\S+").fullmatch
_OPTIONS: dict[str, frozenset[str]] = {
    "ArchivingOptions": frozenset({"ArchiveArn"}),
    "DeliveryOptions": frozenset({"MaxDeliverySeconds", "SendingPoolName", "TlsPolicy"}),
    "ReputationOptions": frozenset({"LastFreshStart", "ReputationMetricsEnabled"}),
    "SendingOptions": frozenset({"SendingEnabled"}),
    "SuppressionOptions": frozenset({"SuppressedReasons", "ValidationOptions"}),
    "TrackingOptions": frozenset({"CustomRedirectDomain", "HttpsPolicy"}),
    "VdmOptions": frozenset({"DashboardOptions", "GuardianOptions"}),
}


class ConfigurationSets:
    """By name, each with its options: the same in every Region. Its event destinations are those of each Region."""

    def __init__(self) -> None:
        self._sets: dict[str, dict[str, Any]] = {}
        self._destinations: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def reset(self) -> None:
        """Forget all."""
        self._sets.clear()
        self._destinations.clear()

    def is_paused(self, name: object) -> bool:
        """Whether nothing may be sent with the configuration set; one that was not created here may."""
        found = self._sets.get(name) if isinstance(name, str) else None
        return found is not None and not found["SendingOptions"]["SendingEnabled"]

    def _options(self, name: str) -> dict[str, Any]:
        if name not in self._sets:
            raise not_found(f"Configuration set {name} does not exist.")
        return self._sets[name]

    def create(self, asked: Asked) -> Reply:
        """CreateConfigurationSet."""
        request = asked.members("ConfigurationSetName", "Tags", *_OPTIONS)
        name = request.get("ConfigurationSetName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("ConfigurationSetName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._sets:
            raise already_exists(f"Configuration set {name} already exists.")
        made: dict[str, Any] = {"ConfigurationSetName": name, "Tags": read_resource_tags(request.get("Tags"))}
        for option, known in _OPTIONS.items():
            if request.get(option) is not None:
                made[option] = members(request[option], known, option)
        made["SendingOptions"] = _sending(made.get("SendingOptions") or {})
        made["ReputationOptions"] = {"ReputationMetricsEnabled": False, **made.get("ReputationOptions", {})}
        if "SuppressionOptions" in made:
            _check_reasons(made["SuppressionOptions"])
        self._sets[name] = made
        return json_reply({})

    def get(self, asked: Asked) -> Reply:
        """GetConfigurationSet."""
        return json_reply(self._options(asked.name))

    def delete(self, asked: Asked) -> Reply:
        """DeleteConfigurationSet."""
        self._options(asked.name)
        del self._sets[asked.name]
        for region, name in [key for key in self._destinations if key[1] == asked.name]:
            del self._destinations[region, name]
        return json_reply({})

    def list(self, asked: Asked) -> Reply:
        """ListConfigurationSets."""
        page, _ = asked.page()
        names, more = page.of(sorted(self._sets))
        return json_reply({"ConfigurationSets": names, **more})

    def put_sending(self, asked: Asked) -> Reply:
        """PutConfigurationSetSendingOptions."""
        self._options(asked.name)["SendingOptions"] = _sending(asked.members("SendingEnabled"))
        return json_reply({})

    def put_reputation(self, asked: Asked) -> Reply:
        """PutConfigurationSetReputationOptions."""
        options, request = self._options(asked.name), asked.members("ReputationMetricsEnabled")
        options["ReputationOptions"]["ReputationMetricsEnabled"] = _flag(request, "ReputationMetricsEnabled")
        return json_reply({})

    def put_suppression(self, asked: Asked) -> Reply:
        """PutConfigurationSetSuppressionOptions."""
        options, request = self._options(asked.name), asked.members("SuppressedReasons", "ValidationOptions")
        _check_reasons(request)
        options["SuppressionOptions"] = request
        return json_reply({})

    def get_destinations(self, asked: Asked) -> Reply:
        """GetConfigurationSetEventDestinations."""
        return json_reply({"EventDestinations": list(self._destinations_of(asked).values())})

    def create_destination(self, asked: Asked) -> Reply:
        """CreateConfigurationSetEventDestination."""
        there = self._destinations_of(asked)
        request = asked.members("EventDestination", "EventDestinationName")
        name = request.get("EventDestinationName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("EventDestinationName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in there:
            raise already_exists(f"Event destination {name} already exists in {asked.name}.")
        if len(there) >= _MAX_DESTINATIONS:
            raise limit_exceeded(f"Maximum number of event destinations reached: {_MAX_DESTINATIONS}.")
        there[name] = {"Name": name, **_definition(request.get("EventDestination"))}
        return json_reply({})

    def update_destination(self, asked: Asked) -> Reply:
        """UpdateConfigurationSetEventDestination: the new definition takes the place of the old one."""
        name, definition = self._destination(asked), asked.members("EventDestination").get("EventDestination")
        self._destinations_of(asked)[name] = {"Name": name, **_definition(definition)}
        return json_reply({})

    def delete_destination(self, asked: Asked) -> Reply:
        """DeleteConfigurationSetEventDestination."""
        del self._destinations_of(asked)[self._destination(asked)]
        return json_reply({})

    def _destinations_of(self, asked: Asked) -> dict[str, dict[str, Any]]:
        self._options(asked.name)
        return self._destinations.setdefault((asked.region, asked.name), {})

    def _destination(self, asked: Asked) -> str:
        _, name = asked.names
        if name not in self._destinations_of(asked):
            raise not_found(f"Event destination {name} does not exist in {asked.name}.")
        return name


def _flag(request: dict[str, Any], name: str) -> bool:
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise bad_request(f"{name}: true or false is expected.")
    return value


def _sending(options: dict[str, Any]) -> dict[str, bool]:
    return {"SendingEnabled": _flag({"SendingEnabled": True, **options}, "SendingEnabled")}


def _check_reasons(options: dict[str, Any]) -> None:
    for reason in strings(options.get("SuppressedReasons") or [], "SuppressedReasons"):
        word(reason, SUPPRESSED_REASONS, "SuppressedReasons")


def _definition(value: Any) -> dict[str, Any]:
    """Check an EventDestinationDefinition: one destination, known types."""
    where = "EventDestination"
    definition = members(value, _DEFINITION, where)
    types = strings(definition.get("MatchingEventTypes"), f"{where}.MatchingEventTypes")
    if not types:
        raise bad_request(f"{where}.MatchingEventTypes: at least one is expected.")
    for one in types:
        word(one, _EVENT_TYPES, f"{where}.MatchingEventTypes")
    kinds = [kind for kind in _DESTINATIONS if definition.get(kind) is not None]
    if len(kinds) != 1:
        raise bad_request(f"{where}: exactly one of {', '.join(_DESTINATIONS)} is expected.")
    (kind,) = kinds
    destination = members(definition[kind], frozenset(_DESTINATIONS[kind]), f"{where}.{kind}")
    for name in _DESTINATIONS[kind]:
        given = destination.get(name)
        if name == "DimensionConfigurations":
            _dimensions(given, f"{where}.{kind}.{name}")
        elif not (given is None and kind == "PinpointDestination") and not (isinstance(given, str) and _ARN(given)):
            raise bad_request(f"{where}.{kind}.{name}: an ARN is expected.")
    enabled = _flag(definition, "Enabled")
    return {"Enabled": enabled, "MatchingEventTypes": list(dict.fromkeys(types)), kind: destination}


def _dimensions(value: Any, where: str) -> None:
    dimensions = read_list_members(value, _DIMENSION, where)
    if not dimensions:
        raise bad_request(f"{where}: at least one is expected.")
    for dimension in dimensions:
        word(dimension.get("DimensionValueSource"), _DIMENSION_SOURCES, f"{where}.DimensionValueSource")
        for name in ("DefaultDimensionValue", "DimensionName"):
            if not isinstance(dimension.get(name), str) or not dimension[name]:
                raise bad_request(f"{where}.{name}: missing.")
