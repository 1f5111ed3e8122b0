"""doctor against servers: everything in place, one thing wrong at a time, and servers that do not know the question."""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest

from bulksend import worker
from bulksend.config import Settings, load_campaign
from bulksend.event import Suppression, SuppressionReason
from bulksend.model import CampaignState, EntryState, Halt
from bulksend.report import Check, Level
from bulksend.simulator import SimulatorProcess
from bulksend.worker.doctor import doctor
from bulksend.worker.samples import suppressed_in
from tests.harness import REGION, settings_for, write_list
from tests.independent import Ministack

NEEDED = ["BOUNCE", "COMPLAINT", "DELIVERY", "DELIVERY_DELAY", "REJECT", "RENDERING_FAILURE", "SUBSCRIPTION"]
TOPIC = "arn:aws:sns:eu-west-1:123456789012:events"
ARN = "arn:aws:ses:eu-west-1:123456789012"


@cache
def client(url: str, service: str) -> Any:
    return boto3.client(service, endpoint_url=url, region_name=REGION)


def call(url: str, operation: str, service: str = "sesv2", **arguments: Any) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(client(url, service), operation)(**arguments)
    return answer


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SES wants a second between renderings; these servers do not."""
    monkeypatch.setattr("bulksend.worker.doctor.RENDER_EVERY_S", 0.0)


class Office:
    """A campaign's file and list in a folder, and a template and a configuration set of its own on a server."""

    def __init__(self, folder: Path, url: str, *, text: str = "Dear {{name}}") -> None:
        self.folder, self.url = folder, url
        self.name = f"doc{secrets.token_hex(4)}"  # templates and sets outlive a test
        self.sender = ""
        call(url, "create_email_template", TemplateName=self.name, TemplateContent={"Subject": "Hello", "Text": text})
        call(url, "create_configuration_set", ConfigurationSetName=self.name)
        write_list(folder / "list.csv", [f"a{n}@example.com" for n in range(7)], {"name": [*"ABCDEFG"]})

    @property
    def file(self) -> Path:
        path = self.folder / "launch.toml"
        path.write_text(
            f'name = "launch"\n[sender]\nfrom = "News <news@mail.example.com>"\nconfiguration_set = "{self.name}"\n'
            f'{self.sender}\n[content]\ntemplate = "{self.name}"\n[recipients]\npath = "list.csv"\n',
            "utf-8",
        )
        return path

    def send_events(self, types: list[str], *, enabled: bool = True) -> None:
        call(
            self.url,
            "create_configuration_set_event_destination",
            ConfigurationSetName=self.name,
            EventDestinationName="to-queue",
            EventDestination={"Enabled": enabled, "MatchingEventTypes": types, "SnsDestination": {"TopicArn": TOPIC}},
        )

    def plan(self, settings: Settings | None = None) -> worker.Planned:
        settings = settings or settings_for(self.url)
        return worker.plan(load_campaign(self.file), settings, worker.Store.open(settings, self.folder))

    def doctor(self, **more: object) -> list[Check]:
        return doctor(str(self.file), settings_for(self.url, **more))


def wrong(checks: list[Check]) -> dict[str, tuple[Level, str]]:
    """What is not as it should be, but for the queues, which are not set here."""
    return {
        check.name: (check.level, check.says)
        for check in checks
        if check.level is not Level.OK and check.name != "queues"
    }


def says(checks: list[Check], name: str) -> str:
    return "; ".join(check.says for check in checks if check.name == name)


@pytest.fixture
def office(tmp_path: Path, simulator: SimulatorProcess) -> Office:
    return Office(tmp_path, simulator.url)


def test_all_in_place(office: Office) -> None:
    office.send_events(NEEDED)
    office.plan()
    checks = office.doctor()
    assert wrong(checks) == {}
    assert "row 1, 4, 7" in says(checks, "rendering")
    assert "7 recipients at 2,000 a second" in says(checks, "quota")
    names = {check.name for check in checks}
    assert {"sender", "DKIM", "configuration set", "events", "template", "clock", "store", "reputation"} <= names


