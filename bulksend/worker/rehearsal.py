"""Before the real thing: samples to one's own address, or all of it to a simulator. In a throw-away store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from bulksend.config import CampaignFile, Settings
from bulksend.engine import Observer
from bulksend.model import Chunk
from bulksend.simulator import SimulatorProcess
from bulksend.worker.planning import plan
from bulksend.worker.sending import Sent, send
from bulksend.worker.store import Store

__all__ = ["at_simulator", "dry_run", "example_credentials", "send_samples"]

EXAMPLE_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


def send_samples(file: CampaignFile, settings: Settings, address: str, rows: int) -> Sent:
    """Send the first rows of the list, as they are, to one address: through SES, without cc and bcc.

    The campaign itself is neither planned nor touched. Raises what plan and send raise.
    """
    with _throw_away(settings) as (store, private):
        planned = plan(file, private, store, again=True, limit=rows)
        return send(planned.campaign, private, store, redirect=lambda chunk: redirected(chunk, address))


def dry_run(file: CampaignFile, settings: Settings, observers: Sequence[Observer] = ()) -> Sent:
    """Send the whole campaign to a simulator on this machine, as fast as it goes. Raises what plan and send raise."""
    with (
        example_credentials(),
        SimulatorProcess(max_send_rate_per_s=1_000_000, max_24_hour_send=-1) as simulator,
        _throw_away(settings) as (store, private),
    ):
        here = at_simulator(private, simulator.url)
        return send(plan(file, here, store, again=True).campaign, here, store, observers=observers)


@contextmanager
def example_credentials() -> Iterator[None]:
    """The AWS documentation's own: a simulator wants requests signed, and nobody's own keys are used for it."""
    before = {name: os.environ.get(name) for name in EXAMPLE_CREDENTIALS}
    os.environ.update(EXAMPLE_CREDENTIALS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
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
        private = settings.model_copy(update={"store": f"sqlite:{folder}/store"})
        yield Store.open(private, Path(folder)), private
