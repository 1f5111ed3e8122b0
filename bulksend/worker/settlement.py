"""Settlement: what events prove of a campaign's entries is written into the journal, soon after they are recorded."""

from __future__ import annotations

import time
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Event

import structlog

from bulksend.errors import HaltedError, JournalError
from bulksend.journal.events import Evidence
from bulksend.journal.evidence import Paired, Proved
from bulksend.model import Campaign, CampaignState, Halt
from bulksend.recipients import SnapshotReader
from bulksend.worker.store import Store

__all__ = ["NOT_OVER", "Settled", "Settler", "heed_events", "settle"]

PAIRS = 1000
"""The first mails of a campaign by which the pairing of results with entries is checked."""
ROWS_AT_ONCE = 500
"""In one transaction."""
REFUSED_AT_ONCE = 10_000
MAX_LISTS = 256
"""Chunks whose row numbers are remembered: some 8 kB each."""
LATE_S = 60.0
"""How long after an attempt's beginning SES may take its mails; longer ago, another attempt was made for them."""
NOT_OVER = (
    CampaignState.PLANNED,
    CampaignState.QUEUED,
    CampaignState.SENDING,
    CampaignState.PAUSED,
    CampaignState.HALTED,
)


@dataclass(frozen=True, slots=True)
class Settled:
    """How many entries events have accepted, and how many they have refused.

    `mispaired` mails were told of under other rows than answers had them: SES's results do not belong to the entries
    that they were taken for. `halt`: the campaign was being sent, and is halted for that.
    """

    accepted: int = 0
    refused: int = 0
    mispaired: int = 0
    halt: Halt | None = None


def settle(store: Store, campaign: Campaign) -> Settled:
    """Settle what events prove of a campaign's entries. A second time is a no-op.

    Where no event came, or the list is gone for good, nothing is done.

    Raises:
        JournalError: journal or events cannot be read or written.
        SnapshotError: the list, by which rows are known, is missing or damaged.
    """
    return Settler(store).settle(campaign)


def heed_events(store: Store, campaign: Campaign, on_halt: Callable[[Halt], None]) -> None:
    """Before a campaign is sent: what events prove is settled, and asked for again with all that was tried before.

    `on_halt` is told if the campaign is halted by this, and was not by another process at the same time.

    Raises:
        HaltedError: events tell of mails that the journal has never tried, or of mails that the journal has under other
            rows. The campaign is halted.
        JournalError, SnapshotError: as of `settle`.
    """
    store.journal.evidence = partial(_evidence, store)
    settler = Settler(store)
    halt = settler.unknown(campaign)
    if halt is None:
        halt = settler.settle(campaign).halt
        is_news = halt is not None
    else:
        # What is halted by now and was not has been halted by another process, which tells of it.
        was_halted = campaign.state is CampaignState.HALTED
        only_from = [state for state in NOT_OVER if was_halted or state is not CampaignState.HALTED]
        is_news = store.journal.halt(campaign, halt, only_from=only_from)
    if halt is None:
        return
    if is_news:
        on_halt(halt)
    raise HaltedError(halt)


def _evidence(store: Store, campaign_id: str, rows: Collection[int]) -> list[Evidence]:
    """What the journal asks, and asks again; of an outage its writer tells."""
    try:
        return store.events.evidence(campaign_id, rows)
    except JournalError as error:
        if not error.is_outage:
            structlog.get_logger().warning("events cannot be read; trying again", error=error.message)
        raise


