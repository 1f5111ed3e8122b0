"""How bulksend runs: flags, environment and config.toml, made into one frozen Settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainSerializer, ValidationInfo

from bulksend.config.source import Fault, Table, check, config_error, dotted_keys, nearest, put, read_toml

__all__ = [
    "AwsSettings",
    "EngineSettings",
    "EventsSettings",
    "FleetSettings",
    "HttpSettings",
    "LogSettings",
    "MetricsSettings",
    "PacingSettings",
    "Settings",
    "TransportSettings",
    "UnsubscribeSettings",
    "WorkerSettings",
    "load_settings",
]

_PREFIX = "BULKSEND_"
_CONFIG_VARIABLE = "BULKSEND_CONFIG"
_SQLITE = "sqlite:"
_POSTGRESQL = re.compile(r"postgres(ql)?://")
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@|(?<=[?&]password=)[^&]*")
_S3 = "s3://"
_MAX_PORT = 65535


def _region(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]{1,64}", text):
        raise ValueError("must be the name of an AWS Region, such as 'eu-west-1'")
    return text


def _endpoint(text: str) -> str:
    # The text is not shown: it could hold a password.
    try:
        parts = urlsplit(text)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or "@" in parts.netloc or re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError("must be a URL such as 'http://127.0.0.1:8080', without user, query or fragment")
    return text


def _queue(text: str) -> str:
    _endpoint(text)
    if not re.fullmatch(r"https?://[^/]+(/[^/]+)*/[A-Za-z0-9_-]{1,80}", text):
        raise ValueError("must be a queue's URL, such as 'https://sqs.eu-west-1.amazonaws.com/123456789012/events'")
    return text


def _store(text: str, info: ValidationInfo) -> str:
    # The text is not shown: the URL of a database holds a password.
    if _POSTGRESQL.match(text):
        return _database(text)
    path = text.removeprefix(_SQLITE)
    if path in {text, ""} or "\0" in path:
        raise ValueError("must be 'sqlite:PATH' or 'postgresql://HOST/DATABASE'")
    return f"{_SQLITE}{_beside(path, info)}"


def _database(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.port != 0 and len(parts.path) > 1
    except ValueError:
        sound = False
    if not sound or parts.fragment or re.search(r"[\x00-\x20\x7f]", text):
        raise ValueError(
            "must be a URL such as 'postgresql://USER@HOST:5432/DATABASE'; what is special in it is %-encoded"
        )
    return text


def _snapshots(text: str, info: ValidationInfo) -> str:
    if text.startswith(_S3):
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\x00-\x20\x7f]*)?", text):
            raise ValueError("must be a folder, or 's3://BUCKET/PREFIX'")
        return text.rstrip("/")
    if "\0" in text or "://" in text or not text:
        raise ValueError("must be a folder, or 's3://BUCKET/PREFIX'")
    return str(_beside(text, info))


def _beside(path: str, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", Path()), path).absolute()


def _folder(text: str, info: ValidationInfo) -> str:
    if "\0" in text or not text:
        raise ValueError("must be a folder or a file")
    return str(_beside(text, info))


def _without_password(url: str | None) -> str | None:
    return None if url is None else _PASSWORD.sub(lambda m: f"{m[1]}:...@" if m[1] is not None else "...", url)


def _listen(text: str) -> str:
    if text == "off":
        return text
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not re.fullmatch(r"[0-9A-Za-z.:-]+", host) or not port.isdecimal() or int(port) > _MAX_PORT:
        raise ValueError("must be ADDRESS:PORT, such as '127.0.0.1:9464' or '[::1]:9464', or 'off'")
    return text


class AwsSettings(Table):
    """Which account is spoken to. Keys and secrets never stand here: the standard AWS credential chain finds them."""

    region: Annotated[str, AfterValidator(_region)] | None = None
    """AWS Region to send from. Not set: the AWS configuration's own (AWS_REGION, AWS_DEFAULT_REGION, the profile)."""
    profile: str | None = Field(default=None, min_length=1)
    """Profile of the AWS configuration files to take credentials from. Not set: the AWS configuration's own."""
    endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    """URL that is spoken to in place of Amazon SES, such as a simulator's. Not set: the Region's public endpoint."""
    s3_endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    """URL where s3:// lists are read in place of Amazon S3, such as MinIO's. Not set: AWS_ENDPOINT_URL_S3, else the
    bucket's own."""


