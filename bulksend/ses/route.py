"""Which way a campaign's requests go."""

from __future__ import annotations

from bulksend.aws import AwsAccess, Detour, Route, route_of

__all__ = ["find_route"]


async def find_route(access: AwsAccess, prefix: bytes) -> Route | Detour:
    """Ask the SDK where SendBulkEmail goes. `prefix` is the campaign's frozen one.

    Raises:
        AccountError: there are no credentials, or no region; the authorities' certificates cannot be read.
    """
    if b'"EndpointId":' in prefix:
        return Detour("the campaign goes through a multi-region endpoint, whose signature is another")
    return await route_of(
        access, "sesv2", lambda client: client.send_bulk_email(DefaultContent={}, BulkEmailEntries=[])
    )
