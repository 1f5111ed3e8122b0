"""The events' side: the stack makes what bulksend events setup makes, and the policy for setup is what it needs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from bulksend.config import Settings, load_settings
from bulksend.events.asking import SetupError
from bulksend.events.wiring import Via
from bulksend.report import Level
from bulksend.worker.event_setup import EventSetup, Made, Wanted, default_name
from bulksend.worker.event_status import judge_events, look_at_events
from tests.deploy.test_aws import ACCOUNT, FOLDER, ROOT, Aws, actions, aws, resource
from tests.harness import REGION

__all__ = ["aws"]  # the fixture

POLICY = (FOLDER / "events-setup-policy.json").read_text("utf-8")
STATEMENTS: list[dict[str, Any]] = json.loads(POLICY)["Statement"]
ACTIONS = [action for statement in STATEMENTS for action in actions(statement)]
USER = "operator"
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksend.events.setup.USABLE_AFTER_S", 0.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT[1])


def settings(aws: Aws, *queues: str) -> Settings:
    url = aws.server.endpoint_url
    return load_settings(
        None, {}, {"aws.region": REGION, "aws.endpoint_url": url, "events.endpoint_url": url, "events.queues": queues}
    )


def set_up(aws: Aws, name: str, via: Via = Via.SNS) -> Made:
    with EventSetup(settings(aws), Wanted(name, default_name(name), via, create=True)) as work:
        return work.make(work.look(), lambda _: None)


def destination(aws: Aws, name: str) -> dict[str, Any]:
    ses = aws.client("sesv2", ROOT)
    (found,) = ses.get_configuration_set_event_destinations(ConfigurationSetName=name)["EventDestinations"]
    return dict(found)


def kept(aws: Aws, queue: str, dead: str, topic: str, names: dict[str, str]) -> dict[str, Any]:
    """All that matters of two queues and a topic, with the names of each side made the same."""
    sqs, sns = aws.client("sqs", ROOT), aws.client("sns", ROOT)
    roles = {queue.rpartition("/")[2]: "QUEUE", dead.rpartition("/")[2]: "DEAD"}
    names = names | {f"sqs:{REGION}:{ACCOUNT}:{name}": role for name, role in roles.items()} | {topic: "TOPIC"}
    found: dict[str, Any] = {}
    for role, url in (("queue", queue), ("dead", dead)):
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        found[role] = {name: value for name, value in attributes.items() if "Timestamp" not in name}
    found["topic"] = {"Policy": sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"]}
    (one,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    subscribed = sns.get_subscription_attributes(SubscriptionArn=one["SubscriptionArn"])["Attributes"]
    found["subscription"] = {name: subscribed[name] for name in ("RawMessageDelivery", "RedrivePolicy")}
    found["subscription"]["Endpoint"] = one["Endpoint"]
    text = json.dumps({role: {name: plain(value) for name, value in of.items()} for role, of in found.items()})
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, names[name])
    return dict(json.loads(text))


def plain(value: str) -> Any:
    """JSON in attributes, whatever the order and the spaces; numbers may be text."""
    try:
        return json.loads(value, parse_int=str)
    except ValueError:
        return value


def test_the_stack_makes_what_setup_makes(aws: Aws) -> None:
    name = f"set{secrets.token_hex(4)}"
    made = set_up(aws, name)
    by_stack, by_setup = destination(aws, "bulksend"), destination(aws, name)
    assert set(by_stack["MatchingEventTypes"]) == set(by_setup["MatchingEventTypes"])
    assert by_stack["Enabled"] is by_setup["Enabled"] is True
    theirs = kept(
        aws,
        resource(aws, "EventsQueue"),
        resource(aws, "EventsDeadLetters"),
        by_stack["SnsDestination"]["TopicArn"],
        {"configuration-set/bulksend": "SET"},
    )
    ours = kept(
        aws,
        made.queue_url,
        f"{made.queue_url}-dead",
        by_setup["SnsDestination"]["TopicArn"],
        {f"configuration-set/{name}": "SET"},
    )
    assert ours == theirs
    ses = aws.client("sesv2", ROOT)
    options = ("SendingOptions", "SuppressionOptions", "ReputationOptions")
    sets = [ses.get_configuration_set(ConfigurationSetName=one) for one in ("bulksend", name)]
    assert [sets[0].get(option) for option in options] == [sets[1].get(option) for option in options]


def test_the_stacks_worker_may_what_setup_says_it_must(aws: Aws) -> None:
    iam = aws.client("iam", ROOT)
    arn = resource(aws, "WorkerPolicy")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    made = set_up(aws, f"set{secrets.token_hex(4)}")
    wanted = [{**one, "Resource": None} for one in made.statements]
    assert [{**one, "Resource": None} for one in policy["Statement"]][-2:] == wanted


def test_the_worker_s_policy_has_of_what_setup_needs_only_what_looks() -> None:
    worker = {
        action
        for one in json.loads((FOLDER / "policy.json").read_text("utf-8"))["Statement"]
        for action in actions(one)
    }
    looking = {
        *("ses:GetConfigurationSet", "ses:GetConfigurationSetEventDestinations", "sns:ListSubscriptionsByTopic"),
        *("events:DescribeRule", *LOOKED_AT),
    }
    assert worker.intersection(ACTIONS) == looking


# What setup needs -----------------------------------------------------------------------------------------------------


class Operator:
    """A configuration set, and a user with the policy, for this set's names."""

    def __init__(self, aws: Aws, patch: pytest.MonkeyPatch) -> None:
        self.aws, self.patch = aws, patch
        self.name = f"set{secrets.token_hex(4)}"
        self.queue = f"{aws.server.endpoint_url}/{ACCOUNT}/{self.name}-events"
        self.topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{self.name}-events"

    def root(self, service: str) -> Any:
        return self.aws.client(service, ROOT)

    def become(self, without: str) -> None:
        text = POLICY.replace("bulksend-events", f"{self.name}-events").replace("set/bulksend", f"set/{self.name}")
        policy = json.loads(text)
        for statement in policy["Statement"]:
            statement["Action"] = [one for one in actions(statement) if one != without] or ["none:None"]
            if statement["Sid"] == "KeepRules":
                # As in EventBridge's User Guide, Resources; to this server some rules' ARNs are others, or none.
                assert statement["Resource"] == f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{self.name}-events"
                statement["Resource"] = "*"
        iam, user = self.root("iam"), f"{USER}-{self.name}"
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="setup", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        self.patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        self.patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])


