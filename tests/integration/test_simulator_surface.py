"""What an account has beside its sending, asked of the simulator by the real SDK.

Every answer is held against the SDK's own model of it, so that none has a member, a type or a word that SES's has not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from bulksend.simulator import SimulatorProcess
from tests.signer_v4a import signed
from tests.simulated_ses import CAMPAIGN, SesClient, bulk, entry, ses_client

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int),
    "long": lambda value: isinstance(value, int),
    "double": lambda value: isinstance(value, float),
    "timestamp": lambda value: isinstance(value, int | float),
}


def misfits(shape: Any, value: Any, where: str) -> list[str]:
    """What of a JSON value is not as the shape has it."""
    match shape.type_name:
        case "structure":
            found = [f"{where}: unknown {name}" for name in value.keys() - shape.members.keys()]
            found += [f"{where}: no {name}" for name in shape.required_members if name not in value]
            for name in value.keys() & shape.members.keys():
                found += misfits(shape.members[name], value[name], f"{where}.{name}")
            return found
        case "list":
            return [wrong for one in value for wrong in misfits(shape.member, one, f"{where}[]")]
        case "map":
            return [wrong for one in value.values() for wrong in misfits(shape.value, one, f"{where}{{}}")]
        case kind:
            if not _TYPES[kind](value):
                return [f"{where}: {value!r} is no {kind}"]
            words = getattr(shape, "enum", None)
            return [f"{where}: {value} is none of {words}"] if words and value not in words else []


def hold(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] == 200:
        assert misfits(operation_model.output_shape, json.loads(response_dict["body"]), operation_model.name) == []


@pytest.fixture(scope="module")
def client(_simulator_process: tuple[SimulatorProcess, dict[str, Any]]) -> Iterator[SesClient]:
    with ses_client(_simulator_process[0].url) as made:
        made.client.meta.events.register("before-parse.sesv2", hold)
        yield made


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {}


pytestmark = pytest.mark.usefixtures("simulator")


def refused(client: SesClient, operation: str, **arguments: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        client.call(operation, **arguments)
    answer = caught.value.response
    assert answer["Error"]["Message"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


NOT_FOUND, THERE = (404, "NotFoundException"), (400, "AlreadyExistsException")
BAD = (400, "BadRequestException")


def all_of(client: SesClient, operation: str, member: str, **arguments: Any) -> list[Any]:
    """A whole list, two at a time."""
    found: list[Any] = []
    more: dict[str, str] = {}
    while True:
        page = client.call(operation, PageSize=2, **arguments, **more)
        assert len(page[member]) <= 2
        found += page[member]
        if "NextToken" not in page:
            return found
        more = {"NextToken": page["NextToken"]}


def test_the_suppression_list(client: SesClient, simulator: SimulatorProcess) -> None:
    for number, reason in enumerate(("BOUNCE", "COMPLAINT", "BOUNCE", "BOUNCE", "COMPLAINT")):
        simulator.settings(clock_offset_s=number * 60)
        client.call("put_suppressed_destination", EmailAddress=f"U{number}+x@Example.com", Reason=reason)
    got = client.call("get_suppressed_destination", EmailAddress="u1+X@example.com")["SuppressedDestination"]
    assert (got["EmailAddress"], got["Reason"]) == ("u1+x@example.com", "COMPLAINT")

    def listed(**arguments: Any) -> list[str]:
        told = all_of(client, "list_suppressed_destinations", "SuppressedDestinationSummaries", **arguments)
        return [one["EmailAddress"] for one in told]

    assert listed() == [f"u{number}+x@example.com" for number in range(5)]
    assert listed(Reasons=["COMPLAINT"]) == ["u1+x@example.com", "u4+x@example.com"]
    assert len(listed(Reasons=["COMPLAINT", "BOUNCE"])) == 5
    assert listed(EndDate=got["LastUpdateTime"]) == ["u0+x@example.com"]
    assert len(listed(StartDate=got["LastUpdateTime"])) == 4
    later = datetime(2100, 1, 1, tzinfo=UTC)
    assert listed(StartDate=later) == []
    assert len(listed(StartDate=datetime(2020, 1, 1, tzinfo=UTC), EndDate=later)) == 5
    client.call("put_suppressed_destination", EmailAddress="u1+x@example.com", Reason="BOUNCE")
    assert listed(Reasons=["COMPLAINT"]) == ["u4+x@example.com"]
    client.call("delete_suppressed_destination", EmailAddress="u1+x@example.com")
    assert len(listed()) == 4
    assert refused(client, "get_suppressed_destination", EmailAddress="u1+x@example.com") == NOT_FOUND
    assert refused(client, "delete_suppressed_destination", EmailAddress="u1+x@example.com") == NOT_FOUND
    assert refused(client, "put_suppressed_destination", EmailAddress="A <a@b.example>", Reason="BOUNCE") == BAD
    assert refused(client, "put_suppressed_destination", EmailAddress="a@b.example", Reason="OTHER") == BAD
    token = refused(client, "list_suppressed_destinations", NextToken="?")
    assert token == (400, "InvalidNextTokenException")
    assert refused(client, "list_suppressed_destinations", PageSize=1001) == BAD


def test_any_operation_can_be_told_to_fail(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "throttled_429", "operation": "ListSuppressedDestinations", "times": 1}])
    assert refused(client, "list_suppressed_destinations") == (429, "TooManyRequestsException")
    assert client.call("list_suppressed_destinations")["SuppressedDestinationSummaries"] == []


def test_a_list_that_changes_between_its_pages(client: SesClient) -> None:
    for name in "bdf":
        client.call("put_suppressed_destination", EmailAddress=f"{name}@example.com", Reason="BOUNCE")
    first = client.call("list_suppressed_destinations", PageSize=2)
    client.call("delete_suppressed_destination", EmailAddress="d@example.com")
    for name in "ae":
        client.call("put_suppressed_destination", EmailAddress=f"{name}@example.com", Reason="BOUNCE")
    rest = client.call("list_suppressed_destinations", NextToken=first["NextToken"])
    names = [one["EmailAddress"][0] for one in rest["SuppressedDestinationSummaries"]]
    assert names == ["e", "f"], "nothing twice, and nothing left out that was there all the time"


def test_what_is_sent_to_a_suppressed_address_is_accepted(client: SesClient, simulator: SimulatorProcess) -> None:
    client.call("put_suppressed_destination", EmailAddress="gone@example.com", Reason="BOUNCE")
    (result,) = client.send_bulk("Gone@example.com")
    assert result["Status"] == "SUCCESS"
    assert simulator.tally(CAMPAIGN)["accepted"] == 1
    assert client.call("get_account")["SendQuota"]["SentLast24Hours"] == 1.0
    simulator.settings(enforce=False)
    events = [one["Events"] for one in client.call("get_message_insights", MessageId=result["MessageId"])["Insights"]]
    assert [one["Type"] for one in events[0]] == ["SEND", "BOUNCE"]
    assert events[0][1]["Details"]["Bounce"]["BounceSubType"] == "OnAccountSuppressionList"
    client.call("put_account_suppression_attributes", SuppressedReasons=["COMPLAINT"])
    assert client.call("get_account")["SuppressionAttributes"]["SuppressedReasons"] == ["COMPLAINT"]
    told = client.call("get_message_insights", MessageId=result["MessageId"])["Insights"][0]["Events"]
    assert [one["Type"] for one in told] == ["SEND", "DELIVERY"]


def test_identities(client: SesClient, simulator: SimulatorProcess) -> None:
    for name in ("example.com", "news@example.com"):
        got = client.call("get_email_identity", EmailIdentity=name)
        assert got["VerifiedForSendingStatus"], "where none are named, all are verified"
        assert (got["DkimAttributes"]["Status"], got["DkimAttributes"]["SigningEnabled"]) == ("SUCCESS", True)
    assert client.call("list_email_identities")["EmailIdentities"] == []
    simulator.settings(identities=["Example.com", "a@example.net"])
    assert client.call("get_email_identity", EmailIdentity="EXAMPLE.com")["IdentityType"] == "DOMAIN"
    assert client.call("get_email_identity", EmailIdentity="a@example.net")["IdentityType"] == "EMAIL_ADDRESS"
    assert refused(client, "get_email_identity", EmailIdentity="example.net") == NOT_FOUND
    made = client.call("create_email_identity", EmailIdentity="example.net", ConfigurationSetName="s")
    assert (made["VerifiedForSendingStatus"], made["DkimAttributes"]["Status"]) == (False, "PENDING")
    assert refused(client, "create_email_identity", EmailIdentity="Example.net") == THERE
    assert refused(client, "create_email_identity", EmailIdentity="no domain") == BAD
    got = client.call("get_email_identity", EmailIdentity="example.net")
    assert (got["VerificationStatus"], got["ConfigurationSetName"]) == ("PENDING", "s")
    listed = all_of(client, "list_email_identities", "EmailIdentities")
    assert {one["IdentityName"]: one["SendingEnabled"] for one in listed} == {
        "a@example.net": True,
        "example.com": True,
        "example.net": False,
    }
    client.call("put_email_identity_dkim_attributes", EmailIdentity="example.com", SigningEnabled=False)
    dkim = client.call("get_email_identity", EmailIdentity="example.com")["DkimAttributes"]
    assert (dkim["SigningEnabled"], dkim["Status"]) == (False, "SUCCESS")
    client.call("delete_email_identity", EmailIdentity="example.net")
    assert refused(client, "delete_email_identity", EmailIdentity="example.net") == NOT_FOUND


def test_only_a_verified_identity_sends(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(identities=["example.com"])
    for sender in ("a@example.com", "A <a@Mail.Example.com>"):
        assert client.send_bulk("u@example.net", FromEmailAddress=sender)[0]["Status"] == "SUCCESS"
    for sender in ("a@example.net", "a@notexample.com", "A <a@com>"):
        call = bulk("u@example.net", FromEmailAddress=sender)
        assert refused(client, "send_bulk_email", **call)[0] == 400
    simulator.settings(identities=["a@example.com"])
    assert refused(client, "send_bulk_email", **bulk("u@example.net", FromEmailAddress="b@example.com")) == (
        400,
        "MessageRejected",
    )
    assert simulator.tally()["accepted"] == 2


SNS = {"SnsDestination": {"TopicArn": "arn:aws:sns:eu-west-1:123456789012:events"}}
KINDS: list[dict[str, Any]] = [
    SNS,
    {"EventBridgeDestination": {"EventBusArn": "arn:aws:events:eu-west-1:123456789012:event-bus/default"}},
    {
        "KinesisFirehoseDestination": {
            "IamRoleArn": "arn:aws:iam::123456789012:role/events",
            "DeliveryStreamArn": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/events",
        }
    },
    {
        "CloudWatchDestination": {
            "DimensionConfigurations": [
                {"DimensionName": "c", "DimensionValueSource": "MESSAGE_TAG", "DefaultDimensionValue": "none"}
            ]
        }
    },
    {"PinpointDestination": {"ApplicationArn": "arn:aws:mobiletargeting:eu-west-1:123456789012:apps/a"}},
]


@pytest.fixture
def configuration_set(client: SesClient) -> Iterator[str]:
    client.call(
        "create_configuration_set",
        ConfigurationSetName="surface",
        SuppressionOptions={"SuppressedReasons": ["BOUNCE"]},
        Tags=[{"Key": "k", "Value": "v"}],
    )
    yield "surface"
    client.call("delete_configuration_set", ConfigurationSetName="surface")


def test_event_destinations(client: SesClient, configuration_set: str) -> None:
    of = {"ConfigurationSetName": configuration_set}

    def there() -> list[dict[str, Any]]:
        told = client.call("get_configuration_set_event_destinations", **of)
        found: list[dict[str, Any]] = told["EventDestinations"]
        return found

    assert there() == []
    for number, kind in enumerate(KINDS):
        definition = {"Enabled": True, "MatchingEventTypes": ["BOUNCE", "RENDERING_FAILURE"], **kind}
        client.call(
            "create_configuration_set_event_destination",
            **of,
            EventDestinationName=f"d{number}",
            EventDestination=definition,
        )
        assert there()[-1] == {"Name": f"d{number}", **definition}
    destination = {**of, "EventDestinationName": "d0"}
    new = {"EventDestination": {"MatchingEventTypes": ["OPEN"], **SNS}}
    assert refused(client, "create_configuration_set_event_destination", **destination, **new) == THERE
    client.call("update_configuration_set_event_destination", **destination, **new)
    assert there()[0] == {"Name": "d0", "Enabled": False, "MatchingEventTypes": ["OPEN"], **SNS}
    client.call("delete_configuration_set_event_destination", **destination)
    assert [one["Name"] for one in there()] == ["d1", "d2", "d3", "d4"]
    assert refused(client, "delete_configuration_set_event_destination", **destination) == NOT_FOUND
    assert refused(client, "update_configuration_set_event_destination", **destination, **new) == NOT_FOUND
    for wrong in (
        {"MatchingEventTypes": ["OPEN"]},
        {"MatchingEventTypes": ["OPEN"], **SNS, **KINDS[1]},
        {"MatchingEventTypes": [], **SNS},
        {"MatchingEventTypes": ["Open"], **SNS},
        {"MatchingEventTypes": ["OPEN"], "SnsDestination": {"TopicArn": "events"}},
    ):
        made = refused(client, "create_configuration_set_event_destination", **destination, EventDestination=wrong)
        assert made == BAD, wrong
    assert refused(client, "get_configuration_set_event_destinations", ConfigurationSetName="none") == NOT_FOUND


def test_options_of_a_configuration_set(client: SesClient, simulator: SimulatorProcess, configuration_set: str) -> None:
    of: dict[str, Any] = {"ConfigurationSetName": configuration_set}
    got = client.call("get_configuration_set", **of)
    assert got["SuppressionOptions"] == {"SuppressedReasons": ["BOUNCE"]}
    assert (got["SendingOptions"], got["ReputationOptions"]) == (
        {"SendingEnabled": True},
        {"ReputationMetricsEnabled": False},
    )
    client.call("put_configuration_set_suppression_options", **of, SuppressedReasons=[])
    client.call("put_configuration_set_reputation_options", **of, ReputationMetricsEnabled=True)
    client.call("put_configuration_set_sending_options", **of, SendingEnabled=False)
    got = client.call("get_configuration_set", **of)
    assert got["SuppressionOptions"] == {"SuppressedReasons": []}
    assert (got["SendingOptions"], got["ReputationOptions"]) == (
        {"SendingEnabled": False},
        {"ReputationMetricsEnabled": True},
    )
    results = client.send_bulk("a@example.com", "b@example.com", **of)
    assert [result["Status"] for result in results] == ["CONFIGURATION_SET_SENDING_PAUSED"] * 2
    content = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}
    single = {"FromEmailAddress": "a@example.com", "Content": content, "Destination": {"ToAddresses": ["a@b.example"]}}
    assert refused(client, "send_email", **of, **single) == (400, "SendingPausedException")
    assert simulator.tally()["accepted"] == 0
    client.call("put_configuration_set_sending_options", **of, SendingEnabled=True)
    assert client.send_bulk("a@example.com", **of)[0]["Status"] == "SUCCESS"


ROUTES = {"Details": {"RoutesDetails": [{"Region": "us-east-1"}]}}


def test_multi_region_endpoints(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(endpoint_change_s=3600)
    made = client.call("create_multi_region_endpoint", EndpointName="both", **ROUTES)
    assert made["Status"] == "CREATING"
    got = client.call("get_multi_region_endpoint", EndpointName="both")
    assert (got["EndpointName"], got["EndpointId"], got["Status"]) == ("both", made["EndpointId"], "CREATING")
    assert got["Routes"] == [{"Region": "eu-west-1"}, {"Region": "us-east-1"}]
    simulator.settings(endpoint_change_s=0)
    for status in ("READY", "FAILED", "DELETING", "CREATING"):
        simulator.settings(endpoint_status=status)
        assert client.call("get_multi_region_endpoint", EndpointName="both")["Status"] == status
    simulator.settings(endpoint_status="READY", endpoint_change_s=3600)
    for name in ("a", "c"):
        client.call("create_multi_region_endpoint", EndpointName=name, **ROUTES)
    listed = all_of(client, "list_multi_region_endpoints", "MultiRegionEndpoints")
    assert [(one["EndpointName"], one["Regions"]) for one in listed] == [
        (name, ["eu-west-1", "us-east-1"]) for name in ("a", "both", "c")
    ]
    assert client.call("delete_multi_region_endpoint", EndpointName="both")["Status"] == "DELETING"
    assert client.call("get_multi_region_endpoint", EndpointName="both")["Status"] == "DELETING"
    simulator.settings(endpoint_change_s=0)
    assert refused(client, "get_multi_region_endpoint", EndpointName="both") == NOT_FOUND
    assert refused(client, "delete_multi_region_endpoint", EndpointName="both") == NOT_FOUND
    assert refused(client, "create_multi_region_endpoint", EndpointName="a", **ROUTES) == THERE
    for regions in ([], ["eu-west-1"], ["us-east-1", "us-west-2"], ["nowhere"]):
        details = {"RoutesDetails": [{"Region": region} for region in regions]}
        assert refused(client, "create_multi_region_endpoint", EndpointName="d", Details=details) == BAD


@pytest.fixture
def endpoint_id(client: SesClient) -> str:
    made: str = client.call("create_multi_region_endpoint", EndpointName="both", **ROUTES)["EndpointId"]
    return made


def posted(simulator: SimulatorProcess, call: dict[str, Any], *, changed: bytes = b"", **how: Any) -> tuple[int, str]:
    """SendBulkEmail with AWS's own SigV4A; `changed` is added to the body behind the signer's back."""
    body = json.dumps(call).encode()
    host = urlsplit(simulator.url).netloc
    headers = signed(datetime.now(UTC), body, host=host, **how)
    connection = HTTPConnection(host, timeout=20)
    try:
        connection.request("POST", "/v2/email/outbound-bulk-emails", body + changed, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("x-amzn-ErrorType") or answer.read().decode()
    finally:
        connection.close()


FORGED = (403, "InvalidSignatureException")


def test_sending_by_an_endpoint_wants_sigv4a(client: SesClient, simulator: SimulatorProcess, endpoint_id: str) -> None:
    call = bulk("a@example.com", EndpointId=endpoint_id)
    status, body = posted(simulator, call)
    assert (status, json.loads(body)["BulkEmailEntryResults"][0]["Status"]) == (200, "SUCCESS")
    assert posted(simulator, call, changed=b" ") == FORGED
    assert posted(simulator, call, secret="another") == FORGED
    assert posted(simulator, call, access_key_id="AKIDEXAMPLE") == (403, "UnrecognizedClientException")
    assert posted(simulator, call, region_set="eu-west-1") == FORGED
    # As a client does that knows nothing of such endpoints: EndpointId in the body alone, plain SigV4.
    smuggled = json.dumps(call).encode()

    def swap(params: dict[str, Any], **_: object) -> None:
        params["body"] = smuggled

    client.client.meta.events.register("before-call.sesv2.SendBulkEmail", swap)
    try:
        assert refused(client, "send_bulk_email", **bulk("a@example.com")) == FORGED
    finally:
        client.client.meta.events.unregister("before-call.sesv2.SendBulkEmail", swap)
    assert simulator.tally()["accepted"] == 1


def test_only_an_endpoint_that_is_ready_sends(simulator: SimulatorProcess, endpoint_id: str) -> None:
    call = bulk("a@example.com", EndpointId=endpoint_id)
    for status in ("CREATING", "FAILED", "DELETING"):
        simulator.settings(endpoint_status=status)
        assert posted(simulator, call) == BAD
    assert posted(simulator, {**call, "EndpointId": "abc12345.xyz"}) == NOT_FOUND
    assert simulator.tally()["accepted"] == 0
    simulator.settings(endpoint_status="READY")
    assert posted(simulator, call)[0] == 200


def test_insights_of_a_message(client: SesClient, simulator: SimulatorProcess) -> None:
    content = {"Subject": "News", "Text": "t"}
    first, second = client.send_bulk(
        "a@gmail.com",
        "b@example.com",
        DefaultContent={"Template": {"TemplateContent": content, "TemplateData": "{}"}},
        ConfigurationSetName="marketing",
    )
    got = client.call("get_message_insights", MessageId=second["MessageId"])
    assert (got["MessageId"], got["Subject"]) == (second["MessageId"], "News")
    assert got["FromEmailAddress"] == "Example News <news@example.com>"
    assert {tag["Name"]: tag["Value"] for tag in got["EmailTags"]} == {
        "bulksend-campaign": CAMPAIGN,
        "bulksend-row": "2",
        "ses:configuration-set": "marketing",
    }
    (insight,) = got["Insights"]
    assert (insight["Destination"], insight["Isp"]) == ("b@example.com", "Other")
    assert [one["Type"] for one in insight["Events"]] == ["SEND", "DELIVERY"]
    simulator.settings(enforce=False)
    (insight,) = client.call("get_message_insights", MessageId=first["MessageId"])["Insights"]
    assert (insight["Destination"], insight["Isp"]) == ("a@gmail.com", "Gmail")
    for unknown in ("none", first["MessageId"][:-1] + "1", first["MessageId"].replace("0100", "0101", 1)):
        assert refused(client, "get_message_insights", MessageId=unknown) == NOT_FOUND


DAYS: dict[str, Any] = {"StartDate": datetime(2020, 1, 1, tzinfo=UTC), "EndDate": datetime(2020, 1, 3, tzinfo=UTC)}


def query(name: str, metric: str = "SEND", **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {"Id": name, "Namespace": "VDM", "Metric": metric, "StartDate": day, "EndDate": now, **more}


def test_metrics(client: SesClient, simulator: SimulatorProcess) -> None:
    client.send_bulk(*[f"u{n}@example.com" for n in range(7)], ConfigurationSetName="marketing")
    other = entry("a@example.com", 1, ReplacementTags=[{"Name": "bulksend-campaign", "Value": "other"}])
    client.call("send_bulk_email", **bulk(BulkEmailEntries=[other], FromEmailAddress="a@example.net"))

    def metrics(*queries: dict[str, Any]) -> dict[str, int]:
        told = client.call("batch_get_metric_data", Queries=list(queries))
        assert told["Errors"] == []
        return {one["Id"]: sum(one["Values"]) for one in told["Results"]}

    got = metrics(
        query("all"),
        query("delivered", "DELIVERY"),
        query("bounced", "PERMANENT_BOUNCE"),
        query("set", Dimensions={"CONFIGURATION_SET": "marketing"}),
        query("domain", Dimensions={"EMAIL_IDENTITY": "example.net"}),
        query("address", Dimensions={"EMAIL_IDENTITY": "news@example.com"}),
        query("both", Dimensions={"EMAIL_IDENTITY": "example.net", "CONFIGURATION_SET": "marketing"}),
        query("past", **DAYS),
    )
    assert got == {"all": 8, "delivered": 8, "bounced": 0, "set": 7, "domain": 1, "address": 7, "both": 0, "past": 0}
    past, isp = query("past", **DAYS), query("isp", Dimensions={"ISP": "Gmail"})
    told = client.call("batch_get_metric_data", Queries=[past, isp])
    (result,) = told["Results"]
    assert [at.timestamp() for at in result["Timestamps"]] == [1577836800.0, 1577923200.0]
    assert [(one["Id"], one["Code"]) for one in told["Errors"]] == [("isp", "INTERNAL_FAILURE")]
    simulator.settings(enforce=False)
    for wrong in (
        [query("a"), query("a")],
        [query("a", "SENT")],
        [query("a", Namespace="SES")],
        [query("a", StartDate=DAYS["EndDate"], EndDate=DAYS["StartDate"])],
        [query(str(n)) for n in range(11)],
    ):
        assert refused(client, "batch_get_metric_data", Queries=wrong) == BAD


TOPICS = [
    {"TopicName": "news", "DisplayName": "News", "DefaultSubscriptionStatus": "OPT_IN"},
    {"TopicName": "offers", "DisplayName": "Offers", "DefaultSubscriptionStatus": "OPT_OUT"},
]


def test_contact_lists(client: SesClient) -> None:
    for name in ("people", "others", "more"):
        client.call("create_contact_list", ContactListName=name, Topics=TOPICS, Description="All")
    assert refused(client, "create_contact_list", ContactListName="people") == THERE
    got = client.call("get_contact_list", ContactListName="people")
    assert (got["Topics"], got["Description"]) == (TOPICS, "All")
    listed = all_of(client, "list_contact_lists", "ContactLists")
    assert [one["ContactListName"] for one in listed] == ["more", "others", "people"]
    of = {"ContactListName": "people"}
    stated = [{"TopicName": "news", "SubscriptionStatus": "OPT_OUT"}]
    both = [{"TopicName": name, "SubscriptionStatus": "OPT_IN"} for name in ("news", "offers")]
    client.call("create_contact", **of, EmailAddress="plain@example.com", AttributesData='{"name":"Ann"}')
    client.call("create_contact", **of, EmailAddress="no.news@example.com", TopicPreferences=stated)
    client.call("create_contact", **of, EmailAddress="Both@example.com", TopicPreferences=both)
    client.call("create_contact", **of, EmailAddress="gone@example.com", TopicPreferences=both, UnsubscribeAll=True)
    contact = client.call("get_contact", **of, EmailAddress="plain@example.com")
    assert (contact["AttributesData"], contact["TopicPreferences"]) == ('{"name":"Ann"}', [])
    defaults = {one["TopicName"]: one["SubscriptionStatus"] for one in contact["TopicDefaultPreferences"]}
    assert (contact["UnsubscribeAll"], defaults) == (False, {"news": "OPT_IN", "offers": "OPT_OUT"})

    def found(**wanted: Any) -> list[str]:
        told = all_of(client, "list_contacts", "Contacts", **of, **({"Filter": wanted} if wanted else {}))
        return [one["EmailAddress"].partition("@")[0] for one in told]

    def of_topic(name: str, *, default: bool) -> dict[str, Any]:
        return {"TopicFilter": {"TopicName": name, "UseDefaultIfPreferenceUnavailable": default}}

    assert found() == ["Both", "gone", "no.news", "plain"]
    assert found(FilteredStatus="OPT_IN") == ["Both", "no.news", "plain"]
    assert found(FilteredStatus="OPT_OUT") == ["gone"]
    assert found(FilteredStatus="OPT_IN", **of_topic("news", default=False)) == ["Both", "gone"]
    assert found(FilteredStatus="OPT_IN", **of_topic("news", default=True)) == ["Both", "gone", "plain"]
    assert found(FilteredStatus="OPT_OUT", **of_topic("news", default=True)) == ["no.news"]
    assert found(FilteredStatus="OPT_OUT", **of_topic("offers", default=True)) == ["no.news", "plain"]
    client.call("update_contact", **of, EmailAddress="plain@example.com", UnsubscribeAll=True)
    assert found(FilteredStatus="OPT_OUT") == ["gone", "plain"]
    assert "AttributesData" not in client.call("get_contact", **of, EmailAddress="plain@example.com")
    client.call("delete_contact", **of, EmailAddress="plain@example.com")
    assert refused(client, "get_contact", **of, EmailAddress="plain@example.com") == NOT_FOUND
    assert refused(client, "create_contact", **of, EmailAddress="both@example.com") == THERE
    assert refused(client, "list_contacts", ContactListName="none") == NOT_FOUND
    assert refused(client, "list_contacts", **of, Filter=of_topic("none", default=True)) == BAD
    unknown = [{"TopicName": "none", "SubscriptionStatus": "OPT_IN"}]
    assert refused(client, "create_contact", **of, EmailAddress="x@example.com", TopicPreferences=unknown) == BAD


def arn(resource: str) -> str:
    return f"arn:aws:ses:eu-west-1:123456789012:{resource}"


def test_tenants(client: SesClient) -> None:
    made = client.call("create_tenant", TenantName="acme", Tags=[{"Key": "k", "Value": "v"}])
    assert (made["TenantName"], made["SendingStatus"]) == ("acme", "ENABLED")
    assert made["TenantArn"].startswith(arn("tenant/acme/"))
    got = client.call("get_tenant", TenantName="acme")["Tenant"]
    assert got == {name: value for name, value in made.items() if name != "ResponseMetadata"}
    assert refused(client, "create_tenant", TenantName="acme") == THERE
    assert refused(client, "get_tenant", TenantName="none") == NOT_FOUND
    for name in ("b", "c"):
        client.call("create_tenant", TenantName=name)
    listed = all_of(client, "list_tenants", "Tenants")
    assert [one["TenantName"] for one in listed] == ["acme", "b", "c"]
    resources = [arn(one) for one in ("configuration-set/s", "identity/example.com", "template/launch")]
    for resource in resources:
        client.call("create_tenant_resource_association", TenantName="acme", ResourceArn=resource)
    client.call("create_tenant_resource_association", TenantName="c", ResourceArn=resources[0])
    told = all_of(client, "list_tenant_resources", "TenantResources", TenantName="acme")
    assert {one["ResourceType"]: one["ResourceArn"] for one in told} == dict(
        zip(("CONFIGURATION_SET", "EMAIL_IDENTITY", "EMAIL_TEMPLATE"), resources, strict=True)
    )
    of_type = {"TenantName": "acme", "Filter": {"RESOURCE_TYPE": "EMAIL_TEMPLATE"}}
    assert [one["ResourceArn"] for one in all_of(client, "list_tenant_resources", "TenantResources", **of_type)] == [
        resources[2]
    ]
    of_resource = all_of(client, "list_resource_tenants", "ResourceTenants", ResourceArn=resources[0])
    assert [one["TenantName"] for one in of_resource] == ["acme", "c"]
    association = {"TenantName": "acme", "ResourceArn": resources[0]}
    assert refused(client, "create_tenant_resource_association", **association) == THERE
    client.call("delete_tenant_resource_association", **association)
    assert refused(client, "delete_tenant_resource_association", **association) == NOT_FOUND
    assert refused(client, "create_tenant_resource_association", TenantName="b", ResourceArn="x") == BAD
    client.call("delete_tenant", TenantName="c")
    assert refused(client, "list_tenant_resources", TenantName="c") == NOT_FOUND


def test_a_tenant_sends_by_what_is_its_own(client: SesClient, simulator: SimulatorProcess) -> None:
    call = bulk("a@example.net", TenantName="acme", ConfigurationSetName="marketing")
    client.call("send_bulk_email", **call)  # of a tenant that was not created here nothing is known
    made = client.call("create_tenant", TenantName="acme")
    for resource in ("identity/example.com", "template/launch", "configuration-set/marketing"):
        assert refused(client, "send_bulk_email", **call) == BAD
        client.call("create_tenant_resource_association", TenantName="acme", ResourceArn=arn(resource))
    client.call("send_bulk_email", **call)
    assert refused(client, "send_bulk_email", **{**call, "FromEmailAddress": "a@example.net"}) == BAD
    entity = {"ReputationEntityType": "RESOURCE", "ReputationEntityReference": made["TenantArn"]}
    client.call("update_reputation_entity_customer_managed_status", **entity, SendingStatus="DISABLED")
    assert client.call("get_tenant", TenantName="acme")["Tenant"]["SendingStatus"] == "DISABLED"
    assert refused(client, "send_bulk_email", **call) == (400, "SendingPausedException")
    client.call("update_reputation_entity_customer_managed_status", **entity, SendingStatus="REINSTATED")
    client.call("send_bulk_email", **call)
    assert simulator.tally()["accepted"] == 3


def test_reputation(client: SesClient, simulator: SimulatorProcess) -> None:
    arns = [client.call("create_tenant", TenantName=name)["TenantArn"] for name in ("a", "b", "c")]
    entity = {"ReputationEntityType": "RESOURCE", "ReputationEntityReference": arns[1]}
    got = client.call("get_reputation_entity", **entity)["ReputationEntity"]
    assert (got["ReputationEntityReference"], got["SendingStatusAggregate"]) == (arns[1], "ENABLED")
    assert "ReputationImpact" not in got
    assert client.call("list_recommendations")["Recommendations"] == []
    simulator.settings(high_impact=[arns[1]])
    assert client.call("get_reputation_entity", **entity)["ReputationEntity"]["ReputationImpact"] == "HIGH"
    (finding,) = client.call("list_recommendations", Filter={"STATUS": "OPEN"})["Recommendations"]
    assert (finding["ResourceArn"], finding["Impact"]) == (arns[1], "HIGH")
    client.call("update_reputation_entity_customer_managed_status", **entity, SendingStatus="DISABLED")

    def found(**wanted: str) -> list[str]:
        told = all_of(
            client, "list_reputation_entities", "ReputationEntities", **({"Filter": wanted} if wanted else {})
        )
        return [one["ReputationEntityReference"] for one in told]

    assert found() == sorted(arns)
    assert found(SENDING_STATUS="ENABLED") == sorted([arns[0], arns[2]])
    assert found(REPUTATION_IMPACT="HIGH") == [arns[1]]
    assert found(ENTITY_REFERENCE_PREFIX=arn("tenant/c")) == [arns[2]]
    unknown = {**entity, "ReputationEntityReference": arn("tenant/none/x")}
    assert refused(client, "get_reputation_entity", **unknown) == NOT_FOUND


def test_newer_sdks_post_these_lists(client: SesClient, simulator: SimulatorProcess) -> None:
    """As botocore does since 1.43; their requests are otherwise the same."""
    client.call("create_configuration_set", ConfigurationSetName="newer")
    client.call("create_email_identity", EmailIdentity="a.example.com")
    host = urlsplit(simulator.url).netloc
    for path, member, found in (
        ("/v2/email/list-configuration-sets", "ConfigurationSets", ["newer"]),
        ("/v2/email/list-identities", "EmailIdentities", [1]),
    ):
        body = b'{"PageSize":1}'
        headers = signed(datetime.now(UTC), body, host=host, target=path)
        connection = HTTPConnection(host, timeout=20)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        assert answer.status == 200
        assert len(told[member]) == len(found)
    client.call("delete_configuration_set", ConfigurationSetName="newer")


def test_a_new_day_begins_without_all_this(client: SesClient, simulator: SimulatorProcess) -> None:
    client.call("put_suppressed_destination", EmailAddress="a@example.com", Reason="BOUNCE")
    client.call("create_tenant", TenantName="acme")
    client.call("create_contact_list", ContactListName="people")
    client.call("create_multi_region_endpoint", EndpointName="both", **ROUTES)
    simulator.reset()
    assert client.call("list_suppressed_destinations")["SuppressedDestinationSummaries"] == []
    assert client.call("list_tenants")["Tenants"] == []
    assert client.call("list_contact_lists")["ContactLists"] == []
    assert client.call("list_multi_region_endpoints")["MultiRegionEndpoints"] == []
