"""Every Prometheus series, declared once; who counts them; where they can be had.

Nothing personal is in any label, and each label has few values.
"""

from __future__ import annotations

from bulksend.metrics.declared import CATALOGUE, Kind, Series
from bulksend.metrics.observers import AccountObserver, CampaignObserver
from bulksend.metrics.registry import Metrics
from bulksend.metrics.serving import MetricsFile, MetricsServer

__all__ = [
    "CATALOGUE",
    "AccountObserver",
    "CampaignObserver",
    "Kind",
    "Metrics",
    "MetricsFile",
    "MetricsServer",
    "Series",
]
