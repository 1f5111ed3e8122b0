"""What a report on a campaign says: the facts, and the one sentence that sums them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique

from bulksend.model import Campaign, CampaignState, ResultRow, SkipReason, Tally
from bulksend.report.became import Became
from bulksend.report.figures import Durations, Kinds, Pace, Rate
from bulksend.report.markup import instant, some
from bulksend.report.ses_metrics import SesMetrics
from bulksend.report.waiting import opens_at

__all__ = ["CampaignReport", "Requests", "Weight", "state_in_words", "verdict_on"]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests by what came of them.

    `answered` by SES or by what stands before it; `unanswered`: the answer is awaited, or never came; `not_sent`: no
    byte of them has left.
    """

    answered: int = 0
    unanswered: int = 0
    not_sent: int = 0


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """A campaign as it stands at `made_at`. Times are epoch seconds.

    No text has anybody's address in it, but for the sender's in the campaign, and for those of the rows
    `with_addresses`; else they are masked there. `list_gone` says why rows cannot be shown, if they cannot; `pruned`,
    that the list was removed for good, so that nothing can be sent or decided any more.

    accepted        recipients that SES has accepted, by the time of its answer
    send_rate_per_s recipients per second that the account was granted at `made_at`; None: nobody knows
    answers         from the intent to the answer, of requests that were answered
    refused         why entries are dead; `given_up` of them were not refused by SES
    in_doubt        why entries are in doubt
    retried         what was said of entries that were to be sent again
    became          what events tell of mails that were accepted; None: they cannot be read
    bounced         why mails bounced, by SES's words; not told where the list is gone
    by_ses          what SES counts of the campaign's configuration set; None: it was not asked
    attempts        how many entries were in so many requests, at least one
    orphaned        it is queued or was being sent, and nobody is there to send it; `by_worker`: a worker did
    held_up         why nothing of it goes out, as those tell who send it
    """

    campaign: Campaign
    tally: Tally
    made_at: float
    accepted: Rate
    answers: Durations
    refused: Kinds
    in_doubt: Kinds
    retried: Kinds
    attempts: Mapping[int, int]
    requests: Requests = Requests()
    became: Became | None = field(default_factory=Became)
    bounced: Kinds = field(default_factory=Kinds)
    by_ses: SesMetrics | None = None
    given_up: int = 0
    orphaned: bool = False
    by_worker: bool = False
    held_up: Sequence[str] = ()
    first_attempt_at: float | None = None
    last_answer_at: float | None = None
    send_rate_per_s: float | None = None
    dead_rows: Sequence[ResultRow] = ()
    in_doubt_rows: Sequence[ResultRow] = ()
    list_gone: str = ""
    pruned: bool = False
    with_addresses: bool = False

    @property
    def duration_s(self) -> float | None:
        """From the first attempt to the last answer, in seconds; None while nothing was sent."""
        if self.first_attempt_at is None or self.last_answer_at is None:
            return None
        return max(self.last_answer_at - self.first_attempt_at, 0.0)

    @property
    def pace(self) -> Pace:
        """From the first attempt to the last acceptance: a request that hangs after that, and its answer, count not."""
        return self.accepted.pace(0.0 if self.first_attempt_at is None else self.first_attempt_at)


@unique
class Weight(StrEnum):
    """How a finding is to be taken. The value is a class of the style sheet."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


def verdict_on(report: CampaignReport) -> tuple[Weight, str]:
    """The whole campaign in one sentence."""
    tally, mails = report.tally, report.campaign.entries
    if not tally.adds_up:
        return Weight.BAD, "The numbers do not add up. Keep the store as it is and report this."
    left = tally.pending + tally.in_flight
    halted = report.campaign.state is CampaignState.HALTED
    cancelled = tally.skipped.get(SkipReason.CANCELLED, 0)
    if report.first_attempt_at is None and not (tally.accepted or tally.dead or tally.in_doubt):
        if not (left or cancelled):
            return Weight.BAD if halted else Weight.WARN, _nothing_to_send(tally)
        if report.campaign.state is CampaignState.CANCELLED:
            return Weight.WARN, f"The campaign was cancelled before any of its {some(mails, 'mail')} was sent."
        weight = Weight.BAD if halted else Weight.GOOD
        return weight, f"Nothing has been sent yet: {some(left, 'mail')} {_are(left)} ready."
    if tally.accepted == mails:
        return Weight.GOOD, f"All {some(mails, 'mail')} were accepted by SES." if mails > 1 else (
            "The one mail was accepted by SES."
        )
    parts = [
        f"{tally.accepted:,} of {some(mails, 'mail')} {_were(tally.accepted or mails)} accepted by SES",
        *_part(tally.dead - report.given_up, "refused"),
        *_part(report.given_up, "given up"),
        *([f"{tally.in_doubt:,} {_are(tally.in_doubt)} in doubt"] if tally.in_doubt else []),
        *([f"{left:,} {_are(left)} still to be sent or answered"] if left else []),
        *([f"{cancelled:,} {_were(cancelled)} not sent, as the campaign was cancelled"] if cancelled else []),
    ]
    return Weight.BAD if halted else Weight.WARN, "; ".join(parts) + "."


def _nothing_to_send(tally: Tally) -> str:
    if not tally.rows:
        return "There is nothing to send: the list has no rows."
    if tally.rows == 1:
        return "There is nothing to send: the one row of the list was skipped."
    return f"There is nothing to send: all {tally.rows:,} rows of the list were skipped."


_STATES = {
    CampaignState.PLANNED: "planned: it is sent when somebody says so",
    CampaignState.QUEUED: "queued: a worker takes it up",
    CampaignState.SENDING: "being sent",
    CampaignState.PAUSED: "paused: it goes on when somebody says so",
    CampaignState.HALTED: "halted: it stopped itself",
    CampaignState.CANCELLED: "cancelled, for good",
    CampaignState.FINISHED: "finished",
}


def state_in_words(report: CampaignReport) -> str:
    """The campaign's state, and who has to do what: ready HTML."""
    if not report.orphaned:
        opens = opens_at(report.campaign, report.made_at)
        when = "" if opens is None else f"; by its schedule it may send again from {instant(opens)}"
        return _STATES[report.campaign.state] + when
    if report.campaign.state is CampaignState.QUEUED:
        return "queued, and no worker is there"
    if report.by_worker:
        return "was being sent by a worker that is gone: it goes on once a worker is there"
    return "was being sent by a process that died: it is to be resumed"


def _part(count: int, what: str) -> list[str]:
    return [f"{count:,} {_were(count)} {what}"] if count else []


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
