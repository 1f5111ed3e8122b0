"""trace: what journal, lists, events and SES itself know of an address or of a mail."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bulksend.config import Settings
from bulksend.errors import BulksendError, SnapshotError, UsageError
from bulksend.event import MailEvent
from bulksend.journal.tracing import EntryTrace
from bulksend.model import Campaign, EntryState, SettlementVerdict, Verdict
from bulksend.recipients import FORGOTTEN_ADDRESS, SnapshotReader, forgettable, skipped_rows
from bulksend.report import Pending, Step, Trace, TracedMail, TracedRow, answer_of, event_in_words, why_pending
from bulksend.ses.inquiry import Cause, Inquiry, Unknown
from bulksend.ses.insights import INSIGHTS_EVERY_S, Insight, read_insights
from bulksend.worker.access import aws_access
from bulksend.worker.control import DROPPED
from bulksend.worker.running import bound_access
from bulksend.worker.store import Standing, Store

__all__ = ["trace"]

SETTLED = "SETTLED"
"""Status of what was accepted by a decision, not by an answer."""
MOST_ASKED = 10
"""Mails that SES is asked about, the latest: each takes a second."""
_MESSAGE_ID = re.compile(r"<?(?P<id>[A-Za-z0-9._-]{10,200})(?:@(?:email|[a-z0-9-]+)\.amazonses\.com)?>?")
"""As SES answers it, or as the Message-ID of the mail's own header."""
_DECIDED = {
    SettlementVerdict.ACCEPTED: "it was decided that SES had accepted it",
    SettlementVerdict.RESEND: "it was decided to send it again",
    SettlementVerdict.DROP: "it was given up",
    SettlementVerdict.RETURNED: "it was to be sent again",
    SettlementVerdict.REFUSED: "SES did not send it after all",
}


@dataclass(slots=True)
class _Mail:
    """A row that was found. `row` is None where the list is gone; then `address` is by its events, if they tell.

    `chunk` and `place` in it are where its entry is. `left_at` is when it was unsubscribed by our own link.
    """

    campaign: Campaign
    chunk: int
    place: int
    row: int | None
    address: str
    entry: EntryTrace
    events: list[MailEvent]
    left_at: float | None

    @property
    def message_ids(self) -> list[str]:
        """Of all its mails, in their order."""
        answered = [one.outcome.message_id for one in self.entry.attempts if one.outcome is not None]
        return list(dict.fromkeys([*filter(None, answered), *(event.message_id for event in self.events)]))


def trace(store: Store, asked: str, settings: Settings, *, campaign: str | None = None, ask_ses: bool = False) -> Trace:
    """All that is known of an address, or of a mail by its message id; in one campaign, or in all of the store.

    Lists are read a chunk at a time. `ask_ses` has SES asked for its insights into the latest mails, one a second.

    Raises:
        CampaignUnknownError: there is no such campaign.
        JournalError: the journal or the store of events cannot be read.
        UsageError: it is neither an address nor a message id, but empty.
    """
    searched = store.journal.campaigns() if campaign is None else [store.journal.campaign(campaign)]
    search = _Search(store, searched)
    message_id = _message_id(asked)
    if not asked.strip():
        raise UsageError(
            "an empty text is neither an address nor a message id",
            hint="Name an address, or a message id as SES gave it: bulksend results shows them.",
        )
    if message_id is None or not search.message(message_id):
        search.address(asked)  # a list may have anything for an address
    if ask_ses:
        search.ask(settings, message_id)
    return search.told(asked)


def _message_id(asked: str) -> str | None:
    found = _MESSAGE_ID.fullmatch(asked.strip())
    if found is None or ("@" in asked and "amazonses.com" not in asked):
        return None
    return found["id"]


