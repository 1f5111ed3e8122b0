"""Every operation of the simulator, called by the real SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from bulksend.simulator import SimulatorProcess
from tests.simulated_ses import CAMPAIGN, SesClient, bulk, entry, ses_client


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def client(running: SimulatorProcess) -> Iterator[SesClient]:
    with ses_client(running.url) as made:
        yield made


@pytest.fixture
def simulator(running: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The one of this module, as if it had just been started."""
    defaults = running.settings()
    fixed = ("host", "port", "day_s", "seed", "rules", "events", "exit_with_parent")
    yield running
    running.settings(**{name: value for name, value in defaults.items() if name not in fixed})
    running.rules([])
    running.reset()


def refused(client: SesClient, operation: str, **arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        client.call(operation, **arguments)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["RequestId"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_get_account(client: SesClient, simulator: SimulatorProcess) -> None:
    account = client.call("get_account")
    assert account["SendQuota"] == {"Max24HourSend": 1_000_000.0, "MaxSendRate": 500.0, "SentLast24Hours": 0.0}
    assert (account["SendingEnabled"], account["ProductionAccessEnabled"]) == (True, True)
    assert account["EnforcementStatus"] == "HEALTHY"
    assert account["ResponseMetadata"]["RequestId"]
    simulator.settings(max_24_hour_send=-1, max_send_rate_per_s=14, enforcement_status="PROBATION")
    simulator.foreign(7)
    account = client.call("get_account")
    assert account["SendQuota"] == {"Max24HourSend": -1.0, "MaxSendRate": 14.0, "SentLast24Hours": 7.0}
    assert account["EnforcementStatus"] == "PROBATION"


def test_send_bulk_email(client: SesClient, simulator: SimulatorProcess) -> None:
    results = client.send_bulk(*[f"u{n}@example.com" for n in range(1, 51)])
    assert [result["Status"] for result in results] == ["SUCCESS"] * 50
    assert len({result["MessageId"] for result in results}) == 50
    told = simulator.tally(CAMPAIGN)
    assert {key: told[key] for key in ("accepted", "rows", "copies", "ambiguous", "ambiguous_attempts")} == {
        "accepted": 50,
        "rows": 50,
        "copies": [],
        "ambiguous": 0,
        "ambiguous_attempts": 0,
    }
    assert (told["requests"], told["refused_429"], sum(n for _, n in told["per_second"])) == (1, 0, 50)
    accepted = list(simulator.accepted(CAMPAIGN))
    assert [a["message_id"] for a in accepted] == [result["MessageId"] for result in results]
    assert [(a["row"], a["to"], a["answered"]) for a in accepted[:2]] == [
        (1, "u1@example.com", True),
        (2, "u2@example.com", True),
    ]
    assert client.call("get_account")["SendQuota"]["SentLast24Hours"] == 50.0


def test_a_row_sent_twice_is_seen_by_the_judge(client: SesClient, simulator: SimulatorProcess) -> None:
    client.send_bulk("a@example.com", "b@example.com")
    client.send_bulk("b@example.com", first_row=2)
    told = simulator.tally(CAMPAIGN)
    assert (told["accepted"], told["rows"], told["copies"]) == (3, 2, [[2, 2]])


def test_the_last_requests_are_kept_as_they_came(client: SesClient, simulator: SimulatorProcess) -> None:
    sent = bulk("a@example.com", TenantName="tenant")
    client.call("send_bulk_email", **sent)
    kept = simulator.requests()[-1]
    assert (kept["operation"], kept["http_status"], kept["body"]) == ("SendBulkEmail", 200, sent)
    simulator.settings(kept_requests=2)
    for _ in range(3):
        client.call("get_account")
    assert [request["operation"] for request in simulator.requests()] == ["GetAccount", "GetAccount"]


def test_a_bad_address_fails_its_entry_or_the_call(client: SesClient, simulator: SimulatorProcess) -> None:
    results = client.send_bulk("a@example.com", "nobody")
    assert [result["Status"] for result in results] == ["SUCCESS", "INVALID_PARAMETER"]
    assert simulator.tally()["accepted"] == 1
    assert client.call("get_account")["SendQuota"]["SentLast24Hours"] == 1.0, "only what was accepted counts"
    simulator.settings(bad_address="call")
    status, code, text = refused(client, "send_bulk_email", **bulk("a@example.com", "nobody"))
    assert (status, code) == (400, "BadRequestException")
    assert "BulkEmailEntries[1]" in text
    assert simulator.tally()["accepted"] == 1


def test_what_is_not_valid_is_refused_whole(client: SesClient, simulator: SimulatorProcess) -> None:
    status, code, text = refused(client, "send_bulk_email", **bulk(*["a@example.com"] * 51))
    assert (status, code) == (400, "BadRequestException")
    assert "51 entries" in text
    assert simulator.tally()["accepted"] == 0


def test_send_email(client: SesClient, simulator: SimulatorProcess) -> None:
    content = {"Simple": {"Subject": {"Data": "Hello"}, "Body": {"Html": {"Data": "<p>Hi</p>"}}}}
    tags = [{"Name": "bulksend-campaign", "Value": "single"}, {"Name": "bulksend-row", "Value": "9"}]
    call: dict[str, Any] = {"FromEmailAddress": "n@example.com", "EmailTags": tags}
    answer = client.call("send_email", **call, Content=content, Destination={"ToAddresses": ["a@example.com"]})
    (accepted,) = simulator.accepted("single")
    assert (accepted["row"], accepted["message_id"]) == (9, answer["MessageId"])
    templated = {"Template": {"TemplateName": "t", "TemplateData": "{}"}}
    client.call("send_email", **call, Content=templated, Destination={"ToAddresses": ["b@example.com"]})
    assert simulator.tally("single")["copies"] == [[9, 2]]
    arguments = {**call, "Content": content}
    for to, expected in {
        "nobody": (400, "BadRequestException"),
        "fault.message_rejected@example.com": (400, "MessageRejected"),
        "fault.account_throttled@example.com": (429, "TooManyRequestsException"),
        "fault.internal_500@example.com": (500, "InternalFailure"),
    }.items():
        assert refused(client, "send_email", **arguments, Destination={"ToAddresses": [to]})[:2] == expected
    assert simulator.tally()["accepted"] == 2


def test_templates(client: SesClient, simulator: SimulatorProcess) -> None:
    content = {"Subject": "Hi {{name}}", "Text": "{{ plan.title }}", "Html": "<b>{{{name}}}</b>"}
    client.call("create_email_template", TemplateName="hello", TemplateContent=content)
    again = refused(client, "create_email_template", TemplateName="hello", TemplateContent=content)
    assert again[:2] == (400, "AlreadyExistsException")
    got = client.call("get_email_template", TemplateName="hello")
    assert (got["TemplateName"], got["TemplateContent"]) == ("hello", content)
    data = '{"name": "Ada", "plan": {"title": "free"}}'
    mime = client.call("test_render_email_template", TemplateName="hello", TemplateData=data)["RenderedTemplate"]
    assert "Subject: Hi Ada" in mime
    assert "free" in mime
    assert "<b>Ada</b>" in mime
    missing = refused(client, "test_render_email_template", TemplateName="hello", TemplateData='{"name": "Ada"}')
    assert missing[:2] == (400, "BadRequestException")
    assert "plan.title" in missing[2]
    client.call("update_email_template", TemplateName="hello", TemplateContent={"Subject": "Bye"})
    assert client.call("get_email_template", TemplateName="hello")["TemplateContent"] == {"Subject": "Bye"}
    for name in ("a", "b"):
        client.call("create_email_template", TemplateName=name, TemplateContent={"Subject": "s"})
    first = client.call("list_email_templates", PageSize=2)
    second = client.call("list_email_templates", PageSize=2, NextToken=first["NextToken"])
    names = [t["TemplateName"] for page in (first, second) for t in page["TemplatesMetadata"]]
    assert names == ["a", "b", "hello"]
    assert "NextToken" not in second
    for name in names:
        client.call("delete_email_template", TemplateName=name)
    assert refused(client, "delete_email_template", TemplateName="hello")[:2] == (404, "NotFoundException")
    assert refused(client, "get_email_template", TemplateName="hello")[:2] == (404, "NotFoundException")
    assert simulator.tally()["accepted"] == 0


def test_strict_templates(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(strict_templates=True)
    assert refused(client, "send_bulk_email", **bulk("a@example.com"))[:2] == (404, "NotFoundException")
    client.call("create_email_template", TemplateName="launch", TemplateContent={"Subject": "s"})
    assert client.send_bulk("a@example.com")[0]["Status"] == "SUCCESS"
    client.call("delete_email_template", TemplateName="launch")


def test_configuration_sets(client: SesClient) -> None:
    client.call("create_configuration_set", ConfigurationSetName="marketing")
    assert client.call("get_configuration_set", ConfigurationSetName="marketing")["SendingOptions"]["SendingEnabled"]
    assert client.call("list_configuration_sets")["ConfigurationSets"] == ["marketing"]
    again = refused(client, "create_configuration_set", ConfigurationSetName="marketing")
    assert again[:2] == (400, "AlreadyExistsException")
    assert refused(client, "get_configuration_set", ConfigurationSetName="none")[:2] == (404, "NotFoundException")


def test_an_operation_that_is_not_there(client: SesClient) -> None:
    assert refused(client, "list_import_jobs")[:2] == (404, "UnknownOperationException")


def test_the_sandbox(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(sandbox=True, verified=["me@example.com", "example.net"], max_send_rate_per_s=100)
    account = client.call("get_account")
    assert account["ProductionAccessEnabled"] is False
    assert account["SendQuota"]["Max24HourSend"] == 200.0
    results = client.send_bulk(
        "success+1@simulator.amazonses.com", "Me <me@example.com>", "x@example.net", "x@example.com"
    )
    assert [result["Status"] for result in results] == ["SUCCESS"] * 3 + ["MESSAGE_REJECTED"]
    assert results[3]["Error"].startswith("Email address is not verified.")
    copied = entry("me@example.com", 1, Destination={"ToAddresses": ["me@example.com"], "CcAddresses": ["c@d.example"]})
    (result,) = client.call("send_bulk_email", **bulk(BulkEmailEntries=[copied]))["BulkEmailEntryResults"]
    assert result["Status"] == "MESSAGE_REJECTED"


@pytest.mark.parametrize(
    ("setting", "code"),
    [({"sending_enabled": False}, "SendingPausedException"), ({"enforcement_status": "SHUTDOWN"}, "AccountSuspended")],
)
def test_an_account_that_may_not_send(
    client: SesClient, simulator: SimulatorProcess, setting: dict[str, Any], code: str
) -> None:
    simulator.settings(**setting)
    status, got, _ = refused(client, "send_bulk_email", **bulk("a@example.com"))
    assert status == 400
    assert got.startswith(code)
    assert simulator.tally()["accepted"] == 0


def test_over_the_rate(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(max_send_rate_per_s=1)
    assert len(client.send_bulk(*["a@example.com"] * 50)) == 50
    status, code, text = refused(client, "send_bulk_email", **bulk("a@example.com"))
    assert (status, code, text) == (429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    told = simulator.tally(CAMPAIGN)
    assert (told["accepted"], told["requests"], told["refused_429"]) == (50, 2, 1)
    simulator.settings(enforce=False)
    assert client.send_bulk("a@example.com")[0]["Status"] == "SUCCESS"


def test_another_sender_takes_from_the_rate(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.foreign(100_000)
    assert refused(client, "send_bulk_email", **bulk("a@example.com"))[0] == 429


def test_a_spent_day_refuses_the_call(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(max_24_hour_send=3)
    assert len(client.send_bulk("a@example.com", "b@example.com")) == 2
    assert len(client.send_bulk("c@example.com", "d@example.com")) == 2, "the last call may overdraw"
    status, code, text = refused(client, "send_bulk_email", **bulk("a@example.com"))
    assert (status, code, text) == (400, "LimitExceededException", "Daily message quota exceeded.")
    assert client.call("get_account")["SendQuota"]["SentLast24Hours"] == 4.0


def test_a_spent_day_refuses_entry_by_entry(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(max_24_hour_send=3, daily_refusal="entry")
    results = client.send_bulk(*[f"u{n}@example.com" for n in range(5)])
    assert [result["Status"] for result in results] == ["SUCCESS"] * 3 + ["ACCOUNT_DAILY_QUOTA_EXCEEDED"] * 2


def test_a_clock_that_is_off(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.settings(clock_offset_s=3600)
    assert refused(client, "send_bulk_email", **bulk("a@example.com"))[:2] == (400, "RequestExpired")
    assert simulator.tally()["accepted"] == 0
    simulator.settings(clock_offset_s=800)
    assert client.send_bulk("a@example.com")[0]["Status"] == "SUCCESS"
