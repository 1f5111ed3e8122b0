"""An AWS account in which events are set up: real SQS, SNS and EventBridge, SES simulated, and the command line."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import boto3
import pytest

from bulksend.cli import run
from bulksend.worker.sending_verdicts import NEEDED_EVENTS
from tests.harness import REGION
from tests.independent import Ministack

__all__ = ["ACCOUNT", "NEEDED", "Account"]

ACCOUNT = "123456789012"
"""To ministack, twelve digits are the keys of that account's root."""
QUIET = ("--yes", "--output", "json")
NEEDED = {kind.name for kind in NEEDED_EVENTS}


@cache
def root_client(service: str, url: str) -> Any:
    keys = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "x"}
    return boto3.client(service, endpoint_url=url, region_name=REGION, **keys)


@dataclass
class Account:
    """SDK clients of one account's root, the names of one test, and the command line."""

    server: Ministack
    ses_url: str
    capsys: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    set: str = field(default_factory=lambda: f"set{secrets.token_hex(4)}")

    @property
    def name(self) -> str:
        return f"{self.set}-events"

    @property
    def queue_url(self) -> str:
        return f"{self.server.endpoint_url}/{ACCOUNT}/{self.name}"

    @property
    def topic_arn(self) -> str:
        return f"arn:aws:sns:{REGION}:{ACCOUNT}:{self.name}"

    @property
    def queue_arn(self) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    def call(self, service: str, operation: str, **arguments: Any) -> dict[str, Any]:
        client = root_client(service, self.ses_url if service == "sesv2" else self.server.endpoint_url)
        answer: dict[str, Any] = getattr(client, operation)(**arguments)
        answer.pop("ResponseMetadata", None)
        return answer

    def run(self, verb: str, *options: str) -> tuple[int, str, str]:
        self.capsys.readouterr()
        code = run(["events", verb, *options])
        said = self.capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    def setup(self, *options: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, facts (none after an error), and what people read."""
        code, out, said = self.run("setup", self.set, *QUIET, *options)
        return code, json.loads(out) if out else {}, said

    def status(self, *options: str, queues: str = "") -> tuple[int, dict[str, Any]]:
        self.patch.setenv("BULKSEND_EVENTS_QUEUES", queues)
        code, out, _ = self.run("status", *options, "--output", "json")
        return code, json.loads(out)

    def make_set(self) -> None:
        self.call("sesv2", "create_configuration_set", ConfigurationSetName=self.set)

    def put_destination(self, name: str, *, update: bool = False, **definition: Any) -> object:
        return self.call(
            "sesv2",
            f"{'update' if update else 'create'}_configuration_set_event_destination",
            ConfigurationSetName=self.set,
            EventDestinationName=name,
            EventDestination={"Enabled": True, "MatchingEventTypes": sorted(NEEDED), **definition},
        )

    def subscription(self) -> str:
        (found,) = self.call("sns", "list_subscriptions_by_topic", TopicArn=self.topic_arn)["Subscriptions"]
        return str(found["SubscriptionArn"])

    def user(self, *statements: dict[str, Any]) -> None:
        """From now on commands are run as somebody who may do these, and nothing else."""
        name = f"user{secrets.token_hex(4)}"
        self.call("iam", "create_user", UserName=name)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            self.call("iam", "put_user_policy", UserName=name, PolicyName="p", PolicyDocument=document)
        key = self.call("iam", "create_access_key", UserName=name)["AccessKey"]
        self.patch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        self.patch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

    def root(self) -> None:
        self.patch.setenv("AWS_ACCESS_KEY_ID", ACCOUNT)
        self.patch.setenv("AWS_SECRET_ACCESS_KEY", "x")

    def everything(self) -> dict[str, Any]:
        """All that is there by the test's names."""
        asked: dict[str, tuple[str, str, dict[str, Any]]] = {
            "queue": ("sqs", "get_queue_attributes", {"QueueUrl": self.queue_url, "AttributeNames": ["All"]}),
            "dead": ("sqs", "get_queue_attributes", {"QueueUrl": f"{self.queue_url}-dead", "AttributeNames": ["All"]}),
            "topic": ("sns", "get_topic_attributes", {"TopicArn": self.topic_arn}),
            "subscriptions": ("sns", "list_subscriptions_by_topic", {"TopicArn": self.topic_arn}),
            "rule": ("events", "describe_rule", {"Name": self.name}),
            "targets": ("events", "list_targets_by_rule", {"Rule": self.name}),
            "set": ("sesv2", "get_configuration_set_event_destinations", {"ConfigurationSetName": self.set}),
        }
        found: dict[str, Any] = {}
        for part, (service, operation, arguments) in asked.items():
            try:
                found[part] = self.call(service, operation, **arguments)
            except Exception as error:  # noqa: BLE001  it is not there: that counts as well
                found[part] = type(error).__name__
        if isinstance(found["subscriptions"], dict):
            for one in found["subscriptions"]["Subscriptions"]:
                arn = one.pop("SubscriptionArn")  # another each time
                attributes = self.call("sns", "get_subscription_attributes", SubscriptionArn=arn)["Attributes"]
                one["attributes"] = {name: value for name, value in attributes.items() if name != "SubscriptionArn"}
        for part in ("queue", "dead"):
            if isinstance(found[part], dict):
                for name in ("CreatedTimestamp", "LastModifiedTimestamp"):
                    found[part]["Attributes"].pop(name)
        return found
