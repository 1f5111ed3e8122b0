"""What an answer asks of the sender, beyond its own entries: slow down, set the clock, renew credentials, halt."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from bulksend.engine.ports import Pacer, Transport
from bulksend.engine.remedies import account_halt, campaign_halt, clock_halt, credentials_halt
from bulksend.model import Answer, EntryOutcome, Halt, Refused, Verdict

__all__ = ["Heed"]

MAX_SKEWED_ANSWERS = 3
MAX_RENEWALS = 3
"""Credentials read anew with no acceptance in between: a source may hand out others each time, none of them good."""


class Heed:
    """Remembers what has been done about earlier answers, so that many in flight at once ask for it once."""

    def __init__(self, transport: Transport, pacer: Pacer, endpoint_remedy: str = "") -> None:
        self._transport = transport
        self.endpoint_remedy = endpoint_remedy
        """As for `campaign_halt`."""
        self._pacer = pacer
        self._accepted_generation = -1
        self._renewed_generation = -1
        self._renewals = 0
        self._skewed_answers = 0
        self._clock_set_s = float("-inf")

    def accepted(self) -> None:
        """SES accepted something: clock and credentials are good."""
        self._skewed_answers = 0
        self._renewals = 0
        self._accepted_generation = self._renewed_generation

    async def answer(
        self, answer: Answer, verdicts: Sequence[Verdict], outcomes: Sequence[EntryOutcome], sent_s: float
    ) -> Halt | None:
        """Do what it asks for; a halt if that is no use any more. `sent_s` is the event loop's time of sending."""
        seen = set(verdicts)
        if Verdict.ACCEPTED in seen:
            self.accepted()
        if Verdict.THROTTLED in seen:
            self._pacer.throttled(sent_s)
        if Verdict.DAY_SPENT in seen:
            self._pacer.day_spent()
        at_campaign = partial(campaign_halt, endpoint_remedy=self.endpoint_remedy)
        for blame, halt in ((Verdict.ACCOUNT_AT_FAULT, account_halt), (Verdict.CAMPAIGN_AT_FAULT, at_campaign)):
            at_fault = next((o for o, v in zip(outcomes, verdicts, strict=True) if v is blame), None)
            if at_fault is not None:
                return halt(at_fault.status, at_fault.reason)
        if isinstance(answer, Refused):
            if Verdict.CLOCK_SKEWED in seen:
                return self._clock(answer, sent_s)
            if Verdict.CREDENTIALS_REFUSED in seen:
                return await self._credentials(answer)
        return None

    def _clock(self, refused: Refused, sent_s: float) -> Halt | None:
        if sent_s < self._clock_set_s:
            return None
        self._clock_set_s = asyncio.get_running_loop().time()
        self._skewed_answers += 1
        if refused.server_time is None or self._skewed_answers > MAX_SKEWED_ANSWERS:
            return clock_halt(by_endpoint=self._transport.by_endpoint)
        self._transport.set_clock(refused.server_time)
        return None

    async def _credentials(self, refused: Refused) -> Halt | None:
        """One refresh per generation: refused again without any acceptance in between, they are no good."""
        again = refused.generation == self._renewed_generation and self._accepted_generation < refused.generation
        if again or self._renewals >= MAX_RENEWALS:
            return credentials_halt(refused.code, refused.text, by_endpoint=self._transport.by_endpoint)
        generation = await self._transport.renew_credentials(refused.generation)
        self._renewals += generation != self._renewed_generation
        self._renewed_generation = generation
        return None
