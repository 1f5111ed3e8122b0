"""Lists in S3, against a server that others wrote."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from bulksend.errors import ListError
from bulksend.recipients import ListFormat, Mapping, list_digest, take_snapshot
from tests.harness import Desk, settings_for
from tests.independent import Ministack

MAPPING = Mapping("email", None, {}, {}, dedupe=True)


@pytest.fixture
def form(ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> ListFormat:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    host = ministack.endpoint_url.removeprefix("http://")
    store = fs.S3FileSystem(endpoint_override=host, scheme="http", allow_bucket_creation=True)
    store.create_dir("lists")
    with store.open_output_stream("lists/a/list.csv.gz", compression=None) as out:
        out.write(gzip.compress(b"email;x\na@example.com;1\nb@example.com;2\n"))
    for name in ("p2", "p1"):
        table = pa.table({"email": [f"{name}@example.com"], "x": [1]})
        pq.write_table(table, f"lists/parts/{name}.parquet", filesystem=store)
    pq.write_table(table, "lists/more/p1.parquet", filesystem=store)
    for name in ("part-0", "_SUCCESS", "sub/p2.parquet"):
        with store.open_output_stream(f"lists/more/{name}") as out:
            out.write(b"x")
    return ListFormat(s3_endpoint_url=ministack.endpoint_url)


def test_files_and_folders(form: ListFormat, tmp_path: Path) -> None:
    for number, (url, rows) in enumerate(
        {
            "s3://lists/a/list.csv.gz": 2,
            "s3://lists/parts": 2,
            "s3://lists/parts/": 2,
            "s3://lists/parts/p1.parquet": 1,
        }.items()
    ):
        taken = take_snapshot(url, MAPPING, campaign_id=f"c{number}", folder=tmp_path, form=form)
        assert (taken.rows, taken.entries) == (rows, rows)
        assert taken.list_digest == list_digest(url, form)
    for url, words in (
        ("s3://lists/none.csv", "nothing of that name"),
        ("s3://no-such-bucket/list.csv", "nothing of that name"),
        ("s3://lists/a", "there is no"),
        ("s3://lists/more", "can be read: part-0, sub"),
    ):
        with pytest.raises(ListError, match=re.escape(words)) as caught:
            take_snapshot(url, MAPPING, campaign_id="c9", folder=tmp_path, form=form)
        assert url in str(caught.value)


CAMPAIGN = """\
name = "{{name}}"
[sender]
from = "news@example.com"
[content]
inline = {{{{ subject = "Hello", text = "Dear {{{{{{{{x}}}}}}}}" }}}}
[recipients]
path = "s3://lists/a/{file}"
"""


@pytest.mark.parametrize("said", ["in the settings", "in the environment", "in both"])
def test_where_the_lists_are_is_a_setting(
    form: ListFormat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    there, nowhere = str(form.s3_endpoint_url), "http://127.0.0.1:1"
    setting, variable = {
        "in the settings": (there, ""),
        "in the environment": (None, there),
        "in both": (there, nowhere),
    }[said]
    if variable is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", variable)
    settings = settings_for("http://127.0.0.1:9", **{"aws.s3_endpoint_url": setting})
    desk = Desk(tmp_path, "http://127.0.0.1:9")
    planned = desk.plan_file(CAMPAIGN.format(file="list.csv.gz"), settings=settings)
    assert planned.entries == 2
    assert desk.plan_file(CAMPAIGN.format(file="list.csv.gz"), settings=settings) == planned, (
        "it is compared there, too"
    )
    with pytest.raises(ListError, match="nothing of that name"):
        Desk(tmp_path, "", "other").plan_file(CAMPAIGN.format(file="none.csv"), settings=settings)


def test_nobody_there(tmp_path: Path, form: ListFormat) -> None:
    nowhere = ListFormat(s3_endpoint_url="http://127.0.0.1:1")
    assert nowhere != form
    with pytest.raises(ListError, match="NETWORK_CONNECTION"):
        take_snapshot("s3://lists/a/list.csv", MAPPING, campaign_id="c1", folder=tmp_path, form=nowhere)
