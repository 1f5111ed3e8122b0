"""The account's multi-region endpoints, and what becomes of them.

Source: API reference, CreateMultiRegionEndpoint and its kin, MultiRegionEndpoint.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bulksend.simulator.answers import Reply, already_exists, bad_request, json_reply, not_found
from bulksend.simulator.asked import Asked, Clock, read_list_members, read_resource_tags
from bulksend.simulator.members import members
from bulksend.simulator.settings import SimulatorSettings

__all__ = ["Endpoints"]

_NAME = re.compile(r"[\w\-]{1,64}", re.ASCII).fullmatch
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d").fullmatch


@dataclass(slots=True)
class _Endpoint:
    """`since_s` is when its last change began, of the steady clock; the other times are epoch seconds."""

    endpoint_id: str
    regions: tuple[str, str]
    created_at: float
    updated_at: float
    since_s: float
    deleting: bool = False


class Endpoints:
    """By name. For `endpoint_change_s` one is CREATING or DELETING; then it is what `endpoint_status` says, or gone."""

    def __init__(self, clock: Clock, steady: Callable[[], float], settings: Callable[[], SimulatorSettings]) -> None:
        self._clock = clock
        self._steady = steady
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._endpoints: dict[str, _Endpoint] = {}

    def check(self, endpoint_id: object) -> None:
        """Refuse to send by one that is not READY."""
        for name, endpoint in self._there().items():
            if endpoint.endpoint_id == endpoint_id:
                if (status := self._status(endpoint)) != "READY":
                    raise bad_request(f"Multi-region endpoint {name} is {status}, not READY.")
                return
        raise not_found(f"Multi-region endpoint {endpoint_id} does not exist.")

    def _there(self) -> dict[str, _Endpoint]:
        """All but those whose deleting is over, which are forgotten."""
        for name, endpoint in list(self._endpoints.items()):
            if endpoint.deleting and self._is_over(endpoint):
                del self._endpoints[name]
        return self._endpoints

    def _is_over(self, endpoint: _Endpoint) -> bool:
        return self._steady() - endpoint.since_s >= self._settings().endpoint_change_s

    def _status(self, endpoint: _Endpoint) -> str:
        if endpoint.deleting:
            return "DELETING"
        return self._settings().endpoint_status if self._is_over(endpoint) else "CREATING"

    def _known(self, asked: Asked) -> _Endpoint:
        found = self._there().get(asked.name)
        if found is None:
            raise not_found(f"Multi-region endpoint {asked.name} does not exist.")
        return found

    def create(self, asked: Asked) -> Reply:
        """CreateMultiRegionEndpoint: the request's own Region is the first."""
        request = asked.members("Details", "EndpointName", "Tags")
        name = request.get("EndpointName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("EndpointName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._there():
            raise already_exists(f"Multi-region endpoint {name} already exists.")
        details = members(request.get("Details"), frozenset({"RoutesDetails"}), "Details")
        routes = read_list_members(details.get("RoutesDetails"), frozenset({"Region"}), "Details.RoutesDetails")
        if len(routes) != 1:
            raise bad_request("Details.RoutesDetails: the one secondary Region is expected.")
        second = routes[0].get("Region")
        if not isinstance(second, str) or not _REGION(second) or second == asked.region:
            raise bad_request(f"Details.RoutesDetails[0].Region: a Region other than {asked.region} is expected.")
        read_resource_tags(request.get("Tags"))
        digits = hashlib.sha256(f"{asked.region} {name}".encode()).hexdigest()
        now = self._clock()
        made = _Endpoint(f"{digits[:9]}.{digits[9:12]}", (asked.region, second), now, now, self._steady())
        self._endpoints[name] = made
        return json_reply({"EndpointId": made.endpoint_id, "Status": "CREATING"})

    def get(self, asked: Asked) -> Reply:
        """GetMultiRegionEndpoint."""
        endpoint = self._known(asked)
        return json_reply(
            {**self._told(asked.name, endpoint), "Routes": [{"Region": region} for region in endpoint.regions]}
        )

    def list(self, asked: Asked) -> Reply:
        """ListMultiRegionEndpoints."""
        page, _ = asked.page()
        there = self._there()
        names, more = page.of(sorted(there))
        listed = [{**self._told(name, there[name]), "Regions": list(there[name].regions)} for name in names]
        return json_reply({"MultiRegionEndpoints": listed, **more})

    def delete(self, asked: Asked) -> Reply:
        """DeleteMultiRegionEndpoint."""
        endpoint = self._known(asked)
        if not endpoint.deleting:
            endpoint.deleting, endpoint.since_s, endpoint.updated_at = True, self._steady(), self._clock()
        return json_reply({"Status": "DELETING"})

    def _told(self, name: str, endpoint: _Endpoint) -> dict[str, Any]:
        return {
            "CreatedTimestamp": endpoint.created_at,
            "EndpointId": endpoint.endpoint_id,
            "EndpointName": name,
            "LastUpdatedTimestamp": endpoint.updated_at,
            "Status": self._status(endpoint),
        }
