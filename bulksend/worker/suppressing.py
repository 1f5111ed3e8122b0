"""What a person does with the list of suppressions: by hand, from files, and between it and the account's own."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from bulksend.aws import explained
from bulksend.config import Settings
from bulksend.errors import AccountError, UsageError
from bulksend.event import Suppression, SuppressionReason
from bulksend.journal import SqliteEvents
from bulksend.recipients import addresses_in, forgettable, one_address
from bulksend.ses import AccountSuppressions, ListChangedError, find_binding
from bulksend.worker.access import aws_access
from bulksend.worker.store import Store

__all__ = [
    "Imported",
    "Push",
    "Synced",
    "add",
    "begin_anew",
    "import_file",
    "is_suppressed",
    "push",
    "remove",
    "sync",
    "to_push",
]

BY_HAND = "by hand"
RESUME = "suppression-sync.json"
"""How far a sync has come that was interrupted: a token of SES's, no address."""
GOOD_FOR_S = 3600.0
PUSHED = (SuppressionReason.BOUNCE, SuppressionReason.COMPLAINT)
AT_ONCE = 1_000
ROWS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Imported:
    """Of a file: addresses that are newly suppressed, those that were already, and what is no address.

    `refused_rows` are the first of the latter: rows of a list, lines of a .txt file, from 1.
    """

    added: int
    known: int
    refused: int
    refused_rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Synced:
    """Of the account's list: how long it is, as far as it was read now, and what of it is new here."""

    read: int
    added: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class Push:
    """What the account's list lacks; of `addresses` that many. `listed` is how long that list is."""

    addresses: int
    listed: int
    _there: array[int]

    def lacks(self, address: str) -> bool:
        """Whether the account's list did not have it, as far as 64 bits of a hash tell."""
        return _absent(self._there, address)


@dataclass(frozen=True, slots=True)
class Pushed:
    """How many are on the account's list now, and how many SES takes for no addresses."""

    put: int
    refused: int


def add(store: Store, typed: Iterable[str], reason: SuppressionReason) -> int:
    """Suppress addresses; returns how many are new. Raises UsageError: one of them is none, and nothing was done."""
    at = time.time()
    keys = [one_address(address).lower() for address in typed]
    return store.events.suppress([Suppression(key, reason, BY_HAND, at) for key in keys])


def remove(store: Store, typed: Sequence[str]) -> int:
    """They may be written to again; returns how many were suppressed."""
    return store.events.unsuppress([forgettable(address) for address in typed])


def is_suppressed(store: Store, typed: str) -> bool:
    """Whether an address is on the list."""
    return bool(store.events.suppressed([forgettable(typed)]))


def begin_anew(store: Store) -> None:
    """Go on with an empty list where the file that had it is lost.

    Raises:
        UsageError: it is there, or never was.
    """
    if not (isinstance(store.events, SqliteEvents) and store.events.begin_anew()):
        raise UsageError(
            f"the list of suppressions in {store.journal.place} is not lost",
            hint="Nothing was changed. To take an address off it: bulksend suppression remove ADDRESS.",
        )


def import_file(store: Store, path: Path, column: str, reason: SuppressionReason) -> Imported:
    """Suppress every address of a file. What was done is done if it ends early: the same once more does the rest.

    Raises:
        ListError: it cannot be read.
    """
    added = known = refused = 0
    rows: list[int] = []
    at = time.time()
    for keys, bad in addresses_in(path, column):
        distinct = dict.fromkeys(keys)
        new = store.events.suppress([Suppression(key, reason, f"file {path.name}", at) for key in distinct])
        added += new
        known += len(keys) - new
        refused += len(bad)
        rows += bad[: ROWS_SHOWN - len(rows)]
    return Imported(added, known, refused, tuple(rows))


def sync(store: Store, settings: Settings, on_progress: Callable[[int], None] = lambda _: None) -> Synced:
    """Suppress here whoever is on the account's list; what was interrupted less than an hour ago goes on.

    Raises:
        AccountError: SES cannot be asked, or refuses.
    """
    return asyncio.run(_sync(store, settings, on_progress))


