"""A folder in S3 for whole files: put there, streamed back, listed, removed; and what S3 says when it will not.

Credentials are those of the standard AWS chain, as the SDK inside pyarrow finds them. TLS is verified. Encryption at
rest is what the bucket does by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bulksend.errors import ConfigError, SnapshotError

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, S3FileSystem

__all__ = ["S3_SCHEME", "S3Folder", "ShelfUnreachableError"]

S3_SCHEME = "s3://"

_BLOCK_BYTES = 16 * 1024 * 1024
"""How much of a file is in memory at once; a request to S3 in reading."""

_SAID = re.compile(r"AWS Error (?P<code>\w+)(?: \(HTTP status (?P<status>\d+)\))?.*", re.DOTALL)
"""How pyarrow writes an error of S3's; it has no code apart from its text."""
_PASSING = frozenset(
    {
        "NETWORK_CONNECTION",
        "INTERNAL_FAILURE",
        "SERVICE_UNAVAILABLE",
        "SLOW_DOWN",
        "THROTTLING",
        "REQUEST_TIMEOUT",
    }
)
_REFUSED = frozenset(
    {
        "ACCESS_DENIED",
        "EXPIRED_TOKEN",
        "INCOMPLETE_SIGNATURE",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_CLIENT_TOKEN_ID",
        "INVALID_SIGNATURE",
        "MISSING_AUTHENTICATION_TOKEN",
        "NOT_INITIALIZED",
        "OPT_IN_REQUIRED",
        "REQUEST_EXPIRED",
        "SIGNATURE_DOES_NOT_MATCH",
        "UNRECOGNIZED_CLIENT",
    }
)
_REFUSED_STATUSES = frozenset({"400", "401", "403"})
"""Of an answer without a code: S3 gives no body to HEAD, and says 400 of a token that has expired."""
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class ShelfUnreachableError(SnapshotError):
    """The shelf with the snapshots cannot be reached"""  # what is there is not in question: trying again may help

    default_hint = (
        "Check the network and, if one is set, the S3 endpoint; the same command goes on where this one stopped."
    )


