"""What any process may ask of a journal, and decide in it, whichever store it is in."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import ClassVar, TypeVar

from bulksend.errors import CampaignBusyError, CampaignUnknownError, NameTakenError
from bulksend.journal.begun import ARMED, canary_sent, chunk_sizes, first_sent_at, mails_sent, mails_sent_from
from bulksend.journal.census import Census
from bulksend.journal.database import Database, Living
from bulksend.journal.deciding import PENDING_AGAIN, move, reopen, settle_once, stands
from bulksend.journal.events import Evidence
from bulksend.journal.evidence import (
    DoubtedChunk,
    Paired,
    Proved,
    doubted_chunks,
    doubted_places,
    mails_by_place,
    open_numbers,
    paired,
    proves_anything,
    settle_proved,
    tried_most,
    untried_places,
)
from bulksend.journal.forgetting import (
    blank_all_texts,
    blank_texts,
    doom,
    forgotten_places,
    leave_over,
    mark_forgotten,
    mark_pruned,
    pruned_at,
    replace_snapshot,
    snapshots_in_use,
    strike_out,
    take_over,
)
from bulksend.journal.history import ChunkHistory, history_of
from bulksend.journal.patience import patiently
from bulksend.journal.reading import (
    Sender,
    Submitted,
    ledger_of,
    recipients_by_minute,
    reports_of,
    submitted_of,
    tally_of,
)
from bulksend.journal.rows import (
    CAMPAIGN_COLUMNS,
    campaign_from_row,
    campaign_to_row,
    halt_to_text,
    policy_to_text,
    safety_to_text,
    schedule_to_text,
)
from bulksend.journal.standstill import Standstill, standstills_of, tell_standstills
from bulksend.journal.tracing import EntryTrace, entries_of_message, trace_of
from bulksend.ledger import Ledger
from bulksend.model import (
    Campaign,
    CampaignState,
    ChunkInfo,
    EntryOutcome,
    EntryReport,
    EntryState,
    Halt,
    Policy,
    Settlement,
    SettlementVerdict,
    Tally,
    Verdict,
)
from bulksend.safety import CanarySent, Safety
from bulksend.schedule import Schedule

__all__ = ["Records"]

T = TypeVar("T")

HALTED_FROM = (CampaignState.QUEUED, CampaignState.SENDING)
AGAIN = (
    "The store's lock was lost: the database was restarted, or the connection to it broke. Run the same command again."
)
REMOVED = EntryOutcome(Verdict.DEAD, "FORGOTTEN", "removed at the person's request")


class Records(ABC):
    """The plain calls of a journal, good for any process. `now` is the store's clock, in epoch seconds.

    Raises:
        JournalError: any of them, when the store cannot be read or written.
    """

    minute_of: ClassVar[str]
    """The store's words for the number of the minute of the time a.at."""
    standing_of: ClassVar[str]
    """The store's words for the ChunkStanding of the chunk k."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._holder = ""
        """What tells this process's attempts from others', while it sends."""
        self.evidence: Callable[[str, Collection[int]], Iterable[Evidence]] | None = None
        """What events say of a campaign's rows; asked, where given, before anything is sent that was tried before."""
        self.on_commit: Callable[[float, int], None] | None = None
        """Told of each commit of the sending process: its duration in seconds, its operations."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people; without any secret."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Database]:
        """One consistent view for the length of the block."""

    @abstractmethod
    def deciding(self) -> AbstractContextManager[Database]:
        """A transaction of its own, durable at the end of the block."""

    @abstractmethod
    def sender(self) -> Sender | None:
        """Who sends from the store now, as far as that is known; None if nobody does."""

    @abstractmethod
    def was_a_worker(self) -> bool:
        """Whether who sent from the store last sends whatever is submitted, so that another one of these goes on."""

    @abstractmethod
    def plans(self, *, alone: bool) -> AbstractContextManager[bool]:
        """The lock that whoever plans shares, and whoever removes lists has alone; whether it could be had so.

        It dies with its process. Without `alone`, it is waited for.
        """

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """While nobody sends anything from the store. Raises CampaignBusyError: somebody does."""

    @abstractmethod
    def clear_free_space(self) -> None:
        """Leave no trace of what was removed, as far as the store can. Only while nobody sends."""

    @abstractmethod
    def _living(self) -> Living:
        """Which unanswered attempts are in flight now."""

    @abstractmethod
    def _touch(self, db: Database, campaign_id: str, chunks: Iterable[int]) -> None:
        """Tell whoever sends these chunks that something is decided in them; first thing in a transaction."""

    @abstractmethod
    def _add_alone(self, db: Database) -> None:
        """Until the transaction ends, nobody else adds a campaign."""

    @abstractmethod
    def _add_refused(
        self, db: Database, campaign_id: str, number: int, places: Sequence[int], why: EntryOutcome
    ) -> None:
        """Add an attempt that was never sent, whose entries are refused."""

    def check(self) -> None:
        """Whether it can be read now."""
        with self.reading() as db:
            db.execute("SELECT 1 FROM campaign LIMIT 1").fetchone()

    # Campaigns --------------------------------------------------------------------------------------------------------

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self.reading() as db:
            rows = db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign ORDER BY created_at, id").fetchall()  # noqa: S608
        return [campaign_from_row(row) for row in rows]

    def of_id(self, campaign_id: str) -> Campaign | None:
        """The campaign that its mails' tags name, or None."""
        with self.reading() as db:
            row = db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign WHERE id = ?", (campaign_id,)).fetchone()  # noqa: S608
        return None if row is None else campaign_from_row(row)

    def campaign(self, name: str) -> Campaign:
        """The campaign of that name.

        Raises:
            CampaignUnknownError: there is none.
        """
        found = self.find(name)
        if found is None:
            raise CampaignUnknownError(f"{name!r} is not in {self.place}")
        return found

    def find(self, name: str) -> Campaign | None:
        """The campaign of that name, or None."""
        with self.reading() as db:
            row = db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign WHERE name = ?", (name,)).fetchone()  # noqa: S608
        return None if row is None else campaign_from_row(row)

    def add(
        self,
        campaign: Campaign,
        chunks: Sequence[ChunkInfo],
        refuse: Callable[[Sequence[Campaign]], None] = lambda _: None,
    ) -> None:
        """Make a campaign known, with its chunks, at once and durably. Its snapshot was announced.

        `refuse` is given all campaigns that there are then, and may raise.

        Raises:
            CampaignBusyError: the snapshot was removed meanwhile; the campaign is not known.
            NameTakenError: there is one of its name.
        """
        marks = ", ".join("?" * len(CAMPAIGN_COLUMNS.split(", ")))
        with self.deciding() as db:
            self._add_alone(db)
            there = [
                campaign_from_row(row)
                for row in db.execute(f"SELECT {CAMPAIGN_COLUMNS} FROM campaign").fetchall()  # noqa: S608
            ]
            if any(other.name == campaign.name for other in there):
                raise NameTakenError(f"{campaign.name!r}")
            refuse(there)
            if not take_over(db, campaign.snapshot):
                raise CampaignBusyError(
                    f"it has removed the list of {campaign.name!r} while that was being planned, so nothing is planned",
                    hint=AGAIN,
                )
            db.execute(f"INSERT INTO campaign ({CAMPAIGN_COLUMNS}) VALUES ({marks})", campaign_to_row(campaign))  # noqa: S608
            db.executemany(
                "INSERT INTO chunk (campaign_id, number, entries, recipients) VALUES (?, ?, ?, ?)",
                [(campaign.id, c.number, c.entries, c.recipients) for c in chunks],
            )

    def set_terms(self, campaign: Campaign, policy: Policy, schedule: Schedule, safety: Safety) -> None:
        """What the campaign's file says of doubt, of retries, of its times and its safety from now on."""
        with self.deciding() as db:
            if policy.resend_in_doubt and not campaign.policy.resend_in_doubt:
                # In their order, as whoever decides in several takes them.
                self._touch(db, campaign.id, [number for number, _ in chunk_sizes(db, campaign.id)])
                db.execute("UPDATE chunk SET done = FALSE WHERE campaign_id = ?", (campaign.id,))
            db.execute(
                "UPDATE campaign SET policy = ?, schedule = ?, safety = ? WHERE id = ?",
                (policy_to_text(policy), schedule_to_text(schedule), safety_to_text(safety), campaign.id),
            )
            if policy.resend_in_doubt and not campaign.policy.resend_in_doubt:
                db.execute("UPDATE campaign SET state = 'planned' WHERE id = ? AND state = 'finished'", (campaign.id,))

    def ask_for(self, campaign: Campaign, state: CampaignState) -> CampaignState:
        """Queue, pause or cancel a campaign, whoever sends it; returns the state that it is in now.

        What is finished or cancelled stays so, what is halted is not paused, and what is being sent not queued. A pause
        ends when somebody sends or submits it again, and so does a halt: what is queued is halted no more, and its
        breaker judges anew.
        """
        is_queued = state is CampaignState.QUEUED
        stays = "'finished', 'cancelled'"
        stays += {CampaignState.QUEUED: ", 'sending'", CampaignState.PAUSED: ", 'halted'"}.get(state, "")
        sets = "state = ?" + (f", halt = NULL, {ARMED}" if is_queued else "")
        armed_at = (self.now(),) if is_queued else ()
        with self.deciding() as db:
            db.execute(
                f"UPDATE campaign SET {sets} WHERE id = ? AND state NOT IN ({stays})",  # noqa: S608  our own words
                (state.value, *armed_at, campaign.id),
            )
        return self.campaign(campaign.name).state

    # Safety -----------------------------------------------------------------------------------------------------------

    def first_sent_at(self, campaign: Campaign) -> float | None:
        """When its first request was made, in epoch seconds; None if there was none."""
        with self.reading() as db:
            return first_sent_at(db, campaign.id)

    def mails_sent(self, campaign_id: str, since: float) -> int:
        """Entries that were in an answered request since then (epoch seconds)."""
        with self.reading() as db:
            return mails_sent(db, campaign_id, since)

    def mails_sent_from(self, account: str, region: str, since: float) -> int:
        """The same of all campaigns that are bound to an account and Region."""
        with self.reading() as db:
            return mails_sent_from(db, account, region, since)

    def bindings(self) -> dict[str, tuple[str, str]]:
        """The account and Region that each campaign is bound to, by its id."""
        with self.reading() as db:
            rows = db.execute("SELECT id, account, region FROM campaign").fetchall()
        return {campaign_id: (account, region) for campaign_id, account, region in rows}

    def chunk_sizes(self, campaign: Campaign) -> list[tuple[int, int]]:
        """(number, entries) of every chunk, in the order of the list."""
        with self.reading() as db:
            return chunk_sizes(db, campaign.id)

    def canary_sent(self, campaign: Campaign, canary: int) -> CanarySent:
        """Where its first so many entries stand."""
        living = self._living()
        with self.reading() as db:
            return canary_sent(db, campaign.id, canary, living)

    def guarded(self, campaign: Campaign) -> tuple[float, float | None] | None:
        """Since when its breaker is armed, and when its canary was judged, by whatever process (epoch seconds).

        None while it is not being sent.
        """
        with self.reading() as db:
            row = db.execute(
                "SELECT armed_at, canary_passed_at FROM campaign "
                "WHERE id = ? AND state = 'sending' AND armed_at IS NOT NULL",
                (campaign.id,),
            ).fetchone()
        return None if row is None else (float(row[0]), None if row[1] is None else float(row[1]))

    def pass_canary(self, campaign: Campaign, halt: Halt | None = None) -> None:
        """Its canary is judged: the other entries may go.

        With `halt` they go when a person says so, as the campaign is halted by the same statement; if it is not being
        sent, it is not, and the canary is judged again when it is.
        """
        with self.deciding() as db:
            if halt is None:
                db.execute(
                    "UPDATE campaign SET canary_passed_at = ? WHERE id = ? AND canary_passed_at IS NULL",
                    (self.now(), campaign.id),
                )
            else:
                db.execute(
                    "UPDATE campaign SET canary_passed_at = coalesce(canary_passed_at, ?), state = 'halted', halt = ? "
                    "WHERE id = ? AND state = 'sending'",
                    (self.now(), halt_to_text(halt), campaign.id),
                )

    # Entries ----------------------------------------------------------------------------------------------------------

    def tally(self, campaign: Campaign) -> Tally:
        """The campaign in numbers, by replaying every attempt: nothing here is a running count that could drift."""
        living = self._living()
        with self.reading() as db:
            return tally_of(db, campaign, living)

    def standstills(self, campaign: Campaign) -> list[str]:
        """Why nothing of it goes out now, in words of those who send; nothing where it does, or nobody is there."""
        with self.reading() as db:
            return standstills_of(db, campaign, self.now())

    def reports(self, campaign: Campaign) -> Iterator[EntryReport]:
        """Every entry of the campaign with what is known of it, in the order of the list. Holds one chunk in memory."""
        living = self._living()
        with self.reading() as db:
            yield from reports_of(db, campaign, living)

    def trace(self, campaign: Campaign, number: int, places: Collection[int]) -> dict[int, EntryTrace]:
        """Every attempt on entries of a chunk, by their place in it."""
        living = self._living()
        with self.reading() as db:
            return trace_of(db, campaign.id, number, places, living)

    def entries_of_message(self, message_id: str) -> list[tuple[str, int, int]]:
        """(campaign id, chunk, place in it) of the entries that SES accepted as this message. Reads every answer."""
        with self.reading() as db:
            return entries_of_message(db, message_id)

    @contextmanager
    def history(self, campaign: Campaign) -> Iterator[tuple[Tally, Iterator[ChunkHistory]]]:
        """The campaign in numbers, and its chunks with their attempts, all of one instant; inside the block."""
        living = self._living()
        with self.reading() as db:
            yield tally_of(db, campaign, living), history_of(db, campaign.id, living)

    def decide_entries(
        self, campaign: Campaign, decisions: Sequence[tuple[EntryReport, SettlementVerdict]], evidence: str
    ) -> int:
        """Decide entries; those that have been decided since stay as they are. Returns how many were decided."""
        at = self.now()
        ledgers: dict[int, Ledger] = {}
        with self.deciding() as db:
            self._touch(db, campaign.id, {report.chunk for report, _ in decisions})
            living = self._living()
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

    # What events prove ------------------------------------------------------------------------------------------------

    def doubted_chunks(self, campaign: Campaign) -> list[DoubtedChunk]:
        """Chunks in which an event may settle something, in the order of the list."""
        with self.reading() as db:
            return doubted_chunks(db, campaign.id)

    def open_numbers(self, campaign: Campaign) -> set[int]:
        """Numbers of the chunks that are not done."""
        with self.reading() as db:
            return open_numbers(db, campaign.id)

    def tried_most(self, campaign: Campaign) -> tuple[int, float]:
        """How many entries were tried, at most, and when the latest attempt was made (epoch seconds; 0 for none)."""
        with self.reading() as db:
            return tried_most(db, campaign.id)

    def untried_places(self, campaign: Campaign, number: int) -> list[int]:
        """Places of a chunk's entries that are in no attempt."""
        with self.reading() as db:
            return untried_places(db, campaign.id, number, self._living())

    def doubted_places(self, campaign: Campaign, number: int) -> list[int]:
        """Places of a chunk's entries that were ever in doubt, and are not accepted."""
        living = self._living()
        with self.reading() as db:
            return doubted_places(db, campaign.id, number, living)

    def settle_by_events(
        self, campaign: Campaign, number: int, evidence: Iterable[Evidence], places: Mapping[int, int]
    ) -> Proved:
        """Settle what events prove of entries of a chunk; `places` are by row. What is settled stays as it is."""
        mails = mails_by_place(evidence, places)
        living = self._living()
        with self.reading() as db:
            if not proves_anything(db, campaign.id, number, mails, living):
                return Proved()
        with self.deciding() as db:
            self._touch(db, campaign.id, [number])
            return settle_proved(db, campaign.id, number, mails, self._living(), self.now())

    def paired(self, campaign: Campaign, number: int, mails: Mapping[int, Collection[str]]) -> Paired:
        """Whether the answers for a chunk have these message ids under these entries, by their places."""
        with self.reading() as db:
            return paired(db, campaign.id, number, mails)

    def halt(self, campaign: Campaign, halt: Halt, *, only_from: Collection[CampaignState] = HALTED_FROM) -> bool:
        """Stop a campaign that is being sent, or is to be, by whatever process; whether it was."""
        with self.deciding() as db:
            return move(db, campaign.id, CampaignState.HALTED, halt, only_from, self.now())

    def sent_by_minute(self, account: str, region: str, since: float) -> list[tuple[float, int]]:
        """(start of a minute in epoch seconds, recipients that count against the quota); unanswered counts as sent."""
        with self.reading() as db:
            return recipients_by_minute(db, account, region, since, self.minute_of)

    def census(self) -> Census:
        """What counts the whole store again and again."""
        return Census(self, self._living)

    # What is removed --------------------------------------------------------------------------------------------------

    def store_id(self) -> str:
        """What tells this store from all others: 32 hexadecimal digits, the same for as long as its tables live."""
        with self.reading() as db:
            (found,) = db.execute("SELECT id FROM store").fetchone()
        return str(found)

    def announce_snapshot(self, snapshot: str) -> None:
        """A snapshot of this file name is about to be made: until a campaign has it, it is left over. Durable."""
        with self.deciding() as db:
            leave_over(db, snapshot)

    def doom_leftovers(self) -> set[str]:
        """File names of the snapshots that are left over; from now on no campaign can have them. They may be removed.

        Only while nobody plans or rewrites: what is being made is left over, too.
        """
        with self.deciding() as db:
            return doom(db)

    def doom_snapshot(self, snapshot: str) -> bool:
        """Whether no campaign has this one, nor can from now on: then whoever made it may remove it."""
        with self.deciding() as db:
            leave_over(db, snapshot)
            return bool(doom(db, snapshot))

    def strike_out(self, snapshots: Iterable[str]) -> None:
        """They were doomed, or never made, and nothing of them is there."""
        with self.deciding() as db:
            strike_out(db, snapshots)

    def snapshots_in_use(self) -> set[str]:
        """File names of the snapshots that campaigns have; not of those that were pruned."""
        with self.reading() as db:
            return snapshots_in_use(db)

    def prune(self, campaign: Campaign) -> None:
        """Its list is left over from now on: blank every text that may name recipients, SES's and people's.

        Statuses, message ids and numbers stay. Only while nobody sends; `clear_free_space` is the last step.
        """
        with self.deciding() as db:
            mark_pruned(db, campaign.id, self.now())
            blank_all_texts(db, campaign.id)

    def pruned_at(self, campaign: Campaign) -> float | None:
        """When its list was removed, in epoch seconds; None while it is there."""
        with self.reading() as db:
            return pruned_at(db, campaign.id)

    def forgotten(self, campaign: Campaign) -> set[tuple[int, int]]:
        """(chunk, place in it) of the entries whose person was removed: they can never be sent again."""
        with self.reading() as db:
            return forgotten_places(db, campaign.id)

    def forget_entries(
        self, campaign: Campaign, places: Mapping[int, Sequence[int]], *, snapshot: str, size_bytes: int, sha256: str
    ) -> int:
        """Take up a rewritten snapshot; those of `places` (by chunk) that are pending are dead in the same transaction.

        None of `places` becomes pending again, whoever asks for it. What was cancelled is not sent anyway, and stays
        so. Returns how many became dead. Only while nobody sends. The snapshot was announced; the one that the campaign
        had is left over.

        Raises:
            CampaignBusyError: the snapshot was removed meanwhile, or the campaign's own exchanged; nothing is changed.
        """
        dropped = 0
        with self.deciding() as db:
            self._touch(db, campaign.id, places)
            if not take_over(db, snapshot) or not replace_snapshot(
                db, campaign.id, campaign.snapshot, snapshot, size_bytes, sha256
            ):
                raise CampaignBusyError(
                    f"it has removed a list while that of {campaign.name!r} was being written anew: that is as it was",
                    hint=AGAIN,
                )
            mark_forgotten(db, campaign.id, places)
            if campaign.state is CampaignState.CANCELLED:
                return 0
            living = self._living()
            for number, chosen in places.items():
                states = ledger_of(db, campaign.id, number, living).states
                pending = [place for place in chosen if states[place] == EntryState.PENDING]
                if pending:
                    dropped += len(pending)
                    self._add_refused(db, campaign.id, number, pending, REMOVED)
        return dropped

    def forget_address(self, address: str) -> None:
        """Blank every text that has this address (lower case) in it.

        Only while nobody sends; `clear_free_space` is the last step.
        """
        with self.deciding() as db:
            blank_texts(db, address)

    # A sending process ------------------------------------------------------------------------------------------------

    def _refuse(
        self, db: Database, campaign_id: str, number: int, refusals: Mapping[int, EntryOutcome], living: Living
    ) -> list[int]:
        """Of these entries of a chunk, those that are pending are dead; returns their places."""
        self._touch(db, campaign_id, [number])
        states = ledger_of(db, campaign_id, number, living).states
        by_why: dict[EntryOutcome, list[int]] = {}
        for place in sorted(refusals):
            if states[place] == EntryState.PENDING:
                by_why.setdefault(refusals[place], []).append(place)
        for why, places in by_why.items():
            self._add_refused(db, campaign_id, number, places, why)
        return sorted(place for places in by_why.values() for place in places)

    async def _settle_heard(self, campaign_id: str, number: int, rows: Mapping[int, int]) -> bool:
        """What events prove of these entries of a chunk (place by row) is settled before they are sent again.

        Whether anything was heard of them. As the writer's, an outage of the store of events is waited for.
        """
        if self.evidence is None or not rows:
            return False
        evidence = list(await patiently(partial(self.evidence, campaign_id, list(rows))))
        if not evidence:
            return False
        mails = mails_by_place(evidence, rows)

        def work(db: Database) -> None:
            self._touch(db, campaign_id, [number])
            settle_proved(db, campaign_id, number, mails, self._living(), self.now())

        await self._write(work)
        return True

    @abstractmethod
    def _write(self, work: Callable[[Database], T]) -> Awaitable[T]:
        """Do it in the writer's next transaction; its result comes once that is durable. Only inside `sending()`."""

    async def tell_standstills(self, found: Sequence[Standstill]) -> None:
        """Why this process lets nothing go out: these reasons and no others, good for a minute."""
        await self._write(lambda db: tell_standstills(db, self._holder, found, self.now()))

    async def submitted(self) -> list[Submitted]:
        """Campaigns that a worker is to send, oldest first."""
        return await self._write(submitted_of)

    async def open_chunks(self, campaign_id: str) -> list[int]:
        """Numbers of the chunks that are not done, in the order of the list."""
        return await self._write(
            lambda db: [
                number
                for (number,) in db.execute(
                    "SELECT number FROM chunk WHERE campaign_id = ? AND NOT done ORDER BY number", (campaign_id,)
                )
            ]
        )

    async def campaign_state(self, campaign_id: str) -> CampaignState:
        """As it is now, by whatever process."""
        return await self._write(
            lambda db: CampaignState(
                db.execute("SELECT state FROM campaign WHERE id = ?", (campaign_id,)).fetchone()[0]
            )
        )
