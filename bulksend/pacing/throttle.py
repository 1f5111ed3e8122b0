"""What part of the granted pace is taken after SES has throttled. Pure."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FLOOR", "Throttle"]

FLOOR = 0.02
"""The part of the granted pace that no cut goes below."""
CUT = 0.5
STEP = 0.1
"""Part of the whole pace that a step up to the ceiling takes."""
STEP_EVERY_S = 1.0
BELOW_CEILING = 0.88
"""Where the quick climb ends: this part of the pace that was throttled.

Beside a sender that takes a third, 0.95 had twice as many requests throttled in a simulation, and 0.85 left 4 %
unused.
"""
FIRST_STEP = 0.0005
DOUBLING_STEPS = 10
"""Above the ceiling steps begin at FIRST_STEP and double every so many of them."""


@dataclass(slots=True)
class Throttle:
    """The part of the granted pace to take, FLOOR to 1, and what it depends on: five numbers, which fit a row.

    Times are seconds on one clock, any, as long as everybody who shares the state reads that one.
    """

    factor: float = 1.0
    """The part to take now."""
    ceiling: float = 1.0
    """Where SES last throttled, less a margin: the quick climb ends here."""
    steps_above: int = 0
    """Steps taken above the ceiling since the last cut."""
    cut_at_s: float = float("-inf")
    stepped_at_s: float = 0.0

    def cut(self, sent_at_s: float, now_s: float) -> bool:
        """A request sent at `sent_at_s` was throttled: halve the factor, remember where that was.

        False, and no change, if it was sent before the last cut and so knows nothing of it.
        """
        if sent_at_s <= self.cut_at_s:
            return False
        recovering = self.factor < self.ceiling
        self.ceiling *= BELOW_CEILING if recovering else self.factor / self.ceiling * BELOW_CEILING
        self.steps_above = 0
        self.factor = max(FLOOR, self.factor * CUT)
        self.cut_at_s = self.stepped_at_s = now_s
        return True

    def step_up(self, now_s: float) -> bool:
        """Climb back by a step, if one is due: call it often.

        Quickly to where SES last throttled, then feeling the way, ever faster while all is quiet.
        """
        if self.factor >= 1.0 or now_s - self.stepped_at_s < STEP_EVERY_S:
            return False
        self.stepped_at_s = now_s
        if self.factor < self.ceiling:
            self.factor = min(self.ceiling, self.factor + STEP)
        else:
            self.steps_above += 1
            step = min(STEP, FIRST_STEP * 2 ** (self.steps_above / DOUBLING_STEPS))
            self.factor = min(1.0, self.factor + step)
        return True
