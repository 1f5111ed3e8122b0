"""endpoint: the multi-region endpoints of the account, and the campaigns of the store that are sent by them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import orjson

from bulksend.config import Settings
from bulksend.errors import UsageError
from bulksend.model import CampaignState
from bulksend.ses.endpoints import Endpoint, EndpointError, EndpointNotFoundError, Endpoints, EndpointState
from bulksend.worker.access import aws_access
from bulksend.worker.store import Store

__all__ = ["campaigns_of", "create_endpoint", "delete_endpoint", "list_endpoints", "show_endpoint"]

T = TypeVar("T")

LOOK_EVERY_S = 5.0
WAIT_AT_MOST_S = 3600.0
OVER = (CampaignState.FINISHED, CampaignState.CANCELLED)


def list_endpoints(settings: Settings) -> list[Endpoint]:
    """Those whose primary Region is the one in force.

    Raises:
        AccountError: SES cannot be asked.
    """
    return _asked(settings, lambda endpoints: endpoints.list())


def show_endpoint(name: str, settings: Settings) -> Endpoint:
    """One, by its name.

    Raises:
        AccountError: SES cannot be asked.
        EndpointNotFoundError: there is none of that name.
    """
    return _asked(settings, lambda endpoints: endpoints.get(name))


def create_endpoint(
    name: str, second_region: str, settings: Settings, *, wait: bool, on_look: Callable[[Endpoint], None]
) -> Endpoint:
    """Ask for one, and with `wait` look until it is READY; `on_look` is told how it stands.

    Raises:
        AccountError: SES cannot be asked.
        EndpointError: there is one of that name, it FAILED, or it is still not READY after an hour.
    """

    async def create(endpoints: Endpoints) -> Endpoint:
        made = await endpoints.create(name, second_region)
        on_look(made)
        async with _patience(made):
            while wait and made.state is EndpointState.CREATING:
                await asyncio.sleep(LOOK_EVERY_S)
                made = await endpoints.get(name)
                on_look(made)
        if wait and made.state is not EndpointState.READY:
            raise EndpointError(f"{name!r} is {made.state}: {made.state.in_words}", hint=made.state.remedy)
        return made

    return _asked(settings, create)


def delete_endpoint(
    name: str, settings: Settings, *, wait: bool, on_look: Callable[[Endpoint], None]
) -> EndpointState | None:
    """Ask for its end, and with `wait` look until it is gone; the state it is in then, None for gone.

    Raises:
        AccountError: SES cannot be asked.
        EndpointError: there is none of that name, or it is still there after an hour.
    """

    async def delete(endpoints: Endpoints) -> EndpointState | None:
        state = await endpoints.delete(name)
        if not wait:
            return state
        left = Endpoint(name, "", state, ())
        async with _patience(left):
            with suppress(EndpointNotFoundError):
                while True:
                    left = await endpoints.get(name)
                    on_look(left)
                    await asyncio.sleep(LOOK_EVERY_S)
        return None

    return _asked(settings, delete)


def campaigns_of(endpoint: Endpoint, settings: Settings, beside: Path) -> list[str]:
    """Names of the store's campaigns that are sent by an endpoint and not over; none where there is no store.

    Raises:
        JournalError: the store cannot be read.
    """
    try:
        store = Store.find(settings, beside)
    except UsageError:
        return []
    bound = orjson.dumps(endpoint.endpoint_id).decode()
    return [
        campaign.name
        for campaign in store.journal.campaigns()
        if campaign.frozen.get("sender.endpoint_id") == bound and campaign.state not in OVER
    ]


@asynccontextmanager
async def _patience(endpoint: Endpoint) -> AsyncIterator[None]:
    """An hour. Raises EndpointError when it is over."""
    try:
        async with asyncio.timeout(WAIT_AT_MOST_S):
            yield
    except TimeoutError:
        raise EndpointError(
            f"{endpoint.name!r} has not got there within {WAIT_AT_MOST_S / 60:.0f} minutes",
            hint=f"It goes on by itself: bulksend endpoint show {endpoint.name} tells how it stands.",
        ) from None


def _asked(settings: Settings, ask: Callable[[Endpoints], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with Endpoints(aws_access(settings)) as endpoints:
            return await ask(endpoints)

    return asyncio.run(asked())
