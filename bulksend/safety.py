"""What holds a campaign back for the account's sake: a canary, a ramp, and a breaker. Pure; knows nothing else of ours.

SES reviews an account from 5 % bounces or 0.1 % complaints, and may pause it from 10 % and 0.5 % (Developer Guide,
Understanding the metrics of the reputation dashboard); a campaign stops itself before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

__all__ = ["Breaker", "Canary", "RampStep", "Safety"]


@dataclass(frozen=True, slots=True)
class Canary:
    """Send a share of the entries (0 to 1), then wait for their events, at most so long after the last of them."""

    share: float
    wait_s: float


@dataclass(frozen=True, slots=True)
class RampStep:
    """No faster than this for so long, counted from the campaign's first request; then the next step."""

    rate_per_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """Halt when more than these parts of the mails of the last `window_s` bounced for good, or were complained of.

    Nothing is judged by fewer mails than `min_sample`, of which it is known what became of them.
    """

    bounce_limit: float = 0.048
    complaint_limit: float = 0.0008
    window_s: float = 3600.0
    min_sample: int = 1000


@dataclass(frozen=True, slots=True)
class Safety:
    """All of it for one campaign. No breaker is a breaker that was turned off."""

    canary: Canary | None = None
    ramp: tuple[RampStep, ...] = ()
    breaker: Breaker | None = Breaker()

    def as_json(self) -> dict[str, Any]:
        """What differs from the default, for `from_json`."""
        facts = {name: value for name, value in asdict(self).items() if value != asdict(Safety())[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Self:
        """What `as_json` gave; {} is the default. Keys that it does not know are passed over."""
        canary, ramp = facts.get("canary"), facts.get("ramp", ())
        breaker = facts.get("breaker", asdict(Breaker()))
        return cls(
            canary=None if canary is None else Canary(**canary),
            ramp=tuple(RampStep(**step) for step in ramp),
            breaker=None if breaker is None else Breaker(**breaker),
        )
