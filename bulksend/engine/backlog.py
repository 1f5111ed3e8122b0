"""What is still to be sent, in which order, and how much of it is in memory. Pure but for the clock it is told.

Chunks are opened in the order of the list. Within a campaign, halves of a refused batch come first, then retries that
are due, then entries never tried; the oldest chunk before the next.
"""

from __future__ import annotations

import heapq
import math
import re
from collections import deque
from collections.abc import Callable, Collection, Sequence

from bulksend.ledger import Ledger
from bulksend.model import MAX_BATCH_RECIPIENTS, Batch, BatchKind, Chunk, EntryState

__all__ = ["Backlog", "OpenChunk"]

RETRY_GRID_S = 1.0
"""Due times are rounded up to this, so that retries share requests."""
MAX_RESENDS = 1
"""How often a campaign's policy sends an in-doubt entry again: each time may be a copy."""
PARK_AFTER_S = 60.0
"""A chunk with nothing to do for so long is given back."""
OVER = (EntryState.ACCEPTED, EntryState.DEAD)
UNTRIED = re.compile(re.escape(EntryState.PENDING.to_bytes()) + b"+")
MAX_OPEN_BYTES = 48 * 1024 * 1024
"""Entries held in open chunks, before those that only wait are given back early."""


class OpenChunk:
    """A chunk in memory: its entries, its ledger, and what of it waits for what."""

    def __init__(
        self, chunk: Chunk, ledger: Ledger, now: float, resend_after_s: float | None, limit: int | None = None
    ) -> None:
        self.chunk = chunk
        self.ledger = ledger
        self.in_flight = 0
        self.lost = False
        """It is another process's by now: what is in flight lands, and nothing more goes out."""
        self.fresh: deque[range] = deque()
        self.barred: deque[range] = deque()
        """Never tried either, from place `limit` on: not to be tried for now."""
        self.due: list[tuple[float, int]] = []
        self.splits: deque[tuple[Sequence[int], int]] = deque()
        self.doubts: list[tuple[float, int, int]] = []
        """(time of resending, index, attempt id) of in-doubt entries, where the policy sends them again."""
        self.suppressed: dict[int, str] = {}
        """Entries that shall not be sent any more, with the reason."""
        for run in UNTRIED.finditer(ledger.states):
            start = run.start()
            for i in sorted(i for i in ledger.histories if start <= i < run.end()) if ledger.histories else ():
                self.retry(i, ledger.histories[i].due_at, now)
                if start < i:
                    self.fresh.append(range(start, i))
                start = i + 1
            if start < run.end():
                self.fresh.append(range(start, run.end()))
        if limit is not None:
            self.barred = deque(run[max(0, limit - run.start) :] for run in self.fresh if run.stop > limit)
            self.fresh = deque(run[: limit - run.start] for run in self.fresh if run.start < limit)
        if resend_after_s is not None:
            for i, last in ledger.last.items():
                if ledger.states[i] == EntryState.IN_DOUBT:
                    self.doubt(i, last.attempt_id, last.sent_at + resend_after_s)

    def doubt(self, index: int, attempt_id: int, resend_at: float) -> None:
        """Let an in-doubt entry wait until it may be sent again; the second time, it waits for a person."""
        if self.ledger.doubts.get(index, 0) > MAX_RESENDS:
            return
        heapq.heappush(self.doubts, (resend_at, index, attempt_id))

    def retry(self, index: int, due_at: float, now: float) -> None:
        """Let a pending entry wait until it is due."""
        at = due_at if due_at <= now else math.ceil(due_at / RETRY_GRID_S) * RETRY_GRID_S
        heapq.heappush(self.due, (at, index))

    def unbar(self) -> None:
        """All of it may be tried."""
        self.fresh.extend(self.barred)
        self.barred.clear()

    def put_back(self, batch: Batch) -> None:
        """A batch that was taken but never intended."""
        self.in_flight -= 1
        self.splits.appendleft((batch.indices, batch.origin))

    def take_suppressed(self) -> dict[int, str]:
        """Take what shall not be sent any more out of all that waits to be sent.

        What is in the air is left: it may come back.
        """
        self.suppressed = {i: why for i, why in self.suppressed.items() if self.ledger.states[i] not in OVER}
        pending = {i for i in self.suppressed if self.ledger.states[i] == EntryState.PENDING}
        if not pending:
            return {}
        taken = {i for run in (*self.fresh, *self.barred) for i in pending if i in run}
        taken.update(i for _, i in self.due if i in pending)
        taken.update(i for indices, _ in self.splits for i in indices if i in pending)
        if taken:
            self.fresh = deque(part for run in self.fresh for part in _without(run, taken))
            self.barred = deque(part for run in self.barred for part in _without(run, taken))
            self.due = [one for one in self.due if one[1] not in taken]
            heapq.heapify(self.due)
            left = (([i for i in indices if i not in taken], origin) for indices, origin in self.splits)
            self.splits = deque((indices, origin) for indices, origin in left if indices)
        return {i: self.suppressed.pop(i) for i in sorted(taken)}

    @property
    def number(self) -> int:
        """Its place in the snapshot."""
        return self.chunk.number

    @property
    def next_at(self) -> float | None:
        """When something of it can go out: 0 for now, None for never."""
        if self.splits or self.fresh:
            return 0.0
        times = [heap[0][0] for heap in (self.due, self.doubts) if heap]
        return min(times, default=None)

    @property
    def untried(self) -> int:
        """Entries ready to go for the first time."""
        return sum(map(len, self.fresh))


