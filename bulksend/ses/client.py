"""The AWS SDK, behind one function, so that it can be exchanged."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

__all__ = ["AwsAccess", "open_client"]


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Where and as whom: the standard credential chain, with these over it. Times in seconds."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0


def open_client(
    access: AwsAccess, service: str = "sesv2", *, retrying: bool, max_connections: int = 10
) -> AbstractAsyncContextManager[Any]:
    """An SDK client as an asynchronous context manager, with credentials read anew.

    Not retrying means one attempt, whatever AWS_MAX_ATTEMPTS and AWS_RETRY_MODE say: by default the SDK posts a call
    up to five times. signature_version is left alone: set, it would sign multi-region calls wrongly.
    """
    import aioboto3  # noqa: PLC0415  takes over half a second
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    config = AioConfig(
        connect_timeout=access.connect_timeout_s,
        read_timeout=access.answer_timeout_s,
        max_pool_connections=max_connections,
        parameter_validation=retrying,
        retries={"mode": "standard", "total_max_attempts": 3 if retrying else 1},
        tcp_keepalive=True,
    )
    session = aioboto3.Session(profile_name=access.profile, region_name=access.region)
    # An endpoint override is SES's: STS is never asked at a SES endpoint.
    return session.client(service, endpoint_url=access.endpoint_url, config=config)  # type: ignore[no-any-return]
