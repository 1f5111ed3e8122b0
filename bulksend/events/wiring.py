"""The way of events from a configuration set into a queue: what it is made of, and what each part is like. Pure.

Sources: Amazon SES Developer Guide, Set up an Amazon SNS event destination, Set up an Amazon EventBridge destination;
Amazon SNS Developer Guide, Subscribing a queue, Dead-letter queues; Amazon SQS Developer Guide, Basic examples of
policies; Amazon EventBridge User Guide, Using resource-based policies, and Using dead-letter queues.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from fnmatch import fnmatchcase
from typing import Any

__all__ = [
    "MAX_RECEIVES",
    "RETENTION_S",
    "VISIBILITY_S",
    "Statement",
    "Via",
    "Wiring",
    "denial",
    "grants",
    "statements_of",
    "with_statement",
]

RETENTION_S = 14 * 24 * 3600
"""The longest that SQS keeps a message: a consumer that stands still loses nothing before that."""
VISIBILITY_S = 120
"""So long a message that was received is out of sight; one is recorded and deleted within seconds."""
MAX_RECEIVES = 10
"""A message that was received as often without being deleted goes to the dead-letter queue."""
LONG_POLL_S = 20

SES, SNS, EVENTBRIDGE = "ses.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com"

Statement = Mapping[str, Any]
"""One statement of a policy."""


@unique
class Via(StrEnum):
    """What carries events from SES to the queue."""

    SNS = "sns"
    EVENTBRIDGE = "eventbridge"


@dataclass(frozen=True, slots=True)
class Wiring:
    """All parts of one configuration set's way, by the names and ARNs that they have. `name` is given to each."""

    partition: str
    region: str
    account: str
    configuration_set: str
    name: str
    via: Via

    @property
    def dead_name(self) -> str:
        """The dead-letter queue's."""
        return f"{self.name}-dead"

    @property
    def queue_arn(self) -> str:
        """Where events come to."""
        return self._arn("sqs", self.name)

    @property
    def dead_arn(self) -> str:
        """Where what cannot be delivered, or be read, goes."""
        return self._arn("sqs", self.dead_name)

    @property
    def topic_arn(self) -> str:
        """SNS's part."""
        return self._arn("sns", self.name)

    @property
    def rule_arn(self) -> str:
        """EventBridge's part, on the default bus: SES takes no other (API reference, EventBridgeDestination)."""
        return self._arn("events", f"rule/{self.name}")

    @property
    def target_arn(self) -> str:
        """Where the configuration set's event destination leads."""
        return self.topic_arn if self.via is Via.SNS else self._arn("events", "event-bus/default")

    @property
    def set_arn(self) -> str:
        """The configuration set's."""
        return self._arn("ses", f"configuration-set/{self.configuration_set}")

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    # What they are like ----------------------------------------------------------------------------------------------

    def dead_attributes(self) -> dict[str, str]:
        """Of CreateQueue, for the dead-letter queue."""
        return {
            "SqsManagedSseEnabled": "true",
            "MessageRetentionPeriod": str(RETENTION_S),
            "Policy": with_statement("", self.queue_statement(self.dead_arn)),
        }

    def queue_attributes(self) -> dict[str, str]:
        """Of CreateQueue, for the events' queue."""
        return {
            "SqsManagedSseEnabled": "true",
            "MessageRetentionPeriod": str(RETENTION_S),
            "ReceiveMessageWaitTimeSeconds": str(LONG_POLL_S),
            "VisibilityTimeout": str(VISIBILITY_S),
            "RedrivePolicy": self.queue_redrive(),
            "Policy": with_statement("", self.queue_statement(self.queue_arn)),
        }

    def queue_redrive(self) -> str:
        """The queue's RedrivePolicy."""
        return json.dumps({"deadLetterTargetArn": self.dead_arn, "maxReceiveCount": MAX_RECEIVES})

    def subscription_attributes(self) -> dict[str, str]:
        """Of Subscribe: the event itself, without SNS's envelope; what cannot be delivered is not thrown away."""
        return {"RawMessageDelivery": "true", "RedrivePolicy": self.subscription_redrive()}

    def subscription_redrive(self) -> str:
        """The subscription's RedrivePolicy."""
        return json.dumps({"deadLetterTargetArn": self.dead_arn})

    def pattern(self) -> dict[str, Any]:
        """Of the rule. The event destination chooses the types; a list of them here would lose one that is new."""
        tags = {"ses:configuration-set": [self.configuration_set]}
        return {"source": ["aws.ses"], "detail": {"mail": {"tags": tags}}}

    def queue_statement(self, queue_arn: str) -> Statement:
        """Lets the topic, or the rule, and nobody else put messages into a queue."""
        by_sns = self.via is Via.SNS
        return {
            "Sid": "OnlyThisTopic" if by_sns else "OnlyThisRule",
            "Effect": "Allow",
            "Principal": {"Service": SNS if by_sns else EVENTBRIDGE},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.topic_arn if by_sns else self.rule_arn}},
        }

    def topic_statement(self) -> Statement:
        """Lets SES publish to the topic, for this configuration set of this account."""
        return {
            "Sid": "OnlyThisConfigurationSet",
            "Effect": "Allow",
            "Principal": {"Service": SES},
            "Action": "sns:Publish",
            "Resource": self.topic_arn,
            "Condition": {
                "StringEquals": {"aws:SourceAccount": self.account},
                "ArnEquals": {"aws:SourceArn": self.set_arn},
            },
        }

    def consumer_statements(self) -> list[Statement]:
        """What whoever takes the events needs: a worker, bulksend events consume, bulksend events status."""
        return [
            {
                "Sid": "TakeEvents",
                "Effect": "Allow",
                "Action": [
                    "sqs:ChangeMessageVisibility",
                    "sqs:DeleteMessage",
                    "sqs:GetQueueAttributes",
                    "sqs:ReceiveMessage",
                ],
                "Resource": self.queue_arn,
            },
            {
                "Sid": "BuryTheUnreadable",
                "Effect": "Allow",
                "Action": ["sqs:GetQueueAttributes", "sqs:SendMessage"],
                "Resource": self.dead_arn,
            },
        ]


