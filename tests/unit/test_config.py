"""Settings and campaign files: precedence, faults, and config.toml held against the model."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from datetime import date, datetime
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.config import (
    CampaignFile,
    Settings,
    frozen_keys,
    load_campaign,
    load_settings,
    load_template,
    read_attachments,
    template_toml,
)
from bulksend.config.attachments import MAX_ATTACHMENTS_BYTES
from bulksend.errors import ConfigError
from bulksend.schedule import Schedule, Window

CONFIG_TOML = Path(__file__).parents[2] / "config.toml"

CAMPAIGN = """
name = "2026-11-launch"
[sender]
from = "Example News <news@example.com>"
[content]
template = "launch"
[recipients]
path = "list.csv"
"""

FULL_CAMPAIGN = """
name = "2026-11-launch"
[sender]
from = "Example News <news@example.com>"
reply_to = ["help@example.com", "Desk <desk@example.com>"]
configuration_set = "marketing"
from_identity_arn = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"
feedback_address = "bounces@example.com"
feedback_identity_arn = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"
tenant = "shop"
endpoint_id = "abc12345.xyz"
[content]
inline = { subject = "Hello {{first_name}}", html = "<p>Hello</p>", text = "Hello" }
default_data = { plan = "free", nested = { list = [1, 2.5, true, "x"] } }
headers = { "X-Campaign" = "launch" }
tags = { campaign = "launch" }
attachments = [{ path = "terms.pdf" }]
[recipients]
path = "lists/list.csv"
delimiter = ";"
encoding = "latin-1"
address = "mail"
display_name = "full_name"
cc = "copy"
bcc = "archive"
data = ["first_name", "plan"]
tags = { segment = "s-{segment}-{plan}" }
headers = { "List-Unsubscribe" = "<https://example.com/u/{t}>", "List-Unsubscribe-Post" = "List-Unsubscribe=One-Click" }
dedupe = false
[policy]
in_doubt = "resend"
max_attempts = 7
[schedule]
priority = 2
not_before = 2026-12-01T09:00:00+01:00
window = "09:00-18:00 Europe/Paris"
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def campaign(text: str, **overrides: object) -> CampaignFile:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_campaign(write(Path("campaign.toml"), text), given)


def full_campaign() -> CampaignFile:
    Path("terms.pdf").write_bytes(b"%PDF-1.7 terms")
    return campaign(FULL_CAMPAIGN)


def campaign_fault(text: str, **overrides: object) -> str:
    with pytest.raises(ConfigError) as raised:
        campaign(text, **overrides)
    return raised.value.message


def settings_fault(text: str = "", environ: dict[str, str] | None = None, **overrides: object) -> str:
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    with pytest.raises(ConfigError) as raised:
        load_settings(write(Path("given.toml"), text), environ or {}, given)
    return raised.value.message


# Settings


def test_defaults_need_no_file() -> None:
    assert load_settings(None, {}, {}) == Settings()


def test_a_stronger_source_wins_and_leaves_the_other_keys_alone() -> None:
    path = write(
        Path("given.toml"), '[aws]\nregion = "eu-west-1"\nprofile = "file"\n[pacing]\nshare = 0.25\ndaily_reserve = 7\n'
    )
    environ = {"BULKSEND_AWS_REGION": "eu-west-2", "BULKSEND_PACING_SHARE": "0.5", "HOME": "/root"}
    settings = load_settings(path, environ, {"aws.region": "eu-west-3", "aws.profile": None})
    assert (settings.aws.region, settings.aws.profile) == ("eu-west-3", "file")
    assert (settings.pacing.share, settings.pacing.daily_reserve) == (0.5, 7)
    assert settings.engine == Settings().engine


def test_a_stronger_source_may_say_the_default() -> None:
    path = write(Path("given.toml"), "[pacing]\nshare = 0.25\n")
    assert load_settings(path, {"BULKSEND_PACING_SHARE": "1"}, {}).pacing.share == 1.0


def test_the_file_is_found_by_flag_then_variable_then_in_the_current_folder() -> None:
    write(Path("config.toml"), "[engine]\nmax_in_flight = 1\n")
    by_variable = {"BULKSEND_CONFIG": str(write(Path("variable.toml"), "[engine]\nmax_in_flight = 2\n"))}
    by_flag = write(Path("flag.toml"), "[engine]\nmax_in_flight = 3\n")
    assert load_settings(None, {}, {}).engine.max_in_flight == 1
    assert load_settings(None, by_variable, {}).engine.max_in_flight == 2
    assert load_settings(by_flag, by_variable, {}).engine.max_in_flight == 3


