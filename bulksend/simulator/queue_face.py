"""The HTTP face of the queue that the simulator holds: SQS's JSON protocol, at the root of the same port as SES's."""

from __future__ import annotations

from aiohttp import web

from bulksend.simulator import cloudwatch
from bulksend.simulator.account import Account
from bulksend.simulator.answers import SesError
from bulksend.simulator.bodies import TooLargeError, read_body
from bulksend.simulator.signature import check_signature
from bulksend.simulator.sqs import MAX_REQUEST_BYTES, TARGET, Sqs
from bulksend.simulator.sqs_asked import SqsAsked, SqsError

__all__ = ["QueueFace"]

_SERVICE = "sqs"
_MAX_HOST_CHARS = 255
_JSON = "application/x-amz-json-1.0"


class QueueFace:
    """Answers whoever speaks SQS, or asks CloudWatch about it. Faults and latency are of SES, not of the queue."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._requests = 0
        self.sqs = Sqs(account.clock, account.steady)

    @staticmethod
    def is_asked(request: web.BaseRequest) -> bool:
        """Whether a request is for SQS or CloudWatch."""
        return request.method == "POST" and (
            request.headers.get("X-Amz-Target", "").startswith(TARGET) or request.content_type == cloudwatch.QUERY
        )

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer such a request. A receive may take its time."""
        self._requests += 1
        request_id = f"{self._account.run:012x}-sqs-{self._requests:08x}"
        headers = {"x-amzn-RequestId": request_id, "Date": self._account.date()}
        try:
            if request.content_type == cloudwatch.QUERY:
                form = await read_body(request, cloudwatch.MAX_REQUEST_BYTES)
                status, body = cloudwatch.answer(form, request_id, self._account.clock(), self.sqs.oldest_s)
                return web.Response(body=body, status=status, headers=headers, content_type=cloudwatch.CONTENT_TYPE)
            body = await self._answer(request)
        except (ConnectionError, web.RequestPayloadError):
            # The client left before its request was complete: nothing was asked.
            return web.Response()
        except TooLargeError:
            too_large = SqsError("RequestEntityTooLargeException", "The request entity is too large.", 413)
            return _refused(too_large, headers)
        except SesError as error:
            return _refused(SqsError(error.code, error.text, error.http_status), headers)
        except SqsError as error:
            return _refused(error, headers)
        return web.Response(body=body, headers=headers, content_type=_JSON)

    async def _answer(self, request: web.BaseRequest) -> bytes:
        body = await read_body(request, MAX_REQUEST_BYTES)
        signature = check_signature(request.headers, self._account.clock(), service=_SERVICE)
        host = request.headers.get("Host", "")[:_MAX_HOST_CHARS]
        operation = request.headers["X-Amz-Target"].removeprefix(TARGET)
        return await self.sqs.answer(operation, SqsAsked.of(body, signature.region, host))


def _refused(error: SqsError, headers: dict[str, str]) -> web.Response:
    said = {"x-amzn-query-error": f"{error.query_name};Sender"}
    return web.Response(body=error.body, status=error.http_status, headers=headers | said, content_type=_JSON)
