"""Between the journal's rows and the model's values."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

import orjson

from bulksend.ledger import AttemptRecord
from bulksend.model import (
    AllAccepted,
    Batch,
    Binding,
    Campaign,
    CampaignState,
    EntryOutcome,
    Halt,
    HaltScope,
    Intent,
    Policy,
    Settlement,
    SettlementVerdict,
    SkipReason,
    Verdict,
)

__all__ = [
    "ATTEMPT_COLUMNS",
    "OUTCOME_COLUMNS",
    "attempt_to_row",
    "attempts_of_chunk",
    "campaign_from_row",
    "campaign_to_row",
    "halt_to_text",
    "message_ids_of_chunk",
    "outcome_columns",
    "policy_to_text",
]

CAMPAIGN_COLUMNS = (
    "id, name, state, created_at, account, region, endpoint_url, prefix, suffix, frozen, list_digest, snapshot, "
    "snapshot_bytes, snapshot_sha256, rows, entries, recipients, skipped, policy, halt"
)

ATTEMPT_COLUMNS = "id, campaign_id, chunk, first, count, indices, recipients, holder, at"
OUTCOME_COLUMNS = "attempt_id, at, spent, message_ids, exceptions"


def campaign_to_row(c: Campaign) -> tuple[object, ...]:
    """In the order of CAMPAIGN_COLUMNS."""
    return (
        c.id,
        c.name,
        c.state.value,
        c.created_at,
        c.binding.account,
        c.binding.region,
        c.binding.endpoint_url,
        c.prefix,
        c.suffix,
        _json(c.frozen),
        c.list_digest,
        c.snapshot,
        c.snapshot_bytes,
        c.snapshot_sha256,
        c.rows,
        c.entries,
        c.recipients,
        _json({reason.value: count for reason, count in c.skipped.items()}),
        policy_to_text(c.policy),
        None if c.halt is None else halt_to_text(c.halt),
    )


def campaign_from_row(row: Sequence[object]) -> Campaign:
    """The inverse of campaign_to_row."""
    values = dict(zip(CAMPAIGN_COLUMNS.split(", "), row, strict=True))
    halt = values.pop("halt")
    binding = Binding(str(values.pop("account")), str(values.pop("region")), str(values.pop("endpoint_url")))
    values["state"] = CampaignState(str(values["state"]))
    values["frozen"] = orjson.loads(str(values["frozen"]))
    values["skipped"] = {SkipReason(key): count for key, count in orjson.loads(str(values["skipped"])).items()}
    policy = Policy(**orjson.loads(str(values.pop("policy"))))
    return Campaign(**values, policy=policy, binding=binding, halt=_halt_from_text(halt))  # type: ignore[arg-type]


def halt_to_text(halt: Halt) -> str:
    """As kept in campaign.halt."""
    return _json({"reason": halt.reason, "remedy": halt.remedy, "scope": halt.scope.value})


def policy_to_text(policy: Policy) -> str:
    """As kept in campaign.policy."""
    return _json({"resend_in_doubt": policy.resend_in_doubt, "max_attempts": policy.max_attempts})


def _halt_from_text(text: object) -> Halt | None:
    if text is None:
        return None
    value = orjson.loads(str(text))
    return Halt(value["reason"], value["remedy"], HaltScope(value["scope"]))


def attempt_to_row(intent: Intent, holder: str) -> tuple[object, ...]:
    """In the order of ATTEMPT_COLUMNS: neighbours in the chunk are first and count, other places are listed."""
    batch = intent.batch
    indices = batch.indices
    first, count = indices[0], len(indices)
    neighbours = indices[-1] - first + 1 == count
    listed = None if neighbours else _json(list(indices))
    return (
        intent.attempt_id,
        batch.campaign_id,
        batch.chunk.number,
        first,
        count,
        listed,
        batch.recipients,
        holder,
        intent.at,
    )


def outcome_columns(batch: Batch, outcomes: Sequence[EntryOutcome] | AllAccepted) -> tuple[int, str, str | None]:
    """spent, message_ids, exceptions."""
    if isinstance(outcomes, AllAccepted):
        return batch.recipients, _json(outcomes.message_ids), None
    message_ids = [o.message_id for o in outcomes]
    exceptions = [
        (place, o.verdict.value, o.status, o.reason, o.due_at)
        for place, o in enumerate(outcomes)
        if o.verdict is not Verdict.ACCEPTED
    ]
    if not exceptions:
        return batch.recipients, _json(message_ids), None
    recipients = batch.chunk.recipients
    spent = sum(
        recipients[batch.indices[place]]
        for place, o in enumerate(outcomes)
        if o.verdict in (Verdict.ACCEPTED, Verdict.IN_DOUBT)
    )
    return spent, _json(message_ids) if any(message_ids) else "[]", _json(exceptions)


def attempts_of_chunk(
    connection: sqlite3.Connection, campaign_id: str, number: int, living: str | None
) -> Iterator[AttemptRecord]:
    """The attempts on a chunk in the order of their intents.

    `living` is the holder whose unanswered ones are in flight.
    """
    settlements: dict[int, list[Settlement]] = {}
    for attempt_id, place, verdict, evidence, at in connection.execute(
        "SELECT s.attempt_id, s.place, s.verdict, s.evidence, s.at "
        "FROM attempt a JOIN settlement s ON s.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY s.id",
        (campaign_id, number),
    ):
        settlement = Settlement(attempt_id, place, SettlementVerdict(verdict), evidence, at)
        settlements.setdefault(attempt_id, []).append(settlement)
    for attempt_id, at, first, count, indices, holder, answered_at, exceptions in connection.execute(
        "SELECT a.id, a.at, a.first, a.count, a.indices, a.holder, o.at, o.exceptions "
        "FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY a.id",
        (campaign_id, number),
    ):
        yield AttemptRecord(
            id=attempt_id,
            at=at,
            indices=range(first, first + count) if indices is None else orjson.loads(indices),
            answered_at=answered_at,
            holder_alive=holder == living,
            exceptions=() if exceptions is None else _exceptions(exceptions),
            settlements=settlements.get(attempt_id, ()),
        )


def message_ids_of_chunk(
    connection: sqlite3.Connection, campaign_id: str, number: int
) -> Iterator[tuple[int, list[str]]]:
    """(attempt id, message ids by place in the batch) for the answered attempts of a chunk."""
    for attempt_id, text in connection.execute(
        "SELECT a.id, o.message_ids FROM attempt a JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY a.id",
        (campaign_id, number),
    ):
        yield attempt_id, orjson.loads(text)


def _exceptions(text: str) -> list[tuple[int, EntryOutcome]]:
    return [
        (place, EntryOutcome(Verdict(verdict), status, reason, due_at=due_at))
        for place, verdict, status, reason, due_at in orjson.loads(text)
    ]


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
