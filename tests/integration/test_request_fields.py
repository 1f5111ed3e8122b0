"""Each field of SendBulkEmail, from the campaign file to the wire: what reaches the server is what was asked for.

Source: API reference, SendBulkEmail. DefaultEmailTags is the one field that is never sent: the campaign's tags stand in
each entry, as reports say that the bulk call ignores the default ones.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from bulksend import worker
from bulksend.config import load_campaign
from bulksend.errors import CampaignChangedError, ConfigError
from bulksend.model import CampaignState
from bulksend.simulator import SimulatorProcess
from tests.harness import REGION, Desk, settings_for
from tests.simulated_ses import ses_client

ARN = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"
CAMPAIGN = """\
name = "{{name}}"
[sender]
from = "Example News <news@example.com>"
{sender}
[content]
{content}
[recipients]
path = "list.csv"
{recipients}
"""
ATTACHING = 'template = "launch"\nattachments = [{ path = "terms.pdf" }]'
LIST = """\
email,first_name,segment,token,full_name,copy,archive
a@example.com,Ann,North East,t-1,"Doe, Ann",c1@example.com; c2@example.com,b@example.com
b@example.com,"B\u00f6b ""x"" \\",,t-2,J\u00f6rg,,
"""


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(max_send_rate_per_s=500) as process:
        yield process


def complaints(request: dict[str, Any]) -> str:
    """What botocore's own model of the service says of a request."""
    shape = botocore.session.get_session().get_service_model("sesv2").operation_model("SendBulkEmail").input_shape
    return str(ParamValidator().validate(request, shape).generate_report())


def sent(
    simulator: SimulatorProcess,
    folder: Path,
    *,
    sender: str = "",
    content: str = 'template = "launch"',
    recipients: str = "",
) -> dict[str, Any]:
    """The one request that a campaign of two rows comes to."""
    simulator.reset()
    (folder / "list.csv").write_text(LIST, "utf-8")
    desk = Desk(folder, simulator.url)
    desk.plan_file(CAMPAIGN.format(sender=braced(sender), content=braced(content), recipients=braced(recipients)))
    ended = desk.send()
    assert (ended.state, ended.tally.accepted) == (CampaignState.FINISHED, 2)
    requests = bulk_requests(simulator)
    assert len(requests) == 1
    assert complaints(requests[0]) == ""
    return requests[0]


def braced(text: str) -> str:
    """Safe from the formatting that the desk does."""
    return text.replace("{", "{{").replace("}", "}}")


def bulk_requests(simulator: SimulatorProcess) -> list[dict[str, Any]]:
    return [request["body"] for request in simulator.requests() if request["operation"] == "SendBulkEmail"]


def entries(request: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request["BulkEmailEntries"]
    return found


def test_the_smallest_request_has_nothing_else(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, recipients="data = []")
    row_tags = [entry.pop("ReplacementTags") for entry in entries(request)]
    assert [[tag["Name"] for tag in tags] for tags in row_tags] == [["bulksend-campaign", "bulksend-row"]] * 2
    assert request == {
        "FromEmailAddress": "Example News <news@example.com>",
        "DefaultContent": {"Template": {"TemplateName": "launch", "TemplateData": "{}"}},
        "BulkEmailEntries": [
            {
                "Destination": {"ToAddresses": [address]},
                "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": "{}"}},
            }
            for address in ("a@example.com", "b@example.com")
        ],
    }


@pytest.mark.parametrize(
    ("key", "field", "value"),
    [
        ("from_identity_arn", "FromEmailAddressIdentityArn", ARN),
        ("reply_to", "ReplyToAddresses", ["help@example.com", "Desk <desk@example.com>"]),
        ("feedback_address", "FeedbackForwardingEmailAddress", "bounces@example.com"),
        ("feedback_identity_arn", "FeedbackForwardingEmailAddressIdentityArn", ARN),
        ("configuration_set", "ConfigurationSetName", "marketing"),
        ("tenant", "TenantName", "shop"),
    ],
)
def test_a_field_of_the_sender(
    simulator: SimulatorProcess, tmp_path: Path, key: str, field: str, value: object
) -> None:
    assert sent(simulator, tmp_path, sender=f"{key} = {json.dumps(value)}")[field] == value


def test_from_email_address_is_encoded_for_a_header(simulator: SimulatorProcess, tmp_path: Path) -> None:
    body = CAMPAIGN.replace("Example News", "Caf\u00e9").format(sender="", content='template = "launch"', recipients="")
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    desk = Desk(tmp_path, simulator.url)
    desk.plan_file(body)
    desk.send()
    assert bulk_requests(simulator)[-1]["FromEmailAddress"] == "=?utf-8?b?Q2Fmw6k=?= <news@example.com>"