class TransportSettings(Table):
    """How requests leave, and how long they may take."""

    kind: Literal["auto", "compatible"] = "auto"
    """auto: our own signed transport, or the AWS SDK's client where only that can serve (a multi-region endpoint, a
    proxy). compatible: always the SDK's client, which takes many times the CPU."""
    connect_timeout_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds until a connection, TLS included, has to stand. When they run out, nothing was sent."""
    answer_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """Seconds to wait for the answer to a request. When they run out, the whole batch is in doubt."""


class PacingSettings(Table):
    """How much of the account's quota is spent, and how fast. Quotas count recipients, not requests."""

    share: float = Field(default=1.0, gt=0, le=1)
    """Part of the granted send rate to use, more than 0 and at most 1; leave some to other senders of the account."""
    daily_reserve: int = Field(default=0, ge=0)
    """Recipients of the 24-hour quota to leave to other senders."""
    max_recipients_per_s: float | None = Field(default=None, gt=0)
    """Recipients a second at most, whatever is granted; of a whole fleet. Not set: the granted rate times the share."""
    max_calls_per_s: float | None = Field(default=None, gt=0)
    """Requests a second at most. Not set: no limit but the recipients'."""


class EngineSettings(Table):
    """How many requests may be under way."""

    max_in_flight: int = Field(default=64, ge=1, le=1000)
    """Requests awaiting their answers at any time, from 1 to 1000; a crash leaves at most these in doubt."""


class MetricsSettings(Table):
    """Prometheus metrics: of any process, and where those of a one-off run can be had."""

    port: int | None = Field(default=None, ge=0, le=65535)
    """TCP port of http://127.0.0.1:PORT/metrics while sending; 0 takes any free one. Not set: none is opened."""
    textfile: Annotated[str, AfterValidator(_folder)] | None = None
    """A file to write the metrics of a one-off run to, every ten seconds and at the end, for node_exporter's textfile
    collector. Not set: none is written."""
    campaigns: bool = False
    """Whether the names of campaigns are a label: 50 at a time."""


class WorkerSettings(Table):
    """The long-lived worker."""

    grace_s: float = Field(default=75.0, gt=0, le=3600)
    """Seconds that a worker which was told to stop waits for the answers to what it has sent. What is not answered by
    then is in doubt: let it be more than transport.answer_timeout_s."""


class FleetSettings(Table):
    """Workers that share a store in PostgreSQL."""

    lease_s: float = Field(default=30.0, ge=1, le=600)
    """Seconds for which a worker may send from a chunk unless it renews its lease, which it does three times as often.
    After a death, so long nobody takes up what it held."""


