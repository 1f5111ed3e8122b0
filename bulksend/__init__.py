"""Bulk mail through Amazon SES: the whole quota, nobody twice, nobody lost, and proof of it.

import bulksend

settings = bulksend.load_settings(aws={"region": "eu-west-1"})
launch = bulksend.open_campaign("campaign.toml", settings)
launch.plan()
sent = launch.send()
print(sent.tally)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulksend.errors import BulksendError
    from bulksend.worker.launch import Launch, load_settings, open_campaign

__all__ = ["BulksendError", "Launch", "__version__", "load_settings", "open_campaign"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What is slow to import is imported when it is first used."""
    if name == "BulksendError":
        from bulksend.errors import BulksendError  # noqa: PLC0415

        return BulksendError
    if name in {"Launch", "load_settings", "open_campaign"}:
        from bulksend.worker import launch  # noqa: PLC0415

        return getattr(launch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
