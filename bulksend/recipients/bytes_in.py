"""The bytes of a CSV file on their way in: hashed, decompressed, and made UTF-8, all of it in a stream."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from typing import TYPE_CHECKING, Literal, TypeAlias

import pyarrow as pa

from bulksend.errors import ListError

if TYPE_CHECKING:
    from bulksend.recipients.source import Input

__all__ = ["NUL_STAND_IN", "UNDECODABLE", "Compression", "ListBytes", "valid_utf8"]

UNDECODABLE = "\U0010ffff"
"""Put where bytes cannot be decoded. A noncharacter: Unicode keeps it out of text that is interchanged."""

NUL_STAND_IN = "\U0010fffe"
"""Put where a NUL is; another noncharacter, and where a list has it itself, it is not valid.

A NUL hides the quotes, delimiters and line ends in the few bytes after it from pyarrow's parser: anywhere in a list
before version 26 (https://github.com/apache/arrow/issues/50481), and in 26.0.1 in a row that lies in two blocks.
"""

Compression: TypeAlias = Literal["bz2", "gzip", "zstd"]

_LONE_BYTES = re.compile("[\udc80-\udcff]+")
"""What the error handler surrogateescape makes of bytes that are not UTF-8."""

_MARKING = "bulksend.undecodable"
_HASH_READ_BYTES = 1024 * 1024


def _mark(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return UNDECODABLE, error.end
    if isinstance(error, UnicodeEncodeError):  # a lone surrogate
        return UNDECODABLE.encode(), error.end
    raise error


codecs.register_error(_MARKING, _mark)


def valid_utf8(data: bytes, *, final: bool) -> tuple[bytes, bytes, bool]:
    """`data` with UNDECODABLE for what is not UTF-8; the end of it that may go on; and whether there was any such."""
    if data.isascii():
        return data, b"", False
    try:
        used = codecs.utf_8_decode(data, "strict", final)[1]
    except UnicodeDecodeError:
        text, used = codecs.utf_8_decode(data, "surrogateescape", final)
        return _LONE_BYTES.sub(UNDECODABLE, text).encode(), data[used:], True
    return (data[:used] if used < len(data) else data), data[used:], False


class ListBytes:
    """One file's bytes.

    Args:
        file: the file.
        compression: pyarrow's name of it, or None.
        encoding: what is made UTF-8, with UNDECODABLE for bytes that it does not have; None leaves all as it is.

    Raises:
        ListError: the file cannot be opened, Python does not know the encoding. Methods raise it for what cannot be
            read, decompressed or decoded.
    """

    def __init__(self, file: Input, compression: Compression | None, encoding: str | None) -> None:
        self._name = file.name
        self._compression = compression
        self._decoder = None if encoding is None or _is_utf8(encoding) else _decoder(encoding, file.name)
        self._encoding = encoding
        self._decoded = b""
        self._at_start = True
        self._ended = False
        self.replaced = False
        """Whether UNDECODABLE was put anywhere."""
        try:
            self._raw = _Hashed(file.open())
        except OSError as error:
            raise ListError(f"{file.name}: {error.strerror or error}") from error
        self._stream: pa.NativeFile | _Hashed = self._raw
        if compression is not None:
            self._stream = pa.CompressedInputStream(pa.PythonFile(self._raw, "r"), compression)

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        if self._decoder is None:
            return self._read(size)
        while len(self._decoded) < size and not self._ended:
            self._decoded += self._decode(self._read(size), self._decoder)
        data, self._decoded = self._decoded[:size], self._decoded[size:]
        return data

    def hash_rest(self) -> str:
        """The SHA-256 of the file as it stands, in hex; nothing can be read after that."""
        try:
            while self._raw.read(_HASH_READ_BYTES):
                pass
        except OSError as error:
            raise ListError(f"{self._name}: {error.strerror or error}") from error
        return self._raw.sha256.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._raw.shut()

    def _read(self, size: int) -> bytes:
        blocks: list[bytes] = []
        missing = size
        try:
            while missing and (block := self._stream.read(missing)):
                blocks.append(block)
                missing -= len(block)
        except OSError as error:
            if self._compression is None:
                raise ListError(f"{self._name}: {error.strerror or error}") from error
            raise ListError(
                f"{self._name} is not a whole {self._compression} file: {error}",
                hint="Check that the file was copied to its end, or compress it again, and plan again.",
            ) from error
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def _decode(self, raw: bytes, decoder: codecs.IncrementalDecoder) -> bytes:
        self._ended = not raw
        try:
            text = decoder.decode(raw, final=self._ended)
            data = text.encode("utf-8", _MARKING)
        except UnicodeError as error:
            raise ListError(f"{self._name} cannot be read as {self._encoding}: {error}") from error
        if not self.replaced:
            self.replaced = UNDECODABLE.encode() in data
        if self._at_start and text:
            self._at_start = False
            data = data.removeprefix(codecs.BOM_UTF8)
        return data


class _Hashed(io.RawIOBase):
    """A file that is hashed as it is read."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(size)
        self.sha256.update(data)
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Left to `shut`: pyarrow closes what it read from."""

    def shut(self) -> None:
        self._file.close()


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    except (LookupError, ValueError):
        return False


def _decoder(encoding: str, name: str) -> codecs.IncrementalDecoder:
    try:
        "".encode(encoding)  # refuses those that are not of text, base64 for instance
        return codecs.getincrementaldecoder(encoding)(_MARKING)
    except (LookupError, ValueError) as error:
        raise ListError(
            f"{name}: there is no encoding named {encoding!r}",
            hint="Name one that Python knows: utf-8, utf-16, cp1252, iso-8859-15, shift_jis, gb18030 …",
        ) from error
