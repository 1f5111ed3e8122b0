"""What SES itself counts of a configuration set's mails, by day: the metrics of the Virtual Deliverability Manager.

Sources: API reference, BatchGetMetricData (16 calls, and 160 queries, a second at most), BatchGetMetricDataQuery. Mails
to the mailbox simulator and to more than one recipient are not counted there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["METRICS", "MetricCounts", "read_metrics"]

METRICS = ("SEND", "DELIVERY", "PERMANENT_BOUNCE", "TRANSIENT_BOUNCE", "COMPLAINT", "OPEN", "CLICK")


@dataclass(frozen=True, slots=True)
class MetricCounts:
    """Sums by metric; `faults` has in SES's words why others have none."""

    counts: dict[str, int]
    faults: dict[str, str]


async def read_metrics(client: Any, configuration_set: str, begins_at: float, ends_at: float) -> MetricCounts:
    """BatchGetMetricData, over an SDK client: all METRICS between two instants in epoch seconds, in one call."""
    interval = {"StartDate": datetime.fromtimestamp(begins_at, UTC), "EndDate": datetime.fromtimestamp(ends_at, UTC)}
    reply = await client.batch_get_metric_data(
        Queries=[
            {
                "Id": metric.lower(),
                "Namespace": "VDM",
                "Metric": metric,
                "Dimensions": {"CONFIGURATION_SET": configuration_set},
                **interval,
            }
            for metric in METRICS
        ]
    )
    return MetricCounts(
        {str(one["Id"]).upper(): sum(one.get("Values") or ()) for one in reply.get("Results") or ()},
        {
            str(one.get("Id") or "").upper(): f"{one.get('Code') or ''}: {one.get('Message') or ''}".strip(": ")
            for one in reply.get("Errors") or ()
        },
    )
