"""A process that does nothing but spend its part of a shared quota: each batch is a line in a book.

Run as `python -m tests.worker_of_a_fleet DATABASE_URL RATE_PER_S BOOK`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from io import TextIOBase
from pathlib import Path

from bulksend.clock import boot_s
from bulksend.fleet.bucket import Bucket, connecting
from bulksend.fleet.shared_pacer import SharedPacer
from bulksend.model import AccountStatus

ACCOUNT, REGION = "123456789012", "eu-west-1"


async def work(url: str, rate: float, book: TextIOBase) -> None:
    async def read() -> AccountStatus:
        return AccountStatus(rate, None, 0.0, True, True, "HEALTHY")  # noqa: FBT003

    async def own() -> float:
        return 0.0

    async with SharedPacer(read, Bucket(connecting(url), ACCOUNT, REGION), own_24_hours=own) as pacer:
        while True:
            batch = pacer.batch_recipients
            await pacer.acquire(batch)
            book.write(json.dumps([boot_s(), batch]) + "\n")


if __name__ == "__main__":
    with Path(sys.argv[3]).open("a", encoding="utf-8", buffering=1) as lines:
        asyncio.run(work(sys.argv[1], float(sys.argv[2]), lines))
