"""The group commit of the journal on PostgreSQL.

An outage is waited for: whoever asked waits, and so sends nothing. What was being committed when the connection was
lost may or may not be durable; it is done again: an intent under a new id, the old one counting as never sent.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique
from typing import Any, cast

import psycopg

from bulksend.errors import BulksendError, JournalError
from bulksend.journal.postgres_server import IDS_IN_BLOCK, PgDatabase, PgServer, is_outage
from bulksend.journal.rows import OutcomeRow, places_of
from bulksend.journal.writer import GroupWriter, Operation
from bulksend.model import Batch

__all__ = ["Answered", "Asked", "Grant", "Ids", "Kind", "PostgresWriter"]

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 2.0


@unique
class Kind(Enum):
    """Operations that are done many at a time."""

    INTEND = "intend"
    SETTLE = "settle"


@dataclass(frozen=True, slots=True)
class Grant:
    """What the database says of a chunk in the transaction of an intent."""

    epoch: int
    decisions: int
    is_leased: bool
    is_sending: bool


@dataclass(slots=True)
class Asked:
    """An intent that is asked for.

    `decide` is given the id that the attempt would have, the grant and the time; it gives the batch and the result.
    """

    batch: Batch
    epoch: int
    decide: Callable[[PgDatabase, int, Grant | None, float], tuple[Batch | None, Any]]
    tried: list[int] = field(default_factory=list)
    """The attempt ids of earlier tries: each may have become durable when the connection was lost."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is to be recorded. `epoch` is that of the attempt."""

    attempt_id: int
    campaign_id: str
    chunk: int
    kept: OutcomeRow
    leaves_pending: bool


class Ids:
    """Attempt ids, in blocks."""

    def __init__(self) -> None:
        self._next = 0
        self._end = 0

    def take(self, db: PgDatabase) -> int:
        """The next."""
        if self._next == self._end:
            (block,) = db.execute("SELECT nextval('attempt_block')").fetchone()
            self._next, self._end = block * IDS_IN_BLOCK, (block + 1) * IDS_IN_BLOCK
        self._next += 1
        return self._next - 1

    def begin_anew(self) -> None:
        """What comes is greater than all that any worker has taken until now."""
        self._next = self._end


