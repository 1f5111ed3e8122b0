"""A simulator as a child process, for the demo, the tests and the load test. The standard library is enough for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from http.client import HTTPConnection, HTTPResponse
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

from bulksend.errors import ServerError
from bulksend.simulator.settings import SimulatorSettings

__all__ = ["SimulatorProcess"]

_TIMEOUT_S = 60.0
_STOP_S = 10.0


class SimulatorProcess:
    """A context manager around `python -m bulksend.simulator`, stopped by its own process id.

    Arguments are those of `SimulatorSettings`; `exit_with_parent` is always on, so that none outlives its program.

    Raises:
        ServerError: when it does not come up, or refuses what it is asked.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = SimulatorSettings(**{**settings, "exit_with_parent": True})
        self._process: subprocess.Popen[str] | None = None
        self.url = self.events_queue_url = ""
        """Its own, and that of the queue that it holds, if it does."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the child and wait until it listens."""
        command = [sys.executable, "-m", "bulksend.simulator", *self._settings.arguments()]
        # In a process group of its own: an interrupt at the terminal is for the sender, which still has to drain.
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, process_group=0
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise ServerError("the simulator did not start; what it said is on stderr")
        said = json.loads(line)
        self.url, self.events_queue_url = said["url"], said.get("events_queue_url", "")

    def stop(self) -> None:
        """End the child: gently, then for good."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None

    def rules(self, rules: Sequence[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        """Put these fault rules in the place of the old ones, or just look; each with how often it `fired`."""
        answer: list[dict[str, Any]]
        answer = self._ask("GET", "rules") if rules is None else self._ask("POST", "rules", list(rules))
        return answer

    def tally(self, campaign: str | None = None) -> dict[str, Any]:
        """What was accepted, of one campaign or of all."""
        answer: dict[str, Any] = self._ask("GET", _of("tally", campaign))
        return answer

    def accepted(self, campaign: str | None = None) -> Iterator[dict[str, Any]]:
        """Each accepted entry: row, message_id, to, at, answered."""
        connection, response = self._open("GET", _of("accepted", campaign), None)
        try:
            for line in response:
                yield json.loads(line)
        finally:
            connection.close()

    def events(self, campaign: str | None = None) -> dict[str, Any]:
        """What the queue was told of the accepted mails of one campaign, or of all.

        `emitted`, `copies` (duplicates) and `lost` count events by type. `mails` were told of, `unpublished` had no
        configuration set. `garbage` counts messages that nobody can read; `failed` those that the queue did not take;
        `overflowed` mails that were too many to remember. `queued`, of all campaigns, is what is not out yet.
        """
        answer: dict[str, Any] = self._ask("GET", _of("events", campaign))
        return answer

    def flush_events(self, campaign: str | None = None) -> dict[str, Any]:
        """Let all events go now, due or not; returns what `events` does, when they are out.

        Raises:
            ServerError: when some are still not out after 50 s.
        """
        answer: dict[str, Any] = self._ask("POST", _of("events/flush", campaign))
        if answer["queued"]:
            hint = "Receive and delete what is in it." if self.events_queue_url else "Look at events_queue_url."
            raise ServerError(f"the queue takes no events: {answer['last_error']}", hint=hint)
        return answer

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Change settings of the running simulator; returns them all."""
        answer: dict[str, Any]
        answer = self._ask("PATCH", "settings", changes) if changes else self._ask("GET", "settings")
        return answer

    def requests(self) -> list[dict[str, Any]]:
        """The last requests, oldest first: operation, at, http_status, request_id, body."""
        answer: list[dict[str, Any]] = self._ask("GET", "requests")
        return answer

    def foreign(self, recipients: int) -> None:
        """Let another sender of the account send so much."""
        self._ask("POST", "foreign", {"recipients": recipients})

    def reset(self) -> None:
        """Begin with a new account: tally, quotas, templates and all else; rules and settings stay."""
        self._ask("POST", "reset")

    def _open(self, method: str, what: str, body: Any) -> tuple[HTTPConnection, HTTPResponse]:
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=_TIMEOUT_S)
        try:
            connection.request(method, f"/_simulator/{what}", None if body is None else json.dumps(body))
            return connection, connection.getresponse()
        except OSError as error:
            connection.close()
            raise ServerError(f"the simulator at {self.url} does not answer: {error}") from error

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        connection, response = self._open(method, what, body)
        try:
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:  # noqa: PLR2004 - the only good one
            raise ServerError(answer.get("error", ""), hint=answer.get("hint"))
        return answer


def _of(what: str, campaign: str | None) -> str:
    return what if campaign is None else f"{what}?{urlencode({'campaign': campaign})}"