class S3Folder:
    """Everything below one prefix of one bucket. Nothing is asked before the first method is called.

    Needs s3:ListBucket of the bucket, and s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload of
    what is below the prefix.

    Args:
        url: s3://bucket or s3://bucket/prefix.
        endpoint_url: what is spoken to in place of Amazon S3.

    Raises:
        ConfigError: the URL has no bucket or an empty name in it. Methods raise ShelfUnreachableError where S3 does not
            answer or says that it cannot just now, and SnapshotError where it refuses.
    """

    def __init__(self, url: str, endpoint_url: str | None) -> None:
        self._place = url.removeprefix(S3_SCHEME).removesuffix("/")
        self._bucket = self._place.partition("/")[0]
        self._endpoint_url = endpoint_url
        if "" in self._place.split("/"):
            raise ConfigError(f"{url} has no bucket, or a folder without a name", hint="Write s3://bucket/prefix.")

    def url(self, name: str) -> str:
        """What a file is called in messages."""
        return f"{S3_SCHEME}{self._place}/{name}"

    def put(self, path: Path) -> None:
        """Upload a file under its own name. S3 has all of it when this returns; memory is flat.

        Of an upload that is killed nothing can be seen, but its parts cost money until a lifecycle rule of the bucket
        removes them (Amazon S3 User Guide, Configuring a bucket lifecycle configuration to delete incomplete multipart
        uploads).
        """
        size_bytes = path.stat().st_size
        try:
            self._upload(path)
            self._compare(path.name, size_bytes)
        except BaseException:
            # To close a stream is to publish what it has so far, and there is no other way to be rid of it.
            with suppress(SnapshotError):
                if self.size_bytes(path.name) != size_bytes:
                    self.remove(path.name)
            raise

    def blocks(self, name: str, size_bytes: int) -> Iterator[pa.Buffer]:
        """A file's bytes, from front to back; memory is flat.

        Raises:
            SnapshotError: it is not there, or not of that size.
        """
        url = self.url(name)
        with _in_words(url), self._s3.open_input_file(self._key(name)) as source:
            if source.size() != size_bytes:
                raise SnapshotError(f"{url} has {source.size():,} bytes; it had {size_bytes:,} when it was put there")
            left_bytes = size_bytes
            while left_bytes:
                block = source.read_buffer(_BLOCK_BYTES)
                if not len(block):
                    raise ShelfUnreachableError(f"{url}: the download ended {left_bytes:,} bytes early")
                left_bytes -= len(block)
                yield block

    def size_bytes(self, name: str) -> int | None:
        """A file's size; None if it is not there. Raises SnapshotError if not even the bucket is."""
        with _in_words(self.url(name)):
            info = self._s3.get_file_info(self._key(name))
            if info.is_file:
                return int(info.size or 0)
            if not _is_missing(self._s3.get_file_info(self._bucket)):
                return None
        raise SnapshotError(
            f"there is no bucket {self._bucket}, or it may not be looked into", hint="Make it, or name another."
        )

    def names(self) -> set[str]:
        """Of all files in the folder; none if there is no such folder in the bucket."""
        from pyarrow.fs import FileSelector  # noqa: PLC0415  starts threads of its own

        with _in_words(S3_SCHEME + self._place):
            try:
                return {info.base_name for info in self._s3.get_file_info(FileSelector(self._place)) if info.is_file}
            except FileNotFoundError:
                return set()

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Pyarrow leaves an empty object with the folder's name in its place."""
        with _in_words(self.url(name)), suppress(FileNotFoundError):
            self._s3.delete_file(self._key(name))

    def _upload(self, path: Path) -> None:
        with (
            path.open("rb") as source,
            _in_words(self.url(path.name)),
            self._s3.open_output_stream(self._key(path.name), compression=None) as sink,
        ):
            while block := source.read(_BLOCK_BYTES):
                sink.write(block)

    def _compare(self, name: str, size_bytes: int) -> None:
        arrived_bytes = self.size_bytes(name)
        if arrived_bytes != size_bytes:
            raise SnapshotError(
                f"{self.url(name)} has {arrived_bytes or 0:,} bytes after {size_bytes:,} were put there",
                hint="Try again; check that nothing else writes to that place.",
            )

    def _key(self, name: str) -> str:
        return f"{self._place}/{name}"

    @cached_property
    def _s3(self) -> S3FileSystem:
        try:
            from pyarrow.fs import S3FileSystem, resolve_s3_region  # noqa: PLC0415  starts threads of its own
        except ImportError as error:
            raise SnapshotError(
                f"{S3_SCHEME}{self._place}: this build of pyarrow cannot speak to S3",
                hint="Install pyarrow from its own wheels, or keep the snapshots in a folder.",
            ) from error
        options: dict[str, Any] = {}
        if self._endpoint_url is None:
            options["region"] = resolve_s3_region(self._bucket)
        else:
            scheme, _, host = self._endpoint_url.rstrip("/").rpartition("://")
            options |= {"endpoint_override": host, "scheme": scheme or "https"}
        # Parts that are sent in the background wait in memory, as many as there are.
        return S3FileSystem(background_writes=False, **options)


def _is_missing(info: FileInfo) -> bool:
    from pyarrow.fs import FileType  # noqa: PLC0415  starts threads of its own

    return info.type == FileType.NotFound


@contextmanager
def _in_words(url: str) -> Iterator[None]:
    """Errors of pyarrow as ours. Raises SnapshotError."""
    try:
        yield
    except FileNotFoundError as error:
        raise SnapshotError(f"there is no {url}") from error
    except (OSError, pa.ArrowException) as error:
        said = _SAID.search(str(error))
        if said is None:
            raise SnapshotError(f"{url}: {error}", hint="Check the bucket's name and the folder's.") from error
        code, status = said["code"], said["status"] or ""
        if code in _PASSING or int(status or 0) >= _SERVER_ERROR or status == str(_TOO_MANY_REQUESTS):
            raise ShelfUnreachableError(f"{url}: {said[0]}") from error
        if code in _REFUSED or status in _REFUSED_STATUSES:
            hint = (
                "Check that the AWS credentials are in force, and that they allow s3:ListBucket on the bucket and "
                "s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload below the prefix."
            )
        else:
            hint = "Check that the bucket is there, and in the Region or at the endpoint that is asked."
        raise SnapshotError(f"{url}: {said[0]}", hint=hint) from error
