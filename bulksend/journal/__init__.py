"""The durable record: what was planned, intended, answered and decided."""

from __future__ import annotations

from bulksend.journal.sqlite import SqliteJournal

__all__ = ["SqliteJournal"]
