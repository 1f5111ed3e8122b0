"""A store in numbers, counted again and again: what cannot have changed since is not replayed anew."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from bulksend.facts import ChunkStanding, EntryStanding, StoreCounted
from bulksend.journal.begun import canaries_awaited
from bulksend.journal.database import Database, Living
from bulksend.journal.reading import ledger_of
from bulksend.journal.rows import schedule_of
from bulksend.ledger import Ledger
from bulksend.model import CampaignState, EntryState

if TYPE_CHECKING:
    from bulksend.journal.records import Records

__all__ = ["Census"]

Counts = Counter[EntryStanding]

OVER = (CampaignState.FINISHED, CampaignState.CANCELLED)
TO_BE_SENT = (CampaignState.QUEUED, CampaignState.SENDING)
STANDING = {
    EntryState.PENDING: EntryStanding.PENDING,
    EntryState.IN_FLIGHT: EntryStanding.IN_FLIGHT,
    EntryState.ACCEPTED: EntryStanding.ACCEPTED,
    EntryState.DEAD: EntryStanding.DEAD,
    EntryState.IN_DOUBT: EntryStanding.IN_DOUBT,
}


@dataclass(frozen=True, slots=True)
class _Attempted:
    """What was tried of a chunk: entries in attempts, whether an answer is missing, whether all were accepted."""

    entries: int
    unanswered: bool
    all_accepted: bool


class _Counted(NamedTuple):
    """Entries by where they are, and the earliest request that left any in doubt."""

    counts: Counts
    doubt_since: float | None = None


NOTHING = _Attempted(0, unanswered=False, all_accepted=True)


class Census:
    """Counts one store. Not for several threads at once.

    A chunk that is done and has no unanswered attempt can only be changed by a settlement: its numbers are kept, and
    hold as long as it has as many settlements.
    """

    def __init__(self, journal: Records, living: Callable[[], Living]) -> None:
        self._journal = journal
        self._living = living
        self._kept: dict[tuple[str, int], tuple[int, _Counted]] = {}
        self._undoubted: dict[str, int] = {}
        """Campaigns that are over and have nothing in doubt nor unanswered, and how many settlements they had then."""

    def count(self, workers: int) -> StoreCounted:
        """Where everything is now. Reads the journal. Raises JournalError."""
        began_s = time.perf_counter()
        journal = self._journal
        now, living = journal.now(), self._living()
        with journal.reading() as db:
            campaigns = db.execute("SELECT id, name, state, schedule FROM campaign ORDER BY created_at, id").fetchall()
            canaries = canaries_awaited(db)
            settled = _settlements(db)
            settled_of = Counter[str]()
            for (campaign_id, _), settlements in settled.items():
                settled_of[campaign_id] += settlements
            chunks = _chunk_standings(db, journal.standing_of)
            entries: dict[str, Mapping[EntryStanding, int]] = {}
            doubt_since: dict[str, float] = {}
            sendable = 0
            for campaign_id, name, state, schedule in campaigns:
                if state in OVER:
                    doubtful = self._doubtful(db, campaign_id, settled_of[campaign_id], living)
                    if doubtful:
                        entries[name] = {EntryStanding.IN_DOUBT: len(doubtful)}
                        doubt_since[name] = min(doubtful)
                    continue
                counts, since = self._counts(db, campaign_id, settled, living)
                entries[name] = {standing: counts[standing] for standing in EntryStanding}
                if since is not None:
                    doubt_since[name] = since
                if state in TO_BE_SENT and schedule_of(schedule).opens_at(now) is None:
                    pending = counts[EntryStanding.PENDING] + counts[EntryStanding.RETRYING]
                    held_back = counts.total() - canaries.get(campaign_id, counts.total())
                    sendable += max(0, pending - held_back)
        states = Counter(state for _, _, state, _ in campaigns)
        return StoreCounted(
            at=now,
            duration_s=time.perf_counter() - began_s,
            campaigns={state: states[state.value] for state in CampaignState},
            entries=entries,
            sendable=sendable,
            chunks=chunks,
            workers=workers,
            doubt_since=doubt_since,
        )

    def _counts(
        self, db: Database, campaign_id: str, settled: Mapping[tuple[str, int], int], living: Living
    ) -> _Counted:
        """Of all chunks of a campaign."""
        total, changing = Counts(), []
        doubts: list[float | None] = []
        for number, entries, done in db.execute(
            "SELECT number, entries, done FROM chunk WHERE campaign_id = ? ORDER BY number", (campaign_id,)
        ).fetchall():
            kept = self._kept.get((campaign_id, number))
            if done and kept is not None and kept[0] == settled.get((campaign_id, number), 0):
                total.update(kept[1].counts)
                doubts.append(kept[1].doubt_since)
            else:
                changing.append((number, entries, done))
        if not changing:
            return _Counted(total, _earliest(doubts))
        # In the order of the list: nearly all that cannot change comes before them.
        attempted = _attempted(db, campaign_id, changing[0][0], changing[-1][0])
        for number, entries, done in changing:
            tried, settlements = attempted.get(number, NOTHING), settled.get((campaign_id, number), 0)
            if tried.all_accepted and not settlements:
                counted = _Counted(
                    Counts({EntryStanding.ACCEPTED: tried.entries, EntryStanding.PENDING: entries - tried.entries})
                )
            else:
                counted = _counted(ledger_of(db, campaign_id, number, living))
            total.update(counted.counts)
            doubts.append(counted.doubt_since)
            if done and not tried.unanswered:
                self._kept[campaign_id, number] = (settlements, counted)
        return _Counted(total, _earliest(doubts))

    def _doubtful(self, db: Database, campaign_id: str, settlements: int, living: Living) -> list[float]:
        """Of the entries in doubt of a campaign that is over, when the requests were made."""
        if self._undoubted.get(campaign_id) == settlements:
            return []
        for key in [key for key in self._kept if key[0] == campaign_id]:
            del self._kept[key]
        suspected = _suspected(db, campaign_id)
        doubtful = [at for n in suspected for at in ledger_of(db, campaign_id, n, living).doubted_at()]
        if not any(suspected.values()) and not doubtful:
            self._undoubted[campaign_id] = settlements
        return doubtful


def _earliest(times: Iterable[float | None]) -> float | None:
    return min((at for at in times if at is not None), default=None)


def _counted(ledger: Ledger) -> _Counted:
    counts = Counts({standing: ledger.count(state) for state, standing in STANDING.items()})
    retrying = sum(ledger.states[index] == EntryState.PENDING for index in ledger.histories)
    counts[EntryStanding.RETRYING] = retrying
    counts[EntryStanding.PENDING] -= retrying
    return _Counted(counts, _earliest(ledger.doubted_at()[:1]))


def _settlements(db: Database) -> dict[tuple[str, int], int]:
    """How many each chunk has that has any."""
    rows = db.execute(
        "SELECT a.campaign_id, a.chunk, count(*) FROM settlement s JOIN attempt a ON a.id = s.attempt_id "
        "GROUP BY a.campaign_id, a.chunk"
    ).fetchall()
    return {(campaign_id, number): many for campaign_id, number, many in rows}


def _attempted(db: Database, campaign_id: str, first: int, last: int) -> dict[int, _Attempted]:
    """Of the chunks with these numbers, those that anything was tried of, by their numbers."""
    rows: Iterable[tuple[int, int, int, int]] = db.execute(
        "SELECT a.chunk, sum(a.count), max(CASE WHEN o.attempt_id IS NULL THEN 1 ELSE 0 END), "
        "max(CASE WHEN o.exceptions IS NULL THEN 0 ELSE 1 END) "
        "FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk BETWEEN ? AND ? GROUP BY a.chunk",
        (campaign_id, first, last),
    ).fetchall()
    return {
        number: _Attempted(int(entries), bool(unanswered), not unanswered and not exceptions)
        for number, entries, unanswered, exceptions in rows
    }


def _suspected(db: Database, campaign_id: str) -> dict[int, bool]:
    """Numbers of the chunks in which anything may be in doubt, and whether an answer is missing."""
    rows: Iterable[tuple[int, int]] = db.execute(
        "SELECT a.chunk, max(CASE WHEN o.attempt_id IS NULL THEN 1 ELSE 0 END) "
        "FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id WHERE a.campaign_id = ? AND (o.attempt_id IS NULL "
        "OR replace(CAST(o.exceptions AS text), '\"in_doubt\"', '') <> CAST(o.exceptions AS text)) GROUP BY a.chunk",
        (campaign_id,),
    ).fetchall()
    return {number: bool(unanswered) for number, unanswered in rows}


def _chunk_standings(db: Database, standing_of: str) -> dict[ChunkStanding, int]:
    """Of campaigns that are to be sent."""
    rows = db.execute(
        f"SELECT {standing_of} AS standing, count(*) FROM chunk k JOIN campaign c ON c.id = k.campaign_id "  # noqa: S608  a store's own words
        "WHERE c.state IN ('queued', 'sending') GROUP BY standing"
    ).fetchall()
    found = {ChunkStanding(standing): many for standing, many in rows}
    return {standing: found.get(standing, 0) for standing in ChunkStanding}