def test_the_same_of_a_store_in_postgres(office: Office, tmp_path: Path, database_url: str) -> None:
    office.send_events(NEEDED)
    kept = {"store": database_url, "snapshots": str(tmp_path / "snapshots")}
    office.plan(settings_for(office.url, **kept))
    assert wrong(office.doctor(**kept)) == {}


def test_before_it_is_planned_its_beginning_is_looked_at_and_nothing_is_left_behind(office: Office) -> None:
    office.send_events(NEEDED)
    checks = office.doctor()
    assert wrong(checks) == {}
    assert "can be planned" in says(checks, "list")
    assert "row 1, 4, 7" in says(checks, "rendering")
    assert sorted(path.name for path in office.folder.iterdir()) == ["launch.toml", "list.csv"]


def test_a_list_that_cannot_be_planned_and_what_is_missing_at_ses(office: Office) -> None:
    (office.folder / "list.csv").unlink()
    call(office.url, "delete_email_template", TemplateName=office.name)
    call(office.url, "delete_configuration_set", ConfigurationSetName=office.name)
    found = wrong(office.doctor())
    assert {name: level for name, (level, _) in found.items()} == dict.fromkeys(
        ("configuration set", "template", "list"), Level.FAULT
    )


def test_a_template_that_was_changed_after_the_plan_does_not_render(office: Office) -> None:
    office.plan()
    content = {"Subject": "Hello", "Text": "Dear {{name}}, {{surname}}"}
    call(office.url, "update_email_template", TemplateName=office.name, TemplateContent=content)
    checks = office.doctor()
    rendering = [check for check in checks if check.name == "rendering"]
    assert [check.level for check in rendering] == [Level.FAULT] * 3
    assert "surname" in rendering[0].says


def test_events_that_are_not_sent_anywhere(office: Office) -> None:
    office.send_events(NEEDED[1:])
    assert wrong(office.doctor())["events"] == (Level.WARNING, "nothing tells of: bounce")


def test_an_unverified_sender_and_the_sandbox(office: Office, simulator: SimulatorProcess) -> None:
    simulator.settings(identities=["example.org"], sandbox=True, max_24_hour_send=5)
    office.plan()
    found = wrong(office.doctor())
    assert found["sender"][0] is Level.FAULT
    assert "sandbox" in found["account"][1]
    assert "it has to wait" in found["quota"][1]


def test_a_domain_that_is_not_verified_yet(office: Office, simulator: SimulatorProcess) -> None:
    simulator.settings(identities=["example.org"])
    call(office.url, "create_email_identity", EmailIdentity="mail.example.com")
    level, words = wrong(office.doctor())["sender"]
    assert (level, "mail.example.com is known, and not verified yet" in words) == (Level.FAULT, True), words


def test_the_domain_above_stands_for_the_sender(office: Office, simulator: SimulatorProcess) -> None:
    call(office.url, "create_email_identity", EmailIdentity="example.com")
    simulator.settings(identities=["example.com"])
    assert says(office.doctor(), "sender") == "example.com is verified for sending"


def test_a_tenant_and_what_it_is_associated_with(office: Office) -> None:
    office.sender = 'tenant = "acme"'
    assert "no tenant 'acme'" in wrong(office.doctor())["tenant"][1]
    call(office.url, "create_tenant", TenantName="acme")
    assert f"configuration set {office.name}, the template {office.name}" in wrong(office.doctor())["tenant"][1]
    for resource in ("identity/news@mail.example.com", f"configuration-set/{office.name}", f"template/{office.name}"):
        call(office.url, "create_tenant_resource_association", TenantName="acme", ResourceArn=f"{ARN}:{resource}")
    checks = office.doctor()
    assert "tenant" not in wrong(checks)
    assert "associated with what the campaign uses" in says(checks, "tenant")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"status": 403, "code": "AccessDeniedException", "text": "not you"}, "allow the action ses:GetEmailIdentity"),
        ({"status": 429, "code": "TooManyRequestsException", "text": "slow down"}, "in a minute"),
        ({"status": 501, "code": "NotImplemented", "text": "what?"}, "does not know it"),
        ({"status": 404, "code": "UnknownOperationException", "text": "what?"}, "does not know it"),
        ({"status": 400, "code": "BadRequestException", "text": "so not"}, "BadRequestException: so not"),
        ({"status": 502, "no_request_id": True}, "502"),
    ],
)
def test_what_cannot_be_asked_is_said_to_be_so(
    office: Office, simulator: SimulatorProcess, rule: dict[str, Any], said: str
) -> None:
    simulator.rules([{"fault": "http", "operation": "GetEmailIdentity", **rule}])
    level, words = wrong(office.doctor())["sender"]
    assert (level, said in words) == (Level.UNCHECKED, True), words


