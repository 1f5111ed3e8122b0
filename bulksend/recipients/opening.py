"""Which kind of list a path leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulksend.recipients.csv_list import CsvList
from bulksend.recipients.parquet_list import ParquetList
from bulksend.recipients.source import open_input

if TYPE_CHECKING:
    from pathlib import Path

    from bulksend.recipients.source import ListFormat

__all__ = ["open_list"]


def open_list(source: Path | str, form: ListFormat) -> CsvList | ParquetList:
    """Open a list by what its name says it is; a context manager.

    Raises:
        ListError: there is no such list, or it is not what its name says.
    """
    found = open_input(source, form)
    return ParquetList(source, found) if found.is_parquet else CsvList(source, form, found)
