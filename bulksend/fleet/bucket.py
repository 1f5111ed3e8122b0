"""The row that all workers of an account and region lease the quota from: the SQL alone.

Each operation is one statement, hence one transaction that begins and ends in the server: a worker that is stopped
between two of its lines holds no lock. Losing the last of them with the server costs a little quota, so these
transactions do not wait for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import psycopg

from bulksend.errors import JournalError
from bulksend.model import AccountStatus
from bulksend.pacing import PaceSettings, Throttle

__all__ = ["AHEAD_S", "AWAY", "READING_S", "Bucket", "Lease", "Order", "Standing", "connecting"]

T = TypeVar("T")

AHEAD_S = 1.0
"""How far ahead of its time a slice may be given out."""
HORIZON_S = 0.5
"""Of the next so many seconds each worker may hold as much as is left over: a fair part, whoever else is there.

One alone holds half of it, two hold a third each, and so on (dynamic thresholds, as switches share their buffers).
"""
SAVED_S = 0.25
"""How much of what nobody asked for in time may still be asked for."""
READING_S = 30.0
"""How long a worker may take to read GetAccount before another does."""
RETRY_S = 5.0
"""After how long GetAccount is asked again when it did not answer."""
CONNECT_S = 5.0
ANSWER_S = 2.0
"""How long a connection, or an answer, is waited for."""
TOO_FAR_S = 120.0
"""Times that are further ahead were written before the database's clock was set back."""
AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    OSError,
    TimeoutError,
)
"""What says that the database is not there now, or is not the one to be written to."""

Connect = Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]

CLOCK: Final = "(SELECT store_now() AS now, set_config('synchronous_commit', 'off', true) AS relaxed) AS clock"
"""The time, read once. The setting holds for this transaction."""
SEEN: Final = (
    "clock.now, b.max_send_rate_per_s, b.max_24_hour_send, b.sent_last_24_hours, b.sending_enabled, "
    "b.production_access, b.enforcement_status, b.read_at, b.asked_at, b.readings, b.own_24_hours, "
    "greatest(b.own_24_hours, b.sent_last_24_hours) + b.since_read + b.before_read, b.told_spent_at, b.given_until, "
    "b.factor, b.ceiling, b.steps_above, b.cut_at, b.stepped_at"
)
THIS: Final = "b.account = %(account)s AND b.region = %(region)s"

UNBEGUN: Final = (
    f"least(b.since_read, greatest(0, least(b.given_until, clock.now + {TOO_FAR_S}) - clock.now) * b.per_s)"
)
"""Given out, and certainly not sent yet."""

