"""A worker's office without a worker, its face in a thread of its own, and callers that send what a test says."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from bulksend.admin import Face, Limits, PublicFace, Unsubscribed
from bulksend.errors import CampaignChangedError, CampaignUnknownError, ConfigError

__all__ = [
    "TOKEN",
    "Answer",
    "OfficeInMemory",
    "Running",
    "TokensInMemory",
    "face_in_thread",
    "public_face_in_thread",
    "say",
]

TOKEN = "a-token-of-the-tests-0123456789"
WAIT_S = 8.0
Loop = Callable[[], asyncio.AbstractEventLoop]


@dataclass
class OfficeInMemory:
    """Knows "launch". `failures` are raised by the calls of these names; calls of names in `stuck` never end."""

    failures: dict[str, Exception] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    reasons: list[str] = field(default_factory=list)
    age_s: float = 0.001
    metrics_text: bytes = b"# HELP up Whether.\n# TYPE up gauge\nup 1.0\n"
    pieces: list[bytes | Exception] = field(default_factory=lambda: [b"row,state\n", b"1,dead\n"])
    endless: bytes = b""
    calls: list[tuple[object, ...]] = field(default_factory=list)
    known: dict[str, dict[str, object]] = field(default_factory=dict)
    begun: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    given_bytes: int = 0

    def __post_init__(self) -> None:
        self.known["launch"] = {"name": "launch"}

    async def _called(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.stuck:
            self.begun.set()
            await asyncio.Event().wait()
        if name in self.failures:
            raise self.failures[name]

    def _facts(self, name: str, state: str) -> dict[str, object]:
        if name not in self.known:
            raise CampaignUnknownError(name)
        return {"campaign": name, "state": state, "rows": 3, "accepted": 1, "dead": 1, "pending": 1}

    def metrics(self) -> tuple[str, bytes]:
        if "metrics" in self.failures:
            raise self.failures["metrics"]
        return "text/plain; version=0.0.4; charset=utf-8", self.metrics_text

    def heartbeat_age_s(self) -> float:
        if "healthz" in self.failures:
            raise self.failures["healthz"]
        return self.age_s

    async def hindrances(self) -> Sequence[str]:
        await self._called("readyz")
        return self.reasons

    async def campaigns(self) -> Sequence[Mapping[str, object]]:
        await self._called("campaigns")
        return [self._facts(name, "planned") for name in self.known]

    async def campaign(self, name: str) -> Mapping[str, object]:
        await self._called("campaign", name)
        return self._facts(name, "planned")

    async def submit(self, tables: Mapping[str, object], *, again: bool) -> tuple[Mapping[str, object], bool]:
        await self._called("submit", tables, again)
        name = tables.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", name):
            raise ConfigError("name: must be text")
        for table in ("sender", "content", "recipients"):
            if not isinstance(tables.get(table), dict):
                raise ConfigError(f"{table}: must be a table")
        if self.known.get(name, tables) != tables:
            raise CampaignChangedError(name)
        new = name not in self.known
        self.known[name] = dict(tables)
        return self._facts(name, "planned"), new

    async def queue(self, name: str) -> Mapping[str, object]:
        await self._called("queue", name)
        return self._facts(name, "sending")

    async def pause(self, name: str) -> Mapping[str, object]:
        await self._called("pause", name)
        return self._facts(name, "paused")

    async def resume(self, name: str) -> Mapping[str, object]:
        await self._called("resume", name)
        return self._facts(name, "sending")

    async def cancel(self, name: str) -> Mapping[str, object]:
        await self._called("cancel", name)
        return self._facts(name, "cancelled")

    async def results(
        self, name: str, states: Sequence[str], fates: Sequence[str], form: str
    ) -> AsyncGenerator[bytes, None]:
        await self._called("results", name, tuple(states), tuple(fates), form)
        self._facts(name, "finished")
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            while self.endless:
                self.given_bytes += len(self.endless)
                yield self.endless
        finally:
            self.closed.set()


@dataclass(frozen=True, slots=True)
class Answer:
    """`headers` have names in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Running:
    """A face that listens. `faults` is what it reported."""

    url: str
    announcement: str
    faults: list[tuple[str, str]]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def ask(
        self, method: str, target: str, body: object = None, headers: Mapping[str, str] | None = None, token: str = ""
    ) -> Answer:
        """One request over a connection of its own. A POST says that it is JSON; bytes go as they are."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if method == "POST" else {}
        given |= {"Authorization": f"Bearer {token}"} if token else {}
        given |= headers or {}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.putrequest(method, target, skip_host="Host" in given, skip_accept_encoding=True)
            for name, value in given.items():
                connection.putheader(name, value)
            if data is not None or method == "POST":
                connection.putheader("Content-Length", str(len(data or b"")))
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT_S)

    def raw(self, data: bytes) -> bytes:
        """All that it says to `data`, until it closes."""
        with self.connect() as wire:
            return say(wire, data)


def say(wire: socket.socket, data: bytes = b"") -> bytes:
    """Send, then read until the other end closes or resets."""
    heard = b""
    try:
        wire.sendall(data)
        while piece := wire.recv(65536):
            heard += piece
    except ConnectionError:
        pass
    return heard


@contextmanager
def _in_thread(make: Callable[[], Face | PublicFace], faults: list[tuple[str, str]], loop: Loop) -> Iterator[Running]:
    started = threading.Event()
    stop = asyncio.Event()
    failed: list[BaseException] = []
    found: list[Running] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with make() as face:
            loops.append(asyncio.get_running_loop())
            found.append(Running(face.url, face.announcement, faults))
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=loop) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001  told to the test
            failed.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert started.wait(WAIT_S)
        if not failed:
            yield found[0]
    finally:
        if loops:
            loops[0].call_soon_threadsafe(stop.set)
        thread.join(WAIT_S)
    if failed:
        raise failed[0]


@contextmanager
def face_in_thread(
    office: OfficeInMemory,
    *,
    token: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits | None = None,
    loop: Loop = asyncio.new_event_loop,
) -> Iterator[Running]:
    """The operators' face of this office."""
    faults: list[tuple[str, str]] = []

    def make() -> Face:
        return Face(
            office,
            host,
            port,
            token=token,
            report_fault=lambda kind, operation: faults.append((kind, operation)),
            limits=limits or Limits(closing_s=0.2),
        )

    with _in_thread(make, faults, loop) as running:
        yield running


class TokensInMemory:
    """Satisfies Unsubscribing: what each token comes to, or fails with; and those who asked."""

    def __init__(self, tokens: Mapping[str, Unsubscribed | Exception] | None = None) -> None:
        self.tokens = dict(tokens or {})
        self.unsubscribed: list[str] = []

    async def knows(self, token: str) -> bool:
        return token in self.tokens

    async def unsubscribe(self, token: str) -> Unsubscribed:
        self.unsubscribed.append(token)
        done = self.tokens[token]
        if isinstance(done, Exception):
            raise done
        return done


@contextmanager
def public_face_in_thread(limits: Limits | None = None, office: TokensInMemory | None = None) -> Iterator[Running]:
    """The face for strangers."""
    faults: list[tuple[str, str]] = []
    given = office or TokensInMemory()

    def make() -> PublicFace:
        return PublicFace(
            given, "127.0.0.1", 0, report_fault=lambda kind, route: faults.append((kind, route)), limits=limits
        )

    with _in_thread(make, faults, asyncio.new_event_loop) as running:
        yield running
