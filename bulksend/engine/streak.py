"""The same refusal for everybody is the campaign's fault, not the people's. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from bulksend.model import Batch, EntryOutcome, Verdict

__all__ = ["RefusalStreak", "RefusedEntry"]

LENGTH = 20
BATCHES = 2


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """A dead letter that may turn out to be innocent."""

    attempt_id: int
    chunk: int
    index: int


class RefusalStreak:
    """Counts entries refused in a row for the same reason, in batches and what they were split into.

    An acceptance ends a streak; another reason starts a new one. `tripped` names the reason once 20 entries of at
    least two batches have met it.
    """

    def __init__(self) -> None:
        self.status = ""
        self.reason = ""
        self.tripped = False
        self.entries: list[RefusedEntry] = []
        self._origins: set[int] = set()

    def blames_campaign(self, outcome: EntryOutcome) -> bool:
        """Whether this refusal is one more of those that have tripped it."""
        return self.tripped and outcome.verdict is Verdict.DEAD and outcome.status == self.status

    def note(self, attempt_id: int, batch: Batch, index: int, outcome: EntryOutcome) -> None:
        """Take up the verdict that SES's answer gives an entry, before any patience runs out."""
        if self.tripped:
            return
        if outcome.verdict is Verdict.ACCEPTED:
            self._clear()
            return
        if outcome.verdict is not Verdict.DEAD:
            return
        if outcome.status != self.status:
            self._clear()
            self.status = outcome.status
        self.reason = outcome.reason
        self.entries.append(RefusedEntry(attempt_id, batch.chunk.number, index))
        self._origins.add(batch.origin)
        self.tripped = len(self.entries) >= LENGTH and len(self._origins) >= BATCHES

    def accepted(self) -> None:
        """SES accepted something: the streak, if there is one that has not tripped, is over."""
        if self.entries and not self.tripped:
            self._clear()

    def release(self) -> list[RefusedEntry]:
        """The entries that met it, once."""
        entries, self.entries = self.entries, []
        return entries

    def _clear(self) -> None:
        self.status = ""
        self.entries.clear()
        self._origins.clear()
