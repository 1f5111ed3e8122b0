"""The real SDK pointed at a simulator, called as if it were synchronous."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aioboto3
from aiobotocore.config import AioConfig

CAMPAIGN = "01jtestcampaign"


class SesClient:
    """An SES v2 client with its own loop. `client` and `runner` are for tests that want to do it themselves."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self.runner = runner
        self.client = client

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        async def answer() -> dict[str, Any]:
            got: dict[str, Any] = await getattr(self.client, operation)(**arguments)
            return got

        return self.runner.run(answer())

    def send_bulk(self, *addresses: str, first_row: int = 1, **arguments: Any) -> list[dict[str, Any]]:
        """Send to each address an entry of its own; the results."""
        answer = self.call("send_bulk_email", **bulk(*addresses, first_row=first_row, **arguments))
        results: list[dict[str, Any]] = answer["BulkEmailEntryResults"]
        return results


@contextmanager
def ses_client(url: str) -> Iterator[SesClient]:
    session = aioboto3.Session(
        aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="example", region_name="eu-west-1"
    )
    config = AioConfig(retries={"mode": "standard", "total_max_attempts": 1}, max_pool_connections=100)
    with asyncio.Runner() as runner:
        context = session.client("sesv2", endpoint_url=url, config=config)

        async def enter() -> Any:
            return await context.__aenter__()

        async def leave() -> None:
            await context.__aexit__(None, None, None)

        client = runner.run(enter())
        try:
            yield SesClient(runner, client)
        finally:
            runner.run(leave())


def entry(address: str, row: int, **more: Any) -> dict[str, Any]:
    return {
        "Destination": {"ToAddresses": [address]},
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": '{"name":"A"}'}},
        "ReplacementTags": [
            {"Name": "bulksend-campaign", "Value": CAMPAIGN},
            {"Name": "bulksend-row", "Value": str(row)},
        ],
        **more,
    }


def bulk(*addresses: str, first_row: int = 1, **more: Any) -> dict[str, Any]:
    """The arguments of send_bulk_email, and the JSON of its body."""
    return {
        "FromEmailAddress": "Example News <news@example.com>",
        "DefaultContent": {"Template": {"TemplateName": "launch", "TemplateData": "{}"}},
        "BulkEmailEntries": [entry(address, row) for row, address in enumerate(addresses, first_row)],
        **more,
    }
