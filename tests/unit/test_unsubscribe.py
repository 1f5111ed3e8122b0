"""One-click unsubscription: what a campaign file may say, tokens, headers, and what strangers may ask."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksend.admin import Unsubscribed, unsubscribe
from bulksend.config import UnsubscribeTable, load_campaign, load_settings
from bulksend.errors import CampaignUnknownError, ConfigError, JournalError
from bulksend.recipients import Mapping, SnapshotReader, take_snapshot
from bulksend.worker import Store
from bulksend.worker.one_click import (
    TOKEN_CHARACTERS,
    Mail,
    UnsubscribeKeys,
    keys_to_check,
    keys_to_sign,
    one_click,
)
from tests.office_in_memory import TokensInMemory, public_face_in_thread

CAMPAIGN = """\
name = "c"
[sender]
from = "news@example.com"
[content]
template = "t"
[recipients]
path = "list.csv"
"""
IDS = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26)
ROWS = st.integers(1, 2**48 - 1)
KEYS = UnsubscribeKeys([secrets.token_bytes(32)])
ID = "0123456789abcdefghjkmnpqrs"


def tokens(keys: UnsubscribeKeys, campaign_id: str, rows: list[int]) -> list[str]:
    text = keys.tokens(campaign_id, rows).decode()
    return [text[start : start + TOKEN_CHARACTERS] for start in range(0, len(text), TOKEN_CHARACTERS)]


def load(folder: Path, more: str, **overrides: object) -> UnsubscribeTable | None:
    (folder / "c.toml").write_text(CAMPAIGN + more, "utf-8")
    return load_campaign(folder / "c.toml", overrides).unsubscribe


def test_a_url_and_an_address(tmp_path: Path) -> None:
    assert load(tmp_path, "") is None
    table = load(tmp_path, '[unsubscribe]\nurl = "https://example.com/u/{token}?a=1"\nmailto = "a+b@example.com"\n')
    assert table is not None
    made = one_click(table, KEYS, ID)
    assert made.before == "<https://example.com/u/"
    assert made.after == "?a=1>, <mailto:a+b@example.com?subject=unsubscribe>"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.com/u/{token}", "https://"),
        ("https://example.com/u/", "exactly once"),
        ("https://example.com/{token}/{token}", "exactly once"),
        ("https://example.com/{row}/{token}", "no other braces"),
        ("https://{token}.example.com/", "in its path or query"),
        ("https://example.com/#{token}", "plain ASCII"),
        ("https://ann:secret@example.com/{token}", "without user"),
        ("https:///u/{token}", "with a host"),
        ("https://example.com/u/{token}> , <x", "plain ASCII"),
        ("https://example.com/u/{token}\\r\\nBcc: x", "plain ASCII"),
        ('https://example.com/u/{token}\\"', "plain ASCII"),
        ("https://example.com/ü/{token}", "plain ASCII"),
        ("https://example.com/" + "x" * 800 + "{token}", "plain ASCII"),
    ],
)
def test_what_is_no_url_of_ours(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"unsubscribe\.url") as refused:
        load(tmp_path, f'[unsubscribe]\nurl = "{url}"\n')
    assert said in refused.value.message


def test_its_headers_are_not_the_campaign_s_own(tmp_path: Path) -> None:
    own = (
        '[unsubscribe]\nurl = "https://example.com/u/{token}"\n[recipients.headers]\nlist-unsubscribe = "<x>"\n'
        '[content.headers]\nList-Unsubscribe-Post = "List-Unsubscribe=One-Click"\n'
    )
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, own)
    assert "recipients.headers.list-unsubscribe is a header that [unsubscribe] sets" in refused.value.message
    assert "content.headers.List-Unsubscribe-Post is a header that [unsubscribe] sets" in refused.value.message
    many = "".join(f'X-{n} = "x"\n' for n in range(14))
    with pytest.raises(ConfigError, match="at most 13 headers beside"):
        load(tmp_path, f'[unsubscribe]\nurl = "https://example.com/u/{{token}}"\n[recipients.headers]\n{many}')


@given(IDS, st.lists(ROWS, max_size=5))
def test_a_token_says_which_mail_it_was_and_is_of_one_length(campaign_id: str, rows: list[int]) -> None:
    made = tokens(KEYS, campaign_id, rows)
    assert [KEYS.read(token) for token in made] == [Mail(campaign_id, row) for row in rows]
    assert all(len(token) == TOKEN_CHARACTERS and token.replace("-", "").replace("_", "").isalnum() for token in made)


@given(IDS, ROWS, st.integers(0, 41), st.integers(1, 255))
def test_a_token_that_differs_in_one_byte_is_none(campaign_id: str, row: int, place: int, other: int) -> None:
    (token,) = tokens(KEYS, campaign_id, [row])
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[place] ^= other
    assert KEYS.read(base64.urlsafe_b64encode(raw).decode()) is None
    assert KEYS.read(token) is not None


@given(st.text(max_size=80))
def test_what_is_no_token_is_none(text: str) -> None:
    assert KEYS.read(text) is None


@given(IDS, ROWS)
def test_one_mail_has_one_token(campaign_id: str, row: int) -> None:
    (token,) = tokens(KEYS, campaign_id, [row])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [end for end in alphabet if KEYS.read(token[:-1] + end)] == [token[-1]]


def test_old_tokens_stay_good_with_a_new_key(tmp_path: Path) -> None:
    store = Store.at(tmp_path / "store")
    file = tmp_path / "keys"
    settings = load_settings(None, {}, {"unsubscribe.key_file": str(file)})
    file.write_text(f"# the first\n{secrets.token_hex(32)}\n", "utf-8")
    file.chmod(0o600)
    (old,) = tokens(keys_to_sign(settings, store), ID, [7])
    with file.open("a") as more:
        more.writelines(f"{secrets.token_hex(48)}\n" for _ in range(300))  # so that some share an id
    keys = keys_to_sign(settings, store)
    (new,) = tokens(keys, ID, [7])
    assert new != old
    checking = keys_to_check(settings, store)
    assert checking is not None
    assert checking.read(old) == checking.read(new) == Mail(ID, 7)
    file.write_text(f"{secrets.token_hex(32)}\n", "utf-8")
    assert keys_to_sign(settings, store).read(old) is None


def test_a_store_s_own_key_is_made_once_and_private(tmp_path: Path) -> None:
    store, settings = Store.at(tmp_path / "store"), load_settings(None, {}, {})
    assert keys_to_check(settings, store) is None
    (token,) = tokens(keys_to_sign(settings, store), ID, [1])
    assert tokens(keys_to_sign(settings, store), ID, [1]) == [token]
    checking = keys_to_check(settings, store)
    assert checking is not None
    assert checking.read(token) == Mail(ID, 1)
    assert (store.folder / "unsubscribe.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".unsub")] == []


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("", 0o600, "has no key in it"),
        ("00" * 31, 0o600, "line 1: is no key"),
        ("00" * 32 + "\nsecret", 0o600, "line 2: is no key"),
        ("00" * 32, 0o644, "can be read or written by others"),
        ("00" * 40_000, 0o600, "is larger than"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_a_key_file_that_is_none(tmp_path: Path, text: str | None, mode: int, said: str) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text, "utf-8")
        file.chmod(mode)
    settings = load_settings(None, {}, {"unsubscribe.key_file": str(file)})
    with pytest.raises(ConfigError, match=said) as refused:
        keys_to_sign(settings, Store.at(tmp_path / "store"))
    assert "secret" not in refused.value.message


def test_the_two_headers_stand_first_and_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("email,x\na@example.com,1\nnobody,2\nb@example.com,3\n", "utf-8")
    table = UnsubscribeTable(url="https://example.com/u/{token}")
    mapping = Mapping(
        address="email",
        data=None,
        default_data={},
        tags={},
        dedupe=True,
        headers={"X-A": "{x}", "X-B": "b"},
        one_click=one_click(table, KEYS, ID),
    )
    taken = take_snapshot(tmp_path / "list.csv", mapping, campaign_id=ID, folder=tmp_path / "s")
    with SnapshotReader(taken.path, size_bytes=taken.size_bytes, sha256=taken.sha256) as reader:
        entries = json.loads(b"[" + bytes(reader.chunk(0).entries)[:-1] + b"]")
    for entry, row, x in zip(entries, (1, 3), "13", strict=True):
        names = [header["Name"] for header in entry["ReplacementHeaders"]]
        assert names == ["List-Unsubscribe", "List-Unsubscribe-Post", "X-A", "X-B"]
        values = [header["Value"] for header in entry["ReplacementHeaders"]]
        assert values[1:] == ["List-Unsubscribe=One-Click", x, "b"]
        assert values[0].startswith("<https://example.com/u/")
        assert KEYS.read(values[0].removeprefix("<https://example.com/u/").removesuffix(">")) == Mail(ID, row)


# What strangers may ask -----------------------------------------------------------------------------------------------

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": 'multipart/form-data; boundary="b"'}
PARTS = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
ONE_CLICK = b"List-Unsubscribe=One-Click"


def test_looking_changes_nothing_and_posting_unsubscribes() -> None:
    office = TokensInMemory({"good": Unsubscribed.DONE, "old": Unsubscribed.NOBODY_KNOWN})
    with public_face_in_thread(office=office) as face:
        page = face.ask("GET", "/u/good")
        assert page.status == 200
        assert '<form method="post">' in page.body.decode()
        assert "Press the button to get no more mail of this sender's lists." in page.body.decode()
        assert "You will" not in page.body.decode(), "nobody is told that it is done before it is"
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "set-cookie" not in page.headers
        assert "<script" not in page.body.decode()
        assert face.ask("HEAD", "/u/good").status == 200
        assert office.unsubscribed == []
        for headers, body in ((FORM, ONE_CLICK), (MULTIPART, PARTS), (FORM, ONE_CLICK + b"\r\n")):
            done = face.ask("POST", "/u/good", body, headers)
            assert (done.status, "You are unsubscribed" in done.body.decode()) == (200, True)
        assert office.unsubscribed == ["good"] * 3
        gone = face.ask("POST", "/u/old", ONE_CLICK, FORM)
        assert (gone.status, "Nothing is left to unsubscribe" in gone.body.decode()) == (200, True)
        assert face.faults == []


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 404),
        ("GET", "/u/bad", None, {}, 404),
        ("POST", "/u/bad", ONE_CLICK, FORM, 404),
        ("GET", "/u/good/more", None, {}, 404),
        ("GET", "/v/good", None, {}, 404),
        ("GET", "/metrics", None, {}, 404),
        ("PUT", "/u/good", ONE_CLICK, FORM, 405),
        ("DELETE", "/u/good", None, {}, 405),
        ("POST", "/u/good", b"", FORM, 400),
        ("POST", "/u/good", b"List-Unsubscribe=No", FORM, 400),
        ("POST", "/u/good", b"\xff\xfe", FORM, 400),
        ("POST", "/u/good", b"&".join([b"a=1"] * 9 + [ONE_CLICK]), FORM, 400),
        ("POST", "/u/good", PARTS.replace(b"One-Click", b"No"), MULTIPART, 400),
        ("POST", "/u/good", PARTS, {"Content-Type": "multipart/form-data"}, 400),
        ("POST", "/u/good", ONE_CLICK, {"Content-Type": "text/plain"}, 415),
        ("POST", "/u/good", ONE_CLICK, {}, 415),
        ("POST", "/u/good", ONE_CLICK, FORM | {"Content-Encoding": "gzip"}, 415),
        ("POST", "/u/good", b"x" * 5000, FORM, 413),
    ],
)
def test_all_else_is_refused(method: str, path: str, body: bytes | None, headers: dict[str, str], status: int) -> None:
    office = TokensInMemory({"good": Unsubscribed.DONE})
    with public_face_in_thread(office=office) as face:
        assert face.ask(method, path, body, headers).status == status
        assert office.unsubscribed == []
        assert face.faults == []


def test_who_follows_a_broken_link_gets_a_page() -> None:
    with public_face_in_thread(office=TokensInMemory({"good": Unsubscribed.DONE})) as face:
        for path in ("/u/bad", "/", "/u/good/more"):
            page = face.ask("GET", path)
            assert (page.status, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
            assert "<h1>There is nothing here</h1><p>If a link in a mail led you here" in page.body.decode()
            assert "default-src 'none'" in page.headers["content-security-policy"]
        wrong = face.ask("PUT", "/u/good", ONE_CLICK, FORM)
        assert (wrong.headers["content-type"], wrong.headers["allow"]) == (
            "text/html; charset=utf-8",
            "GET, HEAD, POST",
        )


def test_a_store_that_is_away_is_told_to_come_again_later() -> None:
    failures = {"good": JournalError("secret"), "odd": ValueError("secret"), "lost": CampaignUnknownError("secret")}
    with public_face_in_thread(office=TokensInMemory(failures)) as face:
        for token in failures:
            answer = face.ask("POST", f"/u/{token}", ONE_CLICK, FORM)
            assert (answer.status, answer.headers["retry-after"]) == (503, "600")
            assert "secret" not in answer.body.decode()
        assert face.faults == [
            ("JournalError", "unsubscribe"),
            ("ValueError", "unsubscribe"),
            ("CampaignUnknownError", "unsubscribe"),
        ]


def test_more_than_anybody_needs_is_put_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsubscribe, "BURST", 3.0)
    monkeypatch.setattr(unsubscribe, "PER_S", 0.0)
    with public_face_in_thread(office=TokensInMemory({"good": Unsubscribed.DONE})) as face:
        # What has no token takes nothing from those who have one.
        assert [face.ask("GET", f"/u/{token}").status for token in ("bad", "bad", "bad", "good", "good")] == [
            *(404, 404, 404),
            *(200, 200),
        ]
        assert [face.ask("GET", f"/u/{token}").status for token in ("good", "good")] == [200, 503]
