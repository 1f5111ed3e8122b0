"""A process that records events, for tests that let several do so at once, or kill one: STORE BATCHES SEED."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.journal import SqliteEvents, open_postgres_events

ROWS = 60
BATCH = 40


def many(batches: int, seed: int) -> Iterator[list[MailEvent]]:
    """The same events for any seed, in another order: some twice, some rows with two mails."""
    all_of_them = [_event(number) for number in range(batches * BATCH * 3 // 4)]
    twice = [*all_of_them, *all_of_them[: batches * BATCH - len(all_of_them)]]
    random.Random(seed).shuffle(twice)
    for start in range(0, len(twice), BATCH):
        yield twice[start : start + BATCH]


def _event(number: int) -> MailEvent:
    row = number % ROWS
    kind = (EventType.DELIVERY, EventType.OPEN, EventType.BOUNCE, EventType.CLICK)[number // ROWS % 4]
    bounce = None
    if kind is EventType.BOUNCE:
        bounce = BounceKind.PERMANENT if row % 3 == 0 else BounceKind.TRANSIENT
    return MailEvent(
        hashlib.blake2b(str(number).encode(), digest_size=16).digest(),
        kind,
        f"m{row}{'b' * (row % 5 == 0 and number % 7 == 0)}",
        1_799_990_003.0 + number,
        1_799_990_000.0 + row,
        "c1",
        row,
        (f"user{row}@example.com",),
        bounce,
        "General" if bounce else "",
    )


def main() -> None:
    """A line for each batch that was recorded: events, copies and suppressions that were new."""
    where, batches, seed = sys.argv[1:]
    store = open_postgres_events(where) if where.startswith("postgresql:") else SqliteEvents(Path(where))
    for batch in many(int(batches), int(seed)):
        new = store.record(batch, 1_800_000_000.0)
        sys.stdout.write(json.dumps([sum(new.types.values()), new.copies, new.suppressed]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
