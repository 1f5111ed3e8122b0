"""From a list to a checked, de-duplicated snapshot of ready SES entries, and back from the snapshot to chunks.

This is the only room where pyarrow is used: rows stay in its columns from the list's bytes to the finished JSON.
"""

from __future__ import annotations

import pyarrow as pa

from bulksend.recipients.address_file import addresses_in
from bulksend.recipients.forget import FORGOTTEN_ADDRESS, Removed, forgettable, remove_address
from bulksend.recipients.list_columns import ListColumns
from bulksend.recipients.list_file import write_list_parquet
from bulksend.recipients.mapping import Mapping
from bulksend.recipients.one_address import one_address
from bulksend.recipients.one_click import OneClick
from bulksend.recipients.plan import Snapshot, take_snapshot
from bulksend.recipients.results_file import write_results_parquet
from bulksend.recipients.screening import LookUp, in_a_copy
from bulksend.recipients.shelf import FolderShelf, Shelf, ShelfUnreachableError, open_shelf
from bulksend.recipients.skipped import SkippedRow, skipped_rows
from bulksend.recipients.snapshot import SnapshotReader
from bulksend.recipients.source import ListFormat, list_digest

__all__ = [
    "FORGOTTEN_ADDRESS",
    "FolderShelf",
    "ListColumns",
    "ListFormat",
    "LookUp",
    "Mapping",
    "OneClick",
    "Removed",
    "Shelf",
    "ShelfUnreachableError",
    "SkippedRow",
    "Snapshot",
    "SnapshotReader",
    "addresses_in",
    "forgettable",
    "in_a_copy",
    "list_digest",
    "one_address",
    "open_shelf",
    "remove_address",
    "skipped_rows",
    "take_snapshot",
    "write_list_parquet",
    "write_results_parquet",
]

# The default pool (mimalloc) keeps some 50 MB more than is ever in use here, and costs no less time.
if "jemalloc" in pa.supported_memory_backends():
    pa.set_memory_pool(pa.jemalloc_memory_pool())
