"""What doctor makes of what a campaign sends with: sender, configuration set, template, tenant, endpoint. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from bulksend.event import EventType
from bulksend.report import Check, Level
from bulksend.ses.endpoints import GET_AWSCRT, UNSIGNABLE, EndpointState, can_sign
from bulksend.ses.inquiry import Unknown
from bulksend.ses.sets import ConfigurationSet
from bulksend.worker.examined import Examined, RegionAsFound, Sending

__all__ = [
    "NEEDED_EVENTS",
    "by_another_way",
    "endpoint_checks",
    "in_region",
    "region_checks",
    "sending_checks",
    "unchecked",
]

NEEDED_EVENTS = frozenset(
    {
        EventType.BOUNCE,
        EventType.COMPLAINT,
        EventType.DELIVERY,
        EventType.DELIVERY_DELAY,
        EventType.REJECT,
        EventType.RENDERING_FAILURE,
        EventType.SUBSCRIPTION,
    }
)
"""What suppression, settlement and the safety of a campaign go by."""
MOST_SHOWN = 5


def unchecked(name: str, unknown: Unknown, remedy: str = "") -> Check:
    """A line for what could not be found out."""
    return Check(name, Level.UNCHECKED, unknown.why, remedy)


def sending_checks(found: Examined) -> Iterator[Check]:
    """Sender, configuration set, template, tenant, reputation, endpoint: what each Region has of them."""
    yield from region_checks(found)
    yield from _tenant(found)
    yield from _reputation(found)
    yield from endpoint_checks(found)


def region_checks(found: Examined) -> Iterator[Check]:
    """Sender, configuration set and template, as each Region has them."""
    sending = found.sending
    if sending is None:
        return
    assert found.home is not None
    for region in (found.home, *found.others):
        where = in_region(found, region)
        yield from _identity(sending, region, where)
        yield from _set(sending, region, where, needs_events=found.needs_events)
        yield from _template(sending, region, where)
    yield from _renderings(found)


def in_region(found: Examined, region: RegionAsFound) -> str:
    """What tells a Region's checks from another's, where there are several."""
    return f" in {region.name}" if found.others else ""


def _identity(sending: Sending, region: RegionAsFound, where: str) -> Iterator[Check]:
    name = f"sender{where}"
    if isinstance(region.identities, Unknown):
        yield unchecked(name, region.identities)
        return
    there = region.identities or ()
    verified = [one for one in there if one.verified]
    if not verified:
        said = (
            f"{sending.sender} is not verified: {', '.join(one.name for one in there)} is known, and not verified yet"
            if there
            else f"{sending.sender} is no verified identity, and neither is its domain"
        )
        yield Check(
            name,
            Level.FAULT,
            said,
            f"Verify the domain in SES, in {region.name}; until then SES refuses every mail of this sender.",
        )
        return
    chosen = verified[0]
    yield Check(name, Level.OK, f"{chosen.name} is verified for sending")
    signing = next((one for one in verified if one.signed), None)
    if signing is not None:
        yield Check(f"DKIM{where}", Level.OK, f"mails are signed for {signing.name}")
    else:
        yield Check(
            f"DKIM{where}",
            Level.WARNING,
            f"mails of {chosen.name} carry no DKIM signature of their domain (status {chosen.dkim_status or 'none'}"
            f"{'' if chosen.dkim_signing else ', signing is off'}): Gmail and Yahoo refuse bulk mail without it",
            "Set up DKIM for the domain in SES, and publish the DNS records that it names.",
        )
    if chosen.mail_from_domain and chosen.mail_from_status not in {"SUCCESS", ""}:
        yield Check(
            f"MAIL FROM{where}",
            Level.WARNING,
            f"the MAIL FROM domain {chosen.mail_from_domain} is not set up (status {chosen.mail_from_status})",
            "Publish the MX and SPF records that SES names for it.",
        )


def _set(sending: Sending, region: RegionAsFound, where: str, *, needs_events: bool) -> Iterator[Check]:
    name, kept = f"configuration set{where}", region.configuration_set
    chosen = sending.configuration_set or _default_set(region)
    if isinstance(kept, Unknown):
        yield unchecked(name, kept)
        return
    if not chosen:
        yield Check(
            name,
            Level.FAULT if needs_events else Level.WARNING,
            "the campaign names none, so no event tells what became of its mails"
            + (": its canary cannot be judged, and halts" if needs_events else ""),
            "Name one in sender.configuration_set; bulksend events setup makes what its events need.",
        )
        return
    if kept is None:
        yield Check(
            name,
            Level.FAULT,
            f"there is no configuration set {chosen!r} in {region.name}: SES refuses every mail",
            "Create it in SES, or correct sender.configuration_set.",
        )
        return
    if not kept.sending_enabled:
        yield Check(
            name,
            Level.FAULT,
            f"sending by {chosen!r} is paused: SES refuses every mail",
            "Find out why it was paused, then enable its sending in SES.",
        )
    else:
        by_default = "" if sending.configuration_set else ", the sender's default"
        yield Check(name, Level.OK, f"{chosen!r} is there and sends{by_default}")
    yield _events(kept, where, needs_events=needs_events)


def _default_set(region: RegionAsFound) -> str:
    if region.identities is None or isinstance(region.identities, Unknown):
        return ""
    return next((one.default_set for one in region.identities if one.verified), "")


def _events(kept: ConfigurationSet, where: str, *, needs_events: bool) -> Check:
    missing = sorted(kind.value.replace("_", " ") for kind in NEEDED_EVENTS - kept.covered)
    if not missing:
        names = ", ".join(one.name for one in kept.destinations if one.leads_to_a_queue)
        return Check(f"events{where}", Level.OK, f"all that are needed go to {names}")
    remedy = f"Set them up: bulksend events setup {kept.name}. bulksend events status {kept.name} shows what there is."
    judged = {EventType.BOUNCE, EventType.COMPLAINT, EventType.DELIVERY}
    level = Level.FAULT if needs_events and not judged <= kept.covered else Level.WARNING
    canary = ": the campaign's canary cannot be judged, and halts" if level is Level.FAULT else ""
    if kept.covered:
        return Check(f"events{where}", level, f"nothing tells of: {', '.join(missing)}{canary}", remedy)
    disabled = [one.name for one in kept.destinations if not one.enabled]
    elsewhere = [f"{one.name} ({one.kind})" for one in kept.destinations if one.enabled]
    there = "; ".join(
        [
            *([f"{', '.join(disabled)}: disabled"] if disabled else []),
            *([f"{', '.join(elsewhere)}: leads to no queue"] if elsewhere else []),
        ]
    )
    return Check(
        f"events{where}",
        level,
        f"no event destination leads to a queue, so nothing tells what became of mails{canary}"
        + (f" ({there})" if there else ""),
        remedy,
    )


def _template(sending: Sending, region: RegionAsFound, where: str) -> Iterator[Check]:
    name = f"template{where}"
    if sending.inline is not None:
        yield Check(name, Level.OK, "it is in the campaign itself")
    elif isinstance(region.template, Unknown):
        yield unchecked(name, region.template)
    elif region.template is None:
        yield Check(
            name,
            Level.FAULT,
            f"there is no template {sending.template_name!r} in {region.name}: SES refuses every mail",
            "Put it there with bulksend template push, or correct content.template.",
        )
    else:
        yield Check(name, Level.OK, f"{sending.template_name!r} is there")


def _renderings(found: Examined) -> Iterator[Check]:
    renderings = found.renderings
    if renderings is None:
        return
    if isinstance(renderings, Unknown):
        yield unchecked("rendering", renderings)
        return
    faults = [one for one in renderings if one.fault]
    rows = ", ".join(str(one.row) for one in renderings)
    if not faults:
        yield Check("rendering", Level.OK, f"the template renders with the data of row {rows}")
    for one in faults:
        yield Check(
            "rendering",
            Level.FAULT,
            f"the template does not render with the data of row {one.row}: {one.fault}",
            "Correct the template, the list, or content.default_data. SES would accept such a mail, and never send it.",
        )


def _tenant(found: Examined) -> Iterator[Check]:
    sending, tenant = found.sending, found.tenant
    if sending is None or not sending.tenant:
        return
    assert found.home is not None
    if isinstance(tenant, Unknown):
        yield unchecked("tenant", tenant)
        return
    if tenant is None:
        yield Check(
            "tenant",
            Level.FAULT,
            f"there is no tenant {sending.tenant!r} in {found.home.name}: SES refuses every mail",
            "Create it in SES, or correct sender.tenant.",
        )
        return
    if tenant.status == "DISABLED":
        yield Check(
            "tenant",
            Level.FAULT,
            f"sending by {tenant.name!r} is disabled: SES refuses every mail",
            "See to what SES holds against it, then have its sending reinstated in SES.",
        )
    identities = found.home.identities
    verified = () if identities is None or isinstance(identities, Unknown) else [o for o in identities if o.verified]
    missing = []
    if verified and not any(tenant.has("identity", one.name) for one in verified):
        missing.append(f"the identity {verified[0].name}")
    chosen_set = sending.configuration_set or _default_set(found.home)
    if chosen_set and not tenant.has("configuration-set", chosen_set):
        missing.append(f"the configuration set {chosen_set}")
    if sending.template_name and not tenant.has("template", sending.template_name):
        missing.append(f"the template {sending.template_name}")
    if missing:
        yield Check(
            "tenant",
            Level.FAULT,
            f"{tenant.name!r} is not associated with {', '.join(missing)}: SES refuses every mail",
            "Associate them with the tenant in SES (CreateTenantResourceAssociation).",
        )
    elif tenant.status != "DISABLED":
        yield Check("tenant", Level.OK, f"{tenant.name!r} sends, and is associated with what the campaign uses")


def _reputation(found: Examined) -> Iterator[Check]:
    entities = found.reputation
    if entities is None:
        return
    if isinstance(entities, Unknown):
        yield unchecked("reputation", entities)
        return
    troubled = [one for one in entities if one.impact or one.status == "DISABLED"]
    findings = found.findings
    own = found.tenant.arn if found.tenant is not None and not isinstance(found.tenant, Unknown) else None
    for one in sorted(troubled, key=lambda one: (one.status != "DISABLED", one.impact != "HIGH"))[:MOST_SHOWN]:
        texts = (
            []
            if findings is None or isinstance(findings, Unknown)
            else [f"{about.kind}: {about.text}" for about in findings if about.arn == one.arn]
        )
        is_stopped = one.status == "DISABLED"
        state = ["it may not send"] if is_stopped else []
        state += [f"findings of {one.impact.lower()} impact"] if one.impact else []
        said = "; ".join([f"{one.arn}: {', '.join(state)}", *([one.cause] if one.cause else []), *texts])
        if isinstance(findings, Unknown):
            said += f" (which they are could not be read: {findings.why})"
        yield Check(
            "reputation",
            Level.FAULT if is_stopped and one.arn == own else Level.WARNING,
            said,
            "See to it in the SES console, under reputation, before anything large is sent.",
        )
    if len(troubled) > MOST_SHOWN:
        yield Check("reputation", Level.WARNING, f"and {len(troubled) - MOST_SHOWN:,} resources more")
    if not troubled:
        yield Check(
            "reputation", Level.OK, f"SES holds nothing against {_many(len(entities), 'resource')} it keeps watch of"
        )


def _many(count: int, noun: str) -> str:
    return f"the {noun}" if count == 1 else f"the {count:,} {noun}s" if count else f"any {noun}"


def endpoint_checks(found: Examined) -> Iterator[Check]:
    """Whether the campaign's multi-region endpoint takes mail."""
    if found.sending is None or not found.sending.endpoint_id:
        return
    endpoint_id, state = found.sending.endpoint_id, found.endpoint
    if not can_sign():
        yield Check(
            "signature",
            Level.FAULT,
            f"requests for a multi-region endpoint, {UNSIGNABLE}, cannot be signed",
            GET_AWSCRT,
        )
    if state is None or isinstance(state, Unknown):
        yield unchecked("endpoint", state or Unknown("it was not asked for"))
    elif not state:
        yield Check(
            "endpoint",
            Level.FAULT,
            f"there is no multi-region endpoint {endpoint_id!r} whose primary Region is {_home(found)}",
            by_another_way(found.sending)
            or "Correct sender.endpoint_id, or the Region; bulksend endpoint list shows those that are there.",
        )
    elif state != EndpointState.READY:
        kept = EndpointState.of(state)
        yield Check(
            "endpoint",
            Level.FAULT,
            f"the multi-region endpoint {endpoint_id!r} is {state}: {kept.in_words}",
            (by_another_way(found.sending) if kept.is_hopeless else "") or kept.remedy,
        )
    else:
        regions = [region.name for region in (found.home, *found.others) if region is not None]
        yield Check("endpoint", Level.OK, f"{endpoint_id!r} is READY, in {' and '.join(regions)}")


def by_another_way(sending: Sending) -> str:
    """What a person does where a frozen campaign's multi-region endpoint will take no mail any more; else empty."""
    if not sending.planned or not sending.endpoint_id:
        return ""
    name = sending.planned
    return (
        f"{name} is bound to the endpoint {sending.endpoint_id!r}, and cannot go on without it. End it: "
        f"bulksend cancel {name}. Whom it has not written to is then a list for a campaign of another name, by another "
        f"endpoint or none: bulksend results {name} --format list --out rest.csv"
    )


def _home(found: Examined) -> str:
    return "the one that is asked" if found.binding is None else found.binding.region
