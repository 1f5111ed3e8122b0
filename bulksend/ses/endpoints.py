"""Multi-region endpoints: which there are, and in what state.

Sources: API reference, CreateMultiRegionEndpoint, GetMultiRegionEndpoint, ListMultiRegionEndpoints,
DeleteMultiRegionEndpoint, MultiRegionEndpoint: each is seen from its primary Region alone, and only a READY one takes
mail. How often they may be called is not documented: once a second is asked, and more seldom where SES says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from functools import partial
from typing import Any, assert_never

from bulksend.aws.client import AwsAccess, explained, refusal_code
from bulksend.errors import BulksendError, ExitCode
from bulksend.ses.inquiry import pages
from bulksend.ses.seldom import SeldomClient

__all__ = [
    "GET_AWSCRT",
    "UNSIGNABLE",
    "Endpoint",
    "EndpointError",
    "EndpointNotFoundError",
    "EndpointState",
    "Endpoints",
    "can_sign",
    "find_endpoint",
]

CALL_EVERY_S = 1.0
_NOT_FOUND = "NotFoundException"

UNSIGNABLE = "whose signature (SigV4A) needs awscrt"
GET_AWSCRT = "Install it: pip install 'bulksend[multiregion]'; and see that BOTO_DISABLE_CRT is not true."


class EndpointError(BulksendError):
    """The multi-region endpoint cannot be used"""

    exit_code = ExitCode.USAGE
    default_hint = "Nothing was sent. See what there is with: bulksend endpoint list."


class EndpointNotFoundError(EndpointError):
    """There is no such multi-region endpoint in this account and region"""

    default_hint = "See what there is with bulksend endpoint list; an endpoint is seen from its primary Region alone."


@unique
class EndpointState(StrEnum):
    """What becomes of an endpoint, in SES's words.

    CREATING  it was asked for: READY or FAILED follows.
    READY     it takes mail; the only state that does.
    FAILED    it could not be made, and never will be: it can be deleted.
    DELETING  it was asked to go, and will be gone.
    UNKNOWN   SES says a word that is not among those documented: taken for not ready.
    """

    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"
    UNKNOWN = "UNKNOWN"

    @classmethod
    def of(cls, word: str) -> EndpointState:
        """The state by SES's word for it."""
        return next((state for state in cls if state == word), cls.UNKNOWN)

    @property
    def is_hopeless(self) -> bool:
        """Whether it will never take mail."""
        return self in (EndpointState.FAILED, EndpointState.DELETING)

    @property
    def in_words(self) -> str:
        """What that means, for a person."""
        match self:
            case EndpointState.CREATING:
                return "it is still being made, and takes no mail yet"
            case EndpointState.READY:
                return "it takes mail"
            case EndpointState.FAILED:
                return "it could not be made, and never takes mail"
            case EndpointState.DELETING:
                return "it is being deleted, and takes no mail any more"
            case EndpointState.UNKNOWN:
                return "SES calls its state by a word that is not documented, so nothing is sent by it"
            case _:
                assert_never(self)

    @property
    def remedy(self) -> str:
        """What a person does where a campaign that is not planned yet wants to be sent by it."""
        match self:
            case EndpointState.CREATING:
                return "Wait until it is READY (bulksend endpoint list), then send again."
            case EndpointState.READY:
                return ""
            case EndpointState.FAILED:
                return "Delete it and make another (bulksend endpoint delete, create); name that in sender.endpoint_id."
            case EndpointState.DELETING:
                return "Name another endpoint in sender.endpoint_id, or none."
            case EndpointState.UNKNOWN:
                return "See to it in the SES console."
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A multi-region endpoint. The first of `regions` is its primary; times are epoch seconds."""

    name: str
    endpoint_id: str
    state: EndpointState
    regions: tuple[str, ...]
    created_at: float | None = None
    changed_at: float | None = None


class Endpoints(SeldomClient):
    """The endpoints whose primary Region is the one that is asked. An asynchronous context manager.

    Every method raises EndpointError for what SES says against an endpoint, AccountError, or, where no region is set
    anywhere, ConfigError.
    """

    def __init__(self, access: AwsAccess) -> None:
        super().__init__(access, CALL_EVERY_S)

    async def list(self) -> list[Endpoint]:
        """All of them, in SES's order."""
        try:
            asked = partial(self._seldom_ask, "list_multi_region_endpoints")
            return [_endpoint(one) async for page in pages(asked) for one in page.get("MultiRegionEndpoints") or ()]
        except Exception as error:
            raise _explained(error, "ListMultiRegionEndpoints") from error

    async def get(self, name: str) -> Endpoint:
        """By its name. Raises EndpointNotFoundError."""
        try:
            reply = await self._seldom_ask("get_multi_region_endpoint", EndpointName=name)
        except Exception as error:
            raise _explained(error, "GetMultiRegionEndpoint", name) from error
        return _endpoint({**reply, "Regions": [route.get("Region") for route in reply.get("Routes") or ()]})

    async def create(self, name: str, second_region: str) -> Endpoint:
        """Ask for one between the Region that is asked and another."""
        details = {"RoutesDetails": [{"Region": second_region}]}
        try:
            reply = await self._seldom_ask("create_multi_region_endpoint", EndpointName=name, Details=details)
        except Exception as error:
            raise _explained(error, "CreateMultiRegionEndpoint", name) from error
        return _endpoint({**reply, "EndpointName": name, "Regions": [self._client.meta.region_name, second_region]})

    async def delete(self, name: str) -> EndpointState:
        """Ask for its end. Raises EndpointNotFoundError."""
        try:
            reply = await self._seldom_ask("delete_multi_region_endpoint", EndpointName=name)
        except Exception as error:
            raise _explained(error, "DeleteMultiRegionEndpoint", name) from error
        return EndpointState.of(str(reply.get("Status") or ""))

    async def _seldom_ask(self, operation: str, **arguments: Any) -> Any:
        return await self._seldom.ask(partial(getattr(self._client, operation), **arguments))