def test_who_may_not_read_the_account_may_not_send(office: Office, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "http", "operation": "*", "status": 403, "code": "AccessDeniedException", "text": "no"}])
    checks = office.doctor()
    found = wrong(checks)
    assert found["account"][0] is Level.FAULT
    assert {found[name][0] for name in ("sender", "configuration set", "template", "reputation")} == {Level.UNCHECKED}


def test_nobody_answers(office: Office) -> None:
    office.url = "http://127.0.0.1:1"
    found = wrong(office.doctor())
    assert found["account"][0] is Level.FAULT
    assert found["sender"] == (Level.UNCHECKED, "nobody answers there")


def test_without_credentials(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    level, words = wrong(office.doctor())["account"]
    assert (level, "no AWS credentials" in words) == (Level.FAULT, True)


def test_without_a_region(monkeypatch: pytest.MonkeyPatch, in_folder: Path, simulator: SimulatorProcess) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    settings = settings_for(simulator.url)
    settings = settings.model_copy(update={"aws": settings.aws.model_copy(update={"region": None})})
    (check,) = doctor(None, settings)
    assert (check.name, check.level, check.says) == ("credentials", Level.FAULT, "no AWS region is set")
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize(("offset_s", "said"), [(-90, "ahead of SES's"), (1800, "30 minutes behind SES's, more than")])
def test_a_clock_that_is_wrong(simulator: SimulatorProcess, in_folder: Path, offset_s: int, said: str) -> None:
    simulator.settings(clock_offset_s=offset_s)
    found = wrong(doctor(None, settings_for(simulator.url)))
    level, words = found.pop("clock")
    assert (level, said in words) == (Level.WARNING, True), words
    assert found == {}, "SES's own clock was not taken"
    assert list(in_folder.iterdir()) == []


def test_who_is_suppressed_since_the_plan(office: Office) -> None:
    office.plan()
    store = worker.Store.open(settings_for(office.url), office.folder)
    store.events.suppress([Suppression("a3@example.com", SuppressionReason.MANUAL, "a person", 1.0)])
    assert "1 of the recipients that are left is suppressed" in wrong(office.doctor())["suppression"][1]


def test_who_was_sent_to_before_he_was_suppressed_is_not_counted(office: Office) -> None:
    settings = settings_for(office.url)
    planned = office.plan()
    store = worker.Store.open(settings, office.folder)
    worker.send(planned.campaign, settings, store)
    store.events.suppress([Suppression("a3@example.com", SuppressionReason.MANUAL, "a person", 1.0)])
    checks = office.doctor()
    assert "suppression" not in wrong(checks)
    assert says(checks, "list") == "launch is finished; 0 recipients are left to send to"
    with store.read_snapshot(planned.campaign) as reader:
        for state, count in ((EntryState.PENDING, 1), (EntryState.ACCEPTED, 0), (EntryState.DEAD, 0)):
            states = {0: bytes([EntryState.PENDING] * 3 + [state] + [EntryState.PENDING] * 3)}
            assert suppressed_in(reader, store.events.suppressed, states) == count


def test_a_file_that_is_not_what_was_planned(office: Office) -> None:
    planned = office.plan()
    store = worker.Store.open(settings_for(office.url), office.folder)
    assert "campaign file" not in {check.name for check in office.doctor()}
    office.sender = 'reply_to = ["other@example.com"]'
    write_list(office.folder / "list.csv", ["b@example.com"], {"name": ["B"]})
    store.journal.ask_for(planned.campaign, CampaignState.QUEUED)
    store.journal.halt(planned.campaign, Halt("too many bounces", "Clean the list."))
    found = wrong(office.doctor())
    level, words = found["campaign file"]
    assert level is Level.FAULT
    assert 'sender.reply_to (was [], is ["other@example.com"])' in words
    assert f"the contents of {office.folder / 'list.csv'}" in words
    assert found["campaign"] == (Level.WARNING, "launch is halted: too many bounces")
    worker.cancel(store, store.journal.campaign("launch"))
    checks = office.doctor()
    assert wrong(checks)["campaign"][0] is Level.FAULT
    assert says(checks, "list") == "launch is cancelled; 0 recipients are left to send to"


def test_what_the_links_of_unsubscribe_need(office: Office, tmp_path: Path, database_url: str) -> None:
    office.sender = '[unsubscribe]\nurl = "https://example.com/u/{token}"'
    shared = {"store": database_url, "snapshots": str(tmp_path / "snapshots")}
    assert wrong(office.doctor(**shared))["unsubscribe links"][0] is Level.FAULT
    key_file = tmp_path / "keys"
    key_file.write_text("0f" * 32, "utf-8")
    key_file.chmod(0o600)
    shared["unsubscribe.key_file"] = str(key_file)
    level, words = wrong(office.doctor(**shared))["unsubscribe links"]
    assert (level, "http.public_listen is off" in words) == (Level.WARNING, True)
    office.plan()
    assert wrong(office.doctor())["unsubscribe links"][0] is Level.WARNING, "by what was planned"
    assert "unsubscribe links" not in wrong(office.doctor(**{"http.public_listen": "127.0.0.1:8080"}))


def test_a_canary_that_nobody_listens_for_is_warned_of(office: Office) -> None:
    office.sender = '[safety]\ncanary = "50 %, 30 s"'
    before = [check.says for check in office.doctor() if "canary" in check.says and "queues" in check.says]
    assert len(before) == 1
    for planned in (office.plan(), office.plan()):
        assert [one for one in planned.warnings if one.startswith("events.queues is not set")] != []
    with_queue = settings_for(office.url, **{"events.queues": ["http://127.0.0.1:1/1/q"]})
    assert office.plan(with_queue).warnings == ()


def test_both_regions_of_an_endpoint(office: Office) -> None:
    details = {"RoutesDetails": [{"Region": "us-east-1"}]}
    made = call(office.url, "create_multi_region_endpoint", EndpointName="both", Details=details)
    office.sender = f'endpoint_id = "{made["EndpointId"]}"'
    checks = office.doctor()
    assert says(checks, "endpoint").endswith("is READY, in eu-west-1 and us-east-1")
    assert {f"sender in {region}" for region in (REGION, "us-east-1")} <= {check.name for check in checks}


def test_a_campaign_that_is_known_by_its_name_only(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.plan()
    monkeypatch.chdir(office.folder)
    assert "7 recipients are left" in says(doctor("launch", settings_for(office.url)), "list")


def test_on_a_server_that_others_wrote(tmp_path: Path, ministack: Ministack) -> None:
    url = ministack.endpoint_url
    call(url, "create_email_identity", EmailIdentity="example.com")
    office = Office(tmp_path, url)
    office.plan()
    queue = call(url, "create_queue", "sqs", QueueName="events")["QueueUrl"]
    gone = queue.replace("events", "gone")
    checks = office.doctor(**{"events.endpoint_url": url, "events.queues": [queue, gone]})
    assert {name: level for name, (level, _) in wrong(checks).items()} == {
        "DKIM": Level.WARNING,
        "events": Level.WARNING,
        "rendering": Level.UNCHECKED,
        "reputation": Level.UNCHECKED,
        "suppression by SES": Level.WARNING,
        "queue events": Level.WARNING,
        "queue gone": Level.WARNING,
    }
    assert "no dead-letter queue" in says(checks, "queue events")
    assert "no such queue" in says(checks, "queue gone")