def test_variables_take_the_types_of_their_keys() -> None:
    environ = {
        "BULKSEND_TRANSPORT_CONNECT_TIMEOUT_S": "2.5",
        "BULKSEND_METRICS_PORT": "0",
        "BULKSEND_PACING_MAX_CALLS_PER_S": "12",
        "BULKSEND_AWS_PROFILE": "123",
        "BULKSEND_LOG_LEVEL": "",
    }
    settings = load_settings(None, environ, {})
    assert settings.transport.connect_timeout_s == 2.5
    assert settings.metrics.port == 0
    assert settings.pacing.max_calls_per_s == 12.0
    assert settings.aws.profile == "123"
    assert settings.log.level == "warning"


def test_a_store_is_relative_to_the_file_that_says_it(tmp_path: Path) -> None:
    path = write(tmp_path / "etc" / "bulksend.toml", 'store = "sqlite:journals"\n')
    assert load_settings(path, {}, {}).store == f"sqlite:{tmp_path}/etc/journals"
    assert load_settings(path, {"BULKSEND_STORE": "sqlite:here"}, {}).store == f"sqlite:{tmp_path}/here"
    assert load_settings(path, {}, {"store": "sqlite:/var/lib/x"}).store == "sqlite:/var/lib/x"


def test_every_fault_of_every_source_is_reported_at_once() -> None:
    message = settings_fault(
        '[pacing]\nshare = 0\nshar = 1\n[engine]\nmax_in_flight = true\n[log]\nlevel = "loud"\n[awz]\n',
        {"BULKSEND_METRICS_PORT": "http", "BULKSEND_LOG_LEVL": "info"},
        pacing__share=2,
        region="eu-west-1",
    )
    assert message.splitlines() == [
        "The configuration is not valid: 9 faults",
        "  given.toml: pacing.share must be greater than 0, not 0",
        "  given.toml: pacing.shar is not a known key; did you mean pacing.share?",
        "  given.toml: engine.max_in_flight must be a whole number, not true",
        "  given.toml: log.level must be 'debug', 'info', 'warning' or 'error', not 'loud'",
        "  given.toml: awz is not a known key; did you mean aws?",
        "  environment: BULKSEND_LOG_LEVL is not a known variable; did you mean BULKSEND_LOG_LEVEL?",
        "  environment: BULKSEND_METRICS_PORT must be a whole number, not 'http'",
        "  command line: pacing.share must be at most 1, not 2",
        "  command line: region is not a known key; did you mean aws.region?",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store = 1", "store must be text, not 1"),
        ("aws = 1", "aws must be a table, not 1"),
        ('aws = { region = "EU West" }', "aws.region must be the name of an AWS Region"),
        ('aws = { profile = "" }', "aws.profile must not be empty"),
        ("pacing = { share = 1.1 }", "pacing.share must be at most 1, not 1.1"),
        ("pacing = { share = nan }", "pacing.share must be a finite number, not nan"),
        ("pacing = { daily_reserve = -1 }", "pacing.daily_reserve must be at least 0, not -1"),
        ("pacing = { daily_reserve = 1.5 }", "pacing.daily_reserve must be a whole number, not 1.5"),
        ("pacing = { max_recipients_per_s = 0 }", "pacing.max_recipients_per_s must be greater than 0, not 0"),
        ("engine = { max_in_flight = 0 }", "engine.max_in_flight must be at least 1, not 0"),
        ("engine = { max_in_flight = 1001 }", "engine.max_in_flight must be at most 1000, not 1001"),
        ("metrics = { port = 65536 }", "metrics.port must be at most 65535, not 65536"),
        ("transport = { answer_timeout_s = 1979-05-27 }", "must be a number, not 1979-05-27 (a date)"),
        (
            "zzz = 1",
            "zzz is not a known key; known here: store, snapshots, aws, transport, pacing, engine, metrics, worker,",
        ),
    ],
)
def test_a_fault_in_a_setting(text: str, said: str) -> None:
    assert f"The configuration is not valid: given.toml: {said}" in settings_fault(text).replace(
        "given.toml: transport.answer_timeout_s ", "given.toml: "
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:", "'sqlite:PATH' or 'postgresql://HOST/DATABASE'"),
        ("journal.db", "'sqlite:PATH' or 'postgresql://HOST/DATABASE'"),
        ("mysql://me:hunter2@db/x", "'sqlite:PATH' or 'postgresql://HOST/DATABASE'"),
        (
            "postgresql://me:hunter2@db",
            "a URL such as 'postgresql://USER@HOST:5432/DATABASE'; what is special in it is",
        ),
        ("postgresql://me:hunter2@db:port/x", "a URL such as 'postgresql://USER@HOST:5432/DATABASE'; what is special"),
        ("postgresql://me:hunter 2@db/x", "a URL such as 'postgresql://USER@HOST:5432/DATABASE'; what is special in"),
    ],
)
def test_a_store_that_is_refused_is_not_shown(url: str, said: str) -> None:
    message = settings_fault(store=url)
    assert f"The configuration is not valid: command line: store must be {said}" in message
    assert "hunter" not in message


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2@db/x", "postgres://me@db:5432/x?password=hunter2&sslmode=require"]
)
def test_a_store_in_a_database_is_kept_and_shown_without_its_password(url: str) -> None:
    settings = load_settings(None, {}, {"store": url})
    assert settings.store == url
    assert "hunter" not in settings.model_dump_json()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com",
        "example.com:8080",
        "http://",
        "http://me:hunter2@example.com",
        "http://example.com/?a",
        "http://example.com:99999",
        "http://exa mple.com",
    ],
)
def test_an_endpoint_that_is_refused_is_not_shown(url: str) -> None:
    message = settings_fault(aws__endpoint_url=url)
    assert message.endswith(
        "aws.endpoint_url must be a URL such as 'http://127.0.0.1:8080', without user, query or fragment"
    )


