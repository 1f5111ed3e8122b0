"""An outage is not a verdict.

When requests fail for reasons that are not the recipients', stop making intents and probe. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from bulksend.model import Verdict

__all__ = ["Circuit"]

WINDOW = 20
TRIP_AT = 10
FIRST_PROBE_S = 1.0
MAX_PROBE_S = 60.0
MAX_DOUBTFUL_PROBES = 10

TROUBLE = frozenset({Verdict.TRANSIENT, Verdict.UNREACHABLE, Verdict.IN_DOUBT})


class Circuit:
    """Closed: all goes. Open: one single-entry probe at a time, backing off; a probe that gets a real answer closes it.

    Times are seconds of whatever clock the caller uses throughout.
    """

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._probes = 0
        self.is_open = False
        self.probe_at = 0.0
        self.opened_s = 0.0
        """When it opened last."""
        self.doubtful_probes = 0

    def note(self, verdicts: Iterable[Verdict], now: float, *, probe: bool) -> bool:
        """Take up an answered request, by its entries' verdicts. True when the circuit opened or closed by it.

        A request is trouble when every one of its entries is: had SES judged a single one of them, it would be working.
        """
        verdicts = list(verdicts)
        trouble = all(v in TROUBLE for v in verdicts)
        if self.is_open:
            if not probe:
                return False
            if not trouble:
                self.is_open = False
                self._recent.clear()
                self.doubtful_probes = 0
                return True
            self._probes += 1
            self.doubtful_probes = self.doubtful_probes + 1 if Verdict.IN_DOUBT in verdicts else 0
            self._schedule(now)
            return False
        self._recent.append(trouble)
        if sum(self._recent) < TRIP_AT:
            return False
        self.is_open = True
        self.opened_s = now
        self._probes = 0
        self.doubtful_probes = 0
        self._schedule(now)
        return True

    @property
    def hopeless(self) -> bool:
        """Ten probes in a row in doubt: each may have been a mail, and nobody will know."""
        return self.doubtful_probes >= MAX_DOUBTFUL_PROBES

    def _schedule(self, now: float) -> None:
        ceiling = min(MAX_PROBE_S, FIRST_PROBE_S * 2.0 ** min(self._probes, 10))
        self.probe_at = now + self._uniform(ceiling / 2, ceiling)
