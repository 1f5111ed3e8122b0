"""What is asked of the store of events, and what is removed from it. One text of SQL for both stores."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason
from bulksend.journal.befell import COPIES, MAILS, REFUSED, REFUSED_BITS
from bulksend.journal.database import Database
from bulksend.journal.events import EventTally, Evidence, Fate, Rates
from bulksend.journal.recording import MAX_ADDRESS, MAX_WORD, SUPPRESSED_AT_ONCE, Recording, cleaned, joined, listed

__all__ = ["EventTables"]

TOLD_AT_ONCE = 10_000
"""Suppressions that are told by one answer."""
PRUNED_AT_ONCE = 5_000
"""Rows whose events are blanked by one transaction."""
EVENT_COLUMNS = (
    "m.campaign_id, m.row, m.message_id, m.sent_at, e.key, e.type, e.at, e.recipients, e.bounce, e.subtype, e.detail"
)
IN_ORDER = "ORDER BY e.at, e.key"
WORST_FIRST = (BounceKind.PERMANENT, BounceKind.UNDETERMINED, BounceKind.TRANSIENT)


class EventTables(Recording):
    """What both stores do alike."""

    listed_texts: ClassVar[str]
    """The store's words for the texts in a JSON list."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Database]:
        """One consistent view for the length of the block; of nothing where there is no store yet."""

    def evidence(self, campaign_id: str, rows: Collection[int]) -> list[Evidence]:
        """See EventRecords."""
        return self._evidence(
            f"WHERE m.campaign_id = ? AND m.row IN ({self.listed_numbers})", (campaign_id, listed(rows))
        )

    def pairs(self, campaign_id: str, at_most: int) -> list[Evidence]:
        """See EventRecords."""
        return self._evidence("WHERE m.campaign_id = ? ORDER BY m.row, m.message_id LIMIT ?", (campaign_id, at_most))

    def refused(self, campaign_id: str, after: int, at_most: int) -> list[tuple[int, int]]:
        """See EventRecords."""
        with self._reading() as db:
            return [
                (number, row)
                for number, row in db.execute(
                    "SELECT r.mail, m.row FROM refusal r JOIN mail m ON m.id = r.mail "
                    "WHERE r.campaign_id = ? AND r.mail > ? ORDER BY r.mail LIMIT ?",
                    (campaign_id, after, at_most),
                )
            ]

    def tally(self, campaign_id: str) -> EventTally:
        """See EventRecords."""
        with self._reading() as db:
            rows = db.execute("SELECT what, rows FROM became WHERE campaign_id = ?", (campaign_id,)).fetchall()
        counts = {str(what): int(count) for what, count in rows}
        return EventTally(
            counts.get(MAILS, 0),
            counts.get(COPIES, 0),
            {kind: counts[kind.value] for kind in EventType if kind.value in counts},
            {kind: counts[kind.value] for kind in BounceKind if kind.value in counts},
        )

    def fates(self, campaign_id: str, rows: Collection[int]) -> dict[int, Fate]:
        """See EventRecords."""
        events = defaultdict(list)
        with self._reading() as db:
            for found in self._events(
                db, f"WHERE m.campaign_id = ? AND m.row IN ({self.listed_numbers})", (campaign_id, listed(rows))
            ):
                events[found.row].append(found)
            left = self._unsubscribed(db, campaign_id, rows)
        fates = {row: _fate(row, _of_latest(all_of_it)) for row, all_of_it in events.items() if row is not None}
        for row, at in left.items():
            fate = fates.get(row, Fate(row))
            told = fate.unsubscribed_at
            fates[row] = replace(fate, unsubscribed_at=at if told is None else min(at, told))
        return fates

    def rates(self, campaign_id: str, sent_since: float) -> Rates:
        """See EventRecords."""
        second = int(sent_since // 1)
        refused = 0
        with self._reading() as db:
            delivered, bounced, unsent, complained = db.execute(
                "SELECT coalesce(sum(delivered), 0), coalesce(sum(bounced), 0), coalesce(sum(unsent), 0), "
                "coalesce(sum(complained), 0) FROM sent WHERE campaign_id = ? AND second >= ?",
                (campaign_id, second),
            ).fetchone()
            if unsent:
                (refused,) = db.execute(
                    "SELECT count(*) FROM refusal r JOIN mail m ON m.id = r.mail "
                    "WHERE r.campaign_id = ? AND m.sent_at >= ?",
                    (campaign_id, second),
                ).fetchone()
            last = db.execute(
                "SELECT second FROM sent WHERE campaign_id = ? AND delivered + bounced + unsent > 0 "
                "ORDER BY second DESC LIMIT 1",
                (campaign_id,),
            ).fetchone()
            row = db.execute("SELECT last_at FROM heard WHERE campaign_id = ?", (campaign_id,)).fetchone()
        return Rates(
            int(delivered),
            int(bounced),
            int(complained),
            None if row is None else row[0],
            int(unsent),
            min(int(refused), int(unsent)),
            None if last is None else int(last[0]),
        )

    def heard_since(self, recorded_since: float) -> list[str]:
        """See EventRecords."""
        with self._reading() as db:
            rows = db.execute(
                "SELECT campaign_id FROM heard WHERE last_at >= ? ORDER BY campaign_id", (recorded_since,)
            )
            return [str(campaign_id) for (campaign_id,) in rows]

    def of_row(self, campaign_id: str, row: int) -> list[MailEvent]:
        """See EventRecords."""
        with self._reading() as db:
            return self._events(db, "WHERE m.campaign_id = ? AND m.row = ?", (campaign_id, row))

    def of_message(self, message_id: str) -> list[MailEvent]:
        """See EventRecords."""
        with self._reading() as db:
            return self._events(db, "WHERE m.message_id = ?", (cleaned(message_id, MAX_WORD),))

    def of_address(self, address: str) -> list[MailEvent]:
        """See EventRecords."""
        with self._reading() as db:
            return self._events(
                db, "WHERE e.recipients LIKE ? ESCAPE '\\'", (_like(joined([cleaned(address, MAX_ADDRESS)])),)
            )

    # Whom not to write to ---------------------------------------------------------------------------------------------

    def unsuppress(self, addresses: Iterable[str]) -> int:
        """See EventRecords."""
        left = iter(addresses)
        removed = 0
        while some := list(islice(left, SUPPRESSED_AT_ONCE)):
            found = self.suppressed(some)
            if found:
                with self._deciding() as db:
                    self._suppress_alone(db)  # whoever suppresses takes the same rows in an order of his own
                    removed += db.execute(
                        f"DELETE FROM suppression WHERE address IN ({self.listed_texts})",  # noqa: S608  our own words
                        (listed(found),),
                    ).rowcount
        return removed

    def suppressed(self, addresses: Collection[str]) -> dict[str, SuppressionReason]:
        """See EventRecords."""
        with self._reading() as db:
            rows = db.execute(
                f"SELECT address, reason FROM suppression WHERE address IN ({self.listed_texts})",  # noqa: S608
                (listed(cleaned(address, MAX_ADDRESS) for address in addresses),),
            ).fetchall()
        return {address: SuppressionReason(reason) for address, reason in rows}

    def suppressions(self) -> Iterator[Suppression]:
        """See EventRecords."""
        after = ""
        while True:
            with self._reading() as db:
                rows = db.execute(
                    "SELECT address, reason, source, at FROM suppression WHERE address > ? ORDER BY address LIMIT ?",
                    (after, SUPPRESSED_AT_ONCE),
                ).fetchall()
            for address, reason, source, at in rows:
                after = address
                yield Suppression(address, SuppressionReason(reason), source, at)
            if not rows:
                return

    def suppressed_after(self, number: int) -> tuple[int, list[str]]:
        """See EventRecords."""
        with self._reading() as db:
            if number < 0:
                (last,) = db.execute("SELECT coalesce(max(number), 0) FROM suppression").fetchone()
                return last, []
            rows = db.execute(
                "SELECT number, address FROM suppression WHERE number > ? ORDER BY number LIMIT ?",
                (number, TOLD_AT_ONCE),
            ).fetchall()
        return (rows[-1][0] if rows else number), [address for _, address in rows]

    def unsubscribed(self, campaign_id: str, rows: Collection[int]) -> dict[int, float]:
        """See EventRecords."""
        with self._reading() as db:
            return self._unsubscribed(db, campaign_id, rows)

    # What is removed --------------------------------------------------------------------------------------------------

    def forget(self, address: str) -> int:
        """See EventRecords."""
        address = cleaned(address, MAX_ADDRESS)
        with self._reading() as db:
            found = db.execute(
                "SELECT mail, key, recipients FROM event WHERE recipients LIKE ? ESCAPE '\\' "
                "OR (detail <> '' AND lower(detail) LIKE ? ESCAPE '\\')",
                (_like(joined([address])), _like(address)),
            ).fetchall()
        if not found:
            return 0
        left = [
            (joined([one for one in recipients.split("\n") if one not in ("", address)]), mail, key)
            for mail, key, recipients in found
        ]
        with self._deciding() as db:
            db.executemany("UPDATE event SET recipients = ?, detail = '' WHERE mail = ? AND key = ?", left)
        return len(found)

    def prune(self, campaign_id: str) -> None:
        """See EventRecords."""
        with self._deciding() as db:
            db.execute(
                "INSERT INTO heard (campaign_id, pruned) VALUES (?, TRUE) "
                "ON CONFLICT (campaign_id) DO UPDATE SET pruned = TRUE",
                (campaign_id,),
            )
        row: int | None = -1
        while row is not None:
            with self._deciding() as db:
                last = db.execute(
                    "SELECT max(row) FROM (SELECT row FROM mail WHERE campaign_id = ? AND row > ? ORDER BY row LIMIT ?)"
                    " AS next_rows",
                    (campaign_id, row, PRUNED_AT_ONCE),
                ).fetchone()[0]
                if last is not None:
                    db.execute(
                        "UPDATE event SET recipients = '', detail = '' WHERE mail IN "
                        "(SELECT id FROM mail WHERE campaign_id = ? AND row > ? AND row <= ?) "
                        "AND (recipients <> '' OR detail <> '')",
                        (campaign_id, row, last),
                    )
            row = last

    # Rows -------------------------------------------------------------------------------------------------------------

    def _events(self, db: Database, where: str, parameters: tuple[object, ...]) -> list[MailEvent]:
        rows = db.execute(
            f"SELECT {EVENT_COLUMNS} FROM mail m JOIN event e ON e.mail = m.id {where} {IN_ORDER}",  # noqa: S608
            parameters,
        )
        return [_event(row) for row in rows]

    def _evidence(self, where: str, parameters: tuple[object, ...]) -> list[Evidence]:
        refused = {}
        with self._reading() as db:
            mails = db.execute(
                f"SELECT m.id, m.row, m.message_id, m.sent_at, m.befell FROM mail m {where}",  # noqa: S608
                parameters,
            ).fetchall()
            asked = [mail for mail, *_, befell in mails if befell & REFUSED_BITS]
            if asked:
                for mail, kind, detail in db.execute(
                    "SELECT mail, type, detail FROM event "  # noqa: S608  our own words
                    f"WHERE type IN ('reject', 'rendering_failure') AND mail IN ({self.listed_numbers}) "
                    "ORDER BY at DESC, key DESC",
                    (listed(asked),),
                ):
                    refused[mail] = (EventType(kind), detail)
        return [
            Evidence(row, message_id, sent_at, *refused.get(mail, (None, "")))
            for mail, row, message_id, sent_at, _ in mails
        ]


def _event(row: Any) -> MailEvent:
    campaign_id, place, message_id, sent_at, key, kind, at, recipients, bounce, subtype, detail = row
    return MailEvent(
        bytes(key),
        EventType(kind),
        message_id,
        at,
        sent_at,
        campaign_id,
        place,
        tuple(recipients.strip("\n").split("\n")) if recipients else (),
        None if bounce is None else BounceKind(bounce),
        subtype,
        detail,
    )


def _of_latest(events: list[MailEvent]) -> list[MailEvent]:
    """Those of the mail that was sent last; one that SES refused counts where there is no other."""
    refused = {event.message_id for event in events if event.type in REFUSED}
    events = [event for event in events if event.message_id not in refused] or events
    latest = max((event.sent_at, event.message_id) for event in events)
    return [event for event in events if (event.sent_at, event.message_id) == latest]


def _fate(row: int, events: list[MailEvent]) -> Fate:
    """Of events in the order in which they happened."""
    first = {event.type: event.at for event in reversed(events)}
    bounces = [event for event in events if event.bounce is not None]
    bounce = min(bounces, key=lambda event: WORST_FIRST.index(event.bounce or BounceKind.TRANSIENT), default=None)
    return Fate(
        row,
        delivered_at=first.get(EventType.DELIVERY),
        bounce=None if bounce is None else bounce.bounce,
        bounce_subtype="" if bounce is None else bounce.subtype,
        diagnostic="" if bounce is None else bounce.detail,
        bounced_at=None if bounce is None else bounce.at,
        complained_at=first.get(EventType.COMPLAINT),
        delayed_at=first.get(EventType.DELIVERY_DELAY),
        rejected_at=first.get(EventType.REJECT),
        rendering_failed_at=first.get(EventType.RENDERING_FAILURE),
        opened_at=first.get(EventType.OPEN),
        clicked_at=first.get(EventType.CLICK),
        unsubscribed_at=first.get(EventType.SUBSCRIPTION),
    )


def _like(text: str) -> str:
    """A pattern for what has the text in it."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
