"""How a batch of events is recorded: what is new in it, and what that changes. One text of SQL for both stores."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar

from bulksend.event import BounceKind, EventType, MailEvent, Suppression, SuppressionReason
from bulksend.journal.befell import REFUSED, UNSUBSCRIBED, Mail, Tallies, suppression_reason
from bulksend.journal.database import Database
from bulksend.journal.events import EventRecords, Recorded

__all__ = ["MAX_ADDRESS", "MAX_WORD", "SUPPRESSED_AT_ONCE", "Into", "Recording", "cleaned", "joined", "listed"]

MAX_DETAIL = 1000
"""Characters of a text; of other words …"""
MAX_WORD = 200
MAX_ADDRESS = 320
"""… of an address (RFC 5321 has 64 + 1 + 255) …"""
MAX_RECIPIENTS = 100
"""… and addresses of an event: a mail has 50 at most."""
MAX_NUMBER = 2**62
MAX_TIME = 1e11
SUPPRESSED_AT_ONCE = 1000
"""Suppressions to a transaction."""


@dataclass(frozen=True, slots=True)
class Into:
    """An INSERT of many rows; each column with its type in PostgreSQL."""

    table: str
    columns: tuple[tuple[str, str], ...]
    tail: str = ""


MAIL = Into(
    "mail",
    (
        ("id", "bigint"),
        ("campaign_id", "text"),
        ("row", "bigint"),
        ("message_id", "text"),
        ("sent_at", "double precision"),
        ("befell", "integer"),
    ),
)
EVENT = Into(
    "event",
    (
        ("mail", "bigint"),
        ("key", "bytea"),
        ("type", "text"),
        ("at", "double precision"),
        ("recipients", "text"),
        ("bounce", "text"),
        ("subtype", "text"),
        ("detail", "text"),
    ),
)
REFUSAL = Into("refusal", (("campaign_id", "text"), ("mail", "bigint")), "ON CONFLICT DO NOTHING")
UNTAGGED = Into("untagged", (("key", "bytea"), ("type", "text")), "ON CONFLICT DO NOTHING")
SENT = Into(
    "sent",
    (
        ("campaign_id", "text"),
        ("second", "bigint"),
        ("delivered", "bigint"),
        ("bounced", "bigint"),
        ("unsent", "bigint"),
        ("complained", "bigint"),
    ),
    "ON CONFLICT (campaign_id, second) DO UPDATE SET delivered = sent.delivered + excluded.delivered, "
    "bounced = sent.bounced + excluded.bounced, unsent = sent.unsent + excluded.unsent, "
    "complained = sent.complained + excluded.complained",
)
BECAME = Into(
    "became",
    (("campaign_id", "text"), ("what", "text"), ("rows", "bigint")),
    "ON CONFLICT (campaign_id, what) DO UPDATE SET rows = became.rows + excluded.rows",
)
UNSUBSCRIPTION = Into(
    "unsubscription",
    (("campaign_id", "text"), ("row", "bigint"), ("at", "double precision")),
    "ON CONFLICT DO NOTHING",
)
WEIGHTIEST_FIRST = (
    SuppressionReason.UNSUBSCRIBE,
    SuppressionReason.COMPLAINT,
    SuppressionReason.MANUAL,
    SuppressionReason.BOUNCE,
)
"""Of several reasons the weightiest is kept: a bounce may pass, and what a person has asked for stays."""


def _place(table: str) -> str:
    """In that order."""
    places = (f"WHEN '{reason}' THEN {place}" for place, reason in enumerate(WEIGHTIEST_FIRST))
    return f"CASE {table}.reason {' '.join(places)} END"


SUPPRESSION = Into(
    "suppression",
    (("address", "text"), ("reason", "text"), ("source", "text"), ("at", "double precision")),
    "ON CONFLICT (address) DO NOTHING",
)
WEIGHTIER = replace(
    SUPPRESSION,
    tail="ON CONFLICT (address) DO UPDATE SET reason = excluded.reason, source = excluded.source, at = excluded.at "
    f"WHERE {_place('excluded')} < {_place('suppression')}",
)


class Recording(EventRecords):
    """What both stores do alike when something is written."""

    listed_numbers: ClassVar[str]
    """The store's words for the numbers in a JSON list."""

    @abstractmethod
    def _deciding(self) -> AbstractContextManager[Database]:
        """A transaction, durable at the end of the block."""

    @abstractmethod
    def _insert(self, db: Database, into: Into, rows: Sequence[tuple[object, ...]]) -> int:
        """Insert them by few statements; returns how many."""

    @abstractmethod
    def _mail_ids(self, db: Database, count: int) -> Sequence[int]:
        """So many ids that no mail has, nor ever will by anybody else."""

    @abstractmethod
    def _mails_of(
        self, db: Database, campaign_id: str, rows: Collection[int]
    ) -> Iterable[tuple[int, int, str, float, int]]:
        """id, row, message_id, sent_at, befell of all mails of these rows."""

    @abstractmethod
    def _update_mails(self, db: Database, mails: Sequence[tuple[int, float, int]]) -> None:
        """id, sent_at, befell."""

    @abstractmethod
    def _known_events(self, db: Database, events: Sequence[tuple[int, bytes]]) -> set[tuple[int, bytes]]:
        """Which of these (mail, key) there are."""

    @abstractmethod
    def _suppress_alone(self, db: Database) -> None:
        """Until the transaction ends, nobody else suppresses anybody."""

    def record(self, events: Sequence[MailEvent], now: float) -> Recorded:
        """See EventRecords."""
        batch = _Batch(events, now)
        if batch.is_empty:
            return Recorded({}, {}, frozenset(), 0, 0)
        with self._deciding() as db:
            for campaign_id in sorted(batch.tagged):
                self._take_up(db, campaign_id, batch)
            self._keep(db, batch)
            for campaign_id in sorted(batch.news):
                db.execute(
                    "UPDATE heard SET last_at = ? WHERE campaign_id = ? AND (last_at IS NULL OR last_at < ?)",
                    (now, campaign_id, now),
                )
            for kind, keys in sorted(batch.untagged.items()):
                batch.types[kind] += self._insert(db, UNTAGGED, [(key, kind.value) for key in sorted(keys)])
            suppressed = 0
            if batch.suppressions:
                suppressed = self._suppress(db, batch.suppressions)
        return Recorded(
            {kind: count for kind, count in batch.types.items() if count},
            batch.bounces,
            frozenset(batch.news),
            batch.tallies.copies,
            suppressed,
        )

    def suppress(self, suppressions: Iterable[Suppression]) -> int:
        """See EventRecords."""
        left = iter(suppressions)
        new = 0
        while some := list(islice(left, SUPPRESSED_AT_ONCE)):
            with self._deciding() as db:
                new += self._suppress(db, some)
        return new

    def unsubscribe(self, campaign_id: str, row: int, suppression: Suppression) -> int:
        """See EventRecords."""
        with self._deciding() as db:
            self._alone(db, campaign_id)
            new = self._insert(db, UNSUBSCRIPTION, [(campaign_id, row, suppression.at)])
            mails = self._mails_of(db, campaign_id, [row]) if new else ()
            if new and not any(befell & UNSUBSCRIBED for *_, befell in mails):
                self._insert(db, BECAME, [(campaign_id, EventType.SUBSCRIPTION.value, 1)])
            return self._suppress(db, [suppression])

    def _unsubscribed(self, db: Database, campaign_id: str, rows: Collection[int]) -> dict[int, float]:
        """See EventRecords."""
        found = db.execute(
            f"SELECT row, at FROM unsubscription WHERE campaign_id = ? AND row IN ({self.listed_numbers})",  # noqa: S608
            (campaign_id, listed(rows)),
        )
        return dict(found.fetchall())

    def _suppress(self, db: Database, suppressions: Iterable[Suppression]) -> int:
        """Returns how many are new. Of those known the number stays: there is nobody new not to write to."""
        self._suppress_alone(db)
        rows: dict[str, tuple[object, ...]] = {}
        for suppression in sorted(suppressions, key=lambda one: WEIGHTIEST_FIRST.index(one.reason)):
            rows.setdefault(_address(suppression.address), _suppression_row(suppression))
        new = self._insert(db, SUPPRESSION, list(rows.values()))
        if new < len(rows):
            self._insert(db, WEIGHTIER, list(rows.values()))
        return new

    def _alone(self, db: Database, campaign_id: str) -> bool:
        """Nobody else records anything of the campaign until the transaction ends. Returns whether it was pruned."""
        (pruned,) = db.execute(
            "INSERT INTO heard (campaign_id) VALUES (?) "
            "ON CONFLICT (campaign_id) DO UPDATE SET last_at = heard.last_at RETURNING pruned",
            (campaign_id,),
        ).fetchall()[0]
        return bool(pruned)

    def _take_up(self, db: Database, campaign_id: str, batch: _Batch) -> None:
        if self._alone(db, campaign_id):
            batch.pruned.add(campaign_id)
        if unsubscribing := batch.unsubscribing(campaign_id):
            batch.left.update((campaign_id, row) for row in self._unsubscribed(db, campaign_id, unsubscribing))
        rows = batch.rows_of(campaign_id)
        for mail_id, row, message_id, sent_at, befell in self._mails_of(db, campaign_id, rows):
            known = Mail(mail_id, campaign_id, row, message_id, sent_at, befell, (sent_at, befell))
            batch.mails[campaign_id, row][message_id] = known

    def _keep(self, db: Database, batch: _Batch) -> None:
        heard = batch.hear()
        mails = {id(mail): mail for mail, _ in heard.values()}.values()
        added = [mail for mail in mails if mail.known is None]
        if added:
            for mail, number in zip(added, self._mail_ids(db, len(added)), strict=True):
                mail.id = number
            self._insert(db, MAIL, [(m.id, m.campaign_id, m.row, m.message_id, m.sent_at, m.befell) for m in added])
        changed = [(m.id, m.sent_at, m.befell) for m in mails if m.known is not None and m.is_changed]
        if changed:
            self._update_mails(db, changed)
        asked = [(mail.id, event.key) for mail, event in heard.values() if mail.known is not None]
        known = self._known_events(db, asked) if asked else set()
        fresh = [both for both in heard.values() if (both[0].id, both[1].key) not in known]
        fresh.sort(key=lambda both: (both[0].id, both[1].key))
        if fresh:
            self._insert(db, EVENT, [batch.row_of(mail, event) for mail, event in fresh])
        refused = {(mail.campaign_id, mail.id) for mail, event in fresh if event.type in REFUSED}
        if refused:
            self._insert(db, REFUSAL, sorted(refused))
        batch.count(fresh)
        if sent := [(*key, *counts) for key, counts in batch.tallies.sent.items() if any(counts)]:
            self._insert(db, SENT, sorted(sent))
        if became := [(*key, rows) for key, rows in batch.tallies.became.items()]:
            self._insert(db, BECAME, sorted(became))


