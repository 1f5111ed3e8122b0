"""What an answer asks of the sender, and when it is no use any more."""

from __future__ import annotations

import asyncio

import pytest

from bulksend.engine.heed import MAX_RENEWALS, MAX_SKEWED_ANSWERS, Heed
from bulksend.model import EntryOutcome, Halt, HaltScope, Refused, Verdict
from tests.ses_in_memory import OpenGate, SesInMemory, Weather


def heeding() -> tuple[SesInMemory, Heed]:
    ses = SesInMemory(lambda: Weather.FINE)
    return ses, Heed(ses, OpenGate())


def refuse(heed: Heed, generation: int) -> Halt | None:
    verdict = Verdict.CREDENTIALS_REFUSED
    answer = Refused(403, "AccessDeniedException", "no", by_ses=True, generation=generation)
    return asyncio.run(heed.answer(answer, [verdict], [EntryOutcome(verdict, "AccessDeniedException", "no")], 0.0))


def test_keys_refused_again_after_a_renewal_halt() -> None:
    _, heed = heeding()
    assert refuse(heed, 0) is None
    assert refuse(heed, 0) is None, "it was sent before the renewal"
    assert refuse(heed, 1) is not None


def test_an_acceptance_in_between_means_that_they_were_good() -> None:
    _, heed = heeding()
    for generation in range(10):
        assert refuse(heed, generation) is None
        heed.accepted()


def test_a_source_of_ever_other_keys_none_of_them_good_halts_too() -> None:
    ses, heed = heeding()
    tries = 0
    while refuse(heed, ses.generation) is None:
        ses.generation += 1  # other keys at the next look
        tries += 1
        assert tries <= MAX_RENEWALS


def skew(heed: Heed, server_time: float | None) -> Halt | None:
    verdict = Verdict.CLOCK_SKEWED
    answer = Refused(403, "RequestExpired", "no", by_ses=True, server_time=server_time)

    async def main() -> Halt | None:
        outcome = EntryOutcome(verdict, "RequestExpired", "no")
        return await heed.answer(answer, [verdict], [outcome], asyncio.get_running_loop().time() + 1.0)

    return asyncio.run(main())


@pytest.mark.parametrize("by_endpoint", [False, True])
def test_a_clock_that_cannot_be_helped_halts_whom_it_concerns(*, by_endpoint: bool) -> None:
    """What is signed for an endpoint goes by this machine's clock; the account's other campaigns by SES's."""
    ses, heed = heeding()
    ses.by_endpoint = by_endpoint
    for _ in range(MAX_SKEWED_ANSWERS):
        assert skew(heed, 1.0) is None
    for halt in (skew(heed, 1.0), skew(Heed(ses, OpenGate()), None)):
        assert halt is not None
        assert halt.scope is (HaltScope.CAMPAIGN if by_endpoint else HaltScope.ACCOUNT)
        assert ("multi-region endpoint" in halt.reason) is by_endpoint
        assert "Set this machine's clock (NTP)" in halt.remedy


@pytest.mark.parametrize("by_endpoint", [False, True])
def test_keys_that_one_region_of_two_refuses_are_no_matter_of_the_account(*, by_endpoint: bool) -> None:
    ses, heed = heeding()
    ses.by_endpoint = by_endpoint
    refuse(heed, 0)
    halt = refuse(heed, 1)
    assert halt is not None
    assert halt.scope is (HaltScope.CAMPAIGN if by_endpoint else HaltScope.ACCOUNT)
    assert ("in both Regions" in halt.remedy) is by_endpoint
