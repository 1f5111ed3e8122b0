"""One run of one sender, in a process of its own: `loadtest.children.measure` starts it and reads what it prints.

What is measured is the pass. Modules are imported before; of the peers, the client is open before too.
"""

from __future__ import annotations

import importlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest import peers
from loadtest.children import REGION, Job, Measured, MissingError, ScenarioError, bound, peak_mib
from loadtest.prepared import NAME
from loadtest.report import program

WARM = (
    "aioboto3",
    "aiobotocore.config",
    "aiobotocore.httpsession",
    "aiobotocore.session",
    "botocore.exceptions",
    "botocore.httpsession",
    "botocore.loaders",
    "httptools",
    "uvloop",
    "bulksend.worker.log",
)
WRK_LUA = """\
local file = io.open("{body}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
file:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-Amz-Date"] = "20260101T000000Z"
wrk.headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/eu-west-1/ses/aws4_request, "
    .. "SignedHeaders=content-type;host;x-amz-date, Signature=" .. string.rep("0", 64)
done = function(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format("\\n%d %d\\n", summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass
class Gauge:
    """CPU and wall time of what is done inside `measuring`."""

    cpu_s: float = 0.0
    wall_s: float = 0.0
    began_s: float = 0.0
    more: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        self.began_s, cpu_s = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self.cpu_s = time.process_time() - cpu_s
            self.wall_s = time.monotonic() - self.began_s

    def measured(self, accepted: int, requests: int = 0) -> Measured:
        return Measured(self.cpu_s, self.wall_s, peak_mib(), accepted, requests, self.began_s, self.more)


class FirstRequest:
    """An observer that notes the process's CPU seconds when the first request leaves, and then is let go."""

    cpu_s = 0.0

    def observe(self, fact: object) -> None:
        from bulksend.facts import BatchSent  # noqa: PLC0415

        if isinstance(fact, BatchSent):
            self.cpu_s = time.process_time()
            raise StopIteration


class Flights:
    """An observer of what is in the air: the most at once, and how long answers took."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.answers_s: list[float] = []

    def observe(self, fact: object) -> None:
        from bulksend.facts import BatchAnswered, BatchSent  # noqa: PLC0415

        match fact:
            case BatchSent():
                self.now += 1
                self.most = max(self.most, self.now)
            case BatchAnswered():
                self.now -= 1
                self.answers_s.append(fact.answer_s)

    def summary(self, wall_s: float) -> dict[str, float]:
        ordered = sorted(self.answers_s)
        return {
            "most_in_flight": self.most,
            "mean_in_flight": sum(ordered) / wall_s,
            "p50_ms": 1000 * ordered[len(ordered) // 2],
            "p95_ms": 1000 * ordered[int(0.95 * (len(ordered) - 1))],
        }


def plan(job: Job) -> Measured:
    """bulksend's plan pass: read, check, de-duplicate, write the snapshot, add the campaign to the journal."""
    from bulksend import worker  # noqa: PLC0415
    from bulksend.config import load_campaign  # noqa: PLC0415

    settings, store = _bulksend(job)
    file = load_campaign(Path(job.folder, "campaign.toml"))
    gauge = Gauge()
    with gauge.measuring():
        campaign = worker.plan(file, settings, store).campaign
    made = gauge.measured(campaign.entries)
    with store.read_snapshot(campaign) as reader:
        chunk = reader.chunk(0)
        last = min(50, len(chunk))
        entries = chunk.entries[chunk.offsets[0] : chunk.offsets[last] - 1]
        Path(job.folder, "body").write_bytes(campaign.prefix + bytes(entries) + campaign.suffix)
    return made


def snapshot(job: Job) -> Measured:
    """The plan pass without journal and campaign file, of a list with planted duplicates."""
    from bulksend.recipients import Mapping, take_snapshot  # noqa: PLC0415

    (source,) = Path(job.folder).glob("list.*")
    mapping = Mapping("email", None, {}, {"plan": "{plan}"}, dedupe=True)
    gauge = Gauge()
    with gauge.measuring():
        taken = take_snapshot(source, mapping, campaign_id="measured", folder=Path(job.folder, "snapshots"))
    gauge.more["duplicates"] = sum(taken.skipped.values())
    return gauge.measured(taken.entries)


