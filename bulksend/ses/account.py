"""What the account says of itself: quota, permission to send, who we are.

Sources: API reference, GetAccount, SendQuota; STS, GetCallerIdentity.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from bulksend.aws.client import AwsAccess, explained, open_client
from bulksend.aws.skew import ServerClock, server_time
from bulksend.model import AccountStatus, Binding

__all__ = ["Account", "AccountDetails", "find_binding", "read_account", "status_of"]

CREDENTIALS_REFUSED = (401, 403)
SKEW_CODES = ("RequestExpired", "RequestTimeTooSkewed", "RequestInTheFuture")


class Account:
    """The control plane, over a client of its own that retries reads. An asynchronous context manager."""

    def __init__(self, access: AwsAccess, clock: ServerClock | None = None) -> None:
        self._access = access
        self._clock = clock or ServerClock()
        self._clients = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except Exception as error:
            raise explained(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._clients.aclose()

    async def read(self) -> AccountStatus:
        """GetAccount. Raises AccountError."""
        try:
            reply = await self._ask()
        except Exception as error:
            raise explained(error) from error
        return status_of(reply)

    async def _open(self) -> None:
        await self._clients.aclose()
        self._client = await self._clients.enter_async_context(open_client(self._access, retrying=True))
        self._client.meta.events.register("before-send.sesv2", self._before_send)

    async def _ask(self) -> dict[str, Any]:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return await self._client.get_account()  # type: ignore[no-any-return]
        except ClientError as error:
            there = server_time(dict(error.response))
            if there is not None and error.response.get("Error", {}).get("Code") in SKEW_CODES:
                self._clock.set(there)
            elif error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in CREDENTIALS_REFUSED:
                await self._open()  # credentials may have been replaced since: a new client reads them anew
            else:
                raise
            return await self._client.get_account()  # type: ignore[no-any-return]

    async def _before_send(self, request: Any, **_: object) -> None:
        await self._clock.correct(self._client, request)


def status_of(reply: dict[str, Any]) -> AccountStatus:
    """An answer of GetAccount, as far as sending needs it."""
    quota = reply.get("SendQuota", {})
    limit = float(quota.get("Max24HourSend", -1))
    return AccountStatus(
        max_send_rate_per_s=float(quota.get("MaxSendRate", 1.0)),
        max_24_hour_send=None if limit < 0 else limit,
        sent_last_24_hours=float(quota.get("SentLast24Hours", 0.0)),
        sending_enabled=bool(reply.get("SendingEnabled", True)),
        production_access=bool(reply.get("ProductionAccessEnabled", True)),
        enforcement_status=str(reply.get("EnforcementStatus", "HEALTHY")),
    )


@dataclass(frozen=True, slots=True)
class AccountDetails:
    """What GetAccount says beyond what sending needs: bounces and complaints that SES suppresses by itself."""

    status: AccountStatus
    suppressed_reasons: tuple[str, ...]
    review: str = ""
    """How AWS's review of a request for production access stands, in SES's word; empty for none."""


async def read_account(client: Any) -> AccountDetails:
    """GetAccount, over an SDK client."""
    reply = await client.get_account()
    suppression = reply.get("SuppressionAttributes") or {}
    review = (reply.get("Details") or {}).get("ReviewDetails") or {}
    return AccountDetails(
        status_of(reply), tuple(suppression.get("SuppressedReasons") or ()), str(review.get("Status") or "")
    )


async def find_binding(access: AwsAccess) -> Binding:
    """Whose account and which region a campaign is bound to. An endpoint override stands for the account.

    STS is not asked then.

    Raises:
        AccountError: STS cannot be asked, or refuses.
        ConfigError: no region is set anywhere.
    """
    import aioboto3  # noqa: PLC0415
    from botocore.exceptions import NoRegionError  # noqa: PLC0415

    try:
        region = access.region or aioboto3.Session(profile_name=access.profile).region_name
    except Exception as error:
        raise explained(error) from error
    if region is None:
        raise explained(NoRegionError())
    if access.endpoint_url is not None:
        return Binding(access.endpoint_url, region, access.endpoint_url)
    try:
        async with open_client(access, "sts", retrying=True) as client:
            identity = await client.get_caller_identity()
    except Exception as error:
        raise explained(error) from error
    return Binding(str(identity["Account"]), region)
