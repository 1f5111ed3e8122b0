"""Every fault does what the table says, to the real SDK, and the tally knows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError, HTTPClientError

from bulksend.simulator import SimulatorProcess
from bulksend.simulator.faults import FAULTS
from tests.simulated_ses import CAMPAIGN, SesClient, bulk, ses_client

ENTRY_FAULTS = sorted(name for name, fault in FAULTS.items() if fault.for_entry)
HTTP_FAULTS = sorted(name for name, fault in FAULTS.items() if fault.http_status is not None)
BROKEN = {
    "reset_before_reading": False,
    "reset_after_accepting": True,
    "close_after_accepting": True,
    "truncated_answer": True,
}
HANGING = {"hang_before_accepting": False, "hang_after_accepting": True}
ODD = {
    "malformed_answer": None,
    "empty_answer": None,
    "too_few_results": 2,
    "too_many_results": 4,
}
"""How many results the SDK reads, of three; None where it reads none."""


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(enforce=False) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def client(running: SimulatorProcess) -> Iterator[SesClient]:
    with ses_client(running.url) as made:
        yield made


@pytest.fixture
def simulator(running: SimulatorProcess) -> Iterator[SimulatorProcess]:
    yield running
    running.settings(latency_ms=0)
    running.rules([])
    running.reset()


def three(name: str) -> dict[str, Any]:
    return bulk("a@example.com", f"fault.{name}@example.com", "b@example.com")


def counted(simulator: SimulatorProcess) -> tuple[int, int, int]:
    """Accepted, of them in doubt, and entries whose answer was ambiguous."""
    told = simulator.tally(CAMPAIGN)
    return told["accepted"], told["ambiguous"], told["ambiguous_attempts"]


def test_every_fault_is_tested_here() -> None:
    assert {*ENTRY_FAULTS, *HTTP_FAULTS, *BROKEN, *HANGING, *ODD, "slow_answer"} == set(FAULTS)


@pytest.mark.parametrize("name", ENTRY_FAULTS)
def test_a_fault_of_an_entry(client: SesClient, simulator: SimulatorProcess, name: str) -> None:
    results = client.call("send_bulk_email", **three(name))["BulkEmailEntryResults"]
    expected = name.upper() if name != "status" else "STATUS_THAT_NOBODY_KNOWS"
    assert [result["Status"] for result in results] == ["SUCCESS", expected, "SUCCESS"]
    assert results[1]["Error"]
    assert "MessageId" not in results[1]
    assert [accepted["row"] for accepted in simulator.accepted(CAMPAIGN)] == [1, 3]
    assert counted(simulator) == (2, 0, 1 if name == "status" else 0)


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_an_http_error(client: SesClient, simulator: SimulatorProcess, name: str) -> None:
    with pytest.raises(ClientError) as caught:
        client.call("send_bulk_email", **three(name))
    fault = FAULTS[name]
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == fault.http_status
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert ("x-amzn-requestid" in headers) is fault.by_ses
    if fault.by_ses:
        assert (answer["Error"]["Code"], answer["Error"]["Message"]) == (fault.code, fault.text)
    accepted = 3 if fault.accepts else 0
    assert counted(simulator) == (accepted, accepted, 3 if fault.ambiguous else 0)


@pytest.mark.parametrize(("name", "accepts"), BROKEN.items())
def test_a_broken_connection(client: SesClient, simulator: SimulatorProcess, name: str, *, accepts: bool) -> None:
    with pytest.raises((ConnectionClosedError, EndpointConnectionError, HTTPClientError)):
        client.call("send_bulk_email", **three(name))
    accepted = 3 if accepts else 0
    assert counted(simulator) == (accepted, accepted, 3)


@pytest.mark.parametrize(("name", "accepts"), HANGING.items())
def test_an_answer_that_never_comes(
    client: SesClient, simulator: SimulatorProcess, name: str, *, accepts: bool
) -> None:
    async def wait_in_vain() -> None:
        call = asyncio.ensure_future(client.client.send_bulk_email(**three(name)))
        while simulator.tally(CAMPAIGN)["ambiguous_attempts"] == 0:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0)
        assert not call.done()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    client.runner.run(wait_in_vain())
    accepted = 3 if accepts else 0
    assert counted(simulator) == (accepted, accepted, 3)


@pytest.mark.parametrize(("name", "results"), ODD.items())
def test_an_odd_answer(client: SesClient, simulator: SimulatorProcess, name: str, results: int | None) -> None:
    call: Callable[[], dict[str, Any]] = lambda: client.call("send_bulk_email", **three(name))  # noqa: E731
    if name == "malformed_answer":
        with pytest.raises(Exception, match=r"Unable to parse|Expecting|decode"):
            call()
    else:
        assert len(call().get("BulkEmailEntryResults", [])) == (results or 0)
    assert counted(simulator) == (3, 3, 3)


def test_a_slow_answer_is_a_good_one(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "slow_answer", "delay_ms": 20}])
    assert [result["Status"] for result in client.send_bulk("a@example.com")] == ["SUCCESS"]
    assert counted(simulator) == (1, 0, 0)


def test_a_client_that_leaves_a_slow_answer_leaves_its_entries_in_doubt(
    client: SesClient, simulator: SimulatorProcess
) -> None:
    simulator.settings(latency_ms=60_000)

    async def leave() -> None:
        call = asyncio.ensure_future(client.client.send_bulk_email(**bulk("a@example.com", "b@example.com")))
        while simulator.tally(CAMPAIGN)["accepted"] == 0:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    client.runner.run(leave())
    assert counted(simulator) == (2, 2, 2)


@pytest.mark.parametrize(
    "name", ["transient_failure", "throttled_429", "internal_500_accepted", "reset_before_reading"]
)
def test_a_fault_for_so_many_times(client: SesClient, simulator: SimulatorProcess, name: str) -> None:
    address = f"fault.{name}.2+u17@example.com"
    good = 0
    for _ in range(3):
        try:
            good += client.send_bulk(address)[0]["Status"] == "SUCCESS"
        except (ClientError, ConnectionClosedError, EndpointConnectionError):
            assert good == 0
    assert good == 1
    assert simulator.tally()["accepted"] == (3 if name.endswith("_accepted") else 1)


def test_rules_come_and_go_and_count(client: SesClient, simulator: SimulatorProcess) -> None:
    outage = {"fault": "http", "status": 503, "code": "ServiceUnavailable", "operation": "*"}
    assert simulator.rules([outage]) == [{**outage, "fired": 0}]
    for operation, arguments in (("get_account", {}), ("send_bulk_email", bulk("a@example.com"))):
        with pytest.raises(ClientError, match="ServiceUnavailable"):
            client.call(operation, **arguments)
    assert simulator.rules() == [{**outage, "fired": 2}]
    simulator.rules([])
    assert client.send_bulk("a@example.com")[0]["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    "name", ["malformed_answer", "reset_before_reading", "close_after_accepting", "truncated_answer"]
)
def test_broken_answers_of_other_operations(client: SesClient, simulator: SimulatorProcess, name: str) -> None:
    # Without a number: the SDK's HTTP client tries a GET again on its own when a kept connection breaks.
    simulator.rules([{"fault": name, "operation": "GetAccount"}])
    with pytest.raises(Exception, match=r"(?i)parse|Expecting|decode|connect|closed"):
        client.call("get_account")
    simulator.rules([])
    assert client.call("get_account")["SendingEnabled"]


def test_a_share_of_the_entries(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "failed", "share": 0.2}])
    statuses = [r["Status"] for _ in range(20) for r in client.send_bulk(*["a@example.com"] * 50)]
    (rule,) = simulator.rules()
    assert statuses.count("FAILED") == rule["fired"]
    assert 120 <= rule["fired"] <= 280
    assert simulator.tally()["accepted"] == 1000 - rule["fired"]


def test_a_refusal_of_sess_own_goes_before_an_accepting_fault(client: SesClient, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "reset_after_accepting"}])
    with pytest.raises(ClientError, match="51 entries"):
        client.send_bulk(*["a@example.com"] * 51)
    assert simulator.tally()["ambiguous_attempts"] == 0


def test_a_fault_that_does_not_exist(client: SesClient, simulator: SimulatorProcess) -> None:
    with pytest.raises(ClientError, match="no_such_thing"):
        client.send_bulk("fault.no_such_thing@example.com")
    assert simulator.tally()["accepted"] == 0
