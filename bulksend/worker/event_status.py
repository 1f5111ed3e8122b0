"""events status: whether a configuration set's events come to where they are taken from, and how much waits there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace

from bulksend.aws import AwsAccess
from bulksend.config import Settings
from bulksend.errors import BulksendError
from bulksend.event import EventType
from bulksend.events.status import QueueStanding, TopicStanding, count_again, read_queue, read_rules, read_topic
from bulksend.report import Check, Level
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.ses.sets import ConfigurationSet, EventDestination, read_set
from bulksend.worker.access import aws_access, refuse_half_aws
from bulksend.worker.outlook import duration_in_words
from bulksend.worker.sending_verdicts import NEEDED_EVENTS

__all__ = ["EventsAsFound", "Way", "judge_events", "look_at_events"]

CONNECT_WITHIN_S, ANSWER_WITHIN_S = 5.0, 10.0
LATE_S = 15 * 60.0
"""The alert BulksendEventsLate's."""
COUNTED_APART_S = 5.0
"""Whoever takes messages waits for them: within that time some are taken."""


@dataclass(frozen=True, slots=True)
class Way:
    """An event destination that is enabled and leads to a queue: where to. `why` is why that cannot be read."""

    destination: EventDestination
    queues: tuple[str, ...] = ()
    """ARNs."""
    others: int = 0
    """Subscribers that are no queues."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class EventsAsFound:
    """All that was looked at. `kept` is None where there is no such set, or where none was asked for (`name` empty)."""

    name: str
    queues: tuple[QueueStanding, ...]
    kept: ConfigurationSet | Unknown | None = None
    ways: tuple[Way, ...] = ()
    apart: bool = False
    """Whether sending leaves the queues to a process of their own."""


Pause = Callable[[float], Awaitable[None]]


def look_at_events(configuration_set: str | None, settings: Settings, *, pause: Pause = asyncio.sleep) -> EventsAsFound:
    """Ask SES, SNS, EventBridge, SQS and CloudWatch. What cannot be asked is said to be so, in what is returned.

    Unless CloudWatch tells that messages wait for long, they are counted twice, with a `pause` of seconds between.

    Raises:
        UsageError: SES alone, or all but SES, is AWS's own.
    """
    if configuration_set is not None or settings.events.queues:
        refuse_half_aws(settings)
    return asyncio.run(_look(configuration_set, settings, pause))


async def _look(name: str | None, settings: Settings, pause: Pause) -> EventsAsFound:
    access = replace(aws_access(settings), connect_timeout_s=CONNECT_WITHIN_S, answer_timeout_s=ANSWER_WITHIN_S)
    others = replace(access, endpoint_url=settings.events.endpoint_url)
    queues = tuple([await read_queue(others, url) for url in settings.events.queues or ()])
    if any(_may_be_still(queue) for queue in queues):
        await pause(COUNTED_APART_S)
        queues = tuple([await count_again(others, queue) if _may_be_still(queue) else queue for queue in queues])
    if name is None:
        return EventsAsFound("", queues, apart=settings.events.apart)
    try:
        async with Inquiry(access) as inquiry:
            kept = await inquiry.ask(lambda client: read_set(client, name))
    except BulksendError as error:
        kept = Unknown(f"{error.detail}. {error.hint}")
    ways = () if kept is None or isinstance(kept, Unknown) else await _ways(others, kept, queues)
    return EventsAsFound(name, queues, kept, ways, settings.events.apart)


def _may_be_still(queue: QueueStanding) -> bool:
    """Whether another count is needed to tell that nobody takes its messages: they do not wait for long yet."""
    return queue.waiting > 0 and not queue.in_flight and not _is_late(queue)


def _is_late(queue: QueueStanding) -> bool:
    return queue.oldest_s.value is not None and queue.oldest_s.value > LATE_S


async def _ways(access: AwsAccess, kept: ConfigurationSet, queues: tuple[QueueStanding, ...]) -> tuple[Way, ...]:
    found = []
    for one in kept.destinations:
        if one.leads_to_a_queue:
            if one.kind == "SNS":
                topic: TopicStanding = await read_topic(access, one.target)
                found.append(Way(one, topic.queues, topic.others, topic.why))
            else:
                found.append(await _by_rules(access, one, queues))
    return tuple(found)


async def _by_rules(access: AwsAccess, one: EventDestination, queues: tuple[QueueStanding, ...]) -> Way:
    """EventBridge's rules are asked for by the queues that are known: a bus may have hundreds of others."""
    reached = []
    for queue in queues:
        if queue.gone:
            continue
        rules = await read_rules(access, queue.arn)
        if isinstance(rules, str):
            return Way(one, why=rules)
        if rules:
            reached.append(queue.arn)
    return Way(one, tuple(reached))


# What is made of it. Pure ---------------------------------------------------------------------------------------------


def judge_events(found: EventsAsFound) -> list[Check]:
    """A line for everything that was looked at."""
    return [*(_of_set(found) if found.name else ()), *_of_queues(found)]


