"""What a campaign says of its safety, and how people write it.

SES reviews an account from 5 % bounces or 0.1 % complaints, and may pause it from 10 % and 0.5 % (Developer Guide,
Understanding the metrics of the reputation dashboard); a campaign stops itself before that.

Three texts stand for it in a campaign file: a share ("2 %"), a time ("15 min"), a rate ("50/s").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Self

__all__ = [
    "MAX_RAMP_STEPS",
    "Breaker",
    "Canary",
    "RampStep",
    "Safety",
    "duration_in_words",
    "duration_of",
    "share_in_words",
    "share_of",
]

_DAY_S = 86_400.0
MAX_RAMP_STEPS = 100
LONGEST_S = 90 * _DAY_S
"""A time that is longer is a slip of the pen."""
LEAST_PER_S = 1 / _DAY_S
MOST_PER_S = 1_000_000.0
_UNITS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": _DAY_S, "days": _DAY_S}
_NUMBER = r"\d{1,9}(?:\.\d{1,9})?"


@dataclass(frozen=True, slots=True)
class Canary:
    """Send a share of the entries (0 to 1), then wait for their events, at most so long after the last of them."""

    share: float
    wait_s: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """As people write it: "2 %, 15 min".

        Raises:
            ValueError: what is wrong with it, worded to follow the name of the thing ("must be ...").
        """
        share, comma, wait = text.partition(",")
        if not comma:
            raise ValueError(f"must be a share of the list and a time, such as '2 %, 15 min', not {text[:60]!r}")
        found = cls(share_of(share), duration_of(wait))
        if found.share >= 1:
            raise ValueError("must be less than 100 %: with all of the list there is nothing left to hold back")
        return found

    def __str__(self) -> str:
        return f"{share_in_words(self.share)}, {duration_in_words(self.wait_s)}"

    def entries(self, of: int) -> int:
        """How many entries from the beginning of a list of so many are the canary: one at least."""
        return min(of, max(1, ceil(self.share * of - 1e-9)))  # 7 % of 100 is 7.000000000000001


@dataclass(frozen=True, slots=True)
class RampStep:
    """No faster than this for so long, counted from the campaign's first request; then the next step."""

    rate_per_s: float
    for_s: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """As people write it: "50/s for 10 min"; a rate may be of a second (s), minute (min), hour (h) or day.

        Raises:
            ValueError: what is wrong with it, worded to follow the name of the thing ("must be ...").
        """
        found = re.fullmatch(rf"\s*(?P<count>{_NUMBER})\s*/\s*(?P<unit>[a-z]+)\s+for\s+(?P<time>.+)", text)
        if found is None or found["unit"] not in _UNITS_S or found["unit"] == "days":
            raise ValueError(f"must be a rate and a time, such as '50/s for 10 min', not {text[:60]!r}")
        rate_per_s = float(found["count"]) / _UNITS_S[found["unit"]]
        if not LEAST_PER_S * (1 - 1e-9) <= rate_per_s <= MOST_PER_S:
            raise ValueError(f"must have a rate of 1/day to {MOST_PER_S:,.0f}/s, not {text[:60]!r}")
        return cls(rate_per_s, duration_of(found["time"]))

    def __str__(self) -> str:
        return f"{_rate_in_words(self.rate_per_s)} for {duration_in_words(self.for_s)}"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Halt when more than these parts of the mails of the last `window_s` bounced for good, or were complained of.

    Nothing is judged by fewer mails than `min_sample`, of which it is known what became of them.
    """

    bounce_limit: float = 0.048
    complaint_limit: float = 0.0008
    window_s: float = 3600.0
    min_sample: int = 1000

    def __str__(self) -> str:
        return (
            f"halts above {share_in_words(self.bounce_limit)} bounces or {share_in_words(self.complaint_limit)} "
            f"complaints among what was sent in {duration_in_words(self.window_s)}, "
            f"once it is known of {self.min_sample:,} mails what became of them"
        )


@dataclass(frozen=True, slots=True)
class Safety:
    """All of it for one campaign. No breaker is a breaker that was turned off."""

    canary: Canary | None = None
    ramp: tuple[RampStep, ...] = ()
    breaker: Breaker | None = Breaker()

    @property
    def limits(self) -> Breaker:
        """What a canary is judged by: the breaker's limits, or the usual ones where there is no breaker."""
        return self.breaker or Breaker()

    def in_words(self, entries: int) -> list[str]:
        """For people, of a campaign of so many entries: a line for each part that there is."""
        lines = []
        if self.canary is not None:
            count = self.canary.entries(entries)
            lines.append(
                f"canary: the first {'mail' if count == 1 else f'{count:,} mails'}, judged by what becomes of them "
                f"within {duration_in_words(self.canary.wait_s)}; then the others"
            )
        if self.ramp:
            lines.append(f"ramp: {', '.join(map(str, self.ramp))}; then as fast as the quota")
        lines.append("no breaker" if self.breaker is None else f"breaker: {self.breaker}")
        return lines

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


# The texts ------------------------------------------------------------------------------------------------------------


def share_of(text: str) -> float:
    """A share as people write it, "4.8 %", as a part of 1; more than 0 and at most 1.

    Raises:
        ValueError: what is wrong with it, worded to follow the name of the thing ("must be ...").
    """
    found = re.fullmatch(rf"\s*({_NUMBER})\s*%\s*", text)
    if found is None:
        raise ValueError(f"must be a share in per cent, such as '4.8 %', not {text[:60]!r}")
    share = float(found[1]) / 100
    if not 0 < share <= 1:
        raise ValueError(f"must be more than 0 % and at most 100 %, not {text[:60]!r}")
    return share


def duration_of(text: str) -> float:
    """A time as people write it, "15 min", in seconds: a number and s, min, h, day or days; 1 second to 90 days.

    Raises:
        ValueError: what is wrong with it, worded to follow the name of the thing ("must be ...").
    """
    found = re.fullmatch(rf"\s*({_NUMBER})\s*([a-z]+)\s*", text)
    if found is None or found[2] not in _UNITS_S:
        raise ValueError(f"must be a time in s, min, h or days, such as '15 min', not {text.strip()[:60]!r}")
    seconds = float(found[1]) * _UNITS_S[found[2]]
    if not 1 <= seconds <= LONGEST_S:
        raise ValueError(f"must be 1 s to 90 days, not {text.strip()[:60]!r}")
    return seconds


def share_in_words(share: float) -> str:
    """As `share_of` reads it, to three digits."""
    return f"{share * 100:.3g} %"


def duration_in_words(seconds: float) -> str:
    """As `duration_of` reads it: in the largest unit that has no fraction, or in seconds."""
    for unit in ("day", "h", "min"):
        count = seconds / _UNITS_S[unit]
        if count >= 1 and count == int(count):
            return f"{count:.0f} {unit}{'s' if unit == 'day' and count > 1 else ''}"
    return f"{seconds:.9g} s"


def _rate_in_words(rate_per_s: float) -> str:
    """As `RampStep.parse` reads it, in the first unit that makes a whole number of it; else in per second, rounded."""
    for unit in ("s", "min", "h", "day"):
        count = round(rate_per_s * _UNITS_S[unit], 6)
        if count == int(count):
            return f"{count:,.0f}/{unit}"
    return f"{rate_per_s:.3g}/s"
