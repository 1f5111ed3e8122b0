"""The account's suppression list: addresses that SES accepts mail for and sends none to.

Source: API reference, PutSuppressedDestination and its kin; developer guide, Using the account-level suppression list.
"""

from __future__ import annotations

from typing import Any

from bulksend.simulator.answers import Reply, bad_request, json_reply, not_found
from bulksend.simulator.asked import Asked, Clock, instant, word
from bulksend.simulator.configuration_sets import SUPPRESSED_REASONS
from bulksend.simulator.members import is_address

__all__ = ["SuppressionList"]


class SuppressionList:
    """By address in lower case, for SES does not tell spellings by case: reason and when it was put there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._entries: dict[str, tuple[str, float]] = {}
        self._order: list[str] | None = None

    def reason(self, address: str) -> str:
        """BOUNCE or COMPLAINT; empty for an address that is not there."""
        found = self._entries.get(address.lower()) if self._entries else None
        return found[0] if found else ""

    def put(self, asked: Asked) -> Reply:
        """PutSuppressedDestination; an address that is there already gets the new reason and time."""
        request = asked.members("EmailAddress", "Reason")
        address = request.get("EmailAddress")
        if not isinstance(address, str) or not is_address(address):
            raise bad_request("EmailAddress: an address without a display name is expected.")
        reason = word(request.get("Reason"), SUPPRESSED_REASONS, "Reason")
        if not self.reason(address):
            self._order = None
        self._entries[address.lower()] = (reason, round(self._clock(), 3))
        return json_reply({})

    def get(self, asked: Asked) -> Reply:
        """GetSuppressedDestination."""
        return json_reply({"SuppressedDestination": self._entry(self._known(asked.name))})

    def delete(self, asked: Asked) -> Reply:
        """DeleteSuppressedDestination."""
        del self._entries[self._known(asked.name)]
        self._order = None
        return json_reply({})

    def list(self, asked: Asked) -> Reply:
        """ListSuppressedDestinations: put there after StartDate and before EndDate, for one of the Reasons."""
        page, query = asked.page(code="InvalidNextTokenException")
        reasons = {word(reason, SUPPRESSED_REASONS, "Reason") for reason in asked.query.get("Reason", [])}
        after = instant(query["StartDate"], "StartDate") if "StartDate" in query else float("-inf")
        before = instant(query["EndDate"], "EndDate") if "EndDate" in query else float("inf")
        if self._order is None:
            self._order = sorted(self._entries)
        keys = self._order
        if reasons or "StartDate" in query or "EndDate" in query:
            wanted = reasons or set(SUPPRESSED_REASONS)
            entries = self._entries
            keys = [key for key in keys if entries[key][0] in wanted and after <= entries[key][1] < before]
        listed, more = page.of(keys)
        return json_reply({"SuppressedDestinationSummaries": [self._entry(address) for address in listed], **more})

    def _known(self, address: str) -> str:
        if not self.reason(address):
            raise not_found(f"Email address {address} does not exist on your suppression list.")
        return address.lower()

    def _entry(self, address: str) -> dict[str, Any]:
        reason, at = self._entries[address]
        return {"EmailAddress": address, "LastUpdateTime": at, "Reason": reason}
