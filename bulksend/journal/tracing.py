"""What the journal's rows say of single entries: every request that they were in, and what was decided since."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bulksend.journal.database import Database, Living
from bulksend.journal.reading import ledger_of
from bulksend.journal.rows import attempts_of_chunk, message_ids_of_chunk, value_of
from bulksend.model import EntryOutcome, EntryState, Settlement, Verdict

__all__ = ["EntryTrace", "TracedAttempt", "entries_of_message", "trace_of"]


@dataclass(frozen=True, slots=True)
class TracedAttempt:
    """An attempt on an entry. Times are epoch seconds; `outcome` is None while its answer is awaited.

    `sent` is false for what stands in the journal without a request: the entry of a person who was removed, say.
    """

    at: float
    answered_at: float | None
    sent: bool
    outcome: EntryOutcome | None
    settlements: tuple[Settlement, ...]


@dataclass(frozen=True, slots=True)
class EntryTrace:
    """An entry: where it stands, with the status and reason of that, and its attempts in their order."""

    state: EntryState
    status: str
    reason: str
    attempts: tuple[TracedAttempt, ...]


def trace_of(
    db: Database, campaign_id: str, number: int, places: Collection[int], living: Living
) -> dict[int, EntryTrace]:
    """By place in the chunk, for these."""
    ledger = ledger_of(db, campaign_id, number, living)
    ids = dict(message_ids_of_chunk(db, campaign_id, number))
    found: dict[int, list[TracedAttempt]] = {place: [] for place in places}
    for attempt in attempts_of_chunk(db, campaign_id, number, living):
        exceptions = dict(attempt.exceptions)
        for at, index in enumerate(attempt.indices):
            if index not in found:
                continue
            outcome: EntryOutcome | None = None
            if attempt.answered_at is not None:
                named = ids.get(attempt.id) or ()
                message_id = named[at] if at < len(named) else ""
                outcome = exceptions.get(at) or EntryOutcome(Verdict.ACCEPTED, "SUCCESS", message_id=message_id)
            elif not attempt.holder_alive:
                outcome = EntryOutcome(Verdict.IN_DOUBT, "NO_ANSWER", "the process ended before the answer came")
            found[index].append(
                TracedAttempt(
                    attempt.at,
                    attempt.answered_at,
                    sent=attempt.sent,
                    outcome=outcome,
                    settlements=tuple(one for one in attempt.settlements if one.index == index),
                )
            )
    traces = {}
    for place, attempts in found.items():
        last = ledger.last.get(place)
        state = EntryState(ledger.states[place])
        status, reason = ("", "") if last is None else (last.outcome.status, last.outcome.reason)
        traces[place] = EntryTrace(state, status, reason, tuple(attempts))
    return traces


def entries_of_message(db: Database, message_id: str) -> list[tuple[str, int, int]]:
    """(campaign id, chunk, place in it) of the entries whose answers name this message id. Reads every answer."""
    named = f"%{message_id}%"
    found = []
    for campaign_id, chunk, first, indices, message_ids in db.execute(
        "SELECT a.campaign_id, a.chunk, a.first, a.indices, o.message_ids "
        "FROM outcome o JOIN attempt a ON a.id = o.attempt_id "
        "WHERE CAST(o.message_ids AS TEXT) LIKE ? ORDER BY a.id",
        (named,),
    ).fetchall():
        places = value_of(indices)
        for at, one in enumerate(value_of(message_ids)):
            if one == message_id:
                found.append((campaign_id, chunk, first + at if places is None else places[at]))
    return found
