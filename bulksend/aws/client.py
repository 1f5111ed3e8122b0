"""The AWS SDK, behind one function, so that it can be exchanged."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bulksend import __version__
from bulksend.errors import AccountError, ConfigError

__all__ = ["AwsAccess", "direct_session", "explained", "open_client", "open_session", "refusal_code"]

SERVER_FAULT = 500
"""HTTP statuses from here on are the server's fault."""


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """Where and as whom: the standard credential chain, with these over it. Times in seconds."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0


def open_client(
    access: AwsAccess,
    service: str = "sesv2",
    *,
    retrying: bool,
    max_connections: int = 10,
    http_session: type | None = None,
) -> AbstractAsyncContextManager[Any]:
    """An SDK client as an asynchronous context manager, with credentials read anew.

    `http_session` takes the place of the SDK's class of that name.

    Not retrying means one attempt, whatever AWS_MAX_ATTEMPTS and AWS_RETRY_MODE say: by default the SDK posts a call
    up to five times. signature_version is left alone: set, it would sign multi-region calls wrongly.
    """
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    config = AioConfig(
        connect_timeout=access.connect_timeout_s,
        read_timeout=access.answer_timeout_s,
        max_pool_connections=max_connections,
        parameter_validation=retrying,
        retries={"mode": "standard", "total_max_attempts": 3 if retrying else 1},
        tcp_keepalive=True,
        user_agent=f"bulksend/{__version__}",  # the SDK's own is made anew for every call
        http_session_cls=http_session or direct_session(),
    )
    # An endpoint override is SES's: STS is never asked at a SES endpoint.
    session = open_session(access)
    return session.client(service, endpoint_url=access.endpoint_url, config=config)  # type: ignore[no-any-return]


def open_session(access: AwsAccess) -> Any:
    """An SDK session, which has read nothing yet. Raises what the SDK raises for an unknown profile."""
    import aioboto3  # noqa: PLC0415  takes over half a second
    from aiobotocore.session import get_session  # noqa: PLC0415

    core = get_session()
    core.register_component("data_loader", _models(core.get_config_variable("data_path")))
    core.set_default_client_config(_defaults())
    return aioboto3.Session(profile_name=access.profile, region_name=access.region, botocore_session=core)


def explained(error: Exception) -> AccountError | ConfigError:
    """What the SDK raised, in words. Where no region is set anywhere, that is no fault of the account."""
    from botocore import exceptions as sdk  # noqa: PLC0415

    match error:
        case sdk.ClientError():
            return _refused(str(error.operation_name), error.response)
        case sdk.NoCredentialsError() | sdk.PartialCredentialsError():
            return AccountError(
                "no AWS credentials were found",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, pass --profile, or log in with: aws sso login.",
            )
        case sdk.NoRegionError():
            return ConfigError(
                "no AWS region is set",
                hint="Pass --region, or set aws.region in config.toml, AWS_REGION in the environment, "
                "or the profile's.",
            )
        case sdk.ProfileNotFound():
            return AccountError(str(error), hint="Name a profile of ~/.aws/config with --profile or aws.profile.")
        case sdk.BotoCoreError():
            return AccountError(str(error), hint="Check the network, the region and --endpoint-url.")
        case _:
            return AccountError(f"{type(error).__name__}: {error}")


def _refused(operation: str, response: Mapping[str, Any]) -> AccountError:
    error = response.get("Error", {})
    said = f"{error.get('Code', '')}: {error.get('Message', '')}"
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    if status < SERVER_FAULT:
        return AccountError(f"{operation} was refused: {said}")
    return AccountError(
        f"{operation} has failed at the server (HTTP {status}): {said}",
        hint="Nothing was sent. It is no fault of yours: run this again in a minute. If it stays, look at AWS's Health "
        "Dashboard.",
    )


def refusal_code(error: Exception) -> str:
    """The code of SES's refusal, such as NotFoundException; empty for all that is no refusal."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


@cache
def _models(data_path: str | None) -> Any:
    """The SDK's models of services and endpoints: read once, though each session would read them for itself."""
    from botocore.loaders import create_loader  # noqa: PLC0415

    return create_loader(data_path)


@cache
def _defaults() -> Any:
    """What the clients have that the SDK makes for itself, as for assuming a role: our HTTP session, whatever else."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415

    class DirectConfig(AioConfig):  # type: ignore[misc]
        def merge(self, other_config: Any) -> Any:
            """The SDK's own forgets the HTTP session's class."""
            chosen = getattr(other_config, "http_session_cls", AioConfig().http_session_cls)
            merged = super().merge(other_config)
            merged.http_session_cls = self.http_session_cls if chosen is AioConfig().http_session_cls else chosen
            return merged

    return DirectConfig(http_session_cls=direct_session())


def direct_session() -> type:
    """The SDK's HTTP session, which checks the names in certificates, and follows no redirects.

    Following one would post a batch again, and to whatever host an answer names.
    """
    from aiobotocore.httpsession import AIOHTTPSession  # noqa: PLC0415
    from aiohttp import TCPConnector  # noqa: PLC0415
    from botocore.httpsession import get_cert_path  # noqa: PLC0415

    class DirectSession(AIOHTTPSession):  # type: ignore[misc]
        def _get_ssl_context(self) -> Any:
            context = super()._get_ssl_context()
            context.check_hostname = True  # the SDK leaves that to urllib3, which is not there
            return context

        def _create_connector(self, proxy_url: str | None) -> Any:
            if proxy_url or self._cert_file or not self._verify:
                return super()._create_connector(proxy_url)
            bundle = get_cert_path(self._verify)
            trusted = _trusting(bundle, Path(bundle).stat().st_mtime_ns)
            return TCPConnector(limit=self._max_pool_connections, ssl=trusted, **self._connector_args)

        async def _get_session(self, proxy_url: str | None) -> Any:
            return _WithoutRedirects(await super()._get_session(proxy_url))

    return DirectSession


@lru_cache(maxsize=4)
def _trusting(bundle: str, written_ns: int) -> ssl.SSLContext:  # noqa: ARG001  one that was written anew is read anew
    """Whom a file of certificates vouches for: to read the SDK's own takes 30 ms, and each client would do it."""
    from botocore.httpsession import create_urllib3_context  # noqa: PLC0415

    context: ssl.SSLContext = create_urllib3_context()
    context.check_hostname = True
    context.load_verify_locations(bundle)
    return context


class _WithoutRedirects:
    def __init__(self, session: Any) -> None:
        self._session = session

    async def request(self, method: str, **arguments: Any) -> Any:
        return await self._session.request(method, **arguments, allow_redirects=False)
