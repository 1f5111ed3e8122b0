"""Before the real thing: samples to one's own address, or all of it to a simulator. In a throw-away store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from bulksend.config import CampaignFile, Settings
from bulksend.engine import Observer
from bulksend.model import Chunk, ResultRow
from bulksend.recipients import one_address
from bulksend.simulator import SimulatorProcess
from bulksend.worker.planning import plan
from bulksend.worker.results import results
from bulksend.worker.sending import Sent, send
from bulksend.worker.store import Store

__all__ = ["Rehearsed", "at_simulator", "dry_run", "example_credentials", "send_samples"]

MOST_FAILURES = 20
EXAMPLE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
OTHER_CREDENTIALS = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How it ended; its store is gone. `failures` are the first rows that are dead or in doubt."""

    sent: Sent
    failures: tuple[ResultRow, ...]


def send_samples(file: CampaignFile, settings: Settings, address: str, rows: int) -> Rehearsed:
    """Send the first rows of the list, as they are, to one address: through SES, without cc and bcc.

    The campaign itself is neither planned nor touched.

    Raises:
        UsageError: that is no address. And what plan and send raise.
    """
    to = one_address(address)
    with _throw_away(settings) as (store, private):
        planned = plan(file, private, store, again=True, limit=rows)
        return _rehearsed(store, send(planned.campaign, private, store, redirect=lambda chunk: redirected(chunk, to)))


def dry_run(
    file: CampaignFile, settings: Settings, *, limit: int | None = None, observers: Sequence[Observer] = ()
) -> Rehearsed:
    """Send the campaign to a simulator on this machine, as fast as it goes: all, or the first `limit` of the list.

    Raises what plan and send raise.
    """
    with (
        example_credentials(),
        SimulatorProcess(max_send_rate_per_s=1_000_000, max_24_hour_send=-1) as simulator,
        _throw_away(settings) as (store, private),
    ):
        here = at_simulator(private, simulator.url)
        planned = plan(file, here, store, again=True, limit=limit)
        return _rehearsed(store, send(planned.campaign, here, store, observers=observers))


def _rehearsed(store: Store, sent: Sent) -> Rehearsed:
    failures = results(store, sent.campaign, ("dead", "in_doubt"))
    return Rehearsed(sent, tuple(islice(failures, MOST_FAILURES)))


@contextmanager
def example_credentials() -> Iterator[None]:
    """The AWS documentation's own: a simulator wants requests signed, and nobody's own keys are used for it."""
    before = {name: os.environ.get(name) for name in (*EXAMPLE_CREDENTIALS, *OTHER_CREDENTIALS)}
    for name in OTHER_CREDENTIALS:
        os.environ.pop(name, None)
    os.environ.update(EXAMPLE_CREDENTIALS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def at_simulator(settings: Settings, url: str) -> Settings:
    """The same settings, but for a simulator in place of SES."""
    aws = settings.aws.model_copy(
        update={"endpoint_url": url, "region": settings.aws.region or "eu-west-1", "profile": None}
    )
    return settings.model_copy(update={"aws": aws})


def redirected(chunk: Chunk, address: str) -> Chunk:
    """The same entries to another address, without cc and bcc."""
    pieces = []
    for i in range(len(chunk)):
        entry = orjson.loads(bytes(chunk.entries[chunk.offsets[i] : chunk.offsets[i + 1] - 1]))
        entry["Destination"] = {"ToAddresses": [address]}
        pieces.append(orjson.dumps(entry) + b",")
    offsets = [0]
    for piece in pieces:
        offsets.append(offsets[-1] + len(piece))
    return Chunk(chunk.number, chunk.rows, [1] * len(chunk), offsets, memoryview(b"".join(pieces)), one_each=True)


@contextmanager
def _throw_away(settings: Settings) -> Iterator[tuple[Store, Settings]]:
    with tempfile.TemporaryDirectory(prefix="bulksend-") as folder:
        private = settings.model_copy(update={"store": f"sqlite:{folder}/store", "snapshots": None})
        yield Store.open(private, Path(folder)), private
