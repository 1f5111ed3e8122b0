"""The simulator's HTTP face and its life as a process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import struct
import sys

import orjson
import uvloop
from aiohttp import web

from bulksend.errors import ServerError
from bulksend.simulator.account import Account
from bulksend.simulator.answers import Delivery, Reply, SesError, error_reply
from bulksend.simulator.bodies import TooLargeError, read_body
from bulksend.simulator.control import PREFIX, Kept, KeptRequests, control
from bulksend.simulator.events import Emitter
from bulksend.simulator.members import json_object
from bulksend.simulator.operations import Operations
from bulksend.simulator.queue_face import QueueFace
from bulksend.simulator.sending import Sent, befall, send_bulk_email, send_email
from bulksend.simulator.settings import SimulatorSettings, read_rules
from bulksend.simulator.signature import Signature, check_signature, invalid_signature, verify
from bulksend.simulator.sqs import PATH
from bulksend.simulator.validate import MAX_BODY_BYTES

__all__ = ["run"]

_SENDING = {
    "/v2/email/outbound-bulk-emails": ("SendBulkEmail", send_bulk_email),
    "/v2/email/outbound-emails": ("SendEmail", send_email),
}
_ENDPOINT = b'"EndpointId"'
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends RST."""
_PARENT_POLL_S = 0.25
_SHUTDOWN_S = 0.5


