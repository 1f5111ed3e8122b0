"""Making what carries a configuration set's events into a queue: looks first, makes what is missing, replaces nothing.

Sources: Amazon SQS API reference, CreateQueue, SetQueueAttributes; Amazon SNS API reference, CreateTopic, Subscribe,
SetSubscriptionAttributes; Amazon EventBridge API reference, PutRule, PutTargets.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

from bulksend.events.asking import SetupError, in_words, or_none, subscriptions
from bulksend.events.wiring import (
    RETENTION_S,
    VISIBILITY_S,
    Statement,
    Via,
    Wiring,
    denial,
    grants,
    statements_of,
    with_statement,
)

__all__ = ["Piece", "PieceState", "Pipes", "Step"]

USABLE_AFTER_S = 1.0
"""A queue that was made is waited for so long (SQS API reference, CreateQueue)."""
_DAY_S = 24 * 3600
_BY_AWS = {"alias/aws/sns", "alias/aws/sqs"}
"""Keys that AWS manages: their policies let in no other service."""


@unique
class PieceState(StrEnum):
    """How a part is found.

    THERE       as it is needed.
    MISSING     it is not there: it will be made.
    UNFINISHED  it is there and lacks something that nobody has set otherwise: that will be added.
    DIFFERENT   somebody has made it otherwise: it is left alone, and nothing is made.
    """

    THERE = "there"
    MISSING = "missing"
    UNFINISHED = "unfinished"
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of the way, as it was found. `says` is how it is, or what will be done; `remedy` is a person's to do."""

    name: str
    state: PieceState
    says: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A part, and what brings it about; None where there is nothing to do. Raises SetupError."""

    piece: Piece
    do: Callable[[], Awaitable[None]] | None = None


@dataclass(slots=True)
class _Found:
    """Of a part that is there: what it lacks, with what adds that; what is otherwise; what is good to know."""

    name: str
    service: str
    remedy: str
    lacks: list[tuple[str, Callable[[], Awaitable[object]]]]
    otherwise: list[str]
    notes: list[str]

    def step(self) -> Step:
        if self.otherwise:
            return Step(Piece(self.name, PieceState.DIFFERENT, "; ".join(self.otherwise), self.remedy))
        notes = "; ".join(self.notes)
        if not self.lacks:
            return Step(Piece(self.name, PieceState.THERE, notes))

        async def complete() -> None:
            with in_words(self.name, self.service):
                for _, add in self.lacks:
                    await add()

        said = "; ".join([*(what for what, _ in self.lacks), *self.notes])
        return Step(Piece(self.name, PieceState.UNFINISHED, said), complete)


class Pipes:
    """The parts at SQS, and at SNS or EventBridge: `carrier` is an SDK client of that one."""

    def __init__(self, wiring: Wiring, sqs: Any, carrier: Any) -> None:
        self._wiring = wiring
        self._sqs = sqs
        self._sns = self._events = carrier
        self._urls: dict[str, str] = {}
        """Of the queues that are there, by their names."""

    async def steps(self) -> list[Step]:
        """What there is and what has to be done, in the order in which it is done. Raises SetupError."""
        queues = [await self._dead(), await self._queue()]
        if self._wiring.via is Via.SNS:
            return [*queues, await self._topic(), await self._subscription()]
        return [*queues, await self._rule(), await self._target()]

    @property
    def queue_url(self) -> str:
        """Of the events' queue, once that is there."""
        return self._urls[self._wiring.name]

    # SQS --------------------------------------------------------------------------------------------------------------

    async def _dead(self) -> Step:
        wiring = self._wiring
        return await self._a_queue(
            f"dead-letter queue {wiring.dead_name}", wiring.dead_name, wiring.dead_attributes(), wiring.dead_arn
        )

    async def _queue(self) -> Step:
        wiring = self._wiring
        return await self._a_queue(f"queue {wiring.name}", wiring.name, wiring.queue_attributes(), wiring.queue_arn)

    async def _a_queue(self, name: str, queue_name: str, wanted: dict[str, str], arn: str) -> Step:
        with in_words(name, "sqs"):
            there = await or_none(self._sqs.get_queue_url(QueueName=queue_name))
            if there is None:
                return self._to_make(name, "sqs", self._make_queue, QueueName=queue_name, Attributes=wanted)
            url = self._urls[queue_name] = str(there["QueueUrl"])
            answer = await self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        attributes = answer.get("Attributes") or {}

        def put(**new: str) -> Callable[[], Awaitable[object]]:
            return lambda: self._sqs.set_queue_attributes(QueueUrl=url, Attributes=new)

        found = self._found(name, "sqs")
        statement = self._wiring.queue_statement(arn)
        self._look_at_policy(found, attributes, statement, lambda policy: put(Policy=policy))
        if "RedrivePolicy" in wanted:
            _look_at_redrive(found, attributes, wanted["RedrivePolicy"], put)
            if int(attributes.get("VisibilityTimeout", VISIBILITY_S)) < VISIBILITY_S:
                found.notes.append(
                    f"it shows messages again after {attributes['VisibilityTimeout']} s; {VISIBILITY_S} s are better"
                )
        if int(attributes.get("MessageRetentionPeriod", RETENTION_S)) < RETENTION_S:
            days = int(attributes["MessageRetentionPeriod"]) / _DAY_S
            found.notes.append(f"it keeps messages {days:.3g} days; {RETENTION_S // _DAY_S} are better")
        _look_at_key(found, attributes, "SNS" if self._wiring.via is Via.SNS else "EventBridge")
        return found.step()

    async def _make_queue(self, **arguments: Any) -> None:
        made = await self._sqs.create_queue(**arguments)
        self._urls[arguments["QueueName"]] = str(made["QueueUrl"])
        await asyncio.sleep(USABLE_AFTER_S)

    # SNS --------------------------------------------------------------------------------------------------------------

    async def _topic(self) -> Step:
        wiring = self._wiring
        name, arn = f"topic {wiring.name}", wiring.topic_arn
        with in_words(name, "sns"):
            there = await or_none(self._sns.get_topic_attributes(TopicArn=arn))
        if there is None:
            policy = with_statement("", wiring.topic_statement())
            return self._to_make(name, "sns", self._sns.create_topic, Name=wiring.name, Attributes={"Policy": policy})
        attributes, found = there.get("Attributes") or {}, self._found(name, "sns")

        def put(policy: str) -> Callable[[], Awaitable[object]]:
            return lambda: self._sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)

        self._look_at_policy(found, attributes, wiring.topic_statement(), put)
        _look_at_key(found, attributes, "SES")
        return found.step()

    async def _subscription(self) -> Step:
        wiring = self._wiring
        name = f"subscription of {wiring.name} to its topic"
        with in_words(name, "sns"):
            all_there = subscriptions(self._sns, wiring.topic_arn)
            arns = [one["SubscriptionArn"] async for one in all_there if one.get("Endpoint") == wiring.queue_arn]
            if not arns:
                return self._to_make(
                    name,
                    "sns",
                    self._sns.subscribe,
                    TopicArn=wiring.topic_arn,
                    Protocol="sqs",
                    Endpoint=wiring.queue_arn,
                    Attributes=wiring.subscription_attributes(),
                )
            answer = await self._sns.get_subscription_attributes(SubscriptionArn=arns[0])
        attributes, found = answer.get("Attributes") or {}, self._found(name, "sns")

        def put(**new: str) -> Callable[[], Awaitable[object]]:
            ((attribute, value),) = new.items()
            return lambda: self._sns.set_subscription_attributes(
                SubscriptionArn=arns[0], AttributeName=attribute, AttributeValue=value
            )

        if attributes.get("FilterPolicy", "{}") != "{}":
            found.otherwise.append("it has a filter policy, which may keep events back")
        if attributes.get("PendingConfirmation") == "true":
            found.otherwise.append("it is not confirmed")
        if attributes.get("RawMessageDelivery") != "true":
            found.notes.append("it wraps each event in SNS's envelope; that is read as well")
        _look_at_redrive(found, attributes, wiring.subscription_redrive(), put)
        return found.step()

    # EventBridge ------------------------------------------------------------------------------------------------------

    async def _rule(self) -> Step:
        wiring = self._wiring
        name, pattern = f"rule {wiring.name}", wiring.pattern()
        with in_words(name, "events"):
            there = await or_none(self._events.describe_rule(Name=wiring.name))
        if there is None:
            return self._to_make(
                name,
                "events",
                self._events.put_rule,
                Name=wiring.name,
                EventPattern=json.dumps(pattern),
                State="ENABLED",
                Description=f"Events of the SES configuration set {wiring.configuration_set}, for bulksend",
            )
        found = self._found(name, "events")
        if not _is_json(there.get("EventPattern"), pattern):
            found.otherwise.append(f"its pattern is another than {json.dumps(pattern)}")
        if there.get("State") == "DISABLED":
            found.lacks.append(("it is disabled: enable it", lambda: self._events.enable_rule(Name=wiring.name)))
        return found.step()

    async def _target(self) -> Step:
        wiring = self._wiring
        name = f"target of the rule {wiring.name}"
        with in_words(name, "events"):
            listed = await or_none(self._events.list_targets_by_rule(Rule=wiring.name))
        targets = (listed or {}).get("Targets") or []
        ours = next((one for one in targets if one.get("Arn") == wiring.queue_arn), None)
        if ours is not None:
            found = self._found(name, "events")
            if any(ours.get(member) for member in ("Input", "InputPath", "InputTransformer")):
                found.otherwise.append("it changes events on their way, so that they cannot be read")
            if not ours.get("DeadLetterConfig"):
                found.notes.append("it has no dead-letter queue; with one, what cannot be delivered is not thrown away")
            return found.step()
        taken = {one.get("Id") for one in targets}
        target_id = next(id_ for id_ in ("bulksend", *(f"bulksend{n}" for n in range(len(taken)))) if id_ not in taken)
        target = {"Id": target_id, "Arn": wiring.queue_arn, "DeadLetterConfig": {"Arn": wiring.dead_arn}}

        async def make() -> None:
            with in_words(name, "events"):
                answer = await self._events.put_targets(Rule=wiring.name, Targets=[target])
            for failed in answer.get("FailedEntries") or ():
                raise SetupError(f"{name}: {failed.get('ErrorCode')}: {failed.get('ErrorMessage')}")

        return Step(Piece(name, PieceState.MISSING), make)

    # What parts have in common ----------------------------------------------------------------------------------------

    def _to_make(self, name: str, service: str, make: Callable[..., Awaitable[object]], **arguments: Any) -> Step:
        async def do() -> None:
            with in_words(name, service):
                await make(**arguments)

        return Step(Piece(name, PieceState.MISSING), do)

    def _found(self, name: str, service: str) -> _Found:
        remedy = "Change it, if it is nobody else's; or have other names: --name."
        return _Found(name, service, remedy, [], [], [])

    @staticmethod
    def _look_at_policy(
        found: _Found,
        attributes: dict[str, str],
        wanted: Statement,
        put: Callable[[str], Callable[[], Awaitable[object]]],
    ) -> None:
        policy = attributes.get("Policy") or ""
        (service,) = wanted["Principal"].values()
        if denied := denial(policy, wanted):
            found.otherwise.append(f"its policy denies, in {denied}, and that may keep {service} from sending to it")
            return
        if grants(policy, wanted):
            return
        if statements_of(policy) is None:
            found.otherwise.append("its policy cannot be read")
            return
        said = f"{service} may not send to it: add a statement to its policy, which stays as it is otherwise"
        found.lacks.append((said, put(with_statement(policy, wanted))))


