"""quota: what the account grants, and how much of it is used."""

from __future__ import annotations

import asyncio

from bulksend.config import Settings
from bulksend.model import AccountStatus
from bulksend.ses import Account
from bulksend.worker.access import aws_access

__all__ = ["read_quota"]


def read_quota(settings: Settings) -> AccountStatus:
    """GetAccount, once.

    Raises:
        AccountError: SES cannot be asked, or refuses.
        ConfigError: no region is set anywhere.
    """

    async def ask() -> AccountStatus:
        async with Account(aws_access(settings)) as account:
            return await account.read()

    return asyncio.run(ask())
