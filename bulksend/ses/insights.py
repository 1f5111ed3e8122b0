"""What SES itself still knows of one mail.

Source: API reference, GetMessageInsights ("no more than once per second"), EmailInsights, InsightsEvent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bulksend.event import BounceKind, EventType
from bulksend.ses.inquiry import found

__all__ = ["INSIGHTS_EVERY_S", "Insight", "read_insights"]

INSIGHTS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Insight:
    """One thing that became of one mail; `at` is epoch seconds. `detail` is SES's and the receiving server's words."""

    at: float
    address: str
    provider: str
    """Whose mailbox it is, as SES sees it, such as Gmail."""
    type: EventType | None
    """None for one that is not known here."""
    bounce: BounceKind | None
    subtype: str
    detail: str


async def read_insights(client: Any, message_id: str) -> tuple[Insight, ...] | None:
    """In the order in which they happened; None where SES says that it knows nothing of the mail."""
    reply = await found(client.get_message_insights(MessageId=message_id))
    if reply is None:
        return None
    told = [
        _insight(event, str(one.get("Destination") or ""), str(one.get("Isp") or ""))
        for one in reply.get("Insights") or ()
        for event in one.get("Events") or ()
    ]
    return tuple(sorted(told, key=lambda insight: insight.at))


def _insight(event: dict[str, Any], address: str, provider: str) -> Insight:
    known = {kind.name: kind for kind in EventType}
    at, details = event.get("Timestamp"), event.get("Details") or {}
    bounce, complaint = details.get("Bounce") or {}, details.get("Complaint") or {}
    kind = str(bounce.get("BounceType") or "").lower()
    return Insight(
        at=at.timestamp() if isinstance(at, datetime) else 0.0,
        address=address,
        provider=provider,
        type=known.get(str(event.get("Type") or "")),
        bounce=BounceKind(kind) if kind in set(BounceKind) else None,
        subtype=str(bounce.get("BounceSubType") or complaint.get("ComplaintSubType") or ""),
        detail=str(bounce.get("DiagnosticCode") or complaint.get("ComplaintFeedbackType") or ""),
    )
