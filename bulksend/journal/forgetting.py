"""What the journal does when a person or a whole list is removed: nothing of it is ever sent, and no text names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bulksend.journal.database import Database
from bulksend.journal.rows import json_text, value_of

__all__ = [
    "blank_all_texts",
    "blank_texts",
    "forgotten_places",
    "is_forgotten",
    "mark_forgotten",
    "mark_pruned",
    "pruned_at",
    "replace_snapshot",
    "snapshots_in_use",
]


def replace_snapshot(db: Database, campaign_id: str, snapshot: str, size_bytes: int, sha256: str) -> None:
    """The campaign's entries are in another file from now on."""
    db.execute(
        "UPDATE campaign SET snapshot = ?, snapshot_bytes = ?, snapshot_sha256 = ? WHERE id = ?",
        (snapshot, size_bytes, sha256, campaign_id),
    )


def mark_forgotten(db: Database, campaign_id: str, places: Mapping[int, Sequence[int]]) -> None:
    """Nothing but a stand-in is left of these entries, by chunk."""
    db.executemany(
        "INSERT INTO forgotten (campaign_id, chunk, place) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(campaign_id, number, place) for number, chosen in places.items() for place in chosen],
    )


def forgotten_places(db: Database, campaign_id: str) -> set[tuple[int, int]]:
    """(chunk, place in it) of every entry of which only a stand-in is left."""
    rows = db.execute("SELECT chunk, place FROM forgotten WHERE campaign_id = ?", (campaign_id,))
    return {(chunk, place) for chunk, place in rows}


def is_forgotten(db: Database, attempt_id: int, place: int) -> bool:
    """Whether only a stand-in is left of an entry of this attempt."""
    found = db.execute(
        "SELECT 1 FROM attempt a JOIN forgotten f ON f.campaign_id = a.campaign_id AND f.chunk = a.chunk "
        "WHERE a.id = ? AND f.place = ?",
        (attempt_id, place),
    )
    return found.fetchone() is not None


def mark_pruned(db: Database, campaign_id: str, at: float) -> None:
    """The list is removed; a second time changes nothing."""
    db.execute("INSERT INTO pruned (campaign_id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (campaign_id, at))


def pruned_at(db: Database, campaign_id: str) -> float | None:
    """When the list was removed, in epoch seconds; None while it is there."""
    row = db.execute("SELECT at FROM pruned WHERE campaign_id = ?", (campaign_id,)).fetchone()
    return None if row is None else float(row[0])


def snapshots_in_use(db: Database) -> set[str]:
    """File names of the snapshots of all campaigns that were not pruned."""
    rows = db.execute("SELECT snapshot FROM campaign WHERE id NOT IN (SELECT campaign_id FROM pruned)")
    return {str(name) for (name,) in rows}


def blank_texts(db: Database, address: str) -> None:
    """Blank SES's texts, people's and halts' that have the address (lower case) in them."""
    for attempt_id, exceptions in db.execute(
        "SELECT attempt_id, exceptions FROM outcome WHERE exceptions IS NOT NULL"
    ).fetchall():
        _blank_reasons(db, attempt_id, exceptions, lambda reason: address in reason.lower())
    for settlement_id, evidence in db.execute("SELECT id, evidence FROM settlement").fetchall():
        if address in evidence.lower():
            db.execute("UPDATE settlement SET evidence = '' WHERE id = ?", (settlement_id,))
    for campaign_id, halt in db.execute("SELECT id, halt FROM campaign WHERE halt IS NOT NULL").fetchall():
        if address in value_of(halt)["reason"].lower():
            _blank_halt(db, campaign_id, halt, "SES refused a recipient that is removed since")


def blank_all_texts(db: Database, campaign_id: str) -> None:
    """Blank SES's texts, people's and the halt's of a campaign, whomever they name."""
    for attempt_id, exceptions in db.execute(
        "SELECT o.attempt_id, o.exceptions FROM outcome o JOIN attempt a ON a.id = o.attempt_id "
        "WHERE o.exceptions IS NOT NULL AND a.campaign_id = ?",
        (campaign_id,),
    ).fetchall():
        _blank_reasons(db, attempt_id, exceptions, lambda _: True)
    db.execute(
        "UPDATE settlement SET evidence = '' WHERE attempt_id IN (SELECT id FROM attempt WHERE campaign_id = ?)",
        (campaign_id,),
    )
    for (halt,) in db.execute("SELECT halt FROM campaign WHERE id = ? AND halt IS NOT NULL", (campaign_id,)).fetchall():
        _blank_halt(db, campaign_id, halt, "its text was removed by bulksend prune")


def _blank_reasons(db: Database, attempt_id: int, exceptions: object, unwanted: Callable[[str], bool]) -> None:
    kept = value_of(exceptions)
    blanked = [
        (place, verdict, status, "" if unwanted(reason) else reason, due_at)
        for place, verdict, status, reason, due_at in kept
    ]
    if any(before[3] != after[3] for before, after in zip(kept, blanked, strict=True)):
        db.execute("UPDATE outcome SET exceptions = ? WHERE attempt_id = ?", (json_text(blanked), attempt_id))


def _blank_halt(db: Database, campaign_id: str, halt: object, reason: str) -> None:
    db.execute(
        "UPDATE campaign SET halt = ? WHERE id = ?", (json_text(value_of(halt) | {"reason": reason}), campaign_id)
    )