class _Batch:
    """Events to be recorded, and what comes of them."""

    def __init__(self, events: Sequence[MailEvent], now: float) -> None:
        self.tagged: defaultdict[str, list[MailEvent]] = defaultdict(list)
        self.untagged: defaultdict[EventType, set[bytes]] = defaultdict(set)
        self.mails: defaultdict[tuple[str, int], dict[str, Mail]] = defaultdict(dict)
        self.pruned: set[str] = set()
        self.left: set[tuple[str, int]] = set()
        """Campaign and row of those who unsubscribed by our own link, and are told of again."""
        self.tallies = Tallies()
        self.types: Counter[EventType] = Counter()
        self.bounces: Counter[BounceKind] = Counter()
        self.news: set[str] = set()
        self.suppressions: list[Suppression] = []
        for event in events:
            if event.published and _is_tagged(event):
                self.tagged[event.campaign_id].append(_bounded(event, now))
            else:
                self.untagged[event.type].add(event.key)

    @property
    def is_empty(self) -> bool:
        return not self.tagged and not self.untagged

    def rows_of(self, campaign_id: str) -> list[int]:
        return sorted({event.row for event in self.tagged[campaign_id] if event.row is not None})

    def unsubscribing(self, campaign_id: str) -> set[int]:
        """Rows of which SES tells that somebody unsubscribed."""
        events = self.tagged[campaign_id]
        return {e.row for e in events if e.row is not None and e.type is EventType.SUBSCRIPTION}

    def hear(self) -> dict[tuple[str, int, str, bytes], tuple[Mail, MailEvent]]:
        """Each event once, with its mail, which has heard it."""
        heard: dict[tuple[str, int, str, bytes], tuple[Mail, MailEvent]] = {}
        for campaign_id, events in self.tagged.items():
            for event in events:
                assert event.row is not None
                of_row = self.mails[campaign_id, event.row]
                mail = of_row.get(event.message_id)
                if mail is None:
                    mail = of_row[event.message_id] = Mail(0, campaign_id, event.row, event.message_id, event.sent_at)
                mail.hear(event)
                heard.setdefault((campaign_id, event.row, event.message_id, event.key), (mail, event))
        return heard

    def row_of(self, mail: Mail, event: MailEvent) -> tuple[object, ...]:
        """In the order of EVENT."""
        blank = mail.campaign_id in self.pruned
        return (
            mail.id,
            event.key,
            event.type.value,
            event.at,
            "" if blank else joined(event.recipients),
            None if event.bounce is None else event.bounce.value,
            event.subtype,
            "" if blank else event.detail,
        )

    def count(self, fresh: Sequence[tuple[Mail, MailEvent]]) -> None:
        """What is new, and how the numbers change."""
        for place, mails in self.mails.items():
            self.tallies.take_up(mails.values(), counted=UNSUBSCRIBED if place in self.left else 0)
        for mail, event in fresh:
            self.types[event.type] += 1
            if event.bounce is not None:
                self.bounces[event.bounce] += 1
            self.news.add(mail.campaign_id)
            reason = suppression_reason(event)
            if reason is not None:
                self.suppressions += [
                    Suppression(address, reason, mail.message_id, event.at) for address in event.recipients
                ]