class HttpSettings(Table):
    """The worker's HTTP face: metrics, health, and the API for campaigns."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:9464"
    """Where it listens, as ADDRESS:PORT; port 0 takes any free one, off opens none. An address that is not of loopback
    needs a token."""
    public_listen: Annotated[str, AfterValidator(_listen)] = "off"
    """A second place to listen, for what strangers may call; nothing else is served there."""
    token_file: Annotated[str, AfterValidator(_folder)] | None = None
    """A file with the token that every request must carry (Authorization: Bearer); readable by its owner only."""
    lists_folder: Annotated[str, AfterValidator(_folder)] | None = None
    """The folder that campaigns which come by HTTP take their lists from. Not set: lists in S3 only."""


class UnsubscribeSettings(Table):
    """What the links of campaigns with [unsubscribe] are signed with."""

    key_file: Annotated[str, AfterValidator(_folder)] | None = None
    """A file of keys, each a line of at least 64 hexadecimal digits (openssl rand -hex 32), readable by its owner only.
    The last one signs, all are good for checking. Not set: unsubscribe.key beside the journal in SQLite, made when it
    is needed; with PostgreSQL it has to be set, to the same keys for every worker."""


class EventsSettings(Table):
    """What SES reports of mails after it has accepted them, from queues in Amazon SQS (bulksend events)."""

    queues: tuple[Annotated[str, AfterValidator(_queue)], ...] | None = Field(default=None, strict=False)
    """URLs of the queues that events are taken from, each in its own Region; in the environment, separated by spaces or
    commas. Not set: a worker takes none."""
    apart: bool = False
    """Whoever sends leaves the queues alone: bulksend events consume takes from them, in a process of its own."""
    endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    """URL that is spoken to in place of Amazon SQS, SNS, EventBridge, STS and CloudWatch, for tests and laptops. Not
    set: AWS's own, as the queue's URL names it."""


class LogSettings(Table):
    """What is logged, on standard error. Addresses never are."""

    level: Literal["debug", "info", "warning", "error"] = "warning"
    """The least severe kind of message to log: debug, info, warning or error."""
    format: Literal["auto", "text", "json"] = "auto"
    """text for people, json for machines; auto is text on a terminal and json elsewhere."""


class Settings(Table):
    """Every setting, validated."""

    store: Annotated[str, AfterValidator(_store), PlainSerializer(_without_password, when_used="json")] | None = None
    """The folder with journal and snapshots, as sqlite:PATH, relative to the folder of the file that says it; in flags
    and environment, to the current folder. Or postgresql://USER@HOST/DATABASE, which many workers share; its password
    is best left to PGPASSWORD or ~/.pgpass. Not set: .bulksend/ beside the campaign file."""
    snapshots: Annotated[str, AfterValidator(_snapshots)] | None = None
    """Where the lists of planned campaigns are kept: a folder that every worker sees, or s3://BUCKET/PREFIX; each store
    has a subfolder there. Not set: beside the journal in SQLite; with PostgreSQL it has to be set."""
    aws: AwsSettings = Field(default_factory=AwsSettings)
    transport: TransportSettings = Field(default_factory=TransportSettings)
    pacing: PacingSettings = Field(default_factory=PacingSettings)
    engine: EngineSettings = Field(default_factory=EngineSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    fleet: FleetSettings = Field(default_factory=FleetSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    events: EventsSettings = Field(default_factory=EventsSettings)
    unsubscribe: UnsubscribeSettings = Field(default_factory=UnsubscribeSettings)
    log: LogSettings = Field(default_factory=LogSettings)


def load_settings(config_file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """The settings in force: overrides (flags) before BULKSEND_* variables before the config file before defaults.

    The config file is `config_file` (--config), else the one that BULKSEND_CONFIG names, else config.toml in the
    current folder if there is one, else none. A setting's variable is BULKSEND_<SECTION>_<KEY>, in capitals
    (BULKSEND_STORE for `store`); an empty variable counts as not set. `overrides` maps dotted keys (`aws.region`) to
    values; None is not given.

    Raises:
        ConfigError: one for every fault of every source: unknown keys (with the nearest known one), wrong types, values
            out of range. A fault is reported even where a stronger source hides it.
    """
    hint = None
    path = config_file or (Path(environ[_CONFIG_VARIABLE]) if environ.get(_CONFIG_VARIABLE) else None)
    if path is None and Path("config.toml").is_file():
        path = Path("config.toml")
        hint = "Correct the keys named above, or name another file with --config if this config.toml is not bulksend's."

    merged: dict[str, Any] = {}
    faults: list[Fault] = []
    if path is not None:
        from_file = read_toml(path)
        settings, wrong = check(Settings, from_file, lambda key: (str(path), key), {"folder": path.parent})
        faults += wrong
        _merge(merged, settings)

    from_environ, wrong = _environ_tables(environ)
    faults += wrong
    settings, wrong = check(Settings, from_environ, lambda key: ("environment", _variable(key)), {})
    faults += wrong
    _merge(merged, settings)

    from_flags: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            put(from_flags, key, value)
    settings, wrong = check(Settings, from_flags, lambda key: ("command line", key), {})
    faults += wrong
    _merge(merged, settings)

    if faults:
        raise config_error(faults, hint=hint)
    return Settings.model_validate(merged)


def _merge(merged: dict[str, Any], layer: Settings | None) -> None:
    """Lay what one source says over what the weaker ones said."""
    if layer is None:
        return
    for name, value in layer.model_dump(exclude_unset=True).items():
        if isinstance(value, dict):
            merged.setdefault(name, {}).update(value)
        else:
            merged[name] = value


def _variable(key: str) -> str:
    return _PREFIX + key.replace(".", "_").upper()


def _environ_tables(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Fault]]:
    """The tables that the BULKSEND_* variables spell, values made into the types of their keys."""
    sections = {name for name in Settings.model_fields if name not in {"store", "snapshots"}}
    known = {_variable(key): key for key in dotted_keys(Settings) if key not in sections}
    tables: dict[str, Any] = {}
    faults: list[Fault] = []
    for variable, text in sorted(environ.items()):
        if not variable.startswith(_PREFIX) or variable == _CONFIG_VARIABLE or not text:
            continue
        if variable in known:
            put(tables, known[variable], _typed(known[variable], text))
            continue
        meant = nearest(variable, [*known, _CONFIG_VARIABLE])
        advice = f"did you mean {meant}?" if meant else f"known: {', '.join(known)}"
        faults.append(Fault("environment", variable, f"is not a known variable; {advice}"))
    return tables, faults


def _typed(key: str, text: str) -> object:
    """A variable's text as the number that its key wants; anything else stays text, for the model to judge."""
    section, _, name = key.rpartition(".")
    if not section:
        return text
    table = Settings.model_fields[section].annotation
    assert isinstance(table, type)
    assert issubclass(table, Table)
    annotation = table.model_fields[name].annotation
    if annotation is bool and text in {"true", "false"}:
        return text == "true"
    if any(get_origin(kind) is tuple for kind in (annotation, *get_args(annotation))):
        return [word for word in re.split(r"[\s,]+", text) if word]
    for kind in (int, float):
        if kind in (annotation, *get_args(annotation)):
            try:
                return kind(text)
            except ValueError:
                return text
    return text