class _Search:
    """What was found so far."""

    def __init__(self, store: Store, campaigns: Sequence[Campaign]) -> None:
        self._store = store
        self._campaigns = {one.id: one for one in campaigns}
        self._mails: list[_Mail] = []
        self._steps: list[Step] = []
        self._notes: list[str] = []
        self._answers: list[str] = []
        self._events: dict[bytes, MailEvent] = {}
        self._is_suppressed = False
        self._by_message = False
        self._insights: dict[str, list[Insight]] = {}
        self._standings: dict[str, Standing] = {}

    def address(self, typed: str) -> None:
        """Wherever a list has it, as its own row or among those left out."""
        key = forgettable(typed)
        wanted = {key, typed.strip().lower()}
        for event in self._store.events.of_address(key):
            if event.campaign_id in self._campaigns:
                self._events[event.key] = event
        for campaign in self._campaigns.values():
            try:
                self._search_list(campaign, wanted)
            except SnapshotError as error:
                self._notes.append(f"the list of {campaign.name} could not be searched: {error.message}")
        reason = self._store.events.suppressed([key]).get(key)
        if reason is not None:
            self._is_suppressed = True
            self._notes.append(f"the address is suppressed ({reason.value}): nothing is sent to it any more")

    def message(self, message_id: str) -> bool:
        """Whatever row it was for; whether anything is known of it."""
        for event in self._store.events.of_message(message_id):
            if event.campaign_id in self._campaigns:
                self._events[event.key] = event
        places = {
            (campaign_id, chunk, place)
            for campaign_id, chunk, place in self._store.journal.entries_of_message(message_id)
            if campaign_id in self._campaigns
        }
        by_tags = {(event.campaign_id, event.row) for event in self._events.values() if event.row is not None}
        for campaign in self._campaigns.values():
            own = sorted((chunk, place) for campaign_id, chunk, place in places if campaign_id == campaign.id)
            rows = {row for campaign_id, row in by_tags if campaign_id == campaign.id and row is not None}
            if not own and not rows:
                continue
            named: list[tuple[int, int, int | None, str]]
            try:
                with self._store.read_snapshot(campaign) as reader:
                    own = sorted({*own, *_places_of(reader, rows)})
                    named = [
                        (chunk, place, reader.rows(chunk)[place], reader.addresses(chunk)[place])
                        for chunk, place in own
                    ]
            except (SnapshotError, UsageError) as error:
                self._notes.append(f"which row it was for cannot be told: {error.message}")
                theirs = [event for event in self._events.values() if event.campaign_id == campaign.id]
                address = ", ".join(dict.fromkeys(one for event in theirs for one in event.recipients))
                named = [(chunk, place, None, address) for chunk, place in own]
            for found in named:
                self._add(campaign, *found)
        self._by_message = True
        return bool(self._mails or self._events)

    def ask(self, settings: Settings, message_id: str | None) -> None:
        """SES itself, about the latest mails that were found, or about this one."""
        wanted = [(mail.campaign, one) for mail in self._mails for one in mail.message_ids]
        asked: list[tuple[Campaign | None, str]] = (
            list(wanted)
            if message_id is None
            else [(next((campaign for campaign, one in wanted if one == message_id), None), message_id)]
        )
        if not asked:
            self._notes.append("SES was not asked: it is asked by message ids, and none is known")
        elif len(asked) > MOST_ASKED:
            self._notes.append(f"SES was asked about the last {MOST_ASKED} of {len(asked)} mails")
        asyncio.run(self._ask(settings, asked[-MOST_ASKED:]))

    async def _ask(self, settings: Settings, asked: Sequence[tuple[Campaign | None, str]]) -> None:
        for place, (campaign, message_id) in enumerate(asked):
            if place:
                await asyncio.sleep(INSIGHTS_EVERY_S)
            try:
                access = aws_access(settings) if campaign is None else bound_access(campaign, settings)
                async with Inquiry(access) as inquiry:
                    told = await _insights(inquiry, message_id)
            except BulksendError as error:
                told = Unknown(error.message)
            if isinstance(told, Unknown):
                self._notes.append(f"SES could not be asked about {message_id}: {told.why}")
            elif not told:
                self._notes.append(
                    f"SES has no insights into {message_id}: it keeps them for 30 days, and only where Virtual "
                    "Deliverability Manager is on"
                )
            else:
                self._insights[message_id] = list(told)

    def told(self, asked: str) -> Trace:
        """All of it, in the order of time."""
        steps, mine = list(self._steps), set()
        for mail in self._mails:
            steps += _steps_of(mail)
            mine |= {event.key for event in mail.events}
        names = {one.id: one.name for one in self._campaigns.values()}
        steps += [
            _event_step(event, names.get(event.campaign_id, ""))
            for event in self._events.values()
            if event.key not in mine
        ]
        for message_id, insights in self._insights.items():
            steps += [
                Step(one.at, "insight", f"SES's insights: {_insight_in_words(one)}", message_id=message_id)
                for one in insights
            ]
        answers = [*map(answer_of, map(self._summed_up, self._mails)), *self._answers]
        known = bool(steps or answers or self._is_suppressed)
        if not answers:
            where = f"the list of {next(iter(names.values()))}" if len(names) == 1 else f"any list of {len(names):,}"
            answers = [
                f"{asked}: it is not in {where}"
                if known
                else f"{asked}: nothing is known of it in {self._store.journal.place}: it is not in {where}, and no "
                "answer and no event names it"
            ]
        return Trace(
            asked,
            tuple(sorted(steps, key=lambda step: step.at)),
            tuple(answers),
            tuple(self._notes),
            known=known,
            mails=tuple(TracedRow(mail.campaign.name, mail.row, mail.address) for mail in self._mails),
        )

    def _summed_up(self, mail: _Mail) -> TracedMail:
        attempts = mail.entry.attempts
        last = attempts[-1] if attempts else None
        at = None if last is None else last.answered_at or last.at
        if last is not None and mail.entry.state is EntryState.IN_DOUBT:
            at = last.at
        insights = [
            _as_event(one, message_id) for message_id in mail.message_ids for one in self._insights.get(message_id, ())
        ]
        told = mail.events or [event for event in insights if event is not None]
        return TracedMail(
            mail.campaign.name,
            mail.campaign.state,
            mail.row,
            mail.entry.state,
            mail.entry.status,
            mail.entry.reason,
            at,
            sum(one.sent for one in attempts),
            told,
            _decided_at(mail.entry),
            _whose(mail) if self._by_message else "",
            self._waits_for(mail) if mail.entry.state is EntryState.PENDING else "",
        )

    def _waits_for(self, mail: _Mail) -> str:
        """Why it is not sent now."""
        name, journal = mail.campaign.name, self._store.journal
        if name not in self._standings:
            self._standings[name] = self._store.standing(name)
        standing = self._standings[name]
        before = sum(entries for number, entries in journal.chunk_sizes(mail.campaign) if number < mail.chunk)
        place = before + mail.place
        pending = Pending(
            standing.campaign, journal.now(), place, standing.orphaned, standing.by_worker, standing.held_up
        )
        return why_pending(pending)

    def _search_list(self, campaign: Campaign, wanted: set[str]) -> None:
        if self._store.journal.pruned_at(campaign) is not None:
            self._notes.append(f"the list of {campaign.name} was removed by bulksend prune: it cannot be searched")
            return
        with self._store.read_snapshot(campaign) as reader:
            for number in range(len(reader)):
                found = reader.addresses(number)
                places = [at for at, one in enumerate(found) if one.lower() in wanted]
                if places:
                    rows = reader.rows(number)
                    for place in places:
                        self._add(campaign, number, place, rows[place], found[place])
        for skipped in skipped_rows(self._store.snapshot_of(campaign)):
            if skipped.address.strip().lower() in wanted and skipped.address != FORGOTTEN_ADDRESS:
                detail = f": {skipped.detail}" if skipped.detail else ""
                said = f"it was left out of the plan, as {skipped.reason.value}{detail}"
                self._steps.append(Step(campaign.created_at, "skipped", said, campaign.name, skipped.row))
                self._answers.append(f"{campaign.name}, row {skipped.row}: no, {said}")

    def _add(self, campaign: Campaign, chunk: int, place: int, row: int | None, address: str) -> None:
        entry = self._store.journal.trace(campaign, chunk, {place})[place]
        events, left_at = list[MailEvent](), None
        if row is not None:
            events = self._store.events.of_row(campaign.id, row)
            left_at = self._store.events.unsubscribed(campaign.id, [row]).get(row)
        self._mails.append(_Mail(campaign, chunk, place, row, address, entry, events, left_at))


