"""A database that failed over, or was restored from a backup, may not know of all that was sent."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg

from bulksend.journal.database import Living
from bulksend.journal.postgres_server import IDS_IN_BLOCK, Identity, PgDatabase, identity_of
from bulksend.journal.reading import ledger_of
from bulksend.journal.rows import halt_to_text, json_text, places_of
from bulksend.model import EntryState, Halt, HaltScope, Verdict

__all__ = ["check_identity"]

STATUS = "DATABASE_CHANGED"
UNKNOWN = Identity("", "")
LOST_BLOCKS = 1_000_000
"""More blocks of attempt ids than can have been given out since what the database remembers."""
NOT_TOLD = (
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.FeatureNotSupported,
)
"""Some hosted databases do not tell who they are."""


def check_identity(db: PgDatabase) -> None:
    """Compare the database with the one that was seen last; where it is another, everything halts.

    What its journal calls pending in chunks that were not done may have been sent since: it is in doubt from now on.

    Raises:
        psycopg.Error: the database cannot be read or written.
    """
    try:
        found = identity_of(db.connection)
    except NOT_TOLD:
        found = UNKNOWN
    with db.connection.transaction():
        db.execute("SET LOCAL synchronous_commit = on")
        row = db.execute("SELECT system_identifier, timeline, seen_at FROM identity FOR UPDATE").fetchone()
        if row is None:
            db.execute(
                "INSERT INTO identity (system_identifier, timeline, seen_at) VALUES (?, ?, store_now()) "
                "ON CONFLICT DO NOTHING",
                (found.system_identifier, found.timeline),
            )
            return
        if UNKNOWN not in (found, known := Identity(row[0], row[1])) and known != found:
            _halt_everything(db, row[2])
        db.execute(
            "UPDATE identity SET system_identifier = ?, timeline = ?, seen_at = store_now()",
            (found.system_identifier, found.timeline),
        )


def _halt_everything(db: PgDatabase, seen_at: float) -> None:
    since = datetime.fromtimestamp(seen_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    reason = f"the database failed over or was restored: what was sent after {since} may be missing in its journal"
    # Workers may still await answers to attempts that the database has forgotten: no other attempt may have their ids.
    db.execute("SELECT setval('attempt_block', nextval('attempt_block') + ?)", (LOST_BLOCKS,))
    (now,) = db.execute("SELECT store_now()").fetchone()
    for campaign_id, name in db.execute(
        "SELECT id, name FROM campaign WHERE state NOT IN ('finished', 'cancelled') ORDER BY id FOR UPDATE"
    ).fetchall():
        halt = Halt(
            reason,
            "What it may have sent since then is in doubt. See what SES's own records and events say of that time, "
            f"decide with bulksend resolve {name}, then go on with bulksend resume {name}.",
            HaltScope.ACCOUNT,
        )
        db.execute("UPDATE campaign SET state = 'halted', halt = ? WHERE id = ?", (halt_to_text(halt), campaign_id))
        # Also where nothing was begun: that, too, is only as far as this database remembers.
        _doubt_what_is_open(db, campaign_id, now, reason)


def _doubt_what_is_open(db: PgDatabase, campaign_id: str, now: float, reason: str) -> None:
    for (number,) in db.execute(
        "SELECT number FROM chunk WHERE campaign_id = ? AND NOT done ORDER BY number FOR UPDATE", (campaign_id,)
    ).fetchall():
        (epoch,) = db.execute(
            "UPDATE chunk SET epoch = epoch + 1, holder = NULL, leased_until = NULL, decisions = decisions + 1 "
            "WHERE campaign_id = ? AND number = ? RETURNING epoch",
            (campaign_id, number),
        ).fetchone()
        ledger = ledger_of(db, campaign_id, number, Living("FALSE"))
        places = [i for i, state in enumerate(ledger.states) if state == EntryState.PENDING]
        if not places:
            continue
        first, count, listed = places_of(places)
        (attempt_id,) = db.execute(
            "INSERT INTO attempt (id, campaign_id, chunk, epoch, first, count, indices, recipients, holder, at) "
            "VALUES (nextval('attempt_block') * ?, ?, ?, ?, ?, ?, ?, 0, 'nobody', ?) RETURNING id",
            (IDS_IN_BLOCK, campaign_id, number, epoch, first, count, None if listed is None else list(listed), now),
        ).fetchone()
        doubts = [(place, Verdict.IN_DOUBT.value, STATUS, reason, None) for place in range(count)]
        db.execute(
            "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) VALUES (?, ?, 0, '{}', ?)",
            (attempt_id, now, json_text(doubts)),
        )
