"""One campaign's pipeline, and what it needs of others."""

from __future__ import annotations

from bulksend.engine.pipeline import Engine
from bulksend.engine.ports import Gate, Handout, Journal, Observer, Pacer, Screen, Source, Transport

__all__ = ["Engine", "Gate", "Handout", "Journal", "Observer", "Pacer", "Screen", "Source", "Transport"]
