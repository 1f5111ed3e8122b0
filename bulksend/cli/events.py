"""Verbs about events: what SES reports of mails after it has accepted them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from bulksend.cli.app import COMMON, Common, Output, app
from bulksend.cli.terminal import for_people, print_json, some
from bulksend.errors import ExitCode

__all__ = ["events"]

events = App(name="events", help="What SES reports of mails after it has accepted them.", help_format="plaintext")
app.command(events)


@events.command
def consume(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    metrics_port: int | None = None,
    listen: str | None = None,
    output: Output = "text",
    common: Common = COMMON,
) -> int:
    """Take events from the queues of the settings (events.queues) into the store, until SIGTERM or Ctrl-C.

    A worker does the same by itself, beside sending; this is for a store without one, or for a process of its own.
    Several may take from the same queues at once: each event is counted once.

    Args:
        once: End when the queues are empty.
        metrics_port: Serve Prometheus metrics on this port of 127.0.0.1 meanwhile; 0 takes any free one.
        listen: Serve /metrics and /healthz at this ADDRESS:PORT, to whom the worker's HTTP face would let in: off
            loopback it needs a token (http.token_file).
        output: text for people, json for programs: what was taken, at the end.
        common: Common options.
    """
    from bulksend.metrics import Metrics, MetricsServer  # noqa: PLC0415
    from bulksend.worker import Store  # noqa: PLC0415
    from bulksend.worker import consuming as work  # noqa: PLC0415
    from bulksend.worker.listening import watched  # noqa: PLC0415

    settings = common.settings(**{"metrics.port": metrics_port, "http.listen": listen})
    # A store that is not there yet is made only where it is named: in the wrong folder nobody would look for it.
    store = (Store.find if settings.store is None else Store.open)(settings, Path.cwd())
    people = for_people()
    with contextlib.ExitStack() as stack:
        metrics = Metrics(campaigns=settings.metrics.campaigns)
        if settings.metrics.port is not None:
            server = stack.enter_context(MetricsServer(metrics, settings.metrics.port))
            people.print(f"metrics on {server.url}", highlight=False)

        def announce(line: str) -> None:
            people.print(line, highlight=False, markup=False, soft_wrap=True)

        face = None if listen is None else watched(settings, metrics, announce)
        consumed = work.consume(store, settings, once=once, metrics=metrics, announce=announce, face=face)
    if output == "json":
        print_json({"events": consumed.events, "unreadable": consumed.unreadable})
    people.print(
        f"{some(consumed.events, 'new event')}, {some(consumed.unreadable, 'message')} that could not be read",
        highlight=False,
    )
    return int(ExitCode.DONE)
