"""Where a list is: the files that it is made of, on this machine or in S3, and how they are opened and hashed."""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bulksend.errors import ListError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLAIN", "Input", "ListFiles", "ListFormat", "list_digest", "open_input"]

PARQUET_SUFFIXES = (".parquet", ".pq")
_HIDDEN = (".", "_")
"""How names begin that are not part of a data set, `_SUCCESS` for instance."""

_S3 = "s3://"
_HASH_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ListFormat:
    r"""How to read a list where that cannot be seen from it.

    `delimiter` is the character between a CSV file's fields, None finding it in the header: comma, semicolon, tab or
    vertical bar. `encoding` is any that Python knows, None being UTF-8 with or without a byte order mark.
    `s3_endpoint_url` is where s3:// leads if not to AWS.
    """

    delimiter: str | None = None
    encoding: str | None = None
    s3_endpoint_url: str | None = None


PLAIN = ListFormat()
"""Everything as the list itself says."""


@dataclass(frozen=True, slots=True)
class Input:
    """One file of a list. `name` is what it is called in messages; `open` may be called more than once."""

    name: str
    size_bytes: int
    open: Callable[[], pa.NativeFile]

    @property
    def base_name(self) -> str:
        """The name without its folder."""
        return posixpath.basename(self.name)

    @property
    def is_parquet(self) -> bool:
        """Whether its name says so."""
        return self.name.lower().endswith(PARQUET_SUFFIXES)


@dataclass(frozen=True, slots=True)
class ListFiles:
    """The files of one list, in their order. A folder may have one."""

    files: tuple[Input, ...]
    is_folder: bool

    @property
    def is_parquet(self) -> bool:
        """Whether the list is one of Parquet files."""
        return self.is_folder or self.files[0].is_parquet

    def digest(self) -> str:
        """See `list_digest`."""
        digest = hashlib.sha256()
        for file in self.files:
            if self.is_folder:
                digest.update(f"{file.base_name}\0{file.size_bytes}\0".encode())
            try:
                with file.open() as stream:
                    while block := stream.read(_HASH_READ_BYTES):
                        digest.update(block)
            except OSError as error:
                raise ListError(f"{file.name}: {error.strerror or error}") from error
        return digest.hexdigest()


def open_input(path: str | Path, form: ListFormat = PLAIN) -> ListFiles:
    """The files of the list at `path`: the one, or those that a folder has whose names end with .parquet, by name.

    Raises:
        ListError: there is no such file or folder, it cannot be looked at, or the folder has no Parquet file in it.
    """
    text = str(path)
    try:
        found = _s3_files(text, form) if text.startswith(_S3) else _local_files(Path(text))
    except OSError as error:
        raise ListError(f"{path}: {error.strerror or error}") from error
    if not found.files:
        raise ListError(
            f"{path} is not a file, and there is no .parquet file in it",
            hint="Name the CSV file itself, or a folder of Parquet files.",
        )
    return found


def list_digest(path: str | Path, form: ListFormat = PLAIN) -> str:
    """What a snapshot's `list_digest` would be if it were taken now.

    It is the SHA-256, in hex, of the file's bytes; of a folder, of each file's name, a NUL, its size in decimal, a NUL,
    and its bytes.

    Raises:
        ListError: the list cannot be read.
    """
    return open_input(path, form).digest()


def _local_files(path: Path) -> ListFiles:
    if path.is_dir():
        found = sorted(
            (file for file in path.iterdir() if _is_part(file.name) and file.is_file()), key=lambda file: file.name
        )
    elif path.exists() and not path.is_file():
        found = []
    else:
        found = [path]
    return ListFiles(tuple(Input(str(file), file.stat().st_size, _opener(file)) for file in found), path.is_dir())


def _opener(file: Path) -> Callable[[], pa.NativeFile]:
    def opened() -> pa.NativeFile:
        os.close(os.open(file, os.O_RDONLY))  # for the plain words of Python's own error
        return pa.OSFile(str(file), "rb")

    return opened


def _is_part(name: str) -> bool:
    return name.lower().endswith(PARQUET_SUFFIXES) and not name.startswith(_HIDDEN)


def _s3_files(url: str, form: ListFormat) -> ListFiles:
    try:
        from pyarrow import fs  # noqa: PLC0415  # starts threads of its own
        from pyarrow.fs import S3FileSystem  # noqa: PLC0415
    except ImportError as error:
        raise ListError(
            f"{url}: this build of pyarrow cannot read from S3", hint="Copy the list here, and name the copy."
        ) from error
    place = url.removeprefix(_S3).strip("/")
    bucket = place.partition("/")[0]
    options: dict[str, Any] = {}
    if form.s3_endpoint_url is not None:
        scheme, _, host = form.s3_endpoint_url.rstrip("/").rpartition("://")
        options = {"endpoint_override": host, "scheme": scheme or "https"}
    else:
        options = {"region": fs.resolve_s3_region(bucket)}
    store = S3FileSystem(**options)
    at_place = store.get_file_info(place)
    if at_place.type == fs.FileType.NotFound:
        raise ListError(f"{url}: there is nothing of that name, or it may not be read")
    if at_place.type == fs.FileType.File:
        found = [at_place]
    else:
        found = sorted(
            (
                info
                for info in store.get_file_info(fs.FileSelector(place))
                if info.type == fs.FileType.File and _is_part(info.base_name)
            ),
            key=lambda info: info.base_name,
        )
    return ListFiles(
        tuple(Input(_S3 + info.path, int(info.size or 0), partial(store.open_input_file, info.path)) for info in found),
        is_folder=at_place.type == fs.FileType.Directory,
    )
