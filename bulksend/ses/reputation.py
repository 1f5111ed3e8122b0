"""Reputation: what SES holds against a resource of the account.

Sources: API reference, GetReputationEntity, ListReputationEntities, ReputationEntity (its impact is that of its gravest
finding), ListRecommendations (the findings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulksend.ses.inquiry import found, pages

__all__ = ["Finding", "ReputationEntity", "list_reputation", "read_findings", "read_reputation"]


@dataclass(frozen=True, slots=True)
class ReputationEntity:
    """A resource by its ARN. `status` is whether it may send, in SES's word; `impact` is LOW, HIGH or empty."""

    arn: str
    status: str
    impact: str
    cause: str = ""
    """Why its status is what it is, as SES says; else as the customer did."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An open finding about a resource."""

    arn: str
    kind: str
    impact: str
    text: str


async def read_reputation(client: Any, arn: str) -> ReputationEntity | None:
    """GetReputationEntity; None where SES keeps nothing of it."""
    asked = client.get_reputation_entity(ReputationEntityType="RESOURCE", ReputationEntityReference=arn)
    reply = await found(asked)
    return None if reply is None else _entity(reply.get("ReputationEntity") or {})


async def list_reputation(client: Any) -> tuple[ReputationEntity, ...]:
    """All that the account has in the Region, ten thousand at most."""
    return tuple(
        [
            _entity(one)
            async for page in pages(client.list_reputation_entities)
            for one in page.get("ReputationEntities") or ()
        ]
    )


async def read_findings(client: Any) -> tuple[Finding, ...]:
    """The open ones about every resource."""
    return tuple(
        [
            Finding(
                str(one.get("ResourceArn") or ""),
                str(one.get("Type") or ""),
                str(one.get("Impact") or ""),
                str(one.get("Description") or ""),
            )
            async for page in pages(client.list_recommendations, Filter={"STATUS": "OPEN"})
            for one in page.get("Recommendations") or ()
        ]
    )


def _entity(one: dict[str, Any]) -> ReputationEntity:
    causes = [
        str((one.get(record) or {}).get("Cause") or "") for record in ("AwsSesManagedStatus", "CustomerManagedStatus")
    ]
    return ReputationEntity(
        str(one.get("ReputationEntityReference") or ""),
        str(one.get("SendingStatusAggregate") or ""),
        str(one.get("ReputationImpact") or ""),
        next(filter(None, causes), ""),
    )
