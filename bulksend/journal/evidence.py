"""What events prove of a chunk's entries, set beside what the journal knows of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bulksend.journal.database import Database, Living
from bulksend.journal.deciding import settle_once
from bulksend.journal.events import Evidence
from bulksend.journal.rows import attempts_of_chunk, message_ids_of_chunk
from bulksend.ledger import Mail, pasts_of, proved, replay
from bulksend.model import EntryState, Settlement, SettlementVerdict

__all__ = [
    "DoubtedChunk",
    "Paired",
    "Proved",
    "doubted_chunks",
    "doubted_places",
    "mails_by_place",
    "open_numbers",
    "paired",
    "proves_anything",
    "settle_proved",
    "tried_most",
    "untried_places",
]


@dataclass(frozen=True, slots=True)
class DoubtedChunk:
    """A chunk of which an entry is, or was, in doubt. `last_attempt` is the latest attempt that left any so.

    `settled_for_good`: no answer is missing, and nothing is left to send.
    """

    number: int
    last_attempt: int
    settled_for_good: bool


@dataclass(frozen=True, slots=True)
class Proved:
    """How many entries were accepted by events, and how many were refused by them."""

    accepted: int = 0
    refused: int = 0

    def __add__(self, other: Proved) -> Proved:
        return Proved(self.accepted + other.accepted, self.refused + other.refused)


@dataclass(frozen=True, slots=True)
class Paired:
    """Of mails that events name: those that the journal has under the same entry, and those it has under another.

    `at` is when the request of the latest of the others was made, in epoch seconds.
    """

    right: int = 0
    wrong: int = 0
    at: float | None = None

    def __add__(self, other: Paired) -> Paired:
        times = [at for at in (self.at, other.at) if at is not None]
        return Paired(self.right + other.right, self.wrong + other.wrong, max(times, default=None))


def mails_by_place(evidence: Iterable[Evidence], places: Mapping[int, int]) -> dict[int, list[Mail]]:
    """The mails of entries, by their places in a chunk; `places` are by row."""
    found: dict[int, list[Mail]] = {}
    for one in evidence:
        refused = "" if one.refused is None else one.refused.name
        found.setdefault(places[one.row], []).append(Mail(one.message_id, one.at, refused, one.reason))
    return found


def proves_anything(
    db: Database, campaign_id: str, number: int, mails: Mapping[int, Sequence[Mail]], living: Living
) -> bool:
    """Whether `settle_proved` would do anything. Reads only."""
    return bool(_to_settle(db, campaign_id, number, mails, living, 0.0))


def settle_proved(  # noqa: PLR0917  a statement's parameters
    db: Database, campaign_id: str, number: int, mails: Mapping[int, Sequence[Mail]], living: Living, now: float
) -> Proved:
    """Settle what the mails of a chunk's entries prove. A second time is a no-op. The chunk is touched already."""
    taken = [one for one in _to_settle(db, campaign_id, number, mails, living, now) if settle_once(db, one)]
    accepted = sum(one.verdict is SettlementVerdict.ACCEPTED for one in taken)
    return Proved(accepted, len(taken) - accepted)


def _to_settle(  # noqa: PLR0917  a statement's parameters
    db: Database, campaign_id: str, number: int, mails: Mapping[int, Sequence[Mail]], living: Living, now: float
) -> list[Settlement]:
    attempts = list(attempts_of_chunk(db, campaign_id, number, living))
    ledger = replay(_entries(db, campaign_id, number), attempts)
    ids = dict(message_ids_of_chunk(db, campaign_id, number))
    found = []
    for place, past in pasts_of(ledger, attempts, ids, mails).items():
        decided = proved(past, mails[place])
        if decided is not None:
            verdict, mail = decided
            found.append(Settlement(past.attempt_id, place, verdict, mail.evidence, now, mail.message_id))
    return found


