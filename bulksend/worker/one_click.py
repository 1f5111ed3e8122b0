"""The tokens of one-click unsubscription: which mail it was, and nothing about whom it went to.

A token is base64url of: the key's id (1 byte), the campaign's id (17), the row (6), and the first 18 bytes of the
HMAC-SHA256 of these (RFC 2104: at least half the hash's length). That is a multiple of three: nothing is padded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bulksend.config import Settings, UnsubscribeTable
from bulksend.errors import ConfigError
from bulksend.journal import SqliteJournal
from bulksend.recipients import OneClick
from bulksend.worker.store import Store

__all__ = ["LINKS", "Mail", "UnsubscribeKeys", "keys_to_check", "keys_to_sign", "one_click"]

LINKS = "unsubscribe.url"
"""Frozen with a campaign whose mails have links."""
OWN_KEY = "unsubscribe.key"
"""Beside the journal in SQLite, where the settings name no file."""
MAX_KEY_FILE_BYTES = 64 * 1024
CAMPAIGN_BYTES = 17
ROW_BYTES = 6
MAC_BYTES = 18
TOKEN_CHARACTERS = (1 + CAMPAIGN_BYTES + ROW_BYTES + MAC_BYTES) // 3 * 4
ID_LENGTH = 26
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS = {character: place for place, character in enumerate(_ID_ALPHABET)}
_KEY = re.compile(r"(?:[0-9a-fA-F]{2}){32,}")
MAKE_ONE = "A key is a line of at least 64 hexadecimal digits: openssl rand -hex 32."


@dataclass(frozen=True, slots=True)
class Mail:
    """What a token says: the row of a campaign, by the campaign's id."""

    campaign_id: str
    row: int


class UnsubscribeKeys:
    """The keys of tokens, oldest first: the last signs, all are good for checking.

    Whoever adds a new one at the end of the file keeps the old ones, and with them the links of mails that were sent.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._by_id: dict[int, list[bytes]] = {}
        for key in keys:
            self._by_id.setdefault(_key_id(key), []).append(key)
        self._newest = keys[-1]

    def tokens(self, campaign_id: str, rows: Iterable[int]) -> bytes:
        """One for each row, one after the other, each of 56 characters: A-Z a-z 0-9 - _."""
        key = self._newest
        start = bytes([_key_id(key)]) + _packed(campaign_id)
        made: list[bytes] = []
        for row in rows:
            said = start + row.to_bytes(ROW_BYTES)
            made += (said, hmac.digest(key, said, "sha256")[:MAC_BYTES])
        return base64.urlsafe_b64encode(b"".join(made))

    def read(self, token: str) -> Mail | None:
        """What it says, if one of the keys has signed it. Compared in constant time."""
        if len(token) != TOKEN_CHARACTERS or not token.isascii():
            return None
        try:
            raw = base64.b64decode(token, altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        said, mac = raw[:-MAC_BYTES], raw[-MAC_BYTES:]
        good = False
        # A key that is not there takes as long as one that is.
        for key in self._by_id.get(raw[0], [self._newest]):
            good |= hmac.compare_digest(hmac.digest(key, said, "sha256")[:MAC_BYTES], mac) and raw[0] in self._by_id
        if not good:
            return None
        return Mail(_unpacked(raw[1 : 1 + CAMPAIGN_BYTES]), int.from_bytes(raw[1 + CAMPAIGN_BYTES : -MAC_BYTES]))


def one_click(table: UnsubscribeTable, keys: UnsubscribeKeys, campaign_id: str) -> OneClick:
    """The header of a campaign's mails."""
    before, after = table.url.split("{token}")
    mailto = ""
    if table.mailto is not None:
        mailto = f", <mailto:{quote(table.mailto, safe='@+.-_')}?subject=unsubscribe>"
    return OneClick(f"<{before}", f"{after}>{mailto}", lambda rows: keys.tokens(campaign_id, rows))


def keys_to_sign(settings: Settings, store: Store) -> UnsubscribeKeys:
    """Those of the file that the settings name, else the store's own, which are made if need be.

    Raises:
        ConfigError: the file cannot be read, or has no keys; or none is named, and the store is shared.
    """
    if settings.unsubscribe.key_file is None:
        if not isinstance(store.journal, SqliteJournal):
            raise ConfigError(
                "the store is in PostgreSQL, and unsubscribe.key_file is not set",
                hint=f"Every worker needs the same keys: name a file with them. {MAKE_ONE}",
            )
        if not (store.folder / OWN_KEY).exists():
            _make(store.folder / OWN_KEY)
    return UnsubscribeKeys(_read(_path(settings, store)))


def keys_to_check(settings: Settings, store: Store) -> UnsubscribeKeys | None:
    """The same, where there are any: None where nothing has been signed yet, as far as is known here.

    Raises:
        ConfigError: the file cannot be read, or has no keys.
    """
    path = _path(settings, store)
    if settings.unsubscribe.key_file is None and not path.exists():
        return None
    return UnsubscribeKeys(_read(path))


def _path(settings: Settings, store: Store) -> Path:
    named = settings.unsubscribe.key_file
    return store.folder / OWN_KEY if named is None else Path(named)


def _make(path: Path) -> None:
    """Whoever is first makes it; it has its name when it is whole and durable."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(partial, path)
    except OSError as error:
        raise ConfigError(f"the key for unsubscribing cannot be made in {path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _read(path: Path) -> list[bytes]:
    """Raises ConfigError, with nothing of the file's text."""
    what = f"unsubscribe.key_file {path}"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{what} cannot be read: {error.strerror}", hint=MAKE_ONE) from error
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise ConfigError(f"{what} can be read or written by others", hint=f"Close it: chmod 600 {path}.")
    if len(text) > MAX_KEY_FILE_BYTES:
        raise ConfigError(f"{what} is larger than {MAX_KEY_FILE_BYTES} bytes")
    lines = [line.strip() for line in text.decode("latin-1").splitlines()]
    keys = []
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        if not _KEY.fullmatch(line):
            raise ConfigError(f"{what}, line {number}: is no key", hint=MAKE_ONE)
        keys.append(bytes.fromhex(line))
    if not keys:
        raise ConfigError(f"{what} has no key in it", hint=MAKE_ONE)
    return keys


def _key_id(key: bytes) -> int:
    """Tells keys apart, mostly; says nothing of them."""
    return hashlib.sha256(b"bulksend key id" + key).digest()[0]


def _packed(campaign_id: str) -> bytes:
    number = 0
    for character in campaign_id:
        number = number * len(_ID_ALPHABET) + _DIGITS[character]
    return number.to_bytes(CAMPAIGN_BYTES)


def _unpacked(packed: bytes) -> str:
    number = int.from_bytes(packed)
    digits = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, len(_ID_ALPHABET))
        digits.append(_ID_ALPHABET[digit])
    return "".join(reversed(digits))
