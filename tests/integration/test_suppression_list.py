"""bulksend suppression: by hand, from files, and between the store's list and the account's."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulksend.cli import run
from bulksend.event import BounceKind, EventType, MailEvent
from bulksend.recipients import address_file
from bulksend.ses import seldom, suppression
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from tests.harness import REGION

STORE = "sqlite:store"


@pytest.fixture(autouse=True)
def at_simulator(in_folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BULKSEND_STORE", STORE)
    monkeypatch.setenv("BULKSEND_AWS_ENDPOINT_URL", simulator.url)
    monkeypatch.setenv("BULKSEND_AWS_REGION", REGION)
    monkeypatch.setattr(suppression.AccountSuppressions.__init__, "__kwdefaults__", {"every_s": 0.0})
    Store.at(in_folder / "store")
    return in_folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a verb; what it says as data, as JSON where it is that."""

    def run_it(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = run(["suppression", *arguments])
        out, err = capsys.readouterr()
        assert found == code, err
        if code:
            return err
        return json.loads(out) if "json" in arguments and arguments[0] != "list" else out

    return run_it


def account(simulator: SimulatorProcess) -> Any:
    return boto3.client("sesv2", endpoint_url=simulator.url, region_name=REGION)


def theirs(simulator: SimulatorProcess) -> dict[str, str]:
    found = account(simulator).list_suppressed_destinations(PageSize=1000)["SuppressedDestinationSummaries"]
    return {one["EmailAddress"]: one["Reason"] for one in found}


def listed(said: Any) -> dict[str, str]:
    lines = [json.loads(line) for line in said("list", "--output", "json").splitlines()]
    return {one["address"]: one["reason"] for one in lines}


def test_by_hand(said: Any) -> None:
    assert listed(said) == {}
    assert said("add", "Ann@Example.COM", " b@bücher.example ", "--output", "json") == {"added": 2, "known": 0}
    assert said("add", "ann@example.com", "--reason", "complaint", "--output", "json") == {"added": 0, "known": 1}
    assert said("add", "ann@example.com", "--reason", "bounce", "--output", "json") == {"added": 0, "known": 1}
    assert listed(said) == {"ann@example.com": "complaint", "b@xn--bcher-kva.example": "manual"}, "the weightier stays"
    assert "is not an address" in said("add", "c@example.com", "nobody", code=2)
    assert "no address is named" in said("add", code=2)
    assert len(listed(said)) == 2
    gone = said("remove", "ANN@example.com", "d@example.com", "--output", "json")
    assert gone == {"removed": 1, "unknown": 1}
    assert listed(said) == {"b@xn--bcher-kva.example": "manual"}


def test_what_a_spreadsheet_would_run_is_defused(said: Any) -> None:
    said("add", "=1+1@example.com")
    rows = list(csv.DictReader(io.StringIO(said("list", "--output", "csv"))))
    assert [(row["email"], row["reason"], row["source"]) for row in rows] == [
        ("'=1+1@example.com", "manual", "by hand")
    ]


def test_from_files(in_folder: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_file, "LINES_AT_ONCE", 3)
    (in_folder / "a.txt").write_text("a@example.com\r\n\r\n B@example.com \nnobody\n" * 3, "utf-8")
    done = said("import", "a.txt", "--output", "json")
    assert done == {"added": 2, "known": 4, "refused": 3, "refused_rows": [4, 8, 12]}
    (in_folder / "c.csv").write_text('name,email\nAnn,c@example.com\nBob\n"x",\nCid,nobody\n', "utf-8")
    assert said("import", "c.csv", "--reason", "unsubscribe", "--output", "json") == {
        "added": 1,
        "known": 0,
        "refused": 2,
        "refused_rows": [2, 4],
    }
    pq.write_table(pa.table({"address": ["d@example.com", None, "a@example.com"]}), in_folder / "d.parquet")
    assert "there is no column 'email'" in said("import", "d.parquet", code=2)
    done = said("import", "d.parquet", "--column", "address", "--output", "json")
    assert done == {"added": 1, "known": 1, "refused": 0, "refused_rows": []}
    assert "gone.txt" in said("import", "gone.txt", code=2)
    assert listed(said) == {
        "a@example.com": "manual",
        "b@example.com": "manual",
        "c@example.com": "unsubscribe",
        "d@example.com": "manual",
    }
    # What was written can be read again.
    (in_folder / "all.csv").write_text(said("list", "--output", "csv"), "utf-8")
    assert said("import", "all.csv", "--output", "json") == {"added": 0, "known": 4, "refused": 0, "refused_rows": []}


def test_from_the_account_and_back(said: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "PAGE_SIZE", 2)
    for number, reason in enumerate(["BOUNCE", "COMPLAINT", "BOUNCE", "BOUNCE", "COMPLAINT"]):
        account(simulator).put_suppressed_destination(EmailAddress=f"U{number}@example.com", Reason=reason)
    assert said("sync", "--output", "json") == {"read": 5, "added": 5, "resumed": False}
    assert said("sync", "--output", "json") == {"read": 5, "added": 0, "resumed": False}
    assert listed(said) == {
        "u0@example.com": "bounce",
        "u1@example.com": "complaint",
        "u2@example.com": "bounce",
        "u3@example.com": "bounce",
        "u4@example.com": "complaint",
    }
    said("add", "left@example.com", "--reason", "unsubscribe")
    assert said("push", "--output", "json") == {"put": 0, "refused": 0, "listed": 5}
    said("add", "new@example.com", "--reason", "bounce")
    said("add", "cross@example.com", "--reason", "complaint")
    assert "there is no terminal to ask on" in said("push", code=2)
    assert "new@example.com" not in theirs(simulator)
    assert said("push", "--yes", "--output", "json") == {"put": 2, "refused": 0, "listed": 5}
    assert len(theirs(simulator)) == 7
    assert theirs(simulator)["new@example.com"] == "BOUNCE"
    assert theirs(simulator)["cross@example.com"] == "COMPLAINT"
    assert said("push", "--yes", "--output", "json") == {"put": 0, "refused": 0, "listed": 7}


def test_an_address_that_ses_takes_for_none_holds_no_other_up(
    said: Any, simulator: SimulatorProcess, in_folder: Path
) -> None:
    spelled_by_a_server = "rfc822;ann@example.com, b@example.com"
    bounced = MailEvent(
        bytes(16), EventType.BOUNCE, "m", 1.0, 1.0, "c" * 26, 1, (spelled_by_a_server,), BounceKind.PERMANENT
    )
    Store.at(in_folder / "store").events.record([bounced], 2.0)
    said("add", "zoe@example.com", "--reason", "bounce")
    assert said("push", "--yes", "--output", "json") == {"put": 1, "refused": 1, "listed": 0}
    assert theirs(simulator) == {"zoe@example.com": "BOUNCE"}
    assert said("push", "--yes", "--output", "json") == {"put": 0, "refused": 1, "listed": 1}


def test_a_sync_that_broke_off_goes_on(
    in_folder: Path, said: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "PAGE_SIZE", 2)
    monkeypatch.setattr(seldom, "MOST_TRIES", 2)
    for number in range(6):
        account(simulator).put_suppressed_destination(EmailAddress=f"u{number}@example.com", Reason="BOUNCE")
    throttled = {"fault": "throttled_429", "operation": "ListSuppressedDestinations"}
    simulator.rules([throttled | {"first_request": 1, "last_request": 1}])
    assert said("sync", "--output", "json")["read"] == 6, "throttled once, it tries again"
    said("remove", *(f"u{number}@example.com" for number in range(6)))
    simulator.rules([throttled | {"first_request": 2}])
    assert "TooManyRequestsException" in said("sync", code=2)
    assert len(listed(said)) == 2
    kept = in_folder / "store" / "suppression-sync.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "@" not in kept.read_text()
    simulator.rules([])
    assert said("sync", "--output", "json") == {"read": 4, "added": 4, "resumed": True}
    assert not kept.exists()
    kept.write_text(json.dumps({"of": [simulator.url, REGION], "at": 9e9, "token": "x"}))
    assert said("sync", "--output", "json") == {"read": 6, "added": 0, "resumed": False}
    kept.write_text(json.dumps({"of": [simulator.url, REGION], "at": time.time(), "token": "no token of theirs"}))
    assert said("sync", "--output", "json") == {"read": 6, "added": 0, "resumed": False}


def test_a_sync_that_gets_no_further_ends(
    in_folder: Path, said: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SES takes no token of its own: whoever begins anew gets to the same page for ever."""
    monkeypatch.setattr(suppression, "PAGE_SIZE", 2)
    for number in range(6):
        account(simulator).put_suppressed_destination(EmailAddress=f"u{number}@example.com", Reason="BOUNCE")
    refused = {"fault": "http", "operation": "ListSuppressedDestinations", "status": 400, "code": "BadRequestException"}
    # It is read to the second page, then to the third, and then no further than that.
    simulator.rules([refused | {"first_request": n, "last_request": n} for n in (2, 5, 8)])
    why = said("sync", code=2)
    assert "its list of suppressions breaks off after 4 of its addresses" in why
    assert "BadRequestException" in why
    assert set(listed(said)) == {f"u{number}@example.com" for number in range(4)}, "what was read is kept"
    simulator.rules([])
    assert said("sync", "--output", "json") == {"read": 2, "added": 2, "resumed": True}
    assert len(listed(said)) == 6
    # A token that was kept, refused, is no reading from the beginning.
    (in_folder / "store" / "suppression-sync.json").write_text(
        json.dumps({"of": [simulator.url, REGION], "at": time.time(), "token": "x"})
    )
    simulator.rules([refused | {"first_request": n, "last_request": n} for n in (1, 3)])
    assert said("sync", "--output", "json") == {"read": 6, "added": 0, "resumed": False}


def test_a_push_reads_the_account_s_list_as_a_sync_does(
    said: Any, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suppression, "PAGE_SIZE", 2)
    for number in range(6):
        account(simulator).put_suppressed_destination(EmailAddress=f"u{number}@example.com", Reason="BOUNCE")
    said("add", "u7@example.com", "--reason", "bounce")
    refused = {"fault": "http", "operation": "ListSuppressedDestinations", "status": 400, "code": "BadRequestException"}
    simulator.rules([refused | {"first_request": n, "last_request": n} for n in (2, 4)])
    assert "breaks off after 2 of its addresses" in said("push", "--yes", code=2)
    assert len(theirs(simulator)) == 6
    simulator.rules([refused | {"first_request": 2, "last_request": 2}])
    assert said("push", "--yes", "--output", "json") == {"put": 1, "refused": 0, "listed": 6}


def test_an_account_that_does_not_know_it_says_so(said: Any, simulator: SimulatorProcess) -> None:
    simulator.rules([{"fault": "http", "operation": "ListSuppressedDestinations", "status": 404, "code": "X"}])
    assert "ListSuppressedDestinations was refused" in said("sync", code=2)