def test_a_stray_config_toml_is_not_taken_for_the_persons_mistake() -> None:
    write(Path("config.toml"), 'baseURL = "https://example.com"\n')
    with pytest.raises(ConfigError) as raised:
        load_settings(None, {}, {})
    assert "--config" in raised.value.hint


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().pacing.share = 0.5  # type: ignore[misc]


# Files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[aws\n", "is not valid TOML: expected ']' at the end of a table declaration (at line 1, column 5)"),
        (b"a = 1\na = 2\n", "is not valid TOML: cannot overwrite a value (at line 2, column 6)"),
        (b"[aws]\n# caf\xe9\n", "is not UTF-8 text (at line 2)"),
        (b"a = " + b"[" * 100_000, "is not valid TOML: it is nested too deeply"),
        (b"#" * 9_000_000, "is larger than 8388608 bytes"),
    ],
)
def test_a_file_that_is_not_toml(content: bytes, said: str) -> None:
    Path("given.toml").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load_settings(Path("given.toml"), {}, {})
    assert raised.value.message == f"The configuration is not valid: given.toml: {said}"


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read: No such file or directory"):
        load_settings(Path("nowhere.toml"), {}, {})


def test_a_byte_order_mark_is_passed_over() -> None:
    Path("given.toml").write_bytes(b"\xef\xbb\xbf[engine]\r\nmax_in_flight = 9\r\n")
    assert load_settings(Path("given.toml"), {}, {}).engine.max_in_flight == 9


# config.toml against the model


def described(model: Any, key: str = "") -> Iterator[tuple[str, object, str]]:
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from described(field.annotation, f"{name}.")
        else:
            yield f"{key}{name}", field.default, " ".join((field.description or "").split())


def test_config_toml_holds_every_setting_with_its_default_and_its_meaning() -> None:
    section, comment, found = "", "", []
    for line in CONFIG_TOML.read_text(encoding="utf-8").splitlines():
        if re.match(r"#\w", line):
            ((name, value),) = tomllib.loads(line[1:]).items()
            unset = line.endswith("  # an example; not set by default")
            found.append((f"{section}{name}", None if unset else value, comment.strip()))
            comment = ""
        elif table := re.fullmatch(r"\[(\w+)\]", line):
            section, comment = f"{table[1]}.", ""
        else:
            comment = f"{comment} {line[2:]}" if line.startswith("# ") else ""
    assert found == list(described(Settings))


def test_config_toml_is_valid_as_it_is_and_with_every_key_set() -> None:
    assert load_settings(CONFIG_TOML, {}, {}) == Settings()
    text = re.sub(r"(?m)^#(?=\w)", "", CONFIG_TOML.read_text(encoding="utf-8"))
    assert load_settings(write(Path("set.toml"), text), {}, {}).aws.region == "eu-west-1"


# Campaign files


def test_the_smallest_campaign(tmp_path: Path) -> None:
    file = campaign(CAMPAIGN)
    assert file.path == tmp_path / "campaign.toml"
    assert file.recipients.path == tmp_path / "list.csv"
    assert (file.recipients.address, file.recipients.data, file.recipients.dedupe) == ("email", None, True)
    assert (file.policy.in_doubt, file.policy.max_attempts) == ("hold", 5)
    assert file.sender.from_address == "Example News <news@example.com>"
    assert file.schedule.as_schedule() == Schedule()


