"""Why those who send let nothing go out, as they tell it: for people who look from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bulksend.journal.database import Database
from bulksend.model import Campaign

__all__ = ["GOOD_FOR_S", "Standstill", "standstills_of", "tell_standstills"]

GOOD_FOR_S = 60.0
"""After so long without a word, whoever told it is taken to be gone."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Of one campaign; or of all of an account and Region, where `campaign_id` is empty and the others are not.

    `reason` is in words for people, without addresses.
    """

    reason: str
    campaign_id: str = ""
    account: str = ""
    region: str = ""


def tell_standstills(db: Database, holder: str, found: Sequence[Standstill], now: float) -> None:
    """These, and no others, of this holder; what nobody has told again for long is gone."""
    db.execute("DELETE FROM standstill WHERE holder = ? OR until < ?", (holder, now))
    db.executemany(
        "INSERT INTO standstill (holder, account, region, campaign_id, reason, until) VALUES (?, ?, ?, ?, ?, ?)",
        [(holder, one.account, one.region, one.campaign_id, one.reason, now + GOOD_FOR_S) for one in found],
    )


def standstills_of(db: Database, campaign: Campaign, now: float) -> list[str]:
    """What is told of a campaign now, by whomever; each reason once."""
    binding = campaign.binding
    rows = db.execute(
        "SELECT DISTINCT reason FROM standstill WHERE until >= ? "
        "AND (campaign_id = ? OR (campaign_id = '' AND account = ? AND region = ?)) ORDER BY reason",
        (now, campaign.id, binding.account, binding.region),
    )
    return [str(reason) for (reason,) in rows]
