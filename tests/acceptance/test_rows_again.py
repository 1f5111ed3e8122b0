"""Rows that are sent again as a list of their own, and rows that never will be: results --format list, forget."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulksend import worker
from bulksend.errors import JournalError
from bulksend.journal import SqliteJournal
from bulksend.model import Policy
from bulksend.safety import Safety
from bulksend.schedule import Schedule
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
            "first_name": '=1+1, "said" \\ he\nb',
        },
        {
            "mail": "fault.message_rejected.1+c@example.com",
            "who": "",
            "copy": "",
            "first_name": "日本",
        },
    ]
    again = CAMPAIGN.replace('"launch"', '"again"').replace("list.csv", "again.csv")
    (folder / "again.toml").write_text(again, "utf-8")
    sent = bulksend("send", "again.toml", "--yes", "--output", "json", url=simulator.url)
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["accepted"] == 2


TYPED = """\
name = "NAME"
[sender]
from = "news@example.com"
[content]
inline = { subject = "Hello {{first}}", text = "{{seen}}" }
default_data = { first = "friend", seen = "never", plan = { free = true } }
tags = { fixed = "x" }
[recipients]
path = "PATH"
display_name = "who"
cc = "copy"
data = ["first", "price", "seen", "more", "email"]
dedupe = false
tags = { segment = "{segment}-{number}", to = "{email}" }
headers = { "List-Unsubscribe" = "<https://example.com/u/{token}>", "X-Name" = "n {number}" }
"""


def entries_of(folder: Path, name: str) -> list[str]:
    """The campaign's entries, as they are in the snapshot, but for what says which campaign and row they are of."""
    store = Store.at(folder / ".bulksend")
    campaign = store.journal.campaign(name)
    table = pq.read_table(store.snapshot_of(campaign))
    made: Any = zip(table["row"].to_pylist(), table["entry"].to_pylist(), strict=True)
    return [
        entry.decode().replace(campaign.id, "ID").replace(f'"bulksend-row","Value":"{row}"', '"bulksend-row"')
        for row, entry in made
    ]


