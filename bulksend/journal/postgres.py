"""The journal on PostgreSQL: many workers, each with chunks on lease and an epoch for each lease."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import psycopg

from bulksend.clock import boot_s
from bulksend.errors import CampaignBusyError
from bulksend.journal.begun import first_held_back
from bulksend.journal.database import Database, Living
from bulksend.journal.deciding import move, settle_standing, settled_places
from bulksend.journal.identity import check_identity
from bulksend.journal.postgres_server import IDS_IN_BLOCK, PgDatabase, PgServer
from bulksend.journal.postgres_writer import Answered, Asked, Grant, Kind, PostgresWriter
from bulksend.journal.reading import Sender, ledger_of
from bulksend.journal.records import Records
from bulksend.journal.rows import json_text, outcome_row, places_of
from bulksend.ledger import Ledger
from bulksend.model import (
    AllAccepted,
    Batch,
    BatchKind,
    CampaignState,
    EntryOutcome,
    EntryState,
    Halt,
    Intent,
    Settlement,
    Withheld,
)
from bulksend.outcome import SIGN_WITHIN_S

__all__ = ["PostgresJournal"]

T = TypeVar("T")

PLANS_LOCK = 0x706C616E
"""Keys of advisory locks: whoever plans shares this one ('plan') …"""
LEASES_LOCK = 0x6C656173
"""… and whoever takes a lease that one ('leas'), for the length of a transaction."""
ADD_LOCK = 0x61646420
"""… and whoever makes a campaign known has this one ('add '), for the length of a transaction."""
SEEN_WITHIN_S = 10.0
"""A store where a worker was seen so lately is being looked after."""
STALLED_PART = 0.25
"""Of a lease: for so long a worker that stands still in a transaction may hold up others, who still renew in time."""
NOBODY = "nobody"
"""The holder of attempts that were never sent."""


@dataclass(slots=True)
class _Held:
    """A chunk on lease. `good_until_s` is of the clock that runs in suspend, and no later than the database's own."""

    epoch: int
    good_until_s: float
    decisions: int
    settled: set[int] = field(default_factory=set)
    """Places that are not to be sent, whatever this process remembers: an event or a person has said so."""


