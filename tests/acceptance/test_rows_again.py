"""Rows that are sent again as a list of their own, and rows that never will be: results --format list, forget."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bulksend import worker
from bulksend.errors import JournalError
from bulksend.journal import SqliteJournal
from bulksend.simulator import SimulatorProcess
from bulksend.worker import Store
from tests.acceptance.test_cli import bulksend
from tests.harness import write_list

CAMPAIGN = """\
name = "launch"
[sender]
from = "Example News <news@example.com>"
[content]
inline = { subject = "Hello {{first_name}}", text = "Dear {{first_name}}" }
default_data = { first_name = "friend", places = 3 }
[recipients]
path = "list.csv"
address = "mail"
display_name = "who"
cc = "copy"
"""


@pytest.fixture(scope="module")
def _running() -> Iterator[SimulatorProcess]:
    with SimulatorProcess(latency_ms=1) as running:
        yield running


@pytest.fixture
def simulator(_running: SimulatorProcess) -> SimulatorProcess:
    _running.reset()
    _running.rules([])
    _running.settings(max_send_rate_per_s=2000)
    return _running


@pytest.fixture
def folder(in_folder: Path) -> Path:
    (in_folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    return in_folder


def write(path: Path, *rows: tuple[str, str, str, str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("mail", "who", "copy", "first_name"), *rows])


def entries_sent(simulator: SimulatorProcess) -> list[dict[str, dict[str, list[str]]]]:
    return [e for r in simulator.requests() for e in (r["body"] or {}).get("BulkEmailEntries", [])]


def facts_of(name: str = "launch") -> dict[str, object]:
    facts: dict[str, object] = json.loads(bulksend("status", name, "--output", "json").stdout)
    return facts


def files_with(folder: Path, text: str) -> list[str]:
    """Names of the store's files with this text in them, in whatever case; snapshots are looked at unpacked too."""
    wanted = text.lower().encode()
    found = []
    for path in (folder / ".bulksend").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += repr(pq.read_table(path).to_pydict()).encode()
            if wanted in content.lower():
                found.append(path.name)
    return found


def test_the_dead_are_sent_again_as_a_list_of_their_own(folder: Path, simulator: SimulatorProcess) -> None:
    write(
        folder / "list.csv",
        ("a@example.com", "", "", "Ann"),
        ("fault.message_rejected.1+b@example.com", 'Bée, "B"', "x@example.com;y@example.com", '=1+1, "said" \\ he\nb'),
        ("fault.message_rejected.1+c@example.com", "", "", "日本"),
        ("nobody", "", "", "Eve"),
    )
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    assert bulksend("results", "launch", "--format", "list", "--out", "again.csv").returncode == 0
    with (folder / "again.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {
            "mail": "fault.message_rejected.1+b@example.com",
            "who": 'Bée, "B"',
            "copy": "x@example.com, y@example.com",
            "places": "3",
            "first_name": '=1+1, "said" \\ he\nb',
        },
        {
            "mail": "fault.message_rejected.1+c@example.com",
            "who": "",
            "copy": "",
            "places": "3",
            "first_name": "日本",
        },
    ]
    again = CAMPAIGN.replace('"launch"', '"again"').replace("list.csv", "again.csv")
    (folder / "again.toml").write_text(again, "utf-8")
    sent = bulksend("send", "again.toml", "--yes", "--output", "json", url=simulator.url)
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["accepted"] == 2


def test_a_list_has_what_is_asked_for_and_never_what_was_skipped(folder: Path, simulator: SimulatorProcess) -> None:
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), ("nobody", "", "", "Eve"))
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    assert bulksend("results", "launch", "--format", "list").stdout == "mail,who,copy\n"
    accepted = bulksend("results", "launch", "--format", "list", "--state", "accepted").stdout
    assert accepted.splitlines()[1:] == ["a@example.com,,,3,Ann"]
    skipped = bulksend("results", "launch", "--format", "list", "--state", "skipped")
    assert skipped.returncode == 2
    assert "never became an entry" in skipped.stderr
    assert folder.is_dir()


