"""Where a list is: the files that it is made of, on this machine or in S3, and how they are opened and hashed."""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from bulksend.errors import ListError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["PLAIN", "Input", "ListFiles", "ListFormat", "list_digest", "open_input"]

PARQUET_SUFFIXES = (".parquet", ".pq")
_HIDDEN = (".", "_")
"""How names begin that are not part of a data set, `_SUCCESS` for instance."""

_NAMES_SHOWN = 10
_Part = TypeVar("_Part")
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
    version: Callable[[], object]
    """What tells the file that is there now from any other, and from what it was before a change. Raises OSError."""

    @property
    def base_name(self) -> str:
        """The name without its folder."""
        return posixpath.basename(self.name)

    @property
    def is_parquet(self) -> bool:
        """Whether its name says so."""
        return _is_parquet(self.name)


@dataclass(frozen=True, slots=True)
class ListFiles:
    """The files of one list, in their order. A folder may have one."""

    files: tuple[Input, ...]
    is_folder: bool
    versions: tuple[object, ...]
    """What each file was when it was found."""

    @classmethod
    def of(cls, files: Iterable[Input], *, is_folder: bool) -> ListFiles:
        """These files as they are now. Raises OSError."""
        found = tuple(files)
        return cls(found, is_folder, tuple(file.version() for file in found))

    def refuse_changes(self) -> None:
        """Raises ListError if a file is not what it was when it was found."""
        for file, version in zip(self.files, self.versions, strict=True):
            try:
                same = file.version() == version
            except OSError:
                same = False
            if not same:
                raise ListError(
                    f"{file.name} changed while it was read",
                    hint="Plan again once whatever writes the list has ended. Nothing was sent.",
                )

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
        ListError: there is no such file or folder, it cannot be looked at, or the folder has no Parquet file in it, or
            anything else whose name does not begin with a dot or _.
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
            (file for file in path.iterdir() if not file.name.startswith(_HIDDEN)), key=lambda file: file.name
        )
        parts = [file for file in found if _is_parquet(file.name) and file.is_file()]
        found = _all_parts(path, parts, [file.name for file in found if file not in parts])
    elif path.exists() and not path.is_file():
        found = []
    else:
        found = [path]
    files = (Input(str(file), file.stat().st_size, _opener(file), partial(_version, file)) for file in found)
    return ListFiles.of(files, is_folder=path.is_dir())


def _all_parts(folder: Path | str, parts: list[_Part], others: Sequence[str]) -> list[_Part]:
    """The parts of the list in a folder. What else is there may be one too, and would be left out in silence."""
    if parts and others:
        more = f" and {len(others) - _NAMES_SHOWN} more" if len(others) > _NAMES_SHOWN else ""
        raise ListError(
            f"{folder} has in it what is no .parquet file that can be read: {', '.join(others[:_NAMES_SHOWN])}{more}",
            hint="Put all files of the list into the folder itself, under names that end with .parquet, and others "
            "elsewhere or under names that begin with _.",
        )
    return parts


def _version(file: Path) -> tuple[int, ...]:
    now = file.stat()
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns


def _opener(file: Path) -> Callable[[], pa.NativeFile]:
    def opened() -> pa.NativeFile:
        os.close(os.open(file, os.O_RDONLY))  # for the plain words of Python's own error
        return pa.OSFile(str(file), "rb")

    return opened


def _is_parquet(name: str) -> bool:
    return name.lower().endswith(PARQUET_SUFFIXES)


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
        there = store.get_file_info(fs.FileSelector(place))
        found = sorted(
            (info for info in there if not info.base_name.startswith(_HIDDEN)), key=lambda info: info.base_name
        )
        parts = [info for info in found if info.type == fs.FileType.File and _is_parquet(info.base_name)]
        found = _all_parts(url, parts, [info.base_name for info in found if info not in parts])

    def version(path: str) -> object:
        now = store.get_file_info(path)
        return now.type, now.size, now.mtime_ns

    files = (
        Input(
            _S3 + info.path, int(info.size or 0), partial(store.open_input_file, info.path), partial(version, info.path)
        )
        for info in found
    )
    return ListFiles.of(files, is_folder=at_place.type == fs.FileType.Directory)
