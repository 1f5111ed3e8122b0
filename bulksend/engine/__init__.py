"""One campaign's pipeline, and what it needs of others."""

from __future__ import annotations

from bulksend.engine.pipeline import Engine
from bulksend.engine.ports import Handout, Journal, Observer, Pacer, Source, Transport

__all__ = ["Engine", "Handout", "Journal", "Observer", "Pacer", "Source", "Transport"]