def test_a_typed_list_comes_back_as_it_was(folder: Path, simulator: SimulatorProcess) -> None:
    emails = ["fault.message_rejected.1+a@example.com", " Fault.MESSAGE_rejected.1+b@EXAMPLE.com ", "c@example.com"]
    who = pa.array(["=?utf-8?q?x?=", "Zoë", None])
    prices = pa.array([Decimal("19.90"), None, Decimal("1.00")], pa.decimal128(6, 2))
    columns: dict[str, Any] = {
        "email": emails,
        "who": who,
        "copy": ["x@example.com;Y@example.com", None, ""],
        "first": ["a\r\nb", None, ""],
        "price": prices,
        "seen": pa.array([dt.datetime(2026, 1, 2, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")),
        "more": pa.array([{"n": [1.5, None]}, {"n": []}, None]),
        "segment": ["ä ö", None, ""],
        "number": pa.array([7, None, 8], pa.int16()),
        "token": ["t1", "t2", "t3"],
    }
    pq.write_table(pa.table(columns), folder / "list.parquet")
    (folder / "one.toml").write_text(TYPED.replace("NAME", "one").replace("PATH", "list.parquet"), "utf-8")
    planned = bulksend("plan", "one.toml", url=simulator.url)
    assert planned.returncode == 0, planned.stderr
    assert bulksend("cancel", "one", "--yes").returncode == 0
    refused = bulksend("results", "one", "--format", "list")
    assert refused.returncode == 2
    assert "which CSV cannot hold" in refused.stderr
    assert bulksend("results", "one", "--format", "list", "--out", "again.parquet").returncode == 0
    (folder / "two.toml").write_text(TYPED.replace("NAME", "two").replace("PATH", "again.parquet"), "utf-8")
    again = bulksend("plan", "two.toml", "--again", url=simulator.url)
    assert again.returncode == 0, again.stderr
    assert entries_of(folder, "two") == entries_of(folder, "one")
    assert len(entries_of(folder, "one")) == 3


def test_a_list_of_text_comes_back_as_it_was(folder: Path, simulator: SimulatorProcess) -> None:
    header = ["email", "who", "copy", "first", "price", "seen", "more", "segment", "number", "token", "a,b"]
    rows = [
        ["a@example.com", "=?utf-8?q?x?=", "x@example.com ,Y@example.com", "a\rb", "19.90", "", "", "é", "", "t1", ""],
        [" B@EXAMPLE.com", 'Zoë "Z"', "", 'say ""hi"";', "null", "{}", "", "", "a;b", "t2", "x"],
    ]
    with (folder / "list.csv").open("w", encoding="cp1252", newline="") as file:
        csv.writer(file, delimiter=";", quoting=csv.QUOTE_ALL).writerows([header, *rows])
    text = TYPED.replace("dedupe", 'delimiter = ";"\nencoding = "cp1252"\ndedupe')
    (folder / "one.toml").write_text(text.replace("NAME", "one").replace("PATH", "list.csv"), "utf-8")
    planned = bulksend("plan", "one.toml", url=simulator.url)
    assert planned.returncode == 0, planned.stderr
    assert bulksend("cancel", "one", "--yes").returncode == 0
    assert bulksend("results", "one", "--format", "list", "--out", "again.csv").returncode == 0
    (folder / "two.toml").write_text(text.replace("NAME", "two").replace("PATH", "again.csv"), "utf-8")
    again = bulksend("plan", "two.toml", "--again", url=simulator.url)
    assert again.returncode == 0, again.stderr
    assert entries_of(folder, "two") == entries_of(folder, "one")
    assert len(entries_of(folder, "one")) == 2


def test_what_was_dropped_out_of_doubt_is_given_only_by_its_status(folder: Path, simulator: SimulatorProcess) -> None:
    write(
        folder / "list.csv",
        ("fault.message_rejected.1+a@example.com", "", "", "Ann"),
        ("fault.close_after_accepting.1+b@example.com", "", "", "Bob"),
    )
    (folder / "config.toml").write_text("[pacing]\nmax_recipients_per_s = 1\n", "utf-8")
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 4
    assert bulksend("resolve", "launch", "--drop").returncode == 0
    assert facts_of()["dead"] == 2
    for asked in ([], ["--state", "dead"]):
        listed = bulksend("results", "launch", "--format", "list", *asked)
        assert [line[-3:] for line in listed.stdout.splitlines()[1:]] == ["Ann"]
        assert "before they were dropped: 1" in listed.stderr
    listed = bulksend("results", "launch", "--format", "list", "--status", "DROPPED")
    assert [line[-3:] for line in listed.stdout.splitlines()[1:]] == ["Bob"]
    assert len(bulksend("results", "launch", "--status", "DROPPED").stdout.splitlines()) == 2


def test_a_list_has_what_is_asked_for_and_never_what_was_skipped(folder: Path, simulator: SimulatorProcess) -> None:
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), ("nobody", "", "", "Eve"))
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 0
    assert bulksend("results", "launch", "--format", "list").stdout == "mail,who,copy,first_name\n"
    accepted = bulksend("results", "launch", "--format", "list", "--state", "accepted").stdout
    assert accepted.splitlines()[1:] == ["a@example.com,,,Ann"]
    skipped = bulksend("results", "launch", "--format", "list", "--state", "skipped")
    assert skipped.returncode == 2
    assert "never became an entry" in skipped.stderr
    assert folder.is_dir()


def test_what_a_campaign_sends_itself_is_not_given(folder: Path, simulator: SimulatorProcess) -> None:
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), ("b@example.com", "", "", "Bob"))
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    listed = bulksend("results", "launch", "--format", "list")
    assert (listed.returncode, listed.stdout) == (0, "mail,who,copy,first_name\n")
    assert "2 pending rows are not in the list: launch is planned, and sends them itself." in listed.stderr
    for states in (("pending",), ("dead", "pending")):
        asked = [word for state in states for word in ("--state", state)]
        refused = bulksend("results", "launch", "--format", "list", "--out", "l.csv", *asked)
        assert refused.returncode == 2
        assert "sends them itself" in refused.stderr
        assert "bulksend cancel launch" in refused.stderr
    assert [path.name for path in folder.iterdir() if path.name.startswith(("l.csv", ".l.csv"))] == []
    assert bulksend("cancel", "launch", "--yes").returncode == 0
    for asked in ([], ["--state", "pending"]):
        given = bulksend("results", "launch", "--format", "list", *asked).stdout
        assert given.splitlines()[1:] == ["a@example.com,,,Ann", "b@example.com,,,Bob"]
    skipped = bulksend("results", "launch", "--format", "list", "--state", "skipped")
    assert "--state pending" in skipped.stderr


