"""Several campaigns behind one pacer, each with a share by its weight (start-time fair queueing).

Each lane has a virtual time: what it was granted, over its weight. The waiting lane that is furthest behind goes next.
The choice is made late: one of those who wait asks the pacer for the recipients of whoever is first then, and when the
pacer lets them through, they go to whoever is first by now. So a lane that comes back while others wait for the pacer
has lost nothing, and a lone lane asks the pacer itself, with nothing between.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["Gate", "Lane", "Lanes"]

CREDIT_S = 0.25
"""How much of the pace, in seconds, a lane may make up for after it was away: it may be late, it cannot save."""
LEAST_WEIGHT = 1e-9
"""A lesser weight counts as this one, so that virtual times stay numbers."""
REBASE_AT = 1e9
"""Where virtual times begin anew from 0: far below where adding a batch to one would be lost in rounding."""


class Gate(Protocol):
    """What is asked of the pacer that is shared: the engine's Pacer, read only."""

    @property
    def rate_per_s(self) -> float:
        """The present pace, in recipients per second."""
        ...

    @property
    def batch_recipients(self) -> int:
        """How many recipients a batch may have."""
        ...

    async def acquire(self, recipients: int) -> int:
        """Wait until so many may be sent in one call more; returns a ticket. Raises HaltedError.

        It may be 0, for a call whose recipients have been let through already.
        """
        ...

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many were not accepted."""
        ...

    def throttled(self, sent_at_s: float) -> None:
        """SES throttled a request."""
        ...

    def day_spent(self) -> None:
        """SES says that the day is spent."""
        ...


class Lanes:
    """Shares one pacer among lanes; nothing else may acquire from it."""

    def __init__(self, pacer: Gate) -> None:
        self._turns = _Turns(pacer)

    def open(self, weight: float = 1.0) -> Lane:
        """A lane that begins where the others are.

        Raises:
            ValueError: the weight is not a number above 0.
        """
        return Lane(self._turns, weight)


class Lane:
    """One campaign's way through the pacer; satisfies the engine's Pacer. Made by `Lanes.open`."""

    __slots__ = ("_pacer", "_turns", "_weight", "virtual")

    def __init__(self, turns: _Turns, weight: float) -> None:
        self.weight = weight
        self.virtual = turns.virtual
        """Recipients granted, over the weight: how far it is, on the scale of all lanes."""
        self._turns = turns
        self._pacer = turns.pacer
        turns.lanes.add(self)

    @property
    def weight(self) -> float:
        """Its share is this over the sum of the weights of those who want to send. A change holds from the next batch.

        Raises:
            ValueError: it is not a number above 0.
        """
        return self._weight

    @weight.setter
    def weight(self, weight: float) -> None:
        if not 0 < weight < float("inf"):
            raise ValueError(f"a lane's weight must be a number greater than 0, not {weight!r}")
        self._weight = max(weight, LEAST_WEIGHT)

    @property
    def rate_per_s(self) -> float:
        """The whole pace: a lane has all of it while the others don't want theirs."""
        return self._pacer.rate_per_s

    @property
    def batch_recipients(self) -> int:
        """As the pacer says."""
        return self._pacer.batch_recipients

    async def acquire(self, recipients: int) -> int:
        """Wait for this lane's turn and for the pacer; returns a ticket for `give_back`.

        Raises:
            HaltedError: the account may not send.
        """
        turns = self._turns
        self.virtual = max(self.virtual, turns.virtual - CREDIT_S * self._pacer.rate_per_s / self._weight)
        if turns.led:
            return await turns.queue(self, recipients)
        turns.led = True
        try:
            ticket = await self._pacer.acquire(recipients)
        except BaseException:
            turns.hand_over()
            raise
        if turns.waiting:
            return await turns.lead_with(self, recipients, ticket)
        turns.led = False
        turns.charge(self, recipients)
        return ticket

    def give_back(self, recipients: int, ticket: int) -> None:
        """So many of those acquired were not accepted. Their part of the second is spent, and so is the lane's turn."""
        self._pacer.give_back(recipients, ticket)

    def throttled(self, sent_at_s: float) -> None:
        """The pace is everybody's: the pacer slows."""
        self._pacer.throttled(sent_at_s)

    def day_spent(self) -> None:
        """The day is everybody's: the pacer waits."""
        self._pacer.day_spent()

    def close(self) -> None:
        """The campaign has ended. Whoever still waits here is served."""
        self._turns.lanes.discard(self)