class Backlog:
    """The open chunks of one campaign, and the numbers of those not open.

    `limit` says how many entries of a chunk, from its first, may be tried now: None for all. What has been tried
    already is sent again regardless.
    """

    def __init__(
        self,
        campaign_id: str,
        *,
        resend_after_s: float | None = None,
        limit: Callable[[int], int | None] = lambda _: None,
    ) -> None:
        self.campaign_id = campaign_id
        self._resend_after_s = resend_after_s
        self._limit = limit
        self._unopened: deque[int] = deque()
        self._open: dict[int, OpenChunk] = {}
        self._batches = 0

    def offer(self, numbers: Sequence[int]) -> None:
        """Chunks to be opened before those that wait to be: what comes again is due."""
        self._unopened.extendleft(n for n in reversed(numbers) if n not in self._open)

    @property
    def next_unopened(self) -> int | None:
        """The chunk to open next: one of which something may be tried."""
        return next((number for number in self._unopened if self._limit(number) != 0), None)

    @property
    def bars_any(self) -> bool:
        """Whether there is anything that may not be tried for now."""
        return any(c.barred for c in self._open.values()) or any(self._limit(number) == 0 for number in self._unopened)

    def unbar(self) -> None:
        """Everything may be tried."""
        for c in self._open.values():
            c.unbar()

    def wants_more(self, enough_entries: int) -> bool:
        """Whether what is ready is less than enough, and there is room for more."""
        ready = 0
        for c in self._open.values():
            ready += c.untried
            if ready >= enough_entries:
                return False
        return self._open_bytes() <= MAX_OPEN_BYTES

    def alone(self, opened: OpenChunk, index: int) -> None:
        """Send an entry in a request of its own: what made it doubtful must not touch its neighbours."""
        self._batches += 1
        opened.splits.append(([index], self._batches))

    def forgo(self, number: int) -> None:
        """A chunk that is not to be opened any more."""
        if number in self._unopened:
            self._unopened.remove(number)

    def add(self, chunk: Chunk, ledger: Ledger, now: float) -> OpenChunk:
        """Take up a chunk that has been read."""
        self.forgo(chunk.number)
        opened = self._open[chunk.number] = OpenChunk(
            chunk, ledger, now, self._resend_after_s, self._limit(chunk.number)
        )
        return opened

    def __getitem__(self, number: int) -> OpenChunk:
        return self._open[number]

    def drop(self, opened: OpenChunk) -> None:
        """Forget a chunk that is done, lost, or must be read anew."""
        if self._open.get(opened.number) is opened:
            del self._open[opened.number]

    @property
    def opened(self) -> list[OpenChunk]:
        """All chunks in memory."""
        return list(self._open.values())

    @property
    def numbers(self) -> list[int]:
        """Of all chunks in memory, and of those that were to be opened."""
        return [*self._open, *self._unopened]

    def finished(self) -> list[OpenChunk]:
        """Open chunks with nothing left to send and nothing under way."""
        return [c for c in self._open.values() if c.in_flight == 0 and c.next_at is None and not c.barred]

    def park(self, now: float) -> list[tuple[int, float]]:
        """Forget the chunks that only wait: for long, or while others need the room; (number, until when) of each."""
        crowded = self._open_bytes() > MAX_OPEN_BYTES
        parked = []
        for c in list(self._open.values()):
            at = c.next_at
            if c.in_flight == 0 and at is not None and at > now and (crowded or at - now > PARK_AFTER_S):
                self.drop(c)
                parked.append((c.number, at))
        return parked

    @property
    def empty(self) -> bool:
        """Whether nothing is open or unopened."""
        return not (self._open or self._unopened)

    def next_at(self) -> float | None:
        """When the next waiting entry is due; None if none waits."""
        return min((at for c in self._open.values() if (at := c.next_at) is not None), default=None)

    def take(self, max_recipients: int, now: float, *, probe: bool = False) -> Batch | None:
        """The next batch of at most so many recipients (one entry at least), or None if nothing is due. Takes it out.

        A probe is one entry.
        """
        entries = 1 if probe else MAX_BATCH_RECIPIENTS
        chunks = self._open.values()
        for c in chunks:
            if c.splits:
                indices, recipients, origin = _take_split(c, max_recipients, entries)
                return self._taken(c, indices, recipients, BatchKind.PROBE if probe else BatchKind.SPLIT, origin)
        for c in chunks:
            if c.due and c.due[0][0] <= now:
                indices, recipients = _take_due(c, max_recipients, entries, now)
                return self._taken(c, indices, recipients, BatchKind.PROBE if probe else BatchKind.RETRY)
        for c in chunks:
            if c.fresh:
                indices, recipients = _take_untried(c, max_recipients, entries)
                return self._taken(c, indices, recipients, BatchKind.PROBE if probe else BatchKind.FIRST)
        return None

    def _taken(
        self, c: OpenChunk, indices: Sequence[int], recipients: int, kind: BatchKind, origin: int | None = None
    ) -> Batch:
        if origin is None:
            self._batches += 1
            origin = self._batches
        c.in_flight += 1
        return Batch(self.campaign_id, c.chunk, indices, recipients, kind, origin)

    def due_doubts(self, now: float) -> list[tuple[OpenChunk, list[tuple[int, int]]]]:
        """(chunk, [(index, attempt id)]) of in-doubt entries that the policy may send again now. Takes them out."""
        found = []
        for c in self._open.values():
            due = []
            while c.doubts and c.doubts[0][0] <= now:
                _, index, attempt_id = heapq.heappop(c.doubts)
                due.append((index, attempt_id))
            if due:
                found.append((c, due))
        return found

    def _open_bytes(self) -> int:
        return sum(c.chunk.size_bytes for c in self._open.values())


