"""What people, events and policies decide of entries."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import assert_never

from bulksend.journal.begun import ARMED
from bulksend.journal.database import Database, Living
from bulksend.journal.forgetting import is_forgotten
from bulksend.journal.reading import ledger_of
from bulksend.journal.rows import clean, halt_to_text
from bulksend.ledger import Ledger
from bulksend.model import CampaignState, EntryReport, EntryState, Halt, Settlement, SettlementVerdict

__all__ = ["PENDING_AGAIN", "move", "reopen", "settle_once", "settle_standing", "settled_places", "stands"]

PENDING_AGAIN = (SettlementVerdict.RESEND, SettlementVerdict.RETURNED)


def settle_once(db: Database, settlement: Settlement) -> bool:
    """Record a decision. False when there is one already that stands against it.

    Once a doubt is decided, only an event decides it again; nothing is decided twice running the same way. Whom it
    concerns may have been forgotten: then there is nothing left to send again, whoever asks for it. That the entry is
    in a state that can be left so is for the caller to see, in the same transaction.
    """
    if settlement.verdict in PENDING_AGAIN and is_forgotten(db, settlement.attempt_id, settlement.index):
        return False
    match settlement.verdict:
        case SettlementVerdict.ACCEPTED:
            closed_by = {SettlementVerdict.ACCEPTED}
        case SettlementVerdict.RESEND | SettlementVerdict.DROP:
            closed_by = set(SettlementVerdict) - {SettlementVerdict.RETURNED}
        case SettlementVerdict.RETURNED:
            closed_by = {SettlementVerdict.ACCEPTED, SettlementVerdict.RETURNED}
        case SettlementVerdict.REFUSED:
            closed_by = {SettlementVerdict.REFUSED}
    there = (settlement.attempt_id, settlement.index)
    last = db.execute(
        "SELECT verdict FROM settlement WHERE attempt_id = ? AND place = ? ORDER BY id DESC LIMIT 1", there
    ).fetchone()
    if last is not None and SettlementVerdict(last[0]) in closed_by:
        return False
    db.execute(
        "INSERT INTO settlement (attempt_id, place, verdict, evidence, at, message_id) VALUES (?, ?, ?, ?, ?, ?)",
        (*there, settlement.verdict.value, clean(settlement.evidence), settlement.at, clean(settlement.message_id)),
    )
    return True


def settled_places(db: Database, campaign_id: str, number: int) -> set[int]:
    """Places of a chunk that are not to be sent, whatever the sending process remembers: an event or a person said so.

    What was accepted, or refused by an event, and has not been returned since.
    """
    found: set[int] = set()
    for place, verdict in db.execute(
        "SELECT s.place, s.verdict FROM settlement s JOIN attempt a ON a.id = s.attempt_id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY s.id",
        (campaign_id, number),
    ):
        match SettlementVerdict(verdict):
            case SettlementVerdict.ACCEPTED | SettlementVerdict.REFUSED:
                found.add(place)
            case SettlementVerdict.RESEND | SettlementVerdict.RETURNED:
                found.discard(place)
            case SettlementVerdict.DROP:
                pass
            case never:
                assert_never(never)
    return found


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


def move(  # noqa: PLR0917  what there is to know of it
    db: Database,
    campaign_id: str,
    state: CampaignState,
    halt: Halt | None,
    only_from: Collection[CampaignState],
    now: float,
) -> bool:
    """A campaign into another state, if it may go there; whether it did.

    What is cancelled stays so, and what has an open chunk is not finished. `only_from`: it must be in one of these.
    Where it begins to be sent, its breaker is armed at `now`, unless it was begun before and never stopped.
    """
    allowed = [one.value for one in only_from or CampaignState if one is not CampaignState.CANCELLED]
    armed, armed_at = (f", {ARMED}", (now,)) if state is CampaignState.SENDING else ("", ())
    marks = ", ".join("?" * len(allowed))
    words = f"UPDATE campaign SET state = ?, halt = ?{armed} WHERE id = ? AND state IN ({marks})"  # noqa: S608  our own words
    if state is CampaignState.FINISHED:
        words += " AND NOT EXISTS (SELECT 1 FROM chunk WHERE campaign_id = campaign.id AND NOT done)"
    text = None if halt is None else halt_to_text(halt)
    return bool(db.execute(words, (state.value, text, *armed_at, campaign_id, *allowed)).rowcount)


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
