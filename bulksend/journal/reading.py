"""What the journal's rows say of a whole campaign: nothing here is a running count that could drift."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bulksend.journal.database import Database, Living
from bulksend.journal.rows import attempts_of_chunk, message_ids_of_chunk, policy_of, safety_of, schedule_of
from bulksend.ledger import Ledger, replay
from bulksend.model import Campaign, CampaignState, EntryReport, EntryState, Policy, SkipReason, Tally
from bulksend.safety import Safety
from bulksend.schedule import Schedule

__all__ = ["Sender", "Submitted", "ledger_of", "recipients_by_minute", "reports_of", "submitted_of", "tally_of"]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who holds the store: its process id, and the name of the campaign that it sends; None where that is not known."""

    pid: int | None
    campaign: str | None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A campaign that a worker is to send, or sends, without what it sends."""

    id: str
    name: str
    state: CampaignState
    policy: Policy
    schedule: Schedule
    safety: Safety


def submitted_of(db: Database) -> list[Submitted]:
    """All of them, oldest first."""
    return [
        Submitted(campaign_id, name, CampaignState(state), policy_of(policy), schedule_of(schedule), safety_of(safety))
        for campaign_id, name, state, policy, schedule, safety in db.execute(
            "SELECT id, name, state, policy, schedule, safety FROM campaign WHERE state IN ('queued', 'sending') "
            "ORDER BY created_at, id"
        ).fetchall()
    ]


def tally_of(db: Database, campaign: Campaign, living: Living) -> Tally:
    """The campaign in numbers, by replaying every attempt. Of a cancelled one, what was pending counts as skipped."""
    counts = dict.fromkeys(EntryState, 0)
    contradictions = 0
    doubts: list[float] = []
    for number, entries in _chunks(db, campaign.id):
        ledger = replay(entries, attempts_of_chunk(db, campaign.id, number, living))
        contradictions += ledger.contradictions
        doubts += ledger.doubted_at()[:1]
        for state in EntryState:
            counts[state] += ledger.count(state)
    skipped, pending = dict(campaign.skipped), counts[EntryState.PENDING]
    if campaign.state is CampaignState.CANCELLED:
        skipped[SkipReason.CANCELLED], pending = pending, 0
    return Tally(
        rows=campaign.rows,
        accepted=counts[EntryState.ACCEPTED],
        dead=counts[EntryState.DEAD],
        in_doubt=counts[EntryState.IN_DOUBT],
        in_flight=counts[EntryState.IN_FLIGHT],
        pending=pending,
        skipped=skipped,
        contradictions=contradictions,
        doubt_since=min(doubts, default=None),
    )


def reports_of(db: Database, campaign: Campaign, living: Living) -> Iterator[EntryReport]:
    """Every entry with what is known of it, in the order of the list. Holds one chunk in memory."""
    for number, entries in _chunks(db, campaign.id):
        yield from _reports_of_chunk(db, campaign.id, number, entries, living)


def recipients_by_minute(
    db: Database, account: str, region: str, since: float, minute_of: str
) -> list[tuple[float, int]]:
    """(start of a minute, recipients that count against the quota).

    Times in epoch seconds, unanswered counts as sent. `minute_of` is the store's words for the number of the minute of
    the time a.at.
    """
    return [
        (minute * 60.0, int(recipients))
        for minute, recipients in db.execute(
            f"SELECT {minute_of} AS minute, sum(coalesce(o.spent, a.recipients)) "  # noqa: S608  a store's own words
            "FROM attempt a JOIN campaign c ON c.id = a.campaign_id LEFT JOIN outcome o ON o.attempt_id = a.id "
            "WHERE a.at >= ? AND c.account = ? AND c.region = ? GROUP BY minute ORDER BY minute",
            (since, account, region),
        )
    ]


def ledger_of(db: Database, campaign_id: str, number: int, living: Living) -> Ledger:
    """Where each entry of a chunk stands."""
    (entries,) = db.execute(
        "SELECT entries FROM chunk WHERE campaign_id = ? AND number = ?", (campaign_id, number)
    ).fetchone()
    return replay(entries, attempts_of_chunk(db, campaign_id, number, living))


def _chunks(db: Database, campaign_id: str) -> list[tuple[int, int]]:
    return db.execute(
        "SELECT number, entries FROM chunk WHERE campaign_id = ? ORDER BY number", (campaign_id,)
    ).fetchall()


def _reports_of_chunk(
    db: Database, campaign_id: str, number: int, entries: int, living: Living
) -> Iterator[EntryReport]:
    attempts = list(attempts_of_chunk(db, campaign_id, number, living))
    ledger = replay(entries, attempts)
    message_ids = [""] * entries
    requests = [0] * entries
    latest: list[tuple[int, float] | None] = [None] * entries
    ids_by_attempt = dict(message_ids_of_chunk(db, campaign_id, number))
    for attempt in attempts:
        ids = ids_by_attempt.get(attempt.id, [])
        for place, i in enumerate(attempt.indices):
            requests[i] += attempt.sent
            latest[i] = (attempt.id, attempt.answered_at or attempt.at)
            if place < len(ids) and ids[place]:
                message_ids[i] = ids[place]
        for settlement in attempt.settlements:
            message_ids[settlement.index] = settlement.message_id or message_ids[settlement.index]
    for i in range(entries):
        state = EntryState(ledger.states[i])
        attempt_id, at = latest[i] or (None, None)
        last = ledger.last.get(i)
        status, reason = ("", "") if last is None else (last.outcome.status, last.outcome.reason)
        if state is EntryState.IN_DOUBT and last is not None:
            at = last.sent_at
        if state is EntryState.ACCEPTED and status != "SETTLED":
            status, reason = "SUCCESS", ""
        yield EntryReport(number, i, state, status, reason, message_ids[i], requests[i], at, attempt_id)
