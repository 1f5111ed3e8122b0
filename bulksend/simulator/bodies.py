"""The body of a request, bounded."""

from __future__ import annotations

from aiohttp import web

__all__ = ["TooLargeError", "read_body"]


class TooLargeError(Exception):
    """The body is over the limit."""


async def read_body(request: web.BaseRequest, most_bytes: int) -> bytes:
    """The whole body; what is over the limit is read and let go, so that the client gets to hear of it.

    Raises:
        TooLargeError: it is over the limit.
    """
    chunks: list[bytes] = []
    size_bytes = 0
    while chunk := await request.content.readany():
        size_bytes += len(chunk)
        if size_bytes <= most_bytes:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size_bytes > most_bytes:
        raise TooLargeError
    return b"".join(chunks)
