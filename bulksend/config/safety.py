"""[safety] of a campaign file: what holds the campaign back for the account's sake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, Field

from bulksend.config.source import Table
from bulksend.safety import (
    MAX_RAMP_STEPS,
    Breaker,
    Canary,
    RampStep,
    Safety,
    duration_in_words,
    duration_of,
    share_of,
)

__all__ = ["SafetyTable", "contradictions"]

_LEAST_WINDOW_S = 60.0
_MOST_WINDOW_S = 7 * 86_400.0
_OF_THE_BREAKER = ("bounce_limit", "complaint_limit", "window", "min_sample")


def _canary(text: str) -> str:
    Canary.parse(text)
    return text


def _ramp_step(text: str) -> str:
    RampStep.parse(text)
    return text


def _share(text: str) -> str:
    share_of(text)
    return text


def _window(text: str) -> str:
    if not _LEAST_WINDOW_S <= duration_of(text) <= _MOST_WINDOW_S:
        bounds = f"{duration_in_words(_LEAST_WINDOW_S)} to {duration_in_words(_MOST_WINDOW_S)}"
        raise ValueError(f"must be {bounds}, not {text[:60]!r}")
    return text


class SafetyTable(Table):
    """[safety]: canary, ramp and breaker; may change after the campaign was planned."""

    canary: Annotated[str, AfterValidator(_canary)] | None = None
    """A share of the list that is sent first, and how long its events are waited for: "2 %, 15 min"."""
    ramp: Annotated[
        tuple[Annotated[str, AfterValidator(_ramp_step)], ...], Field(strict=False, max_length=MAX_RAMP_STEPS)
    ] = ()
    """Paces, one after the other: "50/s for 10 min"."""
    breaker: bool = True
    """Whether the campaign halts when too many of its mails bounce, or are complained of."""
    bounce_limit: Annotated[str, AfterValidator(_share)] | None = None
    complaint_limit: Annotated[str, AfterValidator(_share)] | None = None
    window: Annotated[str, AfterValidator(_window)] | None = None
    """What was sent in so long is judged."""
    min_sample: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Nothing is judged by fewer mails, of which it is known what became of them."""

    def as_safety(self) -> Safety:
        """The same as facts."""
        usual = Breaker()
        return Safety(
            canary=None if self.canary is None else Canary.parse(self.canary),
            ramp=tuple(RampStep.parse(step) for step in self.ramp),
            breaker=Breaker(
                bounce_limit=usual.bounce_limit if self.bounce_limit is None else share_of(self.bounce_limit),
                complaint_limit=usual.complaint_limit
                if self.complaint_limit is None
                else share_of(self.complaint_limit),
                window_s=usual.window_s if self.window is None else duration_of(self.window),
                min_sample=usual.min_sample if self.min_sample is None else self.min_sample,
            )
            if self.breaker
            else None,
        )


def contradictions(table: object) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) of keys that do not go together, also where others have faults of their own."""
    if isinstance(table, dict) and table.get("breaker") is False:
        for key in _OF_THE_BREAKER:
            if key in table:
                yield f"safety.{key}", "says how the breaker judges, and breaker = false turns it off: leave out one"
