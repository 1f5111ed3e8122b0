"""A model of SES with a tally of its own, for properties over thousands of sequences of faults."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from enum import Enum

from bulksend.model import AllAccepted, Answer, Answered, Chunk, Doubtful, EntryResult, NotSent, Refused

ROW = re.compile(rb'"bulksend-row","Value":"(\d+)"')


class Weather(Enum):
    """What happens to one request."""

    FINE = "fine"
    SOME_TRANSIENT = "some transient"
    SOME_FAILED = "some failed"
    SOME_REJECTED = "some rejected"
    SOME_UNKNOWN = "some unknown"
    ENTRY_THROTTLED = "entry throttled"
    THROTTLED = "throttled"
    BAD_REQUEST = "bad request"
    UNAVAILABLE = "unavailable"
    NOT_SENT = "not sent"
    CREDENTIALS = "credentials"
    SKEWED = "skewed"
    LIMIT = "limit"
    LOST_AFTER = "accepted, answer lost"
    LOST_BEFORE = "not accepted, answer lost"
    TOO_FEW = "accepted, too few results"
    ERROR_500 = "accepted, 500"
    TEMPLATE = "template not found"
    SUSPENDED = "account suspended"


SOME = {
    Weather.SOME_TRANSIENT: "TRANSIENT_FAILURE",
    Weather.SOME_FAILED: "FAILED",
    Weather.SOME_REJECTED: "MESSAGE_REJECTED",
    Weather.SOME_UNKNOWN: "NEVER_HEARD_OF",
    Weather.ENTRY_THROTTLED: "ACCOUNT_THROTTLED",
    Weather.TEMPLATE: "TEMPLATE_DOES_NOT_EXIST",
    Weather.SUSPENDED: "ACCOUNT_SUSPENDED",
}
REFUSALS = {
    Weather.THROTTLED: (429, "TooManyRequestsException"),
    Weather.BAD_REQUEST: (400, "BadRequestException"),
    Weather.UNAVAILABLE: (503, "ServiceUnavailable"),
    Weather.CREDENTIALS: (403, "ExpiredTokenException"),
    Weather.SKEWED: (400, "RequestExpired"),
    Weather.LIMIT: (400, "LimitExceededException"),
    Weather.ERROR_500: (500, "InternalFailure"),
}


class SesInMemory:
    """Satisfies the engine's Transport; `accepted` counts copies by row."""

    kind: str = "in memory"
    by_endpoint: bool = False

    def __init__(self, weather: Callable[[], Weather]) -> None:
        self._weather = weather
        self.accepted: Counter[int] = Counter()
        self.ambiguous = 0
        self.generation = 0
        self.requests = 0

    async def send(self, entries_json: bytes | memoryview, send_before_s: float) -> Answer:  # noqa: ARG002  no deadline here
        rows = [int(n) for n in ROW.findall(entries_json)]
        self.requests += 1
        weather = self._weather()
        if weather is Weather.NOT_SENT:
            return NotSent("refused")
        if weather in (Weather.LOST_AFTER, Weather.TOO_FEW, Weather.ERROR_500):
            self._accept(rows)
        await asyncio.sleep(0.01)
        if weather in (Weather.LOST_AFTER, Weather.LOST_BEFORE):
            self.ambiguous += len(rows)
            return Doubtful("reset")
        if weather is Weather.TOO_FEW:
            self.ambiguous += len(rows)
            return AllAccepted([f"m{n}" for n in rows[1:]])
        if weather in REFUSALS:
            http_status, code = REFUSALS[weather]
            self.ambiguous += len(rows) if weather is Weather.ERROR_500 else 0
            return Refused(http_status, code, "said so", by_ses=True, server_time=0.0, generation=self.generation)
        status = SOME.get(weather)
        if status is None:
            self._accept(rows)
            return AllAccepted([f"m{row}" for row in rows])
        results = []
        for place, row in enumerate(rows):
            if place % 3 == 0:
                results.append(EntryResult(status, "an error text"))
                self.ambiguous += weather is Weather.SOME_UNKNOWN
            else:
                self._accept([row])
                results.append(EntryResult("SUCCESS", "", f"m{row}"))
        return Answered(results)

    async def renew_credentials(self, refused_generation: int) -> int:
        if refused_generation == self.generation:
            self.generation += 1
        return self.generation

    def set_clock(self, server_time: float) -> None:
        pass

    def _accept(self, rows: list[int]) -> None:
        self.accepted.update(rows)


class OpenGate:
    """Satisfies the engine's Pacer: no quota stands in the way."""

    rate_per_s = 1000.0

    def __init__(self, batch_recipients: int = 5) -> None:
        self.batch_recipients = batch_recipients

    async def acquire(self, recipients: int) -> int:
        await asyncio.sleep(0.001 * recipients)
        return 0

    def give_back(self, recipients: int, ticket: int) -> None:
        pass

    def throttled(self, sent_at_s: float) -> None:
        pass

    def day_spent(self) -> None:
        pass


class ListInMemory:
    """Satisfies the engine's Source: chunks whose entries say no more than their row."""

    def __init__(self, chunks: int, entries_each: int) -> None:
        self.chunks = chunks
        self.entries_each = entries_each

    async def chunk(self, number: int) -> Chunk:
        return self.read(number)

    def read(self, number: int) -> Chunk:
        rows = range(number * self.entries_each + 1, (number + 1) * self.entries_each + 1)
        pieces = [b'{"ReplacementTags":[{"Name":"bulksend-row","Value":"%d"}]},' % row for row in rows]
        offsets = [0]
        for piece in pieces:
            offsets.append(offsets[-1] + len(piece))
        return Chunk(number, rows, [1] * len(rows), offsets, memoryview(b"".join(pieces)))
