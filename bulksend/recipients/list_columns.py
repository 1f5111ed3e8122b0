"""What a list's columns were: kept with its snapshot, so that rows of it can be made a list again that plans alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from bulksend.errors import SnapshotError

if TYPE_CHECKING:
    from pathlib import Path

    from bulksend.recipients.mapping import BoundMapping

__all__ = ["ListColumns"]

_KEY = b"bulksend.list"


@dataclass(frozen=True, slots=True)
class ListColumns:
    """The columns of a list that its campaign used, by what for.

    `data` are in the entries' template data. `kept` are those of tags, headers and names before addresses that are not:
    their cells are in the snapshot beside the entries. Cells of `json` are JSON values. `is_text` tells whether all
    cells are text and none is null, which is what CSV can hold.
    """

    address: str
    display_name: str | None
    cc: str | None
    bcc: str | None
    data: tuple[str, ...]
    kept: tuple[str, ...]
    json: tuple[str, ...]
    is_text: bool

    @classmethod
    def of(cls, mapping: BoundMapping, *, has_nulls: bool) -> ListColumns:
        """Those of a list that was read."""
        return cls(
            mapping.address,
            mapping.display_name,
            mapping.cc,
            mapping.bcc,
            mapping.data,
            mapping.kept,
            tuple(sorted(mapping.json_columns)),
            is_text=not has_nulls and not mapping.json_columns,
        )

    @classmethod
    def read(cls, metadata: dict[bytes, bytes] | None, path: Path) -> ListColumns:
        """From the metadata of the snapshot at `path`.

        Raises:
            SnapshotError: it has none.
        """
        if _KEY not in (metadata or {}):
            raise SnapshotError(
                f"{path} was planned by an earlier version, which did not keep what the list's columns were",
                hint="Take the rows from the list itself; bulksend results has their numbers.",
            )
        assert metadata is not None
        fields: dict[str, Any] = orjson.loads(metadata[_KEY])
        fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        return cls(**fields)

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them once: those of addresses first, then those of data in their order."""
        mapped = [name for name in (self.address, self.display_name, self.cc, self.bcc) if name is not None]
        return tuple(dict.fromkeys([*mapped, *self.data, *self.kept]))

    def metadata(self) -> dict[bytes | str, bytes | str]:
        """To be kept in the snapshot."""
        return {_KEY: orjson.dumps(asdict(self))}
