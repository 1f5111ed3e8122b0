"""Whether a campaign may go on, by what became of its mails.

The breaker asks again and again, of samples that grow: it must not be wrong by chance, so it takes proof. A canary is
judged once, and a person can let it go on: any sign of harm holds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from math import log, log1p

from bulksend.safety.terms import Breaker, share_in_words

__all__ = ["CanarySent", "CanaryVerdict", "Excess", "Heard", "judge", "judge_canary", "surely_above"]

CHANCE = 0.001
"""A rate is above its limit when so many, or more, would come about more rarely than this at the limit itself."""
LEAST_HEARD = 20
"""Fewer mails of a canary tell nothing, unless it has no more."""
LEAST_OF_A_RATE = 2
"""One bounce, or one complaint, is no rate yet."""
REFUSED_LIMIT = 0.05
"""The part of the mails that SES may accept and then refuse (Reject, Rendering Failure) before something is wrong."""


SAID = {
    "bounces": "bounced for good",
    "complaints": "were complained of",
    "refusals": "were accepted by SES and never sent (Reject or Rendering Failure)",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """Mails of which it is known what became of them: delivered, bounced for good, complained of; or never sent.

    What SES accepted and did not send (`unsent`) is known, but is no part of the rates that SES reckons. `refused` are
    those of it that no suppression list explains: a Reject or a Rendering Failure.
    `sent` are all that went out in the same time, where nothing was delivered: either every mail bounced, or nobody has
    Delivery events published; their part of what was sent is right in both cases. Else it is 0, and not looked at.
    """

    delivered: int
    bounced: int
    complained: int
    unsent: int = 0
    sent: int = 0
    refused: int = 0

    @property
    def known(self) -> int:
        """All of them."""
        return self.delivered + self.bounced + self.unsent

    @property
    def sample(self) -> int:
        """Mails by which the rates are reckoned."""
        return self._of_all(self.delivered + self.bounced)

    @property
    def tried(self) -> int:
        """Mails of which the refused are a part."""
        return self._of_all(self.delivered + self.bounced + self.refused)

    def _of_all(self, heard: int) -> int:
        return heard if self.delivered else max(heard, self.sent)


@dataclass(frozen=True, slots=True)
class Excess:
    """A rate above its limit: `count` of `sample` mails. `what` is "bounces", "complaints" or "refusals"."""

    what: str
    count: int
    sample: int
    limit: float

    def __str__(self) -> str:
        return (
            f"{self.count:,} of {self.sample:,} mails {SAID[self.what]}: {share_in_words(self.count / self.sample)}, "
            f"and the limit is {share_in_words(self.limit)}"
        )


def surely_above(count: int, sample: int, limit: float) -> bool:
    """Whether `count` of `sample` are too many to have come about by chance, were the true rate at the limit (0 to 1).

    By Chernoff's bound, P(X >= count) <= exp(-sample * KL(count / sample, limit)), which holds for any sample, however
    small. Where it says 1 in 1,000, the true chance is about 1 in 10,000.
    """
    if sample <= 0 or count <= sample * limit:
        return False
    rate = min(1.0, count / sample)
    divergence = rate * log(rate / limit) if limit < 1 else 0.0
    if rate < 1:
        divergence += (1 - rate) * (log1p(-rate) - log1p(-limit))
    return sample * divergence > -log(CHANCE)


def judge(limits: Breaker, heard: Heard, *, min_sample: int | None = None) -> Excess | None:
    """What is beyond doubt above its limit, if anything is. `min_sample` is the breaker's own, if not given."""
    least = limits.min_sample if min_sample is None else min_sample
    for excess in _excesses(limits, heard):
        if excess.sample >= least and surely_above(excess.count, excess.sample, excess.limit):
            return excess
    return None


@dataclass(frozen=True, slots=True)
class CanarySent:
    """How far the entries of a canary are; `last_at` is when the latest request with any of them went out.

    `under_way` have no final answer yet; `untried` of them were in no request so far. Those that are neither accepted
    nor under way are dead or in doubt: nothing is awaited of them. A mail that SES refused after all is `accepted`
    until the journal has settled that. Times are epoch seconds.
    """

    entries: int
    accepted: int
    under_way: int
    untried: int
    last_at: float | None


@unique
class CanaryVerdict(Enum):
    """What is to become of the entries that a canary holds back, where nothing is above its limit.

    WAIT          there may be more to hear.
    PASS          they may go.
    CANNOT_JUDGE  the time is up, and too little was heard.
    """

    WAIT = "wait"
    PASS = "pass"  # noqa: S105  no password
    CANNOT_JUDGE = "cannot judge"


def judge_canary(
    limits: Breaker, sent: CanarySent, heard: Heard, *, deadline: float | None, now: float
) -> CanaryVerdict | Excess:
    """The verdict on a canary at `now`; `deadline` is None while it has not all gone out. Times are epoch seconds.

    It passes when of every mail that SES accepted it is known whether it arrived, or at the deadline when that is known
    of half of them, and of 20. What SES refused after all counts as neither: it has a limit of its own.
    """
    sure = judge(limits, heard, min_sample=LEAST_HEARD)
    if sure is not None:
        return sure
    known = heard.known - heard.refused  # those leave `accepted`, sooner or later
    if sent.under_way == 0 and known >= sent.accepted:
        excess = _first(limits, heard)
        if excess is not None:
            return excess
        if sent.accepted:
            return CanaryVerdict.PASS
    if deadline is None or sent.untried or now < deadline:
        return CanaryVerdict.WAIT
    awaited = sent.accepted + sent.under_way
    if not awaited or known < max(awaited / 2, min(LEAST_HEARD, awaited)):
        return CanaryVerdict.CANNOT_JUDGE
    return _first(limits, heard) or CanaryVerdict.PASS


def _first(limits: Breaker, heard: Heard) -> Excess | None:
    """What is above its limit as it stands, by two mails at least."""
    for excess in _excesses(limits, heard):
        if excess.count >= LEAST_OF_A_RATE and excess.count > excess.sample * excess.limit:
            return excess
    return None


def _excesses(limits: Breaker, heard: Heard) -> tuple[Excess, ...]:
    return (
        Excess("bounces", heard.bounced, heard.sample, limits.bounce_limit),
        # A mail that is complained of has arrived, whatever else is known.
        Excess("complaints", heard.complained, max(heard.sample, heard.complained), limits.complaint_limit),
        Excess("refusals", heard.refused, heard.tried, REFUSED_LIMIT),
    )
