"""What people, events and policies decide of entries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from bulksend.journal.forgetting import is_forgotten
from bulksend.ledger import Ledger
from bulksend.model import EntryReport, Settlement, SettlementVerdict

__all__ = ["PENDING_AGAIN", "reopen", "settle_once", "stands"]

PENDING_AGAIN = (SettlementVerdict.RESEND, SettlementVerdict.RETURNED)


def settle_once(db: sqlite3.Connection, settlement: Settlement) -> bool:
    """Record a decision. False when there is one already that stands against it.

    Once a doubt is decided, only evidence of acceptance decides it again; nothing is decided twice the same way. Whom
    it concerns may have been forgotten: then there is nothing left to send again, whoever asks for it.
    """
    if settlement.verdict in PENDING_AGAIN and is_forgotten(db, settlement.attempt_id, settlement.index):
        return False
    match settlement.verdict:
        case SettlementVerdict.ACCEPTED:
            closed_by = {SettlementVerdict.ACCEPTED}
        case SettlementVerdict.RESEND | SettlementVerdict.DROP:
            closed_by = {SettlementVerdict.ACCEPTED, SettlementVerdict.RESEND, SettlementVerdict.DROP}
        case SettlementVerdict.RETURNED:
            closed_by = {SettlementVerdict.ACCEPTED, SettlementVerdict.RETURNED}
    there = (settlement.attempt_id, settlement.index)
    decided = db.execute("SELECT verdict FROM settlement WHERE attempt_id = ? AND place = ?", there).fetchall()
    if any(SettlementVerdict(verdict) in closed_by for (verdict,) in decided):
        return False
    db.execute(
        "INSERT INTO settlement (attempt_id, place, verdict, evidence, at) VALUES (?, ?, ?, ?, ?)",
        (*there, settlement.verdict.value, settlement.evidence, settlement.at),
    )
    return True


def stands(ledger: Ledger, report: EntryReport) -> bool:
    """Whether an entry is still what it was when somebody read the report and made up his mind."""
    return ledger.states[report.index] == report.state


def reopen(db: sqlite3.Connection, campaign_id: str, chunks: Iterable[int]) -> None:
    """Chunks that have something to send again; a campaign that was finished is so no more."""
    numbers = [(campaign_id, number) for number in chunks]
    if not numbers:
        return
    db.executemany("UPDATE chunk SET done = 0 WHERE campaign_id = ? AND number = ?", numbers)
    db.execute("UPDATE campaign SET state = 'planned' WHERE id = ? AND state = 'finished'", (campaign_id,))