MAKE: Final = "INSERT INTO bucket (account, region) VALUES (%(account)s, %(region)s) ON CONFLICT DO NOTHING"
LOOK: Final = f"SELECT {SEEN} FROM bucket AS b, {CLOCK} WHERE {THIS}"  # noqa: S608  our own words
LEASE: Final = f"""
UPDATE bucket AS b SET (given, begins, per_s, given_until, since_read, before_read) = (
    SELECT slice.given,
           CASE WHEN slice.given > 0 THEN line.begins ELSE b.begins END,
           line.per_s,
           CASE WHEN slice.given > 0 THEN line.begins + slice.given / line.per_s ELSE line.given_until END,
           day.since_read + slice.given,
           day.before_read
    FROM (
        SELECT greatest(least(b.max_send_rate_per_s * %(share)s, %(cap_per_s)s::double precision), 0.01) * b.factor
                   AS per_s,
               CASE WHEN b.begins > clock.now + {TOO_FAR_S} THEN clock.now ELSE b.given_until END AS given_until
    ) AS pace
    CROSS JOIN LATERAL (
        SELECT least(pace.per_s, %(calls_per_s)s::double precision * greatest(1, least(50, floor(pace.per_s))))
                   AS per_s,
               pace.given_until,
               greatest(pace.given_until, clock.now - {SAVED_S}) AS begins
    ) AS line
    CROSS JOIN LATERAL (
        SELECT greatest(0, b.since_read - CASE WHEN b.readings = %(ticket)s THEN %(back)s ELSE 0 END) AS since_read,
               greatest(0, b.before_read - CASE b.readings WHEN %(ticket)s THEN %(back_before)s
                                                           WHEN %(ticket)s + 1 THEN %(back)s ELSE 0 END) AS before_read
    ) AS day
    CROSS JOIN LATERAL (
        SELECT coalesce(b.max_24_hour_send, 'infinity') - %(reserve)s - greatest(b.own_24_hours, b.sent_last_24_hours)
                   - day.since_read - day.before_read AS left_today,
               (line.per_s * ({HORIZON_S} - greatest(0, line.begins - clock.now)) - %(held)s) / 2 AS fair
    ) AS room
    CROSS JOIN LATERAL (
        SELECT CASE WHEN %(need)s > 0 AND b.sending_enabled AND b.enforcement_status <> 'SHUTDOWN'
                     AND b.told_spent_at IS NULL
                     AND abs(clock.now - b.read_at) <= %(stale_after_s)s
                     AND room.left_today >= greatest(%(need)s, %(worth)s)
                     AND line.begins <= clock.now + {AHEAD_S}
               THEN least(
                   %(need)s + %(batch)s * floor(greatest(0, least(%(want)s, room.fair) - %(need)s) / %(batch)s),
                   greatest(%(need)s, floor(room.left_today)))
               ELSE 0 END AS given
    ) AS slice
)
FROM {CLOCK} WHERE {THIS} RETURNING b.given, b.begins, b.per_s, {SEEN}
"""  # noqa: S608
THROTTLE: Final = f"""
UPDATE bucket AS b SET factor = %(factor)s, ceiling = %(ceiling)s, steps_above = %(steps_above)s,
    cut_at = CASE WHEN %(cut)s THEN greatest(clock.now, least(b.given_until, clock.now + {TOO_FAR_S}))
                  ELSE b.cut_at END,
    stepped_at = CASE WHEN %(cut)s THEN greatest(clock.now, least(b.given_until, clock.now + {TOO_FAR_S}))
                      ELSE clock.now END
FROM {CLOCK} WHERE {THIS} AND b.cut_at = %(seen_cut_at)s AND b.stepped_at = %(seen_stepped_at)s RETURNING {SEEN}
"""  # noqa: S608
TELL_SPENT: Final = f"UPDATE bucket AS b SET told_spent_at = clock.now FROM {CLOCK} WHERE {THIS} RETURNING {SEEN}"  # noqa: S608
BEGIN_READING: Final = f"""
UPDATE bucket AS b SET asked_at = clock.now, reading_until = clock.now + {READING_S}, readings = b.readings + 1,
    before_read = b.before_read + b.since_read - {UNBEGUN}, since_read = {UNBEGUN}
FROM {CLOCK}
WHERE {THIS} AND (b.read_at IS NULL OR b.read_at NOT BETWEEN clock.now - %(max_age_s)s AND clock.now + {TOO_FAR_S})
    AND (b.reading_until IS NULL OR b.reading_until NOT BETWEEN clock.now AND clock.now + {TOO_FAR_S})
RETURNING {SEEN}
"""  # noqa: S608
END_READING: Final = f"""
UPDATE bucket AS b SET max_send_rate_per_s = %(max_send_rate_per_s)s, max_24_hour_send = %(max_24_hour_send)s,
    sent_last_24_hours = %(sent_last_24_hours)s, sending_enabled = %(sending_enabled)s,
    production_access = %(production_access)s, enforcement_status = %(enforcement_status)s,
    own_24_hours = %(own_24_hours)s, before_read = 0, read_at = b.asked_at, reading_until = NULL,
    told_spent_at = CASE WHEN b.told_spent_at > b.asked_at THEN b.told_spent_at END
FROM {CLOCK} WHERE {THIS} AND b.asked_at = %(asked_at)s RETURNING {SEEN}
"""  # noqa: S608
FAIL_READING: Final = f"""
UPDATE bucket AS b SET since_read = b.since_read + b.before_read, before_read = 0,
    reading_until = clock.now + {RETRY_S}
FROM {CLOCK} WHERE {THIS} AND b.asked_at = %(asked_at)s RETURNING {SEEN}
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Standing:
    """The bucket as it was at `now`. Times are epoch seconds of the database's clock, amounts recipients."""

    now: float
    account: AccountStatus | None
    """What GetAccount said last, asked at `read_at`; None before the first time."""
    read_at: float
    asked_at: float
    readings: int
    own_24_hours: float
    used_24_hours: float
    """Sent in 24 hours by us and others, and given out to be sent."""
    told_spent: bool
    given_until: float
    throttle: Throttle
    """Not to be changed."""

    @property
    def age_s(self) -> float:
        """How old the answer of GetAccount is."""
        return abs(self.now - self.read_at)


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker asks for, in recipients; and what it gives back to the day.

    `need` is the least that is of use to it (0: nothing), `want` what it could do with; what is given is `need` and
    so many whole `batch`es. `held` is what it has. Nothing is given unless the day has room for `worth`. `back` comes
    back of what was given out during reading `ticket`, `back_before` of that before it.
    """

    need: float
    want: float
    batch: int
    held: float = 0.0
    worth: float = 0.0
    ticket: int = 0
    back: float = 0.0
    back_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What was given: `given` recipients (0: nothing), from the time `begins` on at `per_s`."""

    given: float
    begins: float
    per_s: float
    standing: Standing


def connecting(url: str) -> Connect:
    """How to connect to the database at a URL. Raises an error of AWAY, or psycopg.Error."""
    return partial(
        psycopg.AsyncConnection.connect,
        url,
        autocommit=True,
        connect_timeout=round(CONNECT_S),
        application_name="bulksend bucket",
    )


