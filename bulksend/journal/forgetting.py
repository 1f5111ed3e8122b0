"""What the journal does when a person is removed: their entries are never sent, and no text names them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from bulksend.journal.reading import ledger_of
from bulksend.model import Campaign, CampaignState, EntryState, Verdict

__all__ = ["blank_texts", "drop_pending", "replace_snapshot"]

HOLDER = "forget"
STATUS = "FORGOTTEN"
REASON = "removed at the person's request"


def replace_snapshot(db: sqlite3.Connection, campaign_id: str, snapshot: str, size_bytes: int, sha256: str) -> None:
    """The campaign's entries are in another file from now on."""
    db.execute(
        "UPDATE campaign SET snapshot = ?, snapshot_bytes = ?, snapshot_sha256 = ? WHERE id = ?",
        (snapshot, size_bytes, sha256, campaign_id),
    )


def drop_pending(
    db: sqlite3.Connection, campaign: Campaign, places: Mapping[int, Sequence[int]], living: str, at: float
) -> int:
    """Those of `places` (by chunk) that are pending are dead, by an attempt that was never sent; returns how many.

    What was cancelled is not sent anyway, and stays so.
    """
    if campaign.state is CampaignState.CANCELLED:
        return 0
    dropped = 0
    for number, chosen in places.items():
        states = ledger_of(db, campaign.id, number, living).states
        pending = [place for place in chosen if states[place] == EntryState.PENDING]
        if not pending:
            continue
        dropped += len(pending)
        attempt_id = db.execute(
            "INSERT INTO attempt (campaign_id, chunk, first, count, indices, recipients, holder, at) "
            "VALUES (?, ?, ?, ?, ?, 0, ?, ?)",
            (campaign.id, number, pending[0], len(pending), orjson.dumps(pending).decode(), HOLDER, at),
        ).lastrowid
        exceptions = [(i, Verdict.DEAD.value, STATUS, REASON, None) for i in range(len(pending))]
        db.execute(
            "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) VALUES (?, ?, 0, '[]', ?)",
            (attempt_id, at, orjson.dumps(exceptions).decode()),
        )
    return dropped


def blank_texts(db: sqlite3.Connection, address: str) -> None:
    """Blank SES's texts, people's and halts' that have the address (lower case) in them; what is freed is zeroed."""
    db.execute("PRAGMA secure_delete = ON")
    db.execute(
        "UPDATE outcome SET exceptions = (SELECT json_group_array(json(CASE WHEN instr(lower(e.value ->> 3), ?1) "
        "THEN json_set(e.value, '$[3]', '') ELSE e.value END)) FROM json_each(outcome.exceptions) AS e) "
        "WHERE instr(lower(exceptions), ?1)",
        (address,),
    )
    db.execute("UPDATE settlement SET evidence = '' WHERE instr(lower(evidence), ?)", (address,))
    db.execute(
        "UPDATE campaign SET halt = json_set(halt, '$.reason', 'SES refused a recipient that is removed since') "
        "WHERE instr(lower(halt), ?)",
        (address,),
    )