Scene = Callable[[Operator], tuple[Via, Callable[[], object]]]
"""What is there before; how it is set up, and what is undone of it."""


def nothing() -> None:
    """Nothing is undone."""


def fresh(_: Operator, via: Via = Via.SNS) -> tuple[Via, Callable[[], object]]:
    return via, nothing


def there(
    at: Operator, via: Via = Via.SNS, undo: Callable[[Operator], object] = lambda _: None
) -> tuple[Via, Callable[[], object]]:
    set_up(at.aws, at.name, via)
    return via, partial(undo, at)


def no_policy(at: Operator) -> object:
    return at.root("sqs").set_queue_attributes(QueueUrl=at.queue, Attributes={"Policy": ""})


def no_topic_policy(at: Operator) -> object:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sns:Subscribe", "Resource": at.topic}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return at.root("sns").set_topic_attributes(TopicArn=at.topic, AttributeName="Policy", AttributeValue=text)


def no_redrive(at: Operator) -> object:
    sns = at.root("sns")
    (one,) = sns.list_subscriptions_by_topic(TopicArn=at.topic)["Subscriptions"]
    return sns.set_subscription_attributes(
        SubscriptionArn=one["SubscriptionArn"], AttributeName="RedrivePolicy", AttributeValue="{}"
    )


