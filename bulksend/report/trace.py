"""All that is known of an address or of a mail, in the order in which it happened, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.model import CampaignState, EntryState

__all__ = ["Step", "Trace", "TracedMail", "TracedRow", "answer_of", "event_in_words", "print_trace", "trace_facts"]


_REFUSED = frozenset({EventType.REJECT, EventType.RENDERING_FAILURE})


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened; `at` is epoch seconds, `row` is of the campaign's list. Empty for what is not known.

    `kind` is skipped, request, answer, decision, event, unsubscription (by the link of the mail) or insight.
    """

    at: float
    kind: str
    says: str
    campaign: str = ""
    row: int | None = None
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class TracedMail:
    """A row of a campaign's list, and what became of it as journal and events tell.

    `at` is when its state was come by, in epoch seconds; `events` are in the order in which they happened. `decided_at`
    is when a person decided what to take for true of a doubt, with `reason`; None where SES itself has told. `whose` it
    was is told where nobody asked by an address. `waits_for` is why it is not sent now, if it is still to be sent.
    """

    campaign: str
    campaign_state: CampaignState
    row: int | None
    state: EntryState
    status: str
    reason: str
    at: float | None
    attempts: int
    events: Sequence[MailEvent] = ()
    decided_at: float | None = None
    whose: str = ""
    waits_for: str = ""


@dataclass(frozen=True, slots=True)
class TracedRow:
    """Whose mail it was: a row of a campaign's list and its address; None and empty where the list is gone."""

    campaign: str
    row: int | None
    address: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything.

    `mails` are those that were found; `answers` say what it comes to; `notes` what could not be looked at, or should be
    known besides.
    """

    asked: str
    steps: tuple[Step, ...]
    answers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    known: bool = True
    mails: tuple[TracedRow, ...] = ()


def trace_facts(trace: Trace) -> dict[str, object]:
    """The stable JSON form of `trace`."""
    return {
        "asked": trace.asked,
        "known": trace.known,
        "mails": [{"campaign": mail.campaign, "row": mail.row, "address": mail.address} for mail in trace.mails],
        "steps": [
            {
                "at": step.at,
                "kind": step.kind,
                "campaign": step.campaign,
                "row": step.row,
                "message_id": step.message_id,
                "says": step.says,
            }
            for step in trace.steps
        ],
        "answers": list(trace.answers),
        "notes": list(trace.notes),
    }


def print_trace(console: Console, trace: Trace) -> None:
    """A line for each step, then what it comes to."""
    for step in trace.steps:
        where = f"{step.campaign}, row {step.row}" if step.row is not None else step.campaign
        mail = f" ({step.message_id})" if step.message_id else ""
        said = f"{escape(where)}: " if where else ""
        console.print(
            f"{_instant(step.at)}  {said}{escape(_plain(step.says))}[dim]{escape(_plain(mail))}[/]",
            highlight=False,
            soft_wrap=True,
        )
    for note in trace.notes:
        console.print(f"[yellow]note:[/] {escape(_plain(note))}", highlight=False, soft_wrap=True)
    for answer in trace.answers:
        console.print(f"[bold]{escape(_plain(answer))}[/]", highlight=False, soft_wrap=True)


def event_in_words(event: MailEvent) -> str:
    """What an event reports."""
    words = {
        EventType.SEND: "SES took it up for sending",
        EventType.REJECT: "SES refused to send it",
        EventType.BOUNCE: f"it bounced {_kind_of(event)}",
        EventType.COMPLAINT: "it was complained of as spam",
        EventType.DELIVERY: "it was delivered to the recipient's mail server",
        EventType.OPEN: "it was opened",
        EventType.CLICK: "a link in it was clicked",
        EventType.RENDERING_FAILURE: "its template could not be rendered, so it was not sent",
        EventType.DELIVERY_DELAY: "its delivery is delayed",
        EventType.SUBSCRIPTION: "the recipient's subscription changed",
    }[event.type]
    return f"{words}{_because(event)}"


def answer_of(mail: TracedMail) -> str:
    """Whether it was got, and why not, in one sentence."""
    row = "" if mail.row is None else f", row {mail.row}"
    whose = f", {mail.whose}" if mail.whose else ""
    return f"{mail.campaign}{row}{whose}: {_by_events(mail) or _by_person(mail) or _by_journal(mail)}"


def _by_events(mail: TracedMail) -> str:
    """By the gravest of what events tell; empty where they decide nothing. A mail that was sent outdoes one refused."""
    refused = {event.message_id for event in mail.events if event.type in _REFUSED}
    events = [event for event in mail.events if event.message_id not in refused] or mail.events
    last: dict[EventType, MailEvent] = {event.type: event for event in events}
    bounces = [event for event in events if event.type is EventType.BOUNCE]
    return _unsent(last) or _complained(last) or _lost(last, bounces) or _got(mail, last) or _on_its_way(last, bounces)


def _unsent(last: Mapping[EventType, MailEvent]) -> str:
    for kind, words in (
        (EventType.RENDERING_FAILURE, "its template could not be rendered"),
        (EventType.REJECT, "refused to send it"),
    ):
        refused = last.get(kind)
        if refused is not None and EventType.DELIVERY not in last:
            return f"no, SES had accepted it, but {words}, at {_instant(refused.at)}{_because(refused)}"
    return ""


def _complained(last: Mapping[EventType, MailEvent]) -> str:
    complained, delivered = last.get(EventType.COMPLAINT), last.get(EventType.DELIVERY)
    if complained is None:
        return ""
    arrived = "" if delivered is None else f" was delivered at {_instant(delivered.at)}, and"
    return f"yes, it{arrived} was complained of as spam at {_instant(complained.at)}{_because(complained)}"


def _lost(last: Mapping[EventType, MailEvent], bounces: Sequence[MailEvent]) -> str:
    """It came back for good."""
    lasting = [event for event in bounces if event.bounce is BounceKind.PERMANENT]
    if not lasting:
        return ""
    delivered = last.get(EventType.DELIVERY)
    back = f"at {_instant(lasting[-1].at)}{_because(lasting[-1])}"
    if delivered is not None and delivered.at <= lasting[-1].at:
        return f"no, it was delivered at {_instant(delivered.at)}, but came back for good {back}"
    return f"no, it bounced for good {back}"


def _got(mail: TracedMail, last: Mapping[EventType, MailEvent]) -> str:
    delivered = last.get(EventType.DELIVERY)
    if delivered is not None:
        is_dated = mail.at is not None and mail.state is EntryState.ACCEPTED and mail.status != "SETTLED"
        accepted = f"accepted at {_instant(mail.at)} and " if is_dated else ""
        return f"yes, it was {accepted}delivered at {_instant(delivered.at)}"
    for kind, words in ((EventType.OPEN, "opened"), (EventType.CLICK, "clicked on")):
        read = last.get(kind)
        if read is not None:
            return f"yes, it was {words} at {_instant(read.at)}"
    return ""


def _on_its_way(last: Mapping[EventType, MailEvent], bounces: Sequence[MailEvent]) -> str:
    if bounces:
        return f"no, it bounced {_kind_of(bounces[-1])} at {_instant(bounces[-1].at)}{_because(bounces[-1])}"
    delayed = last.get(EventType.DELIVERY_DELAY)
    if delayed is None:
        return ""
    return f"not yet, SES has it, and its delivery was delayed at {_instant(delayed.at)}{_because(delayed)}"


def _by_person(mail: TracedMail) -> str:
    """Where only a person's word is known: whoever decides a doubt knows no better than SES told."""
    if mail.decided_at is None or (mail.events and mail.state is EntryState.ACCEPTED):
        return ""
    done = "given up" if mail.state is EntryState.DEAD else "taken for accepted"
    who = f"it was {done} by a person at {_instant(mail.decided_at)}"
    return f"not known, no answer told whether SES accepted it; {who}: {mail.reason}"


