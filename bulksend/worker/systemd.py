"""What systemd wants to be told of a service (sd_notify(3)): a datagram to the socket that it names."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress

__all__ = ["notify", "reloading", "watch"]


def notify(state: str) -> None:
    """Tell systemd, where it is there and wants to be told; never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.connect("\0" + address[1:] if address.startswith("@") else address)
        out.send(state.encode())


def reloading() -> str:
    """What is told before a reload; READY=1 ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def watch() -> None:
    """Tell the watchdog that the event loop turns, twice as often as it wants, until cancelled."""
    wanted = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    if not wanted.isdecimal() or int(wanted) == 0 or not mine:
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(wanted) / 2e6)
