"""doctor: everything is asked that a campaign's success hangs on, before any of it is sent. Nothing is changed."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from bulksend.aws import AwsAccess
from bulksend.config import CampaignFile, Settings, load_campaign
from bulksend.errors import BulksendError, UsageError
from bulksend.events import QueueError, Trouble, open_queue, place_of
from bulksend.journal import SQLITE
from bulksend.model import Campaign, CampaignState
from bulksend.report import Check
from bulksend.ses import find_binding
from bulksend.ses.inquiry import Cause, Inquiry, Unknown
from bulksend.ses.rendering import RENDER_EVERY_S, rendering_fault
from bulksend.ses.reputation import list_reputation, read_findings, read_reputation
from bulksend.ses.tenants import read_tenant
from bulksend.worker.access import aws_access
from bulksend.worker.contacts import fetched_beginning
from bulksend.worker.examined import (
    Examined,
    LinksAsFound,
    ListAsFound,
    QueueAsFound,
    RegionAsFound,
    Rendering,
    Sending,
    StoreAsFound,
)
from bulksend.worker.multiregion import without_endpoint
from bulksend.worker.one_click import LINKS
from bulksend.worker.outlook import on_top, outlook_of, ramp_left, sent_lately
from bulksend.worker.planning import NOBODY_LISTENS, differences, plan, waits_for_events
from bulksend.worker.regions import read_endpoint, read_region
from bulksend.worker.running import pace_of
from bulksend.worker.samples import filled, samples_of, suppressed_in
from bulksend.worker.store import FOLDER, Store, is_file
from bulksend.worker.verdicts import judge

__all__ = ["doctor"]

TRIAL_ROWS = 1000
"""How much of a list that is not planned yet is looked at."""
CONNECT_WITHIN_S, ANSWER_WITHIN_S = 5.0, 10.0
JOURNAL_BYTES = 120
"""Of an entry, in the journal: mostly its message id."""
"""Frozen with a campaign that has [unsubscribe]."""
GROWTH = 3
"""A snapshot, and what making it needs, against the list's own size."""


def doctor(named: str | None, settings: Settings) -> list[Check]:
    """What stands in the way of a campaign, or of any where none is named: by its file, or by its name in the store.

    Raises:
        CampaignUnknownError: there is none of that name.
        ConfigError: the campaign's file has faults.
        UsageError: it is named by its name, and there is no store.
    """
    return judge(_Examination(settings).of(named), pace_of(settings))


