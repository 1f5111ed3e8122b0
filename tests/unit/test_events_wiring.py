"""Policies of queues and topics: what lets SES, SNS and EventBridge in, and statements that are added to others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bulksend.events.wiring import Statement, Via, Wiring, denial, grants, statements_of, with_statement

WIRING = Wiring("aws", "eu-west-1", "123456789012", "marketing", "marketing-events", Via.SNS)
QUEUE = WIRING.queue_statement(WIRING.queue_arn)
TOPIC = WIRING.topic_statement()
OTHER: dict[str, Any] = {
    "Sid": "Theirs",
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
    "Action": "sqs:*",
    "Resource": WIRING.queue_arn,
}


def policy(*statements: Statement) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": "ours", "Statement": list(statements)})


def like(statement: Statement, **other: Any) -> str:
    return policy({name: value for name, value in {**statement, **other}.items() if value is not None})


@pytest.mark.parametrize("wanted", [QUEUE, TOPIC], ids=["queue", "topic"])
def test_our_own_is_enough_and_another_s_is_not(wanted: Statement) -> None:
    assert grants(policy(wanted), wanted)
    assert grants(policy(OTHER, wanted), wanted)
    assert grants(json.dumps({"Statement": wanted}), wanted)  # one alone, in no list
    for other in (QUEUE, TOPIC, OTHER):
        assert grants(policy(other), wanted) is (other is wanted)
    assert not grants("", wanted)


@pytest.mark.parametrize(
    ("changed", "enough"),
    [
        ({"Condition": None}, True),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:123456789012:marketing-*"}}}, True),
        ({"Condition": {"StringEquals": {"AWS:SourceAccount": "123456789012"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceArn": ["arn:x", WIRING.topic_arn]}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceArn": "arn:aws:sns:*"}}}, False),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}}}, False),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:other"}}}, False),
        ({"Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False),
        ({"Principal": "*"}, True),
        ({"Principal": {"Service": ["ses.amazonaws.com", "sns.amazonaws.com"]}}, True),
        ({"Principal": {"Service": "events.amazonaws.com"}}, False),
        ({"Principal": {"AWS": "*"}}, False),
        ({"Action": ["SQS:SendMessage", "sqs:ReceiveMessage"]}, True),
        ({"Action": "sqs:Send*"}, True),
        ({"Action": "*"}, True),
        ({"Action": "sqs:ReceiveMessage"}, False),
        ({"Resource": "*"}, True),
        ({"Resource": WIRING.dead_arn}, False),
        ({"Effect": "Deny"}, False),
    ],
)
def test_what_lets_the_topic_in(changed: dict[str, Any], *, enough: bool) -> None:
    assert grants(like(QUEUE, **changed), QUEUE) is enough


def denying(**other: Any) -> dict[str, Any]:
    """Nobody may do anything, but as it says otherwise."""
    whole = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": WIRING.queue_arn, **other}
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        ({}, True),
        ({"Effect": "Allow"}, False),
        # Who
        ({"Principal": {"AWS": "*"}}, True),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, False),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, True),
        ({"Principal": {"Service": ["ses.amazonaws.com"]}}, False),
        ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}}, True),
        ({"Principal": None, "NotPrincipal": {"Service": "sns.amazonaws.com"}}, False),
        # What
        ({"Action": ["sqs:DeleteQueue", "SQS:Send*"]}, True),
        ({"Action": "sqs:DeleteQueue"}, False),
        ({"Action": None, "NotAction": "sqs:ReceiveMessage"}, True),
        ({"Action": None, "NotAction": ["sqs:SendMessage"]}, False),
        ({"Resource": "*"}, True),
        ({"Resource": WIRING.dead_arn}, False),
        ({"Resource": None, "NotResource": WIRING.dead_arn}, True),
        ({"Resource": None, "NotResource": "arn:aws:sqs:*:123456789012:marketing-*"}, False),
        # When: one condition that is certainly not met is enough.
        ({"Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}, True),
        ({"Condition": {"NumericLessThan": {"aws:SourceAccount": "1"}}}, True),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": False}}}, False),
        ({"Condition": {"Bool": {"aws:SecureTransport": ["true", "false"]}}}, True),
        ({"Condition": {"BoolIfExists": {"aws:PrincipalIsAWSService": "false"}}}, False),
        ({"Condition": {"Bool": {"aws:PrincipalIsAWSService": True}}}, True),
        (
            {
                "Condition": {
                    "StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"},
                    "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
                }
            },
            False,
        ),
        ({"Condition": {"StringNotEquals": {"AWS:SourceAccount": "123456789012"}}}, False),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": ["1", 123456789012]}}}, False),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "210987654321"}}}, True),
        ({"Condition": {"StringEquals": {"aws:SourceAccount": "210987654321"}}}, False),
        ({"Condition": {"ArnNotLike": {"aws:SourceArn": "arn:aws:sns:*:*:marketing-*"}}}, False),
        ({"Condition": {"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:eu-west-1:123456789012:other"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "${aws:PrincipalAccount}"}}}, True),
        ({"Condition": {"StringNotEquals": {"aws:PrincipalServiceName": ["sns.amazonaws.com"]}}}, False),
        ({"Condition": []}, True),
    ],
)
def test_what_may_keep_the_topic_out(changed: dict[str, Any], *, may: bool) -> None:
    statements = [OTHER, QUEUE, denying(**changed)]
    assert denial(policy(*statements), QUEUE) == ("No" if may else "")
    assert denial(policy(*reversed(statements)), QUEUE) == ("No" if may else "")


def test_a_denial_without_a_name_is_told_by_its_place() -> None:
    assert denial(policy(QUEUE, denying(Sid=None)), QUEUE) == "the statement number 2"
    everybody = {"Sid": "No", "Effect": "Deny", "Principal": "*", "Action": "sns:*", "Resource": "*"}
    assert denial(policy(TOPIC, everybody), TOPIC) == "No"
    assert denial("", QUEUE) == denial("{", QUEUE) == ""


@pytest.mark.parametrize("text", ["{", "[]", "3", '"x"', '{"Statement": 3}', '{"Statement": [3]}', "{}"])
def test_what_is_no_policy_is_no_surprise(text: str) -> None:
    assert statements_of(text) is None
    assert not grants(text, QUEUE)


VALUES = some.recursive(
    some.none() | some.booleans() | some.text(max_size=5) | some.sampled_from([WIRING.topic_arn, "sns.amazonaws.com"]),
    lambda below: some.lists(below, max_size=3) | some.dictionaries(some.text(max_size=5), below, max_size=3),
    max_leaves=6,
)
NAMES = some.sampled_from(["Sid", "Effect", "Principal", "Action", "Resource", "Condition"])
STATEMENTS = some.lists(
    some.dictionaries(NAMES, VALUES, max_size=6)
    | some.builds(lambda sid: {**OTHER, "Sid": sid}, some.sampled_from(["OnlyThisTopic", "OnlyThisTopic1", "x"])),
    max_size=4,
)


@given(STATEMENTS)
def test_a_statement_that_is_added_grants_and_leaves_the_others(others: list[dict[str, Any]]) -> None:
    before = policy(*others)
    grants(before, QUEUE)  # whatever is in it
    denial(before, QUEUE)
    after = with_statement(before, QUEUE)
    *kept, added = json.loads(after)["Statement"]
    assert kept == others
    assert added["Sid"] not in [other.get("Sid") for other in others]
    assert {**added, "Sid": QUEUE["Sid"]} == QUEUE
    assert grants(after, QUEUE)
    assert json.loads(after)["Id"] == "ours"


def test_names_and_arns() -> None:
    bus = Wiring("aws-us-gov", "us-gov-west-1", "123456789012", "marketing", "m", Via.EVENTBRIDGE)
    assert bus.target_arn == "arn:aws-us-gov:events:us-gov-west-1:123456789012:event-bus/default"
    assert bus.queue_statement(bus.queue_arn)["Condition"] == {"ArnEquals": {"aws:SourceArn": bus.rule_arn}}
    assert WIRING.target_arn == WIRING.topic_arn == "arn:aws:sns:eu-west-1:123456789012:marketing-events"
    assert WIRING.dead_arn == f"{WIRING.queue_arn}-dead"
    assert WIRING.set_arn == "arn:aws:ses:eu-west-1:123456789012:configuration-set/marketing"
