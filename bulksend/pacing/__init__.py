"""How fast we may send, and who is next: quota → pace, throttles, the 24-hour window, campaigns that share a pacer.

`QuotaPacer` paces one process. What it is made of is here for other pacers too: `quota` and `throttle` are pure, and
the state of a `Throttle` fits a row that several processes share.
"""

from __future__ import annotations

from bulksend.pacing.lanes import Gate, Lane, Lanes
from bulksend.pacing.pacer import QuotaPacer
from bulksend.pacing.quota import (
    APART_S,
    REFRESH_S,
    STALE_AFTER_S,
    Hindrance,
    PaceSettings,
    burst_recipients,
    day_hindrance,
    granted_per_s,
    headroom,
    minutes_worth,
    quota_unknown,
    refusal,
    seconds_worth,
    told_spent,
)
from bulksend.pacing.ramp import Ramp, steps_left
from bulksend.pacing.throttle import Throttle
from bulksend.pacing.window import SentWindow

__all__ = [
    "APART_S",
    "REFRESH_S",
    "STALE_AFTER_S",
    "Gate",
    "Hindrance",
    "Lane",
    "Lanes",
    "PaceSettings",
    "QuotaPacer",
    "Ramp",
    "SentWindow",
    "Throttle",
    "burst_recipients",
    "day_hindrance",
    "granted_per_s",
    "headroom",
    "minutes_worth",
    "quota_unknown",
    "refusal",
    "seconds_worth",
    "steps_left",
    "told_spent",
]