def test_a_campaign_with_everything(tmp_path: Path) -> None:
    file = load_campaign(write(tmp_path / "campaigns" / "c.toml", FULL_CAMPAIGN))
    assert file.recipients.path == tmp_path / "campaigns" / "lists" / "list.csv"
    assert file.sender.reply_to == ("help@example.com", "Desk <desk@example.com>")
    assert file.content.inline is not None
    assert file.content.inline.subject == "Hello {{first_name}}"
    assert file.content.default_data == {"plan": "free", "nested": {"list": [1, 2.5, True, "x"]}}
    assert file.recipients.data == ("first_name", "plan")
    assert file.recipients.tags == {"segment": "s-{segment}-{plan}"}
    assert file.policy.in_doubt == "resend"
    window = Window.parse("09:00-18:00 Europe/Paris")
    assert file.schedule.as_schedule() == Schedule(2.0, 1_796_112_000.0, window)
    assert file.sender.endpoint_id == "abc12345.xyz"
    assert (file.recipients.delimiter, file.recipients.encoding) == (";", "iso8859-1")
    assert (file.recipients.display_name, file.recipients.cc, file.recipients.bcc) == ("full_name", "copy", "archive")
    assert list(file.recipients.headers) == ["List-Unsubscribe", "List-Unsubscribe-Post"]
    assert file.content.attachments[0].path == tmp_path / "campaigns" / "terms.pdf"


@pytest.mark.parametrize(
    ("written", "kept"),
    [("s3://bucket/lists/list.csv", "s3://bucket/lists/list.csv"), ("lists", Path("lists").name), ("a.csv", "a.csv")],
)
def test_a_list_may_be_in_s3_and_may_be_a_folder(tmp_path: Path, written: str, kept: str) -> None:
    wanted: object = kept if "://" in kept else tmp_path / kept
    assert campaign(CAMPAIGN.replace("list.csv", written)).recipients.path == wanted
    assert campaign(CAMPAIGN, recipients__path=written).recipients.path == wanted


@pytest.mark.parametrize(
    ("written", "instant_s"),
    [
        ("2026-12-01T09:00:00+01:00", 1_796_112_000.0),
        ("2026-12-01T08:00:00Z", 1_796_112_000.0),
        ("2026-12-01 08:00:00.5Z", 1_796_112_000.5),
    ],
)
def test_a_start_may_be_a_date_time_or_text(written: str, instant_s: float) -> None:
    in_file = campaign(f"{CAMPAIGN}[schedule]\nnot_before = {written}\n").schedule
    as_text = campaign(CAMPAIGN, schedule__not_before=written).schedule
    assert in_file == as_text
    assert in_file.as_schedule() == Schedule(not_before=instant_s)


def test_flags_override_a_campaign_file(tmp_path: Path) -> None:
    path = write(tmp_path / "campaigns" / "c.toml", CAMPAIGN)
    overrides: dict[str, object] = {"sender.from": "a@example.com", "recipients.path": "other.csv", "name": None}
    file = load_campaign(path, overrides)
    assert file.name == "2026-11-launch"
    assert file.sender.from_address == "a@example.com"
    assert file.recipients.path == tmp_path / "other.csv"
    assert campaign_fault(CAMPAIGN, policy__max_attempts=0).endswith(
        "command line: policy.max_attempts must be at least 1, not 0"
    )