class _Examination:
    """What is found out is gathered here, a part after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found = Examined(binding=None)

    def of(self, named: str | None) -> Examined:
        """Everything, of a campaign or of none."""
        file = load_campaign(Path(named)) if named is not None and is_file(Path(named)) else None
        folder = Path.cwd() if file is None else file.path.parent
        store, campaign = self._store(folder, named, file)
        self._add(campaign=file.name if file is not None else named or "")
        access = self._bind(campaign)
        self._look_at_links(file, campaign)
        if campaign is not None:
            assert store is not None
            if file is not None:
                campaign = self._compare(campaign, file)
            self._planned(store, campaign)
        elif file is not None:
            self._trial(file)
        if access is not None:
            asyncio.run(self._ask(access))
            self._look_ahead(store, campaign)
        if self._settings.events.queues or self._found.sending is not None:
            queues = asyncio.run(self._queues())
            self._add(queues=queues)
        return self._found

    def _add(self, **more: Any) -> None:
        self._found = replace(self._found, **more)

    # On this machine --------------------------------------------------------------------------------------------------

    def _store(
        self, folder: Path, named: str | None, file: CampaignFile | None
    ) -> tuple[Store | None, Campaign | None]:
        by_name = named is not None and file is None
        try:
            store = Store.find(self._settings, folder, campaign=named if by_name else None)
            campaign = None if named is None else store.journal.find(named if file is None else file.name)
        except UsageError:
            if by_name:
                raise
            self._add(store=self._store_to_be(folder, file))
            return None, None
        except BulksendError as error:
            self._add(store=StoreAsFound("the store", exists=True, fault=error.message, remedy=error.hint))
            return None, None
        if by_name and campaign is None:
            assert named is not None
            store.journal.campaign(named)
        needed_bytes = 0 if campaign is None else campaign.entries * JOURNAL_BYTES
        if campaign is None and file is not None:
            needed_bytes = _size_of(file) * GROWTH
        self._add(store=_disk(store.journal.place, store.folder, exists=True, needed_bytes=needed_bytes))
        return store, campaign

    def _store_to_be(self, folder: Path, file: CampaignFile | None) -> StoreAsFound | None:
        if file is None:
            return None
        named = self._settings.store
        place = folder / FOLDER if named is None else Path(named.removeprefix(SQLITE)).absolute()
        return _disk(str(place), place, exists=False, needed_bytes=_size_of(file) * GROWTH)

    def _bind(self, campaign: Campaign | None) -> AwsAccess | None:
        """Whose account it is, and how it is asked; None where nobody can be asked."""
        access = replace(
            aws_access(self._settings), connect_timeout_s=CONNECT_WITHIN_S, answer_timeout_s=ANSWER_WITHIN_S
        )
        bound = None if campaign is None else campaign.binding
        if bound is not None:
            access = replace(access, region=bound.region, endpoint_url=bound.endpoint_url or None)
        try:
            binding = asyncio.run(find_binding(access))
        except BulksendError as error:
            self._add(refused=error.detail, refused_remedy=error.hint)
            return None
        if bound is not None and bound.account != binding.account:
            self._add(
                refused=f"they are account {binding.account}'s, and the campaign was planned for {bound.account}",
                refused_remedy="Use the credentials of the account that it was planned for.",
            )
            return None
        self._add(binding=binding)
        return replace(access, region=binding.region)

    def _look_at_links(self, file: CampaignFile | None, campaign: Campaign | None) -> None:
        frozen = {} if campaign is None else campaign.frozen
        if LINKS not in frozen and (file is None or file.unsubscribe is None):
            return
        store, key_file = self._settings.store, self._settings.unsubscribe.key_file
        is_shared = store is not None and not store.startswith(SQLITE)
        answered = self._settings.http.public_listen != "off"
        self._add(links=LinksAsFound(has_keys=key_file is not None or not is_shared, answered=answered))

    def _compare(self, campaign: Campaign, file: CampaignFile) -> Campaign:
        """The campaign with what the file may change of it; what it may not is found to differ."""
        try:
            found = differences(campaign, file, self._settings, self._found.binding or campaign.binding)
        except BulksendError as error:
            found = [error.message]
        self._add(differs=tuple(found))
        return replace(campaign, schedule=file.schedule.as_schedule(), safety=file.safety.as_safety())

    def _planned(self, store: Store, campaign: Campaign) -> None:
        self._add(
            state=campaign.state,
            halt=campaign.halt,
            sending=Sending.of_campaign(campaign),
            on_top=on_top(campaign),
            needs_events=waits_for_events(campaign),
        )
        try:
            store.refuse_pruned(campaign)
            with store.journal.history(campaign) as (tally, chunks):
                states = {chunk.number: bytes(chunk.ledger.states) for chunk in chunks}
            is_cancelled = campaign.state is CampaignState.CANCELLED
            with store.read_snapshot(campaign) as reader:
                samples = samples_of(reader)
                suppressed = suppressed_in(reader, store.events.suppressed, {} if is_cancelled else states)
        except BulksendError as error:
            self._add(list_fault=error.message, list_remedy=error.hint)
            return
        left = 0 if is_cancelled else tally.pending + tally.in_flight
        recipients = (
            left
            if campaign.recipients == campaign.entries
            else round(campaign.recipients * left / max(1, campaign.entries))
        )
        self._add(list=ListAsFound(planned=True, recipients=recipients, samples=samples, suppressed=suppressed))

    def _trial(self, file: CampaignFile) -> None:
        """Plan its first rows in a store that is thrown away."""
        self._add(sending=Sending.of_file(file))
        if self._found.binding is None:
            return  # a plan is bound to an account
        with tempfile.TemporaryDirectory(prefix="bulksend-") as folder:
            private = self._settings.model_copy(update={"store": f"{SQLITE}{folder}/store", "snapshots": None})
            try:
                store = Store.open(private, Path(folder))
                folder_of_lists, access = store.shelf.workshop, aws_access(self._settings)
                with fetched_beginning(file, access, folder_of_lists, TRIAL_ROWS) as contacts:
                    # The endpoint is looked at by itself.
                    here = without_endpoint(file)
                    planned = plan(here, private, store, again=True, limit=TRIAL_ROWS, fetched_list=contacts)
                campaign = planned.campaign
                with store.read_snapshot(campaign) as reader:
                    samples = samples_of(reader)
            except BulksendError as error:
                self._add(list_fault=error.message, list_remedy=error.hint)
                return
        self._add(
            sending=replace(Sending.of_campaign(campaign), endpoint_id=file.sender.endpoint_id or "", planned=""),
            needs_events=waits_for_events(campaign),
            list=ListAsFound(
                planned=False,
                recipients=campaign.recipients,
                samples=samples,
                warnings=tuple(one for one in planned.warnings if one != NOBODY_LISTENS),  # said of the queues
                most_rows=TRIAL_ROWS,
            ),
        )

    def _look_ahead(self, store: Store | None, campaign: Campaign | None) -> None:
        home, kept = self._found.home, self._found.list
        if home is None or isinstance(home.account, Unknown) or kept is None or not kept.planned or not kept.recipients:
            return
        assert store is not None
        assert campaign is not None
        sent, pace = sent_lately(store, campaign.binding.account, campaign.binding.region), pace_of(self._settings)
        regions = (home, *self._found.others)
        accounts = [one.account.status for one in regions if not isinstance(one.account, Unknown)]
        ramp = ramp_left(store, campaign)
        outlooks = [outlook_of(account, pace, kept.recipients, sent, ramp) for account in accounts]
        if all(outlook is not None for outlook in outlooks):
            # Of several Regions the smallest quota paces all.
            self._add(outlook=max(filter(None, outlooks), key=lambda outlook: outlook.takes_s))

    # At SES -----------------------------------------------------------------------------------------------------------

    async def _ask(self, access: AwsAccess) -> None:
        assert access.region is not None
        binding, sending = self._found.binding, self._found.sending
        assert binding is not None
        try:
            async with Inquiry(access) as inquiry:
                home = await read_region(inquiry, access.region, sending, binding)
                self._add(home=home, skew_s=inquiry.skew_s)
                if isinstance(home.account, Unknown) and home.account.unreachable:
                    return
                await self._ask_about_endpoint(inquiry, access, sending)
                await self._ask_about_tenant(inquiry, sending)
                await self._ask_for_renderings(inquiry, home, sending)
        except BulksendError as error:
            self._add(binding=None, refused=error.detail, refused_remedy=error.hint)

    async def _queues(self) -> tuple[QueueAsFound, ...]:
        """Those of the settings, each in its own Region."""
        access = replace(
            aws_access(self._settings),
            endpoint_url=self._settings.events.endpoint_url,
            connect_timeout_s=CONNECT_WITHIN_S,
            answer_timeout_s=ANSWER_WITHIN_S,
        )
        return tuple([await _queue(access, url) for url in self._settings.events.queues or ()])

    async def _ask_about_endpoint(self, inquiry: Inquiry, access: AwsAccess, sending: Sending | None) -> None:
        """And what its other Regions have of what is sent with."""
        if sending is None or not sending.endpoint_id:
            return
        assert self._found.binding is not None
        endpoint_id = sending.endpoint_id
        told = await inquiry.ask(lambda client: read_endpoint(client, endpoint_id))
        if isinstance(told, Unknown):
            self._add(endpoint=told)
            return
        state, regions = told
        self._add(endpoint=state)
        for name in regions:
            if name != access.region:
                async with Inquiry(replace(access, region=name)) as there:
                    region = await read_region(there, name, sending, self._found.binding)
                self._add(others=(*self._found.others, region))

    async def _ask_about_tenant(self, inquiry: Inquiry, sending: Sending | None) -> None:
        """And about what SES holds against it, or against anything where there is no tenant."""
        if sending is None or not sending.tenant:
            self._add(reputation=await inquiry.ask(list_reputation))
        else:
            name = sending.tenant
            tenant = await inquiry.ask(lambda client: read_tenant(client, name))
            self._add(tenant=tenant)
            if tenant is None or isinstance(tenant, Unknown):
                return
            arn = tenant.arn
            kept = await inquiry.ask(lambda client: read_reputation(client, arn))
            self._add(reputation=kept if isinstance(kept, Unknown) else () if kept is None else (kept,))
        entities = self._found.reputation
        if entities is not None and not isinstance(entities, Unknown) and any(one.impact for one in entities):
            self._add(findings=await inquiry.ask(read_findings))

    async def _ask_for_renderings(self, inquiry: Inquiry, home: RegionAsFound, sending: Sending | None) -> None:
        """The mails of the samples, by SES, one a second; those of an inline template are made here."""
        kept = self._found.list
        if sending is None or kept is None or not kept.samples:
            return
        if sending.inline is not None:
            self._add(renderings=tuple(filled(sending.inline.values(), sample) for sample in kept.samples))
            return
        if home.template is None or isinstance(home.template, Unknown):
            return
        renderings = []
        name = sending.template_name
        for place, sample in enumerate(kept.samples):
            if place:
                await asyncio.sleep(RENDER_EVERY_S)
            data = sample.data
            fault = await inquiry.ask(lambda client, data=data: rendering_fault(client, name, data))  # type: ignore[misc]
            if isinstance(fault, Unknown):
                self._add(renderings=fault)
                return
            renderings.append(Rendering(sample.row, fault))
        self._add(renderings=tuple(renderings))


async def _queue(access: AwsAccess, url: str) -> QueueAsFound:
    name = place_of(url).name
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S), open_queue(access, url) as (queue, _):
            waiting = await queue.attributes("ApproximateNumberOfMessages")
            dead_letters = await queue.dead_letters()
    except TimeoutError:
        return QueueAsFound(name, Unknown(f"no answer within {ANSWER_WITHIN_S:.0f} seconds", Cause.UNREACHABLE))
    except QueueError as error:
        return QueueAsFound(name, Unknown(error.detail), gone=error.trouble is Trouble.GONE)
    count = int(waiting.get("ApproximateNumberOfMessages", "0"))
    return QueueAsFound(name, count, has_dead_letters=dead_letters is not None)


def _size_of(file: CampaignFile) -> int:
    """Of the list, in bytes, where it is on this machine."""
    path = file.recipients.path
    if not isinstance(path, Path):
        return 0
    try:
        files = [path] if path.is_file() else list(path.glob("*.parquet"))
        return sum(one.stat().st_size for one in files)
    except OSError:
        return 0


def _disk(place: str, folder: Path, *, exists: bool, needed_bytes: int) -> StoreAsFound:
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path.cwd())
    try:
        free_bytes = shutil.disk_usage(there).free
    except OSError:
        free_bytes = None
    return StoreAsFound(
        place, exists, writable=os.access(there, os.W_OK), free_bytes=free_bytes, needed_bytes=needed_bytes
    )
