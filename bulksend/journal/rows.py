"""Between the journal's rows and the model's values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bulksend.errors import JournalError
from bulksend.journal.database import Database, Living
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
    Policy,
    Settlement,
    SettlementVerdict,
    SkipReason,
    Verdict,
)
from bulksend.safety import Safety
from bulksend.schedule import Schedule

__all__ = [
    "ATTEMPT_COLUMNS",
    "CAMPAIGN_COLUMNS",
    "OUTCOME_COLUMNS",
    "OutcomeRow",
    "attempts_of_chunk",
    "campaign_from_row",
    "campaign_to_row",
    "clean",
    "halt_to_text",
    "json_text",
    "message_ids_of_chunk",
    "outcome_row",
    "places_of",
    "policy_of",
    "policy_to_text",
    "safety_of",
    "safety_to_text",
    "schedule_of",
    "schedule_to_text",
    "value_of",
]

CAMPAIGN_COLUMNS = (
    "id, name, state, created_at, account, region, endpoint_url, prefix, suffix, frozen, list_digest, snapshot, "
    "snapshot_bytes, snapshot_sha256, rows, entries, recipients, skipped, policy, schedule, halt, safety, armed_at, "
    "canary_passed_at"
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
        json_text(c.frozen),
        c.list_digest,
        c.snapshot,
        c.snapshot_bytes,
        c.snapshot_sha256,
        c.rows,
        c.entries,
        c.recipients,
        json_text({reason.value: count for reason, count in c.skipped.items()}),
        policy_to_text(c.policy),
        schedule_to_text(c.schedule),
        None if c.halt is None else halt_to_text(c.halt),
        safety_to_text(c.safety),
        c.armed_at,
        c.canary_passed_at,
    )


def campaign_from_row(row: Sequence[object]) -> Campaign:
    """The inverse of campaign_to_row."""
    values = dict(zip(CAMPAIGN_COLUMNS.split(", "), row, strict=True))
    halt = values.pop("halt")
    binding = Binding(str(values.pop("account")), str(values.pop("region")), str(values.pop("endpoint_url")))
    values["state"] = CampaignState(str(values["state"]))
    values["frozen"] = value_of(values["frozen"])
    values["skipped"] = {SkipReason(key): count for key, count in value_of(values["skipped"]).items()}
    values["policy"] = policy_of(values["policy"])
    values["schedule"] = schedule_of(values["schedule"])
    values["safety"] = safety_of(values["safety"])
    return Campaign(**values, binding=binding, halt=None if halt is None else _halt(value_of(halt)))  # type: ignore[arg-type]


def halt_to_text(halt: Halt) -> str:
    """As kept in campaign.halt."""
    return json_text({"reason": halt.reason, "remedy": halt.remedy, "scope": halt.scope.value})


def policy_to_text(policy: Policy) -> str:
    """As kept in campaign.policy."""
    return json_text({"resend_in_doubt": policy.resend_in_doubt, "max_attempts": policy.max_attempts})


def schedule_to_text(schedule: Schedule) -> str:
    """As kept in campaign.schedule."""
    return json_text(schedule.as_json())


def safety_to_text(safety: Safety) -> str:
    """As kept in campaign.safety."""
    return json_text(safety.as_json())


def policy_of(kept: object) -> Policy:
    """The inverse of policy_to_text."""
    return Policy(**value_of(kept))


def schedule_of(kept: object) -> Schedule:
    """The inverse of schedule_to_text. Raises JournalError: this machine does not know its time zone."""
    try:
        return Schedule.from_json(value_of(kept))
    except ValueError as error:
        raise JournalError(f"a campaign's schedule cannot be read: {error}", hint="Install tzdata.") from error


def safety_of(kept: object) -> Safety:
    """The inverse of safety_to_text."""
    return Safety.from_json(value_of(kept))


def _halt(value: dict[str, str]) -> Halt:
    return Halt(value["reason"], value["remedy"], HaltScope(value["scope"]))


def places_of(indices: Sequence[int]) -> tuple[int, int, Sequence[int] | None]:
    """first, count and indices of an attempt: neighbours in the chunk are the first two, other places are listed."""
    first, count = indices[0], len(indices)
    return first, count, None if indices[-1] - first + 1 == count else indices


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What an answer comes to in the journal. `message_ids` is empty where there are none at all.

    `exceptions` are (place, verdict, status, reason, due_at) of what was not plainly accepted, or None.
    """

    spent: int
    message_ids: Sequence[str]
    exceptions: Sequence[tuple[int, str, str, str, float | None]] | None

    def exceptions_text(self) -> str | None:
        """As JSON."""
        return None if self.exceptions is None else json_text(self.exceptions)