def test_every_fault_of_a_campaign_file_is_reported_at_once() -> None:
    message = campaign_fault(
        """
nme = "x"
path = "/tmp/x"
[sender]
reply_to = ["a@example.com", 3]
[content]
inline = { subject = "s" }
template = ""
default_data = { n = { x = [nan] }, big = 18446744073709551616 }
headers = { "X A" = "b", From = "x", OK = "\u00e9" }
tags = { "ses:x" = "a", ok = "a b" }
[recipents]
path = "list.csv"
[policy]
in_doubt = "ask"
"""
    )
    assert message.splitlines() == [
        "The configuration is not valid: 17 faults",
        *(
            f"  campaign.toml: {fault}"
            for fault in (
                "name is missing",
                "sender.from is missing",
                "sender.reply_to[2] must be text, not 3",
                "content.template must not be empty",
                "content.inline must have html, text or both",
                "content.default_data holds what JSON cannot: n.x[1] is not a finite number; big has more than 64 bits",
                "content.headers.X A is not a header's name: 1 to 126 printable ASCII characters, no colon",
                "content.headers.From is a header that SES writes itself and does not take from a campaign",
                "content.headers.OK must be 1 to 870 printable ASCII characters",
                "content.tags.ses:x is a tag that bulksend or SES sets: no name starts with bulksend- or ses:",
                "content.tags.ok must be 1 to 256 of the characters A-Z a-z 0-9 _ -",
                "recipients.path is missing",
                "policy.in_doubt must be 'hold' or 'resend', not 'ask'",
                "nme is not a known key; did you mean name?",
                "path is not a known key; did you mean recipients.path?",
                "recipents is not a known key; did you mean recipients?",
                "content must have exactly one of template, template_arn and inline; it has template and inline",
            )
        ),
    ]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("a@example.com", "a@example.com"),
        ("<a@example.com>", "a@example.com"),
        ("a@x.test", "a@x.test"),
        ("success@simulator.amazonses.com", "success@simulator.amazonses.com"),
        ("Doe, Jo <jo@example.com>", '"Doe, Jo" <jo@example.com>'),
        ('"Doe, \\"Jo\\"" <jo@example.com>', '"Doe, \\"Jo\\"" <jo@example.com>'),
        ("Caf\u00e9 <cafe@example.com>", "=?utf-8?b?Q2Fmw6k=?= <cafe@example.com>"),
        ("a@b\u00fccher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_a_sender_is_kept_as_it_goes_into_a_header(written: str, kept: str) -> None:
    assert campaign(CAMPAIGN, sender__from=written).sender.from_address == kept


@pytest.mark.parametrize(
    "written",
    [
        "news",
        "a@b",
        "a b@example.com",
        "\u00e9@example.com",
        "a@example.com\r\nBcc: b@example.com",
        "A\nB <a@example.com>",
        "A <a@example.com>\n",
        "A <a@example.com> B",
        "a@example.com, b@example.com",
        "",
    ],
)
def test_a_sender_that_is_refused(written: str) -> None:
    assert "command line: sender.from must " in campaign_fault(CAMPAIGN, sender__from=written)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("name", "a b", "name must be 1 to 64 of the characters A-Z a-z 0-9 . _ -"),
        ("name", "x" * 65, "name must be 1 to 64"),
        ("sender.feedback_address", "A <a@example.com>", "must be an address alone, without a name"),
        ("sender.configuration_set", "a.b", "must be 1 to 64 of the characters"),
        ("sender.tenant", "", "must be 1 to 64 of the characters"),
        ("content.default_data", "x", "content.default_data must be a table, not 'x'"),
        ("content.default_data", {"a": date(2026, 1, 1)}, "JSON cannot: a is a date; write it as text in quotes"),
        ("content.default_data", {"a": "x" * 262_144}, "must have at most 262144 characters as JSON"),
        ("content.headers", {f"X-{n}": "x" for n in range(16)}, "content.headers must hold at most 15"),
        ("content.headers", {"mime-VERSION": "x"}, "is a header that SES writes itself"),
        ("content.headers", {"X" * 127: "x"}, "is not a header's name"),
        ("content.headers", {"X": "x" * 871}, "must be 1 to 870 printable ASCII characters"),
        ("content.headers", {"X": "x\r\nBcc: a@example.com"}, "must be 1 to 870 printable ASCII characters"),
        ("content.tags", {"bulksend-row": "1"}, "is a tag that bulksend or SES sets"),
        ("recipients.tags", {"bulksend-row": "{x}"}, "is a tag that bulksend or SES sets"),
        ("recipients.tags", {"a": "{x"}, "recipients.tags.a must be text in which each column stands in braces"),
        ("recipients.tags", {"a": "{}"}, "recipients.tags.a must be text in which each column stands in braces"),
        ("recipients.data", "first_name", "recipients.data must be a list, not 'first_name'"),
        ("recipients.dedupe", "no", "recipients.dedupe must be true or false, not 'no'"),
        ("recipients.path", "s3://bucket", "recipients.path must be a path, or an S3 URL such as"),
        ("recipients.path", "https://example.com/list.csv", "recipients.path must be a path, or an S3 URL such as"),
        ("recipients.delimiter", ";;", "recipients.delimiter must be one ASCII character"),
        ("recipients.delimiter", '"', "recipients.delimiter must be one ASCII character"),
        ("recipients.encoding", "klingon", "recipients.encoding must be an encoding's name"),
        ("recipients.encoding", "rot13", "recipients.encoding must be an encoding's name"),
        ("recipients.cc", "", "recipients.cc must not be empty"),
        ("recipients.headers", {"Subject": "x"}, "recipients.headers.Subject is a header that SES writes itself"),
        ("recipients.headers", {"X": "{x"}, "recipients.headers.X must be text in which each column stands in braces"),
        ("recipients.headers", {"X": "\u00e9{x}"}, "recipients.headers.X must have printable ASCII characters around"),
        ("recipients.headers", {f"X-{n}": "{x}" for n in range(16)}, "recipients.headers must hold at most 15"),
        ("sender.endpoint_id", "-a", "sender.endpoint_id must be the id of a multi-region endpoint"),
        ("sender.endpoint_id", "a/b", "sender.endpoint_id must be the id of a multi-region endpoint"),
        ("content.attachments", "x", "content.attachments must be a list, not 'x'"),
        ("content.attachments", [{}], "content.attachments[1].path is missing"),
        ("content.attachments", [{"path": "a", "pat": "b"}], "attachments[1].pat is not a known key; did you mean con"),
        (
            "content.attachments",
            [{"path": "a", "file_name": "b/c"}],
            "file_name must be a file's name, without folders",
        ),
        ("content.attachments", [{"path": "a", "file_name": "b" * 256}], "file_name must have at most 255 characters"),
        ("content.attachments", [{"path": "a", "content_id": ""}], "content_id must not be empty"),
        ("content.attachments", [{"path": "a", "content_id": "b" * 79}], "content_id must have at most 78 characters"),
        ("content.attachments", [{"path": "a", "content_type": "b" * 79}], "content_type must have at most 78"),
        ("content.attachments", [{"path": "a", "content_type": "pdf"}], "content_type must be a MIME type"),
        ("content.headers", {"X-A": "<https://x/{token}>"}, "has {token} in it, which every mail would get as it"),
        ("content.headers", {"X-A": "1", "x-a": "2"}, "has X-A and x-a, which are one header"),
        ("recipients.headers", {"X-A": "{a}", "x-a": "{b}"}, "has X-A and x-a, which are one header"),
        ("sender.from", "A\x85 <a@example.com>", "must not hold line breaks or other control"),
        ("content.attachments", [{"path": "a", "description": "b" * 1001}], "description must have at most 1000"),
        ("content.attachments", [{"path": "a", "description": "b\r\nTo: c"}], "must not hold line breaks"),
        ("content.attachments", [{"path": "a", "disposition": "INLINE"}], "must be 'attachment' or 'inline'"),
        (
            "content.attachments",
            [{"path": "a", "transfer_encoding": "8bit"}],
            "must be 'base64', 'quoted_printable' or",
        ),
        ("policy.max_attempts", 101, "policy.max_attempts must be at most 100, not 101"),
        ("schedule.priority", 0, "schedule.priority must be greater than 0, not 0"),
        ("schedule.priority", 1001, "schedule.priority must be at most 1000, not 1001"),
        ("schedule.priority", True, "schedule.priority must be a number, not true"),
        ("schedule.not_before", "tomorrow", "schedule.not_before must be a date and time, such as 2026-12-01T09:00"),
        ("schedule.not_before", 1_796_112_000, "must be a date and time, such as 2026-12-01T09:00:00+01:00, not '179"),
        ("schedule.not_before", date(2026, 12, 1), "must be a date and time, such as 2026-12-01T09:00:00+01:00, not"),
        ("schedule.not_before", "2026-12-01T09:00", "schedule.not_before does not say on which clock: add the offset"),
        (
            "schedule.not_before",
            datetime.fromisoformat("2026-12-01"),
            "from UTC, as in 2026-12-01T00:00:00+01:00, or 2026-12-01T00",
        ),
        ("schedule.not_before", "9999-01-01T00:00Z", "schedule.not_before must be before the year 9999, not 9999"),
        ("schedule.window", "09:00-18:00", "schedule.window lacks the zone after its hours, as in '09:00-18:00 Eur"),
        ("schedule.window", "09:00-18:00 Pari", "schedule.window has an unknown time zone, 'Pari': did you mean Eur"),
        ("schedule.window", 9, "schedule.window must be text, not 9"),
        ("schedule.windows", "x", "schedule.windows is not a known key; did you mean schedule.window?"),
    ],
)
def test_a_fault_in_a_campaign(key: str, value: object, said: str) -> None:
    assert said in campaign_fault(CAMPAIGN, **{key: value})


