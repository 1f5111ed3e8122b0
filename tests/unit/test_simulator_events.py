"""What the simulator says becomes of mails, and how it writes that down."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from hypothesis import given
from hypothesis import strategies as st

from bulksend.errors import BulksendError, ConfigError
from bulksend.event import EventType
from bulksend.simulator.event_fates import Fates
from bulksend.simulator.event_mails import Mail, mails
from bulksend.simulator.event_shapes import NAMES, Fate, event, garbage, message, read_fate, read_type
from bulksend.simulator.faults import FaultBook, Rule
from bulksend.simulator.queue import Credentials, region_of
from bulksend.simulator.settings import SimulatorSettings
from tests.simulated_ses import CAMPAIGN, bulk

AT = 1_790_000_000.25
MESSAGE_ID = "0100019fe0000000-00000001-0000-4000-8000-000000000000-000000"


def fates(
    settings: SimulatorSettings,
    *addresses: str,
    book: Fates | None = None,
    rules: list[Rule] | None = None,
    suppressed: frozenset[str] = frozenset(),
) -> list[tuple[str, list[str]]]:
    told = (book or Fates(0)).of("c", addresses, settings, rules or [], suppressed.__contains__)
    return [("/".join(filter(None, (NAMES[fate.type], fate.bounce, fate.subtype))), who) for fate, who in told]


def counted(settings: SimulatorSettings, mails_: int) -> Counter[str]:
    book, counts = Fates(0), Counter[str]()
    for n in range(mails_):
        counts.update(name for name, _ in fates(settings, f"u{n}@example.com", book=book))
    return counts


def test_four_percent_are_four_percent() -> None:
    counts = counted(SimulatorSettings(bounce_share=0.04, complaint_share=0.001, open_share=0.3), 1000)
    assert counts == {"Send": 1000, "Delivery": 960, "Bounce/Permanent/General": 40, "Complaint": 1, "Open": 300}


@given(st.lists(st.integers(0, 100), min_size=4, max_size=4).filter(lambda parts: sum(parts) <= 100), st.data())
def test_every_share_is_kept(parts: list[int], data: st.DataObject) -> None:
    delay, mails_ = data.draw(st.integers(0, 100)), data.draw(st.integers(1, 300))
    bounce, complaint, reject, failure = (part / 100 for part in parts)
    settings = SimulatorSettings(
        bounce_share=bounce,
        complaint_share=complaint,
        reject_share=reject,
        rendering_failure_share=failure,
        delay_share=delay / 100 * (1 - reject - failure),
    )
    counts = counted(settings, mails_)
    wanted = {
        "Bounce/Permanent/General": bounce,
        "Complaint": complaint,
        "Reject": reject,
        "Rendering Failure": failure,
        "DeliveryDelay": settings.delay_share,
        "Delivery": 1 - bounce - reject - failure,
        "Send": 1 - failure,
    }
    for name, share in wanted.items():
        # A delay waits for a mail that is sent, of which there may be few.
        assert abs(counts[name] - share * mails_) < (5 if name == "DeliveryDelay" else 2), name
    whole = counted(settings, 100)
    assert [whole[name] for name in wanted if name != "DeliveryDelay"] == [
        round(share * 100) for name, share in wanted.items() if name != "DeliveryDelay"
    ]


def test_fates_are_of_each_campaign_and_the_same_again() -> None:
    settings, book = SimulatorSettings(bounce_share=0.25), Fates(0)

    def run(campaign: str) -> list[EventType]:
        return [
            fate.type
            for n in range(8)
            for fate, _ in book.of(campaign, [f"u{n}@example.com"], settings, [], frozenset().__contains__)
        ]

    assert run("a") == run("b")
    assert run("a").count(EventType.BOUNCE) == 2


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("success@simulator.amazonses.com", ["Delivery"]),
        ("bounce+label1@simulator.amazonses.com", ["Bounce/Permanent/General"]),
        ("ooto@simulator.amazonses.com", ["Delivery", "Bounce/Transient/General"]),
        ("COMPLAINT+x+y@Simulator.amazonses.com", ["Delivery", "Complaint"]),
        ("suppressionlist@simulator.amazonses.com", ["Bounce/Permanent/Suppressed"]),
        ("bounce@example.com", ["Reject"]),
    ],
)
def test_the_mailbox_simulator_does_what_it_does_whatever_the_shares(address: str, wanted: list[str]) -> None:
    told = fates(SimulatorSettings(reject_share=1.0), address)
    assert told == [(name, [address]) for name in ("Send", *wanted)]


def test_recipients_of_one_mail_have_fates_of_their_own() -> None:
    told = fates(
        SimulatorSettings(),
        "a@example.com",
        "bounce@simulator.amazonses.com",
        "b@example.com",
        "gone@example.com",
        suppressed=frozenset({"gone@example.com"}),
    )
    assert told[1:] == [
        ("Bounce/Permanent/General", ["bounce@simulator.amazonses.com"]),
        ("Bounce/Permanent/OnAccountSuppressionList", ["gone@example.com"]),
        ("Delivery", ["a@example.com", "b@example.com"]),
    ]


def test_a_mail_that_is_not_sent_has_no_other_fate() -> None:
    both = ("a@example.com", "bounce@simulator.amazonses.com")
    assert fates(SimulatorSettings(rendering_failure_share=1.0), *both) == [("Rendering Failure", [*both])]
    assert fates(SimulatorSettings(reject_share=1.0), *both) == [("Send", [*both]), ("Reject", [*both])]


def test_a_rule_says_what_becomes_of_an_address() -> None:
    book = FaultBook(0)
    rule = {"events": ["DeliveryDelay", "Bounce/Transient/MailboxFull"], "address_contains": "full", "times": 1}
    book.replace_rules([rule, {"events": [], "address_contains": "silent"}, {"fault": "failed"}])
    settings, rules = SimulatorSettings(), book.event_rules
    assert fates(settings, "full@example.com", rules=rules)[1:] == [
        ("DeliveryDelay", ["full@example.com"]),
        ("Bounce/Transient/MailboxFull", ["full@example.com"]),
    ]
    assert fates(settings, "full@example.com", rules=rules)[1:] == [("Delivery", ["full@example.com"])]
    assert fates(settings, "silent@example.com", rules=rules)[1:] == []
    # And it is no fault: of the three, one befalls the entry.
    assert [rule.fault.name for rule in book.begin("SendBulkEmail", ["full@example.com"])[1]] == ["failed"]
    assert [(rule.spec.get("events"), rule.fired) for rule in book.rules][:2] == [(rule["events"], 1), ([], 1)]


@pytest.mark.parametrize(
    "rule",
    [
        {"events": "Bounce"},
        {"events": ["Bounced"]},
        {"events": ["Bounce/Hard"]},
        {"events": ["Bounce/Transient/"]},
        {"events": ["Bounce/Transient/General/More"]},
        {"events": ["Delivery/General"]},
        {"events": [7]},
        {"events": ["Bounce"], "fault": "failed"},
        {"events": ["Bounce"], "first_request": 2},
    ],
)
def test_rules_that_make_no_sense_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Rule.read(rule)


def test_names_are_read_in_any_spelling() -> None:
    assert {read_type(name) for name in ("Rendering Failure", "renderingFailure", "RENDERING_FAILURE")} == {
        EventType.RENDERING_FAILURE
    }
    assert read_fate("Bounce") == Fate(EventType.BOUNCE, "Permanent", "General")
    assert read_fate("Bounce/Undetermined") == Fate(EventType.BOUNCE, "Undetermined", "General")


@pytest.mark.parametrize(
    "settings",
    [
        {"events_queue_url": "http://sqs.eu-west-1.amazonaws.com:80/123456789012/q"},
        {"events_queue_url": "http://127.0.0.1.example.com:80/123456789012/q"},
        {"events_queue_url": "http://127.0.0.1@192.0.2.1:80/123456789012/q"},
        {"events_queue_url": "https://127.0.0.1:4566/123456789012/q"},
        {"events_queue_url": "http://127.0.0.1:4566/"},
        {"events_queue_url": "http://127.0.0.1:port/q"},
        {"events_shape": "firehose"},
        {"event_types": ("Bounce", "Bounced")},
        {"bounce_share": 1.1},
        {"event_loss_share": -0.1},
        {"bounce_share": 0.6, "complaint_share": 0.5},
        {"event_delay_ms": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BulksendError):
        SimulatorSettings(**settings)
    patch = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
    with pytest.raises(BulksendError):
        SimulatorSettings().patched(patch)


def test_types_are_those_asked_for_or_the_usual_seven() -> None:
    assert {NAMES[kind] for kind in SimulatorSettings().types} == {
        "Bounce",
        "Complaint",
        "Delivery",
        "DeliveryDelay",
        "Reject",
        "Rendering Failure",
        "Subscription",
    }
    assert SimulatorSettings(event_types=("Send", "open")).types == {EventType.SEND, EventType.OPEN}
    assert SimulatorSettings(events_queue_url="http://localhost:4566/000000000000/q").events_queue_url


def one_mail(**more: Any) -> Mail:
    call = bulk("Ann <ann@example.com>", first_row=17, ConfigurationSetName="marketing", **more)
    (mail,) = mails(call, [MESSAGE_ID], [0], AT, "eu-west-1")
    return mail


def test_the_mail_object() -> None:
    mail = one_mail(DefaultEmailTags=[{"Name": "kind", "Value": "news"}, {"Name": "bulksend-row", "Value": "x"}])
    assert (mail.campaign, mail.addresses) == (CAMPAIGN, ["ann@example.com"])
    assert {name: value for name, value in mail.written.items() if name != "headers"} == {
        "timestamp": "2026-09-21T14:13:20.250Z",
        "source": "Example News <news@example.com>",
        "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/news@example.com",
        "sendingAccountId": "123456789012",
        "messageId": MESSAGE_ID,
        "destination": ["ann@example.com"],
        "headersTruncated": False,
        "commonHeaders": {
            "from": ["Example News <news@example.com>"],
            "to": ["Ann <ann@example.com>"],
            "messageId": MESSAGE_ID,
        },
        "tags": {
            "ses:operation": ["SendBulkEmail"],
            "ses:configuration-set": ["marketing"],
            "ses:source-ip": ["127.0.0.1"],
            "ses:from-domain": ["example.com"],
            "ses:caller-identity": ["simulator"],
            "kind": ["news"],
            "bulksend-campaign": [CAMPAIGN],
            "bulksend-row": ["17"],
        },
    }
    assert mail.written["headers"][1] == {"name": "To", "value": "Ann <ann@example.com>"}


def test_long_headers_are_cut() -> None:
    headers = [{"Name": f"X-{n}", "Value": "v" * 800} for n in range(15)]
    template = {"TemplateName": "launch", "TemplateData": "{}", "Headers": headers}
    written = one_mail(DefaultContent={"Template": template}).written
    assert written["headersTruncated"] is True
    assert [header["name"] for header in written["headers"]][-1] == "X-11"


def test_a_mail_with_copies_and_an_inline_template() -> None:
    call = bulk("a@example.com", "b@example.com")
    call["BulkEmailEntries"][1]["Destination"] |= {
        "CcAddresses": ["C <c@example.com>"],
        "BccAddresses": ["d@example.com"],
    }
    call["BulkEmailEntries"][1]["ReplacementHeaders"] = [{"Name": "X-One", "Value": "1"}]
    call["DefaultContent"]["Template"] = {"TemplateContent": {"Subject": "Hello", "Text": "t"}}
    (mail,) = mails(call, [MESSAGE_ID], [1], AT, "eu-west-1")
    assert mail.addresses == ["b@example.com", "c@example.com", "d@example.com"]
    assert mail.written["commonHeaders"]["cc"] == ["C <c@example.com>"]
    assert mail.written["commonHeaders"]["subject"] == "Hello"
    assert mail.written["headers"][-2:] == [
        {"name": "Subject", "value": "Hello"},
        {"name": "X-One", "value": "1"},
    ]
    assert "ses:configuration-set" not in mail.written["tags"]


OF_EACH: dict[str, tuple[str, set[str]]] = {
    "Send": ("send", set()),
    "Reject": ("reject", {"reason"}),
    "Bounce": (
        "bounce",
        {"bounceType", "bounceSubType", "bouncedRecipients", "timestamp", "feedbackId", "reportingMTA"},
    ),
    "Complaint": (
        "complaint",
        {
            "complainedRecipients",
            "timestamp",
            "feedbackId",
            "complaintSubType",
            "userAgent",
            "complaintFeedbackType",
            "arrivalDate",
        },
    ),
    "Delivery": (
        "delivery",
        {"timestamp", "processingTimeMillis", "recipients", "smtpResponse", "remoteMtaIp", "reportingMTA"},
    ),
    "Open": ("open", {"ipAddress", "timestamp", "userAgent"}),
    "Click": ("click", {"ipAddress", "link", "linkTags", "timestamp", "userAgent"}),
    "Rendering Failure": ("failure", {"errorMessage", "templateName"}),
    "DeliveryDelay": ("deliveryDelay", {"timestamp", "delayType", "expirationTime", "delayedRecipients"}),
    "Subscription": (
        "subscription",
        {"contactList", "timestamp", "source", "newTopicPreferences", "oldTopicPreferences"},
    ),
}
"""The object of each type and its members (Developer Guide, Examples of event data)."""


@pytest.mark.parametrize("kind", EventType)
def test_events_have_their_types_members(kind: EventType) -> None:
    mail = one_mail()
    told = event(mail, read_fate(NAMES[kind]), mail.addresses, 3)
    name, members = OF_EACH[NAMES[kind]]
    assert list(told) == ["eventType", "mail", name]
    assert told["eventType"] == NAMES[kind]
    assert set(told[name]) == members
    assert told[name].get("timestamp", "2026-09-21T14:13:20.252Z") == "2026-09-21T14:13:20.252Z"
    tags = told["mail"]["tags"]
    assert (tags["bulksend-row"], tags["bulksend-campaign"]) == (["17"], [CAMPAIGN])
    assert ("headers" in told["mail"]) is (NAMES[kind] not in ("Rendering Failure", "DeliveryDelay"))
    assert one_mail().written == mail.written  # which several events are made of


def test_a_bounce_tells_of_its_recipients() -> None:
    mail = one_mail()
    told = event(mail, Fate(EventType.BOUNCE, "Permanent", "OnAccountSuppressionList"), ["ann@example.com"], 1)
    assert told["bounce"]["reportingMTA"] == "dns; amazonses.com"
    (recipient,) = told["bounce"]["bouncedRecipients"]
    assert set(recipient) == {"emailAddress", "action", "status", "diagnosticCode"}
    assert told["bounce"]["feedbackId"] == "0101" + MESSAGE_ID[4:]


def test_the_three_shapes_carry_the_same_event() -> None:
    mail = one_mail()
    told = event(mail, read_fate("Bounce"), mail.addresses, 1)
    raw, sns, bridge = (
        json.loads(message(shape, told, mail, EventType.BOUNCE, 7)) for shape in ("raw", "sns", "eventbridge")
    )
    assert raw == told
    assert json.loads(sns["Message"]) == told
    assert (sns["Type"], sns["TopicArn"]) == ("Notification", "arn:aws:sns:eu-west-1:123456789012:ses-events")
    assert bridge["detail"] == told
    assert {name: bridge[name] for name in ("version", "detail-type", "source", "account", "time", "region")} == {
        "version": "0",
        "detail-type": "Email Bounced",
        "source": "aws.ses",
        "account": "123456789012",
        "time": "2026-09-21T14:13:20Z",
        "region": "eu-west-1",
    }
    assert bridge["resources"] == ["arn:aws:ses:eu-west-1:123456789012:configuration-set/marketing"]


def test_garbage_is_no_event() -> None:
    text = message("raw", event(one_mail(), read_fate("Delivery"), [], 1), one_mail(), EventType.DELIVERY, 0)
    for nth in range(4):
        try:
            found = json.loads(garbage(text, nth))
        except ValueError:
            continue
        assert not isinstance(found, dict) or "mail" not in found


@pytest.mark.parametrize("token", ["", "a-token"])
def test_the_signature_is_the_sdks(token: str) -> None:
    now, body, host = datetime(2026, 11, 21, 12, 30, tzinfo=UTC), b'{"QueueUrl":"q"}', "127.0.0.1:4566"
    made = Credentials("AKIAIOSFODNN7EXAMPLE", "secret", token).headers(host, body, "eu-west-1", now)
    ours = made.pop("Authorization")
    request = AWSRequest("POST", f"http://{host}/", headers={**made, "host": host}, data=body)
    del request.headers["Content-Type"]
    signer = SigV4Auth(SdkCredentials("AKIAIOSFODNN7EXAMPLE", "secret", token or None), "sqs", "eu-west-1")
    request.context["timestamp"] = made["x-amz-date"]
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    assert ours.endswith(f"Signature={signature}")


def test_credentials_are_the_environments_where_it_has_a_pair() -> None:
    pair = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s"}
    assert Credentials.of(pair) == ("AKIAEXAMPLE", "s", "")
    assert Credentials.of(pair | {"AWS_SESSION_TOKEN": "t"}) == ("AKIAEXAMPLE", "s", "t")
    assert Credentials.of({"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE"}).key_id == "AKIAIOSFODNN7EXAMPLE"


def test_the_region_of_a_queue() -> None:
    """The tutorial sets bulksend's own variable alone; a queue of another Region would not be found."""
    queue = "http://127.0.0.1:4566/000000000000/events"
    both = {"BULKSEND_AWS_REGION": "eu-west-1", "AWS_REGION": "eu-north-1"}
    assert region_of("http://sqs.ap-southeast-2.localhost:4566/000000000000/events", both) == "ap-southeast-2"
    assert region_of("https://sqs.us-gov-west-1.amazonaws.com/123456789012/events", both) == "us-gov-west-1"
    assert region_of("http://127.0.0.1:4566/queue/eu-west-3/000000000000/events", both) == "eu-west-3"
    assert region_of(queue, both) == "eu-west-1"
    assert region_of(queue, {"BULKSEND_AWS_REGION": "", "AWS_REGION": "eu-north-1"}) == "eu-north-1"
    assert region_of(queue, {"AWS_DEFAULT_REGION": "eu-north-1"}) == "eu-north-1"
    assert region_of(f"{queue}-eu-west-1", {}) == "us-east-1"