def _without(run: range, taken: Collection[int]) -> list[range]:
    """What is left of a run of neighbours."""
    parts, start = [], run.start
    for i in sorted(i for i in taken if i in run):
        parts.append(range(start, i))
        start = i + 1
    parts.append(range(start, run.stop))
    return [part for part in parts if part]


def _take_split(c: OpenChunk, max_recipients: int, max_entries: int) -> tuple[Sequence[int], int, int]:
    """(indices, recipients, origin)."""
    indices, origin = c.splits.popleft()
    count, recipients = _fit(c.chunk, indices, max_recipients, max_entries)
    if count < len(indices):
        c.splits.appendleft((indices[count:], origin))
    return indices[:count], recipients, origin


def _take_untried(c: OpenChunk, max_recipients: int, max_entries: int) -> tuple[Sequence[int], int]:
    indices = c.fresh[0]
    count, recipients = _fit(c.chunk, indices, max_recipients, max_entries)
    if count < len(indices):
        c.fresh[0] = indices[count:]
    else:
        c.fresh.popleft()
    return indices[:count], recipients


def _take_due(c: OpenChunk, max_recipients: int, max_entries: int, now: float) -> tuple[Sequence[int], int]:
    due: list[int] = []
    while c.due and c.due[0][0] <= now and len(due) < max_entries:
        due.append(heapq.heappop(c.due)[1])
    due.sort()
    count, recipients = _fit(c.chunk, due, max_recipients, max_entries)
    for i in due[count:]:
        heapq.heappush(c.due, (now, i))
    return due[:count], recipients


def _fit(chunk: Chunk, indices: Sequence[int], max_recipients: int, max_entries: int) -> tuple[int, int]:
    """How many of the entries fit, one at least, and how many recipients they have."""
    if chunk.one_each:
        count = max(1, min(max_recipients, max_entries, len(indices)))
        return count, count
    total = 0
    for count, i in enumerate(indices):
        if count == max_entries or (count and total + chunk.recipients[i] > max_recipients):
            return count, total
        total += chunk.recipients[i]
    return len(indices), total