@pytest.mark.parametrize("name", ["Bcc", "cc", "Content-Disposition", "Content-Type", "Date", "From", "Message-ID"])
def test_headers_that_ses_writes_itself(name: str) -> None:
    assert f"content.headers.{name} is a header that SES" in campaign_fault(CAMPAIGN, content__headers={name: "x"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it has none"),
        ('template = "a"\ntemplate_arn = "arn:a"', "it has template and template_arn"),
        ('template = 3\ninline = { subject = "s", text = "t" }', "it has template and inline"),
    ],
)
def test_exactly_one_kind_of_content(content: str, said: str) -> None:
    message = campaign_fault(CAMPAIGN.replace('template = "launch"', content))
    assert f"content must have exactly one of template, template_arn and inline; {said}" in message


def test_an_inline_template_is_at_most_a_megabyte() -> None:
    inline = {"subject": "s", "text": "\u00e9" * 2**19}
    said = "content.inline must have at most 1048576 bytes in all"
    assert said in campaign_fault(CAMPAIGN.replace('template = "launch"', ""), content__inline=inline)


# What is bound when a campaign is planned


def test_frozen_keys_are_all_but_name_path_policy_and_schedule() -> None:
    frozen = frozen_keys(full_campaign())
    assert frozen == {
        "sender.from": '"Example News <news@example.com>"',
        "sender.reply_to": '["help@example.com","Desk <desk@example.com>"]',
        "sender.configuration_set": '"marketing"',
        "sender.from_identity_arn": '"arn:aws:ses:eu-west-1:123456789012:identity/example.com"',
        "sender.feedback_address": '"bounces@example.com"',
        "sender.feedback_identity_arn": '"arn:aws:ses:eu-west-1:123456789012:identity/example.com"',
        "sender.tenant": '"shop"',
        "sender.endpoint_id": '"abc12345.xyz"',
        "content.inline.subject": '"Hello {{first_name}}"',
        "content.inline.html": '"<p>Hello</p>"',
        "content.inline.text": '"Hello"',
        "content.default_data.plan": '"free"',
        "content.default_data.nested.list": '[1,2.5,true,"x"]',
        "content.headers.X-Campaign": '"launch"',
        "content.tags.campaign": '"launch"',
        "content.attachments.1.sha256": f'"{hashlib.sha256(b"%PDF-1.7 terms").hexdigest()}"',
        "content.attachments.1.file_name": '"terms.pdf"',
        "content.attachments.1.content_type": '"application/pdf"',
        "recipients.delimiter": '";"',
        "recipients.encoding": '"iso8859-1"',
        "recipients.display_name": '"full_name"',
        "recipients.cc": '"copy"',
        "recipients.bcc": '"archive"',
        "recipients.headers.List-Unsubscribe": '"<https://example.com/u/{t}>"',
        "recipients.headers.List-Unsubscribe-Post": '"List-Unsubscribe=One-Click"',
        "recipients.address": '"mail"',
        "recipients.data": '["first_name","plan"]',
        "recipients.tags.segment": '"s-{segment}-{plan}"',
        "recipients.dedupe": "false",
    }


