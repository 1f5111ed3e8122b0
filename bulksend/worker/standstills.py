"""What a process that sends waits for, told to the store: `status` elsewhere says why nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from bulksend.engine.remedies import without_addresses
from bulksend.errors import BulksendError
from bulksend.facts import CircuitChanged, Fact, Waiting, WaitKind
from bulksend.journal import Standstill
from bulksend.model import Binding

__all__ = ["Standstills", "Told"]

SOON_S = 1.0
"""What is over by then is not told."""
AGAIN_S = 20.0
"""A third of the time for which it is believed."""
LAST_WITHIN_S = 2.0
MAX_REASON = 500
TOLD_KINDS = (WaitKind.DAY_SPENT, WaitKind.QUOTA_UNKNOWN)
"""Schedule and canary are the campaign's own: whoever looks knows them. While the store waits, nothing can be told."""


class Keeper(Protocol):
    """Who keeps what is told: the journal."""

    async def tell_standstills(self, found: Sequence[Standstill]) -> None:
        """These, and no others, of this process. Raises JournalError."""
        ...


class Told:
    """Satisfies the engine's Observer: what holds up one campaign, or all of an account and Region."""

    def __init__(self, standstills: Standstills, of: _Of) -> None:
        self._standstills = standstills
        self._of = of

    def observe(self, fact: Fact) -> None:
        """Take note of what holds things up."""
        match fact:
            case Waiting():
                self.because(fact.reason if fact.kind in TOLD_KINDS else "", "wait")
            case CircuitChanged():
                why = f"most requests fail, so only single ones go out to see whether that is over: {fact.why}"
                self.because(why.removesuffix(": ") if fact.is_open else "", "circuit")
            case _:
                pass

    def because(self, reason: str, what: str = "") -> None:
        """Why nothing goes out, in words; empty when it does, as far as `what` is concerned. Addresses are left out."""
        said = without_addresses(reason).encode("utf-8", "replace").decode()
        self._standstills.note((self._of, what), said[:MAX_REASON])

    def over(self) -> None:
        """Nothing holds it up any more, or it is not this process's any more."""
        for what in ("wait", "circuit", ""):
            self.because("", what)


@dataclass(frozen=True, slots=True)
class _Of:
    campaign_id: str = ""
    account: str = ""
    region: str = ""


class Standstills:
    """Those of this process."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._reasons: dict[tuple[_Of, str], str] = {}
        self._is_new = asyncio.Event()

    def of_campaign(self, campaign_id: str) -> Told:
        """Who is told what holds up one campaign."""
        return Told(self, _Of(campaign_id))

    def of_account(self, binding: Binding) -> Told:
        """Who is told what holds up all of an account and Region."""
        return Told(self, _Of("", binding.account, binding.region))

    def note(self, who: tuple[_Of, str], reason: str) -> None:
        """A reason stands until there is another, or none."""
        if reason == self._reasons.get(who, ""):
            return
        if reason:
            self._reasons[who] = reason
        else:
            del self._reasons[who]
        self._is_new.set()

    def keep_only(self, campaign_ids: Collection[str]) -> None:
        """Nothing holds up other campaigns: nobody wants them sent."""
        for who in [who for who in self._reasons if who[0].campaign_id and who[0].campaign_id not in campaign_ids]:
            self.note(who, "")

    @asynccontextmanager
    async def telling(self) -> AsyncIterator[None]:
        """Tell the store, soon, and at the end that all is over. That it cannot be told ends nothing."""
        task = asyncio.create_task(self._go_on(), name="standstills")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            with suppress(BulksendError, TimeoutError):
                async with asyncio.timeout(LAST_WITHIN_S):
                    await self._keeper.tell_standstills([])

    async def _go_on(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S if self._reasons else None):
                    await self._is_new.wait()
            await asyncio.sleep(SOON_S)
            self._is_new.clear()
            try:
                await self._keeper.tell_standstills(self._found())
            except BulksendError:
                self._is_new.set()  # once more, soon
            except Exception as error:  # noqa: BLE001  what only tells ends nothing, and goes on telling
                structlog.get_logger().error("what holds things up cannot be told", error=type(error).__name__)

    def _found(self) -> list[Standstill]:
        by_whom: dict[_Of, list[str]] = {}
        for (of, _), reason in self._reasons.items():
            by_whom.setdefault(of, []).append(reason)
        return [
            Standstill("; ".join(reasons), of.campaign_id, of.account, of.region) for of, reasons in by_whom.items()
        ]
