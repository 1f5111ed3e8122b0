"""What SES counts of a configuration set's mails, beside what events have told of the campaign's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from bulksend.event import BounceKind, EventType
from bulksend.model import Tally
from bulksend.report.became import Became
from bulksend.report.markup import clock, isolated, table

__all__ = ["SesMetrics", "ses_metrics_facts", "ses_metrics_section"]

MAX_NAME, MAX_FAULT = 128, 400
_METRICS = {
    "SEND": "Sent",
    "DELIVERY": "Delivered",
    "PERMANENT_BOUNCE": "Bounced for good",
    "TRANSIENT_BOUNCE": "Bounced, perhaps not for good",
    "COMPLAINT": "Complained of",
    "OPEN": "Opened",
    "CLICK": "Clicked",
}


@dataclass(frozen=True, slots=True)
class SesMetrics:
    """Counts by SES's names of metrics, of whole days in UTC from `begins_at` until `ends_at` (epoch seconds).

    `regions` are those whose counts are summed up. `faults` say why there are none, or not all.
    """

    configuration_set: str
    begins_at: float
    ends_at: float
    regions: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()


def ses_metrics_facts(metrics: SesMetrics | None) -> dict[str, object] | None:
    """The stable JSON form; None where SES was not asked. Its times are epoch seconds, the counts by SES's names."""
    return None if metrics is None else {**asdict(metrics), "counts": dict(metrics.counts)}


def ses_metrics_section(metrics: SesMetrics | None, tally: Tally, became: Became) -> str:
    """The section of a page; empty where SES was not asked."""
    if metrics is None:
        return ""
    faults = "".join(f"<p>SES did not tell: {isolated(fault, MAX_FAULT)}.</p>" for fault in metrics.faults)
    if not metrics.counts:
        return f"<section><h2>By SES's own count</h2>{faults}</section>"
    ours = _ours(tally, became)
    counted = table(
        "Mails by SES's metrics, and by this report",
        ("what", "SES", "this report"),
        [
            (words, _number(metrics.counts.get(name)), _number(ours.get(name)))
            for name, words in _METRICS.items()
            if name in metrics.counts or ours.get(name)
        ],
        numbers=(1, 2),
    )
    return (
        f"<section><h2>By SES's own count</h2><p>All mails of the configuration set "
        f"{isolated(metrics.configuration_set, MAX_NAME)} in {isolated(' and '.join(metrics.regions), MAX_NAME)}, from "
        f"{clock(metrics.begins_at)} to {clock(metrics.ends_at)} UTC: those of other campaigns too. SES leaves out "
        "mails to the mailbox simulator and to several recipients, counts by day, and takes its time.</p>"
        f"{counted}{faults}</section>"
    )


def _ours(tally: Tally, became: Became) -> dict[str, int | None]:
    """By the same names; None for what nobody has told."""
    told = became.last_at is not None
    of_type = {"DELIVERY": EventType.DELIVERY, "COMPLAINT": EventType.COMPLAINT}
    of_type |= {"OPEN": EventType.OPEN, "CLICK": EventType.CLICK}
    counts: dict[str, int | None] = {"SEND": tally.accepted}
    counts |= {name: became.types.get(kind, 0) if told else None for name, kind in of_type.items()}
    counts["PERMANENT_BOUNCE"] = became.bounces.get(BounceKind.PERMANENT, 0) if told else None
    counts["TRANSIENT_BOUNCE"] = became.bounces.get(BounceKind.TRANSIENT, 0) if told else None
    return counts


def _number(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"