# Policies -------------------------------------------------------------------------------------------------------------


def statements_of(policy: str) -> list[dict[str, Any]] | None:
    """The statements of a policy's text; none for an empty one; None for what is no policy."""
    if not policy:
        return []
    try:
        found = json.loads(policy)["Statement"]
    except (ValueError, TypeError, KeyError):
        return None
    statements = found if isinstance(found, list) else [found]
    return statements if all(isinstance(one, dict) for one in statements) else None


def grants(policy: str, wanted: Statement) -> bool:
    """Whether a policy allows what a statement of ours allows, as far as can be told: no to what is not understood."""
    return any(_covers(one, wanted) for one in statements_of(policy) or ())


def denial(policy: str, wanted: Statement) -> str:
    """The name of a statement that may deny what a statement of ours allows; empty where none can.

    A denial goes before all that allows (IAM User Guide, Policy evaluation logic), so what is not understood may deny.
    """
    for number, one in enumerate(statements_of(policy) or (), 1):
        if _may_deny(one, wanted):
            sid = one.get("Sid")
            return sid if isinstance(sid, str) and sid else f"the statement number {number}"
    return ""


def with_statement(policy: str, wanted: Statement) -> str:
    """A policy with another statement, everything else in it as it is."""
    kept: dict[str, Any] = json.loads(policy) if policy else {"Version": "2012-10-17"}
    statements = statements_of(policy) or []
    taken = [one.get("Sid") for one in statements]
    names = (f"{wanted['Sid']}{number or ''}" for number in range(len(taken) + 1))
    sid = next(name for name in names if name not in taken)
    return json.dumps({**kept, "Statement": [*statements, {**wanted, "Sid": sid}]})


