"""What SES judges accounts by, from the store: it outlives processes, and is the same for all that look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bulksend.facts import Reputation, Span
from bulksend.worker.store import Store

__all__ = ["reputations"]

DAY_S = 86400.0
SPANS_S = {Span.DAY: DAY_S, Span.WEEK: 7 * DAY_S}


def reputations(store: Store, now: float) -> dict[tuple[str, str], Mapping[Span, Reputation]]:
    """By account and Region that campaigns are bound to; none of whose mails no event has come in seven days.

    Mails are counted by when they were sent, so that a bounce which comes tomorrow is today's. By a multi-region
    endpoint they leave from two Regions: both are told under the one that the campaign is bound to.

    Raises:
        JournalError: journal or events cannot be read.
    """
    heard = store.events.heard_since(now - max(SPANS_S.values()))
    bindings = store.journal.bindings() if heard else {}
    by_binding: dict[tuple[str, str], list[str]] = {}
    for campaign_id in heard:
        if campaign_id in bindings:  # else it is another store's
            by_binding.setdefault(bindings[campaign_id], []).append(campaign_id)
    return {
        binding: {span: _of_binding(store, binding, campaigns, now - span_s) for span, span_s in SPANS_S.items()}
        for binding, campaigns in by_binding.items()
    }


def _of_binding(store: Store, binding: tuple[str, str], campaigns: Sequence[str], since: float) -> Reputation:
    """Of mails that were sent since then.

    Where nothing is said to have arrived, every mail has bounced, or nobody has Delivery events published: then all
    that were sent are taken, those of campaigns too of which nothing was heard.
    """
    mails = delivered = bounced = complained = 0
    for campaign_id in campaigns:
        rates = store.events.rates(campaign_id, since)
        sent = 0 if rates.delivered else store.journal.mails_sent(campaign_id, since)
        mails += max(rates.sample, sent)
        delivered += rates.delivered
        bounced += rates.bounced
        complained += rates.complained
    if not delivered:
        mails = max(mails, store.journal.mails_sent_from(*binding, since))
    return Reputation(mails, bounced, complained)
