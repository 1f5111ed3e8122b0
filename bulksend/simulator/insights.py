"""What the account can be asked about mails that it accepted: one mail's insights, and metrics by day.

Sources: API reference, GetMessageInsights, EmailInsights, InsightsEvent, BatchGetMetricData, BatchGetMetricDataQuery.
Unlike SES's, the metrics count mails to the mailbox simulator and to several recipients too.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bulksend.event import EventType
from bulksend.simulator.answers import Reply, bad_request, json_reply, not_found, too_many_requests
from bulksend.simulator.asked import Asked, instant, read_list_members, word
from bulksend.simulator.event_mails import Mail
from bulksend.simulator.event_shapes import Fate
from bulksend.simulator.members import members
from bulksend.simulator.settings import SimulatorSettings
from bulksend.simulator.tally import Tally

__all__ = ["Insights"]

_DAY_S = 86_400
_SECOND_S = 0.95
"""A little less than a second, so that a client that keeps to the rate is not refused for its clock."""
_MOST_QUERIES = 10
_MOST_DAYS = 366
_INSIGHTS_PER_S, _BATCHES_PER_S, _QUERIES_PER_S = 1, 16, 160
_QUERY = frozenset({"Dimensions", "EndDate", "Id", "Metric", "Namespace", "StartDate"})
_DIMENSIONS = frozenset({"CONFIGURATION_SET", "EMAIL_IDENTITY", "ISP"})
_METRICS = (
    "SEND",
    "COMPLAINT",
    "PERMANENT_BOUNCE",
    "TRANSIENT_BOUNCE",
    "OPEN",
    "CLICK",
    "DELIVERY",
    "DELIVERY_OPEN",
    "DELIVERY_CLICK",
    "DELIVERY_COMPLAINT",
)
_ISPS = {"gmail.com": "Gmail", "hotmail.com": "Hotmail", "outlook.com": "Hotmail", "yahoo.com": "Yahoo"}
_USUAL = (EventType.SEND, EventType.DELIVERY)


@dataclass(slots=True)
class _Campaign:
    """What its calls had in common, and its mails that were not just delivered.

    `befell` is by message id, with the address of each fate; `days` counts metrics by day since 1970, of which
    UNDELIVERED is taken from what was sent.
    """

    sender: str = ""
    configuration_set: str = ""
    subject: str = ""
    befell: dict[str, list[tuple[Fate, str]]] = field(default_factory=dict)
    days: Counter[tuple[str, int]] = field(default_factory=Counter)


class Insights:
    """Of the mails in the tally. What was not said to have befallen a mail, by events, is its delivery."""

    def __init__(
        self,
        tally: Tally,
        steady: Callable[[], float],
        settings: Callable[[], SimulatorSettings],
        is_suppressed: Callable[[str], bool],
    ) -> None:
        self._tally = tally
        self._steady = steady
        self._settings = settings
        self._is_suppressed = is_suppressed
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._campaigns: dict[str, _Campaign] = {}
        self._insights, self._batches, self._queries = deque[float](), deque[float](), deque[float]()

    def accepted(self, campaign: str, call: dict[str, Any]) -> None:
        """A call of the campaign was accepted, or some of it; all its calls have the same sender and set."""
        if campaign in self._campaigns:
            return
        content = call.get("DefaultContent") or call["Content"]
        written = content.get("Simple") or (content.get("Template") or {}).get("TemplateContent") or {}
        subject = written.get("Subject") or ""
        self._campaigns[campaign] = _Campaign(
            call["FromEmailAddress"],
            call.get("ConfigurationSetName") or "",
            subject if isinstance(subject, str) else subject["Data"],
        )

    def befell(self, mail: Mail, fates: Iterable[tuple[Fate, Sequence[str]]]) -> None:
        """What became of a mail."""
        befell = [(fate, address) for fate, addresses in fates for address in addresses]
        if all(fate.type in _USUAL for fate, _ in befell):
            return
        campaign = self._campaigns.setdefault(mail.campaign, _Campaign())
        campaign.befell[mail.message_id] = befell
        day = int(mail.at // _DAY_S)
        kinds = {_metric(fate) for fate, _ in befell}
        if "DELIVERY" not in kinds:
            kinds.add("UNDELIVERED")
        campaign.days.update((kind, day) for kind in kinds)

    def get(self, asked: Asked) -> Reply:
        """GetMessageInsights: no more than once per second."""
        if self._is_over(self._insights, 1, _INSIGHTS_PER_S):
            raise too_many_requests("GetMessageInsights: at most once per second.")
        found = self._tally.find(asked.name)
        if found is None:
            raise not_found(f"Message {asked.name} does not exist.")
        name, log, place = found
        campaign = self._campaigns.get(name, _Campaign())
        address, at = log.address(place), log.times[place]
        befell = campaign.befell.get(asked.name) or [
            (Fate(EventType.SEND), address),
            (_SUPPRESSED if self._is_suppressed(address) else Fate(EventType.DELIVERY), address),
        ]
        events: dict[str, list[dict[str, Any]]] = {}
        for fate, one in befell:
            events.setdefault(one, []).append(_event(fate, at))
        told = {
            "EmailTags": _tags(name, log.rows[place], campaign),
            "FromEmailAddress": campaign.sender,
            "Insights": [
                {"Destination": one, "Events": known, "Isp": _ISPS.get(one.rpartition("@")[2].lower(), "Other")}
                for one, known in events.items()
            ],
            "MessageId": asked.name,
        }
        if campaign.subject:
            told["Subject"] = campaign.subject
        return json_reply(told)

    def metrics(self, asked: Asked) -> Reply:
        """BatchGetMetricData: sums by day. The simulator does not tell mailbox providers apart."""
        queries = read_list_members(asked.members("Queries").get("Queries"), _QUERY, "Queries")
        if not 1 <= len(queries) <= _MOST_QUERIES:
            raise bad_request(f"Queries: 1 to {_MOST_QUERIES} are expected.")
        if self._is_over(self._batches, 1, _BATCHES_PER_S) or self._is_over(
            self._queries, len(queries), _QUERIES_PER_S
        ):
            raise too_many_requests("BatchGetMetricData: at most 16 times, and 160 queries, per second.")
        results, errors = [], []
        for i, query in enumerate(queries):
            where = f"Queries[{i}]"
            word(query.get("Namespace"), ("VDM",), f"{where}.Namespace")
            metric = word(query.get("Metric"), _METRICS, f"{where}.Metric")
            name = query.get("Id")
            if not isinstance(name, str) or not 1 <= len(name) <= 255 or name in {q["Id"] for q in queries[:i]}:  # noqa: PLR2004
                raise bad_request(f"{where}.Id: 1 to 255 characters, another for each query, are expected.")
            dimensions = members(query.get("Dimensions") or {}, _DIMENSIONS, f"{where}.Dimensions")
            start = int(instant(query.get("StartDate"), f"{where}.StartDate") // _DAY_S)
            end = int(-(-instant(query.get("EndDate"), f"{where}.EndDate") // _DAY_S))
            if not 0 < end - start <= _MOST_DAYS:
                raise bad_request(f"{where}: EndDate must be after StartDate, and {_MOST_DAYS} days at most.")
            if "ISP" in dimensions:
                errors.append({"Code": "INTERNAL_FAILURE", "Id": name, "Message": "The simulator knows no ISPs."})
                continue
            days = range(start, end)
            values = [self._count(metric, day, dimensions) for day in days]
            results.append({"Id": name, "Timestamps": [day * _DAY_S for day in days], "Values": values})
        return json_reply({"Errors": errors, "Results": results})

    def _is_over(self, taken: deque[float], wanted: int, most_per_s: int) -> bool:
        """Whether so many more would be over the rate; else they are taken. `taken` is when, in the last second."""
        now = self._steady()
        while taken and now - taken[0] >= _SECOND_S:
            taken.popleft()
        if self._settings().enforce and len(taken) + wanted > most_per_s:
            return True
        taken.extend([now] * wanted)
        return False

    def _count(self, metric: str, day: int, dimensions: dict[str, str]) -> int:
        total = 0
        for name, log in self._tally.logs():
            campaign = self._campaigns.get(name, _Campaign())
            sender = campaign.sender.rpartition("<")[2].rstrip(">").lower()
            of_set = dimensions.get("CONFIGURATION_SET", campaign.configuration_set) == campaign.configuration_set
            identity = dimensions.get("EMAIL_IDENTITY", sender).lower()
            if not (of_set and identity in (sender, sender.rpartition("@")[2])):
                continue
            if metric == "SEND" or metric.startswith("DELIVERY"):
                total += bisect_left(log.times, (day + 1) * _DAY_S) - bisect_left(log.times, day * _DAY_S)
                total -= campaign.days["UNDELIVERED", day] if metric != "SEND" else 0
            else:
                total += campaign.days[metric, day]
        return total


_SUPPRESSED = Fate(EventType.BOUNCE, "Permanent", "OnAccountSuppressionList")


def _metric(fate: Fate) -> str:
    """The metric that a fate counts in."""
    if fate.type is EventType.BOUNCE:
        return "PERMANENT_BOUNCE" if fate.bounce == "Permanent" else "TRANSIENT_BOUNCE"
    return fate.type.name


def _event(fate: Fate, at: float) -> dict[str, Any]:
    told: dict[str, Any] = {"Timestamp": at, "Type": fate.type.name}
    if fate.type is EventType.BOUNCE:
        bounce = {"BounceSubType": fate.subtype, "BounceType": fate.bounce.upper()}
        told["Details"] = {"Bounce": {**bounce, "DiagnosticCode": "smtp; 550 5.1.1 user unknown"}}
    elif fate.type is EventType.COMPLAINT:
        told["Details"] = {"Complaint": {"ComplaintFeedbackType": "abuse"}}
    return told


def _tags(name: str, row: int, campaign: _Campaign) -> list[dict[str, str]]:
    tags = {"bulksend-campaign": name, "bulksend-row": str(row) if row >= 0 else ""}
    tags["ses:configuration-set"] = campaign.configuration_set
    return [{"Name": key, "Value": value} for key, value in tags.items() if value]
