"""What tests of both stores stand on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bulksend.journal import Journal, SqliteJournal, open_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    """Opens the same journal, as another process would."""
    if request.param == "sqlite":
        return lambda: SqliteJournal(tmp_path / "store" / "journal.db")
    url: str = request.getfixturevalue("database_url")
    return lambda: open_postgres(url)
