"""Whoever was forgotten is never sent to again: not by a person's verdict, a retry or the campaign's policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulksend import worker
from bulksend.model import EntryReport, EntryState, Policy, SettlementVerdict
from bulksend.outcome import RESEND_AFTER_S
from bulksend.safety import Safety
from bulksend.schedule import Schedule
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Resolved, Retried, Store
from tests.harness import Desk

DOUBTFUL = "fault.close_after_accepting+bea@example.com"
REFUSED = "fault.message_rejected+bea@example.com"


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": 5000, "enforce": False}


@pytest.fixture
def desk(tmp_path: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(tmp_path, simulator.url)


def later(desk: Desk) -> Store:
    """The store when every signature has long run out."""
    (at,) = {r.at for r in desk.store().journal.reports(desk.store().journal.campaign("launch"))}
    assert at is not None
    now = at + 2 * RESEND_AFTER_S
    return desk.store(lambda: now)


def only(desk: Desk, state: EntryState) -> EntryReport:
    (found,) = [r for r in desk.store().journal.reports(desk.store().journal.campaign("launch")) if r.state is state]
    return found


def sent_to(simulator: SimulatorProcess) -> set[str]:
    entries = [e for r in simulator.requests() for e in (r["body"] or {}).get("BulkEmailEntries", [])]
    return {address for e in entries for address in e["Destination"]["ToAddresses"]}


def test_a_verdict_does_not_resend_what_is_gone(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([DOUBTFUL])
    desk.send()
    assert worker.forget(desk.store(), DOUBTFUL).rows == 1
    store = later(desk)
    campaign = store.journal.campaign("launch")
    found = list(worker.doubts(store, campaign))
    assert [d.forgotten for d in found] == [True]
    done = worker.resolve(store, campaign, found, SettlementVerdict.RESEND, "she wants it")
    assert done == Resolved(decided=0, too_early=0, forgotten=1, left=1)
    # The journal itself refuses it, whoever asks.
    resend = [(found[0].report, SettlementVerdict.RESEND)]
    assert store.journal.decide_entries(campaign, resend, "by another way") == 0
    assert desk.send().tally.in_doubt == 1
    assert worker.resolve(store, campaign, found, SettlementVerdict.DROP, "over").decided == 1
    assert worker.retry(store, campaign, status="DROPPED", why="once more") == Retried(again=0, forgotten=1)
    ended = desk.send()
    assert (ended.tally.dead, ended.tally.adds_up) == (1, True)
    assert sent_to(simulator) == {DOUBTFUL}


def test_a_retry_leaves_out_what_is_gone_whatever_it_died_of(desk: Desk, simulator: SimulatorProcess) -> None:
    other = REFUSED.replace("bea", "cid")
    desk.plan([REFUSED, other, "a@example.com"])
    desk.send()
    worker.forget(desk.store(), REFUSED)
    store = desk.store()
    campaign = store.journal.campaign("launch")
    gone = next(r for r in store.journal.reports(campaign) if r.state is EntryState.DEAD)
    assert gone.status == "MESSAGE_REJECTED"
    assert worker.retry(store, campaign, why="mended") == Retried(again=1, forgotten=1)
    assert store.journal.decide_entries(campaign, [(gone, SettlementVerdict.RETURNED)], "by another way") == 0
    ended = desk.send()
    assert (ended.tally.accepted, ended.tally.dead, ended.tally.adds_up) == (1, 2, True)
    assert sent_to(simulator) == {REFUSED, other, "a@example.com"}


@pytest.mark.parametrize("gone", [DOUBTFUL, ""])
def test_the_policy_does_not_resend_what_is_gone(desk: Desk, simulator: SimulatorProcess, gone: str) -> None:
    desk.plan([DOUBTFUL, "a@example.com"])
    desk.send()
    if gone:
        worker.forget(desk.store(), gone)
    policy = Policy(resend_in_doubt=True)
    store = desk.store()
    store.journal.set_terms(store.journal.campaign("launch"), policy, Schedule(), Safety())
    simulator.reset()
    ended = desk.send(policy=policy, start_at_s=2 * RESEND_AFTER_S)
    assert ended.state.value == "finished"
    assert ended.tally.adds_up
    entries = [e for r in simulator.requests() for e in (r["body"] or {}).get("BulkEmailEntries", [])]
    assert entries
    assert "forgotten@invalid" not in sent_to(simulator)
    assert only(desk, EntryState.IN_DOUBT).attempts == (1 if gone else 2)
    assert simulator.tally()["accepted"] == (1 if gone else 2), "the other one of the same request goes again"
