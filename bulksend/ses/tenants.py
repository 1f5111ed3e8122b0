"""Tenants: parts of an account with a reputation and resources of their own.

Sources: API reference, GetTenant, ListTenantResources; Developer Guide, Tenants: what a tenant sends with has to be
associated with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bulksend.ses.inquiry import found, pages

__all__ = ["Tenant", "read_tenant"]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant; `status` is SES's word, `resources` are ARNs."""

    name: str
    arn: str
    status: str
    resources: frozenset[str]

    def has(self, kind: str, name: str) -> bool:
        """Whether the identity, configuration-set or template of that name is associated with it."""
        return any(arn.lower().endswith(f":{kind}/{name}".lower()) for arn in self.resources)


async def read_tenant(client: Any, name: str) -> Tenant | None:
    """GetTenant and all its resources; None where there is none of that name."""
    reply = await found(client.get_tenant(TenantName=name))
    if reply is None:
        return None
    tenant = reply.get("Tenant") or {}
    resources = [
        str(one.get("ResourceArn") or "")
        async for page in pages(client.list_tenant_resources, TenantName=name)
        for one in page.get("TenantResources") or ()
    ]
    return Tenant(
        name, str(tenant.get("TenantArn") or ""), str(tenant.get("SendingStatus") or ""), frozenset(resources)
    )
