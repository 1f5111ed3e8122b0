"""Why a mail that is still to be sent is not sent now, in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bulksend.model import Campaign, CampaignState
from bulksend.safety import duration_in_words

__all__ = ["Pending", "opens_at", "why_pending"]


@dataclass(frozen=True, slots=True)
class Pending:
    """What is known of a mail that is still to be sent, and of its campaign, at an instant (epoch seconds).

    `orphaned`, `by_worker` and `held_up` are those of the campaign's standing. `place` is where its mail is among those
    of the campaign, from 0.
    """

    campaign: Campaign
    at: float
    place: int
    orphaned: bool = False
    by_worker: bool = False
    held_up: Sequence[str] = ()


def opens_at(campaign: Campaign, now: float) -> float | None:
    """When it may send again, in epoch seconds, if its schedule holds it back now."""
    if campaign.state not in (CampaignState.QUEUED, CampaignState.SENDING):
        return None
    return campaign.schedule.opens_at(now)


def why_pending(mail: Pending) -> str:
    """Half a sentence that begins with what it waits for, and says what to do where a person has to do it."""
    campaign, state = mail.campaign, mail.campaign.state
    match state:
        case CampaignState.PLANNED:
            said = f"is only planned; to send it: bulksend send {campaign.name}"
        case CampaignState.PAUSED:
            said = f"is paused; to go on: bulksend resume {campaign.name}"
        case CampaignState.HALTED if campaign.halt is not None:
            said = f"is halted: {campaign.halt.reason}. What to do: {campaign.halt.remedy}"
        case CampaignState.QUEUED if mail.orphaned:
            said = "is queued, and no worker is there: bulksend worker"
        case CampaignState.SENDING if mail.by_worker:
            said = "was being sent by a worker that is gone: start it again, and it goes on by itself"
        case CampaignState.SENDING if mail.orphaned:
            said = f"was being sent by a process that died: bulksend resume {campaign.name}"
        case CampaignState.QUEUED | CampaignState.SENDING if found := _what_holds_it_back(mail):
            return "; ".join(found)
        case _:
            said = f"is {state.value}"
    return f"the campaign {said}"


def _what_holds_it_back(mail: Pending) -> list[str]:
    """Of one that somebody is there to send: nothing, if it is simply not its turn."""
    found = []
    opens = opens_at(mail.campaign, mail.at)
    if opens is not None:
        until = datetime.fromtimestamp(opens, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        found.append(f"by its schedule the campaign may send again from {until}")
    if mail.held_up:
        found.append(f"nothing of the campaign goes out: {'; '.join(mail.held_up)}")
    canary = mail.campaign.safety.canary
    if canary is not None and mail.campaign.canary_passed_at is None:
        count = canary.entries(mail.campaign.entries)
        if mail.place >= count:
            found.append(
                f"it waits for the canary: what becomes of the first {count:,} of the campaign's mails is judged "
                f"first, {duration_in_words(canary.wait_s)} after the last of them at most"
            )
    return found
