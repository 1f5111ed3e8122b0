"""The worker's HTTP face: metrics, health, and campaigns as JSON, for those who operate it; and a second, public one.

`Face` serves an `Office`, which the worker is; docs/http.md has every route. `WatchedFace` is for other processes:
metrics and health alone. No face knows TLS: off loopback, a proxy that does belongs in front of it.
"""

from __future__ import annotations

from bulksend.admin.face import Face, PublicFace
from bulksend.admin.listener import Limits
from bulksend.admin.openapi import document
from bulksend.admin.ports import Office, Unsubscribed, Unsubscribing
from bulksend.admin.watched import WatchedFace

__all__ = ["Face", "Limits", "Office", "PublicFace", "Unsubscribed", "Unsubscribing", "WatchedFace", "document"]