def test_what_is_in_doubt_is_given_only_if_asked_for(folder: Path, simulator: SimulatorProcess) -> None:
    write(
        folder / "list.csv",
        ("a@example.com", "", "", "Ann"),
        ("fault.close_after_accepting.1+b@example.com", "", "", "Bob"),
    )
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 4
    listed = bulksend("results", "launch", "--format", "list")
    assert listed.stdout == "mail,who,copy,first_name\n"
    assert "2 rows in doubt are not in the list" in listed.stderr
    asked = bulksend("results", "launch", "--format", "list", "--state", "in_doubt")
    assert len(asked.stdout.splitlines()) == 3
    assert "a second time" in asked.stderr
    assert bulksend("results", "launch", "--format", "list", "--state", "in_flight").returncode == 2


@pytest.mark.parametrize(
    ("state", "asked", "words"), [("paused", "in_doubt", "by its policy"), ("sending", "dead", "a halt may")]
)
def test_what_a_campaign_may_still_take_up_is_not_given(
    folder: Path, simulator: SimulatorProcess, state: str, asked: str, words: str
) -> None:
    write(folder / "list.csv", ("fault.close_after_accepting.1+b@example.com", "", "", "Bob"))
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 4
    store = Store.at(folder / ".bulksend")
    store.journal.set_terms(store.journal.campaign("launch"), Policy(resend_in_doubt=True), Schedule(), Safety())
    with store.journal.deciding() as db:
        db.execute("UPDATE campaign SET state = ?", (state,))
    refused = bulksend("results", "launch", "--format", "list", "--state", asked)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert bulksend("results", "launch", "--format", "list", "--state", "accepted").returncode == 0


def test_a_copy_that_is_forgotten_is_not_counted_any_more(folder: Path, simulator: SimulatorProcess) -> None:
    write(
        folder / "list.csv",
        ("a@example.com", "", "bea@example.com; c@example.com; Bea@example.com", "Ann"),
        ("d@example.com", "", "bea@example.com", "Dan"),
    )
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    assert bulksend("forget", "bea@example.com", "--yes").returncode == 0
    assert bulksend("send", "launch", "--yes", url=simulator.url).returncode == 0
    addresses = sum(len(kind) for entry in entries_sent(simulator) for kind in entry["Destination"].values())
    store = Store.at(folder / ".bulksend")
    binding = store.journal.campaign("launch").binding
    ((_, counted),) = store.journal.sent_by_minute(binding.account, binding.region, 0.0)
    assert counted == addresses == 3


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
    assert json.loads(done.stdout) == {
        "campaigns": 1,
        "rows": 4,
        "never_sent": 1,
        "mentions": 0,
        "pruned": 0,
        "events": 0,
    }
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
    listed = bulksend("results", "launch", "--format", "list")
    assert listed.stdout == "mail,who,copy,first_name\n"
    assert "not in the list, as they were removed by bulksend forget: 1" in listed.stderr


def test_no_file_has_the_address_afterwards(folder: Path, simulator: SimulatorProcess) -> None:
    gone = "fault.message_rejected+bea@example.com"
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), (gone, "", "", "Bea"))
    assert bulksend("send", "campaign.toml", "--yes", url=simulator.url).returncode == 3
    store = Store.at(folder / ".bulksend")
    with store.journal.deciding() as db:
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


def test_cells_that_are_kept_for_a_list_are_forgotten_too(folder: Path, simulator: SimulatorProcess) -> None:
    write(folder / "list.csv", ("a@example.com", "", "", "Ann"), ("wilma@example.com", "Wilma Person", "", "Wilma"))
    text = CAMPAIGN + 'data = ["first_name"]\ntags = { to = "{mail}" }\n'
    (folder / "campaign.toml").write_text(text, "utf-8")
    assert bulksend("plan", "campaign.toml", url=simulator.url).returncode == 0
    assert files_with(folder, "wilma person")
    assert bulksend("forget", "wilma@example.com", "--yes").returncode == 0
    assert files_with(folder, "wilma") == []  # no name that could stand in a digest


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
