"""What the journal does when a person or a whole list is removed: nothing of it is ever sent, and no text names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from bulksend.journal.database import Database
from bulksend.journal.rows import json_text, value_of

__all__ = [
    "blank_all_texts",
    "blank_texts",
    "doom",
    "forgotten_places",
    "is_forgotten",
    "leave_over",
    "mark_forgotten",
    "mark_pruned",
    "pruned_at",
    "replace_snapshot",
    "snapshots_in_use",
    "strike_out",
    "take_over",
]

IN_USE = "SELECT snapshot FROM campaign WHERE id NOT IN (SELECT campaign_id FROM pruned)"

EVIDENCE_BLANKED = (
    "evidence = CASE WHEN verdict <> 'refused' THEN '' WHEN substr(evidence, 1, 6) = 'REJECT' THEN 'REJECT: ' "
    "ELSE 'RENDERING_FAILURE: ' END"
)
"""Of what an event refused the status stays."""


def leave_over(db: Database, snapshot: str) -> None:
    """Unless a campaign has it, it may be removed."""
    db.execute("INSERT INTO leftover (name) VALUES (?) ON CONFLICT DO NOTHING", (snapshot,))


def take_over(db: Database, snapshot: str) -> bool:
    """It is not left over: a campaign is about to have it. Whether it can: what is being removed is as good as gone."""
    return bool(db.execute("DELETE FROM leftover WHERE name = ? AND NOT doomed", (snapshot,)).rowcount)


def doom(db: Database, only: str | None = None) -> set[str]:
    """No campaign can have what is left over now, or that one of it; returns the names, to be removed."""
    words = f"UPDATE leftover SET doomed = TRUE WHERE name NOT IN ({IN_USE})"  # noqa: S608  our own words
    rows = (
        db.execute(f"{words} RETURNING name")
        if only is None
        else db.execute(f"{words} AND name = ? RETURNING name", (only,))
    )
    return {str(name) for (name,) in rows.fetchall()}


def strike_out(db: Database, snapshots: Iterable[str]) -> None:
    """There is nothing of them to be removed."""
    db.executemany("DELETE FROM leftover WHERE name = ?", [(name,) for name in snapshots])


def replace_snapshot(  # noqa: PLR0917  a statement's parameters
    db: Database, campaign_id: str, before: str, snapshot: str, size_bytes: int, sha256: str
) -> bool:
    """The campaign's entries are in another file from now on, if they were in that one before; whether they were."""
    taken = db.execute(
        "UPDATE campaign SET snapshot = ?, snapshot_bytes = ?, snapshot_sha256 = ? WHERE id = ? AND snapshot = ?",
        (snapshot, size_bytes, sha256, campaign_id, before),
    )
    if taken.rowcount:
        leave_over(db, before)
    return bool(taken.rowcount)


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
    """The list is left over, to be removed; a second time changes nothing of when."""
    db.execute("INSERT INTO pruned (campaign_id, at) VALUES (?, ?) ON CONFLICT DO NOTHING", (campaign_id, at))
    for (snapshot,) in db.execute("SELECT snapshot FROM campaign WHERE id = ?", (campaign_id,)).fetchall():
        leave_over(db, snapshot)


def pruned_at(db: Database, campaign_id: str) -> float | None:
    """When the list was removed, in epoch seconds; None while it is there."""
    row = db.execute("SELECT at FROM pruned WHERE campaign_id = ?", (campaign_id,)).fetchone()
    return None if row is None else float(row[0])


def snapshots_in_use(db: Database) -> set[str]:
    """File names of the snapshots of all campaigns that were not pruned."""
    return {str(name) for (name,) in db.execute(IN_USE)}


def blank_texts(db: Database, address: str) -> None:
    """Blank SES's texts, people's and halts' that have the address (lower case) in them."""
    for attempt_id, exceptions in db.execute(
        "SELECT attempt_id, exceptions FROM outcome WHERE exceptions IS NOT NULL"
    ).fetchall():
        _blank_reasons(db, attempt_id, exceptions, lambda reason: address in reason.lower())
    db.execute(
        f"UPDATE settlement SET {EVIDENCE_BLANKED} "  # noqa: S608  our own words
        "WHERE replace(lower(evidence), CAST(? AS text), '') <> lower(evidence)",
        (address,),
    )
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
        f"UPDATE settlement SET {EVIDENCE_BLANKED} "  # noqa: S608  our own words
        "WHERE attempt_id IN (SELECT id FROM attempt WHERE campaign_id = ?)",
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
