"""Attachments: what a campaign file says of them, and their bytes.

Source: API reference, Attachment; developer guide, Service quotas (message size).
"""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from bulksend.config.fields import file_beside
from bulksend.config.source import Fault, Table, config_error

__all__ = ["MAX_ATTACHMENTS_BYTES", "AttachedFile", "Attachment", "read_attachments"]

MAX_ATTACHMENTS_BYTES = 40_000_000
"""All attachments together, after Base64 with its line ends: SES takes 40 MB a message, text and headers among them."""
UNKNOWN_TYPE = "application/octet-stream"
COMPRESSED_TYPES = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}
"""By what Python calls the compression of `data.csv.gz`, whose type is not that of `data.csv`."""

MAX_LINE_BYTES = 998
"""RFC 5322, 2.1.1."""

_BASE64_LINE_BYTES = 76
"""RFC 2045, 6.8; each ends with CR LF."""


def _plain(text: str) -> str:
    if any(character < " " or character == "\x7f" for character in text):
        raise ValueError("must not hold line breaks or other control characters")
    return text


def _file_name(text: str) -> str:
    if "/" in text or "\\" in text:
        raise ValueError("must be a file's name, without folders")
    return _plain(text)


def _content_type(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:\s*;.*)?", _plain(text)):
        raise ValueError("must be a MIME type, such as 'application/pdf'")
    return text


class Attachment(Table):
    """[[content.attachments]]: a file that every mail of the campaign carries."""

    path: Annotated[Path, BeforeValidator(file_beside)]
    """The file, absolute. In the campaign file it is relative to that file's folder."""
    file_name: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_file_name)] | None = None
    """Its name in the mail. Not set: its own."""
    content_type: Annotated[str, Field(min_length=1, max_length=78), AfterValidator(_content_type)] | None = None
    """Its MIME type. Not set: guessed from the name."""
    content_id: Annotated[str, Field(min_length=1, max_length=78), AfterValidator(_plain)] | None = None
    """What the HTML part calls it by: <img src="cid:...">."""
    disposition: Literal["attachment", "inline"] | None = None
    """Shown beside the mail, or in it."""
    description: Annotated[str, Field(max_length=1000), AfterValidator(_plain)] | None = None
    """A line about it."""
    transfer_encoding: Literal["base64", "quoted_printable", "seven_bit"] | None = None
    """How SES writes it into the mail."""


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """An attachment whose file was read: everything that goes into the request, in the campaign file's own words."""

    content: bytes
    file_name: str
    content_type: str
    content_id: str | None = None
    disposition: str | None = None
    description: str | None = None
    transfer_encoding: str | None = None

    @property
    def sha256(self) -> str:
        """Of its bytes, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def read_attachments(attachments: Sequence[Attachment], source: Path) -> tuple[AttachedFile, ...]:
    """The files of a campaign's attachments, read now. `source` is the campaign file, for messages.

    Raises:
        ConfigError: files that cannot be read, all of them, or more bytes than a mail may have.
    """
    read: list[AttachedFile] = []
    faults: list[Fault] = []
    encoded_bytes = 0
    for place, attachment in enumerate(attachments, start=1):
        key = f"content.attachments[{place}]"
        name = attachment.file_name or attachment.path.name
        try:
            with attachment.path.open("rb") as file:
                content = file.read(max(0, MAX_ATTACHMENTS_BYTES - encoded_bytes) + 1)
        except OSError as error:
            reason = error.strerror or str(error)
            faults.append(Fault(str(source), f"{key}.path", f"cannot be read: {attachment.path}: {reason}"))
            continue
        base64_bytes = (len(content) + 2) // 3 * 4
        encoded_bytes += base64_bytes + 2 * (base64_bytes // _BASE64_LINE_BYTES + 1)
        try:
            _file_name(name)
        except ValueError as error:
            faults.append(Fault(str(source), f"{key}.file_name", f"is not set, and the file's own name {error}"))
        if attachment.transfer_encoding == "seven_bit" and not _is_seven_bit(content):
            said = (
                f"cannot be seven_bit: {attachment.path.name} has bytes that are not ASCII, "
                f"or lines of over {MAX_LINE_BYTES} bytes"
            )
            faults.append(Fault(str(source), f"{key}.transfer_encoding", said))
        content_type = attachment.content_type or _guessed_type(name)
        read.append(
            AttachedFile(
                content,
                name,
                content_type,
                attachment.content_id,
                attachment.disposition,
                attachment.description,
                attachment.transfer_encoding,
            )
        )
    if encoded_bytes > MAX_ATTACHMENTS_BYTES:
        problem = (
            f"must have at most {MAX_ATTACHMENTS_BYTES:,} bytes in all after Base64, not {encoded_bytes:,} or more"
        )
        faults.append(Fault(str(source), "content.attachments", problem))
    if faults:
        raise config_error(faults, hint="Correct [content] attachments in the campaign file, or put the files there.")
    return tuple(read)


def _guessed_type(name: str) -> str:
    kind, compression = mimetypes.guess_type(name)
    if compression is not None:
        return COMPRESSED_TYPES.get(compression, UNKNOWN_TYPE)
    return kind or UNKNOWN_TYPE


def _is_seven_bit(content: bytes) -> bool:
    return (
        content.isascii() and b"\0" not in content and max(map(len, content.splitlines()), default=0) <= MAX_LINE_BYTES
    )
