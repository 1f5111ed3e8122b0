"""Asking a Region for what a campaign sends with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bulksend.model import Binding
from bulksend.ses.account import read_account
from bulksend.ses.endpoints import find_endpoint
from bulksend.ses.identities import Identity, identities_for, read_identity
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.ses.rendering import read_template
from bulksend.ses.sets import read_set
from bulksend.worker.examined import RegionAsFound, Sending

__all__ = ["read_endpoint", "read_region"]


async def read_endpoint(client: Any, endpoint_id: str) -> tuple[str, tuple[str, ...]]:
    """The state of a multi-region endpoint, and its Regions; empty where there is none of that id."""
    found = await find_endpoint(client, endpoint_id)
    return ("", ()) if found is None else (found.state.value, found.regions)


async def read_region(inquiry: Inquiry, name: str, sending: Sending | None, binding: Binding) -> RegionAsFound:
    """What one Region has of what is sent with. Where nobody answers, nothing else is asked for."""
    account = await inquiry.ask(read_account)
    if sending is None:
        return RegionAsFound(name, account)
    if isinstance(account, Unknown) and account.unreachable:
        not_asked = Unknown("nobody answers there")
        return RegionAsFound(name, account, not_asked, not_asked, not_asked)
    identities, template = await asyncio.gather(
        _identities(inquiry, sending, binding), _template(inquiry, sending, name, binding)
    )
    chosen_set = sending.configuration_set
    if not chosen_set and not isinstance(identities, Unknown):
        chosen_set = next((one.default_set for one in identities if one.verified), "")
    kept = await inquiry.ask(lambda client: read_set(client, chosen_set)) if chosen_set else None
    return RegionAsFound(name, account, identities, kept, template)


async def _identities(inquiry: Inquiry, sending: Sending, binding: Binding) -> tuple[Identity, ...] | Unknown:
    names: Sequence[str] = identities_for(sending.sender)
    if sending.identity_arn:
        owner, name = _of_arn(sending.identity_arn)
        if not binding.endpoint_url and owner != binding.account:
            return Unknown(f"{sending.identity_arn} is another account's")
        names = (name,)
    kept = []
    for name in names:
        one = await inquiry.ask(lambda client, name=name: read_identity(client, name))  # type: ignore[misc]
        if isinstance(one, Unknown):
            return one
        if one is not None:
            kept.append(one)
            if one.verified and one.signed:
                break
    return tuple(kept)


async def _template(inquiry: Inquiry, sending: Sending, region: str, binding: Binding) -> Any:
    """A TemplateContent, None or Unknown."""
    if sending.inline is not None:
        return None
    if sending.template_arn:
        owner, _ = _of_arn(sending.template_arn)
        elsewhere = f":{region}:" not in sending.template_arn
        if elsewhere or (not binding.endpoint_url and owner != binding.account):
            return Unknown(f"{sending.template_arn} is of another account or Region")
    return await inquiry.ask(lambda client: read_template(client, sending.template_name))


def _of_arn(arn: str) -> tuple[str, str]:
    """(account, name): arn:aws:ses:eu-west-1:123456789012:identity/example.com."""
    parts = arn.split(":", 5)
    return (parts[4], parts[5].partition("/")[2]) if len(parts) == 6 else ("", arn)  # noqa: PLR2004  parts of an ARN
