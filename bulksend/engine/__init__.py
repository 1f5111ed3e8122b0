"""One campaign's pipeline, and what it needs of others."""

from __future__ import annotations

from bulksend.engine.pipeline import Engine
from bulksend.engine.ports import Journal, Observer, Pacer, Source, Transport

__all__ = ["Engine", "Journal", "Observer", "Pacer", "Source", "Transport"]
