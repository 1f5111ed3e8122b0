"""events setup and events status against real SQS, SNS and EventBridge that ask IAM and policies, and SES simulated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore
import pytest

from bulksend.config import load_settings
from bulksend.errors import UsageError
from bulksend.simulator import SimulatorProcess
from bulksend.worker.access import refuse_half_aws
from tests.events_account import ACCOUNT, NEEDED, Account
from tests.harness import REGION
from tests.independent import Ministack
from tests.ses_reports import bridged, raw, report


@pytest.fixture(scope="module")
def server(_isolation: None) -> Iterator[Ministack]:
    """One that asks IAM, and lets a service put something into a queue only where the queue's policy says so."""
    with Ministack(auth=True) as running:
        yield running


@pytest.fixture(scope="module")
def one_certificate(_isolation: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle of one, as nothing here speaks TLS: every SDK client reads the whole bundle anew."""
    path = tmp_path_factory.mktemp("ca") / "bundle.pem"
    end = "-----END CERTIFICATE-----\n"
    bundle = Path(botocore.__file__).with_name("cacert.pem").read_text("utf-8")
    path.write_text(bundle.partition(end)[0] + end, "utf-8")
    return str(path)


@pytest.fixture
def account(
    server: Ministack,
    simulator: SimulatorProcess,
    one_certificate: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Account:
    """With a configuration set, as its root."""
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_CA_BUNDLE", one_certificate)
    monkeypatch.setattr("bulksend.events.setup.USABLE_AFTER_S", 0.0)
    monkeypatch.setenv("BULKSEND_AWS_ENDPOINT_URL", simulator.url)
    monkeypatch.setenv("BULKSEND_EVENTS_ENDPOINT_URL", server.endpoint_url)
    made = Account(server, simulator.url, capsys, monkeypatch)
    made.root()
    made.make_set()
    return made


def found_of(facts: dict[str, Any]) -> dict[str, str]:
    """Each part, by the first of its words, and how it was found."""
    return {piece["name"].split()[0]: piece["found"] for piece in facts["pieces"]}


# Events arrive --------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, int]]:
    """What bulksend events consume takes from the queue."""
    monkeypatch.setattr("bulksend.events.consumer.EMPTY_AFTER_S", 0)
    monkeypatch.chdir(tmp_path)

    def consume() -> dict[str, int]:
        monkeypatch.setenv("BULKSEND_EVENTS_QUEUES", account.queue_url)
        code, out, said = account.run("consume", "--once", "--output", "json", "--store", "sqlite:store")
        assert (code, "held up" in said) == (0, False), said
        found: dict[str, int] = json.loads(out)
        return found

    return consume


def test_what_is_published_to_the_topic_is_consumed(account: Account, taken: Callable[[], dict[str, int]]) -> None:
    code, facts, said = account.setup()
    assert (code, facts["changed"], facts["queue_url"]) == (0, 5, account.queue_url), said
    (destination,) = account.everything()["set"]["EventDestinations"]
    assert destination == {
        "Name": account.name,
        "Enabled": True,
        "MatchingEventTypes": sorted(NEEDED),
        "SnsDestination": {"TopicArn": account.topic_arn},
    }
    account.call("sns", "publish", TopicArn=account.topic_arn, Message=raw(report("bounce")))
    account.call("sns", "publish", TopicArn=account.topic_arn, Message="Successfully validated SNS topic for SES.")
    assert taken() == {"events": 1, "unreadable": 0}


def test_what_the_rule_matches_is_consumed(account: Account, taken: Callable[[], dict[str, int]]) -> None:
    code, facts, said = account.setup("--via", "eventbridge")
    assert (code, facts["changed"]) == (0, 5), said
    rule = account.call("events", "describe_rule", Name=account.name)
    pattern = json.loads(rule["EventPattern"])
    event = json.loads(bridged(report("bounce")))
    for name, matches in ((account.set, True), (f"{account.set}2", False)):
        event["detail"]["mail"]["tags"]["ses:configuration-set"] = [name]
        tested = account.call(
            "events", "test_event_pattern", EventPattern=rule["EventPattern"], Event=json.dumps(event)
        )
        assert tested["Result"] is matches
    # Nobody but SES may put events of aws.ses on a bus: the rule is given another source for a moment.
    account.call("events", "put_rule", Name=account.name, EventPattern=json.dumps(pattern | {"source": ["test"]}))
    event["detail"]["mail"]["tags"]["ses:configuration-set"] = [account.set]
    entry = {"Source": "test", "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"])}
    assert account.call("events", "put_events", Entries=[entry])["FailedEntryCount"] == 0
    (message,) = account.call("sqs", "receive_message", QueueUrl=account.queue_url, WaitTimeSeconds=10)["Messages"]
    account.call(
        "sqs",
        "send_message",
        QueueUrl=account.queue_url,
        MessageBody=message["Body"].replace('"test"', '"aws.ses"'),
    )
    account.call("sqs", "delete_message", QueueUrl=account.queue_url, ReceiptHandle=message["ReceiptHandle"])
    assert taken() == {"events": 1, "unreadable": 0}


def test_nobody_else_s_topic_or_rule_gets_into_the_queue(account: Account) -> None:
    account.setup()
    other = account.call("sns", "create_topic", Name=f"{account.set}-other")["TopicArn"]
    account.call("sns", "subscribe", TopicArn=other, Protocol="sqs", Endpoint=account.queue_arn)
    account.call("sns", "publish", TopicArn=other, Message="x")
    assert "Messages" not in account.call("sqs", "receive_message", QueueUrl=account.queue_url, WaitTimeSeconds=1)


def test_the_statements_are_all_that_the_consumer_needs(account: Account, taken: Callable[[], dict[str, int]]) -> None:
    _, facts, _ = account.setup()
    account.call("sns", "publish", TopicArn=account.topic_arn, Message=raw(report("delivery")))
    account.call("sns", "publish", TopicArn=account.topic_arn, Message="garbage")
    for statement in facts["statements"]:
        # In IAM a batch is as its single action (SQS Developer Guide, SQS API permissions); to this server it is not.
        statement["Action"] += [f"{action}Batch" for action in statement["Action"]]
    account.user(*facts["statements"])
    assert taken() == {"events": 1, "unreadable": 1}
    code, found = account.status(queues=account.queue_url)
    assert (code, found["queues"][0]["dead_letters"]) == (0, 1)
    assert not [check for check in found["checks"] if check["level"] == "could not check"]


# Again, and half-made -------------------------------------------------------------------------------------------------


Break = Callable[[Account], object]


def put_queue(**attributes: str) -> Break:
    return lambda at: at.call("sqs", "set_queue_attributes", QueueUrl=at.queue_url, Attributes=attributes)


def put_topic_policy(at: Account) -> object:
    statement = {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "sns:Subscribe", "Resource": at.topic_arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return at.call("sns", "set_topic_attributes", TopicArn=at.topic_arn, AttributeName="Policy", AttributeValue=policy)


def put_subscription(name: str, value: str) -> Break:
    return lambda at: at.call(
        "sns",
        "set_subscription_attributes",
        SubscriptionArn=at.subscription(),
        AttributeName=name,
        AttributeValue=value,
    )


def delete_destination(at: Account) -> object:
    return at.call(
        "sesv2",
        "delete_configuration_set_event_destination",
        ConfigurationSetName=at.set,
        EventDestinationName=at.name,
    )


def disable_destination(at: Account) -> object:
    sns = {"TopicArn": at.topic_arn}
    return at.put_destination(at.name, update=True, Enabled=False, MatchingEventTypes=["BOUNCE"], SnsDestination=sns)


HALF_MADE: dict[str, tuple[str, Break, dict[str, str]]] = {
    "no dead-letter queue": (
        "sns",
        lambda at: at.call("sqs", "delete_queue", QueueUrl=f"{at.queue_url}-dead"),
        {"dead-letter": "missing"},
    ),
    "no queue": ("sns", lambda at: at.call("sqs", "delete_queue", QueueUrl=at.queue_url), {"queue": "missing"}),
    "a queue without a policy": ("sns", put_queue(Policy=""), {"queue": "unfinished"}),
    "a queue without a dead-letter queue": ("sns", put_queue(RedrivePolicy=""), {"queue": "unfinished"}),
    "no topic": (
        "sns",
        lambda at: at.call("sns", "delete_topic", TopicArn=at.topic_arn),
        {"topic": "missing", "subscription": "missing"},
    ),
    "no subscription": (
        "sns",
        lambda at: at.call("sns", "unsubscribe", SubscriptionArn=at.subscription()),
        {"subscription": "missing"},
    ),
    "a subscription without a dead-letter queue": (
        "sns",
        put_subscription("RedrivePolicy", "{}"),
        {"subscription": "unfinished"},
    ),
    "no event destination": ("sns", delete_destination, {"event": "missing"}),
    "an event destination that is disabled": ("sns", disable_destination, {"event": "unfinished"}),
    "no rule": (
        "eventbridge",
        lambda at: (
            at.call("events", "remove_targets", Rule=at.name, Ids=["bulksend"]),
            at.call("events", "delete_rule", Name=at.name),
        ),
        {"rule": "missing", "target": "missing"},
    ),
    "a rule that is disabled": (
        "eventbridge",
        lambda at: at.call("events", "disable_rule", Name=at.name),
        {"rule": "unfinished"},
    ),
    "a rule without its target": (
        "eventbridge",
        lambda at: at.call("events", "remove_targets", Rule=at.name, Ids=["bulksend"]),
        {"target": "missing"},
    ),
}


@pytest.mark.parametrize("via", ["sns", "eventbridge"])
def test_a_second_run_changes_nothing_and_what_is_half_made_is_completed(account: Account, via: str) -> None:
    account.setup("--via", via)
    whole = account.everything()
    code, facts, said = account.setup("--via", via)
    assert (code, facts["changed"], set(found_of(facts).values())) == (0, 0, {"there"})
    assert "nothing was changed" in said
    assert account.everything() == whole
    for half, (way, undo, found) in HALF_MADE.items():
        if way == via:
            undo(account)
            assert account.everything() != whole, half
            code, facts, said = account.setup("--via", via)
            assert code == 0, (half, said)
            assert {part: how for part, how in found_of(facts).items() if how != "there"} == found, half
            assert account.everything() == whole, half


def test_a_policy_that_others_have_written_is_kept_and_added_to(account: Account) -> None:
    account.setup()
    put_topic_policy(account)
    code, facts, _ = account.setup()
    assert (code, facts["changed"], found_of(facts)["topic"]) == (0, 1, "unfinished")
    policy = json.loads(account.everything()["topic"]["Attributes"]["Policy"])
    theirs, ours = policy["Statement"]
    assert (theirs["Sid"], ours["Sid"]) == ("a", "OnlyThisConfigurationSet")
    assert ours["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnEquals": {"aws:SourceArn": f"arn:aws:ses:{REGION}:{ACCOUNT}:configuration-set/{account.set}"},
    }


def test_more_types_are_added_and_none_is_taken_away(account: Account) -> None:
    account.setup("--also", "open", "send")
    assert account.setup("--also", "click", "--also", "open")[1]["changed"] == 1
    assert account.setup()[1]["changed"] == 0
    (destination,) = account.everything()["set"]["EventDestinations"]
    assert set(destination["MatchingEventTypes"]) == NEEDED | {"OPEN", "SEND", "CLICK"}


def test_a_destination_of_somebody_s_to_the_topic_is_made_whole_by_ours(account: Account) -> None:
    account.put_destination("theirs", MatchingEventTypes=["BOUNCE"], SnsDestination={"TopicArn": account.topic_arn})
    account.setup()
    theirs, ours = account.everything()["set"]["EventDestinations"]
    assert (theirs["Name"], theirs["MatchingEventTypes"], ours["Name"]) == ("theirs", ["BOUNCE"], account.name)
    assert set(ours["MatchingEventTypes"]) == NEEDED - {"BOUNCE"}
    assert account.setup()[1]["changed"] == 0


def test_the_configuration_set_is_made_where_that_is_asked_for(account: Account) -> None:
    account.set += "x"
    code, facts, said = account.setup()
    assert (code, facts) == (2, {})
    assert f"there is no configuration set {account.set} of account {ACCOUNT} in {REGION}" in said
    assert "--create" in said
    assert account.setup("--create")[1]["changed"] == 6
    kept = account.call("sesv2", "get_configuration_set", ConfigurationSetName=account.set)
    assert kept["SuppressionOptions"] == {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]}
    assert account.setup("--create")[1]["changed"] == 0


# Otherwise ------------------------------------------------------------------------------------------------------------


def make_rule(at: Account) -> object:
    return at.call("events", "put_rule", Name=at.name, EventPattern='{"source": ["aws.ec2"]}')


def make_queue(**attributes: str) -> Break:
    return lambda at: at.call("sqs", "create_queue", QueueName=at.name, Attributes=attributes)


def make_topic(at: Account) -> object:
    return at.call("sns", "create_topic", Name=at.name, Attributes={"KmsMasterKeyId": "alias/aws/sns"})


def make_filtered(at: Account) -> object:
    at.call("sqs", "create_queue", QueueName=at.name)
    arn = at.call("sns", "create_topic", Name=at.name)["TopicArn"]
    attributes = {"FilterPolicy": '{"a": ["b"]}'}
    return at.call("sns", "subscribe", TopicArn=arn, Protocol="sqs", Endpoint=at.queue_arn, Attributes=attributes)


def make_destination(at: Account) -> object:
    return at.put_destination(at.name, SnsDestination={"TopicArn": f"{at.topic_arn}-of-others"})


def make_denying(at: Account) -> object:
    made = at.call("sqs", "create_queue", QueueName=at.name)
    statement = {"Sid": "OnlyOurNetwork", "Effect": "Deny", "Principal": "*", "Action": "sqs:Send*"}
    condition = {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}
    text = json.dumps({"Version": "2012-10-17", "Statement": {**statement, "Resource": "*", "Condition": condition}})
    return at.call("sqs", "set_queue_attributes", QueueUrl=made["QueueUrl"], Attributes={"Policy": text})


OTHERWISE: dict[str, tuple[str, Break, str, str]] = {
    "queue": ("sns", make_queue(KmsMasterKeyId="alias/aws/sqs"), "queue", "SNS may not use"),
    "policy": (
        "sns",
        make_denying,
        "queue",
        "its policy denies, in OnlyOurNetwork, and that may keep sns.amazonaws.com",
    ),
    "topic": ("sns", make_topic, "topic", "SES may not use"),
    "subscription": ("sns", make_filtered, "subscription", "filter policy"),
    "destination": ("sns", make_destination, "event", "it leads elsewhere: SNS"),
    "rule": ("eventbridge", make_rule, "rule", "its pattern is another"),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_somebody_has_made_otherwise_is_shown_and_nothing_is_made(account: Account, what: str) -> None:
    via, make, part, words = OTHERWISE[what]
    make(account)
    before = account.everything()
    code, facts, said = account.setup("--via", via)
    assert (code, facts["changed"], facts["queue_url"]) == (2, 0, None)
    assert found_of(facts)[part] == "different"
    assert words in said
    assert "--name" in said
    assert "Nothing was made" in said
    assert account.everything() == before


def test_beside_what_is_otherwise_there_is_room_under_another_name(account: Account) -> None:
    make_destination(account)
    assert account.setup()[0] == 2
    assert account.setup("--name", f"{account.set}-ours")[0] == 0
    assert account.setup("--name", f"{account.set}-ours")[1]["changed"] == 0


def test_what_is_otherwise_and_no_harm_is_said_and_left(account: Account) -> None:
    make_queue(VisibilityTimeout="30", KmsMasterKeyId="alias/own")(account)
    code, facts, said = account.setup()
    assert (code, found_of(facts)["queue"]) == (0, "unfinished")
    assert "shows messages again after 30 s; 120 s are better" in said
    assert "keeps messages 4 days; 14 are better" in said
    assert "alias/own, whose policy has to let SNS use it" in said
    attributes = account.everything()["queue"]["Attributes"]
    assert (attributes["VisibilityTimeout"], attributes["MessageRetentionPeriod"]) == ("30", "345600")


# Trouble --------------------------------------------------------------------------------------------------------------

MAY_LOOK = ["sqs:Get*", "sns:Get*", "sns:List*", "events:Describe*", "events:List*"]


def test_whoever_may_not_look_is_told_what_to_allow(account: Account) -> None:
    before = account.everything()
    account.user()
    code, facts, said = account.setup()
    assert (code, facts) == (2, {})
    assert f"dead-letter queue {account.name}-dead: these credentials may not call sqs:GetQueueUrl" in said
    assert "deploy/aws/events-setup-policy.json" in said
    account.root()
    assert account.everything() == before


def test_where_it_was_refused_it_goes_on(account: Account) -> None:
    account.user({"Effect": "Allow", "Action": [*MAY_LOOK, "sqs:CreateQueue", "sns:CreateTopic"], "Resource": "*"})
    code, _, said = account.setup()
    assert code == 2
    assert f"done: topic {account.name}" in said
    assert "these credentials may not call sns:Subscribe" in said
    assert "setup goes on where it ended" in said
    account.root()
    code, facts, _ = account.setup()
    assert {part for part, how in found_of(facts).items() if how == "missing"} == {"subscription", "event"}
    assert (code, facts["changed"]) == (0, 2)


def test_nothing_is_made_unless_somebody_says_yes(account: Account) -> None:
    before = account.everything()
    code, out, said = account.run("setup", account.set)
    assert (code, out) == (2, "")
    assert "to make" in said
    assert "Pass --yes" in said
    assert account.everything() == before


def test_what_changed_since_it_was_shown_is_not_built_upon(account: Account) -> None:
    from bulksend.events.asking import SetupError  # noqa: PLC0415
    from bulksend.worker.event_setup import EventSetup, Wanted  # noqa: PLC0415

    settings = load_settings(
        None, {}, {"aws.endpoint_url": account.ses_url, "events.endpoint_url": account.server.endpoint_url}
    )
    with EventSetup(settings, Wanted(account.set, account.name)) as work:
        shown = work.look()
        make_queue()(account)
        before = account.everything()
        with pytest.raises(SetupError, match="has changed since"):
            work.make(shown, lambda _: None)
    assert account.everything() == before


@pytest.mark.parametrize("name", ["a b", "x" * 65, "a/b", "ä"])
def test_a_name_that_would_be_refused_is_refused_at_once(account: Account, name: str) -> None:
    code, _, said = account.setup("--name", name)
    assert code == 2
    assert "--name is" in said


def test_where_nobody_answers_it_says_so(account: Account) -> None:
    account.patch.setenv("BULKSEND_EVENTS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, _, said = account.setup()
    assert code == 2
    assert "Could not connect to the endpoint URL" in said


def test_the_lines_to_copy_are_data(account: Account) -> None:
    code, out, said = account.run("setup", account.set, "--yes")
    assert code == 0
    line, policy = out.split("\n{", 1)
    assert line == f'[events]\nqueues = ["{account.queue_url}"]'
    assert [one["Sid"] for one in json.loads("{" + policy)["Statement"]] == ["TakeEvents", "BuryTheUnreadable"]
    assert "account 123456789012" in said
    account.patch.setenv("BULKSEND_EVENTS_QUEUES", account.queue_url)
    assert "names the queue already" in account.run("setup", account.set, "--yes")[2]


# Status ---------------------------------------------------------------------------------------------------------------


def levels(facts: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {check["check"]: (check["level"], check["says"]) for check in facts["checks"]}


@pytest.mark.parametrize("via", ["sns", "eventbridge"])
def test_all_in_place(account: Account, via: str) -> None:
    account.setup("--via", via)
    for body in ("a", "b", "c"):
        account.call("sqs", "send_message", QueueUrl=account.queue_url, MessageBody=body)
    account.call("sqs", "receive_message", QueueUrl=account.queue_url)
    code, facts = account.status(account.set, queues=account.queue_url)
    found = levels(facts)
    assert code == 0, found
    assert found[f"way from {account.name}"] == ("ok", f"it leads to {account.name}")
    assert found["types"][0] == "ok"
    level, says = found[f"queue {account.name}"]
    assert level == "ok"
    assert says.startswith("2 waiting, 1 in flight; age of the oldest: could not check: CloudWatch has no figure")
    (queue,) = facts["queues"]
    assert (queue["waiting"], queue["in_flight"], queue["dead_letters"]) == (2, 1, 0)
    (destination,) = facts["destinations"]
    assert (destination["enabled"], len(destination["types"])) == (True, 7)


def test_the_age_of_the_oldest_is_cloudwatch_s(account: Account) -> None:
    account.setup()
    account.call("sqs", "send_message", QueueUrl=account.queue_url, MessageBody="a")
    figure = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [{"Name": "QueueName", "Value": account.name}],
        "Value": 5400.0,
    }
    account.call("cloudwatch", "put_metric_data", Namespace="AWS/SQS", MetricData=[figure])
    code, facts = account.status(account.set, queues=account.queue_url)
    assert (code, facts["queues"][0]["oldest_s"]) == (0, 5400.0)
    assert levels(facts)[f"queue {account.name}"] == ("warning", "1 waiting, 0 in flight, the oldest for 90 minutes")


def test_every_kind_of_destination_is_listed_and_types_without_a_way_are_named(account: Account) -> None:
    arn = f"arn:aws:firehose:{REGION}:{ACCOUNT}:deliverystream/mail"
    firehose = {"DeliveryStreamArn": arn, "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/mail"}
    dimension = {"DimensionName": "d", "DimensionValueSource": "MESSAGE_TAG", "DefaultDimensionValue": "none"}
    account.put_destination("stream", MatchingEventTypes=["DELIVERY"], KinesisFirehoseDestination=firehose)
    account.put_destination("watch", CloudWatchDestination={"DimensionConfigurations": [dimension]})
    application = {"ApplicationArn": f"arn:aws:mobiletargeting:{REGION}:{ACCOUNT}:apps/a"}
    account.put_destination("point", PinpointDestination=application)
    account.put_destination("off", Enabled=False, SnsDestination={"TopicArn": account.topic_arn})
    account.put_destination(
        "some", MatchingEventTypes=["BOUNCE", "OPEN"], SnsDestination={"TopicArn": f"{account.topic_arn}-elsewhere"}
    )
    code, facts = account.status(account.set)
    found = levels(facts)
    assert code == 2
    assert [(one["name"], one["kind"], one["enabled"]) for one in facts["destinations"]] == [
        ("stream", "Firehose", True),
        ("watch", "CloudWatch", True),
        ("point", "Pinpoint", True),
        ("off", "SNS", False),
        ("some", "SNS", True),
    ]
    assert found["event destination stream"] == ("ok", f"Firehose {arn}: delivery")
    assert found["event destination off"][0] == "warning"
    level, says = found["types"]
    assert level == "fault"
    assert "can lead to a queue: complaint, delivery, delivery delay, reject, rendering failure, subscription" in says
    assert "they lead to no queue of events.queues: bounce" in says
    assert found["queues"][0] == "fault"


def test_a_way_that_leads_elsewhere_is_no_way(account: Account) -> None:
    account.setup()
    other = account.call("sqs", "create_queue", QueueName=f"{account.set}-other")["QueueUrl"]
    code, facts = account.status(account.set, queues=other)
    found = levels(facts)
    assert code == 2
    assert found["types"][0] == "fault"
    assert found[f"way from {account.name}"][1].endswith("; 1 other subscriber")
    assert found[f"queue {account.set}-other"] == (
        "warning",
        "it has no dead-letter queue: what cannot be read stays in it",
    )
    assert account.status(account.set, queues=f"{other} {account.queue_url}")[0] == 0


def test_dead_letters_are_a_warning_and_a_queue_that_is_gone_a_fault(account: Account) -> None:
    account.setup()
    account.call("sqs", "send_message", QueueUrl=f"{account.queue_url}-dead", MessageBody="garbage")
    code, facts = account.status(queues=account.queue_url)
    assert code == 0
    assert levels(facts)[f"dead-letter queue {account.name}-dead"] == ("warning", "1 messages in it")
    code, facts = account.status(queues=f"{account.queue_url}-gone")
    assert (code, levels(facts)[f"queue {account.name}-gone"][0]) == (2, "fault")


def test_what_cannot_be_looked_at_is_said_and_nothing_worse(account: Account) -> None:
    account.setup()
    account.user()
    code, facts = account.status(account.set, queues=account.queue_url)
    found = levels(facts)
    assert code == 0
    assert found[f"way from {account.name}"] == (
        "could not check",
        "these credentials may not call sns:ListSubscriptionsByTopic",
    )
    level, says = found[f"queue {account.name}"]
    assert (level, facts["queues"][0]["waiting"]) == ("could not check", None)
    assert says.endswith("is denied")
    account.patch.setenv("BULKSEND_AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    code, facts = account.status(account.set)
    assert levels(facts)[f"configuration set {account.set}"][0] == "could not check"


def test_a_configuration_set_that_is_not_there_is_a_fault(account: Account) -> None:
    code, facts = account.status(f"{account.set}x")
    assert (code, levels(facts)[f"configuration set {account.set}x"][0]) == (2, "fault")


# Half of it simulated -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [("setup", "marketing"), ("status", "marketing")])
@pytest.mark.parametrize("lacking", ["AWS", "EVENTS"])
def test_what_stands_in_for_one_half_of_aws_alone_is_refused(
    account: Account, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...], lacking: str
) -> None:
    monkeypatch.delenv(f"BULKSEND_{lacking}_ENDPOINT_URL")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")  # should anything be asked of AWS, it is not reached
    code, out, said = account.run(*verb)
    assert (code, out) == (2, "")
    assert "aws.endpoint_url" in said
    assert "events.endpoint_url" in said
    assert f"Set {lacking.lower()}.endpoint_url as well" in said
    monkeypatch.setenv(f"BULKSEND_{lacking}_ENDPOINT_URL", "https://x.eu-west-1.vpce.amazonaws.com")
    assert "Set" in account.run(*verb)[2], "another way to AWS is AWS as well"


def test_a_way_of_ones_own_to_aws_stands_in_for_nothing() -> None:
    for url in (None, "https://email-fips.us-east-1.amazonaws.com", "https://x.email.eu-west-1.vpce.amazonaws.com"):
        refuse_half_aws(load_settings(None, {}, {} if url is None else {"aws.endpoint_url": url}))
    with pytest.raises(UsageError):
        refuse_half_aws(load_settings(None, {}, {"aws.endpoint_url": "https://amazonaws.com.example.com"}))


def test_two_regions_are_set_up_one_after_the_other(account: Account) -> None:
    """As docs/multi-region.md has it: what was made in the first is not in the way of the second."""
    made = [account.setup("--region", region) for region in (REGION, "us-east-1", REGION)]
    assert [(code, facts["region"], facts["changed"] > 0) for code, facts, _ in made] == [
        (0, REGION, True),
        (0, "us-east-1", True),
        (0, REGION, False),
    ]


def test_a_name_that_no_configuration_set_can_have_is_to_be_corrected(account: Account) -> None:
    code, _, said = account.run("setup", "bad name!")
    assert (code, "CONFIGURATION_SET is 'bad name!'" in said, "--name" in said) == (2, True, False)
    code, _, said = account.run("setup", account.set, "--name", "bad name!")
    assert (code, "--name is 'bad name!'" in said, "Pass another --name" in said) == (2, True, True)
