"""What came back, in the engine's words: from an HTTP answer of our own, or from what the SDK returns or raises.

How codes and texts are found is the SDK's own way (botocore/parsers.py, RestJSONParser): a header, else the body. What
its errors prove was read from its code too (aiobotocore/httpsession.py): a connection that was never made is certain;
a bare client error after that is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from http.client import responses as reasons
from typing import TYPE_CHECKING, Any

import orjson

from bulksend.aws.skew import epoch_of
from bulksend.model import AllAccepted, Answer, Answered, Doubtful, EntryResult, NotSent, Refused

if TYPE_CHECKING:
    from bulksend.aws.connection import Reply

__all__ = ["FIRST_ERROR_STATUS", "answer_of_error", "answer_of_reply", "answer_of_results"]

FIRST_ERROR_STATUS = 301
"""Below it the SDK reads results."""
SERVER_ERRORS = 500
TOO_MANY = 429
THROTTLES = frozenset({"Throttling", "ThrottlingException"})
MAX_TEXT_CHARACTERS = 2000
MAX_ID_CHARACTERS = 256


def answer_of_reply(reply: Reply, generation: int) -> Answer:
    """A whole HTTP answer; `generation` is that of the credentials that signed the request."""
    if reply.status < FIRST_ERROR_STATUS:
        return answer_of_results(reply.body)
    code, text = _error_of(reply)
    return Refused(
        http_status=reply.status,
        code="" if code.isdigit() else code,
        text=text,
        by_ses=b"x-amzn-requestid" in reply.headers,
        server_time=epoch_of(reply.headers.get(b"date", b"").decode("latin-1")),
        generation=generation,
    )


def answer_of_results(body: bytes) -> Answer:
    """The body of a 200."""
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Doubtful("an answer that is no JSON")
    results = members.get("BulkEmailEntryResults") if isinstance(members, dict) else None
    if not isinstance(results, list):
        return Doubtful("an answer without results")
    ids = _ids_if_all_accepted(results)
    if ids is not None:
        return AllAccepted(ids)
    read = []
    for result in results:
        if not isinstance(result, dict):
            return Doubtful("an unreadable result")
        read.append(
            EntryResult(_text(result.get("Status")), _text(result.get("Error")), _text(result.get("MessageId")))
        )
    return Answered(read)


def _ids_if_all_accepted(results: list[Any]) -> list[str] | None:
    """The message ids, where every result is plain success: nearly always, so nothing is made of each of them."""
    try:
        ids = [result["MessageId"] for result in results if result["Status"] == "SUCCESS"]
        plain = "".join(ids).isascii() and max(map(len, ids), default=0) <= MAX_ID_CHARACTERS
    except (KeyError, TypeError):
        return None
    return ids if plain and len(ids) == len(results) else None


def answer_of_error(error: Exception, generation: int, *, sent: bool) -> Answer:
    """What the SDK raised; `sent` is whether a byte may have left by then."""
    import aiohttp  # noqa: PLC0415
    from botocore import exceptions as sdk  # noqa: PLC0415

    match error:
        case sdk.ClientError():
            return _refusal(error.response, generation) if sent else _without_credentials(error, generation)
        case (
            sdk.NoCredentialsError()
            | sdk.PartialCredentialsError()
            | sdk.CredentialRetrievalError()
            | sdk.TokenRetrievalError()
            | sdk.UnauthorizedSSOTokenError()
        ):
            return Refused(403, "NoCredentials", str(error), by_ses=True, generation=generation)
        case (
            sdk.MissingDependencyException()
            | sdk.EndpointProviderError()
            | sdk.UnknownSignatureVersionError()
            | sdk.InvalidRegionError()
        ):
            # The SDK cannot make the request at all, now or later: that is no matter of trying again.
            return Refused(404, type(error).__name__, str(error), by_ses=True, generation=generation)
        case sdk.ConnectTimeoutError() | sdk.SSLError() | sdk.ProxyConnectionError():
            return NotSent(type(error).__name__)
        case sdk.EndpointConnectionError() if isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError):
            return NotSent("no connection could be made")
        case sdk.EndpointConnectionError() | sdk.ConnectionClosedError():
            lost = "the connection was lost before the answer"
        case _:
            lost = type(error).__name__
    return Doubtful(lost) if sent else NotSent(f"{type(error).__name__}: {error}")


def _without_credentials(error: Any, generation: int) -> Answer:
    """Another service (STS, SSO) refused to hand out credentials: nothing was sent, whatever it says."""
    refusal = _refusal(error.response, generation)
    if refusal.http_status >= SERVER_ERRORS or refusal.http_status == TOO_MANY or refusal.code in THROTTLES:
        return NotSent(f"{error.operation_name}: {refusal.code}")
    return Refused(403, "NoCredentials", _text(error), by_ses=True, generation=generation)


def _refusal(response: Mapping[str, Any], generation: int) -> Refused:
    metadata = response.get("ResponseMetadata", {})
    headers: dict[str, str] = metadata.get("HTTPHeaders", {})
    error = response.get("Error", {})
    code = _text(error.get("Code"))
    return Refused(
        http_status=int(metadata.get("HTTPStatusCode", 0)),
        code="" if code.isdigit() else code,
        text=_text(error.get("Message")),
        by_ses="x-amzn-requestid" in headers,
        server_time=epoch_of(headers.get("date", "")),
        generation=generation,
    )


def _error_of(reply: Reply) -> tuple[str, str]:
    """(code, text) of an answer that is an error."""
    content = reply.body
    if reply.status >= SERVER_ERRORS and (not content.strip() or content.lstrip().startswith(b"<html>")):
        return "", reasons.get(reply.status, "")  # a machine in between wrote it
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = {"message": content.decode("utf-8", "replace")}
    if not isinstance(body, dict):
        body = {}
    header = reply.headers.get(b"x-amzn-errortype")
    code = body.get("code", body.get("Code", body.get("__type"))) if header is None else header.decode("latin-1")
    text = body.get("message", body.get("Message", ""))
    return _text(code).split(":", 1)[0].rsplit("#", 1)[-1], _text(text)


def _text(value: object) -> str:
    """What SES wrote, as something that a journal can hold: no lone surrogates, no end without end."""
    return str(value or "")[:MAX_TEXT_CHARACTERS].encode("utf-8", "replace").decode()