def send(job: Job) -> Measured:
    """bulksend's send pass, from reading the quota to the last outcome in the journal."""
    from bulksend import worker  # noqa: PLC0415
    from bulksend.metrics import Metrics  # noqa: PLC0415
    from bulksend.worker.log import RunLog, configure_log  # noqa: PLC0415

    settings, store = _bulksend(job)
    configure_log("error", "json")
    campaign = store.journal.campaign(NAME)
    gauge, flights, first = Gauge(), Flights(), FirstRequest()
    observers: list[Any] = [RunLog(NAME), first]
    if job.kind == "flights":
        observers.append(flights)
    began_s = time.process_time()
    with gauge.measuring():
        sent = worker.send(campaign, settings, store, observers=observers, metrics=Metrics() if job.metrics else None)
    tally = sent.tally
    if not tally.adds_up or tally.accepted != job.rows:
        state = sent.campaign.state.value
        raise ScenarioError(f"of {job.rows:,} rows {tally.accepted:,} were accepted; the campaign is {state}")
    gauge.more["start_cpu_s"] = first.cpu_s - began_s
    if job.kind == "flights":
        gauge.more |= flights.summary(gauge.wall_s)
    return gauge.measured(tally.accepted)


def wrk(job: Job) -> Measured:
    """wrk posts one ready body again and again: what HTTP and TLS alone cost here."""
    path = program("wrk")
    if path is None:
        raise MissingError("there is no wrk: make bench-deps installs it")
    script = Path(job.folder, "wrk.lua")
    script.write_text(WRK_LUA.format(body=Path(job.folder, "body")), "utf-8")
    url = f"{job.url}/v2/email/outbound-bulk-emails"
    began_s = time.monotonic()
    said = subprocess.run(
        bound([path, "-t1", f"-c{job.max_in_flight}", f"-d{job.seconds}s", "-s", str(script), url]),
        capture_output=True,
        text=True,
        check=True,
        timeout=job.seconds + 30,
    ).stdout
    wall_s = time.monotonic() - began_s
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    requests, errors = (int(word) for word in said.splitlines()[-1].split())
    if errors or not requests:
        raise ScenarioError(f"of wrk's {requests:,} requests {errors:,} went wrong")
    return Measured(used.ru_utime + used.ru_stime, wall_s, 0.0, 50 * requests, requests)


def peer(job: Job) -> Measured:
    """One of the peers; its client is open before the clock runs."""
    gauge = Gauge()
    accepted, requests = peers.PEERS[job.kind](job, gauge.measuring)
    return gauge.measured(accepted, requests)


def _bulksend(job: Job) -> tuple[Any, Any]:
    from bulksend.config import load_settings  # noqa: PLC0415
    from bulksend.worker import Store  # noqa: PLC0415

    for name in WARM:
        importlib.import_module(name)
    said = {
        "aws.endpoint_url": job.url,
        "aws.region": REGION,
        "transport.kind": job.transport,
        "engine.max_in_flight": job.max_in_flight,
    }
    settings = load_settings(None, {}, said)
    return settings, Store.open(settings, Path(job.folder))


KINDS: dict[str, Callable[[Job], Measured]] = {
    "plan": plan,
    "snapshot": snapshot,
    "send": send,
    "flights": send,
    "wrk": wrk,
    **dict.fromkeys(peers.PEERS, peer),
}


def main() -> None:
    job = Job(**json.loads(sys.argv[1]))
    try:
        found = KINDS[job.kind](job)
    except MissingError as error:
        print(json.dumps({"missing": str(error)}))
        return
    except ScenarioError as error:
        sys.exit(str(error))
    said = asdict(found)
    del said["samples"]
    print(json.dumps(said))


if __name__ == "__main__":
    main()