class Bucket:
    """One worker's line to the row. `connect` makes a connection in autocommit mode.

    Every operation raises an error of AWAY when the database cannot be had, after a few seconds at most; the next one
    connects anew. They raise JournalError when it can, and has no such table. One at a time.
    """

    def __init__(self, connect: Connect, account: str, region: str) -> None:
        self._connect = connect
        self._row = {"account": account, "region": region}
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def look(self) -> Standing:
        """How it is now."""
        standing = _standing(await self._ask(LOOK, {}))
        assert standing is not None, "the row is made with the connection"
        return standing

    async def lease(self, order: Order, settings: PaceSettings, stale_after_s: float) -> Lease:
        """The next slice, unless something stands in the way; `stale_after_s` is for how long GetAccount holds."""
        row = await self._ask(
            LEASE,
            {
                "share": settings.share,
                "cap_per_s": settings.max_recipients_per_s,
                "calls_per_s": settings.max_calls_per_s,
                "reserve": settings.daily_reserve,
                "stale_after_s": stale_after_s,
                "need": order.need,
                "want": order.want,
                "batch": order.batch,
                "held": order.held,
                "worth": order.worth,
                "ticket": order.ticket,
                "back": order.back,
                "back_before": order.back_before,
            },
        )
        assert row is not None, "the row is made with the connection"
        standing = _standing(row[3:])
        assert standing is not None
        return Lease(row[0], row[1], row[2], standing)

    async def change_throttle(self, seen: Throttle, new: Throttle, *, cut: bool) -> Standing | None:
        """Replace the throttle's state; None if it is not what was `seen` any more.

        A cut counts from when the slices end that are given out already: what is sent of them knows nothing of it.
        """
        return _standing(
            await self._ask(
                THROTTLE,
                {
                    "factor": new.factor,
                    "ceiling": new.ceiling,
                    "steps_above": new.steps_above,
                    "cut": cut,
                    "seen_cut_at": seen.cut_at_s,
                    "seen_stepped_at": seen.stepped_at_s,
                },
            )
        )

    async def tell_spent(self) -> Standing | None:
        """SES says that the day is spent: nobody gets anything until GetAccount has been asked after this."""
        return _standing(await self._ask(TELL_SPENT, {}))

    async def begin_reading(self, max_age_s: float) -> Standing | None:
        """Whether this worker is to ask GetAccount now: not if the last answer is younger, or another is about it."""
        return _standing(await self._ask(BEGIN_READING, {"max_age_s": max_age_s}))

    async def end_reading(self, asked_at: float, account: AccountStatus, own_24_hours: float) -> Standing | None:
        """What GetAccount said to who began to read at `asked_at`; None if another has begun since."""
        return _standing(
            await self._ask(
                END_READING,
                {
                    "asked_at": asked_at,
                    "max_send_rate_per_s": account.max_send_rate_per_s,
                    "max_24_hour_send": account.max_24_hour_send,
                    "sent_last_24_hours": account.sent_last_24_hours,
                    "sending_enabled": account.sending_enabled,
                    "production_access": account.production_access,
                    "enforcement_status": account.enforcement_status,
                    "own_24_hours": own_24_hours,
                },
            )
        )

    async def fail_reading(self, asked_at: float) -> Standing | None:
        """GetAccount did not answer; somebody is to try again soon."""
        return _standing(await self._ask(FAIL_READING, {"asked_at": asked_at}))

    async def close(self) -> None:
        """Close the connection; the next operation opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _ask(self, statement: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        try:
            if self._connection is None:
                self._connection = await _within(2 * CONNECT_S, self._open())
            return await _within(ANSWER_S, self._row_of(self._connection, statement, parameters))
        except psycopg.Error as error:
            await self.close()
            if isinstance(error, AWAY):
                raise
            text = " ".join(str(error).split())
            raise JournalError(
                f"the quota's row cannot be used: {text}", hint="Bring the tables up to date: bulksend migrate."
            ) from error
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        connection = await self._connect()
        try:
            await connection.execute(MAKE, self._row)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _row_of(
        self, connection: psycopg.AsyncConnection[Any], statement: str, parameters: Mapping[str, Any]
    ) -> tuple[Any, ...] | None:
        cursor = await connection.execute(statement, {**self._row, **parameters})
        return await cursor.fetchone()


async def _within(limit_s: float, work: Coroutine[Any, Any, T]) -> T:
    """Its result; or TimeoutError, without waiting for it to end in good order, which can take long."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=limit_s)
        if task.done():
            return task.result()
        raise TimeoutError(f"no answer within {limit_s:.0f} s")
    finally:
        while not task.done():
            # The first asks the driver to stop the statement, the second to stop asking.
            task.cancel()
            await asyncio.wait({task}, timeout=0.05)
        with suppress(BaseException):
            task.exception()


def _standing(row: tuple[Any, ...] | None) -> Standing | None:
    if row is None:
        return None
    (now, rate, limit, sent, enabled, access, status, read_at, asked_at, readings, own, used, told) = row[:13]
    (given_until, factor, ceiling, steps_above, cut_at, stepped_at) = row[13:]
    account = None if read_at is None else AccountStatus(rate, limit, sent, enabled, access, status)
    return Standing(
        now=now,
        account=account,
        read_at=read_at or 0.0,
        asked_at=asked_at or 0.0,
        readings=readings,
        own_24_hours=own,
        used_24_hours=used or 0.0,
        told_spent=told is not None,
        given_until=given_until,
        throttle=Throttle(factor, ceiling, steps_above, cut_at, stepped_at),
    )
