"""Every row of the outcome table.

The simulator misbehaves over HTTP, the real SDK calls, the journal is compared with the simulator's own count.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bulksend.aws import AwsAccess
from bulksend.engine import Engine
from bulksend.facts import CircuitChanged, PaceChanged, UnknownStatus, Waiting
from bulksend.model import CampaignState, HaltScope, Policy
from bulksend.pacing import PaceSettings
from bulksend.simulator import SimulatorProcess
from tests.harness import CAMPAIGN, REGION, Desk, Ended, write_list

FAST = 5000.0


@pytest.fixture
def simulator_settings() -> dict[str, Any]:
    return {"max_send_rate_per_s": FAST, "enforce": False}


@pytest.fixture
def desk(tmp_path: Path, simulator: SimulatorProcess) -> Desk:
    return Desk(tmp_path, simulator.url)


def good(count: int, first: int = 1) -> list[str]:
    return [f"good+{n}@example.com" for n in range(first, first + count)]


def agree(ended: Ended, simulator: SimulatorProcess) -> None:
    """Conservation and no second copy, by the other side's count."""
    theirs = simulator.tally(ended.campaign.id)
    assert ended.tally.adds_up
    assert theirs["copies"] == []
    assert ended.tally.accepted <= theirs["accepted"] <= ended.tally.accepted + ended.tally.in_doubt


