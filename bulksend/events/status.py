"""How queues of events stand, and what leads to them. Nothing is changed.

Sources: Amazon SQS API reference, GetQueueAttributes; Amazon SQS Developer Guide, Available CloudWatch metrics; Amazon
SNS API reference, ListSubscriptionsByTopic; Amazon EventBridge API reference, ListRuleNamesByTarget, DescribeRule.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bulksend.aws import AwsAccess, open_client
from bulksend.events.asking import said_of, subscriptions
from bulksend.events.queue import Queue, QueuePlace, open_queue, place_of
from bulksend.events.troubles import QueueError, Trouble

__all__ = ["Figure", "QueueStanding", "TopicStanding", "count_again", "read_queue", "read_rules", "read_topic"]

ANSWER_WITHIN_S = 15.0
OLDEST_OF = timedelta(minutes=15)
"""CloudWatch has a figure a minute, some minutes late."""
MOST_RULES = 100
_WAITING, _HIDDEN = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
_OLDEST = "ApproximateAgeOfOldestMessage"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number, or why there is none."""

    value: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """One queue. Where `why` says why it could not be looked at, the rest is empty; `gone` is that it is not there.

    `in_flight` messages were received and are not deleted yet. `oldest_s` is the age of the oldest in seconds, as
    CloudWatch has it; it is asked for only where something waits. `rules` lead to it from the default event bus.
    """

    url: str
    name: str
    arn: str
    why: str = ""
    gone: bool = False
    waiting: int = 0
    in_flight: int = 0
    oldest_s: Figure = Figure()
    dead_letters: str = ""
    """The dead-letter queue's name; empty for none."""
    dead: Figure = Figure()
    """Messages in it."""
    still: bool = False
    """Counted once more, none of those that wait was gone or taken."""


@dataclass(frozen=True, slots=True)
class TopicStanding:
    """ARNs of the queues that are subscribed to a topic, and how many other subscribers it has; or `why` not."""

    queues: tuple[str, ...] = ()
    others: int = 0
    why: str = ""


async def read_queue(access: AwsAccess, url: str) -> QueueStanding:
    """Whatever is wrong with it is said, not raised. `access.endpoint_url` is SQS's and CloudWatch's, if any."""
    place = place_of(url)
    region = place.region or access.region or ""
    arn = f"arn:aws:sqs:{region}:{place.account}:{place.name}"
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_queue(access, url) as (queue, _):
            attributes = await queue.attributes("QueueArn", _WAITING, _HIDDEN)
            waiting, in_flight = int(attributes.get(_WAITING, 0)), int(attributes.get(_HIDDEN, 0))
            dead_url = await queue.dead_letters()
            dead = Figure() if dead_url is None else await _waiting_in(access, dead_url)
    except QueueError as error:
        return QueueStanding(url, place.name, arn, error.detail, gone=error.trouble is Trouble.GONE)
    except TimeoutError:
        return QueueStanding(url, place.name, arn, f"no answer within {ANSWER_WITHIN_S:.0f} seconds")
    return QueueStanding(
        url,
        place.name,
        attributes.get("QueueArn", arn),
        waiting=waiting,
        in_flight=in_flight,
        oldest_s=await _oldest_s(access, place) if waiting or in_flight else Figure(),
        dead_letters="" if dead_url is None else place_of(dead_url).name,
        dead=dead,
    )


async def count_again(access: AwsAccess, queue: QueueStanding) -> QueueStanding:
    """The same some time later, when whoever takes messages would have begun. SQS's counts are approximate."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_queue(access, queue.url) as (client, _):
            attributes = await client.attributes(_WAITING, _HIDDEN)
    except (QueueError, TimeoutError):
        return queue
    waiting, in_flight = int(attributes.get(_WAITING, 0)), int(attributes.get(_HIDDEN, 0))
    return replace(queue, still=waiting >= queue.waiting and not in_flight)


async def read_topic(access: AwsAccess, topic_arn: str) -> TopicStanding:
    """Who is subscribed. Whatever is wrong is said, not raised."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_client(access, "sns", retrying=True) as sns:
            found = [one async for one in subscriptions(sns, topic_arn)]
    except TimeoutError:
        return TopicStanding(why=f"no answer within {ANSWER_WITHIN_S:.0f} seconds")
    except Exception as error:  # noqa: BLE001  one question less: others may have their answers
        return TopicStanding(why=said_of(error, "sns")[0])
    queues = tuple(str(one.get("Endpoint")) for one in found if one.get("Protocol") == "sqs")
    return TopicStanding(queues, len(found) - len(queues))


async def read_rules(access: AwsAccess, queue_arn: str) -> tuple[str, ...] | str:
    """Names of the enabled rules that lead to a queue; or why they cannot be read."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_client(access, "events", retrying=True) as events:
            listed = await events.list_rule_names_by_target(TargetArn=queue_arn, Limit=MOST_RULES)
            names = listed.get("RuleNames") or ()
            rules = [await events.describe_rule(Name=name) for name in names]
    except TimeoutError:
        return f"no answer within {ANSWER_WITHIN_S:.0f} seconds"
    except Exception as error:  # noqa: BLE001  one question less: others may have their answers
        return said_of(error, "events")[0]
    return tuple(str(rule["Name"]) for rule in rules if rule.get("State", "").startswith("ENABLED"))


async def _waiting_in(access: AwsAccess, url: str) -> Figure:
    try:
        async with open_queue(access, url) as (queue, _):
            return await _figure(queue)
    except QueueError as error:
        return Figure(why=error.detail)


async def _figure(queue: Queue) -> Figure:
    return Figure(int((await queue.attributes(_WAITING)).get(_WAITING, 0)))


async def _oldest_s(access: AwsAccess, place: QueuePlace) -> Figure:
    now = datetime.now(UTC)
    dimensions = [{"Name": "QueueName", "Value": place.name}]
    asked: dict[str, Any] = {"Namespace": "AWS/SQS", "MetricName": _OLDEST, "Dimensions": dimensions}
    window = {"StartTime": now - OLDEST_OF, "EndTime": now, "Period": 60, "Statistics": ["Maximum"]}
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_client(access, "cloudwatch", retrying=True) as client:
            answer = await client.get_metric_statistics(**asked, **window)
    except TimeoutError:
        return Figure(why=f"no answer within {ANSWER_WITHIN_S:.0f} seconds")
    except Exception as error:  # noqa: BLE001  one question less: others may have their answers
        return Figure(why=said_of(error, "cloudwatch")[0])
    points = sorted(answer.get("Datapoints") or (), key=lambda point: point["Timestamp"])
    return Figure(float(points[-1]["Maximum"])) if points else Figure(why="CloudWatch has no figure of it yet")