def can_sign() -> bool:
    """Whether requests for an endpoint can be signed here (SigV4A): by awscrt alone, and if the SDK may use it."""
    from botocore.compat import HAS_CRT  # noqa: PLC0415

    return bool(HAS_CRT)


async def find_endpoint(client: Any, endpoint_id: str) -> Endpoint | None:
    """By its id, over an SDK client: among all of its primary Region, as there is no way to ask for it alone."""
    async for page in pages(client.list_multi_region_endpoints):
        for one in page.get("MultiRegionEndpoints") or ():
            if one.get("EndpointId") == endpoint_id:
                return _endpoint(one)
    return None


def _endpoint(one: dict[str, Any]) -> Endpoint:
    return Endpoint(
        str(one.get("EndpointName") or ""),
        str(one.get("EndpointId") or ""),
        EndpointState.of(str(one.get("Status") or "")),
        tuple(str(region) for region in one.get("Regions") or ()),
        _epoch_s(one.get("CreatedTimestamp")),
        _epoch_s(one.get("LastUpdatedTimestamp")),
    )


def _epoch_s(at: object) -> float | None:
    return at.timestamp() if isinstance(at, datetime) else None


def _explained(error: Exception, operation: str, name: str = "") -> BulksendError:
    code = refusal_code(error)
    text = str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))
    if code == _NOT_FOUND and name:
        return EndpointNotFoundError(name)
    if code == "AlreadyExistsException":
        return EndpointError(f"there is one of the name {name!r} already", hint="Give this one another name.")
    if code in {"BadRequestException", "LimitExceededException", "ConcurrentModificationException"}:
        return EndpointError(f"{name}: {text}" if name else text)
    why = explained(error)
    if code:
        why.hint = f"Check the credentials, the Region, and that ses:{operation} is allowed."
    return why