def test_frozen_keys_do_not_change_with_what_may_change() -> None:
    moved = CAMPAIGN.replace("2026-11-launch", "other").replace("list.csv", "b.csv") + "[policy]\nmax_attempts = 9\n"
    moved += '[schedule]\npriority = 9\nnot_before = 2026-12-01T09:00:00Z\nwindow = "09:00-18:00 UTC"\n'
    assert frozen_keys(campaign(moved)) == frozen_keys(campaign(CAMPAIGN))


def test_long_values_are_frozen_as_digests() -> None:
    def html(text: str) -> str:
        inline = {"subject": "s", "html": text}
        return frozen_keys(campaign(CAMPAIGN.replace('template = "launch"', ""), content__inline=inline))[
            "content.inline.html"
        ]

    assert html("a" * 5000).startswith("sha256:")
    assert len(html("a" * 5000)) < 100
    assert html("a" * 5000) != html("a" * 4999 + "b")


# Attachments


def attach(*files: str) -> CampaignFile:
    return campaign(CAMPAIGN, content__attachments=[{"path": file} for file in files])


def test_an_attachment_has_its_own_name_and_a_guessed_type() -> None:
    Path("terms.pdf").write_bytes(b"%PDF")
    Path("blob.zzz").write_bytes(b"\0\xff")
    file = attach("terms.pdf", "blob.zzz")
    read = read_attachments(file.content.attachments, file.path)
    assert [(one.file_name, one.content_type, one.content) for one in read] == [
        ("terms.pdf", "application/pdf", b"%PDF"),
        ("blob.zzz", "application/octet-stream", b"\0\xff"),
    ]


def test_a_long_name_is_several_encoded_words() -> None:
    file = campaign(CAMPAIGN, sender__from=f"{'Éxample News ' * 8} <news@example.com>")
    words, _, address = file.sender.from_address.rpartition(" ")
    assert address == "<news@example.com>"
    assert len(words.split()) > 1
    assert all(len(word) <= 75 for word in words.split())
    assert str(make_header(decode_header(words))) == ("Éxample News " * 8).strip()


def test_a_campaign_can_be_looked_at_without_its_attachments() -> None:
    assert attach("gone.pdf").content.attachments[0].path.name == "gone.pdf"


