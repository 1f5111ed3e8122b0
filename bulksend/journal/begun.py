"""What a campaign's safety has to know of its attempts: since when it is sent, how much, how far its canary is."""

from __future__ import annotations

from bulksend.journal.database import Database, Living
from bulksend.journal.rows import attempts_of_chunk, safety_of
from bulksend.ledger import replay
from bulksend.model import EntryState
from bulksend.safety import CanarySent

__all__ = ["ARMED", "canaries_awaited", "canary_sent", "chunk_sizes", "first_held_back", "first_sent_at", "mails_sent"]

ARMED = "armed_at = CASE WHEN armed_at IS NOT NULL AND state IN ('queued', 'sending') THEN armed_at ELSE ? END"
"""Set by whatever begins a campaign: what was sent before counts no more, unless it is being sent or queued already."""


def first_sent_at(db: Database, campaign_id: str) -> float | None:
    """When the first request of a campaign was made, in epoch seconds; None if there was none."""
    (at,) = db.execute(
        "SELECT min(at) FROM attempt WHERE campaign_id = ? AND recipients > 0", (campaign_id,)
    ).fetchone()
    return None if at is None else float(at)


def mails_sent(db: Database, campaign_id: str, since: float) -> int:
    """Entries that were in an answered request since then (epoch seconds)."""
    (count,) = db.execute(
        "SELECT coalesce(sum(a.count), 0) FROM attempt a JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.at >= ? AND o.spent > 0",
        (campaign_id, since),
    ).fetchone()
    return int(count)


def mails_sent_from(db: Database, account: str, region: str, since: float) -> int:
    """The same of all campaigns that are bound to an account and Region."""
    (count,) = db.execute(
        "SELECT coalesce(sum(a.count), 0) FROM attempt a JOIN outcome o ON o.attempt_id = a.id "
        "JOIN campaign c ON c.id = a.campaign_id WHERE a.at >= ? AND o.spent > 0 AND c.account = ? AND c.region = ?",
        (since, account, region),
    ).fetchone()
    return int(count)


def chunk_sizes(db: Database, campaign_id: str) -> list[tuple[int, int]]:
    """(number, entries) of every chunk, in the order of the list."""
    return [
        (number, entries)
        for number, entries in db.execute(
            "SELECT number, entries FROM chunk WHERE campaign_id = ? ORDER BY number", (campaign_id,)
        ).fetchall()
    ]


def canaries_awaited(db: Database) -> dict[str, int]:
    """How many entries may be sent of each campaign, by its id, whose canary is not judged yet."""
    found = {
        campaign_id: (safety_of(safety).canary, entries)
        for campaign_id, safety, entries in db.execute(
            "SELECT id, safety, entries FROM campaign WHERE canary_passed_at IS NULL"
        )
    }
    return {campaign_id: canary.entries(of) for campaign_id, (canary, of) in found.items() if canary is not None}


def first_held_back(db: Database, campaign_id: str) -> int | None:
    """The number of the first chunk of which a canary holds everything back now; None if there is none."""
    safety, passed_at, of = db.execute(
        "SELECT safety, canary_passed_at, entries FROM campaign WHERE id = ?", (campaign_id,)
    ).fetchone()
    canary = None if passed_at is not None else safety_of(safety).canary
    if canary is None:
        return None
    left = canary.entries(of)
    for number, entries in chunk_sizes(db, campaign_id):
        if left <= 0:
            return number
        left -= entries
    return None


def canary_sent(db: Database, campaign_id: str, canary: int, living: Living) -> CanarySent:
    """Where the first `canary` entries of a campaign stand. Their chunks are replayed, and no other."""
    accepted = under_way = untried = before = 0
    last_at: float | None = None
    for number, entries in chunk_sizes(db, campaign_id):
        if before >= canary:
            break
        chosen = range(min(entries, canary - before))
        before += entries
        attempts = list(attempts_of_chunk(db, campaign_id, number, living))
        tried = set[int]()
        for attempt in attempts:
            mine = [i for i in attempt.indices if i < len(chosen)]
            if mine:
                tried.update(mine)
                last_at = attempt.at if last_at is None else max(last_at, attempt.at)
        states = replay(entries, attempts).states[: len(chosen)]
        accepted += states.count(EntryState.ACCEPTED)
        under_way += states.count(EntryState.PENDING) + states.count(EntryState.IN_FLIGHT)
        untried += len(chosen) - len(tried)
    return CanarySent(canary, accepted, under_way, untried, last_at)