def joined(recipients: Sequence[str]) -> str:
    """As the table event has them."""
    return "\n".join(("", *recipients, "")) if recipients else ""


def listed(values: Iterable[object]) -> str:
    """As `listed_numbers` and `listed_texts` read them."""
    return json.dumps(list(values))


def cleaned(text: str, at_most: int) -> str:
    """What either store takes: so many characters, no NUL, nothing that is not UTF-8."""
    text = text[:at_most]
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _is_tagged(event: MailEvent) -> bool:
    return (
        0 < len(event.campaign_id) <= MAX_WORD
        and event.campaign_id == cleaned(event.campaign_id, MAX_WORD)
        and event.row is not None
        and 0 <= event.row < MAX_NUMBER
    )


def _bounded(event: MailEvent, now: float) -> MailEvent:
    return replace(
        event,
        message_id=cleaned(event.message_id, MAX_WORD),
        at=_time(event.at, now),
        sent_at=_time(event.sent_at, now),
        recipients=tuple(
            address for address in (_address(recipient) for recipient in event.recipients[:MAX_RECIPIENTS]) if address
        ),
        subtype=cleaned(event.subtype, MAX_WORD),
        detail=cleaned(event.detail, MAX_DETAIL),
    )


def _address(text: str) -> str:
    return cleaned(text.replace("\n", ""), MAX_ADDRESS)


def _time(at: float, now: float) -> float:
    return at if math.isfinite(at) and abs(at) < MAX_TIME else now


def _suppression_row(suppression: Suppression) -> tuple[object, ...]:
    """In the order of SUPPRESSION."""
    return (
        _address(suppression.address),
        suppression.reason.value,
        cleaned(suppression.source, MAX_DETAIL),
        suppression.at,
    )