class Settler:
    """Settles the campaigns of one store, again and again. Not for several threads at once.

    What cannot have anything new to it is not looked at anew.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over: dict[tuple[str, int], int] = {}
        """Chunks that are done and had nothing left to settle: the latest attempt that had left anything in doubt.

        No more, once a mail of such a chunk is refused.
        """
        self._refused: dict[tuple[str, int], int] = {}
        """By chunk that was done: how many refusals were looked at."""
        self._pairs: dict[str, int] = {}
        """By campaign: how many of its first mails were compared."""
        self._lists: dict[str, _List] = {}
        """By snapshot."""
        self.stop = Event()
        """Once set, what is under way ends after the chunk that it is at."""

    def settle(self, campaign: Campaign) -> Settled:
        """See the function of that name."""
        store = self._store
        if store.events.rates(campaign.id, time.time()).last_at is None:
            return Settled()
        if store.journal.pruned_at(campaign) is not None:
            self._lists.pop(campaign.snapshot, None)
            return Settled()
        rows = self._lists.setdefault(campaign.snapshot, _List(store, campaign))
        with rows.read():
            done = self._settle_doubts(campaign, rows) + self._settle_refusals(campaign, rows)
            mispaired, halt = self._check_pairs(campaign, rows)
        if campaign.state not in NOT_OVER:
            rows.drop()
        return Settled(done.accepted, done.refused, mispaired, halt)

    def unknown(self, campaign: Campaign) -> Halt | None:
        """Why it is not sent where events tell of mails of entries that the journal has never tried; None if of none.

        Such entries are a first time to the journal, which asks nothing about them: they would be sent twice. Events
        are read before the journal, which others may be writing: an intent is there before any event of it.
        """
        events, journal = self._store.events, self._store.journal
        heard = events.tally(campaign.id).mails
        if not heard or journal.pruned_at(campaign) is not None:
            return None
        tried, last_at = journal.tried_most(campaign)
        lately = events.rates(campaign.id, last_at + LATE_S)
        if heard <= tried and not lately.sample + lately.unsent:
            return None
        rows = _List(self._store, campaign)
        with rows.read():
            mails = sum(self._unknown_in(campaign, number, rows) for number in sorted(journal.open_numbers(campaign)))
        if not mails:
            return None
        return Halt(
            f"events tell of {mails:,} mails to rows that the journal has never tried: the journal is older than the "
            "events. Was it restored from a backup?",
            "To go on would send those mails twice, and maybe others of which no event has come. Put the newer journal "
            f"back. If it is lost: bulksend cancel {campaign.name}, and plan under another name those rows that nobody "
            f"was sent anything for; bulksend results {campaign.name} has in fate what events tell of each.",
        )

    def _unknown_in(self, campaign: Campaign, number: int, rows: _List) -> int:
        untried = self._store.journal.untried_places(campaign, number)
        listed = rows.of_chunk(number) if untried else ()
        found = set[int]()
        for start in range(0, len(untried), ROWS_AT_ONCE):
            wanted = {listed[place]: place for place in untried[start : start + ROWS_AT_ONCE]}
            found.update(wanted[one.row] for one in self._store.events.evidence(campaign.id, list(wanted)))
        # What somebody else has begun to send meanwhile is known by now.
        return len(found.intersection(self._store.journal.untried_places(campaign, number))) if found else 0

    def _settle_doubts(self, campaign: Campaign, rows: _List) -> Proved:
        journal, done = self._store.journal, Proved()
        for chunk in journal.doubted_chunks(campaign):
            there = (campaign.id, chunk.number)
            if self.stop.is_set() or self._over.get(there) == chunk.last_attempt:
                continue
            open_places = journal.doubted_places(campaign, chunk.number)
            if open_places:
                listed = rows.of_chunk(chunk.number)
                places = {listed[place]: place for place in open_places}
                done += self._settle(campaign, chunk.number, places)
            elif chunk.settled_for_good:
                self._over[there] = chunk.last_attempt
        return done

    def _settle_refusals(self, campaign: Campaign, rows: _List) -> Proved:
        refused = Counter[int]()
        for some in self._refused_rows(campaign):
            refused.update(rows.chunk_of(row) for row in some)
        if not refused:
            return Proved()
        done, still_open = Proved(), self._store.journal.open_numbers(campaign)
        news = {number for number, mails in refused.items() if self._refused.get((campaign.id, number)) != mails}
        if not news:
            return done
        for some in self._refused_rows(campaign):
            for number, places in rows.by_chunk({row for row in some if rows.chunk_of(row) in news}):
                if self.stop.is_set():
                    return done
                done += self._settle(campaign, number, places)
        for number in news:
            self._over.pop((campaign.id, number), None)  # what a mail had settled may be open again without it
            if number not in still_open:
                self._refused[campaign.id, number] = refused[number]
        return done

    def _refused_rows(self, campaign: Campaign) -> Iterator[list[int]]:
        """Those of refused mails, some at a time: a template at fault refuses millions."""
        after = 0
        while some := self._store.events.refused(campaign.id, after, REFUSED_AT_ONCE):
            after = some[-1][0]
            yield [row for _, row in some]

    def _settle(self, campaign: Campaign, number: int, places: Mapping[int, int]) -> Proved:
        """What is known of these rows of a chunk, some at a time: whoever sends waits for the journal meanwhile."""
        done = Proved()
        rows = iter(places)
        while some := {row: places[row] for row in islice(rows, ROWS_AT_ONCE)}:
            evidence = self._store.events.evidence(campaign.id, list(some))
            if evidence:
                done += self._store.journal.settle_by_events(campaign, number, evidence, some)
        return done

    def _check_pairs(self, campaign: Campaign, rows: _List) -> tuple[int, Halt | None]:
        """Whether results come in the order of the entries: that is documented of an older API alone."""
        compared = self._pairs.get(campaign.id, 0)
        if compared >= PAIRS:
            return 0, None
        pairs = self._store.events.pairs(campaign.id, PAIRS)
        if len(pairs) == compared:
            return 0, None
        mails: dict[int, set[str]] = {}
        for one in pairs:
            mails.setdefault(one.row, set()).add(one.message_id)
        found = Paired()
        for number, places in rows.by_chunk(mails):
            wanted = {place: mails[row] for row, place in places.items()}
            found += self._store.journal.paired(campaign, number, wanted)
        self._pairs[campaign.id] = len(pairs)
        if found.at is None or (campaign.armed_at is not None and found.at < campaign.armed_at):
            return 0, None
        halt = Halt(
            f"SES tells of {found.wrong:,} mails under other rows than its answers did, and of {found.right:,} under "
            "the same: the results of an answer are not in the order of its entries",
            "What the journal says of entries that were sent in one request with others may be another's. Compare "
            f"bulksend results {campaign.name} with the events (bulksend trace MESSAGE_ID says whom a mail went to), "
            f"and ask AWS Support. bulksend resume {campaign.name} goes on, and compares only what is sent afterwards.",
        )
        return found.wrong, halt if self._store.journal.halt(campaign, halt) else None


class _List:
    """Which rows are where in a campaign's list. The file is opened when it is needed, for the length of a look."""

    def __init__(self, store: Store, campaign: Campaign) -> None:
        self._store = store
        self._campaign = campaign
        self._known: dict[int, array[int]] = {}
        self._firsts = array("q")
        """The first row of each chunk."""
        self._reader: SnapshotReader | None = None
        self._stack = ExitStack()

    @contextmanager
    def read(self) -> Iterator[None]:
        with self._stack:
            try:
                yield
            finally:
                self._reader = None

    def drop(self) -> None:
        """The rows of chunks are read anew when they are needed; there is little to come."""
        self._known.clear()

    def of_chunk(self, number: int) -> array[int]:
        """The rows of a chunk, by place. Raises SnapshotError."""
        found = self._known.get(number)
        if found is None:
            if len(self._known) >= MAX_LISTS:
                self._known.pop(next(iter(self._known)))
            found = self._known[number] = array("q", self._opened().rows(number))
        return found

    def chunk_of(self, row: int) -> int:
        """The number of the chunk that has a row, if any has; -1 for what is before all of them."""
        if not self._firsts:
            reader = self._opened()
            self._firsts.extend(reader.rows(number)[0] for number in range(len(reader)))
        return bisect_right(self._firsts, row) - 1

    def by_chunk(self, rows: Iterable[int]) -> Iterator[tuple[int, dict[int, int]]]:
        """The places of rows, by chunk: (number, place by row). What is not in the list is left out."""
        by_number: dict[int, list[int]] = {}
        for row in sorted(rows):
            by_number.setdefault(self.chunk_of(row), []).append(row)
        for number, wanted in by_number.items():
            if number < 0:
                continue
            places = {row: place for place, row in enumerate(self.of_chunk(number))}
            there = {row: places[row] for row in wanted if row in places}
            if there:
                yield number, there

    def _opened(self) -> SnapshotReader:
        if self._reader is None:
            campaign = self._campaign
            path = self._store.snapshot_of(campaign)
            reader = SnapshotReader(path, size_bytes=campaign.snapshot_bytes, sha256=None)
            self._reader = self._stack.enter_context(reader)
        return self._reader