async def _sync(store: Store, settings: Settings, on_progress: Callable[[int], None]) -> Synced:
    access = aws_access(settings)
    binding = await find_binding(access)
    resume = store.folder / RESUME
    of_whom = [binding.account, binding.region]
    token = _token(resume, of_whom)
    resumed, read, added = token is not None, 0, 0
    readings = _Readings()
    async with AccountSuppressions(access) as account:
        while True:
            try:
                async for found, following in account.pages(token):
                    keys = [replace(one, address=forgettable(one.address)) for one in found if one.address]
                    added += await asyncio.to_thread(store.events.suppress, keys)
                    read += len(found)
                    on_progress(read)
                    if following is not None:
                        _remember(resume, of_whom, following)
                break
            except ListChangedError as changed:
                if not resumed:
                    readings.broke_off(read, changed)
                token, resumed, read = None, False, 0
    resume.unlink(missing_ok=True)
    return Synced(read, added, resumed)


class _Readings:
    """Of the account's list from its beginning: another one is worth its time as long as each gets further."""

    def __init__(self) -> None:
        self._furthest = -1

    def broke_off(self, read: int, changed: ListChangedError) -> None:
        """After so many addresses. Raises AccountError: the one before got as far."""
        if read > self._furthest:
            self._furthest = read
            return
        assert isinstance(changed.__cause__, Exception)
        why = explained(changed.__cause__)
        raise AccountError(
            f"its list of suppressions breaks off after {read:,} of its addresses, whenever it is read: {why.detail}",
            hint="Run the same command again later. If SES answers the same then, ask AWS Support.",
        ) from changed


def to_push(store: Store, settings: Settings, on_progress: Callable[[int], None] = lambda _: None) -> Push:
    """What the account's list lacks of the bounces and complaints that are suppressed here. Reads all of that list.

    Raises:
        AccountError: SES cannot be asked, or refuses.
    """

    async def read() -> array[int]:
        readings = _Readings()
        async with AccountSuppressions(aws_access(settings)) as account:
            while True:
                there = array("Q")
                try:
                    async for found, _ in account.pages():
                        there.extend(_hash(forgettable(one.address)) for one in found if one.address)
                        on_progress(len(there))
                    return array("Q", sorted(there))
                except ListChangedError as changed:
                    readings.broke_off(len(there), changed)

    there = asyncio.run(read())
    return Push(sum(_absent(there, one.address) for one in _pushable(store)), len(there), there)


def push(store: Store, settings: Settings, what: Push, on_progress: Callable[[int], None] = lambda _: None) -> Pushed:
    """Put them there, one a second. Interrupted, those that are there are there.

    Raises:
        AccountError: SES cannot be asked, or refuses.
    """

    async def put() -> Pushed:
        done = Pushed(0, 0)
        async with AccountSuppressions(aws_access(settings)) as account:
            for one in _pushable(store):
                if what.lacks(one.address):
                    is_there = await account.put(one.address, one.reason)
                    done = Pushed(done.put + is_there, done.refused + (not is_there))
                    on_progress(done.put + done.refused)
        return done

    return asyncio.run(put())


def _pushable(store: Store) -> Iterator[Suppression]:
    return (one for one in store.events.suppressions() if one.reason in PUSHED)


def _absent(there: array[int], address: str) -> bool:
    wanted = _hash(address)
    place = bisect_left(there, wanted)
    return place == len(there) or there[place] != wanted


def _hash(address: str) -> int:
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest())


def _token(path: Path, of_whom: list[str]) -> str | None:
    """Where an interrupted sync of the same account may go on."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        kept = orjson.loads(path.read_bytes())
        if kept["of"] == of_whom and 0 <= time.time() - float(kept["at"]) < GOOD_FOR_S:
            return str(kept["token"])
    return None


def _remember(path: Path, of_whom: list[str], token: str) -> None:
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(orjson.dumps({"of": of_whom, "at": time.time(), "token": token}))
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}", hint="Check the disk's free space."
        ) from error
