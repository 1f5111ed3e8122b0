"""Before the real thing: samples to one's own address, or all of it to a simulator. In a throw-away store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import orjson

from bulksend.config import CampaignFile, Settings
from bulksend.engine import Observer
from bulksend.model import Campaign, Chunk, ResultRow
from bulksend.recipients import one_address
from bulksend.safety import Safety
from bulksend.simulator import SimulatorProcess
from bulksend.worker.access import aws_access
from bulksend.worker.contacts import fetched_beginning
from bulksend.worker.multiregion import without_endpoint
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
    with (
        _throw_away(settings) as (store, private),
        fetched_beginning(file, aws_access(settings), store.shelf.workshop, rows) as contacts,
    ):
        planned = plan(file, private, store, again=True, limit=rows, fetched_list=contacts)
        campaign = _at_once(planned.campaign)
        return _rehearsed(store, send(campaign, private, store, redirect=lambda chunk: redirected(chunk, to)))


def dry_run(
    file: CampaignFile, settings: Settings, *, limit: int | None = None, observers: Sequence[Observer] = ()
) -> Rehearsed:
    """Send the campaign to a simulator on this machine, as fast as it goes: all, or the first `limit` of the list.

    A contact list is read from SES all the same; the multi-region endpoint is left out, as there is none to send by.

    Raises what plan and send raise.
    """
    with (
        _throw_away(settings) as (store, private),
        fetched_beginning(file, aws_access(settings), store.shelf.workshop, limit) as contacts,
        example_credentials(),
        SimulatorProcess(max_send_rate_per_s=1_000_000, max_24_hour_send=-1) as simulator,
    ):
        here = at_simulator(private, simulator.url)
        planned = plan(without_endpoint(file), here, store, again=True, limit=limit, fetched_list=contacts)
        return _rehearsed(store, send(_at_once(planned.campaign), here, store, observers=observers))


def _at_once(campaign: Campaign) -> Campaign:
    """Nobody is harmed, and no events come: neither canary nor ramp nor breaker."""
    return replace(campaign, safety=Safety(breaker=None))


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
        # What a throw-away store took from a queue would be lost with it.
        events = settings.events.model_copy(update={"queues": None})
        private = settings.model_copy(update={"store": f"sqlite:{folder}/store", "snapshots": None, "events": events})
        yield Store.open(private, Path(folder)), private
