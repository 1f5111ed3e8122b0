"""What is counted, as plain numbers: some of it is done twenty thousand times a million recipients.

One thread writes each of them; series are made of them when somebody looks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate

from bulksend.event import BounceKind, EventType
from bulksend.facts import WaitKind
from bulksend.metrics.declared import ANSWER_S
from bulksend.model import Verdict
from bulksend.outcome import knows_status

__all__ = ["OTHER", "AccountNumbers", "CampaignLabels", "CampaignNumbers", "Distribution", "Waits", "Words"]

OTHER = "other"
FORGOTTEN_AFTER_S = 3600.0
"""For so long a campaign that is not sent any more, and has nothing in the store to be told of, keeps its label."""
MAX_WORD = 64


class Distribution:
    """Values by bucket, whose upper limits are given."""

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits = [*limits, float("inf")]
        self._counts = [0] * len(self._limits)
        self.sum = 0.0

    def note(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._limits, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper limit, how many are not above it), as Prometheus wants them."""
        return [
            ("+Inf" if limit == float("inf") else str(limit), count)
            for limit, count in zip(self._limits, accumulate(self._counts), strict=True)
        ]


class Words:
    """Words from outside that become values of a label: nothing but words, and few beside those documented."""

    def __init__(self, most: int = MAX_WORD) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def word(self, word: str) -> str:
        """A status or code as it may stand in a label: `unknown` if it is none, `other` after the first so many."""
        known = self._known.get(word)
        if known is None:
            plain = len(word) <= MAX_WORD and word.replace("_", "").isalnum() and word.isascii()
            if not plain:
                return "unknown"
            if len(self._known) >= self._most and not knows_status(word):
                return OTHER
            known = self._known[word] = word
        return known


class CampaignLabels:
    """Names of campaigns that are labels: so many at a time.

    One that was not sent for a while makes room, and one that was only looked at makes it at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen_at_s: dict[str, float] = {}
        self._at_work: Counter[str] = Counter()

    def look_at_only(self, names: Collection[str]) -> None:
        """Those that were only looked at, and are no more, make room."""
        for gone in [name for name, at_s in self._seen_at_s.items() if at_s == float("-inf") and name not in names]:
            if not self._at_work[gone]:
                del self._seen_at_s[gone]

    def looked_at(self, name: str) -> str:
        """What stands for a campaign that nobody here sends: itself, as long as there is room."""
        if name not in self._seen_at_s:
            if len(self._seen_at_s) >= self._most:
                return OTHER
            self._seen_at_s[name] = float("-inf")
        return name

    def label(self, name: str, now_s: float) -> str:
        """What stands for a campaign that is sent now."""
        if name not in self._seen_at_s and len(self._seen_at_s) >= self._most:
            idle = [other for other in self._seen_at_s if not self._at_work[other]]
            oldest = min(idle, key=self._seen_at_s.__getitem__, default=None)
            if oldest is None or now_s - self._seen_at_s[oldest] < FORGOTTEN_AFTER_S:
                return OTHER
            del self._seen_at_s[oldest]
        self._seen_at_s[name] = now_s
        return name

    def __contains__(self, label: str) -> bool:
        return label in self._seen_at_s

    def begin(self, label: str) -> None:
        """It is sent from now on, and keeps its label meanwhile."""
        self._at_work[label] += 1

    def end(self, label: str, now_s: float) -> None:
        """It is not any more."""
        self._at_work[label] -= 1
        if label in self._seen_at_s:
            self._seen_at_s[label] = now_s


class Waits:
    """Who waits, and for what."""

    def __init__(self) -> None:
        self._by_whom: dict[object, WaitKind] = {}

    def note(self, who: object, kind: WaitKind | None) -> None:
        """He waits, or no more."""
        if kind is None:
            self._by_whom.pop(who, None)
        else:
            self._by_whom[who] = kind

    def count(self, kind: WaitKind) -> int:
        """How many wait for it."""
        return list(self._by_whom.values()).count(kind)


class CampaignNumbers:
    """Of one campaign; or of all of an account, where campaigns are not told apart."""

    __slots__ = ("entries", "in_flight", "requests")

    def __init__(self) -> None:
        self.entries: dict[tuple[Verdict, str], int] = {}
        self.requests: dict[tuple[str, str, Verdict], list[int]] = {}
        """(transport, code, verdict) → requests, recipients in them."""
        self.in_flight = 0


class AccountNumbers:
    """Of one account and Region."""

    def __init__(self) -> None:
        self.durations_s: dict[str, Distribution] = {}
        """By transport."""
        self.pacer_wait_s = 0.0
        self.throttled = 0
        self.events = dict.fromkeys(EventType, 0)
        self.bounces = dict.fromkeys(BounceKind, 0)
        self.events_unreadable = 0
        self.copies = 0

    def duration_s(self, transport: str) -> Distribution:
        """Of requests by this transport."""
        found = self.durations_s.get(transport)
        if found is None:
            found = self.durations_s[transport] = Distribution(ANSWER_S)
        return found