def test_success_is_accepted_with_its_message_id(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan(good(120))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.FINISHED
    assert ended.tally.accepted == 120
    theirs = {e["row"]: e["message_id"] for e in simulator.accepted(ended.campaign.id)}
    assert {r.row: r.message_id for r in desk.results("accepted")} == theirs


def test_a_request_of_megabytes(desk: Desk, simulator: SimulatorProcess) -> None:
    texts = [f"{n} " + 'ü"\n' * 20_000 for n in range(60)]
    write_list(desk.folder / "list.csv", good(60), {"text": texts})
    desk.plan_file(CAMPAIGN)
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.accepted == 60
    sent = [entry for request in simulator.requests() for entry in (request["body"] or {}).get("BulkEmailEntries", [])]
    data = [e["ReplacementEmailContent"]["ReplacementTemplate"]["ReplacementTemplateData"] for e in sent]
    assert sorted((json.loads(d)["text"] for d in data), key=lambda t: int(t.split()[0])) == texts


def test_transient_failure_is_retried(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([*good(60), "fault.transient_failure.3+a@example.com"])
    ended = desk.send(policy=Policy(max_attempts=2))
    agree(ended, simulator)
    assert ended.tally.accepted == 61
    assert desk.results("accepted")[-1].attempts == 4, "an hour had not passed, so two attempts were not enough to die"


def test_transient_failure_for_an_hour_is_dead(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([*good(3), "fault.transient_failure+a@example.com"])
    ended = desk.send(speed=3000.0, answer_timeout_s=36000.0)
    agree(ended, simulator)
    (dead,) = desk.results("dead")
    assert (dead.row, dead.status) == (4, "TRANSIENT_FAILURE")
    assert dead.attempts >= 5
    assert ended.elapsed_s >= 3600


def test_failed_is_retried_twice_minutes_apart_then_dead(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([*good(3), "fault.failed+a@example.com", "fault.failed.2+b@example.com"])
    ended = desk.send(speed=600.0, answer_timeout_s=7200.0)
    agree(ended, simulator)
    (dead,) = desk.results("dead")
    assert (dead.row, dead.status, dead.attempts) == (4, "FAILED", 3)
    assert ended.tally.accepted == 4
    assert ended.elapsed_s >= 240


@pytest.mark.parametrize("fault", ["throttled_429", "throttling_400", "account_throttled"])
def test_throttled_is_retried_for_free_and_the_pace_halves(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    simulator.rules([{"fault": fault, "share": 1.0, "times": 3}])
    desk.plan(good(200))
    ended = desk.send(policy=Policy(max_attempts=1))
    agree(ended, simulator)
    assert ended.tally.accepted == 200
    assert any(isinstance(f, PaceChanged) and f.rate_per_s < FAST for f in ended.facts)


@pytest.mark.parametrize("refusal", ["call", "entry"])
def test_a_spent_day_is_waited_for(tmp_path: Path, refusal: str) -> None:
    day_s, speed = 600.0, 200.0
    with SimulatorProcess(
        max_send_rate_per_s=FAST, max_24_hour_send=100, day_s=day_s / speed, daily_refusal=refusal
    ) as simulator:
        desk = Desk(tmp_path, simulator.url)
        desk.plan(good(150))
        simulator.foreign(20)
        ended = desk.send(speed=speed, pace=PaceSettings(window_s=day_s), policy=Policy(max_attempts=1))
        agree(ended, simulator)
    assert ended.tally.accepted == 150
    assert any(isinstance(f, Waiting) and f.reason for f in ended.facts)
    assert ended.elapsed_s >= day_s / 2


@pytest.mark.parametrize("fault", ["limit_exceeded_400", "account_daily_quota_exceeded"])
def test_a_day_that_ses_alone_calls_spent_costs_nobody(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    simulator.rules([{"fault": fault, "share": 1.0, "times": 1}])
    desk.plan(good(80))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.accepted == 80


@pytest.mark.parametrize("fault", ["message_rejected", "invalid_parameter", "invalid_parameter_value"])
def test_a_refused_entry_is_dead_and_alone(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    desk.plan([*good(70), f"fault.{fault}+a@example.com", *good(70, 100)])
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.FINISHED
    (dead,) = desk.results("dead")
    assert (dead.row, dead.attempts) == (71, 1)
    assert dead.reason
    assert ended.tally.accepted == 140


def test_the_same_refusal_for_everybody_halts_and_blames_nobody(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "message_rejected", "share": 1.0}])
    desk.plan(good(300))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.HALTED
    assert ended.tally.dead == 0
    assert ended.tally.pending == 300
    assert ended.halt is not None
    assert "MESSAGE_REJECTED" in ended.halt.reason
    simulator.rules([])
    again = desk.send()
    agree(again, simulator)
    assert again.tally.accepted == 300


def test_a_whole_batch_refused_for_everybody_halts_as_well(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "bad_request_400", "share": 1.0}])
    desk.plan(good(120))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.HALTED
    assert (ended.tally.dead, ended.tally.pending) == (0, 120)


CAMPAIGN_FAULTS = [
    "template_not_found",
    "template_does_not_exist",
    "configuration_set_not_found",
    "configuration_set_does_not_exist",
    "invalid_sending_pool_name",
    "mail_from_domain_not_verified",
    "configuration_set_sending_paused",
    "not_found_404",
    "mail_from_400",
]


@pytest.mark.parametrize("fault", CAMPAIGN_FAULTS)
def test_a_campaign_at_fault_halts_and_its_entries_stay_pending(
    desk: Desk, simulator: SimulatorProcess, fault: str
) -> None:
    simulator.rules([{"fault": fault, "share": 1.0}])
    desk.plan(good(120))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.HALTED
    assert ended.tally.pending == 120
    assert ended.halt is not None
    assert ended.halt.scope is HaltScope.CAMPAIGN
    assert ended.halt.remedy
    assert ended.campaign.halt == ended.halt


def test_a_halted_campaign_goes_on_once_its_fault_is_mended(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "template_not_found", "share": 1.0}])
    desk.plan(good(120))
    assert desk.send().state is CampaignState.HALTED
    simulator.rules([])
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.accepted == 120


@pytest.mark.parametrize(
    "fault", ["account_suspended", "account_sending_paused", "account_suspended_400", "sending_paused_400"]
)
def test_an_account_at_fault_halts_everything(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    simulator.rules([{"fault": fault, "share": 1.0}])
    desk.plan(good(60))
    ended = desk.send()
    agree(ended, simulator)
    assert (ended.state, ended.tally.pending) == (CampaignState.HALTED, 60)
    assert ended.halt is not None
    assert ended.halt.scope is HaltScope.ACCOUNT


@pytest.mark.parametrize("change", [{"enforcement_status": "SHUTDOWN"}, {"sending_enabled": False}])
def test_an_account_that_may_not_send_halts_before_the_first_request(
    desk: Desk, simulator: SimulatorProcess, change: dict[str, object]
) -> None:
    simulator.settings(**change)
    desk.plan(good(60))
    ended = desk.send()
    assert (ended.state, ended.tally.pending) == (CampaignState.HALTED, 60)
    assert ended.halt is not None
    assert ended.halt.scope is HaltScope.ACCOUNT
    assert simulator.tally(ended.campaign.id)["requests"] == 0


@pytest.mark.parametrize("fault", ["unauthorized_401", "forbidden_403"])
def test_refused_credentials_are_renewed_once_then_halt(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    simulator.rules([{"fault": fault, "operation": "SendBulkEmail", "share": 1.0}])
    desk.plan(good(60))
    ended = desk.send(max_in_flight=1)
    agree(ended, simulator)
    assert (ended.state, ended.tally.pending) == (CampaignState.HALTED, 60)
    assert ended.halt is not None
    assert "credentials" in ended.halt.reason
    assert simulator.rules()[0]["fired"] == 2


def test_credentials_that_work_after_one_renewal_go_on(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "forbidden_403", "operation": "SendBulkEmail", "share": 1.0, "times": 1}])
    desk.plan(good(60))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.accepted == 60


@pytest.mark.parametrize("fault", ["bad_request_400", "message_rejected_400", "too_large_413"])
def test_a_refused_request_is_bisected_to_the_entry_at_fault(
    desk: Desk, simulator: SimulatorProcess, fault: str
) -> None:
    desk.plan([*good(30), f"fault.{fault}+a@example.com", *good(69, 100)])
    ended = desk.send()
    agree(ended, simulator)
    (dead,) = desk.results("dead")
    assert dead.row == 31
    assert dead.attempts == 7, "50, 25, 13 or 12, 7 or 6, 4 or 3, 2, 1"
    assert ended.tally.accepted == 99


def test_a_skewed_clock_is_set_by_the_server(tmp_path: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=FAST, clock_offset_s=7200.0) as simulator:
        desk = Desk(tmp_path, simulator.url)
        desk.plan(good(120))
        ended = desk.send()
        agree(ended, simulator)
    assert ended.tally.accepted == 120


def test_no_connection_is_known_not_to_have_sent(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan(good(60))
    simulator.rules([{"fault": "reset_before_reading", "operation": "SendBulkEmail", "share": 1.0, "times": 2}])
    ended = desk.send(max_in_flight=2)
    agree(ended, simulator)
    assert ended.tally.in_doubt > 0, "a reset after connecting proves nothing, though the body was never read"


@pytest.mark.parametrize("fault", ["unavailable_503"])
def test_a_503_of_ses_is_retried_for_free(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    simulator.rules([{"fault": fault, "share": 1.0, "times": 4, "operation": "SendBulkEmail"}])
    desk.plan(good(120))
    ended = desk.send(policy=Policy(max_attempts=1))
    agree(ended, simulator)
    assert (ended.tally.accepted, ended.tally.in_doubt) == (120, 0)


DOUBTFUL = [
    "internal_500",
    "bad_gateway_502",
    "unavailable_503_proxy",
    "gateway_timeout_504",
    "timeout_408",
    "reset_after_accepting",
    "close_after_accepting",
    "truncated_answer",
    "malformed_answer",
    "empty_answer",
    "too_few_results",
    "too_many_results",
]


@pytest.mark.parametrize("fault", DOUBTFUL)
def test_what_nobody_can_know_is_in_doubt_and_never_sent_again(
    desk: Desk, simulator: SimulatorProcess, fault: str
) -> None:
    desk.plan([*good(40), f"fault.{fault}+a@example.com", *good(59, 100)])
    ended = desk.send()
    agree(ended, simulator)
    assert ended.state is CampaignState.FINISHED
    assert (ended.tally.accepted, ended.tally.in_doubt) == (50, 50)
    assert all(r.attempts == 1 for r in desk.results())


def test_another_run_leaves_doubt_as_it_is(desk: Desk, simulator: SimulatorProcess) -> None:
    desk.plan([*good(40), "fault.truncated_answer+a@example.com"])
    first = desk.send()
    second = desk.send()
    agree(second, simulator)
    assert second.tally == first.tally
    assert second.tally.in_doubt == 41


@pytest.mark.parametrize("fault", ["hang_after_accepting", "hang_before_accepting"])
def test_no_answer_in_time_is_in_doubt(desk: Desk, simulator: SimulatorProcess, fault: str) -> None:
    desk.plan([*good(40), f"fault.{fault}+a@example.com", *good(59, 100)])
    ended = desk.send(answer_timeout_s=60.0)
    agree(ended, simulator)
    assert (ended.tally.accepted, ended.tally.in_doubt) == (50, 50)


def test_a_dead_server_is_waited_for(tmp_path: Path) -> None:
    with SimulatorProcess(max_send_rate_per_s=FAST) as simulator:
        desk = Desk(tmp_path, simulator.url)
        desk.plan(good(60))
        access = AwsAccess(region=REGION, endpoint_url=simulator.url, connect_timeout_s=60.0)
        port = int(simulator.url.rsplit(":", 1)[1])

        def restart_later(_: Engine) -> None:
            simulator.stop()
            simulator._settings = simulator._settings.__class__(
                max_send_rate_per_s=FAST, port=port, exit_with_parent=True
            )
            asyncio.get_running_loop().call_later(20.0, simulator.start)

        ended = desk.send(meanwhile=restart_later, access=access)
        agree(ended, simulator)
    assert (ended.tally.accepted, ended.tally.in_doubt) == (60, 0)


def test_an_unknown_status_is_in_doubt_and_loud(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "status", "status": "QUANTUM_STATE", "share": 1.0, "times": 1}])
    desk.plan(good(20))
    ended = desk.send()
    agree(ended, simulator)
    assert ended.tally.in_doubt == 1
    (row,) = desk.results("in_doubt")
    assert row.status == "QUANTUM_STATE"
    assert UnknownStatus("QUANTUM_STATE") in ended.facts


def test_an_outage_is_not_a_verdict(desk: Desk, simulator: SimulatorProcess) -> None:
    """Five minutes of nothing but transient failures, then health: nobody dead, nobody twice."""
    simulator.rules([{"fault": "transient_failure", "share": 1.0}])
    desk.plan(good(500))

    def recover(_: Engine) -> None:
        asyncio.get_running_loop().call_later(300.0, simulator.rules, [])

    ended = desk.send(meanwhile=recover, policy=Policy(max_attempts=1))
    agree(ended, simulator)
    assert (ended.tally.accepted, ended.tally.dead, ended.tally.in_doubt) == (500, 0, 0)
    assert ended.elapsed_s >= 300
    opened = [f for f in ended.facts if isinstance(f, CircuitChanged)]
    assert opened[0].is_open
    assert not opened[-1].is_open


def test_ten_probes_in_doubt_halt(desk: Desk, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "close_after_accepting", "operation": "SendBulkEmail", "share": 1.0}])
    desk.plan(good(2000))
    ended = desk.send(speed=600.0, max_in_flight=2)
    agree(ended, simulator)
    assert ended.state is CampaignState.HALTED
    assert ended.tally.in_doubt <= 50 * (10 + 2) + 10
    assert ended.tally.pending == 2000 - ended.tally.in_doubt