async def _insights(inquiry: Inquiry, message_id: str) -> tuple[Insight, ...] | Unknown | None:
    """Asked twice at most: whoever else asks of this account takes of the one a second as well."""
    told = await inquiry.ask(partial(read_insights, message_id=message_id))
    if isinstance(told, Unknown) and told.cause is Cause.THROTTLED:
        await asyncio.sleep(INSIGHTS_EVERY_S)
        told = await inquiry.ask(partial(read_insights, message_id=message_id))
    return told


def _whose(mail: _Mail) -> str:
    return "of somebody removed by bulksend forget" if mail.address == FORGOTTEN_ADDRESS else mail.address


def _decided_at(entry: EntryTrace) -> float | None:
    """When a person decided where it stands; None where an answer or an event did: those name a message id."""
    verdict = {
        (EntryState.ACCEPTED, SETTLED): SettlementVerdict.ACCEPTED,
        (EntryState.DEAD, DROPPED): SettlementVerdict.DROP,
    }.get((entry.state, entry.status))
    decisions = [one for attempt in entry.attempts for one in attempt.settlements if one.verdict is verdict]
    if not decisions:
        return None
    last = max(decisions, key=lambda one: one.at)
    return None if last.message_id else last.at


def _places_of(reader: SnapshotReader, rows: set[int]) -> Iterator[tuple[int, int]]:
    """(chunk, place in it) of rows of the list; both are in the list's order."""
    for number in range(len(reader)) if rows else ():
        there = reader.rows(number)
        for row in rows:
            place = bisect_left(there, row)
            if place < len(there) and there[place] == row:
                yield number, place


