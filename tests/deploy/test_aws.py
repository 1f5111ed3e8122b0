"""The AWS side: the policy is what bulksend needs and no more, and the stack makes the same.

A server that others wrote asks IAM. What it does not see: it asks for SendBulkEmail on `*`, not on the identity, the
configuration set and the template, and for DescribeRule on another ARN than EventBridge's, so both are given that
resource here; and no endpoint of STS is asked.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

import bulksend
from bulksend.aws import AwsAccess
from bulksend.errors import AccountError, BulksendError
from bulksend.event import SuppressionReason
from bulksend.events.queue import place_of
from bulksend.events.status import _oldest_s, read_rules, read_topic
from bulksend.model import CampaignState
from bulksend.recipients.s3 import S3Folder
from bulksend.recipients.source import ListFormat, open_input
from bulksend.ses.account import Account
from bulksend.ses.endpoints import find_endpoint
from bulksend.ses.identities import read_identity
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.ses.insights import read_insights
from bulksend.ses.reputation import list_reputation, read_findings, read_reputation
from bulksend.ses.sets import read_set
from bulksend.ses.suppression import AccountSuppressions
from bulksend.ses.templates import TemplateContent, TemplateNotFoundError, Templates
from bulksend.ses.tenants import read_tenant
from bulksend.ses.vdm import read_metrics
from tests.harness import REGION
from tests.independent import Ministack

FOLDER = Path(__file__).parents[2] / "deploy" / "aws"
STACK = FOLDER / "bulksend.yaml"
POLICY: dict[str, Any] = json.loads((FOLDER / "policy.json").read_text("utf-8"))
ACCOUNT = "123456789012"
ROOT = (ACCOUNT, "x")
"""To ministack, twelve digits are the keys of that account's root."""
BUCKET = f"bulksend-{ACCOUNT}-{REGION}"
LISTS, SNAPSHOTS = f"s3://{BUCKET}/lists", f"s3://{BUCKET}/snapshots"
USER = "worker"
CAMPAIGN = """\
name = "launch"
[sender]
from = "Example News <news@example.com>"
configuration_set = "bulksend"
[content]
template = "launch"
[recipients]
path = "{lists}/list.csv"
"""
TEMPLATE = {"Subject": "Hello", "Text": "Dear {{first_name}}"}
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Aws:
    """The server, the keys of a user with the policy, and the bucket's own policy, which is not in force here."""

    server: Ministack
    keys: tuple[str, str]
    bucket_policy: str = ""

    def client(self, service: str, keys: tuple[str, str] | None = None) -> Any:
        key, secret = keys or self.keys
        return boto3.client(
            service,
            endpoint_url=self.server.endpoint_url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    def grant(self, policy: dict[str, Any]) -> None:
        """Have the user do what the policy says and nothing else."""
        here = copy.deepcopy(policy)
        for statement in here["Statement"]:
            if statement["Sid"] in {"Send", "LookAtTheRule"}:
                statement["Resource"] = "*"
        self.client("iam", ROOT).put_user_policy(UserName=USER, PolicyName="bulksend", PolicyDocument=json.dumps(here))


@pytest.fixture(scope="module")
def aws(_isolation: None) -> Iterator[Aws]:
    """An account whose stack is made from the template, with a list and a template of mails in it."""
    with Ministack(auth=True) as server:
        root = Aws(server, ROOT)
        root.client("cloudformation").create_stack(
            StackName="bulksend",
            TemplateBody=STACK.read_text("utf-8"),
            Parameters=[{"ParameterKey": "SendingDomain", "ParameterValue": "example.com"}],
            Capabilities=["CAPABILITY_IAM"],
        )
        root.client("cloudformation").get_waiter("stack_create_complete").wait(
            StackName="bulksend", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        ses, iam = root.client("sesv2"), root.client("iam")
        ses.create_email_identity(EmailIdentity="example.com")
        ses.create_email_template(TemplateName="launch", TemplateContent=TEMPLATE)
        rows = "".join(f"success+{n}@simulator.amazonses.com,Ada\n" for n in range(60))
        root.client("s3").put_object(Bucket=BUCKET, Key="lists/list.csv", Body=f"email,first_name\n{rows}".encode())
        iam.create_user(UserName=USER)
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        # It would refuse whatever comes without TLS, as everything does here.
        bucket_policy = root.client("s3").get_bucket_policy(Bucket=BUCKET)["Policy"]
        root.client("s3").delete_bucket_policy(Bucket=BUCKET)
        yield Aws(server, (key["AccessKeyId"], key["SecretAccessKey"]), bucket_policy)


@pytest.fixture
def allowed(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Aws:
    """With the policy in force, and this process's own keys the user's."""
    aws.grant(POLICY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws.keys[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws.keys[1])
    return aws


def access(aws: Aws) -> AwsAccess:
    return AwsAccess(region=REGION, endpoint_url=aws.server.endpoint_url, connect_timeout_s=5.0, answer_timeout_s=20.0)


def settings(aws: Aws, folder: Path) -> Any:
    url = aws.server.endpoint_url
    return bulksend.load_settings(
        None,
        aws={"region": REGION, "endpoint_url": url, "s3_endpoint_url": url},
    ).model_copy(update={"store": f"sqlite:{folder}/store", "snapshots": SNAPSHOTS})


def send_whole(aws: Aws, folder: Path) -> None:
    """Plan from S3, with the snapshot in S3, and send. Raises BulksendError; AssertionError with SES's words.

    Ministack's denials bear no request id, so to the engine they are not SES's own: in doubt, and no halt.
    """
    file = folder / "launch.toml"
    file.write_text(CAMPAIGN.format(lists=LISTS), "utf-8")
    launch = bulksend.open_campaign(file, settings(aws, folder))
    with suppress(bulksend.errors.UsageError):
        launch.plan(again=True)
    sent = launch.send()
    said = sorted({row.reason for row in launch.results("dead", "in_doubt")})
    assert not said, said
    assert (sent.campaign.state, sent.tally.accepted) == (CampaignState.FINISHED, 60)


def templates(aws: Aws, use: Callable[[Templates], Awaitable[object]]) -> None:
    async def main() -> None:
        async with Templates(access(aws)) as opened:
            await use(opened)

    asyncio.run(main())


def push(aws: Aws, name: str) -> None:
    templates(aws, lambda kept: kept.put(TemplateContent(name, "Hello", None, "x")))


def render(aws: Aws, _: Path) -> None:
    # Ministack does not have the call, which it says to those who may make it.
    with suppress(TemplateNotFoundError):
        templates(aws, lambda kept: kept.render("launch", {"first_name": "Ada"}))


def push_new(aws: Aws, _: Path) -> None:
    with suppress(ClientError):
        aws.client("sesv2", ROOT).delete_email_template(TemplateName="new")
    push(aws, "new")


def read_quota(aws: Aws, _: Path) -> None:
    async def main() -> None:
        async with Account(access(aws)) as account:
            await account.read()

    asyncio.run(main())


def shelf(aws: Aws) -> S3Folder:
    return S3Folder(f"{SNAPSHOTS}/a-store", aws.server.endpoint_url)


def put_snapshot(aws: Aws, folder: Path) -> None:
    # Larger than one part of an upload.
    (folder / "big").write_bytes(bytes(6 * 1024 * 1024))
    shelf(aws).put(folder / "big")


def read_snapshot(aws: Aws, _: Path) -> None:
    aws.client("s3", ROOT).put_object(Bucket=BUCKET, Key="snapshots/a-store/small", Body=b"snapshot")
    list(shelf(aws).blocks("small", 8))


def remove_snapshot(aws: Aws, _: Path) -> None:
    aws.client("s3", ROOT).put_object(Bucket=BUCKET, Key="snapshots/a-store/small", Body=b"snapshot")
    shelf(aws).remove("small")
    assert "Contents" not in aws.client("s3", ROOT).list_objects_v2(Bucket=BUCKET, Prefix="snapshots/a-store/small"), (
        "it is still there"
    )


def break_off_upload(aws: Aws, _: Path) -> None:
    # What the SDK in pyarrow does with an upload that fails: nothing makes it do so at will.
    key = "snapshots/a-store/broken-off"
    begun = aws.client("s3", ROOT).create_multipart_upload(Bucket=BUCKET, Key=key)
    aws.client("s3").abort_multipart_upload(Bucket=BUCKET, Key=key, UploadId=begun["UploadId"])


def list_snapshots(aws: Aws, _: Path) -> None:
    shelf(aws).names()


def read_list(aws: Aws, _: Path) -> None:
    for file in open_input(f"{LISTS}/list.csv", ListFormat(s3_endpoint_url=aws.server.endpoint_url)).files:
        with file.open() as opened:
            opened.read()


def inquire(aws: Aws, read: Callable[[Any], Awaitable[object]]) -> None:
    """One question of doctor's or trace's. What ministack does not have, it says to those who may ask for it."""

    async def main() -> object:
        async with Inquiry(access(aws), retrying=False) as inquiry:
            return await inquiry.ask(read)

    told = asyncio.run(main())
    if isinstance(told, Unknown) and "Unknown SES v2 path" not in told.why:
        raise AssertionError(told.why)


async def destinations(client: Any) -> object:
    return await client.get_configuration_set_event_destinations(ConfigurationSetName="bulksend")


def suppressions(aws: Aws, ask: Callable[[AccountSuppressions], Awaitable[object]]) -> None:
    """The same for the account's suppression list."""

    async def main() -> None:
        async with AccountSuppressions(access(aws), every_s=0.0) as account:
            try:
                await ask(account)
            except AccountError as error:
                if "Unknown SES v2 path" not in error.message:
                    raise

    asyncio.run(main())


async def list_suppressions(account: AccountSuppressions) -> object:
    return [page async for page in account.pages()]


EVENTS = "bulksend-events"
"""What `bulksend events setup bulksend` calls its parts."""


def look_at_tenant(aws: Aws, _: Path) -> None:
    with suppress(ClientError):
        aws.client("sesv2", ROOT).create_tenant(TenantName="shop")
    inquire(aws, lambda client: read_tenant(client, "shop"))


def look_at_topic(aws: Aws, _: Path) -> None:
    topic = aws.client("sns", ROOT).create_topic(Name=EVENTS)["TopicArn"]
    found = asyncio.run(read_topic(access(aws), topic))
    if found.why:
        raise AssertionError(found.why)


def look_at_rules(aws: Aws, _: Path) -> None:
    events, arn = aws.client("events", ROOT), f"arn:aws:sqs:{REGION}:{ACCOUNT}:{EVENTS}"
    events.put_rule(Name=EVENTS, EventPattern='{"source": ["aws.ses"]}')
    events.put_targets(Rule=EVENTS, Targets=[{"Id": EVENTS, "Arn": arn}])
    found = asyncio.run(read_rules(access(aws), arn))
    if isinstance(found, str):
        raise AssertionError(found)  # noqa: TRY004  what IAM says is what the test reads
    assert found == (EVENTS,)


def look_at_age(aws: Aws, _: Path) -> None:
    found = asyncio.run(_oldest_s(access(aws), place_of(f"{aws.server.endpoint_url}/{ACCOUNT}/{EVENTS}")))
    if "CloudWatch has no figure" not in found.why:
        raise AssertionError(found.why)


NEEDED: dict[tuple[str, str], Callable[[Aws, Path], None]] = {
    ("ReadTheQuota", "ses:GetAccount"): read_quota,
    ("Send", "ses:SendBulkEmail"): send_whole,
    ("KeepTemplates", "ses:CreateEmailTemplate"): push_new,
    ("KeepTemplates", "ses:GetEmailTemplate"): lambda aws, _: templates(aws, lambda kept: kept.get("launch")),
    ("KeepTemplates", "ses:TestRenderEmailTemplate"): render,
    ("KeepTemplates", "ses:UpdateEmailTemplate"): lambda aws, _: push(aws, "launch"),
    ("ListTemplates", "ses:ListEmailTemplates"): lambda aws, _: templates(aws, lambda kept: kept.list()),
    ("LookAtTheSender", "ses:GetEmailIdentity"): lambda aws, _: inquire(
        aws, lambda client: read_identity(client, "example.com")
    ),
    ("LookAtTheConfigurationSet", "ses:GetConfigurationSet"): lambda aws, _: inquire(
        aws, lambda client: read_set(client, "bulksend")
    ),
    ("LookAtTheConfigurationSet", "ses:GetConfigurationSetEventDestinations"): lambda aws, _: inquire(
        aws, destinations
    ),
    ("LookAtTheAccount", "ses:BatchGetMetricData"): lambda aws, _: inquire(
        aws, lambda client: read_metrics(client, "bulksend", 0.0, 86_400.0)
    ),
    ("LookAtTheAccount", "ses:ListMultiRegionEndpoints"): lambda aws, _: inquire(
        aws, lambda client: find_endpoint(client, "abc12345.xyz")
    ),
    ("ReadContactLists", "ses:GetContactList"): lambda aws, _: inquire(
        aws, lambda client: client.get_contact_list(ContactListName="people")
    ),
    ("ReadContactLists", "ses:ListContacts"): lambda aws, _: inquire(
        aws, lambda client: client.list_contacts(ContactListName="people")
    ),
    ("LookAtTheAccount", "ses:GetMessageInsights"): lambda aws, _: inquire(
        aws, lambda client: read_insights(client, "0107")
    ),
    ("LookAtTheAccount", "ses:GetReputationEntity"): lambda aws, _: inquire(
        aws, lambda client: read_reputation(client, f"arn:aws:ses:{REGION}:{ACCOUNT}:tenant/shop/tn-1")
    ),
    ("LookAtTheAccount", "ses:GetTenant"): look_at_tenant,
    ("LookAtTheAccount", "ses:ListTenantResources"): look_at_tenant,
    ("LookAtTheAccount", "ses:ListRecommendations"): lambda aws, _: inquire(aws, read_findings),
    ("LookAtTheAccount", "ses:ListReputationEntities"): lambda aws, _: inquire(aws, list_reputation),
    ("KeepTheSuppressionList", "ses:ListSuppressedDestinations"): lambda aws, _: suppressions(aws, list_suppressions),
    ("KeepTheSuppressionList", "ses:PutSuppressedDestination"): lambda aws, _: suppressions(
        aws, lambda account: account.put("bounce@simulator.amazonses.com", SuppressionReason.BOUNCE)
    ),
    ("LookAtTheTopic", "sns:ListSubscriptionsByTopic"): look_at_topic,
    ("LookAtTheRule", "events:DescribeRule"): look_at_rules,
    ("LookAtTheQueues", "events:ListRuleNamesByTarget"): look_at_rules,
    ("LookAtTheQueues", "cloudwatch:GetMetricStatistics"): look_at_age,
    ("LookIntoTheBucket", "s3:ListBucket"): list_snapshots,
    ("ReadLists", "s3:GetObject"): read_list,
    ("KeepSnapshots", "s3:AbortMultipartUpload"): break_off_upload,
    ("KeepSnapshots", "s3:DeleteObject"): remove_snapshot,
    ("KeepSnapshots", "s3:GetObject"): read_snapshot,
    ("KeepSnapshots", "s3:PutObject"): put_snapshot,
}
"""For each action of each statement, what bulksend does with it."""


def actions(statement: dict[str, Any]) -> list[str]:
    found = statement["Action"]
    return [found] if isinstance(found, str) else found


def without(sid: str, action: str) -> dict[str, Any]:
    """The policy, less one action."""
    left = copy.deepcopy(POLICY)
    for statement in left["Statement"]:
        if statement["Sid"] == sid:
            statement["Action"] = [other for other in actions(statement) if other != action] or ["none:None"]
    return left


def test_every_action_of_the_policy_has_its_use_and_none_is_a_pattern() -> None:
    granted = [(statement["Sid"], action) for statement in POLICY["Statement"] for action in actions(statement)]
    assert sorted(granted) == sorted(NEEDED)
    assert not [action for _, action in granted if "*" in action]
    everywhere = {action for one in POLICY["Statement"] if one["Resource"] == "*" for action in actions(one)}
    # Service Authorization Reference, Amazon SES v2, CloudWatch, EventBridge: these have no resource types, or look
    # across the account. A tenant's ARN has an id that nobody knows before it is asked for.
    assert everywhere == {
        "cloudwatch:GetMetricStatistics",
        "events:ListRuleNamesByTarget",
        "ses:GetReputationEntity",
        "ses:GetTenant",
        "ses:ListTenantResources",
        "ses:GetAccount",
        "ses:BatchGetMetricData",
        "ses:GetMessageInsights",
        "ses:ListEmailTemplates",
        "ses:ListMultiRegionEndpoints",
        "ses:ListRecommendations",
        "ses:ListReputationEntities",
        "ses:ListSuppressedDestinations",
        "ses:PutSuppressedDestination",
    }


def test_a_send_has_no_condition_that_ses_does_not_set() -> None:
    # Service Authorization Reference, Amazon SES v2, SendBulkEmail: ses:FromAddress is not among its keys, and a
    # condition on a key that is not there refuses every request.
    (send,) = (one for one in POLICY["Statement"] if one["Sid"] == "Send")
    assert "Condition" not in send
    kinds = {resource.split(":")[5].split("/")[0] for resource in send["Resource"]}
    assert kinds == {"identity", "configuration-set", "template"}


def test_a_campaign_goes_from_list_to_end_with_nothing_but_the_policy(allowed: Aws, tmp_path: Path) -> None:
    send_whole(allowed, tmp_path)


@pytest.mark.parametrize(("sid", "action"), NEEDED)
def test_what_bulksend_does_is_allowed_and_refused_without_that_action(
    allowed: Aws, tmp_path: Path, sid: str, action: str
) -> None:
    use = NEEDED[sid, action]
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    use(allowed, tmp_path / "with")
    allowed.grant(without(sid, action))
    with pytest.raises((BulksendError, ClientError, AssertionError)) as caught:
        use(allowed, tmp_path / "without")
    assert re.search(rf"(?i)access.?denied|not authorized|403|may not call {action}", str(caught.value))


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("sesv2", "delete_email_identity", {"EmailIdentity": "example.com"}),
        ("sesv2", "create_email_identity", {"EmailIdentity": "example.org"}),
        ("sesv2", "delete_email_template", {"TemplateName": "launch"}),
        ("sesv2", "delete_configuration_set", {"ConfigurationSetName": "bulksend"}),
        ("sesv2", "put_account_sending_attributes", {"SendingEnabled": False}),
        ("sesv2", "delete_suppressed_destination", {"EmailAddress": "bounce@simulator.amazonses.com"}),
        (
            "sesv2",
            "send_email",
            {
                "FromEmailAddress": "news@example.com",
                "Destination": {"ToAddresses": ["success@simulator.amazonses.com"]},
                "Content": {"Simple": {"Subject": {"Data": "x"}, "Body": {"Text": {"Data": "x"}}}},
            },
        ),
        ("s3", "delete_bucket", {"Bucket": BUCKET}),
        ("s3", "put_object", {"Bucket": BUCKET, "Key": "lists/other.csv", "Body": b"x"}),
        ("s3", "delete_object", {"Bucket": BUCKET, "Key": "lists/list.csv"}),
        ("s3", "get_object", {"Bucket": BUCKET, "Key": "elsewhere"}),
        ("s3", "put_bucket_policy", {"Bucket": BUCKET, "Policy": "{}"}),
        ("iam", "list_users", {}),
        ("iam", "create_access_key", {"UserName": USER}),
        ("sqs", "list_queues", {}),
        ("sns", "list_topics", {}),
        ("cloudformation", "describe_stacks", {}),
    ],
)
def test_what_it_never_does_is_refused(allowed: Aws, service: str, operation: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(allowed.client(service), operation)(**arguments)
    assert caught.value.response["Error"]["Code"] in {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
    }


def resource(aws: Aws, logical: str) -> str:
    found = aws.client("cloudformation", ROOT).describe_stack_resource(StackName="bulksend", LogicalResourceId=logical)
    return str(found["StackResourceDetail"]["PhysicalResourceId"])


def test_the_stack_is_clean() -> None:
    done = subprocess.run(["cfn-lint", str(STACK)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_stacks_policy_is_the_policy_and_the_events_queue(aws: Aws) -> None:
    iam = aws.client("iam", ROOT)
    arn = resource(aws, "WorkerPolicy")
    version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    policy = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
    *own, events, dead = policy["Statement"]
    ours = json.dumps(POLICY["Statement"])
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{EVENTS}"
    assert own == json.loads(ours.replace(topic, resource(aws, "EventsTopic"))), "but for the topic's name"
    queue = aws.client("sqs", ROOT).get_queue_attributes(
        QueueUrl=resource(aws, "EventsQueue"), AttributeNames=["QueueArn"]
    )
    assert events == {
        "Sid": "TakeEvents",
        "Effect": "Allow",
        "Action": [
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        ],
        "Resource": queue["Attributes"]["QueueArn"],
    }
    assert (dead["Sid"], dead["Action"]) == ("BuryTheUnreadable", ["sqs:GetQueueAttributes", "sqs:SendMessage"])
    role = iam.get_role(RoleName=resource(aws, "WorkerRole"))["Role"]
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [arn]


def test_events_come_to_the_queue_and_from_there_after_ten_tries_to_the_dead_letters(aws: Aws) -> None:
    ses, sns, sqs = (aws.client(service, ROOT) for service in ("sesv2", "sns", "sqs"))
    (destination,) = ses.get_configuration_set_event_destinations(ConfigurationSetName="bulksend")["EventDestinations"]
    assert destination["Enabled"] is True
    assert set(destination["MatchingEventTypes"]) == {
        *("BOUNCE", "COMPLAINT", "DELIVERY", "DELIVERY_DELAY", "REJECT", "RENDERING_FAILURE", "SUBSCRIPTION")
    }
    topic = destination["SnsDestination"]["TopicArn"]
    queue, dead = resource(aws, "EventsQueue"), resource(aws, "EventsDeadLetters")
    sns.publish(TopicArn=topic, Message='{"eventType":"Bounce"}')
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    assert message["Body"] == '{"eventType":"Bounce"}', "raw: without SNS's envelope"
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"].rpartition(":")[2], int(redrive["maxReceiveCount"])) == (
        dead.rpartition("/")[2],
        10,
    )
    assert attributes["SqsManagedSseEnabled"] == "true"
    for url in (queue, dead):
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy", "QueueArn"])["Attributes"]
        (statement,) = json.loads(found["Policy"])["Statement"]
        assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": topic}}
        assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", found["QueueArn"])


def test_the_bucket_is_nobody_elses_and_wants_tls(allowed: Aws, tmp_path: Path) -> None:
    s3 = allowed.client("s3", ROOT)
    assert set(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()) == {True}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=allowed.bucket_policy)
    try:
        with pytest.raises(BulksendError, match="explicit deny in a resource-based policy"):
            put_snapshot(allowed, tmp_path)
    finally:
        s3.delete_bucket_policy(Bucket=BUCKET)