def test_every_attachment_that_cannot_be_read_is_named() -> None:
    file = attach("gone.pdf", ".")
    with pytest.raises(ConfigError) as raised:
        read_attachments(file.content.attachments, file.path)
    gone = Path("gone.pdf").absolute()
    assert raised.value.message.splitlines() == [
        "The configuration is not valid: 2 faults",
        f"  {file.path}: content.attachments[1].path cannot be read: {gone}: No such file or directory",
        f"  {file.path}: content.attachments[2].path cannot be read: {Path().absolute()}: Is a directory",
    ]


def test_what_a_compressed_attachment_is() -> None:
    for name, kind in (
        ("data.csv.gz", "application/gzip"),
        ("a.tar.bz2", "application/x-bzip2"),
        ("b.csv", "text/csv"),
    ):
        Path(name).write_bytes(b"x")
        file = attach(name)
        assert read_attachments(file.content.attachments, file.path)[0].content_type == kind


@pytest.mark.parametrize(
    ("attached", "content", "words"),
    [
        ({"path": "a\r\nb.pdf"}, b"x", "file_name is not set, and the file's own name must not hold line breaks"),
        ({"path": "a.bin", "transfer_encoding": "seven_bit"}, b"\xff", "cannot be seven_bit: a.bin has bytes"),
        ({"path": "a.bin", "transfer_encoding": "seven_bit"}, b"x" * 999, "lines of over 998 bytes"),
    ],
)
def test_an_attachment_that_would_not_arrive(attached: dict[str, str], content: bytes, words: str) -> None:
    Path(attached["path"]).write_bytes(content)
    file = campaign(CAMPAIGN, content__attachments=[attached])
    with pytest.raises(ConfigError, match=re.escape(words)):
        read_attachments(file.content.attachments, file.path)


def test_attachments_are_bounded_after_base64() -> None:
    Path("half.bin").write_bytes(b"x" * (MAX_ATTACHMENTS_BYTES // 2 // 78 * 57))  # lines of 76 and their ends
    file = attach("half.bin", "half.bin")
    assert len(read_attachments(file.content.attachments, file.path)) == 2
    Path("more.bin").write_bytes(b"x" * 100)
    file = attach("half.bin", "half.bin", "more.bin")
    with pytest.raises(ConfigError, match="must have at most 40,000,000 bytes in all after Base64"):
        read_attachments(file.content.attachments, file.path)


def test_a_changed_attachment_is_a_named_difference() -> None:
    Path("terms.pdf").write_bytes(b"one")
    before = frozen_keys(attach("terms.pdf"))
    Path("terms.pdf").write_bytes(b"two")
    after = frozen_keys(attach("terms.pdf"))
    assert {key for key in before if before[key] != after[key]} == {"content.attachments.1.sha256"}
    Path("moved").mkdir()
    Path("terms.pdf").rename("moved/terms.pdf")
    assert frozen_keys(attach("moved/terms.pdf")) == after


# Template files


def test_a_template_file_with_its_parts_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "t" / "launch.html", "<p>{{name}}</p>")
    path = write(
        tmp_path / "t" / "launch.toml", 'name = "launch"\nsubject = "S"\nhtml_file = "launch.html"\ntext = "T"\n'
    )
    file = load_template(path)
    assert (file.name, file.subject, file.html, file.text) == ("launch", "S", "<p>{{name}}</p>", "T")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nsubject = "S"', "must have html, text or both"),
        ('name = "a b"\nsubject = "S"\ntext = "T"', "name must be 1 to 64"),
        ('name = "a"\nsubject = ""\ntext = "T"', "subject must not be empty"),
        ('name = "a"\nsubject = "S"\ntxt = "T"', "txt is not a known key; did you mean text?"),
        ('name = "a"\nsubject = "S"\ntext = "T"\ntext_file = "given.toml"', "text is given twice"),
        ('name = "a"\nsubject = "S"\ntext_file = "gone.txt"', "text_file cannot be read"),
        (f'name = "a"\nsubject = "S"\ntext = "{"x" * 512_000}"', "must have at most 512,000 bytes in all"),
    ],
)
def test_a_fault_in_a_template_file(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_template(write(Path("given.toml"), text))
    assert said in raised.value.message


TEXT = st.text(st.characters(codec="utf-8"))


@given(TEXT.filter(bool), TEXT | st.none(), TEXT)
def test_a_template_survives_its_file(subject: str, html: str | None, text: str) -> None:
    path = Path("pulled.toml")
    path.write_bytes(template_toml("launch", subject, html, text).encode())
    file = load_template(path)
    assert (file.name, file.subject, file.html, file.text) == ("launch", subject, html, text)