class _Waiter:
    """Somebody in a lane who waits for a turn."""

    __slots__ = ("cost", "lane", "recipients", "turn")

    def __init__(self, lane: Lane, recipients: int, turn: asyncio.Future[int | None] | None) -> None:
        self.lane = lane
        self.recipients = recipients
        self.turn = turn
        """A ticket, or None: go and lead. The leader has no future of its own."""
        self.cost = 0.0


class _Turns:
    """Who is next. One of those who wait leads, that is, asks the pacer for all; while nobody leads, nobody waits."""

    def __init__(self, pacer: Gate) -> None:
        self.pacer = pacer
        self.lanes: set[Lane] = set()
        """Those that are open."""
        self.virtual = 0.0
        """The virtual time at which the latest grant began."""
        self.led = False
        self.waiting: list[_Waiter] = []
        """In the order of their coming."""
        self._in_hand = 0
        """Recipients that the pacer has let through and nobody has got yet; somebody waits for them."""
        self._ticket = 0
        """The oldest of theirs."""
        self._call_in_hand = False
        """Whether the pacer has let a call through that nobody has made yet."""

    def charge(self, lane: Lane, recipients: int) -> float:
        """So many are granted to a lane; returns by how much its virtual time went on."""
        cost = recipients / lane.weight
        self.virtual = max(self.virtual, lane.virtual)
        lane.virtual += cost
        if lane.virtual > REBASE_AT:
            # Only differences count.
            for each in self.lanes | {waiter.lane for waiter in self.waiting}:
                each.virtual -= self.virtual
            self.virtual = 0.0
        return cost

    async def queue(self, lane: Lane, recipients: int) -> int:
        """Somebody leads: wait to be served, or to lead; returns a ticket."""
        turn: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(lane, recipients, turn)
        self.waiting.append(waiter)
        try:
            ticket = await turn
        except asyncio.CancelledError:
            if waiter in self.waiting:
                self.waiting.remove(waiter)
            if not turn.cancelled():  # it had its turn, and is cancelled before it could know
                self._refuse(waiter, turn.result())
            raise
        if ticket is not None:
            return ticket
        waiter.turn = None
        return await self._lead(waiter)

    async def lead_with(self, lane: Lane, recipients: int, ticket: int) -> int:
        """Others have come while the lane, alone until then, acquired so many: go on as their leader."""
        own = _Waiter(lane, recipients, None)
        self.waiting.insert(0, own)
        self._take_in_hand(recipients, ticket)
        return await self._lead(own)

    def hand_over(self) -> None:
        """Whoever led leads no more: the first of those who wait does, if any."""
        heir = self._first()
        if heir is not None:
            assert heir.turn is not None, "there is one leader"
            heir.turn.set_result(None)
            return
        self.led = self._call_in_hand = False
        if self._in_hand:
            self.pacer.give_back(self._in_hand, self._ticket)
            self._in_hand = 0

    async def _lead(self, own: _Waiter) -> int:
        """Ask the pacer, and serve those who are first, until that is oneself; returns one's own ticket."""
        try:
            while True:
                first = self._first()
                assert first is not None, "the leader waits"
                missing = max(0, first.recipients - self._in_hand)
                if missing or not self._call_in_hand:
                    self._take_in_hand(missing, await self.pacer.acquire(missing))
                    continue  # somebody who is further behind may have come
                self.waiting.remove(first)
                first.cost = self.charge(first.lane, first.recipients)
                self._in_hand -= first.recipients
                self._call_in_hand = False
                if first.turn is None:
                    return self._ticket
                first.turn.set_result(self._ticket)
                await asyncio.sleep(0)  # it may want to come again before the next is chosen
        finally:
            if own in self.waiting:
                self.waiting.remove(own)
            self.hand_over()

    def _first(self) -> _Waiter | None:
        """Of those who wait the one whose lane is furthest behind; among equals the first to come."""
        found = None
        for waiter in self.waiting:
            if waiter.turn is not None and waiter.turn.done():
                continue  # cancelled, and has not woken yet
            if found is None or waiter.lane.virtual < found.lane.virtual:
                found = waiter
        return found

    def _take_in_hand(self, recipients: int, ticket: int) -> None:
        if not self._in_hand:
            self._ticket = ticket
        self._in_hand += recipients
        self._call_in_hand = True

    def _refuse(self, waiter: _Waiter, ticket: int | None) -> None:
        """A turn comes back: the lead goes on to the next, what was granted to the day."""
        if ticket is None:
            self.hand_over()
            return
        waiter.lane.virtual -= waiter.cost
        self.pacer.give_back(waiter.recipients, ticket)
