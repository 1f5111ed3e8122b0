"""Many workers on one PostgreSQL: chunks handed out as jobs, and one bucket of quota for all."""

from __future__ import annotations

from bulksend.fleet.handout import CampaignChunks, Dealer
from bulksend.fleet.jobs import TROUBLE, ChunkJobs, chunk_schema

__all__ = ["TROUBLE", "CampaignChunks", "ChunkJobs", "Dealer", "chunk_schema"]