class Simulator:
    """One account behind HTTP."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._kept = KeptRequests()
        self._operations = Operations(account)
        environment = os.environ
        self._credentials = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
        self._queue = QueueFace(account) if account.settings.events else None
        self._emitter = Emitter(account, None if self._queue is None else self._queue.sqs)

    async def close(self) -> None:
        """Stop telling of events."""
        await self._emitter.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.path
        if path.startswith(PREFIX):
            return await control(request, self._account, self._kept, self._emitter)
        if self._queue is not None and self._queue.is_asked(request):
            return await self._queue.handle(request)
        account = self._account
        account.requests += 1
        number = account.requests
        request_id = f"{account.run:012x}-{number:08x}"
        operation = _SENDING[path][0] if request.method == "POST" and path in _SENDING else ""
        body = b""
        try:
            body = await read_body(request, MAX_BODY_BYTES)
            signature = self._check(request, body, sends=bool(operation))
            if operation:
                sent = _SENDING[path][1](account, number, body)
                if sent.places and account.settings.tells:
                    self._emitter.accepted(number, body, sent.places)
            else:
                operation, reply = self._answer(request, body, signature.region)
                sent = Sent(reply)
        except (ConnectionError, web.RequestPayloadError):
            # The client left before its request was complete: nothing was asked.
            return web.Response()
        except TooLargeError:
            sent = Sent(
                error_reply(SesError(413, "RequestEntityTooLargeException", "The request entity is too large."))
            )
        except SesError as error:
            sent = Sent(error_reply(error))
        kept = Kept(operation, account.now(), sent.reply.http_status, request_id, body)
        self._kept.keep(kept, account.settings.kept_requests)
        return await self._deliver(request, sent, request_id)

    def _check(self, request: web.BaseRequest, body: bytes, *, sends: bool) -> Signature:
        """Check the request's signature: SigV4A for a multi-region endpoint, and that one thoroughly."""
        signature = check_signature(request.headers, self._account.clock())
        if signature.is_v4a:
            target = request.raw_path
            verify(signature, self._credentials, request.headers, body, method=request.method, target=target)
        elif sends and _ENDPOINT in body and json_object(body).get("EndpointId") is not None:
            raise invalid_signature("A multi-region endpoint wants Signature Version 4A.")
        return signature

    def _answer(self, request: web.BaseRequest, body: bytes, region: str) -> tuple[str, Reply]:
        """Everything but sending."""
        asked, answer = self._operations.find(request.method, request.raw_path, body, region)
        fault, _ = self._account.faults.begin(asked.operation, ())
        if fault is not None and fault.http_status is not None:
            return asked.operation, befall(fault, Reply(200, b"{}"))
        return asked.operation, befall(fault, answer(asked))

    async def _deliver(self, request: web.BaseRequest, sent: Sent, request_id: str) -> web.StreamResponse:
        """Let the answer take its time and go out as it should, and tell the tally whether it was a clean one.

        Until it is written its entries count as doubtful, for the client may leave before.
        """
        reply = sent.reply
        response: web.StreamResponse = web.Response()
        if sent.log is not None:
            sent.log.ambiguous_attempts += sent.entries
        delay_s = self._account.latency_s() + reply.delay_ms / 1000
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        try:
            match reply.delivery:
                case Delivery.HANG:
                    # Ended by the client's leaving, which cancels this, or by the simulator's end.
                    await asyncio.Event().wait()
                case Delivery.RESET | Delivery.CLOSE:
                    _drop(request, reset=reply.delivery is Delivery.RESET)
                case Delivery.TRUNCATED:
                    response = web.StreamResponse(status=reply.http_status, headers=self._headers(reply, request_id))
                    response.content_length = len(reply.body)
                    await response.prepare(request)
                    await response.write(reply.body[: len(reply.body) // 2])
                    _drop(request, reset=False)
                case Delivery.WHOLE:
                    headers = self._headers(reply, request_id)
                    response = web.Response(body=reply.body, status=reply.http_status, headers=headers)
                    await self._write(request, sent, response)
        except ConnectionError:
            # The client is gone and will never read the answer: its entries stay doubtful.
            pass
        return response

    async def _write(self, request: web.BaseRequest, sent: Sent, response: web.Response) -> None:
        """Write a whole answer. The tally knows before the client does, so that a client may ask it at once."""
        settled = 0 if sent.ambiguous else sent.entries - sent.unknown_statuses
        if sent.log is not None:
            sent.log.ambiguous_attempts -= settled
        if not sent.ambiguous:
            self._account.tally.settle(sent.marks)
        try:
            await response.prepare(request)
            await response.write_eof()
        except BaseException:
            self._account.tally.doubt(sent.marks)
            if sent.log is not None:
                sent.log.ambiguous_attempts += settled
            raise

    def _headers(self, reply: Reply, request_id: str) -> dict[str, str]:
        if not reply.by_ses:
            return {"Content-Type": "text/html", "Server": "proxy"}
        headers = {"Content-Type": "application/json", "x-amzn-RequestId": request_id, "Date": self._account.date()}
        if reply.error_type:
            headers["x-amzn-ErrorType"] = reply.error_type
        return headers


def _drop(request: web.BaseRequest, *, reset: bool) -> None:
    """End the connection, with RST or FIN."""
    transport = request.transport
    if transport is None:
        return
    if reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()
    else:
        transport.close()


def run(settings: SimulatorSettings) -> None:
    """Serve until SIGTERM, SIGINT or, where that is asked for, the parent's end.

    Prints one line of JSON with `url` and `pid`, and `events_queue_url` of its own queue, on stdout when it listens.

    Raises:
        ServerError: when the port cannot be had.
        ConfigError: for a rules file that cannot be used.
    """
    account = Account(settings)
    if settings.rules:
        account.faults.replace_rules(read_rules(settings.rules))
    uvloop.run(_serve(account))


async def _serve(account: Account) -> None:
    settings = account.settings
    parent = os.getppid()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # A client's leaving cancels its handler: that ends a hang, and marks what was accepted as never answered.
    simulator = Simulator(account)
    server = web.Server(simulator.handle, handler_cancellation=True, access_log=None, tcp_keepalive=False)
    runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            raise ServerError(f"port {settings.port}: {error.strerror or error}") from error
        port = runner.addresses[0][1]
        # A load of requests makes many short-lived dicts; what is here already need not be looked at again.
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        url = f"http://{settings.host}:{port}"
        line = {"url": url, "pid": os.getpid(), **({"events_queue_url": f"{url}{PATH}"} if settings.events else {})}
        sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
        sys.stdout.flush()
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _PARENT_POLL_S if settings.exit_with_parent else None)
            if settings.exit_with_parent and os.getppid() != parent:
                break
    finally:
        await simulator.close()
        await runner.cleanup()