def _of_set(found: EventsAsFound) -> Iterator[Check]:
    kept, name = found.kept, f"configuration set {found.name}"
    if isinstance(kept, Unknown):
        yield Check(name, Level.UNCHECKED, kept.why)
        return
    if kept is None:
        yield Check(
            name,
            Level.FAULT,
            "there is none of that name in this account and Region",
            f"Correct the name or the Region; or make it, and its events' way: bulksend events setup {found.name} "
            "--create",
        )
        return
    if not kept.destinations:
        yield Check(name, Level.OK, "it has no event destination")
    for one in kept.destinations:
        said = f"{one.kind}{f' {one.target}' if one.target else ''}: {_in_words(one.types) or 'no type that is known'}"
        if one.enabled:
            yield Check(f"event destination {one.name}", Level.OK, said)
        else:
            remedy = f"bulksend events setup {kept.name} enables its own."
            yield Check(f"event destination {one.name}", Level.WARNING, f"disabled. {said}", remedy)
    yield from (_of_way(way, found) for way in found.ways)
    yield _of_types(kept, found)


def _of_way(way: Way, found: EventsAsFound) -> Check:
    name = f"way from {way.destination.name}"
    if way.why:
        return Check(name, Level.UNCHECKED, way.why)
    ours = [queue.name for queue in found.queues if queue.arn in way.queues]
    theirs = len(way.queues) - len(ours) + way.others
    besides = f"; {theirs} other subscriber{'' if theirs == 1 else 's'}" if theirs else ""
    if ours:
        return Check(name, Level.OK, f"it leads to {', '.join(ours)}{besides}")
    what = "its topic leads to no" if way.destination.kind == "SNS" else "no rule of the event bus leads to a"
    return Check(name, Level.OK, f"{what} queue of events.queues{besides}")


def _of_types(kept: ConfigurationSet, found: EventsAsFound) -> Check:
    """Whether every type that is needed comes to where it is taken from; what cannot be told counts as if it did."""
    ours = {queue.arn for queue in found.queues}
    reaching = [way.destination.types for way in found.ways if way.why or ours.intersection(way.queues)]
    missing = NEEDED_EVENTS - frozenset().union(*reaching)
    uncovered = NEEDED_EVENTS - kept.covered
    if not missing:
        return Check("types", Level.OK, "all that are needed come to a queue of events.queues")
    elsewhere = missing - uncovered
    said = [
        *([f"covered by no event destination that can lead to a queue: {_in_words(uncovered)}"] if uncovered else []),
        *([f"they lead to no queue of events.queues: {_in_words(elsewhere)}"] if elsewhere else []),
    ]
    remedy = f"Have their way made: bulksend events setup {found.name}."
    if elsewhere:
        remedy = (
            f"Name the queue that they go to in events.queues; or have one made: bulksend events setup {found.name}."
        )
    return Check("types", Level.FAULT, "; ".join(said), remedy)


def _of_queues(found: EventsAsFound) -> Iterator[Check]:
    if not found.queues:
        yield Check(
            "queues",
            Level.FAULT,
            "events.queues names none, so no events are taken from anywhere",
            "Name them; bulksend events setup makes one and prints the line.",
        )
    for queue in found.queues:
        yield from _of_queue(queue, apart=found.apart)


def _of_queue(queue: QueueStanding, *, apart: bool) -> Iterator[Check]:
    name = f"queue {queue.name}"
    if queue.gone:
        remedy = "Correct events.queues; bulksend events setup makes queues and prints their URLs."
        yield Check(name, Level.FAULT, "there is no such queue, so its events are not taken", remedy)
        return
    if queue.why:
        yield Check(name, Level.UNCHECKED, queue.why)
        return
    oldest_s = queue.oldest_s.value
    age = f", the oldest for {duration_in_words(oldest_s)}" if oldest_s is not None else ""
    unknown = f"; age of the oldest: could not check: {queue.oldest_s.why}" if queue.oldest_s.why else ""
    said = f"{queue.waiting:,} waiting, {queue.in_flight:,} in flight{age}{unknown}"
    who = "bulksend events consume runs (events.apart leaves the queues to it)"
    who = who if apart else "a worker runs, or bulksend events consume"
    if queue.still:
        said += f". Nobody takes them: {COUNTED_APART_S:.0f} seconds later all were still waiting"
        yield Check(name, Level.WARNING, said, f"See that {who}, and that it takes from this queue.")
    elif _is_late(queue):
        yield Check(name, Level.WARNING, said, f"See that {who}, and that it keeps up.")
    else:
        yield Check(name, Level.OK, said)
    if not queue.dead_letters:
        remedy = "Give it one; bulksend events setup does so with its own."
        yield Check(name, Level.WARNING, "it has no dead-letter queue: what cannot be read stays in it", remedy)
        return
    dead = f"dead-letter queue {queue.dead_letters}"
    if queue.dead.value is None:
        yield Check(dead, Level.UNCHECKED, queue.dead.why)
    elif queue.dead.value:
        remedy = "Look at them; what is an event can go back: aws sqs start-message-move-task."
        yield Check(dead, Level.WARNING, f"{queue.dead.value:,.0f} messages in it", remedy)
    else:
        yield Check(dead, Level.OK, "empty")


def _in_words(types: frozenset[EventType]) -> str:
    return ", ".join(sorted(kind.value.replace("_", " ") for kind in types))
