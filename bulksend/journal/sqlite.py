"""The journal in SQLite: WAL, synchronous=FULL, one writer thread, one sending process."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from bulksend.clock import boot_s
from bulksend.errors import CampaignBusyError, JournalError
from bulksend.journal.database import Database, Living
from bulksend.journal.deciding import move, settle_standing, settled_places
from bulksend.journal.filesystem import clear_free_space, make_private, refuse_network
from bulksend.journal.lock import MANY, NONE, StoreLock, last_campaign, living_holder, living_process, plans_lock
from bulksend.journal.reading import Sender, ledger_of
from bulksend.journal.records import Records
from bulksend.journal.rows import (
    ATTEMPT_COLUMNS,
    OUTCOME_COLUMNS,
    json_text,
    outcome_row,
    places_of,
)
from bulksend.journal.schemas import statements, when_free
from bulksend.journal.sqlite_writer import Insertion, SqliteWriter
from bulksend.ledger import Ledger
from bulksend.model import (
    AllAccepted,
    Batch,
    BatchKind,
    CampaignState,
    EntryOutcome,
    Halt,
    Intent,
    Settlement,
    Withheld,
)
from bulksend.outcome import SIGN_WITHIN_S

__all__ = ["SqliteJournal"]

T = TypeVar("T")

SCHEMAS = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql", "schema_5.sql")
"""One after the other: a journal of an earlier version lacks the last ones only."""
SCHEMA_VERSION = len(SCHEMAS)
BUSY_TIMEOUT_S = 10.0
SNAPSHOTS = "snapshots"
"""The folder beside the journal that has the lists."""
ATTEMPTS = Insertion(f"INSERT INTO attempt ({ATTEMPT_COLUMNS})", columns=9)
OUTCOMES = Insertion(f"INSERT INTO outcome ({OUTCOME_COLUMNS})", columns=5, tail="ON CONFLICT (attempt_id) DO NOTHING")
NOBODY = "nobody"
"""The holder of attempts that were never sent."""


class SqliteJournal(Records):
    """The durable record of campaigns, attempts, outcomes and settlements in one file.

    Reading and a person's decisions are plain calls, good for any process. Sending is the coroutines, for the one
    process that is inside `sending()`. `now` is the store's clock, in epoch seconds.

    Raises:
        JournalError: the file cannot be opened, is damaged or was made by a newer version.
    """

    minute_of: ClassVar[str] = "CAST(a.at / 60 AS INTEGER)"
    standing_of: ClassVar[str] = "CASE WHEN k.done THEN 'done' ELSE 'waiting' END"

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        super().__init__(now)
        self.path = path
        self._writer: SqliteWriter | None = None
        self._data_version = -1
        self._looked_in = 0
        self._last_attempt = 0
        self._settled: dict[tuple[str, int], set[int]] = {}
        """By chunk: places that are not to be sent, whatever this process remembers. As of the last look around."""
        self._stopped: set[str] = set()
        self._prepare()

    # Any process ------------------------------------------------------------------------------------------------------

    @property
    def place(self) -> str:
        """See Records."""
        return str(self.path)

    def sender(self) -> Sender | None:
        """The living process that holds the store, and which campaign it sends if it is only one; or None."""
        if living_holder(self._lock_path) is None:
            return None
        pid, campaign_id = living_process(self._lock_path)
        with self.reading() as db:
            row = db.execute("SELECT name FROM campaign WHERE id = ?", (campaign_id,)).fetchone()
        return Sender(pid, None if row is None else str(row[0]))

    @contextmanager
    def plans(self, *, alone: bool) -> Iterator[bool]:
        """See Records."""
        with plans_lock(self.path.with_name("plans.lock"), alone=alone) as had:
            yield had

    def alone(self) -> AbstractContextManager[None]:
        """See `sending`."""
        return self.sending(NONE)

    def was_a_worker(self) -> bool:
        """See Records."""
        return last_campaign(self._lock_path) == MANY

    def has_events(self) -> bool:
        """Whether there ever was a file of events: see SqliteEvents."""
        with self.reading() as db:
            (found,) = db.execute("SELECT has_events FROM store").fetchone()
        return bool(found)

    def remember_events(self, *, there: bool) -> None:
        """Keep what `has_events` tells. Durable."""
        with self.deciding() as db:
            db.execute("UPDATE store SET has_events = ?", (there,))

    def clear_free_space(self) -> None:
        """Leave no trace of what was removed, in the file or beside it. Only inside `sending()`.

        Raises:
            JournalError: somebody reads it all the time, or there is no room on the disk.
        """
        clear_free_space(self.path, self._connect, JournalError)

    def _living(self) -> Living:
        return Living("a.holder = ?", (living_holder(self._lock_path),))

    def _touch(self, db: Database, campaign_id: str, chunks: Iterable[int]) -> None:
        """Whoever sends sees by the file's own number that somebody has written."""

    def _add_alone(self, db: Database) -> None:
        """Nobody else writes during a transaction."""

    def _add_refused(
        self, db: Database, campaign_id: str, number: int, places: Sequence[int], why: EntryOutcome
    ) -> None:
        now = self.now()
        first, count, listed = places_of(places)
        (attempt_id,) = db.execute(
            "INSERT INTO attempt (campaign_id, chunk, first, count, indices, recipients, holder, at) "
            "VALUES (?, ?, ?, ?, ?, 0, ?, ?) RETURNING id",
            (campaign_id, number, first, count, None if listed is None else json_text(list(listed)), NOBODY, now),
        ).fetchone()
        exceptions = [(i, why.verdict.value, why.status, why.reason, None) for i in range(count)]
        db.execute(
            "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) VALUES (?, ?, 0, '[]', ?)",
            (attempt_id, now, json_text(exceptions)),
        )
        self._last_attempt = max(self._last_attempt, attempt_id)

    # The sending process ----------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self, campaign_id: str = MANY) -> Iterator[None]:
        """Hold the store: attempts made inside are this process's, and in flight while it lives.

        Whoever sends only one campaign names it.

        Raises:
            CampaignBusyError: another process holds it.
        """
        self._holder = os.urandom(8).hex()
        with ExitStack() as stack:
            try:
                stack.enter_context(StoreLock(self._lock_path, self._holder, campaign_id))
            except CampaignBusyError as error:
                raise self._busy(error) from None
            with self.deciding() as db:
                db.execute("INSERT OR REPLACE INTO holder (one, name) VALUES (1, ?)", (self._holder,))
                db.execute("DELETE FROM standstill")  # of those who are gone
                (self._last_attempt,) = db.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()
            self._data_version = -1
            self._looked_in = 0
            self._writer = SqliteWriter(self._connect)
            self._writer.on_commit = self.on_commit
            try:
                yield
            finally:
                self._writer.close()
                self._writer = None

    async def open_chunk(self, campaign_id: str, number: int) -> Ledger | None:
        """The ledger of a chunk, from its attempts so far; None if nothing of it is to be sent any more."""

        def work(db: Database) -> Ledger:
            self._look_around(db)
            return ledger_of(db, campaign_id, number, self._mine)

        return await self._write(work)

    async def leave_chunk(self, campaign_id: str, number: int, until: float | None) -> None:
        """Nothing is to be told: nobody else would send it."""

    async def close_chunk(self, campaign_id: str, number: int) -> bool:
        """Mark a chunk done if the journal agrees that all its entries are final."""

        def work(db: Database) -> bool:
            if not ledger_of(db, campaign_id, number, self._mine).final:
                return False
            db.execute("UPDATE chunk SET done = TRUE WHERE campaign_id = ? AND number = ?", (campaign_id, number))
            self._settled.pop((campaign_id, number), None)
            return True

        return await self._write(work)

    async def intend(self, batch: Batch) -> Intent | Withheld:
        """Make the intent to send a batch durable. Entries that evidence has accepted since are left out of it.

        Raises:
            JournalError: it could not be made durable; nothing may be sent.
        """
        again = batch.kind is not BatchKind.FIRST
        if again and await self._settle_heard(batch.campaign_id, batch.chunk.number, batch.places):
            self._data_version = -1  # of what this process writes, the file's own number says nothing

        def row(db: sqlite3.Connection) -> tuple[tuple[object, ...] | None, Intent | Withheld]:
            self._look_around(db)
            if batch.campaign_id in self._stopped:
                return None, Withheld.STOPPED
            narrowed = self._without_settled(db, batch)
            if narrowed is None:
                return None, Withheld.SETTLED
            self._last_attempt += 1
            intent = Intent(self._last_attempt, narrowed, self.now(), boot_s() + SIGN_WITHIN_S)
            return self._attempt_row(intent), intent

        return await self._insert(ATTEMPTS, row)

    async def settle(self, intent: Intent, outcomes: Sequence[EntryOutcome] | AllAccepted) -> None:
        """Record what SES said of each entry of an attempt. A second time is a no-op."""
        kept = outcome_row(intent.batch, outcomes)
        row = (intent.attempt_id, self.now(), kept.spent, json_text(kept.message_ids), kept.exceptions_text())
        await self._insert(OUTCOMES, lambda _: (row, None))

    async def decide(
        self, campaign_id: str, chunk: int, settlements: Sequence[Settlement], rows: Mapping[int, int] | None = None
    ) -> list[Settlement]:
        """Record decisions that the campaign's own policy makes; returns those that nobody had decided before.

        `rows`, each with its place, are of what is to be sent again out of doubt: what events prove comes first.
        """
        await self._settle_heard(campaign_id, chunk, rows or {})

        def work(db: Database) -> list[Settlement]:
            return settle_standing(db, campaign_id, chunk, settlements, self._mine)

        return await self._write(work)

    async def refuse(self, campaign_id: str, number: int, refusals: Mapping[int, EntryOutcome]) -> list[int]:
        """Entries of an opened chunk that are pending, and shall not be sent, are dead; returns their places."""
        return await self._write(lambda db: self._refuse(db, campaign_id, number, refusals, self._mine))

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
            taken = move(db, campaign_id, state, halt, only_from, self.now())
            if taken:
                self._stopped.discard(campaign_id)
            return taken

        return await self._write(work)

    # The file ---------------------------------------------------------------------------------------------------------

    @property
    def _mine(self) -> Living:
        """While this process sends, nobody else does."""
        return Living("a.holder = ?", (self._holder,))

    def _attempt_row(self, intent: Intent) -> tuple[object, ...]:
        """In the order of ATTEMPT_COLUMNS."""
        batch = intent.batch
        first, count, listed = places_of(batch.indices)
        return (
            intent.attempt_id,
            batch.campaign_id,
            batch.chunk.number,
            first,
            count,
            None if listed is None else json_text(list(listed)),
            batch.recipients,
            self._holder,
            intent.at,
        )

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _write(self, work: Callable[[Database], T]) -> Awaitable[T]:
        assert self._writer is not None, "sending() is not entered"
        return self._writer.run(work)

    def _insert(
        self, into: Insertion, row: Callable[[sqlite3.Connection], tuple[tuple[object, ...] | None, T]]
    ) -> Awaitable[T]:
        assert self._writer is not None, "sending() is not entered"
        return self._writer.insert(into, row)

    def _look_around(self, db: Database) -> None:
        """Take up what other processes have written: once a transaction, as nobody else writes during one."""
        assert self._writer is not None
        if self._looked_in == self._writer.transaction:
            return
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            self._looked_in = self._writer.transaction
            return
        (holder,) = db.execute("SELECT name FROM holder").fetchone()
        if holder != self._holder:
            raise CampaignBusyError("it has taken this store over")
        self._stopped = {
            campaign_id
            for (campaign_id,) in db.execute("SELECT id FROM campaign WHERE state IN ('paused', 'halted', 'cancelled')")
        }
        self._settled.clear()
        self._data_version = version
        self._looked_in = self._writer.transaction

    def _without_settled(self, db: Database, batch: Batch) -> Batch | None:
        there = (batch.campaign_id, batch.chunk.number)
        settled = self._settled.get(there)
        if settled is None:
            settled = self._settled[there] = settled_places(db, *there)
        return batch.without(settled)

    def _busy(self, error: CampaignBusyError) -> CampaignBusyError:
        """Who it is, as far as that is known."""
        sender = self.sender()
        if sender is None:
            return error
        who = "a process" if sender.pid is None else f"process {sender.pid}"
        if sender.campaign is None:
            return CampaignBusyError(
                f"{who} holds the store in {self.path.parent}",
                hint="A worker takes campaigns that are left to it: bulksend submit. What another process sends can be "
                "stopped: bulksend pause NAME.",
            )
        return CampaignBusyError(
            f"{who} is sending {sender.campaign!r} from the store in {self.path.parent}",
            hint=f"Wait until it ends (bulksend status {sender.campaign} --watch shows how far it is), "
            f"or end it: bulksend pause {sender.campaign}.",
        )

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """See Records."""
        try:
            with closing(self._connect()) as db:
                db.execute("BEGIN")
                yield db
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be read: {error}") from error

    @contextmanager
    def deciding(self) -> Iterator[Database]:
        """See Records."""
        try:
            with closing(self._connect()) as db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be written: {error}") from error

    def _prepare(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_network(self.path.parent)
            # Looked for first: another process that makes the journal now has no snapshots before that is done.
            snapshots = self.path.with_name(SNAPSHOTS)
            has_snapshots = any(snapshots.glob("*.parquet"))
            if has_snapshots and not self.path.exists():
                raise _lost(self.path, snapshots)
            make_private(self.path)
            with closing(when_free(self._connect)) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0 and has_snapshots:
                    raise _lost(self.path, snapshots)
                if version > SCHEMA_VERSION:
                    raise JournalError(
                        f"{self.path} was made by a newer bulksend (format {version}, this one reads {SCHEMA_VERSION})",
                        hint="Use the version that made it, or a newer one.",
                    )
                if version < SCHEMA_VERSION:
                    _bring_up_to_date(db)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self.path} cannot be opened: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    """Make the tables that it lacks, unless another process has done so meanwhile."""
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for statement in statements(SCHEMAS, version):
        db.execute(statement)
    db.execute("COMMIT")


def _lost(path: Path, snapshots: Path) -> JournalError:
    """Whoever plans anew now would write to everybody a second time."""
    return JournalError(
        f"{path} is {'empty' if path.exists() else 'missing'}, and {snapshots} has lists of campaigns: "
        "the journal is lost, and with it who has been written to",
        hint="Restore it from a backup, with its -wal file if there is one. Only if nothing was ever sent from this "
        f"store, or you know from elsewhere who has the mail: remove {snapshots} and start anew.",
    )
