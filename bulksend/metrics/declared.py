"""Every series, declared once: its name, its labels, and the help that is also its documentation. Pure.

Names follow Prometheus's own rules (Metric and label naming): base units, `_total` for counters. Each label has few
values, and none of them is personal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

__all__ = [
    "BY_CAMPAIGN",
    "CAMPAIGNS_LABELLED",
    "CATALOGUE",
    "OF_ACCOUNT",
    "Kind",
    "Series",
    "Topic",
]

CAMPAIGNS_LABELLED = 50
"""Names of campaigns that are labels at a time, where they are; more are `other`."""
ANSWER_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0)
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PLAN_S = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
GROUP = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

OF_ACCOUNT = ("account", "region")
BY_CAMPAIGN = (*OF_ACCOUNT, "campaign")


@unique
class Kind(StrEnum):
    """What Prometheus makes of the samples."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@unique
class Topic(StrEnum):
    """What a series is about, in the words of the page that lists them all."""

    SENDING = "Sending"
    QUOTA = "Quota and pace"
    STORE = "What is in the store"
    JOURNAL = "Journal and lists"
    EVENTS = "Events"
    PROCESS = "The process"


@dataclass(frozen=True, slots=True)
class Series:
    """One series, as `kind` has it. `name` is without a counter's `_total` and the like; `limits` are a histogram's."""

    name: str
    kind: Kind
    topic: Topic
    documentation: str
    labels: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()

    @property
    def exposed(self) -> str:
        """The name that queries use, but for a histogram's _bucket, _sum and _count."""
        match self.kind:
            case Kind.COUNTER:
                return f"{self.name}_total"
            case Kind.INFO:
                return f"{self.name}_info"
            case Kind.GAUGE | Kind.HISTOGRAM:
                return self.name


CATALOGUE: list[Series] = []


