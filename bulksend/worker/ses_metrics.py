"""What SES counts of a campaign's configuration set, for its report."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from bulksend.config import Settings
from bulksend.errors import BulksendError
from bulksend.model import Campaign
from bulksend.report import SesMetrics
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.ses.vdm import read_metrics
from bulksend.worker.examined import Sending
from bulksend.worker.regions import read_endpoint
from bulksend.worker.running import bound_access, refuse_other_account

__all__ = ["ask_for_metrics"]

ANSWER_WITHIN_S = 10.0
DAY_S = 86_400
MOST_DAYS = 60
"""Bounces, complaints and opens come late; what comes later than this is another campaign's, most likely."""


def ask_for_metrics(campaign: Campaign, settings: Settings, begins_at: float | None, made_at: float) -> SesMetrics:
    """The whole days from the first request until now, sixty at most, in each Region that it is sent from.

    What cannot be had is told in words: nothing is raised.
    """
    sending = Sending.of_campaign(campaign)
    begins = int((begins_at or made_at) // DAY_S)
    ends = min(int(made_at // DAY_S) + 1, begins + MOST_DAYS)
    asked = SesMetrics(sending.configuration_set, begins * DAY_S, ends * DAY_S)
    if begins_at is None:
        return replace(asked, faults=("nothing was sent yet",))
    if not sending.configuration_set:
        return replace(asked, faults=("the campaign names no configuration set, by which its mails could be told",))
    try:
        return asyncio.run(_ask(asked, campaign, sending.endpoint_id, settings))
    except BulksendError as error:
        return replace(asked, faults=(error.detail,))


async def _ask(asked: SesMetrics, campaign: Campaign, endpoint_id: str, settings: Settings) -> SesMetrics:
    access = replace(bound_access(campaign, settings), answer_timeout_s=ANSWER_WITHIN_S)
    if not campaign.binding.endpoint_url:
        await refuse_other_account(campaign.binding, access)
    home = campaign.binding.region
    regions: tuple[str, ...] = (home,)
    if endpoint_id:
        async with Inquiry(access) as inquiry:
            told = await inquiry.ask(lambda client: read_endpoint(client, endpoint_id))
        if isinstance(told, Unknown):
            return replace(asked, faults=(told.why,))
        regions = told[1] or regions
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for region in regions:
        async with Inquiry(replace(access, region=region)) as inquiry:
            found = await inquiry.ask(
                lambda client: read_metrics(client, asked.configuration_set, asked.begins_at, asked.ends_at)
            )
        if isinstance(found, Unknown):
            faults.append(f"{region}: {found.why}")
            continue
        counts.update(found.counts)
        faults += [f"{region}: {metric}: {why}" for metric, why in found.faults.items()]
    return replace(asked, regions=regions, counts=dict(counts), faults=tuple(faults))