def _by_journal(mail: TracedMail) -> str:
    when = f" at {_instant(mail.at)}" if mail.at is not None else ""
    why = f": {mail.status}" + (f": {mail.reason}" if mail.reason else "") if mail.status else ""
    match mail.state:
        case EntryState.ACCEPTED:
            return f"accepted by SES{when}; whether it arrived is not known, as no event tells of it"
        case EntryState.IN_DOUBT:
            return (
                f"in doubt since{when.removeprefix(' at')}, SES may have accepted it or not{why}. "
                f"To decide: bulksend resolve {mail.campaign}"
            )
        case EntryState.DEAD:
            verb = "it was given up" if mail.attempts == 0 else "it was refused for good"
            return f"no, {verb}{when}{why}"
        case EntryState.IN_FLIGHT:
            return "not known yet, it is being sent at this moment"
        case EntryState.PENDING if mail.campaign_state is CampaignState.CANCELLED:
            return "no, the campaign was cancelled before it was sent"
        case EntryState.PENDING:
            tried = f", after {mail.attempts} attempts, the last{when}{why}" if mail.attempts else ""
            waits_for = mail.waits_for or f"the campaign is {mail.campaign_state.value}"
            return f"not yet, it is still to be sent{tried}; {waits_for}"


def _kind_of(event: MailEvent) -> str:
    match event.bounce:
        case BounceKind.PERMANENT:
            return "for good"
        case BounceKind.TRANSIENT:
            return "for a reason that may pass"
        case BounceKind.UNDETERMINED | None:
            return "for a reason that SES does not know"


def _because(event: MailEvent) -> str:
    return (f" ({event.subtype})" if event.subtype else "") + (f": {event.detail}" if event.detail else "")


def _instant(at: float | None) -> str:
    return "an unknown time" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(text: str) -> str:
    """Texts of servers without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
