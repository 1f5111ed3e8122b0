"""All that is checked of one row by itself, and what is kept of a good row until its entry is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from bulksend.model import MAX_BATCH_RECIPIENTS
from bulksend.recipients import addresses
from bulksend.recipients.block import all_but
from bulksend.recipients.columns import compute as pc
from bulksend.recipients.columns import filled
from bulksend.recipients.copies import check_copies
from bulksend.recipients.display_names import name_addresses
from bulksend.recipients.entries import MAX_DATA_CHARS, overlong
from bulksend.recipients.headers import HeaderValues
from bulksend.recipients.mapping import value_at
from bulksend.recipients.skipped import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulksend.recipients.block import Block
    from bulksend.recipients.columns import Numbers, Texts
    from bulksend.recipients.mapping import BoundMapping

__all__ = ["ReadyRows", "RowChecks"]


@dataclass(frozen=True, slots=True)
class ReadyRows:
    """What `EntryWriter.write` wants of some rows. `recipients` of None is one for each."""

    mailboxes: Texts
    columns: dict[str, Texts]
    copies: Texts | str
    recipients: Numbers | None
    headers: Sequence[Texts]


class RowChecks:
    """Tells good rows from bad, block by block. `schema` is that of the good ones.

    `has_nulls` tells whether a cell of theirs was null, in a column of data.
    """

    def __init__(self, mapping: BoundMapping) -> None:
        self._mapping = mapping
        self._kept = [column for column in mapping.columns if column in {*mapping.data, *mapping.kept}]
        headers = [HeaderValues(name, text) for name, text in mapping.headers.items()]
        self._headers = [header for header in headers if header.fixed is None]
        self._copied = [
            (word, column) for word, column in (("Cc", mapping.cc), ("Bcc", mapping.bcc)) if column is not None
        ]
        fields: dict[str, pa.DataType] = {"row": pa.int64(), "address": pa.string()}
        if mapping.display_name is not None:
            fields["mailbox"] = pa.string()
        if self._copied:
            fields |= {"copies": pa.string(), "recipients": pa.int32()}
        fields |= {f"h{place}": pa.string() for place in range(len(self._headers))}
        fields |= {f"c{place}": pa.string() for place in range(len(self._kept))}
        self.schema = pa.schema(fields)
        self.has_nulls = False

    def judge(self, block: Block) -> tuple[pa.RecordBatch, list[Fault]]:
        """The good rows of a block, and all that is wrong with the others; of a row's faults the first is kept."""
        mapping = self._mapping
        raw = filled(block.columns[mapping.address])
        canonical, reasons = addresses.check(raw)
        good: dict[str, Texts | Numbers] = {"row": block.rows, "address": canonical}
        for place, chars in overlong(block.columns, mapping).items():
            reasons.setdefault(place, f"{chars:,} characters of template data; SES takes {MAX_DATA_CHARS:,}")
        for path in mapping.required:
            for place in self._lacking(block.columns[path[0]], path):
                reasons.setdefault(place, f"no value for template variable {'.'.join(path)!r}")
        if mapping.display_name is not None:
            good["mailbox"], why = name_addresses(filled(block.columns[mapping.display_name]), canonical)
            reasons = why | reasons
        if self._copied:
            good["copies"], good["recipients"], why = self._copies(block.columns)
            reasons = why | reasons
        if self._headers:
            texts = {name: filled(block.columns[name]) for header in self._headers for name in header.columns}
            for number, header in enumerate(self._headers):
                good[f"h{number}"], why = header.values(texts)
                reasons = why | reasons
        self.has_nulls = self.has_nulls or any(block.columns[name].null_count for name in mapping.data)
        good |= {f"c{number}": block.columns[name] for number, name in enumerate(self._kept)}
        batch = pa.record_batch([good[name] for name in self.schema.names], schema=self.schema)
        if not reasons:
            return batch, block.faults
        faults = block.faults + [Fault(block.rows[i].as_py(), raw[i].as_py(), why) for i, why in reasons.items()]
        return batch.filter(all_but(reasons, len(raw))), sorted(faults, key=lambda fault: fault.row)

    def ready(self, good: pa.RecordBatch) -> ReadyRows:
        """Good rows as the writer of entries takes them."""
        there = set(good.schema.names)
        return ReadyRows(
            mailboxes=good["mailbox" if "mailbox" in there else "address"],
            columns={name: good[f"c{number}"] for number, name in enumerate(self._kept)},
            copies=good["copies"] if "copies" in there else "",
            recipients=good["recipients"] if "recipients" in there else None,
            headers=[good[f"h{number}"] for number in range(len(self._headers))],
        )

    def _lacking(self, column: Texts, path: Sequence[str]) -> Iterable[int]:
        """The places in a column of data of rows that have nothing at the path."""
        if len(path) == 1:
            lacking: list[int] = pc.indices_nonzero(pc.is_null(column)).to_pylist() if column.null_count else []
            return lacking
        default = self._mapping.default_data.get(path[0])
        return (
            place
            for place, cell in enumerate(column.to_pylist())
            if value_at(default if cell is None else orjson.loads(cell), path[1:]) is None
        )

    def _copies(self, columns: Mapping[str, Texts]) -> tuple[Texts, Numbers, dict[int, str]]:
        reasons: dict[int, str] = {}
        made: list[Texts] = []
        recipients: Numbers = pa.repeat(pa.scalar(1, pa.int32()), len(columns[self._mapping.address]))
        for word, name in self._copied:
            copies, count, why = check_copies(filled(columns[name]), word)
            made.append(copies)
            recipients = pc.add(recipients, count)
            reasons = why | reasons
        if (pc.max(recipients).as_py() or 0) > MAX_BATCH_RECIPIENTS:
            for place in pc.indices_nonzero(pc.greater(recipients, MAX_BATCH_RECIPIENTS)).to_pylist():
                detail = f"{recipients[place]} recipients with Cc and Bcc; SES takes {MAX_BATCH_RECIPIENTS} in one mail"
                reasons.setdefault(place, detail)
        return made[0] if len(made) == 1 else pc.binary_join_element_wise(*made, ""), recipients, reasons