class PostgresJournal(Records):
    """The durable record of campaigns, attempts, outcomes and settlements in a database.

    Reading and a person's decisions are plain calls, good for any process. Sending is the coroutines, for any process
    that is inside `sending()`: it sends from chunks that it has on lease. While the database is away, they wait.

    Raises:
        JournalError: the database cannot be used, or lacks the tables.
    """

    minute_of: ClassVar[str] = "floor(a.at / 60)::bigint"
    standing_of: ClassVar[str] = (
        "CASE WHEN k.done THEN 'done' WHEN k.leased_until IS NULL THEN 'waiting' "
        "WHEN k.leased_until > store_now() THEN 'leased' ELSE 'stalled' END"
    )

    def __init__(self, url: str, *, lease_s: float = 30.0) -> None:
        super().__init__(self._store_time)
        self._server = PgServer(url)
        self._lease_s = lease_s
        self._writer: PostgresWriter | None = None
        self._held: dict[tuple[str, int], _Held] = {}
        self._offset_s: float | None = None
        self._measuring = threading.Lock()
        self.on_trouble: Callable[[str], None] = lambda _: None
        """Told, in the writer's thread, what is wrong while the database cannot be written; "" when it can again."""
        self._server.refuse_outdated()

    # Any process ------------------------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """See Records."""
        return self._server.place

    def reading(self) -> AbstractContextManager[PgDatabase]:
        """See Records."""
        return self._server.reading()

    def deciding(self) -> AbstractContextManager[PgDatabase]:
        """See Records."""
        return self._server.deciding()

    def sender(self) -> Sender | None:
        """Somebody, while a worker has been seen lately."""
        with self.reading() as db:
            row = db.execute("SELECT 1 FROM identity WHERE seen_at > store_now() - ?", (SEEN_WITHIN_S,)).fetchone()
        return None if row is None else Sender(None, None)

    def was_a_worker(self) -> bool:
        """Nobody else sends from a database."""
        return True

    @contextmanager
    def plans(self, *, alone: bool) -> Iterator[bool]:
        """See Records."""
        with self._locked(PLANS_LOCK, alone=alone) as had:
            yield had

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no worker has anything on lease, nor takes it.

        Raises:
            CampaignBusyError: a worker has.
        """
        with self._locked(LEASES_LOCK, alone=True) as had:
            with self.reading() as db:
                # A worker that only waits for its hours has nothing on lease, and the list open.
                row = db.execute(
                    "SELECT name FROM campaign c WHERE state IN ('queued', 'sending') OR EXISTS (SELECT 1 FROM chunk k "
                    "WHERE k.campaign_id = c.id AND k.leased_until > store_now()) LIMIT 1"
                ).fetchone()
            if row is not None:
                raise CampaignBusyError(
                    f"{row[0]!r} is being sent from {self.place}, or will be",
                    hint=f"Wait until it ends (bulksend status {row[0]} --watch), or pause every campaign that is "
                    "being sent, and resume them afterwards.",
                )
            if not had:
                raise CampaignBusyError(
                    f"a worker is beginning to send from {self.place}, or a list is being removed from it",
                    hint="Run the same command again.",
                )
            yield

    def clear_free_space(self) -> None:
        """Have the database make use of the room again that removed texts took; its own logs and backups keep them."""
        try:
            with self._server.connect() as connection:
                for table in ("outcome", "settlement", "campaign"):
                    connection.execute(f"VACUUM {table}")
        except psycopg.Error as error:
            raise self._server.explained(error, "written") from error

    def _living(self) -> Living:
        return Living(
            "EXISTS (SELECT 1 FROM chunk k WHERE k.campaign_id = a.campaign_id AND k.number = a.chunk "
            "AND k.epoch = a.epoch AND k.leased_until > store_now())"
        )

    def _touch(self, db: Database, campaign_id: str, chunks: Iterable[int]) -> None:
        """Whoever sends the chunk sees the number; until the transaction ends, no intent is made in it."""
        numbers = sorted(chunks)
        # Chunks before their campaign, as whoever sends them does.
        db.execute(
            "SELECT 1 FROM chunk WHERE campaign_id = ? AND number = ANY(?) ORDER BY number FOR UPDATE",
            (campaign_id, numbers),
        ).fetchall()
        db.execute("SELECT 1 FROM campaign WHERE id = ? FOR UPDATE", (campaign_id,)).fetchall()
        db.execute(
            "UPDATE chunk SET decisions = decisions + 1 WHERE campaign_id = ? AND number = ANY(?)",
            (campaign_id, numbers),
        )

    def _add_alone(self, db: Database) -> None:
        """Others may read, and send."""
        db.execute("SELECT pg_advisory_xact_lock(?)", (ADD_LOCK,))

    def _add_refused(
        self, db: Database, campaign_id: str, number: int, places: Sequence[int], why: EntryOutcome
    ) -> None:
        first, count, listed = places_of(places)
        now = self.now()
        (attempt_id,) = db.execute(
            "INSERT INTO attempt (id, campaign_id, chunk, epoch, first, count, indices, recipients, holder, at) "
            "VALUES (nextval('attempt_block') * ?, ?, ?, -1, ?, ?, ?, 0, ?, ?) RETURNING id",
            (IDS_IN_BLOCK, campaign_id, number, first, count, None if listed is None else list(listed), NOBODY, now),
        ).fetchone()
        exceptions = [(i, why.verdict.value, why.status, why.reason, None) for i in range(count)]
        db.execute(
            "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) VALUES (?, ?, 0, '{}', ?)",
            (attempt_id, now, json_text(exceptions)),
        )

    # A sending process ------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Of the database, with whatever is secret in it."""
        return self._server.url

    @property
    def lease_s(self) -> float:
        """For how long a chunk is leased; `renew` has to be called more often."""
        return self._lease_s

    @contextmanager
    def sending(self, campaign_id: str = "") -> Iterator[None]:  # noqa: ARG002  any number of processes send
        """Be a worker: chunks may be opened inside."""
        self._holder = os.urandom(8).hex()
        self._held.clear()
        writer = PostgresWriter(
            self._server,
            self._holder,
            on_trouble=self.on_trouble,
            on_connect=check_identity,
            stalled_after_s=self._lease_s * STALLED_PART,
        )
        writer.on_commit = self.on_commit
        self._writer = writer
        try:
            yield
        finally:
            writer.give_up()
            writer.close()
            self._writer = None

    async def renew(self) -> set[tuple[str, int]]:
        """Renew the lease of every chunk that is held; returns those that are held still, as (campaign id, number)."""

        def work(db: Database) -> set[tuple[str, int]]:
            asked_s = boot_s()
            kept = set()
            for campaign_id, number, epoch in db.execute(
                "UPDATE chunk SET leased_until = store_now() + ? WHERE holder = ? AND leased_until > store_now() "
                "RETURNING campaign_id, number, epoch",
                (self._lease_s, self._holder),
            ):
                held = self._held.get((campaign_id, number))
                if held is not None and held.epoch == epoch:
                    held.good_until_s = asked_s + self._lease_s
                    kept.add((campaign_id, number))
            for lost in self._held.keys() - kept:
                self._held.pop(lost, None)  # the event loop's thread may have let go of it just now
            db.execute("UPDATE identity SET seen_at = store_now() WHERE seen_at < store_now() - 5")
            self._measure(db)
            return kept

        return await self._write(work)

    async def may_reap(self, every_s: float) -> bool:
        """Whether it is this worker's turn to look after idle chunks: one has it, once in a while."""
        return await self._write(
            lambda db: bool(
                db.execute(
                    "UPDATE identity SET reaped_at = store_now(), seen_at = store_now() "
                    "WHERE reaped_at < store_now() - ?",
                    (every_s,),
                ).rowcount
            )
        )

    async def has_open_chunks(self, campaign_id: str) -> bool:
        """Whether a chunk of the campaign is not done."""
        return await self._write(
            lambda db: bool(
                db.execute(
                    "SELECT EXISTS (SELECT 1 FROM chunk WHERE campaign_id = ? AND NOT done)", (campaign_id,)
                ).fetchone()[0]
            )
        )

    async def idle_chunks(self, campaign_id: str, besides: Sequence[int], at_most: int) -> list[int]:
        """Numbers of chunks that are not done, that nobody has on lease, and that are due now; but for some.

        While a canary holds chunks back, nobody could do anything with them: they are left out.
        """
        return await self._write(
            lambda db: [
                number
                for (number,) in db.execute(
                    "SELECT number FROM chunk WHERE campaign_id = ? AND NOT done "
                    "AND (leased_until IS NULL OR leased_until < store_now()) "
                    "AND (due_at IS NULL OR due_at <= store_now()) AND number <> ALL(?) "
                    "AND number < coalesce(?, number + 1) ORDER BY number LIMIT ?",
                    (campaign_id, list(besides), first_held_back(db, campaign_id), at_most),
                )
            ]
        )

    async def open_chunk(self, campaign_id: str, number: int) -> Ledger | None:
        """Take a chunk on lease: first the epoch is raised, then its attempts are read; all of before are in doubt.

        None when it is done, another's, or not to be sent now.
        """

        def work(db: Database) -> Ledger | None:
            self._held.pop((campaign_id, number), None)
            asked_s = boot_s()
            (free,) = db.execute("SELECT pg_try_advisory_xact_lock_shared(?)", (LEASES_LOCK,)).fetchone()
            if not free:
                return None
            row = db.execute(
                "UPDATE chunk SET epoch = epoch + 1, holder = ?, leased_until = store_now() + ?, due_at = NULL "
                "FROM campaign c WHERE c.id = chunk.campaign_id AND c.state = 'sending' AND chunk.campaign_id = ? "
                "AND chunk.number = ? AND NOT chunk.done AND (chunk.leased_until IS NULL "
                "OR chunk.leased_until < store_now() OR chunk.holder = ?) RETURNING chunk.epoch, chunk.decisions",
                (self._holder, self._lease_s, campaign_id, number, self._holder),
            ).fetchone()
            if row is None:
                return None
            assert self._writer is not None
            self._writer.ids.begin_anew()
            epoch, decisions = row
            ledger = ledger_of(db, campaign_id, number, Living("a.epoch = ?", (epoch,)))
            self._held[campaign_id, number] = _Held(epoch, asked_s + self._lease_s, decisions)
            return ledger

        return await self._write(work)

    async def leave_chunk(self, campaign_id: str, number: int, until: float | None) -> None:
        """End the lease of a chunk; nothing of it is handed out before `until` (epoch seconds)."""
        epochs: list[int] = []

        def work(db: Database) -> None:
            # In its turn: whoever asked to open the chunk may have been cancelled before that was done.
            held = self._held.pop((campaign_id, number), None)
            if held is not None:
                epochs.append(held.epoch)
            for epoch in epochs:  # also when it is done again, after an outage
                db.execute(
                    "UPDATE chunk SET holder = NULL, leased_until = NULL, due_at = ? "
                    "WHERE campaign_id = ? AND number = ? AND epoch = ?",
                    (until, campaign_id, number, epoch),
                )

        await self._write(work)

    async def close_chunk(self, campaign_id: str, number: int) -> bool:
        """Mark a chunk done if the journal agrees that all its entries are final. True too if it is another's now."""

        def work(db: Database) -> bool:
            held = self._held.get((campaign_id, number))
            row = db.execute(
                "SELECT epoch FROM chunk WHERE campaign_id = ? AND number = ? FOR UPDATE", (campaign_id, number)
            ).fetchone()
            if held is None or row is None or row[0] != held.epoch:
                self._held.pop((campaign_id, number), None)
                return True
            if not ledger_of(db, campaign_id, number, Living("a.epoch = ?", (held.epoch,))).final:
                return False
            db.execute(
                "UPDATE chunk SET done = true, holder = NULL, leased_until = NULL, due_at = NULL "
                "WHERE campaign_id = ? AND number = ?",
                (campaign_id, number),
            )
            return True

        closed = await self._write(work)
        if closed:
            self._held.pop((campaign_id, number), None)
        return closed

    async def intend(self, batch: Batch) -> Intent | Withheld:
        """Make the intent to send a batch durable, under the epoch of the chunk's lease and no other.

        Entries that evidence has accepted since are left out of it. It waits while the database is away.

        Raises:
            JournalError: it could not be made durable; nothing may be sent.
        """
        place = (batch.campaign_id, batch.chunk.number)
        if batch.kind is not BatchKind.FIRST:
            await self._settle_heard(*place, batch.places)
        held = self._held.get(place)
        if held is None:
            return Withheld.LOST

        def decide(
            db: PgDatabase, attempt_id: int, grant: Grant | None, now: float
        ) -> tuple[Batch | None, Intent | Withheld]:
            if grant is None or grant.epoch != held.epoch or not grant.is_leased:
                if self._held.get(place) is held:
                    del self._held[place]
                return None, Withheld.LOST
            if not grant.is_sending:
                return None, Withheld.STOPPED
            if grant.decisions != held.decisions:
                held.settled = settled_places(db, *place)
                held.decisions = grant.decisions
            narrowed = batch.without(held.settled)
            if narrowed is None:
                return None, Withheld.SETTLED
            send_before_s = min(boot_s() + SIGN_WITHIN_S, held.good_until_s)
            return narrowed, Intent(attempt_id, narrowed, now, send_before_s)

        return await self._put(Asked(batch, held.epoch, decide), Kind.INTEND)

    async def settle(self, intent: Intent, outcomes: Sequence[EntryOutcome] | AllAccepted) -> None:
        """Record what SES said of each entry of an attempt, whosever the chunk is by now. A second time is a no-op.

        It waits while the database is away.
        """
        batch = intent.batch
        pending = not isinstance(outcomes, AllAccepted) and any(
            one.verdict.state is EntryState.PENDING for one in outcomes
        )
        kept = outcome_row(batch, outcomes)
        await self._put(Answered(intent.attempt_id, batch.campaign_id, batch.chunk.number, kept, pending), Kind.SETTLE)

    async def decide(
        self, campaign_id: str, chunk: int, settlements: Sequence[Settlement], rows: Mapping[int, int] | None = None
    ) -> list[Settlement]:
        """Record decisions that the campaign's own policy makes; returns those that took effect.

        `rows`, each with its place, are of what is to be sent again out of doubt: what events prove comes first.
        """
        await self._settle_heard(campaign_id, chunk, rows or {})

        def work(db: Database) -> list[Settlement]:
            self._touch(db, campaign_id, [chunk])
            return settle_standing(db, campaign_id, chunk, settlements, self._living())

        return await self._write(work)

    async def refuse(self, campaign_id: str, number: int, refusals: Mapping[int, EntryOutcome]) -> list[int]:
        """Entries of an opened chunk that are pending, and shall not be sent, are dead; returns their places.

        Where the chunk is another's by now, nothing is done: he may be about to send them, or refuses them himself.
        """

        def work(db: Database) -> list[int]:
            held = self._held.get((campaign_id, number))
            self._touch(db, campaign_id, [number])
            row = db.execute(
                "SELECT epoch FROM chunk WHERE campaign_id = ? AND number = ? AND leased_until > store_now()",
                (campaign_id, number),
            ).fetchone()
            if held is None or row is None or row[0] != held.epoch:
                return []
            return self._refuse(db, campaign_id, number, refusals, Living("a.epoch = ?", (held.epoch,)))

        return await self._write(work)

    async def set_state(
        self,
        campaign_id: str,
        state: CampaignState,
        halt: Halt | None = None,
        *,
        only_from: Collection[CampaignState] = (),
    ) -> bool:
        """The beginning or the end of a run; whether it is so now.

        A cancelled campaign stays cancelled, and one with a chunk that is not done is not finished. With `only_from`,
        it must have been in one of these states.
        """

        def work(db: Database) -> bool:
            # Whoever opens a chunk again asks for this row too: either sees the other.
            db.execute("SELECT 1 FROM campaign WHERE id = ? FOR UPDATE", (campaign_id,)).fetchall()
            return move(db, campaign_id, state, halt, only_from, self.now())

        return await self._write(work)

    # The database -----------------------------------------------------------------------------------------------------

    def _write(self, work: Callable[[Database], T]) -> Awaitable[T]:
        return self._put(work, None)

    def _put(self, work: object, kind: Kind | None) -> Awaitable[T]:
        assert self._writer is not None, "sending() is not entered"
        return self._writer.put(work, kind)

    def _measure(self, db: Database) -> None:
        before_s = boot_s()
        (at,) = db.execute("SELECT store_now()").fetchone()
        self._offset_s = at - (before_s + boot_s()) / 2

    def _store_time(self) -> float:
        """The database's clock, in epoch seconds, as far as this machine's keeps up with it."""
        with self._measuring:
            if self._offset_s is None:
                with self.reading() as db:
                    self._measure(db)
            assert self._offset_s is not None
            return boot_s() + self._offset_s

    @contextmanager
    def _locked(self, key: int, *, alone: bool) -> Iterator[bool]:
        """An advisory lock that dies with its connection; whether it could be had. Without `alone` it is waited for."""
        try:
            connection = self._server.connect()
        except psycopg.Error as error:
            raise self._server.explained(error, "read") from error
        try:
            try:
                if alone:
                    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
                    had = row is not None and bool(row[0])
                else:
                    connection.execute("SELECT pg_advisory_lock_shared(%s)", (key,))
                    had = True
            except psycopg.Error as error:
                raise self._server.explained(error, "read") from error
            yield had
        finally:
            with suppress(psycopg.Error):
                connection.close()
