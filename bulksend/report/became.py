"""What became of a campaign's mails after SES had accepted them, as far as events tell: in numbers and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from bulksend.event import FATES, BounceKind, EventType

__all__ = ["EVENTS_UNREAD", "Became", "became_facts", "became_in_words"]

EVENTS_UNREAD = "the store of events cannot be read"


@dataclass(frozen=True, slots=True)
class Became:
    """Rows of a campaign by what became of their mails: a row counts in each that befell it, once.

    `rows` are those of which an event was heard, `copies` those with more than one mail that SES did not refuse.
    `last_at` is when the latest event was recorded, in epoch seconds; None if none was. Who unsubscribed by the link of
    the mail counts as SUBSCRIPTION too, though no event tells of that.
    """

    rows: int = 0
    copies: int = 0
    types: Mapping[EventType, int] = field(default_factory=dict)
    bounces: Mapping[BounceKind, int] = field(default_factory=dict)
    last_at: float | None = None


def became_facts(became: Became) -> dict[str, object]:
    """The stable JSON form."""
    counts: dict[str, object] = {word: became.types.get(kind, 0) for kind, word in FATES.items()}
    counts["bounced"] = {kind.value: became.bounces.get(kind, 0) for kind in BounceKind}
    return counts | {"rows": became.rows, "copies": became.copies, "last_at": became.last_at}


def became_in_words(became: Became) -> Iterator[tuple[str, int]]:
    """(what, how many rows) of all that befell any, the most expected first."""
    for kind, word in FATES.items():
        if kind is EventType.BOUNCE:
            for bounce in BounceKind:
                if became.bounces.get(bounce):
                    yield f"bounced: {bounce.value}", became.bounces[bounce]
        elif became.types.get(kind):
            yield word.replace("_", " "), became.types[kind]
    if became.copies:
        yield "more than one mail", became.copies