def _steps_of(mail: _Mail) -> Iterable[Step]:
    at_row = Step(0.0, "", "", mail.campaign.name, mail.row)
    for attempt in mail.entry.attempts:
        outcome = attempt.outcome
        if attempt.sent:
            yield replace(at_row, at=attempt.at, kind="request", says="it was sent to SES")
        if outcome is not None:
            says = _VERDICTS[outcome.verdict]
            if not attempt.sent:
                says = "it was not sent, and will not be"
            if outcome.verdict is not Verdict.ACCEPTED:
                says += f": {outcome.status}" + (f": {outcome.reason}" if outcome.reason else "")
            at = attempt.at if attempt.answered_at is None else attempt.answered_at
            yield replace(at_row, at=at, kind="answer", says=says, message_id=outcome.message_id)
        for one in attempt.settlements:
            yield replace(at_row, at=one.at, kind="decision", says=f"{_DECIDED[one.verdict]}: {one.evidence}")
    for event in mail.events:
        yield _event_step(event, mail.campaign.name)
    if mail.left_at is not None:
        says = "whoever got it unsubscribed by the link in it"
        yield replace(at_row, at=mail.left_at, kind="unsubscription", says=says)


_VERDICTS = {
    Verdict.ACCEPTED: "SES accepted it",
    Verdict.TRANSIENT: "SES could not take it, and it is tried again",
    Verdict.FAILED: "SES failed, and it is tried again",
    Verdict.THROTTLED: "SES wants less at a time, and it is tried again",
    Verdict.DAY_SPENT: "the 24-hour quota was spent, and it waits",
    Verdict.UNREACHABLE: "SES was not reached, and it is tried again",
    Verdict.CLOCK_SKEWED: "SES did not like the clock, and it is tried again",
    Verdict.CREDENTIALS_REFUSED: "SES refused the credentials, and it waits",
    Verdict.SPLIT: "SES refused its request, whose parts are tried apart",
    Verdict.CAMPAIGN_AT_FAULT: "SES refused the campaign, and it waits",
    Verdict.ACCOUNT_AT_FAULT: "SES refused the account, and it waits",
    Verdict.DEAD: "SES refused it for good",
    Verdict.IN_DOUBT: "no answer told whether SES accepted it",
}


def _event_step(event: MailEvent, campaign: str) -> Step:
    return Step(event.at, "event", event_in_words(event), campaign, event.row, event.message_id)


def _as_event(insight: Insight, message_id: str) -> MailEvent | None:
    if insight.type is None:
        return None
    return MailEvent(
        key=b"",
        type=insight.type,
        message_id=message_id,
        at=insight.at,
        sent_at=insight.at,
        bounce=insight.bounce,
        subtype=insight.subtype,
        detail=insight.detail,
    )


def _insight_in_words(insight: Insight) -> str:
    event = _as_event(insight, "")
    words = "something that is not known here" if event is None else event_in_words(event)
    return f"{words}, at {insight.provider}" if insight.provider else words
