"""The account's tenants, what is associated with them, and how their reputation stands.

Sources: API reference, CreateTenant, CreateTenantResourceAssociation, ListTenantResources, ListResourceTenants,
ReputationEntity, StatusRecord, ListRecommendations. What SES says of a call with a resource that is not the tenant's
is not documented: here it is a BadRequestException.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulksend.simulator.answers import Reply, SesError, already_exists, bad_request, json_reply, not_found
from bulksend.simulator.asked import Asked, Clock, read_resource_tags, word
from bulksend.simulator.identities import names_of
from bulksend.simulator.members import members
from bulksend.simulator.settings import SimulatorSettings

__all__ = ["Tenants"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_RESOURCE = re.compile(
    r"arn:aws[a-z-]*:ses:[a-z0-9-]+:\d{12}:(?P<kind>identity|configuration-set|template)/.+"
).fullmatch
_TYPES = {"identity": "EMAIL_IDENTITY", "configuration-set": "CONFIGURATION_SET", "template": "EMAIL_TEMPLATE"}
_STATUSES = ("ENABLED", "REINSTATED", "DISABLED")
_ENTITY = "RESOURCE"
_ENTITY_FILTER = frozenset({"ENTITY_REFERENCE_PREFIX", "ENTITY_TYPE", "REPUTATION_IMPACT", "SENDING_STATUS"})
_FINDING_FILTER = frozenset({"IMPACT", "RESOURCE_ARN", "STATUS", "TYPE"})
_POLICY = "arn:aws:ses:::reputation-policy/standard"


@dataclass(slots=True)
class _Tenant:
    """`resources` are ARNs with when each was associated, `status_at` is when the customer last set its `status`."""

    tenant_id: str
    arn: str
    tags: list[dict[str, str]]
    created_at: float
    status_at: float
    status: str = "ENABLED"
    resources: dict[str, float] = field(default_factory=dict)


class Tenants:
    """By name."""

    def __init__(self, clock: Clock, settings: Callable[[], SimulatorSettings]) -> None:
        self._clock = clock
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._tenants: dict[str, _Tenant] = {}

    def check(self, name: object, call: Mapping[str, Any], template: Mapping[str, Any] | None) -> None:
        """Refuse a call for a tenant that may not send, or by what is not associated with it.

        Of a tenant that was not created here nothing is known. `call` and its template are checked already.
        """
        tenant = self._tenants.get(name) if isinstance(name, str) else None
        if tenant is None:
            return
        if tenant.status == "DISABLED":
            raise SesError(400, "SendingPausedException", f"The sending of the tenant {name} is currently paused.")
        there = {arn.split(":", 5)[5].lower() for arn in tenant.resources}
        sender = str(call["FromEmailAddress"]).rpartition("<")[2].rstrip(">")
        if not any(f"identity/{one}" in there for one in names_of(sender)):
            raise bad_request(f"The identity of {sender} is not associated with the tenant {name}.")
        wanted = {"configuration-set": call.get("ConfigurationSetName")}
        if template is not None and template.get("TemplateContent") is None:
            wanted["template"] = template.get("TemplateName") or str(template.get("TemplateArn")).rpartition("/")[2]
        for kind, resource in wanted.items():
            if resource and f"{kind}/{resource}".lower() not in there:
                raise bad_request(f"The {kind} {resource} is not associated with the tenant {name}.")

    def _known(self, name: object) -> _Tenant:
        found = self._tenants.get(name) if isinstance(name, str) else None
        if found is None:
            raise not_found(f"Tenant {name} does not exist.")
        return found

    def create(self, asked: Asked) -> Reply:
        """CreateTenant."""
        request = asked.members("Tags", "TenantName")
        name = request.get("TenantName")
        if not isinstance(name, str) or not _NAME(name):
            raise bad_request("TenantName: 1 to 64 of A-Z a-z 0-9 _ - are expected.")
        if name in self._tenants:
            raise already_exists(f"Tenant {name} already exists.")
        tenant_id = f"tn-{hashlib.sha256(name.encode()).hexdigest()[:28]}"
        now, arn = self._clock(), asked.arn(f"tenant/{name}/{tenant_id}")
        made = self._tenants[name] = _Tenant(tenant_id, arn, read_resource_tags(request.get("Tags")), now, now)
        return json_reply(self._told(name, made))

    def get(self, asked: Asked) -> Reply:
        """GetTenant."""
        name = asked.members("TenantName").get("TenantName")
        return json_reply({"Tenant": self._told(str(name), self._known(name))})

    def delete(self, asked: Asked) -> Reply:
        """DeleteTenant, with its associations."""
        name = asked.members("TenantName").get("TenantName")
        self._known(name)
        del self._tenants[str(name)]
        return json_reply({})

    def list(self, asked: Asked) -> Reply:
        """ListTenants."""
        page, _ = asked.page()
        names, more = page.of(sorted(self._tenants))
        brief = ("CreatedTimestamp", "TenantArn", "TenantId", "TenantName")
        told = [self._told(name, self._tenants[name]) for name in names]
        return json_reply({"Tenants": [{key: one[key] for key in brief} for one in told], **more})

    def associate(self, asked: Asked) -> Reply:
        """CreateTenantResourceAssociation. Whether there is such a resource is not looked at."""
        tenant, arn = self._resource(asked)
        if arn in tenant.resources:
            raise already_exists(f"{arn} is already associated with the tenant.")
        tenant.resources[arn] = self._clock()
        return json_reply({})

    def dissociate(self, asked: Asked) -> Reply:
        """DeleteTenantResourceAssociation."""
        tenant, arn = self._resource(asked)
        if arn not in tenant.resources:
            raise not_found(f"{arn} is not associated with the tenant.")
        del tenant.resources[arn]
        return json_reply({})

    def _resource(self, asked: Asked) -> tuple[_Tenant, str]:
        request = asked.members("ResourceArn", "TenantName")
        tenant, arn = self._known(request.get("TenantName")), request.get("ResourceArn")
        if not isinstance(arn, str) or not _RESOURCE(arn):
            raise bad_request("ResourceArn: the ARN of an identity, a configuration set or a template is expected.")
        return tenant, arn

    def list_resources(self, asked: Asked) -> Reply:
        """ListTenantResources."""
        page, request = asked.page("Filter", "TenantName")
        wanted = members(request.get("Filter") or {}, frozenset({"RESOURCE_TYPE"}), "Filter").get("RESOURCE_TYPE")
        if wanted is not None:
            word(wanted, tuple(_TYPES.values()), "Filter.RESOURCE_TYPE")
        types = {arn: _type(arn) for arn in sorted(self._known(request.get("TenantName")).resources)}
        arns, more = page.of([arn for arn, kind in types.items() if wanted in (None, kind)])
        listed = [{"ResourceArn": arn, "ResourceType": types[arn]} for arn in arns]
        return json_reply({"TenantResources": listed, **more})

    def list_of_resource(self, asked: Asked) -> Reply:
        """ListResourceTenants."""
        page, request = asked.page("ResourceArn")
        arn = request.get("ResourceArn")
        if not isinstance(arn, str) or not arn:
            raise bad_request("ResourceArn: missing.")
        names, more = page.of(sorted(name for name, tenant in self._tenants.items() if arn in tenant.resources))
        listed = [
            {
                "AssociatedTimestamp": self._tenants[name].resources[arn],
                "ResourceArn": arn,
                "TenantId": self._tenants[name].tenant_id,
                "TenantName": name,
            }
            for name in names
        ]
        return json_reply({"ResourceTenants": listed, **more})

    def get_reputation(self, asked: Asked) -> Reply:
        """GetReputationEntity."""
        tenant = self._entity(asked)
        return json_reply({"ReputationEntity": self._reputation(tenant)})

    def put_reputation_status(self, asked: Asked) -> Reply:
        """UpdateReputationEntityCustomerManagedStatus: lets the tenant send, or not."""
        tenant = self._entity(asked)
        tenant.status = word(asked.members("SendingStatus").get("SendingStatus"), _STATUSES, "SendingStatus")
        tenant.status_at = self._clock()
        return json_reply({})

    def list_reputation(self, asked: Asked) -> Reply:
        """ListReputationEntities."""
        page, request = asked.page("Filter")
        wanted = members(request.get("Filter") or {}, _ENTITY_FILTER, "Filter")
        prefix = str(wanted.get("ENTITY_REFERENCE_PREFIX", ""))
        found = {
            tenant.arn: told
            for tenant in self._tenants.values()
            if (told := self._reputation(tenant))
            and tenant.arn.startswith(prefix)
            and wanted.get("ENTITY_TYPE", _ENTITY) == _ENTITY
            and wanted.get("SENDING_STATUS") in (None, told["SendingStatusAggregate"])
            and wanted.get("REPUTATION_IMPACT") in (None, told.get("ReputationImpact"))
        }
        arns, more = page.of(sorted(found))
        return json_reply({"ReputationEntities": [found[arn] for arn in arns], **more})

    def list_findings(self, asked: Asked) -> Reply:
        """ListRecommendations: one of high impact for each resource that the settings name."""
        page, request = asked.page("Filter")
        wanted = members(request.get("Filter") or {}, _FINDING_FILTER, "Filter")
        finding = {"IMPACT": "HIGH", "STATUS": "OPEN", "TYPE": "COMPLAINT"}
        keys = ["RESOURCE_ARN", *finding]
        found = [
            arn
            for arn in sorted(set(self._settings().high_impact))
            if all(wanted.get(key) in (None, {"RESOURCE_ARN": arn, **finding}[key]) for key in keys)
        ]
        arns, more = page.of(found)
        listed = [
            {
                "CreatedTimestamp": self._clock(),
                "Description": "The complaint rate is high.",
                "Impact": finding["IMPACT"],
                "LastUpdatedTimestamp": self._clock(),
                "ResourceArn": arn,
                "Status": finding["STATUS"],
                "Type": finding["TYPE"],
            }
            for arn in arns
        ]
        return json_reply({"Recommendations": listed, **more})

    def _entity(self, asked: Asked) -> _Tenant:
        kind, arn = asked.names
        word(kind, (_ENTITY,), "ReputationEntityType")
        for tenant in self._tenants.values():
            if tenant.arn == arn:
                return tenant
        raise not_found(f"Reputation entity {arn} does not exist.")

    def _reputation(self, tenant: _Tenant) -> dict[str, Any]:
        told: dict[str, Any] = {
            "AwsSesManagedStatus": {"LastUpdatedTimestamp": tenant.created_at, "Status": "ENABLED"},
            "CustomerManagedStatus": {"LastUpdatedTimestamp": tenant.status_at, "Status": tenant.status},
            "ReputationEntityReference": tenant.arn,
            "ReputationEntityType": _ENTITY,
            "ReputationManagementPolicy": _POLICY,
            "SendingStatusAggregate": tenant.status,
        }
        if tenant.arn in self._settings().high_impact:
            told["ReputationImpact"] = "HIGH"
        return told

    def _told(self, name: str, tenant: _Tenant) -> dict[str, Any]:
        return {
            "CreatedTimestamp": tenant.created_at,
            "SendingStatus": tenant.status,
            "Tags": tenant.tags,
            "TenantArn": tenant.arn,
            "TenantId": tenant.tenant_id,
            "TenantName": name,
        }


def _type(arn: str) -> str:
    match = _RESOURCE(arn)
    assert match is not None
    return _TYPES[match["kind"]]
