"""Sending by a multi-region endpoint: what has to be there in both of its Regions, and the pace that both allow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

import structlog

from bulksend.aws import AwsAccess, ServerClock
from bulksend.config import CampaignFile
from bulksend.errors import AccountError, BulksendError, JournalError
from bulksend.model import AccountStatus, Binding, Campaign
from bulksend.report import Check, Level
from bulksend.ses import Account
from bulksend.ses.endpoints import EndpointError, EndpointState
from bulksend.ses.inquiry import Inquiry, Unknown
from bulksend.worker.examined import Examined, Sending
from bulksend.worker.regions import read_endpoint, read_region
from bulksend.worker.sending_verdicts import endpoint_checks, region_checks

__all__ = ["Quotas", "endpoint_warnings", "smaller_quota", "through_endpoint", "without_endpoint"]

ASK_WITHIN_S = 10.0
LOOK_AGAIN_S = 0.2
TELL_EVERY_S = 30.0


class Quotas:
    """GetAccount in every Region that mails leave from just now: the account's own, and those of endpoints.

    A Region that does not answer stands as it did last: an endpoint sends from the other meanwhile. `share` tells a
    fleet which Regions those of this process are beside the account's own, and returns those of all its processes:
    one of them reads for all.
    """

    def __init__(
        self,
        home: Account,
        region: str,
        access: AwsAccess,
        clock: ServerClock,
        share: Callable[[Collection[str]], Awaitable[Collection[str]]] | None = None,
    ) -> None:
        self._access = access
        self._clock = clock
        self._home = region
        self._accounts = {region: home}
        self._users: Counter[str] = Counter({region: 1})
        self._known: dict[str, AccountStatus] = {}
        self._opening, self._hearing = asyncio.Lock(), asyncio.Lock()
        self._share = share
        self._of_others: set[str] = set()
        """Those that other processes need read."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for region in sorted(self._of_others):
            await self._leave(region)
        self._of_others.clear()

    async def read(self) -> AccountStatus:
        """What all of them allow. Raises AccountError: one of this process's has never answered, or none does now."""
        await self._hear_of_others()
        regions = list(self._accounts)
        answers = await asyncio.gather(*(self._accounts[region].read() for region in regions), return_exceptions=True)
        faults = []
        for region, answer in zip(regions, answers, strict=True):
            if region not in self._accounts:
                continue  # it was closed meanwhile
            if isinstance(answer, AccountStatus):
                self._known[region] = answer
            elif isinstance(answer, AccountError):
                faults.append((region, answer))
            else:
                raise answer
        for region, fault in faults:
            if len(faults) == len(regions) or (region not in self._known and region in self._own):
                raise fault
            structlog.get_logger().warning(
                "a Region's quota cannot be read; it is taken for what it was", region=region, error=fault.message
            )
        return smaller_quota([self._known[region] for region in self._accounts if region in self._known])

    @asynccontextmanager
    async def also_in(self, regions: Sequence[str], refresh: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Inside, these Regions count too; `refresh` has the pacer read the quota, at most once a second.

        Raises:
            AccountError: one of them does not answer.
        """
        async with AsyncExitStack() as stack:
            for region in regions:
                await self._join(region)
                stack.push_async_callback(self._leave, region)
            while any(region not in self._known for region in regions):
                await refresh()
                await asyncio.sleep(LOOK_AGAIN_S)
            telling = asyncio.create_task(self._go_on_telling(), name="regions")
            stack.push_async_callback(asyncio.wait, {telling})
            stack.callback(telling.cancel)
            yield

    @property
    def _own(self) -> list[str]:
        """The Regions that this process's mails leave from."""
        return [region for region, users in self._users.items() if users > (region in self._of_others)]

    async def _go_on_telling(self) -> None:
        """For as long as mails leave from elsewhere, whoever reads is to know it."""
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            with suppress(JournalError):  # the pacer meets it too, and says so
                await self._hear_of_others()

    async def _hear_of_others(self) -> None:
        if self._share is None:
            return
        async with self._hearing:
            own = set(self._own)
            wanted = set(await self._share(own - {self._home})) - own
            for region in sorted(wanted - self._of_others):
                await self._join(region)
                self._of_others.add(region)
            for region in sorted(self._of_others - wanted):
                self._of_others.discard(region)
                await self._leave(region)

    async def _join(self, region: str) -> None:
        async with self._opening:
            if region not in self._accounts:
                # Opened here, and closed by whoever leaves last.
                account = Account(replace(self._access, region=region), self._clock)
                self._accounts[region] = await account.__aenter__()
        self._users[region] += 1

    async def _leave(self, region: str) -> None:
        self._users[region] -= 1
        if not self._users[region]:
            account = self._accounts.pop(region)
            self._known.pop(region, None)
            await account.__aexit__(None, None, None)


def smaller_quota(accounts: Sequence[AccountStatus]) -> AccountStatus:
    """What may be sent where every mail may leave from any of these Regions.

    The rate is the smallest; the day is that of the Region which has the least of it left; each has to be allowed to
    send.
    """
    rooms = [
        (one.max_24_hour_send - one.sent_last_24_hours, one) for one in accounts if one.max_24_hour_send is not None
    ]
    tightest = min(rooms, key=lambda room: room[0])[1] if rooms else accounts[0]
    statuses = [one.enforcement_status for one in accounts]
    worst = "SHUTDOWN" if "SHUTDOWN" in statuses else next((one for one in statuses if one != "HEALTHY"), "HEALTHY")
    return AccountStatus(
        max_send_rate_per_s=min(one.max_send_rate_per_s for one in accounts),
        max_24_hour_send=tightest.max_24_hour_send,
        sent_last_24_hours=tightest.sent_last_24_hours,
        sending_enabled=all(one.sending_enabled for one in accounts),
        production_access=all(one.production_access for one in accounts),
        enforcement_status=worst,
    )


@asynccontextmanager
async def through_endpoint(
    campaign: Campaign, access: AwsAccess, quotas: Quotas, refresh: Callable[[], Awaitable[None]]
) -> AsyncIterator[None]:
    """Inside, a campaign may be sent by the endpoint that it names, if it names one.

    Raises:
        AccountError: the endpoint, or a Region's quota, cannot be read.
        EndpointError: the endpoint is not READY, or a Region lacks what the campaign sends with.
    """
    if b'"EndpointId":' not in campaign.prefix:
        yield
        return
    found = await _examine(Sending.of_campaign(campaign), access, campaign.binding)
    if isinstance(found.endpoint, Unknown):
        raise AccountError(
            f"the multi-region endpoint of {campaign.name!r} cannot be looked at: {found.endpoint.why}",
            hint="Nothing was sent. See to the network, the credentials and their policy.",
        )
    faults = [check for check in _checks(found) if check.level is Level.FAULT]
    if faults:
        raise EndpointError(
            f"{campaign.name!r}: {'; '.join(f'{fault.name}: {fault.says}' for fault in faults)}",
            hint=" ".join(dict.fromkeys(fault.remedy for fault in faults)),
        )
    for region in found.others:
        if isinstance(region.account, Unknown):
            raise AccountError(
                f"the quota of {region.name}, which {campaign.name!r} is sent from too, cannot be read: "
                f"{region.account.why}",
                hint="Nothing was sent. To begin, both Regions of its endpoint have to answer; then one may fail.",
            )
    async with quotas.also_in([region.name for region in found.others], refresh):
        yield


async def endpoint_warnings(file: CampaignFile, access: AwsAccess, binding: Binding) -> list[str]:
    """What would keep a campaign from being sent by the endpoint that it names, or could not be looked at.

    Raises:
        EndpointError: there is no such endpoint, or it will never take mail: a plan would be bound to it.
    """
    if file.sender.endpoint_id is None:
        return []
    try:
        found = await _examine(Sending.of_file(file), access, binding)
    except BulksendError as error:
        return [f"the multi-region endpoint could not be looked at: {error.detail}"]
    if isinstance(found.endpoint, str) and (not found.endpoint or EndpointState.of(found.endpoint).is_hopeless):
        (fault, *_) = (check for check in _checks(found) if check.name == "endpoint" and check.level is Level.FAULT)
        raise EndpointError(
            f"{file.name!r} is not planned: {fault.says}",
            hint="Name one in sender.endpoint_id that takes mail (bulksend endpoint list), or none.",
        )
    return [
        f"{check.name}: {check.says}. {check.remedy}".removesuffix(" ")
        for check in _checks(found)
        if check.level is Level.FAULT or (check.level is Level.UNCHECKED and check.name == "endpoint")
    ]


def without_endpoint(file: CampaignFile) -> CampaignFile:
    """The same campaign, sent by its Region's own endpoint."""
    return file.model_copy(update={"sender": file.sender.model_copy(update={"endpoint_id": None})})


async def _examine(sending: Sending, access: AwsAccess, binding: Binding) -> Examined:
    """The endpoint, and if it is READY what its Regions have of what is sent with."""
    access = replace(
        access,
        region=binding.region,
        connect_timeout_s=min(ASK_WITHIN_S, access.connect_timeout_s),
        answer_timeout_s=min(ASK_WITHIN_S, access.answer_timeout_s),
    )
    found = Examined(binding=binding, sending=sending)
    async with AsyncExitStack() as stack:
        inquiries = {binding.region: await stack.enter_async_context(Inquiry(access))}
        told = await inquiries[binding.region].ask(lambda client: read_endpoint(client, sending.endpoint_id))
        if isinstance(told, Unknown):
            return replace(found, endpoint=told)
        state, regions = told
        if state != EndpointState.READY:
            return replace(found, endpoint=state)
        for name in regions:
            if name not in inquiries:
                inquiries[name] = await stack.enter_async_context(Inquiry(replace(access, region=name)))
        home, *others = await asyncio.gather(
            *(read_region(inquiry, name, sending, binding) for name, inquiry in inquiries.items())
        )
    return replace(found, endpoint=state, home=home, others=tuple(others))


def _checks(found: Examined) -> list[Check]:
    checks = list(endpoint_checks(found))
    if found.home is not None:
        checks += region_checks(found)
    return checks