def disabled_destination(at: Operator) -> object:
    return at.root("sesv2").update_configuration_set_event_destination(
        ConfigurationSetName=at.name,
        EventDestinationName=f"{at.name}-events",
        EventDestination={"Enabled": False, "MatchingEventTypes": ["BOUNCE"], "SnsDestination": {"TopicArn": at.topic}},
    )


def disabled_rule(at: Operator) -> object:
    return at.root("events").disable_rule(Name=f"{at.name}-events")


BUS = Via.EVENTBRIDGE
NEEDED: dict[str, Scene] = {
    "ses:CreateConfigurationSet": fresh,
    "ses:CreateConfigurationSetEventDestination": fresh,
    "ses:GetConfigurationSet": fresh,
    "ses:GetConfigurationSetEventDestinations": there,
    "ses:UpdateConfigurationSetEventDestination": partial(there, undo=disabled_destination),
    "sqs:CreateQueue": fresh,
    "sqs:GetQueueAttributes": there,
    "sqs:GetQueueUrl": fresh,
    "sqs:SetQueueAttributes": partial(there, undo=no_policy),
    "sns:CreateTopic": fresh,
    "sns:GetTopicAttributes": fresh,
    "sns:ListSubscriptionsByTopic": fresh,
    "sns:SetTopicAttributes": partial(there, undo=no_topic_policy),
    "sns:Subscribe": fresh,
    "sns:GetSubscriptionAttributes": there,
    "sns:SetSubscriptionAttributes": partial(there, undo=no_redrive),
    "events:DescribeRule": partial(fresh, via=BUS),
    "events:EnableRule": partial(there, via=BUS, undo=disabled_rule),
    "events:ListTargetsByRule": partial(fresh, via=BUS),
    "events:PutRule": partial(fresh, via=BUS),
    "events:PutTargets": partial(fresh, via=BUS),
}
"""For each action, the state of things in which setup needs it."""
LOOKED_AT = {"cloudwatch:GetMetricStatistics", "events:ListRuleNamesByTarget"}
"""events status asks for these."""


def test_every_action_of_the_policy_has_its_use_and_none_is_a_pattern() -> None:
    assert sorted(ACTIONS) == sorted([*NEEDED, *LOOKED_AT])
    assert not [action for action in ACTIONS if "*" in action]


@pytest.mark.parametrize("action", NEEDED)
def test_setup_does_what_the_policy_allows_and_names_what_it_does_not(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    at = Operator(aws, monkeypatch)
    via, undo = NEEDED[action](at)
    undo()
    at.become(without=action)
    with pytest.raises(SetupError) as refused:
        set_up(aws, at.name, via)
    assert f"may not call {action}" in refused.value.message


def test_status_asks_for_what_the_policy_allows(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for action in (*sorted(LOOKED_AT), ""):
        at = Operator(aws, monkeypatch)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ROOT[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ROOT[1])
        set_up(aws, at.name, BUS)
        at.root("sqs").send_message(QueueUrl=at.queue, MessageBody="x")
        at.become(without=action)
        checks = judge_events(look_at_events(at.name, settings(aws, at.queue)))
        unknown = [one.says for one in checks if one.level is Level.UNCHECKED or "could not check: these" in one.says]
        assert len(unknown) == (1 if action else 0), (action, checks)
        assert all(action in says for says in unknown)


def test_with_the_whole_policy_all_of_it_goes(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for via, undone in (
        (Via.SNS, (no_policy, no_topic_policy, no_redrive, disabled_destination)),
        (BUS, (disabled_rule,)),
    ):
        at = Operator(aws, monkeypatch)
        at.become(without="")
        set_up(aws, at.name, via)
        for undo in undone:
            undo(at)
        set_up(aws, at.name, via)
        with EventSetup(settings(aws), Wanted(at.name, default_name(at.name), via)) as work:
            assert work.look().to_do == ()
