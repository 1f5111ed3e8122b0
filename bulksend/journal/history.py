"""What the journal's rows say of how a campaign went: its attempts, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bulksend.journal.database import Database, Living
from bulksend.journal.rows import attempts_of_chunk
from bulksend.ledger import AttemptRecord, Ledger, replay
from bulksend.model import EntryState

__all__ = ["ChunkHistory", "PastAttempt", "history_of"]


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """An attempt, and how many recipients (To, Cc and Bcc) its answer accepted.

    Where an entry of the same answer is in doubt and entries have several recipients, that is in proportion to entries.
    """

    record: AttemptRecord
    accepted_recipients: int


@dataclass(frozen=True, slots=True)
class ChunkHistory:
    """A chunk: where its entries stand, and the attempts on it in the order of their intents.

    Rows of the journal that stand for no request, such as that of a person who was removed, are left out.
    """

    number: int
    ledger: Ledger
    attempts: Sequence[PastAttempt]


def history_of(db: Database, campaign_id: str, living: Living) -> Iterator[ChunkHistory]:
    """Every chunk in the order of the list. Holds one in memory."""
    for number, entries in db.execute(
        "SELECT number, entries FROM chunk WHERE campaign_id = ? ORDER BY number", (campaign_id,)
    ).fetchall():
        records = list(attempts_of_chunk(db, campaign_id, number, living))
        amounts = {
            attempt_id: (recipients, spent)
            for attempt_id, recipients, spent in db.execute(
                "SELECT a.id, a.recipients, o.spent FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id "
                "WHERE a.campaign_id = ? AND a.chunk = ?",
                (campaign_id, number),
            )
        }
        yield ChunkHistory(
            number,
            replay(entries, records),
            [
                PastAttempt(record, _accepted(record, amounts[record.id][1]))
                for record in records
                if amounts[record.id][0]
            ],
        )


def _accepted(record: AttemptRecord, spent: int | None) -> int:
    """Of the recipients that count against the quota, being accepted or in doubt, those accepted."""
    if record.answered_at is None or not spent:
        return 0
    states = [outcome.verdict.state for _, outcome in record.exceptions]
    accepted = len(record.indices) - sum(state is not EntryState.ACCEPTED for state in states)
    in_doubt = states.count(EntryState.IN_DOUBT)
    return spent if not in_doubt else round(spent * accepted / (accepted + in_doubt))
