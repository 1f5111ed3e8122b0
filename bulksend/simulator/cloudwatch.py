"""The one figure of Amazon CloudWatch that is asked for beside a queue: the age of its oldest message. Pure.

All else that is asked by the older Query protocol is answered with an error in it.

Sources: Amazon CloudWatch API Reference, GetMetricStatistics and Common Errors; Amazon SQS Developer Guide, Available
CloudWatch metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

__all__ = ["CONTENT_TYPE", "MAX_REQUEST_BYTES", "QUERY", "answer"]

CONTENT_TYPE = "text/xml"
QUERY = "application/x-www-form-urlencoded"
"""The content type of the Query protocol's requests."""
MAX_REQUEST_BYTES = 64 * 1024
_MAX_MEMBERS = 200
_AGE = "ApproximateAgeOfOldestMessage"
_ASKED = {"Action": "GetMetricStatistics", "Namespace": "AWS/SQS", "MetricName": _AGE}
_NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"


def answer(body: bytes, request_id: str, now: float, oldest_s: Callable[[str], float | None]) -> tuple[int, bytes]:
    """HTTP status and body for a request of the Query protocol.

    `oldest_s` is asked with a queue's name, for seconds; `now` is epoch seconds.
    """
    try:
        members = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_MAX_MEMBERS)
        asked = {name: values[-1] for name, values in members.items()}
    except ValueError:
        return 400, _error("MalformedQueryString", "The query string cannot be read.", request_id)
    if any(asked.get(name) != value for name, value in _ASKED.items()):
        action = " ".join(filter(None, (asked.get("Action"), asked.get("MetricName"))))
        return 400, _error("InvalidAction", f"The simulator has no {action[:80] or 'such action'}.", request_id)
    is_name = asked.get("Dimensions.member.1.Name") == "QueueName"
    age_s = oldest_s(asked.get("Dimensions.member.1.Value", "")) if is_name else None
    point = ""
    if age_s is not None:
        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:00Z")
        point = f"<member><Timestamp>{at}</Timestamp><Unit>Seconds</Unit><Maximum>{age_s:.1f}</Maximum></member>"
    return 200, (
        f'<GetMetricStatisticsResponse xmlns="{_NAMESPACE}"><GetMetricStatisticsResult>'
        f"<Label>{_AGE}</Label><Datapoints>{point}</Datapoints></GetMetricStatisticsResult>"
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></GetMetricStatisticsResponse>"
    ).encode()


def _error(code: str, text: str, request_id: str) -> bytes:
    return (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(text)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()