def _look_at_redrive(
    found: _Found,
    attributes: dict[str, str],
    wanted: str,
    put: Callable[..., Callable[[], Awaitable[object]]],
) -> None:
    """Where what is not taken goes: any dead-letter queue will do, if there is one."""
    redrive = attributes.get("RedrivePolicy")
    if not redrive or redrive == "{}":
        found.lacks.append(("it has no dead-letter queue: give it one", put(RedrivePolicy=wanted)))
    elif _target_of(redrive) != _target_of(wanted):
        found.notes.append(f"its dead-letter queue is {_target_of(redrive)}")
    elif "maxReceiveCount" in wanted:
        allowed, most = _receives_of(redrive), _receives_of(wanted)
        if allowed < most:
            found.notes.append(f"it gives a message up after {allowed} receives; {most} are better")


def _target_of(redrive: str) -> str:
    try:
        return str(json.loads(redrive)["deadLetterTargetArn"])
    except (ValueError, TypeError, KeyError):
        return "of an unknown kind"


def _receives_of(redrive: str) -> int:
    try:
        return int(json.loads(redrive)["maxReceiveCount"])
    except (ValueError, TypeError, KeyError):
        return 0


def _look_at_key(found: _Found, attributes: dict[str, str], service: str) -> None:
    key = attributes.get("KmsMasterKeyId") or ""
    if key.rpartition("key/")[2] in _BY_AWS or any(key.endswith(one) for one in _BY_AWS):
        found.otherwise.append(f"it is encrypted with the key {key} that AWS manages, which {service} may not use")
    elif key:
        found.notes.append(
            f"it is encrypted with the key {key}, whose policy has to let {service} use it "
            "(kms:GenerateDataKey, kms:Decrypt)"
        )


def _is_json(text: object, wanted: object) -> bool:
    try:
        return bool(json.loads(str(text)) == wanted)
    except ValueError:
        return False
