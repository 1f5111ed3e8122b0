"""What holds a campaign back for the account's sake: a canary, a ramp, a breaker. Pure; knows nothing else of ours."""

from __future__ import annotations

from bulksend.safety.judging import (
    CanarySent,
    CanaryVerdict,
    Excess,
    Heard,
    judge,
    judge_canary,
    surely_above,
)
from bulksend.safety.terms import (
    MAX_RAMP_STEPS,
    Breaker,
    Canary,
    RampStep,
    Safety,
    duration_in_words,
    duration_of,
    share_in_words,
    share_of,
)

__all__ = [
    "MAX_RAMP_STEPS",
    "Breaker",
    "Canary",
    "CanarySent",
    "CanaryVerdict",
    "Excess",
    "Heard",
    "RampStep",
    "Safety",
    "duration_in_words",
    "duration_of",
    "judge",
    "judge_canary",
    "share_in_words",
    "share_of",
    "surely_above",
]
