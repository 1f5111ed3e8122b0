"""What one would write with the SDK: no journal, no pacing, no retries of one's own, nothing kept of the answers.

Each returns (entries accepted, requests). They read the same list as bulksend did and send what it sends.
"""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from loadtest.children import REGION, Job, ScenarioError

BATCH = 50
AT_ONCE = 64
Measuring: TypeAlias = Callable[[], AbstractContextManager[None]]

FRAME: dict[str, Any] = {
    "FromEmailAddress": "Example News <news@example.com>",
    "DefaultContent": {
        "Template": {
            "TemplateContent": {"Subject": "Hello {{first_name}}", "Text": "Dear {{first_name}}, {{note}}"},
            "TemplateData": "{}",
        }
    },
}


def batches(path: Path, rows: int) -> Iterator[list[dict[str, Any]]]:
    """The list's rows as the SDK wants them, fifty at a time."""
    with path.open(encoding="utf-8", newline="") as file:
        entries = (entry(row, number) for number, row in enumerate(islice(csv.DictReader(file), rows), start=1))
        while batch := list(islice(entries, BATCH)):
            yield batch


def entry(row: dict[str, str], number: int) -> dict[str, Any]:
    address = row.pop("email")
    return {
        "Destination": {"ToAddresses": [address]},
        "ReplacementTags": [
            {"Name": "bulksend-campaign", "Value": "01234567890123456789012345"},
            {"Name": "bulksend-row", "Value": str(number)},
        ],
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(row)}},
    }


def accepted(reply: dict[str, Any]) -> int:
    return sum(result["Status"] == "SUCCESS" for result in reply["BulkEmailEntryResults"])


def boto3_loop(job: Job, measuring: Measuring) -> tuple[int, int]:
    """One request after the other, read from the list."""
    import boto3  # noqa: PLC0415

    client = boto3.client("sesv2", endpoint_url=job.url, region_name=REGION)
    client.get_account()
    done = requests = 0
    with measuring():
        for batch in batches(Path(job.folder, "list.csv"), job.rows):
            done += accepted(client.send_bulk_email(**FRAME, BulkEmailEntries=batch))
            requests += 1
    return _whole(job, done), requests


def gather(job: Job, measuring: Measuring) -> tuple[int, int]:
    """aioboto3, 64 requests at once, read from the list."""
    return asyncio.run(_aioboto3(job, measuring, batches(Path(job.folder, "list.csv"), job.rows)))


def plain(job: Job, measuring: Measuring) -> tuple[int, int]:
    """aioboto3's client alone: the same ready entries in every request, 64 at once."""
    ready = next(batches(Path(job.folder, "list.csv"), BATCH))
    return asyncio.run(_aioboto3(job, measuring, (ready for _ in range(job.rows // BATCH))))


async def _aioboto3(job: Job, measuring: Measuring, source: Iterator[list[dict[str, Any]]]) -> tuple[int, int]:
    import aioboto3  # noqa: PLC0415
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    # The pool's default is 10: what is asked for beyond that would only wait.
    config = AioConfig(max_pool_connections=AT_ONCE)
    session = aioboto3.Session(region_name=REGION)
    async with session.client("sesv2", endpoint_url=job.url, config=config) as client:
        await client.get_account()

        async def one(batch: list[dict[str, Any]]) -> int:
            return accepted(await client.send_bulk_email(**FRAME, BulkEmailEntries=batch))

        done = requests = 0
        with measuring():
            while some := list(islice(source, AT_ONCE)):
                done += sum(await asyncio.gather(*map(one, some)))
                requests += len(some)
    return _whole(job, done), requests


def _whole(job: Job, done: int) -> int:
    if done != job.rows:
        raise ScenarioError(f"of {job.rows:,} entries {done:,} were accepted")
    return done


PEERS: dict[str, Callable[[Job, Measuring], tuple[int, int]]] = {
    "boto3": boto3_loop,
    "gather": gather,
    "plain": plain,
}
