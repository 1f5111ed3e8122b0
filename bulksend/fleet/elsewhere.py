"""Regions that mails of a fleet leave from beside a bucket's own, by multi-region endpoints.

One worker reads GetAccount for all. It need not be one that sends by an endpoint: so those that do say it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

import psycopg

from bulksend.errors import JournalError
from bulksend.fleet.bucket import AWAY, CONNECT_S, Connect

__all__ = ["Elsewhere"]

WANTED_S: Final = 90.0
"""How long a Region counts after a worker has named it: three readings of the quota."""
ASK_WITHIN_S = 2 * CONNECT_S

WANT: Final = """
INSERT INTO elsewhere (account, region, other, wanted_until)
SELECT %(account)s, %(region)s, other, store_now() + %(wanted_s)s FROM unnest(%(others)s::text[]) AS other
ORDER BY other ON CONFLICT (account, region, other) DO UPDATE SET wanted_until = excluded.wanted_until
"""
WANTED: Final = """
SELECT other FROM elsewhere WHERE account = %(account)s AND region = %(region)s AND wanted_until > store_now()
"""


class Elsewhere:
    """The Regions of one account and Region's bucket."""

    def __init__(self, connect: Connect, account: str, region: str) -> None:
        self._connect = connect
        self._row = {"account": account, "region": region}
        self._known: frozenset[str] = frozenset()

    async def share(self, others: Collection[str]) -> frozenset[str]:
        """Say that this worker's mails leave from these Regions too; returns those of all workers.

        While the database is away, those that were known last.

        Raises:
            JournalError: it is there, and has no such table.
        """
        try:
            async with asyncio.timeout(ASK_WITHIN_S):
                self._known = await self._share(list(others))
        except AWAY:
            pass
        except psycopg.Error as error:
            text = " ".join(str(error).split())
            raise JournalError(
                f"the Regions of the fleet cannot be read: {text}",
                hint="Bring the tables up to date: bulksend migrate.",
            ) from error
        return self._known | frozenset(others)

    async def _share(self, others: list[str]) -> frozenset[str]:
        async with await self._connect() as connection:
            if others:
                await connection.execute(WANT, {**self._row, "others": others, "wanted_s": WANTED_S})
            cursor = await connection.execute(WANTED, self._row)
            return frozenset([str(other) for (other,) in await cursor.fetchall()])