def _counter(topic: Topic, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Series:
    return _declared(Series(name, Kind.COUNTER, topic, documentation, labels))


def _gauge(topic: Topic, name: str, documentation: str, labels: tuple[str, ...] = ()) -> Series:
    return _declared(Series(name, Kind.GAUGE, topic, documentation, labels))


def _histogram(
    topic: Topic, name: str, documentation: str, limits: tuple[float, ...], labels: tuple[str, ...] = ()
) -> Series:
    return _declared(Series(name, Kind.HISTOGRAM, topic, documentation, labels, limits))


def _declared(series: Series) -> Series:
    CATALOGUE.append(series)
    return series


# Sending --------------------------------------------------------------------------------------------------------------

ENTRIES = _counter(
    Topic.SENDING,
    "bulksend_entries",
    "Entries by what SES's answer made of them, with SES's own status. One that is tried again counts each time.",
    (*BY_CAMPAIGN, "verdict", "status"),
)
REQUEST_RECIPIENTS = _counter(
    Topic.SENDING,
    "bulksend_request_recipients",
    "Recipients (To, Cc and Bcc) of the requests that were answered, by the verdict on the request.",
    (*BY_CAMPAIGN, "verdict"),
)
REQUESTS = _counter(
    Topic.SENDING,
    "bulksend_requests",
    "SendBulkEmail requests by transport (signed, compatible), by how the answer came (HTTP status or SES's error "
    "code; not_sent, no_answer) and by the verdict on them.",
    (*BY_CAMPAIGN, "transport", "code", "verdict"),
)
REQUEST_DURATION = _histogram(
    Topic.SENDING,
    "bulksend_request_duration_seconds",
    "From sending a request to its answer.",
    ANSWER_S,
    (*OF_ACCOUNT, "transport"),
)
IN_FLIGHT = _gauge(
    Topic.SENDING, "bulksend_in_flight_requests", "Requests of this process whose answer is awaited.", BY_CAMPAIGN
)
RETURNED = _counter(
    Topic.SENDING,
    "bulksend_entries_returned",
    "Entries made pending again: dead ones by a halt that blames the campaign, in-doubt ones by the campaign's policy.",
    ("was",),
)
UNKNOWN_STATUSES = _counter(
    Topic.SENDING,
    "bulksend_unknown_statuses",
    "Entries with a status that no document names; they are in doubt.",
)
HALTS = _counter(
    Topic.SENDING,
    "bulksend_halts",
    "Campaigns that stopped by themselves, by what was at fault: the campaign, or the account (each campaign of it "
    "counts).",
    ("scope",),
)
WAITING = _gauge(
    Topic.SENDING,
    "bulksend_waiting",
    "Campaigns, accounts and stores of this process for which nothing may be sent now, by what they wait for: "
    "day_spent (the 24-hour quota), quota_unknown (GetAccount does not answer), schedule (the campaign's hours), "
    "canary (what becomes of a campaign's first mails), store (the database, the disk, or where lists are kept), "
    "this_worker (something is wrong with this process alone: its settings, credentials, or copy of a list).",
    ("why",),
)
CIRCUITS_OPEN = _gauge(
    Topic.SENDING,
    "bulksend_circuits_open",
    "Campaigns of this process for which only single probes go out, since most requests failed.",
)
BREAKERS_BLIND = _gauge(
    Topic.SENDING,
    "bulksend_breakers_blind",
    "Campaigns of this process that are sent, and whose breaker cannot judge, since no events of what was sent lately "
    "come in.",
)

# Quota and pace -------------------------------------------------------------------------------------------------------

MAX_SEND_RATE = _gauge(
    Topic.QUOTA,
    "bulksend_quota_max_send_rate_recipients_per_second",
    "What SES grants the account a second in this Region.",
    OF_ACCOUNT,
)
MAX_24_HOUR_SEND = _gauge(
    Topic.QUOTA,
    "bulksend_quota_max_24h_send_recipients",
    "What SES grants in 24 hours; +Inf is unlimited.",
    OF_ACCOUNT,
)
SENT_LAST_24_HOURS = _gauge(
    Topic.QUOTA,
    "bulksend_quota_sent_last_24h_recipients",
    "What SES has counted in 24 hours, whoever sent it.",
    OF_ACCOUNT,
)
FOREIGN_24_HOURS = _gauge(
    Topic.QUOTA,
    "bulksend_quota_foreign_24h_recipients",
    "Of these, what others have sent: what SES has counted beyond what the journal knows.",
    OF_ACCOUNT,
)
HEADROOM = _gauge(
    Topic.QUOTA,
    "bulksend_quota_headroom_recipients",
    "What the 24 hours still take from us, pacing.daily_reserve left out; +Inf is unlimited.",
    OF_ACCOUNT,
)
DEBT = _gauge(
    Topic.QUOTA,
    "bulksend_quota_debt_recipients",
    "By how much the 24-hour quota, less pacing.daily_reserve, is overdrawn.",
    OF_ACCOUNT,
)
QUOTA_READ_AT = _gauge(
    Topic.QUOTA,
    "bulksend_quota_read_timestamp_seconds",
    "When GetAccount's latest answer came; nothing is sent by one that is older than ten minutes.",
    OF_ACCOUNT,
)
SENDING_ENABLED = _gauge(
    Topic.QUOTA, "bulksend_sending_enabled", "1 if SES says that the account may send, else 0.", OF_ACCOUNT
)
PACE = _gauge(
    Topic.QUOTA,
    "bulksend_pace_recipients_per_second",
    "The present pace, of all workers of a fleet together: what quota and settings allow, lowered by throttling.",
    OF_ACCOUNT,
)
PACE_ALLOWED = _gauge(
    Topic.QUOTA,
    "bulksend_pace_allowed_recipients_per_second",
    "The pace that quota and settings allow while nothing is throttled.",
    OF_ACCOUNT,
)
PACER_WAIT = _counter(
    Topic.QUOTA,
    "bulksend_pacer_wait_seconds",
    "Time that batches waited for the quota.",
    OF_ACCOUNT,
)
THROTTLED = _counter(
    Topic.QUOTA,
    "bulksend_throttled_requests",
    "Requests that SES throttled, wholly or in part.",
    OF_ACCOUNT,
)

# What is in the store -------------------------------------------------------------------------------------------------

CAMPAIGNS = _gauge(Topic.STORE, "bulksend_campaigns", "Campaigns in the store, by their state.", ("state",))
CAMPAIGN_ENTRIES = _gauge(
    Topic.STORE,
    "bulksend_campaign_entries",
    "Entries of the campaigns that are not over, by where they are: pending (never tried), retrying, in_flight, "
    "accepted, dead, in_doubt. Of campaigns that are finished or cancelled, what is in doubt.",
    ("campaign", "state"),
)
SENDABLE = _gauge(
    Topic.STORE,
    "bulksend_sendable_entries",
    "Entries that are still to be sent in campaigns that are queued or being sent, and whose schedule lets them now.",
)
DOUBT_AGE = _gauge(
    Topic.STORE,
    "bulksend_in_doubt_oldest_seconds",
    "For how long the oldest of what is in doubt has been so, in any campaign; 0 while nothing is.",
)
CHUNKS = _gauge(
    Topic.STORE,
    "bulksend_chunks",
    "Chunks of the campaigns that are queued or being sent: waiting, leased by a worker, stalled (the lease ran out "
    "and nobody has taken it over), done. In SQLite, where there are no leases, all that are not done are waiting.",
    ("state",),
)
WORKERS = _gauge(Topic.STORE, "bulksend_workers", "Workers of the store whose heartbeat is not too old.")
CENSUS_AT = _gauge(
    Topic.STORE,
    "bulksend_census_timestamp_seconds",
    "When the store was counted last, which is what this topic's series come from.",
)
CENSUS_DURATION = _gauge(
    Topic.STORE,
    "bulksend_census_duration_seconds",
    "How long that took. It is done every 15 seconds, or more rarely, so that those of all workers take no more than "
    "1 % of the time together.",
)

# Journal and lists ----------------------------------------------------------------------------------------------------

INTENT_DURATION = _histogram(
    Topic.JOURNAL,
    "bulksend_intent_duration_seconds",
    "From asking for a durable intent to having it; its request is sent then.",
    COMMIT_S,
)
COMMIT_DURATION = _histogram(
    Topic.JOURNAL, "bulksend_journal_commit_duration_seconds", "Duration of the journal's commits.", COMMIT_S
)
GROUP_SIZE = _histogram(
    Topic.JOURNAL,
    "bulksend_journal_group_operations",
    "Operations that went into one commit of the journal; their sum is what it has written.",
    GROUP,
)
SNAPSHOT_READ = _histogram(
    Topic.JOURNAL,
    "bulksend_snapshot_read_duration_seconds",
    "From asking for a chunk of a campaign's list to having it in memory.",
    ANSWER_S,
)
SNAPSHOT_ENTRIES = _counter(
    Topic.JOURNAL, "bulksend_snapshot_read_entries", "Entries of the chunks that were read from campaigns' lists."
)
PLANS_RUNNING = _gauge(Topic.JOURNAL, "bulksend_plans_running", "Lists that are being read and checked now.")
PLAN_ROWS = _counter(Topic.JOURNAL, "bulksend_plan_rows", "Rows of lists that were read and checked.")
PLAN_DURATION = _histogram(
    Topic.JOURNAL, "bulksend_plan_duration_seconds", "How long campaigns took to be planned, or refused.", PLAN_S
)

# Events ---------------------------------------------------------------------------------------------------------------

EVENTS = _counter(
    Topic.EVENTS,
    "bulksend_events",
    "Events that SES has reported of mails, each counted once, by type: send, reject, bounce, complaint, delivery, "
    "open, click, rendering_failure, delivery_delay, subscription. All 0 as long as no events are consumed.",
    (*OF_ACCOUNT, "type"),
)
BOUNCES = _counter(
    Topic.EVENTS,
    "bulksend_bounces",
    "Bounce events by kind: permanent (what SES judges an account by), transient, undetermined.",
    (*OF_ACCOUNT, "kind"),
)
HEARD_MAILS = _gauge(
    Topic.EVENTS,
    "bulksend_heard_mails",
    "Mails of the store that were sent in the last day (span day) or seven days (week), and of which events tell "
    "whether they arrived; where no Delivery events come, all that were sent. Counted with the store; there is none of "
    "an account of which no event came in seven days.",
    (*OF_ACCOUNT, "span"),
)
HEARD_BOUNCED = _gauge(
    Topic.EVENTS,
    "bulksend_heard_bounced_mails",
    "Those of them that bounced for good. Mails of a multi-region endpoint count where their campaign is bound to.",
    (*OF_ACCOUNT, "span"),
)
HEARD_COMPLAINED = _gauge(
    Topic.EVENTS,
    "bulksend_heard_complained_mails",
    "Those of them that were complained of.",
    (*OF_ACCOUNT, "span"),
)
EVENT_LAG = _gauge(
    Topic.EVENTS,
    "bulksend_event_lag_seconds",
    "How old the oldest event of the batch that was recorded last was then, and for how long events have been held up "
    "since; of several queues the most. There is none before the first.",
    OF_ACCOUNT,
)
EVENTS_HELD_UP = _gauge(
    Topic.EVENTS,
    "bulksend_events_held_up",
    "1 while events cannot be had from a queue, or not be kept: SQS or the store does not answer, or refuses. Sending "
    "goes on. There is none where no events are consumed.",
    OF_ACCOUNT,
)
EVENTS_UNREADABLE = _counter(
    Topic.EVENTS, "bulksend_events_unreadable", "Messages of the events' queue that could not be read.", OF_ACCOUNT
)
SUPPRESSIONS = _counter(
    Topic.EVENTS,
    "bulksend_suppressions",
    "Addresses that came on the store's suppression list by one click (unsubscribe); those of events do not count.",
    ("reason",),
)

COPIES = _counter(
    Topic.EVENTS,
    "bulksend_copies_observed",
    "Rows of a list of which SES has made a second mail, as events tell, and refused neither (Reject, Rendering "
    "Failure): somebody got the mail twice. 0 unless something in doubt was sent again that had been accepted.",
    OF_ACCOUNT,
)

# The process ----------------------------------------------------------------------------------------------------------

LOOP_LAG = _histogram(
    Topic.PROCESS,
    "bulksend_event_loop_lag_seconds",
    "How much later than asked the event loop woke somebody; looked at four times a second.",
    LAG_S,
)
BUILD = _declared(Series("bulksend_build", Kind.INFO, Topic.PROCESS, "What runs.", ("version", "python")))
