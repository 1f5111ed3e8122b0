"""What has to be had before a request can leave, credentials and a connection, may take long, or for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from bulksend.aws import AwsAccess
from bulksend.aws.credentials import CredentialSource
from bulksend.aws.signing import Credentials
from bulksend.clock import boot_s
from bulksend.model import AllAccepted, NotSent
from bulksend.outcome import SIGN_WITHIN_S
from bulksend.ses import SignedTransport, signed
from tests.clocks import NO_DEADLINE_S
from tests.http_server import REGION, Guest, Server, answer_bytes, certificates, results, serving

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "x")
PREFIX, SUFFIX = b'{"BulkEmailEntries":[', b"]}"
LOOPS = [uvloop.new_event_loop, asyncio.new_event_loop]


@asynccontextmanager
async def meeting(
    behave: Callable[[Guest], Awaitable[None]], *, tls: bool = False, connect_timeout_s: float = 5.0
) -> AsyncIterator[tuple[Server, SignedTransport]]:
    made = certificates()
    async with serving(behave, tls=made.server if tls else None) as server:
        access = AwsAccess(
            region=REGION, endpoint_url=server.url, connect_timeout_s=connect_timeout_s, answer_timeout_s=5.0
        )
        route = server.route(made.trusting() if tls else None)
        async with SignedTransport(access, route, PREFIX, SUFFIX) as transport:
            yield server, transport


async def impatient(guest: Guest) -> None:
    """Hangs up on who says nothing for a moment."""
    try:
        async with asyncio.timeout(0.05):
            await guest.request()
    except TimeoutError:
        return
    await guest.write(answer_bytes(results("m1")))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True])
def test_no_connection_waits_for_credentials(
    loop: Callable[[], asyncio.AbstractEventLoop],
    tls: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(_: CredentialSource) -> Credentials:
        await asyncio.sleep(0.2)
        return KEYS

    async def main() -> None:
        async with meeting(impatient, tls=tls) as (server, transport):
            monkeypatch.setattr(CredentialSource, "_read", slowly)
            assert isinstance(await transport.send(b"{}", NO_DEADLINE_S), AllAccepted)
            assert len(server.visits) == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_credentials_that_never_come_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: CredentialSource) -> Credentials:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        async with meeting(impatient, connect_timeout_s=0.1) as (server, transport):
            monkeypatch.setattr(CredentialSource, "_read", never)
            answers = await asyncio.wait_for(
                asyncio.gather(*[transport.send(b"{}", NO_DEADLINE_S) for _ in range(3)]), 10.0
            )
            assert [type(answer) for answer in answers] == [NotSent] * 3
            assert server.visits == []

    asyncio.run(main())


def test_what_was_asked_long_ago_is_not_signed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine slept while credentials were read: the half hour in which a first copy may come has begun before."""
    asleep_s = 0.0

    async def asleep(_: CredentialSource) -> Credentials:
        nonlocal asleep_s
        asleep_s = 3600.0
        return KEYS

    async def main() -> None:
        async with meeting(impatient) as (server, transport):
            monkeypatch.setattr(CredentialSource, "_read", asleep)
            monkeypatch.setattr(signed, "boot_s", lambda: boot_s() + asleep_s)
            assert isinstance(await transport.send(b"{}", boot_s() + SIGN_WITHIN_S), NotSent)
            assert server.visits == []

    asyncio.run(main())