def test_doubt_is_sent_again_after_31_minutes_where_the_campaign_says_so(
    desk: Desk, simulator: SimulatorProcess
) -> None:
    desk.plan([*good(3), "fault.hang_before_accepting.1+a@example.com"])
    ended = desk.send(speed=900.0, answer_timeout_s=400.0, policy=Policy(resend_in_doubt=True))
    agree(ended, simulator)
    assert (ended.tally.accepted, ended.tally.in_doubt) == (4, 0)
    assert ended.elapsed_s >= 31 * 60


def test_one_bad_address_in_the_sandbox_is_one_dead_letter(tmp_path: Path) -> None:
    with SimulatorProcess(sandbox=True, enforce=False) as simulator:
        desk = Desk(tmp_path, simulator.url)
        desk.plan(
            [
                *[f"success+{n}@simulator.amazonses.com" for n in range(30)],
                "stranger@example.com",
                *[f"success+{n}@simulator.amazonses.com" for n in range(30, 60)],
            ]
        )
        ended = desk.send(speed=60.0)
        agree(ended, simulator)
    assert ended.state is CampaignState.FINISHED
    (dead,) = desk.results("dead")
    assert (dead.row, dead.status) == (31, "MESSAGE_REJECTED")
    assert ended.tally.accepted == 60
