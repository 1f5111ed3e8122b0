"""A clock that neither jumps nor stops while the machine sleeps: what a lease is measured by."""

from __future__ import annotations

import time

__all__ = ["boot_s"]

_BOOT = getattr(time, "CLOCK_BOOTTIME", None)


def boot_s() -> float:
    """Seconds on a steady clock that runs in suspend too (clock_gettime(2), CLOCK_BOOTTIME).

    Where the system has none, the steady clock that it has.
    """
    return time.monotonic() if _BOOT is None else time.clock_gettime(_BOOT)
