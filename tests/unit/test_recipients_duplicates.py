"""Finding duplicates: the first row of each key stays, however the keys fall into partitions."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksend.recipients import duplicates
from bulksend.recipients.columns import int64s
from bulksend.recipients.duplicates import DuplicateFinder

KEYS = st.sampled_from(["a@x.com", "b@x.com", "c" * 60 + "1@x.com", "c" * 60 + "2@x.com", "d" * 250, "d" * 249 + "e"])


def find(keys: list[str], block: int, *, list_bytes: int) -> dict[int, int]:
    """Duplicate rows, each with the first row of its key; every third number belongs to no row."""
    rows = [row + row // 2 for row in range(1, len(keys) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        finder = DuplicateFinder(Path(folder), list_bytes)
        blocks = [
            (pa.array(rows[start : start + block], pa.int64()), pa.array(keys[start : start + block]))
            for start in range(0, len(keys), block)
        ]
        for numbers, texts in blocks:
            finder.add(numbers, texts)
        found = finder.find()
        pairs: dict[int, int] = {}
        for numbers, _ in blocks:
            repeated, firsts = found.among(numbers)
            pairs |= dict(zip(int64s(repeated), int64s(firsts), strict=True))
    return pairs


def expected(keys: list[str]) -> dict[int, int]:
    first: dict[str, int] = {}
    pairs = {}
    for place, key in enumerate(keys, start=1):
        row = place + place // 2
        if first.setdefault(key, row) != row:
            pairs[row] = first[key]
    return pairs


@settings(deadline=None)
@given(
    keys=st.lists(KEYS | st.text("ab", min_size=1, max_size=3), max_size=30),
    block=st.integers(1, 7),
    rows_per_flush=st.sampled_from([1, 3, 1000]),
    partitions=st.sampled_from([1, 2, 16]),
)
def test_found_as_a_dictionary_would(keys: list[str], block: int, rows_per_flush: int, partitions: int) -> None:
    with (
        mock.patch.object(duplicates, "ROWS_PER_FLUSH", rows_per_flush),
        mock.patch.object(duplicates, "LIST_BYTES_PER_PARTITION", 1),
    ):
        assert find(keys, block, list_bytes=partitions) == expected(keys)


def test_a_collision_of_hashes_loses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [f"{number}@example.com" for number in range(1000)]
    monkeypatch.setattr(duplicates, "_top_bytes", lambda column: pa.array([7] * len(column), pa.uint8()))
    assert find(keys, 100, list_bytes=2**40) == {}
    assert find(keys * 2, 100, list_bytes=2**40) == expected(keys * 2)


def test_keys_spread_evenly() -> None:
    for keys in (
        [f"user{number:07}@example.com" for number in range(25_600)],
        [f"{number}.{'x' * 50}@example.com" for number in range(25_600)],
        [f"info@shop-{number}.example" for number in range(25_600)],
    ):
        sizes = Counter(duplicates._top_bytes(pa.array(keys)).to_pylist()).values()
        assert len(sizes) == 256
        assert max(sizes) < 200
