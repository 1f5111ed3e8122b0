"""The journal in SQLite: WAL, synchronous=FULL, one writer thread, one sending process."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TypeVar

from bulksend.errors import CampaignBusyError, CampaignUnknownError, JournalError
from bulksend.journal.deciding import PENDING_AGAIN, reopen, settle_once, stands
from bulksend.journal.filesystem import refuse_network
from bulksend.journal.forgetting import (
    blank_all_texts,
    blank_texts,
    drop_pending,
    forgotten_places,
    mark_forgotten,
    mark_pruned,
    pruned_at,
    replace_snapshot,
    snapshots_in_use,
)
from bulksend.journal.lock import StoreLock, living_holder, living_process
from bulksend.journal.reading import Sender, last_sent, ledger_of, recipients_by_minute, reports_of, tally_of
from bulksend.journal.rows import (
    ATTEMPT_COLUMNS,
    CAMPAIGN_COLUMNS,
    OUTCOME_COLUMNS,
    attempt_to_row,
    campaign_from_row,
    campaign_to_row,
    halt_to_text,
    outcome_columns,
    policy_to_text,
)
from bulksend.journal.writer import GroupWriter, Insertion
from bulksend.ledger import Ledger
from bulksend.model import (
    AllAccepted,
    Batch,
    Campaign,
    CampaignState,
    ChunkInfo,
    EntryOutcome,
    EntryReport,
    Halt,
    Intent,
    Policy,
    Settlement,
    SettlementVerdict,
    Tally,
)

__all__ = ["SqliteJournal"]

T = TypeVar("T")

SCHEMAS = ("schema.sql", "schema_2.sql")
"""One after the other: a journal of an earlier version lacks the last ones only."""
SCHEMA_VERSION = len(SCHEMAS)
BUSY_TIMEOUT_S = 10.0
SNAPSHOTS = "snapshots"
"""The folder beside the journal that has the lists."""
ATTEMPTS = Insertion(f"INSERT INTO attempt ({ATTEMPT_COLUMNS})", columns=9)
OUTCOMES = Insertion(f"INSERT INTO outcome ({OUTCOME_COLUMNS})", columns=5, tail="ON CONFLICT (attempt_id) DO NOTHING")


class SqliteJournal:
    """The durable record of campaigns, attempts, outcomes and settlements in one file.

    Reading and a person's decisions are plain calls, good for any process. Sending is the coroutines, for the one
    process that is inside `sending()`. `now` is the store's clock, in epoch seconds.

    Raises:
        JournalError: the file cannot be opened, is damaged or was made by a newer version.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.now = now
        self._holder = ""
        self._writer: GroupWriter | None = None
        self._data_version = -1
        self._looked_in = 0
        self._last_attempt = 0
        self._settlements_seen = 0
        self._interventions: dict[tuple[str, int], set[int]] = {}
        self._stopped: set[str] = set()
        self.on_commit: Callable[[float, int], None] | None = None
        self._prepare()

    # Any process ------------------------------------------------------------------------------------------------------

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self._reading() as db:
            rows = db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign ORDER BY created_at").fetchall()  # noqa: S608
        return [campaign_from_row(row) for row in rows]

    def campaign(self, name: str) -> Campaign:
        """The campaign of that name.

        Raises:
            CampaignUnknownError: there is none.
        """
        found = self.find(name)
        if found is None:
            raise CampaignUnknownError(f"{name!r} is not in {self.path}")
        return found

    def find(self, name: str) -> Campaign | None:
        """The campaign of that name, or None."""
        with self._reading() as db:
            row = db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign WHERE name = ?", (name,)).fetchone()  # noqa: S608
        return None if row is None else campaign_from_row(row)

    def add(self, campaign: Campaign, chunks: Sequence[ChunkInfo]) -> None:
        """Make a campaign known, with its chunks, at once and durably.

        A campaign without entries is finished from the start.
        """
        marks = ", ".join("?" * len(CAMPAIGN_COLUMNS.split(", ")))
        with self._deciding() as db:
            db.execute(f"INSERT INTO campaign ({CAMPAIGN_COLUMNS}) VALUES ({marks})", campaign_to_row(campaign))  # noqa: S608
            db.executemany(
                "INSERT INTO chunk (campaign_id, number, entries, recipients) VALUES (?, ?, ?, ?)",
                [(campaign.id, c.number, c.entries, c.recipients) for c in chunks],
            )

    def set_policy(self, campaign: Campaign, policy: Policy) -> None:
        """What the campaign's file says of doubt and retries from now on."""
        with self._deciding() as db:
            db.execute("UPDATE campaign SET policy = ? WHERE id = ?", (policy_to_text(policy), campaign.id))
            if policy.resend_in_doubt and not campaign.policy.resend_in_doubt:
                db.execute("UPDATE chunk SET done = 0 WHERE campaign_id = ?", (campaign.id,))
                db.execute("UPDATE campaign SET state = 'planned' WHERE id = ? AND state = 'finished'", (campaign.id,))

    def tally(self, campaign: Campaign) -> Tally:
        """The campaign in numbers, by replaying every attempt: nothing here is a running count that could drift."""
        living = living_holder(self._lock_path)
        with self._reading() as db:
            return tally_of(db, campaign, living)

    def reports(self, campaign: Campaign) -> Iterator[EntryReport]:
        """Every entry of the campaign with what is known of it, in the order of the list. Holds one chunk in memory."""
        living = living_holder(self._lock_path)
        with self._reading() as db:
            yield from reports_of(db, campaign, living)

    def decide_entries(
        self, campaign: Campaign, decisions: Sequence[tuple[EntryReport, SettlementVerdict]], evidence: str
    ) -> int:
        """Decide entries; those that have been decided since stay as they are. Returns how many were decided."""
        at = self.now()
        ledgers: dict[int, Ledger] = {}
        with self._deciding() as db:
            living = living_holder(self._lock_path)
            decided, again = 0, set()
            for report, verdict in decisions:
                assert report.attempt_id is not None, "what was never attempted is not decided"
                if report.chunk not in ledgers:
                    ledgers[report.chunk] = ledger_of(db, campaign.id, report.chunk, living)
                settlement = Settlement(report.attempt_id, report.index, verdict, evidence, at)
                if stands(ledgers[report.chunk], report) and settle_once(db, settlement):
                    decided += 1
                    if verdict in PENDING_AGAIN:
                        again.add(report.chunk)
            reopen(db, campaign.id, again)
        return decided

    def prune(self, campaign: Campaign) -> None:
        """Its list is about to be removed: blank every text that may name recipients, SES's and people's.

        Statuses, message ids and numbers stay. Only inside `sending()`; `clear_free_space` is the last step.
        """
        with self._deciding() as db:
            mark_pruned(db, campaign.id, self.now())
            blank_all_texts(db, campaign.id)

    def pruned_at(self, campaign: Campaign) -> float | None:
        """When its list was removed, in epoch seconds; None while it is there."""
        with self._reading() as db:
            return pruned_at(db, campaign.id)

    def forgotten(self, campaign: Campaign) -> set[tuple[int, int]]:
        """(chunk, place in it) of the entries whose person was removed: they can never be sent again."""
        with self._reading() as db:
            return forgotten_places(db, campaign.id)

    def snapshots_in_use(self) -> set[str]:
        """File names of the snapshots that campaigns have; not of those that were pruned."""
        with self._reading() as db:
            return snapshots_in_use(db)

    def sender(self) -> Sender | None:
        """The living process that holds the store, and which campaign it sends, as far as that is known; or None."""
        holder, pid = living_holder(self._lock_path), living_process(self._lock_path)
        if holder is None:
            return None
        with self._reading() as db:
            return Sender(pid, last_sent(db, holder))

    def forget_entries(
        self, campaign: Campaign, places: Mapping[int, Sequence[int]], *, snapshot: str, size_bytes: int, sha256: str
    ) -> int:
        """Take up a rewritten snapshot; those of `places` (by chunk) that are pending are dead in the same transaction.

        None of `places` becomes pending again, whoever asks for it. Returns how many became dead. Only inside
        `sending()`: nobody may be sending from the old one.
        """
        assert self._writer is not None, "sending() is not entered"
        with self._deciding() as db:
            replace_snapshot(db, campaign.id, snapshot, size_bytes, sha256)
            mark_forgotten(db, campaign.id, places)
            return drop_pending(db, campaign, places, self._holder, self.now())

    def forget_address(self, address: str) -> None:
        """Blank every text that has this address (lower case) in it.

        Only inside `sending()`; `clear_free_space` is the last step.
        """
        with self._deciding() as db:
            blank_texts(db, address)

    def clear_free_space(self) -> None:
        """Leave no trace of what was removed, in the file or beside it. Only inside `sending()`.

        Raises:
            JournalError: somebody reads it all the time, or there is no room on the disk.
        """
        try:
            with closing(self._connect()) as db:
                db.execute("VACUUM")
                (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be written: {error}") from error
        if busy:
            raise JournalError(
                f"{self.path} is being read, so that its free space cannot be cleared",
                hint="End what reads it, then run the same command again.",
            )

    def ask_for(self, campaign: Campaign, state: CampaignState) -> CampaignState:
        """Pause or cancel a campaign, whoever sends it; returns the state that it is in now.

        What is finished or cancelled stays so. A pause ends when somebody sends again.
        """
        with self._deciding() as db:
            db.execute(
                "UPDATE campaign SET state = ? WHERE id = ? AND state NOT IN ('finished', 'cancelled')",
                (state.value, campaign.id),
            )
        return self.campaign(campaign.name).state

    def sent_by_minute(self, account: str, region: str, since: float) -> list[tuple[float, int]]:
        """(start of a minute in epoch seconds, recipients that count against the quota); unanswered counts as sent."""
        with self._reading() as db:
            return recipients_by_minute(db, account, region, since)

    # The sending process ----------------------------------------------------------------------------------------------

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Hold the store: attempts made inside are this process's, and in flight while it lives.

        Raises:
            CampaignBusyError: another process holds it.
        """
        self._holder = os.urandom(8).hex()
        with ExitStack() as stack:
            try:
                stack.enter_context(StoreLock(self._lock_path, self._holder))
            except CampaignBusyError as error:
                raise self._busy(error) from None
            with self._deciding() as db:
                db.execute("INSERT OR REPLACE INTO holder (one, name) VALUES (1, ?)", (self._holder,))
                (self._last_attempt,) = db.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()
            self._data_version = -1
            self._looked_in = 0
            self._writer = GroupWriter(self._connect)
            self._writer.on_commit = self.on_commit
            try:
                yield
            finally:
                self._writer.close()
                self._writer = None

    async def open_chunks(self, campaign_id: str) -> list[int]:
        """Numbers of the chunks that are not done, in the order of the list."""
        return await self._write(
            lambda db: [
                number
                for (number,) in db.execute(
                    "SELECT number FROM chunk WHERE campaign_id = ? AND done = 0 ORDER BY number", (campaign_id,)
                )
            ]
        )

    async def open_chunk(self, campaign_id: str, number: int) -> Ledger:
        """The ledger of a chunk, from its attempts so far."""

        def work(db: sqlite3.Connection) -> Ledger:
            self._look_around(db)
            return ledger_of(db, campaign_id, number, self._holder)

        return await self._write(work)

    async def close_chunk(self, campaign_id: str, number: int) -> bool:
        """Mark a chunk done if the journal agrees that all its entries are final."""

        def work(db: sqlite3.Connection) -> bool:
            if not ledger_of(db, campaign_id, number, self._holder).final:
                return False
            db.execute("UPDATE chunk SET done = 1 WHERE campaign_id = ? AND number = ?", (campaign_id, number))
            return True

        return await self._write(work)

    async def intend(self, batch: Batch) -> Intent | None:
        """Make the intent to send a batch durable. Entries that evidence has accepted since are left out of it.

        None when nothing may go: none is left, or somebody paused or cancelled the campaign.

        Raises:
            JournalError: it could not be made durable; nothing may be sent.
        """

        def row(db: sqlite3.Connection) -> tuple[tuple[object, ...] | None, Intent | None]:
            self._look_around(db)
            narrowed = None if batch.campaign_id in self._stopped else self._without_settled(batch)
            if narrowed is None:
                return None, None
            self._last_attempt += 1
            intent = Intent(self._last_attempt, narrowed, self.now())
            return attempt_to_row(intent, self._holder), intent

        return await self._insert(ATTEMPTS, row)

    async def settle(self, intent: Intent, outcomes: Sequence[EntryOutcome] | AllAccepted) -> None:
        """Record what SES said of each entry of an attempt. A second time is a no-op."""
        row = (intent.attempt_id, self.now(), *outcome_columns(intent.batch, outcomes))
        await self._insert(OUTCOMES, lambda _: (row, None))

    async def decide(self, campaign_id: str, chunk: int, settlements: Sequence[Settlement]) -> list[Settlement]:
        """Record decisions that the campaign's own policy makes; returns those that nobody had decided before."""

        def work(db: sqlite3.Connection) -> list[Settlement]:
            taken = [settlement for settlement in settlements if settle_once(db, settlement)]
            if taken:
                db.execute("UPDATE chunk SET done = 0 WHERE campaign_id = ? AND number = ?", (campaign_id, chunk))
            return taken

        return await self._write(work)

    async def campaign_state(self, campaign_id: str) -> CampaignState:
        """As it is now, by whatever process."""
        return await self._write(
            lambda db: CampaignState(
                db.execute("SELECT state FROM campaign WHERE id = ?", (campaign_id,)).fetchone()[0]
            )
        )

    async def set_state(self, campaign_id: str, state: CampaignState, halt: Halt | None = None) -> bool:
        """The beginning or the end of a run; whether it is so now.

        A cancelled campaign stays cancelled, and one with a chunk that is not done is not finished.
        """

        def work(db: sqlite3.Connection) -> bool:
            taken = db.execute(
                "UPDATE campaign SET state = ?1, halt = ?2 "
                "WHERE id = ?3 AND state <> 'cancelled' AND (?1 <> 'finished' "
                "OR NOT EXISTS (SELECT 1 FROM chunk WHERE campaign_id = ?3 AND done = 0))",
                (state.value, None if halt is None else halt_to_text(halt), campaign_id),
            ).rowcount
            if taken:
                self._stopped.discard(campaign_id)
            return bool(taken)

        return await self._write(work)

    # The file ---------------------------------------------------------------------------------------------------------

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> Awaitable[T]:
        assert self._writer is not None, "sending() is not entered"
        return self._writer.run(work)

    def _insert(
        self, into: Insertion, row: Callable[[sqlite3.Connection], tuple[tuple[object, ...] | None, T]]
    ) -> Awaitable[T]:
        assert self._writer is not None, "sending() is not entered"
        return self._writer.insert(into, row)

    def _look_around(self, db: sqlite3.Connection) -> None:
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
            for (campaign_id,) in db.execute("SELECT id FROM campaign WHERE state IN ('paused', 'cancelled')")
        }
        for settlement_id, campaign_id, chunk, place in db.execute(
            "SELECT s.id, a.campaign_id, a.chunk, s.place FROM settlement s JOIN attempt a ON a.id = s.attempt_id "
            "WHERE s.id > ? AND s.verdict = 'accepted' ORDER BY s.id",
            (self._settlements_seen,),
        ):
            self._settlements_seen = settlement_id
            self._interventions.setdefault((campaign_id, chunk), set()).add(place)
        self._data_version = version
        self._looked_in = self._writer.transaction

    def _without_settled(self, batch: Batch) -> Batch | None:
        settled = self._interventions.get((batch.campaign_id, batch.chunk.number))
        if not settled or settled.isdisjoint(batch.indices):
            return batch
        indices = [i for i in batch.indices if i not in settled]
        if not indices:
            return None
        return replace(batch, indices=indices, recipients=sum(batch.chunk.recipients[i] for i in indices))

    def _busy(self, error: CampaignBusyError) -> CampaignBusyError:
        """Who it is, as far as that is known."""
        sender = self.sender()
        if sender is None:
            return error
        who = "a process" if sender.pid is None else f"process {sender.pid}"
        if sender.campaign is None:
            return CampaignBusyError(f"{who} holds the store in {self.path.parent}")
        return CampaignBusyError(
            f"{who} is sending {sender.campaign!r} from the store in {self.path.parent}",
            hint=f"Wait until it ends (bulksend status {sender.campaign} --watch shows how far it is), "
            f"or end it: bulksend pause {sender.campaign}.",
        )

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view for the length of the block."""
        try:
            with closing(self._connect()) as db:
                db.execute("BEGIN")
                yield db
        except sqlite3.Error as error:
            raise JournalError(f"{self.path} cannot be read: {error}") from error

    @contextmanager
    def _deciding(self) -> Iterator[sqlite3.Connection]:
        """A transaction of its own, durable at the end of the block."""
        try:
            with closing(self._connect()) as db:
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
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(self._connect()) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0 and has_snapshots:
                    raise _lost(self.path, snapshots)
                if version > SCHEMA_VERSION:
                    raise JournalError(
                        f"{self.path} was made by a newer bulksend (format {version}, this one reads {SCHEMA_VERSION})",
                        hint="Use the version that made it, or a newer one.",
                    )
                for name in SCHEMAS[version:]:
                    schema = resources.files("bulksend.journal").joinpath(name).read_text("utf-8")
                    db.executescript(f"BEGIN IMMEDIATE; {schema} COMMIT;")
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"{self.path} cannot be opened: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        return db


def _lost(path: Path, snapshots: Path) -> JournalError:
    """Whoever plans anew now would write to everybody a second time."""
    return JournalError(
        f"{path} is {'empty' if path.exists() else 'missing'}, and {snapshots} has lists of campaigns: "
        "the journal is lost, and with it who has been written to",
        hint="Restore it from a backup, with its -wal file if there is one. Only if nothing was ever sent from this "
        f"store, or you know from elsewhere who has the mail: remove {snapshots} and start anew.",
    )
