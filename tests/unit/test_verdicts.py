"""What doctor makes of what it has found, and how long a campaign is said to take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.event import EventType
from bulksend.model import AccountStatus, Binding, CampaignState, Halt
from bulksend.pacing import PaceSettings, steps_left
from bulksend.report import Check, Level, checks_facts, verdict_of
from bulksend.safety import RampStep
from bulksend.ses.account import AccountDetails
from bulksend.ses.identities import Identity, identities_for
from bulksend.ses.inquiry import Cause, Unknown
from bulksend.ses.reputation import Finding, ReputationEntity
from bulksend.ses.sets import ConfigurationSet, EventDestination
from bulksend.ses.templates import TemplateContent
from bulksend.ses.tenants import Tenant
from bulksend.worker.examined import (
    Examined,
    LinksAsFound,
    ListAsFound,
    QueueAsFound,
    RegionAsFound,
    Rendering,
    Sample,
    Sending,
    StoreAsFound,
)
from bulksend.worker.outlook import DAY_S, Outlook, duration_in_words, fit_check, outlook_of
from bulksend.worker.sending_verdicts import NEEDED_EVENTS
from bulksend.worker.verdicts import judge

ACCOUNT = AccountStatus(
    500.0, 50_000.0, 0.0, sending_enabled=True, production_access=True, enforcement_status="HEALTHY"
)
DETAILS = AccountDetails(ACCOUNT, ("BOUNCE", "COMPLAINT"))
IDENTITY = Identity("example.com", verified=True, dkim_signing=True, dkim_status="SUCCESS")
DESTINATION = EventDestination("to-queue", "SNS", enabled=True, types=NEEDED_EVENTS)
SET = ConfigurationSet("marketing", sending_enabled=True, suppressed_reasons=None, destinations=(DESTINATION,))
HOME = RegionAsFound("eu-west-1", DETAILS, (IDENTITY,), SET, TemplateContent("launch", "Hi", None, "Hi"))
SENDING = Sending("News <news@example.com>", configuration_set="marketing", template="launch")
ONE_CLICK = (("List-Unsubscribe", "<https://example.com/u/1>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
LIST = ListAsFound(planned=True, recipients=6000, samples=(Sample(1, {}, ONE_CLICK),))
ARN = "arn:aws:ses:eu-west-1:123456789012"
TENANT = Tenant(
    "acme",
    f"{ARN}:tenant/acme/tn-1",
    "ENABLED",
    frozenset({f"{ARN}:identity/Example.com", f"{ARN}:configuration-set/marketing", f"{ARN}:template/launch"}),
)
SOUND = Examined(
    binding=Binding("123456789012", "eu-west-1"),
    skew_s=0.4,
    home=HOME,
    reputation=(),
    campaign="launch",
    sending=SENDING,
    list=LIST,
    renderings=(Rendering(1), Rendering(3000)),
    outlook=Outlook(6000, 500.0, 50_000.0, 50_000.0),
    store=StoreAsFound("the store", exists=True, free_bytes=10**9, needed_bytes=10**6),
    queues=(QueueAsFound("events", 3),),
)
DENIED = Unknown("these credentials may not")


def of(found: Examined, name: str) -> list[Check]:
    return [check for check in judge(found, PaceSettings()) if check.name == name]


def home(**more: object) -> Examined:
    return replace(SOUND, home=replace(HOME, **more))  # type: ignore[arg-type]


def account(**more: object) -> Examined:
    return home(account=replace(DETAILS, status=replace(ACCOUNT, **more)))  # type: ignore[arg-type]


def with_set(**more: object) -> Examined:
    return home(configuration_set=replace(SET, **more))  # type: ignore[arg-type]


def tenant(**more: object) -> Examined:
    made = replace(TENANT, **more)  # type: ignore[arg-type]
    return replace(SOUND, sending=replace(SENDING, tenant="acme"), tenant=made)


def sampled(*headers: tuple[str, str], recipients: int = 5000) -> Examined:
    return replace(SOUND, list=replace(LIST, recipients=recipients, samples=(Sample(1, {}, headers),)))


def test_all_is_well() -> None:
    checks = judge(SOUND, PaceSettings())
    assert {check.level for check in checks} == {Level.OK}
    assert not [check for check in checks if check.remedy]
    assert checks_facts(checks)["verdict"] == "ok"


LINKS = ("unsubscribe links",)
DESTINATIONS = {
    "none": (),
    "off": (replace(DESTINATION, enabled=False),),
    "elsewhere": (replace(DESTINATION, kind="CloudWatch"),),
    "some": (replace(DESTINATION, types=NEEDED_EVENTS - {EventType.COMPLAINT}),),
}
CASES: list[tuple[Examined, str, Level, str]] = [
    (replace(SOUND, binding=None, refused="no keys", home=None), "credentials", Level.FAULT, "no keys"),
    (account(sending_enabled=False), "account", Level.FAULT, "disabled"),
    (account(enforcement_status="SHUTDOWN"), "account", Level.FAULT, "SHUTDOWN"),
    (account(enforcement_status="PROBATION"), "account", Level.WARNING, "PROBATION"),
    (account(production_access=False), "account", Level.WARNING, "sandbox"),
    (account(max_24_hour_send=0.0), "account", Level.FAULT, "quota is 0"),
    (home(account=DENIED), "account", Level.FAULT, "may not"),
    (home(account=Unknown("gone", Cause.UNREACHABLE)), "account", Level.FAULT, "gone"),
    (home(account=Unknown("slow", Cause.THROTTLED)), "account", Level.UNCHECKED, "slow"),
    (home(account=Unknown("what", Cause.MISSING)), "account", Level.UNCHECKED, "what"),
    (replace(SOUND, outlook=Outlook(60_000, 500.0, 50_000.0, 50_000.0)), "quota", Level.WARNING, "up to"),
    (home(identities=()), "sender", Level.FAULT, "no verified identity"),
    (home(identities=(replace(IDENTITY, verified=False),)), "sender", Level.FAULT, "not verified yet"),
    (home(identities=DENIED), "sender", Level.UNCHECKED, "may not"),
    (home(identities=(replace(IDENTITY, dkim_status="PENDING"),)), "DKIM", Level.WARNING, "PENDING"),
    (home(identities=(replace(IDENTITY, dkim_signing=False),)), "DKIM", Level.WARNING, "signing is off"),
    (
        home(identities=(replace(IDENTITY, mail_from_domain="m.example.com", mail_from_status="FAILED"),)),
        *("MAIL FROM", Level.WARNING, "m.example.com"),
    ),
    (home(configuration_set=None), "configuration set", Level.FAULT, "no configuration set 'marketing'"),
    (home(configuration_set=DENIED), "configuration set", Level.UNCHECKED, "may not"),
    (with_set(sending_enabled=False), "configuration set", Level.FAULT, "paused"),
    (
        replace(home(configuration_set=None), sending=replace(SENDING, configuration_set="")),
        *("configuration set", Level.WARNING, "names none"),
    ),
    (with_set(destinations=DESTINATIONS["none"]), "events", Level.WARNING, "no event destination"),
    (with_set(destinations=DESTINATIONS["off"]), "events", Level.WARNING, "to-queue: disabled"),
    (with_set(destinations=DESTINATIONS["elsewhere"]), "events", Level.WARNING, "to-queue (CloudWatch)"),
    (with_set(destinations=DESTINATIONS["some"]), "events", Level.WARNING, "nothing tells of: complaint"),
    (
        replace(with_set(destinations=DESTINATIONS["some"]), needs_events=True),
        *("events", Level.FAULT, "canary"),
    ),
    (home(template=None), "template", Level.FAULT, "no template 'launch'"),
    (home(template=DENIED), "template", Level.UNCHECKED, "may not"),
    (replace(SOUND, renderings=(Rendering(1), Rendering(7, "no name"))), "rendering", Level.FAULT, "row 7: no name"),
    (replace(SOUND, renderings=DENIED), "rendering", Level.UNCHECKED, "may not"),
    (tenant(status="DISABLED"), "tenant", Level.FAULT, "disabled"),
    (tenant(resources=frozenset()), "tenant", Level.FAULT, "identity example.com, the configuration set marketing"),
    (replace(tenant(), tenant=None), "tenant", Level.FAULT, "no tenant 'acme'"),
    (replace(tenant(), tenant=DENIED), "tenant", Level.UNCHECKED, "may not"),
    (replace(SOUND, reputation=DENIED), "reputation", Level.UNCHECKED, "may not"),
    (
        replace(tenant(), reputation=(ReputationEntity(TENANT.arn, "DISABLED", "HIGH", "too many bounces"),)),
        *("reputation", Level.FAULT, "too many bounces"),
    ),
    (
        replace(
            SOUND,
            reputation=(ReputationEntity("arn:x", "ENABLED", "LOW"),),
            findings=(
                Finding("arn:x", "BOUNCE", "LOW", "bounces rise"),
                Finding("arn:y", "DKIM", "LOW", "not its own"),
            ),
        ),
        *("reputation", Level.WARNING, "findings of low impact; BOUNCE: bounces rise"),
    ),
    (replace(SOUND, skew_s=-90.0), "clock", Level.WARNING, "90 seconds ahead of SES's"),
    (replace(SOUND, skew_s=600.0), "clock", Level.WARNING, "10 minutes behind SES's, more than signatures may be off"),
    (replace(SOUND, list=None, list_fault="no such file"), "list", Level.FAULT, "no such file"),
    (
        replace(SOUND, list=replace(LIST, suppressed=2)),
        "suppression",
        Level.WARNING,
        "2 of the recipients that are left are",
    ),
    (replace(SOUND, list=replace(LIST, suppressed=DENIED)), "suppression", Level.UNCHECKED, "may not"),
    (
        home(account=replace(DETAILS, suppressed_reasons=("BOUNCE",))),
        *("suppression by SES", Level.WARNING, "complaints come from: the account's"),
    ),
    (with_set(suppressed_reasons=()), "suppression by SES", Level.WARNING, "the configuration set's"),
    (sampled(), "unsubscribe", Level.WARNING, "no List-Unsubscribe header"),
    (sampled(("List-Unsubscribe", "<mailto:a@example.com>")), "unsubscribe", Level.WARNING, "with an https URL"),
    (sampled(ONE_CLICK[0]), "unsubscribe", Level.WARNING, "no header List-Unsubscribe-Post"),
    (sampled(*reversed(ONE_CLICK)), "unsubscribe", Level.WARNING, "List-Unsubscribe-Post before"),
    (replace(SOUND, store=StoreAsFound("x", exists=True, fault="locked")), "store", Level.FAULT, "locked"),
    (replace(SOUND, store=StoreAsFound("x", exists=False, writable=False)), "store", Level.FAULT, "cannot be written"),
    (
        replace(SOUND, store=StoreAsFound("x", exists=True, free_bytes=10**6, needed_bytes=10**8)),
        *("store", Level.FAULT, "room for 0 MB"),
    ),
    (replace(SOUND, queues=()), "queues", Level.WARNING, "not set"),
    (replace(SOUND, queues=(), needs_events=True), "queues", Level.WARNING, "halts after its canary unless"),
    (replace(SOUND, differs=("limit", "the list")), "campaign file", Level.FAULT, "differs by now: limit; the list"),
    (
        replace(SOUND, state=CampaignState.HALTED, halt=Halt("too many bounces", "Clean the list.")),
        *("campaign", Level.WARNING, "launch is halted: too many bounces"),
    ),
    (replace(SOUND, state=CampaignState.CANCELLED), "campaign", Level.FAULT, "launch was cancelled"),
    (replace(SOUND, links=LinksAsFound(has_keys=False, answered=True)), *LINKS, Level.FAULT, "key_file is not set"),
    (
        replace(SOUND, links=LinksAsFound(has_keys=False, answered=True), state=CampaignState.QUEUED),
        *(*LINKS, Level.WARNING, "key_file is not set"),
    ),
    (replace(SOUND, links=LinksAsFound(has_keys=True, answered=False)), *LINKS, Level.WARNING, "nobody answers"),
    (replace(SOUND, queues=(QueueAsFound("events", DENIED),)), "queue events", Level.UNCHECKED, "may not"),
    (replace(SOUND, queues=(QueueAsFound("events", DENIED, gone=True),)), "queue events", Level.WARNING, "no such"),
    (
        replace(SOUND, queues=(QueueAsFound("events", 0, has_dead_letters=False),)),
        *("queue events", Level.WARNING, "dead-letter"),
    ),
]


@pytest.mark.parametrize(("found", "name", "level", "said"), CASES)
def test_what_is_wrong_is_said_once_with_what_to_do(found: Examined, name: str, level: Level, said: str) -> None:
    (check,) = [check for check in of(found, name) if check.level is not Level.OK]
    assert (check.level, said in check.says) == (level, True), check
    assert check.remedy or level is Level.UNCHECKED or name in {"credentials", "list", "store", "suppression"}
    assert verdict_of(judge(found, PaceSettings())) is level


def test_a_campaign_of_two_regions_is_looked_at_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.compat.HAS_CRT", True)
    there = replace(HOME, name="us-east-1", template=None)
    sending = replace(SENDING, endpoint_id="abc.def")
    found = replace(SOUND, sending=sending, endpoint="READY", others=(there,))
    wrong = [check for check in judge(found, PaceSettings()) if check.level is not Level.OK]
    assert [(check.name, check.level) for check in wrong] == [("template in us-east-1", Level.FAULT)]
    assert "us-east-1" in of(found, "endpoint")[0].says


@pytest.mark.parametrize("state", ["", "CREATING", "FAILED", "DELETING"])
def test_an_endpoint_that_is_not_ready_is_a_fault(state: str) -> None:
    found = replace(SOUND, sending=replace(SENDING, endpoint_id="abc.def"), endpoint=state)
    (check,) = of(found, "endpoint")
    assert check.level is Level.FAULT
    assert state in check.says


def test_few_recipients_need_no_one_click_unsubscribing() -> None:
    assert of(sampled(recipients=4999), "unsubscribe") == []


def test_a_list_that_is_not_planned_is_told_to_be_so() -> None:
    trial = replace(LIST, planned=False, most_rows=1000)
    (check,) = of(replace(SOUND, list=trial, outlook=None), "list")
    assert (check.level, "bulksend plan" in check.remedy) == (Level.OK, True)


def test_the_default_configuration_set_of_the_sender_counts() -> None:
    found = home(identities=(replace(IDENTITY, default_set="marketing"),))
    (check,) = of(replace(found, sending=replace(SENDING, configuration_set="")), "configuration set")
    assert (check.level, "the sender's default" in check.says) == (Level.OK, True)


def test_an_address_that_is_not_signed_for_itself_is_by_its_domain() -> None:
    address = Identity("news@example.com", verified=True, dkim_signing=False, dkim_status="NOT_STARTED")
    assert of(home(identities=(address, IDENTITY)), "DKIM")[0].level is Level.OK


@pytest.mark.parametrize(
    ("sender", "names"),
    [
        ("News <news@example.com>", ("news@example.com", "example.com")),
        ("a@b.c.example.com", ("a@b.c.example.com", "b.c.example.com", "c.example.com", "example.com")),
        ("a@localhost", ("a@localhost", "localhost")),
    ],
)
def test_what_may_stand_for_a_sender(sender: str, names: tuple[str, ...]) -> None:
    assert identities_for(sender) == names


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [(0.2, "1 second"), (40, "40 seconds"), (100, "2 minutes"), (7000, "2 hours"), (DAY_S * 2.5, "2.5 days")],
)
def test_durations_in_words(duration_s: float, said: str) -> None:
    assert duration_in_words(duration_s) == said


def test_what_may_not_send_has_no_outlook() -> None:
    assert outlook_of(replace(ACCOUNT, sending_enabled=False), PaceSettings(), 10, 0.0) is None
    assert outlook_of(ACCOUNT, PaceSettings(daily_reserve=50_000), 10, 0.0) is None


def test_what_was_sent_and_is_reserved_is_taken_off() -> None:
    used = replace(ACCOUNT, sent_last_24_hours=1000.0)
    assert outlook_of(used, PaceSettings(daily_reserve=500), 10, 2000.0) == Outlook(10, 500.0, 47_500.0, 49_500.0)
    unlimited = replace(ACCOUNT, max_24_hour_send=None)
    assert outlook_of(unlimited, PaceSettings(share=0.5), 10, 2000.0) == Outlook(10, 250.0, None, None)


def test_what_does_not_fit_waits_for_days() -> None:
    outlook = Outlook(120_000, 500.0, 20_000.0, 50_000.0)
    assert outlook.waits == 2
    assert outlook.takes_s == 2 * DAY_S + 100
    assert "up to 2.0 days" in fit_check(outlook, on_top="not counting its canary").says
    assert fit_check(outlook, on_top="not counting its canary").says.endswith("; not counting its canary")


@pytest.mark.parametrize(
    ("steps", "recipients", "room", "takes_s", "waits"),
    [
        (("1000/day for 1 day",), 6000, None, DAY_S + 10, 0),
        (("1000/day for 1 day",), 500, None, DAY_S / 2, 0),
        (("10/s for 1 min", "100/s for 1 min"), 600 + 6000 + 5000, None, 60 + 60 + 10, 0),
        (("10000/s for 1 min",), 30_000, None, 60, 0),
        (("10/s for 1 h",), 36_000 + 50_000, 36_100.0, DAY_S + 3600 + 99.8, 1),
        (("10000/day for 3 days",), 40_000, 20_000.0, 3 * DAY_S + 20, 0),
        (("10000/day for 3 days",), 27_000, 5_000.0, 3 * DAY_S + 4, 1),
    ],
)
def test_a_ramp_takes_its_time(
    steps: tuple[str, ...], recipients: int, room: float | None, takes_s: float, waits: int
) -> None:
    ramp = tuple(map(RampStep.parse, steps))
    outlook = Outlook(recipients, 500.0, room, None if room is None else 50_000.0, ramp)
    assert (outlook.waits, round(outlook.takes_s, 3)) == (waits, round(takes_s, 3))
    assert "at 500 a second once its ramp is over" in fit_check(outlook).says


def test_what_is_left_of_a_ramp() -> None:
    first, second = RampStep(10.0, 60.0), RampStep(100.0, 60.0)
    assert steps_left((first, second), 0.0) == (first, second)
    assert steps_left((first, second), 45.0) == (RampStep(10.0, 15.0), second)
    assert steps_left((first, second), 60.0) == (second,)
    assert steps_left((first, second), 120.0) == ()


@given(
    recipients=st.integers(1, 300_000),
    rates=st.lists(st.floats(0.5, 2000.0), max_size=4),
    hours=st.floats(0.1, 60.0),
    room=st.none() | st.floats(0.0, 50_000.0),
)
def test_a_ramp_never_makes_it_sooner(recipients: int, rates: list[float], hours: float, room: float | None) -> None:
    plain = Outlook(recipients, 500.0, room, None if room is None else 50_000.0)
    ramped = replace(plain, ramp=tuple(RampStep(rate, hours * 3600) for rate in rates))
    assert ramped.takes_s >= recipients / 500.0 - 1e-6
    if room is None:
        assert ramped.takes_s >= plain.takes_s - 1e-6
    assert ramped.takes_s <= plain.takes_s + sum(step.for_s for step in ramped.ramp) + 2 * DAY_S


def sent_by(outlook: Outlook, sent_before: float, steps: int = 400) -> float:
    """When all is sent, in seconds: sending as the rolling quota allows, where `sent_before` leaves it a day from now.

    By small steps, each late by one at most.
    """
    assert outlook.a_day is not None
    step_s = outlook.takes_s / steps
    log: list[tuple[float, float]] = [(0.0, sent_before)]
    left, now = float(outlook.recipients), 0.0
    while left > 1e-6 and now < 2 * outlook.takes_s:
        in_window = sum(count for at, count in log if at > now - DAY_S)
        sent = max(0.0, min(left, outlook.rate_per_s * step_s, outlook.a_day - in_window))
        log.append((now, sent))
        left -= sent
        now += step_s
    return now if left <= 1e-6 else float("inf")


@given(
    recipients=st.integers(1, 300_000),
    rate_per_s=st.floats(1.0, 1000.0),
    a_day=st.integers(10_000, 200_000),
    used=st.floats(0.0, 1.0),
)
def test_it_takes_no_longer_than_is_said(recipients: int, rate_per_s: float, a_day: int, used: float) -> None:
    outlook = Outlook(recipients, rate_per_s, a_day * (1 - used), float(a_day))
    assert outlook.takes_s >= recipients / rate_per_s - 1e-6
    steps = 400
    step_s = outlook.takes_s / steps
    # Each wait costs two steps at most, one before and one after it, and so does the end.
    assert sent_by(outlook, a_day * used, steps) <= outlook.takes_s + 2 * (outlook.waits + 1) * step_s
