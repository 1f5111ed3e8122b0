"""Every operation but the sending ones, by method and path (API reference, Request Syntax of each)."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, unquote

from bulksend.simulator.account import Account
from bulksend.simulator.answers import Reply, SesError
from bulksend.simulator.asked import Asked

__all__ = ["Operation", "Operations"]

Operation = Callable[[Asked], Reply]
_Row = tuple[str, str, str, Operation]
"""Method, path below /v2/email with * for a name, name, and who answers."""

_BASE = "/v2/email/"


class Operations:
    """The operations of one account."""

    def __init__(self, account: Account) -> None:
        rows = [*_of_content(account), *_of_sending(account), *_of_recipients(account), *_of_tenants(account)]
        self._rows = [(method, path.split("/"), name, answer) for method, path, name, answer in rows]

    def find(self, method: str, target: str, body: bytes, region: str) -> tuple[Asked, Operation]:
        """The operation of a request, and what it is asked; `target` is path and query as they are on the wire.

        Raises:
            SesError: 404, for an operation that the simulator does not have.
        """
        path, _, query = target.partition("?")
        parts = path.removeprefix(_BASE).rstrip("/").split("/") if path.startswith(_BASE) else []
        for known, shape, name, answer in self._rows:
            if known == method and len(shape) == len(parts) and _fits(shape, parts):
                names = tuple(unquote(part) for word, part in zip(shape, parts, strict=True) if word == "*")
                return Asked(name, names, parse_qs(query, keep_blank_values=True), body, region), answer
        raise SesError(404, "UnknownOperationException", f"No operation at {method} {path}")


def _fits(shape: list[str], parts: list[str]) -> bool:
    return all(word in ("*", part) for word, part in zip(shape, parts, strict=True))


def _of_content(account: Account) -> list[_Row]:
    templates, sets = account.templates, account.sets
    return [
        ("POST", "templates", "CreateEmailTemplate", templates.create),
        ("GET", "templates", "ListEmailTemplates", templates.list),
        ("GET", "templates/*", "GetEmailTemplate", templates.get),
        ("PUT", "templates/*", "UpdateEmailTemplate", templates.update),
        ("DELETE", "templates/*", "DeleteEmailTemplate", templates.delete),
        ("POST", "templates/*/render", "TestRenderEmailTemplate", templates.render),
        ("POST", "configuration-sets", "CreateConfigurationSet", sets.create),
        ("GET", "configuration-sets", "ListConfigurationSets", sets.list),
        ("POST", "list-configuration-sets", "ListConfigurationSets", sets.list),
        ("GET", "configuration-sets/*", "GetConfigurationSet", sets.get),
        ("DELETE", "configuration-sets/*", "DeleteConfigurationSet", sets.delete),
        ("PUT", "configuration-sets/*/sending", "PutConfigurationSetSendingOptions", sets.put_sending),
        ("PUT", "configuration-sets/*/reputation-options", "PutConfigurationSetReputationOptions", sets.put_reputation),
        (
            "PUT",
            "configuration-sets/*/suppression-options",
            "PutConfigurationSetSuppressionOptions",
            sets.put_suppression,
        ),
        (
            "GET",
            "configuration-sets/*/event-destinations",
            "GetConfigurationSetEventDestinations",
            sets.get_destinations,
        ),
        (
            "POST",
            "configuration-sets/*/event-destinations",
            "CreateConfigurationSetEventDestination",
            sets.create_destination,
        ),
        (
            "PUT",
            "configuration-sets/*/event-destinations/*",
            "UpdateConfigurationSetEventDestination",
            sets.update_destination,
        ),
        (
            "DELETE",
            "configuration-sets/*/event-destinations/*",
            "DeleteConfigurationSetEventDestination",
            sets.delete_destination,
        ),
    ]


def _of_sending(account: Account) -> list[_Row]:
    identities, endpoints, insights = account.identities, account.endpoints, account.insights
    return [
        ("GET", "account", "GetAccount", account.get_account),
        ("PUT", "account/suppression", "PutAccountSuppressionAttributes", account.put_suppression),
        ("POST", "identities", "CreateEmailIdentity", identities.create),
        ("GET", "identities", "ListEmailIdentities", identities.list),
        ("POST", "list-identities", "ListEmailIdentities", identities.list),
        ("GET", "identities/*", "GetEmailIdentity", identities.get),
        ("DELETE", "identities/*", "DeleteEmailIdentity", identities.delete),
        ("PUT", "identities/*/dkim", "PutEmailIdentityDkimAttributes", identities.put_dkim),
        ("POST", "multi-region-endpoints", "CreateMultiRegionEndpoint", endpoints.create),
        ("GET", "multi-region-endpoints", "ListMultiRegionEndpoints", endpoints.list),
        ("GET", "multi-region-endpoints/*", "GetMultiRegionEndpoint", endpoints.get),
        ("DELETE", "multi-region-endpoints/*", "DeleteMultiRegionEndpoint", endpoints.delete),
        ("GET", "insights/*", "GetMessageInsights", insights.get),
        ("POST", "metrics/batch", "BatchGetMetricData", insights.metrics),
    ]


def _of_recipients(account: Account) -> list[_Row]:
    suppression, contacts = account.suppression, account.contacts
    return [
        ("PUT", "suppression/addresses", "PutSuppressedDestination", suppression.put),
        ("GET", "suppression/addresses", "ListSuppressedDestinations", suppression.list),
        ("GET", "suppression/addresses/*", "GetSuppressedDestination", suppression.get),
        ("DELETE", "suppression/addresses/*", "DeleteSuppressedDestination", suppression.delete),
        ("POST", "contact-lists", "CreateContactList", contacts.create),
        ("GET", "contact-lists", "ListContactLists", contacts.list),
        ("GET", "contact-lists/*", "GetContactList", contacts.get),
        ("POST", "contact-lists/*/contacts", "CreateContact", contacts.create_contact),
        ("POST", "contact-lists/*/contacts/list", "ListContacts", contacts.list_contacts),
        ("GET", "contact-lists/*/contacts/*", "GetContact", contacts.get_contact),
        ("PUT", "contact-lists/*/contacts/*", "UpdateContact", contacts.update_contact),
        ("DELETE", "contact-lists/*/contacts/*", "DeleteContact", contacts.delete_contact),
    ]


def _of_tenants(account: Account) -> list[_Row]:
    tenants = account.tenants
    return [
        ("POST", "tenants", "CreateTenant", tenants.create),
        ("POST", "tenants/get", "GetTenant", tenants.get),
        ("POST", "tenants/list", "ListTenants", tenants.list),
        ("POST", "tenants/delete", "DeleteTenant", tenants.delete),
        ("POST", "tenants/resources", "CreateTenantResourceAssociation", tenants.associate),
        ("POST", "tenants/resources/list", "ListTenantResources", tenants.list_resources),
        ("POST", "tenants/resources/delete", "DeleteTenantResourceAssociation", tenants.dissociate),
        ("POST", "resources/tenants/list", "ListResourceTenants", tenants.list_of_resource),
        ("GET", "reputation/entities/*/*", "GetReputationEntity", tenants.get_reputation),
        ("POST", "reputation/entities", "ListReputationEntities", tenants.list_reputation),
        (
            "PUT",
            "reputation/entities/*/*/customer-managed-status",
            "UpdateReputationEntityCustomerManagedStatus",
            tenants.put_reputation_status,
        ),
        ("POST", "vdm/recommendations", "ListRecommendations", tenants.list_findings),
    ]
