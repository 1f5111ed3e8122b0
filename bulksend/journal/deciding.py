"""What people, events and policies decide of entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from bulksend.journal.database import Database, Living
from bulksend.journal.forgetting import is_forgotten
from bulksend.journal.reading import ledger_of
from bulksend.journal.rows import halt_to_text
from bulksend.ledger import Ledger
from bulksend.model import CampaignState, EntryReport, EntryState, Halt, Settlement, SettlementVerdict

__all__ = ["PENDING_AGAIN", "move", "reopen", "settle_once", "settle_standing", "stands"]

PENDING_AGAIN = (SettlementVerdict.RESEND, SettlementVerdict.RETURNED)


def settle_once(db: Database, settlement: Settlement) -> bool:
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
        case SettlementVerdict.REFUSED:
            closed_by = {SettlementVerdict.REFUSED}
    there = (settlement.attempt_id, settlement.index)
    decided = db.execute("SELECT verdict FROM settlement WHERE attempt_id = ? AND place = ?", there).fetchall()
    if any(SettlementVerdict(verdict) in closed_by for (verdict,) in decided):
        return False
    db.execute(
        "INSERT INTO settlement (attempt_id, place, verdict, evidence, at) VALUES (?, ?, ?, ?, ?)",
        (*there, settlement.verdict.value, settlement.evidence, settlement.at),
    )
    return True


def settle_standing(
    db: Database, campaign_id: str, chunk: int, settlements: Sequence[Settlement], living: Living
) -> list[Settlement]:
    """What whoever sends a chunk decides of it; returns what took effect. An answer may have come late, since."""
    states = ledger_of(db, campaign_id, chunk, living).states
    taken = []
    for one in settlements:
        before = EntryState.DEAD if one.verdict is SettlementVerdict.RETURNED else EntryState.IN_DOUBT
        if states[one.index] == before and settle_once(db, one):
            taken.append(one)
    if taken:
        db.execute("UPDATE chunk SET done = FALSE WHERE campaign_id = ? AND number = ?", (campaign_id, chunk))
    return taken


def move(
    db: Database, campaign_id: str, state: CampaignState, halt: Halt | None, only_from: Collection[CampaignState]
) -> bool:
    """A campaign into another state, if it may go there; whether it did.

    What is cancelled stays so, and what has an open chunk is not finished. `only_from`: it must be in one of these.
    """
    allowed = [one.value for one in only_from or CampaignState if one is not CampaignState.CANCELLED]
    words = f"UPDATE campaign SET state = ?, halt = ? WHERE id = ? AND state IN ({', '.join('?' * len(allowed))})"  # noqa: S608  marks alone
    if state is CampaignState.FINISHED:
        words += " AND NOT EXISTS (SELECT 1 FROM chunk WHERE campaign_id = campaign.id AND NOT done)"
    text = None if halt is None else halt_to_text(halt)
    return bool(db.execute(words, (state.value, text, campaign_id, *allowed)).rowcount)


def stands(ledger: Ledger, report: EntryReport) -> bool:
    """Whether an entry is still what it was when somebody read the report and made up his mind."""
    return ledger.states[report.index] == report.state


def reopen(db: Database, campaign_id: str, chunks: Iterable[int]) -> None:
    """Chunks that have something to send again; a campaign that was finished is so no more."""
    numbers = [(campaign_id, number) for number in chunks]
    if not numbers:
        return
    db.executemany("UPDATE chunk SET done = FALSE WHERE campaign_id = ? AND number = ?", numbers)
    db.execute("UPDATE campaign SET state = 'planned' WHERE id = ? AND state = 'finished'", (campaign_id,))