class PostgresWriter(GroupWriter):
    """Does operations in transactions on one connection, which it makes anew whenever it is lost.

    `on_trouble` is told what is wrong while the database cannot be written, and "" when it can again; `on_connect` may
    look at each new connection and raise JournalError. An operation that raises BulksendError fails alone. When this
    process does not go on for `stalled_after_s` in the midst of a transaction (it is frozen, or its machine is gone),
    the database ends that, and nobody waits any longer for the rows that it has locked.
    """

    def __init__(
        self,
        server: PgServer,
        holder: str,
        *,
        on_trouble: Callable[[str], None],
        on_connect: Callable[[PgDatabase], None],
        stalled_after_s: float,
        max_group: int = 256,
    ) -> None:
        super().__init__(max_group)
        self._server = server
        self._holder = holder
        self._stalled_after_s = stalled_after_s
        self._on_trouble = on_trouble
        self._on_connect = on_connect
        self._db: PgDatabase | None = None
        self._given_up = threading.Event()
        self._in_trouble = False
        self.ids = Ids()
        self.start()

    def give_up(self) -> None:
        """Do not wait for the database any more: what is still asked fails."""
        self._given_up.set()

    def _end(self) -> None:
        self._let_go()

    def _commit(self, group: list[Operation[Any]]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                self._try(group)
            except psycopg.Error as error:
                self._let_go()
                if len(group) > 1 and not is_outage(error):
                    for operation in group:  # whatever is wrong is wrong with one of them: the others go on
                        self._commit([operation])
                    return None
                failure = self._server.explained(error, "written")
                if not is_outage(error) or self._given_up.is_set():
                    return _fail(group, failure)
                self._tell(failure.message)
                self._given_up.wait(pause_s)
                pause_s = min(MAX_PAUSE_S, 2 * pause_s)
            except Exception as error:  # noqa: BLE001  whatever it is, everybody has to hear of it, and the next go on
                self._let_go()
                return _fail(group, error if isinstance(error, BulksendError) else JournalError(f"{error}"))
            else:
                self._tell("")
                return None

    def _try(self, group: list[Operation[Any]]) -> None:
        for operation in group:
            operation.error = None
        db = self._db
        if db is None:
            db = PgDatabase(self._server.connect())
            try:
                db.execute(STALLED_AFTER, (f"{self._stalled_after_s * 1000:.0f}ms",))
                self._on_connect(db)
            except BaseException:
                db.connection.close()
                raise
            self._db = db
        db.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        db.execute("SET LOCAL synchronous_commit = on")
        start = 0
        while start < len(group):
            end = start
            while end < len(group) and group[end].kind is not None:
                end += 1
            if end > start:
                self._rows(db, group[start:end])
            else:
                end += 1
                _work(db, group[start])
            start = end
        db.execute("COMMIT")

    def _rows(self, db: PgDatabase, group: Sequence[Operation[Any]]) -> None:
        answers = [cast("Answered", operation.work) for operation in group if operation.kind is Kind.SETTLE]
        if answers:
            _settle(db, answers)
        asked = [operation for operation in group if operation.kind is Kind.INTEND]
        if asked:
            self._intend(db, asked)

    def _intend(self, db: PgDatabase, operations: Sequence[Operation[Any]]) -> None:
        again = sorted({(o.work.batch.campaign_id, o.work.batch.chunk.number) for o in operations if o.work.tried})
        if again:
            # As with answers that come late: whoever has closed the chunk meanwhile took these entries to be in doubt.
            db.connection.execute(LOCK_CHUNKS, _columns(again))
        grants, now = _grants(db, {(o.work.batch.campaign_id, o.work.batch.chunk.number) for o in operations})
        rows: list[tuple[Any, ...]] = []
        unsent: list[int] = []
        for operation in operations:
            asked: Asked = operation.work
            unsent += asked.tried
            grant = grants.get((asked.batch.campaign_id, asked.batch.chunk.number))
            attempt_id = self.ids.take(db)
            asked.tried.append(attempt_id)
            batch, operation.result = asked.decide(db, attempt_id, grant, now)
            if batch is None:
                continue
            first, count, listed = places_of(batch.indices)
            rows.append(
                (
                    attempt_id,
                    batch.campaign_id,
                    batch.chunk.number,
                    asked.epoch,
                    first,
                    count,
                    None if listed is None else f"{{{','.join(map(str, listed))}}}",
                    batch.recipients,
                )
            )
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            db.connection.execute(INSERT_ATTEMPTS, (self._holder, now, *columns))
        # They may have become durable when the connection was lost; nothing went out, and nothing will.
        if unsent and db.connection.execute(NEVER_SENT, (now, unsent)).rowcount:
            _reopen(db, again)

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(psycopg.Error):
                self._db.connection.close()
            self._db = None

    def _tell(self, trouble: str) -> None:
        if bool(trouble) != self._in_trouble:
            self._in_trouble = bool(trouble)
            self._on_trouble(trouble)


STALLED_AFTER = "SELECT set_config('idle_in_transaction_session_timeout', ?, false)"
INSERT_ATTEMPTS = (
    "INSERT INTO attempt (id, campaign_id, chunk, epoch, first, count, indices, recipients, holder, at) "
    "SELECT id, campaign_id, chunk, epoch, first, count, indices::integer[], recipients, %s, %s "
    "FROM unnest(%s::bigint[], %s::text[], %s::integer[], %s::bigint[], %s::integer[], %s::integer[], %s::text[], "
    "%s::integer[]) AS new (id, campaign_id, chunk, epoch, first, count, indices, recipients)"
)
INSERT_OUTCOMES = (
    "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) "
    "SELECT attempt_id, store_now(), spent, message_ids::text[], exceptions::jsonb "
    "FROM unnest(%s::bigint[], %s::integer[], %s::text[], %s::text[]) "
    "AS new (attempt_id, spent, message_ids, exceptions) "
    "WHERE EXISTS (SELECT 1 FROM attempt WHERE attempt.id = new.attempt_id) ON CONFLICT (attempt_id) DO NOTHING"
)
"""An attempt that the database does not know was made before it failed over or was restored: it is in doubt there."""
LOCK_CHUNKS = (
    "SELECT 1 FROM chunk k JOIN unnest(%s::text[], %s::integer[]) AS late (campaign_id, number) "
    "ON k.campaign_id = late.campaign_id AND k.number = late.number ORDER BY k.campaign_id, k.number FOR UPDATE OF k"
)
LOCK_CAMPAIGNS = "SELECT 1 FROM campaign WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
REOPEN_CHUNKS = (
    "UPDATE chunk SET done = false, due_at = NULL FROM unnest(%s::text[], %s::integer[]) AS late (campaign_id, number) "
    "WHERE chunk.campaign_id = late.campaign_id AND chunk.number = late.number AND chunk.done "
    "RETURNING chunk.campaign_id"
)
REOPEN_CAMPAIGNS = "UPDATE campaign SET state = 'queued' WHERE id = ANY(%s) AND state = 'finished'"
NEVER_SENT = (
    "INSERT INTO outcome (attempt_id, at, spent, message_ids, exceptions) "
    "SELECT id, %s, 0, '{}', (SELECT jsonb_agg(jsonb_build_array(place, 'unreachable', 'NOT_SENT', "
    "'the database was lost before the request left', NULL)) FROM generate_series(0, count - 1) AS place) "
    "FROM attempt WHERE id = ANY(%s) ON CONFLICT (attempt_id) DO NOTHING"
)
GRANTS = (
    "SELECT k.campaign_id, k.number, k.epoch, k.decisions, coalesce(k.leased_until > store_now(), false), "
    "c.state = 'sending', store_now() "
    "FROM chunk k JOIN campaign c ON c.id = k.campaign_id "
    "JOIN unnest(%s::text[], %s::integer[]) AS wanted (campaign_id, number) "
    "ON k.campaign_id = wanted.campaign_id AND k.number = wanted.number "
    "ORDER BY k.campaign_id, k.number FOR SHARE OF k"
)


def _grants(db: PgDatabase, wanted: set[tuple[str, int]]) -> tuple[dict[tuple[str, int], Grant], float]:
    """What holds of these chunks until the transaction ends: nobody raises an epoch or decides anything meanwhile."""
    ordered = sorted(wanted)
    found: dict[tuple[str, int], Grant] = {}
    now = 0.0
    for campaign_id, number, epoch, decisions, is_leased, is_sending, at in db.connection.execute(
        GRANTS, ([one for one, _ in ordered], [number for _, number in ordered])
    ):
        found[campaign_id, number] = Grant(epoch, decisions, is_leased, is_sending)
        now = at
    return found, now


def _settle(db: PgDatabase, answers: Sequence[Answered]) -> None:
    late = sorted({(one.campaign_id, one.chunk) for one in answers if one.leaves_pending})
    if late:
        # Before the answers are written: whoever closes the chunk meanwhile either sees them, or is seen here.
        db.connection.execute(LOCK_CHUNKS, _columns(late))
    db.connection.execute(
        INSERT_OUTCOMES,
        (
            [one.attempt_id for one in answers],
            [one.kept.spent for one in answers],
            [_array(one.kept.message_ids) for one in answers],
            [one.kept.exceptions_text() for one in answers],
        ),
    )
    if late:
        # The chunk may have gone to another worker meanwhile, which has closed it with these entries in doubt.
        _reopen(db, late)


def _reopen(db: PgDatabase, chunks: Sequence[tuple[str, int]]) -> None:
    """Chunks that are locked and have something to send again, with their campaigns."""
    campaigns = sorted({campaign_id for (campaign_id,) in db.connection.execute(REOPEN_CHUNKS, _columns(chunks))})
    if campaigns:
        db.connection.execute(LOCK_CAMPAIGNS, (campaigns,))
        db.connection.execute(REOPEN_CAMPAIGNS, (campaigns,))


def _columns(chunks: Sequence[tuple[str, int]]) -> tuple[list[str], list[int]]:
    return [campaign_id for campaign_id, _ in chunks], [number for _, number in chunks]


def _array(texts: Sequence[str]) -> str:
    """As PostgreSQL writes an array of text (PostgreSQL, Arrays, Array Input and Output Syntax)."""
    if not texts:
        return "{}"
    joined = '","'.join(texts)
    if "\\" in joined or "\0" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(text.replace("\0", "\ufffd").replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return f'{{"{joined}"}}'


def _work(db: PgDatabase, operation: Operation[Any]) -> None:
    db.execute("SAVEPOINT one")
    try:
        operation.result = operation.work(db)
    except psycopg.Error:
        raise
    except Exception as error:  # noqa: BLE001  it belongs to whoever asked, not to this thread
        operation.error = error
        db.execute("ROLLBACK TO one")
    db.execute("RELEASE one")


def _fail(group: Sequence[Operation[Any]], error: BaseException) -> None:
    for operation in group:
        operation.error = error