def _covers(one: Statement, wanted: Statement) -> bool:
    if one.get("Effect") != "Allow":
        return False
    (service,) = wanted["Principal"].values()
    principals = one.get("Principal")
    services = list(_texts(principals.get("Service") if isinstance(principals, dict) else principals))
    return (
        any(name in {"*", service} for name in services)
        and any(_is_like(wanted["Action"].lower(), pattern.lower()) for pattern in _texts(one.get("Action")))
        and any(_is_like(wanted["Resource"], pattern) for pattern in _texts(one.get("Resource")))
        and _met(one.get("Condition"), wanted["Condition"])
    )


def _may_deny(one: Statement, wanted: Statement) -> bool:
    if one.get("Effect") != "Deny":
        return False
    (service,) = wanted["Principal"].values()
    says = _said(wanted["Condition"]) | {
        # A service speaks TLS, and for itself (IAM User Guide, AWS global condition context keys).
        "aws:principalisawsservice": "true",
        "aws:principalservicename": service,
        "aws:securetransport": "true",
    }
    return (
        _is_of(one, "Principal", lambda whom: _is_named(whom, service))
        and _is_of(one, "Action", lambda what: any(_is_like(wanted["Action"].lower(), p.lower()) for p in _texts(what)))
        and _is_of(one, "Resource", lambda what: any(_is_like(wanted["Resource"], p) for p in _texts(what)))
        and not _is_unmet(one.get("Condition"), says)
    )


def _is_of(one: Statement, element: str, names_ours: Callable[[object], bool]) -> bool:
    """Whether a statement is of ours by an element, or by what that element is not."""
    if f"Not{element}" in one:
        return not names_ours(one[f"Not{element}"])
    return element not in one or names_ours(one[element])


def _is_named(principals: object, service: str) -> bool:
    if not isinstance(principals, dict):
        return principals == "*"
    return "*" in _texts(principals.get("AWS")) or any(
        name in {"*", service} for name in _texts(principals.get("Service"))
    )


def _is_unmet(conditions: object, says: Mapping[str, str]) -> bool:
    """Whether who says so of itself certainly does not meet one of them."""
    return isinstance(conditions, dict) and any(
        key.lower() in says and _holds(operator, allowed, says[key.lower()]) is False
        for operator, keys in conditions.items()
        if isinstance(keys, dict)
        for key, allowed in keys.items()
    )


def _holds(operator: str, allowed: object, said: str) -> bool | None:
    """None for what is not understood."""
    name = operator.removesuffix("IfExists")
    plain = name.replace("Not", "")
    values = [str(one).lower() if plain == "Bool" else str(one) for one in _listed(allowed)]
    if plain not in {"Bool", "StringEquals", "StringLike", "ArnEquals", "ArnLike"} or any("${" in v for v in values):
        return None
    is_pattern = plain not in {"Bool", "StringEquals"}
    return any(_is_like(said, one) if is_pattern else said == one for one in values) is (plain == name)


def _met(conditions: object, wanted: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether SES, SNS or EventBridge meet them all, by what they say of themselves."""
    if not conditions:
        return True
    if not isinstance(conditions, dict):
        return False
    says = _said(wanted)
    for operator, keys in conditions.items():
        if operator not in {"StringEquals", "StringLike", "ArnEquals", "ArnLike"} or not isinstance(keys, dict):
            return False
        is_pattern = operator != "StringEquals"
        for key, allowed in keys.items():
            said = says.get(key.lower())
            if said is None:
                return False
            if not any(_is_like(said, one) if is_pattern else said == one for one in _texts(allowed)):
                return False
    return True


def _said(wanted: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What a statement of ours expects to be said, by the keys in lower case."""
    says = {key.lower(): value for keys in wanted.values() for key, value in keys.items()}
    says.setdefault("aws:sourceaccount", says["aws:sourcearn"].split(":")[4])
    return says


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _is_like(text: str, pattern: str) -> bool:
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
