"""What the journal does when a person or a whole list is removed: nothing of it is ever sent, and no text names it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from bulksend.journal.reading import ledger_of
from bulksend.model import Campaign, CampaignState, EntryState, Verdict

__all__ = [
    "blank_all_texts",
    "blank_texts",
    "drop_pending",
    "forgotten_places",
    "is_forgotten",
    "mark_forgotten",
    "mark_pruned",
    "pruned_at",
    "replace_snapshot",
    "snapshots_in_use",
]

HOLDER = "forget"
STATUS = "FORGOTTEN"
REASON = "removed at the person's request"


def replace_snapshot(db: sqlite3.Connection, campaign_id: str, snapshot: str, size_bytes: int, sha256: str) -> None:
    """The campaign's entries are in another file from now on."""
    db.execute(
        "UPDATE campaign SET snapshot = ?, snapshot_bytes = ?, snapshot_sha256 = ? WHERE id = ?",
        (snapshot, size_bytes, sha256, campaign_id),
    )


def mark_forgotten(db: sqlite3.Connection, campaign_id: str, places: Mapping[int, Sequence[int]]) -> None:
    """Nothing but a stand-in is left of these entries, by chunk."""
    db.executemany(
        "INSERT OR IGNORE INTO forgotten (campaign_id, chunk, place) VALUES (?, ?, ?)",
        [(campaign_id, number, place) for number, chosen in places.items() for place in chosen],
    )


def forgotten_places(db: sqlite3.Connection, campaign_id: str) -> set[tuple[int, int]]:
    """(chunk, place in it) of every entry of which only a stand-in is left."""
    return set(db.execute("SELECT chunk, place FROM forgotten WHERE campaign_id = ?", (campaign_id,)))


def is_forgotten(db: sqlite3.Connection, attempt_id: int, place: int) -> bool:
    """Whether only a stand-in is left of an entry of this attempt."""
    found = db.execute(
        "SELECT 1 FROM attempt a JOIN forgotten f ON f.campaign_id = a.campaign_id AND f.chunk = a.chunk "
        "WHERE a.id = ? AND f.place = ?",
        (attempt_id, place),
    )
    return found.fetchone() is not None


def mark_pruned(db: sqlite3.Connection, campaign_id: str, at: float) -> None:
    """The list is removed; a second time changes nothing."""
    db.execute("INSERT OR IGNORE INTO pruned (campaign_id, at) VALUES (?, ?)", (campaign_id, at))


def pruned_at(db: sqlite3.Connection, campaign_id: str) -> float | None:
    """When the list was removed, in epoch seconds; None while it is there."""
    row = db.execute("SELECT at FROM pruned WHERE campaign_id = ?", (campaign_id,)).fetchone()
    return None if row is None else float(row[0])


def snapshots_in_use(db: sqlite3.Connection) -> set[str]:
    """File names of the snapshots of all campaigns that were not pruned."""
    rows = db.execute("SELECT snapshot FROM campaign WHERE id NOT IN (SELECT campaign_id FROM pruned)")
    return {str(name) for (name,) in rows}


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


def blank_all_texts(db: sqlite3.Connection, campaign_id: str) -> None:
    """Blank SES's texts, people's and the halt's of a campaign, whomever they name; what is freed is zeroed."""
    db.execute("PRAGMA secure_delete = ON")
    db.execute(
        "UPDATE outcome SET exceptions = (SELECT json_group_array(json_set(e.value, '$[3]', '')) "
        "FROM json_each(outcome.exceptions) AS e) WHERE exceptions IS NOT NULL "
        "AND attempt_id IN (SELECT id FROM attempt WHERE campaign_id = ?)",
        (campaign_id,),
    )
    db.execute(
        "UPDATE settlement SET evidence = '' WHERE attempt_id IN (SELECT id FROM attempt WHERE campaign_id = ?)",
        (campaign_id,),
    )
    db.execute(
        "UPDATE campaign SET halt = json_set(halt, '$.reason', 'its text was removed by bulksend prune') "
        "WHERE id = ? AND halt IS NOT NULL",
        (campaign_id,),
    )
