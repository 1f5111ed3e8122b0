"""Every kind of fault that a campaign is to survive, as rules for the simulator, each in a share of the requests."""

from __future__ import annotations

from typing import Any

from bulksend.model import EntryResult, Refused, Verdict
from bulksend.outcome import classify_entry, classify_refusal
from bulksend.simulator.faults import FAULTS, Fault

__all__ = ["halting", "rules"]

BATCH = 50
HALTING = (Verdict.CAMPAIGN_AT_FAULT, Verdict.ACCOUNT_AT_FAULT)
ONCE = {"times": 1, "first_request": 500}
"""For those that say that the day's quota is spent, which stops all sending for half a minute."""

REFUSALS, APART, OFFSET = 20, 1000, 400
"""So many refusals of each kind, at every so many requests; those of another kind so many requests later."""


def verdict_of(fault: Fault) -> Verdict | None:
    """What bulksend makes of it; None for what is no answer, or no readable one."""
    if fault.for_entry:
        return classify_entry(EntryResult(fault.entry_status, fault.text, ""))
    if fault.http_status is None:
        return None
    return classify_refusal(Refused(fault.http_status, fault.code, fault.text, by_ses=fault.by_ses))


def halting() -> list[str]:
    """The kinds that stop a campaign at first sight, as they should: no campaign outlives them."""
    return sorted(name for name, fault in FAULTS.items() if verdict_of(fault) in HALTING)


def rules(share: float) -> list[dict[str, Any]]:
    """All others; `share` is of the requests. A fault of an entry befalls so many requests too, an entry in each.

    Refused credentials come at requests far apart: twice without an acceptance in between, they are no good.
    """
    made: list[dict[str, Any]] = []
    refusing = 0
    for name, fault in sorted(FAULTS.items()):
        verdict = verdict_of(fault)
        if verdict in HALTING:
            continue
        if verdict is Verdict.CREDENTIALS_REFUSED:
            refusing += 1
            places = [APART * k + OFFSET * refusing for k in range(1, REFUSALS + 1)]
            made += [{"fault": name, "first_request": place, "last_request": place} for place in places]
            continue
        rule: dict[str, Any] = {"fault": name, "share": share / BATCH if fault.for_entry else share}
        if verdict is Verdict.DAY_SPENT:
            rule |= ONCE
        made.append(rule)
    return made
