"""events setup: what a configuration set's events need to come to a queue. It is shown first, then made."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Self

from bulksend.aws import AwsAccess, explained, open_client
from bulksend.config import Settings
from bulksend.errors import UsageError
from bulksend.event import EventType
from bulksend.events.asking import SetupError, in_words
from bulksend.events.setup import Piece, PieceState, Pipes, Step
from bulksend.events.wiring import Statement, Via, Wiring
from bulksend.ses.destinations import create_destination, create_set, update_destination
from bulksend.ses.sets import ConfigurationSet, EventDestination, read_set
from bulksend.worker.access import aws_access, refuse_half_aws
from bulksend.worker.sending_verdicts import NEEDED_EVENTS

__all__ = ["EventSetup", "Made", "SetupPlan", "Wanted", "default_name"]

MAX_NAME = 64
"""Of an event destination and of a rule (API reference, CreateConfigurationSetEventDestination; PutRule)."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_KINDS = {Via.SNS: "SNS", Via.EVENTBRIDGE: "EventBridge"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for. `also` are types of events besides those that bulksend needs."""

    configuration_set: str
    name: str
    via: Via = Via.SNS
    also: frozenset[EventType] = frozenset()
    create: bool = False
    """Make the configuration set too, where there is none."""

    @property
    def types(self) -> frozenset[EventType]:
        """Of the event destination."""
        return NEEDED_EVENTS | self.also


@dataclass(frozen=True, slots=True)
class SetupPlan:
    """The parts as they are, in the order in which they are made, and where that is."""

    wiring: Wiring
    pieces: tuple[Piece, ...]

    @property
    def different(self) -> tuple[Piece, ...]:
        """Parts that somebody has made otherwise: with any of these, nothing is made."""
        return tuple(piece for piece in self.pieces if piece.state is PieceState.DIFFERENT)

    @property
    def to_do(self) -> tuple[Piece, ...]:
        """Parts that will be made or completed."""
        states = (PieceState.MISSING, PieceState.UNFINISHED)
        return tuple(piece for piece in self.pieces if piece.state in states)


@dataclass(frozen=True, slots=True)
class Made:
    """What there is at the end: the queue for events.queues, and what whoever takes from it must be allowed."""

    queue_url: str
    is_named: bool
    """Whether the settings name the queue already."""
    statements: tuple[Statement, ...]


def default_name(configuration_set: str) -> str:
    """What the parts are called where nobody says."""
    return f"{configuration_set}-events"


class EventSetup:
    """Looks, and makes. A context manager: clients stay open between the two.

    Raises:
        AccountError: on entry: the profile is not known.
        ConfigError: on entry: no region is set anywhere.
        SetupError: on entry: nobody says whose account it is.
        UsageError: a name that SES would not take; or SES alone, or all but SES, is AWS's own.
    """

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        refuse_half_aws(settings)
        for name, option, hint in (
            (wanted.configuration_set, "CONFIGURATION_SET", "Correct it: no configuration set can have such a name."),
            (wanted.name, "--name", "Pass another --name: it is given to topic, queues, rule and event destination."),
        ):
            if not _NAME(name):
                raise UsageError(f"{option} is {name!r}: at most {MAX_NAME} of A-Z a-z 0-9 _ - are expected", hint=hint)
        self._settings, self._wanted = settings, wanted
        self._runner = asyncio.Runner()
        self._clients = AsyncExitStack()
        self._ses: Any = None
        self._wiring: Wiring | None = None
        self._pipes: Pipes | None = None

    def __enter__(self) -> Self:
        self._runner.__enter__()
        try:
            self._runner.run(self._open())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._clients.aclose())
        self._runner.close()

    def look(self) -> SetupPlan:
        """What there is, and what would be done. Nothing is changed.

        Raises:
            SetupError: something cannot be looked at.
            UsageError: there is no such configuration set, and none is to be made.
        """
        return self._plan(self._runner.run(self._steps()))

    def make(self, shown: SetupPlan, done: Callable[[Piece], None]) -> Made:
        """Do what was shown, and that alone. `done` is told of each part.

        Raises:
            SetupError: something is refused, or is not as it was shown any more.
            UsageError: as `look`.
        """
        return self._runner.run(self._make(shown, done))

    async def _make(self, shown: SetupPlan, done: Callable[[Piece], None]) -> Made:
        steps = await self._steps()
        if self._plan(steps) != shown or shown.different:
            raise SetupError(
                "what is there has changed since it was looked at, so nothing was made", hint="Run it again."
            )
        for step in steps:
            if step.do is not None:
                await step.do()
                done(step.piece)
        assert self._pipes is not None
        url = self._pipes.queue_url
        is_named = url in (self._settings.events.queues or ())
        return Made(url, is_named, tuple(shown.wiring.consumer_statements()))

    def _plan(self, steps: Sequence[Step]) -> SetupPlan:
        assert self._wiring is not None
        return SetupPlan(self._wiring, tuple(step.piece for step in steps))

    async def _steps(self) -> list[Step]:
        assert self._wiring is not None
        assert self._pipes is not None
        first, last = await self._of_ses(self._ses, self._wiring)
        return [first, *await self._pipes.steps(), last]

    async def _open(self) -> None:
        """By the account that the credentials are of, and the Region that the SDK settles on."""
        access, wanted = aws_access(self._settings), self._wanted
        others = replace(access, endpoint_url=self._settings.events.endpoint_url)
        async with AsyncExitStack() as clients:
            sts = await _client(clients, others, "sts")
            with in_words("the account", "sts"):
                partition, account = _owner(await sts.get_caller_identity())
            region = str(sts.meta.region_name)
        self._wiring = Wiring(partition, region, account, wanted.configuration_set, wanted.name, wanted.via)
        self._ses = await _client(self._clients, access, "sesv2")
        sqs = await _client(self._clients, others, "sqs")
        carrier = await _client(self._clients, others, "sns" if wanted.via is Via.SNS else "events")
        self._pipes = Pipes(self._wiring, sqs, carrier)

    async def _of_ses(self, ses: Any, wiring: Wiring) -> tuple[Step, Step]:
        """The first step and the last: nothing is published before it can arrive."""
        name = f"configuration set {wiring.configuration_set}"
        with in_words(name, "ses"):
            kept = await read_set(ses, wiring.configuration_set)
        if kept is not None:
            notes = "" if kept.sending_enabled else "sending with it is disabled"
            return Step(Piece(name, PieceState.THERE, notes)), _destination(ses, wiring, kept, self._wanted.types)
        if not self._wanted.create:
            raise UsageError(
                f"there is no configuration set {wiring.configuration_set} of account {wiring.account} in "
                f"{wiring.region}",
                hint="Correct the name or the Region, or pass --create to have it made.",
            )

        async def create() -> None:
            with in_words(name, "ses"):
                await create_set(ses, wiring.configuration_set)

        empty = ConfigurationSet(wiring.configuration_set, sending_enabled=True, suppressed_reasons=(), destinations=())
        return Step(Piece(name, PieceState.MISSING), create), _destination(ses, wiring, empty, self._wanted.types)


