"""Many workers on one PostgreSQL: chunks handed out as jobs, and one bucket of quota for all."""

from __future__ import annotations

from bulksend.fleet.bucket import Bucket, connecting
from bulksend.fleet.elsewhere import Elsewhere
from bulksend.fleet.handout import CampaignChunks, Dealer
from bulksend.fleet.jobs import TROUBLE, ChunkJobs, chunk_schema
from bulksend.fleet.shared_pacer import SharedPacer

__all__ = [
    "TROUBLE",
    "Bucket",
    "CampaignChunks",
    "ChunkJobs",
    "Dealer",
    "Elsewhere",
    "SharedPacer",
    "chunk_schema",
    "connecting",
]
