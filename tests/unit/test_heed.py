"""What an answer asks of the sender, and when it is no use any more."""

from __future__ import annotations

import asyncio

from bulksend.engine.heed import MAX_RENEWALS, Heed
from bulksend.model import EntryOutcome, Halt, Refused, Verdict
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
