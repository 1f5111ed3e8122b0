"""A queue as SQS keeps one: a message that was received is out of sight, and comes again unless it is deleted in time.

Sources: Amazon SQS Developer Guide, Visibility timeout, Dead-letter queues, Short and long polling; API reference,
ReceiveMessage, DeleteMessage, ChangeMessageVisibility.
"""

from __future__ import annotations

import asyncio
import heapq
import secrets
import uuid
from base64 import b64decode, b64encode
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, unique
from typing import NamedTuple

__all__ = ["MAX_MESSAGES", "MAX_RECEIVES", "HeldQueue", "Message", "ReceiptError", "Received", "Refusal", "State"]

MAX_RECEIVES = 10
"""A message that was received as often without being deleted goes to the dead-letter queue: as events setup has it."""
MAX_MESSAGES = 120_000
"""SQS has as many in flight at most. Here that is all there is room for."""
MAX_BYTES = 256 * 1024 * 1024
"""Of their bodies."""
_STALE = 1_000
"""So many more than there are messages out of sight may wait in the heap before it is swept."""


@unique
class State(Enum):
    """Where a message is.

    READY      may be received: then it is IN_FLIGHT. Deleted by a receipt of before: GONE.
    DELAYED    may not be received yet; READY when its time has come.
    IN_FLIGHT  received; READY when its time has come, GONE when it is deleted, or moved to the dead-letter queue.
    GONE       for good.
    """

    READY = "ready"
    DELAYED = "delayed"
    IN_FLIGHT = "in flight"
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Message:
    """One message. `sent_at` and `first_received_at` are epoch seconds, `visible_at` is of the steady clock."""

    number: int
    id: str
    body: str
    size_bytes: int
    sent_at: float
    state: State = State.READY
    visible_at: float = 0.0
    receives: int = 0
    first_received_at: float = 0.0


class Received(NamedTuple):
    """A message as it is handed out; `receives` is how often it was by then, this time among them."""

    message: Message
    receipt: str
    receives: int


@unique
class Refusal(Enum):
    """Why nothing can be done by a receipt handle.

    INVALID        it is none that this queue has given.
    GONE           its message is not there any more.
    NOT_IN_FLIGHT  its message may be received again already, or was, by somebody else.
    """

    INVALID = "invalid"
    GONE = "gone"
    NOT_IN_FLIGHT = "not in flight"


class ReceiptError(Exception):
    """Nothing can be done by this receipt handle"""

    def __init__(self, why: Refusal) -> None:
        self.why = why
        super().__init__(why.value)