def test_whoever_is_forgotten_is_never_sent_to(folder: Path, simulator: SimulatorProcess) -> None:
    write(
        folder / "list.csv",
        ("a@example.com", "", "", "Ann"),
        ("Bea.Person@Example.com", "Bea", "", "bea.person@example.com"),
        ("c@example.com", "", "bea.person@example.com", "Cid"),
        ("bea.person@example.com", "", "", "twice"),
        ("Bea <bea.person@example.com>", "", "", "no address"),
        ("xbea.person@example.com", "", "", "another person"),
    )
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    assert bulksend("forget", "BEA.person@EXAMPLE.com").returncode == 2, "nobody can be asked here"
    done = bulksend("forget", " BEA.person@EXAMPLE.com", "--yes", "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"campaigns": 1, "rows": 4, "never_sent": 1, "mentions": 0}
    assert len(list((folder / ".bulksend" / "snapshots").iterdir())) == 2
    sent = bulksend("send", "launch", "--yes", "--output", "json", url=simulator.url)
    assert sent.returncode == 3
    facts = json.loads(sent.stdout)
    assert (facts["accepted"], facts["dead"], facts["adds_up"], facts["state"]) == (3, 1, True, "finished")
    destinations = [entry["Destination"] for entry in entries_sent(simulator)]
    assert destinations == [{"ToAddresses": [f"{who}@example.com"]} for who in ("a", "c", "xbea.person")]
    results = bulksend("results", "launch").stdout
    assert "launch,2,forgotten,dead,FORGOTTEN,removed at the person's request" in results
    assert "bea.person" not in results.lower().replace("xbea.person", "")
    assert bulksend("retry", "launch").returncode == 0
    assert facts_of()["dead"] == 1, "its data is gone"
    assert bulksend("results", "launch", "--format", "list").stdout == "mail,who,copy\n"


def test_no_file_has_the_address_afterwards(folder: Path, simulator: SimulatorProcess) -> None:
    gone = "fault.message_rejected+bea@example.com"
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), (gone, "", "", "Bea"))
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    store = Store(folder / ".bulksend", SqliteJournal(folder / ".bulksend" / "journal.db"))
    with store.journal._deciding() as db:
        db.execute("UPDATE outcome SET exceptions = json_set(exceptions, '$[0][3]', 'no mail for ' || ?)", (gone,))
        db.execute(
            "INSERT INTO settlement (attempt_id, place, verdict, evidence, at) SELECT id, 1, 'drop', ?, 1 FROM attempt",
            (f"{gone.upper()} said so",),
        )
    files = files_with(folder, gone)
    assert any(name.startswith("journal") for name in files)
    assert any(name.endswith(".parquet") for name in files)
    before = facts_of()
    assert bulksend("forget", gone, "--yes").returncode == 0
    assert files_with(folder, gone) == []
    assert files_with(folder, "bea@") == []
    assert facts_of() == before
    (row,) = [r for r in worker.results(store, store.journal.campaign("launch")) if r.state == "dead"]
    assert (row.address, row.status, row.reason) == ("forgotten", "MESSAGE_REJECTED", "")


class KilledError(JournalError):
    """The process ended here"""


@pytest.mark.parametrize("moment", ["before the journal", "before the old file is removed"])
def test_a_crash_leaves_a_campaign_that_can_be_sent(
    folder: Path, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    write_list(folder / "list.csv", ["a@example.com", "bea@example.com"])
    plain = CAMPAIGN.replace('address = "mail"\ndisplay_name = "who"\ncc = "copy"\n', "")
    (folder / "campaign.toml").write_text(plain, "utf-8")
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    real = SqliteJournal.forget_entries

    def killed(*arguments: object, **more: object) -> int:
        if moment == "before the old file is removed":
            real(*arguments, **more)  # type: ignore[arg-type]
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(SqliteJournal, "forget_entries", killed)
        assert bulksend("forget", "bea@example.com", "--yes").returncode == 5
    assert len(list((folder / ".bulksend" / "snapshots").iterdir())) == 4, "old and new"
    assert len(bulksend("results", "launch").stdout.splitlines()) == 3, "one of them is the one that the journal names"
    assert bulksend("forget", "bea@example.com", "--yes").returncode == 0
    assert files_with(folder, "bea@example.com") == []
    assert len(list((folder / ".bulksend" / "snapshots").iterdir())) == 2
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 3
    assert (facts_of()["accepted"], facts_of()["dead"], facts_of()["adds_up"]) == (1, 1, True)
    assert [e["Destination"]["ToAddresses"] for e in entries_sent(simulator)] == [["a@example.com"]]


def test_nothing_is_forgotten_while_somebody_sends(folder: Path, simulator: SimulatorProcess) -> None:
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"))
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    with SqliteJournal(folder / ".bulksend" / "journal.db").sending():
        assert bulksend("forget", "a@example.com", "--yes").returncode == 6
    assert facts_of()["pending"] == 1
    assert bulksend("forget", " ", "--yes").returncode == 2
