"""What the simulator can be told at its start, and what of that may change while it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from bulksend.errors import ConfigError, ServerError
from bulksend.event import EventType
from bulksend.simulator.event_shapes import DEFAULT_TYPES, read_type

__all__ = ["Choice", "SimulatorSettings", "read_rules"]

_T = TypeVar("_T")

Choice = {
    "bad_address": ("entry", "call"),
    "daily_refusal": ("call", "entry"),
    "endpoint_status": ("READY", "CREATING", "FAILED", "DELETING"),
    "enforcement_status": ("HEALTHY", "PROBATION", "SHUTDOWN"),
    "events_shape": ("sns", "raw", "eventbridge"),
}
"""Settings that take one of a few words; the first is the default."""

_ENDS = ("bounce_share", "complaint_share", "reject_share", "rendering_failure_share")
"""Shares of what excludes the others: the rest is delivered, and no more."""
_SHARES = (
    *_ENDS,
    "delay_share",
    "open_share",
    "click_share",
    "event_duplicate_share",
    "event_disorder_share",
    "event_garbage_share",
    "event_loss_share",
)
_FIXED = ("host", "port", "day_s", "seed", "rules", "events", "exit_with_parent")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "bool": (bool,),
    "tuple[str, ...]": (list, tuple),
}


def _option(default: _T, text: str) -> _T:
    """A field with the sentence that documents it on the command line."""
    made: _T = field(default=default, metadata={"help": text})
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """One simulator. Times are seconds (`_s`) or milliseconds (`_ms`), rates and sends are recipients.

    Raises:
        ServerError: for an address other than 127.0.0.1.
        ConfigError: for a value out of its range.
    """

    host: str = _option("127.0.0.1", "address to listen on; nothing but 127.0.0.1 is accepted")
    port: int = _option(0, "port to listen on; 0 takes a free one")
    max_send_rate_per_s: float | None = _option(None, "MaxSendRate, recipients per second [500; sandbox: 1]")
    max_24_hour_send: float | None = _option(None, "Max24HourSend, recipients; -1 is unlimited [1000000; sandbox: 200]")
    day_s: float = _option(86_400.0, "length of the rolling day in seconds")
    enforce: bool = _option(default=True, text="refuse what is over the quotas")
    daily_refusal: str = _option("call", "a spent day refuses the whole call, or each entry with a status of its own")
    bad_address: str = _option("entry", "a malformed recipient address fails its entry, or the whole call")
    sandbox: bool = _option(default=False, text="no production access: verified and mailbox-simulator recipients only")
    verified: tuple[str, ...] = _option((), "address or domain that the sandbox may send to (repeatable)")
    identities: tuple[str, ...] = _option((), "verified address or domain to send from (repeatable) [any]")
    strict_templates: bool = _option(default=False, text="answer 404 for templates that were not created here")
    sending_enabled: bool = _option(default=True, text="SendingEnabled of the account")
    enforcement_status: str = _option("HEALTHY", "EnforcementStatus of the account")
    endpoint_change_s: float = _option(0.0, "time that making or deleting a multi-region endpoint takes")
    endpoint_status: str = _option("READY", "Status of multi-region endpoints once they are made")
    high_impact: tuple[str, ...] = _option((), "ARN of a resource with an open finding of high impact (repeatable)")
    latency_ms: float = _option(0.0, "time that each answer takes")
    latency_jitter_ms: float = _option(0.0, "random addition to the latency, from 0 to this")
    clock_offset_s: float = _option(0.0, "shift of the simulator's clock and Date header")
    seed: int = _option(0, "seed of the rules' and the jitter's dice")
    kept_requests: int = _option(200, "how many of the last requests /_simulator/requests shows")
    rules: str = _option("", "JSON file with a list of fault rules")
    events: bool = _option(
        default=False, text="hold an SQS queue of its own for the events of accepted mails, at this address"
    )
    events_queue_url: str = _option(
        "", "SQS queue on this machine that gets the events of accepted mails; none: no events"
    )
    events_shape: str = _option("sns", "the queue is fed by SNS, by SNS with raw delivery, or by EventBridge")
    event_types: tuple[str, ...] = _option(
        (), "type of event, as SES names it (repeatable) [all but Send, Open, Click]"
    )
    events_always: bool = _option(default=False, text="events also for calls without a configuration set")
    bounce_share: float = _option(0.0, "share, 0 to 1, of the accepted mails that bounce for good")
    complaint_share: float = _option(0.0, "share that is delivered and complained of")
    reject_share: float = _option(0.0, "share that SES rejects after it accepted them")
    rendering_failure_share: float = _option(0.0, "share that cannot be rendered")
    delay_share: float = _option(0.0, "share that is delayed, whatever comes after")
    open_share: float = _option(0.0, "share that is opened; needs the type Open")
    click_share: float = _option(0.0, "share with a link that is followed; needs the type Click")
    event_delay_ms: float = _option(0.0, "time from the acceptance to the queue")
    event_jitter_ms: float = _option(0.0, "random addition to that, from 0 to this, for each event")
    event_disorder_share: float = _option(0.0, "share of the events that come a second later, behind others")
    event_duplicate_share: float = _option(0.0, "share of the events that come twice")
    event_garbage_share: float = _option(0.0, "messages that nobody can read, per event")
    event_loss_share: float = _option(0.0, "share of the events that never come")
    exit_with_parent: bool = _option(default=False, text="end when the process that started this one ends")

    def __post_init__(self) -> None:
        if self.host != "127.0.0.1":
            raise ServerError(f"the simulator listens on 127.0.0.1 only, not on {self.host}")
        for name, words in Choice.items():
            if getattr(self, name) not in words:
                raise ConfigError(f"{name} must be one of {', '.join(words)}, not {getattr(self, name)!r}")
        if not 0 <= self.port <= 65_535:  # noqa: PLR2004 - the range of a port
            raise ConfigError(f"port must be between 0 and 65535, not {self.port}")
        for name in ("max_send_rate_per_s", "day_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigError(f"{name} must be more than 0, not {value}")
        for name in (
            "latency_ms",
            "latency_jitter_ms",
            "kept_requests",
            "endpoint_change_s",
            "event_delay_ms",
            "event_jitter_ms",
        ):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, not {getattr(self, name)}")
        if self.max_24_hour_send is not None and self.max_24_hour_send < 0 and self.max_24_hour_send != -1:
            raise ConfigError(f"max_24_hour_send must be -1 (unlimited) or more, not {self.max_24_hour_send}")
        self._check_events()

    def _check_events(self) -> None:
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if sum(getattr(self, name) for name in _ENDS) > 1 + 1e-9:
            raise ConfigError(f"{', '.join(_ENDS)} must not be more than 1 together")
        for name in self.event_types:
            read_type(name)
        if not self.events_queue_url:
            return
        if self.events:
            raise ConfigError(
                "events go to one queue: either the simulator's own (events), or that of events_queue_url"
            )
        try:
            url = urlsplit(self.events_queue_url)
            is_queue = url.scheme == "http" and url.port is not None and len(url.path) > 1 and url.username is None
        except ValueError:
            is_queue = False
        if not is_queue:
            raise ConfigError(f"events_queue_url must be http://127.0.0.1:PORT/..., not {self.events_queue_url!r}")
        if url.hostname not in ("127.0.0.1", "localhost"):
            raise ConfigError(f"the simulator sends events to queues on 127.0.0.1 only, not on {url.hostname}")

    @property
    def rate_per_s(self) -> float:
        """MaxSendRate in effect. The sandbox's is 1/s (developer guide, Service quotas)."""
        if self.max_send_rate_per_s is not None:
            return self.max_send_rate_per_s
        return 1.0 if self.sandbox else 500.0

    @property
    def day_quota(self) -> float:
        """Max24HourSend in effect. The sandbox's is 200 (developer guide, Service quotas)."""
        if self.max_24_hour_send is not None:
            return self.max_24_hour_send
        return 200.0 if self.sandbox else 1_000_000.0

    @property
    def tells(self) -> bool:
        """Whether there is a queue for events."""
        return self.events or bool(self.events_queue_url)

    @property
    def types(self) -> frozenset[EventType]:
        """The types of events in effect."""
        return frozenset(read_type(name) for name in self.event_types) or DEFAULT_TYPES

    @classmethod
    def options(cls) -> tuple[Field[Any], ...]:
        """The fields, each with its sentence under `metadata["help"]`: what a command line is made from."""
        return fields(cls)

    def patched(self, changes: Mapping[str, object]) -> SimulatorSettings:
        """These settings with some changed, as PATCH /_simulator/settings has them.

        Raises:
            ConfigError: for an unknown setting, one that is fixed once it runs, or a value that does not fit.
        """
        known = {f.name: f for f in fields(self)}
        values: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in known:
                raise ConfigError(f"the simulator has no setting {name!r}")
            if name in _FIXED:
                raise ConfigError(f"{name} cannot change while the simulator runs")
            kind = str(known[name].type)
            fits = isinstance(value, _KINDS[kind]) and (kind == "bool" or not isinstance(value, bool))
            if not fits:
                raise ConfigError(f"{name} takes {kind}, not {value!r}")
            values[name] = tuple(value) if isinstance(value, list) else value
        return replace(self, **values)

    def arguments(self) -> list[str]:
        """The command line that makes `python -m bulksend.simulator` start with these settings."""
        arguments: list[str] = []
        for f in fields(self):
            value = getattr(self, f.name)
            default = f.default
            assert default is not MISSING
            if value == default:
                continue
            name = f.name.replace("_", "-")
            if isinstance(value, bool):
                arguments.append(f"--{name}" if value else f"--no-{name}")
            elif isinstance(value, tuple):
                arguments.extend(f"--{name}={item}" for item in value)
            else:
                arguments.append(f"--{name}={value}")
        return arguments


def read_rules(path: str) -> list[Any]:
    """The list in a rules file.

    Raises:
        ConfigError: when it cannot be read or is not a JSON list.
    """
    try:
        rules = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"rules file {path}: {error}") from error
    if not isinstance(rules, list):
        raise ConfigError(f"rules file {path}: a JSON list of rules is expected")
    return rules
