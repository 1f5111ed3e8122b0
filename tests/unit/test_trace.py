"""The sentence that a trace comes to, for whatever is known of a mail."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.model import CampaignState, EntryState, Halt
from bulksend.report import Pending, Step, Trace, TracedMail, answer_of, print_trace, trace_facts, why_pending
from bulksend.safety import Canary, Safety
from bulksend.schedule import Schedule
from tests.unit.test_report_page import campaign

ACCEPTED_AT = 1_795_262_400.0


def event(kind: EventType, after_s: float, bounce: BounceKind | None = None, *words: str) -> MailEvent:
    subtype, detail = words or ("", "")
    return MailEvent(
        b"", kind, "m-1", ACCEPTED_AT + after_s, ACCEPTED_AT, bounce=bounce, subtype=subtype, detail=detail
    )


def mail(
    state: EntryState = EntryState.ACCEPTED,
    *events: MailEvent,
    status: str = "SUCCESS",
    reason: str = "",
    tries: int = 1,
) -> TracedMail:
    return TracedMail("launch", CampaignState.FINISHED, 7, state, status, reason, ACCEPTED_AT, tries, events)


UNANSWERED = "not known, no answer told whether SES accepted it"


def decided(found: TracedMail) -> TracedMail:
    return replace(found, decided_at=ACCEPTED_AT + 600)


DELIVERED = event(EventType.DELIVERY, 3)
BOUNCED = event(EventType.BOUNCE, 5, BounceKind.PERMANENT, "NoEmail", "550 no such user")
PASSING = event(EventType.BOUNCE, 5, BounceKind.TRANSIENT, "MailboxFull", "452 full")
UNCLEAR = event(EventType.BOUNCE, 5, BounceKind.UNDETERMINED)
COMPLAINED = event(EventType.COMPLAINT, 9, None, "", "abuse")
DELAYED = event(EventType.DELIVERY_DELAY, 4, None, "MailboxFull", "")
FAILED = event(EventType.RENDERING_FAILURE, 1, None, "", "no surname")
REJECTED = event(EventType.REJECT, 1, None, "", "Bad content")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            mail(),
            "accepted by SES at 2026-11-21 12:00:00 UTC; whether it arrived is not known, as no event tells of it",
        ),
        (
            mail(EntryState.ACCEPTED, DELIVERED),
            "yes, it was accepted at 2026-11-21 12:00:00 UTC and delivered at 2026-11-21 12:00:03 UTC",
        ),
        (
            mail(EntryState.ACCEPTED, BOUNCED),
            "no, it bounced for good at 2026-11-21 12:00:05 UTC (NoEmail): 550 no such user",
        ),
        (
            mail(EntryState.ACCEPTED, DELIVERED, BOUNCED),
            "no, it was delivered at 2026-11-21 12:00:03 UTC, but came back for good at 2026-11-21 12:00:05 UTC",
        ),
        (mail(EntryState.ACCEPTED, PASSING), "no, it bounced for a reason that may pass at"),
        (mail(EntryState.ACCEPTED, UNCLEAR), "no, it bounced for a reason that SES does not know at"),
        (mail(EntryState.ACCEPTED, PASSING, event(EventType.DELIVERY, 60)), "yes, it was accepted at"),
        (
            mail(EntryState.ACCEPTED, DELIVERED, COMPLAINED),
            "yes, it was delivered at 2026-11-21 12:00:03 UTC, and was complained of as spam at 2026-11-21 12:00:09",
        ),
        (mail(EntryState.ACCEPTED, DELAYED), "not yet, SES has it, and its delivery was delayed at"),
        (mail(EntryState.ACCEPTED, DELAYED, DELIVERED), "yes, it was accepted"),
        (mail(EntryState.ACCEPTED, event(EventType.OPEN, 9)), "yes, it was opened at"),
        (mail(EntryState.DEAD, FAILED), "no, SES had accepted it, but its template could not be rendered, at"),
        (mail(EntryState.DEAD, REJECTED), "no, SES had accepted it, but refused to send it, at"),
        (mail(EntryState.ACCEPTED, FAILED, replace(BOUNCED, message_id="retried")), "no, it bounced for good at"),
        (mail(EntryState.ACCEPTED, FAILED, replace(DELAYED, message_id="retried")), "not yet, SES has it"),
        (mail(EntryState.ACCEPTED, event(EventType.SEND, 0)), "accepted by SES at"),
        (
            mail(EntryState.IN_DOUBT, status="NO_ANSWER", reason="reset"),
            "in doubt since 2026-11-21 12:00:00 UTC, SES may have accepted it or not: NO_ANSWER: reset. To decide:",
        ),
        (
            mail(EntryState.DEAD, status="MESSAGE_REJECTED", reason="bad"),
            "no, it was refused for good at 2026-11-21 12:00:00 UTC: MESSAGE_REJECTED: bad",
        ),
        (mail(EntryState.DEAD, status="FORGOTTEN", tries=0), "no, it was given up at"),
        (mail(EntryState.IN_FLIGHT), "not known yet, it is being sent"),
        (
            mail(EntryState.PENDING, status="TRANSIENT_FAILURE", tries=2),
            "not yet, it is still to be sent, after 2 attempts, the last at 2026-11-21 12:00:00 UTC: TRANSIENT_FAILURE",
        ),
        (mail(EntryState.PENDING, status="", tries=0), "not yet, it is still to be sent; the campaign is finished"),
        (
            decided(mail(EntryState.DEAD, status="DROPPED", reason="the offer is over")),
            f"{UNANSWERED}; it was given up by a person at 2026-11-21 12:10:00 UTC: the offer is over",
        ),
        (
            decided(mail(status="SETTLED", reason="she has it")),
            f"{UNANSWERED}; it was taken for accepted by a person at 2026-11-21 12:10:00 UTC: she has it",
        ),
        (decided(mail(EntryState.ACCEPTED, DELIVERED, status="SETTLED")), "yes, it was delivered at"),
        (decided(mail(EntryState.ACCEPTED, event(EventType.SEND, 0), status="SETTLED")), "accepted by SES at"),
        (
            TracedMail("launch", CampaignState.CANCELLED, 7, EntryState.PENDING, "", "", None, 0),
            "no, the campaign was cancelled before it was sent",
        ),
    ],
)
def test_did_she_get_it(found: TracedMail, said: str) -> None:
    assert answer_of(found).startswith(f"launch, row 7: {said}")


SPENT = "the 24-hour quota is spent; it frees from 2026-11-22 12:00:00 UTC"
HALT = Halt("SES refused the campaign: TEMPLATE_NOT_FOUND", "Create the template.")


@pytest.mark.parametrize(
    ("pending", "said"),
    [
        (
            Pending(campaign(CampaignState.PLANNED), ACCEPTED_AT, 0),
            "the campaign is only planned; to send it: bulksend send 2026-11-launch",
        ),
        (
            Pending(campaign(CampaignState.QUEUED), ACCEPTED_AT, 0, orphaned=True),
            "the campaign is queued, and no worker is there: bulksend worker",
        ),
        (Pending(campaign(CampaignState.QUEUED), ACCEPTED_AT, 0), "the campaign is queued"),
        (Pending(campaign(CampaignState.SENDING), ACCEPTED_AT, 0), "the campaign is sending"),
        (
            Pending(campaign(CampaignState.SENDING), ACCEPTED_AT, 0, orphaned=True),
            "the campaign was being sent by a process that died: bulksend resume 2026-11-launch",
        ),
        (
            Pending(campaign(CampaignState.SENDING), ACCEPTED_AT, 0, orphaned=True, by_worker=True),
            "the campaign was being sent by a worker that is gone: start it again, and it goes on by itself",
        ),
        (
            Pending(campaign(CampaignState.SENDING), ACCEPTED_AT, 0, held_up=(SPENT, "the account does not answer")),
            f"nothing of the campaign goes out: {SPENT}; the account does not answer",
        ),
        (
            Pending(campaign(CampaignState.PAUSED), ACCEPTED_AT, 0),
            "the campaign is paused; to go on: bulksend resume 2026-11-launch",
        ),
        (
            Pending(campaign(CampaignState.HALTED, halt=HALT), ACCEPTED_AT, 0),
            "the campaign is halted: SES refused the campaign: TEMPLATE_NOT_FOUND. What to do: Create the template.",
        ),
        (
            Pending(campaign(CampaignState.QUEUED, schedule=Schedule(not_before=ACCEPTED_AT + 3600)), ACCEPTED_AT, 0),
            "by its schedule the campaign may send again from 2026-11-21 13:00:00 UTC",
        ),
    ],
)
def test_why_it_is_not_sent_now(pending: Pending, said: str) -> None:
    assert why_pending(pending) == said
    mail = TracedMail("launch", pending.campaign.state, 7, EntryState.PENDING, "", "", None, 0, waits_for=said)
    assert answer_of(mail) == f"launch, row 7: not yet, it is still to be sent; {said}"


@pytest.mark.parametrize(("place", "passed_at", "waits"), [(99, None, False), (100, None, True), (100, 1.0, False)])
def test_what_waits_for_the_canary_says_so(place: int, passed_at: float | None, waits: bool) -> None:  # noqa: FBT001
    canary = Safety(canary=Canary.parse("1 %, 15 min"))
    of = campaign(CampaignState.SENDING, entries=10_000, safety=canary, canary_passed_at=passed_at)
    said = why_pending(Pending(of, ACCEPTED_AT, place))
    assert said.startswith("it waits for the canary: what becomes of the first 100 of") is waits
    assert waits or said == "the campaign is sending"


EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(EventType),
        st.integers(0, 1000),
        st.sampled_from([None, *BounceKind]),
    ),
    max_size=8,
)


@given(state=st.sampled_from(EntryState), events=EVENTS, campaign=st.sampled_from(CampaignState))
def test_there_is_one_answer_whatever_is_known(
    state: EntryState, events: list[MailEvent], campaign: CampaignState
) -> None:
    told = TracedMail("launch", campaign, 7, state, "S", "why", ACCEPTED_AT, 1, sorted(events, key=lambda one: one.at))
    answer = answer_of(told).removeprefix("launch, row 7: ")
    assert answer.startswith(("yes, ", "no, ", "not yet, ", "not known", "in doubt ", "accepted by SES"))
    kinds = {one.type for one in events}
    lasting = any(one.type is EventType.BOUNCE and one.bounce is BounceKind.PERMANENT for one in events)
    if lasting and EventType.COMPLAINT not in kinds:
        assert answer.startswith("no, ")


def test_what_a_server_wrote_does_not_reach_the_terminal_as_it_is() -> None:
    steps = tuple(
        Step(at, "event", f"it bounced: \x1b]0;{word}\x07[red]", "launch", 7, "m-1")
        for at, word in zip(itertools.count(1.0), ("a", "b"), strict=False)
    )
    trace = Trace("a@example.com", steps, ("launch, row 7: no, \x1b[2J",), ("a note\r",))
    out = io.StringIO()
    print_trace(Console(file=out, width=200), trace)
    shown = out.getvalue()
    assert not {"\x1b", "\x07", "\r"} & set(shown)
    assert "[red]" in shown
    assert trace_facts(trace)["known"] is True