class HeldQueue:
    """One queue, in memory and bounded. `clock` is the time of day in epoch seconds, `steady` never jumps.

    What was received too often goes to `dead`, if there is one.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        steady: Callable[[], float],
        dead: HeldQueue | None = None,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.name = name
        self._dead = dead
        self._clock = clock
        self._steady = steady
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._arrived = asyncio.Event()
        self.clear()

    def clear(self) -> None:
        """Forget every message, and every receipt handle."""
        self.made_at = self._clock()
        self._life = secrets.token_hex(4)
        self._next = 0
        self._messages: dict[int, Message] = {}
        self._size_bytes = 0
        self._ready: deque[Message] = deque()
        self._hidden: list[tuple[float, int, Message]] = []
        """A heap, by the time at which they are seen again. What has changed since stays in it as a stale entry."""
        self._turn = 0
        self._counts: Counter[State] = Counter()

    def count(self, state: State) -> int:
        """How many messages are in this state now."""
        self._show()
        return self._counts[state]

    def oldest_s(self) -> float | None:
        """For how long the oldest message has been there; None where there is none."""
        oldest = next(iter(self._messages.values()), None)
        return None if oldest is None else max(0.0, self._clock() - oldest.sent_at)

    # Putting in -------------------------------------------------------------------------------------------------------

    def put(self, body: str, delay_s: float = 0.0) -> Message | None:
        """Put a message in, to be seen after so long; None where there is no room."""
        return self._add(str(uuid.uuid4()), body, self._clock(), delay_s)

    def _add(self, message_id: str, body: str, sent_at: float, delay_s: float = 0.0) -> Message | None:
        size_bytes = len(body.encode())
        if len(self._messages) >= self._max_messages or self._size_bytes + size_bytes > self._max_bytes:
            return None
        message = Message(self._next, message_id, body, size_bytes, sent_at, state=State.GONE)
        self._messages[message.number] = message
        self._next += 1
        self._size_bytes += size_bytes
        if delay_s > 0:
            self._hide(message, State.DELAYED, delay_s)
        else:
            self._make_ready(message)
        return message

    # Taking out -------------------------------------------------------------------------------------------------------

    def take(self, most: int, hidden_s: float) -> list[Received]:
        """Up to so many messages, out of sight for so long."""
        self._show()
        taken: list[Received] = []
        while self._ready and len(taken) < most:
            message = self._ready.popleft()
            if message.state is not State.READY or self._is_buried(message):
                continue
            message.receives += 1
            message.first_received_at = message.first_received_at or self._clock()
            self._hide(message, State.IN_FLIGHT, hidden_s)
            taken.append(Received(message, self._receipt(message), message.receives))
        return taken

    async def some(self, until: float) -> None:
        """Wait until there may be something to take, no longer than `until`, of the steady clock."""
        self._arrived.clear()
        due = min(until, self._hidden[0][0]) if self._hidden else until
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - self._steady())):
                await self._arrived.wait()

    def delete(self, receipt: str) -> None:
        """Delete a message by the last receipt handle that was given of it; by an older one nothing happens.

        Raises:
            ReceiptError: INVALID.
        """
        message, is_last = self._of(receipt)
        if message is not None and is_last:
            self._remove(message)

    def hide(self, receipt: str, for_s: float) -> None:
        """Keep a message out of sight for so long from now on; 0 shows it at once.

        Raises:
            ReceiptError: any.
        """
        message, is_last = self._of(receipt)
        if message is None:
            raise ReceiptError(Refusal.GONE)
        self._show()
        if message.state is not State.IN_FLIGHT or not is_last:
            raise ReceiptError(Refusal.NOT_IN_FLIGHT)
        if for_s > 0:
            self._hide(message, State.IN_FLIGHT, for_s)
        else:
            self._make_ready(message)

    def _receipt(self, message: Message) -> str:
        return b64encode(f"{self.name} {self._life} {message.number} {message.receives}".encode()).decode()

    def _of(self, receipt: str) -> tuple[Message | None, bool]:
        """The message of a receipt handle, None if it is gone; and whether it is the last that was given of it."""
        try:
            name, life, number, nth = b64decode(receipt.encode("ascii"), validate=True).decode("ascii").split(" ")
            which, receives = int(number), int(nth)
        except ValueError as error:
            raise ReceiptError(Refusal.INVALID) from error
        if (name, life) != (self.name, self._life) or not 0 <= which < self._next:
            raise ReceiptError(Refusal.INVALID)
        message = self._messages.get(which)
        if message is not None and not 0 < receives <= message.receives:
            raise ReceiptError(Refusal.INVALID)
        return message, message is not None and message.receives == receives

    # States -----------------------------------------------------------------------------------------------------------

    def _become(self, message: Message, state: State) -> None:
        self._counts[message.state] -= 1
        message.state = state
        self._counts[state] += 1

    def _make_ready(self, message: Message) -> None:
        self._become(message, State.READY)
        self._ready.append(message)
        self._arrived.set()

    def _hide(self, message: Message, state: State, for_s: float) -> None:
        self._become(message, state)
        message.visible_at = self._steady() + for_s
        self._turn += 1
        heapq.heappush(self._hidden, (message.visible_at, self._turn, message))

    def _remove(self, message: Message) -> None:
        self._become(message, State.GONE)
        del self._messages[message.number]
        self._size_bytes -= message.size_bytes
        message.body = ""  # a stale entry keeps no text
        hidden = self._counts[State.IN_FLIGHT] + self._counts[State.DELAYED]
        if len(self._hidden) > 2 * hidden + _STALE:
            self._hidden = [entry for entry in self._hidden if self._is_hidden(entry)]
            heapq.heapify(self._hidden)

    def _is_buried(self, message: Message) -> bool:
        """Whether a message has been received too often, and is in the dead-letter queue now."""
        if self._dead is None or message.receives < MAX_RECEIVES:
            return False
        if self._dead._add(message.id, message.body, message.sent_at) is None:  # noqa: SLF001 - of the same class
            return False
        self._remove(message)
        return True

    @staticmethod
    def _is_hidden(entry: tuple[float, int, Message]) -> bool:
        visible_at, _, message = entry
        return message.state in (State.IN_FLIGHT, State.DELAYED) and message.visible_at == visible_at

    def _show(self) -> None:
        """What was out of sight long enough may be received again."""
        now = self._steady()
        while self._hidden and self._hidden[0][0] <= now:
            entry = heapq.heappop(self._hidden)
            if self._is_hidden(entry):
                self._make_ready(entry[2])
