"""The worker as its HTTP face sees it. Satisfies the admin's Office."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

from bulksend.config import CampaignFile, Settings, campaign_of_tables
from bulksend.errors import BulksendError, ConfigError
from bulksend.facts import EntryStanding, StoreCounted
from bulksend.metrics import Metrics
from bulksend.model import AccountStatus, Campaign
from bulksend.report import write_results
from bulksend.ses import Account
from bulksend.worker.access import aws_access
from bulksend.worker.control import cancel, pause
from bulksend.worker.planning import plan
from bulksend.worker.results import results
from bulksend.worker.service import Service
from bulksend.worker.store import Store
from bulksend.worker.submitting import queue

__all__ = ["ServiceOffice"]

T = TypeVar("T")

ROWS_AT_ONCE = 1000
ACCOUNT_GOOD_FOR_S = 60.0
"""For so long what GetAccount said is remembered."""
SOURCE = "the request"


class ServiceOffice:
    """Answers for a service."""

    def __init__(self, service: Service, store: Store, metrics: Metrics, settings: Callable[[], Settings]) -> None:
        self._service = service
        self._store = store
        self._metrics = metrics
        self._settings = settings
        self._census = store.journal.census()
        self._counting = asyncio.Lock()
        self._account: AccountStatus | None = None
        self._account_at_s = float("-inf")

    def metrics(self) -> tuple[str, bytes]:
        """See Office."""
        return self._metrics.exposition()

    def heartbeat_age_s(self) -> float:
        """See Office."""
        return time.monotonic() - self._service.beat_at_s

    async def hindrances(self) -> Sequence[str]:
        """See Office."""
        found = []
        if not self._service.ready.is_set():
            found.append("the worker is starting")
        elif self._service.stopping:
            found.append("the worker is stopping")
        try:
            await asyncio.to_thread(self._check_store)
        except BulksendError as error:
            found.append(error.message)
        found += [f"{name!r} cannot be sent here: {why}" for name, why in self._service.hindrances.items()]
        found += self._service.faults
        try:
            account = await self._read_account()
        except ConfigError:
            return found  # no region of its own: campaigns bring theirs along
        except BulksendError as error:
            return [*found, error.message]
        if not account.sending_enabled:
            found.append("sending is disabled for the account in this region")
        return found

    async def campaigns(self) -> Sequence[Mapping[str, object]]:
        """See Office."""
        found = await asyncio.to_thread(self._store.journal.campaigns)
        # In a task of its own: who asked may leave, and the census is not for two threads at once.
        counted = await asyncio.shield(asyncio.create_task(self._count()))
        return [
            {
                "campaign": one.name,
                "id": one.id,
                "state": one.state.value,
                "rows": one.rows,
                "recipients": one.recipients,
                **_left(counted.entries.get(one.name, {})),
                "created_at": one.created_at,
            }
            for one in found
        ]

    def _check_store(self) -> None:
        """Whether it can be read now. Without what is suppressed, which the events have, nothing is sent."""
        self._store.journal.check()
        self._store.events.heard_since(time.time())

    async def _count(self) -> StoreCounted:
        async with self._counting:
            return await asyncio.to_thread(self._census.count, 1)

    async def campaign(self, name: str) -> Mapping[str, object]:
        """See Office."""
        return await asyncio.to_thread(self._facts, name)

    async def submit(self, tables: Mapping[str, object], *, again: bool) -> tuple[Mapping[str, object], bool]:
        """See Office. Its list and attachments are in http.lists_folder, or its list in S3."""

        def work() -> tuple[Mapping[str, object], bool]:
            settings = self._settings()
            file = _campaign_of(tables, settings)
            # Of a campaign that is known nothing is planned: it is only compared.
            is_known = self._store.journal.find(file.name) is not None
            with nullcontext(lambda _: None) if is_known else self._metrics.planning() as on_progress:
                planned = plan(file, settings, self._store, again=again, on_progress=on_progress)
            queue(self._store, planned.campaign)
            return self._facts(file.name), planned.is_new

        return await asyncio.to_thread(work)

    async def queue(self, name: str) -> Mapping[str, object]:
        """See Office."""
        return await self._decided(name, lambda campaign: queue(self._store, campaign))

    async def pause(self, name: str) -> Mapping[str, object]:
        """See Office."""
        return await self._decided(name, lambda campaign: pause(self._store, campaign))

    async def resume(self, name: str) -> Mapping[str, object]:
        """See Office."""
        return await self.queue(name)

    async def cancel(self, name: str) -> Mapping[str, object]:
        """See Office."""
        return await self._decided(name, lambda campaign: cancel(self._store, campaign))

    async def results(
        self, name: str, states: Sequence[str], fates: Sequence[str], form: Literal["csv", "jsonl"]
    ) -> AsyncGenerator[bytes, None]:
        """See Office. A thousand rows are in memory at a time."""
        campaign = await asyncio.to_thread(self._store.journal.campaign, name)
        rows = results(self._store, campaign, states, fates)
        first = True
        while True:
            some = await asyncio.to_thread(lambda: list(islice(rows, ROWS_AT_ONCE)))
            if not some and not first:
                return
            text = io.StringIO()
            write_results(some, form, text, header=first)
            first = False
            yield text.getvalue().encode()

    def _facts(self, name: str) -> Mapping[str, object]:
        return self._store.standing(name).facts()

    async def _decided(self, name: str, decide: Callable[[Campaign], object]) -> Mapping[str, object]:
        def work() -> Mapping[str, object]:
            decide(self._store.journal.campaign(name))
            return self._facts(name)

        return await asyncio.to_thread(work)

    async def _read_account(self) -> AccountStatus:
        if self._account is None or time.monotonic() - self._account_at_s > ACCOUNT_GOOD_FOR_S:
            async with Account(aws_access(self._settings())) as account:
                self._account = await account.read()
                self._account_at_s = time.monotonic()
        return self._account


def _left(entries: Mapping[EntryStanding, int]) -> dict[str, int]:
    """What is still to be sent, and what is in doubt, by the census."""
    return {
        "pending": entries.get(EntryStanding.PENDING, 0) + entries.get(EntryStanding.RETRYING, 0),
        "in_doubt": entries.get(EntryStanding.IN_DOUBT, 0),
    }


def _campaign_of(tables: Mapping[str, object], settings: Settings) -> CampaignFile:
    """A campaign that came by HTTP; it names no file but those of the folder for lists. Raises ConfigError."""
    folder = None if settings.http.lists_folder is None else Path(settings.http.lists_folder)
    file = campaign_of_tables(tables, folder or Path("/nowhere"), SOURCE)
    files = [one.path for one in file.content.attachments]
    if isinstance(file.recipients.path, Path):
        files.append(file.recipients.path)
    for path in files:
        if folder is None:
            raise ConfigError(
                f"{SOURCE}: lists and attachments that are files are not taken",
                hint="Name a list in S3 (s3://...), or have the worker's http.lists_folder set.",
            )
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"{SOURCE}: a list or attachment is not in the folder for lists",
                hint="Give its path relative to the folder that the worker's http.lists_folder names.",
            )
    return file