@pytest.mark.parametrize(
    ("content", "template"),
    [
        ('template = "launch"', {"TemplateName": "launch"}),
        (f'template_arn = "{ARN.replace("identity/example.com", "template/launch")}"',
         {"TemplateArn": "arn:aws:ses:eu-west-1:123456789012:template/launch"}),
        ('inline = { subject = "Hi {{first_name}}", html = "<b>\u00e9</b>", text = "T" }',
         {"TemplateContent": {"Subject": "Hi {{first_name}}", "Html": "<b>\u00e9</b>", "Text": "T"}}),
    ],
)  # fmt: skip
def test_the_template(simulator: SimulatorProcess, tmp_path: Path, content: str, template: dict[str, Any]) -> None:
    request = sent(simulator, tmp_path, content=content)
    assert request["DefaultContent"]["Template"] == {**template, "TemplateData": "{}"}


def test_template_data_and_replacement_template_data(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(
        simulator,
        tmp_path,
        content='template = "launch"\ndefault_data = { plan = "free", nested = { n = [1, true] } }',
        recipients='data = ["first_name"]',
    )
    defaults = {"plan": "free", "nested": {"n": [1, True]}}
    assert json.loads(request["DefaultContent"]["Template"]["TemplateData"]) == defaults
    assert [
        json.loads(entry["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"])
        for entry in entries(request)
    ] == [{**defaults, "first_name": "Ann"}, {**defaults, "first_name": 'B\u00f6b "x" \\'}]


def test_template_headers(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, content='template = "launch"\nheaders = { "X-B" = "2", "X-A" = "1" }')
    headers = [{"Name": "X-B", "Value": "2"}, {"Name": "X-A", "Value": "1"}]
    assert request["DefaultContent"]["Template"]["Headers"] == headers


def test_attachments_with_every_attribute(simulator: SimulatorProcess, tmp_path: Path) -> None:
    logo = bytes(range(256))
    (tmp_path / "logo.png").write_bytes(logo)
    (tmp_path / "terms.pdf").write_bytes(b"%PDF")
    content = """template = "launch"
attachments = [
    { path = "logo.png", file_name = "our logo.png", content_type = "image/x-png", content_id = "logo",
      disposition = "inline", description = "The logo", transfer_encoding = "base64" },
    { path = "terms.pdf", disposition = "attachment", transfer_encoding = "quoted_printable" },
    { path = "terms.pdf", transfer_encoding = "seven_bit" },
]""".replace(",\n      ", ", ")
    request = sent(simulator, tmp_path, content=content)
    terms = {"FileName": "terms.pdf", "RawContent": "JVBERg==", "ContentType": "application/pdf"}
    assert request["DefaultContent"]["Template"]["Attachments"] == [
        {
            "FileName": "our logo.png",
            "RawContent": base64.b64encode(logo).decode(),
            "ContentType": "image/x-png",
            "ContentId": "logo",
            "ContentDisposition": "INLINE",
            "ContentDescription": "The logo",
            "ContentTransferEncoding": "BASE64",
        },
        {**terms, "ContentDisposition": "ATTACHMENT", "ContentTransferEncoding": "QUOTED_PRINTABLE"},
        {**terms, "ContentTransferEncoding": "SEVEN_BIT"},
    ]


def test_default_email_tags_stand_in_every_entry_instead(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, content='template = "launch"\ntags = { campaign = "launch" }')
    assert "DefaultEmailTags" not in request
    for entry in entries(request):
        assert {"Name": "campaign", "Value": "launch"} in entry["ReplacementTags"]


def test_replacement_tags(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, recipients='tags = { segment = "s-{segment}" }')
    tags = [{tag["Name"]: tag["Value"] for tag in entry["ReplacementTags"]} for entry in entries(request)]
    assert [tag["segment"] for tag in tags] == ["s-North_East", "s-"]
    assert [tag["bulksend-row"] for tag in tags] == ["1", "2"]
    assert len({tag["bulksend-campaign"] for tag in tags}) == 1


def test_replacement_headers(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(
        simulator,
        tmp_path,
        recipients='headers = { "List-Unsubscribe" = "<https://example.com/u/{token}>", '
        '"List-Unsubscribe-Post" = "List-Unsubscribe=One-Click" }',
    )
    assert [entry["ReplacementHeaders"] for entry in entries(request)] == [
        [
            {"Name": "List-Unsubscribe", "Value": f"<https://example.com/u/{token}>"},
            {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
        ]
        for token in ("t-1", "t-2")
    ]


def test_destination_with_cc_and_bcc(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, recipients='cc = "copy"\nbcc = "archive"')
    assert [entry["Destination"] for entry in entries(request)] == [
        {
            "ToAddresses": ["a@example.com"],
            "CcAddresses": ["c1@example.com", "c2@example.com"],
            "BccAddresses": ["b@example.com"],
        },
        {"ToAddresses": ["b@example.com"]},
    ]


def test_destination_with_a_display_name(simulator: SimulatorProcess, tmp_path: Path) -> None:
    request = sent(simulator, tmp_path, recipients='display_name = "full_name"')
    assert [entry["Destination"]["ToAddresses"] for entry in entries(request)] == [
        ['"Doe, Ann" <a@example.com>'],
        ["=?utf-8?b?SsO2cmc=?= <b@example.com>"],
    ]


def test_endpoint_id(simulator: SimulatorProcess, tmp_path: Path) -> None:
    """In a process of its own, since it is when botocore is imported that awscrt is there or not."""
    with ses_client(simulator.url) as client:
        made = client.call(
            "create_multi_region_endpoint",
            EndpointName="both",
            Details={"RoutesDetails": [{"Region": "us-east-1"}]},
        )
        client.call("create_email_template", TemplateName="launch", TemplateContent={"Subject": "Hi", "Text": "Hi"})
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    sender = f'endpoint_id = "{made["EndpointId"]}"'
    body = CAMPAIGN.format(sender=sender, content='template = "launch"', recipients="")
    (tmp_path / "campaign.toml").write_text(body.format(name="launch"), "utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bulksend", "send", "campaign.toml", "--yes"),
            *("--endpoint-url", simulator.url, "--region", REGION),
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "BOTO_DISABLE_CRT"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert bulk_requests(simulator)[-1]["EndpointId"] == made["EndpointId"]


def test_an_endpoint_id_without_awscrt_is_refused_before_anything_is_sent(
    simulator: SimulatorProcess, tmp_path: Path
) -> None:
    simulator.reset()
    with ses_client(simulator.url) as client:
        routes = {"RoutesDetails": [{"Region": "us-east-1"}]}
        made = client.call("create_multi_region_endpoint", EndpointName="without", Details=routes)["EndpointId"]
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    desk = Desk(tmp_path, simulator.url)
    body = CAMPAIGN.format(sender=f'endpoint_id = "{made}"', content='template = "launch"', recipients="")
    desk.plan_file(body)
    with pytest.raises(ConfigError, match="needs awscrt") as raised:
        desk.send()
    assert "pip install 'bulksend[multiregion]'" in raised.value.hint
    assert bulk_requests(simulator) == []
    store = desk.store()
    campaign = store.journal.campaign("launch")
    assert f'"EndpointId":"{made}"'.encode() in campaign.prefix
    assert store.journal.tally(campaign).pending == 2


def test_a_changed_attachment_is_refused_by_the_name_of_its_key(simulator: SimulatorProcess, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    (tmp_path / "terms.pdf").write_bytes(b"one")
    body = CAMPAIGN.format(sender="", content=braced(ATTACHING), recipients="")
    desk = Desk(tmp_path, simulator.url)
    planned = desk.plan_file(body)
    (tmp_path / "terms.pdf").write_bytes(b"two")
    with pytest.raises(CampaignChangedError, match=r"differs in content\.attachments\.1\.sha256 \(was "):
        desk.plan_file(body)
    (tmp_path / "terms.pdf").write_bytes(b"one")
    assert desk.plan_file(body).id == planned.id
    with pytest.raises(CampaignChangedError, match=r'differs in recipients\.delimiter \(was not set, is ","\)'):
        desk.plan_file(CAMPAIGN.format(sender="", content=braced(ATTACHING), recipients='delimiter = ","'))


def test_a_campaign_planned_for_the_first_rows_goes_on_with_them(simulator: SimulatorProcess, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(LIST, "utf-8")
    path = tmp_path / "campaign.toml"
    path.write_text(
        CAMPAIGN.format(sender="", content='template = "launch"', recipients="").format(name="first"), "utf-8"
    )
    settings = settings_for(simulator.url)
    store = worker.Store.open(settings, tmp_path)
    file = load_campaign(path)
    first = worker.plan(file, settings, store, limit=1).campaign
    assert first.entries == 1
    assert worker.plan(file, settings, store).campaign.id == first.id
    with pytest.raises(CampaignChangedError, match=r"differs in limit \(was 1, is 2\)"):
        worker.plan(file, settings, store, limit=2)
    with pytest.raises(CampaignChangedError, match="the same list and content as 'first'"):
        worker.plan(load_campaign(path, {"name": "all"}), settings, store)


def test_every_field_of_the_service_model_is_here() -> None:
    shape = botocore.session.get_session().get_service_model("sesv2").operation_model("SendBulkEmail").input_shape
    tests = Path(__file__).read_text("utf-8")
    assert [name for name in shape.members if name not in tests] == []