def outcome_row(batch: Batch, outcomes: Sequence[EntryOutcome] | AllAccepted) -> OutcomeRow:
    """What is kept of an answer."""
    if isinstance(outcomes, AllAccepted):
        return OutcomeRow(batch.recipients, outcomes.message_ids, None)
    message_ids = [o.message_id for o in outcomes]
    exceptions = [
        (place, o.verdict.value, clean(o.status), clean(o.reason), o.due_at)
        for place, o in enumerate(outcomes)
        if o.verdict is not Verdict.ACCEPTED
    ]
    if not exceptions:
        return OutcomeRow(batch.recipients, message_ids, None)
    recipients = batch.chunk.recipients
    spent = sum(
        recipients[batch.indices[place]]
        for place, o in enumerate(outcomes)
        if o.verdict in (Verdict.ACCEPTED, Verdict.IN_DOUBT)
    )
    return OutcomeRow(spent, message_ids if any(message_ids) else (), exceptions)


def attempts_of_chunk(db: Database, campaign_id: str, number: int, living: Living) -> Iterator[AttemptRecord]:
    """The attempts on a chunk in the order of their intents."""
    settlements: dict[int, list[Settlement]] = {}
    for attempt_id, place, verdict, evidence, at, message_id in db.execute(
        "SELECT s.attempt_id, s.place, s.verdict, s.evidence, s.at, s.message_id "
        "FROM attempt a JOIN settlement s ON s.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY s.id",
        (campaign_id, number),
    ):
        settlement = Settlement(attempt_id, place, SettlementVerdict(verdict), evidence, at, message_id)
        settlements.setdefault(attempt_id, []).append(settlement)
    for attempt_id, at, first, count, indices, recipients, alive, answered_at, exceptions in db.execute(
        f"SELECT a.id, a.at, a.first, a.count, a.indices, a.recipients, {living.condition}, o.at, o.exceptions "  # noqa: S608  a store's own words
        "FROM attempt a LEFT JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY a.id",
        (*living.parameters, campaign_id, number),
    ):
        yield AttemptRecord(
            id=attempt_id,
            at=at,
            indices=range(first, first + count) if indices is None else value_of(indices),
            answered_at=answered_at,
            holder_alive=bool(alive),
            exceptions=() if exceptions is None else _exceptions(value_of(exceptions)),
            settlements=settlements.get(attempt_id, ()),
            sent=bool(recipients),
        )


def message_ids_of_chunk(db: Database, campaign_id: str, number: int) -> Iterator[tuple[int, list[str]]]:
    """(attempt id, message ids by place in the batch) for the answered attempts of a chunk."""
    for attempt_id, message_ids in db.execute(
        "SELECT a.id, o.message_ids FROM attempt a JOIN outcome o ON o.attempt_id = a.id "
        "WHERE a.campaign_id = ? AND a.chunk = ? ORDER BY a.id",
        (campaign_id, number),
    ):
        yield attempt_id, value_of(message_ids)


def _exceptions(kept: Sequence[tuple[int, str, str, str, float | None]]) -> list[tuple[int, EntryOutcome]]:
    return [
        (place, EntryOutcome(Verdict(verdict), status, reason, due_at=due_at))
        for place, verdict, status, reason, due_at in kept
    ]


def clean(text: str) -> str:
    """The same without NUL, which PostgreSQL does not keep."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def value_of(kept: Any) -> Any:
    """What a JSON or list column holds: SQLite gives its text, PostgreSQL the value."""
    return orjson.loads(kept) if isinstance(kept, str) else kept


def json_text(value: object) -> str:
    """JSON."""
    return orjson.dumps(value).decode()