def _destination(ses: Any, wiring: Wiring, kept: ConfigurationSet, types: frozenset[EventType]) -> Step:
    """The event destination: what goes to our topic, or to the bus, has to be all types that are wanted."""
    name = f"event destination {wiring.name}"
    leading = [one for one in kept.destinations if one.target == wiring.target_arn]
    lacking = types - frozenset().union(*(one.types for one in leading if one.enabled))
    if not lacking:
        by = ", ".join(one.name for one in leading if one.enabled)
        return Step(Piece(name, PieceState.THERE, "" if by == wiring.name else f"done by {by}"))
    ours = next((one for one in kept.destinations if one.name == wiring.name), None)
    if ours is None:
        said = f"{_KINDS[wiring.via]}: {_in_words(lacking)}"

        async def create() -> None:
            with in_words(name, "ses"):
                await create_destination(ses, kept.name, wiring.name, lacking, wiring.target_arn)

        return Step(Piece(name, PieceState.MISSING, said), create)
    if ours.target != wiring.target_arn:
        return Step(
            Piece(
                name,
                PieceState.DIFFERENT,
                f"it leads elsewhere: {ours.kind} {ours.target}".rstrip(),
                "Have other names: --name; or, if nobody needs it, remove it: "
                f"aws sesv2 delete-configuration-set-event-destination --configuration-set-name {kept.name} "
                f"--event-destination-name {ours.name}",
            )
        )

    async def update() -> None:
        with in_words(name, "ses"):
            await update_destination(ses, kept.name, ours.name, ours.types | types, wiring.target_arn)

    return Step(Piece(name, PieceState.UNFINISHED, _change(ours, types)), update)


def _change(ours: EventDestination, types: frozenset[EventType]) -> str:
    more = types - ours.types
    return "; ".join(
        [
            *(["it is disabled: enable it"] if not ours.enabled else []),
            *([f"it lacks types: add {_in_words(more)}"] if more else []),
        ]
    )


def _in_words(types: frozenset[EventType]) -> str:
    return ", ".join(sorted(kind.value.replace("_", " ") for kind in types))


def _owner(identity: dict[str, Any]) -> tuple[str, str]:
    """Partition and account of a caller."""
    return str(identity["Arn"]).split(":")[1], str(identity["Account"])


async def _client(clients: AsyncExitStack, access: AwsAccess, service: str) -> Any:
    try:
        return await clients.enter_async_context(open_client(access, service, retrying=True))
    except Exception as error:
        raise explained(error) from error