def doubted_chunks(db: Database, campaign_id: str) -> list[DoubtedChunk]:
    """In the order of the list."""
    rows = db.execute(
        "SELECT k.number, d.last, d.unanswered, k.done FROM chunk k JOIN ("
        "SELECT a.chunk, max(a.id) AS last, max(CASE WHEN o.attempt_id IS NULL THEN 1 ELSE 0 END) AS unanswered "
        "FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id WHERE a.campaign_id = ? AND (o.attempt_id IS NULL "
        "OR replace(CAST(o.exceptions AS text), '\"in_doubt\"', '') <> CAST(o.exceptions AS text)) GROUP BY a.chunk"
        ") d ON d.chunk = k.number WHERE k.campaign_id = ? ORDER BY k.number",
        (campaign_id, campaign_id),
    ).fetchall()
    return [DoubtedChunk(number, last, bool(done) and not unanswered) for number, last, unanswered, done in rows]


def open_numbers(db: Database, campaign_id: str) -> set[int]:
    """Of the chunks that are not done."""
    rows = db.execute("SELECT number FROM chunk WHERE campaign_id = ? AND NOT done", (campaign_id,))
    return {int(number) for (number,) in rows}


def doubted_places(db: Database, campaign_id: str, number: int, living: Living) -> list[int]:
    """Places of the entries that were ever in doubt, and are not accepted: an event may accept or refuse them."""
    ledger = replay(_entries(db, campaign_id, number), attempts_of_chunk(db, campaign_id, number, living))
    return sorted(i for i in ledger.doubts if ledger.states[i] not in (EntryState.ACCEPTED, EntryState.IN_FLIGHT))


def paired(db: Database, campaign_id: str, number: int, mails: Mapping[int, Collection[str]]) -> Paired:
    """Whether the answers for a chunk have these message ids under these entries, by their places.

    What no answer has, such as the mail of one that never came, is not counted.
    """
    found: dict[str, set[int]] = {}
    times: dict[str, float] = {}
    ids_by_attempt = dict(message_ids_of_chunk(db, campaign_id, number))
    for attempt in attempts_of_chunk(db, campaign_id, number, Living("TRUE")):
        for place, message_id in zip(attempt.indices, ids_by_attempt.get(attempt.id, ()), strict=False):
            if message_id:
                found.setdefault(message_id, set()).add(place)
                times[message_id] = attempt.at
    right = wrong = 0
    at: float | None = None
    for place, names in mails.items():
        for name in names:
            there = found.get(name, set())
            if place in there:
                right += 1
            elif there:
                wrong += 1
                at = times[name] if at is None else max(at, times[name])
    return Paired(right, wrong, at)


def _entries(db: Database, campaign_id: str, number: int) -> int:
    (entries,) = db.execute(
        "SELECT entries FROM chunk WHERE campaign_id = ? AND number = ?", (campaign_id, number)
    ).fetchone()
    return int(entries)


def tried_most(db: Database, campaign_id: str) -> tuple[int, float]:
    """How many entries were tried, at most, and when the latest attempt was made (epoch seconds; 0 for none)."""
    tried, at = db.execute(
        "SELECT coalesce(sum(CASE WHEN a.count < k.entries THEN a.count ELSE k.entries END), 0), coalesce(max(a.at), 0)"
        " FROM chunk k JOIN (SELECT chunk, sum(count) AS count, max(at) AS at FROM attempt WHERE campaign_id = ? "
        "GROUP BY chunk) a ON a.chunk = k.number WHERE k.campaign_id = ?",
        (campaign_id, campaign_id),
    ).fetchone()
    return int(tried), float(at)


def untried_places(db: Database, campaign_id: str, number: int, living: Living) -> list[int]:
    """Of a chunk's entries those that are in no attempt."""
    tried = {place for attempt in attempts_of_chunk(db, campaign_id, number, living) for place in attempt.indices}
    return [place for place in range(_entries(db, campaign_id, number)) if place not in tried]
